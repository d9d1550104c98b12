"""What `bench/salience` measures: by hand where that can be counted, and the command as a person runs it."""

import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.salience import CARRIED, Turns, fit, judged, rounded

COMMAND = Path(__file__).parents[2] / "bench" / "salience"
FEATURES = len(CARRIED)


def turns(*scored: tuple[float, bool]) -> Turns:
    """Turns whose first feature is their score."""
    told = np.zeros((len(scored), FEATURES))
    told[:, 0] = [score for score, _ in scored]
    return Turns("made", told, np.array([evidence for _, evidence in scored]))


ONE = np.eye(FEATURES)[0]


def test_the_auc_is_the_share_of_pairs_in_order_and_half_of_the_equal_ones() -> None:
    assert judged([turns((0.9, True), (0.8, True), (0.1, False))], ONE).auc == 1
    assert judged([turns((0.1, True), (0.9, False))], ONE).auc == 0
    assert judged([turns((0.5, True), (0.5, False))], ONE).auc == 0.5
    mixed = turns((0.9, True), (0.3, True), (0.5, False), (0.3, False), (0.1, False))
    assert judged([mixed], ONE).auc == pytest.approx((3 + 1 + 0.5) / 6)
    # Conversations are put into one order.
    assert judged([turns((0.9, True), (0.8, False)), turns((0.2, True), (0.1, False))], ONE).auc == 0.75


def test_the_least_fifth_is_counted_in_turns_and_its_share_in_evidence() -> None:
    some = turns(*((n / 10, n in (1, 7, 8, 9)) for n in range(10)))
    assert judged([some], ONE).least == 0.25
    assert judged([some], -ONE).least == 0.5


def test_what_is_fitted_tells_evidence_by_what_tells_it() -> None:
    random = np.random.default_rng(5)
    told = random.random((400, FEATURES))
    evidence = told[:, 2] - told[:, 5] + random.normal(0, 0.3, 400) > 0.4
    weights = fit([Turns("a", told[:200], evidence[:200]), Turns("b", told[200:], evidence[200:])])
    others = np.delete(weights, (2, 5))
    assert weights[2] > 2 > -2 > weights[5]
    assert np.abs(others).max() < 1
    assert judged([Turns("a", told, evidence)], weights).auc > 0.85
    assert set(rounded(weights) * 4 % 1) == {0.0}


def collection(path: Path, *, helpful: bool) -> Path:
    """Conversations of which every second turn is asked for: that which tells something, or that which does not."""
    facts = [
        f"I bought {n} crates of quinces from Mrs Abel{n} in Ulm on {n + 1} March for my cellar." for n in range(12)
    ]
    nice = ["Wow, that's great!", "Thanks, you're so kind!", "Lovely, keep it up!", "Sure, sounds good!"] * 3
    samples = []
    for name in ("one", "two"):
        conversation: dict[str, Any] = {"speaker_a": "Ada", "speaker_b": "Ben"}
        for day in range(3):
            began = datetime(2024, 5, 1) + timedelta(days=day)  # noqa: DTZ001 - as the files have it
            conversation[f"session_{day + 1}_date_time"] = began.isoformat()
            conversation[f"session_{day + 1}"] = [
                {"speaker": "Ben" if n % 2 else "Ada", "dia_id": f"D{day + 1}:{n}",
                 "text": nice[4 * day + n // 2] if n % 2 else facts[4 * day + n // 2]}
                for n in range(8)
            ]  # fmt: skip
        evidence = [f"D{day + 1}:{n}" for day in range(3) for n in range(0 if helpful else 1, 8, 2)]
        qa = [{"question": "What?", "evidence": evidence, "category": 4}]
        samples.append({"sample_id": name, "conversation": conversation, "qa": qa})
    path.write_text(json.dumps(samples))
    return path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)  # noqa: S603


def test_the_command_prints_each_conversation_and_says_whether_its_bars_are_met(tmp_path: Path) -> None:
    good = collection(tmp_path / "good.json", helpful=True)
    bad = collection(tmp_path / "bad.json", helpful=False)
    report = tmp_path / "report.json"

    done = run("--data", str(good), "--json", str(report), "--check")

    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(report.read_text())
    assert [row["conversation"] for row in found["rows"]] == ["one", "two"]
    assert all(row["carried"] == {"auc": 1.0, "least": 0.0} for row in found["rows"])
    assert all(len(row["fitted_to_the_others"]["weights"]) == FEATURES for row in found["rows"])
    assert all(bar["met"] for bar in found["bars"])

    done = run("--data", str(good), "--beside", str(bad), "--check")

    assert done.returncode == 1
    assert "missed" in done.stdout


def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("{}]")
    done = run("--data", str(tmp_path / "odd.json"))
    assert done.returncode == 2
    assert "is no collection of conversations" in done.stderr
    assert "Traceback" not in done.stderr
