"""PATCH, GET and lists: what is changed is found as it is now."""

import asyncio
from contextlib import nullcontext
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from tests.conftest import Api, Remember
from tests.memories.helpers import Fickle, found_ids, next_edges, post, rows, run_operation, unit, user_row, vectors_of

from reverie.core.config import Settings


async def patch(caller: httpx.AsyncClient, user: str, trace_id: str, **changes: Any) -> httpx.Response:
    return await caller.patch(f"/memory/traces/{trace_id}", params={"user_id": user}, json=changes)


@pytest.fixture
async def trace(remember: Remember, user: str) -> str:
    (made,) = await remember(
        user,
        {
            "content": "The piano tuner comes on Friday.", "role": "user", "speaker": "Ada", "conversation_id": "c",
            "external_id": "e", "occurred_at": "2024-01-05", "salience": 0.6, "source": {"a": 1}, "meta": {"b": 2},
        },
    )  # fmt: skip
    trace_id: str = made["trace_id"]
    return trace_id


async def test_a_changed_text_is_found_by_the_new_and_not_by_the_old(
    caller: httpx.AsyncClient, user: str, trace: str, settings: Settings, fickle: Fickle
) -> None:
    answer = await patch(caller, user, trace, content="The chimney sweep was here.")
    assert answer.status_code == 200
    found = answer.json()
    assert found["content"] == "The chimney sweep was here."
    assert found["length"] == len(found["content"])
    assert found["updated_at"] > found["created_at"]
    assert found == (await caller.get(f"/memory/traces/{trace}", params={"user_id": user})).json()
    assert await found_ids(caller, user, "piano tuner Friday", recipe="lexical") == []
    assert await found_ids(caller, user, "chimney sweeps", recipe="lexical") == [trace]
    ((_, vector),) = await vectors_of(settings, trace)
    assert np.allclose(vector, fickle.encode_documents(["Ada: The chimney sweep was here."])[0], atol=1e-3)
    row = await user_row(settings, user)
    assert row["words"] == row["real_words"]


async def test_what_is_not_named_stays(caller: httpx.AsyncClient, user: str, trace: str) -> None:
    before = (await caller.get(f"/memory/traces/{trace}", params={"user_id": user})).json()
    after = (await patch(caller, user, trace, meta={"c": [3]})).json()
    assert after == before | {"meta": {"c": [3]}, "updated_at": after["updated_at"]}


async def test_null_clears(caller: httpx.AsyncClient, user: str, trace: str) -> None:
    names = ("role", "speaker", "conversation_id", "external_id", "occurred_at", "source", "meta")
    answer = await patch(caller, user, trace, **dict.fromkeys(names))
    assert answer.status_code == 200
    found = answer.json()
    assert {name: found[name] for name in names} == dict.fromkeys(names) | {"meta": {}}
    assert found["happened_at"] == found["created_at"]
    assert (found["kind"], found["salience"]) == ("turn", 0.6)


@pytest.mark.parametrize("name", ["content", "kind", "salience", "language"])
async def test_null_does_not_clear_what_every_trace_has(
    caller: httpx.AsyncClient, user: str, trace: str, name: str
) -> None:
    answer = await patch(caller, user, trace, **{name: None})
    assert answer.status_code == 422
    assert name in answer.json()["detail"]


async def test_the_time_and_kind_of_a_trace_change_for_every_arm(
    caller: httpx.AsyncClient, user: str, trace: str
) -> None:
    assert (await patch(caller, user, trace, occurred_at="2021-07-01T10:00:00Z", kind="fact")).status_code == 200
    for recipe in ("vector", "lexical", "balanced"):
        year = {"since": "2021-01-01", "until": "2022-01-01", "recipe": recipe}
        assert await found_ids(caller, user, "piano tuner", kinds=["fact"], **year) == [trace]
        assert await found_ids(caller, user, "piano tuner", kinds=["turn"], recipe=recipe) == []
        assert await found_ids(caller, user, "piano tuner", since="2024-01-01", recipe=recipe) == []
    assert await found_ids(caller, user, "July 2021", recipe="lexical") == [trace]
    assert await found_ids(caller, user, "January 2024", recipe="lexical") == []


async def test_the_identity_is_computed_anew(caller: httpx.AsyncClient, user: str, trace: str) -> None:
    assert (await patch(caller, user, trace, external_id="f")).status_code == 200
    again = {"content": "The piano tuner comes on Friday.", "external_id": "f"}
    answered = (await post(caller, user, again, again | {"external_id": "e"})).json()["traces"]
    assert [one["status"] for one in answered] == ["duplicate", "stored"]
    assert answered[0]["trace_id"] == trace


async def test_what_would_be_the_same_as_another_is_refused(
    caller: httpx.AsyncClient, user: str, trace: str, remember: Remember, settings: Settings
) -> None:
    notes = await remember(user, {"content": "Red."}, {"content": "Blue."}, {"content": "Green.", "external_id": "g"})
    before = await user_row(settings, user)
    for trace_id, change in (
        (notes[1]["trace_id"], {"content": "Red."}),
        (notes[2]["trace_id"], {"external_id": "e"}),
        (trace, {"external_id": "g"}),
        (notes[2]["trace_id"], {"content": "Blue.", "external_id": None}),
    ):
        answer = await patch(caller, user, trace_id, **change)
        assert answer.status_code == 409, change
    assert await user_row(settings, user) == before
    assert await found_ids(caller, user, "blue", recipe="lexical") == [notes[1]["trace_id"]]


async def test_two_changes_at_once_do_not_overwrite_each_other(
    caller: httpx.AsyncClient, user: str, trace: str, fickle: Fickle
) -> None:
    with fickle.held() as arrived:
        changes = [asyncio.create_task(patch(caller, user, trace, content=f"Change {n}.")) for n in range(3)]
        assert await asyncio.to_thread(arrived)
        await asyncio.sleep(0.1)
        fickle.release()
        answers = [await change for change in changes]
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    (won,) = [n for n, answer in enumerate(answers) if answer.status_code == 200]
    found = (await caller.get(f"/memory/traces/{trace}", params={"user_id": user})).json()
    assert found["content"] == f"Change {won}."


async def test_a_trace_that_is_forgotten_meanwhile_is_not_changed(
    caller: httpx.AsyncClient, user: str, trace: str, fickle: Fickle, settings: Settings
) -> None:
    with fickle.held() as arrived:
        change = asyncio.create_task(patch(caller, user, trace, content="Too late."))
        assert await asyncio.to_thread(arrived)
        assert (await caller.delete(f"/memory/traces/{trace}", params={"user_id": user})).status_code == 200
        fickle.release()
        assert (await change).status_code == 409
    assert await rows(settings, "SELECT 1 FROM memory_embedding WHERE trace_id = %s", (trace,)) == []


async def test_salience_across_the_threshold(
    caller: httpx.AsyncClient, user: str, trace: str, settings: Settings
) -> None:
    lowered = (await patch(caller, user, trace, salience=0.2)).json()
    assert (lowered["vectors"], lowered["salience"]) == (False, 0.2)
    assert await vectors_of(settings, trace) == []
    assert await found_ids(caller, user, "piano", recipe="vector") == []
    assert await found_ids(caller, user, "piano") == [trace]
    raised = (await patch(caller, user, trace, salience=0.35)).json()
    assert raised["vectors"] is True
    assert len(await vectors_of(settings, trace)) == 1
    assert await found_ids(caller, user, "piano", recipe="vector") == [trace]


async def test_a_change_while_the_encoder_fails_leaves_no_vector_of_the_old_text(
    caller: httpx.AsyncClient, user: str, trace: str, settings: Settings, fickle: Fickle, api: Api
) -> None:
    with fickle.failing():
        assert (await patch(caller, user, trace, content="The roofer was here.")).status_code == 200
    assert await vectors_of(settings, trace) == []
    ((operation,),) = await rows(settings, "SELECT id FROM operation WHERE trace_ids = ARRAY[%s::uuid]", (trace,))
    assert await run_operation(api, str(operation))
    ((_, vector),) = await vectors_of(settings, trace)
    assert np.allclose(vector, fickle.encode_documents(["Ada: The roofer was here."])[0], atol=1e-3)


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(
    "change",
    [{"meta": {"c": 3}}, {"salience": 0.9}, {"content": "Mine.", "kind": "fact", "occurred_at": "2021-07-01"}],
)
async def test_a_vector_of_the_callers_own_stays_with_its_text(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle, change: dict[str, Any], broken: bool
) -> None:
    made = await post(caller, user, {"content": "Mine.", "embedding": unit(1)})
    trace = made.json()["traces"][0]["trace_id"]
    with fickle.failing() if broken else nullcontext():
        assert (await patch(caller, user, trace, **change)).status_code == 200
    ((_, vector),) = await vectors_of(settings, trace)
    assert np.allclose(vector, unit(1), atol=1e-3)
    assert await rows(settings, "SELECT 1 FROM operation WHERE trace_ids = ARRAY[%s::uuid]", (trace,)) == []
    kept = await rows(
        settings,
        "SELECT e.kind = b.kind AND e.happened_at = b.happened_at"
        " FROM memory_embedding e JOIN memory_body b USING (user_id, trace_id) WHERE e.trace_id = %s",
        (trace,),
    )
    assert kept == [(True,)]


async def test_a_speaker_who_changes_is_encoded_again(
    caller: httpx.AsyncClient, user: str, trace: str, settings: Settings, fickle: Fickle
) -> None:
    assert (await patch(caller, user, trace, speaker="Bo")).status_code == 200
    ((_, vector),) = await vectors_of(settings, trace)
    assert np.allclose(vector, fickle.encode_documents(["Bo: The piano tuner comes on Friday."])[0], atol=1e-3)


@pytest.mark.parametrize(("to", "expected"), [("d", {(0, 2), (3, 4), (4, 1)}), (None, {(0, 2), (3, 4)})])
async def test_a_trace_that_changes_its_conversation_moves_to_the_end_of_the_other(
    caller: httpx.AsyncClient, user: str, settings: Settings, to: str | None, expected: set[tuple[int, int]]
) -> None:
    made = [
        await post(caller, user, *[{"content": f"{n}.", "embedding": unit(n)} for n in range(count)], conversation_id=c)
        for c, count in (("c", 3), ("d", 2))
    ]
    ids = [one["trace_id"] for answer in made for one in answer.json()["traces"]]
    assert await next_edges(settings, ids) == {(0, 1), (1, 2), (3, 4)}
    assert (await patch(caller, user, ids[1], conversation_id="c", meta={"a": 1})).status_code == 200
    assert await next_edges(settings, ids) == {(0, 1), (1, 2), (3, 4)}
    assert (await patch(caller, user, ids[1], conversation_id=to)).status_code == 200
    assert await next_edges(settings, ids) == expected


async def test_another_users_trace_is_not_there(caller: httpx.AsyncClient, user: str, trace: str) -> None:
    for who, what in ((f"{user} 2", trace), (user, str(uuid4()))):
        path, params = f"/memory/traces/{what}", {"user_id": who}
        answers = [await caller.get(path, params=params), await caller.patch(path, params=params, json={"meta": None})]
        assert [answer.status_code for answer in answers] == [404, 404]


# Lists


async def pages(caller: httpx.AsyncClient, path: str, **params: Any) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await caller.get(path, params=params | cursor)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["items"])
        if answer.json()["next_cursor"] is None:
            return found
        cursor = {"cursor": answer.json()["next_cursor"]}


async def test_traces_page_newest_first_without_loss_while_new_ones_come(caller: httpx.AsyncClient, user: str) -> None:
    made = await post(caller, user, *[{"content": f"Bead {n}.", "embedding": unit(n)} for n in range(23)])
    ids = [one["trace_id"] for one in made.json()["traces"]]
    first = (await caller.get("/memory/traces", params={"user_id": user, "limit": 5})).json()
    await post(caller, user, {"content": "A new bead.", "embedding": unit(30)})
    rest = await pages(caller, "/memory/traces", user_id=user, limit=5, cursor=first["next_cursor"])
    seen = [one["trace_id"] for one in [*first["items"], *(one for page in rest for one in page)]]
    assert seen == ids[::-1]
    whole = await pages(caller, "/memory/traces", user_id=user, limit=100)
    assert [one["trace_id"] for one in whole[0]][1:] == ids[::-1]


async def test_traces_are_listed_by_kind_and_conversation(caller: httpx.AsyncClient, user: str) -> None:
    await post(
        caller, user, "Note.", {"content": "Turn.", "role": "user"}, {"content": "In c.", "conversation_id": "c"}
    )
    listed = {
        name: [one["content"] for one in (await pages(caller, "/memory/traces", user_id=user, **params))[0]]
        for name, params in {
            "note": {"kind": "note"}, "turn": {"kind": "turn"}, "c": {"conversation_id": "c"},
            "both": {"kind": "turn", "conversation_id": "c"}, "none": {"kind": "fact"},
        }.items()
    }  # fmt: skip
    assert listed == {"note": ["Note."], "turn": ["In c.", "Turn."], "c": ["In c."], "both": ["In c."], "none": []}


async def test_users_page_newest_first_without_loss_while_new_ones_come(api: Api) -> None:
    caller = await api.caller(f"space {uuid4().hex}")
    for n in range(7):
        await post(caller, f"user {n}", {"content": "Here.", "embedding": unit(n)})
    first = (await caller.get("/memory/users", params={"limit": 3})).json()
    await post(caller, "user 7", {"content": "Here.", "embedding": unit(7)})
    rest = await pages(caller, "/memory/users", limit=3, cursor=first["next_cursor"])
    seen = [one["user_id"] for one in [*first["items"], *(one for page in rest for one in page)]]
    assert seen == [f"user {n}" for n in range(6, -1, -1)]
    (everybody,) = await pages(caller, "/memory/users", limit=50)
    assert [one["user_id"] for one in everybody] == [f"user {n}" for n in range(7, -1, -1)]
    assert {one["traces"] for one in everybody} == {1}


@pytest.mark.parametrize("path", ["/memory/traces", "/memory/users", "/keys"])
@pytest.mark.parametrize(
    "cursor", ["x", "2024-01-01", "2024-01-01,x", "2024-01-01T00:00:00,6f0c5a4e-51c7-5f7e-9f43-0d6a3b0f8a11", ","]
)
async def test_a_cursor_that_no_list_gave_out_is_refused(caller: httpx.AsyncClient, path: str, cursor: str) -> None:
    params = {"cursor": cursor} | ({"user_id": "u"} if path.endswith("traces") else {})
    answer = await caller.get(path, params=params)
    assert answer.status_code == 422
    assert answer.json()["field"] == "cursor"
