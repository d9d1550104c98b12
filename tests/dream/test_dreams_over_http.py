"""The dream over HTTP: asking for it, its reports, taking a run back, and what users set."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.conftest import Api, Remember
from tests.contracts.house import assert_problem
from tests.dream.days import GARDEN, MONDAY, NIGHT, TUESDAY, made, rows, talk, value
from tests.waiting import until_operation

from reverie.core import clock
from reverie.core.database import Connection
from reverie.runtime import Runtime


async def consolidated(caller: httpx.AsyncClient, runtime: Runtime, **asked: str) -> dict[str, Any]:
    """The run of what was asked for, after it."""
    accepted = await caller.post("/memory/consolidate", json=asked)
    assert accepted.status_code == 202, accepted.text
    named = accepted.json()
    assert await runtime.operations.run(UUID(named["operation_id"]))
    await until_operation(caller, named["operation_id"], "done")
    found: dict[str, Any] = (await caller.get(f"/dreams/{named['dream_id']}")).json()
    return found


@pytest.mark.parametrize(
    ("day", "says"),
    [
        ("yesterday", "takes a day such as 2026-05-08"),
        ("2026-02-30", "takes a day of the calendar such as 2026-05-08, not 2026-02-30"),
        ("2026-5-8", "takes a day such as 2026-05-08"),
        ("2026-05-08T00:00:00Z", "takes a day such as 2026-05-08"),
        ("20260508", "takes a day such as 2026-05-08"),
        ("0000-01-01", "takes a day of the calendar"),
        ("0001-01-01", "takes a day within the years 1 to 9999"),
        (20260508, "takes a day such as 2026-05-08"),
        (None, ""),
    ],
)
async def test_a_malformed_day(caller: httpx.AsyncClient, day: object, says: str) -> None:
    answer = await caller.post("/memory/consolidate", json={"day": day})
    if day is None:
        assert answer.status_code == 202
        return
    assert says in assert_problem(answer, 422, "day")


async def test_a_day_to_come(caller: httpx.AsyncClient, remember: Remember) -> None:
    await remember("ann", *talk())
    later = (clock.now() + timedelta(days=2)).date().isoformat()
    assert "has begun" in assert_problem(await caller.post("/memory/consolidate", json={"day": later}), 422, "day")
    # Where the user is, it is a day later already.
    await caller.patch("/memory/users/ann", json={"time_zone": "Pacific/Kiritimati"})
    with clock.as_of(datetime(2026, 11, 22, 12, tzinfo=UTC)):
        asked = {"day": "2026-11-23", "user_id": "ann"}
        assert (await caller.post("/memory/consolidate", json=asked)).status_code == 202
        await caller.patch("/memory/users/ann", json={"time_zone": "America/Los_Angeles"})
        assert_problem(await caller.post("/memory/consolidate", json=asked), 422, "day")


async def test_users_who_are_not_there_or_do_not_dream(caller: httpx.AsyncClient, remember: Remember) -> None:
    assert_problem(await caller.post("/memory/consolidate", json={"user_id": "nobody"}), 404)
    await remember("ann", *talk())
    assert (await caller.patch("/memory/users/ann", json={"dream": False})).json()["dream"] is False
    said = assert_problem(await caller.post("/memory/consolidate", json={"user_id": "ann"}), 409)
    assert "dream as true" in said


async def test_an_empty_day_and_a_user_without_conversations(
    caller: httpx.AsyncClient, remember: Remember, runtime: Runtime
) -> None:
    await remember("ann", *talk(None))
    empty = await consolidated(caller, runtime, day="2020-01-01")
    assert (empty["state"], empty["days"], empty["users"], empty["asked"]) == (
        "done", 0, 0, {"day": "2020-01-01", "user_id": None}
    )  # fmt: skip
    notes = await consolidated(caller, runtime, user_id="ann", day=MONDAY)
    assert (notes["days"], notes["asked"]) == (1, {"day": MONDAY, "user_id": "ann"})
    [summary] = (await caller.get("/memory/traces", params={"user_id": "ann", "kind": "summary"})).json()["items"]
    assert (summary["meta"]["scope"], summary["conversation_id"]) == ("day", None)


async def test_a_run_is_reported_with_its_stages(
    caller: httpx.AsyncClient, remember: Remember, runtime: Runtime, api: Api
) -> None:
    await remember("ann", *talk(), *talk("c1", TUESDAY, said=GARDEN))
    found = await consolidated(caller, runtime)
    assert (found["state"], found["days"], found["users"], found["failed"], found["left"]) == ("done", 2, 1, 0, 0)
    assert found["dreamt"] == [
        {"user_id": "ann", "days": 2, "failed": 0, "first_day": MONDAY, "last_day": TUESDAY}
    ]  # fmt: skip
    stages = {one["name"]: one for one in found["stages"]}
    assert [*stages][:2] == ["group", "summarise"]
    assert [*stages][-2:] == ["tiers", "prune"]
    assert {one["state"] for one in found["stages"]} == {"done"}
    assert stages["summarise"]["saw"] == 8
    assert stages["summarise"]["made"] > 2
    page = (await caller.get("/dreams", params={"limit": 1})).json()
    assert page["items"][0] == {name: found[name] for name in page["items"][0]}
    assert page["next_cursor"] == found["dream_id"]
    assert (await caller.get("/dreams", params={"cursor": page["next_cursor"]})).json()["items"] == []
    # Nobody else sees it.
    other = await api.caller("other")
    assert (await other.get("/dreams")).json()["items"] == []
    assert_problem(await other.get(f"/dreams/{found['dream_id']}"), 404)
    assert_problem(await other.delete(f"/dreams/{found['dream_id']}"), 404)


async def test_the_same_request_dreams_once(caller: httpx.AsyncClient, remember: Remember) -> None:
    await remember("ann", *talk())
    headers = {"Idempotency-Key": "tonight"}
    first = await caller.post("/memory/consolidate", json={}, headers=headers)
    assert (await caller.post("/memory/consolidate", json={}, headers=headers)).json() == first.json()


async def test_a_run_is_taken_back(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk(), *talk("c2", hour=12, said=GARDEN))
    before = await made(owner)
    run = await consolidated(caller, runtime)
    items = (await caller.get("/memory/traces", params={"user_id": "ann", "kind": "summary"})).json()["items"]
    kept = next(one for one in items if one["conversation_id"] == "c2")
    change = {"content": "Clara and forty tulips."}
    await caller.patch(f"/memory/traces/{kept['trace_id']}", params={"user_id": "ann"}, json=change)
    accepted = await caller.delete(f"/dreams/{run['dream_id']}")
    assert accepted.status_code == 202
    assert await runtime.operations.run(UUID(accepted.json()["operation_id"]))
    done = await until_operation(caller, accepted.json()["operation_id"], "done")
    assert done["result"]["kept"] == 1
    assert done["result"]["traces"] >= 2
    left = await rows(owner, "SELECT kind, id::text FROM memory_trace WHERE kind IN ('summary', 'entity')")
    assert left == [("summary", kept["trace_id"])]
    assert await value(owner, "SELECT count(*) FROM memory_edge WHERE meta ->> 'by' = 'dream'") == 0
    words = "SELECT sum(b.words) = max(u.words) FROM memory_body b JOIN memory_user u USING (user_id)"
    assert await value(owner, words)
    assert (await caller.get(f"/dreams/{run['dream_id']}")).json()["state"] == "undone"
    assert_problem(await caller.delete(f"/dreams/{run['dream_id']}"), 409)
    # The days count as dreamt: nothing comes back by itself.
    assert (await consolidated(caller, runtime))["days"] == 0
    assert (await made(owner))["days"] != before["days"]
    again = await consolidated(caller, runtime, day=MONDAY)
    assert again["days"] == 1
    assert await value(owner, "SELECT count(*) FROM memory_trace WHERE kind = 'summary'") == 3


async def test_a_run_that_goes_on_is_not_taken_back(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk())
    run = await consolidated(caller, runtime)
    await owner.execute("UPDATE dream_run SET state = 'running'")
    assert "reverie dream cancel" in assert_problem(await caller.delete(f"/dreams/{run['dream_id']}"), 409)
    assert_problem(await caller.get(f"/dreams/{uuid4()}"), 404)
    assert_problem(await caller.get("/dreams/tonight"), 422)


async def test_the_jobs_of_the_night(caller: httpx.AsyncClient, remember: Remember, runtime: Runtime) -> None:
    await remember("ann", *talk())
    before = (await caller.get("/admin/jobs")).json()
    assert (before["running"], before["paused"], before["last"]) == (False, False, None)
    assert {one["state"] for one in before["jobs"]} == {None}
    assert datetime.fromisoformat(before["next_at"]) > clock.now()
    assert datetime.fromisoformat(before["next_at"]).strftime("%H:%M") == before["at"] == "03:00"
    await runtime.dreams.run(as_of=NIGHT)
    await runtime.dreams.pause()
    after = (await caller.get("/admin/jobs")).json()
    assert after["paused"] is True
    assert (after["last"]["state"], after["last"]["error"]) == ("done", None)
    assert [one["name"] for one in after["jobs"]] == [one["name"] for one in before["jobs"]]
    assert {one["state"] for one in after["jobs"]} == {"done"}


async def test_a_night_that_was_broken_off_shows(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk())
    await runtime.dreams.run(as_of=NIGHT)
    await owner.execute("UPDATE dream_night SET state = 'running', finished_at = NULL")
    last = (await caller.get("/admin/jobs")).json()["last"]
    assert (last["state"], last["error"]) == ("failed", "It was broken off.")


async def test_the_metrics_tell_when_it_was_done_last_and_what_failed(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime, api: Api
) -> None:
    async def scrape() -> dict[str, float]:
        api.app.state.overview._counted = None
        text = (await caller.get("/metrics")).text
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("reverie_") and "dream" in line)
        return {name: float(number) for name, number in lines}

    assert await scrape() == {'reverie_dream_failures{what="nights"}': 0.0, 'reverie_dream_failures{what="days"}': 0.0}
    await remember("ann", *talk())
    await runtime.dreams.run(as_of=NIGHT)
    found = await scrape()
    assert 0 <= found.pop("reverie_last_dream_age") < 60
    assert set(found.values()) == {0.0}
    await owner.execute("UPDATE dream_night SET finished_at = finished_at - interval '2 days'")
    await runtime.dreams.run(as_of=NIGHT)
    await owner.execute(
        "UPDATE dream_night SET state = 'failed', failed = 3 WHERE id = (SELECT max(id::text)::uuid FROM dream_night)"
    )
    found = await scrape()
    assert found.pop("reverie_last_dream_age") > 172_000
    assert found == {'reverie_dream_failures{what="nights"}': 1.0, 'reverie_dream_failures{what="days"}': 3.0}


async def test_what_a_user_sets(caller: httpx.AsyncClient, remember: Remember, owner: Connection) -> None:
    await remember("a/b c", "Tea at four.")
    before = (await caller.get("/memory/users/a%2Fb%20c")).json()
    assert {name: before[name] for name in ("user_id", "traces", "time_zone", "language", "half_lives", "dream")} == {
        "user_id": "a/b c", "traces": 1, "time_zone": None, "language": None, "half_lives": None, "dream": True,
    }  # fmt: skip
    version = await value(owner, "SELECT version FROM memory_user")
    change = {"time_zone": "Asia/Kathmandu", "language": "de", "half_lives": {"turn": 3.5, "fact": 400}, "dream": False}
    changed = (await caller.patch("/memory/users/a%2Fb%20c", json=change)).json()
    assert (changed["time_zone"], changed["language"], changed["dream"]) == ("Asia/Kathmandu", "german", False)
    assert {name: days for name, days in changed["half_lives"].items() if days} == {"turn": 3.5, "fact": 400.0}
    assert await value(owner, "SELECT version FROM memory_user") > version
    assert (await caller.get("/memory/users/a%2Fb%20c")).json() == changed
    # What is not given stays, null goes back.
    part = (await caller.patch("/memory/users/a%2Fb%20c", json={"language": None, "half_lives": {}})).json()
    assert (part["language"], part["half_lives"], part["time_zone"]) == (None, None, "Asia/Kathmandu")
    assert await rows(owner, "SELECT half_lives, time_zone FROM memory_user") == [(None, "Asia/Kathmandu")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
        ({"time_zone": 2}, "time_zone"),
        ({"language": "klingon"}, "language"),
        ({"half_lives": {"turn": 0}}, "half_lives.turn"),
        ({"half_lives": {"turn": "long"}}, "half_lives.turn"),
        ({"half_lives": {"dream": 3}}, "half_lives.dream"),
        ({"half_lives": [1]}, "half_lives"),
        ({"dream": None}, "dream"),
        ({"dream": 1}, "dream"),
        ({"colour": "red"}, "colour"),
        ({}, None),
    ],
)
async def test_what_a_user_cannot_set(
    caller: httpx.AsyncClient, remember: Remember, change: dict[str, Any], field: str | None
) -> None:
    await remember("ann", "Tea at four.")
    assert_problem(await caller.patch("/memory/users/ann", json=change), 422, field)


async def test_a_user_who_is_not_there(caller: httpx.AsyncClient) -> None:
    assert_problem(await caller.get("/memory/users/nobody"), 404)
    assert_problem(await caller.patch("/memory/users/nobody", json={"dream": False}), 404)
