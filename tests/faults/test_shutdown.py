"""SIGTERM: what was begun is finished within the grace, what was answered is kept, and nothing is left hanging."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx
import psycopg
import pytest
from arq import ArqRedis, Worker, cron

from reverie import worker
from reverie.core.config import Settings
from reverie.core.metrics import Metrics
from reverie.core.queue import HEARTBEAT, arq_redis
from reverie.embedded.postgres import free_port
from reverie.embedded.supervisor import answers
from reverie.embedding.protocol import Embedder
from tests import processes
from tests.conftest import Api
from tests.faults.scenery import working
from tests.waiting import PATIENCE, until_operation

if TYPE_CHECKING:
    from reverie.runtime import Runtime

BATCH = 100
MANY = 300


def command(settings: Settings, *arguments: str, **changes: str) -> AbstractAsyncContextManager[Process]:
    """A command of ours that waits long for PostgreSQL, and does four writes at once."""
    patient = {"DATABASE_TIMEOUT_SECONDS": str(PATIENCE), "REVERIE_MAX_WRITES": "4"}
    return processes.command(settings, *arguments, **(patient | changes))


class Serving:
    """An API as a process of its own, and a caller of it."""

    def __init__(self, process: Process, port: int, key: str) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.caller = httpx.AsyncClient(base_url=self.url, headers={"X-API-Key": key}, timeout=PATIENCE)

    def remember(self, user: str, count: int = BATCH, **params: str) -> "asyncio.Task[httpx.Response]":
        """Begins to remember texts of a user."""
        traces = [{"content": f"{user} saw bird {n}.", "external_id": str(n)} for n in range(count)]
        request = self.caller.post("/memory/remember", params=params, json={"user_id": user, "traces": traces})
        return asyncio.create_task(request)

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def ended(self) -> str:
        """What it said, once it has ended; never a traceback."""
        output, errors = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        said = (output + errors).decode()
        assert "Traceback" not in said, said
        return said


@asynccontextmanager
async def serving(api: Api, settings: Settings, *arguments: str, **changes: str) -> AsyncIterator[Serving]:
    port = free_port()
    async with command(settings, "api", "--port", str(port), *arguments, **changes) as process:
        found = Serving(process, port, await api.key())
        async with found.caller:
            async with asyncio.timeout(PATIENCE):
                while not await answers(f"{found.url}/health/ready"):
                    assert process.returncode is None, (await process.communicate())[1].decode()
                    await asyncio.sleep(0.05)
            yield found


@asynccontextmanager
async def holding_writes(settings: Settings) -> AsyncIterator["Held"]:
    """Lets no write go on until it is released, at the latest at the end of the block."""
    async with await psycopg.AsyncConnection.connect(str(settings.database_url)) as connection:
        await connection.execute("LOCK TABLE memory_user IN EXCLUSIVE MODE")
        yield Held(connection)
        await connection.rollback()


class Held:
    """A lock for which writes wait."""

    def __init__(self, connection: "psycopg.AsyncConnection[tuple[Any, ...]]") -> None:
        self._connection = connection

    async def until_waiting(self, count: int) -> None:
        """Waits until so many sessions of this database wait for the lock."""
        query = (
            "SELECT count(*) FROM pg_locks WHERE NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        async with asyncio.timeout(PATIENCE):
            while True:
                cursor = await self._connection.execute(query)
                row = await cursor.fetchone()
                if row is not None and row[0] >= count:
                    return
                await asyncio.sleep(0.02)

    async def release(self) -> None:
        await self._connection.rollback()


async def remembered(settings: Settings, user: str) -> int:
    """How many traces of a user are in the store."""
    query = "SELECT count(*) FROM memory_trace JOIN memory_user u USING (user_id) WHERE u.external_id = %s"
    async with await psycopg.AsyncConnection.connect(str(settings.database_url)) as connection:
        row = await (await connection.execute(query, [user])).fetchone()
    return row[0] if row else 0


async def outcomes(
    settings: Settings, users: Sequence[str], tasks: Sequence["asyncio.Task[httpx.Response]"]
) -> list[int]:
    """The status of each request, 0 where no answer came; what was answered is in the store, all else whole or not."""
    statuses = []
    for user, found in zip(users, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
        status = found.status_code if isinstance(found, httpx.Response) else 0
        assert isinstance(found, httpx.Response | httpx.TransportError), found
        kept = await remembered(settings, user)
        assert kept == BATCH if status == 201 else kept in (0, BATCH), (user, status, kept)
        statuses.append(status)
    return statuses


async def is_refused(url: str) -> bool:
    """Whether nobody listens at ``url`` any more, within a while."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with httpx.AsyncClient(timeout=2) as stranger:
                    await stranger.get(f"{url}/health/live")
            except httpx.ConnectError:
                return True
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_what_was_begun_is_answered_before_the_end(api: Api, settings: Settings, workers: str) -> None:
    users = [f"user {n}" for n in range(4)]
    async with serving(api, settings, "--workers", workers, REVERIE_GRACE_SECONDS="60") as running:
        async with holding_writes(settings) as held:
            tasks = [running.remember(user) for user in users]
            await held.until_waiting(len(users))
            running.tell()
            # While they wait, nobody new is let in.
            assert await is_refused(running.url)
            assert not any(task.done() for task in tasks)
            await held.release()
            assert await outcomes(settings, users, tasks) == [201] * len(users)
        await running.ended()
        assert running.process.returncode == 0


async def test_a_signal_in_the_midst_of_everything_loses_nothing(api: Api, settings: Settings) -> None:
    users = [f"user {n}" for n in range(8)]
    async with serving(api, settings, REVERIE_GRACE_SECONDS=str(int(PATIENCE))) as running:
        tasks = [running.remember(user) for user in users]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        running.tell()
        statuses = await outcomes(settings, users, tasks)
        await running.ended()
    assert running.process.returncode == 0
    assert set(statuses) <= {0, 201, 503}
    # Four were at work beside the one that had been answered.
    assert statuses.count(201) >= 5


async def test_what_outlives_the_grace_is_told_so(api: Api, settings: Settings) -> None:
    async with serving(api, settings, REVERIE_GRACE_SECONDS="1") as running, holding_writes(settings) as held:
        task = running.remember("late")
        await held.until_waiting(1)
        running.tell()
        answer = await task
        assert answer.status_code == 503
        assert "is being stopped" in answer.json()["detail"]
        assert answer.headers["Retry-After"]
        await running.ended()
        assert running.process.returncode == 0
        await held.release()
    assert await remembered(settings, "late") in (0, BATCH)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_signal_ends_it_at_once(api: Api, settings: Settings, number: signal.Signals) -> None:
    # The grace is longer than the test's patience.
    async with serving(api, settings, REVERIE_GRACE_SECONDS="600") as running, holding_writes(settings) as held:
        task = running.remember("cut off")
        await held.until_waiting(1)
        running.tell()
        assert await is_refused(running.url)
        assert not task.done()
        running.tell(number)
        await running.ended()
        assert running.process.returncode == 128 + number
        with pytest.raises(httpx.TransportError):
            await task
        await held.release()
    assert await remembered(settings, "cut off") in (0, BATCH)


async def test_a_worker_puts_back_what_it_holds(api: Api, settings: Settings) -> None:
    caller = await api.caller()
    traces = [{"content": f"Parcel {n} went to harbour {n % 7}."} for n in range(MANY)]
    accepted = await caller.post("/memory/remember?wait=false", json={"user_id": "ada", "traces": traces})
    operation = accepted.json()["operation_id"]
    async with command(settings, "worker") as first:
        await until_operation(caller, operation, "running")
        first.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(first.communicate(), PATIENCE)
        assert first.returncode == 0, errors.decode()
        assert b"Traceback" not in errors
    # Put back before the worker ended, and not by a lease that ran out.
    put_back = (await caller.get(f"/operations/{operation}")).json()
    assert (put_back["state"], put_back["attempts"]) == ("pending", 0), errors.decode()
    async with command(settings, "worker"):
        done = await until_operation(caller, operation, "done", "failed")
    assert (done["state"], done["attempts"]) == ("done", 1)
    assert await count(settings, "SELECT count(*) FROM memory_embedding") == MANY


async def test_the_second_signal_ends_a_worker_at_once(api: Api, settings: Settings) -> None:
    caller = await api.caller()
    async with command(settings, "worker") as process:
        body = {"user_id": "ada", "traces": [{"content": "Here."}]}
        accepted = await caller.post("/memory/remember?wait=false", json=body)
        await until_operation(caller, accepted.json()["operation_id"], "done")
        # Both before it can end by the first.
        os.kill(process.pid, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        os.kill(process.pid, signal.SIGCONT)
        await asyncio.wait_for(process.wait(), PATIENCE)
        assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT)


async def count(settings: Settings, query: str) -> int:
    """The number that a query gives the owner."""
    async with await psycopg.AsyncConnection.connect(str(settings.database_url)) as connection:
        row = await (await connection.execute(query.encode())).fetchone()
    return row[0] if row else 0


async def test_a_job_that_is_cut_off_leaves_no_connection_open(
    settings: Settings, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[ArqRedis] = []
    begun = asyncio.Event()

    def noted(url: str, timeout: float) -> ArqRedis:
        clients.append(arq_redis(url, timeout))
        return clients[-1]

    async def never_heard(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(worker, "arq_redis", noted)
    # One of its own: those of the class know when they ran last, for whichever worker of this process.
    at_once = cron(worker.keep_house, minute=0, run_at_startup=True, max_tries=1, keep_result=0)
    monkeypatch.setattr(worker.WorkerSettings, "cron_jobs", [at_once])
    # A job that was done and whose end Redis has not heard is cancelled where arq does not expect it.
    monkeypatch.setattr(Worker, "finish_job", never_heard)
    async with asyncio.timeout(PATIENCE), working(settings, embedder):
        await begun.wait()
    assert clients
    for client in clients:
        pool = client.connection_pool
        assert not any(line.is_connected for line in (*pool._available_connections, *pool._in_use_connections))


async def test_a_worker_says_farewell_though_it_is_told_again_to_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow_to_end(*_: Any, **__: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.5)
            ended.set()

    at_once = cron(slow_to_end, name="slow", minute=0, run_at_startup=True, max_tries=1, keep_result=0)
    monkeypatch.setattr(worker.WorkerSettings, "cron_jobs", [at_once])
    runtime = cast("Runtime", SimpleNamespace(settings=settings, metrics=Metrics()))
    async with asyncio.timeout(PATIENCE):
        listening = asyncio.create_task(worker._listen(runtime))
        await begun.wait()
        for _ in range(3):
            listening.cancel()
            await asyncio.sleep(0.05)
        await asyncio.wait([listening])
        assert listening.cancelled()
        assert ended.is_set()
        client = arq_redis(str(settings.redis_url), settings.redis_timeout_seconds)
        assert not await client.exists(HEARTBEAT)
        await client.connection_pool.disconnect()
