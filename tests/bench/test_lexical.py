"""The measuring command of the lexical arm, as a person runs it: a smoke run on a throw-away service of its own."""

import json
import subprocess
from pathlib import Path

import pytest

COMMAND = Path(__file__).parents[2] / "bench" / "lexical"


@pytest.mark.timeout(300)
def test_what_the_bound_costs_is_measured_for_every_size(tmp_path: Path) -> None:
    report = tmp_path / "lexical.json"

    done = subprocess.run(  # noqa: S603 - our own program
        [COMMAND, "--quick", "--json", str(report)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "unbounded" in done.stdout
    found = json.loads(report.read_text())
    assert {row["traces"] for row in found["rows"]} == {11_000, 600, 60}
    for row in found["rows"]:
        assert len(row["arm_ms"]) == len(row["recall_at_10"]) == 5
        least = 0.99 if row["traces"] < 10_000 else 0.5
        assert min(row["recall_at_10"]) >= least
        assert all(share > 0.9 for share in row["score_share"])
