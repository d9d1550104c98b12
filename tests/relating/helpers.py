"""What the tests of suggestions share: notes, what is answered of them, and the edges as they stand."""

from typing import Any

import httpx
from tests.memories.helpers import rows

from reverie.core.config import Settings

TRIP = [
    "Miso the cat hates the vacuum cleaner.",
    "We booked the night train to Fort William.",
    "Pasta with capers and lemon for dinner.",
    "The tomatoes on the balcony have blight again.",
    "Nadia wants to climb Ben Nevis from Fort William.",
]
TRAIN = "The night train to Fort William leaves at nine; Nadia has the tickets."


async def note(
    caller: httpx.AsyncClient, user: str, text: str | dict[str, Any], k: int = 5, once: str = ""
) -> dict[str, Any]:
    """Remembers one note with suggestions: what is answered of it. ``once``: an Idempotency-Key."""
    trace = {"content": text} if isinstance(text, str) else text
    headers = {"Idempotency-Key": once} if once else {}
    body = {"user_id": user, "traces": [trace]}
    answer = await caller.post(f"/memory/remember?suggest={k}", json=body, headers=headers)
    assert answer.status_code in (201, 202), answer.text
    made: dict[str, Any] = answer.json()["traces"][0] | {"degraded": answer.json()["degraded"]}
    return made


async def related(caller: httpx.AsyncClient, user: str, trace_id: str, k: int = 20) -> list[dict[str, Any]]:
    """What a trace is related to; everything was looked at."""
    answer = await caller.get(f"/memory/traces/{trace_id}/related", params={"user_id": user, "k": k})
    assert answer.status_code == 200, answer.text
    assert answer.json()["degraded"] == []
    found: list[dict[str, Any]] = answer.json()["related"]
    return found


def contents(found: list[dict[str, Any]]) -> list[str]:
    return [one["content"] for one in found]


def whys(one: dict[str, Any]) -> set[str]:
    return {reason["why"] for reason in one["reasons"]}


async def edges(settings: Settings, user: str) -> set[tuple[str, str, str, str | None]]:
    """(text, type, text, by) of every edge of a user."""
    found = await rows(
        settings,
        "SELECT s.content, e.type, d.content, e.meta ->> 'by' FROM memory_edge e JOIN memory_user u USING (user_id)"
        " JOIN memory_body s ON s.user_id = e.user_id AND s.trace_id = e.src"
        " JOIN memory_body d ON d.user_id = e.user_id AND d.trace_id = e.dst WHERE u.external_id = %s",
        (user,),
    )
    return {tuple(row) for row in found}


async def link(
    caller: httpx.AsyncClient, user: str, src: str, dst: str, kind: str = "relates_to", **more: Any
) -> httpx.Response:
    """Makes an edge by hand, whatever comes of it."""
    body = {"user_id": user, "src": src, "dst": dst, "type": kind, **more}
    return await caller.post("/memory/edges", json=body)
