"""Indexes over vectors that are built anew because their pages are half empty.

A page into whose end more and more rows are written is split in its middle, unless it is the last of the whole index;
where many users write one trace after the other, nearly every page stays half empty. Traces that are written together
with their vectors come in an order that fills them (the query ``write_traces``); for the others it is done when their
week is over, and once: what has been packed is as small as it can be.
"""

from typing import Final

from reverie.core.database import Connection
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers.indexes import BYTES, Partition, bits_name, covered, drop, exact_name

SQL = Queries("reverie.tiers")

SPARSE: Final = 1.25
"""So many times the bytes that it would have when built anew, an index is built anew."""

FEWEST_BYTES: Final = 1_000_000
"""Below, nothing is gained."""

PAGE: Final = 8192
_USABLE: Final = 0.9 * (PAGE - 40)
"""Of a page, without its header and the bound of its neighbour, as CREATE INDEX fills it (fillfactor 90)."""

_ROW: Final = 84
"""Bytes of a row besides what is searched: its header and pointer, the key, and what recall filters by."""

_ALIGNED: Final = 8


def packed_bytes(rows: int, searched: int) -> int:
    """The bytes of an index over so many rows just after it was built.

    Args:
        rows: in the index.
        searched: bytes of the vector or of the bits of a row, with their header.
    """
    row = _ROW + -(-searched // _ALIGNED) * _ALIGNED
    pages = -(-rows // max(1, int(_USABLE // row)))
    return (pages + 1) * PAGE


async def pack(connection: Connection, model: Model, partition: Partition) -> list[str]:
    """Builds those indexes of a partition anew that are sparse, beside readers and writers; their names.

    ``connection`` is the owner's, in autocommit, and nobody else builds.
    """
    vector = model.dim * BYTES[model.precision] + 8 if covered(model) else 0
    searched = {exact_name(partition.table, model): vector, bits_name(partition.table, model): model.dim // 8 + 5}
    large = {name: size for name in searched if (size := await _bytes(connection, name)) >= FEWEST_BYTES}
    if not large:
        return []
    cursor = await connection.execute(SQL.text("rows_of_model", table=partition.table, model=model.id))
    row = await cursor.fetchone()
    rows = int(row[0]) if row is not None else 0
    sparse = [name for name, size in large.items() if size > SPARSE * packed_bytes(rows, searched[name])]
    for name in sparse:
        await _drop_broken_off(connection, partition.table, name)
        await connection.execute(SQL.text("reindex", index=name))
    return sparse


async def _drop_broken_off(connection: Connection, table: str, index: str) -> None:
    """What a REINDEX CONCURRENTLY that was killed leaves: every write keeps it up, and no query uses it."""
    cursor = await connection.execute(SQL["broken_off"], (table, f"{index}_cc"))
    for (name,) in await cursor.fetchall():
        await drop(connection, name)


async def _bytes(connection: Connection, index: str) -> int:
    """0 when there is no such index."""
    cursor = await connection.execute(SQL["index_bytes"], (index,))
    row = await cursor.fetchone()
    return int(row[0] or 0) if row is not None else 0
