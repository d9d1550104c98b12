"""A store that the first released schema wrote is upgraded in place, and nothing in it changes."""

import time
from itertools import pairwise

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from tests.figures import Figure
from tests.migrations import spine
from tests.migrations.catalog import catalog, catalog_of_parents, columns, invalid_indexes, migrate, sums
from tests.servers import SharedPostgres

from reverie.core import migrations, schema
from reverie.models import Base

TRACES, SHORT = 100_000, 2_000


@pytest.mark.timeout(900)
def test_every_row_is_what_it_was(
    empty_database: str, server: SharedPostgres, long: bool, figure: Figure, worker_id: str
) -> None:
    traces = TRACES if long else SHORT
    spine.make(empty_database, traces)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        of = columns(connection)
        before = sums(connection, of)
        assert {before[name][0] for name in ("memory_trace", "memory_body", "memory_embedding")} == {traces}
        assert all(rows for rows, _ in before.values())
    said: list[str] = []
    began = time.monotonic()
    migrations.upgrade(empty_database, tell=said.append)
    took = time.monotonic() - began
    assert said == [f"Upgrading the store from schema {spine.REVISION} to {schema.needed()}"]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        version = connection.info.server_version // 10_000
        figure(f"PostgreSQL {version}, {traces} traces, upgrade", f"{took:.2f} s")
        assert sums(connection, of) == before
        assert schema.current(empty_database) == schema.needed()
        assert invalid_indexes(connection) == []
        upgraded, fresh = catalog_of_parents(connection), server.create(f"fresh_{worker_id}_{version}")
    try:
        migrations.upgrade(fresh)
        with psycopg.connect(fresh, autocommit=True) as connection:
            assert upgraded == catalog(connection)
    finally:
        server.drop(f"fresh_{worker_id}_{version}")


def test_alembic_finds_nothing_to_generate_beside_partitions(empty_database: str) -> None:
    spine.make(empty_database, 10)
    migrations.upgrade(empty_database)
    with migrations.engine(empty_database).connect() as connection:
        partitions = migrations.prepare(connection)
        assert len(partitions) >= 8
        options = {"compare_server_default": True, "include_name": lambda name, *_: name not in partitions}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_each_migration_goes_down_and_up_again_without_loss(empty_database: str) -> None:
    """What stands in the columns of before; a new column's own values go with it."""
    spine.make(empty_database, 100)
    known = schema.revisions()
    assert known[0] == spine.REVISION
    for below, revision in pairwise(known):
        with psycopg.connect(empty_database, autocommit=True) as connection:
            of, shape = columns(connection), catalog(connection)
            before = sums(connection, of)
        migrate(empty_database, revision)
        with psycopg.connect(empty_database, autocommit=True) as connection:
            new_shape = catalog(connection)
        migrate(empty_database, below)
        with psycopg.connect(empty_database, autocommit=True) as connection:
            assert (catalog(connection), sums(connection, of)) == (shape, before), revision
        migrate(empty_database, revision)
        with psycopg.connect(empty_database, autocommit=True) as connection:
            assert (catalog(connection), sums(connection, of)) == (new_shape, before), revision
