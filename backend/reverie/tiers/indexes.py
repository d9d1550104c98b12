"""The indexes over vectors, on each partition: the covering one of exact search, that of the bits, and graphs (HNSW).

All names and numbers stand as literals in the SQL: with the model as a parameter the plan falls to a sequential scan.
"""

from dataclasses import dataclass
from hashlib import blake2s
from typing import Literal
from uuid import UUID

from psycopg import errors

from reverie.core.database import Connection
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers.locks import building_alone, wait_for_partition_makers

SQL = Queries("reverie.tiers")
MOVING = Queries("reverie.tiers", "moving.sql")

TIERS = ("hot", "warm", "cold")

LARGEST_INDEX_ROW = 2600
"""Bytes; a row of a B-tree holds 2 704 (a third of a page)."""

INDEX_ROW_OVERHEAD = 96
"""Bytes of a covering index row besides the vector's numbers: headers, two uuids more than the key, alignment."""

BYTES = {"fp16": 2, "fp32": 4}
HNSW_M = 16
HNSW_EF_CONSTRUCTION = 128
"""pgvector's default is 64, which builds in half the time. Questions lie apart from what answers them: of 50 000
vectors of sentences with noise, ef_search 200 found 0.982 of real questions' exact top ten with 64, 0.994 with 128."""

Mode = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class Partition:
    """A row of ``memory_partition``: ``lower`` and ``upper`` (exclusive) bound its ids."""

    table: str
    parent: str
    lower: UUID
    upper: UUID
    tier: str


@dataclass(frozen=True, slots=True)
class Span:
    """One user's vectors of one head and model in a partition, from ``lower`` to ``upper`` (exclusive).

    ``warm``: those that are codes, and none else.
    """

    table: str
    model: Model
    user_id: UUID
    head: int
    lower: UUID
    upper: UUID
    warm: bool = False

    def sql(self, block: str, **literals: int | str) -> bytes:
        """A block of SQL over these vectors."""
        model = self.model
        own: dict[str, int | str] = {"column": model.column, "type": model.type, "dim": model.dim, "model": model.id}
        where: dict[str, int | str] = {"user": str(self.user_id), "head": self.head}
        where |= {"lower": str(self.lower), "upper": str(self.upper)}
        mine = SQL.text("mine", model=model.id, **where)
        if self.warm:
            mine += b" " + SQL["mine_warm"]
        return SQL.text(block, table=self.table, mine=mine.decode(), **own, **where, **literals)


async def list_models(connection: Connection) -> list[Model]:
    """Every model that the store has vectors of, or is about to."""
    cursor = await connection.execute(SQL["models"])
    return [Model(*row) for row in await cursor.fetchall()]


async def list_partitions(connection: Connection, *tiers: str) -> list[Partition]:
    """The partitions of vectors of some tiers, oldest first; the hot ones when none is named."""
    cursor = await connection.execute(SQL["vector_partitions"], (list(tiers or ("hot",)),))
    return [Partition(*row) for row in await cursor.fetchall()]


async def list_all_partitions(connection: Connection) -> list[Partition]:
    """The partitions of every parent and tier, those of a parent oldest first."""
    cursor = await connection.execute(SQL["all_partitions"])
    return [Partition(*row) for row in await cursor.fetchall()]


def covered(model: Model) -> bool:
    """Whether the vectors of a model fit into its covering index."""
    return model.dim * BYTES[model.precision] + INDEX_ROW_OVERHEAD <= LARGEST_INDEX_ROW


def exact_name(table: str, model: Model) -> str:
    return f"{table}_m{model.id}_exact"


def codes_name(table: str, model: Model) -> str:
    return f"{table}_m{model.id}_codes"


def bits_name(table: str, model: Model) -> str:
    return f"{table}_m{model.id}_bits"


def hnsw_prefix(table: str, model: Model) -> str:
    """What the names of all graphs of a partition for a model begin with."""
    return f"{table}_m{model.id}_hnsw_"


def hnsw_name(span: Span) -> str:
    """The name of the graph over a span; another span has another name."""
    parts = (span.user_id.bytes, bytes([span.head]), span.lower.bytes, span.upper.bytes)
    return hnsw_prefix(span.table, span.model) + blake2s(b"".join(parts), digest_size=5).hexdigest()


def exact_index(table: str, model: Model, *, concurrently: bool) -> bytes:
    """The statement that makes the covering index of a partition for a model."""
    return SQL.text(
        "exact_index",
        concurrently=_way(concurrently=concurrently),
        index=exact_name(table, model),
        table=table,
        vector=f", {model.column}" if covered(model) else "",
        model=model.id,
    )


def codes_index(table: str, model: Model, *, concurrently: bool) -> bytes:
    """The statement that makes the empty index by which nothing warm is found in a hot partition."""
    return MOVING.text(
        "codes_index", concurrently=_way(concurrently=concurrently), index=codes_name(table, model), table=table,
        model=model.id,
    )  # fmt: skip


def late_index(table: str, model: Model, *, concurrently: bool) -> bytes:
    """The statement that makes the index of exact search in a warm or cold partition: of what is not codes there."""
    return MOVING.text(
        "late_index", concurrently=_way(concurrently=concurrently), index=exact_name(table, model), table=table,
        vector=f", {model.column}" if covered(model) else "", column=model.column, model=model.id,
    )  # fmt: skip


def warm_bits_index(table: str, model: Model, *, concurrently: bool) -> bytes:
    """The statement that makes the index over the signs of what is codes: of the first head."""
    return MOVING.text(
        "warm_bits_index", concurrently=_way(concurrently=concurrently), index=bits_name(table, model), table=table,
        model=model.id,
    )  # fmt: skip


def _way(*, concurrently: bool) -> str:
    return "CONCURRENTLY" if concurrently else ""


def model_indexes(table: str, tier: str, model: Model, *, concurrently: bool) -> dict[str, bytes]:
    """The indexes that every partition of a tier has for a model, by name, and the statements that make them."""
    if tier != "hot":
        return {exact_name(table, model): late_index(table, model, concurrently=concurrently)}
    return {
        exact_name(table, model): exact_index(table, model, concurrently=concurrently),
        codes_name(table, model): codes_index(table, model, concurrently=concurrently),
    }


async def add_model_indexes(connection: Connection, model: Model) -> list[str]:
    """Makes the indexes of a model on every partition that lacks them, and returns their names.

    Call it after the row of ``model`` is committed: partitions that are made from then on bring the index themselves.
    ``connection`` is the owner's, in autocommit; readers and writers go on meanwhile.
    """
    await wait_for_partition_makers(connection)
    made: list[str] = []
    async with building_alone(connection):
        while not await _add_indexes(connection, model, made):
            pass
    return made


async def _add_indexes(connection: Connection, model: Model, made: list[str]) -> bool:
    """False where a partition was moved meanwhile: what took its place is to be looked at."""
    for one in await list_partitions(connection, *TIERS):
        for name, statement in model_indexes(one.table, one.tier, model, concurrently=True).items():
            try:
                if await build(connection, name, statement):
                    made.append(name)
            except errors.UndefinedTable:
                return False
    return True


async def build_bits(connection: Connection, table: str, model: Model) -> bool:
    """Builds the index over the bits of a partition; False when it stands already."""
    name = bits_name(table, model)
    return await build(connection, name, SQL.text("bits_index", index=name, table=table, model=model.id))


async def build_graph(connection: Connection, span: Span) -> bool:
    """Builds the graph over a span, beside readers and writers; False when it stands already."""
    await connection.execute(SQL["build_memory"])
    try:
        statement = span.sql("hnsw_index", index=hnsw_name(span), m=HNSW_M, ef=HNSW_EF_CONSTRUCTION)
        return await build(connection, hnsw_name(span), statement)
    finally:
        await connection.execute(SQL["usual_memory"])


async def build(connection: Connection, index: str, statement: bytes) -> bool:
    """Runs the statement that builds an index, unless a valid one stands; whether it did."""
    cursor = await connection.execute(SQL["index_state"], (index,))
    row = await cursor.fetchone()
    if row is not None and row[0]:
        return False
    if row is not None:
        # A build that was killed leaves an index that every write keeps up and no query uses.
        await drop(connection, index)
    await connection.execute(statement)
    return True


async def drop(connection: Connection, index: str) -> None:
    """Drops an index, beside readers and writers."""
    await connection.execute(SQL.text("drop_index", index=index))
