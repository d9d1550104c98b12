"""Cold traces come back for a time, and cool again."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.conftest import Api, serving
from tests.tiers import past as pasts
from tests.tiers.past import MONDAY, OTHER_SPACE, SPACE, WEEK, Past
from tests.tiers.rows import add_model, fetch

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.core.ids import user_uuid
from reverie.embedding.protocol import Embedder
from reverie.objects.store import Objects, StorageTrouble
from reverie.tiers import thaw
from reverie.tiers.overview import TierOverview

FEW = 7


@pytest.fixture
async def past(owner: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Past:
    """Five weeks of three users in files."""

    def as_the_api(name: str) -> UUID:
        return user_uuid(OTHER_SPACE if name == "eve" else SPACE, name)

    monkeypatch.setattr(pasts, "user_of", as_the_api)
    monkeypatch.setattr(thaw, "PART", FEW)
    store = await Past.of(owner, settings)
    await store.fill(10)
    await store.make_warm()
    await store.make_cold()
    return store


@pytest.fixture
async def api(past: Past, settings: Settings, embedder: Embedder) -> AsyncIterator[Api]:
    """A service over it."""
    async with serving(settings, embedder) as running:
        yield running


@pytest.fixture
async def caller(api: Api) -> httpx.AsyncClient:
    """Somebody of the space of ann and bob."""
    return await api.caller("one")


async def accepted(caller: httpx.AsyncClient, user: str, scope: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The answer to a thaw."""
    answer = await caller.post("/memory/thaw", json={"user_id": user, "scope": scope} | more)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def done(api: Api, caller: httpx.AsyncClient, operation_id: str) -> dict[str, Any]:
    """What became of an operation, after one more attempt."""
    assert await api.app.state.operations.run(UUID(operation_id))
    found: dict[str, Any] = (await caller.get(f"/operations/{operation_id}")).json()
    return found


def of(past: Past, user: str) -> list[UUID]:
    return [one for name, one in past.traces if name == user]


async def test_everything_of_a_user_comes_back_as_it_was_and_cools_again(
    past: Past, api: Api, caller: httpx.AsyncClient
) -> None:
    before = await past.checksums()
    answer = await accepted(caller, "ann", {"all": True}, days=3)
    assert (answer["cold"], answer["thawed"]) == (50, 0)
    found = await done(api, caller, answer["operation_id"])
    assert found["state"] == "done"
    assert found["result"] == {"traces": 50, "thawed": 50, "damaged": 0, "until": found["result"]["until"]}
    places = await past.places()
    assert {one for one, place in places.items() if place == "thawed"} == set(of(past, "ann"))
    listed = (await caller.get("/memory/traces", params={"user_id": "ann", "limit": 100})).json()["items"]
    texts = await past.filed()
    assert {one["trace_id"]: one["content"] for one in listed} == {str(one): texts[one] for one in of(past, "ann")}
    words = await fetch(past.owner, "SELECT words = length(lexemes) - 1, content FROM memory_body")
    assert len(words) == 50
    assert all(right for right, _ in words)
    await past.run("cool", as_of=clock.now() + timedelta(days=2))
    assert set((await past.places()).values()) == {"thawed", "cold"}
    outcome = await past.run("cool", as_of=clock.now() + timedelta(days=4))
    assert outcome.report["cool"]["traces"] == 50
    assert await past.checksums() == before


async def test_what_was_warm_comes_back_with_the_same_codes(
    owner: Connection, settings: Settings, api: Api, caller: httpx.AsyncClient, past: Past
) -> None:
    one = of(past, "ann")[0]
    await done(api, caller, (await accepted(caller, "ann", {"trace_id": str(one)}))["operation_id"])
    rows = await fetch(owner, "SELECT head, piece, begins, ends, codes, bits::text FROM memory_embedding ORDER BY 1, 2")
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
        (0, 0, None, None), (0, 1, 5, 10), (0, 2, 10, 15), (1, 0, None, None), (2, 0, None, None)
    ]  # fmt: skip
    assert all(len(row[5]) == past.model.dim for row in rows)
    [(body,)] = await fetch(
        owner,
        "SELECT p.tier FROM memory_body b JOIN memory_partition p ON p.parent = 'memory_body'"
        " AND p.lower <= b.trace_id AND b.trace_id < p.upper",
    )
    assert body == "cold"


@pytest.mark.parametrize("what", ["ids", "conversation", "span", "since"])
async def test_a_scope(past: Past, api: Api, caller: httpx.AsyncClient, what: str) -> None:
    mine = of(past, "ann")
    talk = [UUID(row[0]) for row in await fetch(
        past.owner, "SELECT id::text FROM memory_trace WHERE conversation_id = 'talk 1' AND user_id = %s",
        pasts.user_of("ann"),
    )]  # fmt: skip
    week = MONDAY + 2 * WEEK
    scopes: dict[str, tuple[dict[str, Any], Sequence[UUID]]] = {
        "ids": ({"trace_ids": [str(one) for one in (*mine[:3], uuid4())]}, mine[:3]),
        "conversation": ({"conversation_id": "talk 1"}, talk),
        "span": ({"since": week.isoformat(), "until": (week + WEEK).isoformat()}, mine[20:30]),
        "since": ({"since": (week + WEEK).isoformat()}, mine[30:]),
    }
    scope, wanted = scopes[what]
    found = await done(api, caller, (await accepted(caller, "ann", scope))["operation_id"])
    assert found["result"]["thawed"] == len(wanted) > 0
    assert {one for one, place in (await past.places()).items() if place == "thawed"} == set(wanted)


async def test_what_is_back_already_stays_for_longer(past: Past, api: Api, caller: httpx.AsyncClient) -> None:
    one = of(past, "ann")[0]
    first = await accepted(caller, "ann", {"trace_id": str(one)}, days=5)
    await done(api, caller, first["operation_id"])
    again = await accepted(caller, "ann", {"trace_id": str(one)}, days=50)
    assert (again["cold"], again["thawed"]) == (0, 1)
    assert (await done(api, caller, again["operation_id"]))["result"]["thawed"] == 1
    # And no shorter.
    last = await accepted(caller, "ann", {"trace_id": str(one)}, days=1)
    await done(api, caller, last["operation_id"])
    [(until,)] = await fetch(past.owner, "SELECT thawed_until FROM memory_digest WHERE trace_id = %s", one)
    assert until.isoformat().replace("+00:00", "Z") == again["until"]


async def test_what_is_not_cold_is_said_to_be_so(past: Past, caller: httpx.AsyncClient) -> None:
    hot = (
        await caller.post("/memory/remember", json={"user_id": "zoe", "traces": [{"content": "Tea at four."}]})
    ).json()
    trace = hot["traces"][0]["trace_id"]
    count = "SELECT count(*) FROM operation WHERE kind = 'thaw'"
    for user, scope, status in (
        ("zoe", {"trace_id": trace}, 409),
        ("zoe", {"all": True}, 409),
        ("zoe", {"trace_ids": [trace]}, 409),
        ("nobody", {"all": True}, 409),
        ("ann", {"conversation_id": "no such"}, 409),
        ("ann", {"since": "2030-01-01"}, 409),
        ("ann", {"trace_id": str(uuid4())}, 404),
        # Of another space.
        ("eve", {"all": True}, 409),
        ("ann", {"trace_ids": [str(one) for one in of(past, "eve")]}, 409),
    ):
        answer = await caller.post("/memory/thaw", json={"user_id": user, "scope": scope})
        assert answer.status_code == status, (user, scope, answer.text)
        assert answer.json()["detail"].endswith(".")
    assert await fetch(past.owner, count) == [(0,)]


SENSELESS: list[tuple[dict[str, Any], str]] = [
    ({"scope": {}}, "exactly one of"),
    ({"scope": {"all": True, "conversation_id": "a"}}, "exactly one of"),
    ({"scope": {"all": False}}, "true"),
    ({"scope": {"trace_ids": []}}, "at least 1"),
    ({"scope": {"since": "2025-02-01", "until": "2025-01-01"}}, "before until"),
    ({"scope": {"since": "yesterday"}}, "ISO 8601"),
    ({"scope": {"all": True}, "days": 0}, "at least 1"),
    ({"scope": {"all": True}, "days": 4000}, "at most 3650"),
    ({"scope": {"all": True}, "days": "7"}, "whole number"),
    ({"scope": {"query": "tea"}}, "not a field"),
]


async def test_a_scope_that_makes_no_sense(past: Past, caller: httpx.AsyncClient) -> None:
    for body, says in SENSELESS:
        answer = await caller.post("/memory/thaw", json={"user_id": "ann"} | body)
        assert answer.status_code == 422, body
        assert says in answer.json()["detail"], body


async def test_the_same_request_is_answered_once(past: Past, caller: httpx.AsyncClient) -> None:
    body = {"user_id": "ann", "scope": {"all": True}}
    answers = [await caller.post("/memory/thaw", json=body, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert await fetch(past.owner, "SELECT count(*) FROM operation WHERE kind = 'thaw'") == [(1,)]


async def test_a_storage_that_is_out_is_waited_for(
    past: Past, api: Api, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = (await accepted(caller, "ann", {"all": True}))["operation_id"]

    def out(self: Objects, path: str) -> Any:
        raise StorageTrouble("Object storage (there) did not answer in time: it cannot read.")

    monkeypatch.setattr(type(past.cold.objects), "open", out)
    waits = await done(api, caller, operation)
    assert (waits["state"], waits["attempts"]) == ("pending", 0)
    assert "Object storage" in waits["error"]
    assert set((await past.places()).values()) == {"cold"}
    monkeypatch.undo()
    monkeypatch.setattr(thaw, "PART", FEW)
    await past.owner.execute("UPDATE operation SET lease_until = NULL")
    assert (await done(api, caller, operation))["result"]["thawed"] == 50


async def test_a_damaged_file_keeps_back_its_own_traces_and_is_named(
    past: Past, api: Api, caller: httpx.AsyncClient
) -> None:
    [(path,)] = await fetch(
        past.owner, "SELECT path FROM cold_segment WHERE space_id = %s ORDER BY month LIMIT 1", SPACE
    )  # fmt: skip
    file = past.file(path)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 3 : len(raw) // 3 + 2000] = bytes(2000)
    file.write_bytes(raw)
    found = await done(api, caller, (await accepted(caller, "ann", {"all": True}))["operation_id"])
    assert found["state"] == "done"
    assert found["result"]["damaged"] > 0
    assert found["result"]["thawed"] + found["result"]["damaged"] == 50
    assert [
        one.path for one in (await TierOverview(past.settings, past.database, past.cold.objects).look()).damaged
    ] == [path]
    seen = (await caller.get("/tiers")).json()
    assert [one["path"] for one in seen["damaged"]] == [path]
    theirs = await api.caller("two")
    assert (await theirs.get("/tiers")).json()["damaged"] == []


async def test_nothing_cools_whose_file_is_gone(past: Past, api: Api, caller: httpx.AsyncClient) -> None:
    await done(api, caller, (await accepted(caller, "ann", {"all": True}, days=1))["operation_id"])
    [gone, *_] = sorted(path for path in past.objects() if str(SPACE) in path)
    past.file(gone).unlink()
    outcome = await past.run("cool", as_of=clock.now() + timedelta(days=2))
    kept = await fetch(past.owner, "SELECT count(*) FROM memory_body")
    [(held,)] = await fetch(
        past.owner, "SELECT count(*) FROM memory_digest d JOIN cold_segment s ON s.id = d.segment_id WHERE s.path = %s"
                    " AND d.user_id = %s", gone, pasts.user_of("ann"),
    )  # fmt: skip
    assert kept == [(held,)]
    assert outcome.report["cool"]["traces"] == 50 - held
    assert outcome.errors == {}


async def test_what_was_changed_while_it_was_thawed_stays(past: Past, api: Api, caller: httpx.AsyncClient) -> None:
    mine = of(past, "ann")
    await done(api, caller, (await accepted(caller, "ann", {"all": True}, days=1))["operation_id"])
    answer = await caller.patch(f"/memory/traces/{mine[0]}", params={"user_id": "ann"}, json={"content": "Changed."})
    assert answer.status_code == 200, answer.text
    await caller.post("/memory/forget", json={"user_id": "ann", "scope": {"trace_id": str(mine[1])}})
    await past.run("cool", as_of=clock.now() + timedelta(days=2))
    places = await past.places()
    assert places[mine[0]] == "kept"
    assert mine[1] not in places
    assert {places[one] for one in mine[2:]} == {"cold"}
    await past.run("files")
    assert not (await past.filed()).keys() & set(mine[:2])


async def test_vectors_of_a_model_that_is_served_no_more_are_made_anew(
    past: Past, api: Api, caller: httpx.AsyncClient
) -> None:
    other = await add_model(past.owner, "former", past.model.dim, "fp16", MONDAY)
    await past.owner.execute("UPDATE cold_segment SET model_id = %s", (other.id,))
    await done(api, caller, (await accepted(caller, "ann", {"all": True}))["operation_id"])
    rows = await fetch(past.owner, "SELECT cardinality(trace_ids) FROM operation WHERE kind = 'embed'")
    assert sum(row[0] for row in rows) == 50


async def test_the_status_names_thaws_under_way(past: Past, api: Api, caller: httpx.AsyncClient) -> None:
    answer = await accepted(caller, "ann", {"all": True})
    seen = (await caller.get("/tiers")).json()
    assert [one["operation_id"] for one in seen["thaws"]] == [answer["operation_id"]]
    assert [one["tier"] for one in seen["tiers"]] == ["hot", "warm", "cold"]
    cold = seen["tiers"][2]
    assert (cold["traces"], cold["files"]) == (len(past.traces), 4)
    assert cold["file_bytes"] > 0
    assert seen["last_run"]["state"] == "done"
    await done(api, caller, answer["operation_id"])
    after = (await caller.get("/tiers")).json()
    assert (after["thaws"], after["thawed"], after["tiers"][2]["traces"]) == ([], 50, len(past.traces) - 50)
    assert (await api.caller("one", ["read"])) is not None
