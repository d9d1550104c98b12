"""Searching cold rows by meaning and by words: every row of a user once, a row group at a time, in a few threads.

There is no index. A row group is read with the columns that a question needs, what it has is compared in numpy, and
only a few numbers of each row are kept, so that the memory it takes does not grow with what the vectors take: of a
million rows some 200 MB. What was read says itself how rare a word is, so that both scores are known once all is read.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reverie.cold import files
from reverie.cold.files import Damaged, Ids, Mask, Reader, Table
from reverie.cold.segments import MISSING
from reverie.core.kinds import HEADS
from reverie.embedding.codes import SignedBytes
from reverie.embedding.protocol import FloatArray
from reverie.objects.store import Missing

Places = npt.NDArray[np.int64]
Posting = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]
"""The rows that have a term, and how often."""

Scores = npt.NDArray[np.float32]

THREADS: Final = 2
"""Row groups that are read and compared at once: PostgreSQL and other questions want their share of the machine."""

FEW_ROWS: Final = 4 * files.GROUP_ROWS
"""So few rows are read by one thread: a second would open every file once more."""

FEW_IDS: Final = 1000
"""By so many ids it is seen which row groups are read; more are in all of them, as a rule."""

BLOCK_BYTES: Final = 2**20
"""Bytes of vectors that are floats at a time, so that they stay in the cache of a core."""

MOST_TERMS: Final = 64
"""Terms of a question that are looked for, the longest first (as ``reverie_bm25`` does)."""

MOST_OFTEN: Final = 255
"""A term counts so often in a text at most (as ``reverie_bm25`` counts it)."""

DEEPER: Final = 4
"""So many times more rows are looked through while too few traces own the best of them."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING: Final = np.float32(-np.inf)


class TooLate(Exception):  # noqa: N818 - a finding, not a fault of ours
    """The deadline came before all was read."""


class Term(NamedTuple):
    """A stemmed word of the question; terms of one ``place`` are one word in several languages."""

    text: str
    place: int


class Phrase(NamedTuple):
    """What stands in a row: its stems in every language that it is read in, and the share of the most that it adds."""

    readings: tuple[tuple[str, ...], ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, and within which bounds (``until``, ``before`` exclusive; ``only`` names what may be found).

    ``vector``: float32 ``[dim]`` of unit length, or None where nothing is compared by meaning; ``heads``: the columns
    that it is compared with; ``terms``: none where nothing is compared by words.
    """

    user_ids: tuple[UUID, ...]
    vector: FloatArray | None = None
    heads: tuple[str, ...] = ("semantic",)
    terms: tuple[Term, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    kinds: frozenset[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    only: frozenset[UUID] | None = None

    def columns(self) -> tuple[str, ...]:
        """What is read of a row group beside what says whether a row is within the bounds."""
        vectors = self.heads if self.vector is not None else ()
        return (*vectors, *(("words", "word_count") if self.terms else ()))


@dataclass(frozen=True, slots=True)
class Segment:
    """A file to be searched: what it is called in the answer, how many rows it has, and how it is opened.

    Its vectors are only compared if they are ``comparable``: of the model that the question was encoded by.
    """

    id: UUID
    rows: int
    open: Callable[[], Reader]
    comparable: bool = True


class Hit(NamedTuple):
    """A trace that was found; ``head`` and ``piece`` are those of the nearest vector, 0 where it was words."""

    user_id: UUID
    trace_id: UUID
    segment_id: UUID
    score: float
    head: int = 0
    piece: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What is kept of the rows of a user in a row group, a number each.

    ``user`` and ``segment``: places in what was asked; ``moments``: microseconds; ``fits``: within the bounds;
    ``cosines`` (-inf where there is no vector) and the ``heads`` they are of; ``lengths``: different words, -1 for rows
    without text; ``postings``: for each term the rows that have it and how often; ``phrased``: the rows of each phrase.
    """

    user: int
    segment: int
    ids: Ids
    pieces: npt.NDArray[np.int32]
    moments: npt.NDArray[np.int64]
    fits: Mask
    cosines: Scores
    heads: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int32]
    postings: list[Posting] = field(default_factory=list)
    phrased: list[Places] = field(default_factory=list)


# --- A row group


def look(keys: Table, rest: Table, fits: Mask, wanted: Wanted, user: int, segment: int) -> Part:
    """What the rows of one user say: ``keys`` has the columns of :data:`KEYS`, ``rest`` what ``wanted`` compares;
    ``fits`` those within the bounds."""
    rows = keys.num_rows
    part = Part(
        user=user,
        segment=segment,
        # Not as a view, which would keep the whole table.
        ids=files.ids_of(keys["trace_id"]).copy(),
        pieces=keys["piece"].to_numpy().copy(),
        moments=_microseconds(keys["happened_at"]).copy(),
        fits=fits,
        cosines=np.full(rows, _NOTHING, dtype=np.float32),
        heads=np.zeros(rows, dtype=np.uint8),
        lengths=np.full(rows, -1, dtype=np.int32),
    )
    if wanted.vector is not None:
        for head in wanted.heads:
            numbers, there = files.vectors_of(rest[head])
            found = cosines(numbers, wanted.vector)
            if there is not None:
                found[~there] = _NOTHING
            better = found > part.cosines
            part.cosines[better] = found[better]
            part.heads[better] = HEADS[head]
    if wanted.terms:
        part.lengths[:] = rest["word_count"].fill_null(-1).to_numpy()
        postings, phrased = _look_for_words(rest["words"], wanted)
        part.postings.extend(postings)
        part.phrased.extend(phrased)
    return part


KEYS: Final = ("user_id", "trace_id", "piece", "kind", "happened_at")


def within(keys: Table, wanted: Wanted, only: Ids | None) -> Mask:
    """Which rows are within the bounds; ``only``: what these name, in order."""
    ids = files.ids_of(keys["trace_id"])
    fits = np.ones(len(ids), dtype=np.bool_)
    if wanted.kinds is not None:
        kinds = pc.is_in(keys["kind"], value_set=pa.array(sorted(wanted.kinds), pa.string()))
        fits &= kinds.to_numpy().astype(np.bool_)
    if wanted.since is not None or wanted.until is not None:
        moments = _microseconds(keys["happened_at"])
        fits &= _between(moments, wanted.since, wanted.until)
    if wanted.before is not None:
        fits &= ids < files.as_id(wanted.before)
    if only is not None:
        places = np.minimum(np.searchsorted(only, ids), max(0, len(only) - 1))
        fits &= only[places] == ids if len(only) else np.False_
    return fits


def cosines(numbers: SignedBytes, vector: FloatArray) -> Scores:
    """The cosine of each vector ``[n, dim]`` with one of unit length; a vector of zeros has the cosine 0.

    Without BLAS, which would start threads of its own that wait for one another: this takes a quarter more of one core.
    """
    rows, dim = numbers.shape
    found = np.empty(rows, dtype=np.float32)
    block = np.empty((max(1, min(rows, BLOCK_BYTES // (4 * dim))), dim), dtype=np.float32)
    for begin in range(0, rows, len(block)):
        some = numbers[begin : begin + len(block)]
        floats = block[: len(some)]
        np.copyto(floats, some)
        lengths = np.sqrt(np.einsum("ij,ij->i", floats, floats))
        found[begin : begin + len(some)] = np.einsum("ij,j->i", floats, vector) / np.maximum(lengths, 1.0)
    return found


def _look_for_words(column: Any, wanted: Wanted) -> tuple[list[Posting], list[Places]]:
    """Rows and how often, for each term; rows for each phrase. Each term is one number in the group's dictionary."""
    lists = files.one_array(column)
    offsets = lists.offsets.to_numpy().astype(np.int64)
    begin, end = int(offsets[0]), int(offsets[-1])
    offsets -= begin
    values = lists.values.slice(begin, end - begin)
    codes = values.indices.fill_null(-1).to_numpy()
    dictionary = values.dictionary
    stems = list(
        dict.fromkeys([t.text for t in wanted.terms] + [s for p in wanted.phrases for r in p.readings for s in r])
    )
    places = pc.index_in(pa.array(stems, dictionary.type), value_set=dictionary).fill_null(-1).to_pylist()
    code_of = dict(zip(stems, places, strict=True))
    rows = len(lists)

    # One pass for all: which term each word is. The last place of the table takes what is no word.
    known = np.full(len(dictionary) + 1, -1, dtype=np.int32)
    for number, term in enumerate(wanted.terms):
        if code_of[term.text] >= 0:
            known[code_of[term.text]] = number
    meant = known[codes]
    hits = np.flatnonzero(meant >= 0)
    which, whose = meant[hits], np.searchsorted(offsets, hits, side="right") - 1
    postings = []
    for number in range(len(wanted.terms)):
        often = np.bincount(whose[which == number], minlength=rows)
        having = np.flatnonzero(often)
        postings.append((having.astype(np.uint32), np.minimum(often[having], MOST_OFTEN).astype(np.uint8)))

    phrased = []
    for phrase in wanted.phrases:
        found = [_in_a_row(codes, offsets, [code_of[stem] for stem in reading]) for reading in phrase.readings]
        phrased.append(np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64))
    return postings, phrased


def _in_a_row(codes: npt.NDArray[np.int32], offsets: Places, wanted: Sequence[int]) -> Places:
    """The rows in which these words stand one after the other."""
    if not wanted or min(wanted) < 0 or len(codes) < len(wanted):
        return np.empty(0, dtype=np.int64)
    last = len(codes) - len(wanted) + 1
    at = np.flatnonzero(codes[:last] == wanted[0])
    for step, code in enumerate(wanted[1:], 1):
        at = at[codes[at + step] == code]
    rows = np.searchsorted(offsets, at, side="right") - 1
    found: Places = np.unique(rows[at + len(wanted) <= offsets[rows + 1]])
    return found


# --- All that was read


class Likest(NamedTuple):
    """Traces by their words; ``most``: what the question could have given, of which phrases add the share ``bonus`` to
    what words alone give."""

    hits: list[Hit]
    most: float
    bonus: float


class Scan:
    """What was read for a question: a column for each number of a :class:`Part`, all rows below one another."""

    def __init__(self, wanted: Wanted, segments: Sequence[UUID], parts: Sequence[Part]) -> None:
        self._wanted = wanted
        self._segments = list(segments)
        sizes = [len(part.ids) for part in parts]
        self.rows = sum(sizes)
        self._ids = _joined([part.ids for part in parts], "S16")
        self._pieces = _joined([part.pieces for part in parts], np.int32)
        self._moments = _joined([part.moments for part in parts], np.int64)
        self._fits = _joined([part.fits for part in parts], np.bool_)
        self._cosines = _joined([part.cosines for part in parts], np.float32)
        self._heads = _joined([part.heads for part in parts], np.uint8)
        self._lengths = _joined([part.lengths for part in parts], np.int32)
        self._users = np.repeat(np.array([part.user for part in parts], dtype=np.uint8), sizes)
        self._files = np.repeat(np.array([part.segment for part in parts], dtype=np.uint32), sizes)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint32)
        self._postings = [
            (
                _joined([part.postings[n][0] + start for part, start in zip(parts, starts, strict=False)], np.uint32),
                _joined([part.postings[n][1] for part in parts], np.uint8),
            )
            for n in range(len(wanted.terms))
        ]
        self._phrased = [
            _joined([part.phrased[n] + start for part, start in zip(parts, starts, strict=False)], np.int64)
            for n in range(len(wanted.phrases))
        ]

    def nearest(self, limit: int, since: datetime | None = None, until: datetime | None = None) -> list[Hit]:
        """The ``limit`` traces with the greatest cosine, each by the best of its pieces, best first.

        ``since`` and ``until`` narrow the bounds that were asked for.
        """
        fits = self._fits if since is None and until is None else self._fits & _between(self._moments, since, until)
        return self._best(np.where(fits, self._cosines, _NOTHING), limit)

    def likest(self, limit: int, k1: float, b: float) -> "Likest":
        """The ``limit`` traces with the greatest BM25, best first.

        Document frequencies and lengths are those of all that was read, with the idf that is never negative.
        """
        read = self._lengths >= 0
        count = int(read.sum())
        if not count or not self._postings:
            return Likest([], 0.0, 0.0)
        average = max(1.0, float(self._lengths[read].sum()) / count)
        scores = np.zeros(self.rows, dtype=np.float32)
        idfs = []
        for rows, often in self._postings:
            idf = float(np.log(1 + (count - len(rows) + 0.5) / (len(rows) + 0.5)))
            idfs.append(idf)
            norm = (self._lengths[rows] * np.float32(k1 * b / average)) + np.float32(k1 * (1 - b))
            tf = often.astype(np.float32)
            scores[rows] += tf * np.float32(idf * (k1 + 1)) / (tf + norm)
        least: dict[int, float] = {}
        for term, idf in zip(self._wanted.terms, idfs, strict=True):
            least[term.place] = min(idf, least.get(term.place, idf))
        mass = sum(least.values())
        bonus = 0.0
        for phrase, rows in zip(self._wanted.phrases, self._phrased, strict=True):
            rows = rows[self._fits[rows]]
            if len(rows):
                bonus += phrase.weight
                scores[rows] += np.float32(phrase.weight * mass * (k1 + 1))
        most = mass * (1 + bonus) * (k1 + 1)
        return Likest(self._best(np.where(self._fits & (scores > 0), scores, _NOTHING), limit), most, bonus)

    def _best(self, scores: Scores, limit: int) -> list[Hit]:
        """The traces that own the best rows; a trace stands in one file with pieces that follow one another."""
        possible = int((scores > _NOTHING).sum())
        looked = min(possible, limit)
        while looked:
            rows = np.argpartition(-scores, looked - 1)[:looked] if looked < len(scores) else np.arange(len(scores))
            rows = rows[scores[rows] > _NOTHING]
            # Of equals the newer first: ids of traces begin with their time.
            rows = rows[np.argsort(self._ids[rows], kind="stable")[::-1]]
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            found: dict[tuple[int, int, bytes], int] = {}
            for row in rows.tolist():
                found.setdefault((int(self._users[row]), int(self._files[row]), bytes(self._ids[row])), row)
                if len(found) == limit:
                    break
            if len(found) == limit or looked == possible:
                return [self._hit(row, float(scores[row])) for row in found.values()]
            looked = min(possible, looked * DEEPER)
        return []

    def _hit(self, row: int, score: float) -> Hit:
        return Hit(
            self._wanted.user_ids[self._users[row]],
            UUID(bytes=files.sixteen(self._ids[row])),
            self._segments[self._files[row]],
            score,
            int(self._heads[row]),
            int(self._pieces[row]),
        )


# --- Reading


@dataclass(frozen=True, slots=True)
class Found:
    """A scan, what could not be read of it (segment, what was wrong), and how many files were."""

    scan: Scan
    damaged: dict[UUID, str]
    files: int


class Halt:
    """When a search has to be over, and whether nobody waits for it any more."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._over = threading.Event()

    def now(self) -> None:
        """Ends the search at the next row group."""
        self._over.set()

    def check(self) -> None:
        """Between two row groups.

        Raises:
            TooLate: it is over.
        """
        if self._over.is_set() or time.monotonic() > self._end:
            raise TooLate


def search(segments: Sequence[Segment], wanted: Wanted, halt: Halt, threads: int = THREADS) -> Found:
    """Reads what segments hold of users. For a thread: it blocks until all is read.

    A file that is damaged or missing is passed over and named in what is returned.

    Raises:
        TooLate: it took longer than ``halt`` allows.
        StorageTrouble: what the files lie on is away.
    """
    wanted = replace(
        wanted, terms=tuple(sorted(wanted.terms, key=lambda term: (-len(term.text), term.text))[:MOST_TERMS])
    )
    workers = 1 if sum(segment.rows for segment in segments) <= FEW_ROWS else threads
    damaged: dict[UUID, str] = {}
    only = None if wanted.only is None else np.sort(files.as_ids(wanted.only))

    def share(worker: int) -> list[tuple[int, int, Part]]:
        return list(_read(segments, wanted, only, halt, damaged, worker, workers))

    if workers == 1:
        shares = [share(0)]
    else:
        with ThreadPoolExecutor(workers, thread_name_prefix="cold") as pool:
            under_way = [pool.submit(share, worker) for worker in range(workers)]
            if any(one.exception() is not None for one in wait(under_way, return_when=FIRST_EXCEPTION).done):
                halt.now()
        # Whoever failed has ended the others, who say that they are too late.
        faults = [error for one in under_way if (error := one.exception()) is not None]
        if faults:
            raise next((error for error in faults if not isinstance(error, TooLate)), faults[0])
        shares = [one.result() for one in under_way]
    # In the order of the files, whoever read them, so that a search gives the same each time; without what was read of
    # a file before it turned out to be damaged.
    parts = [
        part
        for _, _, part in sorted((one for share in shares for one in share), key=lambda one: one[:2])
        if segments[part.segment].id not in damaged
    ]
    scan = Scan(wanted, [segment.id for segment in segments], parts)
    return Found(scan, damaged, len(segments) - len(damaged))


def _read(
    segments: Sequence[Segment], wanted: Wanted, only: Ids | None, halt: Halt, damaged: dict[UUID, str], worker: int,
    workers: int,
) -> Iterator[tuple[int, int, Part]]:  # fmt: skip
    """What one of several threads reads: every so manieth row group of each file."""
    few = wanted.only if wanted.only is None or len(wanted.only) <= FEW_IDS else None
    for number, segment in enumerate(segments):
        halt.check()
        within_reach = wanted if segment.comparable else replace(wanted, vector=None)
        try:
            with closing(segment.open()) as reader:
                groups = sorted(
                    {
                        group
                        for user in wanted.user_ids
                        for group in reader.groups_of(user, upper=wanted.before, wanted=few)
                    }
                )
                for group in groups[worker::workers]:
                    halt.check()
                    for part in _group(reader, group, within_reach, only, number):
                        yield number, group, part
        except Missing:
            damaged[segment.id] = MISSING
        except Damaged as error:
            damaged[segment.id] = str(error)


def _group(reader: Reader, group: int, wanted: Wanted, only: Ids | None, segment: int) -> Iterator[Part]:
    """The parts of a row group, one for each user of whom a row is within the bounds."""
    keys = reader.read(group, KEYS)
    users = files.ids_of(keys["user_id"])
    own = []
    for place, user in enumerate(wanted.user_ids):
        begin, end = files.rows_of(users, user)
        fits = within(keys.slice(begin, end - begin), wanted, only)
        if fits.any():
            own.append((place, begin, end - begin, fits))
    if not own:
        return
    rest = reader.read(group, wanted.columns()) if wanted.columns() else keys
    for place, begin, rows, fits in own:
        yield look(keys.slice(begin, rows), rest.slice(begin, rows), fits, wanted, place, segment)


_Kept = TypeVar("_Kept", bound=Any)


def _joined(parts: Sequence[npt.NDArray[_Kept]], kind: Any) -> npt.NDArray[_Kept]:
    return np.concatenate(parts).astype(kind, copy=False) if parts else np.empty(0, dtype=kind)


def _microseconds(column: Any) -> npt.NDArray[np.int64]:
    moments: npt.NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
    return moments


def _between(moments: npt.NDArray[np.int64], since: datetime | None, until: datetime | None) -> Mask:
    inside = np.ones(len(moments), dtype=np.bool_)
    if since is not None:
        inside &= moments >= (since - _EPOCH) // timedelta(microseconds=1)
    if until is not None:
        inside &= moments < (until - _EPOCH) // timedelta(microseconds=1)
    return inside
