"""The indexes over vectors, on each partition: the covering one of exact search, and HNSW where it pays.

All names and numbers stand as literals in the SQL: with the model as a parameter the plan falls to a sequential scan.
"""

from typing import Literal

from reverie.core.database import Connection
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers.locks import building_alone, building_if_nobody_does, wait_for_partition_makers

SQL = Queries("reverie.tiers")

LARGEST_INDEX_ROW = 2600
"""Bytes; a row of a B-tree holds 2 704 (a third of a page)."""

INDEX_ROW_OVERHEAD = 96
"""Bytes of a covering index row besides the vector's numbers: headers, two uuids more than the key, alignment."""

BYTES = {"fp16": 2, "fp32": 4}
HNSW_M = 16
HNSW_EF_CONSTRUCTION = 64
"""pgvector's defaults: recall@10 comes from ef_search at the time of the question."""

HNSW_USER_ROWS = 50_000
HNSW_USER_SHARE = 0.5
"""MEMORY_HNSW=auto builds where one user owns so many rows of a partition, and so large a share of it: below, exact
search is as fast, and a graph over everybody's rows loses most of a small user's neighbours to its filter."""

Mode = Literal["auto", "always", "never"]


async def list_models(connection: Connection) -> list[Model]:
    """Every model that the store has vectors of, or is about to."""
    cursor = await connection.execute(SQL["models"])
    return [Model(*row) for row in await cursor.fetchall()]


def covered(model: Model) -> bool:
    """Whether the vectors of a model fit into its covering index."""
    return model.dim * BYTES[model.precision] + INDEX_ROW_OVERHEAD <= LARGEST_INDEX_ROW


def exact_name(table: str, model: Model) -> str:
    return f"{table}_m{model.id}_exact"


def hnsw_name(table: str, model: Model) -> str:
    return f"{table}_m{model.id}_hnsw"


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
        for table in await _partitions(connection):
            name = exact_name(table, model)
            if await _build(connection, name, exact_index(table, model, concurrently=True)):
                made.append(name)
    return made


async def build_hnsw(connection: Connection, model: Model, table: str) -> bool:
    """Builds the HNSW index of one partition for a model, beside readers and writers.

    False when it stands already, and when another session builds an index.
    """
    statement = SQL.text(
        "hnsw_index",
        index=hnsw_name(table, model),
        table=table,
        column=model.column,
        type=model.type,
        dim=model.dim,
        m=HNSW_M,
        ef=HNSW_EF_CONSTRUCTION,
        model=model.id,
    )
    async with building_if_nobody_does(connection) as alone:
        if not alone:
            return False
        await connection.execute(SQL["build_memory"])
        try:
            return await _build(connection, hnsw_name(table, model), statement)
        finally:
            await connection.execute(SQL["usual_memory"])


async def hnsw_due(connection: Connection, model: Model, mode: Mode) -> list[str]:
    """The partitions that should get an HNSW index for a model and have no valid one."""
    if mode == "never":
        return []
    return [
        table
        for table in await _partitions(connection)
        if not await _stands(connection, hnsw_name(table, model)) and await _pays(connection, table, model, mode)
    ]


async def _pays(connection: Connection, table: str, model: Model, mode: Mode) -> bool:
    if mode == "always":
        cursor = await connection.execute(SQL.text("has_rows", table=table, model=model.id))
        row = await cursor.fetchone()
        return bool(row and row[0])
    cursor = await connection.execute(SQL["rows_estimate"], (table,))
    row = await cursor.fetchone()
    if row is None or 0 <= row[0] < HNSW_USER_ROWS // 2:
        return False
    cursor = await connection.execute(SQL.text("largest_user", table=table, model=model.id))
    row = await cursor.fetchone()
    largest, total = row or (0, 0)
    return worth_hnsw(largest, total)


def worth_hnsw(largest: int, total: int) -> bool:
    """Whether a partition of ``total`` rows, ``largest`` of them one user's, is faster with HNSW than exact."""
    return largest >= HNSW_USER_ROWS and largest >= HNSW_USER_SHARE * total


async def _partitions(connection: Connection) -> list[str]:
    cursor = await connection.execute(SQL["vector_partitions"])
    return [str(row[0]) for row in await cursor.fetchall()]


async def _stands(connection: Connection, index: str) -> bool | None:
    """Whether an index is there and valid; None when it is not there."""
    cursor = await connection.execute(SQL["index_state"], (index,))
    row = await cursor.fetchone()
    return bool(row[0]) if row else None


async def _build(connection: Connection, index: str, statement: bytes) -> bool:
    standing = await _stands(connection, index)
    if standing:
        return False
    if standing is False:
        # A build that was killed leaves an index that every write keeps up and no query uses.
        await connection.execute(SQL.text("drop_index", index=index))
    await connection.execute(statement)
    return True
