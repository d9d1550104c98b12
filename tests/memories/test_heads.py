"""Other heads than what a trace says: the trace among its neighbours, and what it is about."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle, found_ids, post, rows, run_operation, unit, user_row

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.kinds import HEADS
from reverie.embedding.heads import SITUATED_LENGTH, entity_text
from reverie.embedding.protocol import FloatArray
from reverie.memories import embedding

SITUATED = {"memory_heads": "semantic,situation"}


@pytest.fixture
async def situated(own_settings: Settings, fickle: Fickle) -> AsyncIterator[Api]:
    """An API whose traces are seen among their neighbours."""
    async with serving(own_settings.model_copy(update=SITUATED), fickle) as running:
        yield running


async def head_of(settings: Settings, trace_id: str, head: str) -> FloatArray | None:
    """The vector of a trace through a head, if it has one; it says the same of it as its body."""
    found = await rows(
        settings,
        "SELECT coalesce(e.vec::real[], e.vec_fp32::real[]), e.kind = b.kind AND e.happened_at = b.happened_at"
        " FROM memory_embedding e JOIN memory_body b USING (user_id, trace_id)"
        " WHERE e.trace_id = %s AND e.head = %s AND e.piece = 0",
        (trace_id, HEADS[head]),
    )
    assert all(alike for _, alike in found)
    return np.array(found[0][0], dtype=np.float32) if found else None


def seen(own: int, *neighbours: int) -> FloatArray:
    """What the trace with the vector ``unit(own)`` is among such neighbours."""
    vectors = [np.array(unit(n), dtype=np.float32) for n in (own, own, *neighbours)]
    mean = np.mean(vectors, axis=0)
    made: FloatArray = mean / np.linalg.norm(mean)
    return made


async def is_seen(settings: Settings, trace_id: str, own: int, *neighbours: int) -> bool:
    found = await head_of(settings, trace_id, "situation")
    assert found is not None
    return bool(np.allclose(found, seen(own, *neighbours), atol=2e-3))


async def turns(caller: httpx.AsyncClient, user: str, *numbers: int, **more: Any) -> list[str]:
    """Remembers turns of one conversation, each with the vector ``unit(number)``; their ids."""
    given = [{"content": f"Turn {n}.", "embedding": unit(n)} | more for n in numbers]
    answer = await post(caller, user, *given, conversation_id="c")
    assert answer.status_code == 201, answer.text
    return [one["trace_id"] for one in answer.json()["traces"]]


async def test_a_turn_is_seen_anew_when_the_next_arrives(situated: Api, user: str, own_settings: Settings) -> None:
    caller = await situated.caller()
    first, second = await turns(caller, user, 1, 2)
    assert await is_seen(own_settings, first, 1, 2)
    assert await is_seen(own_settings, second, 2, 1)
    (third,) = await turns(caller, user, 3)
    assert await is_seen(own_settings, first, 1, 2)
    assert await is_seen(own_settings, second, 2, 1, 3)
    assert await is_seen(own_settings, third, 3, 2)
    (alone,) = await turns(caller, f"{user} 2", 4)
    assert await is_seen(own_settings, alone, 4)


async def test_heads_choose_what_is_compared(situated: Api, user: str) -> None:
    caller = await situated.caller()
    first, second, third = await turns(caller, user, 1, 2, 3)
    between = [float(x) for x in seen(2, 1, 3)]
    asked = {"embedding": between, "recipe": "vector", "k": 1}
    assert await found_ids(caller, user, "?", heads=["situation"], **asked) == [second]
    answer = await caller.post("/memory/recall", json={"user_id": user, "q": "?", "heads": ["situation"]} | asked)
    assert answer.json()["results"][0]["score"] > 0.999
    assert await found_ids(caller, user, "?", heads=["entity"], **asked) == []
    asked |= {"embedding": unit(3)}
    assert await found_ids(caller, user, "?", heads=["semantic", "situation", "entity"], **asked) == [third]
    assert first != third


async def test_a_turn_of_another_day_or_conversation_is_no_neighbour(
    situated: Api, user: str, own_settings: Settings
) -> None:
    caller = await situated.caller()
    (monday,) = await turns(caller, user, 1, occurred_at="2024-03-04T10:00:00Z")
    (late,) = await turns(caller, user, 2, occurred_at="2024-03-05T09:00:00Z")
    (friday,) = await turns(caller, user, 3, occurred_at="2024-03-08T10:00:00Z")
    assert await is_seen(own_settings, monday, 1, 2)
    assert await is_seen(own_settings, late, 2, 1)
    assert await is_seen(own_settings, friday, 3)


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "note"},
        {"content": "A long turn. " * (SITUATED_LENGTH // 12)},
        {"salience": 0.1},
    ],
)
async def test_what_is_no_short_turn_is_not_seen_so(
    situated: Api, user: str, own_settings: Settings, more: dict[str, Any]
) -> None:
    caller = await situated.caller()
    (other,) = await turns(caller, user, 1, **more)
    (turn,) = await turns(caller, user, 2)
    assert await head_of(own_settings, other, "situation") is None
    assert await is_seen(own_settings, turn, 2, *([1] if "salience" not in more else []))


async def test_neighbours_whose_vectors_come_later_are_counted_then(
    situated: Api, user: str, own_settings: Settings, fickle: Fickle
) -> None:
    caller = await situated.caller()
    (first,) = await turns(caller, user, 1)
    body = (await post(caller, user, "In between.", conversation_id="c", wait=False)).json()
    (last,) = await turns(caller, user, 3)
    assert await is_seen(own_settings, first, 1)
    assert await is_seen(own_settings, last, 3)
    assert await run_operation(situated, body["operation_id"])
    between = fickle.encode_documents(["In between."])[0]
    for trace_id, own in ((first, 1), (last, 3)):
        wanted = 2 * np.array(unit(own)) + between
        found = await head_of(own_settings, trace_id, "situation")
        assert found is not None
        assert np.allclose(found, wanted / np.linalg.norm(wanted), atol=2e-3)


async def test_what_is_forgotten_is_in_nobodys_situation(situated: Api, user: str, own_settings: Settings) -> None:
    caller = await situated.caller()
    ids = await turns(caller, user, 1, 2, 3, 4)
    body = {"user_id": user, "scope": {"trace_ids": ids[1:3]}}
    forgotten = await caller.post("/memory/forget", json=body)
    assert forgotten.json()["counts"]["vectors"] == 4
    assert await is_seen(own_settings, ids[0], 1, 4)
    assert await is_seen(own_settings, ids[3], 4, 1)
    gone = [UUID(one) for one in ids[1:3]]
    assert await rows(own_settings, "SELECT 1 FROM memory_embedding WHERE trace_id = ANY(%s)", (gone,)) == []


async def test_what_was_forgotten_or_changed_goes_also_after_the_head_was_switched_off(
    situated: Api, user: str, own_settings: Settings, fickle: Fickle
) -> None:
    caller = await situated.caller()
    ids = await turns(caller, user, 1, 2, 3)
    async with serving(own_settings, fickle) as plain:
        client = plain.client(caller.headers["Authorization"].removeprefix("Bearer "))
        params = {"user_id": user}
        assert (await client.delete(f"/memory/traces/{ids[2]}", params=params)).status_code == 200
        assert await is_seen(own_settings, ids[1], 2, 1)
        assert (await client.patch(f"/memory/traces/{ids[0]}", params=params, json={"content": "New."})).is_success
        found = await head_of(own_settings, ids[1], "situation")
        wanted = 2 * np.array(unit(2)) + fickle.encode_documents(["New."])[0]
        assert found is not None
        assert np.allclose(found, wanted / np.linalg.norm(wanted), atol=2e-3)
        (fresh,) = await turns(client, user, 4)
        assert await head_of(own_settings, fresh, "situation") is None


async def test_a_trace_that_moves_changes_both_conversations(situated: Api, user: str, own_settings: Settings) -> None:
    caller = await situated.caller()
    ids = await turns(caller, user, 1, 2, 3)
    (other,) = await turns(caller, user, 4, conversation_id="d")
    params = {"user_id": user}
    answer = await caller.patch(f"/memory/traces/{ids[1]}", params=params, json={"conversation_id": "d"})
    assert answer.status_code == 200
    assert await is_seen(own_settings, ids[0], 1, 3)
    assert await is_seen(own_settings, ids[2], 3, 1)
    assert await is_seen(own_settings, ids[1], 2, 4)
    assert await is_seen(own_settings, other, 4, 2)


async def test_vectors_that_cancel_one_another_out_make_none(situated: Api, user: str, own_settings: Settings) -> None:
    caller = await situated.caller()
    against = [-x for x in unit(1)]
    traces = [{"content": f"{n}.", "embedding": vector} for n, vector in enumerate((against, unit(1), against))]
    answer = await post(caller, user, *traces, conversation_id="c")
    ids = [one["trace_id"] for one in answer.json()["traces"]]
    found = [await head_of(own_settings, one, "situation") for one in ids]
    assert [one is None for one in found] == [False, True, False]
    assert (await caller.get("/memory/recall", params={"user_id": user, "q": "1", "heads": "situation"})).is_success


# What a trace is about, and heads that are switched on later

ABOUT = {"content": "We met Zoë Kravchenko at the lighthouse in Dunbar and talked about beekeeping.", "speaker": "Ada"}


async def test_what_a_trace_is_about_is_made_in_the_background(
    own_settings: Settings, user: str, fickle: Fickle
) -> None:
    async with serving(own_settings.model_copy(update={"memory_heads": "semantic,entity"}), fickle) as running:
        caller = await running.caller()
        faint = ABOUT | {"content": f"{ABOUT['content']} It rained.", "salience": 0.4}
        answer = await post(caller, user, ABOUT, "Hm.", faint, ABOUT | {"embedding": unit(1), "kind": "fact"})
        assert answer.status_code == 201
        body = answer.json()
        assert [one["vectors"] for one in body["traces"]] == ["stored"] * 4
        ids = [one["trace_id"] for one in body["traces"]]
        assert await run_operation(running, body["operation_id"])
        found = [await head_of(own_settings, one, "entity") for one in ids]
        assert [one is not None for one in found] == [True, False, False, True]
        text = entity_text(ABOUT["content"], "Ada")
        assert text is not None
        assert np.allclose(found[0], fickle.encode_documents([text])[0], atol=1e-3)  # type: ignore[arg-type]
        assert (await found_ids(caller, user, "beekeeping", heads=["entity"], recipe="vector"))[:1] in (
            [ids[0]],
            [ids[3]],
        )
        lowered = await caller.patch(f"/memory/traces/{ids[0]}", params={"user_id": user}, json={"salience": 0.4})
        assert lowered.is_success
        assert await head_of(own_settings, ids[0], "entity") is None
        raised = await caller.patch(f"/memory/traces/{ids[2]}", params={"user_id": user}, json={"salience": 0.9})
        assert raised.is_success
        ((operation,),) = await open_operations(own_settings)
        assert await run_operation(running, str(operation))
        assert await head_of(own_settings, ids[2], "entity") is not None


async def open_operations(settings: Settings, *more: str) -> list[tuple[Any, ...]]:
    return await rows(
        settings,
        f"SELECT {', '.join(('id', *more))} FROM operation WHERE state = 'pending' ORDER BY id",  # noqa: S608
    )


async def fill(running: Api, settings: Settings) -> int:
    """Runs every fill that waits, and those that follow; how many there were."""
    done = 0
    while waiting := await open_operations(settings, "kind"):
        for operation, kind in waiting:
            assert kind == "fill_heads"
            assert await run_operation(running, str(operation))
            done += 1
    return done


@pytest.mark.parametrize("seconds", [600.0, 0.0])
async def test_heads_that_are_switched_on_later_are_filled_in_the_background(
    own_settings: Settings, user: str, fickle: Fickle, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:

    monkeypatch.setattr(embedding, "FILL_SECONDS", seconds)
    monkeypatch.setattr(embedding, "FILL_PART", 2)
    async with serving(own_settings, fickle) as plain:
        caller = await plain.caller()
        keys = [caller.headers["Authorization"].removeprefix("Bearer ")]
        ids = await turns(caller, user, 1, 2, 3)
        abouts = (await post(caller, f"{user} 2", ABOUT)).json()["traces"]
        other = await plain.caller("another space")
        elsewhere = await turns(other, user, 5, 6)
        assert await open_operations(own_settings) == []
    more = own_settings.model_copy(update={"memory_heads": "semantic,situation,entity"})
    async with serving(more, fickle) as running:
        assert len(await open_operations(own_settings)) == 2
        version = (await user_row(own_settings, f"{user} 2"))["version"]
        runs = await fill(running, own_settings)
        assert (runs > 2) == (seconds == 0)
        assert await is_seen(own_settings, ids[1], 2, 1, 3)
        assert await is_seen(own_settings, elsewhere[0], 5, 6)
        assert await head_of(own_settings, abouts[0]["trace_id"], "entity") is not None
        assert (await user_row(own_settings, f"{user} 2"))["version"] > version
        asked = {"heads": ["situation"], "recipe": "vector", "embedding": [float(x) for x in seen(2, 1, 3)], "k": 1}
        assert await found_ids(running.client(keys[0]), user, "?", **asked) == [ids[1]]
    async with serving(more, fickle):
        assert await open_operations(own_settings) == []
    async with serving(own_settings, fickle), serving(more, fickle):
        assert len(await open_operations(own_settings)) == 2


async def test_long_traces_of_an_older_store_get_their_pieces(
    own_settings: Settings, user: str, fickle: Fickle
) -> None:
    async with serving(own_settings, fickle) as running:
        caller = await running.caller()
        text = "The river rose by a hand in the night, and the lower meadow stood under water. " * 40
        trace_id = (await post(caller, user, text)).json()["traces"][0]["trace_id"]
        await rows(own_settings, "DELETE FROM memory_embedding WHERE piece > 0")
        # What the migration leaves: a store that nobody has looked through.
        await rows(own_settings, "UPDATE model SET heads = '{}'")
    async with serving(own_settings, fickle) as running:
        assert await fill(running, own_settings) == 1
        made = await rows(own_settings, "SELECT count(*) FROM memory_embedding WHERE trace_id = %s", (trace_id,))
        assert made[0][0] > 1


async def test_clock_and_neighbours_without_a_time_of_their_own(
    situated: Api, user: str, own_settings: Settings
) -> None:
    caller = await situated.caller()
    (first,) = await turns(caller, user, 1)
    with clock.as_of(clock.now() + timedelta(days=2)):
        (later,) = await turns(caller, user, 2)
    assert await is_seen(own_settings, first, 1)
    assert await is_seen(own_settings, later, 2)
