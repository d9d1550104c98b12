"""Who may change the shape of the tables, one at a time, and how long they may wait for it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from psycopg import errors

from reverie.core.database import Connection
from reverie.core.errors import Conflict
from reverie.core.queries import Queries

SQL = Queries("reverie.tiers")
MOVING = Queries("reverie.tiers", "moving.sql")

PARTITION_LOCK = 0x7265_7665_7277_6B
"""Advisory lock of those who make partitions: the bytes of "reverwk"."""

STUBBORN_AFTER_SECONDS = 5.0
"""Then one wait may outlast deadlock_timeout: only a waiter who does makes PostgreSQL cancel an autovacuum, and one of
``memory_trace`` can take many minutes."""

PATIENCE_SECONDS = 30.0

BUILD_LOCK = 0x7265_7665_7269_78
"""Advisory lock of those who build indexes on standing partitions: the bytes of "reverix"."""

MOVE_LOCK: Final = 0x7265_7665_726D_76
"""Advisory lock of who moves partitions: the bytes of "revermv"."""

FIRST_MILLISECONDS: Final = 30
NEXT_MILLISECONDS: Final = 5
"""How long readers may queue behind one who wants tables to himself: for the first of each kind, and for each of the
others, which are hardly ever in use once nobody uses the first. With what he then does, which takes 10 to 30 ms, nobody
waits for 100 ms."""

MOVE_PATIENCE_SECONDS = 600.0
"""How long tables are asked for that others do not let go of."""

T = TypeVar("T")


class Later(Exception):  # noqa: N818 - what is to be done, no fault
    """Raised by who has the tables to himself: he lets go of them, and asks for them again."""


class AlreadyMoving(Conflict):
    """Another process moves partitions"""

    def __init__(self, detail: str = "Another process moves partitions of this store; try again later.") -> None:
        super().__init__(detail)


async def with_brief_locks(connection: Connection, work: Callable[[], Awaitable[T]]) -> T:
    """Runs DDL in a transaction of its own that waits at most 100 ms for each lock, again and again for 30 seconds.

    One such transaction runs at a time in a database, so ``work`` sees what the one before it has done.
    """
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        try:
            async with connection.transaction():
                await connection.execute(SQL["long_wait" if waited > STUBBORN_AFTER_SECONDS else "short_wait"])
                await connection.execute(SQL["lock_partitions"], (PARTITION_LOCK,))
                return await work()
        except errors.LockNotAvailable:
            if waited > PATIENCE_SECONDS:
                raise
        await asyncio.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - jitter, not a secret


async def wait_for_partition_makers(connection: Connection) -> None:
    """Returns when every partition that was being made stands, so that a list of them is complete."""

    async def nothing() -> None:
        return None

    await with_brief_locks(connection, nothing)


@asynccontextmanager
async def building_alone(connection: Connection) -> AsyncIterator[None]:
    """Keeps this database's concurrent builds one after another. ``connection`` is in autocommit."""
    # Polled: a session that waits for the lock holds a snapshot, for which the build of the one who has it would wait.
    while True:
        if await _take(connection, BUILD_LOCK):
            break
        await asyncio.sleep(0.1)
    try:
        yield
    finally:
        await connection.execute(SQL["unlock"], (BUILD_LOCK,))


@asynccontextmanager
async def building_if_nobody_does(connection: Connection) -> AsyncIterator[bool]:
    """As :func:`building_alone`, but False at once where another session builds, which may take hours."""
    if not await _take(connection, BUILD_LOCK):
        yield False
        return
    try:
        yield True
    finally:
        await connection.execute(SQL["unlock"], (BUILD_LOCK,))


async def with_tables(
    connection: Connection,
    alone: Sequence[str],
    work: Callable[[], Awaitable[T]],
    *,
    unwritten: Sequence[str] = (),
    before: Callable[[], Awaitable[None]] | None = None,
    hold: Callable[[float], None] = lambda _: None,
) -> T:
    """Runs ``work`` in a transaction that has tables to itself, so briefly that no reader waits for 100 ms.

    A lock that is waited for stands before everybody who comes later. So those that readers feel are asked for together
    for some hundredths of a second, again and again; before them one that nobody feels, for which PostgreSQL cancels an
    autovacuum.

    Args:
        connection: the owner's, in autocommit.
        alone: tables that nobody reads meanwhile, parents before their partitions.
        work: raises :class:`Later` to let go of the tables and have them again in a moment.
        unwritten: tables that nobody writes meanwhile.
        before: is done before each attempt, without any lock.
        hold: is told for how many seconds the tables were asked for and held.

    Raises:
        psycopg.errors.LockNotAvailable: others kept the tables locked for MOVE_PATIENCE_SECONDS.
    """
    began = time.monotonic()
    while True:
        if before is not None:
            await before()
        try:
            async with connection.transaction():
                asked = await _lock(connection, alone, unwritten)
                done = await work()
            hold(time.monotonic() - asked)
            return done  # noqa: TRY300 - held until here
        except (errors.LockNotAvailable, errors.DeadlockDetected, Later) as error:
            if time.monotonic() - began > MOVE_PATIENCE_SECONDS:
                raise errors.LockNotAvailable("Others kept the tables locked for too long.") from error
        await asyncio.sleep(random.uniform(0.02, 0.3))  # noqa: S311 - jitter, not a secret


async def _lock(connection: Connection, alone: Sequence[str], unwritten: Sequence[str]) -> float:
    """Takes the locks; since when anybody has felt it."""
    await connection.execute(SQL["long_wait"])
    await connection.execute(SQL["lock_partitions"], (PARTITION_LOCK,))
    await connection.execute(MOVING.text("lock_share", tables=_only([*unwritten, *alone])))
    script = b";\n".join([MOVING["settings_of_swap"], *_brief_locks(alone, unwritten)])
    asked = time.monotonic()
    # In one message, so that nobody waits for ours to come.
    await connection.execute(script)
    return asked


def _brief_locks(alone: Sequence[str], unwritten: Sequence[str]) -> Iterator[bytes]:
    for mode, some in (("SHARE ROW EXCLUSIVE", unwritten), ("ACCESS EXCLUSIVE", alone)):
        for place, table in enumerate(some):
            wait = NEXT_MILLISECONDS if place else FIRST_MILLISECONDS
            yield MOVING.text("lock_briefly", wait=wait, tables=_only([table]), mode=mode)


def _only(tables: Sequence[str]) -> str:
    return ", ".join(f"ONLY {table}" for table in tables)


@asynccontextmanager
async def moving_alone(connection: Connection) -> AsyncIterator[None]:
    """Has partitions moved by nobody else until the block ends.

    Raises:
        AlreadyMoving: somebody does.
    """
    if not await _take(connection, MOVE_LOCK):
        raise AlreadyMoving
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            await connection.execute(SQL["unlock"], (MOVE_LOCK,))


async def _take(connection: Connection, lock: int) -> bool:
    """Takes an advisory lock; False when somebody has it."""
    row = await (await connection.execute(SQL["try_lock"], (lock,))).fetchone()
    return row is not None and bool(row[0])
