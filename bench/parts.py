"""Measures what every part of recall is worth, over a service that remembers the conversations (`bench/worth.py`)."""

import asyncio
from collections.abc import Sequence
from itertools import combinations
from typing import Final

from bench import options
from bench.asking import Answered, answered, ask
from bench.cases import cases_of, follow_ups, of_little
from bench.client import client_of
from bench.conversations import Conversation
from bench.gather import ALL, Judged, gather, gather_without, judge
from bench.report import Report
from bench.service import Service
from bench.training import unseen
from bench.worth import (
    ARMS,
    COMPARED,
    EDGES,
    FOCUS_SIZE,
    LITTLE,
    Rankers,
    Scores,
    by_fixed_weights,
    groups,
    in_progress,
    learned,
    priors,
    show,
    thorough,
    weighed,
)  # fmt: skip
from reverie.core.config import load_settings
from reverie.core.kinds import HEADS

SEMANTIC: Final = "semantic"
MORE_HEADS: Final = tuple(name for name in HEADS if name != SEMANTIC)


def measure_parts(
    report: Report, service: Service, run: str, conversations: Sequence[Conversation],
    made: Sequence[Conversation], said: Judged,
) -> None:  # fmt: skip
    """Arms, groups of features, priors, and the focus.

    Args:
        report: where it is noted.
        service: where all conversations were loaded.
        run: the name under which they were.
        conversations: whose questions are asked.
        made: more, to learn from.
        said: what the reranker has said already; empty to leave `thorough` out.
    """
    with options.progress() as begin:
        cases = cases_of([*conversations, *made])
        arms = asyncio.run(
            gather_without(service, run, cases, "balanced", ARMS, begin("gather without each arm", len(cases)))
        )
        following = follow_ups(conversations, FOCUS_SIZE)
        followed = asyncio.run(gather(service, run, following, "balanced", begin("gather follow-ups", len(following))))
    rows = arms.pop(ALL)
    rankers = unseen(rows, COMPARED)
    scored = weighed(rows, rankers)
    everything = {ALL: [answered(row, scores) for row, scores in scored]}
    show(report, "balanced with a prior", priors(conversations, scored), added=True)
    after = in_progress(following, weighed(followed, rankers))
    show(report, "balanced, after a conversation in progress", after, added=True)
    show(report, "balanced without an arm", everything | {name: learned(found) for name, found in arms.items()})
    show(report, "balanced by fixed weights", by_fixed_weights(scored))
    for size in LITTLE:
        few = _weighed_of_little(service, run, conversations, rankers, size)
        show(report, f"balanced by fixed weights, of {size} turns", by_fixed_weights(few))
    show(report, "balanced without a group of features", everything | groups(rows))
    if said:
        show(report, "thorough without an arm", _without_edges(service, run, conversations, rankers, said))


def _weighed_of_little(
    service: Service, run: str, conversations: Sequence[Conversation], rankers: Rankers, size: int
) -> Scores:
    cases = of_little(conversations, (size,))
    with options.progress() as begin:
        advance = begin(f"gather, of {size} turns", len(cases))
        return weighed(asyncio.run(gather(service, run, cases, "balanced", advance)), rankers)


def _without_edges(
    service: Service, run: str, conversations: Sequence[Conversation], rankers: Rankers, said: Judged
) -> dict[str, list[Answered]]:
    """What `thorough` finds, and what without edges and without the reranker."""
    cases = cases_of(conversations)
    with options.progress() as begin:
        rows = asyncio.run(
            gather_without(service, run, cases, "thorough", EDGES, begin("gather without edges", len(cases)))
        )
        scored = {name: weighed(found, rankers) for name, found in rows.items()}
        for name, found in scored.items():
            said = asyncio.run(judge(service, conversations, found, begin(f"judge, {name}", len(found)), said))
    answers = thorough(scored, said, load_settings().rerank_candidates)
    return answers | {"the reranker": [answered(row, scores) for row, scores in scored[ALL]]}


def measure_heads(
    report: Report, service: Service, run: str, conversations: Sequence[Conversation], made: Sequence[Conversation]
) -> None:
    """Every head alone, and beside ``semantic``; all of them were made by the service."""
    sets = [[SEMANTIC], *([name] for name in MORE_HEADS)]
    sets += [[SEMANTIC, *more] for n in range(1, len(MORE_HEADS) + 1) for more in combinations(MORE_HEADS, n)]
    alone, weighed = dict[str, list[Answered]](), dict[str, list[Answered]]()
    with options.progress() as begin, client_of(service) as client:
        for heads in sets:
            name = _name(heads)
            total = sum(len(one.questions) for one in conversations)
            alone[name] = ask(client, run, conversations, "vector", begin(f"ask, {name}", total), heads=heads)
            cases = cases_of([*conversations, *made], heads=heads)
            if SEMANTIC in heads:
                rows = asyncio.run(gather(service, run, cases, "balanced", begin(f"gather, {name}", len(cases))))
                weighed[name] = learned(rows)
    show(report, "vector by other heads than semantic", alone, added=True)
    show(report, "balanced by more heads", weighed, added=True)


def _name(heads: Sequence[str]) -> str:
    return ALL if list(heads) == [SEMANTIC] else " + ".join(heads)
