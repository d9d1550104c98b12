"""Runs over the tiers: one at a time, pausable, capped, and what fails is told and tried again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest.mock import MagicMock
from uuid import UUID

import pytest
from tests.tiers.rows import fetch

from reverie.core.config import Settings, load_settings
from reverie.core.database import Connection, Database
from reverie.core.errors import Conflict, Invalid, SettingsError
from reverie.objects.store import StorageTrouble
from reverie.tiers import repository, runs
from reverie.tiers.repository import LastRun
from reverie.tiers.runs import Halted, Run, Step, TierRuns, log_failure, refuse_other_time, sentence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOUR = timedelta(hours=1)
NIGHT = datetime(2026, 5, 8, 3, tzinfo=UTC)


@pytest.fixture
def database(settings: Settings) -> Database:
    return Database(settings)


def counting(seen: list[str], name: str) -> Step:
    """A step that notes that it was done."""

    async def work(run: Run) -> None:
        seen.append(name)
        run.did(name, traces=2, bytes=10)
        run.did(name, traces=3)
        run.most(name, held=0.02)
        run.most(name, held=0.01)

    return Step(name, work)


def stepping(name: str, work: "Callable[[Run], Awaitable[None]]", *, always: bool = False) -> Step:
    return Step(name, work, always)


async def last(owner: Connection) -> LastRun:
    found = await repository.last_run(owner)
    assert found is not None
    return found


async def test_a_run_does_its_steps_in_order_and_reports(
    owner: Connection, database: Database, settings: Settings
) -> None:
    seen: list[str] = []
    outcome = await TierRuns(settings, database, [counting(seen, "one"), counting(seen, "two")]).run(NIGHT)
    assert seen == ["one", "two"]
    assert outcome.state == "done"
    noted = await last(owner)
    assert (noted.id, noted.state, noted.as_of, noted.error) == (outcome.id, "done", NIGHT, None)
    assert noted.report["steps"]["one"] | {"seconds": 0} == {"traces": 5, "bytes": 10, "held": 0.02, "seconds": 0}
    assert noted.finished_at is not None


async def test_what_fails_is_told_and_the_other_steps_go_on(
    owner: Connection, database: Database, settings: Settings
) -> None:
    seen: list[str] = []

    async def away(run: Run) -> None:
        raise StorageTrouble("Object storage (there) does not answer as it should: it cannot write.")

    async def broken(run: Run) -> None:
        raise ZeroDivisionError

    steps = [stepping("files", away), stepping("odd", broken), counting(seen, "after")]
    outcome = await TierRuns(settings, database, steps).run()
    assert seen == ["after"]
    assert outcome.state == "failed"
    noted = await last(owner)
    assert noted.error is not None
    assert noted.error.startswith("Object storage (there) does not answer")
    assert "ZeroDivisionError" in noted.error
    assert noted.report["errors"].keys() == {"files", "odd"}


async def test_two_runners_at_once(database: Database, settings: Settings) -> None:
    inside, let_go = asyncio.Event(), asyncio.Event()

    async def hold(run: Run) -> None:
        inside.set()
        await let_go.wait()

    first = TierRuns(settings, database, [stepping("hold", hold)])
    going = asyncio.create_task(first.run())
    await inside.wait()
    seen: list[str] = []
    second = TierRuns(settings, database, [counting(seen, "one")])
    with pytest.raises(Conflict, match="Another process goes through the tiers"):
        await second.run()
    assert seen == []
    let_go.set()
    assert (await going).state == "done"
    assert (await second.run()).state == "done"
    assert seen == ["one"]


async def test_a_pause_ends_the_run_that_goes_on_and_lets_none_begin(
    owner: Connection, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "NOTED_EVERY", 0.0)
    seen: list[str] = []
    other = TierRuns(settings, database, [])

    async def work(run: Run) -> None:
        seen.append("begun")
        await run.go_on()
        assert await other.pause()
        assert not await other.pause()
        await run.go_on()
        seen.append("never")

    service = TierRuns(settings, database, [stepping("work", work), counting(seen, "after")])
    assert (await service.run()).state == "paused"
    assert seen == ["begun"]
    assert (await last(owner)).state == "paused"
    with pytest.raises(Conflict, match="reverie tiers resume"):
        await service.run()
    assert await service.resume()
    assert not await service.resume()
    await service.run()
    assert seen == ["begun", "begun"]


async def test_after_its_minutes_a_run_begins_no_other_move(
    owner: Connection, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[int] = []

    async def moves(run: Run) -> None:
        for number in range(3):
            await run.next_move()
            moved.append(number)
            run.until = 0.0

    seen: list[str] = []
    short = Step("short", counting(seen, "short").work, always=True)
    steps = [stepping("moves", moves), counting(seen, "later"), short]
    outcome = await TierRuns(settings, database, steps).run()
    assert moved == [0]
    assert seen == ["short"]
    assert (outcome.state, outcome.capped) == ("done", True)
    assert (await last(owner)).report["capped"] is True


async def test_a_run_that_was_killed_is_told_of_by_the_next(
    owner: Connection, database: Database, settings: Settings
) -> None:
    await repository.begin_run(owner, UUID(int=1), NIGHT, NIGHT)
    await TierRuns(settings, database, []).run()
    assert await fetch(owner, "SELECT state, error FROM tier_run ORDER BY started_at") == [
        ("failed", "It was broken off."),
        ("done", None),
    ]


async def test_only_the_last_runs_are_kept(
    owner: Connection, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "KEPT_RUNS", 3)
    for _ in range(5):
        await TierRuns(settings, database, []).run()
    assert await fetch(owner, "SELECT count(*) FROM tier_run") == [(3,)]


@pytest.mark.parametrize(
    ("host", "force", "refused"),
    [
        ("127.0.0.1", False, False),
        ("localhost", False, False),
        ("::1", False, False),
        ("0.0.0.0", False, True),  # noqa: S104 - what is refused
        ("memory.example.org", False, True),
        ("0.0.0.0", True, False),  # noqa: S104
    ],
)
def test_another_time_is_for_a_service_that_others_do_not_reach(host: str, force: bool, refused: bool) -> None:
    settings = load_settings(reverie_host=host)
    if refused:
        with pytest.raises(Invalid, match="REVERIE_HOST"):
            refuse_other_time(settings, force=force)
    else:
        refuse_other_time(settings, force=force)


def test_warm_before_hot_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^MEMORY_WARM_DAYS takes at least as many days as .* \(30\), not 10\.$"):
        load_settings(memory_warm_days=10)


def test_halted_says_why() -> None:
    assert Halted("capped").state == "capped"


def test_what_nobody_foresaw_is_logged_as_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands show errors alone, and a report of such a failure sends its reader to the log."""
    monkeypatch.setattr(runs, "log", log := MagicMock())
    log_failure("tier step failed", StorageTrouble("Object storage is out."), step="export")
    assert not log.error.called
    assert log.warning.call_args.kwargs["step"] == "export"
    log_failure("tier step failed", ValueError("7 is not 8"), step="export")
    assert log.error.call_args.kwargs["error"] == "ValueError"
    assert log.warning.call_count == 1
    assert sentence(ValueError()).endswith("(ValueError); the log has the details.")
