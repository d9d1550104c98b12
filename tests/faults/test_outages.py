"""PostgreSQL, Redis or the encoder away in every way there is: what is answered meanwhile, and that it heals by itself.

The real servers are behind a proxy; the service runs in the test's process.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import redis.asyncio

from reverie import worker
from reverie.core import clock, database, pool, queue
from reverie.core.config import Settings, load_settings
from reverie.core.redis import Redis
from reverie.embedded.redis import Redis as OwnRedis
from reverie.embedding.protocol import Embedder, FloatArray
from reverie.memories import embedding as memories_embedding
from reverie.operations.service import OperationService
from reverie.status import service as status_service
from reverie.status.service import StatusService
from tests.conftest import Api, serving
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
)  # fmt: skip
from tests.figures import Figure
from tests.memories.helpers import Fickle, post, rows, run_operation, unit, vectors_of

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

STATEMENT_SECONDS = 1.0
SILENT_SECONDS = 8.0
"""No answer may take longer while PostgreSQL is silent: a statement, its grace, a look, and a slow machine."""

HEAL_SECONDS = 10.0


class Stuck(Fickle):
    """A :class:`Fickle` that holds up questions as it does documents."""

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        self._pass()
        return Fickle.encode_questions(self, texts)


@dataclass(slots=True)
class Scene:
    """A running API whose servers can go away."""

    api: Api
    caller: httpx.AsyncClient
    postgres: Proxy
    redis: Proxy
    encoder: Stuck
    settings: Settings
    """With the URLs of the servers themselves."""

    own_redis: str

    async def ready(self) -> dict[str, Any]:
        """What ready says now."""
        answer = await self.caller.get("/health/ready")
        told: dict[str, Any] = answer.json()
        assert (answer.status_code == 503) == (told["status"] == "unready") == ("retry-after" in answer.headers)
        return told

    async def recall(self, user: str, **more: Any) -> httpx.Response:
        return await self.caller.post("/memory/recall", json={"user_id": user, "q": "heron"} | more)

    async def healed(self, user: str) -> float:
        """Waits until ready says so and recall has all its arms; the seconds that it took."""
        began = time.monotonic()
        while True:
            answer = await self.recall(user)
            if answer.status_code == 200 and answer.json()["degraded"] == []:
                told = await self.ready()
                if told["status"] == "ready":
                    return round(time.monotonic() - began, 2)
            assert time.monotonic() - began < HEAL_SECONDS, answer.text
            await asyncio.sleep(0.05)

    def owner(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[tuple[Any, ...]]]:
        return connected(str(self.settings.database_url))


@pytest.fixture(scope="module")
async def own_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A Redis that no other test uses."""
    folder = tmp_path_factory.mktemp("redis")
    server = OwnRedis(place_in(folder / "home"), password="for-tests", databases=1)
    await server.start()
    try:
        yield server.url()
    finally:
        await server.stop()
        forget(folder)


@pytest.fixture(scope="module")
async def scene(
    postgres: "SharedPostgres", template: str, own_redis: str, embedder: Embedder,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Scene]:  # fmt: skip
    name = f"outages_{uuid4().hex}"
    url = postgres.create(name, template)
    settings = load_settings(
        database_url=url, redis_url=own_redis, reverie_home=tmp_path_factory.mktemp("home"), database_pool_size=6,
        database_timeout_seconds=STATEMENT_SECONDS, memory_recall_timeout_seconds=1.0, embedding_timeout_seconds=1.0,
    )  # fmt: skip
    encoder = Stuck(embedder.embedder)  # type: ignore[attr-defined]
    async with before_postgres(url) as (to_postgres, database_url), before_redis(own_redis) as (to_redis, redis_url):
        through = settings.model_copy(update={"database_url": database_url, "redis_url": redis_url})
        async with serving(through, encoder) as api:
            yield Scene(api, await api.caller(), to_postgres, to_redis, encoder, settings, own_redis)
    postgres.drop(name)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question of ready is a new look, nothing is looked at for long, and refusals are soon forgotten."""
    monkeypatch.setattr(StatusService, "KEPT", 0.0)
    monkeypatch.setattr(status_service, "PATIENCE", 1.5)
    monkeypatch.setattr(pool, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(database, "REFUSED_SECONDS", 1.0)
    monkeypatch.setattr(Redis, "REFUSED", 1.0)


@pytest.fixture
async def user(scene: Scene) -> str:
    """A user with one trace, in a service that is well."""
    name = f"user {uuid4().hex[:8]}"
    await scene.healed(name)
    assert (await post(scene.caller, name, "The heron stood still.")).status_code == 201
    return name


def assert_refused(answer: httpx.Response, *words: str) -> None:
    """Makes sure that an answer says to come again, and why."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    for word in words:
        assert word in answer.json()["detail"], answer.text


def asked(scene: Scene, user: str) -> list[Callable[[], Awaitable[httpx.Response]]]:
    """A request of each kind, all of which need PostgreSQL."""
    caller = scene.caller
    return [
        lambda: post(caller, user, "The heron flew."),
        lambda: post(caller, user, "The heron dived.", wait=False),
        lambda: scene.recall(user),
        lambda: scene.recall(user, recipe="lexical", filter={"meta.a": 1}),
        lambda: caller.get("/memory/traces", params={"user_id": user}),
        lambda: caller.get("/memory/users"),
        lambda: caller.post("/memory/forget", json={"user_id": user, "scope": {"all": True}, "dry_run": True}),
        lambda: caller.get(f"/operations/{uuid4()}"),
        lambda: caller.get("/keys"),
        lambda: scene.api.client("rv_unknown").get("/memory/users"),
    ]


async def contents(scene: Scene, user: str) -> list[str]:
    answer = await scene.caller.get("/memory/traces", params={"user_id": user})
    assert answer.status_code == 200, answer.text
    return sorted(trace["content"] for trace in answer.json()["items"])


# --- PostgreSQL is away


async def test_without_postgresql_everything_says_come_again(scene: Scene, user: str, figure: Figure) -> None:
    async with scene.postgres.refusing():
        began = time.monotonic()
        for ask in asked(scene, user):
            assert_refused(await ask(), "PostgreSQL cannot be reached")
        took = time.monotonic() - began
        told = await scene.ready()
        assert told["status"] == "unready"
        assert "DATABASE_URL" in told["parts"]["postgresql"]["detail"]
        assert told["parts"]["redis"]["status"] == told["parts"]["encoder"]["status"] == "up"
        assert (await scene.caller.get("/health/live")).status_code == 200
    assert took < SILENT_SECONDS
    figure("ten refusals while PostgreSQL is gone, seconds", round(took, 3))
    figure("seconds to heal", await scene.healed(user))
    assert await contents(scene, user) == ["The heron stood still."]


@pytest.mark.parametrize("how", ["cut", "ended by PostgreSQL"])
async def test_connections_that_died_unused_cost_no_request(scene: Scene, user: str, how: str) -> None:
    write, read = (lambda: post(scene.caller, user, "The heron flew.")), (lambda: scene.recall(user))
    asks: list[Callable[[], Awaitable[httpx.Response]]] = [write, read]
    for ask in asks:
        await asyncio.gather(*(scene.recall(user) for _ in range(4)))
        if how == "cut":
            scene.postgres.cut()
        else:
            async with scene.owner() as connection:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'reverie'"
                )
        # The farewell has to arrive.
        await asyncio.sleep(0.1)
        assert (await ask()).status_code in (200, 201)
    assert await contents(scene, user) == ["The heron flew.", "The heron stood still."]


@asynccontextmanager
async def _locked(scene: Scene, user: str) -> AsyncIterator[None]:
    """Another transaction holds the row of a user, for which every write of the user waits."""
    async with scene.owner() as connection, connection.transaction():
        await connection.execute("SELECT FROM memory_user WHERE external_id = %s FOR UPDATE", (user,))
        yield


async def _waiting(scene: Scene) -> None:
    """Returns when a transaction waits for a lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + HEAL_SECONDS
    while True:
        if await rows(scene.settings, query):
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_what_was_under_way_is_refused_and_nothing_of_it_stays(scene: Scene, user: str) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    body = {"user_id": user, "traces": [{"content": "The heron flew."}]}
    async with _locked(scene, user):
        under_way = asyncio.create_task(scene.caller.post("/memory/remember", json=body, headers=key))
        await _waiting(scene)
        async with scene.postgres.refusing():
            assert_refused(await under_way, "PostgreSQL cannot be reached")
    await scene.healed(user)
    assert await contents(scene, user) == ["The heron stood still."]
    # The key of the request that failed is free as soon as PostgreSQL is back.
    deadline = time.monotonic() + HEAL_SECONDS
    while (again := await scene.caller.post("/memory/remember", json=body, headers=key)).status_code == 409:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert again.status_code == 201
    assert await contents(scene, user) == ["The heron flew.", "The heron stood still."]


@pytest.mark.parametrize("afterwards", ["goes on", "is cut"])
async def test_a_postgresql_that_says_nothing_holds_nobody_up(
    scene: Scene, user: str, figure: Figure, afterwards: str
) -> None:
    with scene.postgres.hanging():
        began = time.monotonic()
        answers = await asyncio.gather(*(ask() for ask in asked(scene, user)), scene.caller.get("/health/ready"))
        took = time.monotonic() - began
        for answer in answers[:-1]:
            assert_refused(answer)
        assert answers[-1].status_code == 503
        # As soon as it is known, nobody waits any more.
        deadline, later = time.monotonic() + SILENT_SECONDS, STATEMENT_SECONDS
        while later >= STATEMENT_SECONDS / 2:
            assert time.monotonic() < deadline
            began = time.monotonic()
            answer = await scene.recall(user)
            later = time.monotonic() - began
        assert_refused(answer, "PostgreSQL cannot be reached")
        if afterwards == "is cut":
            scene.postgres.cut()
    assert took < SILENT_SECONDS
    figure("first answers of a silent PostgreSQL, seconds", round(took, 2))
    figure("later answers, seconds", round(later, 4))
    figure("seconds to heal", await scene.healed(user))
    stored = await contents(scene, user)
    assert len(stored) == len(set(stored))


async def test_a_postgresql_that_starts_up_says_so(scene: Scene, user: str) -> None:
    with scene.postgres.saying(starting_up):
        await asyncio.sleep(0.1)
        assert_refused(await scene.recall(user), "starting up")
        assert "starting up" in (await scene.ready())["parts"]["postgresql"]["detail"]
    await scene.healed(user)


async def test_without_a_connection_left_it_says_so(scene: Scene, user: str, postgres: "SharedPostgres") -> None:
    url = str(scene.settings.database_url)
    async with without_connections(postgres, url):
        # What it has, it goes on with.
        assert (await scene.recall(user)).status_code == 200
        await end_connections(postgres, url)
        await asyncio.sleep(0.1)
        for ask in asked(scene, user):
            assert_refused(await ask(), "no connection left")
        told = await scene.ready()
        assert (told["status"], told["parts"]["postgresql"]["status"]) == ("unready", "down")
        assert "max_connections" in told["parts"]["postgresql"]["detail"]
    await scene.healed(user)
    assert (await post(scene.caller, user, "The heron flew.")).status_code == 201


async def test_a_postgresql_that_takes_no_writes_is_still_recalled_from(
    scene: Scene, user: str, postgres: "SharedPostgres"
) -> None:
    async with read_only(postgres, str(scene.settings.database_url)):
        scene.postgres.cut()
        await asyncio.sleep(0.1)
        assert_refused(await post(scene.caller, user, "The heron flew."), "takes no writes", "nothing was stored")
        answer = await scene.recall(user)
        assert (answer.status_code, answer.json()["degraded"]) == (200, [])
        assert [one["content"] for one in answer.json()["results"]] == ["The heron stood still."]
        told = await scene.ready()
        assert (told["status"], told["parts"]["postgresql"]["status"]) == ("degraded", "up")
        assert "takes no writes" in told["parts"]["postgresql"]["detail"]
    scene.postgres.cut()
    await scene.healed(user)
    assert (await post(scene.caller, user, "The heron flew.")).status_code == 201


STATES = {
    "25006": "takes no writes", "25P03": "cannot do its work", "25P04": "cannot do its work", "40001": "in the way",
    "40P01": "in the way", "53100": "no room left on its disk", "53200": "cannot do its work",
    "53300": "no connection left", "53400": "cannot do its work", "55P03": "in the way", "57014": "took too long",
    "57P01": "shutting down", "57P02": "shutting down", "57P03": "starting up", "58030": "cannot do its work",
}  # fmt: skip
"""What PostgreSQL says of itself, by SQLSTATE, and what a caller hears."""


async def test_no_state_of_postgresql_is_an_error_of_ours(scene: Scene, user: str) -> None:
    for state, words in STATES.items():
        async with raising(str(scene.settings.database_url), state):
            assert_refused(await post(scene.caller, user, f"The heron flew {state} miles."), words)
            assert (await scene.recall(user)).status_code == 200
    assert await contents(scene, user) == ["The heron stood still."]
    assert (await post(scene.caller, user, "The heron dived.")).status_code == 201


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_transaction_that_another_was_in_the_way_of_is_repeated(scene: Scene, user: str, state: str) -> None:
    async with raising(str(scene.settings.database_url), state, times=2):
        assert (await post(scene.caller, user, "The heron flew.")).status_code == 201
    assert await contents(scene, user) == ["The heron flew.", "The heron stood still."]


# --- The disk is full


async def test_a_full_disk_loses_nothing_and_recall_goes_on(
    postgres: "SharedPostgres", template: str, scene: Scene, figure: Figure
) -> None:
    async with on_a_small_disk(postgres, template, f"small_{uuid4().hex}", 64) as small:
        if small is None:
            figure("disk", "the SQLSTATE alone: a small file system cannot be mounted here")
            async with raising(str(scene.settings.database_url), "53100"):
                await _full_disk(scene.caller, None)
            return
        figure("disk", "a real file system of 64 MB, filled to the last byte")
        async with serving(scene.settings.model_copy(update={"database_url": small.url}), scene.encoder) as running:
            await _full_disk(await running.caller(), small)


async def _full_disk(caller: httpx.AsyncClient, disk: SmallDisk | None) -> None:
    user = f"user {uuid4().hex[:8]}"
    stored = 0

    async def remember() -> httpx.Response:
        # Letters of which no two are alike, which PostgreSQL cannot compress.
        texts = [f"heron {os.urandom(20_000).hex()}" for _ in range(3)]
        return await post(caller, user, *({"content": text, "embedding": unit(1)} for text in texts))

    if disk is not None:
        assert (await remember()).status_code == 201
        stored = 3
        with disk.full():
            refused = [await remember() for _ in range(20)]
            stored += sum(3 for answer in refused if answer.status_code == 201)
            refused = [answer for answer in refused if answer.status_code != 201]
            assert refused
            await _refuses_writes(caller, user, refused)
    else:
        await _refuses_writes(caller, user, [await remember()])
        return
    assert (await remember()).status_code == 201
    counts = (await caller.get("/memory/users")).json()["items"]
    assert [one["traces"] for one in counts if one["user_id"] == user] == [stored + 3]
    listed = (await caller.get("/memory/traces", params={"user_id": user, "limit": 100})).json()["items"]
    assert len(listed) == stored + 3


async def _refuses_writes(caller: httpx.AsyncClient, user: str, refused: list[httpx.Response]) -> None:
    for answer in refused:
        assert_refused(answer, "no room left on its disk", "nothing was stored")
    found = await caller.post("/memory/recall", json={"user_id": user, "q": "heron"})
    assert found.status_code == 200
    told = (await caller.get("/health/ready")).json()
    assert (told["status"], told["parts"]["postgresql"]["status"]) == ("degraded", "up")
    assert "no room left on its disk" in told["parts"]["postgresql"]["detail"]


# --- Redis is away


@asynccontextmanager
async def _without_redis(scene: Scene, how: str) -> AsyncIterator[None]:
    if how == "refuses":
        async with scene.redis.refusing():
            yield
    elif how == "hangs":
        with scene.redis.hanging():
            yield
    elif how == "slow":
        with scene.redis.slow(2 * scene.settings.redis_timeout_seconds):
            yield
    elif how == "loads":
        with scene.redis.saying(loading):
            yield
    elif how == "another password":
        async with configured(scene.own_redis, requirepass="another"):
            scene.redis.cut()
            yield
    else:
        async with configured(scene.own_redis, maxmemory_policy="noeviction", maxmemory="1"):
            yield


@pytest.mark.parametrize("how", ["refuses", "hangs", "slow", "loads", "another password", "out of memory"])
async def test_without_redis_all_goes_on_and_says_so(scene: Scene, user: str, figure: Figure, how: str) -> None:
    async with _without_redis(scene, how):
        slowest, began = 0.0, time.monotonic()
        for n in range(8):
            lap = time.monotonic()
            made = await post(scene.caller, user, f"The heron stood still {n} times.", wait=n % 2 == 0)
            assert made.status_code == (201 if n % 2 == 0 else 202), made.text
            found = await scene.recall(user)
            assert (found.status_code, found.json()["degraded"]) == (200, ["focus"])
            assert found.json()["results"]
            slowest = max(slowest, time.monotonic() - lap)
        took = time.monotonic() - began
        told = await scene.ready()
        assert (told["status"], told["parts"]["redis"]["status"]) == ("degraded", "down")
        assert "REDIS_URL" in told["parts"]["redis"]["detail"]
        assert told["parts"]["postgresql"]["detail"] is None
        forgotten = await scene.caller.post(
            "/memory/forget", json={"user_id": user, "scope": {"all": True}, "dry_run": True}
        )
        assert forgotten.status_code == 200
    figure(f"Redis {how}: 8 writes and 8 recalls, seconds", round(took, 2))
    figure(f"Redis {how}: slowest write with its recall, seconds", round(slowest, 3))
    figure(f"Redis {how}: seconds to heal", await scene.healed(user))
    assert len(await contents(scene, user)) == 9


async def test_a_pause_of_redis_costs_one_timeout(scene: Scene, user: str) -> None:
    with scene.redis.hanging():
        before, began, waits = scene.redis.lines, time.monotonic(), 0
        while time.monotonic() - began < Redis.PAUSE + 0.7:
            laps = time.monotonic()
            answers = await asyncio.gather(*(scene.recall(user) for _ in range(4)))
            assert all(answer.json()["degraded"] == ["focus"] for answer in answers)
            waits += time.monotonic() - laps > scene.settings.redis_timeout_seconds
        # One asks again after each pause, and each time on a line of its own.
        assert 1 <= scene.redis.lines - before <= 3
    assert waits >= 1
    await scene.healed(user)


async def test_whoever_is_told_to_end_while_asking_redis_ends(scene: Scene, user: str) -> None:
    """Else a request, or a worker, that is told to end goes on as if nothing had been."""
    chance = random.Random(7)  # noqa: S311 - the same moments each time
    for _ in range(60):
        asking = asyncio.create_task(post(scene.caller, user, "The heron flew.", wait=False))
        # How far it comes until then differs, as long as nothing on this machine is quicker.
        await asyncio.sleep(chance.uniform(0.002, 0.03))
        if asking.cancel():
            await asyncio.wait([asking])
            assert asking.cancelled()


async def test_an_emptied_redis_loses_only_the_focus(scene: Scene, user: str) -> None:
    accepted = await post(scene.caller, user, "The heron flew.", wait=False)
    async with redis.asyncio.Redis.from_url(scene.own_redis) as client:
        assert await client.exists(queue.QUEUE)
        await client.flushall()
    found = (await scene.recall(user)).json()
    assert (found["degraded"], len(found["results"])) == ([], 2)
    assert all("focus" not in one["scores"] for one in found["results"])
    operations: OperationService = scene.api.app.state.operations
    with clock.as_of(clock.now() + operations.OVERDUE + operations.PATIENCE):
        await operations.sweep()
    done = (await scene.caller.get(f"/operations/{accepted.json()['operation_id']}")).json()
    assert done["state"] == "done"
    await post(scene.caller, user, "The heron dived.")
    assert any("focus" in one["scores"] for one in (await scene.recall(user)).json()["results"])


async def _done(scene: Scene, operation_id: str) -> float:
    """Waits until an operation is done; the seconds that it took."""
    began = time.monotonic()
    while True:
        answer = await scene.caller.get(f"/operations/{operation_id}")
        if answer.status_code == 200 and answer.json()["state"] == "done":
            return round(time.monotonic() - began, 2)
        assert time.monotonic() - began < 30, answer.text
        await asyncio.sleep(0.05)


async def test_jobs_are_done_without_redis_and_by_the_bell_when_it_is_back(
    scene: Scene, user: str, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OperationService, "PATIENCE", timedelta(seconds=0.5))
    monkeypatch.setattr(worker, "REST_SECONDS", 0.2)
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.2)
    through = scene.settings.model_copy(
        update={
            "database_url": scene.api.app.state.database.url,
            "redis_url": f"redis://:for-tests@127.0.0.1:{scene.redis.port}/0",
        }
    )

    async def accept(text: str) -> str:
        return str((await post(scene.caller, user, text, wait=False)).json()["operation_id"])

    async with working(through, scene.encoder):
        figure("by the bell, seconds", await _done(scene, await accept("One.")))
        for how in ("refuses", "hangs"):
            async with _without_redis(scene, how):
                figure(f"by the sweeper while Redis {how}, seconds", await _done(scene, await accept(f"It {how}.")))
            with monkeypatch.context() as without_sweeper:
                without_sweeper.setattr(OperationService, "PATIENCE", OperationService.OVERDUE * 10)
                await scene.healed(user)
                figure("by the bell once Redis is back, seconds", await _done(scene, await accept(f"{how} no more.")))
    assert len(await contents(scene, user)) == 6


# --- The encoder is away


async def test_a_failing_encoder_leaves_the_vectors_to_the_worker(scene: Scene, user: str) -> None:
    with scene.encoder.failing():
        made = await post(scene.caller, user, "The heron flew.")
        assert (made.status_code, made.json()["degraded"]) == (201, ["encoder"])
        found = (await scene.recall(user, q="where is the heron?")).json()
        assert (found["degraded"], len(found["results"])) == (["semantic"], 2)
        told = await scene.ready()
        assert (told["status"], told["parts"]["encoder"]["status"]) == ("degraded", "down")
    await _embedded_later(scene, made)
    await scene.healed(user)


async def test_a_hanging_encoder_is_not_waited_for(
    scene: Scene, user: str, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memories_embedding, "HUNG_SECONDS", 0.0)
    limit = scene.settings.embedding_timeout_seconds
    with scene.encoder.held() as arrived:
        began = time.monotonic()
        made = await post(scene.caller, user, "The heron flew.")
        first = time.monotonic() - began
        assert await asyncio.to_thread(arrived)
        began = time.monotonic()
        others = await asyncio.gather(*(post(scene.caller, user, f"Heron {n}.") for n in range(5)))
        later = time.monotonic() - began
        for answer in (made, *others):
            assert (answer.status_code, answer.json()["degraded"]) == (201, ["encoder"])
        began = time.monotonic()
        found = (await scene.recall(user, q="where is the heron?")).json()
        recalled = time.monotonic() - began
        assert (found["degraded"], len(found["results"])) == (["semantic"], 7)
        changed = await scene.caller.patch(
            f"/memory/traces/{made.json()['traces'][0]['trace_id']}", params={"user_id": user},
            json={"content": "The heron flew off."},
        )  # fmt: skip
        assert changed.status_code == 200
    figure("remember while the encoder hangs, seconds, one and then five at once", (round(first, 2), round(later, 2)))
    figure("recall while the encoder hangs, seconds", round(recalled, 2))
    assert first < limit + 2
    assert later < limit + 2
    assert recalled < scene.settings.memory_recall_timeout_seconds + 2
    await _embedded_later(scene, made)
    await scene.healed(user)


async def test_an_operation_does_not_wait_for_a_hanging_encoder(
    scene: Scene, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memories_embedding, "MOST_BATCHES", 0.5)
    accepted = (await post(scene.caller, user, "The heron flew.", wait=False)).json()["operation_id"]
    with scene.encoder.held():
        assert await run_operation(scene.api, accepted)
    waits = (await scene.caller.get(f"/operations/{accepted}")).json()
    assert (waits["state"], waits["attempts"]) == ("pending", 0)
    assert "does not answer" in waits["error"]


async def _embedded_later(scene: Scene, made: httpx.Response) -> None:
    trace_id, operation_id = made.json()["traces"][0]["trace_id"], made.json()["operation_id"]
    operations: OperationService = scene.api.app.state.operations
    with clock.as_of(clock.now() + operations.LONGEST_REST):
        await operations.run(UUID(operation_id))
    assert len(await vectors_of(scene.settings, trace_id)) == 1


@pytest.mark.parametrize("how", ["refuses", "hangs", "fails"])
async def test_an_embedding_endpoint_that_is_away(
    postgres: "SharedPostgres", template: str, scene: Scene, figure: Figure, how: str
) -> None:
    name = f"endpoint_{uuid4().hex}"
    url = postgres.create(name, template)
    with standin.serve() as model:
        parts = httpx.URL(model.url)
        proxy = Proxy(parts.host, parts.port or 80)
        await proxy.listen()
        settings = scene.settings.model_copy(
            update={
                "database_url": url, "redis_url": scene.own_redis, "embedding_model": "counted-words",
                "embedding_url": f"http://127.0.0.1:{proxy.port}/v1", "embedding_dim": standin.DIM,
            }
        )  # fmt: skip
        async with serving(settings, None) as running:
            caller = await running.caller()
            assert (await post(caller, "ada", "The heron stood still.")).json()["degraded"] == []
            async with _endpoint(proxy, model, how):
                began = time.monotonic()
                made = await post(caller, "ada", "The heron flew.")
                figure(f"endpoint {how}: remember, seconds", round(time.monotonic() - began, 2))
                assert (made.status_code, made.json()["degraded"]) == (201, ["encoder"])
                found = (await caller.get("/memory/recall", params={"user_id": "ada", "q": "heron"})).json()
                assert (found["degraded"], len(found["results"])) == (["semantic"], 2)
                told = (await caller.get("/health/ready")).json()
                assert (told["status"], told["parts"]["encoder"]["status"]) == ("degraded", "down")
            operations: OperationService = running.app.state.operations
            deadline = time.monotonic() + HEAL_SECONDS
            while (await caller.get("/health/ready")).json()["status"] != "ready":
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            with clock.as_of(clock.now() + operations.LONGEST_REST):
                assert await operations.run(UUID(made.json()["operation_id"]))
            found = (await caller.get("/memory/recall", params={"user_id": "ada", "q": "heron"})).json()
            assert found["degraded"] == []
            assert all("semantic" in one["scores"] for one in found["results"])
        await proxy.stop()
    postgres.drop(name)


@asynccontextmanager
async def _endpoint(proxy: Proxy, model: standin.StandIn, how: str) -> AsyncIterator[None]:
    if how == "refuses":
        async with proxy.refusing():
            yield
    elif how == "hangs":
        with proxy.hanging():
            yield
        proxy.cut()
    else:
        model.play(*[standin.says(500)] * 1000)
        try:
            yield
        finally:
            model.tricks.clear()
