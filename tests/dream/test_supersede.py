"""Superseding: edges from what was said later to what it takes the place of, in the store and in what is recalled."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conftest import Remember

from reverie.core import clock
from reverie.core.database import Connection
from reverie.dream import supersede
from reverie.dream.supersede import Stated, Told, edges_of
from reverie.runtime import Runtime
from reverie.text.statements import statements

NIGHT = datetime(2026, 6, 2, 4, tzinfo=UTC)


def note(text: str, day: str, **more: Any) -> dict[str, Any]:
    return {"content": text, "occurred_at": f"{day}T10:00:00Z", "language": "english"} | more


async def edges(owner: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """(newer, older) → meta."""
    cursor = await owner.execute("SELECT src, dst, meta FROM memory_edge WHERE type = 'supersedes'")
    return {(str(src), str(dst)): meta for src, dst, meta in await cursor.fetchall()}


async def recall(caller: httpx.AsyncClient, q: str, **more: Any) -> list[dict[str, Any]]:
    answer = await caller.get("/memory/recall", params={"user_id": "ann", "q": q} | more)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def test_a_newer_statement_gets_an_edge_to_the_one_it_updates(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    older, other, newer = await remember(
        "ann",
        note("I live in Portland, close to the river.", "2026-03-02"),
        note("My sister Ida lives in Boston.", "2026-03-02"),
        note("I moved to Denver at last.", "2026-05-04"),
    )
    outcome = await runtime.dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.failed) == ("done", 0), outcome
    [(pair, meta)] = (await edges(owner)).items()
    assert pair == (newer["trace_id"], older["trace_id"])
    assert datetime.fromisoformat(meta["valid_from"]) == datetime(2026, 5, 4, 10, tzinfo=UTC)
    assert (meta["by"], meta["run"]) == ("dream", str(outcome.id))
    assert outcome.stages["supersede"].did.made == 1
    found = {one["trace_id"]: one for one in await recall(caller, "Where do I live?")}
    assert found[older["trace_id"]]["superseded_by"] == newer["trace_id"]
    assert found[newer["trace_id"]]["superseded_by"] is None
    assert found[other["trace_id"]]["superseded_by"] is None


async def test_a_second_night_changes_nothing(remember: Remember, owner: Connection, runtime: Runtime) -> None:
    await remember(
        "ann", note("The Pro plan costs $29 a month.", "2026-03-02"), note("The Pro plan is now $35.", "2026-04-02")
    )
    await runtime.dreams.run(as_of=NIGHT)
    before = await edges(owner)
    assert len(before) == 1
    await owner.execute("UPDATE dream_day SET state = 'pending', stage = NULL")
    await owner.execute("UPDATE memory_user SET dreamt_version = NULL")
    again = await runtime.dreams.run(as_of=NIGHT)
    assert again.days == 2
    assert (again.stages["supersede"].did.made, again.stages["supersede"].did.removed) == (0, 0)
    assert await edges(owner) == before


async def test_forgetting_the_newer_restores_the_older(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    older, newer = await remember(
        "ann", note("My favourite band is Radiohead.", "2026-03-02"),
        note("I have a new favourite band: Big Thief.", "2026-05-04"),
    )  # fmt: skip
    await runtime.dreams.run(as_of=NIGHT)
    assert await edges(owner)
    body = {"user_id": "ann", "scope": {"trace_id": newer["trace_id"]}}
    assert (await caller.post("/memory/forget", json=body)).status_code == 200
    assert await edges(owner) == {}
    [found] = await recall(caller, "favourite band")
    assert (found["trace_id"], found["superseded_by"]) == (older["trace_id"], None)


async def test_the_newest_of_several_is_named(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    first, second, third = await remember(
        "ann",
        note("The deadline of the tax report is March 3.", "2026-02-02"),
        note("The deadline of the tax report was moved to March 10.", "2026-02-10"),
        note("The deadline of the tax report is now March 24.", "2026-02-20"),
    )
    await runtime.dreams.run(as_of=NIGHT)
    assert (third["trace_id"], first["trace_id"]) in await edges(owner)
    assert (second["trace_id"], first["trace_id"]) in await edges(owner)
    found = {one["trace_id"]: one["superseded_by"] for one in await recall(caller, "deadline of the tax report")}
    assert found[first["trace_id"]] == third["trace_id"]


async def test_a_late_import_is_marked_though_the_newer_day_was_dreamt(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    [newer] = await remember("ann", note("I am no longer vegetarian.", "2026-05-04"))
    await runtime.dreams.run(as_of=NIGHT)
    assert await edges(owner) == {}
    [older] = await remember("ann", note("I am vegetarian.", "2026-01-02"))
    await runtime.dreams.run(as_of=NIGHT)
    assert list(await edges(owner)) == [(newer["trace_id"], older["trace_id"])]


async def test_an_edge_goes_when_what_made_it_is_changed(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    _, newer = await remember(
        "ann", note("The API runs on Python 3.9.", "2026-03-02"), note("The API runs on Python 3.12.", "2026-05-04")
    )
    await runtime.dreams.run(as_of=NIGHT)
    assert len(await edges(owner)) == 1
    path = f"/memory/traces/{newer['trace_id']}"
    changed = await caller.patch(path, params={"user_id": "ann"}, json={"content": "The worker runs on Python 3.12."})
    assert changed.status_code == 200, changed.text
    outcome = await runtime.dreams.run(as_of=NIGHT)
    assert outcome.stages["supersede"].did.removed == 1
    assert await edges(owner) == {}


async def test_as_of_a_moment_before_it_was_remembered_nothing_is_superseded(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    now = datetime.now(UTC)
    older, newer = await remember(
        "ann",
        {
            "content": "I live in Portland.",
            "language": "english",
            "occurred_at": (now - timedelta(days=40)).isoformat(),
        },
        {
            "content": "I live in Denver now.",
            "language": "english",
            "occurred_at": (now - timedelta(days=9)).isoformat(),
        },
    )
    await owner.execute(
        "UPDATE memory_trace SET created_at = created_at + interval '2 hours' WHERE id = %s", (newer["trace_id"],)
    )
    await runtime.dreams.run(as_of=now + timedelta(days=1))
    assert list(await edges(owner)) == [(newer["trace_id"], older["trace_id"])]

    async def marked(at: datetime) -> str | None:
        found = {one["trace_id"]: one for one in await recall(caller, "Where do I live?", at=at.isoformat())}
        mark: str | None = found[older["trace_id"]]["superseded_by"]
        return mark

    assert await marked(now + timedelta(hours=1)) is None
    assert await marked(now + timedelta(hours=3)) == newer["trace_id"]
    # What is remembered of a time that has yet to come holds from then on.
    await owner.execute(
        "UPDATE memory_edge SET meta = meta || jsonb_build_object('valid_from', %s::text) WHERE type = 'supersedes'",
        ((now + timedelta(days=2)).isoformat(),),
    )
    assert await marked(now + timedelta(hours=4)) is None
    assert await marked(now + timedelta(days=3)) == newer["trace_id"]


async def test_other_languages_and_what_an_assistant_says_pass_through(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember(
        "ann",
        note("Ich wohne in Hamburg und arbeite dort.", "2026-03-02", language="german"),
        note("Ich wohne jetzt in Berlin und arbeite dort.", "2026-05-04", language="german"),
        note("I live in Portland.", "2026-03-03"),
        note("I live in Denver now.", "2026-05-05", role="assistant"),
    )
    outcome = await runtime.dreams.run(as_of=NIGHT)
    assert await edges(owner) == {}
    assert outcome.stages["supersede"].did.skipped["in another language or role"] == 3


async def test_one_speaker_does_not_update_another(remember: Remember, owner: Connection, runtime: Runtime) -> None:
    await remember(
        "ann",
        note("I live in Portland.", "2026-03-02", speaker="Ann", role="user"),
        note("I live in Denver now.", "2026-05-04", speaker="Ben", role="user"),
    )
    await runtime.dreams.run(as_of=NIGHT)
    assert await edges(owner) == {}


async def test_among_many_traces_the_one_that_is_meant_is_found(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    crowd = [note(f"The price of article {number} is ${number}.", "2026-03-02") for number in range(1, 121)]
    stored = await remember("ann", *crowd[:60]) + await remember("ann", *crowd[60:])
    [newer] = await remember("ann", note("The price of article 77 was raised to $99.", "2026-05-04"))
    await runtime.dreams.run(as_of=NIGHT)
    assert list(await edges(owner)) == [(newer["trace_id"], stored[76]["trace_id"])]


async def test_days_of_one_run_and_days_of_several_are_compared_alike(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    said = [
        ("I'm looking for a new apartment.", "2026-03-02"),
        ("My bakery is doing well.", "2026-03-09"),
        ("I found an apartment in Queens!", "2026-03-28"),
        ("My bakery has been struggling.", "2026-04-04"),
    ]

    async def pairs(user: str) -> set[tuple[str, str]]:
        cursor = await owner.execute(
            "SELECT n.content, o.content FROM memory_edge e JOIN memory_user u ON u.user_id = e.user_id"
            " JOIN memory_body n ON n.user_id = e.user_id AND n.trace_id = e.src"
            " JOIN memory_body o ON o.user_id = e.user_id AND o.trace_id = e.dst"
            " WHERE e.type = 'supersedes' AND u.external_id = %s",
            (user,),
        )
        return set(await cursor.fetchall())

    for text, day in said:
        await remember("ann", note(text, day))
        await runtime.dreams.run(as_of=NIGHT)
    await remember("ben", *(note(text, day) for text, day in said))
    await runtime.dreams.run(as_of=NIGHT)
    assert await pairs("ann") == await pairs("ben") == {(said[2][0], said[0][0]), (said[3][0], said[1][0])}


def told(number: int, text: str, days: float, speaker: str | None = None) -> Told:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days)
    return Told(UUID(int=number), speaker, clock.now(), moment, tuple(statements(text, speaker)))


def test_happened_at_says_which_is_newer() -> None:
    first, second = told(9, "I live in Rome.", 0), told(1, "I live in Oslo.", 90)
    assert [(edge.src.int, edge.dst.int) for edge in edges_of([first], [second])] == [(1, 9)]
    assert [(edge.src.int, edge.dst.int) for edge in edges_of([second], [first])] == [(1, 9)]
    assert edges_of([first], []) == []


def test_an_edge_between_other_days_is_not_this_days_matter() -> None:
    first, second, third = told(1, "I live in Rome.", 0), told(2, "I live in Oslo.", 90), told(3, "I love tea.", 95)
    assert edges_of([third], [first, second]) == []


def test_an_edge_that_was_there_stays_as_long_as_it_holds() -> None:
    first, second = told(1, "I live in Rome.", 0), told(2, "I live in Oslo.", 90)
    pair = (second.id, first.id)
    crowd = [told(100 + number, "I live in Oslo.", number / 10) for number in range(200)]
    assert pair in {(edge.src, edge.dst) for edge in edges_of([second], [first, *crowd], {pair})}
    assert edges_of([told(2, "I like Oslo.", 90)], [first], {pair}) == []


def test_what_a_run_has_read_is_found_by_what_it_is_about() -> None:
    stated = Stated()
    first, second, other = (
        told(1, "I live in Rome.", 0),
        told(2, "I love tea.", 1),
        told(3, "I live in Bonn.", 1, "Ben"),
    )
    stated.add(date(2026, 1, 1), 5, [first])
    stated.add(date(2026, 1, 2), 7, [second, other])
    stated.add(date(2026, 1, 2), 7, [second, other])
    assert (stated.read_before(date(2026, 1, 2)), stated.read_before(date(2026, 1, 3)), stated.told) == (5, 12, 3)
    assert {one.id.int for one in stated.near(told(9, "I live in Oslo.", 90))} == {1, 3}
    assert {one.id.int for one in stated.near(told(9, "I live in Oslo.", 90, "Ann"))} == {1}


async def test_what_a_run_has_read_is_bounded_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supersede, "MOST_STATED", 1)
    monkeypatch.setattr(supersede, "KEPT_SECONDS", 0.01)
    stage = supersede.Superseding()
    run, ann, ben = UUID(int=1), UUID(int=2), UUID(int=3)
    of_ann = stage._of(run, ann)
    of_ann.add(date(2026, 1, 1), 2, [told(1, "I live in Rome.", 0), told(2, "I love tea.", 0)])
    assert stage._of(run, ann) is of_ann
    stage._of(run, ben)
    assert stage._of(run, ann) is not of_ann
    of_ben = stage._of(run, ben)
    assert stage._of(UUID(int=9), ben) is not of_ben
    await asyncio.sleep(0.05)
    assert stage._users == {}
