"""What is much is invisible at once, and removed part by part, whoever is killed meanwhile."""

import asyncio
import contextlib
import signal
from uuid import UUID

import httpx
import pytest
from tests.conftest import Api
from tests.forgetting.helpers import finish, forgotten, left, verified
from tests.forgetting.killed import arguments
from tests.memories.helpers import found_ids, next_edges, post, rows, run_operation, unit, user_row

from reverie.core.config import Settings
from reverie.forgetting import erasing, repository, service

MANY = 60


@pytest.fixture(autouse=True)
def _little_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "AT_ONCE", 10)
    monkeypatch.setattr(service, "PART", 25)
    monkeypatch.setattr(erasing, "PART", 7)


@pytest.fixture
async def ids(caller: httpx.AsyncClient, user: str) -> list[str]:
    """Turns of a conversation, every tenth of which is of another."""
    traces = [
        {
            "content": f"The quagga of day {n}.",
            "embedding": unit(n),
            "external_id": str(n),
            "conversation_id": "d" if n % 10 == 9 else "c",
        }
        for n in range(MANY)
    ]
    made = (await post(caller, user, *traces)).json()["traces"]
    return [one["trace_id"] for one in made]


async def state(settings: Settings, receipt_id: str) -> str:
    ((found,),) = await rows(settings, "SELECT state FROM forget_receipt WHERE id = %s", (receipt_id,))
    return str(found)


async def rest(settings: Settings, ids: list[str]) -> int:
    """How many traces are still there, seen or not."""
    ((found,),) = await rows(
        settings, "SELECT count(*) FROM memory_trace WHERE id = ANY(%s)", ([UUID(i) for i in ids],)
    )
    return int(found)


async def test_it_is_invisible_at_once_and_gone_afterwards(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api
) -> None:
    body = await forgotten(caller, user, {"conversation_id": "c"})
    gone, stays = [one for n, one in enumerate(ids) if n % 10 != 9], ids[9::10]
    assert (body["state"], body["counts"]["traces"], body["tombstones"]) == ("running", 54, 54)
    assert body["counts"]["edges"] == 53
    assert await rest(settings, gone) == 54
    # Nobody sees any of it.
    assert await left(caller, user) == {f"The quagga of day {n}." for n in range(9, MANY, 10)}
    assert set(await found_ids(caller, user, "quagga", k=100)) == set(stays)
    assert (await caller.get(f"/memory/traces/{gone[0]}", params={"user_id": user})).status_code == 404
    patched = await caller.patch(f"/memory/traces/{gone[0]}", params={"user_id": user}, json={"salience": 0.1})
    assert patched.status_code == 404
    again = await caller.post("/memory/forget", json={"user_id": user, "scope": {"trace_id": gone[0]}})
    assert again.status_code == 404
    row = await user_row(settings, user)
    assert row["traces"] == 6
    refused = await post(caller, user, {"content": "Other words.", "embedding": unit(1), "external_id": "0"})
    assert refused.status_code == 422
    # What comes next follows none of it.
    new = (await post(caller, user, {"content": "And a zebra.", "embedding": unit(1)}, conversation_id="c")).json()
    assert (
        await rows(settings, "SELECT follows FROM memory_trace WHERE id = %s", (new["traces"][0]["trace_id"],))
    ) == [(None,)]
    found = await verified(caller, user, body["receipt_id"])
    assert (found["gone"], found["state"], found["found"]["traces"]) == (False, "running", 54)
    operation = (await caller.get(f"/operations/{body['receipt_id']}")).json()
    assert (operation["kind"], operation["state"]) == ("forget", "pending")
    await finish(api, settings, body["receipt_id"])
    assert await rest(settings, gone) == 0
    assert await rest(settings, stays) == 6
    found = await verified(caller, user, body["receipt_id"])
    assert (found["gone"], found["state"]) == (True, "done")
    receipt = (await caller.get(f"/memory/receipts/{body['receipt_id']}", params={"user_id": user})).json()
    assert receipt["finished_at"] > receipt["created_at"]
    row = await user_row(settings, user)
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"])


async def test_a_gap_is_closed_before_anything_is_removed(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings
) -> None:
    c = [one for n, one in enumerate(ids) if n % 10 != 9]
    await forgotten(caller, user, {"trace_ids": c[10:40]})
    edges = await next_edges(settings, [*c[:10], *c[40:]])
    assert edges == {(n, n + 1) for n in range(23)}


async def test_a_user_who_is_forgotten_may_come_back_while_it_is_removed(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api
) -> None:
    body = await forgotten(caller, user, {"all": True})
    assert body["state"] == "running"
    assert await rows(settings, "SELECT 1 FROM memory_user WHERE external_id = %s", (user,)) == []
    users = (await caller.get("/memory/users", params={"limit": 100})).json()["items"]
    assert user not in [one["user_id"] for one in users]
    await post(caller, user, {"content": "I am back.", "embedding": unit(1)})
    assert await left(caller, user) == {"I am back."}
    second = await forgotten(caller, user, {"all": True})
    assert (second["state"], second["counts"]["traces"]) == ("done", 1)
    await post(caller, user, {"content": "I am back again.", "embedding": unit(1)})
    await finish(api, settings, body["receipt_id"])
    row = await user_row(settings, user)
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"])
    assert row["traces"] == 1
    assert await left(caller, user) == {"I am back again."}


@pytest.mark.parametrize("parts", [0, 1, 4])
async def test_whoever_dies_in_the_midst_the_sweeper_finishes(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api, parts: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    body = await forgotten(caller, user, {"all": True})
    await rows(settings, "DELETE FROM operation WHERE id <> %s AND user_id IS NULL", (body["receipt_id"],))
    remove, calls = repository.remove_hidden, 0

    async def dying(*args: object) -> None:
        nonlocal calls
        calls += 1
        if calls > parts:
            raise asyncio.CancelledError
        await remove(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(repository, "remove_hidden", dying)
        with contextlib.suppress(asyncio.CancelledError):
            await run_operation(api, body["receipt_id"])
    assert await rest(settings, ids) == MANY - 7 * parts
    assert await state(settings, body["receipt_id"]) == "running"
    # Killed, it holds its lease until that runs out.
    await rows(
        settings,
        "UPDATE operation SET state = 'running', lease_until = now() - interval '1 minute',"
        " created_at = now() - interval '1 minute' WHERE id = %s",
        (body["receipt_id"],),
    )
    await api.app.state.operations.sweep()
    assert await rest(settings, ids) == 0
    assert await state(settings, body["receipt_id"]) == "done"


async def test_what_was_set_aside_is_taken_up_again(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api
) -> None:
    body = await forgotten(caller, user, {"all": True})
    forgetting = api.app.state.forgetting
    eraser = erasing.Eraser(api.app.state.database, forgetting._focus, forgetting._cold, forgetting._access)
    for query in (
        "UPDATE operation SET state = 'failed', attempts = 3, finished_at = now() WHERE id = %s",
        "DELETE FROM operation WHERE id = %s",
    ):
        await rows(settings, query, (body["receipt_id"],))
        await eraser.finish_left()
        ((found, attempts),) = await rows(
            settings, "SELECT state, attempts FROM operation WHERE id = %s", (body["receipt_id"],)
        )
        assert (found, attempts) == ("pending", 0)
    await finish(api, settings, body["receipt_id"])
    await eraser.finish_left()
    assert await rows(settings, "SELECT state FROM operation WHERE id = %s", (body["receipt_id"],)) == [("done",)]


@pytest.mark.parametrize(
    "place", ["remove_hidden:before:1", "remove_hidden:after:3", "next_hidden:after:4", "finish_receipt:before:1"]
)
async def test_a_worker_that_is_killed_leaves_nothing_half_done(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, api: Api, place: str
) -> None:
    body = await forgotten(caller, user, {"all": True})
    assert settings.database_url is not None
    command = arguments(place, settings.database_url, body["receipt_id"])
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    assert await process.wait() == -signal.SIGKILL
    # What is left is whole: no body or vector without its trace, no trace without them.
    traces = await rest(settings, ids)
    for table in ("memory_body", "memory_embedding"):
        ((found,),) = await rows(
            settings,
            f"SELECT count(*) FROM {table} WHERE trace_id = ANY(%s)",  # noqa: S608
            ([UUID(one) for one in ids],),
        )
        assert found == traces
    assert await left(caller, user) == set()
    await rows(settings, "UPDATE operation SET lease_until = NULL WHERE id = %s", (body["receipt_id"],))
    await finish(api, settings, body["receipt_id"])
    found = await verified(caller, user, body["receipt_id"])
    assert (found["gone"], found["state"], found["traces"]) == (True, "done", MANY)
