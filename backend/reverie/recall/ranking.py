"""The candidates of a question in order: by what the arms say, and the best of them by what the reranker says too.

Either is weighed by its ranker, or by fixed weights where there is none; reranked ones by both. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from reverie.recall import fuse
from reverie.recall.features import Asked, matrix
from reverie.recall.night import Matrix, Told, best_by_nights
from reverie.recall.pool import Pool, best
from reverie.recall.ranker import OF_THE_NIGHT, Ranker
from reverie.recall.ranker import shares as ranker_shares
from reverie.recall.scales import rank, standardised
from reverie.recall.strengths import Strengths
from reverie.recall.traits import Column, Places
from reverie.recall.types import Key, Scored
from reverie.text.salience import NEUTRAL

LEAST_POOL: Final = 10
"""With fewer candidates fixed weights decide: the rankers have learned from a hundred at a time, and to them the best
of a handful looks like one of many that are no answer. From ten turns on they order better, and rightly say how likely
an answer is."""

SALIENCE: Final = 0.2
"""How far a trace goes towards certain whose effective salience is 1, and back where it is 0; at 0.5 it is neither.

It moves those most of which the arms are least sure: the change is in proportion to score * (1 - score).
"""

RERANKED: Final = 0.3
"""Without a ranker: the share of the way to 1 that the reranker's first gains, half of it its eleventh."""


class Ranking:
    """The best candidates of a question, and what they are weighed by.

    Attributes:
        ordered: the candidates with their scores, best first, the newer of two equals first.
    """

    def __init__(
        self, asked: Asked, found: Pool, size: int, most: int, rankers: Mapping[str, Ranker], strengths: Strengths, *,
        told: Told | None = None, night_size: int | None = None, explain: bool = False,
    ) -> None:  # fmt: skip
        """Weighs the ``size`` candidates that the arms think best, and orders the ``most`` best of them.

        ``told`` is what summaries say to the question: where they say something of the candidates, it is the
        ``night_size`` that these and the arms think best.
        """
        self._strengths = strengths
        self._found = found
        self._rankers = rankers if len(found.keys) >= LEAST_POOL else {}
        self._explain = explain
        dreamt = told if f"balanced{OF_THE_NIGHT}" in self._rankers else None
        self._places, self._night = shortlist(found, size, dreamt, night_size or size)
        # Only rankers read it, and it is the dearest thing here.
        self._rows = matrix(asked, found, self._places) if self._rankers else None
        self._weighed = self._learned("balanced", self._rows, self._night) or fuse.linear(asked, found, self._places)
        self._shares = self._with_priors(self._places, self._weighed)
        self.ordered: list[Scored] = fuse.ordered(found, self._places, self._shares, most)

    def reranked(self, scores: Mapping[Key, float]) -> list[Scored]:
        """:attr:`ordered` with those that the reranker has judged in the order that its scores of them make.

        The others stand behind them.
        """
        judged = [one for one in self.ordered if one.key in scores]
        if not judged:
            return self.ordered
        at = {self._found.keys[place]: n for n, place in enumerate(self._places)}
        chosen = [at[one.key] for one in judged]
        said = [scores[one.key] for one in judged]
        night = None if self._night is None else self._night[chosen]
        more = reranked_rows(judged, said)
        learned = self._learned("thorough", None if self._rows is None else self._rows[chosen], night, more)
        if learned is None:
            before = np.array([one.score for one in judged])
            shares = {name: share[chosen] for name, share in self._shares.items()}
            shares["rerank"] = RERANKED * rank(np.array(said)) * (1 - before)
        else:
            weighed = {name: share[chosen] for name, share in self._weighed.items()}
            before = sum(weighed.values(), np.zeros(len(chosen)))
            weighed["rerank"] = both(before, sum(learned.values(), np.zeros(len(chosen)))) - before
            shares = self._with_priors(self._places[chosen], weighed)
        first = fuse.ordered(self._found, self._places[chosen], shares, len(chosen))
        return first + [_below(one, first[-1].score) for one in self.ordered if one.key not in scores]

    def _learned(
        self, recipe: str, rows: Matrix | None, night: Matrix | None, more: Matrix | None = None
    ) -> dict[str, Column] | None:
        """What the ranker of a recipe says of candidates: of what the arms say, the ``night`` and the reranker."""
        of_the_night = None if night is None else self._rankers.get(f"{recipe}{OF_THE_NIGHT}")
        ranker = of_the_night or self._rankers.get(recipe)
        if ranker is None or rows is None or not len(rows):
            return None
        parts = [rows, night if of_the_night is not None else None, more]
        rows = np.concatenate([part for part in parts if part is not None], axis=1)
        return ranker_shares(ranker, rows) if self._explain else {"ranker": ranker.scores(rows)}

    def _with_priors(self, places: Places, learned: dict[str, Column]) -> dict[str, Column]:
        score = sum(learned.values(), np.zeros(len(places)))
        keys, traits = [self._found.keys[place] for place in places.tolist()], self._found.traits.take(places)
        # What a night has estimated is for the ranker of the night to weigh: as a prior it makes others find less.
        own = np.where(traits.given, traits.salience, NEUTRAL)
        salience = self._strengths.of(keys, traits, own)
        doubt = score * (1 - score)
        return learned | {"salience": SALIENCE * (2 * salience - 1) * doubt}


def shortlist(found: Pool, size: int, told: Told | None, night_size: int) -> tuple[Places, Matrix | None]:
    """The places of the candidates that are weighed, and what nights say of these, float32 ``[n, 7]``.

    These are the best ``size``; or, where summaries have something to say (``told``) and tell of enough of them, the
    best ``night_size`` by that, too.
    """
    said = None
    if told is not None:
        said = told.matrix(found.rows, found.traits.retold > 0)
    if said is None:
        return best(found, size), None
    places = best_by_nights(found.first, said, night_size)
    return places, said[places]


def reranked_rows(before: Sequence[Scored], scores: Sequence[float]) -> Matrix:
    """What the first ranking and the reranker say of candidates: float32 ``[n, 4]``.

    Args:
        before: the candidates as they were ranked.
        scores: what the reranker says of each.
    """
    likely = np.clip([one.score for one in before], 1e-6, 1 - 1e-6)
    said = np.array(scores, dtype=np.float64)
    more = (np.log(likely / (1 - likely)), said, standardised(said, said), rank(said))
    return np.stack(more, axis=1).astype(np.float32)


def both(before: Column, after: Column) -> Column:
    """The scores of candidates of which two rankers make ``before`` and ``after``: the geometric mean, ``[n]``.

    The second has learned from the few candidates of each question that are reranked, and overlooks some of what the
    first knows: on LoCoMo and on BEAM the mean finds more than either (``bench/quality --recipe thorough``).
    """
    return np.asarray(np.sqrt(before * after))


def _below(one: Scored, most: float) -> Scored:
    """A candidate that the reranker has not seen: not before one that it has."""
    if one.score <= most:
        return one
    return Scored(one.key, most, one.shares | {"rerank": most - one.score})
