"""From warm to cold: the texts and vectors of a range go to files, and its partitions become nearly empty.

The move is that of :mod:`reverie.tiers.moving`, with nothing kept but what no file has: traces that are about to be
forgotten, and those that were changed while it went on. The order is what makes it safe: a file is written, read back
and verified, then its digests are written, then the partitions are swapped, and in that transaction the files begin to
be read. A run that is killed before has changed nothing that anybody sees: the next one throws its files away.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reverie.cold.files import COLUMNS, Layout, Table, ids_column, vector_column
from reverie.cold.segments import Segment
from reverie.cold.service import ColdService
from reverie.core.database import Connection, Row
from reverie.core.ids import lower_bound, moment_of
from reverie.core.kinds import HEADS
from reverie.core.queries import Queries
from reverie.embedding.codes import SignedBytes, bit_bytes, code_bytes, quantise, unpack
from reverie.memories.model import Model
from reverie.tiers import repository
from reverie.tiers.copying import keys_of
from reverie.tiers.indexes import Partition, list_all_partitions
from reverie.tiers.locks import AlreadyMoving, moving_alone, with_tables
from reverie.tiers.moving import Move, Part, Source, Trace
from reverie.tiers.partitions import BODY, EMBEDDING, PARENTS
from reverie.tiers.runs import Progress, Run, move

SQL = Queries("reverie.tiers", "export.sql")

STEP: Final = "cold"
DIGEST: Final = "memory_digest"

PART_TRACES: Final = 4096
PART_CHARACTERS: Final = 8_000_000
"""What is read of traces at a time."""

SEPARATOR: Final = "\x1f"
"""Between words, as the query has them."""

_PIECES: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Range:
    """What becomes cold together: the partitions that are emptied, and the cold ones before them."""

    lower: UUID
    upper: UUID
    emptied: tuple[Partition, ...]
    before: tuple[Partition, ...]

    def parts(self) -> tuple[Part, ...]:
        """One partition of each parent, of what was cold already and of this."""
        sources = [(one.parent, Source.of(one, kept=one.tier == "cold")) for one in (*self.before, *self.emptied)]
        return tuple(Part(parent, tuple(one for of, one in sources if of == parent)) for parent in PARENTS)

    @property
    def body(self) -> str:
        """The partition of texts, for changes that no partition shows."""
        return next(one.table for one in self.emptied if one.parent == BODY)

    def __str__(self) -> str:
        return f"{moment_of(self.lower):%Y-%m-%d} to {moment_of(self.upper):%Y-%m-%d}"


async def due(connection: Connection, as_of: datetime, warm_days: int) -> Range | None:
    """The oldest range whose every row is older than so many days; None where there is none.

    Args:
        connection: the owner's.
        as_of: the moment by which it is.
        warm_days: MEMORY_WARM_DAYS.
    """
    known = await list_all_partitions(connection)
    oldest = next((one for one in known if one.parent == EMBEDDING and one.tier != "cold"), None)
    if oldest is None or oldest.tier != "warm":
        return None
    limit = lower_bound(as_of - timedelta(days=warm_days))
    if oldest.lower >= limit:
        return None
    found = range_of(oldest, known)
    if found is None:
        return None
    if found.upper > limit:
        for one in found.emptied:
            newest = await (await connection.execute(SQL.text("newest", table=one.table))).fetchone()
            if newest is not None and newest[0] is not None and newest[0] >= limit:
                return None
    return found


def range_of(oldest: Partition, known: Sequence[Partition]) -> Range | None:
    """The range of a partition of vectors, with all partitions that it takes; None where texts lie otherwise.

    That is so while a kill has left the partitions of one parent merged further than those of the other.
    """
    lower, upper = oldest.lower, oldest.upper
    emptied = [one for one in known if one.lower < upper and one.upper > lower]
    texts = [one for one in emptied if one.parent == BODY]
    if not texts or texts[0].lower != lower or texts[-1].upper != upper or any(one.tier == "cold" for one in emptied):
        return None
    before = []
    for parent in PARENTS:
        last = next((one for one in reversed(known) if one.parent == parent and one.upper <= lower), None)
        if last is not None and last.tier == "cold":
            before.append(last)
    return Range(lower, upper, tuple(emptied), tuple(before))


class Exporter:
    """Makes ranges of one store cold."""

    def __init__(self, cold: ColdService, warm_days: int) -> None:
        self._cold = cold
        self._warm_days = warm_days

    async def finish(self, run: Run) -> None:
        """What an export that was killed has left.

        Raises:
            AlreadyMoving: one goes on, whose run has lost its lock with its session; what it has written is its own.
        """
        async with moving_alone(run.connection):
            await self._leave(run.connection)

    async def step(self, run: Run) -> None:
        """Exports what is due, range by range."""
        model = await repository.active_model(run.connection)
        while model is not None and (found := await due(run.connection, run.as_of, self._warm_days)) is not None:
            await run.next_move()
            await self.export(run, model, found)

    async def export(self, run: Run, model: Model, found: Range) -> None:
        """Makes one range cold.

        Raises:
            Halted: the run is paused; nothing has changed.
            StorageTrouble: files cannot be written; nothing has changed.
        """
        written: list[Segment] = []

        async def write() -> None:
            written.extend(await self._write(run, model, found))

        try:
            await move(
                run,
                STEP,
                Move(
                    parts=found.parts(),
                    tier="cold",
                    export=write,
                    staying=partial(_without_digest, found=found),
                    changed=partial(self._leave_out, found=found),
                    swapped=lambda connection: self._cold.show(connection, [one.id for one in written]),
                    locked=(DIGEST,),
                ),
            )
        finally:
            # What is shown by now is not touched. Where somebody moves already, the next run does it.
            with suppress(AlreadyMoving):
                await self.finish(run)
        run.did(
            STEP, files=len(written), file_bytes=sum(one.size for one in written),
            exported=sum(one.traces for one in written),
        )  # fmt: skip

    async def _leave_out(self, connection: Connection, traces: Sequence[Trace], *, found: Range) -> None:
        # Of the cold partitions before it others may change, as by a thaw: their files are not of this export.
        mine = [trace for trace in traces if found.lower <= trace[1] < found.upper]
        await self._cold.leave_out(connection, mine)

    async def _leave(self, connection: Connection) -> None:
        """Undoes an export that nobody sees, and ends the watch over digests."""
        row = await (await connection.execute(SQL["digests_watched"])).fetchone()
        if row is not None and row[0]:

            async def leave() -> None:
                await connection.execute(SQL["leave_digests"])

            await with_tables(connection, [DIGEST], leave)
        await self._cold.discard(connection)

    async def _write(self, run: Run, model: Model, found: Range) -> list[Segment]:
        """Writes the files of a range, with their digests; their segments."""
        layout, segments, done = Layout(model.name, model.dim), list[Segment](), 0
        async with run.database.maintenance() as reading, run.database.maintenance() as writing:

            async def watch() -> None:
                await writing.execute(
                    SQL.text("watch_digests", table=found.body, lower=str(found.lower), upper=str(found.upper))
                )

            await with_tables(writing, [], watch, unwritten=[DIGEST])
            async with _traces(reading, found) as batches:
                ahead = _Ahead(batches, _Reader(reading, model, layout, found))
                try:
                    while (place := await ahead.place()) is not None:
                        async with self._cold.writing(writing, *place, layout, model.id) as out:
                            async for table, count in ahead.tables(place):
                                await out.write(table)
                                done += count
                                run.tell(Progress(STEP, str(found), done))
                                await run.go_on()
                        segments += out.segments
                finally:
                    await ahead.close()
        return segments


Place = tuple[UUID, date]
"""A space and a month: what a file holds."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Traces of one space and month that are read together."""

    place: Place
    keys: tuple[Trace, ...]


@asynccontextmanager
async def _traces(connection: Connection, found: Range) -> AsyncIterator[AsyncIterator[Batch]]:
    """The traces of a range in the order of files."""
    await connection.execute(SQL["plan_by_keys"])
    months = months_between(moment_of(found.lower), moment_of(found.upper))
    bounds = "{" + ",".join(str(lower_bound(month)) for month in months[1:]) + "}"
    async with connection.transaction():
        await connection.execute(SQL["plan_as_usual"])
        await connection.execute(SQL.text("list_traces", bounds=bounds, range=_clause(found, "b")))
    try:
        yield _batches(connection, months)
    finally:
        if not connection.closed and not connection.broken:
            await connection.execute(SQL["no_more_traces"])


async def _batches(connection: Connection, months: Sequence[datetime]) -> AsyncIterator[Batch]:
    while True:
        rows = await (await connection.execute(SQL.text("next_traces", count=PART_TRACES))).fetchall()
        if not rows:
            return
        for (space_id, month), some in groupby(rows, key=lambda row: (row[0], row[1])):
            for keys in parts_of([(row[2], row[3], row[4]) for row in some]):
                yield Batch((space_id, months[month].date()), tuple(keys))


def parts_of(traces: Sequence[tuple[UUID, UUID, int]]) -> Iterator[list[Trace]]:
    """Traces, each with the length of its text, in parts of not too many characters."""
    part, characters = list[Trace](), 0
    for user_id, trace_id, length in traces:
        if part and characters + length > PART_CHARACTERS:
            yield part
            part, characters = [], 0
        part.append((user_id, trace_id))
        characters += length
    if part:
        yield part


def months_between(since: datetime, until: datetime) -> list[datetime]:
    """The beginnings of the months that hold any moment from ``since`` to before ``until``."""
    month = since.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    months = [month]
    while (month := (month + timedelta(days=32)).replace(day=1)) < until:
        months.append(month)
    return months


class _Reader:
    """Reads what a file says of traces."""

    def __init__(self, connection: Connection, model: Model, layout: Layout, found: Range) -> None:
        self._connection = connection
        self._layout = layout
        self._texts = SQL.text("texts", range=_clause(found, "b"))
        self._vectors = SQL.text("vectors", column=model.column, model=model.id, range=_clause(found, "e"))

    async def read(self, batch: Batch) -> Table:
        """The rows of a batch, without traces that have gone meanwhile."""
        keys = keys_of(batch.keys)
        texts = await self._rows(self._texts, keys)
        vectors = await self._rows(self._vectors, keys)
        return await asyncio.to_thread(table_of, self._layout, texts, vectors)

    async def _rows(self, query: bytes, keys: tuple[list[UUID], list[UUID]]) -> list[Row]:
        cursor = self._connection.cursor(binary=True)
        await cursor.execute(query, keys)
        return await cursor.fetchall()


class _Ahead:
    """The tables of batches; the next is read while one is written."""

    def __init__(self, batches: AsyncIterator[Batch], reader: _Reader) -> None:
        self._batches = batches
        self._reader = reader
        self._coming = asyncio.ensure_future(self._next())

    async def place(self) -> Place | None:
        """Of the table that comes next; None: there is no other."""
        found = await self._coming
        return None if found is None else found[0].place

    async def tables(self, place: Place) -> AsyncIterator[tuple[Table, int]]:
        """The tables of a place, with how many traces each has, or had when they were listed."""
        while (found := await self._coming) is not None and found[0].place == place:
            self._coming = asyncio.ensure_future(self._next())
            yield found[1], len(found[0].keys)

    async def close(self) -> None:
        """Reads no more."""
        self._coming.cancel()
        await asyncio.gather(self._coming, return_exceptions=True)

    async def _next(self) -> tuple[Batch, Table] | None:
        batch = await anext(self._batches, None)
        return None if batch is None else (batch, await self._reader.read(batch))


def table_of(layout: Layout, texts: Sequence[Row], vectors: Sequence[Row]) -> Table:
    """Rows of a file: a piece of a trace each, those of a trace together, in the order of ``texts``.

    Args:
        layout: the columns.
        texts: rows of the query ``texts``, each with a number, ascending.
        vectors: rows of the query ``vectors`` with the numbers of their traces; what has no text is left out.
    """
    count = len(texts)
    place = np.full(max((row[0] for row in texts), default=0) + 1, -1, dtype=np.int64)
    place[[row[0] for row in texts]] = np.arange(count)
    vectors = [row for row in vectors if row[0] < len(place) and place[row[0]] >= 0]
    owners = place[np.array([row[0] for row in vectors], dtype=np.int64)]
    pieces = np.array([row[2] for row in vectors], dtype=np.int64)
    keys = np.concatenate([np.arange(count) * _PIECES, owners * _PIECES + pieces])
    rows, found = np.unique(keys, return_inverse=True)
    row_of = found[count:]
    owner, piece = rows // _PIECES, rows % _PIECES
    first = piece == 0

    def of_trace(at: int, kind: Any = None) -> Any:
        return pa.array([row[at] for row in texts], type=kind or pa.string()).take(pa.array(owner))

    def of_first(values: Any) -> Any:
        return values.take(pa.array(owner, mask=~first))

    moment = pa.timestamp("us", tz="UTC")
    words = pa.array([row[14].split(SEPARATOR) if row[14] else [] for row in texts], type=pa.list_(pa.string()))
    begins, ends = np.full(len(rows), -1, dtype=np.int32), np.full(len(rows), -1, dtype=np.int32)
    spans = [(at, row[3], row[4]) for at, row in zip(row_of, vectors, strict=True) if row[3] is not None]
    if spans:
        at = np.array([one[0] for one in spans])
        begins[at], ends[at] = [one[1] for one in spans], [one[2] for one in spans]
    columns: dict[str, Any] = {
        "user_id": ids_column([row[1] for row in texts]).take(pa.array(owner)),
        "trace_id": ids_column([row[2] for row in texts]).take(pa.array(owner)),
        "piece": pa.array(piece.astype(np.int32)),
        "user": of_trace(3),
        "kind": of_trace(4),
        "role": of_trace(5),
        "speaker": of_trace(6),
        "conversation_id": of_trace(7),
        "external_id": of_trace(8),
        "language": of_trace(9),
        "created_at": of_trace(10, moment),
        "happened_at": of_trace(11, moment),
        "content": of_first(pa.array([row[12] for row in texts], type=pa.string())),
        "begins": pa.array(begins, mask=begins < 0),
        "ends": pa.array(ends, mask=ends < 0),
        "words": of_first(words),
        "word_count": of_first(pa.array([row[13] for row in texts], type=pa.int32())),
    }
    columns |= _vector_columns(layout.dim, len(rows), row_of, vectors)
    return pa.Table.from_arrays([columns[name] for name in COLUMNS], names=list(COLUMNS))


def _vector_columns(dim: int, count: int, row_of: "npt.NDArray[np.int64]", vectors: Sequence[Row]) -> dict[str, Any]:
    numbers = numbers_of(dim, vectors)
    heads = np.array([row[1] for row in vectors], dtype=np.int64)
    columns = {}
    for name, head in HEADS.items():
        mine = heads == head
        values, there = np.zeros((count, dim), dtype=np.int8), np.zeros(count, dtype=np.bool_)
        values[row_of[mine]], there[row_of[mine]] = numbers[mine], True
        columns[name] = vector_column(values, there)
    return columns


def numbers_of(dim: int, vectors: Sequence[Row]) -> SignedBytes:
    """Signed bytes ``[n, dim]`` of rows of the query ``vectors``: of their codes, or of their numbers."""
    made = np.zeros((len(vectors), dim), dtype=np.int8)
    warm = [at for at, row in enumerate(vectors) if row[5] is not None]
    if warm:
        codes = np.frombuffer(b"".join(vectors[at][5] for at in warm), dtype=np.uint8).reshape(-1, code_bytes(dim))
        # A `bit varying` is sent as its length in bits, and the bits.
        bits = np.frombuffer(b"".join(vectors[at][6][4:] for at in warm), dtype=np.uint8).reshape(-1, bit_bytes(dim))
        made[warm] = unpack(codes, bits, dim)
    late = [at for at, row in enumerate(vectors) if row[5] is None]
    if late:
        made[late] = quantise(np.stack([_vector(dim, vectors[at][7]) for at in late]))
    return made


def _vector(dim: int, sent: bytes) -> "npt.NDArray[np.float32]":
    """A vector as pgvector sends it: its length, two bytes that are not used, and numbers of two or of four bytes."""
    kind = ">f2" if len(sent) == 4 + 2 * dim else ">f4"
    return np.frombuffer(sent, dtype=kind, offset=4).astype(np.float32)


async def _without_digest(connection: Connection, *, found: Range) -> Collection[Trace]:
    cursor = await connection.execute(SQL.text("without_digest", range=_clause(found, "b")))
    return [(row[0], row[1]) for row in await cursor.fetchall()]


def _clause(found: Range, table: str) -> str:
    return SQL.text("range_of", table=table, lower=str(found.lower), upper=str(found.upper)).decode()
