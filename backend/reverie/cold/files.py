"""Cold memory as Parquet: which columns a file has, and how it is written and read. docs/cold.md describes it.

A row is one piece of a trace, and rows are ordered by (user, trace, piece). Vectors are fixed-length binary, a signed
byte a component (``embedding/codes.py``): lists of numbers take five times as long to read. ``words`` is a list of
terms with a dictionary for every row group, so that a term is looked for once a group and then compared as a number: of
a million traces eight terms are counted in 0.1 s, in text searched by substring in 2.5 s. Nothing here knows where a
file lies: it is written to and read from what behaves like a file.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from reverie.core.kinds import HEADS
from reverie.embedding.codes import SignedBytes
from reverie.objects.store import StorageTrouble

FORMAT: Final = 1
"""The version of the columns, kept in every file."""

GROUP_ROWS: Final = 8192
"""Rows of a row group at most: what is read or rewritten for one trace."""

GROUP_BYTES: Final = 24 * 2**20
"""Bytes of a row group at most, as they are in memory: long texts and long vectors make for fewer rows."""

FILE_BYTES: Final = 128 * 2**20
"""Bytes of a file at most."""

_FOOTER: Final = 2**20
"""Left over in a file for what is written last."""

Ids: TypeAlias = npt.NDArray[np.bytes_]
"""Uuids ``[n]`` as 16 bytes each (dtype S16), which compare as PostgreSQL compares them."""

Mask: TypeAlias = npt.NDArray[np.bool_]

Table: TypeAlias = Any
"""A ``pyarrow.Table``; pyarrow has no types."""

_TEXTS = ("user", "kind", "role", "speaker", "conversation_id", "external_id", "language")
_REPEATED = ("user_id", *_TEXTS, "happened_at")
"""Columns whose values come again, so that a dictionary pays."""

_WORD = "words.list.element"
"""What Parquet calls the column of single words."""


class Damaged(Exception):  # noqa: N818 - a finding, not a fault of ours
    """A file is not what it was written as; the message says in a few words how that shows."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What files of one model have in common: its name and the components of its vectors."""

    model: str
    dim: int

    def schema(self) -> Any:
        """The columns (``pyarrow.Schema``), with the model in the metadata."""
        moment = pa.timestamp("us", tz="UTC")
        return pa.schema(
            [
                pa.field("user_id", pa.uuid(), nullable=False),
                pa.field("trace_id", pa.uuid(), nullable=False),
                pa.field("piece", pa.int32(), nullable=False),
                *(pa.field(name, pa.string()) for name in _TEXTS),
                pa.field("created_at", moment),
                pa.field("happened_at", moment),
                pa.field("content", pa.string()),
                pa.field("begins", pa.int32()),
                pa.field("ends", pa.int32()),
                pa.field("words", pa.list_(pa.string())),
                pa.field("word_count", pa.int32()),
                *(pa.field(head, pa.binary(self.dim)) for head in HEADS),
            ],
            metadata={"reverie.format": str(FORMAT), "reverie.model": self.model, "reverie.dim": str(self.dim)},
        )


VECTORS: Final = tuple(HEADS)
"""The columns of vectors, one for each head."""

COLUMNS: Final = tuple(Layout("", 1).schema().names)
"""All columns, in order."""

KEYS: Final = ("user_id", "trace_id", "piece")
"""By which rows are ordered; read with every other."""


# --- Columns from and to arrays


def ids_column(ids: Ids | Sequence[UUID]) -> Any:
    """A column of uuids."""
    if isinstance(ids, np.ndarray):
        # S16 has no trailing zeros only where it is looked at one by one; its memory has them.
        raw = np.ascontiguousarray(ids).tobytes()
        count = len(ids)
    else:
        raw = b"".join(one.bytes for one in ids)
        count = len(ids)
    stored = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(raw)])
    return pa.ExtensionArray.from_storage(pa.uuid(), stored)


def ids_of(column: Any) -> Ids:
    """The uuids of a column without nulls, without a copy where it lies in one piece."""
    return np.frombuffer(_raw(one_array(column), 16), dtype="S16")


def as_id(one: UUID) -> np.bytes_:
    """One uuid as :data:`Ids` have it."""
    found: np.bytes_ = np.frombuffer(one.bytes, dtype="S16")[0]
    return found


def as_ids(many: Iterable[UUID]) -> Ids:
    """Uuids as one array."""
    return np.frombuffer(b"".join(one.bytes for one in many), dtype="S16")


def uuids_of(column: Any) -> list[UUID]:
    """The uuids of a column without nulls, one by one."""
    raw = bytes(_raw(one_array(column), 16))
    return [UUID(bytes=raw[at : at + 16]) for at in range(0, len(raw), 16)]


def vector_column(numbers: SignedBytes, there: Mask | None = None) -> Any:
    """A column of vectors ``[n, dim]``; where ``there`` is false there is none."""
    count, dim = numbers.shape
    valid = None
    if there is not None and not there.all():
        valid = pa.py_buffer(np.packbits(there, bitorder="little").tobytes())
    data = pa.py_buffer(np.ascontiguousarray(numbers))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(dim), count, [valid, data])


def vectors_of(column: Any) -> tuple[SignedBytes, Mask | None]:
    """The vectors ``[n, dim]`` of a column, and which rows have one (None: all).

    Without a copy where the column lies in one piece; rows without a vector hold what was there before.
    """
    array = one_array(column)
    dim = array.type.byte_width
    numbers = np.frombuffer(_raw(array, dim), dtype=np.int8).reshape(len(array), dim)
    if array.null_count == 0:
        return numbers, None
    there: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return numbers, there


def one_array(column: Any) -> Any:
    """A column as one array of its stored type."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column.storage if isinstance(column.type, pa.BaseExtensionType) else column


def sixteen(one: bytes) -> bytes:
    """The bytes of an element of :data:`Ids`, which leaves out zeros at the end."""
    return bytes(one).ljust(16, b"\x00")


def _raw(array: Any, width: int) -> memoryview:
    """The bytes of the values of an array of fixed-length binary."""
    buffer = array.buffers()[1]
    if buffer is None:
        return memoryview(b"\x00" * (len(array) * width))
    return memoryview(buffer)[array.offset * width : (array.offset + len(array)) * width]


# --- Writing


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in a file: of whom, and ids from ``lower`` to ``upper`` (both inclusive)."""

    rows: int
    traces: int
    first_user: UUID
    last_user: UUID
    lower: UUID
    upper: UUID


class Sink(Protocol):
    """What a file is written to."""

    @property
    def closed(self) -> bool: ...

    def write(self, data: Any, /) -> int: ...

    def flush(self) -> None: ...

    def tell(self) -> int: ...


class Writer:
    """Writes one file, a row group at a time.

    Not for several threads. Rows come in the order of :data:`KEYS`, as tables with the columns of the layout.
    """

    def __init__(self, sink: Sink, layout: Layout) -> None:
        self._schema = layout.schema()
        self._sink = sink
        self._file = pq.ParquetWriter(
            sink,
            self._schema,
            compression="zstd",
            # Vectors pack as well at 1 as at 9; the rest at 9 would make it 1 % smaller and take twice as long.
            compression_level={_WORD if name == "words" else name: 1 if name in VECTORS else 3 for name in COLUMNS},
            use_dictionary=[*_REPEATED, _WORD],
            # A dictionary that is given up within a group cannot be read as one: it is as large as it has to be.
            dictionary_pagesize_limit=2 * FILE_BYTES,
            write_statistics=["user_id", "trace_id", "created_at", "happened_at"],
            write_page_checksum=True,
            store_schema=True,
        )
        self._waiting: list[Table] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._written = 0
        self._rows = 0
        self._traces = 0
        self._last: tuple[bytes, bytes] | None = None
        self._users: tuple[bytes, bytes] | None = None
        self._ids: tuple[bytes, bytes] | None = None

    @property
    def rows(self) -> int:
        """Rows that it was given."""
        return self._rows

    def takes(self, table: Table) -> int:
        """How many rows of ``table`` it has room for, up to the end of a trace; 0: a new file has to be begun.

        An empty file takes one trace at least, however long.
        """
        room = FILE_BYTES - _FOOTER - self._sink.tell() - self._waiting_bytes
        if table.nbytes <= room:
            return int(table.num_rows)
        ends = np.append(np.flatnonzero(_changes(table)), table.num_rows)[1:] if table.num_rows else np.array([0])
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high + 1) // 2
            if table.slice(0, int(ends[middle - 1])).nbytes <= room:
                low = middle
            else:
                high = middle - 1
        if low:
            return int(ends[low - 1])
        return 0 if self._rows else int(ends[0])

    def write(self, table: Table) -> None:
        """Takes rows.

        Raises:
            ValueError: they are not in order, or come before those that were given.
            OSError: what is written to fails.
        """
        if not table.num_rows:
            return
        table = table.select(COLUMNS).cast(self._schema)
        self._count(table)
        while table.num_rows:
            take = min(table.num_rows, GROUP_ROWS - self._waiting_rows)
            part = table.slice(0, take)
            while take > 1 and self._waiting_bytes + part.nbytes > GROUP_BYTES:
                take = take // 2
                part = table.slice(0, take)
            if self._waiting_rows and self._waiting_bytes + part.nbytes > GROUP_BYTES:
                self._flush()
                continue
            table = table.slice(take)
            self._waiting.append(part)
            self._waiting_rows += take
            self._waiting_bytes += part.nbytes
            if self._waiting_rows >= GROUP_ROWS or self._waiting_bytes >= GROUP_BYTES:
                self._flush()

    def close(self) -> Summary | None:
        """Writes what is left and the footer; None: there was no row, and the file is of no use."""
        self._flush()
        self._file.close()
        if self._users is None or self._ids is None:
            return None
        (first, last), (lower, upper) = self._users, self._ids
        return Summary(
            self._rows, self._traces, UUID(bytes=first), UUID(bytes=last), UUID(bytes=lower), UUID(bytes=upper)
        )

    def abandon(self) -> None:
        """Lets a file go that was not closed: pyarrow would write its end when it is collected."""
        self._file.is_open = False

    def _count(self, table: Table) -> None:
        users, traces = ids_of(table["user_id"]), ids_of(table["trace_id"])
        pieces = table["piece"].to_numpy()
        same_user = users[1:] == users[:-1]
        same = same_user & (traces[1:] == traces[:-1])
        fits = (users[1:] > users[:-1]) | same_user & (traces[1:] > traces[:-1]) | same & (pieces[1:] > pieces[:-1])
        first, last = (sixteen(users[0]), sixteen(traces[0])), (sixteen(users[-1]), sixteen(traces[-1]))
        if not fits.all() or (self._last is not None and first < self._last):
            raise ValueError("Rows of a cold file must be ordered by user, trace and piece.")
        self._traces += int((~same).sum()) + (first != self._last)
        self._rows += len(users)
        self._last = last
        self._users = (self._users[0] if self._users else first[0], last[0])
        ordered = np.sort(traces)
        lower, upper = sixteen(ordered[0]), sixteen(ordered[-1])
        self._ids = (min(self._ids[0], lower), max(self._ids[1], upper)) if self._ids else (lower, upper)

    def _flush(self) -> None:
        if not self._waiting:
            return
        group = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        self._file.write_table(group, row_group_size=GROUP_ROWS)


def _changes(table: Table) -> Mask:
    """Which rows begin a trace."""
    users, traces = ids_of(table["user_id"]), ids_of(table["trace_id"])
    changes = np.ones(len(users), dtype=np.bool_)
    changes[1:] = (users[1:] != users[:-1]) | (traces[1:] != traces[:-1])
    return changes


# --- Reading


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: how many rows, and the least and greatest user and id in it."""

    number: int
    rows: int
    first_user: bytes
    last_user: bytes
    lower: bytes
    upper: bytes


class Reader:
    """Reads one file; ``source`` is what pyarrow reads (``pyarrow.NativeFile`` or a file object with ``seek``).

    Not for several threads at once. Raises :class:`Damaged` wherever the file is not what it should be; what the source
    itself raises for a storage that is away passes through.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        with _sound():
            metadata = pq.read_metadata(source)
            found = metadata.metadata or {}
            if found.get(b"reverie.format") != str(FORMAT).encode():
                raise Damaged("it has no columns of this format")
            # No reading ahead: a source that pays for each request is told what is wanted of a group (`fetch`).
            self._file = pq.ParquetFile(
                source,
                metadata=metadata,
                read_dictionary=[_WORD],
                page_checksum_verification=True,
                pre_buffer=False,
            )
            self.layout = Layout(found[b"reverie.model"].decode(), int(found[b"reverie.dim"]))
            if tuple(self._file.schema_arrow.names) != COLUMNS:
                raise Damaged("its columns are others")
            self.rows = int(metadata.num_rows)
            self.groups = [self._group(number) for number in range(metadata.num_row_groups)]

    def close(self) -> None:
        """Closes the file and its source."""
        self._file.close(force=True)

    def groups_of(self, user_id: UUID, upper: UUID | None = None, wanted: Collection[UUID] | None = None) -> list[int]:
        """The row groups that may hold rows of a user, of ids below ``upper``, or ``wanted``."""
        user = user_id.bytes
        ids = None if wanted is None else sorted(one.bytes for one in wanted)
        return [
            group.number
            for group in self.groups
            if group.first_user <= user <= group.last_user
            and (upper is None or group.lower < upper.bytes)
            and (ids is None or any(group.lower <= one <= group.upper for one in ids))
        ]

    def read(self, group: int, columns: Collection[str] = COLUMNS) -> Table:
        """A row group with these columns, in the order of :data:`COLUMNS`; ``words`` with a dictionary."""
        names = [name for name in COLUMNS if name in columns]
        with _sound():
            fetch = getattr(self._source, "fetch", None)
            if fetch is not None:
                fetch(self._ranges(group, names))
            try:
                table = self._file.read_row_group(group, columns=names, use_threads=False)
            except pa.ArrowNotImplementedError:
                # Somebody else wrote it, and gave up the dictionary on the way.
                table = self._without_dictionary(group, names)
            if table.num_rows != self.groups[group].rows:
                raise Damaged("a row group has lost rows")
            return table

    def read_traces(self, user_id: UUID, wanted: Collection[UUID], columns: Collection[str] = COLUMNS) -> Table | None:
        """The rows of these traces of a user, or None; only row groups that may hold one are read."""
        found = []
        ids = as_ids(wanted)
        for group in self.groups_of(user_id, wanted=wanted):
            keys = self.read(group, KEYS)
            here = (ids_of(keys["user_id"]) == as_id(user_id)) & np.isin(ids_of(keys["trace_id"]), ids)
            if here.any():
                found.append(_plain(self.read(group, {*columns, *KEYS}).take(_places(here))))
        return pa.concat_tables(found).combine_chunks() if found else None

    def read_rest(self, gone: Ids) -> Iterator[Table]:
        """All rows but those of the traces ``gone`` (whosever: ids are unique), a table a row group."""
        for group in self.groups:
            table = self.read(group.number)
            stays = ~np.isin(ids_of(table["trace_id"]), gone)
            yield _plain(table if stays.all() else table.take(_places(stays)))

    def _group(self, number: int) -> Group:
        found = self._file.metadata.row_group(number)
        user, trace = found.column(0).statistics, found.column(1).statistics
        if user is None or trace is None or not user.has_min_max or not trace.has_min_max:
            raise Damaged("a row group does not say whose it is")
        return Group(number, int(found.num_rows), user.min, user.max, trace.min, trace.max)

    def _ranges(self, group: int, names: Collection[str]) -> list[tuple[int, int]]:
        """Where these columns of a row group lie: (first byte, byte after the last)."""
        found = self._file.metadata.row_group(group)
        ranges = []
        for at in range(found.num_columns):
            column = found.column(at)
            if column.path_in_schema.split(".")[0] in names:
                begin = column.dictionary_page_offset or column.data_page_offset
                ranges.append((begin, begin + column.total_compressed_size))
        return ranges

    def _without_dictionary(self, group: int, names: list[str]) -> Table:
        plain = pq.ParquetFile(self._source, page_checksum_verification=True, pre_buffer=False)
        table = plain.read_row_group(group, columns=names, use_threads=False)
        words = one_array(table["words"])
        encoded = pa.ListArray.from_arrays(words.offsets, words.values.dictionary_encode(), mask=words.is_null())
        return table.set_column(names.index("words"), "words", encoded)


@contextmanager
def _sound() -> Iterator[None]:
    """What pyarrow says of a broken file, as :class:`Damaged`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise StorageTrouble(f"Cold memory cannot be read: {error.strerror}.") from None
        raise Damaged(_short(error)) from None
    except (pa.ArrowException, ValueError, KeyError, EOFError) as error:
        raise Damaged(_short(error)) from None


def _short(error: Exception) -> str:
    """The first words of what pyarrow says; they name sizes and places, never contents."""
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"it is no Parquet file that can be read ({said[:120]})"


def rows_of(users: Ids, user_id: UUID) -> tuple[int, int]:
    """Where the rows of a user begin and end among ``users``, which are in order."""
    one = as_id(user_id)
    return int(np.searchsorted(users, one, side="left")), int(np.searchsorted(users, one, side="right"))


def _places(mask: Mask) -> Any:
    return pa.array(np.flatnonzero(mask))


def _plain(table: Table) -> Table:
    """The table with ``words`` as plain lists of text, which can be joined with those of another group."""
    if "words" not in table.column_names:
        return table
    words = table["words"].cast(pa.list_(pa.string()))
    return table.set_column(table.column_names.index("words"), "words", words)
