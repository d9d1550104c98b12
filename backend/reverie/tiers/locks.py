"""Who may change the shape of the tables, one at a time, and how long they may wait for it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from psycopg import errors

from reverie.core.database import Connection
from reverie.core.queries import Queries

SQL = Queries("reverie.tiers")

PARTITION_LOCK = 0x7265_7665_7277_6B
"""Advisory lock of those who make partitions: the bytes of "reverwk"."""

STUBBORN_AFTER_SECONDS = 5.0
"""Then one wait may outlast deadlock_timeout: only a waiter who does makes PostgreSQL cancel an autovacuum, and one of
``memory_trace`` can take many minutes."""

PATIENCE_SECONDS = 30.0

BUILD_LOCK = 0x7265_7665_7269_78
"""Advisory lock of those who build indexes on standing partitions: the bytes of "reverix"."""

T = TypeVar("T")


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
        cursor = await connection.execute(SQL["lock_builds"], (BUILD_LOCK,))
        row = await cursor.fetchone()
        if row and row[0]:
            break
        await asyncio.sleep(0.1)
    try:
        yield
    finally:
        await connection.execute(SQL["unlock_builds"], (BUILD_LOCK,))


@asynccontextmanager
async def building_if_nobody_does(connection: Connection) -> AsyncIterator[bool]:
    """As :func:`building_alone`, but False at once where another session builds, which may take hours."""
    cursor = await connection.execute(SQL["lock_builds"], (BUILD_LOCK,))
    row = await cursor.fetchone()
    if not (row and row[0]):
        yield False
        return
    try:
        yield True
    finally:
        await connection.execute(SQL["unlock_builds"], (BUILD_LOCK,))
