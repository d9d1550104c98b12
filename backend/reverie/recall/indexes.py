"""What is built for large users, as one process knows it: read beside the questions, not before them."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from reverie.core.database import Database
from reverie.core.queries import Queries
from reverie.core.telemetry import reason
from reverie.recall.planner import Built, Mode
from reverie.recall.warm import FEWEST, SHARE, Known, Signs

SQL = Queries("reverie.recall")

REFRESH_SECONDS: Final = 10.0
"""After so long it is looked whether something was built. Who plans by what no longer holds finds the same, slower."""

OLDEST_SECONDS: Final = 12.0
"""Nobody goes by what is older: it is waited for. The first warm rows are made 15 seconds after it can be read that
there may be some (ANNOUNCE_SECONDS of the tiers)."""

LITTLE: Final = 1.5
MANY: Final = FEWEST * SHARE
MOST_HINTS: Final = 10_000
"""Of so many users at most it is kept how many pieces their traces have, where these are more than a few, and how many
traces they have, where these are many."""

_PARTITIONS: Final = slice(1, 3)
"""What of the mark is of them."""

log = structlog.get_logger(__name__)


class Indexes:
    """The rows of ``memory_index``, and how many pieces the traces of a user have.

    The first question waits until they are read; later ones plan by what is known, while it is read again, unless it is
    old.
    """

    def __init__(self, database: Database, mode: Mode) -> None:
        self.mode: Mode = mode
        self._database = database
        self._known: dict[int, dict[UUID, list[Built]]] = {}
        self._mark: Sequence[Any] | None = None
        self._due = 0.0
        self._read_at = float("-inf")
        self._announced = False
        self._signs: dict[int, dict[UUID, list[Signs]]] = {}
        self.has_cold = False
        """Whether the store has cold partitions."""
        self._reading: asyncio.Task[None] | None = None
        self._pieces: dict[UUID, float] = {}
        self._remembered: dict[UUID, int] = {}
        self._moved: list[Callable[[], None]] = []

    def when_moved(self, told: Callable[[], None]) -> None:
        """Has ``told`` called where it is seen that partitions have come, gone or changed their tier."""
        self._moved.append(told)

    async def of(self, model_id: int, user_ids: Iterable[UUID]) -> dict[UUID, list[Built]]:
        """The indexes over hot vectors of those users who have any."""
        await self._look()
        known = self._known.get(model_id, {})
        return {user: known[user] for user in user_ids if user in known}

    async def warm(self, model_id: int, user_ids: Iterable[UUID]) -> Known | None:
        """What is known of the warm rows of those users who have many; None where the store never had any."""
        if not await self.announced():
            return None
        known = self._signs.get(model_id, {})
        return {user: known[user] for user in user_ids if user in known}

    async def announced(self) -> bool:
        """Whether the store may have warm rows. Where that could not be read of late, it may."""
        await self._look()
        return self._announced or time.monotonic() - self._read_at > OLDEST_SECONDS

    async def _look(self) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + REFRESH_SECONDS
            self._reading = asyncio.create_task(self._read(), context=Context())
        if self._reading is not None and (self._mark is None or now - self._read_at > OLDEST_SECONDS):
            await asyncio.shield(self._reading)

    async def _read(self) -> None:
        began = time.monotonic()
        try:
            async with self._database.reading(None) as session:
                (mark,) = await session.fetch(SQL["indexes_mark"])
                if mark == self._mark:
                    self._read_at = began
                    return
                rows = await session.fetch(SQL["indexes"])
        except psycopg.Error as error:
            log.warning("indexes not read", error=type(error).__name__, reason=reason(error))
            return
        if self._mark is not None and mark[_PARTITIONS] != self._mark[_PARTITIONS]:
            for told in self._moved:
                told()
        known: dict[int, dict[UUID, list[Built]]] = {}
        signs: dict[int, dict[UUID, list[Signs]]] = {}
        for model_id, *row, tier in rows:
            one = Built(*row)
            if tier == "hot":
                known.setdefault(model_id, {}).setdefault(one.user_id, []).append(one)
            elif one.method == "bits":
                few = Signs(one.user_id, one.head, one.rows, one.looks)
                signs.setdefault(model_id, {}).setdefault(one.user_id, []).append(few)
        self._known, self._signs, self._mark, self._read_at = known, signs, mark, began
        self._announced, self.has_cold = bool(mark[0]), bool(mark[1])

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

    def remembered(self, user_ids: Iterable[UUID]) -> int:
        """How many traces these users had when they were last asked, where these are many."""
        return max((self._remembered.get(user, 0) for user in user_ids), default=0)

    def seen_remembered(self, user_ids: Iterable[UUID], traces: int) -> None:
        """Notes it. Of who is asked beside others it is what they have together, and costs a few candidates."""
        if len(self._remembered) > MOST_HINTS:
            self._remembered.clear()
        for user in user_ids:
            if traces > MANY:
                self._remembered[user] = traces
            else:
                self._remembered.pop(user, None)
