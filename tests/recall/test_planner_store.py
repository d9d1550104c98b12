"""Every way of searching on real tables: the plan as the serving role gets it, and what it finds."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from pgvector import HalfVector
from tests.contracts.test_plans import Watched, nodes, scans
from tests.recall.stores import empty_store
from tests.tiers.rows import add_model, add_traces, fetch

from reverie.core.config import Settings
from reverie.core.database import Connection, Database
from reverie.core.ids import lower_bound
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall import indexes, planner, vectors
from reverie.recall.indexes import Indexes
from reverie.recall.planner import Mode
from reverie.recall.types import Bounds, Found, key_of, trace_of
from reverie.tiers import building, measuring
from reverie.tiers.indexes import add_model_indexes, bits_name, exact_name, hnsw_prefix
from reverie.tiers.partitions import week_of
from reverie.tiers.service import TierService

PAST = datetime(2020, 3, 4, 5, tzinfo=UTC)
WEEK = timedelta(weeks=1)
DIM = 32
DEPTH = 20
SPACE, SMALL, LARGE, HUGE = uuid4(), uuid4(), uuid4(), uuid4()
SIZES = {SMALL: (30, 0), LARGE: (300, 0), HUGE: (600, 400)}
"""Traces in each of two weeks."""

METHODS = ("exact", "bits", "hnsw")


@dataclass(slots=True)
class Store:
    """Users of three sizes, for whom everything is built."""

    owner: Connection
    database: Database
    model: Model

    async def write(self, user: UUID, moment: datetime, drawn: FloatArray, kinds: Sequence[int]) -> list[UUID]:
        """Traces of one moment, a piece each; in ``happened_at`` a minute apart."""
        ids = await add_traces(self.owner, SPACE, user, moment, len(drawn))
        await self.owner.execute(
            "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, vec,"
            " bits) SELECT %s, %s, r.id, %s + r.n * interval '1 minute', 0, 0, %s, r.kind, r.v, binary_quantize(r.v)"
            " FROM unnest(%s::uuid[], %s::halfvec[], %s::smallint[]) WITH ORDINALITY AS r (id, v, kind, n)",
            (SPACE, user, moment, self.model.id, ids, [HalfVector(row) for row in drawn], list(kinds)),
        )
        return ids

    async def search(
        self, bounds: Bounds, question: FloatArray, by: Indexes | None, database: Any = None, depth: int = DEPTH
    ) -> Found:
        return await vectors.search(
            database or self.database, SPACE, bounds, question, self.model, by, depth, 10.0
        )  # fmt: skip

    def known(self, mode: Mode) -> Indexes:
        return Indexes(self.database, mode)


def drawn(seed: int, count: int) -> FloatArray:
    """Unit vectors around a few centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((12, DIM))
    rows = centres[random.integers(12, size=count)] + 0.7 * random.standard_normal((count, DIM))
    unit: FloatArray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.fixture(scope="module")
async def store(postgres: Any, template: str, worker_id: str) -> AsyncIterator[Store]:
    async with empty_store(postgres, template, f"planner_{worker_id}", PAST) as (owner, database):
        model = await add_model(owner, "searched", DIM, "fp16", PAST)
        await add_model_indexes(owner, model)
        made = Store(owner, database, model)
        for n, (user, counts) in enumerate(SIZES.items()):
            for week, count in enumerate(counts):
                kinds = [1 if row % 10 else 5 for row in range(count)]
                await made.write(user, PAST + week * WEEK, drawn(10 * n + week, count), kinds)
        await owner.execute("VACUUM ANALYZE memory_embedding")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(building, "BITS_ROWS", 200)
            patch.setattr(building, "GRAPH_ROWS", 350)
            patch.setattr(building, "GRAPH_ROWS_ALWAYS", 350)
            patch.setattr(measuring, "QUESTIONS", 10)
            built = await TierService(database, "auto").build_indexes(model)
        assert len(built) == 2
        await owner.execute("VACUUM memory_embedding")
        yield made


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the planner take one way wherever it is there, by what it believes of the costs."""
    if request.param == "bits":
        monkeypatch.setattr(planner, "NUMBER", 100.0)
    return str(request.param)


def by(store: Store, method: str) -> Indexes | None:
    return None if method == "exact" else store.known("never" if method == "bits" else "always")


def bounds(*users: UUID, **given: Any) -> Bounds:
    return replace(Bounds(list(users), [1, 2, 3, 4], [0]), **given)


QUESTIONS = drawn(99, 12)


async def recall_of(store: Store, asked: Bounds, method: str, depth: int = DEPTH) -> float:
    """The mean share of the exact nearest that a method finds; nothing else may be among what it finds."""
    shares = []
    for question in QUESTIONS:
        everything = await store.search(asked, question, None, depth=2000)
        wanted = sorted(everything.scores, key=lambda key: -everything.scores[key])[:depth]
        found = await store.search(asked, question, by(store, method), depth=depth)
        assert set(found.scores) <= set(everything.scores)
        assert len(found.scores) == len(wanted)
        for key, score in found.scores.items():
            assert score == pytest.approx(everything.scores[key], abs=1e-3)
        shares.append(len(set(wanted) & set(found.scores)) / len(wanted) if wanted else 1.0)
    return float(np.mean(shares))


@pytest.mark.parametrize("user", [SMALL, LARGE, HUGE])
async def test_each_way_finds_the_nearest_of_every_size(store: Store, method: str, user: UUID) -> None:
    assert await recall_of(store, bounds(user), method) >= 0.98


BOUNDS: dict[str, dict[str, Any]] = {
    "a rare kind": {"kinds": [5]},
    "no such kind": {"kinds": [6]},
    "the second week": {"since": PAST + WEEK},
    "some hours": {"since": PAST + timedelta(hours=3), "until": PAST + timedelta(hours=4)},
    "before the second week": {"before": lower_bound(PAST + WEEK)},
    "before everything": {"before": lower_bound(PAST - WEEK)},
    "after everything": {"since": PAST + 9 * WEEK},
    "all of it": {"kinds": [1, 5], "since": PAST, "until": PAST + 5 * WEEK, "before": lower_bound(PAST + 5 * WEEK)},
}


@pytest.mark.parametrize("name", BOUNDS)
async def test_bounds_hold_in_each_way(store: Store, method: str, name: str) -> None:
    assert await recall_of(store, bounds(HUGE, **BOUNDS[name]), method) >= 0.98


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5])
async def test_given_ids_hold_in_each_way(
    store: Store, method: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [row[0] for row in await fetch(store.owner, "SELECT id FROM memory_trace WHERE user_id = %s", HUGE)]
    only = frozenset(every[:: round(1 / share)])
    assert await recall_of(store, bounds(HUGE, only=only), method) >= 0.98
    monkeypatch.setattr(planner, "LOOK_UP", 1e6)
    assert await recall_of(store, bounds(HUGE, only=only), method) >= 0.98
    found = await store.search(bounds(HUGE, only=frozenset()), QUESTIONS[0], by(store, method))
    assert found.scores == {}


async def test_several_users_at_once(store: Store, method: str) -> None:
    assert await recall_of(store, bounds(SMALL, LARGE, HUGE, uuid4()), method, depth=200) >= 0.98


async def test_heads_without_vectors(store: Store, method: str) -> None:
    assert (await store.search(bounds(HUGE, heads=[1]), QUESTIONS[0], by(store, method))).scores == {}
    assert await recall_of(store, bounds(HUGE, heads=[0, 1]), method) >= 0.98


async def test_the_plan_is_the_one_that_was_meant(store: Store, method: str) -> None:
    """As the serving role, on every partition: index-only for exact search and bits, the graphs for hnsw."""
    watched = Watched(store.database)
    found = await store.search(bounds(HUGE), QUESTIONS[0], by(store, method), watched)
    assert found.plan == method
    assert found.rows > 0 or method == "exact"
    (plan,) = [one for one in watched.plans if any(scans(one))]
    assert {node["Index Name"] for node in nodes(plan) if node.get("Relation Name") == "memory_trace"} == {
        "memory_trace_pkey"
    }
    used = [
        (node["Node Type"], node["Index Name"].removeprefix(node["Relation Name"]), node["Relation Name"])
        for node in scans(plan)
    ]
    two_weeks = {week_of(PAST + n * WEEK).table("memory_embedding") for n in range(2)}
    covering = exact_name("", store.model)
    exactly = {table for how, index, table in used if (how, index) == ("Index Only Scan", covering)}
    partitions = {row[0] for row in await fetch(store.owner, "SELECT table_name FROM memory_partition")}
    partitions = {name for name in partitions if name.startswith("memory_embedding")}
    if method == "exact":
        assert exactly == partitions
    elif method == "bits":
        assert {table for how, index, table in used if index == bits_name("", store.model)} == two_weeks
        assert {how for how, index, _ in used if index == bits_name("", store.model)} == {"Index Only Scan"}
    else:
        graphs = [(how, table) for how, index, table in used if index.startswith(hnsw_prefix("", store.model))]
        assert graphs and {how for how, _ in graphs} == {"Index Scan"}  # noqa: PT018
        assert {table for _, table in graphs} == two_weeks
    if method != "exact":
        assert partitions - two_weeks <= exactly
    fetched = {node["Heap Fetches"] for node in scans(plan) if node["Node Type"] == "Index Only Scan"}
    assert fetched == {0}


async def test_a_small_user_beside_a_huge_one_never_walks_a_graph(store: Store) -> None:
    modes: tuple[Mode, ...] = ("auto", "always")
    for mode in modes:
        found = await store.search(bounds(SMALL), QUESTIONS[0], store.known(mode))
        assert (found.plan, len(found.scores)) == ("exact", DEPTH)


async def test_what_was_written_after_the_build_is_found_at_once(store: Store, method: str) -> None:
    user_by = by(store, method)
    await store.search(bounds(HUGE), QUESTIONS[0], user_by)
    for hours, moment in enumerate((PAST, PAST + WEEK, PAST + 2 * WEEK)):
        new = drawn(1000 + hours + 10 * METHODS.index(method), 1)
        (trace,) = await store.write(HUGE, moment + timedelta(hours=50), new, [1])
        found = await store.search(bounds(HUGE), new[0], user_by)
        assert max(found.scores, key=lambda key: found.scores[key]) == key_of(HUGE, trace)
        await store.owner.execute("DELETE FROM memory_trace WHERE user_id = %s AND id = %s", (HUGE, trace))
        assert key_of(HUGE, trace) not in (await store.search(bounds(HUGE), new[0], user_by)).scores


async def test_a_trace_of_many_pieces_is_found_once_by_its_best(store: Store, method: str) -> None:
    """Its pieces are the nearest of all, and there are more of them than candidates are wanted."""
    question = drawn(777, 1)[0]
    moment = PAST + timedelta(hours=60)
    (trace,) = await store.write(HUGE, moment, -question[None, :], [1])
    spread = question + 0.02 * np.random.default_rng(3).standard_normal((400, DIM)).astype(np.float32)
    spread[123] = question
    await store.owner.execute(
        "INSERT INTO memory_embedding"
        " (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, vec, bits)"
        " SELECT %s, %s, %s, %s, r.n, 0, %s, 1, r.v, binary_quantize(r.v)"
        " FROM unnest(%s::halfvec[]) WITH ORDINALITY AS r (v, n)",
        (SPACE, HUGE, trace, moment, store.model.id, [HalfVector(row) for row in spread]),
    )
    try:
        user_by = by(store, method)
        first = await store.search(bounds(HUGE), question, user_by)
        again = await store.search(bounds(HUGE), question, user_by)
        for found in (first, again):
            assert len(found.scores) == DEPTH
            best = max(found.scores, key=lambda key: found.scores[key])
            assert trace_of(best) == trace
            assert found.pieces[best] == (0, 124)
            assert found.scores[best] == pytest.approx(1, abs=1e-3)
            assert {piece for key, piece in found.pieces.items() if key != best} == {(0, 0)}
        if user_by is not None:
            assert user_by.pieces([HUGE]) > 10
            assert user_by.pieces([SMALL]) == 1
    finally:
        await store.owner.execute("DELETE FROM memory_trace WHERE user_id = %s AND id = %s", (HUGE, trace))


async def test_an_index_that_is_gone_makes_it_slower_but_not_wrong(store: Store) -> None:
    known = store.known("always")
    before = await store.search(bounds(HUGE), QUESTIONS[1], None)
    names = await fetch(store.owner, "SELECT index_name FROM memory_index WHERE method = 'hnsw'")
    definitions = [
        (await fetch(store.owner, "SELECT pg_get_indexdef(to_regclass(%s))", name))[0][0] for (name,) in names
    ]
    try:
        for (name,) in names:
            await store.owner.execute(f"DROP INDEX {name}".encode())
        found = await store.search(bounds(HUGE), QUESTIONS[1], known)
        assert found.plan == "hnsw"
        assert found.scores == pytest.approx(before.scores, abs=1e-6)
    finally:
        for definition in definitions:
            await store.owner.execute(definition.encode())


async def test_nothing_is_known_until_it_is_written_down(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "NUMBER", 100.0)
    monkeypatch.setattr(indexes, "REFRESH_SECONDS", 0.0)
    known = store.known("always")
    kept = await fetch(store.owner, "DELETE FROM memory_index RETURNING memory_index::text")
    try:
        found = await store.search(bounds(HUGE), QUESTIONS[2], known)
        assert found.plan == "exact"
    finally:
        for (row,) in kept:
            await store.owner.execute("INSERT INTO memory_index SELECT (%s::memory_index).*", (row,))
    for _ in range(200):
        if (await store.search(bounds(HUGE), QUESTIONS[2], known)).plan == "hnsw":
            break
    else:
        pytest.fail("what was written down is not read")


async def test_while_it_cannot_be_read_everybody_is_searched_exactly(settings: Settings) -> None:
    nowhere = Database(settings)
    known = Indexes(nowhere, "auto")
    assert await known.of(1, [HUGE]) == {}
    await nowhere.close()


async def test_a_graph_that_ends_early_is_made_up_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes the bounds is rarer than was thought: the scan of the graph gives up, exact search finds it."""
    monkeypatch.setattr(planner, "within", lambda *_: 1.0)
    monkeypatch.setattr(vectors, "MOST_VISITS", 1)
    asked = bounds(HUGE, since=PAST + timedelta(minutes=10), until=PAST + timedelta(minutes=40))
    for question in QUESTIONS[:4]:
        found = await store.search(asked, question, store.known("always"))
        exact = await store.search(asked, question, None)
        assert found.plan != "hnsw"
        assert set(found.scores) == set(exact.scores)
