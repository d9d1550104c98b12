"""A clock that jumps, by hours and by weeks: nothing is lost, and nothing waits for a future that was taken back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.idempotency import LEASE, delete_old_keys
from reverie.core.ids import uuid7
from reverie.core.redis import Redis
from reverie.embedding.protocol import Embedder
from reverie.operations.service import OperationService
from reverie.working.focus import Focus
from tests.conftest import Api, Shared, serving
from tests.memories.helpers import Fickle, found_ids, next_edges, post, rows, user_row

AHEAD = timedelta(hours=5)


@pytest.fixture
def fickle(embedder: Embedder) -> Fickle:
    assert isinstance(embedder, Shared)
    return Fickle(embedder)


@pytest.fixture
async def api(settings: Settings, fickle: Fickle) -> AsyncIterator[Api]:
    """Without Redis, so that the sweeper alone finds what waits."""
    async with serving(settings.model_copy(update={"redis_url": None}), fickle) as running:
        yield running


@pytest.fixture
def operations(api: Api) -> OperationService:
    service: OperationService = api.app.state.operations
    return service


async def state(caller: httpx.AsyncClient, operation_id: str) -> tuple[str, int]:
    answer = (await caller.get(f"/operations/{operation_id}")).json()
    return answer["state"], answer["attempts"]


async def accept(caller: httpx.AsyncClient, *texts: str) -> str:
    answer = await post(caller, "ada", *texts, wait=False)
    assert answer.status_code == 202
    return str(answer.json()["operation_id"])


async def test_writes_are_kept_in_the_order_in_which_they_came(caller: httpx.AsyncClient, settings: Settings) -> None:
    jumps = [0, 5, -7, 1, 24 * 9, -24 * 16, 24 * 40, -1, 0]
    ids: list[str] = []
    versions: list[int] = []
    for number, hours in enumerate(jumps):
        with clock.as_of(clock.now() + timedelta(hours=hours)):
            texts = [f"Turn {number} {part} about harbour {number}." for part in ("a", "b")]
            answer = await post(caller, "ada", *texts, conversation_id="c")
            assert answer.status_code == 201, answer.text
            ids += [one["trace_id"] for one in answer.json()["traces"]]
            versions.append((await user_row(settings, "ada"))["version"])
    assert len(set(ids)) == len(ids) == 2 * len(jumps)
    assert await next_edges(settings, ids) == {(n, n + 1) for n in range(len(ids) - 1)}
    assert versions == sorted(set(versions))
    listed = (await caller.get("/memory/traces", params={"user_id": "ada", "limit": 100})).json()["items"]
    assert sorted(item["trace_id"] for item in listed) == sorted(ids)
    for number in range(len(jumps)):
        found = await found_ids(caller, "ada", f"Turn {number} a about harbour {number}.", k=20, recipe="vector")
        assert ids[2 * number] in found[:2]
    row = await user_row(settings, "ada")
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"]) == (len(ids), row["words"])


async def test_what_was_accepted_in_the_future_is_run_now(
    caller: httpx.AsyncClient, operations: OperationService
) -> None:
    with clock.as_of(clock.now() + AHEAD):
        early = await accept(caller, "From a future that was taken back.")
    assert await operations.sweep() == 1
    assert await state(caller, early) == ("done", 1)


@pytest.mark.parametrize("end", ["dies", "fails", "waits"])
async def test_a_lease_of_the_future_holds_nobody(
    caller: httpx.AsyncClient, operations: OperationService, fickle: Fickle, settings: Settings, end: str
) -> None:
    with clock.as_of(clock.now() - timedelta(minutes=1)):
        held = await accept(caller, "Leased in a future that was taken back.")
    with clock.as_of(clock.now() + AHEAD):
        if end == "waits":
            with fickle.failing():
                assert await operations.run(UUID(held))
        else:
            changes = ("running", 1) if end == "dies" else ("pending", 1)
            until = clock.now() + (operations.LEASE if end == "dies" else operations.PAUSE)
            change = "UPDATE operation SET state = %s, attempts = %s, lease_until = %s WHERE id = %s"
            await rows(settings, change, (*changes, until, held))
    assert await operations.sweep() == 1
    assert await state(caller, held) == ("done", 1 if end == "waits" else 2)


async def test_a_worker_that_lives_through_a_jump_back_does_no_harm(
    caller: httpx.AsyncClient, operations: OperationService, fickle: Fickle, settings: Settings
) -> None:
    held = await accept(caller, "Held.", "Also held.")
    with fickle.held() as arrived:
        with clock.as_of(clock.now() + AHEAD):
            first = asyncio.create_task(operations.run(UUID(held)))
            assert await asyncio.to_thread(arrived)
        second = asyncio.create_task(operations.run(UUID(held)))
        while await state(caller, held) != ("running", 2):  # noqa: ASYNC110 - the other task writes it
            await asyncio.sleep(0.01)
        fickle.release()
        assert all(await asyncio.gather(first, second))
    assert await state(caller, held) == ("done", 2)
    assert await rows(settings, "SELECT count(*), count(DISTINCT trace_id) FROM memory_embedding") == [(2, 2)]


async def test_clocks_that_differ_a_little_leave_leases_alone(
    caller: httpx.AsyncClient, operations: OperationService, settings: Settings
) -> None:
    with clock.as_of(clock.now() - timedelta(minutes=1)):
        held = await accept(caller, "Held by a worker whose clock is a little ahead.")
    until = clock.now() + operations.LEASE + clock.SKEW / 2
    await rows(settings, "UPDATE operation SET state = 'running', lease_until = %s WHERE id = %s", (until, held))
    assert await operations.sweep() == 0
    assert not await operations.run(UUID(held))


class TestIdempotencyKeys:
    BODY: dict[str, Any] = {"user_id": "ada", "traces": [{"content": "Once.", "role": "user"}]}  # noqa: RUF012

    async def send(self, caller: httpx.AsyncClient, key: str) -> httpx.Response:
        return await caller.post("/memory/remember", json=self.BODY, headers={"Idempotency-Key": key})

    async def test_an_answer_of_the_future_is_the_answer(self, caller: httpx.AsyncClient, settings: Settings) -> None:
        key = uuid4().hex
        with clock.as_of(clock.now() + AHEAD):
            first = await self.send(caller, key)
        assert (await self.send(caller, key)).content == first.content
        with clock.as_of(clock.now() - AHEAD):
            assert (await self.send(caller, key)).content == first.content
        assert (await user_row(settings, "ada"))["real_traces"] == 1

    async def test_a_claim_of_the_future_whose_process_died_keeps_nobody(
        self, caller: httpx.AsyncClient, settings: Settings
    ) -> None:
        key = uuid4().hex
        with clock.as_of(clock.now() + AHEAD):
            assert (await self.send(caller, key)).status_code == 201
        # As if it had died before it wrote.
        await rows(settings, "DELETE FROM memory_user")
        await rows(settings, "DELETE FROM memory_trace")
        await rows(settings, "UPDATE idempotency_key SET status = NULL, response = NULL WHERE key = %s", (key,))
        assert (await self.send(caller, key)).status_code == 201
        assert (await user_row(settings, "ada"))["real_traces"] == 1

    async def test_a_request_that_lives_through_a_jump_back_is_not_doubled(
        self, caller: httpx.AsyncClient, settings: Settings, fickle: Fickle
    ) -> None:
        key = uuid4().hex
        with fickle.held() as arrived:
            with clock.as_of(clock.now() + AHEAD):
                first = asyncio.create_task(self.send(caller, key))
                assert await asyncio.to_thread(arrived)
            second = asyncio.create_task(self.send(caller, key))
            leased = "SELECT 1 FROM idempotency_key WHERE locked_until > %s"
            while await rows(settings, leased, (clock.now() + AHEAD / 2,)):  # noqa: ASYNC110 - the other task writes it
                await asyncio.sleep(0.01)
            fickle.release()
            statuses = [answer.status_code for answer in await asyncio.gather(first, second)]
        assert statuses == [409, 201]
        assert (await user_row(settings, "ada"))["real_traces"] == 1

    async def test_a_request_that_takes_longer_than_its_lease_keeps_its_key(
        self, caller: httpx.AsyncClient, settings: Settings, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("reverie.core.idempotency.LEASE", timedelta(seconds=0.9))
        key = uuid4().hex
        with fickle.held() as arrived:
            first = asyncio.create_task(self.send(caller, key))
            assert await asyncio.to_thread(arrived)
            began = clock.now()
            while clock.now() - began < timedelta(seconds=2):
                again = await self.send(caller, key)
                assert (again.status_code, again.headers["retry-after"]) == (409, "1")
                await asyncio.sleep(0.1)
            fickle.release()
            assert (await first).status_code == 201
        assert (await user_row(settings, "ada"))["real_traces"] == 1

    async def test_keys_of_the_future_are_deleted_in_their_time(
        self, api: Api, caller: httpx.AsyncClient, settings: Settings
    ) -> None:
        with clock.as_of(clock.now() + AHEAD):
            await self.send(caller, uuid4().hex)
        count = "SELECT count(*) FROM idempotency_key"
        await delete_old_keys(api.app.state.database, clock.now())
        assert await rows(settings, count) == [(1,)]
        await delete_old_keys(api.app.state.database, clock.now() + AHEAD + timedelta(hours=24) + LEASE)
        assert await rows(settings, count) == [(0,)]


async def test_the_focus_takes_what_is_new_after_a_jump_back(settings: Settings) -> None:
    redis = Redis(settings)
    focus, user = Focus(settings, redis), uuid4()
    try:
        future = [uuid7(clock.now()) for _ in range(settings.redis_focus_size)]
        await focus.add(user, future, clock.now() + AHEAD)
        a_little_ahead, new = uuid7(clock.now()), uuid7(clock.now())
        await focus.add(user, [a_little_ahead], clock.now() + clock.SKEW / 2)
        await focus.add(user, [new], clock.now())
        assert [trace_id for _, trace_id in (await focus.read([user])).keys] == [a_little_ahead, new]
    finally:
        await redis.close()
