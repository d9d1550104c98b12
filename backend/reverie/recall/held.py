"""The vectors of small users, held in the process for as long as their memory does not change.

One round trip, while the question is being encoded, says whether a user's version is still the one that is held, and
brings all vectors where it is not. What is then left to do once the question's vector is there is one product of a
matrix: the search itself costs no round trip.

What is held is as old as the version that its own query read, so a write is seen at once. A forgotten trace is never
found again, and its vector leaves memory within twice :data:`~reverie.recall.cache.SECONDS`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np

from reverie.core.database import Reads, Row
from reverie.core.kinds import HEADS, KINDS
from reverie.core.queries import Queries
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall.bounds import admissible
from reverie.recall.cache import UNKNOWN, Cache
from reverie.recall.types import Bounds, Candidate, Found, Key

SQL = Queries("reverie.recall")

PLAN: Final = "held"
"""What an explanation calls a search of held vectors."""

MOST_TRACES: Final = 2000
"""Users of more are searched in PostgreSQL: their vectors would take longer to bring than a question to encode."""

TRACE_BYTES: Final = 400
"""What a :class:`Candidate` takes, with its key, its moment and its speaker."""

NOTE_BYTES: Final = 1000
"""What the note takes that a user is too large."""

MOST_ROWS: Final = 4000
"""The same for vectors, of which a long trace has several."""

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""PostgreSQL counts the microseconds of a timestamp from here."""

_TRACE: Final = np.dtype(
    [("id", "V16"), ("length", ">i4"), ("happened", ">i8"), ("salience", ">f4"), ("asks", "?"), ("follows", "V16")]
)
"""A trace as the query sends it: one after the other in network order."""

_NOBODY: Final = bytes(16)


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of a user at a version: a row for each vector.

    ``vectors``: float32 ``[rows, dim]`` of unit length; ``traces`` and ``pieces``: the trace of each, and which piece
    of it; ``kinds``: all that there are.
    """

    version: int
    vectors: FloatArray
    traces: list[Candidate]
    pieces: list[int]
    kinds: frozenset[int]

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return self.vectors.nbytes + TRACE_BYTES * len(self.traces)


class Shelf:
    """What is held of the users who asked last, at most ``most`` bytes of it."""

    def __init__(self, model: Model, most: int) -> None:
        self._model = model
        self._most = most
        self._kept: Cache[Held | None] = Cache(most, largest=most)
        self._query = SQL.text("held", column=model.column, type=model.type, model=model.id, most=MOST_ROWS + 1)

    async def of(self, reads: Reads, space_id: UUID, bounds: Bounds, seconds: float) -> Held | None:
        """What is held of the user of a question; None where PostgreSQL has to search.

        Raises:
            psycopg.Error, PoolTimeout: it could not be asked whether that stands.
        """
        if not self._most or not _takes(bounds):
            return None
        (user_id,) = bounds.user_ids
        kept = self._kept.take(user_id.bytes)
        if kept is not None and kept.answer is None:
            return None
        known = kept.answer if kept is not None else None
        version = UNKNOWN if known is None else known.version
        async with reads.reading_vectors(space_id, seconds=seconds) as session:
            cursor = await session.send(self._query, (version, MOST_TRACES, user_id, user_id, user_id))
        rows = await cursor.fetchall()
        if not rows:
            return None
        if rows[0][0] == version:
            return known
        held = read(user_id, rows[0], self._model)
        if held is not None and held.size > self._most:
            held = None
        self._kept.keep(user_id.bytes, held, NOTE_BYTES if held is None else held.size, (rows[0][0],))
        return held


def _takes(bounds: Bounds) -> bool:
    """Whether questions within such bounds are answered from what is held."""
    return (
        len(bounds.user_ids) == 1
        and bounds.heads == [HEADS["semantic"]]
        and bounds.only is None
        and bounds.before is None
        and bounds.at is None
    )


def read(user_id: UUID, row: Row, model: Model) -> Held | None:
    """What the query brought; None where it is too much. ``row``: the version, then the columns, packed."""
    version, small, *packed, kinds, roles, speakers = row
    ids, pieces, vectors, thin = (column or b"" for column in packed)
    if not small or len(ids) > MOST_ROWS * 16:
        return None
    user = user_id.bytes
    traces = {
        trace_id: Candidate(
            user + trace_id,
            role,
            speaker,
            length,
            kind,
            _EPOCH + timedelta(microseconds=happened),
            salience,
            asks,
            None if follows == _NOBODY else user + follows,
        )
        for (trace_id, length, happened, salience, asks, follows), kind, role, speaker in zip(
            np.frombuffer(thin, dtype=_TRACE).tolist(), kinds or (), roles or (), speakers or (), strict=True
        )
    }
    whose = [traces.get(ids[at : at + 16]) for at in range(0, len(ids), 16)]
    # Of a trace that does not stand any more there may still be vectors.
    standing = [one is not None for one in whose]
    return Held(
        version=version,
        vectors=_unit(_numbers(vectors, model)[standing]),
        traces=[one for one in whose if one is not None],
        pieces=np.frombuffer(pieces, dtype=">i4")[standing].tolist(),
        kinds=frozenset(KINDS[one.kind] for one in traces.values()),
    )


def _numbers(packed: bytes, model: Model) -> FloatArray:
    """Vectors as PostgreSQL sends them, each after its dimension and two bytes that are not used."""
    kind = np.dtype(">f2" if model.precision == "fp16" else ">f4")
    row = np.dtype([("head", "V4"), ("numbers", kind, (model.dim,))])
    return np.asarray(np.frombuffer(packed, dtype=row)["numbers"], dtype=np.float32)


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None])


def search(held: Held, bounds: Bounds, vector: FloatArray, model: Model, depth: int) -> Found:
    """The ``depth`` traces whose vectors have the greatest cosine with ``vector``, each by the best of its pieces."""
    if model.precision == "fp16":
        # As PostgreSQL is told it, so that either gives the same scores.
        vector = vector.astype(np.float16).astype(np.float32)
    likeness = held.vectors @ (vector / np.sqrt(vector @ vector))
    cosines: list[float] = likeness.tolist()
    some = not held.kinds.issubset(bounds.kinds) or bounds.since is not None or bounds.until is not None
    scores: dict[Key, float] = {}
    candidates: dict[Key, Candidate] = {}
    pieces: dict[Key, tuple[int, int]] = {}
    for row in np.argsort(-likeness, kind="stable").tolist():
        one = held.traces[row]
        if one.key in scores or (some and not admissible(one, bounds)):
            continue
        scores[one.key] = cosines[row]
        candidates[one.key] = one
        pieces[one.key] = (bounds.heads[0], held.pieces[row])
        if len(scores) == depth:
            break
    return Found(scores, candidates, plan=PLAN, rows=len(cosines), pieces=pieces)
