"""Health: what is up, what is down, in words; nobody needs a key for it."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle

from reverie import __version__
from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder
from reverie.status.service import StatusService

if TYPE_CHECKING:
    from tests.servers import SharedPostgres


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is a new look."""
    monkeypatch.setattr(StatusService, "KEPT", 0.0)


async def test_many_who_ask_are_one_look(api: Api, fickle: Fickle, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.client()
    service: StatusService = api.app.state.status
    monkeypatch.setattr(service, "_last", None)
    fickle.questions.clear()
    answers = await asyncio.gather(*(client.get("/health/ready") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await client.get("/health/ready")).json()["status"] == "ready"
    assert fickle.questions == ["ready?"]
    assert service._last is not None
    service._last = (service._last[0] - service.KEPT, service._last[1])
    await client.get("/health/ready")
    assert fickle.questions == ["ready?"] * 2


async def test_a_database_without_a_free_connection_is_busy_and_says_so(
    own_settings: Settings, embedder: Embedder
) -> None:
    hasty = own_settings.model_copy(update={"database_timeout_seconds": 0.5, "database_pool_size": 2})
    async with serving(hasty, embedder) as running:
        database = running.app.state.database
        async with database.writing(None), database.writing(None):
            ready = await running.client().get("/health/ready")
    assert ready.status_code == 503
    assert "busy" in ready.json()["parts"]["postgresql"]["detail"]
    assert "DATABASE_POOL_SIZE" in ready.json()["parts"]["postgresql"]["detail"]


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


async def test_without_the_encoder_it_is_degraded_and_says_so(api: Api, fickle: Fickle, forgetful: None) -> None:
    with fickle.failing("secret details of the endpoint"):
        ready = await api.client().get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["parts"]["encoder"]["status"] == "down"
    assert "model" in ready.json()["parts"]["encoder"]["detail"]
    assert "secret" not in ready.text
    assert (await api.client().get("/health/ready")).json()["status"] == "ready"


async def test_without_postgresql_it_is_not_ready(
    own_settings: Settings, embedder: Embedder, postgres: "SharedPostgres", forgetful: None
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


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health/live", 200), ("/v1/health/ready", 200), ("/memory/users", 401), ("/", 404), ("/memory/remember", 405)],
)
async def test_head_answers_as_get_does_without_the_body(api: Api, path: str, status: int) -> None:
    client = api.client()
    head, get = await client.head(path), await client.get(path)
    assert head.status_code == get.status_code == status
    assert head.content == b""
    assert get.content
    names = ("content-length", "content-type", "allow", "www-authenticate")
    assert [head.headers.get(name) for name in names] == [get.headers.get(name) for name in names]


async def test_head_is_among_what_a_path_takes(api: Api) -> None:
    answer = await api.client().put("/health/live")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (await api.client().put("/memory/remember")).headers["allow"] == "POST"
