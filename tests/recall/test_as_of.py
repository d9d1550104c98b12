"""``at=``: what a question finds as of a moment. Nothing that was remembered, changed or linked later is seen."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Api
from tests.memories.helpers import found_ids, post, run_operation, unit

from reverie.core import clock

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
RECIPES = ["balanced", "fast", "thorough", "vector", "lexical"]


async def at(caller: httpx.AsyncClient, user: str, moment: datetime, *traces: Any, **more: Any) -> list[str]:
    """Remembers traces at a moment; their ids."""
    with clock.as_of(moment):
        answer = await post(caller, user, *traces, **more)
    assert answer.status_code in (201, 202), answer.text
    return [one["trace_id"] for one in answer.json()["traces"]]


@pytest.mark.parametrize("recipe", RECIPES)
async def test_a_trace_is_seen_from_the_millisecond_after_it_was_remembered(
    caller: httpx.AsyncClient, user: str, recipe: str
) -> None:
    (trace,) = await at(caller, user, START, "The heron stood still.")
    read = (await caller.get(f"/memory/traces/{trace}", params={"user_id": user})).json()
    created = datetime.fromisoformat(read["created_at"])
    for moment, wanted in ((created, []), (created + timedelta(milliseconds=1), [trace])):
        assert await found_ids(caller, user, "heron", at=moment.isoformat(), recipe=recipe) == wanted


@pytest.mark.parametrize("recipe", RECIPES)
async def test_when_it_happened_does_not_matter(caller: httpx.AsyncClient, user: str, recipe: str) -> None:
    (planned,) = await at(caller, user, START, {"content": "The fair opens.", "occurred_at": "2027-01-01"})
    (told_late,) = await at(
        caller, user, START + 2 * HOUR, {"content": "The fair closed.", "occurred_at": "1999-01-01"}
    )
    asked = (START + HOUR).isoformat()
    assert await found_ids(caller, user, "fair", at=asked, recipe=recipe) == [planned]
    assert await found_ids(caller, user, "fair", at=asked, since="2030-01-01", recipe=recipe) == []
    later = (START + 3 * HOUR).isoformat()
    assert set(await found_ids(caller, user, "fair", at=later, recipe=recipe)) == {planned, told_late}


@pytest.mark.parametrize("recipe", ["balanced", "vector"])
async def test_a_vector_that_was_made_later_is_that_of_a_trace_remembered_before(
    caller: httpx.AsyncClient, user: str, api: Api, recipe: str
) -> None:
    with clock.as_of(START):
        answer = (await post(caller, user, "The lamp was lit.", wait=False)).json()
    (trace,) = (one["trace_id"] for one in answer["traces"])
    asked = (START + HOUR).isoformat()
    assert await found_ids(caller, user, "lamp", at=asked, recipe="vector") == []
    with clock.as_of(START + 2 * HOUR):
        assert await run_operation(api, answer["operation_id"])
    assert await found_ids(caller, user, "lamp", at=asked, recipe=recipe) == [trace]


@pytest.mark.parametrize("recipe", RECIPES)
async def test_what_is_in_focus_now_was_not_there_then(caller: httpx.AsyncClient, user: str, recipe: str) -> None:
    early = await at(caller, user, START, "The tide was low.")
    await at(caller, user, START + 2 * HOUR, *[f"The tide rose to {n}." for n in range(30)])
    assert await found_ids(caller, user, "tide", at=(START + HOUR).isoformat(), recipe=recipe, k=100) == early


async def test_edges_lead_to_nothing_later(caller: httpx.AsyncClient, user: str) -> None:
    first = await at(caller, user, START, "Gulls came.", "Gulls went.", conversation_id="c")
    await at(caller, user, START + 2 * HOUR, "Gulls came again.", conversation_id="c")
    asked = {"user_id": user, "q": "gulls", "at": (START + HOUR).isoformat()}
    answer = (await caller.get("/memory/recall", params=asked)).json()
    assert [(edge["src"], edge["dst"]) for edge in answer["edges"]] == [(first[0], first[1])]


@pytest.mark.parametrize("recipe", RECIPES)
async def test_remembering_the_same_again_changes_nothing(caller: httpx.AsyncClient, user: str, recipe: str) -> None:
    given = {"content": "The key hangs by the door.", "kind": "note"}
    (trace,) = await at(caller, user, START, given)
    assert await at(caller, user, START + 2 * HOUR, given) == [trace]
    assert await found_ids(caller, user, "key", at=(START + HOUR).isoformat(), recipe=recipe) == [trace]
    assert await found_ids(caller, user, "key", at=(START - HOUR).isoformat(), recipe=recipe) == []


@pytest.mark.parametrize("recipe", RECIPES)
async def test_what_was_forgotten_since_is_gone_at_every_moment(
    caller: httpx.AsyncClient, user: str, recipe: str
) -> None:
    kept, gone = await at(caller, user, START, "The oak was felled.", "The oak was planted.")
    assert (await caller.delete(f"/memory/traces/{gone}", params={"user_id": user})).status_code == 200
    assert await found_ids(caller, user, "oak", at=(START + HOUR).isoformat(), recipe=recipe) == [kept]


@pytest.mark.parametrize("recipe", RECIPES)
async def test_of_several_users_what_each_had_then(caller: httpx.AsyncClient, user: str, recipe: str) -> None:
    users = [f"{user} {n}" for n in range(3)]
    made = [
        (await at(caller, name, START + n * 2 * HOUR, f"The kettle of {n} sang."))[0] for n, name in enumerate(users)
    ]
    for n in range(3):
        asked = (START + (2 * n + 1) * HOUR).isoformat()
        assert set(await found_ids(caller, users, "kettle", at=asked, recipe=recipe)) == set(made[: n + 1])


@pytest.mark.parametrize("moment", ["0001-01-03", "1969-12-31T23:59:59Z", "1970-01-01", "9999-12-29"])
async def test_any_moment_is_answered(caller: httpx.AsyncClient, user: str, moment: str) -> None:
    (trace,) = await at(caller, user, START, "The comet passed.")
    wanted = [trace] if moment.startswith("9999") else []
    for recipe in RECIPES:
        assert await found_ids(caller, user, "comet", at=moment, recipe=recipe) == wanted


async def test_the_window_before_a_moment(caller: httpx.AsyncClient, user: str) -> None:
    days = [(await at(caller, user, START + timedelta(days=day), f"Market day {day}."))[0] for day in range(5)]
    asked = (START + timedelta(days=3, hours=1)).isoformat()
    assert set(await found_ids(caller, user, "market", at=asked, time_window="2d")) == set(days[2:4])


async def test_the_order_by_meaning_is_that_of_the_moment(caller: httpx.AsyncClient, user: str) -> None:
    given = [{"content": f"Stone {n}.", "embedding": unit(n)} for n in range(6)]
    await at(caller, user, START, *given)
    asked = {"at": (START + HOUR).isoformat(), "embedding": unit(40), "recipe": "vector"}

    async def answered() -> list[tuple[str, float]]:
        body = {"user_id": user, "q": "stone"} | asked
        results = (await caller.post("/memory/recall", json=body)).json()["results"]
        return [(one["trace_id"], one["score"]) for one in results]

    then = await answered()
    await at(caller, user, START + 2 * HOUR, *[{"content": f"Stone {n}.", "embedding": unit(n)} for n in range(6, 40)])
    assert await answered() == then


async def test_a_space_of_its_own_has_a_past_of_its_own(api: Api, user: str) -> None:
    one, other = await api.caller(f"one {uuid4().hex}"), await api.caller(f"other {uuid4().hex}")
    (trace,) = await at(one, user, START, "The bridge was open.")
    await at(other, user, START + 2 * HOUR, "The bridge was shut.")
    asked = (START + HOUR).isoformat()
    assert await found_ids(one, user, "bridge", at=asked) == [trace]
    assert await found_ids(other, user, "bridge", at=asked) == []


LATER_CHANGES: list[dict[str, Any]] = [
    {"content": "The vault holds rubies."},
    {"speaker": "Ada"},
    {"meta": {"a": 1}},
    {"occurred_at": "2020-01-01"},
    {"conversation_id": "other"},
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("change", LATER_CHANGES, ids=lambda change: next(iter(change)))
async def test_what_was_changed_later_is_not_seen(
    caller: httpx.AsyncClient, user: str, recipe: str, change: dict[str, Any]
) -> None:
    changed, kept = await at(caller, user, START, "The vault holds coins.", "The vault is deep.", conversation_id="c")
    with clock.as_of(START + 2 * HOUR):
        patched = await caller.patch(f"/memory/traces/{changed}", params={"user_id": user}, json=change)
    assert patched.status_code == 200
    for question in ("vault", "vault rubies"):
        assert await found_ids(caller, user, question, at=(START + HOUR).isoformat(), recipe=recipe) == [kept]
        asked = (START + 3 * HOUR).isoformat()
        assert set(await found_ids(caller, user, question, at=asked, recipe=recipe)) == {changed, kept}


async def test_links_made_later_are_not_shown(caller: httpx.AsyncClient, user: str) -> None:
    made = await at(caller, user, START, "Owl one.", "Owl two.", "Owl three.", conversation_id="c")
    with clock.as_of(START + 2 * HOUR):
        await caller.patch(f"/memory/traces/{made[1]}", params={"user_id": user}, json={"conversation_id": "d"})
    asked = {"user_id": user, "q": "owl", "at": (START + HOUR).isoformat()}
    assert (await caller.get("/memory/recall", params=asked)).json()["edges"] == []
