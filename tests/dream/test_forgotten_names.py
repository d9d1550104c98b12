"""A name that nobody else says is dreamt, and forgotten: then no table has it, and no report."""

from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from psycopg import sql
from tests.conftest import Remember
from tests.forgetting.helpers import forgotten, verified
from tests.memories.helpers import user_row

from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.models import Base
from reverie.runtime import Runtime

BESIDE = ["The kiln of the pottery studio broke.", "Odalys says the kiln is old.", "I asked Odalys about the kiln."]


async def tables_with(owner: Connection, word: str) -> list[str]:
    """The tables that have a word in any row, in whatever case."""
    found = []
    for table in sorted(Base.metadata.tables):
        query = sql.SQL("SELECT count(*) FROM {} t WHERE t::text ILIKE %s").format(sql.Identifier(table))
        row = await (await owner.execute(query, (f"%{word}%",))).fetchone()
        found += [table] if row and row[0] else []
    return found


def told(canary: str) -> list[tuple[str, str]]:
    """Turns in which a name is a speaker's, another name, a person's, a place's, a topic and the end of triples."""
    short = canary[:6]
    return [
        (canary, "I live in Lisbon, and my dog Rex is ill."),
        ("Ann", f"Oh no, {short}! How is Rex?"),
        ("Ann", f"My sister {canary} Novak works at {canary} Ltd."),
        ("Ann", f"I asked {canary} Novak about {canary} Ltd again."),
        ("Ann", f"I love {canary.lower()} soup, and {canary.lower()} soup it is."),
        ("Ann", f"{short}, I like Rex."),
    ]


@pytest.mark.parametrize("scope", ["traces", "conversation", "entity"])
async def test_it_is_nowhere(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime, settings: Settings, scope: str
) -> None:
    canary = "Zq" + "".join(chr(ord("a") + int(one, 16)) for one in uuid4().hex[:10])
    made = await remember(
        "ann",
        *(
            {"content": text, "speaker": speaker, "role": "user", "conversation_id": "secret",
             "occurred_at": f"2026-03-02T10:{minute:02}:00Z"}
            for minute, (speaker, text) in enumerate(told(canary))
        ),
        *({"content": text, "speaker": "Ann", "role": "user", "conversation_id": "open",
           "occurred_at": f"2026-03-02T12:{minute:02}:00Z"} for minute, text in enumerate(BESIDE)),
    )  # fmt: skip
    night = await runtime.dreams.run(as_of=datetime(2026, 3, 3, 4, tzinfo=UTC))
    assert (night.state, night.failed, night.aside) == ("done", 0, 0)
    query = "SELECT 1 FROM memory_trace WHERE kind = 'entity' AND meta::text ILIKE %s"
    assert await (await owner.execute(query, (f"%{canary[:6]}%",))).fetchall(), "it was no other name of an entity"
    query = "SELECT count(*) FROM memory_edge WHERE meta ? 'sources'"
    row = await (await owner.execute(query.encode())).fetchone()
    assert row is not None
    assert row[0] >= 4
    secret = [one["trace_id"] for one in made[:6]]
    if scope == "entity":
        # Every name by itself: each takes what has it.
        for name in (canary, f"{canary} Novak", f"{canary} Ltd", f"{canary.lower()} soup", canary[:6]):
            await forgotten(caller, "ann", {"entity": name})
    body = await forgotten(
        caller, "ann", {"trace_ids": secret} if scope != "conversation" else {"conversation_id": "secret"}
    )
    if body["receipt_id"] is not None:
        assert (await verified(caller, "ann", body["receipt_id"]))["gone"]
    assert await tables_with(owner, canary[:6]) == []
    for path in ("/dreams", f"/dreams/{night.id}"):
        answer = await caller.get(path)
        assert answer.status_code == 200
        assert canary[:6].lower() not in answer.text.lower()
    again = await runtime.dreams.run(as_of=datetime(2026, 3, 3, 5, tzinfo=UTC))
    assert again.state == "done"
    assert await tables_with(owner, canary[:6]) == []
    assert await tables_with(owner, "Odalys"), "what else was said stays"
    row_of = await user_row(settings, "ann")
    assert (row_of["traces"], row_of["words"]) == (row_of["real_traces"], row_of["real_words"])
