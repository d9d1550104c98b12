"""What a store must look like after any number of kills, counted from outside (the API) and from inside (SQL)."""

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import httpx

from tests.faults.stack import Stack
from tests.faults.writing import Ledger

SETTLE_SECONDS = 180.0
"""How long the last operations may take once the kills are over."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was counted; everything but ``traces`` and the times should be 0.

    Attributes:
        traces: rows of ``memory_trace``.
        lost: traces that were answered and are not there, or not as they were sent.
        doubled: contents that are there more than once.
        halves: writes that got no answer, of which a part is there.
        strangers: rows that nobody sent.
        rejected: traces that were answered with anything but ``stored``.
        stuck: operations that did not end as done.
        vectorless: traces that should have a vector and have none, or more than one.
        chains: conversations whose ``next`` edges are not one chain over all turns.
        orphans: bodies, vectors, edges and digests without a trace.
        misplaced: traces that are in no tier, or in two.
        users: users whose counts or version do not say what is there.
        slowest_operation: seconds from the acceptance of an operation to its end.
    """

    traces: int
    lost: int
    doubled: int
    halves: int
    strangers: int
    rejected: int
    stuck: int
    vectorless: int
    chains: int
    orphans: int
    misplaced: int
    users: int
    slowest_operation: float

    @property
    def faults(self) -> dict[str, int]:
        """What should be 0 and is not."""
        healthy = {"traces", "slowest_operation"}
        found = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in healthy}
        return {name: count for name, count in found.items() if count}


async def settle(stack: Stack) -> float:
    """Waits until no operation is open; the seconds that took. What is open after SETTLE_SECONDS is left to count."""
    began = time.monotonic()
    query = "SELECT count(*) FROM operation WHERE state IN ('pending', 'running')"
    while (await stack.rows(query))[0][0] and time.monotonic() - began < SETTLE_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return time.monotonic() - began


async def audit(stack: Stack, ledger: Ledger) -> Found:
    """Compares what was answered with what is there."""
    by_id = {row[0]: row[1:] for row in await stack.rows(_TRACES)}
    times = Counter(content.split(" ", 1)[0] for content, _ in by_id.values() if content is not None)
    sent = {marker for write in ledger.writes for marker in write.markers}
    silent = [write for write in ledger.writes if write.status is None]
    halves = sum(len({times[marker] > 0 for marker in write.markers}) > 1 for write in silent)
    operations = await stack.rows("SELECT state, finished_at - created_at FROM operation")
    return Found(
        traces=len(by_id),
        lost=await _lost(stack, ledger, by_id),
        doubled=sum(count > 1 for count in times.values()),
        halves=halves,
        strangers=sum(marker not in sent for marker in times),
        rejected=sum(one["status"] != "stored" for write in ledger.answered for one in write.answer["traces"]),
        stuck=sum(state != "done" for state, _ in operations) + await _unanswered_operations(stack, ledger),
        vectorless=(await stack.rows(_VECTORLESS))[0][0],
        chains=await _broken_chains(stack),
        orphans=sum((await stack.rows(_ORPHANS))[0]),
        misplaced=(await stack.rows(_MISPLACED))[0][0],
        users=(await stack.rows(_USERS))[0][0],
        slowest_operation=max((took.total_seconds() for _, took in operations if took is not None), default=0.0),
    )


async def _lost(stack: Stack, ledger: Ledger, by_id: dict[str, tuple[Any, ...]]) -> int:
    """Answered traces that SQL does not find under their id, or that the API does not list with their content."""
    listed = await _listed(stack, {write.user for write in ledger.writes})
    lost = 0
    for write in ledger.answered:
        given = write.body.get("traces") or write.body["messages"]
        for trace_id, one in zip(write.ids, given, strict=True):
            expected = (one["content"], write.user)
            lost += by_id.get(trace_id) != expected or listed.get(trace_id) != expected
    return lost


async def _listed(stack: Stack, users: set[str]) -> dict[str, tuple[str, str]]:
    """trace id → (content, user) as the API lists them, page by page."""
    listed: dict[str, tuple[str, str]] = {}
    async with stack.client() as client:
        for user in users:
            cursor: str | None = None
            while True:
                page = await _get(client, f"{stack.urls[0]}/memory/traces", user_id=user, limit=100, cursor=cursor)
                listed |= {item["trace_id"]: (item["content"], item["user_id"]) for item in page["items"]}
                cursor = page["next_cursor"]
                if cursor is None:
                    break
    return listed


async def _unanswered_operations(stack: Stack, ledger: Ledger) -> int:
    """Operations that were answered and that the API does not call done."""
    accepted = [write.answer["operation_id"] for write in ledger.answered if write.answer.get("operation_id")]
    async with stack.client() as client:
        states = [(await _get(client, f"{stack.urls[0]}/operations/{one}"))["state"] for one in accepted]
    return sum(state != "done" for state in states)


async def _get(client: httpx.AsyncClient, url: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(url, params={name: value for name, value in query.items() if value is not None})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _broken_chains(stack: Stack) -> int:
    """Conversations that cannot be walked from one first turn to the last, each once."""
    turns: dict[tuple[str, str], set[str]] = defaultdict(set)
    home: dict[str, tuple[str, str]] = {}
    for trace_id, user_id, conversation in await stack.rows(_TURNS):
        turns[user_id, conversation].add(trace_id)
        home[trace_id] = (user_id, conversation)
    following: dict[tuple[str, str] | None, list[tuple[str, str]]] = defaultdict(list)
    for src, dst in await stack.rows("SELECT src::text, dst::text FROM memory_edge WHERE type = 'next'"):
        following[home.get(src)].append((src, dst))
    broken = len(following.get(None, []))
    return broken + sum(not _is_chain(members, following.get(place, [])) for place, members in turns.items())


def _is_chain(members: set[str], edges: list[tuple[str, str]]) -> bool:
    """Whether the edges lead from one member through all the others."""
    after = dict(edges)
    starts = members - {dst for _, dst in edges}
    if len(after) != len(edges) or len(edges) != len(members) - 1 or len(starts) != 1:
        return False
    walked, at = set[str](), starts.pop()
    while at not in walked:
        walked.add(at)
        at = after.get(at, at)
    return walked == members


_TRACES = """
SELECT t.id::text, b.content, u.external_id
FROM memory_trace t
JOIN memory_user u USING (user_id)
LEFT JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id
WHERE t.deleted_at IS NULL
"""

_VECTORLESS = """
SELECT count(*) FROM memory_trace t
WHERE t.vectors AND NOT EXISTS (SELECT FROM memory_digest d WHERE d.user_id = t.user_id AND d.trace_id = t.id)
  AND (SELECT count(*) FROM memory_embedding e WHERE e.user_id = t.user_id AND e.trace_id = t.id) <> 1
"""

_TURNS = """
SELECT id::text, user_id::text, conversation_id FROM memory_trace
WHERE conversation_id IS NOT NULL AND deleted_at IS NULL
"""

_ORPHANS = """
SELECT
    (SELECT count(*) FROM memory_body b
     WHERE NOT EXISTS (SELECT FROM memory_trace t WHERE t.user_id = b.user_id AND t.id = b.trace_id)),
    (SELECT count(*) FROM memory_embedding e
     WHERE NOT EXISTS (SELECT FROM memory_trace t WHERE t.user_id = e.user_id AND t.id = e.trace_id)),
    (SELECT count(*) FROM memory_edge e
     WHERE NOT EXISTS (SELECT FROM memory_trace t WHERE t.user_id = e.user_id AND t.id = e.src)
        OR NOT EXISTS (SELECT FROM memory_trace t WHERE t.user_id = e.user_id AND t.id = e.dst)),
    (SELECT count(*) FROM memory_digest d
     WHERE NOT EXISTS (SELECT FROM memory_trace t WHERE t.user_id = d.user_id AND t.id = d.trace_id))
"""

_MISPLACED = """
SELECT count(*) FROM memory_trace t
WHERE t.deleted_at IS NULL
  AND (SELECT count(*) FROM memory_body b WHERE b.user_id = t.user_id AND b.trace_id = t.id)
    + (SELECT count(*) FROM memory_digest d JOIN cold_segment s ON s.id = d.segment_id AND s.state = 'visible'
       WHERE d.user_id = t.user_id AND d.trace_id = t.id AND d.thawed_until IS NULL) <> 1
"""

_USERS = """
SELECT count(*) FROM memory_user u
WHERE u.traces <> (SELECT count(*) FROM memory_trace t WHERE t.user_id = u.user_id AND t.deleted_at IS NULL)
   OR (u.words <> (SELECT coalesce(sum(b.words), 0) FROM memory_body b WHERE b.user_id = u.user_id)
       -- What is cold is counted too.
       AND NOT EXISTS (SELECT FROM memory_digest d WHERE d.user_id = u.user_id AND d.thawed_until IS NULL))
   -- A version begins with the milliseconds of its first write and grows by one at least with each.
   OR u.version < (SELECT extract(epoch FROM max(t.created_at)) * 1000 - 1 FROM memory_trace t
                   WHERE t.user_id = u.user_id)
   OR u.version > extract(epoch FROM clock_timestamp()) * 1000 + u.traces
"""
