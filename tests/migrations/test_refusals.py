"""A PostgreSQL that cannot hold the store is refused with a sentence that says what to do."""

import pytest
from tests.migrations.conftest import Cluster

from reverie.core.errors import StartError
from reverie.core.migrations import unfit, upgrade
from reverie.core.schema import current


@pytest.mark.parametrize(
    ("number", "version", "encoding", "installed", "available", "words"),
    [
        (150010, "15.10", "UTF8", None, "0.8.5", ["PostgreSQL 16 or newer", "15.10", "install PostgreSQL 18"]),
        (180004, "18.4", "UTF8", None, None, ["no pgvector", "postgresql-18-pgvector"]),
        (170002, "17.2", "UTF8", None, "0.7.4", ["0.7.4", "postgresql-17-pgvector"]),
        (160014, "16.14", "UTF8", "0.7.4", "0.8.5", ["0.7.4", "run ALTER EXTENSION vector UPDATE"]),
        (160014, "16.14", "UTF8", "0.6.0", "0.7.0", ["install pgvector", "ALTER EXTENSION vector UPDATE"]),
        (180004, "18.4", "LATIN1", "0.8.5", "0.8.5", ["LATIN1", "UTF8", "CREATE DATABASE"]),
    ],
)
def test_what_is_too_old_or_missing_is_named(
    number: int, version: str, encoding: str, installed: str | None, available: str | None, words: list[str]
) -> None:
    sentence = unfit(number, version, "store", encoding, installed, available)
    assert sentence is not None
    for word in words:
        assert word in sentence


@pytest.mark.parametrize("installed", [None, "0.8.0", "0.8.5", "0.10.1", "1.0"])
def test_what_is_new_enough_is_accepted(installed: str | None) -> None:
    assert unfit(160000, "16.0", "store", "UTF8", installed, "0.8.0") is None


def test_a_database_in_another_encoding(cluster: Cluster) -> None:
    with pytest.raises(StartError, match="has the encoding LATIN1 and Reverie needs UTF8"):
        upgrade(cluster.database("latin", encoding="LATIN1"))


def test_an_owner_who_may_not_create_the_extension(cluster: Cluster) -> None:
    with pytest.raises(StartError, match="run CREATE EXTENSION vector in the database bare as a superuser"):
        upgrade(cluster.database("bare", pgvector=False))


def test_an_owner_who_may_not_create_roles(cluster: Cluster) -> None:
    without_role(cluster)
    cluster.user("plain")
    url = cluster.database("plain", "plain")
    with pytest.raises(StartError, match=r"CREATE ROLE reverie_app NOLOGIN; GRANT reverie_app TO plain WITH SET TRUE"):
        upgrade(url)
    with cluster.admin() as connection:
        connection.execute("CREATE ROLE reverie_app NOLOGIN")
    with pytest.raises(StartError, match="GRANT reverie_app TO plain WITH SET TRUE as a superuser"):
        upgrade(url)
    with cluster.admin() as connection:
        connection.execute("GRANT reverie_app TO plain WITH SET TRUE")
    upgrade(url)


def test_an_owner_who_may_do_all_that_is_needed(cluster: Cluster) -> None:
    without_role(cluster)
    cluster.user("maker", "CREATEROLE")
    upgrade(cluster.database("made", "maker"))
    with cluster.admin("made") as connection:
        found = connection.execute(
            "SELECT rolcanlogin, rolsuper, rolbypassrls, pg_has_role('maker', 'reverie_app', 'SET') FROM pg_roles"
            " WHERE rolname = 'reverie_app'"
        ).fetchone()
    assert found == (False, False, False, True)


def test_a_serving_role_that_walls_do_not_hold(cluster: Cluster) -> None:
    without_role(cluster)
    with cluster.admin() as connection:
        connection.execute("CREATE ROLE reverie_app NOLOGIN BYPASSRLS")
    with pytest.raises(StartError, match="ALTER ROLE reverie_app NOSUPERUSER NOBYPASSRLS"):
        upgrade(cluster.database("open"))
    without_role(cluster)


def test_a_server_that_is_not_there() -> None:
    for act in (upgrade, current):
        with pytest.raises(StartError, match=r"PostgreSQL does not let us in .*: check DATABASE_URL"):
            act("postgresql://reverie:secret@127.0.0.1:1/store")


def without_role(cluster: Cluster) -> None:
    """Takes the role away again, with the databases that use it."""
    with cluster.admin() as connection:
        used = "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1', 'reverie')"
        for (name,) in connection.execute(used).fetchall():
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        connection.execute("DROP ROLE IF EXISTS reverie_app")
