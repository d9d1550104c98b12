"""An export of a user whose traces lie in files: the same as when they were hot, and whole but for what is damaged."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from psycopg import AsyncConnection
from tests.conftest import serving
from tests.tiers.past import SPACE, Past

from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.core.ids import user_uuid
from reverie.embedding.protocol import Embedder


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def past(owner: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Past:
    """Five weeks of three users, hot."""
    # Users as the API knows them.
    monkeypatch.setattr("tests.tiers.past.user_of", lambda name: user_uuid(SPACE, name))
    store = await Past.of(owner, settings)
    await store.fill()
    return store


@pytest.fixture
async def caller(past: Past, settings: Settings, embedder: Embedder) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(settings, embedder) as running:
        yield await running.caller("one")


async def exported(caller: httpx.AsyncClient) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The traces of ann by id, and the last line."""
    answer = await caller.get("/memory/users/ann/export", params={"vectors": True})
    records = [json.loads(line) for line in answer.text.splitlines()]
    return {one["trace_id"]: one for one in records if one["record"] == "trace"}, records[-1]


def places(trace: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["head"], one["piece"], one.get("begins"), one.get("ends")) for one in trace["embeddings"]]


async def test_it_is_as_when_it_was_hot(past: Past, caller: httpx.AsyncClient) -> None:
    hot, _ = await exported(caller)
    assert len(hot) > 50
    await past.make_warm()
    warm, _ = await exported(caller)
    await past.make_cold()
    cold, end = await exported(caller)
    assert (end["record"], end["unreadable"]) == ("end", 0)
    for other in (warm, cold):
        assert list(other) == list(hot)
        for trace_id, before in hot.items():
            after = other[trace_id]
            assert {**after, "embeddings": None} == {**before, "embeddings": None}
            assert places(after) == places(before)
            for one, another in zip(before["embeddings"], after["embeddings"], strict=True):
                assert float(np.dot(one["vector"], another["vector"])) > 0.999


async def test_what_is_damaged_is_counted_and_the_rest_is_there(past: Past, caller: httpx.AsyncClient) -> None:
    await past.make_warm()
    await past.make_cold()
    whole, _ = await exported(caller)
    [first, *others] = sorted(path for path in past.settings.reverie_home.rglob("*.parquet"))
    assert others
    first.unlink()
    torn, end = await exported(caller)
    assert list(torn) == list(whole)
    lost = {trace_id for trace_id, one in torn.items() if one["content"] is None}
    assert 0 < len(lost) < len(whole)
    assert (end["record"], end["unreadable"]) == ("end", len(lost))
    assert all(torn[trace_id]["embeddings"] == [] for trace_id in lost)
