"""Asking every question of a collection over HTTP, and how well it was answered."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from bench.client import Client
from bench.conversations import Conversation
from bench.gather import Floats, Gathered, user_of
from reverie.recall.recipes import RecipeName

DEPTH: Final = 20
"""Results of each question; a first piece of evidence beyond them counts as none."""

RESAMPLES: Final = 10_000

Metric = str
METRICS: Final[tuple[Metric, ...]] = ("R@5", "R@10", "MRR")


@dataclass(frozen=True, slots=True)
class Answered:
    """How well a question was answered: the share of its evidence among the first 5 and 10, and the reciprocal rank of
    the first of it among the first 20 (0 if there is none)."""

    collection: str
    conversation: str
    number: int
    category: int
    r5: float
    r10: float
    rr: float
    seconds: float

    def value(self, metric: Metric) -> float:
        """The value of one of METRICS."""
        return {"R@5": self.r5, "R@10": self.r10, "MRR": self.rr}[metric]

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def judged(found: Sequence[str | None], evidence: frozenset[str]) -> tuple[float, float, float]:
    """(R@5, R@10, reciprocal rank) of results, given by their external ids."""
    ranks = [rank for rank, one in enumerate(found[:DEPTH]) if one in evidence]
    shares = [sum(rank < k for rank in ranks) / len(evidence) for k in (5, 10)]
    return shares[0], shares[1], 1 / (1 + ranks[0]) if ranks else 0.0


def answered(row: Gathered, scores: Floats) -> Answered:
    """How well a question would be answered by its candidates in the order of their scores."""
    order = (-scores).argsort(kind="stable")
    return judged_row(row, [str(place) if row.evidence[place] else None for place in order])


def judged_row(row: Gathered, names: Sequence[str | None]) -> Answered:
    """How well a question would be answered by results, named where they are evidence."""
    # Evidence that no arm found counts as missed.
    wanted = frozenset(name for name in names if name) | {f"missed {n}" for n in range(row.wanted - row.evidence.sum())}
    r5, r10, rr = judged(names, wanted)
    return Answered(row.collection, row.conversation, row.number, row.category, r5, r10, rr, 0.0)


def ask(
    client: Client,
    run: str,
    conversations: Sequence[Conversation],
    recipe: RecipeName,
    advance: Callable[[int], Any],
    **more: Any,
) -> list[Answered]:
    """Asks all questions of conversations that were loaded as ``run``, one at a time."""
    found = []
    for conversation in conversations:
        user = user_of(run, conversation)
        for number, asked in enumerate(conversation.questions):
            results, seconds = client.ask(user, asked.text, recipe=recipe, k=DEPTH, **more)
            r5, r10, rr = judged([one["external_id"] for one in results], asked.evidence)
            found.append(
                Answered(conversation.collection, conversation.name, number, asked.category, r5, r10, rr, seconds)
            )
            advance(1)
    return found


def mean(rows: Sequence[Answered], metric: Metric) -> float:
    """The mean of a metric over questions."""
    return float(np.mean([row.value(metric) for row in rows])) if rows else 0.0


def difference(rows: Sequence[Answered], others: Sequence[Answered], metric: Metric) -> tuple[float, float, float]:
    """The mean of ``rows`` less that of ``others``, question by question, with its 95 % interval.

    A paired bootstrap over questions (Efron and Tibshirani, 1993) with a fixed seed.
    """
    by_question = {(row.collection, row.conversation, row.number): row for row in others}
    pairs = [(row, by_question[row.collection, row.conversation, row.number]) for row in rows]
    gains = np.array([one.value(metric) - other.value(metric) for one, other in pairs])
    drawn = np.random.default_rng(0).integers(0, len(gains), (RESAMPLES, len(gains)))
    means = gains[drawn].mean(axis=1)
    return float(gains.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
