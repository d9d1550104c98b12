"""Links across days: what is alike, which summary goes on from which, and which are about the same."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conftest import Remember
from tests.forgetting.helpers import forgotten
from tests.memories.helpers import unit

from reverie.core.database import Connection
from reverie.dream.link import MOST_SHARED, MOST_TOPIC_LINKS, alike, chained, summaries
from reverie.memories import likeness
from reverie.runtime import Runtime

MONDAY = date(2026, 3, 2)


def turns(*texts: str, day: date, conversation: str = "pots", **more: Any) -> list[dict[str, Any]]:
    return [
        {"content": text, "speaker": "Ann", "role": "user", "conversation_id": conversation,
         "occurred_at": f"{day}T10:{minute:02}:00Z"} | more
        for minute, text in enumerate(texts)
    ]  # fmt: skip


async def dream(runtime: Runtime) -> None:
    outcome = await runtime.dreams.run(as_of=datetime(2026, 4, 1, tzinfo=UTC))
    assert (outcome.state, outcome.failed, outcome.aside) == ("done", 0, 0), outcome


async def edges_of(owner: Connection, kind: str) -> list[tuple[str, str]]:
    """(day of the one, day of the other) of the edges of a type between summaries."""
    query = (
        "SELECT s.provenance ->> 'day', d.provenance ->> 'day' FROM memory_edge e"
        " JOIN memory_trace s ON s.id = e.src JOIN memory_trace d ON d.id = e.dst WHERE e.type = %s ORDER BY 1, 2"
    )
    return await (await owner.execute(query, (kind,))).fetchall()


POTS = ["The kiln of the pottery studio broke.", "A new kiln for the pottery studio is dear.", "So it rains."]


def day(n: int) -> str:
    return str(MONDAY + timedelta(days=n))


async def test_a_summary_follows_the_one_before_and_tells_of_the_same(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    made = {}
    for n in (0, 4):
        made[n] = await remember("ann", *turns(*POTS, day=MONDAY + timedelta(days=n)))
    await dream(runtime)
    assert await edges_of(owner, "follows") == [(day(4), day(0))]
    assert await edges_of(owner, "same_topic") == [(day(4), day(0))]
    # A day between them comes late.
    made[2] = await remember("ann", *turns(*POTS, day=MONDAY + timedelta(days=2)))
    await dream(runtime)
    assert await edges_of(owner, "follows") == [(day(2), day(0)), (day(4), day(2))]
    assert await edges_of(owner, "same_topic") == [(day(2), day(0)), (day(4), day(0)), (day(4), day(2))]
    # And goes again.
    await forgotten(caller, "ann", {"trace_ids": [one["trace_id"] for one in made[2]]})
    await dream(runtime)
    assert await edges_of(owner, "follows") == [(day(4), day(0))]


async def test_what_says_nearly_the_same_is_linked_across_days(
    remember: Remember, owner: Connection, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors: dict[str, Any] = {"embedding": unit(1)}
    await remember("ann", *turns("The kiln broke.", day=MONDAY, **vectors))
    await remember("ann", *turns("The kiln is broken.", day=MONDAY + timedelta(days=3), **vectors))
    await remember("ann", *turns("It rains.", day=MONDAY + timedelta(days=3), conversation="b", embedding=unit(2)))
    await dream(runtime)
    query = (
        "SELECT s.happened_at::date::text, d.happened_at::date::text, e.weight FROM memory_edge e"
        " JOIN memory_trace s ON s.id = e.src JOIN memory_trace d ON d.id = e.dst WHERE e.type = 'similar'"
    )
    found = await (await owner.execute(query.encode())).fetchall()
    assert [one[:2] for one in found] == [(day(3), day(0))]
    assert found[0][2] == pytest.approx(1, abs=0.01)
    # Users of too many traces are told in the report, and keep what they have.
    monkeypatch.setattr(likeness, "MOST_TRACES", 1)
    await owner.execute("UPDATE memory_user SET dreamt_version = NULL")
    await owner.execute("UPDATE dream_day SET state = 'pending', fingerprint = ''")
    outcome = await runtime.dreams.run(as_of=datetime(2026, 4, 1, tzinfo=UTC))
    assert outcome.stages["link"].did.skipped == {"too many traces to be compared": 3}
    assert len(await (await owner.execute(query.encode())).fetchall()) == 1


def row(n: int, when: int, topics: Any, conversation: str | None = "c") -> tuple[UUID, str | None, str, Any]:
    return UUID(int=n), conversation, day(when), topics


def test_chains_go_by_conversation_and_by_day() -> None:
    told = summaries([
        row(1, 5, None), row(2, 0, None), row(3, 3, None), row(4, 3, None, None), row(5, 4, None, None),
        row(6, 4, None, "other"),
    ])  # fmt: skip
    assert {(one.src.int, one.dst.int) for one in chained(told)} == {(1, 3), (3, 2), (5, 4)}


def test_the_same_topic_takes_more_than_a_word_of_everything() -> None:
    told = summaries([
        row(1, 0, ["pottery studio", "kiln"]), row(2, 1, ["rain"]), row(3, 2, ["kilns", "dog"]),
        row(4, 2, ["kiln", "pottery studio"]), row(5, 3, "no list"), row(6, 4, [7, None]),
    ])  # fmt: skip
    assert {(one.src.int, one.dst.int): one.weight for one in alike(told)} == {(3, 1): 0.25, (4, 1): 1.0}


def test_what_everything_is_about_links_nothing() -> None:
    told = summaries([row(n, n, ["kiln"]) for n in range(40)])
    found = alike(told)
    assert max(one.src.int for one in found) == MOST_SHARED
    for place in range(1, MOST_SHARED):
        assert sum(one.src.int == place for one in found) == min(place, MOST_TOPIC_LINKS)
    # Of equals the later.
    assert {one.dst.int for one in found if one.src.int == 9} == {6, 7, 8}
