"""The pool of connections to PostgreSQL, for days on which PostgreSQL goes away.

psycopg's pool hands out connections that died while nobody used them, waits for a server that says nothing for ever,
lets everybody wait for a connection that cannot be made, and tries again ever more rarely. Here:

- A connection to which the server has said goodbye is not handed out: the poll that shows it costs two microseconds.
- Who uses a connection says how long the server may be silent (:meth:`Line.watch`); then the line is cut.
- When a connection is lost, one look shows whether the server still lets us in. If so, idle connections are made anew
  where these may be lost too. If not, whoever asks is refused at once, until a look finds it back, which is taken twice
  a second; then a new pool is opened.
"""

import asyncio
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any, TypeAlias

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.generators import send
from psycopg_pool import AsyncConnectionPool, PoolClosed

from reverie.core.outages import CROWDED, GONE, Trouble, Unreachable, trouble_of

LOOK_SECONDS = 2.0
"""How long a look may take."""

PAUSE_SECONDS = 0.5
"""Between two looks at a server that is away."""

CANCEL_SECONDS = 1.0
"""How long a server may take to be asked to cancel a statement, before the line is cut."""

Row: TypeAlias = tuple[Any, ...]
log = structlog.get_logger(__name__)


class Line(AsyncConnection[Row]):
    """A connection that can be cut off."""

    silent = False
    """Whether it was cut because the server said nothing for too long."""

    _timer: asyncio.TimerHandle | None = None
    _until = 0.0
    _poll: "select.poll | None" = None

    def watch(self, seconds: float) -> None:
        """Allows the server so many seconds from now; the last word counts."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_later(seconds, self._time)

    def unwatch(self) -> None:
        """Ends what :meth:`watch` began."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def stale(self) -> bool:
        """Whether the server has something to say on an idle connection, which is a farewell or the end of the line."""
        if self.closed:
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.fileno(), select.POLLIN)
        return bool(self._poll.poll(0))

    async def flushed(self) -> None:
        """Sends everything that libpq still holds."""
        await self.wait(send(self.pgconn))

    async def cancel_safe(self, *, timeout: float = CANCEL_SECONDS) -> None:  # noqa: ASYNC109 - psycopg's signature
        """As psycopg's, which a cancelled task awaits; a server that does not hear of it is not waited for."""
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_SECONDS))
        except psycopg.Error:
            self._cut()
            raise

    def _time(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            self._timer = loop.call_at(self._until, self._time)
            return
        log.warning("postgresql silent")
        self.silent = True
        self._cut()

    def _cut(self) -> None:
        """Ends the line from our side: whoever waits for an answer has an OperationalError at once."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


class Pool:
    """Connections of one process that all act alike."""

    def __init__(
        self, conninfo: str, configure: Callable[[Line], Awaitable[None]], *, size: int, seconds: float
    ) -> None:
        """Describes the pool; nothing is opened before :meth:`open`.

        Args:
            conninfo: how each connection is made.
            configure: prepares a new one.
            size: connections at most.
            seconds: how long a connection is waited for.
        """
        self.trouble: Trouble | None = None
        """Why nobody is served at the moment."""
        self._conninfo = conninfo
        self._configure = configure
        self._size = size
        self._seconds = seconds
        self._pool = self._new()
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._doubtful = False

    def _new(self) -> AsyncConnectionPool[Line]:
        return AsyncConnectionPool(
            self._conninfo,
            connection_class=Line,
            kwargs={"autocommit": True},
            min_size=2,
            max_size=self._size,
            timeout=self._seconds,
            # A connection that cannot be made is tried a second time after a second; then by whoever needs one.
            reconnect_timeout=1.0,
            reconnect_failed=self._failed,
            configure=self._configure,
            open=False,
        )

    async def open(self, seconds: float) -> None:
        """Opens the first connections.

        Raises:
            PoolTimeout: that took longer than ``seconds``.
        """
        await self._pool.open(wait=True, timeout=seconds)

    async def close(self) -> None:
        """Closes all; who waits for a connection is told so."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Line]:
        """A connection, for the block; its transaction is rolled back if the block raises.

        Raises:
            Unreachable: PostgreSQL lets nobody in.
            PoolTimeout: every connection was in use for too long.
        """
        pool, line = await self._take()
        try:
            async with line:
                yield line
        finally:
            line.unwatch()
            if line.closed:
                self._lost(others=line.silent)
            await pool.putconn(line)

    async def _take(self) -> tuple[AsyncConnectionPool[Line], Line]:
        while True:
            if self._looking is not None:
                await self._looked.wait()
            self._refuse()
            pool = self._pool
            try:
                line = await pool.getconn()
            except PoolClosed:
                self._refuse()
                raise
            if not line.stale:
                return pool, line
            await line.close()
            self._lost(others=True)
            await pool.putconn(line)

    def _refuse(self) -> None:
        if self.trouble is not None:
            raise Unreachable(self.trouble)

    def _lost(self, *, others: bool) -> None:
        """A connection is lost; ``others``, which nobody uses now, may be lost too."""
        self._doubtful |= others
        if self._looking is None and not self._pool.closed:
            self._looked.clear()
            # Whoever found out is not the one whom the log shall name.
            self._looking = asyncio.create_task(self._look_after(), context=Context())

    async def _failed(self, pool: AsyncConnectionPool[Line]) -> None:
        """The pool could not make a connection; that matters where it has none at all."""
        if pool is self._pool and pool.get_stats()["pool_size"] == 0:
            self._lost(others=False)

    async def _look_after(self) -> None:
        began = time.monotonic()
        try:
            self.trouble = await self._found()
            if self.trouble is None:
                if self._doubtful:
                    await self._pool.drain()
                return
            if self.trouble is CROWDED and await self._others_stand():
                # Whoever crowds the server would take the places of those that are left.
                self.trouble = None
                return
            log.warning("postgresql lost", trouble=self.trouble.what)
            self._looked.set()
            await self._pool.close(timeout=0.1)
            await self._wait_for_it()
            self._pool = self._new()
            await self._pool.open()
            self.trouble = None
            log.warning("postgresql back", seconds=round(time.monotonic() - began, 1))
        finally:
            self._doubtful = False
            self._looking = None
            self._looked.set()

    async def _others_stand(self) -> bool:
        """Whether an idle connection is left that serves."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._pool.check()
        return self._pool.get_stats()["pool_available"] > 0

    async def _wait_for_it(self) -> None:
        while (found := await self._found()) is not None:
            self.trouble = found
            await asyncio.sleep(PAUSE_SECONDS)

    async def _found(self) -> Trouble | None:
        """What keeps us out, if anything does."""
        try:
            async with asyncio.timeout(LOOK_SECONDS), await Line.connect(self._conninfo, autocommit=True) as line:
                await line.execute("SELECT 1")
        except TimeoutError:
            return GONE
        except psycopg.Error as error:
            return trouble_of(error)
        except (OSError, RuntimeError) as error:
            # No file or thread is left to look with, which passes; nobody would look again if this ended the looking.
            log.warning("postgresql not looked at", error=type(error).__name__)
            return GONE
        return None

    def statistics(self) -> dict[str, int]:
        """The counters of the pool (psycopg_pool's names); they begin anew after an outage."""
        return self._pool.get_stats()
