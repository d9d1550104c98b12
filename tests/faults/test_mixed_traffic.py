"""Mixed traffic by several callers, while one fault after another is switched on and off again.

What was answered, what ``degraded`` and ready said, and how long it took to heal are the figures; that no answer is an
error of ours and that no answered write is lost or doubled are the test.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import redis.asyncio

from reverie.core import database, pool
from reverie.core.config import Settings, load_settings
from reverie.core.redis import Redis
from reverie.embedded.redis import Redis as OwnRedis
from reverie.operations.service import OperationService
from reverie.status.service import StatusService
from tests.conftest import serving
from tests.embedded.helpers import forget, place_in
from tests.embedding import standin
from tests.faults.proxy import Proxy, before_postgres, before_redis
from tests.faults.scenery import (
    SmallDisk,
    configured,
    connected,
    end_connections,
    loading,
    on_a_small_disk,
    raising,
    read_only,
    starting_up,
    without_connections,
    working,
)
from tests.figures import Figure
from tests.memories.helpers import rows

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

CALLERS = 4
HEAL_SECONDS = 10.0
LONG_SECONDS, SHORT_SECONDS = 4.0, 1.4
"""How long a fault lasts: longer than a silent PostgreSQL is waited for."""

IN_A_ROW = 10
"""Requests that must succeed one after another before a fault counts as healed."""

Fault = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(slots=True)
class Write:
    """A trace that somebody wanted to be remembered, and what came of it."""

    user: str
    content: str
    key: str
    wait: bool
    trace_id: str | None = None
    answered: bool = False
    forgotten: bool = False
    forgetting: bool = False
    """Whether it was asked to be forgotten, with whatever answer."""


@dataclass(slots=True)
class Seen:
    """What was answered during one fault."""

    statuses: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    ready: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    refused: int = 0

    def told(self) -> str:
        """One line for a person."""
        parts = [", ".join(f"{what} {count}" for what, count in sorted(self.statuses.items()))]
        parts.append(
            "degraded: " + (", ".join(f"{name} {n}" for name, n in sorted(self.degraded.items())) or "nothing")
        )
        parts.append("ready: " + ", ".join(f"{what}" for what in sorted(self.ready)))
        parts.append(f"slowest {self.slowest:.2f} s")
        return "; ".join(parts)


class Traffic:
    """Callers who remember, recall, read and forget without pause, each for a user of their own."""

    def __init__(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        self.client = client
        self.seen = Seen()
        self.writes: list[Write] = []
        self._chance = chance
        self._numbers = itertools.count()

    async def call(self, user: str) -> None:
        """One caller, until it is cancelled between two requests."""
        while True:
            refused = self.seen.refused
            await self._one(user)
            # Who is refused comes again a little later, though not as late as it was told.
            await asyncio.sleep(0.01 if self.seen.refused == refused else 0.1)

    async def ask(self, what: str, request: Awaitable[httpx.Response], again: bool = False) -> httpx.Response:
        """Sends a request and notes what was answered; no error of ours may be among it.

        Who sends a request ``again`` that was cut off may hear that the first one still runs.
        """
        began = time.monotonic()
        answer = await request
        self.seen.slowest = max(self.seen.slowest, time.monotonic() - began)
        self.seen.statuses[f"{what} {answer.status_code}"] += 1
        waits = (409, 503) if again else (503,)
        assert answer.status_code in (200, 201, 202, *waits), f"{what}: {answer.status_code} {answer.text[:500]}"
        if answer.status_code in waits:
            self.seen.refused += 1
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["detail"].endswith(".")
        elif what in ("remember", "recall"):
            self.seen.degraded.update(answer.json()["degraded"])
        return answer

    async def _one(self, user: str) -> None:
        known = [write for write in self.writes if write.user == user and write.answered and not write.forgetting]
        chosen = self._chance.random()
        if chosen < 0.4 or not known:
            write = Write(user, self._text(), uuid4().hex, wait=self._chance.random() < 0.6)
            self.writes.append(write)
            await self.remember(write)
        elif chosen < 0.75:
            words = self._chance.choice(known).content[:60]
            await self.ask("recall", self.client.post("/memory/recall", json={"user_id": user, "q": words}))
        elif chosen < 0.92:
            path = f"/memory/traces/{self._chance.choice(known).trace_id}"
            await self.ask("read", self.client.get(path, params={"user_id": user}))
        else:
            await self._forget(self._chance.choice(known))

    async def remember(self, write: Write, again: bool = False) -> None:
        """Asks for a trace to be remembered, as often as one likes: its key makes it one."""
        answer = await self.ask(
            "remember",
            self.client.post(
                "/memory/remember",
                params={"wait": str(write.wait).lower()},
                json={"user_id": write.user, "traces": [{"content": write.content}]},
                headers={"Idempotency-Key": write.key},
            ),
            again,
        )
        if answer.status_code not in (409, 503):
            write.trace_id = answer.json()["traces"][0]["trace_id"]
            write.answered = True

    async def _forget(self, write: Write) -> None:
        write.forgetting = True
        scope = {"trace_id": write.trace_id}
        answer = await self.ask(
            "forget", self.client.post("/memory/forget", json={"user_id": write.user, "scope": scope})
        )
        write.forgotten = answer.status_code == 200

    def _text(self) -> str:
        words = " ".join(self._chance.choice(WORDS) for _ in range(8))
        # Letters of which no two texts have the same, which PostgreSQL cannot compress: a full disk shall matter.
        return f"{words} {next(self._numbers)} {self._chance.randbytes(1500).hex()}"


WORDS = [
    "heron",
    "stork",
    "kettle",
    "harbour",
    "lamp",
    "quartz",
    "violin",
    "meadow",
    "thunder",
    "copper",
    "orchard",
    "saddle",
]


@dataclass(slots=True)
class Place:
    """The service under traffic, and all that can be done to it."""

    traffic: Traffic
    settings: Settings
    """With the URLs of the servers themselves."""

    postgres: Proxy
    redis: Proxy
    endpoint: Proxy
    model: standin.StandIn
    server: "SharedPostgres"
    disk: SmallDisk | None

    async def ready(self) -> str:
        """What ready says, with the reasons."""
        answer = await self.traffic.client.get("/health/ready")
        told = answer.json()
        assert (answer.status_code == 503) == (told["status"] == "unready")
        reasons = [f"{name}: {part['detail']}" for name, part in told["parts"].items() if part["detail"]]
        return f"{told['status']} ({' '.join(reasons)})" if reasons else str(told["status"])

    async def watch(self) -> None:
        """Asks ready again and again."""
        while True:
            self.traffic.seen.ready[await self.ready()] += 1
            await asyncio.sleep(0.1)

    async def heal(self) -> float:
        """Waits until ready says so and requests succeed one after another; the seconds until the first of them."""
        began = time.monotonic()
        first, row = began, 0
        client, user = self.traffic.client, "prober"
        while row < IN_A_ROW or await self.ready() != "ready":
            if row == 0:
                first = time.monotonic()
            if row % 2:
                answer = await client.post("/memory/recall", json={"user_id": user, "q": "over"})
            else:
                body = {"user_id": user, "traces": [{"content": f"Is it over? {uuid4()}"}]}
                answer = await client.post("/memory/remember", json=body)
            well = answer.status_code in (200, 201) and answer.json()["degraded"] == []
            row = row + 1 if well else 0
            assert time.monotonic() - began < HEAL_SECONDS, f"{await self.ready()}: {answer.status_code} {answer.text}"
            if not well:
                await asyncio.sleep(0.02)
        return first - began

    @asynccontextmanager
    async def postgresql_hangs(self) -> AsyncIterator[None]:
        with self.postgres.hanging():
            yield

    @asynccontextmanager
    async def postgresql_hangs_and_is_cut(self) -> AsyncIterator[None]:
        with self.postgres.hanging():
            yield
            self.postgres.cut()

    @asynccontextmanager
    async def connections_are_cut(self) -> AsyncIterator[None]:
        self.postgres.cut()
        yield

    @asynccontextmanager
    async def postgresql_starts_up(self) -> AsyncIterator[None]:
        with self.postgres.saying(starting_up):
            yield

    @asynccontextmanager
    async def no_connection_is_left(self) -> AsyncIterator[None]:
        url = str(self.settings.database_url)
        async with without_connections(self.server, url):
            await end_connections(self.server, url)
            yield

    @asynccontextmanager
    async def no_writes_are_taken(self) -> AsyncIterator[None]:
        async with read_only(self.server, str(self.settings.database_url)):
            self.postgres.cut()
            yield
        self.postgres.cut()

    @asynccontextmanager
    async def disk_is_full(self) -> AsyncIterator[None]:
        if self.disk is None:
            async with raising(str(self.settings.database_url), "53100"):
                yield
        else:
            with self.disk.full():
                yield

    @asynccontextmanager
    async def redis_hangs(self) -> AsyncIterator[None]:
        with self.redis.hanging():
            yield

    @asynccontextmanager
    async def redis_is_slow(self) -> AsyncIterator[None]:
        with self.redis.slow(2 * self.settings.redis_timeout_seconds):
            yield

    @asynccontextmanager
    async def redis_loads(self) -> AsyncIterator[None]:
        with self.redis.saying(loading):
            yield

    @asynccontextmanager
    async def redis_is_emptied(self) -> AsyncIterator[None]:
        async with redis.asyncio.Redis.from_url(str(self.settings.redis_url)) as client:
            await client.flushall()
        yield

    @asynccontextmanager
    async def redis_has_no_memory(self) -> AsyncIterator[None]:
        async with configured(str(self.settings.redis_url), maxmemory_policy="noeviction", maxmemory="1"):
            yield

    @asynccontextmanager
    async def redis_has_another_password(self) -> AsyncIterator[None]:
        async with configured(str(self.settings.redis_url), requirepass="another"):
            self.redis.cut()
            yield

    @asynccontextmanager
    async def endpoint_hangs(self) -> AsyncIterator[None]:
        with self.endpoint.hanging():
            yield
        self.endpoint.cut()

    @asynccontextmanager
    async def endpoint_is_slow(self) -> AsyncIterator[None]:
        with self.endpoint.slow(self.settings.embedding_timeout_seconds):
            yield

    @asynccontextmanager
    async def endpoint_fails(self) -> AsyncIterator[None]:
        self.model.play(*[standin.says(500)] * 100_000)
        try:
            yield
        finally:
            self.model.tricks.clear()

    def faults(self, long: bool) -> dict[str, Fault]:
        """Every fault by its name; the short form leaves out what is like another."""
        short: dict[str, Fault] = {
            "PostgreSQL is gone": self.postgres.refusing,
            "PostgreSQL says nothing": self.postgresql_hangs,
            "PostgreSQL has no connection left": self.no_connection_is_left,
            "the disk of PostgreSQL is full": self.disk_is_full,
            "Redis is gone": self.redis.refusing,
            "Redis is slow": self.redis_is_slow,
            "Redis is emptied": self.redis_is_emptied,
            "the embedding endpoint is gone": self.endpoint.refusing,
            "the embedding endpoint says nothing": self.endpoint_hangs,
        }
        others: dict[str, Fault] = {
            "connections to PostgreSQL are cut": self.connections_are_cut,
            "PostgreSQL says nothing and is cut": self.postgresql_hangs_and_is_cut,
            "PostgreSQL starts up": self.postgresql_starts_up,
            "PostgreSQL takes no writes": self.no_writes_are_taken,
            "Redis says nothing": self.redis_hangs,
            "Redis loads": self.redis_loads,
            "Redis has no memory left": self.redis_has_no_memory,
            "Redis has another password": self.redis_has_another_password,
            "the embedding endpoint is slow": self.endpoint_is_slow,
            "the embedding endpoint answers 500": self.endpoint_fails,
        }
        return short | others if long else short


@pytest.fixture
async def place(
    postgres: "SharedPostgres", template: str, long: bool, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    """A service whose every part is behind a proxy, with a worker."""
    name = f"mixed_{uuid4().hex}"
    folder = tmp_path_factory.mktemp("mixed")
    server = OwnRedis(place_in(folder / "home"), password="for-tests", databases=1)
    async with AsyncExitStack() as stack:
        await server.start()
        stack.callback(forget, folder)
        stack.push_async_callback(server.stop)
        disk = await stack.enter_async_context(on_a_small_disk(postgres, template, name, 1024 if long else 128))
        if disk is None:
            stack.callback(postgres.drop, name)
        url = postgres.create(name, template) if disk is None else disk.url
        model = stack.enter_context(standin.serve())
        endpoint = Proxy("127.0.0.1", httpx.URL(model.url).port or 80)
        await endpoint.listen()
        stack.push_async_callback(endpoint.stop)
        seconds = 2.0 if long else 0.5
        settings = load_settings(
            database_url=url, redis_url=server.url(), reverie_home=folder, database_pool_size=6,
            database_timeout_seconds=seconds, memory_recall_timeout_seconds=seconds, embedding_timeout_seconds=seconds,
            embedding_model="counted-words", embedding_dim=standin.DIM,
            embedding_url=f"http://127.0.0.1:{endpoint.port}/v1",
        )  # fmt: skip
        to_postgres, database_url = await stack.enter_async_context(before_postgres(url))
        to_redis, redis_url = await stack.enter_async_context(before_redis(server.url()))
        through = settings.model_copy(update={"database_url": database_url, "redis_url": redis_url})
        api = await stack.enter_async_context(serving(through, None))
        await stack.enter_async_context(working(through))
        traffic = Traffic(await api.caller(), random.Random(4))  # noqa: S311 - the same traffic each time
        yield Place(traffic, settings, to_postgres, to_redis, endpoint, model, postgres, disk)


@pytest.fixture
def hasty(long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the short form nothing rests for long."""
    if long:
        return
    monkeypatch.setattr(StatusService, "KEPT", 0.1)
    monkeypatch.setattr(database, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.4)
    monkeypatch.setattr(database, "REFUSED_SECONDS", 1.0)
    monkeypatch.setattr(Redis, "REFUSED", 1.0)
    monkeypatch.setattr(OperationService, "PAUSE", timedelta(seconds=0.5))
    monkeypatch.setattr(OperationService, "LONGEST_REST", timedelta(seconds=2))
    monkeypatch.setattr(OperationService, "LEASE", timedelta(seconds=4))
    monkeypatch.setattr(OperationService, "OVERDUE", timedelta(seconds=5))


@pytest.mark.timeout(1200)
async def test_every_fault_during_mixed_traffic(place: Place, hasty: None, long: bool, figure: Figure) -> None:
    traffic = place.traffic
    callers = [asyncio.create_task(traffic.call(f"caller {n}")) for n in range(CALLERS)]
    callers.append(asyncio.create_task(place.watch()))
    try:
        await place.heal()
        for name, fault in place.faults(long).items():
            traffic.seen = Seen()
            began = time.monotonic()
            async with fault():
                done, _ = await asyncio.wait(callers, timeout=LONG_SECONDS if long else SHORT_SECONDS)
            seen, lasted = traffic.seen, time.monotonic() - began
            assert not done, [task.exception() for task in done]
            figure(name, f"{lasted:.1f} s, healed after {await place.heal():.2f} s; {seen.told()}")
    finally:
        for task in callers:
            task.cancel()
        ended = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended
    await _check(place, figure)


async def _check(place: Place, figure: Figure) -> None:
    """Every answered write is there exactly once, and what was refused can be sent again until it is."""
    writes = place.traffic.writes
    refused = [write for write in writes if not write.answered]
    await _stands(place, [write for write in writes if write.answered])
    for write in refused:
        deadline = time.monotonic() + HEAL_SECONDS
        while not write.answered:
            assert time.monotonic() < deadline, write
            await place.traffic.remember(write, again=True)
            await asyncio.sleep(0 if write.answered else 0.05)
    figure("seconds until no operation was left", round(await _nothing_left(place.settings), 1))
    await _stands(place, writes)
    figure("writes", f"{len(writes)}, lost 0, doubled 0; {len(refused)} were refused or cut off and sent again")


async def _stands(place: Place, writes: list[Write]) -> None:
    found = await rows(place.settings, "SELECT content, count(*) FROM memory_body GROUP BY content")
    counts = {row[0]: row[1] for row in found}
    wrong = [write for write in writes if counts.get(write.content, 0) not in _expected(write)]
    assert not wrong, [(write.content[:60], counts.get(write.content, 0), write) for write in wrong[:5]]


def _expected(write: Write) -> tuple[int, ...]:
    if write.forgotten:
        return (0,)
    return (0, 1) if write.forgetting else (1,)


async def _nothing_left(settings: Settings) -> float:
    """Waits until every operation is done; the seconds that it took."""
    began = time.monotonic()
    while True:
        async with connected(str(settings.database_url)) as owner:
            cursor = await owner.execute("SELECT state, count(*), max(error) FROM operation GROUP BY state")
            states: dict[str, Any] = {row[0]: row[1:] for row in await cursor.fetchall()}
        if states.keys() <= {"done"}:
            return time.monotonic() - began
        assert "failed" not in states, states
        assert time.monotonic() - began < 100, states
        await asyncio.sleep(0.1)
