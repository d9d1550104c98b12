"""Another dimension and precision from end to end, by HNSW; and a store that keeps to the model it was filled with."""

from typing import Any

import numpy as np
import pytest

from reverie.core.config import Settings
from reverie.core.errors import StartError
from reverie.embedding.protocol import Embedder
from reverie.recall import vectors
from reverie.recall.indexes import Indexes
from reverie.recall.planner import choose
from reverie.recall.types import Bounds
from reverie.runtime import open_runtime
from reverie.tiers.indexes import hnsw_prefix
from tests.conftest import serving
from tests.memories.helpers import rows

DIM = 768
MANY = 1500


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
async def test_another_dimension_is_recalled_by_hnsw(settings: Settings, embedder: Embedder, precision: str) -> None:
    wide = settings.model_copy(update={"embedding_dim": DIM, "embedding_precision": precision, "memory_hnsw": "always"})
    generator = np.random.default_rng(3)
    held = generator.standard_normal((MANY, DIM)) + 2 * np.repeat(generator.standard_normal((30, DIM)), MANY // 30, 0)
    held /= np.linalg.norm(held, axis=1, keepdims=True)
    ids: list[str] = []
    async with serving(wide, embedder) as running:
        caller = await running.caller()
        for start in range(0, MANY, 500):
            traces = [
                {"content": f"Star {start + n}.", "embedding": [round(float(x), 6) for x in vector]}
                for n, vector in enumerate(held[start : start + 500])
            ]
            answer = await caller.post("/memory/remember", json={"user_id": "ada", "traces": traces})
            assert answer.status_code == 201
            ids += [one["trace_id"] for one in answer.json()["traces"]]
        texts = [{"content": text} for text in ("The otter sleeps on its back.", "A comet was seen over Turku.")]
        answer = await caller.post("/memory/remember", json={"user_id": "bob", "traces": texts})
        otter = answer.json()["traces"][0]["trace_id"]
        assert [one["vectors"] for one in answer.json()["traces"]] == ["stored", "stored"]
    async with open_runtime(wide, embedder) as runtime:
        built = await runtime.tiers.build_indexes(runtime.model)
        assert len(built) == 1
        await rows(wide, "ANALYZE memory_embedding")
        space_id, user_id = await _owner_of(wide, ids[0])
        plan = await _plan(runtime.database, runtime.model, space_id, user_id, held[0])
        assert f"Index Scan using {hnsw_prefix(built[0], runtime.model)}" in plan
    column = "vec" if precision == "fp16" else "vec_fp32"
    kept = await rows(
        wide,
        f"SELECT DISTINCT vector_dims({column}), vec IS NULL FROM memory_embedding",  # noqa: S608
    )
    assert kept == [(DIM, precision == "fp32")]
    async with serving(wide, embedder) as running:
        caller = await running.caller()
        hits = []
        for n in range(20):
            question = held[n * 71] + 0.02 * generator.standard_normal(DIM)
            body = {"user_id": "ada", "q": "?", "recipe": "vector", "embedding": list(question), "explain": True}
            answer = (await caller.post("/memory/recall", json=body)).json()
            assert answer["explain"]["plan"] == "hnsw"
            best = {ids[place] for place in np.argsort(-(held @ question))[:10]}
            hits.append(len(best & {one["trace_id"] for one in answer["results"]}) / 10)
        assert np.mean(hits) >= 0.97
        asked: dict[str, Any] = {"user_id": "bob", "q": "Which animal sleeps?"}
        found = (await caller.get("/memory/recall", params=asked)).json()
        assert found["degraded"] == []
        assert found["results"][0]["trace_id"] == otter
        narrow = await caller.post("/memory/recall", json=asked | {"embedding": [1.0] * 384})
        assert narrow.status_code == 422
        assert "768" in narrow.json()["detail"]


async def _owner_of(settings: Settings, trace_id: str) -> tuple[Any, Any]:
    ((space_id, user_id),) = await rows(
        settings, "SELECT space_id, user_id FROM memory_trace WHERE id = %s", (trace_id,)
    )
    return space_id, user_id


async def _plan(database: Any, model: Any, space_id: Any, user_id: Any, vector: Any) -> str:
    """The plan of the query that recall sends, as the serving role."""
    bounds = Bounds(user_ids=[user_id], kinds=[1, 2, 3, 4], heads=[0])
    known = await Indexes(database, "always").of(model.id, [user_id])
    plan = choose(bounds, known, model.dim, 10, "always")
    query, parameters = vectors.query(plan, bounds, vector.astype(np.float32), model, 10)
    async with database.reading_vectors(space_id) as session:
        await session.send(vectors.SQL["graph_settings"], vectors.graph_settings(plan, 10))
        found = await session.fetch(b"EXPLAIN " + query, parameters)
    return "\n".join(row[0] for row in found)


async def test_a_store_keeps_to_the_model_it_was_filled_with(settings: Settings, embedder: Embedder) -> None:
    # An empty store takes any.
    async with serving(settings.model_copy(update={"embedding_dim": 256}), embedder) as running:
        await running.caller()
    async with serving(settings, embedder) as running:
        caller = await running.caller()
        body = {"user_id": "ada", "traces": [{"content": "Here."}]}
        assert (await caller.post("/memory/remember", json=body)).status_code == 201
    for change in ({"embedding_dim": 256}, {"embedding_precision": "fp32"}):
        with pytest.raises(StartError) as refused:
            async with serving(settings.model_copy(update=change), embedder):
                pass
        said = str(refused.value)
        assert f"holds vectors of {embedder.name} (384 dimensions, fp16)" in said
        assert f"settings name {embedder.name} ({change.get('embedding_dim', 384)} dimensions" in said
        assert "EMBEDDING_DIM" in said
    async with serving(settings, embedder) as running:
        caller = await running.caller()
        found = (await caller.get("/memory/recall", params={"user_id": "ada", "q": "here"})).json()
        assert len(found["results"]) == 1
