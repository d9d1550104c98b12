"""What becomes of traces that are remembered: what they are, what is the same, what is rejected."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import Api, Remember
from tests.memories.helpers import DIM, Fickle, found_ids, post, rows, run_operation, unit, user_row, vectors_of

from reverie.core import clock
from reverie.core.config import Settings
from reverie.embedding import queues


async def read(caller: httpx.AsyncClient, user: str, trace_id: str) -> dict[str, Any]:
    answer = await caller.get(f"/memory/traces/{trace_id}", params={"user_id": user})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("given", "common", "kind"),
    [
        ({}, {}, "note"),
        ({"speaker": "Ada"}, {}, "note"),
        ({"role": "user"}, {}, "turn"),
        ({"conversation_id": "c"}, {}, "turn"),
        ({}, {"conversation_id": "c"}, "turn"),
        ({"kind": "fact", "role": "user"}, {"conversation_id": "c"}, "fact"),
        ({"kind": "note"}, {"conversation_id": "c"}, "note"),
    ],
)
async def test_the_kind_is_a_turn_where_a_role_or_a_conversation_is_given(
    caller: httpx.AsyncClient, user: str, given: dict[str, Any], common: dict[str, Any], kind: str
) -> None:
    answer = await post(caller, user, {"content": "The kettle whistles."} | given, **common)
    assert answer.status_code == 201
    assert (await read(caller, user, answer.json()["traces"][0]["trace_id"]))["kind"] == kind


async def test_everything_that_was_given_is_read_again(caller: httpx.AsyncClient, user: str) -> None:
    given = {
        "content": "Zoë paid 12 € for the “Drachenfels” ticket 🚂", "kind": "fact", "role": "tool", "speaker": "Zoë",
        "conversation_id": "trip", "external_id": "x-1", "occurred_at": "2024-02-29T23:30:00+02:00", "salience": 0.75,
        "language": "de", "source": {"app": "mail", "ids": [1, 2]}, "meta": {"price": 12, "tags": ["train", None]},
    }  # fmt: skip
    before = clock.now()
    answer = await post(caller, user, given)
    found = await read(caller, user, answer.json()["traces"][0]["trace_id"])
    same = {name: value for name, value in given.items() if name not in ("occurred_at", "language")}
    assert {name: found[name] for name in same} == same
    assert found["user_id"] == user
    assert found["language"] == "german"
    assert found["length"] == len(str(given["content"]))
    assert found["occurred_at"] == found["happened_at"] == "2024-02-29T21:30:00Z"
    assert before <= datetime.fromisoformat(found["created_at"]) <= clock.now()
    assert found["updated_at"] is None
    assert found["tier"] == "hot"


async def test_messages_as_chat_apis_write_them(caller: httpx.AsyncClient, user: str) -> None:
    messages = [
        {"role": "developer", "content": "Answer briefly."},
        {
            "role": "user",
            "name": "Ada",
            "content": [
                {"type": "text", "text": "Look at this:"},
                {"type": "image_url", "image_url": {"url": "data:"}},
                {"type": "text", "text": "is it a heron?"},
            ],
        },
        {"role": "assistant", "content": "It is a heron.", "tool_calls": [{"id": "1"}], "refusal": None},
        {"role": "function", "name": "lookup", "content": "Ardea cinerea"},
    ]
    body = {"user_id": user, "conversation_id": "birds", "messages": messages}
    answer = await caller.post("/memory/remember", json=body)
    assert answer.status_code == 201
    found = [await read(caller, user, one["trace_id"]) for one in answer.json()["traces"]]
    assert [(one["role"], one["speaker"], one["content"]) for one in found] == [
        ("system", None, "Answer briefly."),
        ("user", "Ada", "Look at this:\nis it a heron?"),
        ("assistant", None, "It is a heron."),
        ("tool", "lookup", "Ardea cinerea"),
    ]
    assert {(one["kind"], one["conversation_id"]) for one in found} == {("turn", "birds")}


async def test_a_message_without_text_is_rejected_alone(caller: httpx.AsyncClient, user: str) -> None:
    messages = [{"role": "assistant", "content": None}, {"role": "user", "content": "Hello."}, {"role": "cook"}]
    answer = await caller.post("/memory/remember", json={"user_id": user, "messages": messages})
    assert answer.status_code == 201
    assert [one["status"] for one in answer.json()["traces"]] == ["rejected", "stored", "rejected"]
    assert "content" in answer.json()["traces"][0]["error"]
    assert "role" in answer.json()["traces"][2]["error"]


async def test_a_trace_can_name_another_conversation_than_its_batch(caller: httpx.AsyncClient, user: str) -> None:
    traces = [{"content": "Here."}, {"content": "There.", "conversation_id": "two"}]
    answer = await post(caller, user, *traces, conversation_id="one")
    found = [await read(caller, user, one["trace_id"]) for one in answer.json()["traces"]]
    assert [one["conversation_id"] for one in found] == ["one", "two"]


async def test_answers_stand_in_the_order_of_what_was_given(caller: httpx.AsyncClient, user: str) -> None:
    await post(caller, user, {"content": "Old.", "external_id": "old"})
    traces = [
        {"content": "First.", "external_id": "1"},
        {"content": "  ", "external_id": "2"},
        {"content": "Old.", "external_id": "old"},
        {"content": "Faint.", "external_id": "4", "salience": 0.1},
        "not a trace",
        {"content": "Last.", "external_id": "6"},
    ]
    body = {"user_id": user, "traces": traces}
    answer = await caller.post("/memory/remember", json=body)
    answered = answer.json()["traces"]
    assert [one["external_id"] for one in answered] == ["1", "2", "old", "4", None, "6"]
    assert [one["status"] for one in answered] == ["stored", "rejected", "duplicate", "stored", "rejected", "stored"]
    assert [one["vectors"] for one in answered] == ["stored", None, None, "skipped", None, "stored"]
    ids = [answered[n]["trace_id"] for n in (0, 3, 5)]
    assert ids == sorted(ids)
    assert [(await read(caller, user, one))["content"] for one in ids] == ["First.", "Faint.", "Last."]


# What is the same


async def test_the_same_external_id_and_content_is_a_duplicate(caller: httpx.AsyncClient, user: str) -> None:
    trace = {"content": "Bees hum.", "external_id": "e", "role": "user"}
    first = (await post(caller, user, trace)).json()["traces"][0]
    again = await post(caller, user, trace | {"speaker": "somebody else", "meta": {"a": 1}})
    assert again.status_code == 201
    assert again.json()["traces"] == [
        {
            "trace_id": first["trace_id"],
            "external_id": "e",
            "status": "duplicate",
            "vectors": None,
            "error": None,
            "reason": None,
        }
    ]
    assert (await user_row_traces(caller, user)) == 1


async def user_row_traces(caller: httpx.AsyncClient, user: str) -> int:
    answer = await caller.get("/memory/traces", params={"user_id": user})
    return len(answer.json()["items"])


async def test_the_same_external_id_with_other_content_is_refused_with_the_way_to_change_it(
    caller: httpx.AsyncClient, user: str
) -> None:
    first = (await post(caller, user, {"content": "Bees hum.", "external_id": "e"})).json()["traces"][0]
    answer = await post(caller, user, {"content": "Wasps hum.", "external_id": "e"}, "A neighbour.")
    assert answer.status_code == 201
    refused, stored = answer.json()["traces"]
    assert refused["status"] == "rejected"
    assert refused["trace_id"] is None
    assert f"PATCH /memory/traces/{first['trace_id']}" in refused["error"]
    assert stored["status"] == "stored"
    alone = await post(caller, user, {"content": "Wasps hum.", "external_id": "e"})
    assert alone.status_code == 422
    assert "PATCH" in alone.json()["detail"]
    assert (await read(caller, user, first["trace_id"]))["content"] == "Bees hum."


async def test_an_external_id_is_one_users_own(caller: httpx.AsyncClient, user: str) -> None:
    first = await post(caller, user, {"content": "Mine.", "external_id": "e"})
    other = await post(caller, f"{user}, another", {"content": "Theirs.", "external_id": "e"})
    assert [one.json()["traces"][0]["status"] for one in (first, other)] == ["stored", "stored"]


BASE = {"content": "Tea at four.", "kind": "note", "role": "user", "speaker": "Ada", "conversation_id": "c"}


@pytest.mark.parametrize("kind", ["note", "fact", "chunk", "summary"])
async def test_a_text_that_is_no_turn_is_the_same_by_what_it_says(
    caller: httpx.AsyncClient, user: str, kind: str
) -> None:
    base = BASE | {"kind": kind}
    changes: list[dict[str, Any]] = [
        {}, {"content": "Tea at five."}, {"role": "assistant"}, {"role": None}, {"speaker": "Bob"}, {"speaker": None},
        {"conversation_id": "d"}, {"kind": "turn"}, {"external_id": "e"},
    ]  # fmt: skip
    first = (await post(caller, user, base)).json()["traces"][0]["trace_id"]
    answered = (await post(caller, user, *[base | change for change in changes])).json()["traces"]
    assert answered[0] == {
        "trace_id": first, "external_id": None, "status": "duplicate", "vectors": None, "error": None,
        "reason": None,
    }  # fmt: skip
    assert [one["status"] for one in answered[1:]] == ["stored"] * (len(changes) - 1)
    later = await post(caller, user, base | {"occurred_at": "2020-01-01", "salience": 0.9, "meta": {"a": 1}})
    assert later.json()["traces"][0]["status"] == "duplicate"


async def test_a_second_genuine_yes_is_kept(caller: httpx.AsyncClient, user: str) -> None:
    turn = {"content": "Yes.", "role": "user", "conversation_id": "c"}
    statuses = [(await post(caller, user, turn)).json()["traces"][0]["status"] for _ in range(2)]
    batch = (await post(caller, user, turn, turn)).json()["traces"]
    assert statuses + [one["status"] for one in batch] == ["stored"] * 4
    assert len({one["trace_id"] for one in batch}) == 2
    assert await user_row_traces(caller, user) == 4


async def test_a_turn_with_its_time_is_recognised(caller: httpx.AsyncClient, user: str) -> None:
    turn = {"content": "Yes.", "role": "user", "conversation_id": "c", "occurred_at": "2024-05-01T10:00:00Z"}
    first = (await post(caller, user, turn)).json()["traces"][0]
    again = turn | {"occurred_at": "2024-05-01T12:00:00+02:00"}
    later = turn | {"occurred_at": "2024-05-01T10:00:00.000001Z"}
    answered = (await post(caller, user, again, later)).json()["traces"]
    assert [one["status"] for one in answered] == ["duplicate", "stored"]
    assert answered[0]["trace_id"] == first["trace_id"]


async def test_what_stands_twice_in_a_batch_is_stored_once(
    caller: httpx.AsyncClient, user: str, fickle: Fickle
) -> None:
    fickle.documents.clear()
    note, named = {"content": "Plums are ripe."}, {"content": "Figs are not.", "external_id": "figs"}
    answered = (await post(caller, user, note, named, note, named, named | {"content": "Figs are."})).json()["traces"]
    assert [one["status"] for one in answered] == ["stored", "stored", "duplicate", "duplicate", "rejected"]
    assert answered[2]["trace_id"] == answered[0]["trace_id"]
    assert answered[3]["trace_id"] == answered[1]["trace_id"]
    assert answered[3]["external_id"] == "figs"
    assert "twice" in answered[4]["error"]
    assert sorted(fickle.documents) == ["Figs are not.", "Plums are ripe."]
    assert await user_row_traces(caller, user) == 2


async def test_a_rejected_trace_does_not_take_its_twin_along(caller: httpx.AsyncClient, user: str) -> None:
    note = {"content": "Quinces are ripe."}
    answered = (await post(caller, user, note | {"embedding": [1.0]}, note)).json()["traces"]
    assert [one["status"] for one in answered] == ["rejected", "stored"]


async def test_twins_that_are_both_refused_are_422(caller: httpx.AsyncClient, user: str) -> None:
    await post(caller, user, {"content": "Bees hum.", "external_id": "e"})
    other = {"content": "Wasps hum.", "external_id": "e"}
    answer = await post(caller, user, other, other)
    assert answer.status_code == 422
    assert "PATCH" in answer.json()["detail"]


# Salience, and vectors of the caller's own


async def test_a_trace_below_the_threshold_has_no_vector_and_is_found_by_its_words(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle
) -> None:
    fickle.documents.clear()
    faint = {"content": "The zeppelin museum closes on Mondays.", "salience": 0.34}
    kept = {"content": "The harbour office opens at nine.", "salience": 0.35}
    answered = (await post(caller, user, faint, kept)).json()["traces"]
    assert [one["status"] for one in answered] == ["stored", "stored"]
    assert [one["vectors"] for one in answered] == ["skipped", "stored"]
    assert fickle.documents == ["The harbour office opens at nine."]
    assert await vectors_of(settings, answered[0]["trace_id"]) == []
    assert len(await vectors_of(settings, answered[1]["trace_id"])) == 1
    found = await read(caller, user, answered[0]["trace_id"])
    assert (found["salience"], found["vectors"]) == (0.34, False)
    assert (await found_ids(caller, user, "zeppelin"))[0] == answered[0]["trace_id"]
    assert await found_ids(caller, user, "zeppelin", recipe="vector") == [answered[1]["trace_id"]]


async def test_a_supplied_vector_is_stored_without_the_encoder(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle
) -> None:
    fickle.documents.clear()
    traces = [
        {"content": "One.", "embedding": unit(1)},
        {"content": "Two.", "embedding": [3 * x for x in unit(2)]},
        {"content": "Three.", "embedding": unit(3), "salience": 0.1},
        {"content": "Four.", "embedding": [1e300] * DIM},
        {"content": "Five.", "embedding": in_base64(5 * np.array(unit(5)))},
    ]
    with fickle.failing():
        answer = await post(caller, user, *traces, wait=False)
    assert answer.status_code == 201
    assert answer.json()["operation_id"] is None
    assert [one["vectors"] for one in answer.json()["traces"]] == ["stored", "stored", "skipped", "stored", "stored"]
    ids = [one["trace_id"] for one in answer.json()["traces"]]
    assert fickle.documents == []
    for place, wanted in ((0, unit(1)), (1, unit(2)), (3, [DIM**-0.5] * DIM), (4, unit(5))):
        ((piece, vector),) = await vectors_of(settings, ids[place])
        assert piece == 0
        assert np.allclose(vector, wanted, atol=1e-3)
    assert await vectors_of(settings, ids[2]) == []
    for n, embedding in ((2, unit(2)), (5, in_base64(np.array(unit(5))))):
        assert (await found_ids(caller, user, f"{n}", embedding=embedding, recipe="vector"))[0] == ids[n - 1]


def in_base64(vector: np.ndarray) -> str:
    return b64encode(vector.astype("<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("embedding", "says"),
    [
        (unit(1)[:-1], "384"),
        ([0.0] * DIM, "zero"),
        ([True, *unit(1)[1:]], "boolean"),
        (["1", *unit(1)[1:]], "text"),
        ([None, *unit(1)[1:]], "null"),
        ({"a": 1}, "list"),
        ("[1, 2]", "base64"),
        (in_base64(np.array(unit(1)[:-1])), "1532"),
        (in_base64(np.array([np.nan, *unit(1)[1:]])), "NaN"),
        (7, "list"),
        ([], "384"),
    ],
)
async def test_a_wrong_vector_rejects_its_trace_alone(
    caller: httpx.AsyncClient, user: str, embedding: Any, says: str
) -> None:
    bad = {"content": "Bad.", "embedding": embedding, "external_id": "bad"}
    answer = await post(caller, user, {"content": "Before.", "embedding": unit(4)}, bad, "After.")
    assert answer.status_code == 201
    before, refused, after = answer.json()["traces"]
    assert (before["status"], refused["status"], after["status"]) == ("stored", "rejected", "stored")
    assert refused["external_id"] == "bad"
    assert refused["error"].startswith("embedding takes ")
    assert says in refused["error"]


# When, how many, how long


async def test_without_waiting_the_vectors_follow(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle
) -> None:
    fickle.documents.clear()
    answer = await post(caller, user, "Later.", {"content": "Now.", "embedding": unit(5)}, wait=False)
    assert answer.status_code == 202
    assert fickle.documents == []
    body = answer.json()
    assert [one["vectors"] for one in body["traces"]] == ["pending", "stored"]
    operation = (await caller.get(f"/operations/{body['operation_id']}")).json()
    assert (operation["kind"], operation["state"], operation["traces"]) == ("embed", "pending", 1)
    assert (await found_ids(caller, user, "later"))[0] == body["traces"][0]["trace_id"]


async def test_more_than_a_hundred_texts_are_accepted_at_once(
    caller: httpx.AsyncClient, user: str, fickle: Fickle
) -> None:
    fickle.documents.clear()
    answer = await post(caller, user, *[f"Sheep number {n}." for n in range(101)])
    assert answer.status_code == 202
    assert fickle.documents == []
    assert {one["vectors"] for one in answer.json()["traces"]} == {"pending"}
    assert (await caller.get(f"/operations/{answer.json()['operation_id']}")).json()["traces"] == 101


async def test_more_than_two_mebibytes_are_accepted_at_once(caller: httpx.AsyncClient, user: str) -> None:
    answer = await post(caller, user, *[f"{n}" + "ü" * 999_998 for n in range(2)])
    assert answer.status_code == 202
    assert (await user_row_traces(caller, user)) == 2


async def test_a_thousand_supplied_vectors_are_stored_before_the_answer(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    axes = [[0.0] * n + [1.0] + [0.0] * (DIM - n - 1) for n in range(DIM)]
    traces = [{"content": f"Goose number {n}.", "embedding": axes[n % DIM]} for n in range(1000)]
    answer = await post(caller, user, *traces)
    assert answer.status_code == 201
    assert {one["vectors"] for one in answer.json()["traces"]} == {"stored"}
    assert answer.json()["operation_id"] is None
    row = await user_row(settings, user)
    assert row["traces"] == row["real_traces"] == 1000
    counted = await rows(settings, "SELECT count(*) FROM memory_embedding WHERE user_id = %s", (row["user_id"],))
    assert counted == [(1000,)]


async def test_supplied_vectors_sent_again_are_duplicates_and_leave_what_was_there(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    """Nothing is looked up before such a write: it has to find by itself what is there."""
    first = [{"content": f"Otter {n}.", "external_id": f"o{n}", "embedding": unit(n)} for n in range(20)]
    stored = (await post(caller, user, *first)).json()["traces"]
    other = {"content": "No otter.", "external_id": "o3", "embedding": unit(9)}
    new = {"content": "A new otter.", "external_id": "o99", "embedding": unit(30)}
    again = await post(caller, user, *first[:3], other, new, *first[4:], first[0])
    assert again.status_code == 201
    answers = again.json()["traces"]
    assert [answer["status"] for answer in answers] == ["duplicate"] * 3 + ["rejected", "stored"] + ["duplicate"] * 17
    assert [answer["trace_id"] for answer in answers[5:21]] == [answer["trace_id"] for answer in stored[4:]]
    assert answers[-1]["trace_id"] == stored[0]["trace_id"]
    assert f"PATCH /memory/traces/{stored[3]['trace_id']}" in answers[3]["error"]
    row = await user_row(settings, user)
    assert row["traces"] == row["real_traces"] == 21
    assert row["words"] == row["real_words"]
    assert (await found_ids(caller, user, "otter", recipe="vector", embedding=unit(3)))[0] == stored[3]["trace_id"]
    refused = await post(caller, user, other)
    assert refused.status_code == 422
    assert "PATCH" in refused.json()["detail"]


async def test_a_bulk_load_fills_the_pages_of_the_covering_index(caller: httpx.AsyncClient, settings: Settings) -> None:
    """Of several users, each at the end of their own rows in the middle of the index."""
    before = await _exact_bytes(settings)
    axes = np.random.default_rng(3).standard_normal((500, DIM)).round(3).tolist()
    for turn in range(2):
        for user in ("woven a", "woven b", "woven c", "woven d"):
            traces = [{"content": f"Goose {turn} {n}.", "embedding": axes[n]} for n in range(500)]
            assert (await post(caller, user, *traces)).status_code == 201
    assert await _exact_bytes(settings) - before < 4000 * 1150


async def _exact_bytes(settings: Settings) -> int:
    query = "SELECT coalesce(sum(pg_relation_size(oid)), 0) FROM pg_class WHERE relname ~ '^memory_embedding.*_exact$'"
    return int((await rows(settings, query))[0][0])


async def test_when_the_encoder_fails_the_trace_is_kept_and_its_vector_follows(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle, api: Api
) -> None:
    with fickle.failing():
        answer = await post(caller, user, {"content": "The ferry leaves at six.", "speaker": "Ada"})
        assert answer.status_code == 201
        body = answer.json()
        assert body["degraded"] == ["encoder"]
        assert (body["traces"][0]["status"], body["traces"][0]["vectors"]) == ("stored", "pending")
        trace_id = body["traces"][0]["trace_id"]
        question = {"user_id": user, "q": "ferry"}
        degraded = (await caller.get("/memory/recall", params=question)).json()
        assert degraded["degraded"] == ["semantic"]
        assert degraded["results"][0]["trace_id"] == trace_id
        assert await run_operation(api, body["operation_id"])
        tried = (await caller.get(f"/operations/{body['operation_id']}")).json()
        assert (tried["state"], tried["attempts"]) == ("pending", 0)
        assert "lunch" in tried["error"]
    with clock.as_of(clock.now() + timedelta(minutes=1)):
        assert await run_operation(api, body["operation_id"])
    done = (await caller.get(f"/operations/{body['operation_id']}")).json()
    assert (done["state"], done["result"], done["error"]) == ("done", {"embedded": 1, "refused": 0}, None)
    ((_, vector),) = await vectors_of(settings, trace_id)
    assert np.allclose(vector, fickle.encode_documents(["Ada: The ferry leaves at six."])[0], atol=1e-3)


async def test_a_write_meets_no_missing_partition(caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    far = datetime(2031, 3, 5, 12, tzinfo=UTC)
    with clock.as_of(far):
        answer = await post(caller, user, "The comet is back.", {"content": "Seen it.", "embedding": unit(6)})
        assert answer.status_code == 201
        ids = [one["trace_id"] for one in answer.json()["traces"]]
        assert (await found_ids(caller, user, "comet"))[0] == ids[0]
        assert (await found_ids(caller, user, "it", recipe="vector", embedding=unit(6)))[0] == ids[1]
    tables = await rows(settings, "SELECT tableoid::regclass::text FROM memory_body WHERE trace_id = %s", (ids[0],))
    assert tables == [("memory_body_2031w10",)]
    assert (await read(caller, user, ids[0]))["created_at"].startswith("2031-03-05T12:00")
    row = await user_row(settings, user)
    assert row["traces"] == row["real_traces"] == 2


async def test_the_speaker_stands_in_front_of_what_is_encoded_where_it_is_a_name(
    remember: Remember, user: str, fickle: Fickle
) -> None:
    fickle.documents.clear()
    await remember(user, {"content": "Hm.", "speaker": "Ada"}, {"content": "Oh.", "speaker": "assistant"}, "Ah.")
    assert sorted(fickle.documents) == ["Ada: Hm.", "Ah.", "Oh."]


async def test_an_encoder_that_has_too_much_to_do_leaves_the_work_to_an_operation(
    caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MOST_DOCUMENTS", 1)
    monkeypatch.setattr(queues, "MOST_QUESTIONS", 0)
    with fickle.held() as arrived:
        first = asyncio.create_task(post(caller, user, "The first barge."))
        assert await asyncio.to_thread(arrived)
        answer = await asyncio.wait_for(post(caller, user, "The second barge."), 10)
        fickle.release()
        assert (await first).json()["degraded"] == []
    body = answer.json()
    assert (answer.status_code, body["degraded"], body["traces"][0]["vectors"]) == (201, ["encoder"], "pending")
    recalled = (await caller.get("/memory/recall", params={"user_id": user, "q": "second"})).json()
    assert recalled["degraded"] == ["semantic"]
    assert recalled["results"][0]["trace_id"] == body["traces"][0]["trace_id"]
    assert await run_operation(api, body["operation_id"])
    assert (await caller.get(f"/operations/{body['operation_id']}")).json()["state"] == "done"
