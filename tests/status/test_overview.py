"""The whole service at a glance: of a real store, with each part gone, and to each space its own errors."""

import asyncio
import platform
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.conftest import Api, Remember, serving
from tests.memories.helpers import Fickle

from reverie import __version__
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.ids import uuid7
from reverie.core.queue import HEARTBEAT
from reverie.core.schema import needed
from reverie.embedding.protocol import Embedder
from reverie.models import Base
from reverie.status.overview import OVERDUE_SECONDS, worker_seen
from reverie.status.repository import Queue

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def status_of(caller: httpx.AsyncClient) -> dict[str, Any]:
    answer = await caller.get("/admin/status")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_it_names_what_a_store_holds(
    settings: Settings, caller: httpx.AsyncClient, remember: Remember, user: str
) -> None:
    await remember(user, *(f"Parcel {n} lies in the harbour." for n in range(60)))
    with psycopg.connect(str(settings.database_url), autocommit=True) as owner:
        owner.execute("ANALYZE")
        names = {row[0] for row in owner.execute("SELECT table_name FROM memory_partition")}
    found = await status_of(caller)
    assert {one["table"] for one in found["partitions"]} == names
    assert {one["parent"] for one in found["partitions"]} == {"memory_body", "memory_embedding"}
    for one in found["partitions"]:
        since, until = datetime.fromisoformat(one["since"]), datetime.fromisoformat(one["until"])
        assert until - since == timedelta(days=7)
        assert one["tier"] == "hot"
        assert one["bytes"] > 0
        used = since <= clock.now() < until
        assert (one["rows"] >= 60) == used, one
    tables = {one["table"]: one for one in found["tables"]}
    partitioned = {"memory_body", "memory_embedding"}
    assert set(tables) == set(Base.metadata.tables) - partitioned | {"alembic_version"}
    assert tables["memory_trace"]["rows"] >= 60
    assert tables["memory_trace"]["bytes"] > 60 * 100
    indexes = {one["name"]: one for one in found["indexes"]}
    for table in names:
        mine = [one for one in indexes.values() if one["table"] == table]
        kind = "_lexemes" if table.startswith("memory_body") else "_m1_exact"
        assert f"{table}{kind}" in {one["name"] for one in mine}
        assert all(one["valid"] and one["bytes"] > 0 for one in mine)
    assert indexes["memory_trace_pkey"]["scans"] >= 0


async def test_it_names_versions_and_the_model(settings: Settings, caller: httpx.AsyncClient) -> None:
    found = await status_of(caller)
    with psycopg.connect(str(settings.database_url)) as owner:
        [(server, pgvector)] = owner.execute(
            "SELECT current_setting('server_version'), extversion FROM pg_extension WHERE extname = 'vector'"
        ).fetchall()
    versions = found["versions"]
    assert versions.pop("redis")[0].isdigit()
    assert versions == {
        "reverie": __version__,
        "python": platform.python_version(),
        "postgresql": server,
        "pgvector": pgvector,
        "schema_revision": needed(),
    }
    assert (found["version"], found["schema_revision"]) == (__version__, needed())
    assert found["model"] == {"name": "bge-small-en-v1.5", "dim": 384, "precision": "fp16"}
    assert found["uptime_seconds"] > 0
    assert datetime.fromisoformat(found["started_at"]) < clock.now()
    assert found["pool"]["most"] == settings.database_pool_size
    assert 0 <= found["pool"]["idle"] <= found["pool"]["open"] <= found["pool"]["most"]


async def test_an_index_that_a_broken_build_left_behind_shows(own_settings: Settings, embedder: Embedder) -> None:
    async with serving(own_settings, embedder) as running:
        caller = await running.caller()
        with psycopg.connect(str(own_settings.database_url), autocommit=True) as owner:
            await (await running.caller()).post(
                "/memory/remember", json={"user_id": "u", "traces": [{"content": "Twice."}, {"content": "Once."}]}
            )
            with pytest.raises(psycopg.errors.UniqueViolation):
                owner.execute("CREATE UNIQUE INDEX CONCURRENTLY half_built ON memory_trace (user_id)")
        [broken] = [one for one in (await status_of(caller))["indexes"] if not one["valid"]]
    assert (broken["name"], broken["table"]) == ("half_built", "memory_trace")


async def test_the_queue_and_the_encoder(api: Api, caller: httpx.AsyncClient, fickle: Fickle, user: str) -> None:
    before = (await status_of(caller))["queue"]
    body = {"user_id": user, "traces": [{"content": f"Waiting {n}."} for n in range(3)]}
    answer = await caller.post("/memory/remember", params={"wait": "false"}, json=body)
    assert answer.status_code == 202
    found = await status_of(caller)
    assert found["queue"]["pending"] == before["pending"] + 1
    assert found["queue"]["oldest_pending_seconds"] >= 0
    assert found["encoder"]["documents"] == 0
    with fickle.held() as arrived:
        waiting = asyncio.create_task(caller.post("/memory/remember", json=body | {"user_id": f"{user} b"}))
        assert await asyncio.to_thread(arrived)
        assert (await status_of(caller))["encoder"]["documents"] == 3
    assert (await waiting).status_code == 201


async def fail_an_operation(settings: Settings, space: str, error: str) -> str:
    """An operation of a space that was set aside, as the worker leaves it."""
    made = str(uuid7(clock.now()))
    with psycopg.connect(str(settings.database_url), autocommit=True) as owner:
        owner.execute(
            "INSERT INTO operation (id, space_id, kind, state, attempts, error, created_at, finished_at) "
            "SELECT %s, id, 'embed', 'failed', 3, %s, now(), now() FROM space WHERE name = %s",
            (made, error, space),
        )
    return made


async def test_a_failed_operation_is_shown_to_its_space_alone(settings: Settings, api: Api) -> None:
    ours, others = f"ours {uuid4().hex}", f"others {uuid4().hex}"
    mine, stranger = await api.caller(ours), await api.caller(others)
    made = await fail_an_operation(settings, ours, "The worker died or hung at each of 3 attempts.")
    found = await status_of(mine)
    [shown] = found["errors"]
    assert (shown["operation_id"], shown["kind"], shown["attempts"]) == (made, "embed", 3)
    assert shown["error"] == "The worker died or hung at each of 3 attempts."
    assert found["queue"]["failed"] >= 1
    theirs = await stranger.get("/admin/status")
    assert theirs.json()["errors"] == []
    assert made not in theirs.text
    assert "died or hung" not in theirs.text


async def test_no_more_than_the_last_twenty_errors(settings: Settings, api: Api) -> None:
    space = f"unlucky {uuid4().hex}"
    caller = await api.caller(space)
    made = [await fail_an_operation(settings, space, f"No. {n}") for n in range(22)]
    assert [one["operation_id"] for one in (await status_of(caller))["errors"]] == made[:1:-1]


@pytest.mark.parametrize("path", ["/admin/status", "/metrics"])
async def test_only_admins_look(api: Api, path: str) -> None:
    for scopes in (["read"], ["write"], ["read", "write"]):
        answer = await (await api.caller(scopes=scopes)).get(path)
        assert answer.status_code == 403
    assert (await api.client().get(path)).status_code == 401
    assert (await (await api.caller(scopes=["admin"])).get(path)).status_code == 200


async def test_without_redis_it_says_so(own_settings: Settings, embedder: Embedder) -> None:
    nowhere = own_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with serving(nowhere, embedder) as running:
        found = await status_of(await running.caller())
    assert found["status"] == "degraded"
    assert found["parts"]["redis"]["status"] == "down"
    assert found["versions"]["redis"] is None
    assert found["parts"]["worker"]["status"] == "unknown"
    assert found["versions"]["postgresql"]


async def test_without_the_encoder_it_says_so(own_settings: Settings, fickle: Fickle) -> None:
    async with serving(own_settings, fickle) as running:
        caller = await running.caller()
        with fickle.failing("inner details"):
            answer = await caller.get("/admin/status")
    assert answer.status_code == 200
    assert answer.json()["parts"]["encoder"]["status"] == "down"
    assert "inner details" not in answer.text


async def test_without_postgresql_whoever_was_known_before_still_sees(
    own_settings: Settings, embedder: Embedder, postgres: "SharedPostgres"
) -> None:
    hasty = own_settings.model_copy(update={"database_timeout_seconds": 1.0})
    async with serving(hasty, embedder) as running:
        known, poor = await running.caller(), await running.caller(scopes=["read"])
        stranger = await running.caller()
        assert (await status_of(known))["status"] == "ready"
        assert (await poor.get("/admin/status")).status_code == 403
        running.app.state.status._last = None
        await asyncio.to_thread(postgres.drop, str(conninfo_to_dict(str(own_settings.database_url))["dbname"]))
        # The keys that this process remembers have to be asked for again.
        keys = running.app.state.keys
        keys._principals = {digest: (0.0, principal) for digest, (_, principal) in keys._principals.items()}
        found = await status_of(known)
        figures = await known.get("/metrics")
        forbidden = await poor.get("/admin/status")
        refused = await stranger.get("/admin/status")
    assert found["status"] == "unready"
    assert found["parts"]["postgresql"]["status"] == "down"
    for unknown in ("queue", "partitions", "tables", "indexes", "errors", "schema_revision"):
        assert found[unknown] is None, unknown
    assert found["versions"]["postgresql"] is None
    assert found["model"]["dim"] == 384
    assert figures.status_code == 200
    assert "reverie_http_request_seconds_count" in figures.text
    assert "reverie_operations{" not in figures.text
    assert forbidden.status_code == 403
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0


async def test_a_heartbeat_is_a_worker(api: Api, caller: httpx.AsyncClient) -> None:
    client = api.app.state.overview._redis.client
    await client.delete(HEARTBEAT)
    silent = (await status_of(caller))["parts"]["worker"]
    assert silent["status"] == "down"
    assert "`reverie worker`" in silent["detail"]
    assert not silent["needed"]
    await client.set(HEARTBEAT, b"j_complete=0", px=10_000)
    assert (await status_of(caller))["parts"]["worker"] == {"status": "up", "needed": False, "detail": None}
    await client.delete(HEARTBEAT)


def queue(running: int = 0, due_for: float | None = None) -> Queue:
    since = None if due_for is None else NOW - timedelta(seconds=due_for)
    return Queue(0 if since is None else 1, running, 0, since, since)


@pytest.mark.parametrize(
    ("waiting", "heartbeat", "seen"),
    [
        (queue(due_for=1000), True, "up"),
        (queue(), False, "down"),
        (queue(running=2), False, "down"),
        (queue(running=2), None, "up"),
        (queue(running=2, due_for=1000), None, "up"),
        (queue(due_for=OVERDUE_SECONDS + 1), None, "down"),
        (queue(due_for=OVERDUE_SECONDS - 1), None, "unknown"),
        (queue(), None, "unknown"),
        (None, None, "unknown"),
        (None, True, "up"),
    ],
)
def test_a_worker_is_known_by_its_heartbeat_else_by_the_queue(
    waiting: Queue | None, heartbeat: bool | None, seen: str
) -> None:
    sight = worker_seen(waiting, heartbeat, NOW)
    assert sight.status == seen
    assert sight.status == "up" or (sight.detail or "").endswith(".")
