"""The vectors and words of small users, and what is answered of them, held while their memory does not change.

One round trip, while the question is being encoded, says whether what is held of a user is still what there is. What
is then left to do once the question's vector is there is one product of a matrix: the search costs no round trip. All
vectors are brought when a version is seen for the second time: to bring them takes longer than to have PostgreSQL look
through them, and who is written to between any two questions is asked by each version but once. The words are brought
after that question, beside what comes next.

What is held is as old as the version that its own query read, so a write is seen at once. A forgotten trace is never
found again, and what is held of it leaves memory within twice :data:`~reverie.recall.cache.SECONDS`.
"""

import asyncio
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg
import structlog
from psycopg.errors import ProgramLimitExceeded, QueryCanceled
from psycopg_pool import PoolTimeout

from reverie.core.database import Database, Reads, Row
from reverie.core.kinds import HEADS, KINDS
from reverie.core.queries import Queries
from reverie.core.telemetry import reason
from reverie.embedding.fit import fit
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall.cache import UNKNOWN, Cache
from reverie.recall.indexes import Indexes
from reverie.recall.pool import Table
from reverie.recall.shown import (
    EPOCH,
    MOST_CHARS,
    MOST_EDGES,
    NOT,
    USUAL_WORDS,
    Shown,
    ShownRow,
    linked,
    moment,
    shown,
)
from reverie.recall.traits import Mask
from reverie.recall.types import Bounds, Candidate, Found
from reverie.recall.warm import decoded, packed_row
from reverie.recall.words import BODY_BYTES, MOST_WORDS, POSTING_BYTES, Reading, Terms, Words, words

SQL = Queries("reverie.recall")

PLAN: Final = "held"
"""What an explanation calls a search of held vectors."""

MOST_TRACES: Final = 2000
MOST_BYTES: Final = 6 * 1024 * 1024
"""Users of more, or of more bytes of vectors, are searched in PostgreSQL."""

TRACE_BYTES: Final = 700
"""What a :class:`Candidate` takes, with its key, its moment, its speaker and its row of the table."""

VECTOR_BYTES: Final = 40
"""What is kept beside a vector: whose it is, and of which piece, kind and moment."""

NOTE_BYTES: Final = 1000
"""What the note of a version takes."""

_TRACE: Final = np.dtype(
    [
        ("id", "V16"),
        ("length", ">i4"),
        ("happened", ">i8"),
        ("salience", ">f4"),
        ("given", "?"),
        ("pinned", "?"),
        ("updated", ">i8"),
        ("asks", "?"),
        ("follows", "V16"),
        ("created", ">i8"),
        ("occurred", ">i8"),
        ("expires", ">i8"),
    ]
)
"""A trace as the query sends it: one after the other in network order."""

_NOBODY: Final = bytes(16)

log = structlog.get_logger(__name__)


class Mark(NamedTuple):
    """What is held stands while neither changes: the version of a user, and the ranges of ids whose partitions are not
    hot, and which of these are cold, as the query packs them."""

    version: int
    moved: bytes


@dataclass(slots=True)
class Held:
    """What is held of a user at a mark: a row for each vector.

    ``vectors``: float32 ``[rows, dim]`` of unit length; ``traces`` and ``pieces``: the trace of each, and which piece
    of it; ``whose``: a number for each trace; ``pieced``: whether one has several; ``kinds`` and ``happened``: the
    number of its kind, and when it happened, in microseconds. ``standing``: all traces by their ids, also those without
    a vector; ``table``: the same as columns; ``shown``: what is answered of them, None where that is too much.
    ``words``: those of the texts, once they were brought; ``words_due``: whether that is still to be tried;
    ``postings``: how many they are.
    """

    mark: Mark
    vectors: FloatArray
    traces: list[Candidate]
    whose: npt.NDArray[np.intp]
    pieced: bool
    pieces: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.int16]
    happened: npt.NDArray[np.int64]
    standing: dict[bytes, Candidate]
    table: Table
    shown: Shown | None
    postings: int
    words_due: bool
    words: Words | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly, with words that are still to come."""
        worded = self.words_due or self.words is not None
        words = POSTING_BYTES * self.postings + BODY_BYTES * len(self.standing) if worded else 0
        rows = self.vectors.nbytes + VECTOR_BYTES * len(self.traces)
        return rows + TRACE_BYTES * len(self.standing) + words + (0 if self.shown is None else self.shown.size)


@dataclass(frozen=True, slots=True)
class Note:
    """A user of whom nothing is held: the ``mark`` that was seen, and whether there is too much."""

    mark: Mark
    too_much: bool = False


class Shelf:
    """What is held of the users who asked last, at most ``most`` bytes of it."""

    def __init__(self, model: Model, most: int, indexes: Indexes | None = None) -> None:
        self._model = model
        self._indexes = indexes
        self._most = most
        self._most_rows = min(most, MOST_BYTES) // (4 * model.dim)
        self._kept: Cache[Held | Note] = Cache(most, largest=most)
        self._bringing: set[UUID] = set()
        self._bringing_words: set[asyncio.Task[None]] = set()
        self._one = asyncio.Semaphore()
        self._words_query = SQL.text("held_words", most=MOST_TRACES + 1)
        self._query = _query(model, self._most_rows + 1, warm=False)
        self._warm_query = _query(model, self._most_rows + 1, warm=True)

    async def of(
        self, reads: Reads, space_id: UUID, bounds: Bounds, seconds: float, reading: Reading | None = None
    ) -> Held | None:
        """What is held of the user of a question; None where PostgreSQL has to search.

        The ``reading`` of the question goes along where its words are held.

        Raises:
            psycopg.Error, PoolTimeout: it could not be asked whether that stands.
        """
        if not self._most or not _takes(bounds):
            return None
        (user_id,) = bounds.user_ids
        known = self._here(user_id)
        if user_id in self._bringing or (isinstance(known, Note) and known.too_much):
            return None
        if not isinstance(known, Note):
            along = reading if known is not None and known.words is not None else None
            mark, _ = await self._look(reads, space_id, user_id, UNKNOWN, seconds, along)
            if known is not None and known.mark == mark:
                return known
            self._note(user_id, mark)
            return None
        self._bringing.add(user_id)
        try:
            # Half of the time, so that PostgreSQL can still search in the other.
            mark, row = await self._look(reads, space_id, user_id, known.mark.version, seconds / 2)
            if mark != known.mark:
                self._note(user_id, mark)
                return None
            held = None
            if row is not None:
                held = await asyncio.to_thread(read, user_id, mark, row, self._model, self._most_rows)
        except (QueryCanceled, ProgramLimitExceeded):
            self._replace(user_id, known, Note(known.mark, too_much=True))
            raise
        finally:
            self._bringing.discard(user_id)
        if held is not None and (fitting := self._fitting(held)) is not None:
            self._replace(user_id, known, fitting)
            return fitting
        self._replace(user_id, known, Note(mark, too_much=True))
        return None

    def _fitting(self, held: Held) -> Held | None:
        """As much of it as may be held: the vectors at least, and what is answered before the words."""
        less = replace(held, words_due=False)
        return next((one for one in (held, less, replace(less, shown=None)) if one.size <= self._most), None)

    def has_words(self, bounds: Bounds) -> bool:
        """Whether words of the user of a question are held, be they out of date."""
        if not self._most or not _takes(bounds):
            return False
        here = self._here(bounds.user_ids[0])
        return isinstance(here, Held) and here.words is not None

    def bring_words(self, database: Database, space_id: UUID, user_id: UUID, held: Held, seconds: float) -> None:
        """Has the words of what is held brought beside what else goes on, of one user at a time."""
        if held.words_due:
            held.words_due = False
            work = self._bring_words(database, space_id, user_id, held, seconds)
            bringing = asyncio.create_task(work, context=Context())
            self._bringing_words.add(bringing)
            bringing.add_done_callback(self._bringing_words.discard)

    async def _bring_words(self, database: Database, space_id: UUID, user_id: UUID, held: Held, seconds: float) -> None:
        async with self._one:
            if self._here(user_id) is not held:
                return
            try:
                async with database.reading(space_id, seconds=seconds) as session:
                    cursor = await session.send(self._words_query, (held.mark.version, user_id))
                rows = await cursor.fetchall()
            except (psycopg.Error, PoolTimeout) as error:
                log.warning("words not brought", error=type(error).__name__, reason=reason(error))
                held.words_due = isinstance(error, PoolTimeout)
                return
            for bodies, postings, traces, total in rows:
                held.words = await asyncio.to_thread(words, bodies, postings, traces, total, held.standing)

    def close(self) -> None:
        """Calls off what is being brought."""
        for bringing in self._bringing_words:
            bringing.cancel()

    def shows(self, user_id: UUID, shown: Shown) -> bool:
        """Whether this is still what is held of a user to be answered."""
        here = self._here(user_id)
        return isinstance(here, Held) and here.shown is shown

    def drop(self, user_id: UUID) -> None:
        """Lets go of what is held of a user."""
        self._kept.drop(lambda key, _: key == user_id.bytes)

    async def _look(
        self, reads: Reads, space_id: UUID, user_id: UUID, wanted: int, seconds: float, reading: Reading | None = None
    ) -> tuple[Mark, Row | None]:
        """The mark of a user, and what is to be held of them if the version is the one ``wanted`` and not too much."""
        warm = self._indexes is not None and await self._indexes.announced()
        async with reads.reading_vectors(space_id, seconds=seconds) as session:
            if reading is not None:
                await reading.send(session)
            cursor = await session.send(
                self._warm_query if warm else self._query,
                (wanted, MOST_TRACES, *[user_id] * (5 if warm else 4)),
            )
        rows = await cursor.fetchall()
        if not rows:
            return Mark(UNKNOWN, b""), None
        version, moved, brought, *columns = rows[0]
        return Mark(version, moved or b""), tuple(columns) if brought else None

    def _here(self, user_id: UUID) -> Held | Note | None:
        """What is held of a user, or noted, be it out of date."""
        kept = self._kept.take(user_id.bytes)
        return None if kept is None else kept.answer

    def _note(self, user_id: UUID, mark: Mark) -> None:
        here = self._here(user_id)
        # Another question may have brought it meanwhile.
        if mark.version != UNKNOWN and (here is None or here.mark != mark):
            self._keep(user_id, Note(mark))

    def _replace(self, user_id: UUID, known: Note, what: Held | Note) -> None:
        """Keeps what was brought in place of the note by which it was; not where that was let go of meanwhile."""
        if self._here(user_id) is known:
            self._keep(user_id, what)

    def _keep(self, user_id: UUID, what: Held | Note) -> None:
        size = what.size if isinstance(what, Held) else NOTE_BYTES
        self._kept.keep(user_id.bytes, what, size, (what.mark.version,))


def _takes(bounds: Bounds) -> bool:
    """Whether questions within such bounds are answered from what is held."""
    return (
        len(bounds.user_ids) == 1
        and bounds.heads == [HEADS["semantic"]]
        and bounds.only is None
        and bounds.before is None
        and bounds.at is None
    )


def _query(model: Model, most: int, *, warm: bool) -> bytes:
    literals: dict[str, int | str] = {
        "column": model.column, "type": model.type, "model": model.id, "most": most, "chars": MOST_CHARS,
        "edges": MOST_EDGES + 1, "words": USUAL_WORDS,
    }  # fmt: skip
    codes = SQL.text("held_codes", **literals).decode() if warm else ""
    return SQL.text("held", warm=", w.rows" if warm else "", codes=codes, **literals)


def read(user_id: UUID, mark: Mark, row: Row, model: Model, most: int) -> Held | None:
    """What the query brought; None where it is more than ``most`` vectors. ``row``: its columns after the mark."""
    ids, pieces, vectors, thin, kinds, roles, speakers, talks, *further = row
    name, postings, texts, external_ids, metas, edges, types, *more = further
    ids, pieces, vectors, thin, codes = (column or b"" for column in (ids, pieces, vectors, thin, *(more or [None])))
    warm = np.frombuffer(codes, dtype=packed_row(model.dim, 16))
    if len(ids) > (most - len(warm)) * 16:
        return None
    # Of a row that has a vector and of one that has codes alike.
    ids += warm["key"].tobytes()
    places = np.concatenate([np.frombuffer(pieces, dtype=">i4"), warm["piece"]])
    numbers = np.concatenate([_numbers(vectors, model), decoded(warm["codes"], warm["signs"], model)])
    user = user_id.bytes
    rows = np.frombuffer(thin, dtype=_TRACE).tolist()
    traces = {
        trace_id: Candidate(
            user + trace_id,
            role,
            speaker,
            length,
            kind,
            moment(happened),
            salience,
            given,
            pinned,
            None if updated == NOT else moment(updated),
            asks,
            None if follows == _NOBODY else user + follows,
            talk,
        )
        for (
            trace_id,
            length,
            happened,
            salience,
            given,
            pinned,
            updated,
            asks,
            follows,
            *_,
        ), kind, role, speaker, talk in zip(rows, kinds or (), roles or (), speakers or (), talks or (), strict=True)
    }
    answered = {
        one[0]: ShownRow(named, text, kind, role, speaker, talk, one[9], one[10], one[2], one[11], one[3], meta)
        for one, named, text, kind, role, speaker, talk, meta in zip(
            rows, external_ids or (), texts or (), kinds or (), roles or (), speakers or (), talks or (), metas or (),
            strict=True,
        )
    }  # fmt: skip
    whose = [traces.get(ids[at : at + 16]) for at in range(0, len(ids), 16)]
    # Of a trace that does not stand any more there may still be vectors.
    standing = np.array([one is not None for one in whose], dtype=np.bool_)
    found = [one for one in whose if one is not None]
    numbered = {one.key: number for number, one in enumerate(found)}
    return Held(
        mark=mark,
        vectors=fit(numbers[standing], model.dim),
        traces=found,
        whose=np.fromiter(map(numbered.__getitem__, (one.key for one in found)), dtype=np.intp, count=len(found)),
        pieced=len(numbered) < len(found),
        pieces=places[standing],
        kinds=np.array([KINDS[one.kind] for one in found], dtype=np.int16),
        happened=np.array([_microseconds(one.happened_at) for one in found], dtype=np.int64),
        standing=traces,
        table=Table({one.key: one for one in traces.values()}),
        shown=shown(user_id, answered, name, linked(edges, types), mark.moved),
        postings=postings,
        words_due=postings <= MOST_WORDS,
    )


def _numbers(packed: bytes, model: Model) -> FloatArray:
    """Vectors as PostgreSQL sends them, each after its dimension and two bytes that are not used."""
    kind = np.dtype(">f2" if model.precision == "fp16" else ">f4")
    row = np.dtype([("head", "V4"), ("numbers", kind, (model.dim,))])
    return np.asarray(np.frombuffer(packed, dtype=row)["numbers"], dtype=np.float32)


def search(held: Held, bounds: Bounds, vector: FloatArray, model: Model, depth: int) -> Found:
    """The ``depth`` traces whose vectors have the greatest cosine with ``vector``, each by the best of its pieces."""
    if model.precision == "fp16":
        # As PostgreSQL is told it, so that either gives the same scores.
        vector = vector.astype(np.float16).astype(np.float32)
    likeness = held.vectors @ (vector / np.sqrt(vector @ vector))
    rows = np.flatnonzero(_within(held.kinds, held.happened, bounds))
    rows = rows[np.argsort(-likeness[rows], kind="stable")]
    if held.pieced:
        _, firsts = np.unique(held.whose[rows], return_index=True)
        rows = rows[np.sort(firsts)]
    best = rows[:depth]
    found = [held.traces[row] for row in best.tolist()]
    keys = [one.key for one in found]
    head = bounds.heads[0]
    return Found(
        dict(zip(keys, likeness[best].tolist(), strict=True)),
        dict(zip(keys, found, strict=True)),
        plan=PLAN,
        rows=len(likeness),
        pieces={key: (head, piece) for key, piece in zip(keys, held.pieces[best].tolist(), strict=True)},
    )


def search_words(held: Words, bounds: Bounds, asked: Terms, depth: int) -> Found | None:
    """The ``depth`` traces with the greatest BM25 score; None where PostgreSQL has to search."""
    return held.search(asked, _within(held.kinds, held.happened, bounds), depth)


def _within(kinds: npt.NDArray[np.int16], happened: npt.NDArray[np.int64], bounds: Bounds) -> Mask:
    """Which rows lie within the bounds."""
    wanted = np.zeros(max(KINDS.values()) + 1, dtype=np.bool_)
    wanted[bounds.kinds] = True
    within: Mask = wanted[kinds]
    if bounds.since is not None:
        within &= happened >= _microseconds(bounds.since)
    if bounds.until is not None:
        within &= happened < _microseconds(bounds.until)
    return within


def _microseconds(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)
