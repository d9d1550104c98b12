"""The indexes over vectors, on each partition: the covering one of exact search, that of the bits, and graphs (HNSW).

All names and numbers stand as literals in the SQL: with the model as a parameter the plan falls to a sequential scan.
"""

from dataclasses import dataclass
from hashlib import blake2s
from typing import Literal
from uuid import UUID

from reverie.core.database import Connection
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers.locks import building_alone, wait_for_partition_makers

SQL = Queries("reverie.tiers")

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
    """A partition of ``memory_embedding`` and its range of ids (``upper`` exclusive)."""

    table: str
    lower: UUID
    upper: UUID


@dataclass(frozen=True, slots=True)
class Span:
    """One user's vectors of one head and model in a partition, from ``lower`` to ``upper`` (exclusive)."""

    table: str
    model: Model
    user_id: UUID
    head: int
    lower: UUID
    upper: UUID

    def sql(self, block: str, **literals: int | str) -> bytes:
        """A block of SQL over these vectors."""
        model = self.model
        own: dict[str, int | str] = {"column": model.column, "type": model.type, "dim": model.dim, "model": model.id}
        where: dict[str, int | str] = {"user": str(self.user_id), "head": self.head}
        where |= {"lower": str(self.lower), "upper": str(self.upper)}
        mine = SQL.text("mine", model=model.id, **where).decode()
        return SQL.text(block, table=self.table, mine=mine, **own, **where, **literals)


async def list_models(connection: Connection) -> list[Model]:
    """Every model that the store has vectors of, or is about to."""
    cursor = await connection.execute(SQL["models"])
    return [Model(*row) for row in await cursor.fetchall()]


async def list_partitions(connection: Connection) -> list[Partition]:
    """The partitions whose vectors are searched, oldest first."""
    cursor = await connection.execute(SQL["vector_partitions"])
    return [Partition(*row) for row in await cursor.fetchall()]


def covered(model: Model) -> bool:
    """Whether the vectors of a model fit into its covering index."""
    return model.dim * BYTES[model.precision] + INDEX_ROW_OVERHEAD <= LARGEST_INDEX_ROW


def exact_name(table: str, model: Model) -> str:
    return f"{table}_m{model.id}_exact"


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
        concurrently="CONCURRENTLY" if concurrently else "",
        index=exact_name(table, model),
        table=table,
        vector=f", {model.column}" if covered(model) else "",
        model=model.id,
    )


async def add_model_indexes(connection: Connection, model: Model) -> list[str]:
    """Makes the covering index of a model on every partition that lacks it, and returns their names.

    Call it after the row of ``model`` is committed: partitions that are made from then on bring the index themselves.
    ``connection`` is the owner's, in autocommit; readers and writers go on meanwhile.
    """
    await wait_for_partition_makers(connection)
    made = []
    async with building_alone(connection):
        for partition in await list_partitions(connection):
            name = exact_name(partition.table, model)
            if await build(connection, name, exact_index(partition.table, model, concurrently=True)):
                made.append(name)
    return made


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
