"""The measuring commands, as a person runs them: a smoke run each, on a throw-away service of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = Path(__file__).parents[2] / "bench"


def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [COMMANDS / command, *arguments], capture_output=True, text=True, check=False
    )


def test_speed_measures_the_service_and_its_floor(tmp_path: Path) -> None:
    report = tmp_path / "speed.json"

    done = run("speed", "--quick", "--no-torch", "--json", str(report))

    assert done.returncode == 0, done.stderr
    assert "floor A" in done.stdout
    found = json.loads(report.read_text())
    assert [bar["name"] for bar in found["bars"]] == ["remember, of floor A's turns/s", "recall p50, of floor A's"]
    (row,) = found["rows"]
    for side in ("service", "floor A"):
        assert len(row["sides"][side]["batch_ms"]) == 3
        assert len(row["sides"][side]["question_ms"]) == 12
    assert found["versions"]["fsync"] == found["versions"]["synchronous_commit"] == "on"


def test_tenants_finds_the_exact_neighbours_of_every_size(tmp_path: Path) -> None:
    report = tmp_path / "tenants.json"

    done = run("tenants", "--quick", "--json", str(report))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert [row["traces"] for row in found["rows"]] == [10, 60, 300, 600]
    for row in found["rows"]:
        assert set(row["recall_at_10"]) == {"just loaded", "vacuumed", "built"}
        assert all(share >= 0.97 for share in row["recall_at_10"].values())
        assert len(row["recall_ms"]["balanced, built"]) == 8
        assert {plan["name"] for plan in row["plans"].values()} == {"exact"}
        scans = row["plans"]["vacuumed"]["scans"]
        assert {scan["node"] for scan in scans} == {"Index Only Scan"}
        assert sum(scan["rows"] for scan in scans) == row["traces"]


def test_plans_measures_every_constant_of_the_planner(tmp_path: Path) -> None:
    report = tmp_path / "plans.json"

    done = run("plans", "--quick", "--json", str(report))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    names = {row["constant"] for row in found["rows"]}
    assert names == {"ROW", "NUMBER", "SIGNS", "RESCORE", "VISIT", "LEG", "LOOK_UP", "SIFT"}


def test_load_measures_recall_beside_others_and_what_a_crowd_is_answered(tmp_path: Path) -> None:
    report = tmp_path / "load.json"

    done = run("load", "--quick", "--json", str(report))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    beside, crowd = found["rows"]
    assert set(beside["recall_ms"]) == {"nothing", "text encoded at once", "text left to the worker"}
    assert all(len(taken["all"]) == 12 for taken in beside["recall_ms"].values())
    assert all(made["traces"] > 0 for made in beside["loads"].values())
    for answered in crowd["answers"].values():
        assert set(answered["statuses"]) <= {"200", "201", "429", "503"}
        assert answered["requests_per_second"] > 0
    # Whose memory it is can be told on Linux alone.
    assert bool(crowd["rss"]) == sys.platform.startswith("linux")
    assert [bar["name"] for bar in found["bars"] if "errors" in bar["name"] and bar["met"]]


@pytest.mark.parametrize("command", ["speed", "tenants", "load", "plans"])
def test_half_a_service_is_refused_in_one_sentence(command: str) -> None:
    done = run(command, "--url", "http://127.0.0.1:1")

    assert done.returncode == 2
    assert "--url, --key and --database-url go together" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_there_is_one_sentence() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"

    done = run("tenants", "--url", "http://127.0.0.1:1", "--key", "none", "--database-url", nowhere)

    assert done.returncode == 2
    assert "The database cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
