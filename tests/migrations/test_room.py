"""An upgrade that would fill the disk is not begun."""

from pathlib import Path

import psycopg
import pytest
from tests.migrations import spine
from tests.migrations.catalog import catalog, columns, sums
from tests.migrations.conftest import AddMigration

from reverie.core import migrations, schema
from reverie.core.errors import StartError


def full(_folder: Path) -> int:
    return 1_000_000


def test_too_little_room_is_one_sentence_and_changes_nothing(empty_database: str) -> None:
    spine.make(empty_database, 100)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        of = columns(connection)
        before = catalog(connection), sums(connection, of)
        sentence = (
            r"^Upgrading the store needs (?:6[89]|70) MB of free disk and /the/data has 1: "
            r"make room and start again; nothing was changed\.$"
        )
        with pytest.raises(StartError, match=sentence):
            migrations.upgrade(empty_database, data=Path("/the/data"), free=full)
        assert (catalog(connection), sums(connection, of)) == before
    assert schema.current(empty_database) == spine.REVISION


def test_the_disk_itself_is_asked(empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spine.make(empty_database, 10)
    monkeypatch.setattr(migrations, "RESERVE", 1 << 60)
    with pytest.raises(StartError, match=f"of free disk and {tmp_path} has [0-9]+: make room"):
        migrations.upgrade(empty_database, data=tmp_path)
    monkeypatch.undo()
    migrations.upgrade(empty_database, data=tmp_path)
    assert schema.current(empty_database) == schema.needed()


def test_an_empty_database_needs_none(empty_database: str) -> None:
    migrations.upgrade(empty_database, data=Path("/the/data"), free=full)
    assert schema.current(empty_database) == schema.needed()


def test_a_share_is_of_the_table_with_its_indexes_and_partitions(
    empty_database: str, add_migration: AddMigration
) -> None:
    spine.make(empty_database, 1000)
    migrations.upgrade(empty_database)
    current = schema.needed()
    add_migration("pass", room={"memory_embedding": 0.5, "operation": 1.0, "not_there": 1.0})
    query = (
        "SELECT (SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relispartition AND relkind = 'r'"
        " AND relname LIKE 'memory_embedding%'), pg_total_relation_size('operation')"
    )
    with psycopg.connect(empty_database) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
    vectors, operations = row
    assert vectors > 2_000_000
    with migrations.engine(empty_database).connect() as connected:
        assert migrations.room_needed(connected, current) == migrations.RESERVE + int(vectors) + 2 * operations
