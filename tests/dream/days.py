"""Conversations of some days, and what a night has made of them."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from reverie.core.database import Connection

MONDAY = "2026-03-02"
TUESDAY = "2026-03-03"
NIGHT = datetime(2026, 3, 4, 3, 30, tzinfo=UTC)
"""After both."""

TALK = [
    ("Ann", "I finally adopted a dog from the shelter on Elm Street, a beagle called Otis."),
    ("Ben", "That is lovely! How old is Otis?"),
    ("Ann", "Three years. He chewed my running shoes on the first evening."),
    ("Ben", "Typical. Are you still training for the marathon in Lisbon?"),
    ("Ann", "Yes, in October, with my sister Clara, who ran it last year."),
]
GARDEN = [
    ("Ann", "Clara came by and we planted forty tulips behind the greenhouse."),
    ("Ben", "Did Otis dig them out again?"),
    ("Ann", "Only two of them. The rest survived, and the greenhouse has a new lock."),
]


def talk(
    conversation: str | None = "c1", day: str = MONDAY, hour: int = 10, said: list[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Turns of a conversation, a minute apart; notes where it is none."""
    chat = {"role": "user", "conversation_id": conversation} if conversation else {"kind": "note"}
    return [
        {"content": text, "speaker": speaker, "occurred_at": f"{day}T{hour:02}:{minute:02}:00Z"} | chat
        for minute, (speaker, text) in enumerate(said or TALK)
    ]


async def rows(owner: Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What the owner sees."""
    return await (await owner.execute(query.encode(), parameters or None)).fetchall()


async def value(owner: Connection, query: str, *parameters: object) -> Any:
    """The one value that a query answers."""
    [(found,)] = await rows(owner, query, *parameters)
    return found


async def made(owner: Connection) -> dict[str, str]:
    """What is derived, by hashes: identity, text, edges and tier of everything; ids, runs and clocks aside."""
    parts = {
        "traces": "SELECT u.external_id, t.kind, encode(t.identity, 'hex'), b.content, t.language, t.conversation_id,"
        " t.occurred_at, t.salience, t.pinned, t.meta, t.provenance - 'run' - 'sources' - 'at'"
        " FROM memory_trace t JOIN memory_user u USING (user_id)"
        " JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id",
        "edges": "SELECT encode(s.digest, 'hex'), encode(d.digest, 'hex'), e.type, e.weight,"
        " e.meta - 'run' - 'sources'"
        " FROM memory_edge e JOIN memory_trace s ON s.user_id = e.user_id AND s.id = e.src"
        " JOIN memory_trace d ON d.user_id = e.user_id AND d.id = e.dst",
        "days": "SELECT u.external_id, d.day, encode(d.fingerprint, 'hex') IS NOT NULL, d.state, d.stage, d.error"
        " FROM dream_day d JOIN memory_user u USING (user_id)",
        "names": "SELECT encode(n.hash, 'hex'), encode(t.digest, 'hex') FROM entity_name n"
        " JOIN memory_trace t ON t.user_id = n.user_id AND t.id = n.entity_id",
        "tiers": "SELECT p.tier, count(*) FROM memory_partition p GROUP BY 1",
        "sizes": "SELECT external_id, traces, words FROM memory_user",
    }
    found = {}
    for name, query in parts.items():
        lines = sorted(repr(row) for row in await rows(owner, query))
        found[name] = f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"
    return found
