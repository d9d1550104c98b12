"""Answers that are kept: they stand as long as nothing of their users has changed, and no longer than a while."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from tests.conftest import Api
from tests.memories.helpers import post

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.ids import user_uuid
from reverie.recall.cache import UNKNOWN, Cache, Looking, Versions, key_of, stands_until, versions_of
from reverie.recall.schemas import RecallIn, RecallQuery

ANSWER = {"results": ["a"]}
KEY = b"key"


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def space_id(api: Api) -> UUID:
    found: UUID = await api.app.state.keys.ensure_space("default")
    return found


async def versions(database: Database, space_id: UUID, users: list[UUID]) -> Versions:
    found = await versions_of(database, space_id, users, 5)
    assert found is not None
    return found


async def test_a_kept_answer_stands_until_a_write(
    database: Database, caller: httpx.AsyncClient, space_id: UUID, user: str
) -> None:
    other = f"{user} 2"
    (made,) = (await post(caller, user, "The heron flew.")).json()["traces"]
    await post(caller, other, "The owl slept.")
    users = [user_uuid(space_id, user), user_uuid(space_id, other)]
    kept: Cache[Any] = Cache()

    async def found() -> Any:
        return await kept.find(database, space_id, users, KEY, 5)

    async def keep() -> None:
        kept.keep(KEY, ANSWER, 10, await versions(database, space_id, users))
        assert await found() is ANSWER

    trace = f"/memory/traces/{made['trace_id']}"
    writes: list[Callable[[], Awaitable[httpx.Response]]] = [
        lambda: post(caller, user, "The heron dived."),
        lambda: post(caller, other, "The owl woke."),
        lambda: post(caller, other, "The owl hunts.", wait=False),
        lambda: caller.patch(trace, params={"user_id": user}, json={"content": "The heron flew off."}),
        lambda: caller.delete(trace, params={"user_id": user}),
        lambda: caller.post("/memory/forget", json={"user_id": other, "scope": {"all": True}}),
    ]
    for write in writes:
        await keep()
        assert (await write()).status_code < 300
        assert await found() is None
        assert len(kept) == kept.size == 0
    # What only reads changes nothing.
    await keep()
    await caller.get("/memory/traces", params={"user_id": user})
    await caller.get("/memory/recall", params={"user_id": user, "q": "heron"})
    assert await found() is ANSWER


async def test_a_user_who_is_not_there_yet(
    database: Database, caller: httpx.AsyncClient, space_id: UUID, user: str
) -> None:
    users = [user_uuid(space_id, user)]
    kept: Cache[Any] = Cache()
    kept.keep(KEY, ANSWER, 10, await versions(database, space_id, users))
    assert await versions(database, space_id, users) == (UNKNOWN,)
    assert await kept.find(database, space_id, users, KEY, 5) is ANSWER
    await post(caller, user, "The heron flew.")
    assert await kept.find(database, space_id, users, KEY, 5) is None


async def test_another_space_sees_no_version(
    database: Database, caller: httpx.AsyncClient, api: Api, space_id: UUID, user: str
) -> None:
    await post(caller, user, "The heron flew.")
    users = [user_uuid(space_id, user)]
    elsewhere = await api.app.state.keys.ensure_space("elsewhere")
    assert await versions(database, elsewhere, users) == (UNKNOWN,)
    assert await versions(database, space_id, users) > (0,)


async def test_nothing_is_asked_where_nothing_is_kept(database: Database) -> None:
    before = database.statistics()["requests_num"]
    kept: Cache[Any] = Cache()
    assert await kept.find(database, uuid4(), [uuid4()], KEY, 5) is None
    assert database.statistics()["requests_num"] == before


async def test_without_postgresql_nothing_is_known(database: Database) -> None:
    users = [uuid4()]
    kept: Cache[Any] = Cache()
    kept.keep(KEY, ANSWER, 10, (UNKNOWN,))
    async with database.maintenance() as owner:
        await owner.execute("BEGIN")
        await owner.execute("LOCK TABLE memory_user IN ACCESS EXCLUSIVE MODE")
        assert await kept.find(database, uuid4(), users, KEY, 0.2) is None
        await owner.execute("ROLLBACK")
    assert await kept.find(database, uuid4(), users, KEY, 5) is ANSWER
    await database.close()
    with pytest.raises(psycopg.Error):
        async with database.reading(None) as session:
            await session.fetch(b"SELECT 1")
    assert await kept.find(database, uuid4(), users, KEY, 0.2) is None


async def test_the_clock_ends_what_is_kept(database: Database) -> None:
    users, space_id = [uuid4()], uuid4()
    kept: Cache[Any] = Cache(seconds=60)
    start = datetime(2026, 5, 8, 12, tzinfo=UTC)

    async def at(seconds: float) -> Any:
        with clock.as_of(start + timedelta(seconds=seconds)):
            return await kept.find(database, space_id, users, KEY, 5)

    def keep(until: float | None = None) -> None:
        with clock.as_of(start):
            end = None if until is None else start + timedelta(seconds=until)
            kept.keep(KEY, ANSWER, 10, (UNKNOWN,), until=end)

    keep()
    assert await at(1) is await at(55) is ANSWER
    assert await at(61) is None
    assert await at(1) is None
    keep(until=30)
    assert await at(25) is ANSWER
    assert await at(31) is None
    keep(until=90)
    assert await at(61) is None
    keep()
    # The clock was set back: what was now is yet to come.
    assert await at(-5) is None
    for nothing in (0, -1):
        keep(until=nothing)
        assert len(kept) == kept.size == 0


async def test_what_is_kept_is_bounded(database: Database) -> None:
    users, space_id = [uuid4()], uuid4()
    kept: Cache[Any] = Cache(most=100)

    async def there() -> list[int]:
        found = [await kept.find(database, space_id, users, b"%d" % n, 5) for n in range(12)]
        return [n for n, one in enumerate(found) if one is not None]

    for n in range(10):
        kept.keep(b"%d" % n, ANSWER, 10, (UNKNOWN,))
    assert kept.size == 100
    assert await kept.find(database, space_id, users, b"0", 5) is ANSWER
    kept.keep(b"10", ANSWER, 20, (UNKNOWN,))
    # Those that were not asked for: 0 was.
    assert (await there(), kept.size) == ([0, 3, 4, 5, 6, 7, 8, 9, 10], 100)
    kept.keep(b"10", ANSWER, 5, (UNKNOWN,))
    assert kept.size == 85
    kept.keep(b"11", ANSWER, 101, (UNKNOWN,))
    assert (11 not in await there(), kept.size) == (True, 85)
    kept.clear()
    assert (await there(), kept.size, len(kept)) == ([], 0, 0)


async def test_what_nobody_asks_for_leaves_memory() -> None:
    kept: Cache[Any] = Cache(seconds=0.05)
    for n in range(3):
        kept.keep(b"%d" % n, ANSWER, 10, (UNKNOWN,))
        await asyncio.sleep(0.03)
    async with asyncio.timeout(10):
        while len(kept):  # noqa: ASYNC110 - a timer does it
            await asyncio.sleep(0.01)
    assert kept.size == 0
    kept.keep(KEY, ANSWER, 10, (UNKNOWN,))
    kept.clear()


def test_every_parameter_and_the_space_tell_questions_apart() -> None:
    one, other = UUID(int=1), UUID(int=2)
    given: list[dict[str, Any]] = [
        {}, {"q": "b"}, {"user_id": ["v"]}, {"user_id": ["u", "v"]}, {"user_id": ["v", "u"]}, {"k": 5},
        {"kinds": ["note"]}, {"roles": ["user"]}, {"conversation_id": "c"}, {"since": "2026-01-01"},
        {"until": "2026-01-01"}, {"at": "2026-01-01"}, {"time_window": "30d"}, {"time_window": "31d"},
        {"tiers": ["hot"]}, {"recipe": "fast"}, {"min_score": 0.5}, {"explain": True}, {"heads": ["situation"]},
    ]  # fmt: skip
    plain = {"user_id": ["u"], "q": "a"}
    keys = [key_of(one, RecallQuery.model_validate(plain | more)) for more in given]
    body: list[dict[str, Any]] = [{}, {"filter": {"meta.n": 1}}, {"embedding": [1.0]}, {"embedding": [1.5]}]
    keys += [key_of(one, RecallIn.model_validate(plain | more)) for more in body]
    keys.append(key_of(other, RecallQuery.model_validate(plain)))
    assert len(set(keys)) == len(keys)
    assert key_of(one, RecallQuery.model_validate(plain)) == keys[0]


async def test_an_answer_stands_from_the_least_that_was_seen(
    database: Database, caller: httpx.AsyncClient, space_id: UUID, user: str
) -> None:
    nobody = user_uuid(space_id, f"{user} 2")
    looking = Looking(database, [user_uuid(space_id, user), nobody])
    assert await looking.versions() is None
    await post(caller, user, "The heron flew.")
    async with looking.reading(space_id) as session:
        before = await session.fetch(b"SELECT count(*) FROM memory_trace")
    first = await looking.versions()
    assert first is not None
    assert first[0] > 0
    assert first[1] == UNKNOWN
    await post(caller, user, "The heron dived.")
    async with looking.reading_vectors(space_id) as session:
        rows = await session.send(b"SELECT count(*) FROM memory_trace")
    assert (await rows.fetchall())[0][0] == before[0][0] + 1
    # The first session saw less.
    assert await looking.versions() == first
    assert await versions(database, space_id, [user_uuid(space_id, user)]) > first[:1]
    with pytest.raises(psycopg.Error):
        async with looking.reading(space_id) as session:
            await session.fetch(b"SELECT 1 / 0")
    with pytest.raises(psycopg.InterfaceError):
        await looking.versions()


def test_a_window_of_time_moves_on() -> None:
    moments = [datetime(2026, 5, day, tzinfo=UTC) for day in (8, 3, 9)]
    assert stands_until(moments, timedelta(days=30)) == datetime(2026, 6, 2, tzinfo=UTC)
    assert stands_until([], timedelta(days=30)) is None
