"""`reverie dream` on the store of DATABASE_URL, and its reports over HTTP."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from tests.cli.conftest import Service
from tests.cli.listening import listening
from tests.dream.days import GARDEN, MONDAY, TUESDAY, talk

from reverie.cli import dream, exits
from reverie.core.config import load_settings
from reverie.dream import repository
from reverie.dream.service import UNDO, DreamService
from reverie.operations.service import OperationService
from reverie.runtime import open_dreams

if TYPE_CHECKING:
    from tests.cli.conftest import Cli
    from tests.servers import SharedPostgres

NOWHERE = "postgresql://127.0.0.1:1/x"


@pytest.fixture(scope="module")
def service(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose days are these tests' alone."""
    with listening(postgres, template, redis_url, tmp_path_factory.mktemp("dreaming"), "dreaming") as running:
        yield running


@pytest.fixture
def dreaming(cli: "Cli", service: Service) -> "Cli":
    """Runs `reverie dream` on the store of the service."""

    def run(*arguments: str, **environment: str) -> Any:
        return cli("dream", *arguments, **({"DATABASE_URL": service.database_url} | environment))

    return run


def remember(service: Service, user: str, traces: list[dict[str, Any]]) -> None:
    body = {"user_id": user, "traces": traces}
    answer = httpx.post(f"{service.url}/memory/remember", json=body, headers={"X-API-Key": service.key}, timeout=60)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--day", "tomorrow"], exits.USAGE, "--day takes a day such as 2026-05-08"),
        (["--day", "2026-02-30"], exits.USAGE, "--day takes a day of the calendar"),
        (["--day", f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"], exits.USAGE, "a day that has begun"),
        (["--as-of", "soon"], exits.USAGE, "--as-of takes an ISO 8601 date"),
        ([], exits.CONFIGURATION, "check DATABASE_URL"),
        (["pause"], exits.CONFIGURATION, "check DATABASE_URL"),
        (["--night", "3"], exits.USAGE, "--night"),
        (["sleep"], exits.USAGE, "sleep"),
        (["show", "the last"], exits.USAGE, "ID"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(alone: "Cli", arguments: list[str], code: int, says: str) -> None:
    refused = alone("dream", *arguments, DATABASE_URL=NOWHERE)
    assert refused.exit_code == code, refused.stderr
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_another_time_is_refused_where_others_reach_the_service(dreaming: "Cli") -> None:
    refused = dreaming("--as-of", "2030-01-01", REVERIE_HOST="0.0.0.0")  # noqa: S104
    assert refused.exit_code == exits.USAGE
    assert "REVERIE_HOST is 0.0.0.0" in refused.stderr


def test_whoever_is_not_there_or_does_not_dream(dreaming: "Cli", service: Service, user: str) -> None:
    refused = dreaming("--user", "nobody of this name")
    assert (refused.exit_code, "There is no user nobody" in refused.stderr) == (exits.NOTHING, True)
    refused = dreaming("--user", "x", "--space", "nowhere")
    assert (refused.exit_code, "There is no space 'nowhere'" in refused.stderr) == (exits.NOTHING, True)
    remember(service, user, talk())
    headers = {"X-API-Key": service.key}
    httpx.patch(f"{service.url}/memory/users/{user}", json={"dream": False}, headers=headers)
    refused = dreaming("--user", user)
    assert (refused.exit_code, "does not dream" in refused.stderr) == (exits.REFUSED, True)


def test_a_night_and_its_report_in_the_morning(cli: "Cli", dreaming: "Cli", service: Service, user: str) -> None:
    remember(service, user, [*talk(), *talk("c2", TUESDAY, said=GARDEN)])
    due = dreaming("--user", user, "--dry-run")
    assert due.exit_code == 0, due.stderr
    assert "2 days of 1 user would be dreamt." in due.stdout
    assert json.loads(dreaming("--user", user, "--dry-run", "--json").stdout)["days"] == [
        {"user_id": user, "day": MONDAY, "traces": 5},
        {"user_id": user, "day": TUESDAY, "traces": 3},
    ]
    done = dreaming("--user", user, "--day", MONDAY)
    assert done.exit_code == 0, done.stderr
    assert "1 day of 1 user, 5 traces, in " in done.stdout
    assert "Summaries" in done.stdout
    told = json.loads(dreaming("--user", user, "--json").stdout)
    assert (told["state"], told["days"], told["failed"]) == ("done", 1, 0)
    assert [one["name"] for one in told["stages"]][:2] == ["group", "summarise"]
    assert dreaming("--user", user, "--dry-run").stdout == "Nothing is due.\n"
    shown = cli("dream", "show")
    assert shown.exit_code == 0, shown.stderr
    assert "1 day of 1 user, 3 traces" in shown.stdout
    summaries = cli("traces", "--user", user, "--kind", "summary", "--json")
    short = {one["meta"]["day"]: one["meta"]["short"] for one in json.loads(summaries.stdout)["items"]}
    assert f"  {TUESDAY}  {short[TUESDAY][:40]}" in shown.stdout
    assert MONDAY not in shown.stdout
    assert json.loads(cli("dream", "show", told["dream_id"], "--json").stdout)["days"] == 1
    listed = cli("dream", "list", "--limit", "1")
    assert told["dream_id"] in listed.stdout
    assert "There are more: --cursor" in listed.stderr


def test_forgetting_says_what_was_made_of_it(cli: "Cli", dreaming: "Cli", service: Service, user: str) -> None:
    remember(service, user, talk())
    assert dreaming("--user", user).exit_code == 0
    turns = json.loads(cli("traces", "--user", user, "--kind", "turn", "--json").stdout)["items"]
    forget = ("forget", "--user", user, "--trace", turns[0]["trace_id"])
    counts = json.loads(cli(*forget, "--dry-run", "--json").stdout)["counts"]
    assert counts["traces"] > 1
    begins = f"{counts['traces']} traces ({counts['traces'] - 1} of them made of the one named, "
    assert cli(*forget, "--dry-run").stdout.startswith(f"Would forget {begins}")
    assert cli(*forget, "--yes").stdout.startswith(f"Forgot {begins}")


def test_a_run_is_taken_back(
    cli: "Cli", dreaming: "Cli", service: Service, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(service, user, talk())
    run = json.loads(dreaming("--user", user, "--json").stdout)["dream_id"]
    monkeypatch.setattr(dream, "WAITED", 0.0)
    waiting = cli("dream", "undo", run)
    assert waiting.exit_code == exits.UNAVAILABLE
    assert "reverie operation" in waiting.stderr
    asyncio.run(_work(service))
    assert json.loads(cli("dream", "show", run, "--json").stdout)["state"] == "undone"
    assert "This run was undone." in cli("dream", "show", run).stdout
    refused = cli("dream", "undo", run)
    assert (refused.exit_code, "undone already" in refused.stderr) == (exits.REFUSED, True)
    assert cli("traces", "--user", user, "--kind", "summary").exit_code == exits.NOTHING


async def _work(service: Service) -> None:
    """What a worker does of it."""
    settings = load_settings(database_url=service.database_url)
    async with open_dreams(settings) as runs:
        assert runs.bell is not None
        undoing = DreamService(settings, runs.database, runs.bell, [])
        operations = OperationService(runs.database, runs.bell, {UNDO: undoing.undo})
        with psycopg.connect(service.database_url) as owner:
            query = "SELECT id FROM operation WHERE kind = 'undo_dream' AND state = 'pending'"
            for (operation_id,) in owner.execute(query).fetchall():
                assert await operations.run(operation_id)


def test_pausing_and_going_on(dreaming: "Cli", service: Service, user: str) -> None:
    assert dreaming("pause").stdout == "The dream is paused.\n"
    assert dreaming("pause").stdout == "It was paused already.\n"
    refused = dreaming()
    assert (refused.exit_code, "reverie dream resume" in refused.stderr) == (exits.REFUSED, True)
    assert json.loads(dreaming("resume", "--json").stdout) == {"paused": False, "changed": True}
    assert dreaming("resume").stdout == "It was not paused.\n"
    assert dreaming("cancel").exit_code == exits.NOTHING
    assert json.loads(dreaming("cancel", "--json").stdout) == {"cancelled": []}


def test_following_a_run_of_another_process(dreaming: "Cli", service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = dreaming("--watch")
    assert (nobody.exit_code, "Nobody is dreaming" in nobody.stderr) == (exits.NOTHING, True)
    monkeypatch.setattr(dream, "LOOKED_AGAIN", 0.2)
    with psycopg.connect(service.database_url, autocommit=True) as owner:
        owner.execute("SELECT pg_advisory_lock(%s)", (repository.RUNS,))
        owner.execute(
            "INSERT INTO dream_night (id, state, as_of, whole, started_at, seen_at)"
            " VALUES ('019ab5d0-0c11-7d2e-9a40-6b1f8e02c5d7', 'running', now(), true, now(), now())"
        )
        refused = dreaming()
        assert (refused.exit_code, "reverie dream --watch" in refused.stderr) == (exits.REFUSED, True)

        async def end() -> None:
            await asyncio.sleep(0.5)
            owner.execute("UPDATE dream_night SET state = 'done' WHERE state = 'running'")

        import threading

        ending = threading.Thread(target=lambda: asyncio.run(end()))
        ending.start()
        followed = dreaming("--watch")
        ending.join()
    assert followed.exit_code == 0, followed.stderr
    assert "The run 019ab5d0-0c11-7d2e-9a40-6b1f8e02c5d7 has ended" in followed.stdout
    assert "0 days" in followed.stderr


def test_a_store_in_which_nothing_was_remembered(alone: "Cli", postgres: "SharedPostgres", template: str) -> None:
    url = postgres.create("nothing_to_dream", template)
    try:
        done = alone("dream", DATABASE_URL=url)
        assert (done.exit_code, "No day was due" in done.stdout) == (0, True)
    finally:
        postgres.drop("nothing_to_dream")


def test_a_report_of_a_night_in_which_much_went_wrong() -> None:
    stage = {"state": "done", "saw": 1204, "made": 118, "moved": 0, "removed": 3, "seconds": 14.6, "bytes": 0,
             "model": None, "tokens": 0, "error": None, "skipped": {}}  # fmt: skip
    found = {
        "days": 12, "users": 3, "failed": 1, "left": 4, "capped": True, "seconds": 71.0, "state": "cancelled",
        "asked": {"day": None, "user_id": None},
        "started_at": "2026-08-06T03:00:00Z",
        "stages": [
            stage | {"name": "summarise", "model": "qwen3", "tokens": 51_200, "skipped": {"set aside": 2}},
            stage | {"name": "tiers", "moved": 10_120, "bytes": 9_306_112, "error": "Object storage is out."},
        ],
    }  # fmt: skip
    lines = [str(one) for one in dream._page(found)]
    assert lines[0] == "The night of 6 Aug 2026, 03:00: 12 days of 3 users, 1 204 traces, in 1 min 11 s."
    assert "Summaries: 2 left out (set aside)." in lines
    assert "Tiers: Object storage is out." in lines
    assert "1 day could not be dreamt wholly; the next night tries again." in lines
    assert "The time of this run was over (DREAM_MAX_MINUTES): 4 days are left for the next night." in lines
    assert lines[-1] == "This run was cancelled."
    quiet = {"days": 0, "failed": 0, "left": 0, "capped": False, "seconds": 0.2, "state": "done", "stages": []}
    asked = {"day": None, "user_id": None}
    assert dream._page(quiet | {"asked": asked}) == ["No day was due, and it took 0.2 s."]
    assert dream._page(quiet | {"asked": asked | {"day": "2026-05-08"}}) == [
        "Nothing of 2026-05-08 is remembered that could be dreamt, and it took 0.2 s."
    ]
