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
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg_pool import AsyncConnectionPool, PoolClosed

from reverie.core.outages import CROWDED, GONE, Trouble, Unreachable, trouble_of

LOOK_SECONDS = 2.0
"""How long a look may take."""

PAUSE_SECONDS = 0.5
"""Between two looks at a server that is away."""

CANCEL_SECONDS = 1.0
"""How long a server may take to be asked to cancel a statement, before the line is cut."""

MOST_PREPARED = 100
"""Statements that a connection keeps prepared; the one that was not used for longest gives way."""

FIRST_PLANS = 100
"""Rows that a connection writes by the plans that it makes at first."""

Row: TypeAlias = tuple[Any, ...]
Statement: TypeAlias = tuple[bytes, Sequence[Any]]
"""SQL with ``%b`` where its parameters go, and these."""

_GOOD = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
log = structlog.get_logger(__name__)


class Line(AsyncConnection[Row]):
    """A connection that can be cut off."""

    silent = False
    """Whether it was cut because the server said nothing for too long."""

    written = 0
    """Rows that it has written into the great tables (:meth:`~reverie.core.database.WriteSession.grows`)."""

    planned_until = FIRST_PLANS
    """So many of them are written by the plans that it has."""

    _timer: asyncio.TimerHandle | None = None
    _until = 0.0
    _poll: "select.poll | None" = None
    _asker: "_Asker | None" = None

    async def ask(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of statements that only read, each prepared, in one transaction and one round trip.

        psycopg's own pipeline sends each statement by itself, and looks before each whether the socket takes it: that
        took longer than PostgreSQL did.

        Raises:
            psycopg.Error: one of them failed, and with it all of them.
        """
        if self._asker is None:
            self._asker = _Asker(self)
        try:
            return await self._ask(self._asker, statements)
        except (psycopg.errors.InvalidSqlStatementName, psycopg.errors.FeatureNotSupported):
            # psycopg's rollback drops every prepared statement; a migration may change what one returns.
            self._asker.forget()
            return await self._ask(self._asker, statements)

    async def _ask(self, asker: "_Asker", statements: Sequence[Statement]) -> list[list[Row]]:
        queued = asker.queued(statements)
        try:
            async with self.lock:
                return asker.rows(await self.wait(asker.trip(queued)))
        except BaseException:
            asker.unprepared(queued)
            raise

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


class _Queued(NamedTuple):
    """A statement and its parameters as PostgreSQL takes them; ``new`` if it has to be prepared first."""

    name: bytes
    text: bytes
    types: tuple[int, ...]
    values: Sequence[Any]
    formats: Sequence[int]
    new: bool


class _Asker:
    """The statements that are prepared on a connection, and how several travel together."""

    def __init__(self, line: Line) -> None:
        self._pgconn = line.pgconn
        self._transformer = Transformer(line)
        self._names: OrderedDict[tuple[bytes, tuple[int, ...]], bytes] = OrderedDict()
        self._dropped: list[bytes] = []
        self._made = 0

    def forget(self) -> None:
        """Prepares all anew, under other names."""
        self._names.clear()
        self._dropped.clear()

    def queued(self, statements: Sequence[Statement]) -> list[_Queued]:
        """What is to be sent.

        Raises:
            psycopg.Error: a parameter is nothing that PostgreSQL takes.
        """
        found: list[_Queued] = []
        for query, parameters in statements:
            text, formats = _numbered(query)
            values = self._transformer.dump_sequence(parameters, formats) if parameters else ()
            types = (self._transformer.types or ()) if parameters else ()
            name, new = self._named(text, types)
            found.append(_Queued(name, text, types, values, self._transformer.formats or () if parameters else (), new))
        return found

    def _named(self, text: bytes, types: tuple[int, ...]) -> tuple[bytes, bool]:
        key = text, types
        name = self._names.get(key)
        if name is not None:
            self._names.move_to_end(key)
            return name, False
        if len(self._names) >= MOST_PREPARED:
            self._dropped.append(self._names.popitem(last=False)[1])
        self._made += 1
        name = self._names[key] = b"reverie_%d" % self._made
        return name, True

    def trip(self, queued: Sequence[_Queued]) -> PQGen[list[PGresult]]:
        """Sends all of it at once, as one transaction, and waits for the answers."""
        pgconn = self._pgconn
        dropped, self._dropped = self._dropped, []
        pgconn.enter_pipeline_mode()
        try:
            for name in dropped:
                pgconn.send_query_params(b"DEALLOCATE " + name, None)
            for one in queued:
                if one.new:
                    pgconn.send_prepare(one.name, one.text, one.types)
                pgconn.send_query_prepared(one.name, one.values, one.formats, Format.BINARY)
            pgconn.pipeline_sync()
            yield from send(pgconn)
            return (yield from self._answers(len(dropped), queued))
        finally:
            if pgconn.status == ConnStatus.OK:
                with suppress(psycopg.OperationalError):  # not all was read: the pool ends such a connection
                    pgconn.exit_pipeline_mode()

    def _answers(self, dropped: int, queued: Sequence[_Queued]) -> PQGen[list[PGresult]]:
        found: list[PGresult] = []
        failed: PGresult | None = None
        wanted = [False] * dropped + [asks for one in queued for asks in ((False, True) if one.new else (True,))]
        try:
            for is_answer in wanted:
                (result,) = yield from fetch_many(self._pgconn)
                if result.status not in _GOOD and failed is None:
                    failed = result
                if is_answer:
                    found.append(result)
            yield from fetch_many(self._pgconn)
        except psycopg.DatabaseError:
            # A server that goes says why, before the line ends.
            if failed is None:
                raise
        if failed is not None:
            raise error_from_result(failed, encoding="utf-8")
        return found

    def unprepared(self, queued: Sequence[_Queued]) -> None:
        """Forgets statements that were new: it is not known whether they are prepared."""
        for one in queued:
            if one.new:
                self._names.pop((one.text, one.types), None)

    def rows(self, results: Sequence[PGresult]) -> list[list[Row]]:
        """The rows of each result."""
        found = []
        for result in results:
            self._transformer.set_pgresult(result)
            found.append(self._transformer.load_rows(0, result.ntuples, tuple))
        return found


@lru_cache(maxsize=1024)
def _numbered(query: bytes) -> tuple[bytes, list[PyFormat]]:
    """SQL with its parameters numbered as PostgreSQL wants them, and their formats."""
    first, *others = query.split(b"%b")
    parts = [b"$%d%b" % (number, part) for number, part in enumerate(others, 1)]
    return b"".join([first, *parts]), [PyFormat.BINARY] * len(others)


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
            await self._give(pool, line)

    async def ask(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """What :meth:`Line.ask` finds on one of the connections; the server may be silent for so many seconds.

        Raises:
            Unreachable, PoolTimeout: as :meth:`connection`.
        """
        pool, line = await self._take()
        try:
            line.watch(seconds)
            return await line.ask(statements)
        finally:
            await self._give(pool, line)

    async def _give(self, pool: AsyncConnectionPool[Line], line: Line) -> None:
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
