"""Bringing a database to this version's schema, and refusing one that Reverie cannot serve.

Imported only by what migrates: Alembic takes a good part of a second to load.

The migrations themselves are Alembic's, in the folder ``alembic`` beside ``backend``: an editable install finds it
there, and ``alembic upgrade head`` runs the same ones from the root of the repository.

A migration that was released is never edited. Each leaves readers and writers alone: it waits only briefly for a lock
(:func:`prepare`), builds indexes on tables that may be large with :func:`build_index`, and says in ``ROOM`` how much it
writes: a share of what each table takes on the disk, with its indexes and partitions. One that was killed at any moment
is finished by the next run.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from reverie.core import schema
from reverie.core.errors import StartError
from reverie.core.schema import first_line, needed, plain_url, refuse_newer, unreachable

MINIMUM_SERVER = 16
MINIMUM_PGVECTOR = (0, 8)
"""``halfvec`` came with pgvector 0.7, iterative scans with 0.8."""

LOCK = 0x7265_7665_7269_65
"""Advisory lock of those who migrate this database: the bytes of "reverie"."""

ATTEMPTS = 5
PAUSE_SECONDS = 1.0
"""How often a migration is begun that other sessions do not let through, and about how long it rests in between."""

BUILD_PATIENCE = "10min"
"""How long the build of an index waits for transactions that are older than it; nobody waits behind it meanwhile."""

RESERVE = 64 * 1024 * 1024
"""Bytes that must stay free beside what a migration writes."""

_BLOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

_SESSION = text("""
    SELECT
        -- Readers queue behind DDL that waits: rather give up and be begun again. A little longer than
        -- deadlock_timeout, for only a waiter who outlasts that makes PostgreSQL cancel an autovacuum.
        set_config('lock_timeout', setting::int + 500 || 'ms', false),
        -- A limit that the role or the database has for requests would end the build of a large index each time.
        set_config('statement_timeout', '0', false)
    FROM pg_settings WHERE name = 'deadlock_timeout'
""")

_WATCH_CLIENT = text("""
    DO $$
    BEGIN
        -- What a killed migration was doing ends with it, instead of keeping the next one waiting.
        PERFORM set_config('client_connection_check_interval', '1s', false);
    EXCEPTION
        -- The server's system cannot tell.
        WHEN invalid_parameter_value THEN NULL;
    END
    $$
""")

_SIZE = text("""
    SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
    WHERE oid = to_regclass(:name) OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(:name))
""")

_VALID = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")

_FACTS = text("""
    SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_database(),
           pg_encoding_to_char(encoding),
           (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
           (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')
    FROM pg_database WHERE datname = current_database()
""")


def free_bytes(folder: Path) -> int:
    """The bytes that are free where a folder lies, for those who are not root."""
    return shutil.disk_usage(folder).free


def upgrade(
    database_url: str,
    *,
    data: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
    free: Callable[[Path], int] = free_bytes,
) -> None:
    """Creates or upgrades the schema of a database; does nothing when it is current. Blocks: call it from a thread.

    Two callers at once take turns. Where other sessions hold a lock it gives up within seconds and begins again, with
    jitter, ATTEMPTS times in all.

    Args:
        database_url: of the owner of the schema.
        data: the folder of the server's data, if it lies on this machine: a store with tables is then only upgraded
            where the disk has room for that. The disk of another machine's server cannot be seen, and is not checked.
        tell: hears, a line each, that an existing store is upgraded and what it waits for.
        free: how many bytes are free in a folder.

    Raises:
        StartError: one sentence that says what to install, to grant or to change.
    """
    config = _config()
    config.attributes["url"] = database_url
    config.attributes["begin"] = _Beginning(data, tell, free)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            command.upgrade(config, "head")
        except DBAPIError as error:
            if not isinstance(error.orig, _BLOCKED) or attempt == ATTEMPTS:
                raise StartError(_sentence(error.orig)) from error
            tell("Another session holds a lock on the tables: trying again")
            time.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
        else:
            return


class _Beginning:
    """What happens between the checks of the server and the first migration, by whoever has the turn."""

    def __init__(self, data: Path | None, tell: Callable[[str], None], free: Callable[[Path], int]) -> None:
        self._data = data
        self._tell = tell
        self._free = free
        self._told = False

    def __call__(self, connection: Connection) -> None:
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found != needed():
            if self._data is not None:
                check_room(room_needed(connection, found), self._free(self._data), self._data)
            if not self._told:
                self._tell(f"Upgrading the store from schema {found} to {needed()}")
                self._told = True
        connection.commit()


def room_needed(connection: Connection, found: str) -> int:
    """The bytes that must be free to bring a store from revision ``found`` to this version's.

    What the migrations say that they write, twice, since it also goes through the write-ahead log; and RESERVE.
    """
    scripts = ScriptDirectory.from_config(_config()).iterate_revisions(needed(), found)
    written = 0.0
    for name, share in (item for script in scripts for item in script.module.ROOM.items()):
        written += share * int(connection.scalar(_SIZE, {"name": name}) or 0)
    return RESERVE + round(2 * written)


def check_room(needed_bytes: int, free: int, data: Path) -> None:
    """Refuses an upgrade that would fill the disk.

    Raises:
        StartError: fewer bytes are free than needed.
    """
    if free < needed_bytes:
        raise StartError(
            f"Upgrading the store needs {_megabytes(needed_bytes)} MB of free disk and {data} has {_megabytes(free)}: "
            "make room and start again; nothing was changed."
        )


def build_index(name: str, definition: str, *, unique: bool = False) -> None:
    """Makes an index beside readers and writers, whatever a killed build left of it. For migrations, within
    ``op.get_context().autocommit_block()``.

    Args:
        name: of the index.
        definition: what follows ON, such as ``operation (lease_until) WHERE state = 'running'``.
        unique: whether it holds each value once.

    Raises:
        StartError: another session kept a transaction open for longer than BUILD_PATIENCE.
    """
    connection = op.get_bind()
    valid = connection.scalar(_VALID, {"name": name})
    if valid:
        return
    with _patience(connection, name):
        if valid is False:
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")
        connection.exec_driver_sql(f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {name} ON {definition}")


def drop_index(name: str) -> None:
    """Drops an index beside readers and writers, if it is there. For migrations, as :func:`build_index`."""
    connection = op.get_bind()
    with _patience(connection, name):
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


@contextmanager
def _patience(connection: Connection, name: str) -> Iterator[None]:
    """Lets statements wait for BUILD_PATIENCE: they hold up nobody who reads or writes."""
    usual = connection.scalar(text("SELECT current_setting('lock_timeout')"))
    connection.exec_driver_sql(f"SET lock_timeout = '{BUILD_PATIENCE}'")
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise StartError(
                f"The index {name} waited {BUILD_PATIENCE} for a transaction that another session keeps open: end that "
                "one and start again."
            ) from error
        raise
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql(f"SET lock_timeout = '{usual}'")


def engine(database_url: str) -> Engine:
    """An engine for either scheme. libpq reads the URL, so everything that psycopg understands works here too."""

    def connect() -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(plain_url(database_url), application_name="reverie-migrate", connect_timeout=5)

    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)


def prepare(connection: Connection) -> set[str]:
    """Checks the server, waits until nobody else migrates this database, and names the partitions that stand in it.

    From here on the connection waits no more than a second or two for any lock, in and between transactions, and ends
    soon after its client does.

    Raises:
        StartError: Reverie cannot be served from this database.
    """
    facts = connection.execute(_FACTS).one()
    problem = unfit(*facts)
    if problem is not None:
        raise StartError(problem)
    connection.execute(_SESSION)
    connection.execute(_WATCH_CLIENT)
    connection.commit()
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
    config.set_main_option("script_location", str(schema.FOLDER).replace("%", "%%"))
    return config


def _sentence(error: BaseException | None) -> str:
    reason = first_line(error)
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return unreachable(error)
    if isinstance(error, _BLOCKED):
        return "Another session holds a lock on Reverie's tables: end it, or start again when it is done."
    if isinstance(error, psycopg.errors.DiskFull):
        return f"The schema could not be upgraded ({reason}): make room on the server's disk and start again."
    return f"The schema could not be upgraded ({reason}): mend that and run `reverie migrate` again."


def _megabytes(count: int) -> int:
    return -(-count // 1_000_000)
