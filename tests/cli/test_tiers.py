"""`reverie tiers` on the store of DATABASE_URL, and what keeps it from that in one sentence."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import AsyncConnection
from tests.tiers.past import NOW, Past

from reverie.cli import exits
from reverie.core.config import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Cli
    from tests.servers import SharedPostgres

NOWHERE = "postgresql://127.0.0.1:1/x"


@pytest.fixture
def store(postgres: "SharedPostgres", template: str, request: pytest.FixtureRequest) -> "Iterator[str]":
    """A database of the test's own."""
    name = f"tiers_{abs(hash(request.node.name))}"
    yield postgres.create(name, template)
    postgres.drop(name)


@pytest.fixture
async def warm(store: str, tmp_path: Path) -> str:
    """A store with five weeks of warm memory."""
    async with await AsyncConnection.connect(store, autocommit=True) as owner:
        past = await Past.of(owner, load_settings(database_url=store, reverie_home=tmp_path / "home"))
        await past.fill(4)
        await past.make_warm()
        past.cold.close()
    return store


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "--as-of", "tomorrow"], exits.USAGE, "--as-of takes an ISO 8601 date"),
        (["run"], exits.CONFIGURATION, "check DATABASE_URL"),
        (["status"], exits.CONFIGURATION, "check DATABASE_URL"),
        (["pause"], exits.CONFIGURATION, "check DATABASE_URL"),
        (["run", "--month", "3"], exits.USAGE, "--month"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(alone: "Cli", arguments: list[str], code: int, says: str) -> None:
    refused = alone("tiers", *arguments, DATABASE_URL=NOWHERE)
    assert refused.exit_code == code, refused.stderr
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_another_time_is_refused_where_others_reach_the_service(alone: "Cli", store: str) -> None:
    refused = alone("tiers", "run", "--as-of", "2030-01-01", DATABASE_URL=store, REVERIE_HOST="0.0.0.0")  # noqa: S104
    assert refused.exit_code == exits.USAGE
    assert "REVERIE_HOST is 0.0.0.0" in refused.stderr
    with psycopg.connect(store) as owner:
        assert owner.execute("SELECT count(*) FROM tier_run").fetchone() == (0,)


def test_a_warm_before_hot_is_refused_at_the_start(alone: "Cli", store: str) -> None:
    refused = alone("tiers", "run", DATABASE_URL=store, MEMORY_WARM_DAYS="10")
    assert refused.exit_code == exits.CONFIGURATION
    assert "MEMORY_WARM_DAYS takes at least as many days as MEMORY_HOT_DAYS has (30), not 10." in refused.stderr


def test_a_run_moves_what_is_due_and_the_status_says_so(alone: "Cli", warm: str) -> None:
    before = json.loads(alone("tiers", "status", "--as-of", f"{NOW:%Y-%m-%d}", "--json", DATABASE_URL=warm).stdout)
    assert before["last_run"] is None
    assert [(one["to"], one["due"]) for one in before["next"]] == [("warm", False), ("cold", True)]
    done = alone("tiers", "run", "--as-of", f"{NOW:%Y-%m-%d}", "--json", DATABASE_URL=warm)
    assert done.exit_code == exits.DONE, done.output
    found = json.loads(done.stdout)
    assert (found["state"], found["errors"], found["steps"]["cold"]["exported"]) == ("done", {}, 50)
    shown = alone("tiers", "status", DATABASE_URL=warm)
    assert shown.exit_code == exits.DONE
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert any(line.startswith("cold 50 ") and " 4 " in line for line in lines)
    assert any(line.startswith("The last run began ") and "ended as done" in line for line in lines)
    again = alone("tiers", "run", "--as-of", f"{NOW:%Y-%m-%d}", DATABASE_URL=warm)
    assert again.exit_code == exits.DONE
    assert again.stdout.startswith("Nothing was due.\nDone after ")


def test_for_a_person_it_says_what_was_moved(alone: "Cli", warm: str, tmp_path: Path) -> None:
    done = alone("tiers", "run", "--as-of", f"{NOW:%Y-%m-%d}", DATABASE_URL=warm)
    assert done.exit_code == exits.DONE
    assert "Warm to cold" in done.stdout
    assert "Done after" in done.stdout
    [one, *_] = sorted((tmp_path / "home" / "objects").rglob("*.parquet"))
    one.unlink()
    shown = alone("tiers", "status", DATABASE_URL=warm)
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("Cannot be read")]
    assert one.name in line
    assert line.rstrip().endswith("it is missing.")


def test_it_is_paused_and_goes_on(alone: "Cli", store: str) -> None:
    assert alone("tiers", "resume", DATABASE_URL=store).stdout == "They were not paused.\n"
    assert "are paused" in alone("tiers", "pause", DATABASE_URL=store).stdout
    assert alone("tiers", "pause", DATABASE_URL=store).stdout == "They were paused already.\n"
    refused = alone("tiers", "run", DATABASE_URL=store)
    assert refused.exit_code == exits.REFUSED
    assert "reverie tiers resume" in refused.stderr
    assert "Runs are paused" in alone("tiers", "status", DATABASE_URL=store).stdout
    told = json.loads(alone("tiers", "resume", "--json", DATABASE_URL=store).stdout)
    assert told == {"paused": False, "changed": True}
    assert alone("tiers", "run", DATABASE_URL=store).exit_code == exits.DONE


def test_a_storage_that_is_out_ends_it_with_69(alone: "Cli", warm: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    # A file where the folder would have to be.
    (tmp_path / "home" / "objects").write_text("")
    failed = alone("tiers", "run", "--as-of", f"{NOW:%Y-%m-%d}", DATABASE_URL=warm)
    assert failed.exit_code == exits.UNAVAILABLE
    assert "Warm to cold: Object storage" in failed.stderr
    assert "What went wrong: Object storage" in alone("tiers", "status", DATABASE_URL=warm).stdout
    (tmp_path / "home" / "objects").unlink()
    assert alone("tiers", "run", "--as-of", f"{NOW:%Y-%m-%d}", DATABASE_URL=warm).exit_code == exits.DONE
