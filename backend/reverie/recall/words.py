"""BM25 over the words of a held user: what ``reverie_bm25`` gives for one, in the process.

PostgreSQL only reads the question, in the round trip that looks whether what is held still stands. Of a question with
phrases, whose words have to stand in a row, it does all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reverie.core.database import Rows, Trip
from reverie.recall.lexical import K1, TERMS, B, asked_in
from reverie.recall.traits import Mask
from reverie.recall.types import Candidate, Found, Question

MOST_WORDS: Final = 30_000
"""Of a user with more words none are held: PostgreSQL takes a microsecond for each to read them."""

MOST_TERMS: Final = 64
"""Of a question with more PostgreSQL takes the longest."""

POSTING_BYTES: Final = 24
BODY_BYTES: Final = 200
"""What a word of a text takes, and what a text takes beside its words."""

_BODY: Final = np.dtype([("id", "V16"), ("kind", ">i2"), ("happened", ">i8"), ("words", ">i4")])
_POSTING: Final = np.dtype([("body", ">i4"), ("term", ">i8"), ("times", ">i2")])


@dataclass(frozen=True, slots=True)
class Terms:
    """The stemmed words of a question: their keys, int64 in network order; terms of one place are one word in several
    languages."""

    keys: bytes
    places: Sequence[int]


class Reading:
    """A question whose words PostgreSQL stems in whichever trip has room for it."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._rows: Rows | None = None

    async def send(self, session: Trip) -> None:
        """Queues it."""
        self._rows = await session.send(TERMS, asked_in(self._question))

    async def terms(self) -> Terms | None:
        """What was read, once the trip is over; None where it was not sent."""
        if self._rows is None:
            return None
        ((keys, places),) = await self._rows.fetchall()
        return Terms(keys or b"", places or ())


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a user's texts, the newest first.

    ``known``: the trace of each text; ``kinds``, and ``happened`` in microseconds; ``slowness``: how far its length
    keeps a text from being full of a word. ``terms``: keys of stemmed words, ascending, each as often as there are
    texts that have it; ``bodies`` and ``times``: which, and how often it stands there. ``traces``: how many the user
    has.
    """

    known: list[Candidate]
    kinds: npt.NDArray[np.int16]
    happened: npt.NDArray[np.int64]
    slowness: npt.NDArray[np.float64]
    terms: npt.NDArray[np.int64]
    bodies: npt.NDArray[np.intp]
    times: npt.NDArray[np.float64]
    traces: int

    def search(self, asked: Terms, within: Mask, depth: int) -> Found | None:
        """The ``depth`` traces ``within`` the bounds that have the greatest score, of equals the newest.

        None where the question has too many terms.
        """
        # A term may come from several languages, at several places: the first counts.
        places: dict[int, int] = {}
        for key, place in zip(np.frombuffer(asked.keys, dtype=">i8").tolist(), asked.places, strict=True):
            places[key] = min(place, places.get(key, place))
        if len(places) > MOST_TERMS:
            return None
        scores, found = np.zeros(len(self.known)), np.zeros(len(self.known), dtype=np.bool_)
        idf: dict[int, float] = {}
        keys = np.fromiter(places, dtype=np.int64, count=len(places))
        begins, ends = np.searchsorted(self.terms, keys, "left"), np.searchsorted(self.terms, keys, "right")
        for place, begin, end in zip(places.values(), begins.tolist(), ends.tolist(), strict=True):
            many = end - begin
            rare = float(np.log(1 + (max(self.traces, many) - many + 0.5) / (many + 0.5)))
            idf[place] = min(rare, idf.get(place, rare))
            bodies, times = self.bodies[begin:end], self.times[begin:end]
            scores[bodies] += rare * (times * (K1 + 1) / (times + self.slowness[bodies]))
            found[bodies] = True
        rows = np.flatnonzero(found & within)
        # As a real, like PostgreSQL's; what it gives more of is in the same order.
        said = scores[rows].astype(np.float32)
        best = np.argsort(-said, kind="stable")[:depth]
        candidates = {one.key: one for one in (self.known[row] for row in rows[best].tolist())}
        if not candidates:
            return Found({})
        given = dict(zip(candidates, said[best].tolist(), strict=True))
        return Found(given, candidates, sum(idf.values()) * (K1 + 1), terms=asked.keys)


def words(
    bodies: bytes | None, postings: bytes | None, traces: int, total: int, standing: Mapping[bytes, Candidate]
) -> Words | None:
    """The words of a user as the query ``held_words`` packs them. ``total``: how many all of the texts have.

    None where some are of a trace that does not stand any more: they count until they are removed, which raises no
    version.
    """
    rows = np.frombuffer(bodies or b"", dtype=_BODY)
    said = np.frombuffer(postings or b"", dtype=_POSTING)
    ids: list[bytes] = rows["id"].tolist()
    if not standing.keys() >= set(ids):
        return None
    newest = sorted(range(len(ids)), key=ids.__getitem__, reverse=True)
    at = np.empty(len(ids), dtype=np.intp)
    at[newest] = np.arange(len(ids))
    order = np.argsort(said["term"], kind="stable")
    lengths = rows["words"].astype(np.float64)[newest]
    return Words(
        known=[standing[ids[n]] for n in newest],
        kinds=rows["kind"].astype(np.int16)[newest],
        happened=rows["happened"].astype(np.int64)[newest],
        slowness=K1 * (1 - B + B * lengths * traces / max(total, 1)),
        terms=said["term"].astype(np.int64)[order],
        bodies=at[said["body"]][order],
        times=said["times"].astype(np.float64)[order],
        traces=traces,
    )
