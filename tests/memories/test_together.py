"""What holds when several write at once, and what every write leaves behind: links, counts, versions."""

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import Api, Remember, serving
from tests.memories.helpers import Fickle, next_edges, post, rows, run_operation, unit, user_row, vectors_of

from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder


def ids_of(*answers: httpx.Response) -> list[str]:
    return [one["trace_id"] for answer in answers for one in answer.json()["traces"]]


def one_chain(edges: set[tuple[int, int]], length: int) -> bool:
    """Whether the links make one chain through all of ``length`` traces."""
    after = dict(edges)
    if len(edges) != length - 1 or len(after) != len(edges):
        return False
    place = (set(range(length)) - set(after.values())).pop()
    seen = [place]
    while place in after:
        place = after[place]
        seen.append(place)
    return sorted(seen) == list(range(length))


async def test_next_links_go_through_a_batch_and_on_from_the_last(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    first = await post(caller, user, "One.", "Two.", conversation_id="c")
    other = await post(caller, user, "Elsewhere.", conversation_id="d")
    apart = await post(caller, user, "No conversation.")
    second = await post(
        caller, user, {"content": "Three."}, {"content": "Aside.", "conversation_id": "d"}, "Four.", conversation_id="c"
    )
    ids = ids_of(first, other, apart, second)
    assert await next_edges(settings, ids) == {(0, 1), (1, 4), (4, 6), (2, 5)}


async def test_next_links_pass_over_what_was_there_already(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    first = await post(caller, user, {"content": "One.", "external_id": "1"}, conversation_id="c")
    again = {"content": "One.", "external_id": "1"}
    second = await post(caller, user, again, "Two.", again, " ", "Three.", conversation_id="c")
    ids = ids_of(first) + [one["trace_id"] for one in second.json()["traces"] if one["status"] == "stored"]
    assert await next_edges(settings, ids) == {(0, 1), (1, 2)}


async def test_next_links_of_two_users_do_not_meet(caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    mine = await post(caller, user, "Mine.", conversation_id="c")
    theirs = await post(caller, f"{user} 2", "Theirs.", conversation_id="c")
    assert await next_edges(settings, ids_of(mine, theirs)) == set()


async def test_next_links_make_one_chain_when_the_earlier_batch_takes_longer(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle
) -> None:
    start = ids_of(await post(caller, user, {"content": "Start.", "embedding": unit(1)}, conversation_id="c"))
    with fickle.held() as arrived:
        slow = asyncio.create_task(post(caller, user, "Slow one.", "Slow two.", conversation_id="c"))
        assert await asyncio.to_thread(arrived)
        fast = ids_of(await post(caller, user, {"content": "Fast.", "embedding": unit(2)}, conversation_id="c"))
        fickle.release()
        ids = start + fast + ids_of(await slow)
    ids += ids_of(await post(caller, user, {"content": "Last.", "embedding": unit(3)}, conversation_id="c"))
    edges = await next_edges(settings, ids)
    assert one_chain(edges, len(ids)), edges


async def test_many_at_once_make_one_chain_and_right_counts(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    batches = [
        [{"content": f"Batch {b}, line {n}.", "embedding": unit(10 * b + n)} for n in range(3)] for b in range(8)
    ]
    answers = await asyncio.gather(*(post(caller, user, *batch, conversation_id="c") for batch in batches))
    assert {answer.status_code for answer in answers} == {201}
    edges = await next_edges(settings, ids_of(*answers))
    assert one_chain(edges, 24), edges
    row = await user_row(settings, user)
    assert row["traces"] == row["real_traces"] == 24
    assert row["words"] == row["real_words"] > 0


async def test_the_same_trace_remembered_at_once_is_stored_once(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle
) -> None:
    with fickle.held() as arrived:
        tasks = [
            asyncio.create_task(post(caller, user, {"content": "Same.", "external_id": "e"}, f"Own {n}."))
            for n in range(5)
        ]
        assert await asyncio.to_thread(arrived)
        await asyncio.sleep(0.05)
        fickle.release()
        answers = [(await task).json()["traces"] for task in tasks]
    assert sorted(traces[0]["status"] for traces in answers) == ["duplicate"] * 4 + ["stored"]
    assert len({traces[0]["trace_id"] for traces in answers}) == 1
    assert {traces[1]["status"] for traces in answers} == {"stored"}
    row = await user_row(settings, user)
    assert row["traces"] == row["real_traces"] == 6
    assert len(await vectors_of(settings, answers[0][0]["trace_id"])) == 1


async def test_different_contents_of_one_external_id_at_once(
    caller: httpx.AsyncClient, user: str, fickle: Fickle
) -> None:
    with fickle.held() as arrived:
        tasks = [
            asyncio.create_task(post(caller, user, {"content": f"Version {n}.", "external_id": "e"})) for n in range(3)
        ]
        assert await asyncio.to_thread(arrived)
        await asyncio.sleep(0.05)
        fickle.release()
        answers = [await task for task in tasks]
    assert sorted(answer.status_code for answer in answers) == [201, 422, 422]
    refused = [answer.json()["detail"] for answer in answers if answer.status_code == 422]
    assert all("PATCH" in detail for detail in refused)


async def test_every_write_raises_the_version_and_keeps_the_counts(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api
) -> None:
    versions: list[int] = []

    async def look(traces: int) -> None:
        row = await user_row(settings, user)
        assert row["traces"] == row["real_traces"] == traces
        assert row["words"] == row["real_words"]
        versions.append(row["version"])

    first = ids_of(await post(caller, user, "Larks sing at dawn.", "Owls do not.", {"content": "Hm.", "salience": 0.1}))
    await look(3)
    later = await post(caller, user, "Swifts are back.", wait=False)
    await look(4)
    assert await run_operation(api, later.json()["operation_id"])
    await look(4)
    path, params = f"/memory/traces/{first[0]}", {"user_id": user}
    longer = {"content": "Larks, finches and thrushes sing long before dawn."}
    assert (await caller.patch(path, params=params, json=longer)).status_code == 200
    await look(4)
    assert (await caller.patch(path, params=params, json={"occurred_at": "2020-05-06"})).status_code == 200
    await look(4)
    assert (await caller.patch(path, params=params, json={"meta": {"a": 1}})).status_code == 200
    await look(4)
    assert (await caller.delete(path, params=params)).status_code == 200
    await look(3)
    body = {"user_id": user, "scope": {"trace_ids": first[1:]}}
    assert (await caller.post("/memory/forget", json=body)).status_code == 200
    await look(1)
    assert versions == sorted(set(versions))


async def test_reading_and_refusals_leave_the_version_alone(
    caller: httpx.AsyncClient, user: str, settings: Settings, remember: Remember
) -> None:
    (made,) = await remember(user, {"content": "Here.", "external_id": "e"})
    before = await user_row(settings, user)
    params = {"user_id": user}
    for answer in (
        await caller.get(f"/memory/traces/{made['trace_id']}", params=params),
        await caller.get("/memory/traces", params=params),
        await caller.get("/memory/recall", params=params | {"q": "here"}),
        await post(caller, user, {"content": "There.", "external_id": "e"}),
        await post(caller, user, {"content": "Here.", "external_id": "e"}),
        await caller.post("/memory/forget", json={"user_id": user, "scope": {"all": True}, "dry_run": True}),
        await caller.patch(f"/memory/traces/{made['trace_id']}", params=params, json={"salience": 2}),
    ):
        assert answer.status_code in (200, 201, 422)
    assert await user_row(settings, user) == before


@pytest.mark.parametrize("change", [{"content": "The parcel is in Lima."}, {"salience": 0.1}, {"speaker": "Ada"}, None])
async def test_a_vector_that_was_being_made_does_not_replace_a_newer_one(
    caller: httpx.AsyncClient,
    user: str,
    settings: Settings,
    fickle: Fickle,
    api: Api,
    embedder: Embedder,
    change: dict[str, Any] | None,
) -> None:
    accepted = (await post(caller, user, "The parcel is in Oslo.", wait=False)).json()
    trace_id = accepted["traces"][0]["trace_id"]
    path, params = f"/memory/traces/{trace_id}", {"user_id": user}
    with fickle.held() as arrived:
        worker = asyncio.create_task(run_operation(api, accepted["operation_id"]))
        assert await asyncio.to_thread(arrived)
        # Another process, whose encoder is its own, changes the trace while the worker encodes what it said before.
        async with serving(settings, embedder) as elsewhere:
            client = elsewhere.client(caller.headers["Authorization"].removeprefix("Bearer "))
            if change is None:
                assert (await client.delete(path, params=params)).status_code == 200
            else:
                assert (await client.patch(path, params=params, json=change)).status_code == 200
        fickle.release()
        assert await worker
    wanted = {"content": "The parcel is in Lima.", "speaker": "Ada: The parcel is in Oslo."}.get(
        next(iter(change or {}), "")
    )
    found = [vector for _, vector in await vectors_of(settings, trace_id)]
    assert len(found) == (wanted is not None)
    if wanted is not None:
        assert np.allclose(found[0], embedder.encode_documents([wanted])[0], atol=1e-3)
    operation = (await caller.get(f"/operations/{accepted['operation_id']}")).json()
    assert operation["state"] == "done"


async def test_the_encoder_is_never_waited_for_within_a_transaction(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle
) -> None:
    (first,) = ids_of(await post(caller, user, {"content": "Before.", "embedding": unit(1)}))
    with fickle.held() as arrived:
        change = asyncio.create_task(
            caller.patch(f"/memory/traces/{first}", params={"user_id": user}, json={"content": "After."})
        )
        slow = asyncio.create_task(post(caller, user, "Slow."))
        assert await asyncio.to_thread(arrived)
        open_ones: list[tuple[Any, ...]] = await rows(
            settings,
            "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
        fickle.release()
        assert (await change).status_code == 200
        assert (await slow).status_code == 201
    assert open_ones == []
