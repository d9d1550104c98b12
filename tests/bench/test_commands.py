"""The measuring commands, as a person runs them: a smoke run each, on a throw-away service of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench.plans import NOBODY

COMMANDS = Path(__file__).parents[2] / "bench"


def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [COMMANDS / command, *arguments], capture_output=True, text=True, check=False
    )


def test_plans_measures_every_constant_of_the_planner_and_explains_a_question_for_each_plan(tmp_path: Path) -> None:
    report = tmp_path / "plans.json"

    done = run("plans", "--quick", "--explain", "--json", str(report))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    names = {row["constant"] for row in found["rows"] if "constant" in row}
    assert names == {"ROW", "NUMBER", "SIGNS", "RESCORE", "VISIT", "LEG", "LOOK_UP", "SIFT"}
    choices = [row for row in found["rows"] if "chosen" in row]
    assert [row["traces"] for row in choices] == [1200, 3000, 6000]
    for row in choices:
        assert set(row["microseconds"]) == {"exact", "bits", "hnsw"}
        assert row["chosen"] in row["microseconds"]
    for plan in ("held", "exact", "hnsw"):
        assert f"plan of the vectors: {plan}" in done.stdout
    assert ("plan of the vectors: bits" in done.stdout) != (NOBODY in done.stdout)


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


@pytest.mark.parametrize("command", ["speed", "tenants", "load", "plans", "scale"])
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
