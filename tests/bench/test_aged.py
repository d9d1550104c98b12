"""`bench/aged`: a run over three short conversations on a throw-away service of its own."""

import json
from pathlib import Path

import pytest
from tests.bench.test_commands import run


@pytest.mark.timeout(300)
def test_the_same_questions_are_asked_of_memory_of_every_age(collection: Path, tmp_path: Path) -> None:
    report = tmp_path / "aged.json"

    done = run("aged", "--data", str(collection), "--low-salience", "0.6", "--json", str(report))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert [row["age"] for row in found["rows"]] == [
        "all hot", "mixed", "all warm",
    ]  # fmt: skip
    assert [row["questions"] for row in found["rows"]] == [72, 72, 72]
    hot, *others = found["rows"]
    assert hot["gain"] == 0
    assert hot["R@10"] > 0.5
    assert len(others) == len(found["bars"])
    assert all(bar["met"] for bar in found["bars"])
