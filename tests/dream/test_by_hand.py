"""What persons have linked, and what notes were linked to as they came: no night changes either needlessly."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conftest import Remember

from reverie.core.database import Connection
from reverie.runtime import Runtime

NIGHT = datetime(2026, 6, 2, 4, tzinfo=UTC)


def note(text: str, day: str, **more: Any) -> dict[str, Any]:
    return {"content": text, "kind": "note", "occurred_at": f"{day}T10:00:00Z", "language": "english"} | more


async def link(caller: httpx.AsyncClient, src: str, dst: str, kind: str, **more: Any) -> None:
    body = {"user_id": "ann", "src": src, "dst": dst, "type": kind, **more}
    answer = await caller.post("/memory/edges", json=body)
    assert answer.status_code == 201, answer.text


async def edges(owner: Connection, kind: str) -> dict[tuple[str, str], tuple[float, dict[str, Any]]]:
    """(from, to) → (weight, meta), by their texts."""
    cursor = await owner.execute(
        "SELECT s.content, d.content, e.weight, e.meta FROM memory_edge e JOIN memory_body s ON s.trace_id = e.src"
        " JOIN memory_body d ON d.trace_id = e.dst WHERE e.type = %s",
        (kind,),
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in await cursor.fetchall()}


async def dream(runtime: Runtime, owner: Connection) -> Any:
    """Dreams all days, dreamt or not."""
    await owner.execute("UPDATE dream_day SET state = 'pending', stage = NULL, fingerprint = ''")
    await owner.execute("UPDATE memory_user SET dreamt_version = NULL")
    outcome = await runtime.dreams.run(as_of=NIGHT)
    assert (outcome.state, outcome.failed, outcome.aside) == ("done", 0, 0), outcome
    return outcome


LIVED, MOVED = "I live in Portland, close to the river.", "I moved to Denver at last."


async def test_what_a_person_put_the_other_way_round_stays_alone(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    older, newer = (
        one["trace_id"] for one in await remember("ann", note(LIVED, "2026-03-02"), note(MOVED, "2026-05-04"))
    )
    await link(caller, older, newer, "supersedes")
    for _ in range(2):
        await dream(runtime, owner)
        [(pair, (_, meta))] = (await edges(owner, "supersedes")).items()
        assert (pair, meta["by"]) == ((LIVED, MOVED), "hand")
    # Without it, the night says what the texts say.
    params = {"user_id": "ann", "src": older, "dst": newer, "type": "supersedes"}
    assert (await caller.delete("/memory/edges", params=params)).status_code == 204
    await dream(runtime, owner)
    [(pair, (_, meta))] = (await edges(owner, "supersedes")).items()
    assert (pair, meta["by"]) == ((MOVED, LIVED), "dream")


async def test_accepted_and_unaccepted_edges_of_a_night_and_its_undoing(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    texts = ("The kiln of the studio broke.", "The kiln of the studio is broken.", "The studio's kiln broke down.")
    ids = [
        one["trace_id"]
        for one in await remember("ann", *(note(text, f"2026-03-0{n + 2}") for n, text in enumerate(texts)))
    ]
    outcome = await dream(runtime, owner)
    made = await edges(owner, "similar")
    assert {(texts[1], texts[0]), (texts[2], texts[0])} <= made.keys()
    assert {meta["by"] for _, meta in made.values()} == {"dream"}
    await link(caller, ids[1], ids[0], "similar", weight=0.25, meta={"why": "mine"})
    await dream(runtime, owner)
    weight, meta = (await edges(owner, "similar"))[texts[1], texts[0]]
    assert (weight, meta) == (0.25, {"why": "mine", "by": "hand"})
    answer = await caller.delete(f"/dreams/{outcome.id}")
    assert answer.status_code == 202
    await runtime.operations.run(UUID(answer.json()["operation_id"]))
    assert list(await edges(owner, "similar")) == [(texts[1], texts[0])]


async def test_what_notes_were_linked_to_as_they_came_is_what_a_night_would_make(
    caller: httpx.AsyncClient, owner: Connection, runtime: Runtime
) -> None:
    texts = (
        "Clara Novak repaired the kiln of the studio.",
        "The studio pays Clara Novak for the kiln.",
        "Clara Novak has repaired the studio's kiln.",
    )
    for n, text in enumerate(texts):
        body = {"user_id": "ann", "traces": [note(text, f"2026-03-0{n + 2}")]}
        answer = await caller.post("/memory/remember?suggest=5", json=body)
        assert answer.json()["degraded"] == []
    before = {kind: await edges(owner, kind) for kind in ("mentions", "similar", "same_topic")}
    assert len(before["mentions"]) == 3
    assert (texts[2], texts[0]) in before["similar"]
    await dream(runtime, owner)
    assert {kind: await edges(owner, kind) for kind in before} == before
    # And what its mentions say of an entity was left to it.
    cursor = await owner.execute("SELECT meta ->> 'type' FROM memory_trace WHERE kind = 'entity'")
    assert ("person",) in await cursor.fetchall()


async def test_a_triple_that_a_person_has_confirmed_outlives_its_sources(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    [said] = await remember(
        "ann", {"content": "I work at Lumen Labs.", "speaker": "Ann", "role": "user", "language": "english",
                "conversation_id": "c", "occurred_at": "2026-03-02T10:00:00Z"}
    )  # fmt: skip
    await remember("ann", {"content": "Ann likes Lumen Labs a lot.", "kind": "note", "language": "english"})
    await dream(runtime, owner)
    cursor = await owner.execute("SELECT src, dst, type FROM memory_edge WHERE meta ? 'sources'")
    [(src, dst, kind)] = await cursor.fetchall()
    await link(caller, str(src), str(dst), kind)
    [(_, (_, meta))] = (await edges(owner, kind)).items()
    assert (meta["by"], meta["sources"]) == ("hand", [said["trace_id"]])
    url = f"/memory/traces/{said['trace_id']}"
    changed = await caller.patch(url, params={"user_id": "ann"}, json={"content": "It rains, says Ann of Lumen Labs."})
    assert changed.status_code == 200
    await dream(runtime, owner)
    assert [meta for _, meta in (await edges(owner, kind)).values()] == [{"by": "hand"}]


@pytest.mark.parametrize("kind", ["similar", "same_topic"])
async def test_links_are_rewritten_around_a_persons(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime, kind: str
) -> None:
    """A worker that links what was written leaves a person's edge as it is, too."""
    ids = [one["trace_id"] for one in await remember("ann", note("One.", "2026-03-02"), note("One!", "2026-03-03"))]
    await link(caller, ids[1], ids[0], kind, weight=0.125)
    runtime.memories.linker._links = "all"
    async with runtime.database.writing(None) as session:
        [(space,)] = await session.fetch(b"SELECT id FROM space WHERE name = 'default'")
    cursor = await owner.execute("SELECT user_id FROM memory_user WHERE external_id = 'ann'")
    [(user_id,)] = await cursor.fetchall()
    async with runtime.database.writing(space) as session:
        await runtime.memories.linker.leave_some(session, space, user_id, [*map(UUID, ids)], NIGHT)
    cursor = await owner.execute("SELECT id FROM operation WHERE kind = 'link'")
    for (one,) in await cursor.fetchall():
        await runtime.operations.run(one)
    assert [weight for weight, _ in (await edges(owner, kind)).values()] == [0.125]
