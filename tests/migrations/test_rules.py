"""What every migration keeps to, those of today and those to come."""

import ast
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event
from tests.migrations import spine
from tests.migrations.catalog import migrate
from tests.migrations.conftest import ADDED, AddMigration

from reverie.core import migrations, schema

Statements = list[tuple[str, str]]

CHANGES = re.compile(r"\s*(?:CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|UPDATE|DELETE|TRUNCATE|REINDEX)\b")
TABLE = re.compile(r"\bCREATE TABLE (\w+)")
INDEX = re.compile(r"\bCREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)(?:IF NOT EXISTS )?\w+ ON (\w+)")


@contextmanager
def watched() -> Iterator[Statements]:
    """The statements that change something, each with the lock_timeout that is in force on its connection."""
    seen: Statements = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if CHANGES.match(statement):
            seen.append((cursor.connection.execute("SHOW lock_timeout").fetchone()[0], statement))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_they_are_one_line_named_as_their_files() -> None:
    scripts = ScriptDirectory(str(schema.FOLDER))
    line = [script.revision for script in scripts.walk_revisions()]
    assert scripts.get_heads() == [schema.needed()]
    assert scripts.get_bases() == [spine.REVISION]
    assert list(reversed(line)) == schema.revisions()
    files = {path.stem for path in (schema.FOLDER / "versions").glob("*.py")}
    assert files == set(line)


@pytest.mark.parametrize("revision", schema.revisions())
def test_each_goes_both_ways_and_says_what_it_writes(revision: str) -> None:
    path = Path(schema.FOLDER, "versions", f"{revision}.py")
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    bodies = {node.name: node.body for node in tree.body if isinstance(node, ast.FunctionDef)}
    for way in ("upgrade", "downgrade"):
        assert not all(isinstance(step, ast.Pass | ast.Raise) for step in bodies[way]), way
    if revision != spine.REVISION:
        script = ScriptDirectory(str(schema.FOLDER)).get_revision(revision)
        assert isinstance(script.module.ROOM, dict)


def test_no_statement_waits_long_and_no_index_keeps_writers_out(empty_database: str) -> None:
    spine.make(empty_database, 20)
    known = schema.revisions()
    for revision in [*known[1:], *reversed(known[:-1]), "base", *known]:
        with watched() as statements:
            migrate(empty_database, revision)
        assert statements
        made = {table for _, statement in statements for table in TABLE.findall(statement)}
        for timeout, statement in statements:
            assert timeout != "0", statement
            if "CONCURRENTLY" not in statement:
                assert milliseconds(timeout) <= 2000, statement
            assert set(INDEX.findall(statement)) <= made, statement


def milliseconds(setting: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(ms|s|min)", setting).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 1, "s": 1000, "min": 60_000}[unit]


def test_tables_that_are_written_are_there(empty_database: str) -> None:
    migrate(empty_database, spine.REVISION)
    for revision in schema.revisions()[1:]:
        script = ScriptDirectory(str(schema.FOLDER)).get_revision(revision)
        with psycopg.connect(empty_database) as connection:
            for table in script.module.ROOM:
                assert connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,), table
        migrate(empty_database, revision)


def test_the_timeout_is_in_force_in_a_migration_and_in_its_autocommit_blocks(
    empty_database: str, add_migration: AddMigration
) -> None:
    add_migration(
        "op.execute(\"CREATE TABLE seen AS SELECT 'before' AS at, current_setting('lock_timeout') AS timeout\")\n"
        "    with op.get_context().autocommit_block():\n"
        "        op.execute(\"INSERT INTO seen SELECT 'between', current_setting('lock_timeout')\")\n"
        "        build_index('seen_at', 'seen (at)')\n"
        "    op.execute(\"INSERT INTO seen SELECT 'after', current_setting('lock_timeout')\")"
    )
    migrations.upgrade(empty_database)
    assert schema.current(empty_database) == ADDED
    with psycopg.connect(empty_database) as connection:
        seen = connection.execute("SELECT at, timeout FROM seen").fetchall()
        deadlock = connection.execute("SHOW deadlock_timeout").fetchone()
    assert seen == [("before", "1500ms"), ("between", "1500ms"), ("after", "1500ms")]
    assert deadlock == ("1s",)


def test_a_new_migration_begins_with_the_template(tmp_path: Path) -> None:
    folder = tmp_path / "alembic"
    shutil.copytree(schema.FOLDER, folder)
    made = ScriptDirectory(str(folder)).generate_revision("made", "Something more", refresh=True)
    assert made is not None
    assert (made.module.ROOM, made.module.down_revision, made.doc) == ({}, schema.needed(), "Something more.")
