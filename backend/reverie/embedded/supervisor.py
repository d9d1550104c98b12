"""The process tree of ``reverie up``: starts it, keeps it running, and leaves nothing of it behind.

Everything stops in the order API, worker, Redis, PostgreSQL. Ctrl-C reaches the whole process group of a terminal, so
every child has a session of its own and hears of the end from here alone.
"""

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from signal import Signals
from typing import Any, Protocol
from urllib.parse import urlsplit

from reverie.core.config import Settings
from reverie.core.errors import StartError
from reverie.embedded.account import Place, account_for, servers_folder
from reverie.embedded.home import Home
from reverie.embedded.postgres import Postgres
from reverie.embedded.process import Process
from reverie.embedded.redis import Redis

Say = Callable[[str], None]

FIRST_PAUSE, LONGEST_PAUSE, STEADY = 0.5, 30.0, 60.0
"""Seconds before a dead child is started again, doubled each time up to the longest, until one ran for STEADY."""


class Child(Protocol):
    """Something that is started again when it ends."""

    @property
    def name(self) -> str: ...

    async def start(self) -> None: ...

    async def wait(self) -> int: ...

    async def stop(self) -> None: ...


@dataclass
class Program:
    """A child that is a command; what it prints goes where our own output goes.

    Attributes:
        name: what a person calls it.
        command: the program and its arguments.
        environment: its whole environment.
        grace: seconds from SIGTERM until it is killed.
        ends: how often it has ended.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    grace: float = 15.0
    ends: int = 0
    _process: Process | None = field(default=None, init=False)

    async def start(self) -> None:
        """Starts it; that does not yet say that it is ready."""
        try:
            self._process = await Process.start(self.command, environment=self.environment)
        except OSError as error:
            raise StartError(f"{self.name} cannot be started ({self.command[0]}: {error.strerror}).") from None

    async def wait(self) -> int:
        """Waits for its end; the exit code, or 0 when it does not run."""
        if self._process is None:
            return 0
        code = await self._process.wait()
        self.ends += 1
        return code

    async def stop(self) -> None:
        """Ends it, killing it after its grace."""
        if self._process is not None:
            await self._process.end((Signals.SIGTERM, self.grace))


class Supervisor:
    """Starts children again when they end, waiting longer each time."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._keepers: dict[int, asyncio.Task[None]] = {}

    async def start(self, child: Child) -> None:
        """Starts ``child`` and keeps it running until :meth:`stop`.

        Raises:
            StartError: the first start failed.
        """
        await child.start()
        self._keepers[id(child)] = asyncio.create_task(self._keep(child))

    async def stop(self, child: Child) -> None:
        """Stops ``child`` for good."""
        keeper = self._keepers.pop(id(child), None)
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        await child.stop()

    async def _keep(self, child: Child) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = await child.wait()
            if time.monotonic() - began > STEADY:
                pause = FIRST_PAUSE
            self._say(f"{child.name} ended ({describe(code)}); it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await child.start()
            except StartError as error:
                self._say(str(error))


class Servers:
    """What runs in one home. Made by :func:`running`.

    Attributes:
        home: where it lives.
        settings: as given, with the URLs of what runs here.
    """

    def __init__(self, home: Home, settings: Settings, say: Say) -> None:
        self.home = home
        self.settings = settings
        self._say = say
        self._supervisor = Supervisor(say)
        self._programs: list[Program] = []
        self._servers: list[Redis | Postgres] = []

    def environment(self) -> dict[str, str]:
        """The environment of a child that shall serve this home with these settings."""
        chosen = {
            "REVERIE_HOME": str(self.home.path),
            "REVERIE_HOST": self.settings.reverie_host,
            "REVERIE_PORT": str(self.settings.reverie_port),
            "DATABASE_URL": self.settings.database_url or "",
            "REDIS_URL": self.settings.redis_url or "",
        }
        return os.environ | chosen

    async def start(self, program: Program) -> None:
        """Starts a program and keeps it running; they stop in the order in which they were started."""
        self._programs.append(program)
        await self._supervisor.start(program)

    async def ready(self, program: Program, url: str, seconds: float = 60.0) -> None:
        """Waits until ``program`` answers GET ``url`` (http) with 200.

        Raises:
            StartError: it ended before, or took longer than ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while not await answers(url):
            if program.ends:
                raise StartError(f"{program.name} ended before it was ready; what it said stands above.")
            if time.monotonic() > deadline:
                raise StartError(f"{program.name} was not ready after {seconds:g} s; what it said stands above.")
            await asyncio.sleep(0.05)

    async def _start_servers(self) -> None:
        urls = {"database_url": self.settings.database_url, "redis_url": self.settings.redis_url}
        if all(urls.values()):
            return
        place = self._place()
        redis = Redis(place, password=self.home.secret("redis"))
        postgres = Postgres(
            place, superuser_password=self.home.secret("superuser"), owner_password=self.home.secret("owner")
        )
        self._servers = [server for server, url in ((redis, "redis_url"), (postgres, "database_url")) if not urls[url]]
        await side_by_side(self._supervisor.start(server) for server in self._servers)
        self.settings = self.settings.model_copy(
            update={
                "database_url": urls["database_url"] or postgres.url(),
                "redis_url": urls["redis_url"] or redis.url(),
            }
        )

    def _place(self) -> Place:
        account = account_for(self.home)
        folder = servers_folder(self.home, account, self._say)
        if (folder / "postgres").exists() and not self.home.has_secrets:
            raise StartError(f"The passwords of {self.home.path} are gone: bring secrets.json back from a backup.")
        return Place(folder, self.home.log, account, self._say)

    async def _stop(self) -> None:
        for child in (*self._programs, *self._servers):
            await self._supervisor.stop(child)


@asynccontextmanager
async def running(settings: Settings, say: Say = lambda _: None) -> AsyncIterator[Servers]:
    """Holds the home, and runs PostgreSQL and Redis in it where the settings name no others, until the block ends.

    However the block ends, everything that was started in it has ended afterwards.

    Args:
        settings: which home, host and port; with DATABASE_URL or REDIS_URL set those are used.
        say: hears, line by line, what a person should know.

    Raises:
        StartError: one sentence that says what to do.
    """
    home = Home(settings.reverie_home)
    with home.locked():
        check_port(settings.reverie_host, settings.reverie_port)
        if settings.reverie_secret_key is None:
            home.keep_secret()
        servers = Servers(home, settings, say)
        try:
            await servers._start_servers()
            yield servers
        finally:
            await servers._stop()


def run_until_stopped(main: Coroutine[Any, Any, None]) -> Signals | None:
    """Runs ``main`` until it ends, or until SIGINT, SIGTERM or SIGHUP, which cancels it and lets it clean up.

    Returns:
        The signal, or None when ``main`` ended by itself.
    """
    return asyncio.run(_until_stopped(main))


async def _until_stopped(main: Coroutine[Any, Any, None]) -> Signals | None:
    task = asyncio.ensure_future(main)
    received: list[Signals] = []

    def stop(number: Signals) -> None:
        # Once only: a second cancellation would break into the cleaning up.
        if not received:
            task.cancel()
        received.append(number)

    loop = asyncio.get_running_loop()
    for number in (Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
    return received[0] if received else None


def check_port(host: str, port: int) -> None:
    """Checks that ``port`` can be listened on.

    Raises:
        StartError: it is in use, not allowed, or ``host`` is no address of this machine.
    """
    choose = "choose another with --port or REVERIE_PORT"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror:
        raise StartError(f"REVERIE_HOST takes an address of this machine, not {host!r}.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"Port {port} on {host} is in use: end what listens there, or {choose}.") from None
        if error.errno == errno.EACCES:
            raise StartError(f"Port {port} is reserved for root: {choose}, of 1024 or above.") from None
        raise StartError(f"Reverie cannot listen on {host}, port {port} ({error.strerror}): {choose}.") from None


async def answers(url: str) -> bool:
    """Whether GET ``url`` (http) is answered with 200 now."""
    parts = urlsplit(url)
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(5.0):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            try:
                request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    return False


def describe(code: int) -> str:
    """What an exit code says, in words."""
    if code >= 0:
        return f"code {code}"
    try:
        return Signals(-code).name
    except ValueError:
        return f"signal {-code}"


async def side_by_side(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all at once. The first failure gives the others up, waits for them, and is raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
