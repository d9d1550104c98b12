"""A service whose models an admin sets, over stand-ins for endpoints on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.conftest import Api, serving
from tests.embedding import standin as vectors
from tests.language import standin as chat
from tests.waiting import PATIENCE

from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder

SECRET = "a secret of sixteen"
KEY = "sk-very-secret"
PATH = "/settings/ai"


@pytest.fixture
def keeping(settings: Settings) -> Settings:
    """Settings with a secret, where endpoints may be on loopback."""
    return settings.model_copy(update={"reverie_secret_key": SECRET, "ai_private_endpoints": "allow"})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked for is looked for often, and nothing that does not answer is waited for."""
    monkeypatch.setattr("reverie.following.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("reverie.settings.probing.SECONDS", 1.0)
    monkeypatch.setattr("reverie.language.endpoint._FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("reverie.embedding.endpoint._FIRST_PAUSE_SECONDS", 0.02)


@pytest.fixture
async def kept(keeping: Settings, embedder: Embedder) -> AsyncIterator[Api]:
    """A running API with these settings."""
    async with serving(keeping, embedder) as running:
        yield running


@pytest.fixture
async def keeper(kept: Api) -> httpx.AsyncClient:
    """An admin of the store."""
    return await kept.caller()


@pytest.fixture
def talker() -> Iterator[chat.StandIn]:
    """A language model."""
    with chat.serve() as running:
        yield running


@pytest.fixture
def vectoriser() -> Iterator[vectors.StandIn]:
    """An embedding model of 96 dimensions."""
    with vectors.serve() as running:
        yield running


@pytest.fixture
def judge() -> Iterator[vectors.StandIn]:
    """A reranker."""
    with vectors.serve("/v1/rerank", vectors.judges) as running:
        yield running


async def save(client: httpx.AsyncClient, status: int = 200, **sections: Any) -> dict[str, Any]:
    """Saves all of the settings over the newest version."""
    version = (await client.get(PATH)).json()["version"]
    answer = await client.put(PATH, json={"version": version, **sections})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def shown(client: httpx.AsyncClient) -> dict[str, Any]:
    """What is saved and in force."""
    answer = await client.get(PATH)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until_in_force(client: httpx.AsyncClient, version: int) -> dict[str, Any]:
    """Waits until the process that answers works with a version."""
    return await until_shown(client, lambda found: found["in_force"]["version"] == version)


async def until_shown(client: httpx.AsyncClient, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Waits until what is shown is so."""
    async with asyncio.timeout(PATIENCE):
        while not holds(found := await shown(client)):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)
    return found
