"""A night over some days of conversations: summaries, the edges to what they were made of, the tiers at its end."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from tests.conftest import Remember
from tests.dream.days import GARDEN, MONDAY, NIGHT, TUESDAY, made, rows, talk, value
from tests.waiting import until_operation

from reverie.core import clock
from reverie.core.database import Connection
from reverie.dream.repository import Asked
from reverie.runtime import Runtime


async def summaries(caller: httpx.AsyncClient, user: str = "ann") -> list[dict[str, Any]]:
    """The summaries of a user, oldest day first."""
    page = (await caller.get("/memory/traces", params={"user_id": user, "kind": "summary"})).json()
    found: list[dict[str, Any]] = page["items"]
    return sorted(found, key=lambda one: (one["happened_at"], one["meta"]["scope"]))


async def test_a_day_gets_its_summary_with_edges_to_what_it_was_made_of(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    stored = await remember("ann", *talk())
    outcome = await runtime.dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.days, outcome.failed) == ("done", 1, 0), outcome
    [summary] = await summaries(caller)
    assert summary["conversation_id"] == "c1"
    assert summary["happened_at"] == f"{MONDAY}T10:04:00Z"
    assert {"day": MONDAY, "scope": "conversation"}.items() <= summary["meta"].items()
    assert 0 < len(summary["content"].split()) <= 66
    assert 0 < len(summary["meta"]["short"]) <= 150
    assert summary["meta"]["sentence"] in summary["content"] or len(summary["meta"]["sentence"].split()) < 40
    edges = await rows(owner, "SELECT src, dst FROM memory_edge WHERE type = 'summary_of'")
    assert {str(src) for src, _ in edges} == {summary["trace_id"]}
    assert {str(dst) for _, dst in edges} <= {one["trace_id"] for one in stored}
    provenance = await value(owner, "SELECT provenance FROM memory_trace WHERE kind = 'summary'")
    assert {str(dst) for _, dst in edges} == set(provenance["sources"])
    assert (provenance["by"], provenance["run"], provenance["day"]) == ("dream", str(outcome.id), MONDAY)


async def test_a_day_of_several_conversations_and_notes_has_its_own(
    caller: httpx.AsyncClient, remember: Remember, runtime: Runtime
) -> None:
    await remember("ann", *talk("c1"), *talk("c2", hour=12, said=GARDEN))
    await remember("ann", *talk(None, TUESDAY, said=GARDEN))
    assert (await runtime.dreams.run(as_of=NIGHT)).days == 2
    told = [(one["meta"]["day"], one["meta"]["scope"], one["conversation_id"]) for one in await summaries(caller)]
    assert told == [
        (MONDAY, "conversation", "c1"),
        (MONDAY, "conversation", "c2"),
        (MONDAY, "day", None),
        (TUESDAY, "day", None),
    ]


async def test_a_night_run_twice_changes_nothing(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk(), *talk("c1", TUESDAY, said=GARDEN))
    await runtime.dreams.run(as_of=NIGHT)
    before, version = await made(owner), await value(owner, "SELECT version FROM memory_user")
    stamps = await rows(owner, "SELECT id, updated_at, provenance ->> 'run' FROM memory_trace ORDER BY id")
    assert (await runtime.dreams.run(as_of=NIGHT)).days == 0
    for day in (MONDAY, TUESDAY):
        # Also where somebody insists.
        asked = {"day": day, "user_id": "ann"}
        accepted = (await caller.post("/memory/consolidate", json=asked)).json()
        assert await runtime.operations.run(UUID(accepted["operation_id"]))
        done = await until_operation(caller, accepted["operation_id"], "done")
        assert done["result"]["days"] == 1
        stages = (await caller.get(f"/dreams/{accepted['dream_id']}")).json()["stages"]
        changed = {one["name"] for one in stages if one["name"] != "group" and (one["made"] or one["removed"])}
        assert changed == set()
    assert await made(owner) == before
    assert await value(owner, "SELECT version FROM memory_user") == version
    assert await rows(owner, "SELECT id, updated_at, provenance ->> 'run' FROM memory_trace ORDER BY id") == stamps


async def test_a_night_ends_with_the_tiers(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk())
    later = clock.now() + timedelta(days=60)
    outcome = await runtime.dreams.run(as_of=later)
    assert outcome.stages["tiers"].did.moved >= 5
    assert await value(owner, "SELECT count(*) FROM memory_partition WHERE tier = 'warm'") > 0
    assert await value(owner, "SELECT count(*) FROM memory_embedding WHERE codes IS NOT NULL") >= 5
    # What is warm is dreamt again all the same, when it changes.
    [turn] = (await caller.get("/memory/traces", params={"user_id": "ann", "kind": "turn", "limit": 1})).json()["items"]
    answer = await caller.request("DELETE", f"/memory/traces/{turn['trace_id']}", params={"user_id": "ann"})
    assert answer.status_code == 200
    assert (await runtime.dreams.run(as_of=later)).days == 1
    assert len(await summaries(caller)) == 1


async def test_a_day_whose_traces_are_cold_stays_as_it_is(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:  # fmt: skip
    await remember("ann", *talk("c1", said=GARDEN), *talk("c2", hour=15))
    await remember("ann", *talk("c1", TUESDAY), *talk("c3", TUESDAY, 15, GARDEN))
    for day, text in ((MONDAY, "I live in Portland."), (TUESDAY, "I moved to Denver.")):
        await remember("ann", {"content": text, "role": "user", "occurred_at": f"{day}T20:00:00Z"})
    later = clock.now() + timedelta(days=800)
    for _ in range(2):
        await runtime.dreams.run(as_of=later)
    assert await value(owner, "SELECT count(*) FROM memory_body b WHERE b.kind = 0") == 0
    assert await value(owner, "SELECT count(*) FROM memory_edge WHERE type = 'similar' AND meta ->> 'by' = 'dream'") > 0
    assert await value(owner, "SELECT count(*) FROM memory_edge WHERE type = 'supersedes'") == 1
    kept = [
        "SELECT id, updated_at, digest, meta, provenance FROM memory_trace ORDER BY id",
        "SELECT src, dst, type, weight, meta FROM memory_edge ORDER BY src, dst, type",
    ]
    before = [await rows(owner, query) for query in kept]
    for day in (MONDAY, TUESDAY):
        outcome = await runtime.dreams.run(Asked(day=date.fromisoformat(day)))
        assert (outcome.state, outcome.days, outcome.failed) == ("done", 1, 0), outcome
        assert {name for name, one in outcome.stages.items() if one.did.changes and name != "group"} == set()
    assert [await rows(owner, query) for query in kept] == before


async def test_the_vectors_of_summaries_are_made_by_an_operation(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk())
    await runtime.dreams.run(as_of=NIGHT)
    [(operation,)] = await rows(owner, "SELECT id FROM operation WHERE kind = 'embed' AND state = 'pending'")
    assert await runtime.operations.run(operation)
    [summary] = await summaries(caller)
    found = await rows(owner, "SELECT trace_id FROM memory_embedding WHERE kind = 5")
    assert [str(one[0]) for one in found] == [summary["trace_id"]]
    asked = {"user_id": "ann", "q": "Who got a dog?", "kinds": "summary"}
    results = (await caller.get("/memory/recall", params=asked)).json()["results"]
    assert [one["trace_id"] for one in results] == [summary["trace_id"]]


async def test_what_is_said_later_follows_what_was_said_and_no_summary(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    stored = await remember("ann", *talk())
    await runtime.dreams.run(as_of=NIGHT)
    [later] = await remember("ann", *talk("c1", TUESDAY, said=GARDEN[:1]))
    query = "SELECT follows FROM memory_trace WHERE id = %s"
    assert str(await value(owner, query, later["trace_id"])) == stored[-1]["trace_id"]


async def test_a_late_import_has_its_day_dreamt_again_in_place(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk(said=GARDEN))
    await remember("ann", *talk("c1", TUESDAY))
    await runtime.dreams.run(as_of=NIGHT)
    before = await summaries(caller)
    late = {"content": "Ann bought a violet canoe for the lake in Annecy with 1200 euros.", "role": "user",
            "speaker": "Ann", "conversation_id": "c1", "occurred_at": f"{MONDAY}T11:00:00Z"}  # fmt: skip
    await remember("ann", late)
    again = await runtime.dreams.run(as_of=NIGHT)
    assert again.days == 1
    after = await summaries(caller)
    assert [one["trace_id"] for one in after] == [one["trace_id"] for one in before]
    assert after[1] == before[1]
    assert "canoe" in after[0]["content"]
    assert "canoe" not in before[0]["content"]
    assert after[0]["happened_at"] == f"{MONDAY}T11:00:00Z"
    vectors = "SELECT count(*) FROM memory_embedding WHERE kind = 5 AND trace_id = %s"
    assert await value(owner, vectors, after[0]["trace_id"]) == 0, "its vector was of what it said before"
    words = "SELECT sum(b.words) = max(u.words) FROM memory_body b JOIN memory_user u USING (user_id)"
    assert await value(owner, words)


async def test_what_a_person_edited_or_pinned_stays(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk(), *talk("c2", hour=12, said=GARDEN))
    await runtime.dreams.run(as_of=NIGHT)
    one, two, day = await summaries(caller)
    answer = await caller.patch(
        f"/memory/traces/{one['trace_id']}", params={"user_id": "ann"}, json={"content": "Otis came to live with Ann."}
    )
    assert answer.status_code == 200
    await owner.execute("UPDATE memory_trace SET pinned = true WHERE id = %s", (two["trace_id"],))
    await remember("ann", *talk("c1", hour=14, said=[("Ann", "The canoe of violet wood arrived from Annecy.")]))
    await remember("ann", *talk("c2", hour=15, said=[("Ann", "A heron ate all the goldfish of our neighbour Hugo.")]))
    outcome = await runtime.dreams.run(as_of=NIGHT)
    assert outcome.stages["summarise"].did.skipped["changed or pinned by hand"] == 2
    after = {found["trace_id"]: found["content"] for found in await summaries(caller)}
    assert after[one["trace_id"]] == "Otis came to live with Ann."
    assert after[two["trace_id"]] == two["content"]
    assert len(after) == 3
    assert after[day["trace_id"]] != day["content"]


async def test_of_what_is_forgotten_nothing_stays_and_the_rest_is_told_anew(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    canary = "Quillfeather"
    stored = await remember("ann", *talk(said=[*GARDEN, ("Ann", f"My landlord {canary} owns 3 boats in Genoa.")]))
    await runtime.dreams.run(as_of=NIGHT)
    assert canary in (await summaries(caller))[0]["content"]
    await caller.request("DELETE", f"/memory/traces/{stored[-1]['trace_id']}", params={"user_id": "ann"})
    assert await summaries(caller) == []
    assert await value(owner, "SELECT count(*) FROM rebuild") == 1
    again = await runtime.dreams.run(as_of=NIGHT)
    assert again.days == 1
    [told] = await summaries(caller)
    assert canary not in str(told)
    assert await value(owner, "SELECT count(*) FROM rebuild") == 0
    for table in ("memory_body", "memory_trace", "memory_edge", "dream_run", "dream_stage", "dream_day", "dream_user",
                  "dream_night", "dream_aside", "operation", "entity_name"):  # fmt: skip
        assert await value(owner, f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", f"%{canary}%") == 0, table  # noqa: S608


async def test_a_day_of_which_nothing_is_left_leaves_nothing(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk(), *talk("c2", TUESDAY, said=GARDEN))
    await runtime.dreams.run(as_of=NIGHT)
    scope = {"since": f"{MONDAY}T00:00:00Z", "until": f"{TUESDAY}T00:00:00Z"}
    await caller.post("/memory/forget", json={"user_id": "ann", "scope": scope})
    assert (await runtime.dreams.run(as_of=NIGHT)).days == 1
    assert [one["meta"]["day"] for one in await summaries(caller)] == [TUESDAY]
    assert await rows(owner, "SELECT day::text FROM dream_day") == [(TUESDAY,)]


async def test_a_user_who_is_forgotten_leaves_no_day(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk())
    await runtime.dreams.run(as_of=NIGHT)
    await caller.post("/memory/forget", json={"user_id": "ann", "scope": {"all": True}})
    for table in ("memory_trace", "dream_day", "dream_user", "memory_edge"):
        assert await value(owner, f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608


async def test_a_changed_source_has_its_summary_made_anew(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    stored = await remember("ann", *talk(said=GARDEN))
    await runtime.dreams.run(as_of=NIGHT)
    change = {"content": "Clara came by and we planted ninety crocuses behind the windmill."}
    await caller.patch(f"/memory/traces/{stored[0]['trace_id']}", params={"user_id": "ann"}, json=change)
    assert await rows(owner, "SELECT reason, kind FROM rebuild WHERE kind = 'summary'") == [("changed", "summary")]
    assert (await runtime.dreams.run(as_of=NIGHT)).days == 1
    [told] = await summaries(caller)
    assert "tulips" not in told["content"]
    assert await value(owner, "SELECT count(*) FROM rebuild") == 0


async def test_another_time_zone_moves_the_days(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk(hour=23))
    await runtime.dreams.run(as_of=NIGHT)
    assert [one["meta"]["day"] for one in await summaries(caller)] == [MONDAY]
    answer = await caller.patch("/memory/users/ann", json={"time_zone": "Asia/Tokyo"})
    assert answer.json()["time_zone"] == "Asia/Tokyo"
    await runtime.dreams.run(as_of=NIGHT)
    assert [one["meta"]["day"] for one in await summaries(caller)] == [TUESDAY]
    assert await rows(owner, "SELECT day::text FROM dream_day") == [(TUESDAY,)]


async def test_a_day_that_goes_on_waits_until_it_is_over(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk(day=TUESDAY))
    tuesday = datetime(2026, 3, 3, 23, 50, tzinfo=UTC)
    assert (await runtime.dreams.run(as_of=tuesday)).days == 0
    # Nobody has written since, and it is seen all the same.
    assert (await runtime.dreams.run(as_of=tuesday + timedelta(minutes=11))).days == 1
    assert await value(owner, "SELECT dreamt_version FROM memory_user") is not None
