"""Answers that are kept until what they were made of changes.

Every write raises the version of its user, so an answer stands as long as the versions of all its users are those that
were read before it was searched for. They are asked of PostgreSQL each time: a write is seen at once, by whichever
process it was made, at the price of one small round trip in place of a whole recall.

The answers lie in the process and not in Redis: the versions have to be read in any case, so that a shared store would
save no round trip and cost a second one; Redis holds no text, and drops what it likes. A forgotten text is never shown
again, and leaves memory within twice :data:`SECONDS`.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeAlias, TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout
from pydantic import BaseModel

from reverie.core import clock
from reverie.core.database import Reads, Rows, Trip
from reverie.core.queries import Queries
from reverie.core.telemetry import reason

SQL = Queries("reverie.recall")

SECONDS: Final = 60.0
"""For so long an answer is kept: within it, what fades with time (recency, the focus) does not change an order."""

MOST_BYTES: Final = 16 * 1024 * 1024
"""What all answers of a process may take; those that were not asked for again for longest give way."""

LARGEST: Final = 1024 * 1024
"""An answer of more bytes is not kept: it would drive out many."""

Versions: TypeAlias = tuple[int, ...]
"""The version of each user of a question, in their order; of one who is not known :data:`UNKNOWN`."""

UNKNOWN: Final = -1

T = TypeVar("T")
log = structlog.get_logger(__name__)


def key_of(space_id: UUID, asked: BaseModel) -> bytes:
    """What tells questions apart: the space, and every parameter that a question of its kind has."""
    hashed = hashlib.blake2b(space_id.bytes, digest_size=16)
    # Not as JSON: a filter may hold a lone surrogate, which no memory has, and which JSON cannot write.
    hashed.update(repr(asked).encode("utf-8", "surrogatepass"))
    return hashed.digest()


class Looking:
    """The database of one question, each of whose sessions looks at the versions of its users before anything else.

    So what a session finds is at least as new as the versions that it saw, and an answer stands from the least of them.
    """

    def __init__(self, database: Reads, user_ids: Sequence[UUID]) -> None:
        self._database = database
        self._user_ids = list(user_ids)
        self._looks: list[Rows] = []

    @asynccontextmanager
    async def reading(self, space_id: UUID | None, *, seconds: float | None = None) -> AsyncIterator[Trip]:
        """As the database's own."""
        async with self._database.reading(space_id, seconds=seconds) as session:
            yield await self._look(session)

    @asynccontextmanager
    async def reading_vectors(self, space_id: UUID, *, seconds: float | None = None) -> AsyncIterator[Trip]:
        """As the database's own."""
        async with self._database.reading_vectors(space_id, seconds=seconds) as session:
            yield await self._look(session)

    async def _look(self, session: Trip) -> Trip:
        self._looks.append(await session.send(SQL["versions"], (self._user_ids,)))
        return session

    async def versions(self) -> Versions | None:
        """The least that was seen of each user; None where no session looked.

        Raises:
            psycopg.InterfaceError: a session failed, and with it its look.
        """
        seen = []
        for rows in self._looks:
            known = {row[0]: row[1] for row in await rows.fetchall()}
            seen.append([known.get(user_id, UNKNOWN) for user_id in self._user_ids])
        return tuple(map(min, zip(*seen, strict=True))) if seen else None


async def versions_of(database: Reads, space_id: UUID, user_ids: Sequence[UUID], seconds: float) -> Versions | None:
    """The versions of some users as they are."""
    looking = Looking(database, user_ids)
    async with looking.reading(space_id, seconds=seconds):
        pass
    return await looking.versions()


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """An answer of a :class:`Cache`: ``since`` and ``until`` go by the clock of what is remembered, ``gone`` by the
    machine's."""

    answer: T
    versions: Versions
    size: int
    since: datetime
    until: datetime
    gone: float


class Cache(Generic[T]):
    """Answers by question, at most ``most`` bytes of them and ``largest`` of each, for ``seconds`` at most."""

    def __init__(self, most: int = MOST_BYTES, seconds: float = SECONDS, largest: int = LARGEST) -> None:
        self.size = 0
        """Bytes that the answers take, as far as their callers said."""
        self._most = most
        self._largest = min(largest, most)
        self._seconds = seconds
        self._kept: OrderedDict[bytes, Kept[T]] = OrderedDict()
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._kept)

    async def find(
        self, database: Reads, space_id: UUID, user_ids: Sequence[UUID], key: bytes, seconds: float
    ) -> T | None:
        """The answer to a question, if one is kept that stands; PostgreSQL may take ``seconds`` to say so.

        Where none is kept, nothing is asked.
        """
        kept = self.take(key)
        if kept is None:
            return None
        try:
            versions = await versions_of(database, space_id, user_ids, seconds)
        except (psycopg.Error, PoolTimeout) as error:
            # The arms find out for themselves, and one of them may do without what is out of order.
            log.warning("versions not read", error=type(error).__name__, reason=reason(error))
            return None
        if versions != kept.versions:
            if self._kept.get(key) is kept:
                self._drop(key)
            return None
        return kept.answer

    def take(self, key: bytes) -> Kept[T] | None:
        """What is kept of a question, with the versions of its users for which it stands; they are not looked at."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if not kept.since <= clock.now() < kept.until:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def keep(self, key: bytes, answer: T, size: int, versions: Versions, *, until: datetime | None = None) -> None:
        """Keeps an answer of ``size`` bytes, made of searches that looked at ``versions`` first.

        ``until`` is when the clock alone changes it. Called in the event loop.
        """
        now = clock.now()
        end = now + timedelta(seconds=self._seconds)
        end = end if until is None else min(until, end)
        self._drop(key)
        if size > self._largest or end <= now:
            return
        self._kept[key] = Kept(answer, versions, size, now, end, time.monotonic() + self._seconds)
        self.size += size
        while self.size > self._most:
            self._drop(next(iter(self._kept)))
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._seconds, self._sweep, context=Context())

    def drop(self, where: Callable[[bytes, T], bool]) -> None:
        """Forgets the answers of which, by their key and themselves, this is so."""
        for key in [key for key, kept in self._kept.items() if where(key, kept.answer)]:
            self._drop(key)

    def clear(self) -> None:
        """Forgets all answers."""
        self._kept.clear()
        self.size = 0
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size -= kept.size

    def _sweep(self) -> None:
        """Drops what has had its time, also where nobody asks any more."""
        now = time.monotonic()
        for key in [key for key, kept in self._kept.items() if kept.gone <= now]:
            self._drop(key)
        self._sweeper = None
        if self._kept:
            self._sweeper = asyncio.get_running_loop().call_later(self._seconds, self._sweep)


def stands_until(moments: Iterable[datetime], window: timedelta) -> datetime | None:
    """When the first of some results leaves a window of time that ends now; None where there are none.

    ``moments`` are when they happened.
    """
    first = min(moments, default=None)
    return None if first is None else first + window
