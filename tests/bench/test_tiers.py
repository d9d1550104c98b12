"""`bench/tiers`: a smoke run on throw-away services of its own, and what it holds against what is answered."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from bench.moving import Asker, Window
from bench.past import Memories, batches, weeks_before
from bench.prose import Prose
from bench.report import CannotMeasure
from bench.tenants import Question, Sentences
from bench.tiers import HOT_DAYS, WEEKS, Bench, K, even, warm_by
from tests.bench.test_commands import run

from bench import options

NOW = datetime(2026, 3, 11, 15, tzinfo=UTC)


def test_tiers_measures_every_store_in_every_tier(tmp_path: Path) -> None:
    report = tmp_path / "tiers.json"

    done = run("tiers", "--quick", "--json", str(report))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    row, pair, gone = found["rows"]
    assert (row["traces"], row["users"]) == (400, 1)
    assert set(row["tiers"]) == {"hot", "warm", "cold"}
    for tier, measured in row["tiers"].items():
        assert len(measured["recall"]) == len(measured["by_text"]) == 6
        assert sum(measured["recall"]) / 6 >= 0.9
        assert (measured["files"] > 0) == (tier == "cold")
    assert len(row["windows"]) == 2
    assert sum(one["traces"] for one in row["runs"]) == 400
    assert {tier: len(taken) for tier, taken in pair["pair"]["seconds"].items()} == {"warm": 6, "hot": 6}
    assert set(gone["forgotten"]["tiers"]) == {"hot", "warm", "cold"}
    assert sum(gone["forgotten"]["tiers"].values()) == gone["forgotten"]["traces"] == 40
    assert {bar["name"].split(",")[0] for bar in found["bars"]} >= {
        "recall@10 warm", "vectors warm of hot", "Parquet of hot", "all that remains of hot", "to warm",
        "p95 while moved", "slowest cold recall", "p95 of a warm user",
    }  # fmt: skip


def test_the_exact_ten_are_those_of_all_batches_of_the_user_together() -> None:
    rng = np.random.default_rng(1)
    base = rng.standard_normal((16, 8)).astype(np.float32)
    memories = Memories(Prose(1, ["one two three", "three four"]), Sentences(1, base))
    planned = batches([50, 30], weeks_before(NOW, 3), 1)
    questions = [Question(str(number), rng.standard_normal(8).astype(np.float32)) for number in range(3)]
    bench = cast("Any", SimpleNamespace(planned=planned, memories=memories, questions=questions))

    truth = Bench.truth(bench, [1, 0, 1])

    for place, owner in enumerate([1, 0, 1]):
        own = sorted((batch for batch in planned if batch.user == owner), key=lambda batch: batch.first)
        cosines = np.concatenate([memories.semantic(batch) @ questions[place].vector for batch in own])
        assert truth[place] == {str(number) for number in np.argsort(cosines)[::-1][:K]}


@pytest.mark.parametrize(("traces", "users"), [(10, 3), (1000, 1), (7, 7), (100_000, 1000)])
def test_everybody_has_as_many_traces(traces: int, users: int) -> None:
    sizes = even(traces, users)
    assert (sum(sizes), len(sizes)) == (traces, users)
    assert max(sizes) - min(sizes) <= 1


def test_nothing_that_is_laid_down_is_due_today_and_each_week_on_a_day_of_its_own() -> None:
    weeks = weeks_before(NOW, WEEKS)
    due = [warm_by(week) - timedelta(days=HOT_DAYS) for week in weeks]
    assert min(warm_by(week) for week in weeks) > NOW + timedelta(weeks=1)
    assert due[:-1] == [week.since for week in weeks[1:]]


def test_a_window_compares_the_slow_questions_of_both_halves() -> None:
    asked: list[int] = []

    def ask(number: int) -> float:
        asked.append(number)
        return 0.01 if len(asked) == 1 else 0.03

    asker, window, left = Asker(ask), Window(0), iter([False, False, True])
    asker.quiet(window, 0)
    asker.until(window, lambda: next(left))

    assert (len(window.quiet), len(window.busy)) == (1, 2)
    assert window.ratio == pytest.approx(3)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("given", ["", "ten", "100,10", "10,10", "0"])
def test_numbers_that_make_no_sense_are_refused(given: str) -> None:
    with pytest.raises(CannotMeasure, match="--sizes takes ascending numbers"):
        options.ascending(given, "--sizes")
    assert options.ascending("10,1_000", "--sizes") == [10, 1000]


def test_what_cannot_be_measured_is_one_sentence() -> None:
    done = run("tiers", "--users", "few")
    assert done.returncode == 2
    assert "--users takes ascending numbers" in done.stderr
    assert "Traceback" not in done.stderr
