"""A migration that other sessions do not let through gives way, begins again, and at last says so in one sentence.

A limit that the database has for requests does not count for it.
"""

import psycopg
import pytest
from psycopg import sql
from tests.migrations import spine
from tests.migrations.catalog import invalid_indexes, migrate
from tests.migrations.conftest import ADDED, AddMigration

from reverie.core import migrations, schema
from reverie.core.errors import StartError

ALTERS = "op.execute('ALTER TABLE memory_user ADD COLUMN added integer')"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(migrations, "ATTEMPTS", 2)


@pytest.mark.usefixtures("impatient")
def test_a_reader_that_stays_keeps_it_out(empty_database: str, add_migration: AddMigration) -> None:
    migrations.upgrade(empty_database)
    add_migration(ALTERS)
    before = schema.current(empty_database)
    said: list[str] = []
    with psycopg.connect(empty_database) as reader:
        reader.execute("SELECT count(*) FROM memory_user")
        with pytest.raises(StartError, match=r"^Another session holds a lock on Reverie's tables: end it, or start"):
            migrations.upgrade(empty_database, tell=said.append)
    assert said == [
        f"Upgrading the store from schema {before} to {ADDED}",
        "Another session holds a lock on the tables: trying again",
    ]
    assert schema.current(empty_database) == before


@pytest.mark.usefixtures("impatient")
def test_a_reader_that_goes_lets_the_next_attempt_through(empty_database: str, add_migration: AddMigration) -> None:
    migrations.upgrade(empty_database)
    add_migration(ALTERS)
    said: list[str] = []
    with psycopg.connect(empty_database) as reader:
        reader.execute("SELECT count(*) FROM memory_user")

        def tell(line: str) -> None:
            said.append(line)
            if "trying again" in line:
                reader.commit()

        migrations.upgrade(empty_database, tell=tell)
    assert len(said) == 2
    assert schema.current(empty_database) == ADDED


@pytest.mark.usefixtures("impatient")
def test_who_has_read_what_is_remembered_does_not_keep_the_real_ones_out(empty_database: str) -> None:
    spine.make(empty_database, 10)
    with psycopg.connect(empty_database) as reader:
        for table in ("memory_trace", "memory_body", "memory_embedding", "memory_edge", "operation"):
            reader.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
        migrate(empty_database, "20261121_users_by_key")
        # From then on the tables themselves change, for which nobody may be reading them.
        with pytest.raises(StartError, match="Another session holds a lock on Reverie's tables"):
            migrations.upgrade(empty_database)
    migrations.upgrade(empty_database)
    assert schema.current(empty_database) == schema.needed()


def test_a_build_that_waits_too_long_says_so_and_is_finished_later(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "BUILD_PATIENCE", "200ms")
    spine.make(empty_database, 10)
    with psycopg.connect(empty_database) as writer:
        writer.execute("UPDATE operation SET error = 'x' WHERE false")
        with pytest.raises(StartError, match="operation_running waited 200ms for a transaction that another session"):
            migrations.upgrade(empty_database)
        with psycopg.connect(empty_database) as connection:
            assert invalid_indexes(connection) == ["operation_running"]
    migrations.upgrade(empty_database)
    with psycopg.connect(empty_database) as connection:
        assert invalid_indexes(connection) == []
    assert schema.current(empty_database) == schema.needed()


def test_a_limit_for_requests_ends_no_migration(empty_database: str, add_migration: AddMigration) -> None:
    migrations.upgrade(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as owner:
        name = sql.Identifier(owner.info.dbname)
        owner.execute(sql.SQL("ALTER DATABASE {} SET statement_timeout = '1s'").format(name))
    add_migration("op.execute('SELECT pg_sleep(1.2)')")
    migrations.upgrade(empty_database)
    assert schema.current(empty_database) == ADDED
