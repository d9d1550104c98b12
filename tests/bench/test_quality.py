"""What recall finds, and the ranker that is learned from it: as a person measures and trains."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench.asking import Answered, answered, difference, judged, mean
from bench.cases import follow_ups, in_focus, of_little, without_names
from bench.conversations import read_collection
from bench.dreamt import measure_nights
from bench.gather import ALL, Gathered
from bench.report import CannotMeasure, Report
from bench.worth import ARMS, groups, learned, priors, show

from bench import training
from reverie.recall import night
from reverie.recall.features import GROUPS, NAMES
from reverie.recall.ranker import MADE_FOR, OF_THE_NIGHT, load_ranker

COMMANDS = Path(__file__).parents[2] / "bench"


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


def test_everything_is_measured_and_every_part_left_out(collection: Path, tmp_path: Path) -> None:
    report = tmp_path / "quality.json"

    done = run(
        "quality", "--data", str(collection), "--recipe", "balanced", "--leave-one-out", "--folds", "3", "--without",
        "--heads", "--no-made", "--json", str(report),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    by = {row["by"]: row for row in found["rows"] if "answers" in row}
    assert set(by) == {"vector", "lexical", "balanced", "balanced, left out"}
    assert all(row["questions"] == 72 for row in by.values())
    assert all(len(row["answers"]) == 72 for row in by.values())
    gains = [row for row in found["rows"] if "gain" in row]
    assert all(row["low"] <= row["gain"] <= row["high"] for row in gains)
    assert [bar["sense"] for bar in found["bars"]] == ["at least", "at least"]
    parts: dict[str, list[str]] = {}
    for row in found["rows"]:
        if "worth" in row:
            parts.setdefault(row["worth"], []).append(row["part"])
    assert parts["balanced without an arm"] == list(ARMS)
    assert parts["balanced without a group of features"] == [ALL, *GROUPS]
    assert parts["balanced, after a conversation in progress"][0] == ALL
    assert parts["vector by other heads than semantic"][:3] == [ALL, "situation", "entity"]
    assert parts["balanced by more heads"][-1] == "semantic + situation + entity"


def test_what_is_kept_is_not_gathered_again(collection: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"no pickle")

    done = run(
        "quality", "--data", str(collection), "--recipe", "balanced", "--leave-one-out", "--no-shipped", "--no-made",
        "--kept", str(kept),
    )  # fmt: skip

    assert done.returncode == 2
    assert "is no file that --kept has made" in done.stderr


def test_a_question_of_little_memory_has_its_evidence_in_reach(collection: Path) -> None:
    read = read_collection(collection)
    cases = of_little(read, sizes=(5, 20))
    assert {case.question for case in cases} == {
        (one.collection, one.name, number) for one in read for number in range(24)
    }
    for case in cases:
        evidence = case.conversation.questions[case.number].evidence
        moments = [trace["occurred_at"] for trace in case.conversation.traces if trace["external_id"] in evidence]
        assert all(case.more["since"] <= moment < case.more["until"] for moment in moments)


def test_a_follow_up_comes_after_the_conversation_of_its_evidence(collection: Path) -> None:
    read = read_collection(collection)
    cases = follow_ups(read, 6)
    assert cases
    for case in cases:
        at = {trace["external_id"]: trace for trace in case.conversation.traces}
        (evidence,) = case.conversation.questions[case.number].evidence
        newest = at[case.focus[0]]
        assert newest["conversation_id"] == at[evidence]["conversation_id"]
        assert newest["occurred_at"] < case.more["until"]
        assert len(case.focus) <= 6
        assert case.text.startswith("And ")
    assert in_focus(read[0], 2) == [trace["external_id"] for trace in read[0].traces[:-3:-1]]


@pytest.mark.parametrize(
    ("question", "follow_up"),
    [
        ("What did Nadia say then?", "And what did they say then?"),
        ("When does Tomek's sister go to Skye in May?", "And when does their sister go to they in May?"),
        ("Nadia's cat: what is it called?", "And their cat: what is it called?"),
        ("I told you about Oslo, did I?", "And I told you about they, did I?"),
    ],
)
def test_a_follow_up_names_nobody(question: str, follow_up: str) -> None:
    assert without_names(question) == follow_up


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
    rows = some_questions()
    show(report, "without a group", {ALL: learned(rows)} | groups(rows))
    lost = {row["part"]: row["lost"]["MRR"] for row in report.rows}
    assert set(lost) == {ALL, *GROUPS}
    assert lost[ALL] == (0, 0, 0)
    mean_lost, low, high = lost["semantic"]
    assert low <= mean_lost <= high
    assert mean_lost > 0


def test_a_prior_moves_what_the_ranker_is_unsure_of(collection: Path) -> None:
    read = read_collection(collection)[:1]
    names = [trace["external_id"] for trace in read[0].traces]
    (wanted,) = read[0].questions[0].evidence
    evidence = np.array([name == wanted for name in names])
    features = np.zeros((len(names), len(NAMES)), dtype=np.float32)
    keys = [bytes([n]) * 32 for n in range(len(names))]
    row = Gathered("made", read[0].name, 0, 4, features, evidence, 1, np.zeros(len(names)), keys, names)
    unsure = np.full(len(names), 0.5)
    found = {name: answers[0].rr for name, answers in priors(read, [(row, unsure)]).items()}
    assert found[ALL] == answered(row, unsure).rr
    place = len(names) - names.index(wanted)
    assert found["with recency"] == (pytest.approx(1 / place) if place <= 20 else 0)
    assert answered(row, np.where(evidence, 1, unsure)).rr == 1


def test_one_conversation_teaches_nothing() -> None:
    with pytest.raises(CannotMeasure, match="at least 2 conversations"):
        training.train([row for row in some_questions() if row.conversation == "0"])


@pytest.mark.parametrize(("option", "suffix"), [([], ""), (["--dreamt"], OF_THE_NIGHT)])
def test_a_trained_ranker_is_one_that_the_service_reads(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], suffix: str
) -> None:
    monkeypatch.setenv("RERANK_CANDIDATES", "2")

    done = run("train", "--data", str(collection), "--no-made", "--out", str(tmp_path), *option)

    assert done.returncode == 0, done.stderr
    assert "made, ranker" in done.stdout
    for recipe in ("balanced", "thorough"):
        names = MADE_FOR[f"{recipe}{suffix}"]
        ranker = load_ranker(tmp_path / f"{recipe}{suffix}.onnx", names)
        assert ranker.scores(np.zeros((3, len(names)), dtype=np.float32)).shape == (3,)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_nights_add_is_told_by_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TREES", 20)
    monkeypatch.setitem(training.PARAMETERS, "min_data_in_leaf", 5)
    rng = np.random.default_rng(0)
    rows = []
    for row in some_questions():
        # Of every question but those of one conversation summaries know the answer, and nothing else does.
        said = rng.normal(size=(20, len(night.NAMES))).astype(np.float32)
        said[:, 2] = np.where(row.evidence, 3, 0)
        silent = row.conversation == "0"
        blank = row.without(NAMES)
        dreamt = replace(blank, features=np.concatenate([blank.features, said], axis=1), told=True)
        rows.append(row if silent else replace(blank, dreamt=dreamt))
    report = Report("quality", {}, {}, {})

    measure_nights(report, rows, 2, None)

    [everyone, single] = report.rows
    assert (everyone["nights"], single["nights"]) == ("all", "single-hop")
    assert everyone["low"] <= everyone["gain"] <= everyone["high"]
    assert everyone["gain"] > 0.1
    assert everyone["lost"]["no summaries"][0] > everyone["lost"]["no salience"][0]
    assert [bar.met for bar in report.bars] == [True, True, True]
    silent_only = Report("quality", {}, {}, {})
    measure_nights(silent_only, [replace(row, dreamt=None) for row in rows], 1, None)
    assert [silent_only.rows[0][name] for name in ("gain", "low", "high")] == [0, 0, 0]


def test_nights_are_dreamt_before_anything_is_asked(collection: Path, tmp_path: Path) -> None:
    report = tmp_path / "quality.json"

    done = run(
        "quality", "--data", str(collection), "--recipe", "balanced", "--dreamt", "--leave-one-out", "--folds", "3",
        "--seeds", "1", "--no-shipped", "--no-made", "--json", str(report),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert [row["nights"] for row in found["rows"] if "nights" in row] == ["all", "single-hop"]
    assert "R@10 with what nights have made" in done.stdout


def test_a_recipe_that_is_none_is_one_sentence(collection: Path) -> None:
    done = run("quality", "--data", str(collection), "--recipe", "best")

    assert done.returncode == 2
    assert "There is no recipe best: --recipe takes fast, balanced, thorough, vector, lexical." in done.stderr
