"""PostgreSQL: pools of connections that act as the serving role, in sessions that read or write for one space.

A session is one transaction. Its first two statements (BEGIN and the scope) travel with the first query, and psycopg's
pipeline mode sends everything queued in one round trip, so a session with one query is one round trip.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias
from uuid import UUID

import orjson
import psycopg
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection, AsyncCursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from reverie.core.config import Settings
from reverie.core.errors import StartError
from reverie.core.schema import unreachable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SERVING_ROLE = "reverie_app"
"""The role that serves: no superuser, no BYPASSRLS, no grants on partitions."""

Row: TypeAlias = tuple[Any, ...]
Connection: TypeAlias = AsyncConnection[Row]

_SCOPE = b"SELECT set_config('reverie.space', %b, true), set_config('statement_timeout', %b, true)"
_VECTOR_SCOPE = (
    b"SELECT set_config('reverie.space', %b, true), set_config('statement_timeout', %b, true),"
    b" set_config('enable_bitmapscan', 'off', true)"
)
_SERVING_OPTIONS = (
    f"-c role={SERVING_ROLE} -c plan_cache_mode=force_generic_plan -c max_parallel_workers_per_gather=0 -c jit=off"
    # At the default of 4 a store that one user fills is read by the primary key, beside the heap.
    " -c random_page_cost=1.1"
    # A generic plan that was made when the tables were nearly empty reads them whole until they are analysed.
    " -c enable_seqscan=off"
    " -c timezone=UTC"
)


class ReadSession:
    """One transaction that reads what belongs to one space."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(self, query: bytes, parameters: Sequence[Any] = ()) -> AsyncCursor[Row]:
        """Queues a query; its rows are read from the cursor after a :meth:`fetch` or after the session."""
        return await self._connection.execute(query, parameters, prepare=True, binary=True)

    async def fetch(self, query: bytes, parameters: Sequence[Any] = ()) -> list[Row]:
        """Sends what is queued and this query in one round trip, and returns its rows."""
        return await (await self.send(query, parameters)).fetchall()

    async def fetch_one(self, query: bytes, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of :meth:`fetch`, or None."""
        rows = await self.fetch(query, parameters)
        return rows[0] if rows else None


class WriteSession(ReadSession):
    """One transaction that may change what belongs to one space; it commits when its block ends."""

    async def execute(self, query: bytes, parameters: Sequence[Any] = ()) -> None:
        """Queues a statement whose rows nobody reads."""
        await self.send(query, parameters)


class Database:
    """The connections of one process. ``url`` names the owner of the schema; serving connections act as reverie_app."""

    def __init__(self, settings: Settings) -> None:
        if settings.database_url is None:
            raise StartError(
                "DATABASE_URL is not set: name a PostgreSQL database (postgresql://user:password@host/name), "
                "or start everything with `reverie up`."
            )
        self.url = settings.database_url
        self._milliseconds = int(settings.database_timeout_seconds * 1000)
        # Ours come last, and what is said last counts.
        options = f"{conninfo_to_dict(self.url).get('options') or ''} {_SERVING_OPTIONS}".strip()
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            make_conninfo(self.url, options=options, application_name="reverie", connect_timeout="5"),
            kwargs={"autocommit": True},
            min_size=2,
            max_size=settings.database_pool_size,
            timeout=settings.database_timeout_seconds,
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        """Opens the pool and checks that the walls stand.

        Raises:
            StartError: the server cannot be reached, or serving connections would not be held by row-level security.
        """
        try:
            async with self.maintenance() as connection:
                await connection.execute("SELECT 1")
            await self._pool.open(wait=True, timeout=15)
            async with self._pool.connection() as connection:
                await _check_role(connection)
        except psycopg.errors.InvalidParameterValue:
            raise StartError(f"The database has no role {SERVING_ROLE} yet: run `reverie migrate` first.") from None
        except psycopg.Error as error:
            raise StartError(unreachable(error)) from None

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def reading(self, space_id: UUID | None, *, seconds: float | None = None) -> AsyncIterator[ReadSession]:
        """A transaction that reads. Each statement may take ``seconds`` (default DATABASE_TIMEOUT_SECONDS)."""
        async with self._transaction(b"BEGIN READ ONLY", _SCOPE, space_id, seconds) as connection:
            yield ReadSession(connection)

    @asynccontextmanager
    async def reading_vectors(self, space_id: UUID, *, seconds: float | None = None) -> AsyncIterator[ReadSession]:
        """A transaction whose plans may use index and index-only scans alone.

        A table that was just loaded has no statistics, and the planner would visit its heap row by row.
        """
        async with self._transaction(b"BEGIN READ ONLY", _VECTOR_SCOPE, space_id, seconds) as connection:
            yield ReadSession(connection)

    @asynccontextmanager
    async def writing(self, space_id: UUID | None, *, seconds: float | None = None) -> AsyncIterator[WriteSession]:
        """A transaction that writes, committed when the block ends and rolled back when it raises.

        Each statement may take ``seconds`` (default DATABASE_TIMEOUT_SECONDS).
        """
        async with self._transaction(b"BEGIN", _SCOPE, space_id, seconds) as connection:
            yield WriteSession(connection)

    @asynccontextmanager
    async def maintenance(self) -> AsyncIterator[Connection]:
        """A connection of its own as the owner of the schema, in autocommit: partitions, indexes, VACUUM."""
        async with await AsyncConnection.connect(
            self.url, autocommit=True, application_name="reverie-maintenance", connect_timeout=5
        ) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(
        self, begin: LiteralString | bytes, scope: bytes, space_id: UUID | None, seconds: float | None
    ) -> AsyncIterator[Connection]:
        milliseconds = self._milliseconds if seconds is None else max(1, int(seconds * 1000))
        async with self._pool.connection() as connection, connection.pipeline():
            await connection.execute(begin)
            await connection.execute(scope, (str(space_id or ""), str(milliseconds)), prepare=True)
            yield connection
            await connection.execute(b"COMMIT")

    def statistics(self) -> dict[str, int]:
        """The counters of the pool (psycopg_pool's names)."""
        return self._pool.get_stats()


async def _configure(connection: Connection) -> None:
    set_json_dumps(orjson.dumps, connection)
    set_json_loads(orjson.loads, connection)
    await register_vector_async(connection)


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


def as_vector(values: "npt.NDArray[np.float32]", precision: str) -> HalfVector | Vector:
    """A row of float32 as the type of its column: halfvec at fp16, vector at fp32."""
    return HalfVector(values) if precision == "fp16" else Vector(values)
