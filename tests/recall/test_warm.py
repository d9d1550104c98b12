"""Warm memory is searched beside hot: the same traces are found, each once, whatever was moved a moment ago."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from pgvector import HalfVector, Vector
from tests.contracts.test_plans import Watched, scans
from tests.recall.cooling import announce, make_warm
from tests.recall.stores import empty_store
from tests.tiers.rows import add_model, add_traces, fetch

from reverie.auth.service import KeyService
from reverie.core.database import Connection, Database
from reverie.core.ids import lower_bound
from reverie.core.kinds import KINDS
from reverie.embedding.codes import pack, quantise, signs_of
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall import held, indexes, planner, vectors, warm
from reverie.recall.held import Shelf
from reverie.recall.indexes import Indexes
from reverie.recall.types import Bounds, Found, Key, key_of, trace_of
from reverie.recall.warm import Signs
from reverie.tiers.indexes import add_model_indexes
from reverie.tiers.partitions import week_of

PAST = datetime(2020, 3, 4, 5, tzinfo=UTC)
WEEK = timedelta(weeks=1)
DIM = 48
DEPTH = 20
SMALL, LARGE, OLD, NEW, NOBODY = [UUID(int=n << 64 | n) for n in range(1, 6)]
SIZES = {SMALL: (40, 30), LARGE: (500, 100), OLD: (60, 0), NEW: (0, 60)}
"""Traces in each of two weeks, of which the first becomes warm."""

HEADS = [0, 2]
"""Each trace has a vector of either; each tenth five pieces of the first."""


KIND_NAMES = {number: name for name, number in KINDS.items()}


def _kind(n: int) -> int:
    return 1 if n % 7 else 5


def usual(user: UUID) -> int:
    """How many traces of the usual kinds somebody has."""
    return sum(_kind(n) == 1 for count in SIZES[user] for n in range(count))


def drawn(seed: int, count: int) -> FloatArray:
    """Unit vectors around a few centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((12, DIM))
    rows = centres[random.integers(12, size=count)] + 0.7 * random.standard_normal((count, DIM))
    unit: FloatArray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


QUESTIONS = [*drawn(99, 5), 3 * drawn(98, 1)[0]]


@dataclass(slots=True)
class Store:
    """Users with traces in two weeks, and what exact search found of them while all were hot."""

    owner: Connection
    database: Database
    space_id: UUID
    models: dict[str, Model]
    warm: dict[str, str] = field(default_factory=dict)
    before: dict[str, Found] = field(default_factory=dict)

    async def write(self, user: UUID, moment: datetime, count: int) -> list[UUID]:
        """Traces of one moment; in ``happened_at`` a minute apart, of two kinds."""
        ids = await add_traces(self.owner, self.space_id, user, moment, count)
        kinds = [KIND_NAMES[_kind(n)] for n in range(count)]
        await self.owner.execute(
            "UPDATE memory_trace t SET kind = g.kind, occurred_at = t.created_at + (g.n - 1) * interval '1 minute'"
            " FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS g (id, kind, n)"
            " WHERE t.user_id = %s AND t.id = g.id",
            (ids, kinds, user),
        )
        await self.owner.execute(
            "INSERT INTO memory_user (space_id, user_id, external_id, version, traces, created_at, updated_at)"
            " VALUES (%s, %s, %s, 7, %s, %s, %s) ON CONFLICT (user_id) DO UPDATE"
            " SET traces = memory_user.traces + excluded.traces",
            (self.space_id, user, str(user), count, moment, moment),
        )
        for model in self.models.values():
            rows: list[tuple[Any, ...]] = []
            for head in HEADS:
                for piece in range(5 if head == 0 else 1):
                    made = drawn((user.int + int(moment.timestamp()) + 10 * head + piece) % 2**32, count)
                    rows += [
                        (one, moment + n * timedelta(minutes=1), piece, head, _kind(n), row)
                        for n, (one, row) in enumerate(zip(ids, made, strict=True))
                        if piece == 0 or n % 10 == 0
                    ]
            await self.insert(model, user, rows)
        return ids

    async def insert(self, model: Model, user: UUID, rows: list[tuple[Any, ...]]) -> None:
        """Rows of (trace, when, piece, head, kind, vector)."""
        kind = HalfVector if model.precision == "fp16" else Vector
        query = (
            "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind,"  # noqa: S608
            f" {model.column}, bits) SELECT %s, %s, r.id, r.moment, r.piece, r.head, %s, r.kind, r.v,"
            f" binary_quantize(r.v) FROM unnest(%s::uuid[], %s::timestamptz[], %s::int[], %s::int[], %s::smallint[],"
            f" %s::{model.type}[]) AS r (id, moment, piece, head, kind, v)"
            " ON CONFLICT (user_id, trace_id, head, model_id, piece) DO UPDATE"
            f" SET {model.column} = excluded.{model.column}, bits = excluded.bits, kind = excluded.kind, codes = NULL"
        )
        columns = [list(column) for column in zip(*rows, strict=True)]
        columns[-1] = [kind(row) for row in columns[-1]]
        await self.owner.execute(query.encode(), (self.space_id, user, model.id, *columns))

    async def search(
        self, asked: Bounds, question: FloatArray, model: Model, known: Indexes | None, *, depth: int = DEPTH,
        database: Any = None,
    ) -> Found:  # fmt: skip
        return await vectors.search(
            database or self.database, self.space_id, asked, question, model, known, depth, 10.0
        )  # fmt: skip

    def known(self) -> Indexes:
        return Indexes(self.database, "auto")


BOUNDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "a rare kind": {"kinds": [5]},
    "no such kind": {"kinds": [6]},
    "the second week": {"since": PAST + WEEK},
    "the first week": {"until": PAST + timedelta(days=2)},
    "some minutes": {"since": PAST + timedelta(minutes=11), "until": PAST + timedelta(minutes=31)},
    "before the second week": {"before": lower_bound(PAST + WEEK)},
    "before everything": {"before": lower_bound(PAST - WEEK)},
    "another head": {"heads": [2]},
    "both heads": {"heads": HEADS},
    "all of it": {"kinds": [1, 5], "since": PAST, "until": PAST + 5 * WEEK, "before": lower_bound(PAST + 5 * WEEK)},
}
USERS = {"small": [SMALL], "large": [LARGE], "old": [OLD], "new": [NEW], "all": [SMALL, LARGE, OLD, NEW, NOBODY]}


def bounds(*users: UUID, **given: Any) -> Bounds:
    return replace(Bounds(list(users), [1, 2, 3, 4], [0]), **given)


@pytest.fixture(scope="module")
async def store(postgres: Any, template: str, worker_id: str) -> AsyncIterator[Store]:
    async with empty_store(postgres, template, f"warm_{worker_id}", PAST) as (owner, database):
        space_id = await KeyService(database).ensure_space("here")
        made = Store(owner, database, space_id, {})
        model = made.models["fp16"] = await add_model(owner, "searched", DIM, "fp16", PAST)
        await add_model_indexes(owner, model)
        for user, counts in SIZES.items():
            for week, count in enumerate(counts):
                if count:
                    await made.write(user, PAST + week * WEEK, count)
        await owner.execute("VACUUM ANALYZE memory_embedding")
        for whose, users in USERS.items():
            for what, given in BOUNDS.items():
                for n, question in enumerate(QUESTIONS):
                    made.before[f"{whose} {what} {n}"] = await made.search(
                        bounds(*users, **given), question, model, None, depth=3000
                    )
        await announce(owner, PAST)
        table = week_of(PAST).table("memory_embedding")
        made.warm[table] = await make_warm(owner, model, table, large=[(LARGE, 300)])
        yield made


@pytest.fixture
def model(store: Store) -> Model:
    return store.models["fp16"]


def best_of(found: Found, depth: int = DEPTH) -> list[Key]:
    return sorted(found.scores, key=lambda key: -found.scores[key])[:depth]


@pytest.mark.parametrize("whose", USERS)
async def test_the_same_is_found_as_when_all_was_hot(store: Store, model: Model, whose: str) -> None:
    known = store.known()
    shares = []
    for what, given in BOUNDS.items():
        for n, question in enumerate(QUESTIONS):
            there = store.before[f"{whose} {what} {n}"]
            here = await store.search(bounds(*USERS[whose], **given), question, model, known)
            wanted = best_of(there)
            assert len(here.scores) == len(wanted), what
            assert set(here.scores) <= set(there.scores), what
            for key, score in here.scores.items():
                assert score == pytest.approx(there.scores[key], abs=0.01)
                assert here.candidates[key] == there.candidates[key]
            if wanted:
                shares.append(len(set(best_of(here, 10)) & set(wanted[:10])) / len(wanted[:10]))
    assert np.mean(shares) >= 0.97


async def test_a_search_says_that_it_looked_at_warm_rows(store: Store, model: Model) -> None:
    found = await store.search(bounds(SMALL), QUESTIONS[0], model, store.known())
    assert (found.plan, found.rows) == ("exact and warm", sum(SIZES[SMALL]))
    found = await store.search(bounds(LARGE), QUESTIONS[0], model, store.known())
    # What is known of its signs; no count is kept of the others.
    assert (found.plan, found.rows) == ("exact and warm", SIZES[LARGE][0] + 4 * SIZES[LARGE][0] // 10)


async def test_pieces_name_what_was_nearest(store: Store, model: Model) -> None:
    n = 3
    there = store.before[f"old both heads {n}"]
    here = await store.search(bounds(OLD, heads=HEADS), QUESTIONS[n], model, store.known())
    assert here.pieces == {key: there.pieces[key] for key in here.scores}
    assert len(set(here.pieces.values())) > 2


async def test_given_ids_hold(store: Store, model: Model) -> None:
    every = [row[0] for row in await fetch(store.owner, "SELECT id FROM memory_trace WHERE user_id = %s", LARGE)]
    for share in (1, 2, 100):
        only = frozenset(every[::share])
        found = await store.search(bounds(LARGE, only=only), QUESTIONS[1], model, store.known())
        there = store.before["large plain 1"]
        within = [key for key in best_of(there, 3000) if trace_of(key) in only]
        assert len(found.scores) == min(DEPTH, len(within))
        assert len(set(best_of(found, 10)) & set(within[:10])) >= min(9, len(within))
    found = await store.search(bounds(LARGE, only=frozenset()), QUESTIONS[1], model, store.known())
    assert found.scores == {}


# Rows that are written while their partition is warm


@pytest.fixture
async def late(store: Store, model: Model) -> AsyncIterator[Callable[[UUID, FloatArray], Any]]:
    """Writes the vector of a trace of a warm week, as remembering and changing do; afterwards it is as it was."""
    kept: list[tuple[UUID, list[Any]]] = []
    columns = "space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, codes, bits"

    async def write(trace_id: UUID, vector: FloatArray) -> None:
        query = f"SELECT {columns} FROM memory_embedding WHERE user_id = %s AND trace_id = %s"  # noqa: S608
        kept.append((trace_id, await fetch(store.owner, query, SMALL, trace_id)))
        await store.insert(model, SMALL, [(trace_id, PAST, 0, 0, 1, vector)])

    yield write
    for trace_id, rows in kept:
        await store.owner.execute("DELETE FROM memory_embedding WHERE trace_id = %s", (trace_id,))
        for row in rows:
            values = ", ".join(["%s"] * len(row))
            query = f"INSERT INTO memory_embedding ({columns}) VALUES ({values})"  # noqa: S608
            await store.owner.execute(query.encode(), row)


async def one_of(store: Store, user: UUID) -> UUID:
    ((found,),) = await fetch(
        store.owner, "SELECT id FROM memory_trace WHERE user_id = %s AND kind = 'turn' ORDER BY id LIMIT 1", user
    )
    return UUID(str(found))


async def test_what_is_written_late_is_found(
    store: Store, model: Model, late: Callable[[UUID, FloatArray], Any]
) -> None:
    question = drawn(777, 1)[0]
    trace_id = await one_of(store, SMALL)
    await late(trace_id, question)
    found = await store.search(bounds(SMALL), question, model, store.known())
    assert best_of(found)[0] == key_of(SMALL, trace_id)
    assert max(found.scores.values()) == pytest.approx(1, abs=1e-3)
    assert found.pieces[key_of(SMALL, trace_id)] == (0, 0)
    # By no signs of what it was before.
    found = await store.search(bounds(SMALL), -question, model, store.known(), depth=100)
    assert best_of(found, 100)[-1] == key_of(SMALL, trace_id)


async def test_what_is_forgotten_is_not_found(store: Store, model: Model) -> None:
    trace_id = await one_of(store, SMALL)
    key = key_of(SMALL, trace_id)
    question = QUESTIONS[0]
    assert key in (await store.search(bounds(SMALL), question, model, store.known(), depth=100)).scores
    forget = "UPDATE memory_trace SET deleted_at = %s WHERE id = %s"
    await store.owner.execute(forget.encode(), (PAST, trace_id))
    try:
        found = await store.search(bounds(SMALL), question, model, store.known(), depth=100)
        assert key not in found.scores
        assert len(found.scores) == usual(SMALL) - 1
    finally:
        await store.owner.execute(forget.encode(), (None, trace_id))


async def test_a_moment_is_not_shown_what_was_changed_since(store: Store, model: Model) -> None:
    trace_id = await one_of(store, OLD)
    key = key_of(OLD, trace_id)
    asked = bounds(OLD, kinds=[1, 5], at=PAST + WEEK)
    change = "UPDATE memory_trace SET updated_at = %s WHERE id = %s"
    for when, seen in ((PAST + timedelta(days=1), True), (PAST + 2 * WEEK, False)):
        await store.owner.execute(change.encode(), (when, trace_id))
        found = await store.search(asked, QUESTIONS[0], model, store.known(), depth=100)
        assert (key in found.scores) is seen
    await store.owner.execute(change.encode(), (None, trace_id))


async def test_the_pieces_of_one_trace_leave_room_for_others(store: Store, model: Model) -> None:
    """Its pieces are the nearest of all, and there are more of them than candidates are decoded."""
    question = drawn(778, 1)[0]
    ((trace_id,),) = await fetch(store.owner, "SELECT id FROM memory_trace WHERE user_id = %s LIMIT 1", OLD)
    near = question + 0.02 * np.random.default_rng(3).standard_normal((900, DIM)).astype(np.float32)
    signs = signs_of(near)
    await store.owner.execute(
        "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, codes,"
        " bits) SELECT %s, %s, %s, %s, 10 + r.n, 0, %s, 1, r.codes, r.bits::varbit"
        " FROM unnest(%s::bytea[], %s::text[]) WITH ORDINALITY AS r (codes, bits, n)",
        (store.space_id, OLD, trace_id, PAST, model.id, [row.tobytes() for row in pack(quantise(near), signs)],
         ["".join(map(str, row)) for row in np.unpackbits(signs, axis=1, count=DIM).tolist()]),
    )  # fmt: skip
    try:
        known = store.known()
        for _ in range(2):
            found = await store.search(bounds(OLD, kinds=[1, 5]), question, model, known)
            assert len(found.scores) == DEPTH
            assert best_of(found)[0] == key_of(OLD, trace_id)
    finally:
        await store.owner.execute("DELETE FROM memory_embedding WHERE trace_id = %s AND piece > 10", (trace_id,))


# What a process knows


async def test_where_nothing_was_announced_warm_rows_are_not_looked_for(store: Store, model: Model) -> None:
    await store.owner.execute("UPDATE tier_control SET announced_at = NULL")
    try:
        watched = Watched(store.database)
        found = await store.search(bounds(SMALL), QUESTIONS[0], model, store.known(), database=watched)
        assert found.plan == "exact"
        assert not any("codes" in node["Index Name"] for plan in watched.plans for node in scans(plan))
        assert {key[:16] for key in found.scores} == {SMALL.bytes}
    finally:
        await announce(store.owner, PAST)


async def test_who_was_not_told_for_long_asks_first(
    store: Store, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stood still while warm memory was announced, and made."""
    await store.owner.execute("UPDATE tier_control SET announced_at = NULL")
    known = store.known()
    assert await known.warm(model.id, [SMALL]) is None
    await announce(store.owner, PAST)
    assert await known.warm(model.id, [SMALL]) is None
    later = time.monotonic() + indexes.OLDEST_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    found = await store.search(bounds(SMALL), QUESTIONS[0], model, known)
    assert found.plan == "exact and warm"
    assert set(best_of(found, 5)) == set(best_of(store.before["small plain 0"], 5))


async def test_who_cannot_read_whether_there_is_warm_memory_looks_for_it(
    store: Store, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.owner.execute("REVOKE SELECT ON tier_control FROM reverie_app")
    try:
        found = await store.search(bounds(SMALL), QUESTIONS[0], model, store.known())
        assert found.plan == "exact and warm"
        assert len(found.scores) == DEPTH
    finally:
        await store.owner.execute("GRANT SELECT ON tier_control TO reverie_app")


async def test_what_was_announced_after_the_last_reading_is_read_in_time() -> None:
    """Every process has read it before the first rows are moved."""
    assert indexes.REFRESH_SECONDS < indexes.OLDEST_SECONDS < 15


async def test_a_plan_made_before_a_partition_was_moved_finds_the_same(
    store: Store, model: Model, late: Callable[[UUID, FloatArray], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process knows of an index over signs is that of the partition that was hot."""
    ((lower, upper),) = await fetch(
        store.owner, "SELECT lower, upper FROM memory_partition WHERE table_name = %s", *store.warm.values()
    )  # fmt: skip
    known = store.known()
    await known.of(model.id, [LARGE])
    for user in (LARGE, SMALL):
        rows = SIZES[user][0]
        one = planner.Built(user, next(iter(store.warm)), 0, "bits", lower, upper, rows, 200, 1.0)
        known._known.setdefault(model.id, {})[user] = [one]
    monkeypatch.setattr(planner, "NUMBER", 100.0)
    for n, question in enumerate(QUESTIONS):
        found = await store.search(bounds(LARGE), question, model, known)
        assert found.plan == "bits and warm"
        assert len(set(best_of(found, 10)) & set(best_of(store.before[f"large plain {n}"], 10))) >= 9
    question = drawn(779, 1)[0]
    trace_id = await one_of(store, SMALL)
    await late(trace_id, question)
    found = await store.search(bounds(SMALL), question, model, known)
    assert best_of(found)[0] == key_of(SMALL, trace_id)


async def test_who_has_much_in_many_partitions_gets_more_candidates(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "MANY", 100)
    model, known = store.models["fp16"], store.known()
    looks: list[int] = []
    parts = warm.parts

    def looked(*given: Any) -> Any:
        looks.append(given[3])
        return parts(*given)

    monkeypatch.setattr(warm, "parts", looked)
    for user in (LARGE, LARGE, SMALL, SMALL):
        await store.search(bounds(user), QUESTIONS[0], model, known)
    first, second, *little = looks
    assert (first, little) == (0, [0, 0])
    assert second >= sum(SIZES[LARGE])


async def test_who_keeps_what_is_read_hears_of_moves(store: Store) -> None:
    known, told = store.known(), list[str]()
    known.when_moved(lambda: told.append("moved"))
    query = "UPDATE memory_partition SET tier = %s WHERE table_name = %s"
    ((table, tier),) = await fetch(
        store.owner, "SELECT table_name, tier FROM memory_partition ORDER BY lower DESC, parent LIMIT 1"
    )
    await known.of(1, [NOBODY])
    try:
        for there, heard in (("cold", 1), ("cold", 1), (tier, 2)):
            await store.owner.execute(query.encode(), (there, table))
            await known._read()
            assert len(told) == heard
    finally:
        await store.owner.execute(query.encode(), (tier, table))


def test_parts_by_what_is_known() -> None:
    asked = Bounds([SMALL, LARGE], [1], [0, 2])
    known = {LARGE: [Signs(LARGE, 0, 5000, 3001), Signs(LARGE, 0, 6000, 900)]}
    first, second = warm.parts(asked, known, 100)
    assert (first.head, first.looks, first.rows) == (0, 3901, 11_000)
    assert (second.head, second.looks, second.rows) == (2, warm.FEWEST, 0)
    assert [part.looks for part in warm.parts(asked, {}, 1000)] == [4000, 4000]
    assert [part.looks for part in warm.parts(asked, {}, 100, 200_000)] == [4000, 4000]
    assert [part.looks for part in warm.parts(asked, {}, 100, 10_000_000)] == [warm.MOST, warm.MOST]
    assert warm.candidates(100_000) == warm.MOST


def test_no_rows_are_none() -> None:
    model = Model(1, "any", DIM, "fp16")
    assert warm.nearest(None, QUESTIONS[0], model, 5) == warm.nearest(b"", QUESTIONS[0], model, 5) == []


# What is held, of hot and of warm rows alike


async def test_what_is_held_answers_as_postgresql_does(store: Store, model: Model) -> None:
    known = store.known()
    for user in (SMALL, OLD, NEW, LARGE):
        shelf = Shelf(model, 64 * 1024 * 1024, known)
        assert await shelf.of(store.database, store.space_id, bounds(user), 10.0) is None
        whose = await shelf.of(store.database, store.space_id, bounds(user), 10.0)
        assert whose is not None
        assert len({one.key for one in whose.traces}) == sum(SIZES[user])
        for given in ({}, {"kinds": [5]}, {"since": PAST + WEEK}, {"until": PAST + timedelta(minutes=30)}):
            asked = bounds(user, **given)
            for question in QUESTIONS:
                here = held.search(whose, asked, question, model, DEPTH)
                there = await store.search(asked, question, model, known, depth=3000)
                assert here.plan == "held"
                assert len(here.scores) == min(DEPTH, len(there.scores))
                for mine, theirs in zip(here.scores, best_of(there), strict=False):
                    assert here.scores[mine] == pytest.approx(there.scores[theirs], abs=1e-4)
                    assert here.scores[mine] == pytest.approx(there.scores[mine], abs=1e-4)
                    assert here.candidates[mine] == there.candidates[mine]


async def test_too_many_of_both_are_not_held(store: Store, model: Model) -> None:
    rows = sum(SIZES[SMALL]) + 4 * len([n for week in SIZES[SMALL] for n in range(week) if n % 10 == 0])
    for most, fits in ((rows + 1, True), (rows - 1, False)):
        shelf = Shelf(model, 64 * 1024 * 1024, store.known())
        shelf._most_rows = most
        assert await shelf.of(store.database, store.space_id, bounds(SMALL), 10.0) is None
        assert (await shelf.of(store.database, store.space_id, bounds(SMALL), 10.0) is not None) is fits
