"""A migration that is killed at any moment is finished by the next start, and the rows are what they were."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
import pytest
from tests.figures import Figure
from tests.migrations import spine
from tests.migrations.catalog import Connection, catalog_of_parents, columns, invalid_indexes, migrate, sums
from tests.waiting import PATIENCE

from reverie.core import migrations, schema

KILLS, SHORT = 25, 2


@contextmanager
def migrating(url: str) -> Iterator["subprocess.Popen[str]"]:
    """A `reverie migrate`."""
    with subprocess.Popen(
        [sys.executable, "-m", "reverie", "migrate"],
        env=os.environ | {"DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], object], what: str) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def sessions(owner: Connection) -> int:
    """How many sessions migrate this database."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'reverie-migrate'"
    )
    row = owner.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def whole(empty_database: str) -> set[tuple[object, ...]]:
    """What the tables are after an upgrade that nobody disturbs; the database is left empty again."""
    migrations.upgrade(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        found = catalog_of_parents(connection)
    migrate(empty_database, "base")
    return found


MOMENTS: dict[str, tuple[tuple[LiteralString, ...], list[str]]] = {
    "its turn has not come": ((f"SELECT pg_advisory_lock({migrations.LOCK})",), []),
    "the first index is registered": (("BEGIN", "UPDATE operation SET error = 'x' WHERE false"), ["operation_running"]),
    "the first index is built": (("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1"), ["operation_running"]),
}
"""What another session does to hold it up, and which index is invalid then."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_when(moment: str, empty_database: str, whole: set[tuple[object, ...]]) -> None:
    statements, left = MOMENTS[moment]
    spine.make(empty_database, 200)
    with (
        psycopg.connect(empty_database, autocommit=True) as owner,
        psycopg.connect(empty_database, autocommit=True) as other,
    ):
        of = columns(owner)
        before = sums(owner, of)
        for statement in statements:
            other.execute(statement)
        with migrating(empty_database) as process:
            until(lambda: sessions(owner) and invalid_indexes(owner) == left, f"{moment}: {left}")
            process.kill()
        # The one that holds it up is still there: what was killed goes all the same.
        until(lambda: not sessions(owner), "the session of what was killed goes on")
        assert invalid_indexes(owner) == left
        assert schema.current(empty_database) == spine.REVISION
        other.close()
        migrations.upgrade(empty_database)
        assert invalid_indexes(owner) == []
        assert catalog_of_parents(owner) == whole
        assert sums(owner, of) == before


@pytest.mark.timeout(900)
def test_killed_at_random_moments(
    empty_database: str, whole: set[tuple[object, ...]], long: bool, figure: Figure
) -> None:
    chance = random.Random(4)  # noqa: S311 - moments, not secrets
    spine.make(empty_database, 2000 if long else 200)
    unfinished = invalid = 0
    with psycopg.connect(empty_database, autocommit=True) as owner:
        of = columns(owner)
        before = sums(owner, of)
        kills = KILLS if long else SHORT
        for _ in range(kills):
            if schema.current(empty_database) == schema.needed():
                migrate(empty_database, spine.REVISION)
            with migrating(empty_database) as process:
                until(lambda: sessions(owner) or process.poll() is not None, "it began")
                time.sleep(chance.uniform(0, 0.3))
                process.kill()
            until(lambda: not sessions(owner), "the session of what was killed goes on")
            unfinished += schema.current(empty_database) != schema.needed()
            invalid += bool(invalid_indexes(owner))
            assert sums(owner, of) == before
        # The next start, by the command.
        with migrating(empty_database) as process:
            said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        assert f"The schema is at {schema.needed()}" in said
        assert catalog_of_parents(owner) == whole
        assert invalid_indexes(owner) == []
        assert sums(owner, of) == before
        version = owner.info.server_version // 10_000
    figure(f"PostgreSQL {version}, migrations killed", f"{kills}, unfinished {unfinished}, invalid indexes {invalid}")
