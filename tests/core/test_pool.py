"""The pool while others take every place of the server: it serves with what it has left, and says so without any."""

from typing import TYPE_CHECKING

import pytest
from tests.faults.scenery import connected, without_connections
from tests.waiting import PATIENCE, until

from reverie.core import pool
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.outages import CROWDED, Unreachable

if TYPE_CHECKING:
    from tests.servers import SharedPostgres


async def served_by(database: Database) -> int:
    """The process of the server that a session meets."""
    async with database.reading(None) as session:
        row = await session.fetch_one(b"SELECT pg_backend_pid()")
    assert row is not None
    return int(row[0])


async def end_connection(postgres: "SharedPostgres", pid: int) -> None:
    """Ends one connection, and waits for its end."""
    async with connected(postgres.url(role="postgres")) as superuser:
        cursor = await superuser.execute("SELECT pg_terminate_backend(%s, 60000)", (pid,))
        assert await cursor.fetchall() == [(True,)]


async def test_crowded_out_it_serves_with_what_is_left(
    settings: Settings, postgres: "SharedPostgres", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LOOK_SECONDS", PATIENCE)
    database = Database(settings)
    await database.open()
    try:
        async with database.writing(None):
            lost = await served_by(database)
        async with without_connections(postgres, database.url):
            await end_connection(postgres, lost)
            # Each of the two has its turn, and the lost one is found out.
            [left] = {await served_by(database) for _ in range(4)}
            assert (left != lost, database.outage) == (True, None)
            await end_connection(postgres, left)
            with pytest.raises(Unreachable):
                await served_by(database)
            assert database.outage is CROWDED
        await until(lambda: database.outage is None)
        assert await served_by(database) != left
    finally:
        await database.close()
