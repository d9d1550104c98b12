"""Memory part of which has become warm, as a caller sees it: found, named, chosen, changed, linked and forgotten."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle, post, rows, unit
from tests.memories.test_links import edges_of, link_all
from tests.recall.chilling import AGES, NOW, chill

from reverie.core import clock
from reverie.core.config import Settings

USER = "nora"
OLD = {"The cat is called Miso.": 1, "Anna moved to Lisbon in spring.": 2, "The bakery closes at noon.": 3}
NEW = {"The dog is called Pepper.": 4, "Ben moved to Oslo in autumn.": 5, "The library closes at six.": 6}


@dataclass(slots=True)
class Store:
    """A memory of three warm turns and three hot ones, each a conversation."""

    api: Api
    caller: httpx.AsyncClient
    settings: Settings
    ids: dict[str, str] = field(default_factory=dict)

    async def remember(self, given: dict[str, int], conversation: str) -> None:
        traces = [{"content": text, "embedding": unit(n)} for text, n in given.items()]
        answer = await post(self.caller, USER, *traces, conversation_id=conversation)
        assert answer.status_code == 201, answer.text
        self.ids |= dict(zip(given, (one["trace_id"] for one in answer.json()["traces"]), strict=True))

    async def recall(self, n: int, **asked: Any) -> dict[str, Any]:
        body = {"user_id": USER, "q": "What is it?", "embedding": unit(n), "k": 10, "recipe": "vector"} | asked
        answer = await self.caller.post("/memory/recall", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def tiers(self, n: int, **asked: Any) -> dict[str, str]:
        return {one["content"]: one["tier"] for one in (await self.recall(n, **asked))["results"]}

    async def codes(self, text: str) -> dict[int, bool]:
        """Of each head of a trace whether it is codes."""
        query = "SELECT head, codes IS NOT NULL FROM memory_embedding WHERE trace_id = %s ORDER BY head"
        return dict(await rows(self.settings, query, (self.ids[text],)))


@pytest.fixture
async def store(own_settings: Settings, fickle: Fickle) -> AsyncIterator[Store]:
    settings = own_settings.model_copy(update={"memory_heads": "semantic,situation", "memory_held_mb": 0})
    with clock.as_of(NOW - AGES["warm"]):
        async with serving(settings, fickle) as api:
            made = Store(api, await api.caller(), settings)
            await made.remember(OLD, "old")
    async with serving(settings, fickle) as api:
        store = Store(api, await api.caller(), settings, made.ids)
        await store.remember(NEW, "new")
        await chill(settings, steps=("warm",))
        yield store


async def test_every_result_names_its_tier(store: Store) -> None:
    named = dict.fromkeys(OLD, "warm") | dict.fromkeys(NEW, "hot")
    for text in OLD:
        assert await store.codes(text) == {0: True, 1: True}
    assert await store.tiers(1) == named
    for recipe, question in (("lexical", "closes at"), ("balanced", "closes at"), ("thorough", "closes at")):
        found = await store.tiers(1, recipe=recipe, q=question)
        assert {"The bakery closes at noon.", "The library closes at six."} <= found.keys()
        assert found.items() <= named.items()
    answer = await store.recall(1, explain=True)
    assert answer["explain"]["plan"] == "exact and warm"
    assert answer["results"][0]["content"] == "The cat is called Miso."
    assert answer["results"][0]["score"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("recipe", ["vector", "lexical", "balanced", "thorough"])
async def test_tiers_are_chosen(store: Store, recipe: str) -> None:
    asked = {"q": "Who moved, what is called so, and when does it close: closes, called, moved?", "recipe": recipe}
    assert (await store.tiers(1, tiers=["hot"], **asked)).keys() == NEW.keys()
    assert (await store.tiers(1, tiers=["warm"], **asked)).keys() == OLD.keys()
    assert (await store.tiers(1, tiers=["warm", "hot"], **asked)).keys() == OLD.keys() | NEW.keys()


async def test_tiers_are_chosen_beside_other_bounds(store: Store) -> None:
    only = {"filter": {"meta.no": 1}}
    assert await store.tiers(1, tiers=["hot"], **only) == {}
    assert (await store.tiers(1, tiers=["hot"], conversation_id="new")).keys() == NEW.keys()
    assert await store.tiers(1, tiers=["hot"], conversation_id="old") == {}
    then = (NOW - AGES["warm"] / 2).isoformat()
    assert (await store.tiers(1, tiers=["warm"], at=then)).keys() == OLD.keys()
    assert await store.tiers(1, tiers=["hot"], at=then) == {}


async def test_where_nothing_is_warm_all_is_hot(own_settings: Settings, fickle: Fickle) -> None:
    async with serving(own_settings, fickle) as api:
        store = Store(api, await api.caller(), own_settings)
        await store.remember(NEW, "new")
        assert await store.tiers(4, tiers=["hot"]) == dict.fromkeys(NEW, "hot")
        assert await store.tiers(4, tiers=["warm"]) == {}


async def test_what_is_changed_is_found_as_it_is_now(store: Store) -> None:
    text, said = "Anna moved to Lisbon in spring.", "Anna moved to Porto in summer."
    answer = await store.caller.patch(
        f"/memory/traces/{store.ids[text]}", params={"user_id": USER}, json={"content": said}
    )
    assert answer.status_code == 200, answer.text
    found = (await store.recall(1, q=said, embedding=None))["results"]
    assert (found[0]["content"], found[0]["tier"]) == (said, "warm")
    assert found[0]["score"] > 0.9
    # A vector, and the mean of what has one around it; what stands beside it keeps what it has.
    assert await store.codes(text) == {0: False, 1: False}
    for beside in ("The cat is called Miso.", "The bakery closes at noon."):
        assert await store.codes(beside) == {0: True, 1: True}
    assert len(await store.tiers(1, heads=["situation"])) == len(OLD) + len(NEW)


async def test_what_is_forgotten_is_gone(store: Store) -> None:
    text = "The cat is called Miso."
    answer = await store.caller.delete(f"/memory/traces/{store.ids[text]}", params={"user_id": USER})
    assert answer.status_code == 200, answer.text
    for recipe in ("vector", "balanced"):
        assert text not in await store.tiers(1, recipe=recipe)
    assert await store.codes(text) == {}


@pytest.mark.parametrize("count", [1, 6])
async def test_what_is_new_is_linked_with_what_is_warm(
    store: Store, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few traces and many: by the signs in SQL, and by all vectors of the user."""
    monkeypatch.setattr(store.api.app.state.memories.linker, "_links", "all")
    await link_all(store.api, store.settings, USER)
    near = [0.97 * x + 0.24 * y for x, y in zip(unit(1), unit(2), strict=True)]
    said = {f"A cat again, {n}.": n for n in range(count)}
    traces = [{"content": text, "embedding": near if n == 0 else unit(20 + n)} for text, n in said.items()]
    assert (await post(store.caller, USER, *traces)).status_code == 201
    await link_all(store.api, store.settings, USER)
    assert ("A cat again, 0.", "The cat is called Miso.") in await edges_of(store.settings, USER, "similar")
    assert len(await edges_of(store.settings, USER, "similar")) == 1
