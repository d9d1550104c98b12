"""A question that was answered just now is not searched for again, unless something was written since."""

from datetime import timedelta
from typing import Any

import httpx
from tests.conftest import Api
from tests.memories.helpers import post

from reverie.core import clock


async def ask(caller: httpx.AsyncClient, user: str, **more: Any) -> dict[str, Any]:
    answer = await caller.post("/memory/recall", json={"user_id": user, "q": "Where is the heron?"} | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["degraded"] == []
    return found


def sessions(api: Api) -> int:
    """How often a connection was taken so far."""
    taken: int = api.app.state.database.statistics()["requests_num"]
    return taken


async def test_the_same_question_costs_one_look(api: Api, caller: httpx.AsyncClient, user: str) -> None:
    await post(caller, user, "The heron flew.")
    first = await ask(caller, user)
    before = sessions(api)
    again = await ask(caller, user)
    assert sessions(api) - before <= 2  # the look, and now and then the key
    assert again | {"took_ms": 0} == first | {"took_ms": 0}
    assert (await ask(caller, user, k=3))["k"] == 3


async def test_a_write_is_seen_at_once(caller: httpx.AsyncClient, user: str) -> None:
    seen = [(await post(caller, user, "The heron flew.")).json()["traces"][0]["trace_id"]]
    for n in range(5):
        for _ in range(2):
            assert {one["trace_id"] for one in (await ask(caller, user))["results"]} == set(seen)
        seen.append((await post(caller, user, f"The heron dived {n} times.")).json()["traces"][0]["trace_id"])
    await caller.delete(f"/memory/traces/{seen.pop()}", params={"user_id": user})
    assert {one["trace_id"] for one in (await ask(caller, user))["results"]} == set(seen)
    await caller.post("/memory/forget", json={"user_id": user, "scope": {"all": True}})
    assert (await ask(caller, user))["results"] == []


async def test_nothing_is_kept_of_another_space(api: Api, caller: httpx.AsyncClient, user: str) -> None:
    await post(caller, user, "The heron flew.")
    assert len((await ask(caller, user))["results"]) == 1
    assert (await ask(await api.caller("elsewhere"), user))["results"] == []


async def test_a_window_of_time_moves_on(caller: httpx.AsyncClient, user: str) -> None:
    await post(caller, user, "The heron flew.")
    assert len((await ask(caller, user, time_window="1h"))["results"]) == 1
    with clock.as_of(clock.now() + timedelta(minutes=61)):
        assert (await ask(caller, user, time_window="1h"))["results"] == []
