"""What is built for large users beside their covering index, partition by partition, and written into ``memory_index``.

- Bits: one index for all users of a partition, once one of them is large; every later write keeps it up, which costs
  little. Rows that are older than the column are given their bits first.
- Graphs: of one user each, over the ids up to the moment of the build. What comes later is found by its bits or
  exactly, until it is enough for a graph of its own, which takes in smaller ones before it: as in a log-structured
  merge tree (O'Neil et al., 1996) every row is built into a graph a few times in all, and no write ever into one.

Nothing is read by recall before it is measured and written down, and each step is done again where it was broken off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from reverie.core import clock
from reverie.core.database import Connection
from reverie.core.ids import lower_bound
from reverie.core.kinds import HEADS, KINDS
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers.indexes import (
    BYTES,
    Mode,
    Partition,
    Span,
    bits_name,
    build_bits,
    build_graph,
    drop,
    hnsw_name,
    hnsw_prefix,
)
from reverie.tiers.measuring import candidates_needed, candidates_of_codes, looks_needed, questions_like

SQL = Queries("reverie.tiers")

BITS_ROWS: Final = 10_000
"""A user with so many vectors in a partition is large: to read their bits takes a third of reading them."""

GRAPH_ROWS = 20_000
"""MEMORY_HNSW=auto: so many vectors of one user and head in a partition are worth a graph, which then takes half as
long as exact search; from 10 000 on it would be as fast."""

GRAPH_ROWS_ALWAYS = 1_000
"""MEMORY_HNSW=always: below, reading all of them takes less than a millisecond."""

MOST_GRAPHS: Final = 32
"""Users with a graph on one partition, the largest: every write of anybody's looks at the condition of each."""

GROWN: Final = 1.5
"""What was measured is measured again when there are so many times the rows, or so many times fewer."""

COUNTED: Final = 1.05
"""How many there are is written down again at this."""

PAGES_AT_ONCE: Final = 250
"""Pages of a partition whose rows get their bits in one transaction: about 2 000 rows."""

BUILD_BYTES: Final = 400_000_000
"""What a graph may take in memory while it is built; one that outgrows `build_memory` is finished on disk."""

NODE_BYTES: Final = 500
"""Bytes of a row of a graph besides its vector."""


class Large(NamedTuple):
    """A user whose vectors of one head in a partition are many."""

    user_id: UUID
    head: int
    rows: int


@dataclass(frozen=True, slots=True)
class Built:
    """A row of ``memory_index`` of one partition and model."""

    user_id: UUID
    head: int
    method: str
    lower: UUID
    upper: UUID
    index_name: str
    rows: int
    looks: int
    recall: float
    kinds: list[int]
    moments: list[datetime]
    table: str
    model_id: int

    @property
    def owner(self) -> tuple[UUID, int]:
        return self.user_id, self.head


def graph_rows(mode: Mode) -> int | None:
    """From how many rows a user gets a graph; None is never."""
    return {"auto": GRAPH_ROWS, "always": GRAPH_ROWS_ALWAYS, "never": None}[mode]


def most_rows(model: Model) -> int:
    """The rows of one graph that fit into memory while it is built."""
    return BUILD_BYTES // (model.dim * BYTES[model.precision] + NODE_BYTES)


async def tend(connection: Connection, model: Model, partition: Partition, mode: Mode) -> bool:
    """Brings the bits and graphs of one partition up to date; whether anything was built.

    ``connection`` is the owner's, in autocommit, and nobody else builds.
    """
    await _drop_unused(connection, model, partition)
    from_rows = graph_rows(mode)
    least = min(BITS_ROWS, from_rows or BITS_ROWS)
    counted = await _large_users(connection, model, partition, round(least / GROWN))
    known = await _built(connection, model, partition)
    await _remove_shrunk(connection, model, partition, known, counted)
    owners = {one.owner for one in known}
    large = [one for one in counted if one.rows >= least or one[:2] in owners]
    if not large:
        return False
    built = await _tend_bits(connection, model, partition, large, known)
    if from_rows is not None:
        for one in [one for one in large if one.rows >= from_rows][:MOST_GRAPHS]:
            built |= await _tend_graphs(connection, model, partition, one, from_rows, known)
    return built


async def _tend_bits(
    connection: Connection, model: Model, partition: Partition, large: Sequence[Large], known: Sequence[Built]
) -> bool:
    await _fill_bits(connection, model, partition)
    built = await build_bits(connection, partition.table, model)
    before = {one.owner: one for one in known if one.method == "bits"}
    for user in large:
        there = before.get((user.user_id, user.head))
        factor = _factor(user.rows, there.rows) if there is not None else GROWN
        if there is None or factor >= GROWN:
            await _measure_bits(connection, model, partition, user)
        elif factor >= COUNTED:
            await add(connection, replace(there, rows=user.rows))
    return built


async def _measure_bits(connection: Connection, model: Model, partition: Partition, user: Large) -> None:
    span = Span(partition.table, model, user.user_id, user.head, partition.lower, partition.upper)
    questions = await questions_like(connection, span)
    looks, recall = await candidates_needed(connection, span, questions)
    await _write_down(connection, span, "bits", bits_name(partition.table, model), user.rows, looks, recall)


async def _tend_graphs(
    connection: Connection, model: Model, partition: Partition, user: Large, from_rows: int, known: Sequence[Built]
) -> bool:
    mine = (user.user_id, user.head)
    graphs = [one for one in known if one.method == "hnsw" and one.owner == mine]
    step = max(1, from_rows // 2) if graphs else from_rows
    if user.rows - sum(one.rows for one in graphs) < step:
        return False
    graphs = [await _counted(connection, model, partition, one) for one in graphs]
    built = False
    while (left := user.rows - sum(one.rows for one in graphs)) >= step:
        kept, rows = absorbed(graphs, min(left, most_rows(model)), most_rows(model))
        lower = kept[-1].upper if kept else partition.lower
        whole = Span(partition.table, model, *mine, lower, partition.upper)
        span = replace(whole, upper=await _end(connection, whole, rows))
        await build_graph(connection, span)
        looks, recall = await looks_needed(connection, span, await questions_like(connection, span))
        async with connection.transaction():
            for one in graphs[len(kept) :]:
                await _remove(connection, model, partition.table, one)
            made = await _write_down(connection, span, "hnsw", hnsw_name(span), None, looks, recall)
        graphs, built, step = [*kept, made], True, max(1, from_rows // 2)
        if not made.rows:
            # They were forgotten meanwhile.
            break
    return built


async def _counted(connection: Connection, model: Model, partition: Partition, one: Built) -> Built:
    """A graph with the rows that it holds now: what was encoded late has come into the time of its span."""
    span = Span(partition.table, model, one.user_id, one.head, one.lower, one.upper)
    return await _write_down(connection, span, one.method, one.index_name, None, one.looks, one.recall)


def absorbed(graphs: Sequence[Built], rows: int, most: int) -> tuple[list[Built], int]:
    """(the graphs that stay, the rows of a new one): it takes in those before it that are not much larger."""
    kept = list(graphs)
    while kept and kept[-1].rows <= 2 * rows and kept[-1].rows + rows <= most:
        rows += kept.pop().rows
    return kept, rows


async def _end(connection: Connection, whole: Span, rows: int) -> UUID:
    """Where a graph over the oldest ``rows`` ends: behind them, or with its week if that is over and these are all."""
    cursor = await connection.execute(whole.sql("end_of_rows", most=rows))
    row = await cursor.fetchone()
    if row is None:
        return whole.upper
    behind = UUID(int=row[0].int + 1)
    cursor = await connection.execute(replace(whole, lower=behind).sql("kinds"))
    over = lower_bound(clock.now()) >= whole.upper
    return whole.upper if over and not await cursor.fetchall() else behind


async def _write_down(
    connection: Connection, span: Span, method: str, index: str, rows: int | None, looks: int, recall: float
) -> Built:
    made = await _described(connection, span, method, index, rows, looks, recall)
    await add(connection, made)
    return made


async def _described(
    connection: Connection, span: Span, method: str, index: str, rows: int | None, looks: int, recall: float
) -> Built:
    cursor = await connection.execute(span.sql("kinds"))
    counts = {int(kind): int(count) for kind, count in await cursor.fetchall()}
    cursor = await connection.execute(span.sql("moments"))
    row = await cursor.fetchone()
    moments = list(row[0]) if row is not None and row[0] is not None else []
    kinds = [counts.get(kind, 0) for kind in range(1, max(KINDS.values()) + 1)]
    count = sum(kinds) if rows is None else rows
    return Built(
        span.user_id, span.head, method, span.lower, span.upper, index, count, looks, recall, kinds, moments,
        span.table, span.model.id,
    )  # fmt: skip


async def warm_user(connection: Connection, model: Model, partition: Partition, user_id: UUID) -> Built:
    """What recall is to know of a large user in a warm partition whose index over signs stands: measured anew.

    What was measured of the partitions that it was made of is of other vectors, and of other candidates.
    """
    head = HEADS["semantic"]
    span = Span(partition.table, model, user_id, head, partition.lower, partition.upper, warm=True)
    looks, recall = await candidates_of_codes(connection, span)
    return await _described(connection, span, "bits", bits_name(partition.table, model), None, looks, recall)


async def _fill_bits(connection: Connection, model: Model, partition: Partition) -> None:
    literals: dict[str, int | str] = {"table": partition.table, "model": model.id}
    while True:
        cursor = await connection.execute(SQL.text("lacks_bits", **literals))
        row = await cursor.fetchone()
        if row is None or not row[0]:
            return
        cursor = await connection.execute(SQL["pages"], (partition.table,))
        row = await cursor.fetchone()
        pages = int(row[0]) if row is not None else 0
        for first in range(0, pages, PAGES_AT_ONCE):
            last = first + PAGES_AT_ONCE
            await connection.execute(
                SQL.text("fill_bits", column=model.column, first=first, last=last, **literals)
            )  # fmt: skip


async def _drop_unused(connection: Connection, model: Model, partition: Partition) -> None:
    cursor = await connection.execute(SQL["unused_graphs"], (partition.table, hnsw_prefix(partition.table, model)))
    for (name,) in await cursor.fetchall():
        await drop(connection, name)


async def _large_users(connection: Connection, model: Model, partition: Partition, least: int) -> list[Large]:
    cursor = await connection.execute(
        SQL.text("large_users", table=partition.table, model=model.id), (max(1, least),)
    )  # fmt: skip
    return [Large(*row) for row in await cursor.fetchall()]


async def _built(connection: Connection, model: Model, partition: Partition) -> list[Built]:
    cursor = await connection.execute(SQL["built"], (partition.table, model.id))
    return [Built(*(*row, partition.table, model.id)) for row in await cursor.fetchall()]


async def _remove_shrunk(
    connection: Connection, model: Model, partition: Partition, known: list[Built], large: Sequence[Large]
) -> None:
    """Who has become small is searched exactly again; their graphs go in the next round."""
    owners = {(one.user_id, one.head) for one in large}
    for one in [one for one in known if one.owner not in owners]:
        await _remove(connection, model, partition.table, one)
        known.remove(one)


async def _remove(connection: Connection, model: Model, table: str, one: Built) -> None:
    key = (one.user_id, table, model.id, one.head, one.method, one.lower)
    await connection.execute(SQL["remove_built"], key)


async def add(connection: Connection, one: Built) -> None:
    """Writes down what was built; recall hears of it within seconds."""
    await connection.execute(
        SQL["add_built"],
        (one.user_id, one.table, one.model_id, one.head, one.method, one.lower, one.upper, one.index_name, one.rows,
         one.looks, one.recall, one.kinds, one.moments, clock.now()),
    )  # fmt: skip


def _factor(one: int, other: int) -> float:
    """How many times as large as the smaller the larger is."""
    return max(one, other) / max(1, min(one, other))
