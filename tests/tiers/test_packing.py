"""Sparse indexes of weeks that are over are built anew, once, and none that is dense or may still grow."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.tiers.rows import add_model, add_vectors, fetch
from tests.waiting import PATIENCE

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection, Database
from reverie.memories.model import Model
from reverie.tiers import packing
from reverie.tiers.indexes import Partition, add_model_indexes, bits_name, build_bits, exact_name, list_partitions
from reverie.tiers.packing import pack, packed_bytes
from reverie.tiers.partitions import ensure_partitions, week_of
from reverie.tiers.service import TierService

PAST = datetime(2020, 3, 4, 5, tzinfo=UTC)
TABLE = week_of(PAST).table("memory_embedding")
USERS = [UUID(int=n << 80) for n in range(1, 5)]
DIM = 384


@pytest.fixture
async def partition(owner: Connection, monkeypatch: pytest.MonkeyPatch) -> Partition:
    """A week that is over."""
    monkeypatch.setattr(packing, "FEWEST_BYTES", 0)
    await ensure_partitions(owner, PAST, PAST)
    (found,) = [one for one in await list_partitions(owner) if one.table == TABLE]
    return found


async def sparse(owner: Connection, precision: str = "fp16", dim: int = DIM) -> Model:
    """A model whose indexes are sparse: some users write at their ends, in turn."""
    model = await add_model(owner, f"sparse {uuid4()}", dim, precision, PAST)
    await add_model_indexes(owner, model)
    await build_bits(owner, TABLE, model)
    space = uuid4()
    for hour in range(8):
        for user in USERS:
            await add_vectors(owner, model, space, user, PAST + timedelta(hours=hour), 25)
    await owner.execute(
        f"UPDATE memory_embedding SET bits = binary_quantize({model.column}) WHERE model_id = %s",  # noqa: S608
        (model.id,),
    )
    return model


async def size(owner: Connection, index: str) -> int:
    ((found,),) = await fetch(owner, "SELECT pg_relation_size(to_regclass(%s))", index)
    return int(found)


async def nobody_looks(owner: Connection) -> None:
    """Waits until no other session (autovacuum analyses) sees what was updated: a new index would hold it too."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL"
    async with asyncio.timeout(PATIENCE):
        while (await fetch(owner, f"{query} AND pid <> pg_backend_pid()"))[0][0]:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


async def rows_by_index(owner: Connection, model: Model) -> int:
    await owner.execute("SET enable_seqscan = off")
    ((found,),) = await fetch(owner, "SELECT count(*) FROM memory_embedding WHERE model_id = %s", model.id)
    await owner.execute("RESET enable_seqscan")
    return int(found)


@pytest.mark.parametrize(("precision", "dim"), [("fp16", DIM), ("fp32", DIM), ("fp16", 1500)])
async def test_a_sparse_index_is_packed_once(owner: Connection, partition: Partition, precision: str, dim: int) -> None:
    model = await sparse(owner, precision, dim)
    before = await size(owner, exact_name(TABLE, model))
    packed = await pack(owner, model, partition)
    assert exact_name(TABLE, model) in packed
    assert await size(owner, exact_name(TABLE, model)) < 0.85 * before
    assert await pack(owner, model, partition) == []
    assert await rows_by_index(owner, model) == 800


async def test_the_size_of_an_index_that_was_just_built_is_known(owner: Connection, partition: Partition) -> None:
    model = await sparse(owner)
    for name, searched in ((exact_name(TABLE, model), 2 * DIM + 8), (bits_name(TABLE, model), DIM // 8 + 5)):
        await nobody_looks(owner)
        await owner.execute(f"REINDEX INDEX {name}")
        # And a page or two above the leaves.
        assert packed_bytes(800, searched) <= await size(owner, name) <= packed_bytes(800, searched) + 3 * packing.PAGE


async def test_small_indexes_are_left_alone(
    owner: Connection, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = await sparse(owner)
    monkeypatch.setattr(packing, "FEWEST_BYTES", 100_000_000)
    assert await pack(owner, model, partition) == []


async def test_what_a_killed_packing_leaves_is_removed(
    owner: Connection, another: Connection, partition: Partition
) -> None:
    model = await sparse(owner)
    async with another.transaction():
        await another.execute(f"LOCK {TABLE} IN ROW EXCLUSIVE MODE")
        await owner.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            await pack(owner, model, partition)
        await owner.execute("RESET statement_timeout")
    left = "SELECT count(*) FROM pg_index WHERE indrelid = to_regclass(%s) AND NOT indisvalid"
    assert await fetch(owner, left, TABLE) == [(1,)]
    assert exact_name(TABLE, model) in await pack(owner, model, partition)
    assert await fetch(owner, left, TABLE) == [(0,)]


async def test_a_week_is_packed_when_it_is_over(owner: Connection, partition: Partition, settings: Settings) -> None:
    model = await sparse(owner)
    service = TierService(Database(settings), "auto")
    before = await size(owner, exact_name(TABLE, model))
    with clock.as_of(PAST + timedelta(hours=9)):
        assert await service.build_indexes(model) == []
    assert await size(owner, exact_name(TABLE, model)) == before
    assert await service.build_indexes(model) == [TABLE]
    assert await service.build_indexes(model) == []
