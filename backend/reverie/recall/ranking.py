"""The candidates of a question in order: by what the arms say, and the best of them by what the reranker says too.

Either is weighed by its ranker, or by fixed weights where there is none. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from reverie.recall import fuse
from reverie.recall.features import Asked, matrix, rank, standardised
from reverie.recall.pool import Column, Places, Pool, best
from reverie.recall.ranker import Ranker
from reverie.recall.ranker import shares as ranker_shares
from reverie.recall.types import Key, Scored

LEAST_POOL: Final = 10
"""With fewer candidates fixed weights decide: the rankers have learned from a hundred at a time, and to them the best
of a handful looks like one of many that are no answer. From ten turns on they order better, and rightly say how likely
an answer is."""

SALIENCE: Final = 0.2
"""How far a trace goes towards certain whose salience is 1, and back where it is 0; 0.5, the default, is neither.

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
        self, asked: Asked, found: Pool, size: int, most: int, rankers: Mapping[str, Ranker], *, explain: bool = False
    ) -> None:
        """Weighs the ``size`` candidates that the arms think best, and orders the ``most`` best of them."""
        self._found = found
        self._rankers = rankers if len(found.keys) >= LEAST_POOL else {}
        self._explain = explain
        self._places = best(found, size)
        # Only rankers read it, and it is the dearest thing here.
        self._rows = matrix(asked, found, self._places) if self._rankers else None
        learned = self._learned("balanced", self._rows)
        self._shares = self._with_priors(self._places, learned or fuse.linear(asked, found, self._places))
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
        rows = None if self._rows is None else reranked_rows(self._rows[chosen], judged, said)
        learned = self._learned("thorough", rows)
        if learned is None:
            before = np.array([one.score for one in judged])
            shares = {name: share[chosen] for name, share in self._shares.items()}
            shares["rerank"] = RERANKED * rank(np.array(said)) * (1 - before)
        else:
            shares = self._with_priors(self._places[chosen], learned)
        first = fuse.ordered(self._found, self._places[chosen], shares, len(chosen))
        return first + [_below(one, first[-1].score) for one in self.ordered if one.key not in scores]

    def _learned(self, recipe: str, rows: npt.NDArray[np.float32] | None) -> dict[str, Column] | None:
        ranker = self._rankers.get(recipe)
        if ranker is None or rows is None or not len(rows):
            return None
        return ranker_shares(ranker, rows) if self._explain else {"ranker": ranker.scores(rows)}

    def _with_priors(self, places: Places, learned: dict[str, Column]) -> dict[str, Column]:
        score = sum(learned.values(), np.zeros(len(places)))
        rows = self._found.rows
        salience = np.array([rows[place].salience for place in places.tolist()], dtype=np.float64)
        doubt = score * (1 - score)
        return learned | {"salience": SALIENCE * (2 * salience - 1) * doubt}


def reranked_rows(
    rows: npt.NDArray[np.float32], before: Sequence[Scored], scores: Sequence[float]
) -> npt.NDArray[np.float32]:
    """The features of candidates with what the first ranking and the reranker say of them.

    Args:
        rows: float32 ``[n, len(NAMES)]``.
        before: the candidates as they were ranked.
        scores: what the reranker says of each.
    """
    likely = np.clip([one.score for one in before], 1e-6, 1 - 1e-6)
    said = np.array(scores, dtype=np.float64)
    more = (np.log(likely / (1 - likely)), said, standardised(said, said), rank(said))
    return np.concatenate([rows, np.stack(more, axis=1).astype(np.float32)], axis=1)


def _below(one: Scored, most: float) -> Scored:
    """A candidate that the reranker has not seen: not before one that it has."""
    if one.score <= most:
        return one
    return Scored(one.key, most, one.shares | {"rerank": most - one.score})
