"""Runs of the dream: one at a time, pausable, capped; what breaks is set aside, and what is changed is seen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from tests.conftest import Remember
from tests.dream.days import GARDEN, MONDAY, NIGHT, TALK, TUESDAY, rows, talk, value

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection, WriteSession
from reverie.core.errors import Conflict
from reverie.dream import repository, runs
from reverie.dream.protocol import Day, Did, Night, Poisonous, Write
from reverie.dream.repository import Asked
from reverie.dream.runs import CONSOLIDATE, DreamRuns, TakenOver
from reverie.dream.stages import Stages
from reverie.operations.service import OperationService, TryLater
from reverie.runtime import open_dreams
from reverie.worker import WorkerSettings, dream

Work = Callable[[Day, Night], Awaitable[Did | Write]]


class Stage:
    """A stage of a day that does what a test says."""

    def __init__(self, name: str, work: Work | None = None) -> None:
        self.name = name
        self.seen: list[tuple[str, int]] = []
        self._work = work

    async def prepare(self, day: Day, night: Night) -> Did | Write:
        self.seen.append((day.day.isoformat(), len(day.traces)))
        return Did(saw=len(day.traces)) if self._work is None else await self._work(day, night)


def writing(did: Did | None = None) -> Write:
    """A write that changes nothing, so that the checkpoint is set."""

    async def write(_session: WriteSession) -> Did:
        return did or Did()

    return write


@pytest.fixture
async def dreams(settings: Settings) -> AsyncIterator[DreamRuns]:
    """The dream without stages: a test gives them."""
    async with open_dreams(settings) as opened:
        opened.stages = Stages([], [])
        yield opened


async def test_all_days_are_dreamt_oldest_first_each_trace_read_once(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk(day=TUESDAY), *talk("c0", "2026-02-10", said=GARDEN))
    await remember("ben", *talk(day=MONDAY))
    one, two = Stage("one"), Stage("two")
    dreams.stages = Stages([one, two], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert one.seen == two.seen == [("2026-02-10", 3), (MONDAY, 5), (TUESDAY, 5)]
    assert (outcome.state, outcome.days, outcome.users, outcome.left) == ("done", 3, 2, 0)
    assert outcome.stages["one"].did.saw == 13
    found = await rows(owner, "SELECT stage, state, saw FROM dream_stage ORDER BY place")
    assert found == [("one", "done", 13), ("two", "done", 13)]
    assert await rows(owner, "SELECT DISTINCT state, stage FROM dream_day") == [("done", None)]
    report = await value(owner, "SELECT report FROM dream_run")
    assert (report["days"], report["users"], report["failed"]) == (3, 2, 0)


async def test_one_runs_at_a_time(remember: Remember, dreams: DreamRuns) -> None:
    await remember("ann", *talk())
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_day: Day, _night: Night) -> Did:
        entered.set()
        await go_on.wait()
        return Did()

    dreams.stages = Stages([Stage("wait", wait)], [])
    first = asyncio.create_task(dreams.run(as_of=NIGHT))
    await entered.wait()
    with pytest.raises(Conflict, match="reverie dream --watch"):
        await dreams.run(as_of=NIGHT)
    watched = await dreams.watch()
    assert watched is not None
    assert watched.days == 0
    go_on.set()
    assert (await first).state == "done"
    assert await dreams.watch() is None


async def test_a_run_rests_between_two_stages_and_goes_on_where_it_was(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk(), *talk("c2", TUESDAY))
    once = asyncio.Event()

    async def pause(_day: Day, _night: Night) -> Did | Write:
        if not once.is_set():
            once.set()
            assert await dreams.pause()
            assert not await dreams.pause()
        return writing()

    first, second = Stage("first", pause), Stage("second")
    dreams.stages = Stages([first, second], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.days, outcome.left) == ("paused", 0, 2)
    assert await rows(owner, "SELECT day::text, state, stage FROM dream_day") == [(MONDAY, "pending", "first")]
    with pytest.raises(Conflict, match="reverie dream resume"):
        await dreams.run(as_of=NIGHT)
    assert await dreams.nightly() is None
    assert await dreams.resume()
    assert not await dreams.resume()
    # A worker takes up what rests, as the same run.
    resumed = await dreams.nightly()
    assert resumed is not None
    assert (resumed.id, resumed.state, resumed.days) == (outcome.id, "done", 2)
    assert first.seen == [(MONDAY, 5), (TUESDAY, 5)]
    assert second.seen == [(MONDAY, 5), (TUESDAY, 5)]
    assert await rows(owner, "SELECT state FROM dream_night") == [("done",)]
    assert await value(owner, "SELECT saw FROM dream_stage WHERE stage = 'second'") == 10


async def test_a_run_that_is_cancelled_keeps_what_it_has_dreamt(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk(), *talk("c2", TUESDAY))
    assert await dreams.cancel() == []

    async def cancel(day: Day, night: Night) -> Did:
        if day.day.isoformat() == TUESDAY:
            assert await dreams.cancel() == [night.run_id]
        return Did()

    stage = Stage("stage", cancel)
    dreams.stages = Stages([stage, Stage("never")], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.days, outcome.left) == ("cancelled", 1, 1)
    assert await rows(owner, "SELECT state FROM dream_run") == [("cancelled",)]
    assert await dreams.nightly() is None
    dreams.stages = Stages([Stage("stage")], [])
    assert (await dreams.run(as_of=NIGHT)).days == 1


async def test_a_run_that_rests_can_be_cancelled(remember: Remember, dreams: DreamRuns, owner: Connection) -> None:
    await remember("ann", *talk())

    async def pause(_day: Day, _night: Night) -> Did:
        await dreams.pause()
        return Did()

    dreams.stages = Stages([Stage("pause", pause), Stage("never")], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert outcome.state == "paused"
    assert await dreams.cancel() == [outcome.id]
    assert await dreams.resume()
    assert await dreams.nightly() is None
    assert await rows(owner, "SELECT n.state, r.state FROM dream_night n JOIN dream_run r USING (id)") == [
        ("cancelled", "cancelled")
    ]


async def test_after_its_minutes_it_begins_no_other_day_and_the_next_night_goes_on(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk(), *talk("c2", TUESDAY))
    dreams.settings = dreams.settings.model_copy(update={"dream_max_minutes": 0})
    stage, last = Stage("stage"), Ends()
    dreams.stages = Stages([stage], [last])
    # Not even the first: but the stages of the store are done.
    outcome = await dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.capped, outcome.days, outcome.left) == ("done", True, 0, 2)
    assert last.done == 1
    assert await value(owner, "SELECT report -> 'left' FROM dream_run") == 2
    dreams.settings = dreams.settings.model_copy(update={"dream_max_minutes": 120})
    assert (await dreams.run(as_of=NIGHT)).days == 2


class Ends:
    """A stage of the store."""

    name = "ends"

    def __init__(self, error: Exception | None = None) -> None:
        self.done = 0
        self._error = error

    async def run(self, _night: Night, spaces: Any, tell: Callable[[str, int], None]) -> dict[UUID, Did]:
        self.done += 1
        tell("something", 3)
        if self._error is not None:
            raise self._error
        return {space_id: Did(moved=2) for space_id in spaces}


async def test_a_stage_of_the_store_that_fails_is_told_and_tried_again_within_an_hour(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk())
    broken, sound = Ends(Conflict("It cannot be done now.")), Ends()
    sound.name = "sound"
    dreams.stages = Stages([Stage("stage")], [broken, sound])
    told: list[Any] = []
    with clock.as_of(NIGHT):
        outcome = await dreams.run(tell=told.append)
        assert (outcome.state, outcome.error) == ("failed", "It cannot be done now.")
        assert await dreams.nightly() is None
    assert sound.done == 1
    assert ("ends", "something", 3) in [(one.stage, one.what, one.done) for one in told]
    assert await rows(owner, "SELECT stage, state, error, moved FROM dream_stage ORDER BY place") == [
        ("stage", "done", None, 0),
        ("ends", "failed", "It cannot be done now.", 0),
        ("sound", "done", None, 2),
    ]
    with clock.as_of(NIGHT + timedelta(minutes=70)):
        assert await dreams.nightly() is not None


async def test_a_poisonous_trace_is_set_aside_and_blocks_nothing(
    remember: Remember, dreams: DreamRuns, owner: Connection, caller: httpx.AsyncClient
) -> None:
    """By a stage that says which it is, and by one that merely fails."""
    said = [*TALK, ("Ann", "POISON is what this one holds."), *GARDEN]
    stored = await remember("ann", *talk(said=said))
    await remember("ben", *talk())
    bad = UUID(stored[5]["trace_id"])

    async def tell(day: Day, _night: Night) -> Did:
        if bad in day.ids:
            raise Poisonous(bad, "It cannot be read.")
        return Did(saw=len(day.traces))

    async def fail(day: Day, _night: Night) -> Write:
        async def write(session: WriteSession) -> Did:
            await session.execute(b"UPDATE memory_user SET kind = 'agent' WHERE user_id = %b", (day.user_id,))
            if any("POISON" in trace.text for trace in day.traces):
                raise ValueError("POISON")
            return Did(saw=len(day.traces), changed=1)

        return write

    dreams.stages = Stages([Stage("telling", tell), Stage("failing", fail), after := Stage("after")], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.days, outcome.failed, outcome.aside) == ("done", 2, 0, 2)
    assert sorted(after.seen) == [(MONDAY, 5), (MONDAY, 9)]
    assert outcome.stages["failing"].did.saw == 13
    found = await rows(owner, "SELECT stage, trace_id, error FROM dream_aside ORDER BY stage")
    assert [(stage, trace_id) for stage, trace_id, _ in found] == [("failing", bad), ("telling", bad)]
    assert found[1][2] == "It cannot be read."
    assert "POISON" not in found[0][2]
    assert "ValueError" in found[0][2]
    # It stays aside while it says the same, and no longer.
    again = await dreams.run(Asked(day=(await value(owner, "SELECT min(day) FROM dream_day"))), as_of=NIGHT)
    assert (again.aside, again.stages["failing"].did.skipped) == (0, {"set aside before": 1})
    change = {"content": "Nothing bad is in this any more."}
    await caller.patch(f"/memory/traces/{bad}", params={"user_id": "ann"}, json=change)
    healed = await dreams.run(as_of=NIGHT)
    assert healed.stages["failing"].did.saw == 9


async def test_a_day_that_fails_as_a_whole_is_tried_again_and_then_left_until_it_changes(
    remember: Remember, dreams: DreamRuns, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "MOST_ATTEMPTS", 3)
    await remember("ann", *talk())

    async def fail(day: Day, _night: Night) -> Did:
        # Of no trace by itself.
        if len(day.traces) > 2:
            raise RuntimeError("too many")
        return Did()

    dreams.stages = Stages([Stage("one", fail), two := Stage("two")], [])
    for attempt in range(3):
        outcome = await dreams.run(as_of=NIGHT)
        assert (outcome.state, outcome.days, outcome.failed) == ("done", 1, 1), attempt
    assert len(two.seen) == 3, "the others go on"
    assert await value(owner, "SELECT count(*) FROM dream_aside") == 0
    assert (await dreams.run(as_of=NIGHT)).days == 0
    [(state, error)] = await rows(owner, "SELECT state, error FROM dream_day")
    assert (state, error) == (
        "failed", "one: Something went wrong on our side (RuntimeError); the log has the details."
    )  # fmt: skip
    await remember("ann", *talk(hour=12, said=GARDEN))
    assert (await dreams.run(as_of=NIGHT)).failed == 1


async def test_a_day_that_ends_the_process_again_and_again_is_left(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk())
    dreams.stages = Stages([stage := Stage("stage")], [])
    await dreams.run(as_of=NIGHT)
    await owner.execute("UPDATE dream_day SET state = 'pending', attempts = %s", (repository.MOST_ATTEMPTS,))
    await owner.execute("UPDATE memory_user SET dreamt_version = NULL")
    stage.seen.clear()
    assert (await dreams.run(as_of=NIGHT)).failed == 1
    assert stage.seen == []
    assert "ended the process 5 times" in await value(owner, "SELECT error FROM dream_day")
    assert (await dreams.run(as_of=NIGHT)).days == 0


async def test_a_run_that_was_broken_off_is_ended_by_the_next(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk())
    left = uuid4()
    await repository.begin(owner, left, Asked(), NIGHT, clock.now())
    dreams.stages = Stages([Stage("stage")], [])
    assert (await dreams.run(as_of=NIGHT)).days == 1
    query = "SELECT n.state, n.error, r.state, r.error FROM dream_night n JOIN dream_run r USING (id) WHERE id = %s"
    assert await rows(owner, query, left) == [("failed", "It was broken off.", "failed", "It was broken off.")]


async def test_what_is_forgotten_while_it_is_dreamt_is_not_written(
    remember: Remember, dreams: DreamRuns, caller: httpx.AsyncClient
) -> None:
    stored = await remember("ann", *talk())
    written: list[int] = []

    async def forget(day: Day, _night: Night) -> Write:
        if len(day.traces) == 5:
            gone = stored[0]["trace_id"]
            answer = await caller.request("DELETE", f"/memory/traces/{gone}", params={"user_id": "ann"})
            assert answer.status_code == 200

        async def write(_session: WriteSession) -> Did:
            written.append(len(day.traces))
            return Did()

        return write

    dreams.stages = Stages([stage := Stage("stage", forget)], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert (outcome.days, outcome.failed) == (1, 0)
    assert stage.seen == [(MONDAY, 5), (MONDAY, 4)]
    assert written == [4]


async def test_a_user_who_is_forgotten_meanwhile_stops_nobody(
    remember: Remember, dreams: DreamRuns, caller: httpx.AsyncClient, owner: Connection
) -> None:
    for user in ("ann", "ben"):
        await remember(user, *talk())

    async def forget(day: Day, _night: Night) -> Write:
        [(whose,)] = await rows(owner, "SELECT external_id FROM memory_user WHERE user_id = %s", day.user_id)
        if whose == "ann":
            await caller.post("/memory/forget", json={"user_id": "ann", "scope": {"all": True}})
        return writing()

    dreams.stages = Stages([Stage("stage", forget)], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.failed) == ("done", 0)
    assert await rows(owner, "SELECT external_id, dreamt_version IS NOT NULL FROM memory_user") == [("ben", True)]


async def test_a_day_that_changes_all_the_time_is_left_for_the_next_night(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk())

    async def change(_day: Day, _night: Night) -> Write:
        await owner.execute("UPDATE memory_trace SET updated_at = clock_timestamp() WHERE kind = 'turn'")
        return writing()

    dreams.stages = Stages([stage := Stage("stage", change)], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.days) == ("done", 0)
    assert len(stage.seen) == runs.ROUNDS
    assert outcome.stages["stage"].did.skipped == {"days changed meanwhile": 1}
    dreams.stages = Stages([Stage("stage")], [])
    assert (await dreams.run(as_of=NIGHT)).days == 1


async def test_who_wrote_meanwhile_is_looked_at_again(remember: Remember, dreams: DreamRuns, owner: Connection) -> None:
    await remember("ann", *talk())

    async def write(day: Day, _night: Night) -> Write:
        await remember("ann", *talk("c9", day="2026-03-20", said=GARDEN))
        return writing(Did(changed=1))

    dreams.stages = Stages([Stage("stage", write)], [])
    await dreams.run(as_of=NIGHT)
    assert await value(owner, "SELECT dreamt_version FROM memory_user") is None
    dreams.stages = Stages([stage := Stage("stage")], [])
    assert (await dreams.run(as_of=NIGHT + timedelta(days=30))).days == 1
    assert stage.seen == [("2026-03-20", 3)]
    assert await value(owner, "SELECT dreamt_version = version FROM memory_user")
    assert (await dreams.run(as_of=NIGHT + timedelta(days=30))).days == 0


async def test_an_operation_dreams_for_its_space_alone(
    remember: Remember, dreams: DreamRuns, caller: httpx.AsyncClient, api: Any, owner: Connection
) -> None:
    other = await api.caller("other")
    for client in (caller, other):
        await client.post("/memory/remember", json={"user_id": "ann", "traces": talk()})
    dreams.stages = Stages([stage := Stage("stage", lambda _day, _night: _written())], [])
    accepted = (await caller.post("/memory/consolidate", json={})).json()
    operations = OperationService(dreams.database, dreams.bell, {CONSOLIDATE: dreams.consolidate})  # type: ignore[arg-type]
    assert await operations.run(UUID(accepted["operation_id"]))
    assert stage.seen == [(MONDAY, 5)]
    assert (await other.get("/dreams")).json()["items"] == []
    [item] = (await caller.get("/dreams")).json()["items"]
    assert (item["dream_id"], item["state"], item["days"]) == (accepted["operation_id"], "done", 1)


async def _written() -> Write:
    return writing()


async def test_an_operation_goes_on_in_shifts_and_waits_for_others(
    remember: Remember, dreams: DreamRuns, caller: httpx.AsyncClient, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remember("ann", *talk(), *talk("c2", TUESDAY))
    monkeypatch.setattr(runs, "SHIFT_SECONDS", 0.0)
    accepted = (await caller.post("/memory/consolidate", json={})).json()

    async def attempt() -> dict[str, Any]:
        from reverie.operations.repository import Leased

        [row] = await rows(
            owner, "SELECT id, space_id, user_id, kind, payload, trace_ids, 1, created_at FROM operation WHERE id = %s",
            accepted["operation_id"],
        )  # fmt: skip
        return await dreams.consolidate(Leased(*row))

    dreams.stages = Stages([Stage("stage")], [last := Ends()])
    async with dreams.database.maintenance() as another:
        assert await repository.take_runs(another)
        with pytest.raises(TryLater, match="goes on"):
            await attempt()
    with pytest.raises(TryLater, match="more to dream"):
        await attempt()
    assert last.done == 0
    monkeypatch.setattr(runs, "SHIFT_SECONDS", 60.0)
    result = await attempt()
    assert (result["state"], result["days"]) == ("done", 2)
    assert last.done == 1
    # Once more, after a worker died before it could say so: nothing is done again.
    assert (await attempt())["state"] == "done"
    assert last.done == 1
    await dreams.pause()
    with pytest.raises(TryLater, match="paused"):
        await attempt()


async def test_a_worker_dreams_at_night(
    remember: Remember, dreams: DreamRuns, settings: Settings, owner: Connection
) -> None:
    assert "cron:dream" in {job.name for job in WorkerSettings.cron_jobs}
    await remember("ann", *talk())

    class Parts:
        pass

    parts = Parts()
    parts.dreams = dreams  # type: ignore[attr-defined]
    dreams.stages = Stages([stage := Stage("stage")], [])
    await dream({"runtime": parts})
    assert await rows(owner, "SELECT id FROM dream_night") == []
    tomorrow = (clock.now() + timedelta(days=1)).replace(hour=settings.dream_time.hour, minute=1)
    with clock.as_of(tomorrow):
        await asyncio.gather(*(dream({"runtime": parts}) for _ in range(3)))
        await dream({"runtime": parts})
    assert await rows(owner, "SELECT state, whole FROM dream_night") == [("done", True)]
    assert stage.seen == [(MONDAY, 5)]


async def test_the_worker_goes_on_while_a_stage_computes(remember: Remember, dreams: DreamRuns) -> None:
    """The event loop is free: what a stage does in a thread holds up nobody."""
    await remember("ann", *talk())
    ticks = 0

    async def compute(_day: Day, _night: Night) -> Did:
        import time

        await asyncio.to_thread(time.sleep, 0.3)
        return Did()

    dreams.stages = Stages([Stage("stage", compute)], [])
    running = asyncio.create_task(dreams.run(as_of=NIGHT))
    while not running.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 10


async def test_a_lock_that_was_lost_is_noticed(remember: Remember, dreams: DreamRuns, owner: Connection) -> None:
    """Another run has taken a day over: this one writes nothing more of it."""
    await remember("ann", *talk())

    async def lose(_day: Day, _night: Night) -> Write:
        await owner.execute("UPDATE dream_day SET run_id = %s", (uuid4(),))
        return writing(Did(changed=1))

    dreams.stages = Stages([Stage("stage", lose)], [])
    before = await value(owner, "SELECT version FROM memory_user")
    with pytest.raises(TakenOver):
        await dreams.run(as_of=NIGHT)
    assert await value(owner, "SELECT version FROM memory_user") == before


async def test_a_run_ends_as_failed_when_postgresql_ends_its_connection(
    remember: Remember, dreams: DreamRuns, owner: Connection
) -> None:
    await remember("ann", *talk())

    async def cut(_day: Day, _night: Night) -> Did:
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'reverie-maintenance'"
        )
        return Did()

    dreams.stages = Stages([Stage("cut", cut), Stage("after")], [])
    with pytest.raises(psycopg.OperationalError):
        await dreams.run(as_of=NIGHT)
    dreams.stages = Stages([after := Stage("after")], [])
    assert (await dreams.run(as_of=NIGHT)).days == 1
    assert after.seen == [(MONDAY, 5)]
    states = await rows(owner, "SELECT state FROM dream_night ORDER BY started_at")
    assert states == [("failed",), ("done",)]


@pytest.mark.parametrize("size", [1, 40])
async def test_no_more_of_a_day_is_read_than_fits(
    size: int, remember: Remember, dreams: DreamRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_TRACES", 3)
    monkeypatch.setattr(runs, "READ_CHARS", size)
    await remember("ann", *talk())
    texts: list[str] = []

    async def read(day: Day, _night: Night) -> Did:
        texts.extend(trace.text for trace in day.traces)
        return Did()

    dreams.stages = Stages([Stage("stage", read)], [])
    outcome = await dreams.run(as_of=NIGHT)
    assert texts == [text[:size] for _, text in TALK[:3]]
    assert outcome.stages["stage"].did.skipped == {"beyond the first 3 traces of a day": 2}
    assert (await dreams.run(as_of=NIGHT)).days == 0
