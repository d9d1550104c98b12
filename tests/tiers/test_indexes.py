"""The covering index of every model stands on every partition; others can be built beside it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from tests.tiers.rows import add_model, add_vectors, fetch

from reverie.core.database import Connection
from reverie.memories.model import Model
from reverie.tiers import indexes
from reverie.tiers.indexes import (
    Span,
    add_model_indexes,
    bits_name,
    build_bits,
    build_graph,
    exact_name,
    hnsw_name,
    list_models,
)
from reverie.tiers.partitions import ensure_partitions, week_of

PAST = datetime(2020, 3, 4, 5, tzinfo=UTC)
TABLE = week_of(PAST).table("memory_embedding")
EMPTY = week_of(PAST + timedelta(weeks=1)).table("memory_embedding")


async def valid(connection: Connection, index: str) -> bool | None:
    found = await fetch(connection, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", index)
    return found[0][0] if found else None


@pytest.fixture
async def partitions(owner: Connection) -> None:
    """Two weeks, made before any model of the test."""
    await ensure_partitions(owner, PAST, PAST + timedelta(weeks=1))


@pytest.mark.parametrize(
    ("dim", "precision", "covered"),
    [(384, "fp16", True), (1252, "fp16", True), (1253, "fp16", False), (626, "fp32", True), (627, "fp32", False),
     (4000, "fp16", False), (2000, "fp32", False)],
)  # fmt: skip
async def test_a_vector_is_covered_as_far_as_a_row_of_the_index_holds(
    owner: Connection, partitions: None, dim: int, precision: str, covered: bool
) -> None:
    model = await add_model(owner, "sized", dim, precision, PAST)
    assert indexes.covered(model) is covered
    await add_model_indexes(owner, model)
    ((definition,),) = await fetch(owner, "SELECT pg_get_indexdef(to_regclass(%s))", exact_name(TABLE, model))
    assert (f"happened_at, {model.column})" in definition) is covered
    assert definition.endswith(f"WHERE (model_id = {model.id})")
    assert len(await add_vectors(owner, model, uuid4(), uuid4(), PAST, 3)) == 3


async def test_partitions_and_models_find_each_other_in_either_order(owner: Connection, partitions: None) -> None:
    model = await add_model(owner, "late", 8, "fp16", PAST)
    assert model in await list_models(owner)
    made = await add_model_indexes(owner, model)
    assert {exact_name(TABLE, model), exact_name(EMPTY, model)} <= set(made)
    assert await add_model_indexes(owner, model) == []
    later = PAST + timedelta(weeks=2)
    await ensure_partitions(owner, later, later)
    assert await valid(owner, exact_name(week_of(later).table("memory_embedding"), model))
    assert await add_model_indexes(owner, model) == []


async def test_a_model_and_a_partition_made_at_once_miss_nothing(owner: Connection, another: Connection) -> None:
    for n in range(4):
        week = PAST + timedelta(weeks=n)

        async def register(number: int) -> Model:
            model = await add_model(another, f"model {number}", 8, "fp16", PAST)
            await add_model_indexes(another, model)
            return model

        model, _ = await asyncio.gather(register(n), ensure_partitions(owner, week, week))
        assert await valid(owner, exact_name(week_of(week).table("memory_embedding"), model))


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
async def test_a_graph_is_of_one_user_and_span(owner: Connection, partitions: None, precision: str) -> None:
    model = await add_model(owner, "graph", 8, precision, PAST)
    await add_model_indexes(owner, model)
    user = uuid4()
    await add_vectors(owner, model, uuid4(), user, PAST, 200)
    span = Span(TABLE, model, user, 0, week_of(PAST).lower, week_of(PAST).upper)
    assert await build_graph(owner, span)
    assert not await build_graph(owner, span)
    ((definition,),) = await fetch(owner, "SELECT pg_get_indexdef(to_regclass(%s))", hnsw_name(span))
    assert f"{model.type}_cosine_ops" in definition
    for part in (
        f"model_id = {model.id}",
        f"user_id = '{user}'",
        "head = 0",
        f"< '{span.upper}'",
        f">= '{span.lower}'",
    ):
        assert part in definition
    await owner.execute("SET enable_seqscan = off")
    await owner.execute("SET enable_sort = off")
    plan = await fetch(owner, f"EXPLAIN {span.sql('nearest_by_graph').decode()}", f"[{','.join('12345678')}]")
    assert hnsw_name(span) in str(plan)
    reset = await fetch(owner, "SELECT setting = reset_val FROM pg_settings WHERE name = 'maintenance_work_mem'")
    assert reset == [(True,)]


async def test_a_build_that_was_killed_is_built_again(owner: Connection, another: Connection, partitions: None) -> None:
    model = await add_model(owner, "killed", 8, "fp16", PAST)
    await add_model_indexes(owner, model)
    user = uuid4()
    await add_vectors(owner, model, uuid4(), user, PAST, 10)
    span = Span(TABLE, model, user, 0, week_of(PAST).lower, week_of(PAST).upper)
    async with another.transaction():
        await another.execute(f"LOCK {TABLE} IN ROW EXCLUSIVE MODE")
        await owner.execute("SET statement_timeout = '200ms'")
        for build in (build_graph(owner, span), build_bits(owner, TABLE, model)):
            with pytest.raises(psycopg.errors.QueryCanceled):
                await build
        await owner.execute("RESET statement_timeout")
    for name in (hnsw_name(span), bits_name(TABLE, model)):
        assert await valid(owner, name) is False
    assert await build_graph(owner, span)
    assert await build_bits(owner, TABLE, model)
    for name in (hnsw_name(span), bits_name(TABLE, model)):
        assert await valid(owner, name)


async def test_exact_search_reads_indexes_alone(owner: Connection, database_url: str) -> None:
    """As the serving role, with a generic plan, on every partition: of many users, of one, and empty."""
    # Otherwise the commits may reach the disk after the VACUUM, which then marks no page as visible to all.
    await owner.execute("SET synchronous_commit = on")
    await ensure_partitions(owner, PAST, PAST + timedelta(weeks=3))
    model = await add_model(owner, "planned", 384, "fp16", PAST)
    await add_model_indexes(owner, model)
    space, user = uuid4(), uuid4()
    for week, others in enumerate((5, 0, 5)):
        await add_vectors(owner, model, space, user, PAST + timedelta(weeks=week), 300)
        for _ in range(others):
            await add_vectors(owner, model, space, uuid4(), PAST + timedelta(weeks=week), 100)
    await owner.execute("VACUUM ANALYZE memory_embedding")
    # At the usual cost of a random page, a partition of one user alone is read by its primary key and the heap.
    options = (
        "-c role=reverie_app -c plan_cache_mode=force_generic_plan -c random_page_cost=1.1 -c enable_seqscan=off"
        " -c enable_bitmapscan=off"
    )
    async with await AsyncConnection.connect(database_url, autocommit=True, options=options) as serving:
        await serving.execute("SELECT set_config('reverie.space', %s, false)", (str(space),))
        await serving.execute(
            "PREPARE nearest (uuid[], halfvec, timestamptz) AS SELECT user_id, trace_id, piece, kind"  # noqa: S608
            f" FROM memory_embedding WHERE user_id = ANY($1) AND head = 0 AND model_id = {model.id}"
            " AND happened_at >= $3 ORDER BY vec::halfvec(384) <=> $2::halfvec(384) LIMIT 10"
        )
        ((plan,),) = await fetch(
            serving,
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE nearest ('{{{user}}}', '{[0.5] * 384}', '2020-01-01')",
        )
    scans = leaves(plan[0]["Plan"] if isinstance(plan, list) else json.loads(plan)[0]["Plan"])
    partitions_ = await fetch(owner, "SELECT count(*) FROM memory_partition WHERE parent = 'memory_embedding'")
    assert len(scans) == partitions_[0][0]
    assert {scan["Node Type"] for scan in scans} == {"Index Only Scan"}
    assert sum(scan["Actual Rows"] for scan in scans) == 900
    assert {scan["Heap Fetches"] for scan in scans} == {0}


def leaves(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The scans of tables in a plan."""
    below = [leaf for child in node.get("Plans", []) for leaf in leaves(child)]
    return below + ([node] if "Relation Name" in node else [])
