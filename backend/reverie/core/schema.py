"""Which schema a database has, and which one this version works with. Needs no Alembic, so that a start is quick."""

from pathlib import Path

import psycopg

from reverie.core.errors import StartError

FOLDER = Path(__file__).parents[3] / "alembic"
"""Where the migrations lie: beside ``backend``, where an editable install finds them."""


def revisions() -> list[str]:
    """The revisions that this version knows, oldest first: a file is named as its revision, and names sort.

    Raises:
        StartError: this installation has no migrations.
    """
    names = sorted(path.stem for path in (FOLDER / "versions").glob("[0-9]*.py"))
    if not names:
        raise StartError(
            f"The migrations are missing from {FOLDER}: install Reverie from a checkout with `pip install -e .`."
        )
    return names


def needed() -> str:
    """The revision that this version works with."""
    return revisions()[-1]


def current(database_url: str) -> str | None:
    """The revision of a database's schema; None for one that has none.

    Raises:
        StartError: the server cannot be reached.
    """
    try:
        with psycopg.connect(plain_url(database_url), connect_timeout=5) as connection:
            if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.OperationalError as error:
        raise StartError(unreachable(error)) from error
    return str(row[0]) if row else None


def check(database_url: str) -> None:
    """Makes sure that a database has exactly the schema of this version.

    Raises:
        StartError: it has an older one, a newer one or none.
    """
    found = current(database_url)
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
