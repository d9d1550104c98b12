"""Idempotency-Key: the same key and body get the same answer, and nothing is done twice."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Api
from tests.memories.helpers import Fickle, rows, user_row

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.idempotency import LEASE, delete_old_keys


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def body_of(user: str, *texts: str) -> dict[str, Any]:
    return {"user_id": user, "conversation_id": "c", "traces": [{"content": text} for text in texts]}


async def test_a_repetition_is_answered_alike_and_doubles_nothing(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], settings: Settings
) -> None:
    body = body_of(user, "Yes.", "Yes.", " ")
    first = await caller.post("/memory/remember", json=body, headers=key)
    again = await caller.post("/memory/remember", json=body, headers=key)
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert (await user_row(settings, user))["real_traces"] == 2


async def test_an_answer_of_202_is_repeated_too(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], settings: Settings
) -> None:
    answers = [
        await caller.post("/memory/remember", params={"wait": "false"}, json=body_of(user, "Yes."), headers=key)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content
    row = await user_row(settings, user)
    operations = await rows(settings, "SELECT count(*) FROM operation WHERE user_id = %s", (row["user_id"],))
    assert operations == [(1,)]


@pytest.mark.parametrize("change", ["body", "query"])
async def test_another_body_is_refused(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], settings: Settings, change: str
) -> None:
    first = await caller.post("/memory/remember", json=body_of(user, "Yes."), headers=key)
    other = body_of(user, "No." if change == "body" else "Yes.")
    params = {} if change == "body" else {"wait": "false"}
    refused = await caller.post("/memory/remember", json=other, params=params, headers=key)
    assert (first.status_code, refused.status_code) == (201, 422)
    assert refused.json()["field"] == "Idempotency-Key"
    assert (await user_row(settings, user))["real_traces"] == 1


async def test_a_key_names_one_request_of_any_path(caller: httpx.AsyncClient, user: str, key: dict[str, str]) -> None:
    assert (await caller.post("/memory/remember", json=body_of(user, "Yes."), headers=key)).status_code == 201
    refused = await caller.post("/memory/forget", json={"user_id": user, "scope": {"all": True}}, headers=key)
    assert refused.status_code == 422
    assert refused.json()["field"] == "Idempotency-Key"


async def test_while_the_first_still_runs_the_second_is_told_so(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], settings: Settings, fickle: Fickle
) -> None:
    with fickle.held() as arrived:
        first = asyncio.create_task(caller.post("/memory/remember", json=body_of(user, "Slow."), headers=key))
        assert await asyncio.to_thread(arrived)
        second = await caller.post("/memory/remember", json=body_of(user, "Slow."), headers=key)
        other = await caller.post("/memory/remember", json=body_of(user, "Other."), headers=key)
        fickle.release()
        assert (await first).status_code == 201
    assert second.status_code == 409
    assert second.json()["field"] == "Idempotency-Key"
    assert other.status_code == 422
    third = await caller.post("/memory/remember", json=body_of(user, "Slow."), headers=key)
    assert third.content == (await first).content
    assert (await user_row(settings, user))["real_traces"] == 1


async def test_ten_at_once_are_done_once(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], settings: Settings
) -> None:
    answers = await asyncio.gather(
        *(caller.post("/memory/remember", json=body_of(user, "Yes."), headers=key) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert (await user_row(settings, user))["real_traces"] == 1


async def test_a_request_that_failed_releases_its_key(
    caller: httpx.AsyncClient, user: str, key: dict[str, str]
) -> None:
    assert (await caller.post("/memory/remember", json=body_of(user, " "), headers=key)).status_code == 422
    assert (await caller.post("/memory/remember", json=body_of(user, "Better."), headers=key)).status_code == 201


async def test_a_request_whose_process_died_is_taken_over(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], settings: Settings, fickle: Fickle
) -> None:
    with fickle.held() as arrived:
        first = asyncio.create_task(caller.post("/memory/remember", json=body_of(user, "Yes."), headers=key))
        assert await asyncio.to_thread(arrived)
        with clock.as_of(clock.now() + LEASE + timedelta(seconds=1)):
            second = asyncio.create_task(caller.post("/memory/remember", json=body_of(user, "Yes."), headers=key))
            await asyncio.sleep(0.1)
            fickle.release()
            answers = await asyncio.gather(first, second)
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert answers[1].status_code == 201
    assert (await user_row(settings, user))["real_traces"] == 1


async def test_after_a_day_a_key_may_be_used_again(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], settings: Settings
) -> None:
    body = body_of(user, "Yes.")
    first = await caller.post("/memory/remember", json=body, headers=key)
    with clock.as_of(clock.now() + timedelta(hours=23, minutes=59)):
        assert (await caller.post("/memory/remember", json=body, headers=key)).content == first.content
    with clock.as_of(clock.now() + timedelta(hours=24, minutes=1)):
        other = await caller.post("/memory/remember", json=body_of(user, "No."), headers=key)
        assert other.status_code == 201
        again = await caller.post("/memory/remember", json=body_of(user, "No."), headers=key)
        assert again.content == other.content
    assert (await user_row(settings, user))["real_traces"] == 2


async def test_old_keys_are_deleted(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], settings: Settings, api: Api
) -> None:
    await caller.post("/memory/remember", json=body_of(user, "Yes."), headers=key)
    count = "SELECT count(*) FROM idempotency_key WHERE key = %s"
    await delete_old_keys(api.app.state.database, clock.now() + timedelta(hours=23))
    assert await rows(settings, count, (key["Idempotency-Key"],)) == [(1,)]
    await delete_old_keys(api.app.state.database, clock.now() + timedelta(hours=25))
    assert await rows(settings, count, (key["Idempotency-Key"],)) == [(0,)]


async def test_a_new_key_is_shown_once(caller: httpx.AsyncClient, key: dict[str, str]) -> None:
    body = {"name": "for the robot"}
    first = (await caller.post("/keys", json=body, headers=key)).json()
    again = await caller.post("/keys", json=body, headers=key)
    assert again.status_code == 201
    assert first["key"].startswith(f"rv_{first['prefix']}_")
    assert again.json() == first | {"key": None}
    listed = (await caller.get("/keys", params={"limit": 100})).json()["items"]
    assert [one["id"] for one in listed].count(first["id"]) == 1


async def test_the_keys_of_two_spaces_do_not_meet(
    api: Api, caller: httpx.AsyncClient, user: str, key: dict[str, str]
) -> None:
    other = await api.caller("another space")
    mine = await caller.post("/memory/remember", json=body_of(user, "Mine."), headers=key)
    theirs = await other.post("/memory/remember", json=body_of(user, "Theirs."), headers=key)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["traces"][0]["trace_id"] != theirs.json()["traces"][0]["trace_id"]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_forgetting_is_answered_alike(
    caller: httpx.AsyncClient, user: str, key: dict[str, str], dry_run: bool
) -> None:
    await caller.post("/memory/remember", json=body_of(user, "One.", "Two."))
    body = {"user_id": user, "scope": {"all": True}, "dry_run": dry_run}
    answers = [await caller.post("/memory/forget", json=body, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["counts"]["traces"] == 2
    assert answers[0].content == answers[1].content


async def test_deleting_a_trace_is_answered_alike(caller: httpx.AsyncClient, user: str, key: dict[str, str]) -> None:
    made = (await caller.post("/memory/remember", json=body_of(user, "One."))).json()["traces"][0]
    path = f"/memory/traces/{made['trace_id']}"
    answers = [await caller.delete(path, params={"user_id": user}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert (await caller.delete(path, params={"user_id": user})).status_code == 404


@pytest.mark.parametrize("value", ["", "x" * 256])
async def test_a_key_has_1_to_255_characters(caller: httpx.AsyncClient, user: str, value: str) -> None:
    answer = await caller.post("/memory/remember", json=body_of(user, "Yes."), headers={"Idempotency-Key": value})
    assert answer.status_code == 422
    assert answer.json()["field"] == "Idempotency-Key"
