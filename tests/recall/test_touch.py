"""What recalls and time make of salience in the order of results, and that looking alone changes nothing."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle, post, rows, unit

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.redis import Redis
from reverie.memories.access import AccessCounts
from reverie.memories.strength import HALF_LIVES, HALFWAY

LATER = timedelta(minutes=3)
"""Answers, and what is held of a user, are kept for a minute."""


@pytest.fixture
async def flushing(settings: Settings, api: Api) -> AsyncIterator[AccessCounts]:
    """The counts of a worker; what others have left on the way is gone."""
    await api.app.state.recall._counts.push()
    database, client = Database(settings), Redis(settings)
    await database.open()
    counts = AccessCounts(database, client)
    await counts.flush()
    yield counts
    await client.close()
    await database.close()


async def ask(caller: httpx.AsyncClient, user: str, **more: Any) -> dict[str, Any]:
    question = {"user_id": user, "q": "Which bell rings?", "embedding": unit(1), "explain": True, "touch": False}
    answer = await caller.post("/memory/recall", json=question | more)
    assert (answer.status_code, answer.json()["degraded"]) == (200, []), answer.text
    found: dict[str, Any] = answer.json()
    return found


def order(answer: dict[str, Any]) -> list[str]:
    return [one["trace_id"] for one in answer["results"]]


async def alike(caller: httpx.AsyncClient, user: str, count: int = 3, **more: Any) -> list[str]:
    """Traces that differ in nothing that a question asks for."""
    traces = [{"content": f"Bell {n} rings.", "role": "user", "embedding": unit(1)} | more for n in range(count)]
    return [one["trace_id"] for one in (await post(caller, user, *traces)).json()["traces"]]


@pytest.mark.parametrize("how", [{}, {"recipe": "fast"}, {"heads": ["semantic", "entity"]}, {"recipe": "thorough"}],
                         ids=["held", "fast", "exact", "thorough"])  # fmt: skip
async def test_what_was_recalled_stands_before_its_equals(
    caller: httpx.AsyncClient, user: str, settings: Settings, flushing: AccessCounts, how: dict[str, Any]
) -> None:
    ids = await alike(caller, user)
    # The reranker has its own word.
    judged = how.get("recipe") == "thorough"
    assert judged or order(await ask(caller, user, **how))[0] == ids[-1]
    [(space_id, user_id)] = await rows(settings, "SELECT space_id, user_id FROM memory_trace WHERE id = %s", (ids[0],))
    for _ in range(HALFWAY):
        flushing.note(space_id, user_id, [ids[0]])
    await flushing.push()
    await flushing.flush()
    with clock.as_of(clock.now() + LATER):
        for _ in range(3):
            # Once exact search, and then what was brought.
            answer = await ask(caller, user, **how)
            assert answer["explain"]["effective"] == pytest.approx(
                {ids[0]: 0.75, ids[1]: 0.5, ids[2]: 0.5}, abs=1e-3
            )  # fmt: skip
            assert judged or order(answer)[0] == ids[0]
            assert [one["salience"] for one in answer["results"]] == [0.5] * 3


async def test_salience_moves_a_result_where_the_caller_gave_it_and_not_where_a_night_estimated_it(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    ids = await alike(caller, user, 3)
    await rows(settings, "UPDATE memory_trace SET salience = 0.95 WHERE id = %s RETURNING id", (ids[0],))
    answer = await ask(caller, user)
    assert order(answer)[0] == ids[-1]
    assert answer["explain"]["effective"][ids[0]] == pytest.approx(0.95, abs=1e-3)
    given = await caller.patch(f"/memory/traces/{ids[0]}", params={"user_id": user}, json={"salience": 0.95})
    assert given.status_code == 200, given.text
    assert order(await ask(caller, user))[0] == ids[0]


async def test_what_is_old_stands_behind_and_pins_keep(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    with clock.as_of(clock.now() - timedelta(days=HALF_LIVES["turn"])):
        ids = await alike(caller, user, 2, kind="turn")
    [new] = (await post(caller, user, {"content": "Bell 9 rings.", "role": "user", "embedding": unit(1)})).json()[
        "traces"
    ]
    old = [ids[0], new["trace_id"], ids[1]]
    assert (await caller.post(f"/memory/traces/{old[0]}/pin", params={"user_id": user})).status_code == 200
    with clock.as_of(clock.now() + LATER):
        answer = await ask(caller, user)
    # The middle one has faded for some minutes.
    assert order(answer) == [old[0], old[1], old[2]]
    assert answer["explain"]["effective"] == pytest.approx({old[0]: 0.5, old[1]: 0.5, old[2]: 0.25}, abs=1e-3)
    # A user whose memory fades otherwise.
    changed = await caller.patch(f"/memory/users/{user}", json={"half_lives": {"turn": 36_500}})
    assert changed.status_code == 200, changed.text
    with clock.as_of(clock.now() + 3 * LATER):
        assert (await ask(caller, user))["explain"]["effective"][old[2]] == pytest.approx(0.5, abs=0.01)


async def test_as_of_a_moment_before_a_recall_that_does_not_count(
    caller: httpx.AsyncClient, user: str, settings: Settings
) -> None:
    [one] = await alike(caller, user, 1)
    moment = clock.now() + timedelta(seconds=2)
    await rows(
        settings,
        "INSERT INTO memory_access SELECT space_id, user_id, id, 10, %s FROM memory_trace WHERE id = %s",
        (moment + timedelta(days=1), one),
    )
    for at, effective in ((moment, 0.5), (moment + timedelta(days=2), 0.75)):
        answer = await ask(caller, user, at=at.isoformat())
        assert answer["explain"]["effective"] == pytest.approx({one: effective}, abs=5e-3)


async def test_what_cannot_be_read_of_recalls_leaves_salience_as_it_is(
    user: str, own_settings: Settings, fickle: Fickle
) -> None:
    async with serving(own_settings, fickle) as api:
        caller = await api.caller()
        [one] = await alike(caller, user, 1)
        await rows(own_settings, "ALTER TABLE memory_access RENAME TO elsewhere")
        answer = await ask(caller, user)
        assert answer["explain"]["effective"] == pytest.approx({one: 0.5}, abs=1e-3)
        await rows(own_settings, "ALTER TABLE elsewhere RENAME TO memory_access")
        await rows(own_settings, "INSERT INTO memory_access SELECT space_id, user_id, id, 10, now() FROM memory_trace")
        # Nothing is kept of what failed.
        assert (await ask(caller, user))["explain"]["effective"] == pytest.approx({one: 0.75}, abs=1e-3)


async def test_forgetting_takes_what_the_process_knows_of_recalls(
    caller: httpx.AsyncClient, api: Api, user: str, settings: Settings
) -> None:
    [one, _] = await alike(caller, user, 2)
    await ask(caller, user)
    [(user_id,)] = await rows(settings, "SELECT user_id FROM memory_trace WHERE id = %s", (one,))
    desk = api.app.state.recall._desk
    assert desk.kept([user_id]) is not None
    await caller.delete(f"/memory/traces/{one}", params={"user_id": user})
    assert desk.kept([user_id]) is None


async def test_what_measures_and_what_only_looks_is_no_recall(
    caller: httpx.AsyncClient, api: Api, user: str, flushing: AccessCounts
) -> None:
    await alike(caller, user)
    for how in ({}, {"touch": True, "recipe": "vector"}, {"touch": True, "recipe": "lexical"}):
        assert len(order(await ask(caller, user, **how))) == 3
    await api.app.state.recall._counts.push()
    assert await flushing.flush() == 0
    assert len(order(await ask(caller, user, touch=True, k=2))) == 2
    await api.app.state.recall._counts.push()
    assert await flushing.flush() == 2
