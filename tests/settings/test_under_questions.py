"""The models are changed over HTTP while the store is asked without a pause, and processes are killed."""

import asyncio
import time
from typing import Any

import httpx
import numpy as np
import pytest
from tests.embedding import standin as vectors
from tests.faults.stack import Stack, running_stack
from tests.figures import Figure
from tests.reembedding.test_under_questions import USERS, Asking, Writing, load, sentences, without_pause
from tests.settings.conftest import KEY, PATH, SECRET
from tests.waiting import until

SECONDS = 600.0
COUNT = 300
BGE, MINILM = "bge-small-en-v1.5", "all-MiniLM-L6-v2"


async def put(stack: Stack, client: httpx.AsyncClient, **sections: Any) -> dict[str, Any]:
    """Saves all of the settings over the newest version."""
    path = stack.urls[0] + PATH
    version = (await client.get(path)).json()["version"]
    answer = await client.put(path, json={"version": version, **sections})
    assert answer.status_code in (200, 202), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until_model(stack: Stack, client: httpx.AsyncClient, name: str, dim: int) -> dict[str, Any]:
    """Waits until the API works with a model that the store has gone over to."""
    wanted = {"name": name, "dim": dim, "precision": "fp16"}
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                found: dict[str, Any] = (await client.get(stack.urls[0] + PATH)).json()
            except httpx.HTTPError:
                found = {}
            if found and found["active_model"] == wanted and found["target"] is None:
                return found
            await asyncio.sleep(0.1)


async def until_done(stack: Stack, client: httpx.AsyncClient, operation_id: str) -> dict[str, Any]:
    """An operation, once it is over."""
    async with asyncio.timeout(SECONDS):
        while True:
            found: dict[str, Any] = (await client.get(f"{stack.urls[0]}/operations/{operation_id}")).json()
            if found["state"] in ("done", "failed"):
                return found
            await asyncio.sleep(0.1)


@pytest.mark.timeout(SECONDS)
async def test_what_was_saved_is_in_force_after_a_kill() -> None:
    with vectors.serve("/v1/rerank", vectors.judges) as judge:
        async with running_stack(workers=0, REVERIE_SECRET_KEY=SECRET, AI_PRIVATE_ENDPOINTS="allow") as stack:
            async with stack.client() as client:
                saved = await put(
                    stack,
                    client,
                    language_model={"url": judge.url, "model": "talker", "api_key": KEY, "max_tokens_per_night": 7},
                    reranker={"url": judge.url, "model": "judge"},
                )
                assert saved["version"] == 1
                starts = stack.apis[0].starts
                assert stack.apis[0].kill()
                await until(lambda: stack.apis[0].starts > starts)
                await stack.ready(stack.urls[0])
                found = (await client.get(stack.urls[0] + PATH)).json()
                force = found["in_force"]
                assert (force["version"], found["problems"]) == (1, [])
                assert force["language_model"] == {
                    "url": {"value": judge.url, "source": "settings"},
                    "model": {"value": "talker", "source": "settings"},
                    "api_key": {"set": True, "source": "settings"},
                    "max_tokens_per_night": {"value": 7, "source": "settings"},
                }
                body = {"user_id": "ann", "traces": [{"content": text} for text in ("Miso is a cat.", "Rex is a dog.")]}
                assert (await client.post(f"{stack.urls[0]}/memory/remember", json=body)).status_code == 201
                asked = {"user_id": "ann", "q": "Who is Miso?", "recipe": "thorough"}
                answer = (await client.get(f"{stack.urls[0]}/memory/recall", params=asked)).json()
                assert answer["degraded"] == []
                assert judge.requests[-1]["model"] == "judge"
            said = stack.said(1000)
            assert KEY not in said
            assert "ai settings saved" in said


@pytest.mark.timeout(SECONDS)
async def test_no_recall_fails_while_the_store_goes_over_and_back(long: bool, figure: Figure) -> None:
    """To fewer dimensions, or in the long run to another model."""
    name, dim = (MINILM, 384) if long else (BGE, 128)
    texts = sentences(COUNT)
    own = np.random.default_rng(1).standard_normal((COUNT, 384)).astype(np.float32)
    users = [f"user {n}" for n in range(USERS)]
    async with running_stack(REVERIE_SECRET_KEY=SECRET) as stack, stack.client() as client:
        known = await load(client, stack.urls[0], texts, own / np.linalg.norm(own, axis=1, keepdims=True))
        asking, writing = Asking(stack, users, stack.urls[0]), Writing(stack, stack.urls[0])
        async with without_pause(asking, writing):
            began = time.monotonic()
            accepted = await put(stack, client, embedding={"model": name, "dim": dim})
            assert (accepted["target"]["model"], accepted["target"]["dim"]) == (name, dim)
            # Its worker is killed in the midst of it, and takes it up where it was.
            async with asyncio.timeout(SECONDS):
                while not await stack.rows("SELECT 1 FROM reembedding WHERE made > 0"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            stack.workers[0].kill()
            over = await until_model(stack, client, name, dim)
            there = time.monotonic() - began
            done = await until_done(stack, client, accepted["operation_id"])
            assert (done["kind"], done["state"], done["result"]["model"]) == ("reembed", "done", name)
            answered = asking.answers
            await until(lambda: asking.answers > answered + 20)
            # The environment does not name this model: who starts now starts by what was saved.
            starts = stack.workers[0].starts
            stack.workers[0].kill()
            await until(lambda: stack.workers[0].starts > starts)
            began = time.monotonic()
            answer = await client.post(f"{stack.urls[0]}{PATH}/restore", json={"version": 1})
            assert answer.status_code == 200, answer.text
            back = await put(stack, client)
            assert back["operation_id"]
            await until_model(stack, client, BGE, 384)
            home = time.monotonic() - began
            answered = asking.answers
            await until(lambda: asking.answers > answered + 20)
        assert asking.wrong == []
        assert over["in_force"]["embedding"]["model"]["source"] == "settings"
        async with asyncio.timeout(SECONDS):
            while await stack.rows("SELECT id FROM operation WHERE state <> 'done' LIMIT 1"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        lacking = await stack.rows(
            "SELECT t.id FROM memory_trace t JOIN model m ON m.active WHERE t.vectors AND t.deleted_at IS NULL AND"
            " NOT EXISTS (SELECT FROM memory_embedding e WHERE e.user_id = t.user_id AND e.trace_id = t.id AND"
            " e.head = 0 AND e.model_id = m.id)"
        )
        assert lacking == []
        figure("traces", len(known) + len(writing.texts))
        figure("recalls meanwhile, none of which failed", asking.answers)
        figure("seconds over, and back", f"{there:.0f}, {home:.0f}")
        half, most, worst = np.percentile(asking.milliseconds, [50, 95, 100])
        figure("recall meanwhile, p50, p95 and longest (ms)", f"{half:.0f}, {most:.0f}, {worst:.0f}")
