"""What the rules make of the pairs of which it is known, and the command that says so."""

import json
from pathlib import Path

import orjson
from bench.marks import compared
from bench.supersede import PRECISION, RECALL, is_update, judged, read_cases
from tests.bench.test_commands import run


def test_the_rules_reach_the_bars_on_both_halves() -> None:
    for half in ("develop", "kept"):
        found = judged(read_cases(half))
        assert found.pairs == 30
        assert found.precision >= PRECISION, half
        assert found.recall >= RECALL, half


def test_what_is_missed_and_what_is_wrong_are_counted() -> None:
    right, other = read_cases("develop")[0], read_cases("kept")[-1]
    cases = [case | {"supersedes": not is_update(case)} for case in (right, other)]
    found = judged(cases)
    assert found.missed + found.wrong == 2
    assert found.found == 0


def test_evidence_that_a_mark_pushes_out_is_told() -> None:
    asked = [("talk", "Where?", frozenset({"a", "b"})), ("talk", "When?", frozenset({"c"}))]
    found = compared(asked, [["b", "x"], ["c"]], [["a", "b"], ["c"]], 3)
    assert (found.marks, found.questions, found.moved) == (3, 2, 1)
    assert (found.r10, found.r10_without) == (0.75, 1.0)
    assert found.lost == [("talk", "Where?", "a")]


def test_the_command_prints_the_edges_of_conversations(tmp_path: Path) -> None:
    turns = [
        {"speaker": "Ann", "dia_id": "D1:1", "text": "I live in Portland."},
        {"speaker": "Ben", "dia_id": "D1:2", "text": "I moved to Denver."},
        {"speaker": "Ann", "dia_id": "D1:3", "text": "I moved to Boston."},
    ]
    conversation = {"session_1_date_time": "2026-03-02T10:00:00", "session_1": turns}
    data, report = tmp_path / "talk.json", tmp_path / "report.json"
    data.write_bytes(orjson.dumps([{"sample_id": "talk", "conversation": conversation, "qa": []}]))

    done = run("supersede", "--half", "develop", "--data", str(data), "--json", str(report), "--check")

    assert done.returncode == 0, done.stderr
    assert "1. talk D1:1 → D1:3, Ann" in done.stdout
    [edge] = json.loads(report.read_text())["rows"][-1]["edges"]
    assert (edge["older"], edge["newer"], edge["speaker"]) == ("D1:1", "D1:3", "Ann")


def test_another_half_is_refused_in_a_sentence() -> None:
    done = run("supersede", "--half", "third")
    assert done.returncode == 2
    assert "--half takes" in done.stderr
