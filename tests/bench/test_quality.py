"""What recall finds, and the ranker that is learned from it: as a person measures and trains."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.asking import Answered, difference, judged, mean
from bench.conversations import read_collection
from bench.gather import Gathered
from bench.quality import show_without
from bench.report import CannotMeasure, Report
from bench.text import conversation

from bench import training
from reverie.recall.features import GROUPS, NAMES
from reverie.recall.ranker import load_ranker

COMMANDS = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short conversations, in the form in which collections are published."""
    path = tmp_path_factory.mktemp("collection") / "made.json"
    path.write_text(json.dumps([_sample(seed) for seed in (1, 2, 3)]))
    return path


def _sample(seed: int) -> dict[str, Any]:
    made = conversation(seed, 40, 24)
    sessions: dict[str, Any] = {}
    for turn in made.turns:
        sessions.setdefault(f"{turn.session}_date_time", turn.occurred_at.isoformat())
        sessions.setdefault(turn.session, []).append(
            {"speaker": turn.speaker, "dia_id": turn.external_id, "text": turn.content}
        )
    asked = [{"question": one.text, "evidence": [one.evidence], "category": 4} for one in made.questions]
    unanswerable = {"question": "Who painted the bridge?", "evidence": [], "category": 5}
    return {"sample_id": f"made-{seed}", "conversation": sessions, "qa": [*asked, unanswerable]}


def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [COMMANDS / command, *arguments], capture_output=True, text=True, check=False
    )


def test_a_collection_is_read_as_it_is_published(collection: Path) -> None:
    first, second, _ = read_collection(collection)
    assert (first.name, first.collection, second.name) == ("made-1", "made", "made-2")
    assert len(first.traces) == 40
    assert len(first.questions) == 24
    assert {trace["external_id"] for trace in first.traces} >= set(first.questions[0].evidence)
    assert first.traces[0]["occurred_at"] < first.traces[1]["occurred_at"]


@pytest.mark.parametrize("content", ["", "{}", '[{"sample_id": 1}]', "[1]"])
def test_what_is_no_collection_is_refused_in_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(content)
    if content == "{}":
        assert read_collection(path) == []
        return
    with pytest.raises(CannotMeasure, match="is no collection of conversations"):
        read_collection(path)


def test_how_an_answer_is_judged() -> None:
    found = ["x", "a", "y", "z", "w", "b", *"klmn"]
    assert judged(found, frozenset("ab")) == (0.5, 1.0, 0.5)
    assert judged(found, frozenset("q")) == (0.0, 0.0, 0.0)


def test_a_difference_has_an_interval_that_holds_it() -> None:
    rows = [Answered("c", "d", n, 4, 1.0, 1.0, 1.0, 0.1) for n in range(20)]
    others = [Answered("c", "d", n, 4, 0.0, n % 2, 0.5, 0.1) for n in range(20)]
    assert mean(rows, "R@5") == 1.0
    gain, low, high = difference(rows, others, "R@10")
    assert gain == 0.5
    assert 0 < low < gain < high < 1


def test_a_ranker_is_trained_served_and_measured_on_what_it_has_not_seen(collection: Path, tmp_path: Path) -> None:
    report = tmp_path / "quality.json"

    done = run(
        "quality", "--data", str(collection), "--recipe", "balanced", "--leave-one-out", "--no-made",
        "--json", str(report),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    rows = json.loads(report.read_text())["rows"]
    by = {row["by"]: row for row in rows if "answers" in row}
    assert set(by) == {"vector", "lexical", "balanced", "balanced, left out"}
    assert all(row["questions"] == 72 for row in by.values())
    assert all(len(row["answers"]) == 72 for row in by.values())
    gains = [row for row in rows if "gain" in row]
    assert all(row["low"] <= row["gain"] <= row["high"] for row in gains)


def some_questions() -> list[Gathered]:
    """Three conversations of six questions, answered by what the first feature says most of."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(18):
        features = rng.normal(size=(20, len(NAMES))).astype(np.float32)
        evidence = np.arange(20) == features[:, 0].argmax()
        found.append(Gathered("c", str(number % 3), number, 4, features, evidence, 1, rng.random(20), [b""] * 20))
    return found


def test_what_each_group_of_features_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TREES", 20)
    monkeypatch.setitem(training.PARAMETERS, "min_data_in_leaf", 5)
    report = Report("quality", {}, {}, {})
    show_without(report, some_questions())
    found = {row["without"]: row["MRR"] for row in report.rows}
    assert set(found) == {None, *GROUPS}
    assert found["semantic"] < found[None]


def test_one_conversation_teaches_nothing() -> None:
    with pytest.raises(CannotMeasure, match="at least 2 conversations"):
        training.train([row for row in some_questions() if row.conversation == "0"])


def test_a_trained_ranker_is_one_that_the_service_reads(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANK_CANDIDATES", "2")
    out = tmp_path / "balanced.onnx"

    done = run("train", "--data", str(collection), "--no-made", "--out", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert "made, ranker" in done.stdout
    ranker = load_ranker(out, NAMES)
    assert ranker.scores(np.zeros((3, len(NAMES)), dtype=np.float32)).shape == (3,)


def test_a_recipe_that_is_none_is_one_sentence(collection: Path) -> None:
    done = run("quality", "--data", str(collection), "--recipe", "best")

    assert done.returncode == 2
    assert "There is no recipe best: --recipe takes fast, balanced, thorough, vector, lexical." in done.stderr
