"""What was made of other traces goes with them, and is noted to be made anew; so it is when a source is changed."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from psycopg.types.json import Jsonb
from tests.conftest import Remember
from tests.forgetting.helpers import forgotten, left, verified
from tests.memories.helpers import post, rows, user_row

from reverie.core.config import Settings

WAYS = ["edge", "provenance"]


async def derive(settings: Settings, user: str, derived: str, sources: list[str], way: str) -> None:
    """Says of a trace that it was made of others."""
    row = await user_row(settings, user)
    if way == "provenance":
        await rows(
            settings, "UPDATE memory_trace SET provenance = %s WHERE id = %s", (Jsonb({"sources": sources}), derived)
        )
        return
    for source in sources:
        await rows(
            settings,
            "INSERT INTO memory_edge (space_id, user_id, src, dst, type, ts)"
            " SELECT space_id, user_id, %s, %s, 'summary_of', now() FROM memory_user WHERE user_id = %s",
            (derived, source, row["user_id"]),
        )


@pytest.fixture
async def ids(remember: Remember, user: str) -> list[str]:
    """Two notes, a summary of both, and one of the summary; and a note by itself."""
    made = await remember(
        user, "The key lies under the mat.", "The mat is red.",
        {"content": "A red mat with a key under it, at the door of the house.", "kind": "summary"},
        {"content": "Where things lie in the house, all in all, and of what colour they are.", "kind": "summary"},
        "The door is green.",
    )  # fmt: skip
    return [one["trace_id"] for one in made]


async def noted(settings: Settings, user: str) -> list[tuple[Any, ...]]:
    user_id = (await user_row(settings, user))["user_id"]
    return await rows(
        settings, "SELECT trace_id, reason, kind, sources FROM rebuild WHERE user_id = %s ORDER BY trace_id", (user_id,)
    )


@pytest.mark.parametrize("way", WAYS)
async def test_it_goes_with_its_source(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, way: str
) -> None:
    await derive(settings, user, ids[2], ids[:2], way)
    await derive(settings, user, ids[3], [ids[2]], way)
    dry = await forgotten(caller, user, {"trace_id": ids[0]}, dry_run=True)
    body = await forgotten(caller, user, {"trace_id": ids[0]})
    assert set(dry["trace_ids"]) == set(body["trace_ids"]) == {ids[0], ids[2], ids[3]}
    assert dry["tombstones"] == body["tombstones"] == 3
    assert await left(caller, user) == {"The mat is red.", "The door is green."}
    # The upper one has no source left: there is nothing to be made of.
    assert await noted(settings, user) == [(UUID(ids[2]), "forgotten", "summary", [UUID(ids[1])])]
    assert (await verified(caller, user, body["receipt_id"]))["gone"]
    # Its words do not come back; another summary of the rest may.
    again = await post(
        caller, user, {"content": "A red mat with a key under it, at the door of the house.", "kind": "summary"}
    )
    assert again.status_code == 422
    # Without a source there is nothing to be made anew.
    await forgotten(caller, user, {"trace_id": ids[1]})
    assert await noted(settings, user) == []


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_noted_when_a_source_changes(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, way: str
) -> None:
    await derive(settings, user, ids[2], ids[:2], way)
    await derive(settings, user, ids[3], [ids[2]], way)
    answer = await caller.patch(f"/memory/traces/{ids[0]}", params={"user_id": user}, json={"salience": 0.9})
    assert answer.status_code == 200
    assert await noted(settings, user) == []
    answer = await caller.patch(f"/memory/traces/{ids[0]}", params={"user_id": user}, json={"content": "No key."})
    assert answer.status_code == 200
    both, summary = [UUID(one) for one in ids[:2]], UUID(ids[2])
    expected = [(summary, "changed", "summary", both), (UUID(ids[3]), "changed", "summary", [summary])]
    assert await noted(settings, user) == expected
    assert len(await left(caller, user)) == 5
    await forgotten(caller, user, {"trace_id": ids[3]})
    assert await noted(settings, user) == expected[:1]
    await forgotten(caller, user, {"trace_id": ids[1]})
    assert await noted(settings, user) == [(summary, "forgotten", "summary", both[:1])]


async def test_whatever_stands_in_the_provenance_fails_nothing(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings
) -> None:
    for sources in ("no list", {"a": 1}, [7, "x", None, ids[0].upper()]):
        await rows(
            settings, "UPDATE memory_trace SET provenance = %s WHERE id = %s", (Jsonb({"sources": sources}), ids[2])
        )
        dry = await forgotten(caller, user, {"trace_id": ids[0]}, dry_run=True)
        assert dry["counts"]["traces"] == (2 if isinstance(sources, list) else 1)
    assert (await forgotten(caller, user, {"trace_id": ids[0]}))["counts"]["traces"] == 2
    assert await noted(settings, user) == []
