"""Which schema a database has, and which one this version works with. Needs no Alembic, so that a start is quick."""

import re
import time
from pathlib import Path

import psycopg

from reverie.core.errors import StartError
from reverie.core.outages import CHANGING, trouble_of

FOLDER = Path(__file__).parents[3] / "alembic"
"""Where the migrations lie: beside ``backend``, where an editable install finds them."""

PATIENCE = 20.0
"""Seconds for which a process that starts waits for a PostgreSQL that starts too."""

_ASSIGNED = re.compile(r"""^(revision|down_revision)\b[^=\n]*=\s*(?:["']([^"']*)["']|None\b)""", re.MULTILINE)
"""What a migration says of itself, as Alembic writes it; group 2 is unset for None."""


def revisions() -> list[str]:
    """The revisions that this version knows, oldest first.

    Raises:
        StartError: this installation has no migrations, or they do not follow one another.
    """
    texts = [path.read_text(encoding="utf-8") for path in (FOLDER / "versions").glob("[!_]*.py")]
    if not texts:
        raise StartError(
            f"The migrations are missing from {FOLDER}: install Reverie from a checkout with `pip install -e .`."
        )
    return in_order([{match[1]: match[2] for match in _ASSIGNED.finditer(text)} for text in texts])


def in_order(migrations: list[dict[str, str | None]]) -> list[str]:
    """The revisions of ``{"revision": …, "down_revision": …}`` from the first to the last.

    Raises:
        StartError: they are not one line.
    """
    after = {migration.get("down_revision"): migration.get("revision") for migration in migrations}
    line: list[str] = []
    following = after.get(None)
    while following is not None and following not in line:
        line.append(following)
        following = after.get(following)
    if len(line) != len(migrations):
        raise StartError(f"The migrations in {FOLDER} do not follow one another: install Reverie again.")
    return line


def needed() -> str:
    """The revision that this version works with."""
    return revisions()[-1]


def current(database_url: str, patience: float = 0.0) -> str | None:
    """The revision of a database's schema; None for one that has none.

    A server that is starting up, or recovers from a crash, is waited for, ``patience`` seconds at most.

    Raises:
        StartError: the server cannot be reached.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return _current(database_url)
        except psycopg.OperationalError as error:
            if trouble_of(error) is not CHANGING or time.monotonic() > end:
                raise StartError(unreachable(error)) from error
        time.sleep(0.2)


def _current(database_url: str) -> str | None:
    with psycopg.connect(plain_url(database_url), connect_timeout=5) as connection:
        if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def check(database_url: str) -> None:
    """Makes sure that a database has exactly the schema of this version.

    Raises:
        StartError: it has an older one, a newer one or none.
    """
    found = current(database_url, PATIENCE)
    refuse_newer(found)
    if found != needed():
        raise StartError("The schema of the database is not up to date: run `reverie migrate` and start again.")


def refuse_newer(found: str | None) -> None:
    """Refuses a revision that this version does not know.

    Raises:
        StartError: the store was written by a newer version.
    """
    if found is not None and found not in revisions():
        raise StartError(
            f"The store was written by a newer version of Reverie (its schema is {found}, this version's {needed()}): "
            "install that version, or name another database."
        )


def plain_url(database_url: str) -> str:
    """The URL as libpq reads it, from either scheme."""
    return database_url.replace("postgresql+psycopg://", "postgresql://", 1)


def unreachable(error: Exception) -> str:
    """The sentence about a server that lets nobody in."""
    return f"PostgreSQL does not let us in ({first_line(error)}): check DATABASE_URL."


def first_line(error: BaseException | None) -> str:
    """What an error says first, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
