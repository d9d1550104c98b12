"""How suggestions are judged, and the command that does it."""

import json
from pathlib import Path

import numpy as np
import orjson
from bench.conversations import Asking, Conversation
from bench.suggest import LEAST_OLDER, judged, nearest, partners
from tests.bench.test_commands import run

TURNS = [
    {"external_id": f"D{n // 10 + 1}:{n}", "content": f"Turn {n}.", "speaker": "Ann",
     "conversation_id": f"session_{n // 10 + 1}"}
    for n in range(30)
]  # fmt: skip
TALK = Conversation("talk", "talks", TURNS, [Asking("When?", 1, frozenset({"D1:3", "D3:25"}))])


def test_what_is_evidence_of_one_question_belongs_together() -> None:
    assert partners(TALK) == {"D1:3": {"D3:25"}, "D3:25": {"D1:3"}}


def test_suggestions_are_judged_beside_as_many_plain_neighbours() -> None:
    suggested: list[list[str]] = [[] for _ in TURNS]
    suggested[25] = ["D1:3", "D3:21"]
    suggested[26] = ["D1:3"]
    suggested[LEAST_OLDER - 1] = ["D1:3"]
    plain = [[3, 4, 5] for _ in TURNS]
    plain[25] = [4, 24, 3]
    evidence, other = judged(TALK, suggested, plain)
    assert (evidence.evidence, evidence.hit, evidence.session, evidence.either) == (
        (0.5, 0.0), (True, False), (0.5, 0.5), (1.0, 0.5),
    )  # fmt: skip
    assert (other.evidence, other.session, other.either) == (None, (0.0, 0.0), (0.0, 0.0))


def test_plain_neighbours_are_older() -> None:
    rows = np.array([[1, 0], [0, 1], [0.9, 0.1], [0.1, 1]], dtype=np.float32)
    assert nearest(rows, 2) == [[], [0], [0, 1], [1, 2]]


def test_the_command_judges_and_times(tmp_path: Path) -> None:
    words = ("kiln", "tulip", "marathon", "violin", "sourdough", "glacier")
    turns = [
        {"speaker": "Ann", "dia_id": f"D1:{n}", "text": f"The {words[n % 6]} of day {n} was fine."} for n in range(40)
    ]
    questions = [{"question": "When?", "evidence": ["D1:1", "D1:31"], "category": 1}]
    conversation = {"session_1_date_time": "2026-03-02T10:00:00", "session_1": turns}
    data, report = tmp_path / "talk.json", tmp_path / "report.json"
    data.write_bytes(orjson.dumps([{"sample_id": "talk", "conversation": conversation, "qa": questions}]))

    done = run("suggest", "--data", str(data), "--quick", "--json", str(report))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    measured = {row["measured"]: row for row in found["rows"] if "measured" in row}
    assert measured["in one evidence set"]["notes"] == 1
    assert measured["in the same session"]["suggested"][0] == 1
    assert {bar["name"] for bar in found["bars"]} == {
        "suggestions in one evidence set, more than plain", "p95 with suggestions to without",
    }  # fmt: skip


def test_data_without_conversations_is_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / "none.json"
    data.write_text("[]")
    done = run("suggest", "--data", str(data))
    assert (done.returncode, done.stderr.strip()) == (2, "--data has no conversations.")
