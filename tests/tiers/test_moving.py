"""Partitions are moved whole: every row is there once, as it last was, whatever happens meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from pgvector import Bit
from psycopg import AsyncConnection
from tests.figures import Figure
from tests.tiers.rows import add_model, fetch
from tests.tiers.weeks import BEGIN, MIDDLE, NOTHING, WEEK, Weeks, reading_loop

from reverie.core.database import Connection
from reverie.embedding.codes import restore, told_by, unpack
from reverie.memories.model import Model
from reverie.tiers import building, copying, locks, measuring, moving
from reverie.tiers.indexes import add_model_indexes, bits_name, exact_name
from reverie.tiers.locks import AlreadyMoving
from reverie.tiers.moving import Move, Moved, Part, Trace, move, sweep
from reverie.tiers.partitions import ensure_partitions, week_of

STEM = week_of(BEGIN).table("memory_embedding")
BODIES = week_of(BEGIN).table("memory_body")
PHASES = ("_create", "_note_changes", "_fill", "_index", "_stay", "_catch_up", "_known", "swap")
"""Methods of the mover, in their order: each is a phase."""

WAITING = "SELECT FROM pg_locks WHERE NOT granted AND mode = 'ShareUpdateExclusiveLock'"

Act = Callable[[], Awaitable[None]]


def at_phase(monkeypatch: pytest.MonkeyPatch, phase: str, act: Act, *, before: bool = False, once: bool = True) -> None:
    """Has something done when a phase ends, or when it begins."""
    original = getattr(moving._Mover, phase)
    done = False

    async def phased(self: Any, *given: Any) -> Any:
        nonlocal done
        due, done = not (done and once), True
        if due and before:
            await act()
        result = await original(self, *given)
        if due and not before:
            await act()
        return result

    monkeypatch.setattr(moving._Mover, phase, phased)


def before_the_locks(monkeypatch: pytest.MonkeyPatch, act: Act) -> None:
    """Has something done behind each last look without locks."""
    original = moving._Mover._catch_up

    async def catch_up(self: Any, connection: Connection) -> None:
        await original(self, connection)
        if self.moved.bytes_before:
            await act()

    monkeypatch.setattr(moving._Mover, "_catch_up", catch_up)


async def filled(weeks: Weeks) -> None:
    """Two weeks of traces with all heads, with pieces, with none."""
    for week in (0, 1):
        await weeks.remember(week, 0, 20)
        await weeks.remember(week, 1, 5, pieces=3)
        await weeks.remember(week, 2, 3, heads=())
        await weeks.remember(week, 2, 3, heads=(0,))


async def test_everything_is_there_afterwards_as_codes(weeks: Weeks) -> None:
    await _everything_is_there_as_codes(weeks)


async def test_everything_is_there_afterwards_on_the_oldest_postgresql(weeks_16: Weeks) -> None:
    await _everything_is_there_as_codes(weeks_16)


async def _everything_is_there_as_codes(weeks: Weeks) -> None:
    await weeks.make((13, "fp16"), (16, "fp32"))
    await filled(weeks)
    before = await weeks.seen()
    moved = await move(weeks.database, await weeks.plan())
    assert await weeks.seen() == before
    assert await weeks.seen(as_codes=False) == before
    assert await weeks.partitions() == [(f"{STEM}_1", "warm")]
    assert await weeks.partitions("memory_body") == [(f"{BODIES}_1", "warm")]
    assert await weeks.left_over() == NOTHING
    assert moved.tables == [f"{STEM}_1", f"{BODIES}_1"]
    assert (moved.traces, moved.rows) == (56, len(before["vectors"]))
    assert moved.bytes_before > moved.bytes_after > 0


async def test_a_moved_partition_is_as_recall_expects_it(weeks: Weeks) -> None:
    await _is_as_recall_expects_it(weeks)


async def test_a_moved_partition_is_so_on_the_oldest_postgresql(weeks_16: Weeks) -> None:
    await _is_as_recall_expects_it(weeks_16)


async def _is_as_recall_expects_it(weeks: Weeks) -> None:
    await weeks.make()
    await filled(weeks)
    await move(weeks.database, await weeks.plan())
    table, model = f"{STEM}_1", weeks.models[0]
    indexes: dict[str, str] = dict(
        await fetch(weeks.owner, "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", table)
    )
    assert f"WHERE ((model_id = {model.id}) AND (vec IS NOT NULL))" in indexes[exact_name(table, model)]
    assert f"{table}_pkey" in indexes
    assert f"{table}_m{model.id}_codes" not in indexes
    assert bits_name(table, model) not in indexes
    ((validated, action),) = await fetch(
        weeks.owner,
        "SELECT convalidated, confdeltype::text FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass",
        table,
    )
    assert (validated, action) == (True, "c")
    # Rows stand in the order (user, head, trace, piece), on pages that all may see without a look at the rows.
    order = await fetch(weeks.owner, f"SELECT user_id, head, trace_id, piece FROM {table} ORDER BY ctid")  # noqa: S608
    assert order == sorted(order)
    await weeks.owner.execute(f"ANALYZE {table}")
    ((pages, visible),) = await fetch(
        weeks.owner, "SELECT relpages, relallvisible FROM pg_class WHERE relname = %s", table
    )
    assert pages == visible > 0
    # The same columns, and no more rights, than its parent's other partitions have.
    columns = (
        "SELECT attname, atttypid, attnotnull, attstorage FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum"
    )
    assert await fetch(weeks.owner, columns, table) == await fetch(weeks.owner, columns, "memory_embedding")
    assert await fetch(weeks.owner, "SELECT has_table_privilege('reverie_app', %s, 'SELECT')", table) == [(False,)]
    # A trace that is forgotten takes its rows with it, once.
    await weeks.forget(
        0, *[trace for (trace,) in await fetch(weeks.owner, "SELECT DISTINCT trace_id FROM memory_body")]
    )
    found = await weeks.seen()
    assert not [key for rows in found.values() for key in rows if key[0] == weeks.users[0]]


async def test_an_empty_week_is_moved(weeks: Weeks) -> None:
    await weeks.make()
    await move(weeks.database, await weeks.plan())
    assert await weeks.partitions() == [(f"{STEM}_1", "warm")]
    assert await weeks.left_over() == NOTHING


async def test_what_is_warm_is_merged_with_what_is_hot_and_names_are_never_used_again(weeks: Weeks) -> None:
    await weeks.make(weeks=(0,))
    await weeks.remember(0, 0, 10, pieces=2)
    before = await weeks.seen()
    await move(weeks.database, await weeks.plan())
    # A single week of texts is not copied.
    assert await weeks.partitions("memory_body") == [(BODIES, "warm")]
    for week in (1, 2):
        await ensure_partitions(weeks.owner, BEGIN + week * WEEK, BEGIN + week * WEEK)
        await weeks.remember(week, 1, 10)
    before = await weeks.seen()
    await move(weeks.database, await weeks.plan())
    assert await weeks.seen() == before
    assert await weeks.partitions() == [(f"{STEM}_2", "warm")]
    assert await weeks.partitions("memory_body") == [(f"{BODIES}_1", "warm")]
    await move(weeks.database, await weeks.plan())
    assert await weeks.partitions() == [(f"{STEM}_3", "warm")]
    assert await weeks.seen() == before


@pytest.mark.parametrize("phase", PHASES)
async def test_what_is_changed_in_any_phase_is_moved_as_it_was_last(
    weeks: Weeks, another: Connection, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    await weeks.make()
    await filled(weeks)
    old = await weeks.remember(0, 0, 12)
    bare = await weeks.remember(1, 1, 2, heads=(0,))
    expected: dict[str, Any] = {}

    async def act() -> None:
        await weeks.remember(0, 0, 2, on=another, pieces=2)
        await weeks.change(0, old[0], on=another)
        await weeks.forget(0, old[1], old[2], on=another)
        await weeks.embed(weeks.users[1], bare, BEGIN + WEEK + MIDDLE, weeks.models[0], 2, on=another)
        await another.execute("DELETE FROM memory_embedding WHERE trace_id = %s AND head = 1", (old[3],))
        expected.update(await weeks.seen())

    at_phase(monkeypatch, phase, act, before=phase == "swap")
    moved = await move(weeks.database, await weeks.plan())
    assert expected
    assert await weeks.seen() == expected
    # Each once, unless it was read as it is now.
    assert moved.changed <= 8
    assert moved.changed == 8 or phase in ("_create", "_note_changes")
    assert await weeks.left_over() == NOTHING


async def test_what_is_changed_just_before_the_tables_are_locked_is_moved(
    weeks: Weeks, another: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await weeks.make()
    await filled(weeks)
    (old,) = await weeks.remember(0, 0)
    expected: dict[str, Any] = {}
    seen: list[Trace] = []

    async def act() -> None:
        if not expected:
            await weeks.remember(0, 0, 2, on=another)
            await weeks.forget(0, old, on=another)
            expected.update(await weeks.seen())

    async def changed(_: Connection, traces: Sequence[Trace]) -> None:
        seen.extend(traces)

    before_the_locks(monkeypatch, act)
    moved = await move(weeks.database, replace(await weeks.plan(), changed=changed))
    assert expected
    assert await weeks.seen() == expected
    assert moved.changed == len(set(seen)) == 3


async def test_many_changes_let_go_of_the_tables_again(
    weeks: Weeks, another: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await weeks.make()
    await filled(weeks)
    monkeypatch.setattr(moving, "LEFT", 10)
    tries: list[int] = []
    expected: dict[str, Any] = {}
    last = moving._Mover._last_changes

    async def act() -> None:
        if len(tries) < 2:
            await weeks.remember(0, 0, 4, on=another)
            expected.update(await weeks.seen())

    async def last_changes(self: Any, connection: Connection) -> None:
        tries.append(self.moved.changed)
        await last(self, connection)

    before_the_locks(monkeypatch, act)
    monkeypatch.setattr(moving._Mover, "_last_changes", last_changes)
    await move(weeks.database, await weeks.plan())
    assert tries == [0, 4, 8]
    assert await weeks.seen() == expected


async def test_who_forgets_without_waiting_for_the_user_is_not_in_the_way_for_long(
    weeks: Weeks, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He has removed the trace, and waits for its rows in the new table, which wait for the trace: a deadlock."""
    await weeks.make()
    await filled(weeks)
    (gone,) = await weeks.remember(0, 0)
    original = copying.remove
    calls = 0

    async with await AsyncConnection.connect(database_url, autocommit=True) as forgetting:

        async def forget() -> None:
            # Again and again: on a busy machine he may come before the mover has noticed that he was called off.
            while True:
                with suppress(psycopg.errors.DeadlockDetected):
                    await forgetting.execute("DELETE FROM memory_trace WHERE id = %s", (gone,))
                    return

        async def remove(connection: Connection, table: str, traces: Sequence[Trace]) -> None:
            nonlocal calls
            await original(connection, table, traces)
            calls += 1
            if calls == 1:
                tasks.append(asyncio.create_task(forget()))
                await asyncio.sleep(0.3)

        tasks: list[asyncio.Task[None]] = []
        monkeypatch.setattr(copying, "remove", remove)

        async def change() -> None:
            await weeks.change(0, gone)

        at_phase(monkeypatch, "_note_changes", change, once=False)
        await move(weeks.database, await weeks.plan())
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert calls > 1
    found = await weeks.seen()
    assert not [key for rows in found.values() for key in rows if key[1] == gone]
    assert await weeks.left_over() == NOTHING


async def test_writers_all_the_while(weeks: Weeks, database_url: str) -> None:
    """Traces come, change and go as fast as they can, by several, while their weeks are moved again and again."""
    await weeks.make()
    await filled(weeks)
    done = asyncio.Event()
    written: list[int] = []

    async def write(user: int) -> None:
        async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
            while not done.is_set():
                first, second = await weeks.remember(user % 2, user, 2, on=connection)
                await weeks.change(user, first, on=connection)
                await weeks.forget(user, second, on=connection)
                written.append(user)

    async with asyncio.TaskGroup() as writers:
        for user in range(3):
            writers.create_task(write(user))
        for _ in range(3):
            await move(weeks.database, await weeks.plan())
        done.set()
    ((bodies,),) = await fetch(weeks.owner, "SELECT count(*) FROM memory_body")
    ((traces,),) = await fetch(weeks.owner, "SELECT count(*) FROM memory_trace")
    ((orphans,),) = await fetch(
        weeks.owner,
        "SELECT count(*) FROM memory_trace t WHERE NOT EXISTS (SELECT FROM memory_embedding e WHERE e.user_id ="
        " t.user_id AND e.trace_id = t.id AND e.head = 0) AND EXISTS (SELECT FROM memory_body b WHERE b.trace_id = t.id"
        " AND b.content LIKE 'changed%')",
    )
    assert len(written) > 3
    assert bodies == traces == 62 + len(written)
    assert orphans == 0
    assert await weeks.left_over() == NOTHING


async def test_readers_never_wait_long(weeks: Weeks, another: Connection, database_url: str, figure: Figure) -> None:
    """Not for the swap, nor behind it while it waits for somebody who reads for long."""
    await weeks.make()
    await filled(weeks)
    waits: list[float] = []
    done = asyncio.Event()
    reading = [asyncio.create_task(reading_loop(database_url, waits, done)) for _ in range(2)]
    async with another.transaction():
        await another.execute("SELECT FROM memory_embedding LIMIT 1")
        moving_ = asyncio.create_task(move(weeks.database, await weeks.plan()))
        await asyncio.sleep(2)
        assert not moving_.done()
        asked = await fetch(weeks.owner, "SELECT count(*) FROM memory_partition WHERE tier = 'warm'")
    moved = await moving_
    done.set()
    await asyncio.gather(*reading)
    assert asked == [(0,)]
    figure("longest read while partitions were swapped", f"{max(waits) * 1000:.0f} ms of {len(waits)}")
    figure("tables asked for and held", f"{moved.held * 1000:.0f} ms")
    assert moved.held < 0.1
    assert max(waits) < 0.15
    # It was felt: readers did queue.
    assert max(waits) > 0.02


async def test_who_stands_still_while_all_wait_is_put_out(weeks: Weeks, monkeypatch: pytest.MonkeyPatch) -> None:
    await weeks.make()
    await filled(weeks)
    before = await weeks.seen()
    stood = 0

    async def stand_still(_: Connection) -> None:
        nonlocal stood
        stood += 1
        if stood == 1:
            await asyncio.sleep(0)
            time.sleep(0.8)  # noqa: ASYNC251 - a process that is stopped

    await move(weeks.database, replace(await weeks.plan(), swapped=stand_still))
    assert stood == 2
    assert await weeks.seen() == before
    assert await weeks.partitions() == [(f"{STEM}_1", "warm")]


async def test_a_lock_that_stays_gives_the_move_up(
    weeks: Weeks, another: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "MOVE_PATIENCE_SECONDS", 0.5)
    await weeks.make()
    await filled(weeks)
    before = await weeks.seen()
    async with another.transaction():
        await another.execute("SELECT FROM memory_embedding LIMIT 1")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await move(weeks.database, await weeks.plan())
    monkeypatch.undo()
    await sweep(weeks.database)
    assert await weeks.left_over() == NOTHING
    assert await weeks.seen() == before
    assert len(await weeks.partitions()) == 2


async def test_an_autovacuum_gives_way(weeks: Weeks, another: Connection) -> None:
    """What it holds is waited for by a lock that holds up nobody: readers and writers go on."""
    await weeks.make()
    await filled(weeks)
    async with another.transaction():
        await another.execute("LOCK memory_trace IN SHARE UPDATE EXCLUSIVE MODE")
        moving_ = asyncio.create_task(move(weeks.database, await weeks.plan()))
        while not await fetch(weeks.owner, WAITING):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        began = time.monotonic()
        await weeks.remember(0, 0)
        await weeks.seen()
        assert time.monotonic() - began < 0.5
        # Longer than deadlock_timeout, which is when PostgreSQL cancels an autovacuum that is in the way.
        seen = 0
        for _ in range(55):
            await asyncio.sleep(0.02)
            seen += len(await fetch(weeks.owner, WAITING))
        assert seen >= 45
    await moving_


async def test_one_moves_at_a_time(weeks: Weeks, monkeypatch: pytest.MonkeyPatch) -> None:
    await weeks.make()
    await filled(weeks)
    before = await weeks.seen()
    plan = await weeks.plan()
    results = await asyncio.gather(*(move(weeks.database, plan) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(one, AlreadyMoving) for one in results) == 2
    assert sum(isinstance(one, Moved) for one in results) == 1
    assert await weeks.seen() == before
    assert await weeks.left_over() == NOTHING

    async def nothing_is_dropped() -> None:
        assert await sweep(weeks.database) == []

    at_phase(monkeypatch, "_index", nothing_is_dropped)
    await move(weeks.database, await weeks.plan())
    assert await weeks.seen() == before


@pytest.mark.parametrize("phase", [*PHASES, "drop"])
async def test_a_line_that_is_cut_in_any_phase_loses_nothing(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    await weeks.make()
    await filled(weeks)
    before = await weeks.seen()

    async def cut() -> None:
        await weeks.owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reverie-maintenance'"
            " AND datname = current_database()"
        )

    with monkeypatch.context() as patch:
        at_phase(patch, phase, cut, before=phase in ("swap", "drop"))
        with pytest.raises(psycopg.OperationalError):
            await move(weeks.database, await weeks.plan())
    assert await weeks.seen() == before
    await sweep(weeks.database)
    assert await weeks.left_over() == NOTHING
    assert await weeks.seen() == before
    assert ({tier for _, tier in await weeks.partitions()} == {"warm"}) is (phase == "drop")
    await move(weeks.database, await weeks.plan())
    assert await weeks.seen(as_codes=False) == before


async def test_what_is_raised_or_cancelled_leaves_nothing(weeks: Weeks, monkeypatch: pytest.MonkeyPatch) -> None:
    await weeks.make()
    await filled(weeks)
    before = await weeks.seen()

    async def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    plan = await weeks.plan()
    for broken in (
        replace(plan, export=fail), replace(plan, staying=fail), replace(plan, swapped=fail),
    ):  # fmt: skip
        with pytest.raises(ZeroDivisionError):
            await move(weeks.database, broken)
        assert await weeks.left_over() == NOTHING
    with pytest.raises(ZeroDivisionError):
        await move(weeks.database, plan, fail)
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(move(weeks.database, replace(plan, export=hang)))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await weeks.left_over() == NOTHING
    assert await weeks.seen() == before


async def test_what_is_not_kept_goes_but_for_what_stays_or_is_changed(weeks: Weeks, another: Connection) -> None:
    await weeks.make()
    cold = await weeks.remember(0, 0, 5)
    going = await weeks.remember(1, 1, 10, pieces=2)
    plan = await weeks.plan("cold")
    parts = tuple(
        Part(one.parent, (one.sources[0], replace(one.sources[1], kept=False))) for one in plan.parts
    )  # fmt: skip
    order: list[str] = []
    changes: list[Trace] = []

    async def export() -> None:
        order.append("export")
        await weeks.change(1, going[0], on=another)
        await weeks.forget(1, going[1], on=another)

    async def staying(_: Connection) -> list[Trace]:
        order.append("staying")
        return [(weeks.users[1], going[2])]

    async def changed(connection: Connection, traces: Any) -> None:
        order.append("changed")
        changes.extend(traces)

    async def swapped(connection: Connection) -> None:
        order.append("swapped")
        assert await weeks_of(connection) == [("cold",)]

    async def weeks_of(connection: Connection) -> list[Any]:
        return await fetch(connection, "SELECT DISTINCT tier FROM memory_partition WHERE lower < %s",
                           week_of(BEGIN + 52 * WEEK).lower)  # fmt: skip

    moved = await move(
        weeks.database,
        Move(
            parts, "cold", export=export, staying=staying, changed=changed, swapped=swapped, locked=("memory_digest",)
        ),
    )
    left = await weeks.seen(as_codes=False)
    assert {trace for _, trace in left["bodies"]} == {*cold, going[0], going[2]}
    assert {key[1] for key in left["vectors"]} == {*cold, going[0], going[2]}
    assert set(changes) == {(weeks.users[1], going[0]), (weeks.users[1], going[1])}
    assert order == ["export", "staying", "changed", "swapped"]
    assert moved.traces == 5
    ((traces,),) = await fetch(weeks.owner, "SELECT count(*) FROM memory_trace")
    assert traces == 14


async def test_a_model_that_comes_meanwhile_has_its_index_and_its_vectors(
    weeks: Weeks, another: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await weeks.make()
    old = await weeks.remember(0, 0, 5)
    await weeks.remember(1, 0, 5)

    async def register() -> None:
        model = await add_model(another, "new", 9, "fp16", BEGIN)
        await add_model_indexes(another, model)
        weeks.models.append(model)
        await weeks.embed(weeks.users[0], old, BEGIN, model, 0, on=another)

    at_phase(monkeypatch, "_index", register)
    await move(weeks.database, await weeks.plan())
    found = await weeks.seen(as_codes=False)
    assert len(found["vectors"]) == 35
    for model in weeks.models:
        assert await fetch(
            weeks.owner, "SELECT to_regclass(%s) IS NOT NULL", exact_name(f"{STEM}_1", model)
        ) == [(True,)]  # fmt: skip
        assert await add_model_indexes(weeks.owner, model) == []


async def test_what_recall_needs_to_know_of_large_users_is_measured(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "BITS_ROWS", 60)
    monkeypatch.setattr(measuring, "FEWEST_CANDIDATES", 5)
    await weeks.make((32, "fp16"))
    model = weeks.models[0]
    for week, traces in ((0, 50), (1, 40)):
        await weeks.remember(week, 0, traces, heads=(0, 1))
    await weeks.remember(0, 1, 70, heads=(0,))
    await weeks.remember(0, 2, 30, heads=(0,))
    # What was known of a partition goes with it.
    await weeks.owner.execute(
        "INSERT INTO memory_index SELECT %s, table_name, %s, 0, 'bits', lower, upper, 'i', 45, 999, 0.99,"
        " '{0,45}', '{}', now() FROM memory_partition WHERE table_name = %s",
        (weeks.users[0], model.id, STEM),
    )
    await move(weeks.database, await weeks.plan())
    rows = await fetch(
        weeks.owner,
        "SELECT user_id, head, method, index_name, rows, looks, recall, kinds, cardinality(moments), lower, upper"
        " FROM memory_index ORDER BY rows DESC",
    )
    bits = bits_name(f"{STEM}_1", model)
    assert [row[:5] for row in rows] == [
        (weeks.users[0], 0, "bits", bits, 90), (weeks.users[1], 0, "bits", bits, 70),
    ]  # fmt: skip
    for user, row in zip(weeks.users, rows, strict=False):
        # Of so few all are looked at, or fewer, and among these are nearly all that are wanted.
        assert 10 < row[5] <= 1.2 * row[4] + 1
        assert row[6] >= 0.99
        assert row[7:] == ([0, row[4], 0, 0, 0, 0], 21, week_of(BEGIN).lower, week_of(BEGIN + WEEK).upper)
        assert row[5] == pytest.approx(await needed(weeks, user), rel=0.35)
    ((definition,),) = await fetch(weeks.owner, "SELECT pg_get_indexdef(to_regclass(%s))", bits)
    assert definition.endswith(f"WHERE ((model_id = {model.id}) AND (codes IS NOT NULL) AND (head = 0))")


async def needed(weeks: Weeks, user: UUID) -> int:
    """As many candidates, found by PostgreSQL as recall finds them, hold the exact top ten of questions."""
    rows = await fetch(
        weeks.owner, "SELECT bits, codes FROM memory_embedding WHERE user_id = %s AND head = 0 ORDER BY 1", user
    )
    signs = np.array([np.frombuffer(int(row[0], 2).to_bytes(4, "big"), dtype=np.uint8) for row in rows])
    vectors = restore(unpack(np.array([np.frombuffer(row[1], dtype=np.uint8) for row in rows]), signs, 32))
    ranks = []
    for question in measuring.asked_of(list(vectors)):
        near = set(np.argsort(-(vectors @ question))[:10].tolist())
        masks = [Bit(bits) for told in told_by(question) for bits in told]
        found = await fetch(
            weeks.owner,
            "SELECT n, d, rank() OVER (ORDER BY d) + count(*) OVER (PARTITION BY d) - 1 FROM (SELECT"
            " row_number() OVER (ORDER BY bits) - 1 AS n, (bits & %s <~> %s) + (bits & %s <~> %s) AS d"
            " FROM memory_embedding WHERE user_id = %s AND head = 0) AS r",
            *masks, user,
        )  # fmt: skip
        ranks += [int(rank) for n, _, rank in found if n in near]
    return measuring.enough(ranks)[0]


def test_a_row_of_another_model_is_refused() -> None:
    form = copying.Format(Model(1, "m", 8, "fp16"))
    with pytest.raises(ValueError, match="bytes long"):
        form.rows([b"x" * 100])


async def test_every_column_is_copied(owner: Connection) -> None:
    """A column that is added to the table has to be added to the copy too."""
    columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'memory_embedding'::regclass AND attnum > 0"
    copied = copying.SQL.text("write_vectors", table="t", options="").decode().split("(")[1].split(")")[0].split(", ")
    assert {*copied, "vec", "vec_fp32"} == {name for (name,) in await fetch(owner, columns)}


def test_numbers_of_names() -> None:
    assert moving.number_of("memory_body_2026w47", "memory_body_2026w47") == 0
    assert moving.number_of("memory_body_2026w47_2", "memory_body_2026w47") == 2
    assert moving.number_of("memory_body_2026w47_12_lexemes", "memory_body_2026w47") == 12
    assert moving.number_of("memory_body_2026w47_lexemes", "memory_body_2026w47") == 0
    assert moving.number_of("memory_body_2026w47_pkey", "memory_body_2026w47") == 0
