"""A segment as PostgreSQL knows it, and its file: made beside, put on the storage, read back, opened."""

import hashlib
import mmap
import secrets
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import IO, Any, Final, Self
from uuid import UUID

import numpy as np

from reverie.cold import digest
from reverie.cold.files import KEYS, Damaged, Ids, Layout, Reader, Summary, Table, Writer, ids_of
from reverie.core.database import Row
from reverie.objects.store import Missing, Objects, StorageTrouble

PREFIX: Final = "cold"
"""Below this all files of segments lie."""

MISSING: Final = "it is missing"
"""What is wrong with a file that is not there."""

_KEY: Final = struct.Struct("!hi16si16s")
_SIZE: Final = struct.Struct("!i")


@dataclass(frozen=True, slots=True)
class Segment:
    """A row of ``cold_segment``: ``lower`` and ``upper`` (exclusive) bound the ids of its traces, users incl.."""

    id: UUID
    space_id: UUID
    month: date
    model_id: int
    state: str
    path: str
    checksum: bytes
    size: int
    traces: int
    rows: int
    first_user: UUID
    last_user: UUID
    lower: UUID
    upper: UUID
    damage: str | None

    @classmethod
    def of(cls, row: Row) -> Self:
        """The segment of a row that has its columns in this order."""
        return cls(*row)


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was made: what it has to be when it is read back."""

    size: int
    checksum: bytes
    keys: bytes
    summary: Summary

    @property
    def upper(self) -> UUID:
        """The id after the greatest."""
        return UUID(int=self.summary.upper.int + 1)


def path_of(space_id: UUID, month: date, segment_id: UUID) -> str:
    """A path that no file had before."""
    return f"{PREFIX}/{space_id}/{month:%Y-%m}/{segment_id}-{secrets.token_hex(6)}.parquet"


class _Hashed:
    """A file that is only written to, and its SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        """Adds to the end."""
        self.sha256.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self._file.tell()

    def flush(self) -> None:
        """Hands on what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Says so; the file itself is still read."""
        self.closed = True


@dataclass(frozen=True, slots=True)
class Digests:
    """What stays of ``traces`` traces: rows of (user, trace, sentence, minhash, words) as COPY reads them in binary."""

    traces: int
    rows: bytes


class Draft:
    """A file while it is made, on this machine and without a name: what kills the process takes it away as well."""

    def __init__(self, layout: Layout, *, digests: bool) -> None:
        """Begins one; ``digests``: also makes what stays of its traces.

        Raises:
            StorageTrouble: there is no room for it on this machine; so do all methods that write.
        """
        with _room():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        self._sink = _Hashed(self._file)
        self._writer = Writer(self._sink, layout)
        self._keys = hashlib.sha256()
        self._with_digests = digests
        self.digests: list[Digests] = []
        """What stays of its traces, those of a table in each."""

    def takes(self, table: Table) -> int:
        """How many rows there is room for; see :meth:`Writer.takes`."""
        return self._writer.takes(table)

    def write(self, table: Table) -> None:
        """Takes rows; see :meth:`Writer.write`."""
        with _room():
            self._writer.write(table)
        _add_keys(self._keys, table)
        if self._with_digests:
            self.digests.append(_digests(table))

    def finish(self) -> Written | None:
        """The whole file; None: there was no row."""
        with _room():
            summary = self._writer.close()
            self._file.flush()
        if summary is None:
            return None
        return Written(self._file.tell(), self._sink.sha256.digest(), self._keys.digest(), summary)

    def put(self, objects: Objects, path: str) -> None:
        """Puts the whole file on the storage.

        Raises:
            StorageTrouble
        """
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            objects.put(path, content)

    def close(self) -> None:
        """Lets the file go."""
        self._writer.abandon()
        self._file.close()


def verify(objects: Objects, path: str, written: Written) -> None:
    """Reads a file back: every byte, and every key as a reader finds it.

    Raises:
        StorageTrouble: it is not what was written.
    """
    size, checksum = fingerprint(objects, path)
    if (size, checksum) != (written.size, written.checksum):
        raise StorageTrouble(f"Object storage ({objects.name}) gave back other bytes than were written.")
    keys = hashlib.sha256()
    with closing(objects.open(path)) as source:
        try:
            reader = Reader(source)
            for group in reader.groups:
                _add_keys(keys, reader.read(group.number, KEYS))
        except Damaged:
            raise StorageTrouble(f"Object storage ({objects.name}) gave back no file that can be read.") from None
    if reader.rows != written.summary.rows or keys.digest() != written.keys:
        raise StorageTrouble(f"Object storage ({objects.name}) gave back other rows than were written.")


def fingerprint(objects: Objects, path: str) -> tuple[int, bytes]:
    """Size and SHA-256 of an object as it is read from beginning to end.

    Raises:
        Missing, StorageTrouble
    """
    sha256, size = hashlib.sha256(), 0
    for chunk in objects.chunks(path):
        sha256.update(chunk)
        size += len(chunk)
    return size, sha256.digest()


def open_segment(objects: Objects, segment: Segment) -> Reader:
    """Opens the file of a segment. Closed by the caller; it blocks, and so does all that is read.

    Raises:
        Missing: there is no such file.
        Damaged: it has another size, or cannot be read.
        StorageTrouble: nobody knows.
    """
    with ExitStack() as opened:
        source = opened.enter_context(closing(objects.open(segment.path)))
        size = source.seek(0, 2)
        if size != segment.size:
            raise Damaged(other_size(size, segment.size))
        source.seek(0)
        reader = Reader(source)
        opened.pop_all()
    return reader


def other_size(size: int, written: int) -> str:
    """What is wrong with a file of another size than was written."""
    return f"it has {size} bytes in place of {written}"


def look(objects: Objects, segment: Segment, *, deep: bool) -> str | None:
    """What is wrong with the file of a segment, or None; ``deep`` reads every byte of it.

    Raises:
        StorageTrouble: the storage cannot be asked.
    """
    try:
        open_segment(objects, segment).close()
        if deep and fingerprint(objects, segment.path)[1] != segment.checksum:
            return "its bytes are not those that were written"
    except Missing:
        return MISSING
    except Damaged as damage:
        return str(damage)
    return None


def rewrite(objects: Objects, segment: Segment, gone: Ids) -> Draft:
    """The file of a segment without these traces, as a draft that is not finished.

    Raises:
        Missing, Damaged, StorageTrouble
    """
    with closing(open_segment(objects, segment)) as reader, ExitStack() as begun:
        draft = begun.enter_context(closing(Draft(reader.layout, digests=False)))
        for table in reader.read_rest(gone):
            draft.write(table)
        begun.pop_all()
    return draft


def texts(objects: Objects, segment: Segment, wanted: dict[UUID, list[UUID]]) -> dict[tuple[UUID, UUID], str]:
    """The contents of traces of some users in a segment, by (user, trace).

    Raises:
        Missing, Damaged, StorageTrouble
    """
    found: dict[tuple[UUID, UUID], str] = {}
    with closing(open_segment(objects, segment)) as reader:
        for user_id, trace_ids in wanted.items():
            table = reader.read_traces(user_id, trace_ids, ("content",))
            if table is not None:
                rows = zip(table["trace_id"].to_pylist(), table["content"].to_pylist(), strict=True)
                found.update({(user_id, trace_id): text for trace_id, text in rows if text is not None})
    return found


def rows(objects: Objects, segment: Segment, user_id: UUID, trace_id: UUID) -> Table:
    """All rows of a trace.

    Raises:
        Missing, StorageTrouble
        Damaged: also where there is none.
    """
    with closing(open_segment(objects, segment)) as reader:
        table = reader.read_traces(user_id, [trace_id])
    if table is None:
        raise Damaged("it lacks a trace")
    return table


def _add_keys(sha256: Any, table: Table) -> None:
    keys = np.empty(table.num_rows, dtype=[("user", "S16"), ("trace", "S16"), ("piece", ">i4")])
    keys["user"], keys["trace"] = ids_of(table["user_id"]), ids_of(table["trace_id"])
    keys["piece"] = table["piece"].to_numpy()
    sha256.update(keys.tobytes())


def _digests(table: Table) -> Digests:
    columns = (table[name].to_pylist() for name in ("content", "piece", "word_count"))
    users, traces = (bytes(ids_of(table[name]).data) for name in ("user_id", "trace_id"))
    rows = []
    for row, (content, piece, words) in enumerate(zip(*columns, strict=True)):
        if piece == 0:
            place = slice(16 * row, 16 * row + 16)
            sentence = digest.sentence(content or "").encode()
            rows.append(
                _KEY.pack(5, 16, users[place], 16, traces[place])
                + _SIZE.pack(len(sentence))
                + sentence
                + _SIZE.pack(digest.MINHASH_BYTES)
                + digest.minhash(content or "")
                + _SIZE.pack(_SIZE.size)
                + _SIZE.pack(words or 0)
            )
    return Digests(len(rows), b"".join(rows))


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageTrouble(
            f"A file of cold memory cannot be made in {tempfile.gettempdir()} first ({error.strerror or error})."
        ) from None
