"""PostgreSQL: pools of connections that act as the serving role, in sessions that read or write for one space.

A session is one transaction. The scope (the space, and how long a statement may take) travels with the first query, and
everything queued goes in one round trip, so a session with one query is one round trip.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import Context
from datetime import timedelta
from typing import Any, Protocol, TypeAlias, TypeVar
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_dumps, set_json_loads

from reverie.core.arrays import register_arrays
from reverie.core.config import Settings
from reverie.core.errors import StartError
from reverie.core.outages import IN_THE_WAY, PASSING, REFUSED_WRITES, Trouble, trouble_of
from reverie.core.pool import Line, Pool, Statement
from reverie.core.pool import Row as Row
from reverie.core.schema import unreachable

SERVING_ROLE = "reverie_app"
"""The role that serves: no superuser, no BYPASSRLS, no grants on partitions."""

Connection: TypeAlias = AsyncConnection[Row]

GRACE_SECONDS = 1.0
"""So much longer than a statement may take, an answer is waited for before the line is cut: the server comes first."""

REFUSED_SECONDS = 5.0
"""How long the refusal of a write is remembered."""

SERVED = 0x7265_6D62
"""Advisory locks of the models that are served (with their numbers): the bytes of "remb"."""

_LINE = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""After how long libpq gives up a server whose machine is gone, unless DATABASE_URL says otherwise."""

T = TypeVar("T")
log = structlog.get_logger(__name__)

_SCOPE = b"SELECT set_config('reverie.space', %b, true), set_config('statement_timeout', %b, true)"
# What travels together without a BEGIN is one transaction all the same, to which this holds.
_READ_SCOPE = _SCOPE + b", set_config('transaction_read_only', 'on', true)"
_VECTOR_SCOPE = _READ_SCOPE + b", set_config('enable_bitmapscan', 'off', true)"
_SERVING_OPTIONS = (
    f"-c role={SERVING_ROLE} -c plan_cache_mode=force_generic_plan -c max_parallel_workers_per_gather=0 -c jit=off"
    # At the default of 4 a store that one user fills is read by the primary key, beside the heap.
    " -c random_page_cost=1.1"
    # A generic plan that was made when the tables were nearly empty reads them whole until they are analysed.
    " -c enable_seqscan=off"
    # Nor does it know the primary key, which has the order that is wanted, from any index on the user and a sort.
    " -c enable_sort=off"
    # Who is frozen in the middle of a transaction would keep its user locked until he moves again. Shorter than a
    # statement may take by default: who waits for the lock is served, not refused.
    " -c idle_in_transaction_session_timeout=5s"
    " -c timezone=UTC"
)


class ReadSession(ABC):
    """One transaction in which what belongs to one space can be read."""

    @abstractmethod
    async def fetch(self, query: bytes, parameters: Sequence[Any] = ()) -> list[Row]:
        """Sends what is queued and this query in one round trip, and returns its rows."""

    async def fetch_one(self, query: bytes, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of :meth:`fetch`, or None."""
        rows = await self.fetch(query, parameters)
        return rows[0] if rows else None


class Rows:
    """The rows of a query that was queued, to be had after a :meth:`Trip.fetch` or after the session."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: list[Row] | None = None

    def brought(self, rows: list[Row]) -> None:
        """They have arrived."""
        self._rows = rows

    async def fetchall(self) -> list[Row]:
        """All of them.

        Raises:
            psycopg.InterfaceError: the query was not sent yet.
        """
        if self._rows is None:
            raise psycopg.InterfaceError("The query waits for the end of its session, or for a fetch.")
        return self._rows


class Trip(ReadSession):
    """Reads that travel together: what is queued goes out at once and is one transaction, and waits for one answer.

    Until then nothing is sent, and no connection is held.
    """

    def __init__(self, pool: Pool, scope: Statement, patience: float) -> None:
        self._pool = pool
        self._scope = scope
        self._patience = patience
        self._queued: list[tuple[Statement, Rows]] = []

    async def send(self, query: bytes, parameters: Sequence[Any] = ()) -> Rows:
        """Queues a query; its rows are there after a :meth:`fetch` or after the session."""
        rows = Rows()
        self._queued.append(((query, parameters), rows))
        return rows

    async def fetch(self, query: bytes, parameters: Sequence[Any] = ()) -> list[Row]:
        """Sends what is queued and this query in one round trip, and returns its rows."""
        rows = await self.send(query, parameters)
        await self.go()
        return await rows.fetchall()

    async def go(self) -> None:
        """Sends what is queued, if anything is, and waits for the rows."""
        if not self._queued:
            return
        queued, self._queued = self._queued, []
        found = await self._pool.ask([self._scope, *(statement for statement, _ in queued)], self._patience)
        for (_, rows), brought in zip(queued, found[1:], strict=True):
            rows.brought(brought)


class Reads(Protocol):
    """What can be read from: the database, or what stands before it."""

    def reading(self, space_id: UUID | None, *, seconds: float | None = None) -> AbstractAsyncContextManager[Trip]: ...

    def reading_vectors(self, space_id: UUID, *, seconds: float | None = None) -> AbstractAsyncContextManager[Trip]: ...


class WriteSession(ReadSession):
    """One transaction that may change what belongs to one space; it commits when its block ends."""

    def __init__(self, line: Line, patience: float, pipeline: AsyncPipeline) -> None:
        self._line = line
        self._patience = patience
        self._pipeline = pipeline

    async def fetch(self, query: bytes, parameters: Sequence[Any] = ()) -> list[Row]:
        """As in a :class:`ReadSession`."""
        self._line.watch(self._patience)
        cursor = await self._send(query, parameters)
        # Without a Sync the server believes that more is on its way, and that the transaction does not stand still.
        # Before it, all of what a full socket has left with us: psycopg flushes once, and then it only listens.
        await self._line.flushed()
        await self._pipeline.sync()
        return await cursor.fetchall()

    async def execute(self, query: bytes, parameters: Sequence[Any] = ()) -> None:
        """Queues a statement whose rows nobody reads."""
        await self._send(query, parameters)

    async def grows(self, rows: int) -> None:
        """Says that ``rows`` are about to be written; each time these have doubled, plans are made anew.

        A connection that first wrote into a small table looks up foreign keys by whichever index seemed to cost the
        same as the primary key then: each look-up reads all traces of the user, until statistics are gathered, which is
        a minute away. A ninth batch of 662 traces took 686 ms so, and 53 by new plans.
        """
        line = self._line
        line.written += rows
        if line.written >= line.planned_until:
            line.planned_until = 2 * line.written
            await self.execute(b"DISCARD PLANS")

    async def _send(self, query: bytes, parameters: Sequence[Any]) -> AsyncCursor[Row]:
        return await self._line.execute(query, parameters, prepare=True, binary=True)


class Database:
    """The connections of one process. ``url`` names the owner of the schema; serving connections act as reverie_app."""

    def __init__(self, settings: Settings) -> None:
        if settings.database_url is None:
            raise StartError(
                "DATABASE_URL is not set: name a PostgreSQL database (postgresql://user:password@host/name), "
                "or start everything with `reverie up`."
            )
        self.url = settings.database_url
        self._seconds = settings.database_timeout_seconds
        self._model: int | None = None
        self._refused: tuple[float, Trouble] | None = None
        self._later: set[asyncio.Task[None]] = set()
        given = conninfo_to_dict(self.url)
        self._line = {name: value for name, value in _LINE.items() if given.get(name) is None}
        # Ours come last, and what is said last counts.
        options = f"{given.get('options') or ''} {_SERVING_OPTIONS}".strip()
        self._pool = Pool(
            make_conninfo(self.url, options=options, application_name="reverie", **self._line),
            self._configure,
            size=settings.database_pool_size,
            seconds=self._seconds,
        )

    async def open(self, model: int | None = None) -> None:
        """Opens the pool and checks that the walls stand.

        Each connection keeps a shared lock of the ``model`` that is served, by which others see that it is needed.

        Raises:
            StartError: the server cannot be reached, or serving connections would not be held by row-level security.
        """
        self._model = model
        try:
            async with self.maintenance() as connection:
                await connection.execute("SELECT 1")
            await self._pool.open(15)
            async with self._pool.connection() as connection:
                await _check_role(connection)
        except psycopg.errors.InvalidParameterValue:
            raise StartError(f"The database has no role {SERVING_ROLE} yet: run `reverie migrate` first.") from None
        except psycopg.Error as error:
            raise StartError(unreachable(error)) from None

    async def close(self) -> None:
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self._pool.close()

    @property
    def outage(self) -> Trouble | None:
        """Why PostgreSQL serves nobody at the moment."""
        return self._pool.trouble

    @property
    def refuses_writes(self) -> Trouble | None:
        """Why PostgreSQL has just refused a write; it may answer what is read."""
        if self._refused is None or time.monotonic() - self._refused[0] > REFUSED_SECONDS:
            return None
        return self._refused[1]

    @asynccontextmanager
    async def reading(self, space_id: UUID | None, *, seconds: float | None = None) -> AsyncIterator[Trip]:
        """A transaction that reads. Each statement may take ``seconds`` (default DATABASE_TIMEOUT_SECONDS)."""
        trip = self._trip(_READ_SCOPE, space_id, seconds)
        yield trip
        await trip.go()

    @asynccontextmanager
    async def reading_vectors(self, space_id: UUID, *, seconds: float | None = None) -> AsyncIterator[Trip]:
        """A transaction whose plans may use index and index-only scans alone.

        A table that was just loaded has no statistics, and the planner would visit its heap row by row.
        """
        trip = self._trip(_VECTOR_SCOPE, space_id, seconds)
        yield trip
        await trip.go()

    def _trip(self, scope: bytes, space_id: UUID | None, seconds: float | None) -> Trip:
        limit = self._seconds if seconds is None else seconds
        return Trip(self._pool, (scope, _scope_of(space_id, limit)), limit + GRACE_SECONDS)

    @asynccontextmanager
    async def writing(self, space_id: UUID | None, *, seconds: float | None = None) -> AsyncIterator[WriteSession]:
        """A transaction that writes, committed when the block ends and rolled back when it raises.

        Each statement may take ``seconds`` (default DATABASE_TIMEOUT_SECONDS).
        """
        try:
            async with self._transaction(space_id, seconds) as session:
                yield session
        except REFUSED_WRITES as error:
            self._refused = (time.monotonic(), trouble_of(error))
            raise

    @asynccontextmanager
    async def maintenance(self) -> AsyncIterator[Connection]:
        """A connection of its own as the owner of the schema, in autocommit: partitions, indexes, VACUUM."""
        # A limit that the role or the database has for requests would end the build of a large index each time, and one
        # for who is idle a session whose locks others go by while its process works elsewhere.
        given = conninfo_to_dict(self.url).get("options") or ""
        options = f"{given} -c statement_timeout=0 -c idle_session_timeout=0".strip()
        conninfo = make_conninfo(self.url, options=options, application_name="reverie-maintenance", **self._line)
        async with await Line.connect(conninfo, autocommit=True) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, space_id: UUID | None, seconds: float | None) -> AsyncIterator[WriteSession]:
        limit = self._seconds if seconds is None else seconds
        patience = limit + GRACE_SECONDS
        async with self._pool.connection() as line:
            line.watch(patience)
            async with line.pipeline() as pipeline:
                await line.execute(b"BEGIN")
                await line.execute(_SCOPE, _scope_of(space_id, limit), prepare=True)
                yield WriteSession(line, patience, pipeline)
                line.watch(patience)
                await line.execute(b"COMMIT")

    async def _configure(self, connection: Line) -> None:
        await configure(connection)
        if self._model is not None:
            await connection.execute(b"SELECT pg_try_advisory_lock_shared(%b, %b)", (SERVED, self._model))

    def eventually(self, write: Callable[[], Awaitable[None]], within: timedelta) -> None:
        """Does ``write`` in the background, again and again until PostgreSQL takes it or the time is over."""
        task = asyncio.create_task(_until_taken(write, within), context=Context())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def statistics(self) -> dict[str, int]:
        """The counters of the pool (psycopg_pool's names)."""
        return self._pool.statistics()


def _scope_of(space_id: UUID | None, limit: float) -> tuple[str, str]:
    """The parameters of the scope: the space in force, and milliseconds that each statement may take."""
    return str(space_id or ""), str(max(1, int(limit * 1000)))


async def _until_taken(write: Callable[[], Awaitable[None]], within: timedelta) -> None:
    end = time.monotonic() + within.total_seconds()
    while time.monotonic() < end:
        await asyncio.sleep(1)
        with suppress(*PASSING):
            await write()
            return


async def again(write: Callable[[], Awaitable[T]]) -> T:
    """What ``write`` returns: one transaction, done again (twice at most) when another was in its way.

    Raises:
        psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure: it was so each time.
    """
    for pause in (0.02, 0.1):
        try:
            return await write()
        except IN_THE_WAY as error:
            log.warning("transaction repeated", error=type(error).__name__)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that two do not meet again
    return await write()


async def configure(connection: Line) -> None:
    """Teaches a connection the types that we send and read; its database has pgvector."""
    set_json_dumps(orjson.dumps, connection)
    set_json_loads(orjson.loads, connection)
    await register_arrays(connection)


async def _check_role(connection: Connection) -> None:
    cursor = await connection.execute(
        b"SELECT current_user, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )
    row = await cursor.fetchone()
    if row is None or row[0] != SERVING_ROLE or row[1]:
        raise StartError(
            f"Serving connections must act as {SERVING_ROLE}, which row-level security binds, but act as "
            f"{row[0] if row else 'nobody'}: check its attributes, or run `reverie migrate`."
        )
