"""The tests on other servers than those from wheels: what is refused, and that nothing is left or lost there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql
from tests.servers import SharedPostgres, SharedServers, chosen_stack, numbered

from reverie.core.errors import StartError

ROOT = Path(__file__).parents[2]
FIRST = 200
"""Databases of Redis from here on are used by no other test."""

RUN = """
import sys, time
import psycopg, redis, pytest
from reverie.core.errors import StartError
from reverie.core.migrations import upgrade

def test_it(shared_servers):
    postgres = shared_servers.postgres()
    url = postgres.create("mine")
    upgrade(url)
    again = postgres.create("copied", "mine")
    with psycopg.connect(again) as connection:
        print("ROLE", connection.execute("SELECT current_user, current_database()").fetchone(), file=sys.__stderr__)
        assert connection.execute("SELECT count(*) FROM memory_trace").fetchone() == (0,)
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
    postgres.drop("copied")
    with redis.Redis.from_url(shared_servers.redis(1)) as client:
        client.set("ours", "1")
    with redis.Redis.from_url(shared_servers.redis(1)) as client:
        assert client.get("ours") == b"1"
    with pytest.raises(StartError, match="holds 1 keys that the tests did not write"):
        shared_servers.redis(2)
    print("DONE", file=sys.__stderr__, flush=True)
    time.sleep({waits})
"""

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def nested(open_folder: Path) -> Run:
    """Starts pytest on one test of its own, with these variables."""

    def run(waits: float = 0, **variables: str) -> "subprocess.Popen[str]":
        (open_folder / "conftest.py").write_text('pytest_plugins = ["tests.servers"]\n')
        (open_folder / "test_run.py").write_text(RUN.replace("{waits}", str(waits)))
        known = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER", "TESTCONTAINERS"))}
        own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(open_folder), "HOME": str(open_folder)}
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", os.devnull, str(open_folder)],
            env=known | own | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def test_containers_without_an_engine(nested: Run) -> None:
    run = nested(REVERIE_TEST_STACK="containers", DOCKER_HOST="tcp://127.0.0.1:1")
    said, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR, said
    (line,) = said.strip().splitlines()
    assert line.startswith("ERROR: REVERIE_TEST_STACK=containers needs a Docker engine, and none answers (")
    assert line.endswith("): start one, or leave the variable unset.")


def test_what_must_be_given(given: SharedPostgres, given_redis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    superuser = given.url(role="postgres")
    for stack, database_url, redis_url, sentence in (
        ("mine", "", "", r"^REVERIE_TEST_STACK takes embedded, containers or given, not 'mine'\.$"),
        ("given", superuser, "", r"^REVERIE_TEST_STACK=given needs DATABASE_URL and REDIS_URL: name servers"),
        ("given", "postgresql://x@127.0.0.1:1/0", given_redis, r"^DATABASE_URL names no PostgreSQL for the tests \("),
        ("given", superuser, "redis://127.0.0.1:1/0", r"^REDIS_URL names no Redis for the tests \("),
        ("given", superuser, "http://127.0.0.1:1/0", r"^REDIS_URL names no Redis for the tests \("),
        ("given", given.url(), given_redis, r"^REVERIE_TEST_STACK=given needs a superuser .* and reverie is none: "),
    ):
        monkeypatch.setenv("REVERIE_TEST_STACK", stack)
        monkeypatch.setenv("DATABASE_URL", database_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        with pytest.raises(StartError, match=sentence):
            chosen_stack()
        assert not {"DATABASE_URL", "REDIS_URL"} & set(os.environ)


def test_what_is_somebodys_own_is_hidden_from_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REVERIE_TEST_STACK", raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebodys/own")
    monkeypatch.setenv("REDIS_URL", "redis://somebodys")
    assert chosen_stack() == {"stack": "embedded"}
    assert not {"DATABASE_URL", "REDIS_URL"} & set(os.environ)


@pytest.fixture
def given(shared_servers: SharedServers) -> SharedPostgres:
    """A server that stands in for somebody's own."""
    return shared_servers.embedded_postgres()


@pytest.fixture
def given_redis(shared_servers: SharedServers) -> str:
    """A Redis that stands in for somebody's own."""
    return shared_servers.embedded_redis(FIRST)


@pytest.fixture
def somebodys(given: SharedPostgres) -> Iterator[str]:
    """The superuser's URL of a database with a table, on a server whose owner knows nothing of tests."""
    name = f"somebodys_{os.getpid()}"
    url = given.url(name, "postgres")
    with psycopg.connect(given.url(role="postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(url, autocommit=True) as theirs:
            theirs.execute("CREATE TABLE precious AS SELECT 7 AS value")
        yield url
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def somebodys_redis(given_redis: str) -> Iterator[str]:
    """The URL of a Redis where the next database is free, and the one after that is in use."""
    template, _ = numbered(given_redis)
    with redis.Redis.from_url(template.replace("{number}", str(FIRST + 2))) as client:
        client.set("precious", "7")
        yield template.replace("{number}", str(FIRST))
        assert client.get("precious") == b"7"
        client.flushdb()


def made_by_runs(server: SharedPostgres) -> tuple[list[str], list[str]]:
    """The databases and the roles that runs on this server as a given one have made."""
    with psycopg.connect(server.url(role="postgres"), autocommit=True) as connection:
        names = [
            "SELECT datname FROM pg_database WHERE datname LIKE 'reverie\\_tests\\_%'",
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'reverie\\_tests\\_%'",
        ]
        databases, roles = ([row[0] for row in connection.execute(name.encode()).fetchall()] for name in names)
    return databases, roles


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_a_run_on_given_servers_that(
    end: str, nested: Run, given: SharedPostgres, somebodys: str, somebodys_redis: str
) -> None:
    variables = {"REVERIE_TEST_STACK": "given", "DATABASE_URL": somebodys, "REDIS_URL": somebodys_redis}
    said = ""
    with nested(waits=60 if end == "is killed" else 0, **variables) as run:
        assert run.stdout is not None
        for line in run.stdout:
            said += line
            if line.startswith("DONE") and end == "is killed":
                databases, roles = made_by_runs(given)
                assert len(databases) == 2
                assert len(roles) == 1
                run.send_signal(signal.SIGKILL)
                break
    assert "ROLE ('reverie_tests_" in said, said
    if end == "ends":
        assert run.returncode == 0, said
    deadline = time.monotonic() + 30
    while made_by_runs(given) != ([], []):
        assert time.monotonic() < deadline, made_by_runs(given)
        time.sleep(0.02)
    with psycopg.connect(somebodys) as connection:
        assert connection.execute("SELECT value FROM precious").fetchone() == (7,)
        tables = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert tables.fetchall() == [("precious",)]
    used = somebodys_redis.replace(str(FIRST), str(FIRST + 1))
    with redis.Redis.from_url(used) as client:
        while client.dbsize():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_no_database_is_taken_or_dropped_that_the_run_did_not_make(given: SharedPostgres, somebodys: str) -> None:
    name = f"somebodys_{os.getpid()}"
    with pytest.raises(StartError, match=f"^There is a database {name} already: the tests take none"):
        given.create(name)
    with pytest.raises(StartError, match=f"^The database {name} was not made by this run of the tests: it stays"):
        given.drop(name)
    with psycopg.connect(somebodys) as connection:
        assert connection.execute("SELECT value FROM precious").fetchone() == (7,)
    given.drop("there_is_none")


def test_a_redis_database_with_something_in_it_is_not_used(shared_servers: SharedServers, given_redis: str) -> None:
    template, _ = numbered(given_redis)
    number = FIRST + 10
    with redis.Redis.from_url(template.replace("{number}", str(number))) as client:
        client.set("precious", "7")
        with pytest.raises(StartError, match=rf"^The Redis database {number} holds 1 keys"):
            shared_servers.embedded_redis(number)
        assert client.get("precious") == b"7"
        client.flushdb()
    with pytest.raises(StartError, match=r"^Redis has no database 99999 for the tests \("):
        shared_servers.embedded_redis(99_999)


@pytest.mark.parametrize(
    ("url", "template", "number"),
    [
        ("redis://:p%40w@host:1/4?ssl=1", "redis://:p%40w@host:1/{number}?ssl=1", 4),
        ("rediss://host", "rediss://host/{number}", 0),
        ("redis://host/2?db=3", "redis://host/{number}", 3),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db={number}", 0),
        ("unix://:pw@/run/redis.sock?db=7", "unix://:pw@/run/redis.sock?db={number}", 7),
    ],
)
def test_where_the_number_of_a_redis_database_stands(url: str, template: str, number: int) -> None:
    assert numbered(url) == (template, number)
