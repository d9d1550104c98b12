"""Health: what is up, what is down, in words; nobody needs a key for it."""

import asyncio
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle

from reverie import __version__
from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder

if TYPE_CHECKING:
    from tests.servers import SharedPostgres


async def test_a_service_that_has_all_its_parts_is_ready(api: Api) -> None:
    client = api.client()
    live = await client.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live", "version": __version__})
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    parts = ready.json()["parts"]
    assert {name: (part["status"], part["needed"], part["detail"]) for name, part in parts.items()} == {
        "postgresql": ("up", True, None),
        "redis": ("up", False, None),
        "encoder": ("up", False, None),
    }


async def test_without_redis_it_is_degraded_and_says_so(own_settings: Settings, embedder: Embedder) -> None:
    nowhere = own_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with serving(nowhere, embedder) as running:
        ready = await running.client().get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["parts"]["redis"]["status"] == "down"
    assert "REDIS_URL" in ready.json()["parts"]["redis"]["detail"]
    assert ready.json()["parts"]["postgresql"]["status"] == "up"


async def test_without_the_encoder_it_is_degraded_and_says_so(api: Api, fickle: Fickle) -> None:
    with fickle.failing("secret details of the endpoint"):
        ready = await api.client().get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["parts"]["encoder"]["status"] == "down"
    assert "model" in ready.json()["parts"]["encoder"]["detail"]
    assert "secret" not in ready.text
    assert (await api.client().get("/health/ready")).json()["status"] == "ready"


async def test_without_postgresql_it_is_not_ready(
    own_settings: Settings, embedder: Embedder, postgres: "SharedPostgres"
) -> None:
    hasty = own_settings.model_copy(update={"database_timeout_seconds": 1.0})
    async with serving(hasty, embedder) as running:
        client = await running.caller()
        assert (await client.get("/health/ready")).status_code == 200
        await asyncio.to_thread(postgres.drop, str(conninfo_to_dict(str(own_settings.database_url))["dbname"]))
        ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["status"] == "unready"
        part = ready.json()["parts"]["postgresql"]
        assert (part["status"], part["needed"]) == ("down", True)
        assert "DATABASE_URL" in part["detail"]
        assert ready.json()["parts"]["encoder"]["status"] == "up"
        assert (await client.get("/health/live")).status_code == 200
        answer = await client.get("/memory/users")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
