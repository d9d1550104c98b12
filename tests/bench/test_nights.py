"""`bench/nights`: a smoke run on a throw-away service of its own, and how the days of a store are planned."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench.conversations import read_collection
from bench.moving import Window
from bench.nights import Found, Night, chat_of, peak_of, planned_days
from tests.bench.test_commands import run

FIRST = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.timeout(300)
def test_nights_dreams_every_day_and_asks_meanwhile(tmp_path: Path) -> None:
    report = tmp_path / "nights.json"

    done = run("nights", "--quick", "--json", str(report))

    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    *nights, rest = found["rows"]
    assert [(night["days"], night["window"]["traces"]) for night in nights] == [(6, 120), (6, 120)]
    for night in nights:
        assert night["window"]["quiet"]
        assert night["window"]["busy"]
        assert night["stages"]["extract"]["saw"] == night["stages"]["supersede"]["saw"] == 120
        assert night["stages"]["summarise"]["made"] > 0
        assert bool(night["peak"]) == sys.platform.startswith("linux")
    assert rest["traces_per_second"] > 0
    assert [bar["unit"] for bar in found["bars"]] == [" traces/s", *([" MiB"] if nights[0]["peak"] else []), "x"]


def test_everybody_has_as_much_each_day_and_in_the_order_of_time() -> None:
    planned = planned_days([10, 31], FIRST, 3)
    assert [(one.user, one.rows) for one in planned] == [(0, 3), (1, 10), (0, 3), (1, 10), (0, 4), (1, 11)]
    assert [one.moment for one in planned] == sorted(one.moment for one in planned)
    assert {one.moment.date() for one in planned} == {(FIRST + timedelta(days=day)).date() for day in range(3)}


def test_each_user_has_the_conversations_in_an_order_of_its_own_and_again_where_they_do_not_suffice(
    collection: Path,
) -> None:
    conversations = read_collection(collection)
    second = chat_of(conversations, 1, 130)
    said = [
        (trace["speaker"], trace["content"]) for one in (*conversations[1:], *conversations[:1]) for trace in one.traces
    ]
    assert second.turns == [*said, *said][:130]
    assert set(second.questions) <= {asked.text for one in conversations for asked in one.questions}


def test_the_rate_is_that_of_all_runs_and_the_memory_that_of_the_largest() -> None:
    nights = [Night(Window(100), seconds=1.0, peak=2 << 20), Night(Window(100), seconds=3.0, peak=5 << 20)]
    assert Found(nights).rate == 50
    assert Found(nights, worker=1 << 20).memory == 6
    assert Found([Night(Window(1), seconds=1.0)]).memory is None
    assert peak_of(2**30) is None
