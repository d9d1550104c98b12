"""Databases to migrate, and a cluster where nothing of Reverie has ever been."""

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.servers import PASSWORD, SharedPostgres, SharedServers

from reverie.core import schema
from reverie.embedded.account import Place, account_for, servers_folder
from reverie.embedded.home import Home
from reverie.embedded.postgres import OWNER, SUPERUSER, Postgres

_numbers = itertools.count()

ADDED = "29990101_added"
"""The revision of a test's own migration."""

AddMigration = Callable[..., None]


@pytest.fixture(params=[18, 16], ids=["postgres-18", "postgres-16"])
def empty_database(request: pytest.FixtureRequest, shared_servers: SharedServers) -> Iterator[str]:
    """The URL of a database without tables, on the newest and on the oldest PostgreSQL."""
    server = shared_servers.postgres(request.param)
    name = f"migrate_{os.getpid()}_{next(_numbers)}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
def add_migration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AddMigration:
    """Adds a migration to those of this version: ``add_migration(upgrade="op.execute('…')", room={})``."""

    def add(upgrade: str, downgrade: str = "pass", room: dict[str, float] | None = None) -> None:
        before = schema.needed()
        shutil.copytree(schema.FOLDER, tmp_path / "alembic")
        monkeypatch.setattr(schema, "FOLDER", tmp_path / "alembic")
        (tmp_path / "alembic" / "versions" / f"{ADDED}.py").write_text(
            f"from alembic import op\n"
            f"from reverie.core.migrations import build_index\n"
            f'revision = "{ADDED}"\n'
            f'down_revision = "{before}"\n'
            f"ROOM = {room or {}!r}\n"
            f"def upgrade():\n    {upgrade}\n"
            f"def downgrade():\n    {downgrade}\n"
        )

    return add


class Cluster:
    """A PostgreSQL 16 of the test's own, with the role ``reverie`` and the superuser ``postgres``."""

    def __init__(self, server: Postgres) -> None:
        self._server = server

    def admin(self, database: str = SUPERUSER) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of the superuser, in autocommit."""
        return psycopg.connect(self._server.url(SUPERUSER, database), autocommit=True)

    def user(self, name: str, options: str = "") -> None:
        """Makes a login role with the password of all."""
        with self.admin() as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
                    sql.Identifier(name),
                    sql.SQL(options),
                    sql.Literal(PASSWORD),
                )
            )

    def database(self, name: str, owner: str = OWNER, *, pgvector: bool = True, encoding: str = "UTF8") -> str:
        """Makes a database and returns its URL for its owner."""
        with self.admin() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} ENCODING {} LOCALE 'C' TEMPLATE template0").format(
                    sql.Identifier(name), sql.Identifier(owner), sql.Literal(encoding)
                )
            )
        if pgvector:
            with self.admin(name) as connection:
                connection.execute("CREATE EXTENSION vector")
        return self._server.url(OWNER, name).replace(f"//{OWNER}:", f"//{owner}:")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A folder for a server, and the account that runs it."""
    folder = Path(tempfile.mkdtemp(prefix="rv-"))
    folder.chmod(0o755)
    home = Home(folder)
    with home.locked():
        account = account_for(home)
        yield Place(servers_folder(home, account, print), home.log, account, durable=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
async def cluster(place: Place) -> AsyncIterator[Cluster]:
    """A cluster that has no role ``reverie_app`` until a test makes it."""
    server = Postgres(place, superuser_password=PASSWORD, owner_password=PASSWORD, major=16)
    await server.start()
    yield Cluster(server)
    await server.stop()


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection of the owner to a migrated database, in autocommit."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def server(postgres: SharedPostgres) -> SharedPostgres:
    return postgres
