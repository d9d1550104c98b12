"""End to end: a saved note suggests its connections over edges in PostgreSQL, before any night and after it."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from psycopg import AsyncConnection

from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder
from reverie.runtime import open_runtime
from tests.conftest import Remember

USER = "nora"
NOTES = [
    "Ilse lent me her tent for the walk along the Kerry Way in June.",
    "The vet in Harbour Street says Miso needs drops twice a day.",
    "Booked two beds in the hostel at Sneem for the Kerry Way.",
    "The sourdough needs forty hours in the fridge.",
    "Miso hid behind the washing machine from the vet all evening.",
]
NIGHT = datetime(2026, 12, 20, 3, 30, tzinfo=UTC)


async def save(caller: httpx.AsyncClient, text: str) -> dict[str, Any]:
    """Saves a note, and returns what is answered of it."""
    body = {"user_id": USER, "traces": [{"content": text, "kind": "note"}]}
    answer = await caller.post("/memory/remember?suggest=5", json=body)
    assert (answer.status_code, answer.json()["degraded"]) == (201, [])
    made: dict[str, Any] = answer.json()["traces"][0]
    return made


async def edges(settings: Settings) -> dict[tuple[str, str, str], tuple[float, str | None]]:
    """(text, type, text) → (weight, by whom) of all edges between notes and entities."""
    async with await AsyncConnection.connect(str(settings.database_url), autocommit=True) as owner:
        cursor = await owner.execute(
            "SELECT s.content, e.type, d.content, e.weight, e.meta ->> 'by' FROM memory_edge e"
            " JOIN memory_trace t ON t.id = e.src JOIN memory_body s ON s.trace_id = e.src"
            " JOIN memory_body d ON d.trace_id = e.dst WHERE t.kind = 'note'"
        )
        return {(row[0], row[1], row[2]): (row[3], row[4]) for row in await cursor.fetchall()}


@pytest.fixture
async def saved(remember: Remember) -> list[str]:
    return [one["trace_id"] for one in await remember(USER, *({"content": text, "kind": "note"} for text in NOTES))]


async def test_a_saved_note_suggests_its_connections(
    caller: httpx.AsyncClient, saved: list[str], settings: Settings, embedder: Embedder
) -> None:
    assert await edges(settings) == {}
    text = "Ask Ilse whether her tent keeps dry on the Kerry Way near Sneem."
    made = await save(caller, text)
    found = {one["content"]: {reason["why"] for reason in one["reasons"]} for one in made["suggestions"]}
    assert {NOTES[0], NOTES[2]} <= found.keys()
    assert "Ilse" in found, "of the entities the rarest"
    assert "shared_entity" in found[NOTES[0]]
    assert found.keys().isdisjoint({NOTES[1], NOTES[3], NOTES[4]})
    # The reasons stand in PostgreSQL, and no night was needed for them.
    before = await edges(settings)
    assert (text, "mentions", "Kerry") in before
    assert (NOTES[0], "mentions", "Kerry") in before
    assert {by for _, by in before.values()} == {None}
    # One is accepted, another dismissed.
    body = {"user_id": USER, "src": made["trace_id"], "dst": saved[0], "type": "relates_to"}
    assert (await caller.post("/memory/edges", json=body)).status_code == 201
    params = {"user_id": USER, "other_id": saved[2]}
    answer = await caller.delete(f"/memory/traces/{made['trace_id']}/related", params=params)
    assert answer.status_code == 204
    # The night finds these edges as it would have made them, and leaves them and the person's alone.
    async with open_runtime(settings, embedder) as runtime:
        outcome = await runtime.dreams.run(as_of=NIGHT)
        assert (outcome.state, outcome.failed) == ("done", 0)
    after = await edges(settings)
    assert {edge: after[edge] for edge in before} == before
    assert after[text, "relates_to", NOTES[0]] == (1.0, "hand")
    answer = await caller.get(f"/memory/traces/{made['trace_id']}/related", params={"user_id": USER, "k": 20})
    related = {one["content"]: one["reasons"][0] for one in answer.json()["related"]}
    assert (related[NOTES[0]]["why"], related[NOTES[0]]["edge"]["type"]) == ("edge", "relates_to")
    assert NOTES[2] not in related
