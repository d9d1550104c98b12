"""Recalls are counted: in the process, in Redis, in the table; and nothing but counts is lost with any of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import redis.asyncio
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle, post, rows, user_row

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.ids import uuid7s
from reverie.core.redis import Redis
from reverie.memories import access
from reverie.memories.access import AccessCounts

NOWHERE = "redis://127.0.0.1:1/0"


def of_api(api: Api) -> AccessCounts:
    """What the process of the API counts with."""
    counts: AccessCounts = api.app.state.recall._counts
    return counts


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[AccessCounts]:
    """What another process counts with."""
    database, client = Database(settings), Redis(settings)
    await database.open()
    yield AccessCounts(database, client)
    await client.close()
    await database.close()


@pytest.fixture
async def flushing(settings: Settings, api: Api) -> AsyncIterator[AccessCounts]:
    """The counts of a worker; what others have left on the way is gone."""
    await of_api(api).push()
    async with worker(settings) as counts:
        await counts.flush()
        yield counts


async def recalls(settings: Settings, user: str) -> dict[str, int]:
    """What the table says of a user's traces, by their texts."""
    found = await rows(
        settings,
        "SELECT b.content, a.recalls, a.last_at > now() - interval '1 hour' FROM memory_access a"
        " JOIN memory_body b ON b.user_id = a.user_id AND b.trace_id = a.trace_id"
        " JOIN memory_user u ON u.user_id = a.user_id WHERE u.external_id = %s",
        (user,),
    )
    assert all(lately for _, _, lately in found)
    return {content: count for content, count, _ in found}


async def ask(caller: httpx.AsyncClient, user: str | list[str], **more: Any) -> list[str]:
    """The texts that a question finds."""
    answer = await caller.post("/memory/recall", json={"user_id": user, "q": "Where is the ladder?"} | more)
    assert answer.status_code == 200, answer.text
    return [one["content"] for one in answer.json()["results"]]


async def test_what_is_recalled_is_counted_on_its_way_to_the_table(
    caller: httpx.AsyncClient, api: Api, user: str, settings: Settings, flushing: AccessCounts
) -> None:
    await post(caller, user, "The ladder is in the shed.", "The ladder has nine rungs.", "Rye bread.")
    before = await user_row(settings, user)
    first = await ask(caller, user, k=2)
    assert len(first) == 2
    # An answer that is kept counts as one that is made.
    assert await ask(caller, user, k=2) == first
    await ask(caller, user, k=1)
    assert await recalls(settings, user) == {}
    assert await flushing.flush() == 0
    await of_api(api).push()
    assert await recalls(settings, user) == {}
    assert await flushing.flush() == 2
    assert await recalls(settings, user) == {first[0]: 3, first[1]: 2}
    assert await flushing.flush() == 0
    await ask(caller, user, k=1)
    await of_api(api).push()
    await flushing.flush()
    assert await recalls(settings, user) == {first[0]: 4, first[1]: 2}
    # Nothing of this is a change of what is remembered.
    assert (await user_row(settings, user))["version"] == before["version"]


@pytest.mark.parametrize(
    "how",
    [{"touch": False}, {"recipe": "vector"}, {"recipe": "lexical"}, {"min_score": 1.0}],
    ids=["untouched", "vector", "lexical", "nothing found"],
)
async def test_who_only_looks_counts_nothing(
    caller: httpx.AsyncClient, api: Api, user: str, settings: Settings, flushing: AccessCounts, how: dict[str, Any]
) -> None:
    await post(caller, user, "The ladder is in the shed.")
    found = await ask(caller, user, **how)
    assert bool(found) is ("min_score" not in how)
    await ask(caller, user, **how)
    await of_api(api).push()
    assert await flushing.flush() == 0
    assert await recalls(settings, user) == {}


async def test_touch_stands_in_the_query_string_too(
    caller: httpx.AsyncClient, api: Api, user: str, settings: Settings, flushing: AccessCounts
) -> None:
    await post(caller, user, "The ladder is in the shed.")
    question = {"user_id": user, "q": "ladder"}
    assert (await caller.get("/memory/recall", params=question | {"touch": "false"})).json()["results"]
    await of_api(api).push()
    assert await flushing.flush() == 0
    assert (await caller.get("/memory/recall", params=question)).json()["results"]
    await of_api(api).push()
    assert await flushing.flush() == 1


async def test_each_user_of_a_question_has_its_own_counts(
    caller: httpx.AsyncClient, api: Api, user: str, settings: Settings, flushing: AccessCounts
) -> None:
    for name in (user, f"{user} too"):
        await post(caller, name, f"The ladder of {name}.")
    assert len(await ask(caller, [user, f"{user} too"])) == 2
    await of_api(api).push()
    assert await flushing.flush() == 2
    assert await recalls(settings, user) == {f"The ladder of {user}.": 1}
    assert await recalls(settings, f"{user} too") == {f"The ladder of {user} too.": 1}


async def test_spaces_count_apart(api: Api, caller: httpx.AsyncClient, user: str, settings: Settings,
                                  flushing: AccessCounts) -> None:  # fmt: skip
    other = await api.caller("counting apart")
    for who in (caller, other):
        await post(who, user, "The ladder is in the shed.")
    assert await ask(other, user)
    await of_api(api).push()
    await flushing.flush()
    found = await rows(
        settings,
        "SELECT s.name, count(a.*) FROM memory_user u JOIN space s ON s.id = u.space_id"
        " LEFT JOIN memory_access a ON a.user_id = u.user_id AND a.space_id = u.space_id"
        " WHERE u.external_id = %s GROUP BY s.name",
        (user,),
    )
    assert dict(found) == {"default": 0, "counting apart": 1}


async def test_what_was_noted_goes_to_redis_by_itself(
    caller: httpx.AsyncClient, api: Api, user: str, monkeypatch: pytest.MonkeyPatch, flushing: AccessCounts
) -> None:
    await of_api(api).push()
    monkeypatch.setattr(access, "PUSH_SECONDS", 0.01)
    counts = AccessCounts(of_api(api)._database, of_api(api)._redis)
    monkeypatch.setattr(api.app.state.recall, "_counts", counts)
    await post(caller, user, "The ladder is in the shed.")
    await ask(caller, user)
    for _ in range(500):
        await asyncio.sleep(0.01)
        if await flushing.flush():
            break
    else:
        pytest.fail("nothing came to Redis")
    # And again.
    await ask(caller, user, k=3)
    await asyncio.sleep(0.1)
    await counts.close()
    assert await flushing.flush() == 1


async def test_what_was_forgotten_meanwhile_is_not_counted(
    caller: httpx.AsyncClient, api: Api, user: str, settings: Settings, flushing: AccessCounts
) -> None:
    made = (await post(caller, user, "The ladder is in the shed.", "Another ladder leans on the wall.")).json()
    [gone, stays] = [UUID(one["trace_id"]) for one in made["traces"]]
    found = await user_row(settings, user)
    ((space_id,),) = await rows(settings, "SELECT space_id FROM memory_user WHERE user_id = %s", (found["user_id"],))
    # As another process notes what it has found a moment before.
    await caller.delete(f"/memory/traces/{gone}", params={"user_id": user})
    flushing.note(space_id, found["user_id"], [str(gone), str(stays), str(uuid4())])
    flushing.note(uuid4(), uuid4(), [str(stays)])
    await flushing.push()
    await flushing.flush()
    assert await recalls(settings, user) == {"Another ladder leans on the wall.": 1}
    await caller.post("/memory/forget", json={"user_id": user, "scope": {"all": True}})
    assert await rows(settings, "SELECT 1 FROM memory_access WHERE user_id = %s", (found["user_id"],)) == []


@pytest.mark.parametrize("place", ["process", "redis", "table"])
@pytest.mark.parametrize("everything", [False, True], ids=["one", "all"])
async def test_forgetting_takes_the_counts_from_everywhere(
    caller: httpx.AsyncClient, api: Api, user: str, settings: Settings, flushing: AccessCounts, place: str,
    everything: bool,
) -> None:  # fmt: skip
    [made] = (await post(caller, user, "The ladder is in the shed.")).json()["traces"]
    await of_api(api).push()
    await flushing.flush()
    await ask(caller, user)
    if place != "process":
        await of_api(api).push()
    if place == "table":
        await flushing.flush()
    scope: dict[str, Any] = {"all": True} if everything else {"trace_id": made["trace_id"]}
    looked = (await caller.post("/memory/forget", json={"user_id": user, "scope": scope, "dry_run": True})).json()
    body = (await caller.post("/memory/forget", json={"user_id": user, "scope": scope})).json()
    assert looked["counts"]["recalls"] == body["counts"]["recalls"] == 1
    found = await rows(settings, "SELECT user_id, space_id FROM forget_receipt WHERE id = %s", (body["receipt_id"],))
    [(user_id, space_id)] = found
    assert await of_api(api).count(space_id, user_id, None) == 0
    assert await rows(settings, "SELECT 1 FROM memory_access WHERE user_id = %s", (user_id,)) == []
    verified = await caller.post(f"/memory/receipts/{body['receipt_id']}/verify", params={"user_id": user})
    assert verified.json()["gone"] is True
    assert verified.json()["found"]["recalls"] == 0


async def test_a_receipt_is_not_verified_while_redis_counts_what_went(
    caller: httpx.AsyncClient, user: str, settings: Settings, flushing: AccessCounts
) -> None:
    [made] = (await post(caller, user, "The ladder is in the shed.")).json()["traces"]
    body = (await caller.delete(f"/memory/traces/{made['trace_id']}", params={"user_id": user})).json()
    [(user_id, space_id)] = await rows(
        settings, "SELECT user_id, space_id FROM forget_receipt WHERE id = %s", (body["receipt_id"],)
    )
    flushing.note(space_id, user_id, [made["trace_id"]])
    await flushing.push()
    url, params = f"/memory/receipts/{body['receipt_id']}/verify", {"user_id": user}
    verified = (await caller.post(url, params=params)).json()
    assert (verified["gone"], verified["found"]["recalls"]) == (False, 1)
    await flushing.flush()
    assert (await caller.post(url, params=params)).json()["gone"] is True


async def test_without_redis_recall_counts_nothing_and_says_so_once(
    own_settings: Settings, fickle: Fickle, user: str
) -> None:
    """Nothing but a counted warning; what was noted waits, and comes with the next."""
    async with serving(own_settings.model_copy(update={"redis_url": NOWHERE}), fickle) as api:
        caller = await api.caller()
        await post(caller, user, "The ladder is in the shed.")
        assert await ask(caller, user) == ["The ladder is in the shed."]
        counts = of_api(api)
        counts._redis._all.answered()
        failed = counts._redis.failures["recalls.push"]
        await counts.push()
        assert counts._redis.failures["recalls.push"] == failed + 1
        assert counts._size == 1
        assert await counts.flush() == 0
        assert await counts.count(UUID(int=1), UUID(int=2), None) is None
        answer = await caller.post("/memory/forget", json={"user_id": user, "scope": {"all": True}})
        assert (answer.status_code, answer.json()["counts"]["recalls"]) == (200, 0)
        assert counts._size == 0
    async with serving(own_settings.model_copy(update={"redis_url": None}), fickle) as api:
        caller = await api.caller()
        await post(caller, user, "The ladder is in the shed.", force=True)
        assert await ask(caller, user)
        assert of_api(api)._noted == {}


async def test_what_redis_did_not_take_goes_with_the_next(settings: Settings) -> None:
    space, user, *ids = uuid7s(clock.now(), 7)
    async with worker(settings) as here, worker(settings.model_copy(update={"redis_url": NOWHERE})) as there:
        there.note(space, user, map(str, ids))
        there.note(space, user, [str(ids[0])])
        await there.push()
        there.note(space, user, [str(ids[0])])
        there._redis = here._redis
        await there.push()
        assert there._noted == {}
        assert there._size == 0
        async with redis.asyncio.Redis.from_url(str(settings.redis_url)) as client:
            key = f"recalls:{space}:{user}"
            assert [await client.hget(key, b"n" + one.bytes) for one in ids] == [b"3", *[b"1"] * 4]
            assert 0 < await client.ttl(key) <= access.KEPT_SECONDS
            await client.delete(key)
            await client.delete(access.USERS)


async def test_no_more_is_noted_than_a_process_may_hold(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_NOTED", 5)
    space, user, other, *ids = uuid7s(clock.now(), 11)
    async with worker(settings) as counts:
        counts.note(space, user, map(str, ids[:4]))
        counts.note(space, other, map(str, ids))
        counts.note(space, user, [str(ids[0])])
        assert [len(one) for one in counts._noted.values()] == [4, 1]
        assert counts._noted[space, user][str(ids[0])][0] == 2
        await counts.remove(space, user, ids[:2])
        counts.note(space, other, map(str, ids))
        assert counts._size == sum(len(one) for one in counts._noted.values()) == 5
        await counts.remove(space, user, None)
        await counts.remove(space, other, None)
        assert (counts._size, counts._noted.get((space, user))) == (0, None)
