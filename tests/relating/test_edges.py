"""Edges by hand: made, kept, removed, listed; `supersedes` marks as a night does."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Api, Remember
from tests.forgetting.helpers import forgotten
from tests.memories.helpers import post, rows, run_operation, user_row
from tests.memories.test_links import link_all
from tests.relating.helpers import TRAIN, TRIP, contents, edges, link, note, related

from reverie.core.config import Settings


@pytest.fixture
async def ids(user: str, remember: Remember) -> list[str]:
    return [one["trace_id"] for one in await remember(user, *TRIP)]


async def listed(caller: httpx.AsyncClient, user: str, **more: Any) -> list[dict[str, Any]]:
    answer = await caller.get("/memory/edges", params={"user_id": user, **more})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_an_edge_is_made_listed_and_removed(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    answer = await link(caller, user, ids[0], ids[2], weight=0.5, meta={"why": "both at home"})
    assert answer.status_code == 201
    edge = answer.json()
    assert edge["meta"] == {"why": "both at home", "by": "hand"}
    assert (edge["src"], edge["dst"], edge["type"], edge["weight"]) == (ids[0], ids[2], "relates_to", 0.5)
    assert await listed(caller, user) == [edge]
    found = (await related(caller, user, ids[2]))[0]
    assert (found["trace_id"], found["reasons"][0]["why"]) == (ids[0], "edge")
    assert found["reasons"][0]["edge"] == {name: edge[name] for name in ("src", "dst", "type", "weight")}
    params = {"user_id": user, "src": ids[0], "dst": ids[2], "type": "relates_to"}
    assert (await caller.delete("/memory/edges", params=params)).status_code == 204
    again = await caller.delete("/memory/edges", params=params)
    assert (again.status_code, again.json()["detail"]) == (
        404, f"The user has no edge relates_to from {ids[0]} to {ids[2]}.",
    )  # fmt: skip
    assert await listed(caller, user) == []


async def test_accepting_a_suggestion_makes_it_a_persons(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = "The night train to Fort William is booked."
    made = await note(caller, user, like)
    assert (like, "similar", TRIP[1], None) in await edges(settings, user)
    assert (await link(caller, user, made["trace_id"], ids[1], "similar", weight=1)).status_code == 201
    assert (like, "similar", TRIP[1], "hand") in await edges(settings, user)
    # It stays when its note is linked anew, and when that says something else.
    monkeypatch.setattr(api.app.state.memories.linker, "_links", "all")
    for text in (None, "Something else entirely."):
        change = {"kind": "fact"} if text is None else {"content": text}
        url = f"/memory/traces/{made['trace_id']}"
        assert (await caller.patch(url, params={"user_id": user}, json=change)).status_code == 200
        await link_all(api, settings, user)
        assert {one[1:] for one in await edges(settings, user) if one[1] == "similar"} == {
            ("similar", TRIP[1], "hand")
        }  # fmt: skip
    [edge] = await listed(caller, user, type="similar")
    assert edge["weight"] == 1


async def test_what_a_changed_note_was_linked_by_goes(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings
) -> None:
    made = await note(caller, user, "The tomatoes on our balcony have blight.")
    assert {"same_topic", "similar"} <= {one[1] for one in await edges(settings, user)}
    url = f"/memory/traces/{made['trace_id']}"
    await caller.patch(url, params={"user_id": user}, json={"content": "Something else entirely."})
    assert not any(one[1] in ("same_topic", "similar") for one in await edges(settings, user))


async def test_supersedes_marks_the_older(caller: httpx.AsyncClient, user: str, remember: Remember) -> None:
    made = await remember(
        user,
        {"content": "The train leaves at eight.", "occurred_at": "2026-03-02T10:00:00Z"},
        {"content": "The train leaves at nine.", "occurred_at": "2026-03-03T10:00:00Z"},
    )
    older, newer = (one["trace_id"] for one in made)
    answer = await link(caller, user, newer, older, "supersedes")
    assert answer.json()["meta"] == {"by": "hand", "valid_from": "2026-03-03T10:00:00+00:00"}
    found = await caller.get("/memory/recall", params={"user_id": user, "q": "When does the train leave?"})
    shown = {one["trace_id"]: one["superseded_by"] for one in found.json()["results"]}
    assert shown == {newer: None, older: newer}
    assert [one["trace_id"] for one in found.json()["results"]] == [newer, older]
    other = await link(caller, user, older, newer, "supersedes")
    assert (other.status_code, other.json()["detail"]) == (
        409, "The other trace supersedes this one already: remove that edge first.",
    )  # fmt: skip
    params = {"user_id": user, "src": newer, "dst": older, "type": "supersedes"}
    assert (await caller.delete("/memory/edges", params=params)).status_code == 204
    assert (await link(caller, user, older, newer, "supersedes")).status_code == 201


async def test_an_entity_takes_no_traces_place(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    made = await note(caller, user, TRAIN)
    entity = next(one["trace_id"] for one in made["suggestions"] if one["kind"] == "entity")
    answer = await link(caller, user, entity, ids[0], "supersedes")
    assert (answer.status_code, answer.json()["field"]) == (422, "type")
    assert (await link(caller, user, made["trace_id"], entity, "is_about")).status_code == 201


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"dst": "src"}, 422, "dst takes another trace than src: no edge leads from a trace to itself."),
        ({"dst": str(uuid4())}, 404, "The user has no trace "),
        ({"src": str(uuid4())}, 404, "The user has no trace "),
        ({"weight": 1.01}, 422, "weight takes a number of at most 1, not 1.01."),
        ({"weight": -0.1}, 422, "weight takes a number of at least 0, not -0.1."),
        ({"weight": "1"}, 422, "weight takes"),
        ({"type": "x" * 300}, 422, "type takes a word of small letters, digits and _ that begins with a letter"),
        ({"type": "Relates to"}, 422, "type takes a word of small letters"),
        ({"type": ""}, 422, "type takes a word of small letters"),
        ({"type": "next"}, 422, "type takes no next: that is the order of a conversation, which the store keeps"),
        ({"type": "mentions"}, 422, "type takes no mentions: that is what a text calls an entity"),
        ({"type": "summary_of"}, 422, "type takes no summary_of"),
        ({"meta": {"by": "dream"}}, 422, "meta takes no 'by': the store writes that itself."),
        ({"meta": {"valid_from": "nonsense"}}, 422, "meta takes no 'valid_from'"),
        ({"meta": [1]}, 422, "meta takes a JSON object."),
        ({"colour": 1}, 422, "colour is not a field here."),
        ({"type": None}, 422, "type takes text"),
    ],
)
async def test_bad_edges_are_refused_in_a_sentence(
    caller: httpx.AsyncClient, user: str, ids: list[str], change: dict[str, Any], status: int, says: str
) -> None:
    body = {"user_id": user, "src": ids[0], "dst": ids[1], "type": "relates_to", **change}
    if body["dst"] == "src":
        body["dst"] = body["src"]
    answer = await caller.post("/memory/edges", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith(says)
    assert answer.json()["detail"].count(". ") == 0
    assert await listed(caller, user) == []


async def test_an_edge_to_another_users_trace_is_refused(
    caller: httpx.AsyncClient, user: str, ids: list[str], remember: Remember
) -> None:
    [other] = await remember(f"{user} 2", "Hers.")
    for src, dst in ((ids[0], other["trace_id"]), (other["trace_id"], ids[0])):
        answer = await link(caller, user, src, dst)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"The user has no trace {other['trace_id']}.")
    assert await listed(caller, user) == await listed(caller, f"{user} 2") == []


async def test_what_the_store_keeps_is_not_removed_by_hand(caller: httpx.AsyncClient, user: str) -> None:
    made = await post(caller, user, "One.", "Two.", conversation_id="c")
    one, two = (trace["trace_id"] for trace in made.json()["traces"])
    params = {"user_id": user, "src": one, "dst": two, "type": "next"}
    answer = await caller.delete("/memory/edges", params=params)
    assert (answer.status_code, answer.json()["field"]) == (422, "type")
    assert [edge["type"] for edge in await listed(caller, user)] == ["next"]


async def test_a_repeated_request_makes_one_edge(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    body = {"user_id": user, "src": ids[0], "dst": ids[1], "type": "relates_to"}
    once = {"Idempotency-Key": f"edge of {user}"}
    first = await caller.post("/memory/edges", json=body, headers=once)
    params = {name: body[name] for name in ("user_id", "src", "dst", "type")}
    assert (await caller.delete("/memory/edges", params=params)).status_code == 204
    again = await caller.post("/memory/edges", json=body, headers=once)
    assert (again.status_code, again.json()) == (201, first.json())
    assert await listed(caller, user) == []


async def test_the_list_pages_and_filters(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    pairs = [(a, b) for a in ids for b in ids if a < b]
    for number, (a, b) in enumerate(pairs):
        assert (await link(caller, user, a, b, f"kind_{number % 3}")).status_code == 201
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = (await caller.get("/memory/edges", params={"user_id": user, "limit": 3, **cursor})).json()
        seen += answer["items"]
        if answer["next_cursor"] is None:
            break
        cursor = {"cursor": answer["next_cursor"]}
    keys = [(one["src"], one["dst"], one["type"]) for one in seen]
    assert keys == sorted(keys, reverse=True)
    assert {key[:2] for key in keys} == set(pairs)
    of_one = await listed(caller, user, trace_id=ids[2])
    assert len(of_one) == 4
    assert all(ids[2] in (one["src"], one["dst"]) for one in of_one)
    assert {one["type"] for one in await listed(caller, user, type="kind_1")} == {"kind_1"}
    for given, field in (({"cursor": "nonsense"}, "cursor"), ({"cursor": f"{ids[0]},x,y"}, "cursor"),
                         ({"cursor": f"{ids[0]},{ids[1]},a\0b"}, "cursor"),
                         ({"trace_id": "7"}, "trace_id"), ({"type": "X"}, "type")):  # fmt: skip
        bad = await caller.get("/memory/edges", params={"user_id": user, **given})
        assert (bad.status_code, bad.json()["field"]) == (422, field)
    assert await listed(caller, f"{user} 2") == []


async def test_a_hand_made_edge_goes_with_forgetting_and_its_kept_answer_too(
    caller: httpx.AsyncClient, user: str, ids: list[str]
) -> None:
    body = {"user_id": user, "src": ids[0], "dst": ids[1], "type": "relates_to", "meta": {"why": "a secret"}}
    once = {"Idempotency-Key": f"gone of {user}"}
    assert (await caller.post("/memory/edges", json=body, headers=once)).status_code == 201
    gone = await forgotten(caller, user, {"trace_id": ids[1]})
    assert (gone["counts"]["edges"], gone["counts"]["answers"]) == (1, 1)
    assert await listed(caller, user) == []
    again = await caller.post("/memory/edges", json=body, headers=once)
    assert "secret" not in again.text
    assert ids[1] not in again.text
    found = await caller.post(f"/memory/receipts/{gone['receipt_id']}/verify", params={"user_id": user})
    assert found.json()["gone"] is True


async def test_a_merged_entity_keeps_what_a_person_has_linked(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings
) -> None:
    await remember(user, "We met Robert Pym at the harbour.", "Yesterday we saw Bobby Pym at the harbour.")
    one = await note(caller, user, "Tomorrow we visit Robert Pym again.")
    other = await note(caller, user, "Then Bobby Pym will cook for us.")
    named = {
        s["content"]: s["trace_id"] for made in (one, other) for s in made["suggestions"] if s["kind"] == "entity"
    }  # fmt: skip
    robert, bobby = named["Robert Pym"], named["Bobby Pym"]
    for entity, weight in ((robert, 0.3), (bobby, 0.7)):
        assert (await link(caller, user, entity, one["trace_id"], "stars_in", weight=weight)).status_code == 201
    answer = await caller.post(f"/memory/entities/{bobby}/merge", json={"user_id": user, "into": robert})
    assert answer.status_code == 200
    [edge] = await listed(caller, user, type="stars_in")
    assert (edge["src"], edge["meta"]["by"]) == (robert, "hand")
    user_id = (await user_row(settings, user))["user_id"]
    assert await rows(settings, "SELECT 1 FROM memory_edge WHERE user_id = %s AND src = %s", (user_id, bobby)) == []


async def test_vectors_that_come_late_are_linked_as_ever(
    api: Api, caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app.state.memories.linker, "_links", "all")
    like = "The night train to Fort William is booked."
    body = {"user_id": user, "traces": [{"content": like}]}
    answer = await caller.post("/memory/remember?suggest=5&wait=false", json=body)
    before = await edges(settings, user)
    assert await run_operation(api, answer.json()["operation_id"])
    await link_all(api, settings, user)
    after = await edges(settings, user)
    assert before <= after
    assert (like, "similar", TRIP[1], None) in after
    made = answer.json()["traces"][0]
    assert "alike" in {
        reason["why"] for one in await related(caller, user, made["trace_id"]) for reason in one["reasons"]
    }
    assert TRIP[1] in contents(await related(caller, user, made["trace_id"]))
