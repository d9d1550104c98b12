"""A worker that hangs, dies or fails holds an operation for as long as its lease, and nobody else for any time."""

import asyncio
import time
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.outages import PASSING
from reverie.core.queue import Bell
from reverie.operations.repository import Leased
from reverie.operations.service import OperationService
from tests.conftest import Api
from tests.faults.stack import kept_worker
from tests.figures import Figure
from tests.memories.helpers import post, rows
from tests.waiting import START_PATIENCE, until_operation

if TYPE_CHECKING:
    from reverie.core.database import Database

MANY = 400
"""Traces of an operation that takes some seconds, in several parts."""


async def accept(caller: httpx.AsyncClient, user: str, count: int = 1) -> str:
    """Has the vectors of ``count`` traces left to a worker; the operation."""
    answer = await post(
        caller, user, *[f"Parcel {n} of {user} went to harbour {n % 7}." for n in range(count)], wait=False
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["operation_id"])


async def operation(caller: httpx.AsyncClient, operation_id: str) -> dict[str, Any]:
    """What the API says of an operation."""
    found: dict[str, Any] = (await caller.get(f"/operations/{operation_id}")).json()
    return found


until = partial(until_operation, seconds=START_PATIENCE)


async def vectors(settings: Settings, user: str) -> tuple[int, int]:
    """(vectors, traces with a vector) of a user."""
    query = """
        SELECT count(*), count(DISTINCT e.trace_id)
        FROM memory_embedding e JOIN memory_user u USING (user_id) WHERE u.external_id = %s
    """
    ((made, traces),) = await rows(settings, query, (user,))
    return made, traces


@pytest.mark.timeout(300)
async def test_a_frozen_worker_is_taken_over_and_does_no_harm_when_it_moves_again(
    api: Api, caller: httpx.AsyncClient, settings: Settings, tmp_path: Path, long: bool, figure: Figure
) -> None:
    operations: OperationService = api.app.state.operations
    async with kept_worker(settings, tmp_path / "frozen.log") as first:
        held = await accept(caller, "ada", MANY)
        await until(caller, held, "running", attempts=1)
        while (await vectors(settings, "ada"))[0] == 0:  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.02)
        with first.frozen():
            assert (await operation(caller, held))["state"] == "running"
            # It may be frozen in the middle of a transaction, with its user locked.
            assert (await post(caller, "ada", "Another of hers.")).status_code == 201
            assert (await post(caller, "bob", "Somebody else's.")).status_code == 201
            began = time.monotonic()
            if long:
                async with kept_worker(settings, tmp_path / "second.log"):
                    done = await until(caller, held, "done", attempts=2)
            else:
                assert not await operations.run(UUID(held))
                with clock.as_of(clock.now() + operations.LEASE + operations.OVERDUE + timedelta(seconds=1)):
                    await operations.sweep()
                done = await operation(caller, held)
            figure("taken over after", f"{time.monotonic() - began:.1f} s" if long else "a lease, by a moved clock")
            assert (done["state"], done["attempts"]) == ("done", 2)
            # The first had embedded a part of it, which was not done again.
            assert 0 < done["result"]["embedded"] < MANY
            assert await vectors(settings, "ada") == (MANY + 1, MANY + 1)
        # Whoever does the next one has moved on from the last.
        await until(caller, await accept(caller, "carol"), "done", attempts=1)
    assert await operation(caller, held) == done
    assert await vectors(settings, "ada") == (MANY + 1, MANY + 1)


async def test_a_transaction_that_stands_still_keeps_its_user_for_seconds(
    api: Api, caller: httpx.AsyncClient, settings: Settings
) -> None:
    assert (await post(caller, "ada", "Before.")).status_code == 201
    ((space_id,),) = await rows(settings, "SELECT id FROM space WHERE name = 'default'")
    database: Database = api.app.state.database
    lock = b"UPDATE memory_user SET version = version + 1 WHERE space_id = %b RETURNING version"

    async def freeze() -> None:
        async with database.writing(space_id) as session:
            assert await session.fetch(lock, (space_id,))
            locked.set()
            await over.wait()
            await session.fetch(b"SELECT 1")

    locked, over = asyncio.Event(), asyncio.Event()
    frozen = asyncio.create_task(freeze())
    await locked.wait()
    try:
        # Answered within the time that a statement has.
        assert (await post(caller, "ada", "Meanwhile.")).status_code == 201
    finally:
        over.set()
    with pytest.raises(PASSING):
        await frozen


@pytest.mark.timeout(300)
async def test_an_operation_that_kills_three_workers_is_set_aside_and_blocks_nobody(
    api: Api, caller: httpx.AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    async with kept_worker(settings, tmp_path / "worker.log") as worker:
        poison = await accept(caller, "ada", MANY)
        for attempt in (1, 2, 3):
            await until(caller, poison, "running", attempts=attempt)
            worker.kill()
            # A lease goes by.
            await rows(settings, "UPDATE operation SET lease_until = %s WHERE id = %s", (clock.now(), poison))
            await rows(settings, "DELETE FROM memory_embedding")
        failed = await until(caller, poison, "failed", attempts=3)
        assert failed["error"] == "The worker died or hung at each of 3 attempts."
        other = await until(caller, await accept(caller, "bob"), "done", attempts=1)
    assert other["result"] == {"embedded": 1, "refused": 0}
    assert await operation(caller, poison) == failed


@pytest.mark.parametrize("when", ["while it works", "when it is done", "when it has failed"])
async def test_an_outage_of_postgresql_costs_no_attempt(
    api: Api, caller: httpx.AsyncClient, settings: Settings, when: str
) -> None:
    held = await accept(caller, "ada")
    database: Database = api.app.state.database
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reverie'"

    async def works(held: Leased) -> dict[str, Any]:
        if when == "while it works":
            async with database.writing(held.space_id) as session:
                await session.fetch(b"SELECT 1")
                await rows(settings, cut)
                await session.fetch(b"SELECT 1")
        # All connections of the pool: whatever comes next meets a dead one.
        assert await rows(settings, cut)
        if when == "when it has failed":
            raise RuntimeError("on its own account")
        return {"embedded": 0, "refused": 0}

    service = OperationService(database, Bell(settings), {"embed": works})
    assert await service.run(UUID(held))
    found = await operation(caller, held)
    expected = {"while it works": ("pending", 0), "when it is done": ("done", 1), "when it has failed": ("pending", 1)}
    assert (found["state"], found["attempts"]) == expected[when]


async def test_what_postgresql_never_takes_is_no_outage(
    api: Api, caller: httpx.AsyncClient, settings: Settings
) -> None:
    held = await accept(caller, "ada")
    database: Database = api.app.state.database

    async def asks_too_much(held: Leased) -> dict[str, Any]:
        async with database.writing(held.space_id) as session:
            await session.fetch(b"SELECT " + b", ".join([b"1"] * 2000))
        return {}

    service = OperationService(database, Bell(settings), {"embed": asks_too_much})
    for attempt in (1, 2, 3):
        with clock.as_of(clock.now() + timedelta(minutes=attempt)):
            assert await service.run(UUID(held))
    found = await operation(caller, held)
    assert (found["state"], found["attempts"]) == ("failed", 3)


async def test_a_worker_that_lives_and_gets_nowhere_gives_up(
    api: Api, caller: httpx.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OperationService, "LONGEST", timedelta(milliseconds=50))
    held = await accept(caller, "ada")

    async def waits_for_ever(held: Leased) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    service = OperationService(api.app.state.database, Bell(settings), {"embed": waits_for_ever})
    for attempt in (1, 2, 3):
        with clock.as_of(clock.now() + timedelta(minutes=attempt)) if attempt > 1 else nullcontext():
            assert await service.run(UUID(held))
        assert (await operation(caller, held))["attempts"] == attempt
    found = await operation(caller, held)
    assert found["state"] == "failed"
    assert "TimeoutError" in found["error"]
