"""What the ways of searching cost: the constants of recall's planner, measured anew on this machine.

Two users, one several times as large as the other, each asked in every way. What grows with the rows, the candidates or
the ids comes from the difference of two measurements, each the least of several: what else the machine is busy with
only adds.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Final

import numpy as np
import typer

from bench import options
from bench.client import client_of
from bench.plan import find
from bench.report import Bar, CannotMeasure, Report, new_report, print_table
from bench.service import named, service_at
from bench.tenants import Bench, Question, Size, encode
from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.core.kinds import HEADS, KINDS, RECALLED_KINDS
from reverie.memories.model import Model
from reverie.recall import planner, vectors
from reverie.recall.indexes import Indexes
from reverie.recall.planner import Built, Leg, Plan
from reverie.recall.types import Bounds
from reverie.tiers.building import tend
from reverie.tiers.indexes import list_partitions
from reverie.tiers.locks import building_alone

DEPTH: Final = 100
FEW: Final = 200
MANY: Final = 1000
"""Candidates of bits, values of ef_search, and ids, between which the difference is taken."""

TOLERANCE: Final = 2.0
NEVER: Final = datetime(1970, 1, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is asked, and what is built for them."""

    database: Database
    space_id: uuid.UUID
    bounds: Bounds
    model: Model
    whole: Built
    graph: Built
    questions: list[Question]
    rounds: int

    async def least(self, plan: Plan, bounds: Bounds | None = None) -> float:
        """Microseconds of a plan: for each question the least of the rounds, of these the mean."""
        asked = bounds or self.bounds
        taken = [[await self._seconds(plan, asked, one) for _ in range(self.rounds)] for one in self.questions]
        return 1e6 * float(np.mean([min(rounds) for rounds in taken]))

    async def _seconds(self, plan: Plan, bounds: Bounds, question: Question) -> float:
        asked = vectors.query(plan, bounds, question.vector, self.model, DEPTH, DEPTH)
        began = time.perf_counter()
        await vectors.ask(self.database, self.space_id, asked, plan, DEPTH, 60.0)
        return time.perf_counter() - began

    def leg(self, method: planner.Method, looks: int = 0) -> Plan:
        """All of the partition that holds the user, in one way."""
        one = self.graph if method == "hnsw" else self.whole
        return Plan((Leg(method, (one.user_id,), (one.head,), one.lower, one.upper, looks=looks),))


def plans(
    rows: Annotated[int, typer.Option(help="Traces of the larger user; the other has a fifth of them.")] = 50_000,
    rounds: Annotated[int, typer.Option(help="How often each question is asked in each way.")] = 7,
    seed: int = 1,
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
        service = stack.enter_context(service_at(named(url, key, database_url)))
        report.ask_versions(service.database_url)
        drawn, asked = encode(seed, texts, questions, begin("Encoding", texts + questions))
        client = stack.enter_context(client_of(service))
        bench = Bench(client, drawn, uuid.uuid4().hex[:8])
        sizes = [Size(rows // 5, [0]), Size(rows, [1])]
        if not service.own:
            for number in (0, 1):
                stack.callback(client.forget, bench.user(number))
        advance = begin("Remembering", rows + rows // 5)
        for number, size in enumerate(sizes):
            bench.load(size, number, advance)
        begin("Building and asking", 0)
        measured = asyncio.run(_run(bench, service.database_url, asked, rounds))
    _judge(report, measured)
    report.print_bars()
    options.finish(report, json, check)


async def _run(bench: Bench, database_url: str, asked: list[Question], rounds: int) -> dict[str, float]:
    """Builds everything for both users, and measures."""
    database = Database(load_settings(database_url=database_url))
    await database.open()
    try:
        found = [await find(database, bench.user(number)) for number in (0, 1)]
        async with database.maintenance() as connection:
            async with building_alone(connection):
                for partition in await list_partitions(connection):
                    await tend(connection, found[0][2], partition, "always")
            await connection.execute("VACUUM (ANALYZE) memory_embedding")
        small, large = [await _user(database, one, asked, rounds) for one in found]
        return await _measure(small, large)
    finally:
        await database.close()


async def _user(
    database: Database, found: tuple[uuid.UUID, uuid.UUID, Model], asked: list[Question], rounds: int
) -> User:
    space_id, user_id, model = found
    known = (await Indexes(database, "always").of(model.id, [user_id])).get(user_id, [])
    built = {one.method: one for one in known}
    if set(built) != {"bits", "hnsw"}:
        raise CannotMeasure("Not everything could be built: name a store that nobody else writes to.")
    bounds = Bounds([user_id], [KINDS[kind] for kind in RECALLED_KINDS], [HEADS["semantic"]])
    return User(database, space_id, bounds, model, built["bits"], built["hnsw"], asked, rounds)


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


if __name__ == "__main__":
    options.run(plans)
