"""`bench/speed`, as a person runs it; and what its rounds and orders are made of."""

import json
import subprocess
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from bench.peers import FOLDER, chosen_peers
from bench.report import CannotMeasure
from bench.rounds import P50, REMEMBER, SERVICE, SUPPLIED, Round, Size, Work
from bench.tenants import Sentences
from bench.timing import orders

SPEED = Path(__file__).parents[2] / "bench" / "speed"


def test_speed_measures_the_service_its_floor_and_the_peers_that_are_installed(tmp_path: Path) -> None:
    report = tmp_path / "speed.json"
    peers = ("mem0, bge-small-en-v1.5", "LangGraph, bge-small-en-v1.5") if FOLDER.is_dir() else ()

    done = subprocess.run(  # noqa: S603
        [SPEED, "--quick", "--no-torch", "--json", str(report)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert ("scripts/setup --peers" in done.stdout) is not bool(peers)
    found = json.loads(report.read_text())
    (row,) = found["rows"]
    assert set(row["sides"]) == {"service", "floor A", *peers}
    for name, side in row["sides"].items():
        assert len(side["batch_ms"]) == 3
        assert len(side["question_ms"]) == 12
        assert len(side["supplied_ms"]) == (0 if name == "floor A" else 2)
    assert len(row["thorough_ms"]) == 2
    assert row["recalls_per_second_together"]["service"] > 0
    assert [bar["name"] for bar in found["bars"]][:5] == [
        "remember, of floor A's turns/s",
        "recall p50, of floor A's",
        "recall p95, thorough",
        "degraded, thorough, share",
        "supplied, traces/s",
    ]
    assert len(found["bars"]) == (9 if peers else 5)
    assert found["versions"]["fsync"] == found["versions"]["synchronous_commit"] == "on"


def test_peers_that_are_asked_for_and_not_installed_are_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.peers.FOLDER", tmp_path / "peers")
    assert chosen_peers(None, "a model") == chosen_peers(False, "a model") == []
    with pytest.raises(CannotMeasure, match="scripts/setup --peers"):
        chosen_peers(True, "a model")

    (tmp_path / "peers").mkdir()
    assert [peer.name for peer in chosen_peers(None, None, "a model")] == [
        "mem0", "LangGraph", "mem0, a model", "LangGraph, a model",
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_sides_take_turns_fairly(count: int) -> None:
    sides = [str(number) for number in range(count)]
    seen = list(islice(orders(sides), 2 * count))

    assert all(sorted(order) == sides for order in seen)
    for place in range(count):
        assert set(Counter(order[place] for order in seen).values()) == {2}
    follows = Counter(pair for order in seen for pair in pairwise(order))
    assert all(follows[one, other] == follows[other, one] for one, other in follows)


def test_no_question_of_a_round_is_asked_twice() -> None:
    drawn = Sentences(1, np.eye(4, 384, dtype=np.float32))
    work = Work.of(3, Size(turns=None, questions=200, thorough=40, supplied=50), drawn)

    assert [len(work.asked), len(work.together), len(work.thorough)] == [200, 200, 40]
    assert len({*work.asked, *work.together, *work.thorough}) == 440
    assert [(len(texts), vectors.shape) for texts, vectors in work.supplied] == [(50, (50, 384))] * 2
    assert len({text for texts, _ in work.supplied for text in texts}) == 100
    assert not np.array_equal(work.supplied[0][1], work.supplied[1][1])


def test_a_round_is_compared_with_the_best_of_others() -> None:
    one = Round(
        turns=32,
        vectors=100,
        remembered={SERVICE: [0.1, 0.1], "slow": [0.4, 0.4], "fast": [0.2, 0.2]},
        recalled={SERVICE: [0.004], "slow": [0.016], "fast": [0.008]},
        supplied={SERVICE: [0.1], "slow": [0.2], "fast": []},
    )
    assert REMEMBER.ratio([one], "slow", "fast").median == pytest.approx(2.0)
    assert P50.ratio([one], "slow", "fast").median == pytest.approx(0.5)
    assert SUPPLIED.shown_ratio([one], "slow") == "2.00 (2.00–2.00)"
    assert SUPPLIED.shown_ratio([one], "fast") == SUPPLIED.shown([one], "fast") == ""
