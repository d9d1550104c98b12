"""Reads that travel together: one round trip, one transaction, walls and limits as everywhere, whatever fails."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors

from reverie.core import pool
from reverie.core.arrays import Uuids
from reverie.core.config import Settings
from reverie.core.database import Database, configure
from reverie.core.pool import Line

if TYPE_CHECKING:
    from tests.servers import SharedServers

SPACE = b"SELECT current_setting('reverie.space', true)"


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(scope="module", params=[18, 16])
def empty_url(request: pytest.FixtureRequest, shared_servers: "SharedServers") -> Iterator[str]:
    """An empty database of each version of PostgreSQL."""
    server, name = shared_servers.postgres(request.param), f"trips_{os.getpid()}_{request.param}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
async def line(empty_url: str) -> AsyncIterator[Line]:
    """A connection as the database's owner."""
    async with await Line.connect(empty_url, autocommit=True) as line:
        await configure(line)
        yield line


async def prepared(line: Line) -> int:
    cursor = await line.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'reverie_%'")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_rows_come_as_they_were_asked_for(line: Line) -> None:
    user, moment = uuid4(), datetime(2026, 5, 8, 13, 56, tzinfo=UTC)
    for _ in range(3):
        found = await line.ask(
            [
                (b"SELECT %b::text, %b::uuid, %b::timestamptz, %b::uuid[]", ("Zoë", user, moment, [user, user])),
                (b"SELECT n FROM generate_series(1, %b) n", (3,)),
                (b"SELECT 1 WHERE false", ()),
                (b"SELECT %b::text, %b::bytea[]", (None, [b"\x00", b"a"])),
                (b"SELECT %b::text", ("",)),
            ]
        )
        assert found == [
            [("Zoë", user, moment, [user, user])], [(1,), (2,), (3,)], [], [(None, [b"\x00", b"a"])], [("",)],
        ]  # fmt: skip
    assert await prepared(line) == 5


async def test_what_travels_together_is_one_transaction(line: Line) -> None:
    found = await line.ask([(b"SELECT transaction_timestamp(), clock_timestamp()", ())] * 2)
    (first, second) = (rows[0] for rows in found)
    assert first[0] == second[0]
    assert first[1] < second[1]
    # The next is another.
    assert (await line.ask([(b"SELECT transaction_timestamp()", ())]))[0][0][0] > first[0]


async def test_what_is_set_for_a_transaction_ends_with_it(line: Line) -> None:
    setting = (b"SELECT set_config('reverie.space', %b, true), set_config('transaction_read_only', 'on', true)", ("x",))
    assert (await line.ask([setting, (SPACE, ()), (SPACE, ())]))[1:] == [[("x",)], [("x",)]]
    assert await line.ask([(SPACE, ())]) == [[("",)]]
    with pytest.raises(errors.ReadOnlySqlTransaction):
        await line.ask([setting, (b"CREATE TABLE never_made (n int)", ())])
    with pytest.raises(errors.DivisionByZero):
        await line.ask([setting, (b"SELECT 1 / %b", (0,))])
    assert await line.ask([(SPACE, ()), (b"CREATE TEMPORARY TABLE made (n int)", ())]) == [[("",)], []]


async def test_uuids_are_an_array(line: Line) -> None:
    for ids in ([], [uuid4()], [uuid4() for _ in range(300)]):
        given = Uuids(one.bytes for one in ids)
        assert await line.ask([(b"SELECT %b::uuid[], cardinality(%b::uuid[])", (given, given))]) == [[(ids, len(ids))]]


async def test_a_session_holds_for_its_space_alone(database: Database) -> None:
    for space_id in (uuid4(), uuid4()):
        async with database.reading(space_id) as session:
            one = await session.send(SPACE)
            assert await session.fetch(SPACE) == [(str(space_id),)]
            other = await session.send(SPACE)
        assert await one.fetchall() == await other.fetchall() == [(str(space_id),)]
    async with database.reading(None) as session:
        assert await session.fetch(SPACE) == [("",)]
    async with database.writing(None) as session:
        assert await session.fetch(SPACE) == [("",)]


async def test_a_session_cannot_write(database: Database) -> None:
    for reading in (database.reading, database.reading_vectors):
        with pytest.raises(errors.ReadOnlySqlTransaction):
            async with reading(UUID(int=1)) as session:
                await session.fetch(b"DELETE FROM memory_user WHERE user_id = %b", (uuid4(),))
    async with database.writing(None) as session:
        assert await session.fetch(b"DELETE FROM operation WHERE id = %b RETURNING id", (uuid4(),)) == []


async def test_nothing_is_sent_before_rows_are_asked_for(database: Database) -> None:
    before = database.statistics()["requests_num"]
    async with database.reading(None) as session:
        waiting = await session.send(b"SELECT 1")
        with pytest.raises(psycopg.InterfaceError):
            await waiting.fetchall()
        assert database.statistics()["requests_num"] == before
        assert await session.fetch(b"SELECT 2") == [(2,)]
        assert database.statistics()["requests_num"] == before + 1
    assert await waiting.fetchall() == [(1,)]
    async with database.reading(None):
        pass
    assert database.statistics()["requests_num"] == before + 1


async def test_a_session_that_is_left_by_an_error_sends_nothing(database: Database) -> None:
    before = database.statistics()["requests_num"]

    async def leave() -> None:
        async with database.reading(None) as session:
            await session.send(b"SELECT 1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await leave()
    assert database.statistics()["requests_num"] == before


async def test_one_that_fails_fails_all_and_leaves_the_connection_whole(line: Line) -> None:
    for _ in range(2):
        with pytest.raises(errors.DivisionByZero):
            await line.ask([(b"SELECT 1", ()), (b"SELECT 1 / %b", (0,)), (b"SELECT 2", ())])
        with pytest.raises(errors.UndefinedTable):
            await line.ask([(b"SELECT 3", ()), (b"SELECT * FROM nowhere", ())])
        with pytest.raises(psycopg.ProgrammingError):
            await line.ask([(b"SELECT %b", (object(),))])
        assert line.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert await line.ask([(b"SELECT 1", ()), (b"SELECT 3", ())]) == [[(1,)], [(3,)]]
        # And psycopg's own way of asking goes on working.
        assert await (await line.execute("SELECT 4", prepare=True)).fetchall() == [(4,)]


async def test_it_stands_that_a_rollback_drops_what_is_prepared(line: Line) -> None:
    assert await line.ask([(b"SELECT 1", ())]) == [[(1,)]]
    await line.execute("SELECT 5", prepare=True)
    with pytest.raises(errors.DivisionByZero):
        async with line.transaction():
            await line.execute("SELECT 1 / 0")
    await line.execute("BEGIN")
    await line.rollback()
    assert await prepared(line) == 0
    assert await line.ask([(b"SELECT 1", ()), (b"SELECT 2", ())]) == [[(1,)], [(2,)]]
    assert await prepared(line) == 2


async def test_what_a_statement_returns_may_change(line: Line) -> None:
    await line.execute("CREATE TEMPORARY TABLE changing (a int)")
    await line.execute("INSERT INTO changing VALUES (1)")
    assert await line.ask([(b"SELECT * FROM changing", ())]) == [[(1,)]]
    await line.execute("ALTER TABLE changing ADD COLUMN b int DEFAULT 2")
    assert await line.ask([(b"SELECT * FROM changing", ())]) == [[(1, 2)]]


async def test_only_so_many_statements_are_kept(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_PREPARED", 5)
    for n in range(20):
        assert await line.ask([(b"SELECT 0", ()), (b"SELECT %d" % n, ())]) == [[(0,)], [(n,)]]
        assert await prepared(line) <= 6
    # The one that is used each time was prepared once.
    cursor = await line.execute("SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT 0'")
    assert await cursor.fetchall() == [("reverie_1",)]


async def test_more_than_a_socket_holds(line: Line) -> None:
    large = "x" * 20_000_000
    found = await line.ask([(b"SELECT %b::text", (large,)), (b"SELECT length(%b)", (large,))])
    assert found == [[(large,)], [(len(large),)]]


async def test_a_statement_has_its_time(database: Database) -> None:
    with pytest.raises(errors.QueryCanceled):
        async with database.reading(None, seconds=0.1) as session:
            await session.fetch(b"SELECT pg_sleep(30)")
    async with database.reading(None) as session:
        assert await session.fetch(b"SELECT current_setting('statement_timeout')") == [("10s",)]


RUNNING = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep($1)%' AND state = 'active' "
    "AND datname = current_database()"
)
ASLEEP = (b"SELECT pg_sleep(%b)", (30,))


async def busy(owner: psycopg.AsyncConnection[Any]) -> int:
    """The server process that sleeps, when there is one."""
    async with asyncio.timeout(10):
        while True:
            row = await (await owner.execute(RUNNING)).fetchone()
            if row is not None:
                return int(row[0])


async def test_who_gives_up_leaves_nothing_running(database: Database) -> None:
    async with database.maintenance() as owner:
        for _ in range(3):
            task = asyncio.create_task(database._pool.ask([ASLEEP], 60))
            await busy(owner)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await (await owner.execute(RUNNING)).fetchall() == []
            async with database.reading(None) as session:
                assert await session.fetch(b"SELECT 1") == [(1,)]
    assert database.statistics().get("connections_lost", 0) == 0


async def test_a_server_that_ends_the_connection_says_why(database: Database) -> None:
    task = asyncio.create_task(database._pool.ask([ASLEEP, (b"SELECT 1", ())], 60))
    async with database.maintenance() as owner:
        await owner.execute("SELECT pg_terminate_backend(%s)", (await busy(owner),))
    with pytest.raises(errors.AdminShutdown):
        await task
    async with asyncio.timeout(10), database.reading(None) as session:
        assert await session.fetch(b"SELECT 1") == [(1,)]


async def test_a_silent_server_is_not_waited_for(database: Database) -> None:
    with pytest.raises(psycopg.OperationalError):
        await database._pool.ask([ASLEEP], 0.2)
    async with asyncio.timeout(10), database.reading(None) as session:
        assert await session.fetch(b"SELECT 1") == [(1,)]
