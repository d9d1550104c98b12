"""The focus: what was just remembered, in order, for a while; nothing depends on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
import redis.asyncio
from tests.conftest import serving
from tests.memories.helpers import Fickle, post, rows, unit, user_row

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.ids import user_uuid, uuid7s
from reverie.core.redis import Redis
from reverie.working.focus import Focus


@pytest.fixture
async def focus(settings: Settings) -> AsyncIterator[Focus]:
    client = Redis(settings)
    yield Focus(settings, client)
    await client.close()


async def held(focus: Focus, *users: UUID) -> list[UUID]:
    found = await focus.read(users)
    assert not found.degraded
    return [trace_id for _, trace_id in found.keys]


async def test_what_is_remembered_comes_into_focus_newest_first(
    caller: httpx.AsyncClient, user: str, settings: Settings, focus: Focus
) -> None:
    first = (await post(caller, user, "One.", "Two.", " ", {"content": "Three.", "external_id": "3"})).json()["traces"]
    user_id = (await user_row(settings, user))["user_id"]
    ids = [UUID(one["trace_id"]) for one in first if one["trace_id"]]
    assert await held(focus, user_id) == ids[::-1]
    second = (await post(caller, user, {"content": "Three.", "external_id": "3"}, "Four.")).json()["traces"]
    assert await held(focus, user_id) == [UUID(second[1]["trace_id"]), ids[2], ids[1], ids[0]]


async def test_the_focus_holds_so_many_for_so_long(settings: Settings, focus: Focus) -> None:
    small = settings.model_copy(update={"redis_focus_size": 5, "redis_focus_ttl_seconds": 100})
    client = Redis(small)
    bounded = Focus(small, client)
    now = clock.now()
    user_id, *ids = uuid7s(now, 13)
    await bounded.add(user_id, ids[:3], now)
    await bounded.add(user_id, ids[3:], now + timedelta(seconds=1))
    assert await held(bounded, user_id) == ids[:-6:-1]
    assert client.client is not None
    assert 95 <= await client.client.ttl(f"focus:{user_id}") <= 100
    assert await client.client.zcard(f"focus:{user_id}") == 5
    await bounded.add(user_id, [], now)
    await client.close()


async def test_the_focus_of_several_users_is_read_together(focus: Focus) -> None:
    now = clock.now()
    one, two, three, *ids = uuid7s(now, 9)
    for n, trace_id in enumerate(ids):
        await focus.add((one, two)[n % 2], [trace_id], now + timedelta(seconds=n))
    assert await held(focus, one, two, three) == ids[::-1]
    assert await held(focus, three) == []


async def test_traces_are_taken_out_and_counted(focus: Focus) -> None:
    now = clock.now()
    user_id, *ids = uuid7s(now, 7)
    await focus.add(user_id, ids[:5], now)
    assert await focus.count(user_id, None) == 5
    assert await focus.count(user_id, [ids[0], ids[0], ids[5]]) == 1
    assert await focus.remove(user_id, [ids[0], ids[5]]) == 1
    assert await focus.remove(user_id, []) == 0
    assert await held(focus, user_id) == ids[4:0:-1]
    assert await focus.drop(user_id) == 4
    assert await focus.drop(user_id) == 0
    assert await held(focus, user_id) == []


async def test_the_focus_is_told_and_changes_no_order(caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    equals = [{"content": f"The bell rang {n}.", "role": "user", "embedding": unit(1)} for n in range(3)]
    made = (await post(caller, user, *equals)).json()["traces"]
    user_id = (await user_row(settings, user))["user_id"]
    async with redis.asyncio.Redis.from_url(str(settings.redis_url)) as client:
        await client.delete(f"focus:{user_id}")
        await client.zadd(f"focus:{user_id}", {UUID(made[0]["trace_id"]).bytes: 1.0})
    question = {"user_id": user, "q": "bell", "embedding": unit(1)}
    results = (await caller.post("/memory/recall", json=question)).json()["results"]
    assert [one["trace_id"] for one in results] == [one["trace_id"] for one in reversed(made)]
    assert ["focus" in one["scores"] for one in results] == [False, False, True]


async def test_what_only_the_focus_holds_is_found_within_the_bounds(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    (faint,) = (await post(caller, user, {"content": "Mumble.", "salience": 0.1, "kind": "fact"})).json()["traces"]
    question = {"user_id": user, "q": "something else entirely"}
    found = (await caller.post("/memory/recall", json=question)).json()["results"]
    assert [one["trace_id"] for one in found] == [faint["trace_id"]]
    for bounds in ({"kinds": ["note"]}, {"since": "2990-01-01"}, {"until": "2020-01-01"}, {"at": "2020-01-01"},
                   {"conversation_id": "c"}, {"filter": {"meta.a": 1}}, {"tiers": ["cold"]}):  # fmt: skip
        assert (await caller.post("/memory/recall", json=question | bounds)).json()["results"] == [], bounds


async def test_a_focus_that_names_what_is_gone_changes_nothing(
    caller: httpx.AsyncClient, user: str, settings: Settings, focus: Focus
) -> None:
    made = (await post(caller, user, "Here.")).json()["traces"]
    ((space_id,),) = await rows(settings, "SELECT id FROM space WHERE name = 'default'")
    await focus.add(user_uuid(space_id, user), uuid7s(clock.now(), 3), clock.now())
    answer = (await caller.get("/memory/recall", params={"user_id": user, "q": "here"})).json()
    assert [one["trace_id"] for one in answer["results"]] == [made[0]["trace_id"]]
    assert answer["degraded"] == []


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The URL of a Redis that takes connections and never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_without_redis_everything_else_works(own_settings: Settings, fickle: Fickle, how: str) -> None:
    async with silent() as url:
        nowhere = own_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0" if how == "gone" else url})
        async with serving(nowhere, fickle) as running, asyncio.timeout(20):
            caller = await running.caller()
            began = asyncio.get_running_loop().time()
            made = await post(caller, "ada", "The heron stood still.")
            later = await post(caller, "ada", "The stork did not.", wait=False)
            assert (made.status_code, later.status_code) == (201, 202)
            answer = (await caller.get("/memory/recall", params={"user_id": "ada", "q": "heron"})).json()
            assert answer["degraded"] == ["focus"]
            assert answer["results"][0]["content"] == "The heron stood still."
            path = f"/memory/traces/{made.json()['traces'][0]['trace_id']}"
            changed = await caller.patch(path, params={"user_id": "ada"}, json={"content": "The heron flew."})
            assert changed.status_code == 200
            with fickle.failing():
                pending = await caller.patch(path, params={"user_id": "ada"}, json={"content": "The heron dived."})
            assert pending.status_code == 200
            forgotten = await caller.post("/memory/forget", json={"user_id": "ada", "scope": {"all": True}})
            assert forgotten.status_code == 200
            assert (forgotten.json()["counts"]["focus"], forgotten.json()["degraded"]) == (0, ["focus"])
            assert asyncio.get_running_loop().time() - began < 8
