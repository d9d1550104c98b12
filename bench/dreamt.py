"""What nights add to what the ranker finds, by stage: gathered questions, weighed by rankers with and without.

Both learn of the same candidates of the same dreamt memory and are asked about conversations that they have not seen,
by several seeds; the answers of a question are averaged over these. Who has too few summaries is answered by the ranker
without, as recall does it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from bench import options
from bench.asking import METRICS, Answered, answered, difference, mean
from bench.conversations import CATEGORIES
from bench.gather import ALL, Gathered
from bench.made import MADE
from bench.report import Bar, Report, Spread, print_table
from bench.training import held_out
from reverie.recall.features import NIGHT_GROUPS

NOTHING: Final = "no night"

LEFT_OUT: Final[Mapping[str, frozenset[str]]] = {
    ALL: frozenset(),
    "no salience": frozenset(NIGHT_GROUPS["importance"]),
    "no summaries": frozenset(NIGHT_GROUPS["summaries"]),
}
"""What is left out of what nights have made, by its stage; the others say nothing of a single candidate."""

MULTI_HOP: Final = 1
LEAST_MULTI_HOP: Final = 0.015
"""The category whose questions nights are for, and what they have to gain in the mean."""


def measure_nights(report: Report, rows: Sequence[Gathered], seeds: int, count: int | None) -> None:
    """Prints and notes what nights add, in all and by stage. The first collection has to gain, no other may lose.

    Args:
        report: where it is noted.
        rows: the questions, of a dreamt memory.
        seeds: how many.
        count: of folds, as :func:`bench.training.folds` has it.
    """
    asked = sum(not row.collection.startswith(MADE) for row in rows)
    with options.progress() as begin:
        advance = begin("leave one out, with nights and without", seeds * (1 + len(LEFT_OUT)) * asked)
        drawn: dict[str, list[list[Answered]]] = {name: [] for name in (NOTHING, *LEFT_OUT)}
        for seed in range(seeds):
            drawn[NOTHING].append(_answers(rows, seed, count))
            advance(asked)
            for name, left in LEFT_OUT.items():
                told = _answers([row.with_night().without(left) for row in rows], seed, count)
                drawn[name].append(_where_told(rows, told, drawn[NOTHING][-1]))
                advance(asked)
    found = {name: averaged(several) for name, several in drawn.items()}
    for number, collection in enumerate(dict.fromkeys(one.collection for one in found[ALL])):
        _show(report, collection, found, gains=number == 0)


def _answers(rows: Sequence[Gathered], seed: int, count: int | None) -> list[Answered]:
    return [answered(row, scores) for row, scores in held_out(rows, seed, count)]


def _where_told(rows: Sequence[Gathered], told: Sequence[Answered], plain: Sequence[Answered]) -> list[Answered]:
    """The answers of questions to which summaries say something, and of the others those without."""
    silent = {row.question for row in rows if row.dreamt is None}
    return [
        without if (one.collection, one.conversation, one.number) in silent else one
        for one, without in zip(told, plain, strict=True)
    ]


def averaged(several: Sequence[Sequence[Answered]]) -> list[Answered]:
    """The mean of several lists of answers to the same questions."""
    return [
        replace(
            same[0],
            r5=float(np.mean([one.r5 for one in same])),
            r10=float(np.mean([one.r10 for one in same])),
            rr=float(np.mean([one.rr for one in same])),
        )
        for same in zip(*several, strict=True)
    ]


def _show(report: Report, collection: str, found: Mapping[str, Sequence[Answered]], *, gains: bool) -> None:
    parts = {"all": None} | {name: number for number, name in CATEGORIES.items()}
    table = []
    for part, category in parts.items():
        of = {
            name: [one for one in answers if one.collection == collection and category in (None, one.category)]
            for name, answers in found.items()
        }
        if not of[ALL]:
            continue
        gain, low, high = difference(of[ALL], of[NOTHING], "R@10")
        lost = {name: difference(of[ALL], of[name], "R@10") for name in LEFT_OUT if name != ALL}
        report.rows.append(
            {"collection": collection, "nights": part, "questions": len(of[ALL])}
            | {"gain": gain, "low": low, "high": high, "lost": lost}
            | {metric: {name: mean(answers, metric) for name, answers in of.items()} for metric in METRICS}
        )  # fmt: skip
        first = difference(of[ALL], of[NOTHING], "MRR")
        table.append(
            [part, str(len(of[ALL])), f"{mean(of[NOTHING], 'R@10'):.3f}", f"{mean(of[ALL], 'R@10'):.3f}"]
            + [f"{by:+.4f} [{lo:+.3f},{hi:+.3f}]" for by, lo, hi in ((gain, low, high), first, *lost.values())]
        )  # fmt: skip
        if category is None or gains:
            report.bars += _bars(f"{collection}, {part}: R@10 more with nights", gain, low, high, category, gains=gains)
    columns = [collection, "questions", "without", "with nights", "more", "MRR more"]
    columns += [f"lost, {name}" for name in LEFT_OUT if name != ALL]
    print_table(columns, table, "R@10 with what nights have made, and 95 % intervals")


def _bars(what: str, gain: float, low: float, high: float, category: int | None, *, gains: bool) -> list[Bar]:
    spread = Spread(gain, low, high)
    bars = [Bar(f"{what}, upper bound", high, "at least", 0, spread=spread)]
    if gains and category is None:
        bars.append(Bar(f"{what}, lower bound", low, "at least", 0, spread=spread))
    if gains and category == MULTI_HOP:
        bars.append(Bar(what, gain, "at least", LEAST_MULTI_HOP, spread=spread))
    return bars
