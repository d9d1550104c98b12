"""Rows of one partition copied into another that nobody reads yet: bodies as they are, vectors as codes.

Vectors come and go in PostgreSQL's binary COPY, whose rows are of one length once their columns are not null, so that
numpy reads and writes some thousands of them at a time: 50 000 a second on one core, where one by one would be 5 000.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt
from psycopg import AsyncCopy

from reverie.core.database import Connection
from reverie.core.kinds import HEADS
from reverie.core.queries import Queries
from reverie.embedding.codes import Bytes, bit_bytes, code_bytes, pack, quantise, signs_of
from reverie.memories.model import Model
from reverie.memories.strength import parts_at
from reverie.tiers.indexes import BYTES

SQL = Queries("reverie.tiers", "moving.sql")

Trace = tuple[UUID, UUID]
"""A user and a trace."""


class Low(NamedTuple):
    """What matters little: a trace whose effective salience is less at a moment."""

    salience: float
    moment: datetime

    @property
    def parts(self) -> dict[str, str]:
        """What a query needs that asks for it."""
        return {"low": repr(self.salience), **parts_at(self.moment)}


Records = npt.NDArray[np.void]
"""Rows of ``memory_embedding`` as COPY sends or takes them."""

Ids = npt.NDArray[np.bytes_]
"""Ids of traces, in order."""

BATCH_ROWS: Final = 4096
BATCH_BYTES: Final = 1 << 20

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULLS: Final = b"\xff" * 8
"""Two columns that are null."""

_COLUMNS: Final = (
    ("space_id", "V16"), ("user_id", "V16"), ("trace_id", "V16"), ("happened_at", ">i8"), ("piece", ">i4"),
    ("head", ">i2"), ("kind", ">i2"),
)  # fmt: skip
_SPAN: Final = (("begins", ">i4"), ("ends", ">i4"))


@dataclass(frozen=True, slots=True)
class Format:
    """How the rows of a model come and go. A row without a span comes with -1 in its place, and goes without."""

    model: Model

    @property
    def as_vectors(self) -> np.dtype[np.void]:
        """Read where a row has its vector: a length, a number that is not used, and the numbers."""
        number = f">f{BYTES[self.model.precision]}"
        return self._read([("dim", ">i2"), ("unused", ">i2"), ("vector", number, (self.model.dim,))])

    @property
    def as_codes(self) -> np.dtype[np.void]:
        """Read where a row has codes: how many bits, these, and the codes."""
        return self._read([("bits_length", ">i4"), ("bits", "u1", (self._bits,)), ("codes", "u1", (self._codes,))])

    @property
    def written(self) -> np.dtype[np.void]:
        """What is written of a row, but for its span."""
        columns = [*_COLUMNS, ("model_id", ">i2")]
        last: list[Any] = [("bits_bytes", ">i4"), ("bits_length", ">i4"), ("bits", "u1", (self._bits,))]
        last += [("codes_bytes", ">i4"), ("codes", "u1", (self._codes,))]
        return np.dtype([("fields", ">i2"), *_sized(columns), *last])

    @property
    def written_with_span(self) -> np.dtype[np.void]:
        """What is written of a row that is a span of its content."""
        return np.dtype([*self.written.descr, *_sized(_SPAN)])

    def rows(self, messages: Sequence[bytes]) -> Records:
        """Rows to be written, in their order, of those that were read.

        Raises:
            ValueError: one is not as this model's rows are.
        """
        lengths = np.fromiter(map(len, messages), dtype=np.int64, count=len(messages))
        made = np.zeros(len(messages), dtype=self.written_with_span)
        seen = 0
        for kind in (self.as_vectors, self.as_codes):
            places = np.flatnonzero(lengths == kind.itemsize)
            if len(places):
                read = np.frombuffer(b"".join([messages[int(place)] for place in places]), dtype=kind)
                made[places] = self._converted(read)
            seen += len(places)
        if seen < len(messages):
            raise ValueError(f"Rows of {self.model} are {sorted(set(lengths.tolist()))} bytes long.")
        return made

    def bytes_of(self, rows: Records) -> bytes:
        """What COPY takes for these rows."""
        spans = rows["begins"] >= 0
        if not spans.any():
            return self._without_spans(rows)
        # Runs of rows with and without a span.
        edges = [0, *(np.flatnonzero(np.diff(spans)) + 1), len(rows)]
        parts = (
            rows[first:last].tobytes() if spans[first] else self._without_spans(rows[first:last])
            for first, last in pairwise(edges)
        )
        return b"".join(parts)

    def _without_spans(self, rows: Records) -> bytes:
        size = self.written.itemsize
        whole = np.empty((len(rows), size + len(_NULLS)), dtype=np.uint8)
        whole[:, :size] = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)[:, :size]
        whole[:, size:] = 0xFF
        return whole.tobytes()

    def _converted(self, read: Records) -> Records:
        made = np.zeros(len(read), dtype=self.written_with_span)
        for name, kind in (*_COLUMNS, *_SPAN):
            made[name] = read[name]
            made[f"{name}_bytes"] = np.dtype(kind).itemsize
        made["fields"] = len(_COLUMNS) + len(_SPAN) + 3
        made["model_id"], made["model_id_bytes"] = self.model.id, 2
        made["bits_bytes"], made["bits_length"] = 4 + self._bits, self.model.dim
        made["codes_bytes"] = self._codes
        made["bits"], made["codes"] = self._codes_of(read)
        return made

    def _codes_of(self, read: Records) -> tuple[Bytes, Bytes]:
        """The bits and the codes."""
        if "codes" in (read.dtype.names or ()):
            return read["bits"], read["codes"]
        vectors = read["vector"].astype(np.float32)
        bits = signs_of(vectors)
        return bits, pack(quantise(vectors), bits)

    @property
    def _bits(self) -> int:
        return bit_bytes(self.model.dim)

    @property
    def _codes(self) -> int:
        return code_bytes(self.model.dim)

    @staticmethod
    def _read(last: Sequence[Any]) -> np.dtype[np.void]:
        return np.dtype([("fields", ">i2"), *_sized([*_COLUMNS, *_SPAN]), ("bytes", ">i4"), *last])


def _sized(columns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each column behind its length in bytes."""
    return [part for name, kind in columns for part in ((f"{name}_bytes", ">i4"), (name, kind))]


@dataclass(slots=True)
class Counts:
    """How many rows of the first head each user has, of rows that come user by user; kept of the large ones alone.

    ``traces``: of how many in all.
    """

    least: int
    large: dict[UUID, int] = field(default_factory=dict)
    traces: int = 0
    _user: bytes = b""
    _rows: int = 0

    def add(self, rows: Records) -> None:
        """Counts rows."""
        first = rows["head"] == HEADS["semantic"]
        users = rows["user_id"][first]
        if not len(users):
            return
        self.traces += int((first & (rows["piece"] == 0)).sum())
        # As bytes: numpy compares no void.
        keys = np.ascontiguousarray(users).view("S16")
        edges = [0, *(np.flatnonzero(keys[1:] != keys[:-1]) + 1), len(users)]
        for first, last in pairwise(edges):
            user = users[first].tobytes()
            if user != self._user:
                self.finish()
                self._user, self._rows = user, 0
            self._rows += int(last - first)

    def finish(self) -> dict[UUID, int]:
        """Those with so many rows, when all were counted."""
        if self._rows >= self.least:
            self.large[UUID(bytes=self._user)] = self.large.get(UUID(bytes=self._user), 0) + self._rows
        self._rows = 0
        return self.large


@dataclass(frozen=True, slots=True)
class From:
    """A partition that is read. ``hot``: its vectors lie in an index in the order that is wanted."""

    table: str
    hot: bool


Each = Callable[[int, int], Awaitable[None]]
"""Hears of rows and bytes that were written, after each batch."""


async def copy_vectors(
    source: Connection,
    target: Connection,
    into: str,
    tables: Sequence[From],
    model: Model,
    little: Ids,
    counts: Counts,
    each: Each,
) -> None:
    """Copies all vectors of a model, in the order (user, head, trace), into a table that was made empty here.

    Args:
        source: reads; ``target`` writes, within the transaction that made ``into`` empty.
        little: traces of which heads other than the first are left behind.
        counts: counts what was copied.
        each: is awaited after each batch.
    """
    form = Format(model)
    await source.execute(SQL["read_in_order"])
    async with _reading(source, _all_vectors(tables, model)) as batches, _frozen(target, into) as write:
        async for batch in batches:
            rows, sent = await asyncio.to_thread(_through, form, batch, little, counts)
            await write(sent)
            await each(rows, len(sent))


async def unimportant(connection: Connection, lower: UUID, upper: UUID, low: Low | None) -> Ids:
    """The ids of traces in a range that matter little."""
    found = bytearray()
    if low is None or low.salience <= 0:
        return np.array([], dtype="S16")
    query = SQL.text("unimportant", lower=str(lower), upper=str(upper), **low.parts)
    async with _reading(connection, query) as batches:
        async for batch in batches:
            # Behind the number of columns and the length of the one.
            found += b"".join([row[6:] for row in batch])
    return np.sort(np.frombuffer(bytes(found), dtype="S16"))


def _through(form: Format, batch: Sequence[bytes], little: Ids, counts: Counts) -> tuple[int, bytes]:
    rows = form.rows(batch)
    if len(little):
        ids = np.ascontiguousarray(rows["trace_id"]).view("S16")
        places = np.minimum(np.searchsorted(little, ids), len(little) - 1)
        rows = rows[(rows["head"] == HEADS["semantic"]) | (little[places] != ids)]
    counts.add(rows)
    return len(rows), form.bytes_of(rows)


async def read_vectors(
    connection: Connection, tables: Sequence[From], model: Model, low: Low | None, traces: Sequence[Trace]
) -> bytes:
    """The vectors of some traces, as :func:`write_vectors` takes them."""
    form = Format(model)
    read: list[bytes] = []
    async with _reading(connection, _some_vectors(tables, model, low, traces)) as batches:
        async for batch in batches:
            read += batch
    return form.bytes_of(form.rows(read)) if read else b""


async def write_vectors(connection: Connection, into: str, rows: bytes) -> None:
    """Writes what :func:`read_vectors` has read."""
    if not rows:
        return
    async with connection.cursor().copy(SQL.text("write_vectors", table=into, options="")) as copy:
        await copy.write(_HEADER + rows + _TRAILER)


async def copy_bodies(
    source: Connection, target: Connection, into: str, tables: Sequence[str], columns: str, each: Each
) -> None:
    """Copies all bodies as they are, by user and trace, into a table that was made empty here."""
    await source.execute(SQL["read_in_order"])
    parts = " UNION ALL ".join(SQL.text("all_bodies", table=table, columns=columns).decode() for table in tables)
    read = SQL.text("read_bodies", rows=parts)
    write = SQL.text("write_bodies", table=into, columns=columns)
    async with source.cursor().copy(read) as coming, target.cursor().copy(write) as going:
        held, rows = bytearray(), 0
        async for message in coming:
            held += message
            rows += 1
            if len(held) >= BATCH_BYTES:
                await going.write(bytes(held))
                await each(rows, len(held))
                held, rows = bytearray(), 0
        await going.write(bytes(held))
        # One message is the end.
        await each(max(0, rows - 1), len(held))


async def copy_bodies_of(
    target: Connection, into: str, tables: Sequence[str], columns: str, traces: Sequence[Trace]
) -> int:
    """Copies the bodies of some traces; how many."""
    count = 0
    for table in tables:
        query = SQL.text("some_bodies", table=table, into=into, columns=columns)
        count += (await target.execute(query, keys_of(traces))).rowcount
    return count


async def remove(connection: Connection, table: str, traces: Sequence[Trace]) -> None:
    """Removes the rows of some traces."""
    await connection.execute(SQL.text("remove_traces", table=table), keys_of(traces))


async def body_columns(connection: Connection) -> str:
    """The columns of ``memory_body``, as SQL lists them."""
    cursor = await connection.execute(SQL["body_columns"])
    row = await cursor.fetchone()
    return str(row[0]) if row is not None else ""


def keys_of(traces: Sequence[Trace]) -> tuple[list[UUID], list[UUID]]:
    """Their users and their ids, as two parameters."""
    return [user for user, _ in traces], [trace for _, trace in traces]


def _all_vectors(tables: Sequence[From], model: Model) -> bytes:
    names = [one.table for one in tables]
    first = " UNION ALL ".join(SQL.text("first_owner", table=name).decode() for name in names)
    following = " UNION ALL ".join(SQL.text("next_owner", table=name).decode() for name in names)
    mine = "e.user_id = o.user_id AND e.head = h.head"
    rows = _vectors(tables, model, mine)
    heads = ", ".join(f"({head}::smallint)" for head in sorted(HEADS.values()))
    return SQL.text("read_all_vectors", first=first, following=following, heads=heads, rows=rows)


def _some_vectors(tables: Sequence[From], model: Model, low: Low | None, traces: Sequence[Trace]) -> bytes:
    given = ", ".join(f"('{user}'::uuid, '{trace}'::uuid)" for user, trace in traces)
    matters = "" if low is None else SQL.text("if_it_matters", **low.parts).decode()
    rows = _vectors(tables, model, "e.user_id = g.user_id AND e.trace_id = g.trace_id", matters)
    return SQL.text("read_some_vectors", given=given, rows=rows)


def _vectors(tables: Sequence[From], model: Model, mine: str, matters: str = "") -> str:
    """Queries of each table in turn, so that what is older comes first."""
    named = {"column": model.column, "type": model.type}
    vector, codes, either = (SQL.text(name, **named).decode() for name in ("vector_sent", "codes_sent", "either_sent"))
    in_turn = [(vector, SQL.text("has_vector", **named).decode()), (codes, SQL.text("has_codes").decode())]
    parts = []
    for one in tables:
        literals: dict[str, str | int] = {"table": one.table, "model": model.id, "mine": mine}
        for payload, where in in_turn if one.hot else [(either, "")]:
            query = SQL.text("vectors_of", payload=payload, where=where, **literals).decode()
            parts.append(f"{query} {matters}")
    return " UNION ALL ".join(parts)


@asynccontextmanager
async def _reading(connection: Connection, query: bytes) -> AsyncIterator[AsyncIterator[list[bytes]]]:
    async with connection.cursor().copy(query) as copy:
        yield _batches(copy)


async def _batches(copy: AsyncCopy) -> AsyncIterator[list[bytes]]:
    """The rows that come, some at a time; each is a message of its own, the header before the first one's."""
    batch: list[bytes] = []
    first = True
    async for message in copy:
        row = bytes(message)
        if first:
            row, first = row.removeprefix(_HEADER), False
        if row and row != _TRAILER:
            batch.append(row)
        if len(batch) >= BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


@asynccontextmanager
async def _frozen(connection: Connection, into: str) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    async with connection.cursor().copy(SQL.text("write_vectors", table=into, options=", FREEZE")) as copy:
        await copy.write(_HEADER)
        yield copy.write
        await copy.write(_TRAILER)
