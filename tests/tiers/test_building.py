"""What is built for large users, when, and that recall hears of it only when it stands and was measured."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest
from tests.tiers.rows import add_model, add_vectors, fetch

from reverie.core.config import Settings
from reverie.core.database import Connection, Database
from reverie.core.ids import uuid7
from reverie.memories.model import Model
from reverie.tiers import building, measuring
from reverie.tiers.building import Built, absorbed, most_rows, tend
from reverie.tiers.indexes import Mode, Partition, add_model_indexes, bits_name, list_partitions
from reverie.tiers.locks import building_alone
from reverie.tiers.measuring import asked_of, enough, ranks_of, share_found
from reverie.tiers.partitions import ensure_partitions, week_of
from reverie.tiers.service import TierService

PAST = datetime(2020, 3, 4, 5, tzinfo=UTC)
TABLE = week_of(PAST).table("memory_embedding")


@dataclass(slots=True)
class Store:
    """A partition of a week that is over, a model, and what was built on it."""

    owner: Connection
    model: Model
    partition: Partition
    space: UUID

    async def write(self, user: UUID, count: int, hours: int = 0) -> list[UUID]:
        return await add_vectors(self.owner, self.model, self.space, user, PAST + timedelta(hours=hours), count)

    async def tend(self, mode: Mode = "auto") -> bool:
        return await tend(self.owner, self.model, self.partition, mode)

    async def written(self, method: str) -> list[tuple[Any, ...]]:
        return await fetch(
            self.owner,
            "SELECT user_id, rows, looks, recall, lower, upper FROM memory_index"
            " WHERE method = %s ORDER BY lower, rows",
            method,
        )

    async def graphs(self) -> dict[str, bool]:
        """The graphs that stand on the partition, and whether each is valid."""
        query = (
            "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE i.indrelid = to_regclass(%s) AND c.relname LIKE '%%\\_hnsw\\_%%'"
        )
        return dict(await fetch(self.owner, query, TABLE))


@pytest.fixture
async def store(owner: Connection, monkeypatch: pytest.MonkeyPatch) -> Store:
    """With sizes at which things are built that a test can write."""
    monkeypatch.setattr(building, "BITS_ROWS", 60)
    monkeypatch.setattr(building, "GRAPH_ROWS", 100)
    monkeypatch.setattr(building, "GRAPH_ROWS_ALWAYS", 30)
    monkeypatch.setattr(measuring, "QUESTIONS", 5)
    await ensure_partitions(owner, PAST, PAST)
    model = await add_model(owner, "built", 16, "fp16", PAST)
    await add_model_indexes(owner, model)
    (partition,) = [one for one in await list_partitions(owner) if one.table == TABLE]
    return Store(owner, model, partition, uuid4())


async def test_small_users_get_nothing(store: Store) -> None:
    for _ in range(5):
        await store.write(uuid4(), 59)
    assert not await store.tend()
    assert await store.written("bits") == await store.written("hnsw") == []
    assert await fetch(store.owner, "SELECT to_regclass(%s)", bits_name(TABLE, store.model)) == [(None,)]


async def test_large_users_get_bits_and_the_largest_a_graph_each(store: Store) -> None:
    small, large, huge = uuid4(), uuid4(), uuid4()
    for user, count in ((small, 50), (large, 70), (huge, 130)):
        await store.write(user, count)
    assert await store.tend()
    assert [row[:2] for row in await store.written("bits")] == [(large, 70), (huge, 130)]
    ((user, rows, looks, recall, lower, upper),) = await store.written("hnsw")
    # The week is over: nothing more comes into it, and the graph is of all of it.
    assert (user, rows, lower, upper) == (huge, 130, store.partition.lower, store.partition.upper)
    assert looks in [measuring.LOOKS_HEADROOM * one for one in measuring.LOOKS]
    assert recall > 0.9
    assert list((await store.graphs()).values()) == [True]
    # Nothing is left to do.
    assert not await store.tend()


async def test_rows_older_than_the_column_get_their_bits(store: Store) -> None:
    user = uuid4()
    await store.write(user, 70)
    lacking = f"SELECT count(*) FROM {TABLE} WHERE bits IS NULL"  # noqa: S608 - our own name
    assert await fetch(store.owner, lacking) == [(70,)]
    await store.tend()
    assert await fetch(store.owner, lacking) == [(0,)]
    wrong = f"SELECT count(*) FROM {TABLE} WHERE bits <> binary_quantize(vec)"  # noqa: S608
    assert await fetch(store.owner, wrong) == [(0,)]


async def test_modes(store: Store) -> None:
    await store.write(uuid4(), 40)
    for mode, built in (("never", False), ("auto", False), ("always", True)):
        assert await store.tend(mode) is built  # type: ignore[arg-type]
    await store.write(uuid4(), 200)
    assert not await store.tend("never")
    assert len(await store.graphs()) == 1
    assert await store.tend("auto")
    assert len(await store.graphs()) == 2


async def test_what_comes_later_is_in_no_graph_until_it_is_enough_for_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = uuid4()
    # As if the week were not over.
    monkeypatch.setattr(building, "lower_bound", lambda _: UUID(int=0))
    await store.write(user, 120)
    assert await store.tend()
    ((_, rows, *_, upper),) = await store.written("hnsw")
    assert rows == 120
    await store.write(user, 30, hours=1)
    assert not await store.tend()
    assert [row[1] for row in await store.written("bits")] == [150]
    await store.write(user, 40, hours=2)
    assert await store.tend()
    # One larger graph has taken in the first, which goes in the next round: until then somebody may read it.
    ((_, rows, *_, later),) = await store.written("hnsw")
    assert rows == 190
    assert later > upper
    assert len(await store.graphs()) == 2
    await store.tend()
    assert len(await store.graphs()) == 1


async def test_what_is_encoded_late_counts_for_the_graph_of_its_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = uuid4()
    monkeypatch.setattr(building, "lower_bound", lambda _: UUID(int=0))
    await store.write(user, 60)
    await store.write(user, 60, hours=2)
    await store.tend()
    await store.write(user, 70, hours=1)
    assert not await store.tend()
    assert [row[1] for row in await store.written("hnsw")] == [190]
    assert not await store.tend()


def graph(rows: int) -> Built:
    return Built(UUID(int=1), 0, "hnsw", UUID(int=0), UUID(int=1), "", rows, 0, 1.0, [], [], "", 0)


@pytest.mark.parametrize(
    ("standing", "rows", "stay", "of"),
    [
        ([], 50, 0, 50),
        ([100], 50, 0, 150),
        ([101], 50, 1, 50),
        ([400, 100], 50, 1, 150),
        ([300, 100], 50, 0, 450),
        ([1000, 300, 100], 50, 1, 450),
        ([900, 100], 100, 1, 200),
    ],
)
def test_a_graph_takes_in_those_before_it_that_are_not_much_larger(
    standing: list[int], rows: int, stay: int, of: int
) -> None:
    kept, new = absorbed([graph(n) for n in standing], rows, 1000)
    assert (len(kept), new) == (stay, of)


async def test_a_graph_fits_into_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "most_rows", lambda _: 90)
    user = uuid4()
    await store.write(user, 200)
    assert await store.tend("always")
    found = await store.written("hnsw")
    assert [row[1] for row in found] == [90, 90, 20]
    assert [found[0][5], found[1][5]] == [found[1][4], found[2][4]]
    assert most_rows(Model(1, "m", 384, "fp16")) > 200_000


async def test_pieces_of_one_trace_are_not_divided(store: Store) -> None:
    user = uuid4()
    (trace,) = await store.write(user, 1)
    await store.owner.execute(
        "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, vec)"
        " SELECT space_id, user_id, trace_id, happened_at, n, head, model_id, kind, vec"
        " FROM memory_embedding, generate_series(1, 150) n WHERE user_id = %s AND trace_id = %s",
        (user, trace),
    )
    async with asyncio.timeout(60):
        await store.tend()
    assert [row[1] for row in await store.written("hnsw")] == [151]


async def test_who_becomes_small_is_searched_exactly_again(store: Store) -> None:
    user, other = uuid4(), uuid4()
    ids = await store.write(user, 130)
    await store.write(other, 70)
    await store.tend()
    await store.owner.execute("DELETE FROM memory_trace WHERE user_id = %s AND id = ANY(%s)", (user, ids[:110]))
    await store.tend()
    assert [row[0] for row in await store.written("bits")] == [other]
    assert await store.written("hnsw") == []
    await store.tend()
    assert await store.graphs() == {}


async def test_a_killed_build_is_not_heard_of_and_done_again(store: Store, another: Connection) -> None:
    await store.write(uuid4(), 130)
    async with another.transaction():
        await another.execute(f"LOCK {TABLE} IN ROW EXCLUSIVE MODE")
        await store.owner.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            await store.tend()
        await store.owner.execute("RESET statement_timeout")
    assert await store.written("bits") == await store.written("hnsw") == []
    assert await store.tend()
    await store.owner.execute("DELETE FROM memory_index WHERE method = 'hnsw'")
    (name,) = await store.graphs()
    # A graph that was built, but not measured before its builder ended, is not trusted.
    assert await store.tend()
    assert len(await store.written("hnsw")) == 1
    assert list(await store.graphs()) == [name]


async def test_an_invalid_graph_is_dropped(store: Store, another: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "lower_bound", lambda _: UUID(int=0))
    user = uuid4()
    await store.write(user, 130)
    await store.tend("never")
    async with another.transaction():
        await another.execute(f"LOCK {TABLE} IN ROW EXCLUSIVE MODE")
        await store.owner.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            await store.tend()
        await store.owner.execute("RESET statement_timeout")
    (killed,) = await store.graphs()
    # By the next round the graph would be another.
    await store.write(user, 10, hours=1)
    assert await store.tend()
    ((name, valid),) = (await store.graphs()).items()
    assert valid
    assert name != killed


async def test_growth_is_measured_again(store: Store) -> None:
    user = uuid4()
    await store.write(user, 70)
    await store.tend("never")
    stamp = "SELECT built_at, rows FROM memory_index"
    ((first, _),) = await fetch(store.owner, stamp)
    await store.tend("never")
    assert await fetch(store.owner, stamp) == [(first, 70)]
    await store.write(user, 20, hours=1)
    await store.tend("never")
    ((second, rows),) = await fetch(store.owner, stamp)
    assert (second > first, rows) == (True, 90)
    await store.write(user, 60, hours=2)
    await store.tend("never")
    assert [row[1] for row in await store.written("bits")] == [150]


async def test_one_builder_at_a_time(store: Store, another: Connection, settings: Settings) -> None:
    await store.write(uuid4(), 130)
    service = TierService(Database(settings), "auto")
    async with building_alone(another), asyncio.timeout(10):
        assert await service.build_indexes(store.model) == []
    assert await service.build_indexes(store.model) == [TABLE]
    assert await service.build_indexes(store.model) == []


async def test_what_is_known_goes_with_its_partition(store: Store) -> None:
    await store.write(uuid4(), 130)
    await store.tend()
    await store.owner.execute("DELETE FROM memory_partition WHERE table_name = %s", (TABLE,))
    assert await store.written("bits") == []


def test_candidates_follow_the_ranks_of_the_nearest() -> None:
    assert ranks_of([3, 5], Counter({3: 2, 4: 10, 5: 1, 90: 1000})) == [2, 13]
    assert enough([1] * 600) == (measuring.FEWEST_CANDIDATES, 1.0)
    looks, share = enough([1] * 990 + [1000] * 10)
    assert looks == 1200
    assert share == 1
    looks, share = enough([1] * 999 + [100_000])
    assert (looks, share) == (measuring.FEWEST_CANDIDATES, 0.999)
    assert enough([]) == (measuring.FEWEST_CANDIDATES, 1.0)


def test_recall_is_counted_by_distance() -> None:
    assert share_found([[0.1, 0.2]], [[0.1, 0.2]]) == 1
    assert share_found([[0.1, 0.2]], [[0.2, 0.2]]) == 1
    assert share_found([[0.1, 0.2], [0.3, 0.4]], [[0.1, 0.3], [0.5]]) == 0.25
    assert share_found([[]], [[]]) == 0


def test_questions_are_as_far_as_questions_are() -> None:
    drawn = list(np.random.default_rng(2).standard_normal((200, 384)).astype(np.float32))
    cosines = [float(one @ row / np.linalg.norm(row)) for one, row in zip(asked_of(drawn), drawn, strict=True)]
    assert 0.6 < np.mean(cosines) < 0.68
    assert asked_of([np.zeros(8, dtype=np.float32)])[0].shape == (8,)
    assert all(np.array_equal(a, b) for a, b in zip(asked_of(drawn[:3]), asked_of(drawn[:3]), strict=True))


def test_ids_of_the_test_lie_in_its_partition() -> None:
    assert week_of(PAST).lower <= uuid7(PAST + timedelta(hours=2)) < week_of(PAST).upper
