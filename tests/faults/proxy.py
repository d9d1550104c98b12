"""A proxy in front of PostgreSQL or Redis that can let them go away in every way there is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from psycopg.conninfo import conninfo_to_dict

CHUNK = 64 * 1024


class Proxy:
    """Passes bytes between callers on a port of loopback and one server, until it is told otherwise."""

    def __init__(self, host: str | Path, port: int = 0) -> None:
        """Describes the proxy of a server at ``host`` and ``port``, or at the socket ``host``."""
        self.port = 0
        self.delay = 0.0
        """Seconds by which every chunk is late, in both directions."""
        self.says: Callable[[bytes], bytes] | None = None
        """What is answered to what is asked, in place of the server."""
        self.lines = 0
        """Connections that were made through it so far."""
        self._host = host
        self._to = port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        """Lets callers in, at the same port each time."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Lets nobody in and cuts every line: who comes is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writers.clear()

    def cut(self) -> None:
        """Ends every line that there is; new ones may come."""
        for writer in list(self._writers):
            writer.transport.abort()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """The server is gone, and its machine says so."""
        await self.stop()
        try:
            yield
        finally:
            await self.listen()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Connections are accepted, and nothing comes through; afterwards what waited goes on."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Everything takes so much longer, each way."""
        self.delay = seconds
        try:
            yield
        finally:
            self.delay = 0.0

    @contextmanager
    def saying(self, answer: Callable[[bytes], bytes]) -> Iterator[None]:
        """A server that is busy with itself: this is what it answers."""
        self.says = answer
        self.cut()
        try:
            yield
        finally:
            self.says = None
            self.cut()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            # Let in by the server's last turn; nobody would end this line.
            writer.transport.abort()
            return
        # At once: a task that is cancelled before its first step never comes to its `finally`.
        self.lines += 1
        self._writers.add(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._open.wait()
            if self.says is not None:
                await self._answer(reader, writer, self.says)
            else:
                await self._pass_on(reader, writer)
        except (OSError, asyncio.CancelledError):
            # A line that is cut, by either side or by us, is what this is for; nobody awaits the task.
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[bytes], bytes]
    ) -> None:
        while asked := await reader.read(CHUNK):
            writer.write(answer(asked))
            await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._host, Path):
            answers, asks = await asyncio.open_unix_connection(self._host)
        else:
            answers, asks = await asyncio.open_connection(self._host, self._to)
        self._writers.add(asks)
        pumps = [asyncio.create_task(self._pump(reader, asks)), asyncio.create_task(self._pump(answers, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers.discard(asks)
            asks.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._open.wait()
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def before_postgres(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy of the PostgreSQL at ``url``, and the URL of the same database through it."""
    given = conninfo_to_dict(url)
    host, port = str(given["host"]), int(given.get("port") or 5432)
    proxy = Proxy(Path(host) / f".s.PGSQL.{port}") if host.startswith("/") else Proxy(host, port)
    await proxy.listen()
    try:
        user = f"{quote(str(given['user']))}:{quote(str(given['password']))}"
        yield proxy, f"postgresql://{user}@127.0.0.1:{proxy.port}/{given['dbname']}"
    finally:
        await proxy.stop()


@asynccontextmanager
async def before_redis(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy of the Redis at ``url``, and the URL of the same database through it."""
    parts = urlsplit(url)
    database = parts.query.removeprefix("db=") if parts.scheme == "unix" else parts.path.lstrip("/")
    if parts.scheme == "unix":
        proxy = Proxy(Path(unquote(parts.path)))
    else:
        proxy = Proxy(str(parts.hostname), parts.port or 6379)
    await proxy.listen()
    try:
        yield proxy, f"redis://:{parts.password or ''}@127.0.0.1:{proxy.port}/{database}"
    finally:
        await proxy.stop()
