"""How well the estimate of salience tells what is asked for later from what is not.

A turn of a conversation counts as worth keeping if it is evidence of any question. Each day is weighed as the night
weighs it, from its own words and those of earlier days alone. Reported are the AUC (of all pairs of a turn that is
evidence and one that is not, the share that the estimate puts in this order), and how much of the evidence lies in the
least fifth of the turns; by the weights that Reverie carries, and by weights that were fitted to all other
conversations and rounded like these.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import typer

from bench import options
from bench.conversations import Conversation, read_collection
from bench.report import Bar, new_report, print_table
from reverie.dream.salience import LOOK_BACK
from reverie.text.salience import OFFSET, WEIGHTS, Features, Said, features

AUC: Final = 0.75
LEAST: Final = 0.2
MOST_IN_LEAST: Final = 0.05
"""The bars: a conversation's AUC at least, and how much of its evidence the least fifth may hold."""

AUC_BESIDE: Final = 0.6
"""The bar of what is only looked at beside: what a person asks of an assistant is mostly no evidence either."""

STEP: Final = 4
"""Weights are rounded to quarters."""

RIDGE: Final = 1.0
"""Keeps fitted weights small: its half times the sum of their squares is added to the loss."""

NEWTON_STEPS: Final = 25

LOW: Final = 0.3
"""MEMORY_LOW_SALIENCE: what lies below keeps its first vector alone when it is not hot any more."""

Column: TypeAlias = npt.NDArray[np.float64]

CARRIED: Final[Column] = np.array(WEIGHTS)


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of a conversation: ``told`` is float64 ``[n, features]``, ``evidence`` whether each is some."""

    name: str
    told: npt.NDArray[np.float64]
    evidence: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """``auc``, and ``least``: the share of the evidence that lies in the least fifth."""

    auc: float
    least: float


Data = Annotated[list[Path], typer.Option("--data", exists=True, help="Conversations for which the bars hold.")]
Beside = Annotated[
    list[Path] | None, typer.Option("--beside", exists=True, help="Others, looked at beside, with a bar of their own.")
]


def salience(data: Data, beside: Beside = None, json: options.Json = None, check: options.Check = False) -> None:
    """Measure the estimated salience against what is asked for later."""
    report = new_report("salience", {"data": [*map(str, data)], "beside": [*map(str, beside or [])]})
    own, others = read_all(data), read_all(beside or [])
    everyone = [*own, *others]
    fitted = [rounded(fit(everyone[:number] + everyone[number + 1 :])) for number in range(len(everyone))]
    found = [(judged([one], CARRIED), judged([one], weights)) for one, weights in zip(everyone, fitted, strict=True)]
    report.rows = [
        {
            "conversation": one.name, "turns": len(one.evidence), "evidence": int(one.evidence.sum()),
            "carried": asdict(carried), "fitted_to_the_others": asdict(left_out) | {"weights": weights.tolist()},
        }
        for one, weights, (carried, left_out) in zip(everyone, fitted, found, strict=True)
    ]  # fmt: skip
    _print(everyone, found)
    _print_weights(fit(everyone))
    report.bars = [*_bars(own, found), *_beside(others)]
    estimates = np.concatenate([one.told @ CARRIED for one in own]) + OFFSET
    low = estimates < math.log(LOW / (1 - LOW))
    kept = np.concatenate([one.evidence for one in own])
    typer.echo(f"Below {LOW:g} lie {low.mean():.1%} of the turns, and {low[kept].mean():.1%} of the evidence.")
    report.print_bars()
    options.finish(report, json, check)


def read_all(paths: Sequence[Path]) -> list[Turns]:
    """The conversations of files, with what is told of each turn."""
    return [turns_of(one) for path in paths for one in read_collection(path)]


def turns_of(conversation: Conversation) -> Turns:
    """What is told of the turns of a conversation, day by day."""
    days: dict[date, dict[str, list[dict[str, Any]]]] = {}
    for trace in conversation.traces:
        day = days.setdefault(datetime.fromisoformat(trace["occurred_at"]).date(), {})
        day.setdefault(trace["conversation_id"], []).append(trace)
    told: dict[str, Features] = {}
    before: deque[Said] = deque(maxlen=LOOK_BACK)
    for _, spoken in sorted(days.items()):
        said = [[_said(trace) for trace in traces] for traces in spoken.values()]
        for traces, numbers in zip(spoken.values(), features(said, before), strict=True):
            told |= {trace["external_id"]: found for trace, found in zip(traces, numbers, strict=True)}
        before.extend(chain.from_iterable(said))
    evidence = frozenset[str]().union(*(question.evidence for question in conversation.questions))
    ids = [trace["external_id"] for trace in conversation.traces]
    return Turns(
        conversation.name, np.array([told[one] for one in ids], np.float64), np.array([one in evidence for one in ids])
    )


def _said(trace: dict[str, Any]) -> Said:
    return Said(trace["content"], "english", trace["role"], trace["speaker"])


def judged(conversations: Sequence[Turns], weights: Column) -> Judged:
    """How well weights order the turns of some conversations together."""
    scores = np.concatenate([one.told @ weights for one in conversations])
    evidence = np.concatenate([one.evidence for one in conversations])
    others = np.sort(scores[~evidence])
    below = np.searchsorted(others, scores[evidence], "left")
    level = np.searchsorted(others, scores[evidence], "right") - below
    least = np.argsort(scores, kind="stable")[: int(LEAST * len(scores))]
    return Judged(float((below + level / 2).mean() / len(others)), float(evidence[least].sum() / evidence.sum()))


def fit(conversations: Sequence[Turns]) -> Column:
    """The weights of a logistic function that tells evidence from the rest, by Newton's method.

    Every turn that is evidence counts once, and all others of its conversation together as much as these.
    """
    told = np.concatenate([one.told for one in conversations])
    wanted = np.concatenate([one.evidence for one in conversations]).astype(np.float64)
    counts = np.concatenate(
        [np.where(one.evidence, 1.0, one.evidence.sum() / (~one.evidence).sum()) for one in conversations]
    )
    rows = np.column_stack([told, np.ones(len(told))])
    ridge = np.diag([RIDGE] * told.shape[1] + [0.0])
    weights = np.zeros(rows.shape[1])
    for _ in range(NEWTON_STEPS):
        likely = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (counts * (likely - wanted)) + ridge @ weights
        bend = (rows * (counts * likely * (1 - likely))[:, None]).T @ rows + ridge
        weights -= np.linalg.solve(bend, slope)
    return np.asarray(weights[:-1])


def rounded(weights: Column) -> Column:
    """As the carried weights are."""
    return np.round(weights * STEP) / STEP


def _bars(own: Sequence[Turns], found: Sequence[tuple[Judged, Judged]]) -> list[Bar]:
    together = judged(own, CARRIED)
    bars = [
        Bar("AUC, all together", together.auc, "at least", AUC),
        Bar("evidence in the least fifth, all together", together.least, "at most", MOST_IN_LEAST),
    ]
    for name, place in (("carried weights", 0), ("weights fitted to the others", 1)):
        of_own = [both[place] for both in found[: len(own)]]
        bars.append(Bar(f"least AUC of one, {name}", min(one.auc for one in of_own), "at least", AUC))
        bars.append(
            Bar(f"most evidence in its least fifth, {name}", max(one.least for one in of_own), "at most", MOST_IN_LEAST)
        )
    return bars


def _beside(others: Sequence[Turns]) -> list[Bar]:
    return [Bar("AUC, those beside together", judged(others, CARRIED).auc, "at least", AUC_BESIDE)] if others else []


def _print(everyone: Sequence[Turns], found: Sequence[tuple[Judged, Judged]]) -> None:
    print_table(
        ["conversation", "turns", "evidence", "AUC", "in the least fifth", "AUC, left out", "in the least fifth"],
        [
            (
                one.name, f"{len(one.evidence):,}", f"{one.evidence.sum():,}", f"{carried.auc:.3f}",
                f"{carried.least:.1%}", f"{left_out.auc:.3f}", f"{left_out.least:.1%}",
            )
            for one, (carried, left_out) in zip(everyone, found, strict=True)
        ],
        "Evidence told from the rest: by the carried weights, and by those fitted to the others",
    )  # fmt: skip


def _print_weights(fitted: Column) -> None:
    print_table(
        ["feature", "carried", "fitted to all"],
        [
            (name, f"{carried:g}", f"{weight:.2f}")
            for name, carried, weight in zip(Features._fields, CARRIED, fitted, strict=True)
        ],
        "Weights",
    )


if __name__ == "__main__":
    options.run(salience)
