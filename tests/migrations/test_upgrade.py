"""The schema comes and goes, with rows in it, and says the same as the models."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.migrations.catalog import catalog, migrate
from tests.migrations.conftest import Cluster
from tests.servers import SharedPostgres

from reverie.core import migrations, schema
from reverie.core.errors import StartError
from reverie.core.ids import uuid7
from reverie.models import Base
from reverie.tiers.partitions import ensure_partitions

ROOT = Path(__file__).parents[2]
MOMENT = datetime(2026, 11, 18, 12, tzinfo=UTC)


async def fill(url: str) -> None:
    """A row in every table that holds memory, with partitions around them."""
    space, user, model = uuid4(), uuid4(), "[" + ",".join(["0.1"] * 8) + "]"
    traces = [uuid7(MOMENT) for _ in range(2)]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO model (name, dim, precision, active, created_at) VALUES ('m', 8, 'fp16', true, %s)", (MOMENT,)
        )
        await ensure_partitions(connection, MOMENT, MOMENT)
        await connection.execute("INSERT INTO space (id, name, created_at) VALUES (%s, 's', %s)", (space, MOMENT))
        await connection.execute(
            "INSERT INTO memory_user (space_id, user_id, external_id, created_at, updated_at)"
            " VALUES (%s, %s, 'u', %s, %s)",
            (space, user, MOMENT, MOMENT),
        )
        for trace in traces:
            await insert_trace(connection, space, user, trace, model)
        await connection.execute(
            "INSERT INTO memory_edge (space_id, user_id, src, dst, type, ts) VALUES (%s, %s, %s, %s, 'next', %s)",
            (space, user, *traces, MOMENT),
        )


async def insert_trace(
    connection: "psycopg.AsyncConnection[tuple[Any, ...]]", space: UUID, user: UUID, trace: UUID, vector: str
) -> None:
    await connection.execute(
        "INSERT INTO memory_trace (space_id, user_id, id, kind, language, length, created_at, salience, salience_given,"
        " digest, vectors) VALUES (%s, %s, %s, 'note', 'english', 4, %s, 0.5, false, 'd', true)",
        (space, user, trace, MOMENT),
    )
    await connection.execute(
        "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
        " VALUES (%s, %s, %s, %s, 1, 2, 'word', 'word:1')",
        (space, user, trace, MOMENT),
    )
    await connection.execute(
        "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, vec)"
        " VALUES (%s, %s, %s, %s, 0, 0, 1, 2, %s)",
        (space, user, trace, MOMENT, vector),
    )


async def test_up_down_and_up_again_with_rows(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    assert schema.current(empty_database) == schema.needed()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        before = catalog(connection)
    await fill(empty_database)
    migrate(empty_database, "base")
    assert schema.current(empty_database) is None
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert catalog(connection) == set()
        assert connection.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'reverie%'").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'reverie_app'").fetchone() == (1,)
    migrations.upgrade(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert catalog(connection) == before
    await fill(empty_database)


async def test_upgrading_what_is_current_changes_nothing(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    await fill(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        before = catalog(connection)
        migrations.upgrade(empty_database)
        assert catalog(connection) == before
        assert connection.execute("SELECT count(*) FROM memory_body").fetchone() == (2,)


def test_the_models_make_the_same_tables(empty_database: str) -> None:
    with migrations.engine(empty_database).begin() as connection:
        Base.metadata.create_all(connection)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        modelled = catalog(connection)
        Base.metadata.drop_all(migrations.engine(empty_database))
        migrations.upgrade(empty_database)
        assert modelled == catalog(connection)


def test_alembic_finds_nothing_to_generate(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    with migrations.engine(empty_database).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


async def test_the_command_works_alone(server: SharedPostgres) -> None:
    url = server.create("by_command")
    try:
        assert alembic("upgrade", "head", url=url).returncode == 0
        await fill(url)
        other = url.replace("postgresql://", "postgresql+psycopg://")
        assert "No new upgrade operations" in alembic("check", url=other).stdout
        assert alembic("downgrade", "base", url=other).returncode == 0
        assert schema.current(url) is None
    finally:
        server.drop("by_command")


def test_the_command_says_what_is_missing() -> None:
    ran = alembic("upgrade", "head", url="")
    assert ran.returncode != 0
    assert "FAILED: DATABASE_URL is not set" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def alembic(*arguments: str, url: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_databases_of_a_cluster_are_migrated_at_the_same_time(cluster: Cluster) -> None:
    with cluster.admin() as connection:
        connection.execute("DROP ROLE IF EXISTS reverie_app")
    urls = [cluster.database(f"race_{n}") for n in range(2)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url},
            stderr=subprocess.PIPE,
            text=True,
        )
        for url in [*urls, urls[0]]
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert {schema.current(url) for url in urls} == {schema.needed()}


def test_what_a_newer_version_wrote_is_left_alone(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    schema.check(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '29991231_later'")
        before = catalog(connection)
        for act in (migrations.upgrade, schema.check):
            with pytest.raises(StartError, match=r"written by a newer version of Reverie .*29991231_later"):
                act(empty_database)
        assert catalog(connection) == before


def test_what_was_never_migrated_is_told_apart(server: SharedPostgres) -> None:
    url = server.create("never_migrated")
    try:
        with pytest.raises(StartError, match="run `reverie migrate`"):
            schema.check(url)
    finally:
        server.drop("never_migrated")


def test_revisions_are_named_as_their_files_and_in_order() -> None:
    scripts = list(ScriptDirectory(str(schema.FOLDER)).walk_revisions())
    assert [script.revision for script in reversed(scripts)] == schema.revisions()
    assert schema.needed() == scripts[0].revision
