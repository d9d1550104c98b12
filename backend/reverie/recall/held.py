"""The vectors of small users, held in the process for as long as their memory does not change.

One round trip, while the question is being encoded, says whether a user's version is still the one that is held. What
is then left to do once the question's vector is there is one product of a matrix: the search costs no round trip. All
vectors are brought when a version is seen for the second time: to bring them takes longer than to have PostgreSQL look
through them, and who is written to between any two questions is asked by each version but once.

What is held is as old as the version that its own query read, so a write is seen at once. A forgotten trace is never
found again, and its vector leaves memory within twice :data:`~reverie.recall.cache.SECONDS`.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from psycopg.errors import QueryCanceled

from reverie.core.database import Reads, Row
from reverie.core.kinds import HEADS, KINDS
from reverie.core.queries import Queries
from reverie.embedding.fit import fit
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall.cache import UNKNOWN, Cache
from reverie.recall.indexes import Indexes
from reverie.recall.types import Bounds, Candidate, Found, Key
from reverie.recall.warm import decoded, packed_row

SQL = Queries("reverie.recall")

PLAN: Final = "held"
"""What an explanation calls a search of held vectors."""

MOST_TRACES: Final = 2000
MOST_BYTES: Final = 6 * 1024 * 1024
"""Users of more, or of more bytes of vectors, are searched in PostgreSQL."""

TRACE_BYTES: Final = 400
"""What a :class:`Candidate` takes, with its key, its moment and its speaker."""

NOTE_BYTES: Final = 1000
"""What the note of a version takes."""

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""PostgreSQL counts the microseconds of a timestamp from here."""

_NOT: Final = -(2**63)
"""What PostgreSQL sends of a moment before all time."""

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
    ]
)
"""A trace as the query sends it: one after the other in network order."""

_NOBODY: Final = bytes(16)


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of a user at a version: a row for each vector.

    ``vectors``: float32 ``[rows, dim]`` of unit length; ``traces`` and ``pieces``: the trace of each, and which piece
    of it; ``kinds`` and ``happened``: the number of its kind, and when it happened, in microseconds.
    """

    version: int
    vectors: FloatArray
    traces: list[Candidate]
    pieces: list[int]
    kinds: npt.NDArray[np.int16]
    happened: npt.NDArray[np.int64]

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return self.vectors.nbytes + TRACE_BYTES * len(self.traces)


@dataclass(frozen=True, slots=True)
class Note:
    """A user of whom nothing is held: the ``version`` that was seen, and whether there is too much."""

    version: int
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
        self._query = _query(model, self._most_rows + 1, warm=False)
        self._warm_query = _query(model, self._most_rows + 1, warm=True)

    async def of(self, reads: Reads, space_id: UUID, bounds: Bounds, seconds: float) -> Held | None:
        """What is held of the user of a question; None where PostgreSQL has to search.

        Raises:
            psycopg.Error, PoolTimeout: it could not be asked whether that stands.
        """
        if not self._most or not _takes(bounds):
            return None
        (user_id,) = bounds.user_ids
        kept = self._kept.take(user_id.bytes)
        known = None if kept is None else kept.answer
        if user_id in self._bringing or (isinstance(known, Note) and known.too_much):
            return None
        if not isinstance(known, Note):
            version, _ = await self._look(reads, space_id, user_id, UNKNOWN, seconds)
            if known is not None and known.version == version:
                return known
            self._note(user_id, version)
            return None
        self._bringing.add(user_id)
        try:
            # Half of the time, so that PostgreSQL can still search in the other.
            version, row = await self._look(reads, space_id, user_id, known.version, seconds / 2)
            if version != known.version:
                self._note(user_id, version)
                return None
            held = None if row is None else await asyncio.to_thread(read, user_id, row, self._model, self._most_rows)
        except QueryCanceled:
            self._kept.keep(user_id.bytes, Note(known.version, too_much=True), NOTE_BYTES, (known.version,))
            raise
        finally:
            self._bringing.discard(user_id)
        if held is not None and held.size <= self._most:
            self._kept.keep(user_id.bytes, held, held.size, (version,))
            return held
        self._kept.keep(user_id.bytes, Note(version, too_much=True), NOTE_BYTES, (version,))
        return None

    def clear(self) -> None:
        """Lets go of everything."""
        self._kept.clear()

    def drop(self, user_id: UUID) -> None:
        """Lets go of what is held of a user."""
        self._kept.drop(lambda key, _: key == user_id.bytes)

    async def _look(
        self, reads: Reads, space_id: UUID, user_id: UUID, wanted: int, seconds: float
    ) -> tuple[int, Row | None]:
        """The version of a user, and what is to be held of them if it is the one ``wanted`` and not too much."""
        warm = self._indexes is not None and await self._indexes.announced()
        async with reads.reading_vectors(space_id, seconds=seconds) as session:
            cursor = await session.send(
                self._warm_query if warm else self._query,
                (wanted, MOST_TRACES, *[user_id] * (4 if warm else 3)),
            )
        rows = await cursor.fetchall()
        if not rows:
            return UNKNOWN, None
        version, brought, *columns = rows[0]
        return version, (version, *columns) if brought else None

    def _note(self, user_id: UUID, version: int) -> None:
        kept = self._kept.take(user_id.bytes)
        # Another question may have brought it meanwhile.
        if version != UNKNOWN and (kept is None or kept.versions != (version,)):
            self._kept.keep(user_id.bytes, Note(version), NOTE_BYTES, (version,))


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
    literals: dict[str, int | str] = {"column": model.column, "type": model.type, "model": model.id, "most": most}
    codes = SQL.text("held_codes", **literals).decode() if warm else ""
    return SQL.text("held", warm=", w.rows" if warm else "", codes=codes, **literals)


def read(user_id: UUID, row: Row, model: Model, most: int) -> Held | None:
    """What the query brought; None where it is more than ``most`` vectors. ``row``: the version and the columns."""
    version, ids, pieces, vectors, thin, kinds, roles, speakers, talks, *more = row
    ids, pieces, vectors, thin, codes = (column or b"" for column in (ids, pieces, vectors, thin, *(more or [None])))
    warm = np.frombuffer(codes, dtype=packed_row(model.dim, 16))
    if len(ids) > (most - len(warm)) * 16:
        return None
    # Of a row that has a vector and of one that has codes alike.
    ids += warm["key"].tobytes()
    places = np.concatenate([np.frombuffer(pieces, dtype=">i4"), warm["piece"]])
    numbers = np.concatenate([_numbers(vectors, model), decoded(warm["codes"], warm["signs"], model)])
    user = user_id.bytes
    rows = np.frombuffer(thin, dtype=_TRACE)
    traces = {
        trace_id: Candidate(
            user + trace_id,
            role,
            speaker,
            length,
            kind,
            _EPOCH + timedelta(microseconds=happened),
            salience,
            given,
            pinned,
            None if updated == _NOT else _EPOCH + timedelta(microseconds=updated),
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
        ), kind, role, speaker, talk in (
            zip(rows.tolist(), kinds or (), roles or (), speakers or (), talks or (), strict=True)
        )
    }
    whose = [traces.get(ids[at : at + 16]) for at in range(0, len(ids), 16)]
    # Of a trace that does not stand any more there may still be vectors.
    standing = np.array([one is not None for one in whose], dtype=np.bool_)
    found = [one for one in whose if one is not None]
    return Held(
        version=version,
        vectors=fit(numbers[standing], model.dim),
        traces=found,
        pieces=places[standing].tolist(),
        kinds=np.array([KINDS[one.kind] for one in found], dtype=np.int16),
        happened=np.array([_microseconds(one.happened_at) for one in found], dtype=np.int64),
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
    cosines: list[float] = likeness.tolist()
    rows = _within(held, bounds)
    scores: dict[Key, float] = {}
    candidates: dict[Key, Candidate] = {}
    pieces: dict[Key, tuple[int, int]] = {}
    for row in rows[np.argsort(-likeness[rows], kind="stable")].tolist():
        one = held.traces[row]
        if one.key in scores:
            continue
        scores[one.key] = cosines[row]
        candidates[one.key] = one
        pieces[one.key] = (bounds.heads[0], held.pieces[row])
        if len(scores) == depth:
            break
    return Found(scores, candidates, plan=PLAN, rows=len(cosines), pieces=pieces)


def _within(held: Held, bounds: Bounds) -> npt.NDArray[np.intp]:
    """The rows within the bounds."""
    within = np.zeros(len(held.kinds), dtype=np.bool_)
    for kind in bounds.kinds:
        within |= held.kinds == kind
    if bounds.since is not None:
        within &= held.happened >= _microseconds(bounds.since)
    if bounds.until is not None:
        within &= held.happened < _microseconds(bounds.until)
    return np.flatnonzero(within)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
