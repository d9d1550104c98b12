"""Callers who write for a new user at the same moment wait for one another, and none fails."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier, BrokenBarrierError
from uuid import UUID, uuid4

import psycopg
from tests.migrations import spine

from reverie.core import migrations, schema
from reverie.memories.repository import SQL

CALLERS, USERS, ROUNDS = 8, 100, 20
MOMENT = datetime(2026, 11, 21, tzinfo=UTC)


def failures(url: str) -> int:
    """How many of CALLERS fail who raise the version of USERS users, all at once for each of them."""
    users = [uuid4() for _ in range(USERS)]
    barrier = Barrier(CALLERS)

    def write() -> int:
        failed = 0
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                for user in users:
                    barrier.wait(60)
                    failed += not _raised(connection, user)
        except BrokenBarrierError:
            # Another has failed, and says how.
            return failed
        except BaseException:
            barrier.abort()
            raise
        return failed

    with ThreadPoolExecutor(CALLERS) as pool:
        return sum(future.result() for future in [pool.submit(write) for _ in range(CALLERS)])


def _raised(connection: "psycopg.Connection[tuple[object, ...]]", user: UUID) -> bool:
    try:
        connection.execute(SQL["raise_version"], (spine.SPACE, user, str(user), 1, MOMENT, MOMENT), prepare=True)
    except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
        return False
    return True


def test_only_before_it_some_fail(empty_database: str) -> None:
    spine.make(empty_database, 10)
    assert any(failures(empty_database) for _ in range(ROUNDS)), "the race that the migration ends is not met"
    migrations.upgrade(empty_database)
    assert schema.current(empty_database) == schema.needed()
    assert failures(empty_database) + failures(empty_database) == 0
