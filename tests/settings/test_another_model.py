"""Another embedding model is saved: the store goes over to it by an operation, or says why not, and always starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conftest import remembering, serving
from tests.embedding import standin as vectors
from tests.memories.helpers import Fickle, found_ids, rows
from tests.settings.conftest import save, shown, until_in_force, until_shown
from tests.waiting import PATIENCE, until_operation

from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder
from reverie.operations.service import OperationService
from reverie.reembedding import jobs, service
from reverie.runtime import open_runtime

TEXTS = [f"Parcel {n} went to harbour {n % 7} with the {n}th boat." for n in range(24)]
SMALLER = {"embedding": {"dim": 128}}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of which there are several, looked at often; what failed is tried again at once."""
    monkeypatch.setattr(service, "PART_TRACES", 8)
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(OperationService, "PAUSE", OperationService.PAUSE * 0)
    monkeypatch.setattr(OperationService, "LONGEST_REST", OperationService.PAUSE * 0)


async def run(settings: Settings, embedder: Embedder, operation_id: str) -> None:
    """One attempt at an operation, by a worker."""
    async with open_runtime(settings, embedder) as worker:
        await worker.operations.run(UUID(operation_id))


async def done(settings: Settings, embedder: Embedder, client: httpx.AsyncClient, operation_id: str) -> dict[str, Any]:
    """Runs an operation until it is over."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await run(settings, embedder, operation_id)
            found: dict[str, Any] = (await client.get(f"/operations/{operation_id}")).json()
            if found["state"] in ("done", "failed"):
                return found


async def until_model(client: httpx.AsyncClient, name: str, dim: int) -> dict[str, Any]:
    """Waits until the process works with what the store has gone over to."""

    def works(found: dict[str, Any]) -> bool:
        force = found["in_force"]
        return found["active_model"]["dim"] == dim and force["version"] == found["version"] and found["target"] is None

    found = await until_shown(client, works)
    assert found["active_model"]["name"] == name
    return found


async def assert_found(client: httpx.AsyncClient, user: str = "ada") -> None:
    """Recall finds by meaning, in full."""
    ids = await found_ids(client, user, TEXTS[7], recipe="vector")
    answer = await client.get("/memory/recall", params={"user_id": user, "q": TEXTS[7], "recipe": "vector"})
    assert (answer.json()["degraded"], answer.json()["results"][0]["content"]) == ([], TEXTS[7])
    assert ids


@asynccontextmanager
async def filled(settings: Settings, embedder: Embedder) -> AsyncIterator[httpx.AsyncClient]:
    """A service that remembers something."""
    async with serving(settings, embedder) as api:
        keeper = await api.caller()
        await remembering(keeper)("ada", *TEXTS)
        yield keeper


async def test_the_store_goes_over_and_back(keeping: Settings, embedder: Embedder) -> None:
    async with filled(keeping, embedder) as keeper:
        out = await save(keeper, 202, **SMALLER)
        assert out["operation_id"] == out["target"]["operation_id"]
        assert (out["target"]["state"], out["target"]["dim"]) == ("pending", 128)
        # Until then nothing has changed.
        found = await until_in_force(keeper, 1)
        assert found["in_force"]["embedding"]["dim"] == {"value": None, "source": "default"}
        assert found["active_model"]["dim"] == 384
        await assert_found(keeper)
        operation = await done(keeping, embedder, keeper, out["operation_id"])
        assert (operation["kind"], operation["state"], operation["error"]) == ("reembed", "done", None)
        result = operation["result"]
        assert (result["version"], result["model"], result["dim"]) == (1, "bge-small-en-v1.5", 128)
        assert (result["state"], result["made"], result["refused"]) == ("done", len(TEXTS), 0)
        found = await until_model(keeper, "bge-small-en-v1.5", 128)
        assert found["in_force"]["embedding"]["dim"] == {"value": 128, "source": "settings"}
        await assert_found(keeper)
    # The environment names a model that is no more; who starts does so by what was saved.
    async with serving(keeping, embedder) as api:
        keeper = await api.caller()
        assert (await shown(keeper))["in_force"]["embedding"]["dim"]["value"] == 128
        await assert_found(keeper)
        out = await save(keeper, 202)
        assert (await done(keeping, embedder, keeper, out["operation_id"]))["state"] == "done"
        found = await until_model(keeper, "bge-small-en-v1.5", 384)
        assert found["in_force"]["embedding"]["dim"] == {"value": None, "source": "default"}
        await assert_found(keeper)


async def test_a_saved_model_counts_where_the_environment_fits_no_more(keeping: Settings, embedder: Embedder) -> None:
    async with filled(keeping, embedder) as keeper:
        out = await save(keeper, 202, **SMALLER)
        await done(keeping, embedder, keeper, out["operation_id"])
    # Others were never here, and would be refused.
    async with serving(keeping.model_copy(update={"embedding_dim": 64}), None) as api:
        keeper = await api.caller()
        found = await shown(keeper)
        assert found["in_force"]["embedding"]["dim"] == {"value": 128, "source": "settings"}
        await assert_found(keeper)


async def test_a_change_is_ended_by_going_back(keeping: Settings, embedder: Embedder) -> None:
    async with filled(keeping, embedder) as keeper:
        slow = Fickle(embedder)
        monkey = pytest.MonkeyPatch()
        monkey.setattr(jobs, "build_embedder", lambda settings: slow if settings.embedding_dim == 128 else embedder)
        try:
            with slow.held(after=1):
                out = await save(keeper, 202, **SMALLER)
                going = asyncio.create_task(run(keeping, embedder, out["operation_id"]))
                await until_shown(keeper, lambda found: bool(found["target"] and found["target"]["done_percent"]))
                back = await save(keeper, 202)
                async with asyncio.timeout(PATIENCE):
                    await going
            first = await until_operation(keeper, out["operation_id"], "done")
            assert first["result"]["state"] == "superseded"
            second = await done(keeping, embedder, keeper, back["operation_id"])
            assert (second["state"], second["result"]["state"]) == ("done", "done")
        finally:
            monkey.undo()
        assert await rows(keeping, "SELECT dim FROM model") == [(384,)]
        assert await rows(keeping, "SELECT DISTINCT model_id FROM memory_embedding") == [(1,)]
        found = await shown(keeper)
        assert (found["target"], found["problems"]) == (None, [])
        await assert_found(keeper)


async def test_an_attempt_that_was_long_enough_goes_on_in_the_next(
    keeping: Settings, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filled(keeping, embedder) as keeper:
        slow = Fickle(embedder)
        monkeypatch.setattr(jobs, "build_embedder", lambda settings: slow)
        monkeypatch.setattr(jobs, "SLICE_SECONDS", 3.0)
        out = await save(keeper, 202, **SMALLER)
        with slow.held(after=1):
            await run(keeping, embedder, out["operation_id"])
        waiting = (await keeper.get(f"/operations/{out['operation_id']}")).json()
        assert (waiting["state"], waiting["attempts"]) == ("pending", 0)
        assert waiting["error"] == "The vectors of bge-small-en-v1.5 are being made."
        assert 0 < waiting["result"]["made"] < len(TEXTS)
        monkeypatch.setattr(jobs, "SLICE_SECONDS", 60.0)
        operation = await done(keeping, embedder, keeper, out["operation_id"])
        assert (operation["state"], operation["result"]["made"]) == ("done", len(TEXTS))
        await until_model(keeper, "bge-small-en-v1.5", 128)


HTML = vectors.says(200, b"<html>Welcome!</html>")


@pytest.mark.parametrize(
    ("usual", "given", "says"),
    [
        (HTML, {}, "answered with a page for people (HTML) instead of JSON"),
        (vectors.says(302, b"", Location="http://127.0.0.1/"), {}, "answered 302 Found, a redirect"),
        (vectors.says(401, b"{}"), {}, "answered 401 Unauthorized"),
        (vectors.honest, {"dim": 384}, "is 384, and the vectors of words have 96"),
    ],
    ids=["HTML", "a redirect", "no key", "a lie about its dimension"],
)
async def test_a_model_that_is_none_changes_nothing(
    keeping: Settings, embedder: Embedder, vectoriser: vectors.StandIn, usual: vectors.Trick, given: dict[str, Any],
    says: str,
) -> None:  # fmt: skip
    vectoriser.usual = usual
    async with filled(keeping, embedder) as keeper:
        out = await save(keeper, 202, embedding={"url": vectoriser.url, "model": "words", **given})
        operation = await done(keeping, embedder, keeper, out["operation_id"])
        assert (operation["state"], operation["attempts"]) == ("failed", 3)
        assert says in operation["error"]
        found = await until_in_force(keeper, 1)
        assert found["target"]["state"] == "failed"
        assert says in found["target"]["error"]
        assert any(says in one for one in found["problems"])
        assert found["active_model"]["name"] == "bge-small-en-v1.5"
        assert await rows(keeping, "SELECT count(*) FROM model") == [(1,)]
        # The same again is another attempt.
        again = await save(keeper, 202, embedding={"url": vectoriser.url, "model": "words", **given})
        assert again["operation_id"] != out["operation_id"]
        await assert_found(keeper)
    async with serving(keeping, embedder) as api:
        await assert_found(await api.caller())


async def test_an_endpoint_becomes_the_stores_model_and_may_move(
    keeping: Settings, embedder: Embedder, vectoriser: vectors.StandIn
) -> None:
    words = {"url": vectoriser.url, "model": "words"}
    async with filled(keeping, embedder) as keeper:
        out = await save(keeper, 202, embedding=words)
        assert (await done(keeping, embedder, keeper, out["operation_id"]))["state"] == "done"
        await until_model(keeper, "words", vectors.DIM)
        await assert_found(keeper)
        with vectors.serve() as moved:
            # One that has other vectors under the same name is not gone over to.
            moved.usual = lambda request: vectors.answer([vectors.embed(text, 64) for text in request["input"]])
            out = await save(keeper, 200, embedding=words | {"url": moved.url})
            assert out["operation_id"] is None
            found = await until_in_force(keeper, 2)
            assert any("answers with 64 dimensions" in one for one in found["problems"])
            assert found["in_force"]["embedding"]["url"]["value"] == vectoriser.url
            await assert_found(keeper)
            moved.usual = vectors.honest
            await save(keeper, 200, embedding=words | {"url": f"{moved.url}/embeddings"})
            found = await until_in_force(keeper, 3)
            assert (found["problems"], found["in_force"]["embedding"]["url"]["source"]) == ([], "settings")
            asked = len(moved.requests)
            await assert_found(keeper)
            assert len(moved.requests) > asked
    # The endpoint is out when the next one starts, which comes up all the same, and takes no other vectors for its own.
    async with serving(keeping, embedder) as api:
        keeper = await api.caller()
        assert (await shown(keeper))["in_force"]["embedding"]["model"]["value"] == "words"
        answer = await keeper.get("/memory/recall", params={"user_id": "ada", "q": "Parcel 7"})
        assert (answer.status_code, bool(answer.json()["results"])) == (200, True)
        await save(keeper, 200, embedding=words)
        await until_in_force(keeper, 4)
        await assert_found(keeper)


@pytest.mark.parametrize("used", [True, False], ids=["with vectors", "empty"])
async def test_no_saved_setting_keeps_the_next_start_from_coming_up(
    keeping: Settings, embedder: Embedder, used: bool
) -> None:
    bad: list[tuple[int, dict[str, Any]]] = [
        (202, {"embedding": {"url": "http://127.0.0.1:9/v1", "model": "words"}}),
        (202, {"embedding": {"model": "nobody/no-such-model"}}),
        # Back to the environment.
        (202, {"reranker": {"model": "nobody/no-such-model"}}),
        (200, {"language_model": {"url": "http://127.0.0.1:9/v1", "model": "m"}}),
    ]
    async with serving(keeping, embedder) as api:
        if used:
            await remembering(await api.caller())("ada", *TEXTS)
    for version, (status, sections) in enumerate(bad, 1):
        async with serving(keeping, embedder) as api:
            keeper = await api.caller()
            await save(keeper, status, **sections)
        async with serving(keeping, embedder) as api:
            keeper = await api.caller()
            found = await shown(keeper)
            assert found["version"] == version
            assert found["active_model"]["name"] == "bge-small-en-v1.5"
            if used:
                await assert_found(keeper)
            assert (await api.client().get("/health/ready")).status_code == 200
