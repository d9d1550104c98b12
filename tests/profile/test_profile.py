"""Profiles: what is known, by whom it is said, what is no longer so, and how it is corrected and forgotten."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.conftest import Remember
from tests.contracts.house import assert_problem
from tests.dream.days import MONDAY, NIGHT, TUESDAY
from tests.waiting import PATIENCE

from reverie.profile.facts import states, tells
from reverie.profile.service import NO_NIGHT
from reverie.runtime import Runtime

FIRST = "I moved from Lisbon to Utrecht last spring and I work at Hexaly as a nurse."
THEN = "I quit Hexaly. I now work at Ostrava Clinic, and my sister Ana visits Utrecht on 3 December."


async def tell(remember: Remember, *said: tuple[str, str], user: str = "mara") -> list[str]:
    """Turns of Mara's, each on a day; their ids."""
    turns = [
        {"content": text, "role": "user", "speaker": "Mara", "conversation_id": day, "occurred_at": f"{day}T09:00:00Z"}
        for text, day in said
    ]
    return [one["trace_id"] for one in await remember(user, *turns)]


async def profile(caller: httpx.AsyncClient, user: str = "mara", **query: Any) -> dict[str, Any]:
    """The first page, or the one of a cursor."""
    answer = await caller.get(f"/memory/users/{user}/profile", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def texts(page: dict[str, Any]) -> list[str]:
    return [one["text"] for one in page["items"]]


async def test_what_a_night_has_found_stands_newest_first_with_what_is_no_longer_so(
    caller: httpx.AsyncClient, remember: Remember, runtime: Runtime
) -> None:
    older, newer = await tell(remember, (FIRST, MONDAY), (THEN, TUESDAY))
    await runtime.dreams.run(as_of=NIGHT)
    page = await profile(caller)
    facts = {one["text"]: one for one in page["items"]}
    assert texts(page)[-2:] == sorted(texts(page)[-2:], reverse=True) or len(facts) > 2
    assert [one["happened_at"] for one in page["items"]] == sorted(
        (one["happened_at"] for one in page["items"]), reverse=True
    )
    now, before = facts["Mara works at Ostrava Clinic"], facts["Mara works at Hexaly"]
    assert (now["sources"], now["superseded_by"], now["topic"]) == ([newer], None, "work")
    assert (before["sources"], before["superseded_by"]) == ([older], newer)
    assert before["instead"].startswith("I quit Hexaly") or before["instead"].startswith("I now work")
    assert (now["subject"], now["predicate"], now["object"]) == ("Mara", "works_at", "Ostrava Clinic")
    assert (page["nights"], page["note"], page["read"]) == (2, None, 0)
    assert page["lately"][0]["day"] == TUESDAY
    assert page["topics"]["work"] >= 2
    assert sum(page["topics"].values()) == len(page["items"])


async def test_what_was_read_leaves_the_memory_of_the_process_soon(
    caller: httpx.AsyncClient, remember: Remember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.profile.service.KEPT_SECONDS", 0.2)
    await tell(remember, (FIRST, MONDAY))
    for _ in range(2):
        await profile(caller)
        assert states.cache_info().currsize
        async with asyncio.timeout(PATIENCE):
            while states.cache_info().currsize or tells.cache_info().currsize:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)


async def test_pages_and_topics(caller: httpx.AsyncClient, remember: Remember, runtime: Runtime) -> None:
    await tell(remember, (FIRST, MONDAY), (THEN, TUESDAY))
    for n in range(5):
        await remember("mara", {"content": f"Mara keeps key number {n}.", "kind": "fact", "meta": {"topic": "keys"}})
    await runtime.dreams.run(as_of=NIGHT)
    whole = await profile(caller)
    found, cursor = [], None
    while True:
        page = await profile(caller, limit=2, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= 2
        assert (page["topics"] is None) == (cursor is not None)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == whole["items"]
    work = await profile(caller, topic="work")
    assert work["items"] == [one for one in whole["items"] if one["topic"] == "work"]
    keys = await profile(caller, topic="keys")
    assert len(keys["items"]) == 5
    assert (await profile(caller, topic="sailing"))["items"] == []


async def test_a_user_without_nights_is_known_by_facts_and_by_the_newest_turns(
    caller: httpx.AsyncClient, remember: Remember
) -> None:
    older, newer = await tell(remember, (FIRST, MONDAY), (THEN, TUESDAY))
    [fact] = await remember("mara", {"content": "Mara is seriously allergic to walnuts.", "kind": "fact"})
    page = await profile(caller)
    facts = {one["text"]: one for one in page["items"]}
    assert facts["Mara works at Ostrava Clinic"]["sources"] == [newer]
    assert facts["Mara works at Hexaly"]["superseded_by"] == newer
    assert facts["Mara works at Hexaly"]["sources"] == [older]
    assert facts["Mara is seriously allergic to walnuts."]["sources"] == [fact["trace_id"]]
    assert facts["Mara is seriously allergic to walnuts."]["topic"] == "health"
    assert not [text for text in facts if text.endswith("to walnuts")]
    assert (page["nights"], page["last_night"], page["note"], page["read"]) == (0, None, NO_NIGHT, 3)


@pytest.mark.parametrize("dreamt", [False, True], ids=["by day", "after a night"])
async def test_a_fact_is_corrected_and_forgotten_where_it_says_that_it_comes_from(
    caller: httpx.AsyncClient, remember: Remember, runtime: Runtime, dreamt: bool
) -> None:
    await tell(remember, ("I work at Hexaly.", MONDAY), ("I live in Utrecht.", TUESDAY))
    await remember("mara", {"content": "The bicycle lock has the code 4417.", "kind": "fact"})
    if dreamt:
        await runtime.dreams.run(as_of=NIGHT)
    facts = {one["text"]: one["sources"][0] for one in (await profile(caller))["items"]}
    corrected = {
        "Mara works at Hexaly": ("I work at Ostrava Clinic.", "Mara works at Ostrava Clinic"),
        "The bicycle lock has the code 4417.": ("The code is 9120.", "The code is 9120."),
    }
    for text, (content, wanted) in corrected.items():
        answer = await caller.patch(
            f"/memory/traces/{facts[text]}", params={"user_id": "mara"}, json={"content": content}
        )
        assert answer.status_code == 200, answer.text
        after = texts(await profile(caller))
        assert wanted in after
        assert text not in after
    answer = await caller.post(
        "/memory/forget", json={"user_id": "mara", "scope": {"trace_id": facts["Mara lives in Utrecht"]}}
    )
    assert answer.status_code == 200, answer.text
    after = texts(await profile(caller))
    assert "Mara lives in Utrecht" not in after
    assert len(after) == 2


async def test_what_a_correction_says_stays_after_the_next_night(
    caller: httpx.AsyncClient, remember: Remember, runtime: Runtime
) -> None:
    [trace_id, _] = await tell(remember, ("I work at Hexaly.", MONDAY), ("I live in Utrecht.", TUESDAY))
    await runtime.dreams.run(as_of=NIGHT)
    await caller.patch(
        f"/memory/traces/{trace_id}", params={"user_id": "mara"}, json={"content": "I work at Ostrava Clinic."}
    )
    await runtime.dreams.run(as_of=NIGHT)
    page = await profile(caller)
    assert sorted(texts(page)) == ["Mara lives in Utrecht", "Mara works at Ostrava Clinic"]
    assert page["read"] == 0


async def test_as_of_is_what_was_remembered_by_then(
    caller: httpx.AsyncClient, remember: Remember, runtime: Runtime
) -> None:
    [older] = await tell(remember, (FIRST, MONDAY))
    between = (await caller.get(f"/memory/traces/{older}", params={"user_id": "mara"})).json()["created_at"]
    [newer] = await tell(remember, (THEN, TUESDAY))
    later = (await caller.get(f"/memory/traces/{newer}", params={"user_id": "mara"})).json()["created_at"]
    await runtime.dreams.run(as_of=NIGHT)
    assert (await profile(caller, as_of=between))["items"] == []
    page = await profile(caller, as_of=later)
    facts = {one["text"]: one for one in page["items"]}
    assert facts["Mara works at Hexaly"]["superseded_by"] is None
    assert "Mara works at Ostrava Clinic" not in facts
    assert page["as_of"] == later


async def test_one_of_two_likings_is_given_up(caller: httpx.AsyncClient, remember: Remember, runtime: Runtime) -> None:
    await tell(remember, ("I like Tango and I like Chess.", MONDAY), ("I don't like Chess anymore.", TUESDAY))
    await runtime.dreams.run(as_of=NIGHT)
    marked = {one["text"]: one["superseded_by"] is not None for one in (await profile(caller))["items"]}
    assert marked.get("Mara likes Tango") in (None, False)


async def test_a_user_whose_name_has_slashes(caller: httpx.AsyncClient, remember: Remember) -> None:
    await remember("team/mara", {"content": "The kettle is red.", "kind": "fact"})
    assert texts(await profile(caller, "team/mara")) == ["The kettle is red."]


@pytest.mark.parametrize(
    ("field", "query", "says"),
    [
        ("cursor", {"cursor": "7"}, "next_cursor"),
        ("cursor", {"cursor": "2026-01-01T00:00:00Z,7"}, "next_cursor"),
        ("as_of", {"as_of": "yesterday"}, "as_of"),
        ("topic", {"topic": " "}, "blank"),
        ("limit", {"limit": "101"}, "at most 100"),
        ("at", {"at": "2026-01-01"}, "not a field"),
    ],
)
async def test_bad_input(
    caller: httpx.AsyncClient, remember: Remember, field: str, query: dict[str, str], says: str
) -> None:
    await remember("mara", "The kettle is red.")
    answer = await caller.get("/memory/users/mara/profile", params=query)
    assert says in assert_problem(answer, 422, field)


async def test_of_nobody_nothing_is_known(caller: httpx.AsyncClient) -> None:
    assert "no user nobody" in assert_problem(await caller.get("/memory/users/nobody/profile"), 404)
