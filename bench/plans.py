"""What the ways of searching cost: the constants of recall's planner, measured anew on this machine.

Two users, one several times as large as the other, each asked in every way. What grows with the rows, the candidates or
the ids comes from the difference of two measurements, each the least of several: what else the machine is busy with
only adds. Then it is seen whether the plan that is chosen for users of some sizes is the one that takes least.

With ``--explain`` also one question for each plan as `reverie recall --explain` answers it: a small user's from what is
held and with MEMORY_HELD_MB=0 exactly, the large user's with MEMORY_HNSW=never by its bits and with MEMORY_HNSW=always
by its graphs.
"""

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated, Final

import numpy as np
import typer

from bench import options, store
from bench.client import client_of
from bench.plan import find
from bench.report import Bar, CannotMeasure, Report, new_report, print_table
from bench.service import Service, api_beside, named, service_at
from bench.tenants import Bench, Question, Size, encode
from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.core.kinds import HEADS, KINDS, RECALLED_KINDS
from reverie.memories.model import Model
from reverie.recall import planner, vectors
from reverie.recall.indexes import Indexes
from reverie.recall.planner import Built, Leg, Plan, choose
from reverie.recall.types import Bounds

DEPTH: Final = 100
FEW: Final = 200
MANY: Final = 1000
"""Candidates of bits, values of ef_search, and ids, between which the difference is taken."""

TOLERANCE: Final = 2.0
SLOWER: Final = 1.3
"""What is chosen may take so many times as long as the fastest way: near the size where two ways cost the same, either
is good."""

SMALL: Final = 900
"""Traces of a user for whom nothing is built even with MEMORY_HNSW=always."""

SMALLER, LARGER, MIDDLE, SMALLEST = range(4)
"""The users: what grows is measured between the first two."""

NOBODY: Final = "Nobody here is searched by this plan: another is estimated to take less."
"""By bits where few rows need many candidates: with a few thousand that depends on whose vectors are drawn."""

NEVER: Final = datetime(1970, 1, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is asked, and what is built for them."""

    database: Database
    space_id: uuid.UUID
    bounds: Bounds
    model: Model
    whole: Built
    graphs: list[Built]
    questions: list[Question]
    rounds: int

    async def least(self, plan: Plan, bounds: Bounds | None = None) -> float:
        """Microseconds of a plan: for each question the least of the rounds, of these the mean."""
        asked = bounds or self.bounds
        taken = [[await self._seconds(plan, asked, one) for _ in range(self.rounds)] for one in self.questions]
        return 1e6 * float(np.mean([min(rounds) for rounds in taken]))

    async def _seconds(self, plan: Plan, bounds: Bounds, question: Question) -> float:
        asked = vectors.query(plan, bounds, question.vector, self.model, DEPTH)
        began = time.perf_counter()
        await vectors.ask(self.database, self.space_id, asked, plan, DEPTH, 60.0)
        return time.perf_counter() - began

    @property
    def graph(self) -> Built:
        """The largest graph."""
        return max(self.graphs, key=attrgetter("rows"))

    def leg(self, method: planner.Method, looks: int = 0) -> Plan:
        """All of the partition that holds the user, in one way."""
        one = self.graph if method == "hnsw" else self.whole
        return Plan((Leg(method, (one.user_id,), (one.head,), one.lower, one.upper, looks=looks),))

    def ways(self) -> dict[planner.Method, Plan]:
        """The plan of each way, as recall would carry it out."""
        known = {self.whole.user_id: [self.whole, *self.graphs]}
        return {
            "exact": self.leg("exact"),
            "bits": self.leg("bits", self.whole.looks),
            "hnsw": choose(self.bounds, known, self.model.dim, DEPTH, "always"),
        }

    def chosen(self) -> planner.Method:
        """The plan that recall chooses."""
        known = {self.whole.user_id: [self.whole, *self.graphs]}
        return choose(self.bounds, known, self.model.dim, DEPTH).name


@dataclass(frozen=True, slots=True)
class Choice:
    """Microseconds of each way for a user of so many traces, and the way that recall chooses."""

    rows: int
    chosen: planner.Method
    taken: dict[planner.Method, float]

    @property
    def slower(self) -> float:
        """So many times the fastest way is what is chosen."""
        return self.taken[self.chosen] / min(self.taken.values())


def plans(
    rows: Annotated[int, typer.Option(help="Traces of the larger user; the other has a fifth of them.")] = 50_000,
    rounds: Annotated[int, typer.Option(help="How often each question is asked in each way.")] = 7,
    seed: int = 1,
    explain: Annotated[bool, typer.Option("--explain", help="Also print how one question for each plan went.")] = False,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """The constants of the planner of recall, measured anew."""
    rows, rounds, texts, questions = (6_000, 2, 64, 4) if quick else (rows, rounds, 3000, 20)
    report = new_report("plans", {"rows": rows, "rounds": rounds, "seed": seed})
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        begin("Starting the service", 0)
        # By any other mode the worker takes back what is built here for users who are not large.
        service = stack.enter_context(service_at(named(url, key, database_url), MEMORY_HNSW="always"))
        report.ask_versions(service.database_url)
        drawn, asked = encode(seed, texts, questions, begin("Encoding", texts + questions))
        client = stack.enter_context(client_of(service))
        bench = Bench(client, drawn, uuid.uuid4().hex[:8])
        sizes = [Size(count, [number]) for number, count in enumerate((rows // 5, rows, rows // 2, SMALL))]
        if not service.own:
            for number in range(len(sizes)):
                stack.callback(client.forget, bench.user(number))
        advance = begin("Remembering", sum(size.traces for size in sizes))
        for number, size in enumerate(sizes):
            bench.load(size, number, advance)
        begin("Building and asking", 0)
        store.build(service.database_url, "always")
        store.vacuum(service.database_url)
        measured, choices = asyncio.run(_run(bench, service.database_url, asked, rounds))
        told = _explained(bench, service, asked[0]) if explain else {}
    _judge(report, measured)
    _judge_choices(report, choices)
    report.print_bars()
    for plan, text in told.items():
        typer.echo(f"\n{plan}\n{text}")
    options.finish(report, json, check)


async def _run(
    bench: Bench, database_url: str, asked: list[Question], rounds: int
) -> tuple[dict[str, float], list[Choice]]:
    database = Database(load_settings(database_url=database_url))
    await database.open()
    try:
        found = [await find(database, bench.user(number)) for number in (SMALLER, LARGER, MIDDLE)]
        users = [await _user(database, one, asked, rounds) for one in found]
        return await _measure(users[SMALLER], users[LARGER]), [await _choice(user) for user in users]
    finally:
        await database.close()


async def _choice(user: User) -> Choice:
    taken = {name: await user.least(plan) for name, plan in user.ways().items()}
    return Choice(user.whole.rows, user.chosen(), taken)


def _explained(bench: Bench, service: Service, question: Question) -> dict[str, str]:
    """Plan → what `reverie recall --explain` prints for a question that is answered by it; NOBODY where none is.

    Raises:
        CannotMeasure: it is answered by another plan, and not because that one is estimated to take less.
    """
    told = {}
    for plan, users, setting in (
        ("held", (SMALLEST,), {}),
        ("exact", (SMALLEST,), {"MEMORY_HELD_MB": "0"}),
        ("bits", (LARGER, MIDDLE), {"MEMORY_HNSW": "never"}),
        ("hnsw", (LARGER,), {"MEMORY_HNSW": "always"}),
    ):
        with api_beside(service, **setting) as beside:
            # Who asks for the first time is searched in PostgreSQL.
            printed = [[_explain(beside, bench.user(user), question) for _ in range(2)][-1] for user in users]
        told[plan] = next((text for text in printed if f"plan of the vectors: {plan}" in text), NOBODY)
        if told[plan] == NOBODY and plan != "bits":
            raise CannotMeasure(f"The question for the plan {plan} was answered by another:\n{printed[0]}")
    return told


def _explain(service: Service, user: str, question: Question) -> str:
    command = [sys.executable, "-m", "reverie", "recall", question.text, "--user", user, "-k", "5", "--explain"]
    keys = {"REVERIE_URL": service.url, "REVERIE_KEY": service.key, "COLUMNS": "160"}
    done = subprocess.run(  # noqa: S603 - ourselves
        command, env=os.environ | keys, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotMeasure(f"`reverie recall --explain` failed: {done.stderr.strip()}")
    return f"$ reverie recall {question.text!r} --user {user} -k 5 --explain\n{done.stdout}"


async def _user(
    database: Database, found: tuple[uuid.UUID, uuid.UUID, Model], asked: list[Question], rounds: int
) -> User:
    space_id, user_id, model = found
    known = (await Indexes(database, "always").of(model.id, [user_id])).get(user_id, [])
    whole = [one for one in known if one.method == "bits"]
    graphs = [one for one in known if one.method == "hnsw"]
    if len(whole) != 1 or not graphs:
        raise CannotMeasure("Not everything could be built: name a store that nobody else writes to.")
    bounds = Bounds([user_id], [KINDS[kind] for kind in RECALLED_KINDS], [HEADS["semantic"]])
    return User(database, space_id, bounds, model, whole[0], graphs, asked, rounds)


async def _measure(small: User, large: User) -> dict[str, float]:
    more = large.whole.rows - small.whole.rows
    exact = large.leg("exact")
    nothing = [await user.least(user.leg("exact"), replace(user.bounds, until=NEVER)) for user in (small, large)]
    everything = [await user.least(user.leg("exact")) for user in (small, large)]
    signs = [await user.least(user.leg("bits", FEW)) for user in (small, large)]
    row = (nothing[1] - nothing[0]) / more
    ids = _ids(large)
    step = MANY - FEW
    return {
        "ROW": row,
        "NUMBER": ((everything[1] - everything[0]) / more - row) / large.model.dim,
        "SIGNS": (signs[1] - signs[0]) / more,
        "RESCORE": (await large.least(large.leg("bits", MANY)) - signs[1]) / step,
        "VISIT": (await large.least(large.leg("hnsw", MANY)) - await large.least(large.leg("hnsw", FEW))) / step,
        "LEG": await large.least(_halves(large)) - everything[1],
        "LOOK_UP": (await _with_ids(large, exact, ids[:MANY]) - await _with_ids(large, exact, ids[:FEW])) / step,
        "SIFT": (await _with_ids(large, replace(exact, sift=True), ids) - nothing[1]) / large.whole.rows,
    }


def _ids(user: User) -> list[uuid.UUID]:
    """Ids of the user's time that are nobody's: they are looked for all the same."""
    return [uuid.UUID(int=user.graph.lower.int + number) for number in range(user.whole.rows // 2)]


async def _with_ids(user: User, plan: Plan, ids: Sequence[uuid.UUID]) -> float:
    return await user.least(plan, replace(user.bounds, only=frozenset(ids)))


def _halves(user: User) -> Plan:
    (leg,) = user.leg("exact").legs
    return Plan((replace(leg, upper=user.graph.upper), replace(leg, lower=user.graph.upper)))


def _judge(report: Report, measured: dict[str, float]) -> None:
    rows = []
    for name, value in measured.items():
        taken = float(getattr(planner, name))
        report.rows.append({"constant": name, "planner": taken, "measured": value})
        rows.append([name, f"{taken:.4g}", f"{value:.4g}", f"{value / taken:.2f}"])
    print_table(["constant", "in the planner, µs", "measured, µs", "of it"], rows, "Costs of the ways of searching")
    # What decides between the ways: a row exactly, a row by its bits, a row by a graph.
    dim = 384
    exact = (measured["ROW"] + dim * measured["NUMBER"]) / (planner.ROW + dim * planner.NUMBER)
    for name, share in (
        ("bits, of their share of exact", measured["SIGNS"] / planner.SIGNS / exact),
        ("hnsw, of its share of exact", measured["VISIT"] / planner.VISIT / exact),
    ):
        report.bars.append(Bar(name, share, "at most", TOLERANCE))


def _judge_choices(report: Report, choices: Sequence[Choice]) -> None:
    choices = sorted(choices, key=attrgetter("rows"))
    for choice in choices:
        report.rows.append({"traces": choice.rows, "chosen": choice.chosen, "microseconds": choice.taken})
    print_table(
        ["traces of the user", "exact, ms", "bits, ms", "hnsw, ms", "chosen", "of the fastest"],
        [
            [
                f"{choice.rows:,}",
                *(f"{choice.taken[way] / 1000:.2f}" for way in ("exact", "bits", "hnsw")),
                choice.chosen,
                f"{choice.slower:.2f}",
            ]
            for choice in choices
        ],
        "What each way takes, and the one that is chosen",
    )
    slowest = max(choice.slower for choice in choices)
    report.bars.append(Bar("the chosen way, of the fastest", slowest, "at most", SLOWER, "x"))


if __name__ == "__main__":
    options.run(plans)
