"""More than can be served, callers who go away, and callers who send a byte at a time: the others are served.

Nothing here is proved by the clock. A lock in PostgreSQL holds what is at work, so that what waits, what is refused and
what is served beside it can be counted.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import psycopg
import pytest
import uvicorn

from reverie.app import create_app
from reverie.core import connections
from reverie.core.admission import Gate
from reverie.core.config import Settings
from reverie.core.connections import Door, Server
from reverie.embedding.protocol import Embedder
from tests.conftest import Api
from tests.contracts.house import assert_problem
from tests.waiting import PATIENCE, until

WORK: Final = 2
WAITING: Final = 3
CONNECTIONS: Final = 80


class Served:
    """The API on a port of loopback, as `reverie api` serves it, within the test's process."""

    def __init__(self, api: Api, server: Server, settings: Settings) -> None:
        self.api = api
        self.server = server
        self.settings = settings
        self.host, self.port = server.servers[0].sockets[0].getsockname()[:2]

    @property
    def gate(self) -> Gate:
        gate: Gate = self.api.app.state.gate
        return gate

    def client(self, key: str | None) -> httpx.AsyncClient:
        """A caller with many connections."""
        headers = {"X-API-Key": key} if key else {}
        limits = httpx.Limits(max_connections=None)
        return httpx.AsyncClient(
            base_url=f"http://{self.host}:{self.port}", headers=headers, timeout=PATIENCE, limits=limits
        )

    async def send(self, key: str, method: str, path: str, body: bytes = b"", length: int | None = None) -> "Line":
        """A request over a connection of its own; ``length`` is what it says of its body."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        lines = [f"{method} {path} HTTP/1.1", "Host: reverie.test", f"X-API-Key: {key}"]
        if body or length:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        return Line(reader, writer)


class Line:
    """A connection over which a request was sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def status(self) -> int:
        """The status of the answer."""
        return int((await asyncio.wait_for(self._reader.readline(), PATIENCE)).split()[1])

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def go_away(self) -> None:
        """As a caller that is killed."""
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def served(settings: Settings, embedder: Embedder) -> AsyncIterator[Served]:
    """An API that does two of a kind at once, lets three wait, and has patience for the length of a test."""
    few = {
        "reverie_max_recalls": WORK,
        "reverie_max_writes": WORK,
        "reverie_max_waiting": WAITING,
        "reverie_max_wait_seconds": PATIENCE,
        "reverie_max_connections": CONNECTIONS,
        "reverie_body_seconds": 1.0,
        "memory_recall_timeout_seconds": PATIENCE,
        "database_timeout_seconds": PATIENCE,
        "database_pool_size": 8,
    }
    async with serve(settings.model_copy(update=few), embedder) as running:
        yield running


@asynccontextmanager
async def serve(settings: Settings, embedder: Embedder) -> AsyncIterator[Served]:
    app = create_app(settings, embedder)
    kind: Any = Door(settings.reverie_max_connections, settings.reverie_grace_seconds)
    config = uvicorn.Config(
        app, port=0, http=kind, ws="none", lifespan="on", log_config=None, log_level="warning", access_log=False
    )
    server = Server(config)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        yield Served(Api(app), server, settings)
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, PATIENCE)


class Lock:
    """A lock that some statements of the service wait for."""

    def __init__(self, connection: "psycopg.AsyncConnection[tuple[Any, ...]]", watch: Any) -> None:
        self.release = connection.rollback
        self._watch = watch

    async def until_held(self, count: int | None = None) -> None:
        """Waits until so many sessions of this database wait for a lock; by default until any do."""
        async with asyncio.timeout(PATIENCE):
            found = await self._waiting()
            while found != count and (count is not None or found == 0):
                await asyncio.sleep(0.01)
                found = await self._waiting()

    async def _waiting(self) -> int:
        cursor = await self._watch.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return int((await cursor.fetchone())[0])


@asynccontextmanager
async def locked(settings: Settings, statement: str) -> AsyncIterator[Lock]:
    """Takes a lock by a statement of the owner, until it is released or the block ends."""
    url = str(settings.database_url)
    async with (
        await psycopg.AsyncConnection.connect(url) as connection,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as watch,
    ):
        await connection.execute(statement.encode())
        yield Lock(connection, watch)
        await connection.rollback()


NO_WRITES: Final = "LOCK TABLE memory_user IN EXCLUSIVE MODE"
NO_READS: Final = "LOCK TABLE memory_body IN ACCESS EXCLUSIVE MODE"
RECALL: Final = "/memory/recall?user_id=ada&q=otter"


def body(text: str = "An otter was here.") -> bytes:
    """A body of POST /memory/remember."""
    return b'{"user_id": "ada", "traces": [{"content": "%s"}]}' % text.encode()


Ask = Callable[[httpx.AsyncClient], Coroutine[Any, Any, httpx.Response]]


async def ask(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get(RECALL)


async def write(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/memory/remember", content=body())


@pytest.mark.parametrize(
    ("lane", "statement", "one", "other", "good"),
    [("recall", NO_READS, ask, None, 200), ("write", NO_WRITES, write, ask, 201)],
)
async def test_what_is_too_much_is_refused_while_the_rest_waits(
    served: Served, lane: str, statement: str, one: Ask, other: Ask | None, good: int
) -> None:
    many = 20
    key = await served.api.key()
    async with served.client(key) as caller, locked(served.settings, statement) as lock:
        tasks = [asyncio.create_task(one(caller)) for _ in range(many)]
        await until(lambda: sum(task.done() for task in tasks) == many - WORK - WAITING)
        refused = [task.result() for task in tasks if task.done()]
        for answer in refused:
            assert "try again" in assert_problem(answer, 503)
            assert int(answer.headers["Retry-After"]) >= 1
        gate = served.gate.lanes[lane]
        assert (gate.working, gate.waiting, gate.refused) == (WORK, WAITING, {503: len(refused)})
        await lock.until_held()
        # Beside all that are held, the others are served.
        assert (await caller.get("/health/live")).status_code == 200
        assert (await caller.get("/keys")).status_code == 200
        if other is not None:
            assert (await other(caller)).status_code == 200
        await lock.release()
        answers = await asyncio.gather(*tasks)
    assert Counter(answer.status_code for answer in answers) == {good: WORK + WAITING, 503: len(refused)}
    assert (gate.working, gate.waiting) == (0, 0)


async def test_one_greedy_key_does_not_keep_another_out(served: Served) -> None:
    greedy, modest = await served.api.key(), await served.api.key()
    async with served.client(greedy) as many, served.client(modest) as one:
        async with locked(served.settings, NO_READS) as lock:
            tasks = [asyncio.create_task(ask(many)) for _ in range(WORK + WAITING)]
            await until(lambda: served.gate.lanes["recall"].waiting == WAITING)
            other = asyncio.create_task(ask(one))
            await until(lambda: any(task.done() for task in tasks))
            (pushed,) = [task.result() for task in tasks if task.done()]
            assert "this key" in assert_problem(pushed, 429)
            assert int(pushed.headers["Retry-After"]) >= 1
            await lock.release()
            assert (await other).status_code == 200
        statuses = Counter(answer.status_code for answer in await asyncio.gather(*tasks))
    assert statuses == {200: WORK + WAITING - 1, 429: 1}


async def test_a_question_nobody_waits_for_is_taken_back_from_postgresql(served: Served) -> None:
    key = await served.api.key()
    async with locked(served.settings, NO_READS) as lock:
        lines = [await served.send(key, "GET", RECALL) for _ in range(WORK)]
        await until(lambda: served.gate.lanes["recall"].working == WORK)
        await lock.until_held()
        for line in lines:
            line.go_away()
        # The lock still stands: it is the questions that have gone.
        await lock.until_held(0)
        await until(lambda: served.gate.lanes["recall"].working == 0)
        await lock.release()
    await all_connections_are_back(served)
    async with served.client(key) as caller:
        assert (await ask(caller)).json()["degraded"] == []


@pytest.mark.parametrize("count", [1, 30])
async def test_a_write_nobody_waits_for_is_there_as_a_whole(served: Served, count: int) -> None:
    key = await served.api.key()
    traces = ", ".join(f'{{"content": "Otter {n}."}}' for n in range(count))
    async with locked(served.settings, NO_WRITES) as lock:
        content = f'{{"user_id": "ada", "traces": [{traces}]}}'.encode()
        line = await served.send(key, "POST", "/memory/remember", content)
        await lock.until_held(1)
        line.go_away()
        await lock.release()
    await until(lambda: served.gate.lanes["write"].working == 0)
    await all_connections_are_back(served)
    async with served.client(key) as caller:
        found = (await caller.get("/memory/traces", params={"user_id": "ada", "limit": 100})).json()
    assert len(found["items"]) == count


async def all_connections_are_back(served: Served) -> None:
    """Waits until the pool of PostgreSQL lends nothing out."""
    statistics = served.api.app.state.database.statistics
    await until(lambda: statistics()["pool_available"] == statistics()["pool_size"])


async def test_bodies_that_drip_keep_nobody_out(served: Served) -> None:
    key = await served.api.key()
    drips = CONNECTIONS // 2
    lines = [await served.send(key, "POST", "/memory/remember", b"{", length=len(body())) for _ in range(drips)]
    await until(lambda: served.gate.held == drips)
    assert (served.gate.lanes["write"].working, served.gate.lanes["write"].waiting) == (0, 0)
    async with served.client(key) as caller:
        answers = [await one(caller) for one in (write, ask, write)]
        assert [answer.status_code for answer in answers] == [201, 200, 201]

    async def drip(line: Line) -> int:
        status = asyncio.create_task(line.status())
        while not status.done():
            line.write(b" ")
            await asyncio.wait([status], timeout=0.05)
        line.close()
        return status.result()

    assert await asyncio.gather(*map(drip, lines)) == [408] * drips
    assert served.gate.held == 0
    assert served.gate.refused == {408: drips}


async def test_requests_that_never_come_keep_nobody_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FRESH_SECONDS", 0)
    key = await served.api.key()
    drips = []
    for _ in range(3 * CONNECTIONS):
        _, writer = await asyncio.open_connection(served.host, served.port)
        writer.write(b"GET /memory/recall HTTP/1.1\r\nHost: ")
        drips.append(writer)
    async with served.client(key) as caller:
        answers = await asyncio.gather(*(one(caller) for one in (write, ask)))
        assert [answer.status_code for answer in answers] == [201, 200]
        await until(lambda: len(served.server.server_state.connections) <= CONNECTIONS)
    for writer in drips:
        writer.close()


async def test_a_crowd_is_answered_or_told_to_come_again(served: Served) -> None:
    keys = [await served.api.key() for _ in range(4)]
    clients = [served.client(key) for key in keys]
    statuses: Counter[int] = Counter()

    async def keep_on(number: int) -> None:
        client = clients[number % len(clients)]
        for _ in range(4):
            answer = await (ask if number % 2 else write)(client)
            statuses[answer.status_code] += 1
            if answer.status_code in (429, 503):
                assert answer.headers["Retry-After"]
                assert_problem(answer, answer.status_code)

    await asyncio.gather(*(keep_on(number) for number in range(64)))
    for client in clients:
        await client.aclose()
    assert statuses.total() == 256
    assert set(statuses) <= {200, 201, 429, 503}
    assert statuses[200] > 0
    assert statuses[201] > 0
    refused = sum((lane.refused for lane in served.gate.lanes.values()), Counter())
    assert refused == {status: count for status, count in statuses.items() if status > 201}
    assert all((lane.working, lane.waiting) == (0, 0) for lane in served.gate.lanes.values())
    await all_connections_are_back(served)
