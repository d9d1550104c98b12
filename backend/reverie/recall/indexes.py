"""What is built for large users, as one process knows it: read beside the questions, not before them."""

import asyncio
import time
from collections.abc import Iterable
from contextvars import Context
from typing import Final
from uuid import UUID

import psycopg
import structlog

from reverie.core.database import Database
from reverie.core.queries import Queries
from reverie.core.telemetry import reason
from reverie.recall.planner import Built, Mode

SQL = Queries("reverie.recall")

REFRESH_SECONDS: Final = 10.0
"""After so long it is looked whether something was built. Who plans by what no longer holds finds the same, slower."""

LITTLE: Final = 1.5
MOST_HINTS: Final = 10_000
"""Of so many users at most it is kept how many pieces their traces have, where these are more than a few."""

log = structlog.get_logger(__name__)


class Indexes:
    """The rows of ``memory_index``, and how many pieces the traces of a user have.

    The first question waits until they are read; later ones plan by what is known, while it is read again.
    """

    def __init__(self, database: Database, mode: Mode) -> None:
        self.mode: Mode = mode
        self._database = database
        self._known: dict[int, dict[UUID, list[Built]]] = {}
        self._mark: object = None
        self._due = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._pieces: dict[UUID, float] = {}

    async def of(self, model_id: int, user_ids: Iterable[UUID]) -> dict[UUID, list[Built]]:
        """The indexes of those users who have any."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + REFRESH_SECONDS
            self._reading = asyncio.create_task(self._read(), context=Context())
        if self._mark is None and self._reading is not None:
            await asyncio.shield(self._reading)
        known = self._known.get(model_id, {})
        return {user: known[user] for user in user_ids if user in known}

    async def _read(self) -> None:
        try:
            async with self._database.reading(None) as session:
                (mark,) = await session.fetch(SQL["indexes_mark"])
                if mark == self._mark:
                    return
                rows = await session.fetch(SQL["indexes"])
        except psycopg.Error as error:
            log.warning("indexes not read", error=type(error).__name__, reason=reason(error))
            return
        known: dict[int, dict[UUID, list[Built]]] = {}
        for model_id, *row in rows:
            one = Built(*row)
            known.setdefault(model_id, {}).setdefault(one.user_id, []).append(one)
        self._known, self._mark = known, mark

    def pieces(self, user_ids: Iterable[UUID]) -> float:
        """How many rows stood for each trace among the nearest, when these users were last asked."""
        return max((self._pieces.get(user, 1.0) for user in user_ids), default=1.0)

    def seen_pieces(self, user_ids: Iterable[UUID], pieces: float) -> None:
        """Notes it. What is forgotten costs a second look at most."""
        if len(self._pieces) > MOST_HINTS:
            self._pieces.clear()
        for user in user_ids:
            if pieces > LITTLE:
                self._pieces[user] = pieces
            else:
                self._pieces.pop(user, None)
