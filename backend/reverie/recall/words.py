"""BM25 over the words of a held user: what ``reverie_bm25`` gives for one, in the process.

PostgreSQL only reads the question, in the round trip that looks whether what is held still stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reverie.core.database import Rows, Trip
from reverie.recall.lexical import K1, TERMS, B, asked_in, in_columns, phrases
from reverie.recall.traits import Mask
from reverie.recall.types import Candidate, Found, Question

MOST_WORDS: Final = 30_000
"""Of a user with more words none are held: PostgreSQL takes a microsecond for each to read them."""

MOST_TERMS: Final = 64
"""Of a question with more PostgreSQL takes the longest."""

POSTING_BYTES: Final = 28
BODY_BYTES: Final = 200
"""What a word of a text takes, and what a text takes beside its words."""

_BODY: Final = np.dtype([("id", "V16"), ("kind", ">i2"), ("happened", ">i8"), ("words", ">i4")])
_POSTING: Final = np.dtype([("body", ">i4"), ("term", ">i8"), ("place", ">i2")])
_TEXT: Final = 1 << 16
"""More than twice as many places as PostgreSQL tells apart in a text: 16 383."""

_STEM: Final = np.dtype([("place", ">i2"), ("term", ">i8")])


@dataclass(frozen=True, slots=True)
class Phrase:
    """What stands in a row in a question, as it is read in each language: places and keys of its stemmed words.

    ``weight``: what it adds to a score, as a share of the most that words can give.
    """

    weight: float
    readings: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Terms:
    """The stemmed words of a question: their keys, int64 in network order; terms of one place are one word in several
    languages."""

    keys: bytes
    places: Sequence[int]
    phrases: Sequence[Phrase] = ()


class Reading:
    """A question whose words PostgreSQL stems in whichever trip has room for it."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._phrases = phrases(question.text)
        self._rows: Rows | None = None

    async def send(self, session: Trip) -> None:
        """Queues it."""
        self._rows = await session.send(TERMS, (*asked_in(self._question), *in_columns(self._phrases)))

    async def terms(self) -> Terms | None:
        """What was read, once the trip is over; None where it was not sent."""
        if self._rows is None:
            return None
        ((keys, places, numbers, packed),) = await self._rows.fetchall()
        readings: list[list[bytes]] = [[] for _ in self._phrases]
        for number, one in zip(numbers or (), packed or (), strict=True):
            readings[number - 1].append(one)
        told = [Phrase(weight, one) for (_, weight), one in zip(self._phrases, readings, strict=True)]
        return Terms(keys or b"", places or (), told)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a user's texts, the newest first.

    ``known``: the trace of each text; ``kinds``, and ``happened`` in microseconds; ``slowness``: how far its length
    keeps a text from being full of a word. ``terms``: keys of stemmed words, ascending, each as often as there are
    texts that have it; ``bodies``: which; ``starts``: from where on in ``places`` it says at which places of the text,
    0 for none, and in the end how many there are. ``traces``: how many the user has.
    """

    known: list[Candidate]
    kinds: npt.NDArray[np.int16]
    happened: npt.NDArray[np.int64]
    slowness: npt.NDArray[np.float64]
    terms: npt.NDArray[np.int64]
    bodies: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    places: npt.NDArray[np.int16]
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
            bodies, times = self.bodies[begin:end], np.diff(self.starts[begin : end + 1])
            scores[bodies] += rare * (times * (K1 + 1) / (times + self.slowness[bodies]))
            found[bodies] = True
        mass, bonus = sum(idf.values()), 0.0
        for phrase in asked.phrases:
            holding = self._holding(phrase, within)
            if len(holding):
                bonus += phrase.weight
                scores[holding] += phrase.weight * mass * (K1 + 1)
        rows = np.flatnonzero(found & within)
        # As a real, like PostgreSQL's; what it gives more of is in the same order.
        said = scores[rows].astype(np.float32)
        best = np.argsort(-said, kind="stable")[:depth]
        candidates = {one.key: one for one in (self.known[row] for row in rows[best].tolist())}
        if not candidates:
            return Found({})
        given = dict(zip(candidates, said[best].tolist(), strict=True))
        return Found(given, candidates, mass * (1 + bonus) * (K1 + 1), bonus=bonus, terms=asked.keys)

    def _holding(self, phrase: Phrase, within: Mask) -> npt.NDArray[np.intp]:
        """The texts ``within`` the bounds that hold a phrase, as it is read in any language."""
        found = [self._in_a_row(np.frombuffer(one, dtype=_STEM)) for one in phrase.readings]
        bodies = np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.intp)
        return bodies[within[bodies]]

    def _in_a_row(self, stems: npt.NDArray[np.void]) -> npt.NDArray[np.intp]:
        """The texts in which these words stand as far from one another as in the phrase."""
        begins = np.searchsorted(self.terms, stems["term"], "left").tolist()
        ends = np.searchsorted(self.terms, stems["term"], "right").tolist()
        found: npt.NDArray[np.intp] | None = None
        for place, begin, end in zip(stems["place"].tolist(), begins, ends, strict=True):
            starts = self.starts[begin : end + 1]
            places = self.places[starts[0] : starts[-1]].astype(np.intp)
            bodies = np.repeat(self.bodies[begin:end], np.diff(starts))[places > 0]
            # Where the phrase would begin; words have one place each in it.
            here = bodies * _TEXT + places[places > 0] - place
            found = here if found is None else np.intersect1d(found, here, assume_unique=True)
            if not len(found):
                break
        return np.empty(0, dtype=np.intp) if found is None else np.unique((found + _TEXT // 2) // _TEXT)


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
    term, body = said["term"].astype(np.int64)[order], at[said["body"]][order]
    # The places of a word in a text stand side by side.
    first = np.flatnonzero((np.diff(term, prepend=term[:1] - 1) != 0) | (np.diff(body, prepend=-1) != 0))
    lengths = rows["words"].astype(np.float64)[newest]
    return Words(
        known=[standing[ids[n]] for n in newest],
        kinds=rows["kind"].astype(np.int16)[newest],
        happened=rows["happened"].astype(np.int64)[newest],
        slowness=K1 * (1 - B + B * lengths * traces / max(total, 1)),
        terms=term[first],
        bodies=body[first],
        starts=np.append(first, len(order)),
        places=said["place"].astype(np.int16)[order],
        traces=traces,
    )
