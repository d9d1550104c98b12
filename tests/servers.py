"""One throw-away PostgreSQL and one Redis for a whole run of the tests, also when pytest-xdist shares it out.

A server is started by the first test that asks for it and used by all workers. It runs in a process of its own that
ends it when the run ends, however that happens: it reads from a named pipe which only pytest's main process holds open.

In ``conftest.py``: ``pytest_plugins = ["tests.servers"]``, then the fixture ``shared_servers``.
"""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg import sql

from reverie.core.errors import StartError
from reverie.embedded.account import Account, Place, account_for, servers_folder
from reverie.embedded.home import Home
from reverie.embedded.postgres import OWNER, SUPERUSER, Postgres
from reverie.embedded.redis import Redis

Kind = Literal["postgres-18", "postgres-16", "redis"]

PASSWORD = "for-tests"
REDIS_DATABASES = 256

_FOLDER = pytest.StashKey[Path]()
_ALIVE = pytest.StashKey[int]()


class SharedPostgres:
    """One running PostgreSQL, without fsync, in which every test may make databases of its own."""

    def __init__(self, template: str) -> None:
        self._template = template

    def url(self, database: str = OWNER, role: str = OWNER) -> str:
        """The URL of a database for the role ``reverie`` (as the service gets it) or ``postgres`` (the superuser)."""
        return self._template.replace("ROLE", role).replace("DATABASE", database)

    def create(self, database: str, template: str | None = None) -> str:
        """Makes a database owned by ``reverie``, with pgvector or as a copy of ``template``; returns its URL.

        Nobody may be connected to the template meanwhile.
        """
        with self._superuser() as connection:
            parts = [sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER))]
            if template is not None:
                parts.append(sql.SQL("TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template)))
            connection.execute(sql.SQL(" ").join(parts))
        if template is None:
            with self._superuser(database) as connection:
                connection.execute("CREATE EXTENSION vector")
        return self.url(database)

    def drop(self, database: str) -> None:
        """Drops a database, ending the connections to it."""
        with self._superuser() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def _superuser(self, database: str = SUPERUSER) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url(database, SUPERUSER), autocommit=True)


class SharedServers:
    """The servers of one run, each started when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def postgres(self, major: Literal[18, 16] = 18) -> SharedPostgres:
        """The PostgreSQL of that version."""
        return SharedPostgres(self._url("postgres-18" if major == 18 else "postgres-16"))

    def redis(self, database: int = 0) -> str:
        """The URL of one of REDIS_DATABASES databases; which one is whose is for the tests to agree on."""
        return self._url("redis").replace("DATABASE", str(database))

    def _url(self, kind: Kind) -> str:
        answer = self._folder / f"{kind}.json"
        with _locked(self._folder / f"{kind}.lock"):
            if not answer.exists():
                _launch(kind, self._folder, answer)
        return str(json.loads(answer.read_text())["url"])


@pytest.fixture(scope="session")
def shared_servers(request: pytest.FixtureRequest) -> SharedServers:
    """The servers that all tests of this run share."""
    return SharedServers(request.config.stash[_FOLDER])


def pytest_configure(config: pytest.Config) -> None:
    """Makes the folder in which the workers find the servers, and the pipe that keeps these running."""
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[_FOLDER] = Path(worker["servers"])
        return
    folder = Path(tempfile.mkdtemp(prefix="reverie-tests-"))
    folder.chmod(0o755)
    os.mkfifo(folder / "alive")
    config.stash[_FOLDER] = folder
    config.stash[_ALIVE] = os.open(folder / "alive", os.O_RDWR)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker of pytest-xdist where the folder is."""
    node.workerinput["servers"] = str(node.config.stash[_FOLDER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the servers and waits for them."""
    alive = config.stash.get(_ALIVE, None)
    if alive is None:
        return
    os.close(alive)
    folder = config.stash[_FOLDER]
    deadline = time.monotonic() + 20
    while list(folder.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _launch(kind: Kind, folder: Path, answer: Path) -> None:
    log = folder / f"{kind}.out"
    with log.open("w") as output:
        keeper = subprocess.Popen(  # noqa: S603
            [sys.executable, __file__, kind, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while not answer.exists():
        if keeper.poll() is not None:
            raise RuntimeError(f"{kind} did not start: {log.read_text()}")
        time.sleep(0.01)
    # It ends when the pipe closes, which may be long after this process: do not warn that it was not waited for.
    keeper.returncode = 0


async def _keep(kind: Kind, folder: Path) -> None:
    """Runs one server until the pipe closes; its answer stands in the folder for as long as it runs."""
    server, url = _server(kind, _place(folder / kind))
    answer = folder / f"{kind}.json"
    try:
        await server.start()
        draft = answer.with_suffix(".new")
        draft.write_text(json.dumps({"url": url()}))
        draft.rename(answer)
        await _closed(folder / "alive")
    finally:
        await server.stop()
        _leave(answer)


def _leave(answer: Path) -> None:
    """Takes the answer back; the last one removes the folder, which pytest did not if it was killed."""
    answer.unlink(missing_ok=True)
    if not list(answer.parent.glob("*.json")):
        shutil.rmtree(answer.parent, ignore_errors=True)


def _place(path: Path) -> Place:
    home = Home(path)
    with home.locked():
        account: Account | None = account_for(home)
        return Place(servers_folder(home, account, print), home.log, account, durable=False)


def _server(kind: Kind, place: Place) -> tuple[Postgres | Redis, Any]:
    if kind == "redis":
        redis = Redis(place, password=PASSWORD, databases=REDIS_DATABASES)
        return redis, lambda: redis.url().replace("db=0", "db=DATABASE")
    major = 18 if kind == "postgres-18" else 16
    postgres = Postgres(place, superuser_password=PASSWORD, owner_password=PASSWORD, major=major, max_connections=300)
    return postgres, lambda: postgres.url(OWNER, "DATABASE").replace(f"//{OWNER}:", "//ROLE:")


async def _closed(pipe: Path) -> None:
    """Waits until nobody has the pipe open for writing; returns at once when that is so already."""
    reader = asyncio.StreamReader()
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        await reader.read()


if __name__ == "__main__":
    try:
        asyncio.run(_keep(sys.argv[1], Path(sys.argv[2])))  # type: ignore[arg-type]
    except StartError as error:
        sys.exit(str(error))
