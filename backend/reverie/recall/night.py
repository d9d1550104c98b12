"""What the nights have made of a user's memory, and what that says of candidates. Pure, but for what it is read from.

A summary tells of all traces of its conversation and its day, whether their own words stand in it or not: of how much
use that conversation is for a question. Beside it the night has weighed how much each trace matters.
"""

import math
import struct
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall.scales import rank, standardised
from reverie.recall.traits import Places
from reverie.recall.types import Candidate, Key
from reverie.recall.warm import decoded, packed_row

MOST: Final = 1000
"""Summaries of a user that are looked at, those that were made last."""

FEWEST: Final = 8
"""Of fewer summaries none says more of a question than the others."""

LEAST_TOLD: Final = 0.5
"""So large a share of the candidates has to be told of by summaries, or the night says nothing."""

RANKS: Final = 3
"""The rank among summaries at which a reciprocal rank is one half."""

DAY: Final = timedelta(hours=25)
"""A summary is of one day, which ends with its last trace; the longest has an hour more."""

NAMES: Final = ("importance", "summarised", "talk", "talk_z", "talk_words", "talk_words_z", "talk_rank")
"""What is said of each candidate: how far it matters more than others that retell as it does, or do not
(standardised); whether its words stand in a summary; and of the summary of its conversation how far its meaning and its
words lie above those of the others (standardised; ``talk`` is their sum), the share of the question's rarity that it
has, and its reciprocal rank."""

CHOSEN_BY: Final[Mapping[str, float]] = {"importance": 0.5, "talk": 0.175}
"""What counts beside the first score (standardised) when candidates are chosen: evidence that is neither like the
question nor has its words often stands in a conversation that is, and matters. Found for questions over several
conversations (LoCoMo); a third less of both finds as many."""

Column = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

_WORD: Final = np.dtype([("of", ">i4"), ("key", ">i8")])
_QUOTED = struct.Struct(">16sd")
_QUOTED_BYTES: Final = 150
_SUMMARY_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Night:
    """The summaries of a user.

    ``vectors``: float32 ``[n, dim]`` of unit length; ``words``: the keys of the words of all, ``of`` which summary each
    is; ``made``: when each was made or changed, in seconds of the Unix epoch; ``talks``: by the conversation (None for
    whole days), when their days ended, in order, and which they are; ``quoted``: the ids of the traces whose words
    stand in one, and when that was found.
    """

    vectors: FloatArray
    words: npt.NDArray[np.int64]
    of: npt.NDArray[np.int64]
    made: Column
    talks: Mapping[str | None, tuple[list[datetime], list[int]]]
    quoted: Mapping[bytes, float]
    _known: dict[Key, tuple[int, bool]] = field(default_factory=dict)
    """What :meth:`tells` has said already."""

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        arrays = self.vectors.nbytes + self.words.nbytes + self.of.nbytes
        return arrays + _SUMMARY_BYTES * len(self.made) + _QUOTED_BYTES * len(self.quoted)

    def place(self, conversation: str | None, moment: datetime) -> int:
        """Which summary is of the day in which something was said, the first that ends after it; -1 for none."""
        ends, places = self.talks.get(conversation, ((), ()))
        at = bisect_left(ends, moment)
        return places[at] if at < len(ends) and ends[at] - moment < DAY else -1

    def tells(self, one: Candidate) -> tuple[int, bool]:
        """Which summary tells of a trace of the user (-1 for none), and whether the words of the trace stand in one."""
        known = self._known.get(one.key)
        if known is None:
            known = self.place(one.conversation, one.happened_at), one.key[16:] in self.quoted
            self._known[one.key] = known
        return known

    def likeness(self, vector: FloatArray) -> Column:
        """The cosine of each summary with a question's vector."""
        return np.asarray(self.vectors @ (vector / math.sqrt(float(vector @ vector))), dtype=np.float64)

    def having(self, key: int) -> npt.NDArray[np.int64]:
        """Which summaries have a word."""
        return np.asarray(self.of[self.words == key])

    def as_of(self, moment: float) -> "Night":
        """What was there at a moment, in seconds of the Unix epoch. What was changed since is not known as it was."""
        return _night(
            self.vectors,
            self.words,
            self.of,
            self.made,
            [
                (end, talk, n)
                for talk, (ends, places) in self.talks.items()
                for end, n in zip(ends, places, strict=True)
            ],
            {trace: found for trace, found in self.quoted.items() if found < moment},
            np.flatnonzero(self.made < moment),
        )


def read(row: Sequence[Any], model: Model) -> Night:
    """What the query ``nights`` brought of a user, without whose it is."""
    talks, ends, made, hot, warm, words, quoted = row
    vectors = np.zeros((len(talks), model.dim), dtype=np.float32)
    kind = np.dtype(">f2" if model.precision == "fp16" else ">f4")
    rows = np.frombuffer(hot or b"", dtype=[("of", ">i4"), ("head", "V4"), ("numbers", kind, (model.dim,))])
    vectors[rows["of"]] = rows["numbers"]
    codes = np.frombuffer(warm or b"", dtype=[("of", ">i4"), ("row", packed_row(model.dim, 16))])
    if len(codes):
        vectors[codes["of"]] = decoded(codes["row"]["codes"], codes["row"]["signs"], model)
    spoken = np.frombuffer(words or b"", dtype=_WORD)
    found: dict[bytes, float] = {}
    for trace, moment in _QUOTED.iter_unpack(quoted or b""):
        found[trace] = min(moment, found.get(trace, moment))
    return _night(
        vectors,
        spoken["key"].astype(np.int64),
        spoken["of"].astype(np.int64),
        np.frombuffer(made, dtype=">f8").astype(np.float64),
        list(zip(ends, talks, range(len(talks)), strict=True)),
        found,
    )


def _night(
    vectors: FloatArray, words: npt.NDArray[np.int64], of: npt.NDArray[np.int64], made: Column,
    days: Sequence[tuple[datetime, str | None, int]], quoted: Mapping[bytes, float],
    kept: npt.NDArray[np.intp] | None = None,
) -> Night:  # fmt: skip
    """The summaries that are ``kept``, else all; of each of ``days`` the end, the conversation and the place."""
    number = np.full(len(made), -1)
    kept = np.arange(len(made)) if kept is None else kept
    number[kept] = np.arange(len(kept))
    spoken = number[of] >= 0
    talks: dict[str | None, tuple[list[datetime], list[int]]] = {}
    for end, talk, place in sorted(days, key=lambda day: (day[0], day[2])):
        if number[place] >= 0:
            ends, places = talks.setdefault(talk, ([], []))
            ends.append(end)
            places.append(int(number[place]))
    return Night(vectors[kept], words[spoken], number[of[spoken]], made[kept], talks, quoted)


@dataclass(frozen=True, slots=True)
class Told:
    """What the summaries of several users say to a question: ``said`` is ``[summaries, 5]``, the last five of
    :data:`NAMES`, and each night has its first row there."""

    nights: Mapping[bytes, tuple[Night, int]]
    said: Column

    def of(self, rows: Collection[Candidate]) -> bool:
        """Whether summaries tell of so many candidates that they have something to say."""
        return _enough_told(sum(place >= 0 for place, _ in map(self._says, rows)), len(rows))

    def matrix(self, rows: Sequence[Candidate], retold: npt.NDArray[np.bool_]) -> Matrix | None:
        """:data:`NAMES` of candidates, float32 ``[n, 7]``; None where summaries tell of too few of them.

        Of what no summary tells yet, it is as of the others in the mean. ``retold``: which of them retell.
        """
        said = [self._says(one) for one in rows]
        places = np.array([place for place, _ in said], dtype=np.intp)
        told = places >= 0
        count = int(told.sum())
        if not _enough_told(count, len(rows)):
            return None
        found = np.empty((len(rows), len(NAMES)), dtype=np.float32)
        found[:, 0] = _beside_their_like(np.array([one.salience for one in rows]), [retold & told, ~retold & told])
        found[:, 1] = [quoted for _, quoted in said]
        found[:, 2:] = self.said[places]
        if count < len(rows):
            found[~told, 1:] = found[told, 1:].mean(axis=0)
        return found

    def _says(self, one: Candidate) -> tuple[int, bool]:
        night, first = self.nights.get(one.key[:16], (None, 0))
        if night is None:
            return -1, False
        place, quoted = night.tells(one)
        return (place if place < 0 else first + place), quoted


def _enough_told(count: int, many: int) -> bool:
    return count > 0 and count >= LEAST_TOLD * many


def tell(nights: Mapping[bytes, Night], vector: FloatArray, terms: bytes) -> Told | None:
    """What summaries say to a question; None where there are too few.

    Args:
        nights: by the 16 bytes of the user's id.
        vector: the question's.
        terms: the keys of its words, int64 in network order.
    """
    if not enough(nights):
        return None
    sizes = [len(night.made) for night in nights.values()]
    firsts = [sum(sizes[:at]) for at in range(len(sizes))]
    likeness = np.concatenate([night.likeness(vector) for night in nights.values()])
    meaning = standardised(likeness, likeness)
    share = _share(
        list(zip(nights.values(), firsts, strict=True)), np.frombuffer(terms, dtype=">i8").tolist(), sum(sizes)
    )
    words = standardised(share, share)
    both = meaning + words
    said = np.stack([both, meaning, share, words, rank(both, RANKS)], axis=1)
    return Told(dict(zip(nights, zip(nights.values(), firsts, strict=True), strict=True)), said)


def enough(nights: Mapping[bytes, Night]) -> bool:
    """Whether there are so many summaries that they can say something."""
    return sum(len(night.made) for night in nights.values()) >= FEWEST


def best_by_nights(first: Column, said: Matrix, size: int) -> Places:
    """The places of the ``size`` candidates that what the arms and the nights say is most for, those first that the
    arms think better.

    Args:
        first: the first score of each candidate.
        said: :data:`NAMES` of each.
        size: how many.
    """
    both = standardised(first, first)
    for name, weight in CHOSEN_BY.items():
        both = both + weight * said[:, NAMES.index(name)]
    chosen = np.argsort(-both, kind="stable")[:size]
    return chosen[np.argsort(-first[chosen], kind="stable")]


def _share(nights: Sequence[tuple[Night, int]], terms: Sequence[int], count: int) -> Column:
    """The share of the rarity of a question's words, among summaries, that each summary has."""
    share, most = np.zeros(count), 0.0
    for term in terms:
        having = np.concatenate([night.having(term) + first for night, first in nights])
        rarity = math.log1p((count - len(having) + 0.5) / (len(having) + 0.5))
        share[having] += rarity
        most += rarity
    return share / (most or 1.0)


def _beside_their_like(salience: Column, groups: Sequence[npt.NDArray[np.bool_]]) -> Column:
    """How far each lies above the mean of its group (standardised); 0 in none, and where nothing was weighed."""
    off = np.zeros_like(salience)
    for those in groups:
        count = int(those.sum())
        if count:
            own = salience[those]
            off[those] = own - own.sum() / count
    spread = math.sqrt(float(off @ off) / max(1, sum(int(those.sum()) for those in groups)))
    return off / spread if spread > 1e-6 else np.zeros_like(off)
