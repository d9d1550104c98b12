"""The worker as a process of its own: it embeds what was accepted, with Redis and without, and ends when told to."""

import asyncio
import signal
from asyncio.subprocess import Process

import httpx
import pytest

from reverie.core.config import Settings
from tests.conftest import Api
from tests.processes import command
from tests.waiting import until_operation


async def end(process: Process) -> str:
    """Tells a worker to end; what it said."""
    process.send_signal(signal.SIGTERM)
    output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, errors.decode()
    return (output + errors).decode()


@pytest.mark.parametrize("redis", ["up", "down"])
async def test_a_large_batch_is_embedded_by_the_worker(
    api: Api, caller: httpx.AsyncClient, settings: Settings, redis: str
) -> None:
    changes = {} if redis == "up" else {"REDIS_URL": "redis://127.0.0.1:1/0"}
    count = 300 if redis == "up" else 20
    traces = [{"content": f"Parcel {n} went to harbour {n % 7}."} for n in range(count)]
    async with command(settings, "worker", **changes) as worker:
        accepted = await caller.post(
            "/memory/remember", params={"wait": "false"}, json={"user_id": "ada", "traces": traces}
        )
        assert accepted.status_code == 202
        ids = [one["trace_id"] for one in accepted.json()["traces"]]
        operation = await until_operation(caller, accepted.json()["operation_id"], "done", "failed")
        said = await end(worker)
    assert (operation["state"], operation["attempts"]) == ("done", 1)
    assert operation["result"] == {"embedded": count, "refused": 0}
    question = {"user_id": "ada", "q": "Parcel 7 went to harbour 0.", "recipe": "vector"}
    found = (await caller.get("/memory/recall", params=question)).json()["results"]
    assert found[0]["trace_id"] == ids[7]
    assert found[0]["score"] > 0.8
    assert "Parcel" not in said
    assert "harbour" not in said
    assert ("redis failed" in said) == (redis == "down")
