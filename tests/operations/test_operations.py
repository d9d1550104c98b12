"""The row is the job: it is done once, taken over when its worker dies, set aside when it fails again and again."""

import asyncio
import itertools
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import redis.asyncio
from structlog.testing import CapturingLogger
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle, owner, post, rows, run_operation, unit
from tests.waiting import PATIENCE

from reverie import worker
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.errors import Conflict
from reverie.core.queue import QUEUE, Bell
from reverie.embedding.protocol import Embedder
from reverie.operations import repository
from reverie.operations import service as operations_service
from reverie.operations.repository import Leased
from reverie.operations.service import OperationService
from reverie.runtime import open_runtime
from reverie.tiers import building
from reverie.tiers.locks import building_alone
from reverie.worker import WorkerSettings, build_indexes, keep_house

WATCH_DELETIONS = """
CREATE TABLE deletion (id bigint GENERATED ALWAYS AS IDENTITY, transaction xid8, gone bigint);
CREATE FUNCTION watch_deletion() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO deletion (transaction, gone) SELECT pg_current_xact_id(), count(*) FROM gone;
    RETURN NULL;
END $$;
CREATE TRIGGER watch_deletion AFTER DELETE ON operation REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION watch_deletion();
"""
"""Writes down how many operations each statement deletes, and in which transaction."""


@pytest.fixture
def operations(api: Api) -> OperationService:
    service: OperationService = api.app.state.operations
    return service


async def accept(caller: httpx.AsyncClient, user: str, *texts: str) -> str:
    answer = await post(caller, user, *texts, wait=False)
    assert answer.status_code == 202
    operation_id: str = answer.json()["operation_id"]
    return operation_id


async def state(caller: httpx.AsyncClient, operation_id: str) -> tuple[str, int]:
    answer = await caller.get(f"/operations/{operation_id}")
    assert answer.status_code == 200
    return answer.json()["state"], answer.json()["attempts"]


async def break_off(api: Api, operation_id: str, fickle: Fickle, after: int = 0) -> None:
    """Runs an operation until ``after`` of its texts are embedded and the next are on their way, and cancels it."""
    with fickle.held(after=after) as arrived:
        running = asyncio.create_task(run_operation(api, operation_id))
        assert await asyncio.to_thread(arrived)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_an_operation_tells_how_far_it_is(caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle) -> None:
    operation = await accept(caller, user, "One.", "Two.")
    waiting = (await caller.get(f"/operations/{operation}")).json()
    assert waiting == {
        "operation_id": operation, "kind": "embed", "state": "pending", "traces": 2, "attempts": 0, "error": None,
        "result": None, "created_at": waiting["created_at"], "started_at": None, "finished_at": None,
    }  # fmt: skip
    with fickle.held() as arrived:
        task = asyncio.create_task(run_operation(api, operation))
        assert await asyncio.to_thread(arrived)
        assert await state(caller, operation) == ("running", 1)
        fickle.release()
        assert await task
    done = (await caller.get(f"/operations/{operation}")).json()
    assert (done["state"], done["result"]) == ("done", {"embedded": 2, "refused": 0})
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]


async def test_an_operation_is_done_once(caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle) -> None:
    operation = await accept(caller, user, "Only once.")
    fickle.documents.clear()
    ran = await asyncio.gather(*(run_operation(api, operation) for _ in range(4)))
    assert sorted(ran) == [False, False, False, True]
    assert await run_operation(api, operation) is False
    assert fickle.documents == ["Only once."]
    assert await run_operation(api, str(uuid4())) is False


async def test_what_a_killed_worker_left_is_taken_over_and_not_done_twice(
    caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle, settings: Settings, operations: OperationService
) -> None:
    operation = await accept(caller, user, *[f"Row {n:03}." for n in range(100)])
    fickle.documents.clear()
    await break_off(api, operation, fickle, after=64)
    # A task that is cancelled puts its operation back; a process that is killed cannot.
    await rows(
        settings,
        "UPDATE operation SET state = 'running', attempts = 1, lease_until = %s WHERE id = %s",
        (clock.now() + operations.LEASE, operation),
    )
    assert await run_operation(api, operation) is False
    with clock.as_of(clock.now() + operations.LEASE - timedelta(seconds=5)):
        assert await run_operation(api, operation) is False
    with clock.as_of(clock.now() + operations.LEASE + timedelta(seconds=5)):
        before = len(fickle.documents)
        assert before >= 64
        assert await run_operation(api, operation)
    assert await state(caller, operation) == ("done", 2)
    assert (await caller.get(f"/operations/{operation}")).json()["result"] == {"embedded": 36, "refused": 0}
    counted = await rows(
        settings,
        "SELECT count(*) FROM memory_embedding e JOIN memory_user u USING (user_id) WHERE u.external_id = %s",
        (user,),
    )
    assert counted == [(100,)]


async def test_a_slow_worker_that_was_taken_over_does_not_end_the_operation(
    caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle, operations: OperationService
) -> None:
    operation = await accept(caller, user, "Slow.")
    with fickle.held() as arrived:
        slow = asyncio.create_task(run_operation(api, operation))
        assert await asyncio.to_thread(arrived)
        with clock.as_of(clock.now() + operations.LEASE + timedelta(seconds=5)):
            second = asyncio.create_task(run_operation(api, operation))
            await asyncio.sleep(0.1)
            assert await state(caller, operation) == ("running", 2)
        fickle.broken = "not this time"
        fickle.release()
        assert await slow
        assert await second
    fickle.broken = None
    # The first attempt failed, and its failure is not the second's, which waits for its turn.
    assert await state(caller, operation) == ("pending", 1)


async def test_a_worker_that_ends_puts_its_operation_back_at_once(
    caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle
) -> None:
    operation = await accept(caller, user, "Interrupted.")
    for _ in range(4):
        await break_off(api, operation, fickle)
        assert await state(caller, operation) == ("pending", 0)
    assert await run_operation(api, operation)
    assert await state(caller, operation) == ("done", 1)


async def test_a_worker_that_was_taken_over_and_ends_puts_nothing_back(
    caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle, operations: OperationService
) -> None:
    operation = await accept(caller, user, "Contended.")
    with fickle.held() as arrived:
        slow = asyncio.create_task(run_operation(api, operation))
        assert await asyncio.to_thread(arrived)
        with clock.as_of(clock.now() + operations.LEASE + timedelta(seconds=5)):
            second = asyncio.create_task(run_operation(api, operation))
            await asyncio.sleep(0.1)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert await state(caller, operation) == ("running", 2)
        fickle.release()
        assert await second
    assert await state(caller, operation) == ("done", 2)


async def test_an_outage_of_the_encoder_costs_no_attempt(
    caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle
) -> None:
    operation = await accept(caller, user, "Patient.")
    began = clock.now()
    ran = []
    with fickle.failing("the model is out for lunch"):
        for second in range(301):
            with clock.as_of(began + timedelta(seconds=second)):
                if await run_operation(api, operation):
                    ran.append(second)
    pauses = [after - before for before, after in itertools.pairwise(ran)]
    assert pauses[0] in (5, 6)
    assert pauses == sorted(pauses)
    assert pauses[-1] in (60, 61)
    waiting = (await caller.get(f"/operations/{operation}")).json()
    assert (waiting["state"], waiting["attempts"]) == ("pending", 0)
    assert waiting["error"] == "the model is out for lunch"
    with clock.as_of(began + timedelta(seconds=400)):
        assert await run_operation(api, operation)
    done = (await caller.get(f"/operations/{operation}")).json()
    assert (done["state"], done["attempts"], done["error"]) == ("done", 1, None)
    assert done["result"] == {"embedded": 1, "refused": 0}


async def test_a_text_that_the_embedder_refuses_costs_no_other_its_vector(
    caller: httpx.AsyncClient, user: str, api: Api, fickle: Fickle
) -> None:
    operation = await accept(caller, user, *[f"Row {n:03}." for n in range(70)])
    with fickle.refusing("Row 003."):
        assert await run_operation(api, operation)
    done = (await caller.get(f"/operations/{operation}")).json()
    assert (done["state"], done["attempts"]) == ("done", 1)
    assert done["result"] == {"embedded": 69, "refused": 1}


async def test_what_a_failure_quotes_stays_inside(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = api.app.state.database

    async def quotes_a_row(held: Leased) -> dict[str, Any]:
        async with database.writing(held.space_id) as session:
            await session.fetch(b"INSERT INTO operation SELECT * FROM operation WHERE id = %b", (held.id,))
        return {}

    async def quotes_a_value(held: Leased) -> dict[str, Any]:
        async with database.writing(held.space_id) as session:
            await session.fetch(b"SELECT content::int FROM memory_body WHERE trace_id = %b", (held.trace_ids[0],))
        return {}

    async def quotes_itself(held: Leased) -> dict[str, Any]:
        return {"number": int("the secret of ada")}

    async def speaks_to_callers(held: Leased) -> dict[str, Any]:
        raise Conflict("Somebody was faster.")

    handlers = {
        quotes_a_row: "UniqueViolation",
        quotes_a_value: "InvalidTextRepresentation",
        quotes_itself: "ValueError",
        speaks_to_callers: "Somebody was faster.",
    }
    for handler, known in handlers.items():
        operation = await accept(caller, user, f"the secret of ada {handler.__name__}")
        service = OperationService(database, Bell(settings), {"embed": handler})
        logged = CapturingLogger()
        monkeypatch.setattr(operations_service, "log", logged)
        assert await service.run(UUID(operation))
        error = (await caller.get(f"/operations/{operation}")).json()["error"]
        assert known in error
        assert error.endswith(".")
        assert "\n" not in error
        ((_, said_first, event),) = logged.calls
        assert said_first == ("operation failed",)
        assert event["error"] == (known if "." not in known else "Conflict")
        assert handler.__name__ in " ".join(event["at"])
        for said in (error, repr(logged.calls)):
            assert "secret" not in said
            assert "DETAIL" not in said


async def test_an_operation_that_fails_three_times_is_set_aside_and_blocks_nobody(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings, operations: OperationService
) -> None:
    operation = await accept(caller, user, "Bad luck.")
    other = await accept(caller, f"{user} 2", "Good luck.")

    async def fails(held: Leased) -> dict[str, Any]:
        raise RuntimeError("out for lunch")

    unlucky = OperationService(api.app.state.database, Bell(settings), {"embed": fails})
    now = clock.now()
    pauses = [timedelta(0), operations.PAUSE, operations.PAUSE * 2]
    for attempt, pause in enumerate(pauses, 1):
        if attempt > 1:
            with clock.as_of(now + pause - timedelta(seconds=2)):
                assert await run_operation(api, operation) is False
        now += pause + timedelta(seconds=2)
        with clock.as_of(now):
            assert await unlucky.run(UUID(operation))
            now = clock.now()
        assert await state(caller, operation) == ("failed" if attempt == 3 else "pending", attempt)
        if attempt == 1:
            assert await run_operation(api, other)
            assert await state(caller, other) == ("done", 1)
    failed = (await caller.get(f"/operations/{operation}")).json()
    assert "RuntimeError" in failed["error"]
    assert "lunch" not in failed["error"]
    assert failed["finished_at"] is not None
    with clock.as_of(now + timedelta(days=1)):
        assert await run_operation(api, operation) is False
    found = await caller.get("/memory/recall", params={"user_id": user, "q": "luck"})
    assert [one["content"] for one in found.json()["results"]] == ["Bad luck."]


async def test_one_whose_every_worker_died_is_set_aside(
    caller: httpx.AsyncClient, user: str, settings: Settings, operations: OperationService
) -> None:
    operation = await accept(caller, user, "Fatal.")
    await rows(
        settings,
        "UPDATE operation SET state = 'running', attempts = 3, lease_until = created_at WHERE id = %s",
        (operation,),
    )
    await operations.sweep()
    assert await state(caller, operation) == ("failed", 3)
    assert "died" in (await caller.get(f"/operations/{operation}")).json()["error"]


async def test_without_redis_the_sweeper_does_it(own_settings: Settings, fickle: Fickle) -> None:
    for url in (None, "redis://127.0.0.1:1/0"):
        async with serving(own_settings.model_copy(update={"redis_url": url}), fickle) as running:
            caller, sweeper = await running.caller(), running.app.state.operations
            made = [await accept(caller, f"user {n}", f"Crumb {n}, {url}.") for n in range(3)]
            assert await sweeper.sweep() == 0
            with clock.as_of(clock.now() + sweeper.PATIENCE + timedelta(seconds=1)):
                assert await sweeper.sweep() == 3
                assert [await state(caller, one) for one in made] == [("done", 1)] * 3
                assert await sweeper.sweep() == 0
            for n in range(3):
                await caller.post("/memory/forget", json={"user_id": f"user {n}", "scope": {"all": True}})


async def test_the_sweeper_leaves_alone_what_is_held_or_rests(own_settings: Settings, fickle: Fickle) -> None:
    async with serving(own_settings.model_copy(update={"redis_url": None}), fickle) as running:
        caller, sweeper = await running.caller(), running.app.state.operations
        operation = await accept(caller, "ada", "Crumb.")
        later = clock.now() + sweeper.PATIENCE + timedelta(seconds=1)
        with clock.as_of(later), fickle.failing():
            assert await sweeper.sweep() == 1
            assert await sweeper.sweep() == 0
        with clock.as_of(later + sweeper.PAUSE + timedelta(seconds=1)):
            assert await sweeper.sweep() == 1
        assert await state(caller, operation) == ("done", 1)


async def test_the_sweeper_does_what_the_bell_rang_for_in_vain(
    caller: httpx.AsyncClient, user: str, operations: OperationService
) -> None:
    """Redis takes every ring, and no worker listens to it."""
    operation = await accept(caller, user, "Unheard.")
    now = clock.now()
    with clock.as_of(now + operations.PATIENCE + timedelta(seconds=1)):
        await operations.sweep()
    assert await state(caller, operation) == ("pending", 0)
    with clock.as_of(now + operations.OVERDUE + timedelta(seconds=1)):
        await operations.sweep()
    assert await state(caller, operation) == ("done", 1)


async def sweep_at_once(monkeypatch: pytest.MonkeyPatch, *sweepers: OperationService) -> None:
    """Sweeps of which none rings or runs before all have found what was left behind."""
    look, found_all = repository.left_behind, asyncio.Barrier(len(sweepers))

    async def look_together(*arguments: Any) -> list[tuple[UUID, int, datetime]]:
        found = await look(*arguments)
        await found_all.wait()
        return found

    monkeypatch.setattr(repository, "left_behind", look_together)
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*(one.sweep() for one in sweepers)) == [2] * len(sweepers)


async def test_two_sweeps_at_once_run_each_operation_once(
    own_settings: Settings, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_settings.model_copy(update={"redis_url": None})
    ran, both_at_work = list[str](), asyncio.Barrier(2)

    async def work(held: Leased) -> dict[str, Any]:
        ran.append(str(held.id))
        # Neither has finished the first before the other is at work.
        await both_at_work.wait()
        return {}

    async with serving(settings, fickle) as running:
        caller = await running.caller()
        made = [await accept(caller, f"user {n}", f"Crumb {n}.") for n in range(2)]
        sweepers = [OperationService(running.app.state.database, Bell(settings), {"embed": work}) for _ in range(2)]
        with clock.as_of(clock.now() + OperationService.PATIENCE + timedelta(seconds=1)):
            await sweep_at_once(monkeypatch, *sweepers)
        assert sorted(ran) == sorted(made)
        assert [await state(caller, one) for one in made] == [("done", 1)] * 2


async def test_two_sweeps_at_once_ring_once_for_each_operation(
    own_settings: Settings, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        serving(own_settings.model_copy(update={"redis_url": None}), fickle) as running,
        redis.asyncio.Redis.from_url(str(own_settings.redis_url)) as client,
    ):
        caller = await running.caller()
        made = [await accept(caller, f"user {n}", f"Crumb {n}.") for n in range(2)]
        patient = own_settings.model_copy(update={"redis_timeout_seconds": PATIENCE})
        bells = [Bell(patient), Bell(patient)]
        before = set(await client.zrange(QUEUE, 0, -1))
        with clock.as_of(clock.now() + OperationService.PATIENCE + timedelta(seconds=1)):
            sweepers = (OperationService(running.app.state.database, bell, {}) for bell in bells)
            await sweep_at_once(monkeypatch, *sweepers)
        rung = set(await client.zrange(QUEUE, 0, -1)) - before
        for bell in bells:
            await bell.close()
        assert rung == {f"{one}:0".encode() for one in made}
        assert [await state(caller, one) for one in made] == [("pending", 0)] * 2


async def test_one_that_cannot_be_run_does_not_keep_the_sweeper_from_the_rest(
    own_settings: Settings, fickle: Fickle
) -> None:
    async with serving(own_settings.model_copy(update={"redis_url": None}), fickle) as running:
        caller, sweeper = await running.caller(), running.app.state.operations
        odd, good = await accept(caller, "ada", "Odd."), await accept(caller, "bob", "Good.")
        await rows(own_settings, "UPDATE operation SET kind = 'of a later version' WHERE id = %s", (odd,))
        with clock.as_of(clock.now() + timedelta(minutes=1)):
            await sweeper.sweep()
        assert await state(caller, good) == ("done", 1)
        assert (await state(caller, odd))[0] in ("pending", "running")


async def test_finished_operations_are_kept_thirty_days(
    caller: httpx.AsyncClient, user: str, api: Api, operations: OperationService
) -> None:
    finished, waiting = await accept(caller, user, "Done."), await accept(caller, user, "Waiting.")
    assert await run_operation(api, finished)
    with clock.as_of(clock.now() + timedelta(days=29, hours=23)):
        await operations.delete_finished(30)
    assert await state(caller, finished) == ("done", 1)
    with clock.as_of(clock.now() + timedelta(days=30, hours=1)):
        await operations.delete_finished(30)
    assert (await caller.get(f"/operations/{finished}")).status_code == 404
    assert await state(caller, waiting) == ("pending", 0)


async def test_old_operations_are_forgotten_part_by_part(
    own_settings: Settings, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OperationService, "PART", 2)
    async with serving(own_settings, fickle) as running:
        await running.caller()
        async with owner(own_settings) as connection:
            await connection.execute(WATCH_DELETIONS)
            await connection.execute(
                "INSERT INTO operation (id, space_id, kind, state, created_at, finished_at)"
                " SELECT gen_random_uuid(), space.id, 'embed', state, now(), now() FROM space, generate_series(1, 5) n,"
                " LATERAL (SELECT CASE WHEN n = 1 THEN 'failed' ELSE 'done' END) AS of (state)"
            )
        with clock.as_of(clock.now() + timedelta(days=31)):
            await running.app.state.operations.delete_finished(30)
    parts = await rows(own_settings, "SELECT gone, count(*) OVER (PARTITION BY transaction) FROM deletion ORDER BY id")
    assert parts == [(2, 1), (2, 1), (1, 1)]
    assert await rows(own_settings, "SELECT count(*) FROM operation") == [(0,)]


async def test_another_spaces_operation_is_not_there(caller: httpx.AsyncClient, user: str, api: Api) -> None:
    operation = await accept(caller, user, "Mine.")
    other = await api.caller("another space")
    theirs, none = await other.get(f"/operations/{operation}"), await other.get(f"/operations/{uuid4()}")
    assert (theirs.status_code, none.status_code) == (404, 404)
    assert theirs.json()["detail"].replace(operation, "") == none.json()["detail"].replace(
        none.json()["instance"].rsplit("/", 1)[-1], ""
    )
    assert (await caller.get("/operations/7")).status_code == 422


async def test_the_house_is_kept(own_settings: Settings, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "GRAPH_ROWS_ALWAYS", 1)
    settings = own_settings.model_copy(update={"redis_url": None, "memory_hnsw": "always"})
    async with serving(settings, embedder) as running:
        caller = await running.caller()
        headers = {"Idempotency-Key": "k"}
        body = {"user_id": "ada", "traces": [{"content": "Old."}]}
        accepted = await caller.post("/memory/remember", params={"wait": "false"}, json=body, headers=headers)
        assert await run_operation(running, accepted.json()["operation_id"])
        await post(caller, "ada", {"content": "Vector.", "embedding": unit(1)})
    later = clock.now() + timedelta(days=60)
    with clock.as_of(later):
        async with open_runtime(settings, embedder) as runtime:
            await rows(settings, "DELETE FROM memory_partition WHERE false")
            # A build that goes on elsewhere, for hours perhaps, keeps nobody.
            async with owner(settings) as builder, building_alone(builder), asyncio.timeout(30):
                await keep_house({"runtime": runtime})
                await build_indexes({"runtime": runtime})
            built = "SELECT count(*) FROM pg_class WHERE relname LIKE '%%\\_hnsw\\_%%'"
            assert await rows(settings, built) == [(0,)]
            await build_indexes({"runtime": runtime})
            assert await rows(settings, built) == [(1,)]
    left = await rows(settings, "SELECT (SELECT count(*) FROM operation), (SELECT count(*) FROM idempotency_key)")
    assert left == [(0, 0)]
    year, week, _ = (later + timedelta(weeks=4)).isocalendar()
    ahead = await rows(
        settings, "SELECT parent FROM memory_partition WHERE table_name LIKE %s ORDER BY 1", (f"%{year:04}w{week:02}",)
    )
    assert ahead == [("memory_body",), ("memory_embedding",)]
    assert await rows(settings, "SELECT count(*) FROM memory_trace") == [(2,)]


async def test_without_redis_the_worker_repeats_every_cron(monkeypatch: pytest.MonkeyPatch) -> None:
    repeated: dict[Any, float] = {}

    async def note(job: Any, _: object, minutes: float) -> None:
        repeated[job] = minutes

    monkeypatch.setattr(worker, "_repeat", note)
    runtime: Any = SimpleNamespace(settings=SimpleNamespace(redis_url=None))
    await worker._listen(runtime)
    crons: dict[Any, Any] = {job.coroutine: job.minute for job in WorkerSettings.cron_jobs}
    assert repeated == {job: 60 / len(range(60) if at is None else at) for job, at in crons.items()}
