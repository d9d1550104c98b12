"""The measuring command of the graph, as a person runs it: a smoke run on a throw-away service of its own."""

import json
import subprocess
from pathlib import Path

import pytest

COMMAND = Path(__file__).parents[2] / "bench" / "graph"


@pytest.mark.timeout(300)
def test_the_graph_is_measured_from_every_side(tmp_path: Path) -> None:
    report = tmp_path / "graph.json"

    done = subprocess.run(  # noqa: S603 - our own program
        [COMMAND, "--quick", "--json", str(report)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    names = {row["case"] for row in found["rows"]}
    assert {"the whole, limit 100", "everywhere, 3 hops", "path, rare to rare, 6 hops"} <= names
    assert len(found["bars"]) == len(found["rows"]) == len(names)
    assert all(row["kib"] > 0.1 for row in found["rows"])
