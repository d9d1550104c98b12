"""What each part of recall is worth: what would be found without it.

Every arm and every group of features is left out of the candidates that were gathered, and of what the ranker learns
from; rankers are asked about conversations that they have not seen. Priors and the folding of repetitions are computed
anew as the service computes them (`recall/ranking.py`, `recall/fold.py`).
"""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np

from bench.asking import DEPTH, METRICS, Answered, answered, difference, judged_row, mean
from bench.cases import Case, in_focus
from bench.conversations import Conversation
from bench.gather import ALL, TIMES, Floats, Gathered, Judged, reranked
from bench.made import MADE
from bench.report import Report, print_table
from bench.training import Trained, unseen
from reverie.recall.features import GROUPS
from reverie.recall.fold import said_once
from reverie.recall.pipeline import SPARE
from reverie.recall.ranking import SALIENCE, both
from reverie.recall.types import Key, Trace

ARMS: Final[Mapping[str, frozenset[str]]] = {
    ALL: frozenset(),
    "semantic": frozenset({"semantic", "dated"}),
    "lexical": frozenset({"lexical"}),
    "dated": frozenset({"dated"}),
    "times in the question": frozenset({"dated", TIMES}),
}
"""What is left out of `balanced`: the dated arm is the semantic one within the times that the question names."""

EDGES: Final[Mapping[str, frozenset[str]]] = {ALL: frozenset(), "edges": frozenset({"edges"})}
"""What is left out of `thorough` beside."""

HALF_LIFE: Final = 30.0
"""Days after which a trace would count half, if what is newer were preferred."""

FOCUS_WEIGHTS: Final = (0.02, 0.1, 0.3)
"""How far towards certain the newest trace in focus would go, were the focus weighed: recall does not weigh it."""

FOCUS_SIZE: Final = 32
"""Traces in focus: REDIS_FOCUS_SIZE, unless it is set."""

MARKED: Final = 0.5
OTHERS_MARKED: Final = 0.1
"""The shares of what is asked for, and of all else, that a caller who knows what matters marks as salient."""

COMPARED: Final = 3
"""Folds of rankers that are compared with one another only."""

LITTLE: Final = (10, 20, 40)
"""Turns of memories that have not grown yet."""

Scores = list[tuple[Gathered, Floats]]
Rankers = Mapping[tuple[str, str], Trained]


def show(report: Report, what: str, found: Mapping[str, Sequence[Answered]], *, added: bool = False) -> None:
    """Prints and notes what is found, and the differences from :data:`ALL`: lost without a part, or gained by it.

    Args:
        report: where it is noted.
        what: is left out of, or ``added`` to, what the others have.
        found: the answers, by the names of the parts.
        added: whether the parts are added.
    """
    change = "gained" if added else "lost"
    for collection in dict.fromkeys(one.collection for one in found[ALL]):
        everything = [one for one in found[ALL] if one.collection == collection]
        table = []
        for name, answers in found.items():
            here = [one for one in answers if one.collection == collection]
            pair = (here, everything) if added else (everything, here)
            values = {metric: mean(here, metric) for metric in METRICS}
            changed = {metric: difference(*pair, metric) for metric in METRICS}
            report.rows.append(
                {"collection": collection, "worth": what, "part": name, "questions": len(here)}
                | values | {change: changed}
            )  # fmt: skip
            cells = [f"{by:+.3f} [{low:+.3f},{high:+.3f}]" if name != ALL else "" for by, low, high in changed.values()]
            table.append([name, f"{values['R@10']:.3f}", *cells])
        columns = [f"{len(everything)} questions", "R@10", *(f"{metric} {change}" for metric in METRICS)]
        print_table(columns, table, f"{collection}: {what}")


def weighed(rows: Sequence[Gathered], rankers: Rankers) -> Scores:
    """The questions that people asked, with what rankers that have not seen their conversations make of them."""
    return [(row, rankers[row.question[:2]].scores(row)) for row in rows if not row.collection.startswith(MADE)]


def by_fixed_weights(scored: Scores) -> dict[str, list[Answered]]:
    """What is found, and what by fixed weights in place of the ranker."""
    return {
        ALL: [answered(row, scores) for row, scores in scored],
        "the ranker": [answered(row, row.fixed) for row, _ in scored],
    }


def learned(rows: Sequence[Gathered]) -> list[Answered]:
    """What rankers that have not seen the conversation find, of the questions that people asked."""
    return [answered(row, scores) for row, scores in weighed(rows, unseen(rows, COMPARED))]


def groups(rows: Sequence[Gathered]) -> dict[str, list[Answered]]:
    """What is found without each group of features."""
    return {name: learned([row.without(features) for row in rows]) for name, features in GROUPS.items()}


def thorough(scored: Mapping[str, Scores], said: Judged, most: int) -> dict[str, list[Answered]]:
    """What `thorough` finds without some arms.

    Args:
        scored: the questions with what the first ranking makes of their candidates, by what was left out.
        said: what the reranker says.
        most: how many candidates it judges.
    """
    found = {}
    for name, rows in scored.items():
        seen = [reranked(row, scores, said, most) for row, scores in rows]
        found[name] = [answered(row, both(row.first, scores)) for row, scores in weighed(seen, unseen(seen, COMPARED))]
    return found


def priors(conversations: Sequence[Conversation], scored: Scores) -> dict[str, list[Answered]]:
    """What is found with each prior beside what the ranker says, where it says something: not of these collections.

    All their traces are equally salient; so it is measured what salience does that is said at random, and what if it
    is said by a caller who knows what will matter.
    """
    at = {(one.collection, one.name): one for one in conversations}
    days = {name: _ages(one) for name, one in at.items()}
    focus = {name: focus_of(in_focus(one, FOCUS_SIZE)) for name, one in at.items()}
    random_marks = {name: _random(one) for name, one in at.items()}
    good_marks = {name: _knowing(one) for name, one in at.items()}

    def told(column: Mapping[tuple[str, str], Mapping[str, float]], weight: float) -> list[Answered]:
        return [_with(row, scores, column[row.question[:2]], weight) for row, scores in scored]

    return {
        ALL: [answered(row, scores) for row, scores in scored],
        "with the focus": told(focus, FOCUS_WEIGHTS[0]),
        "with salience at random": told(random_marks, SALIENCE),
        "with salience of what matters": told(good_marks, SALIENCE),
        "with recency": told(days, SALIENCE),
        "with folding": [_folded(at[row.question[:2]], row, scores) for row, scores in scored],
    }


def in_progress(cases: Sequence[Case], scored: Scores) -> dict[str, list[Answered]]:
    """What questions that follow a conversation in progress find with the focus and without.

    Args:
        cases: the questions.
        scored: their candidates with what the ranker makes of them, in the same order.
    """
    columns = [focus_of(case.focus) for case in cases]
    return {ALL: [answered(row, scores) for row, scores in scored]} | {
        f"with the focus at {weight:g}": [
            _with(row, scores, column, weight) for (row, scores), column in zip(scored, columns, strict=True)
        ]
        for weight in FOCUS_WEIGHTS
    }


def focus_of(names: Sequence[str]) -> dict[str, float]:
    """How much each trace in focus counts, as `recall/arms.py` has it; the newest is named first."""
    return {name: 1 / (1 + rank) for rank, name in enumerate(names)}


def _with(row: Gathered, scores: Floats, column: Mapping[str, float], weight: float) -> Answered:
    """A prior moves those most of which the ranker is least sure, as `recall/ranking.py` has it."""
    said = np.array([column.get(name, 0.0) for name in row.names])
    return answered(row, scores + weight * said * scores * (1 - scores))


def _folded(conversation: Conversation, row: Gathered, scores: Floats) -> Answered:
    contents = {trace["external_id"]: trace for trace in conversation.traces}
    order = (-scores).argsort(kind="stable")[: DEPTH + SPARE]
    read = [_trace(row.keys[place], str(place), contents[row.names[place]]) for place in order]
    once = [int(trace.id) for trace, _ in said_once(read)]
    return _placed(row, once)


def _placed(row: Gathered, places: Sequence[int]) -> Answered:
    left = [place for place in np.flatnonzero(row.evidence) if place not in set(places)]
    names = [str(place) if row.evidence[place] else None for place in places]
    return judged_row(row, [*names, *[None] * DEPTH, *(str(place) for place in left)])


def _trace(key: Key, place: str, told: Mapping[str, str]) -> Trace:
    moment = datetime.now(UTC)
    return Trace(key, place, "", None, told["content"], "turn", None, told.get("speaker"), None, moment, None, 0.5, {})


def _ages(conversation: Conversation) -> dict[str, float]:
    """1 for what is newest, -1 for what is very old, 0 after :data:`HALF_LIFE`."""
    moments = {one["external_id"]: datetime.fromisoformat(one["occurred_at"]) for one in conversation.traces}
    newest = max(moments.values())
    return {
        name: 2 * 0.5 ** ((newest - moment).total_seconds() / 86_400 / HALF_LIFE) - 1
        for name, moment in moments.items()
    }


def _random(conversation: Conversation) -> dict[str, float]:
    rng = random.Random(f"salience {conversation.name}")
    return {one["external_id"]: rng.uniform(-1, 1) for one in conversation.traces}


def _knowing(conversation: Conversation) -> dict[str, float]:
    rng = random.Random(f"marks {conversation.name}")
    wanted = frozenset[str]().union(*(one.evidence for one in conversation.questions))
    marked = {
        one["external_id"]
        for one in conversation.traces
        if rng.random() < (MARKED if one["external_id"] in wanted else OTHERS_MARKED)
    }
    return dict.fromkeys(marked, 1.0)
