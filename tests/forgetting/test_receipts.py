"""Receipts can be read, and be held to what they say."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import redis.asyncio
from tests.conftest import Remember
from tests.forgetting.helpers import forget, forgotten, verified
from tests.memories.helpers import owner, post, rows, user_row

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.ids import user_uuid, uuid7


async def test_receipts_are_listed_newest_first_and_by_page(
    caller: httpx.AsyncClient, user: str, remember: Remember
) -> None:
    made = await remember(user, "A dodo.", "A moa.", "An auk.")
    receipts = [
        (await forgotten(caller, user, {"trace_id": one["trace_id"]}, reason=f"reason {n}"))["receipt_id"]
        for n, one in enumerate(made)
    ]
    first = (await caller.get("/memory/receipts", params={"user_id": user, "limit": 2})).json()
    assert [one["receipt_id"] for one in first["items"]] == receipts[:0:-1]
    second = (
        await caller.get("/memory/receipts", params={"user_id": user, "limit": 2, "cursor": first["next_cursor"]})
    ).json()
    assert ([one["receipt_id"] for one in second["items"]], second["next_cursor"]) == (receipts[:1], None)
    one = (await caller.get(f"/memory/receipts/{receipts[1]}", params={"user_id": user})).json()
    assert one == first["items"][1]
    assert (one["scope"], one["reason"], one["state"], one["user_id"]) == ("traces", "reason 1", "done", user)
    assert (one["counts"]["traces"], one["counts"]["tombstones"]) == (1, 1)
    assert one["finished_at"] == one["created_at"]


@pytest.mark.parametrize("way", ["get", "verify"])
async def test_a_receipt_of_somebody_else_is_none(
    caller: httpx.AsyncClient, user: str, remember: Remember, way: str
) -> None:
    await remember(user, "A dodo.")
    receipt = (await forgotten(caller, user, {"all": True}))["receipt_id"]
    for whose, which in ((f"{user} 2", receipt), (user, str(uuid4()))):
        url, params = f"/memory/receipts/{which}", {"user_id": whose}
        answer = await (caller.get(url, params=params) if way == "get" else caller.post(f"{url}/verify", params=params))
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"The user has no receipt {which}."
    assert (await caller.get("/memory/receipts", params={"user_id": f"{user} 2"})).json()["items"] == []


async def test_the_receipt_of_a_user_who_is_gone_verifies(
    caller: httpx.AsyncClient, user: str, remember: Remember
) -> None:
    await remember(user, "A dodo.", "A moa.", conversation_id="c")
    receipt = (await forgotten(caller, user, {"all": True}))["receipt_id"]
    found = await verified(caller, user, receipt)
    assert (found["gone"], found["traces"], found["unseen"]) == (True, 2, [])
    assert set(found["found"].values()) == {0}
    assert len(found["until"]) == 3
    await post(caller, user, {"content": "A dodo.", "force": True})
    assert (await verified(caller, user, receipt))["gone"]


PLANTED: dict[str, str] = {
    "traces": "INSERT INTO memory_trace (space_id, user_id, id, kind, language, length, created_at, salience,"
    " salience_given, digest, vectors) SELECT space_id, user_id, %(id)s, 'note', 'english', 1, now(), 1, false, 'd',"
    " false FROM memory_user WHERE user_id = %(user)s",
    "removals": "INSERT INTO cold_removal SELECT space_id, user_id, %(id)s, gen_random_uuid(), now() FROM memory_user"
    " WHERE user_id = %(user)s",
    "operations": "INSERT INTO operation (id, space_id, user_id, kind, trace_ids, created_at, state, finished_at)"
    " SELECT gen_random_uuid(), space_id, user_id, 'embed', ARRAY[%(id)s::uuid], now(), 'done', now() FROM memory_user"
    " WHERE user_id = %(user)s",
    "answers": "INSERT INTO idempotency_key (space_id, key, request_hash, status, response, locked_until, created_at,"
    " user_id) SELECT space_id, gen_random_uuid(), '', 201, convert_to('{\"trace_id\":\"' || %(id)s || '\"}', 'UTF8'),"
    " now(), now(), user_id FROM memory_user WHERE user_id = %(user)s",
    "rebuilds": "INSERT INTO rebuild SELECT space_id, user_id, gen_random_uuid(), 'changed', 'summary', NULL,"
    " ARRAY[%(id)s::uuid], now() FROM memory_user WHERE user_id = %(user)s",
    "provenance": "UPDATE memory_trace SET provenance = jsonb_build_object('sources', ARRAY[%(id)s::text])"
    " WHERE user_id = %(user)s",
    "leftovers": "CREATE TABLE memory_body_left_over AS SELECT space_id, user_id, %(id)s::uuid AS trace_id, 'text' AS"
    " content FROM memory_user WHERE user_id = %(user)s",
    "garbage": "WITH cold AS (UPDATE forget_receipt SET counts = counts || '{\"cold\": 1}' WHERE user_id = %(user)s"
    " RETURNING space_id, created_at)"
    " INSERT INTO cold_garbage SELECT 'cold/' || space_id || '/x', created_at FROM cold",
}
"""What puts something of a forgotten trace back, by the place."""


@pytest.mark.parametrize("place", [*PLANTED, "focus"])
async def test_what_is_left_anywhere_is_found(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings, place: str
) -> None:
    made = await remember(user, "A dodo.", "A moa.")
    user_id = (await user_row(settings, user))["user_id"]
    gone = made[0]["trace_id"]
    receipt = (await forgotten(caller, user, {"trace_id": gone}))["receipt_id"]
    assert (await verified(caller, user, receipt))["gone"]
    async with redis.asyncio.Redis.from_url(str(settings.redis_url)) as client, owner(settings) as connection:
        if place == "focus":
            await client.zadd(f"focus:{user_id}", {UUID(gone).bytes: 1.0})
        else:
            query = PLANTED[place]
            if place == "leftovers":
                await connection.execute(
                    query.replace("%(id)s", f"'{gone}'").replace("%(user)s", f"'{user_id}'").encode()
                )
            else:
                await connection.execute(query.encode(), {"id": gone, "user": user_id})
        found = await verified(caller, user, receipt)
        await connection.execute("DROP TABLE IF EXISTS memory_body_left_over")
        await connection.execute("DELETE FROM cold_garbage")
    assert found["gone"] is False
    assert {name for name, n in found["found"].items() if n} == {place}


async def test_files_of_others_are_not_waited_for(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings
) -> None:
    """What nothing names concerns no receipt of what was in no file, nor one that was done before."""
    (made,) = await remember(user, "A dodo.")
    receipt = (await forgotten(caller, user, {"trace_id": made["trace_id"]}))["receipt_id"]
    async with owner(settings) as connection:
        for counts, after in ((0, "-1 hour"), (1, "1 hour")):
            await connection.execute(
                "WITH found AS (UPDATE forget_receipt SET counts = counts || jsonb_build_object('cold', %s::integer)"
                " WHERE id = %s RETURNING space_id, created_at)"
                " INSERT INTO cold_garbage SELECT 'cold/' || space_id || '/x', created_at + %s::interval FROM found",
                (counts, receipt, after),
            )
            found = await verified(caller, user, receipt)
            await connection.execute("DELETE FROM cold_garbage")
            assert found["gone"], found


async def test_operations_name_no_more_what_is_gone(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings
) -> None:
    made = [one["trace_id"] for one in await remember(user, "A dodo.", "A moa.", "An auk.")]
    row = (await rows(settings, "SELECT space_id, user_id FROM memory_user WHERE external_id = %s", (user,)))[0]

    async def leave(kind: str, ids: list[str], since: str | None, error: str | None = None) -> UUID:
        made = uuid7(clock.now())
        payload = f'{{"since": "{since}"}}' if since else "{}"
        await rows(
            settings,
            "INSERT INTO operation (id, space_id, user_id, kind, trace_ids, payload, error, created_at, lease_until)"
            " VALUES (%s, %s, %s, %s, %s::uuid[], %s, %s, now(), now() + interval '1 hour')",
            (made, *row, kind, ids, payload, error),
        )
        return made

    both = await leave("embed", made[:2], None, f"{made[0]} is odd.")
    others = await leave("embed", made[1:], None, "Odd.")
    alone = await leave("link", made[:1], None)
    since = await leave("link", [], made[0])
    body = await forgotten(caller, user, {"trace_id": made[0]})
    assert body["counts"]["operations"] == 3
    found = {
        one[0]: one[1:]
        for one in await rows(
            settings,
            "SELECT id, trace_ids::text[], payload ->> 'since', error, state FROM operation WHERE user_id = %s",
            (row[1],),
        )
    }
    assert found[both] == ([made[1]], None, None, "pending")
    assert found[others] == (made[1:], None, "Odd.", "pending")
    assert found[alone] == ([], None, None, "done")
    assert found[since] == ([], f"{made[0][:14]}0000-0000-000000000000", None, "pending")
    assert (await verified(caller, user, body["receipt_id"]))["gone"]
    await rows(settings, "DELETE FROM operation WHERE user_id = %s", (row[1],))


@pytest.mark.parametrize("query", [{}, {"user_id": ""}, {"user_id": "a", "limit": 0}, {"user_id": "a", "cursor": "x"}])
async def test_a_list_takes_its_user_and_its_own_cursor(caller: httpx.AsyncClient, query: dict[str, Any]) -> None:
    assert (await caller.get("/memory/receipts", params=query)).status_code == 422


async def test_redis_that_says_nothing_is_said(own_settings: Settings, fickle: Any, remember: Remember) -> None:
    from tests.conftest import serving

    silent = own_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with serving(silent, fickle) as api:
        caller = await api.caller()
        await post(caller, "u", "A dodo.")
        body = (await forget(caller, "u", {"all": True})).json()
        assert body["degraded"] == ["focus"]
        found = await verified(caller, "u", body["receipt_id"])
        assert (found["gone"], found["unseen"]) == (False, ["Redis"])
        assert user_uuid(uuid4(), "u")
