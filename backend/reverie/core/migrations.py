"""Bringing a database to this version's schema, and refusing one that Reverie cannot serve.

Imported only by what migrates: Alembic takes a good part of a second to load.

The migrations themselves are Alembic's, in the folder ``alembic`` beside ``backend``: an editable install finds it
there, and ``alembic upgrade head`` runs the same ones from the root of the repository.
"""

import time
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from reverie.core.errors import StartError
from reverie.core.schema import FOLDER, first_line, needed, plain_url, refuse_newer, unreachable

MINIMUM_SERVER = 16
MINIMUM_PGVECTOR = (0, 8)
"""``halfvec`` came with pgvector 0.7, iterative scans with 0.8."""

LOCK = 0x7265_7665_7269_65
"""Advisory lock of those who migrate this database: the bytes of "reverie"."""

_FACTS = text("""
    SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_database(),
           pg_encoding_to_char(encoding),
           (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
           (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')
    FROM pg_database WHERE datname = current_database()
""")


def upgrade(database_url: str) -> None:
    """Creates or upgrades the schema of a database; does nothing when it is current. Blocks: call it from a thread.

    Two callers at once take turns.

    Raises:
        StartError: one sentence that says what to install, to grant or to change.
    """
    config = _config()
    config.attributes["url"] = database_url
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        raise StartError(_sentence(error.orig)) from error


def engine(database_url: str) -> Engine:
    """An engine for either scheme. libpq reads the URL, so everything that psycopg understands works here too."""

    def connect() -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(plain_url(database_url), application_name="reverie-migrate", connect_timeout=5)

    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)


def prepare(connection: Connection) -> set[str]:
    """Checks the server, waits until nobody else migrates this database, and names the partitions that stand in it.

    Raises:
        StartError: Reverie cannot be served from this database.
    """
    facts = connection.execute(_FACTS).one()
    problem = unfit(*facts)
    if problem is not None:
        raise StartError(problem)
    # Polled, because a statement that waits for the lock holds a snapshot, and CREATE INDEX CONCURRENTLY of the one who
    # has it would wait for that snapshot.
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}):
        connection.commit()
        time.sleep(0.1)
    partitions = connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition"))
    names = {str(name) for name in partitions}
    refuse_newer(MigrationContext.configure(connection).get_current_revision())
    connection.commit()
    return names


def unfit(
    number: int, version: str, database: str, encoding: str, installed: str | None, available: str | None
) -> str | None:
    """The sentence that says why a server cannot be used and what to install; None when it can.

    ``number`` is server_version_num; ``installed`` and ``available`` are pgvector's version in the database and on the
    server's disk.
    """
    if number // 10_000 < MINIMUM_SERVER:
        return (
            f"Reverie needs PostgreSQL {MINIMUM_SERVER} or newer and this server is {version}: install PostgreSQL 18, "
            "or leave DATABASE_URL empty and let `reverie up` bring its own."
        )
    if encoding != "UTF8":
        return (
            f"The database {database} has the encoding {encoding} and Reverie needs UTF8: create one with "
            f"CREATE DATABASE reverie ENCODING 'UTF8' TEMPLATE template0."
        )
    package = f"install pgvector 0.8 or newer on the server (package postgresql-{number // 10_000}-pgvector on Debian)"
    if installed is None and available is None:
        return f"This PostgreSQL has no pgvector: {package} and start again."
    if installed is None and _older(available):
        return f"Reverie needs pgvector 0.8 or newer and this server has {available}: {package} and start again."
    if installed is not None and _older(installed):
        first = "" if not _older(available) else f"{package} and "
        return (
            f"Reverie needs pgvector 0.8 or newer and the database {database} has {installed}: "
            f"{first}run ALTER EXTENSION vector UPDATE as its owner."
        )
    return None


def _older(version: str | None) -> bool:
    numbers = (version or "0").split(".")
    return tuple(int(number) for number in numbers[:2] if number.isdigit()) < MINIMUM_PGVECTOR


def _config() -> Config:
    needed()
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def _sentence(error: BaseException | None) -> str:
    reason = first_line(error)
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return unreachable(error)
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "Another session holds a lock on Reverie's tables: run `reverie migrate` again when it is done."
    return f"The schema could not be upgraded ({reason}): mend that and run `reverie migrate` again."
