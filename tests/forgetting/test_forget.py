"""What is forgotten is gone: from every table, from the focus, from recall; and what is not, stays."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import redis.asyncio
from tests.conftest import Api, Remember, serving
from tests.memories.helpers import Fickle, found_ids, next_edges, owner, post, rows, run_operation, unit, user_row

from reverie.core.config import Settings
from reverie.core.ids import user_uuid
from reverie.forgetting import service

IDS_ONLY = {"forget_receipt", "tombstone"}
"""Tables that name what was forgotten by its id, to prove that it is gone: no text."""


def counts(**some: int) -> dict[str, int]:
    """The counts of an answer; those that are not named are 0."""
    names = ("traces", "bodies", "vectors", "edges", "cold", "operations", "answers", "focus", "recalls", "dismissals")
    return dict.fromkeys(names, 0) | some


async def everything(settings: Settings) -> dict[str, str]:
    """Every row of every table of the store, as text, by table."""
    async with owner(settings) as connection:
        cursor = await connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1"
        )
        tables = [row[0] for row in await cursor.fetchall()]
        held = {}
        for table in tables:
            found = await connection.execute(f"SELECT string_agg(t::text, '') FROM {table} t")  # noqa: S608
            row = await found.fetchone()
            held[table] = (row and row[0]) or ""
    return held


async def focus_of(api: Api, settings: Settings, user: str) -> list[str]:
    """The ids that the focus of a user in the space ``default`` holds."""
    ((space_id,),) = await rows(settings, "SELECT id FROM space WHERE name = 'default'")
    async with redis.asyncio.Redis.from_url(str(settings.redis_url)) as client:
        members = await client.zrange(f"focus:{user_uuid(space_id, user)}", 0, -1)
    return [str(UUID(bytes=member)) for member in members]


async def forget(caller: httpx.AsyncClient, user: str, scope: dict[str, Any], **more: Any) -> httpx.Response:
    return await caller.post("/memory/forget", json={"user_id": user, "scope": scope} | more)


@pytest.fixture
async def ids(remember: Remember, user: str) -> list[str]:
    """Four turns of a conversation about a quagga."""
    answered = await remember(
        user, *[{"content": f"The quagga of day {n} was quaint {uuid4().hex}."} for n in range(4)], conversation_id="c"
    )
    return [one["trace_id"] for one in answered]


async def test_one_trace_goes_with_all_that_hangs_on_it(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api
) -> None:
    (text,) = (await rows(settings, "SELECT content FROM memory_body WHERE trace_id = %s", (ids[1],)))[0]
    answer = await forget(caller, user, {"trace_id": ids[1]}, reason="asked to")
    assert answer.status_code == 200
    body = answer.json()
    assert body["counts"] == counts(traces=1, bodies=1, vectors=1, edges=2, focus=1)
    assert body["trace_ids"] == [ids[1]]
    assert body["dry_run"] is False
    held = await everything(settings)
    for table, content in held.items():
        assert text.split()[-1].rstrip(".") not in content, table
        if table not in IDS_ONLY:
            assert ids[1] not in content, table
            assert UUID(ids[1]).hex not in content, table
    assert ids[1] not in await focus_of(api, settings, user)
    assert set(await focus_of(api, settings, user)) == {ids[0], ids[2], ids[3]}
    assert set(await found_ids(caller, user, "quagga")) == {ids[0], ids[2], ids[3]}
    assert (await caller.get(f"/memory/traces/{ids[1]}", params={"user_id": user})).status_code == 404
    row = await user_row(settings, user)
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"]) == (3, row["words"])


async def test_several_traces_go_and_strangers_among_them_are_passed_over(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings
) -> None:
    other = (await post(caller, f"{user} 2", "The quagga of a neighbour.")).json()["traces"][0]["trace_id"]
    scope = {"trace_ids": [ids[0], ids[3], ids[3], other, str(uuid4())]}
    body = (await forget(caller, user, scope)).json()
    assert body["counts"] == counts(traces=2, bodies=2, vectors=2, edges=2, focus=2)
    assert set(body["trace_ids"]) == {ids[0], ids[3]}
    assert set(await found_ids(caller, user, "quagga")) == {ids[1], ids[2]}
    assert await found_ids(caller, f"{user} 2", "quagga") == [other]


async def test_all_of_a_user_goes_and_the_user_too(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api
) -> None:
    other = (await post(caller, f"{user} 2", "The quagga of a neighbour.")).json()["traces"][0]["trace_id"]
    user_id = str((await user_row(settings, user))["user_id"])
    body = (await forget(caller, user, {"all": True})).json()
    assert body["counts"] == counts(traces=4, bodies=4, vectors=4, edges=3, focus=4)
    assert set(body["trace_ids"]) == set(ids)
    held = await everything(settings)
    for table, content in held.items():
        if table not in IDS_ONLY:
            assert not [one for one in [user_id, *ids] if one in content], table
    assert await focus_of(api, settings, user) == []
    assert await found_ids(caller, user, "quagga") == []
    assert (await caller.get("/memory/traces", params={"user_id": user})).json() == {"items": [], "next_cursor": None}
    assert await found_ids(caller, f"{user} 2", "quagga") == [other]


@pytest.mark.parametrize("scope", ["one", "several", "all"])
async def test_a_dry_run_counts_what_would_go_and_changes_nothing(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api, scope: str
) -> None:
    scopes: dict[str, dict[str, Any]] = {
        "one": {"trace_id": ids[1]}, "several": {"trace_ids": ids[1:]}, "all": {"all": True}
    }  # fmt: skip
    what = scopes[scope]
    before, focus = await everything(settings), await focus_of(api, settings, user)
    dry = (await forget(caller, user, what, dry_run=True)).json()
    assert await everything(settings) == before
    assert await focus_of(api, settings, user) == focus
    real = (await forget(caller, user, what)).json()
    assert dry == real | {"receipt_id": None, "dry_run": True, "state": None}
    again = await forget(caller, user, what, dry_run=True)
    assert again.status_code == (404 if scope == "one" else 200)


async def test_a_receipt_says_what_and_why_and_how_many(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings
) -> None:
    body = (await forget(caller, user, {"trace_ids": ids[:2]}, reason="GDPR 17")).json()
    ((scope, reason, counted),) = await rows(
        settings, "SELECT scope, reason, counts FROM forget_receipt WHERE id = %s", (body["receipt_id"],)
    )
    assert (scope, reason) == ("traces", "GDPR 17")
    assert counted == body["counts"] | {"tombstones": 2}
    last = (await forget(caller, user, {"all": True})).json()
    found = await rows(
        settings, "SELECT scope, reason, counts FROM forget_receipt WHERE id = %s", (last["receipt_id"],)
    )
    assert found == [("all", None, last["counts"] | {"tombstones": 2})]


async def test_an_unknown_trace_is_404_and_leaves_no_receipt(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings
) -> None:
    before = await everything(settings)
    for who, trace in ((user, str(uuid4())), (f"{user} 2", ids[0])):
        for dry_run in (True, False):
            answer = await forget(caller, who, {"trace_id": trace}, dry_run=dry_run)
            assert answer.status_code == 404
        assert (await caller.delete(f"/memory/traces/{trace}", params={"user_id": who})).status_code == 404
    assert await everything(settings) == before


async def test_delete_forgets_one_trace(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    answer = await caller.delete(f"/memory/traces/{ids[2]}", params={"user_id": user})
    assert answer.status_code == 200
    assert answer.json()["counts"]["traces"] == 1
    assert set(await found_ids(caller, user, "quagga")) == {ids[0], ids[1], ids[3]}


async def test_up_to_a_hundred_ids_are_shown(caller: httpx.AsyncClient, user: str) -> None:
    made = await post(caller, user, *[{"content": f"Bead {n}.", "embedding": unit(n)} for n in range(120)])
    body = (await forget(caller, user, {"all": True})).json()
    assert body["counts"]["traces"] == 120
    assert set(body["trace_ids"]) == {one["trace_id"] for one in made.json()["traces"][20:]}


@pytest.mark.parametrize("trace", [{"content": "A dodo.", "external_id": "d"}, {"content": "A dodo."}])
async def test_remembered_again_by_force_it_is_stored_as_new(
    caller: httpx.AsyncClient, user: str, trace: dict[str, Any], settings: Settings
) -> None:
    first = (await post(caller, user, trace)).json()["traces"][0]
    version = (await user_row(settings, user))["version"]
    for scope in ({"trace_id": first["trace_id"]}, {"all": True}):
        assert (await forget(caller, user, scope)).status_code == 200
        refused = await post(caller, user, trace)
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:reverie:problem:forgotten")
        again = (await post(caller, user, trace | {"force": True})).json()["traces"][0]
        assert again["status"] == "stored"
        assert again["trace_id"] != first["trace_id"]
        assert await found_ids(caller, user, "dodo") == [again["trace_id"]]
        row = await user_row(settings, user)
        assert row["traces"] == row["real_traces"] == 1
        assert row["version"] > version
        version = row["version"]


@pytest.mark.parametrize("scope", ["one", "all"])
async def test_forgetting_while_an_operation_encodes(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api, fickle: Fickle, scope: str
) -> None:
    accepted = (await post(caller, user, "A moa.", "A kiwi.", wait=False)).json()
    moa, kiwi = [one["trace_id"] for one in accepted["traces"]]
    with fickle.held() as arrived:
        running = asyncio.create_task(run_operation(api, accepted["operation_id"]))
        assert await asyncio.to_thread(arrived)
        body = (await forget(caller, user, {"trace_id": moa} if scope == "one" else {"all": True})).json()
        assert body["counts"]["vectors"] == 0
        fickle.release()
        assert await running
    operation = (await caller.get(f"/operations/{accepted['operation_id']}")).json()
    assert (operation["state"], operation["error"]) == ("done", None)
    left = await rows(
        settings, "SELECT trace_id FROM memory_embedding WHERE trace_id = ANY(%s)", ([UUID(moa), UUID(kiwi)],)
    )
    assert left == ([(UUID(kiwi),)] if scope == "one" else [])
    assert await found_ids(caller, user, "moa or kiwi") == ([kiwi] if scope == "one" else [])


async def test_an_operation_of_what_is_gone_has_nothing_to_do(
    caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle
) -> None:
    accepted = (await post(caller, user, "An auk.", wait=False)).json()
    await forget(caller, user, {"all": True})
    fickle.documents.clear()
    assert await run_operation(api, accepted["operation_id"])
    operation = (await caller.get(f"/operations/{accepted['operation_id']}")).json()
    assert (operation["state"], operation["result"]) == ("done", {"embedded": 0, "refused": 0})
    assert fickle.documents == []


async def test_forgetting_races_with_remembering(caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    async def remember(n: int) -> list[str]:
        traces = [{"content": f"Round {n}, {m}.", "embedding": unit(m)} for m in range(3)]
        answer = await post(caller, user, *traces, conversation_id="c")
        assert answer.status_code == 201, answer.text
        return [one["trace_id"] for one in answer.json()["traces"] if one["status"] == "stored"]

    async def forget_all() -> list[str]:
        answer = await forget(caller, user, {"all": True})
        assert answer.status_code == 200, answer.text
        gone: list[str] = answer.json()["trace_ids"]
        return gone

    await remember(0)
    outcomes = await asyncio.gather(*(remember(n) if n % 3 else forget_all() for n in range(1, 31)))
    remembered = {one for n, found in enumerate(outcomes, 1) if n % 3 for one in found}
    gone = {one for n, found in enumerate(outcomes, 1) if not n % 3 for one in found}
    left = {
        str(row[0])
        for row in await rows(
            settings,
            "SELECT t.id FROM memory_trace t JOIN memory_user u USING (user_id) WHERE u.external_id = %s",
            (user,),
        )
    }
    assert remembered - gone == left
    if left:
        row = await user_row(settings, user)
        assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"])
    for table in ("memory_body", "memory_embedding"):
        kept = await rows(
            settings,
            f"SELECT trace_id FROM {table} WHERE trace_id = ANY(%s)",  # noqa: S608
            ([UUID(one) for one in remembered],),
        )
        assert {str(one) for (one,) in kept} == left


async def test_a_forgotten_trace_is_no_link_of_what_is_remembered_next(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings
) -> None:
    await forget(caller, user, {"trace_ids": ids[2:]})
    (new,) = (await post(caller, user, "The quagga is back.", conversation_id="c")).json()["traces"]
    edges = await rows(settings, "SELECT src, dst FROM memory_edge WHERE dst = %s", (new["trace_id"],))
    assert edges == [(UUID(ids[1]), UUID(new["trace_id"]))]


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ((1,), {(0, 2), (2, 3), (3, 4), (4, 5)}), ((1, 2, 4), {(0, 3), (3, 5)}), ((0, 3), {(1, 2), (2, 4), (4, 5)}),
        ((5, 4), {(0, 1), (1, 2), (2, 3)}), ((0, 1, 2, 3), {(4, 5)}), ((1, 2, 3, 4), {(0, 5)}),
    ],
)  # fmt: skip
async def test_a_conversation_stays_one_chain(
    caller: httpx.AsyncClient, user: str, settings: Settings, gone: tuple[int, ...], left: set[tuple[int, int]]
) -> None:
    made = await post(
        caller, user, *[{"content": f"{n}.", "embedding": unit(n)} for n in range(6)], conversation_id="c"
    )
    ids = [one["trace_id"] for one in made.json()["traces"]]
    body = (await forget(caller, user, {"trace_ids": [ids[n] for n in gone]})).json()
    assert body["counts"]["edges"] == len({(a, a + 1) for a in range(5) if {a, a + 1} & set(gone)})
    assert await next_edges(settings, ids) == left


async def test_of_a_user_who_is_not_there_nothing_goes_and_no_receipt_is_left(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    before = await everything(settings)
    for scope in ({"all": True}, {"trace_ids": [str(uuid4())]}):
        answer = await forget(caller, user, scope)
        assert answer.status_code == 200
        assert answer.json() == {
            "receipt_id": None, "dry_run": False, "state": None, "trace_ids": [], "degraded": [], "tombstones": 0,
            "counts": counts(),
        }  # fmt: skip
    assert await everything(settings) == before


async def test_the_answer_counts_what_was_taken_out_of_the_focus(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api, fickle: Fickle
) -> None:
    """Something comes into focus while others hold the user: it goes too, and is counted."""
    user_id = (await user_row(settings, user))["user_id"]
    async with owner(settings) as holder, redis.asyncio.Redis.from_url(str(settings.redis_url)) as client:
        async with holder.transaction():
            await holder.execute("SELECT FROM memory_user WHERE user_id = %s FOR UPDATE", (user_id,))
            forgetting = asyncio.create_task(forget(caller, user, {"all": True}))
            async with asyncio.timeout(10):
                while not await rows(  # noqa: ASYNC110 - what is waited for happens in PostgreSQL
                    settings,
                    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
                ):
                    await asyncio.sleep(0.02)
            await client.zadd(f"focus:{user_id}", {uuid4().bytes: 1.0})
        body = (await forgetting).json()
    assert body["counts"]["focus"] == 5
    ((receipt,),) = await rows(settings, "SELECT counts FROM forget_receipt WHERE id = %s", (body["receipt_id"],))
    assert receipt == body["counts"] | {"tombstones": 4}


async def test_forgetting_much_may_take_longer_than_a_request(
    own_settings: Settings, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(own_settings.model_copy(update={"database_timeout_seconds": 1.0}), fickle) as api:
        caller = await api.caller()
        await post(caller, "u", {"content": "A dodo.", "embedding": unit(1)})
        async with owner(own_settings) as connection:
            await connection.execute(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM pg_sleep(1.5); RETURN old; END $$"
            )
            await connection.execute(
                "CREATE TRIGGER slow BEFORE DELETE ON memory_trace FOR EACH ROW EXECUTE FUNCTION slow()"
            )
        answer = await forget(caller, "u", {"all": True})
        assert (answer.status_code, answer.json()["counts"]["traces"]) == (200, 1)
        monkeypatch.setattr(service, "FORGET_SECONDS", 1.0)
        await post(caller, "u", {"content": "Another dodo.", "embedding": unit(1)})
        assert (await forget(caller, "u", {"all": True})).status_code == 503


@pytest.mark.parametrize("value", [1, 1.0, "true", "yes"])
async def test_a_dry_run_is_true_or_false(caller: httpx.AsyncClient, user: str, ids: list[str], value: object) -> None:
    for body in ({"dry_run": value, "scope": {"all": True}}, {"scope": {"all": value}}):
        assert (await caller.post("/memory/forget", json={"user_id": user} | body)).status_code == 422
    assert set(await found_ids(caller, user, "quagga")) == set(ids)


async def test_what_was_forgotten_is_not_in_the_answer_that_an_idempotency_key_keeps(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    body = {"user_id": user, "traces": [{"content": "A secret thylacine."}, {"content": " ", "external_id": "x"}]}
    await caller.post("/memory/remember", json=body, headers=key)
    ((kept,),) = await rows(settings, "SELECT response FROM idempotency_key WHERE key = %s", (key["Idempotency-Key"],))
    assert "thylacine" not in json.dumps(json.loads(bytes(kept)))
