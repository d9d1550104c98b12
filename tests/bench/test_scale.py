"""`bench/scale`: a smoke run on a throw-away service of its own, and whose traces the store holds at each size."""

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from bench.scale import BATCH, Said, in_turn, sizes_of
from bench.text import conversation
from tests.bench.test_commands import run


def test_scale_measures_every_size_and_draws_it(tmp_path: Path) -> None:
    report, picture = tmp_path / "scale.json", tmp_path / "scale.svg"

    done = run("scale", "--quick", "--json", str(report), "--picture", str(picture))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert [row["traces"] for row in found["rows"]] == [60, 300]
    for row in found["rows"]:
        assert row["users"] == 12
        assert {asked: len(taken["all"]) for asked, taken in row["recall_ms"].items()} == {
            "everybody, balanced": 6, "everybody, vector": 6, "the largest, balanced": 3, "the largest, vector": 3,
        }  # fmt: skip
        parts = {(part["table"], part["part"]): part["bytes"] for part in row["parts"]}
        assert sum(parts.values()) == row["bytes"]
        for part in ("rows", "exact", "key"):
            assert parts["memory_embedding", part] > 0
        assert parts["memory_body", "lexemes"] > 0
        assert row["plan_of_largest"] == "exact"
    assert [bar["name"] for bar in found["bars"]] == [
        "recall p95 of everybody at 300 traces", "recall p95 of the largest at 300 traces",
    ]  # fmt: skip
    drawn = ET.parse(picture).getroot()  # noqa: S314 - our own
    assert drawn.tag.endswith("svg")
    words = " ".join(drawn.itertext())
    assert "Recall, ms" in words
    assert "300" in words


@pytest.mark.parametrize(("traces", "users"), [(60, 12), (10_000, 1000), (1_000_000, 1000), (7, 7), (5, 1), (1000, 3)])
def test_the_largest_user_has_a_tenth_and_the_others_the_rest(traces: int, users: int) -> None:
    sizes = sizes_of(traces, users)
    assert len(sizes) == users
    assert sum(sizes) == traces
    assert min(sizes) >= 1
    assert sizes[0] == max(sizes)
    if users > 10:
        assert sizes[0] == traces // 10


def test_users_only_grow() -> None:
    small, large = sizes_of(10_000, 1000), sizes_of(100_000, 1000)
    assert all(before <= after for before, after in zip(small, large, strict=True))


def test_everybodys_batches_come_in_their_order_and_mixed() -> None:
    before, sizes = [0, 5, 3], [2500, 30, 3]
    batches = list(in_turn(sizes, before, 1))
    assert all(last - first <= BATCH for _, first, last in batches)
    own = [(first, last) for user, first, last in batches if user == 0]
    assert own == [(0, 1000), (1000, 2000), (2000, 2500)]
    assert Counter(user for user, _, _ in batches) == {0: 3, 1: 1}


def test_texts_have_the_length_that_is_asked_for() -> None:
    turns = conversation(1, 50, 0).turns
    (trace,) = Said(turns, 680).traces(3, 7, 8)
    assert 650 < len(trace["content"]) <= 680
    (trace,) = Said(turns, None).traces(0, 7, 8)
    assert trace["content"] == turns[7].content


@pytest.mark.parametrize("steps", ["", "ten", "100,10", "10,10", "-5"])
def test_sizes_that_make_no_sense_are_refused_in_one_sentence(steps: str) -> None:
    done = run("scale", "--steps", steps)
    assert done.returncode == 2
    assert "--steps takes ascending numbers" in done.stderr
    assert "Traceback" not in done.stderr
