"""Partitions are made once, whoever asks, and wait for nobody long."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from tests.tiers.rows import add_traces, fetch

from reverie.core.database import Connection
from reverie.core.ids import uuid7
from reverie.tiers import locks
from reverie.tiers.partitions import PARENTS, ensure_partitions, week_of, weeks_between

PAST = datetime(2020, 3, 4, 5, tzinfo=UTC)
LATER = PAST + timedelta(weeks=3)

ATTACHED = """
    SELECT c.relname, i.inhparent::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE c.relkind = 'r'
"""


async def test_they_are_made_once(owner: Connection) -> None:
    made = await ensure_partitions(owner, PAST, LATER)
    assert sorted(made) == sorted(week.table(parent) for week in weeks_between(PAST, LATER) for parent in PARENTS)
    assert await ensure_partitions(owner, PAST, LATER) == []
    assert await ensure_partitions(owner, PAST - timedelta(weeks=1), LATER) == [
        week_of(PAST - timedelta(weeks=1)).table(parent) for parent in PARENTS
    ]


async def test_the_table_of_partitions_says_what_is_attached(owner: Connection) -> None:
    await ensure_partitions(owner, PAST, LATER)
    attached = await fetch(owner, ATTACHED)
    assert sorted(attached) == sorted(await fetch(owner, "SELECT table_name, parent FROM memory_partition"))
    assert len(attached) >= 8


async def test_callers_at_once_share_the_work(owner: Connection, another: Connection) -> None:
    mine, theirs = await asyncio.gather(ensure_partitions(owner, PAST, LATER), ensure_partitions(another, PAST, LATER))
    assert sorted(mine + theirs) == sorted(week.table(p) for week in weeks_between(PAST, LATER) for p in PARENTS)


async def test_a_row_goes_where_its_id_says(owner: Connection) -> None:
    space, user = uuid4(), uuid4()
    await ensure_partitions(owner, PAST, LATER)
    week = week_of(PAST + timedelta(weeks=1))
    edge = timedelta(milliseconds=1)
    for moment, there in (
        (week.since - edge, week_of(PAST)),
        (week.since, week),
        (week.until - edge, week),
        (week.until, week_of(week.until)),
    ):
        (trace,) = await add_traces(owner, space, user, moment, 1)
        found = await fetch(
            owner,
            "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
            " VALUES (%s, %s, %s, %s, 0, 2, '', '') RETURNING tableoid::regclass::text",
            space, user, trace, moment,
        )  # fmt: skip
        assert found == [(there.table("memory_body"),)]
    await owner.execute("DELETE FROM memory_trace WHERE user_id = %s", (user,))
    assert await fetch(owner, "SELECT count(*) FROM memory_body WHERE user_id = %s", user) == [(0,)]


async def test_a_body_of_no_trace_is_refused(owner: Connection) -> None:
    await ensure_partitions(owner, PAST, PAST)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await owner.execute(
            "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
            " VALUES (%s, %s, %s, %s, 0, 2, '', '')",
            (uuid4(), uuid4(), uuid7(PAST), PAST),
        )


async def test_a_merged_partition_counts_for_all_its_weeks(owner: Connection) -> None:
    await ensure_partitions(owner, PAST, PAST)
    await owner.execute(
        "UPDATE memory_partition SET upper = %s WHERE lower = %s", (week_of(LATER).upper, week_of(PAST).lower)
    )
    assert await ensure_partitions(owner, PAST, LATER) == []


async def test_a_partition_looks_like_its_parent(owner: Connection) -> None:
    await ensure_partitions(owner, PAST, PAST)
    columns = (
        "SELECT attname, atttypid, atttypmod, attnotnull, attstorage FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum"
    )
    for parent in PARENTS:
        assert await fetch(owner, columns, parent) == await fetch(owner, columns, week_of(PAST).table(parent))
    stored = (
        "SELECT attstorage FROM pg_attribute WHERE attrelid = 'memory_embedding'::regclass AND attname LIKE 'vec%%'"
    )
    assert await fetch(owner, stored.replace("%%", "%")) == [("p",), ("p",)]
    held = await fetch(
        owner,
        "SELECT count(*) FILTER (WHERE contype = 'f'), count(*) FILTER (WHERE contype = 'c' AND conname NOT LIKE"
        " '%one_vector%') FROM pg_constraint WHERE conrelid = 'memory_embedding_2020w10'::regclass",
    )
    assert held == [(1, 0)]
    options = await fetch(owner, "SELECT reloptions FROM pg_class WHERE relname = 'memory_embedding_2020w10'")
    assert "autovacuum_vacuum_insert_threshold=500" in options[0][0]
    indexes = await fetch(owner, "SELECT indexdef FROM pg_indexes WHERE tablename = 'memory_body_2020w10'")
    assert any("gin (lexemes) WITH (gin_pending_list_limit='128')" in index for (index,) in indexes)


async def test_privileges_given_by_default_are_taken_back(owner: Connection) -> None:
    await owner.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reverie_app, PUBLIC")
    await ensure_partitions(owner, PAST, PAST)
    await owner.execute("SET ROLE reverie_app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await owner.execute("SELECT FROM memory_body_2020w10")


async def test_a_lock_is_waited_out(owner: Connection, another: Connection) -> None:
    async def hold() -> None:
        async with another.transaction():
            await another.execute("LOCK memory_trace IN ROW EXCLUSIVE MODE")
            await asyncio.sleep(0.6)

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0.1)
    assert len(await ensure_partitions(owner, PAST, PAST)) == 2
    assert holding.done()
    assert await fetch(owner, "SHOW lock_timeout") == [("0",)]


async def test_writers_queue_a_tenth_of_a_second_at_most(
    owner: Connection, another: Connection, database_url: str
) -> None:
    """DDL that waits for a reader must not make the next reader wait for it."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as writer:
        async with another.transaction():
            await another.execute("LOCK memory_trace IN ROW EXCLUSIVE MODE")
            making = asyncio.create_task(ensure_partitions(owner, PAST, PAST))
            waits = []
            for _ in range(40):
                began = time.monotonic()
                await add_traces(writer, uuid4(), uuid4(), PAST, 1)
                waits.append(time.monotonic() - began)
                await asyncio.sleep(0.01)
            assert not making.done()
        await making
    assert max(waits) < 0.5
    assert sum(waits) > 0.05


async def test_a_lock_that_stays_is_an_error(
    owner: Connection, another: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.2)
    async with another.transaction():
        await another.execute("LOCK memory_trace IN ROW EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await ensure_partitions(owner, PAST, PAST)
    assert len(await ensure_partitions(owner, PAST, PAST)) == 2


async def test_after_some_seconds_one_wait_outlasts_an_autovacuum(
    owner: Connection, another: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STUBBORN_AFTER_SECONDS", 0.0)
    async with another.transaction():
        await another.execute("LOCK memory_trace IN SHARE UPDATE EXCLUSIVE MODE")
        began = time.monotonic()
        making = asyncio.create_task(ensure_partitions(owner, PAST, PAST))
        await asyncio.sleep(1.2)
        waiting = await fetch(another, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        assert (making.done(), waiting) == (False, [(1,)])
    assert len(await making) == 2
    assert time.monotonic() - began < 1.6
