"""What becomes warm, and when: the oldest weeks first, four in one partition, and what comes late too."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.figures import Figure
from tests.tiers.rows import fetch
from tests.tiers.weeks import BEGIN, MIDDLE, NOTHING, WEEK, Weeks

from reverie.core import clock
from reverie.embedding.codes import bit_bytes, restore, unpack
from reverie.tiers import copying, downshift
from reverie.tiers.downshift import Downshifter, announce, block_of, count_late, due
from reverie.tiers.indexes import list_partitions
from reverie.tiers.moving import paced
from reverie.tiers.partitions import ensure_partitions, week_of
from reverie.tiers.runs import Halted, Run, Step, TierRuns

DAYS = 30
LOW = 0.3


def name(week: int, number: int = 0, parent: str = "memory_embedding") -> str:
    """The partition of a week, hot or after so many moves."""
    table = week_of(BEGIN + week * WEEK).table(parent)
    return f"{table}_{number}" if number else table


def when(week: int) -> datetime:
    """The moment from which on all of a week is old enough."""
    return BEGIN + (week + 1) * WEEK + timedelta(days=DAYS)


@dataclass(slots=True)
class Runner:
    """Runs the step by itself."""

    weeks: Weeks
    report: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def run(self, as_of: datetime, low: float = LOW) -> dict[str, dict[str, Any]]:
        database = self.weeks.database
        async with database.maintenance() as connection:
            run = Run(database, connection, self.weeks.space, as_of, time.monotonic() + 600, lambda _: None)
            await Downshifter(DAYS, low, share=1.0, announced=0.0).step(run)
        return run.report


@pytest.fixture
def runner(weeks: Weeks) -> Runner:
    return Runner(weeks)


async def test_a_week_is_due_when_all_of_it_is_old_enough(weeks: Weeks) -> None:
    await weeks.make()
    await weeks.remember(0, 0, 2)

    async def tables(as_of: datetime) -> list[str]:
        plan = await due(weeks.owner, as_of, DAYS)
        return [one.table for one in plan.parts[0].sources] if plan is not None else []

    assert await tables(when(0)) == [name(0)]
    assert await tables(when(0) - timedelta(seconds=1)) == [name(0)]
    # Its last days are not over, but nothing is in them; its first is not, and nothing else counts.
    assert await tables(BEGIN + MIDDLE + timedelta(days=DAYS, seconds=1)) == [name(0)]
    assert await tables(BEGIN + MIDDLE + timedelta(days=DAYS, seconds=-1)) == []
    assert await tables(BEGIN + timedelta(days=DAYS)) == []
    assert await tables(when(1)) == [name(0), name(1)]


async def test_four_weeks_become_one_partition_when_the_last_has_come(weeks: Weeks, runner: Runner) -> None:
    await weeks.make(weeks=range(6))
    for week in range(6):
        await weeks.remember(week, week % 3, 3)
    before = await weeks.seen()
    seen = []
    for week in range(6):
        await runner.run(when(week))
        seen.append([table for table, tier in await weeks.partitions() if tier == "warm"])
    assert seen == [
        [name(0, 1)],
        [name(0, 1), name(1, 1)],
        [name(0, 1), name(1, 1), name(2, 1)],
        [name(0, 2)],
        [name(0, 2), name(4, 1)],
        [name(0, 2), name(4, 1), name(5, 1)],
    ]
    bodies = [table for table, tier in await weeks.partitions("memory_body") if tier == "warm"]
    # A week's texts stay where they are until they are merged.
    assert bodies == [name(0, 1, "memory_body"), name(4, 0, "memory_body"), name(5, 0, "memory_body")]
    assert await weeks.seen(as_codes=False) == before
    assert await weeks.left_over() == NOTHING


async def test_what_is_due_of_four_weeks_is_moved_at_once(weeks: Weeks, runner: Runner) -> None:
    await weeks.make(weeks=(0, 1, 3, 5))
    for week in (0, 1, 3, 5):
        await weeks.remember(week, 0, 3)
    before = await weeks.seen()
    report = await runner.run(when(5))
    assert await weeks.partitions() == [(name(0, 1), "warm"), (name(5, 1), "warm")]
    assert report["warm"]["moves"] == 2
    assert report["warm"]["traces"] == 12
    assert await weeks.seen() == before
    # The week between, of which nothing was, has its place there.
    assert await ensure_partitions(weeks.owner, BEGIN + 2 * WEEK, BEGIN + 2 * WEEK) == []
    await weeks.remember(2, 1)


async def test_an_older_week_that_comes_later_joins_what_is_warm(weeks: Weeks, runner: Runner) -> None:
    """The clock was set back, and something was remembered in a week that lies before all others."""
    await weeks.make(weeks=(1, 2))
    await weeks.remember(1, 0, 3)
    await runner.run(when(2))
    await ensure_partitions(weeks.owner, BEGIN, BEGIN)
    await weeks.remember(0, 0, 3)
    before = await weeks.seen()
    await runner.run(when(0))
    assert [tier for _, tier in await weeks.partitions()] == ["warm", "warm"]
    report = await runner.run(when(4))
    assert await weeks.partitions() == [(name(0, 2), "warm")]
    assert report["warm"]["moves"] == 1
    assert await weeks.seen() == before
    assert await runner.run(when(4)) == {}


async def test_a_clock_that_is_set_back_undoes_nothing(weeks: Weeks, runner: Runner) -> None:
    await weeks.make(weeks=(0, 1))
    await weeks.remember(0, 0, 3)
    await runner.run(when(0))
    before = await weeks.seen()
    with clock.as_of(BEGIN):
        assert await runner.run(clock.now()) == {}
    assert await weeks.partitions() == [(name(0, 1), "warm"), (name(1), "hot")]
    await weeks.remember(0, 1, 2)
    await runner.run(when(0))
    assert before["vectors"].items() <= (await weeks.seen())["vectors"].items()


async def test_extra_heads_of_what_matters_little_are_left_behind(weeks: Weeks, runner: Runner) -> None:
    await weeks.make()
    little = await weeks.remember(0, 0, 4, pieces=2)
    much = await weeks.remember(0, 0, 4, pieces=2)
    await weeks.salience(LOW - 0.01, *little)
    await weeks.salience(LOW + 0.1, *much)
    await runner.run(when(0))
    found = await weeks.seen(as_codes=False)
    heads = {trace: sorted(key[2:5:2] for key in found["vectors"] if key[1] == trace) for trace in (*little, *much)}
    assert all(heads[trace] == [(0, 0), (0, 1)] for trace in little)
    assert all(heads[trace] == [(0, 0), (0, 1), (1, 0), (2, 0)] for trace in much)
    assert len(found["bodies"]) == 8


async def test_a_batch_of_which_nothing_stays(weeks: Weeks, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come by user and head, so a batch may hold nothing but the extra heads of what matters little."""
    monkeypatch.setattr(copying, "BATCH_ROWS", 3)
    await weeks.make()
    await weeks.salience(LOW - 0.01, *await weeks.remember(0, 0, 12))
    await runner.run(when(0))
    found = await weeks.seen(as_codes=False)
    assert ([key[2] for key in found["vectors"]], len(found["bodies"])) == ([0] * 12, 12)


async def test_what_matters_little_is_told_by_recalls_and_by_time(weeks: Weeks, runner: Runner) -> None:
    await weeks.make()
    faded, recalled, pinned, lasting = [await weeks.remember(0, 0, 2) for _ in range(4)]
    owner = weeks.owner
    await owner.execute("UPDATE memory_trace SET kind = 'turn'")
    await owner.execute("UPDATE memory_trace SET kind = 'chunk' WHERE id = ANY(%s)", (lasting,))
    await owner.execute("UPDATE memory_trace SET pinned = true WHERE id = ANY(%s)", (pinned,))
    await weeks.salience(LOW + 0.01, *faded, *recalled, *pinned, *lasting)
    await owner.execute(
        "INSERT INTO memory_access SELECT space_id, user_id, id, 3, %s FROM memory_trace WHERE id = ANY(%s)",
        (when(0) - timedelta(days=1), recalled),
    )
    await runner.run(when(0))
    found = await weeks.seen(as_codes=False)
    heads = {trace: {key[2] for key in found["vectors"] if key[1] == trace} for trace in
             (*faded, *recalled, *pinned, *lasting)}  # fmt: skip
    assert [heads[trace] for trace in faded] == [{0}] * 2
    assert [heads[trace] for trace in (*recalled, *pinned, *lasting)] == [{0, 1, 2}] * 6


@pytest.mark.parametrize("anew", [False, True], ids=["in place", "written anew"])
async def test_what_comes_late_becomes_codes_too(
    weeks: Weeks, runner: Runner, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    await weeks.make((13, "fp16"), (8, "fp32"), weeks=(0,))
    old = await weeks.remember(0, 0, 10)
    await runner.run(when(0))
    if anew:
        monkeypatch.setattr(downshift, "LATE_MOST", 3)
    new = await weeks.remember(0, 1, 5, pieces=2)
    await weeks.change(0, old[0])
    await weeks.salience(0.1, old[1], new[0])
    await weeks.embed(weeks.users[0], [old[1]], BEGIN, weeks.models[0], 1)
    expected = await weeks.seen()
    gone = {
        key
        for key in expected["vectors"]
        # What it had of these heads before goes too, as it was read again.
        if key[1] in (old[1], new[0]) and key[2] > 0 and (anew or key[3] == weeks.models[0].id or key[1] == new[0])
    }
    (partition,) = await list_partitions(weeks.owner, "warm")
    assert await count_late(weeks.owner, partition, weeks.models, 100) > 10
    report = await runner.run(when(0))
    assert (report["late"].get("moves") == 1) is anew
    found = await weeks.seen(as_codes=False)
    assert found["vectors"] == {key: row for key, row in expected["vectors"].items() if key not in gone}
    assert found["bodies"] == expected["bodies"]
    (partition,) = await list_partitions(weeks.owner, "warm")
    assert await count_late(weeks.owner, partition, weeks.models, 100) == 0
    assert await weeks.partitions() == [(name(0, 2 if anew else 1), "warm")]
    assert await runner.run(when(0)) == {}


async def test_what_comes_late_while_codes_are_made_of_it_is_lost_to_nobody(
    weeks: Weeks, runner: Runner, database_url: str
) -> None:
    await weeks.make(weeks=(0,))
    ids = await weeks.remember(0, 0, 30)
    await runner.run(when(0))
    done = asyncio.Event()

    async def write() -> None:
        from psycopg import AsyncConnection

        async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
            while not done.is_set():
                async with connection.transaction():
                    await connection.execute("SELECT FROM memory_user WHERE user_id = %s FOR UPDATE", (weeks.users[0],))
                    await weeks.embed(weeks.users[0], ids[:5], BEGIN, weeks.models[0], 0, on=connection)

    writing = asyncio.create_task(write())
    for _ in range(5):
        await runner.run(when(0))
    done.set()
    await writing
    expected = await weeks.seen()
    await runner.run(when(0))
    assert await weeks.seen(as_codes=False) == expected
    assert len(expected["vectors"]) == 90


async def test_it_is_said_before_that_there_may_be_warm_rows(weeks: Weeks) -> None:
    began = time.monotonic()
    await announce(weeks.owner, 0.4)
    assert 0.35 < time.monotonic() - began < 2
    ((said,),) = await fetch(weeks.owner, "SELECT announced_at FROM tier_control")
    assert said is not None
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await announce(weeks.owner, 0.4)
    assert time.monotonic() - began < 0.3
    # A clock that was set back by years has nobody wait for years.
    with clock.as_of(BEGIN):
        await announce(weeks.owner, 0.2)
    assert time.monotonic() - began < 1
    assert await fetch(weeks.owner, "SELECT announced_at FROM tier_control") == [(said,)]


async def test_a_run_that_is_paused_ends_within_a_move(weeks: Weeks, monkeypatch: pytest.MonkeyPatch) -> None:
    from reverie.core.config import load_settings

    await weeks.make()
    await weeks.remember(0, 0, 5)
    before = await weeks.seen()
    settings = load_settings(database_url=weeks.url)
    runs = TierRuns(settings, weeks.database, [Step("warm", Downshifter(DAYS, LOW, announced=0.0).step)])

    async def pause(self: Run) -> None:
        raise Halted("paused")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "go_on", pause)
        patch.setattr(Run, "next_move", next_move)
        outcome = await runs.run(when(0))
    assert outcome.state == "paused"
    assert await weeks.left_over() == NOTHING
    assert await weeks.seen() == before
    assert await weeks.partitions() == [(name(0), "hot"), (name(1), "hot")]
    outcome = await runs.run(when(0))
    assert outcome.state == "done"
    assert outcome.report["warm"]["traces"] == 5


async def next_move(self: Run) -> None:
    """Goes on."""


async def test_copying_takes_no_more_than_its_share_of_the_time() -> None:
    async def work(_rows: int, _size: int) -> None:
        await asyncio.sleep(0.02)

    each = paced(work, 0.25)
    began = time.monotonic()
    for _ in range(5):
        await each(1, 1)
    # The last one's work counts for the rest after the next.
    assert time.monotonic() - began > 5 * 0.02


def test_blocks_are_the_same_for_every_store() -> None:
    blocks = [block_of(week_of(BEGIN + week * WEEK).lower) for week in range(-1, 9)]
    assert blocks == [649, *[650] * 4, *[651] * 4, 652]


async def test_warm_rows_take_a_third_of_the_room_at_most_and_find_the_same(weeks: Weeks, figure: Figure) -> None:
    """One user who is large, and one who is not, of the carried model's size, with three heads."""
    await weeks.make((384, "fp16"), weeks=(0,))
    for day in range(4):
        for user in (0, 1):
            await weeks.remember(0, user, 300, at=BEGIN + timedelta(days=day))
    await weeks.owner.execute("VACUUM ANALYZE memory_embedding")
    size = "SELECT pg_table_size(to_regclass(%s)), pg_indexes_size(to_regclass(%s))"
    ((table, indexes),) = await fetch(weeks.owner, size, name(0), name(0))
    vectors = await vectors_of(weeks, name(0))
    runner = Runner(weeks)
    await runner.run(when(0))
    ((warm, warm_indexes),) = await fetch(weeks.owner, size, name(0, 1), name(0, 1))
    rows = 7200
    figure("bytes of a hot row and of its indexes", f"{table // rows} + {indexes // rows}")
    figure("bytes of a warm row and of its indexes", f"{warm // rows} + {warm_indexes // rows}")
    share = (warm + warm_indexes) / (table + indexes)
    figure("warm, of hot", f"{share:.3f}")
    assert share <= 0.3
    codes = await codes_of(weeks, name(0, 1))
    keys = sorted(vectors)
    assert keys == sorted(codes)
    drawn = np.random.default_rng(3)
    exact, coded = (np.array([of[key] for key in keys], dtype=np.float32) for of in (vectors, codes))
    asked = exact[drawn.integers(0, len(keys), 100)] + drawn.standard_normal((100, 384)) * 1.2
    near, found = (np.argsort(-(asked @ of.T), axis=1)[:, :10] for of in (unit(exact), coded))
    recall = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(near, found, strict=True)])
    figure("recall@10 of codes", f"{recall:.3f}")
    assert recall >= 0.97


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


async def vectors_of(weeks: Weeks, table: str) -> dict[Any, Any]:
    rows = await fetch(weeks.owner, f"SELECT trace_id, vec FROM {table} WHERE head = 0")  # noqa: S608 - our own name
    return {trace: vector.to_numpy().astype(np.float32) for trace, vector in rows}


async def codes_of(weeks: Weeks, table: str) -> dict[Any, Any]:
    rows = await fetch(weeks.owner, f"SELECT trace_id, bits, codes FROM {table} WHERE head = 0")  # noqa: S608
    found = {}
    for trace, bits, codes in rows:
        signs = np.frombuffer(int(bits, 2).to_bytes(bit_bytes(384), "big"), dtype=np.uint8)[None]
        found[trace] = restore(unpack(np.frombuffer(codes, dtype=np.uint8)[None], signs, 384))[0]
    return found
