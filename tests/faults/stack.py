"""The whole service for tests of faults: PostgreSQL and Redis as in production, APIs and workers as processes.

Each part can be killed or frozen, and whatever ends is started again, as ``reverie up`` does it but without longer and
longer pauses.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from signal import Signals
from typing import Any, Protocol

import httpx
import psycopg

from reverie.core.config import Settings, load_settings
from reverie.core.errors import StartError
from reverie.core.migrations import upgrade
from reverie.embedded.account import Place, account_for, servers_folder
from reverie.embedded.home import Home
from reverie.embedded.postgres import Postgres, free_port
from reverie.embedded.process import Process, processes_in
from reverie.embedded.redis import Redis
from reverie.embedded.supervisor import answers, side_by_side
from tests.processes import environment, make_key
from tests.waiting import START_PATIENCE

PAUSE = 0.5
"""Seconds before what has ended is started again: the first pause of ``reverie up``."""


class Child(Protocol):
    """What :class:`Kept` starts again when it ends."""

    async def start(self) -> None: ...

    async def wait(self) -> int: ...

    async def stop(self) -> None: ...


class Command:
    """A command of ``reverie`` as a process of its own; what it prints goes to a file."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        self._command = [sys.executable, "-m", "reverie", *command]
        self._environment = environment
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process, None while there is none."""
        return self._process.pid if self._process is not None and self._process.running else None

    async def start(self) -> None:
        """Starts it; that does not yet say that it is ready."""
        self._process = await Process.start(self._command, environment=self._environment, log=self.log)

    async def wait(self) -> int:
        """Waits for its end; the exit code."""
        return await self._process.wait() if self._process is not None else 0

    async def stop(self) -> None:
        """Ends it as an operator does, killing it after a while."""
        if self._process is not None:
            await self._process.end((Signals.SIGTERM, 20.0))


class Kept:
    """A part of the stack that is started again whenever it ends, until :meth:`stop`.

    Attributes:
        name: what a person calls it.
        starts: how often it was started.
    """

    def __init__(self, name: str, child: Child, pid: Callable[[], int | None]) -> None:
        self.name = name
        self.starts = 0
        self._child = child
        self._pid = pid
        self._keeper: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        """Starts it and keeps it running.

        Raises:
            StartError: the first start failed.
        """
        await self._child.start()
        self.starts += 1
        self._wanted.set()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stops it for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        await self._child.stop()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Kills it and leaves it dead until the block ends."""
        self._wanted.clear()
        self.kill()
        try:
            yield
        finally:
            self._wanted.set()

    def kill(self) -> bool:
        """SIGKILL; False when there was nothing to kill."""
        return self._send(Signals.SIGKILL)

    def signal(self, number: Signals) -> bool:
        """Any other signal; False when there was nobody to hear it."""
        return self._send(number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops it in its tracks (SIGSTOP) until the block ends."""
        pid = self._pid()
        assert pid is not None, f"{self.name} does not run"
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @property
    def pid(self) -> int | None:
        """Its process, None while there is none."""
        return self._pid()

    def _send(self, number: Signals) -> bool:
        pid = self._pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    async def _keep(self) -> None:
        while True:
            await self._child.wait()
            await asyncio.sleep(PAUSE)
            await self._wanted.wait()
            # Killed while it starts, it is started again.
            with suppress(StartError):
                await self._child.start()
                self.starts += 1


class Stack:
    """A running service. Made by :func:`running_stack`.

    Attributes:
        settings: with the URLs of its PostgreSQL and Redis.
        urls: where its APIs answer.
        key: of all scopes.
        postgres, redis, apis, workers: its parts.
    """

    def __init__(self, home: Home, settings: Settings, place: Place) -> None:
        self.home = home
        self.place = place
        self.settings = settings
        self.urls: list[str] = []
        self.key = ""
        self.apis: list[Kept] = []
        self.workers: list[Kept] = []
        self.server = Postgres(place, superuser_password=home.secret("superuser"), owner_password=home.secret("owner"))
        self.cache = Redis(place, password=home.secret("redis"))
        self.postgres = Kept("PostgreSQL", self.server, lambda: _postmaster(self.server.data))
        self.redis = Kept("Redis", self.cache, lambda: next(iter(processes_in(self.cache.data)), None))

    @property
    def parts(self) -> list[Kept]:
        """All of it, in the order in which it stops."""
        return [*self.apis, *self.workers, self.redis, self.postgres]

    def client(self, timeout: float = 30.0) -> httpx.AsyncClient:
        """A caller with the key; the paths it asks for begin with one of ``urls``."""
        return httpx.AsyncClient(timeout=timeout, headers={"Authorization": f"Bearer {self.key}"})

    async def rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a query of the schema's owner answers, whom no policy binds."""
        assert self.settings.database_url is not None
        async with await psycopg.AsyncConnection.connect(self.settings.database_url, autocommit=True) as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def ready(self, url: str, seconds: float = START_PATIENCE) -> float:
        """Waits until an API says that it is ready; the seconds that it took."""
        began = time.monotonic()
        while not await answers(f"{url}/health/ready"):
            assert time.monotonic() - began < seconds, f"{url} is not ready\n{self.said()}"
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    def said(self, lines: int = 15) -> str:
        """The last lines of every log, for whoever reads a failure."""
        told = []
        for log in sorted(self.home.log.glob("*.log")):
            told += [f"--- {log.name}", *(line[:300] for line in log.read_text(errors="replace").splitlines()[-lines:])]
        return "\n".join(told)

    async def add_api(self, **changes: str) -> str:
        """Starts another API; its URL, at which it does not answer yet."""
        port = free_port()
        name = f"api{len(self.apis) + 1}"
        command = Command(
            ["api"], environment(self.settings, REVERIE_PORT=str(port), **changes), self.home.log / f"{name}.log"
        )
        kept = Kept(name, command, lambda: command.pid)
        self.apis.append(kept)
        self.urls.append(f"http://127.0.0.1:{port}")
        await kept.start()
        return self.urls[-1]

    async def add_worker(self, **changes: str) -> Kept:
        """Starts another worker."""
        name = f"worker{len(self.workers) + 1}"
        command = Command(["worker"], environment(self.settings, **changes), self.home.log / f"{name}.log")
        kept = Kept(name, command, lambda: command.pid)
        self.workers.append(kept)
        await kept.start()
        return kept

    async def start_servers(self) -> None:
        """PostgreSQL with the schema, Redis, and a key."""
        await side_by_side([self.postgres.start(), self.redis.start()])
        urls = {"database_url": self.server.url(), "redis_url": self.cache.url()}
        self.settings = self.settings.model_copy(update=urls)
        await asyncio.to_thread(upgrade, urls["database_url"])
        self.key = await make_key(self.settings)

    async def stop(self) -> None:
        """Stops everything."""
        for part in self.parts:
            await part.stop()


@asynccontextmanager
async def kept_worker(settings: Settings, log: Path) -> AsyncIterator[Kept]:
    """A worker over the store of these settings, until the block ends; it prints to the file ``log``."""
    command = Command(["worker"], environment(settings), log)
    worker = Kept("worker", command, lambda: command.pid)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


@asynccontextmanager
async def running_stack(apis: int = 1, workers: int = 1, **changes: str) -> AsyncIterator[Stack]:
    """A whole service in a folder of its own, ready to be asked, that is gone when the block ends.

    Args:
        apis: how many processes answer requests, each at a URL of its own.
        workers: how many do background work.
        changes: settings of these processes, as environment variables.
    """
    folder = Path(tempfile.mkdtemp(prefix="reverie-faults-"))
    # For the account that runs PostgreSQL when we are root.
    folder.chmod(0o755)  # noqa: ASYNC240
    try:
        home = Home(folder / "home")
        with home.locked():
            account = account_for(home)
            place = Place(servers_folder(home, account, print), home.log, account)
            stack = Stack(home, load_settings(reverie_home=home.path), place)
            try:
                await stack.start_servers()
                for _ in range(apis):
                    await stack.add_api(**changes)
                for _ in range(workers):
                    await stack.add_worker(**changes)
                for url in stack.urls:
                    await stack.ready(url)
                yield stack
            finally:
                await stack.stop()
                if home.servers.is_symlink():
                    shutil.rmtree(home.servers.readlink(), ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postmaster(data: Path) -> int | None:
    """The postmaster that wrote the pid file, where it comes first (miscadmin.h), if it still works there."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return pid if pid in processes_in(data) else None
