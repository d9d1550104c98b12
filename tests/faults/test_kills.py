"""Whatever is killed, and whenever: what was answered is there, once."""

import asyncio
import os
import random
import time
from collections import Counter
from contextlib import nullcontext

import pytest

from tests.faults.audit import audit, settle
from tests.faults.stack import Kept, Stack, running_stack
from tests.faults.writing import Caller, Ledger
from tests.figures import Figure

CALLERS = 4
SHORT_KILLS, LONG_KILLS = 5, 60
SHORT_PAUSES, LONG_PAUSES = (0.5, 3.0), (1.0, 12.0)
"""Seconds between two kills."""

HASTE = 0.25
"""The share of kills that come while the last one may not have healed yet."""

SEED = "1"
"""Of the kills and of the traffic; REVERIE_TEST_SEED names another."""

SABOTAGE = {
    "vectorless": "DELETE FROM memory_embedding WHERE trace_id = (SELECT trace_id FROM memory_embedding LIMIT 1)",
    "misplaced": "DELETE FROM memory_body WHERE trace_id = (SELECT trace_id FROM memory_body LIMIT 1)",
    "orphans": """
        DO $$ BEGIN
            ALTER TABLE memory_edge DROP CONSTRAINT memory_edge_user_id_src_fkey;
            UPDATE memory_edge SET src = gen_random_uuid() WHERE ctid = (SELECT ctid FROM memory_edge LIMIT 1);
        END $$
    """,
    "doubled": """
        UPDATE memory_body SET content = (SELECT content FROM memory_body ORDER BY trace_id LIMIT 1)
        WHERE trace_id = (SELECT trace_id FROM memory_body ORDER BY trace_id DESC LIMIT 1)
    """,
    "lost": """
        UPDATE memory_body SET content = content || '.'
        WHERE trace_id = (SELECT trace_id FROM memory_body ORDER BY trace_id DESC OFFSET 1 LIMIT 1)
    """,
    "chains": "DELETE FROM memory_edge WHERE dst = (SELECT dst FROM memory_edge LIMIT 1)",
    "stuck": "UPDATE operation SET state = 'failed' WHERE id = (SELECT id FROM operation LIMIT 1)",
    "users": "UPDATE memory_user SET version = 0 WHERE user_id = (SELECT user_id FROM memory_user LIMIT 1)",
}
"""What spoils a store, by what the audit must find then."""


@pytest.mark.timeout(1800)
async def test_what_was_answered_is_there_once_whatever_is_killed(long: bool, figure: Figure) -> None:
    seed = os.environ.get("REVERIE_TEST_SEED", SEED)
    kills, pauses = (LONG_KILLS, LONG_PAUSES) if long else (SHORT_KILLS, SHORT_PAUSES)
    ledger = Ledger()
    async with running_stack(apis=2, workers=2 if long else 1) as stack:
        began = time.monotonic()
        struck = await _write_while_killing(stack, ledger, seed, kills, pauses)
        settled = await settle(stack)
        found = await audit(stack, ledger)
        seconds = time.monotonic() - began
        said = stack.said()
        for query in SABOTAGE.values():
            await stack.rows(query)
        spoilt = await audit(stack, ledger)
    figure("seed", seed)
    figure("kills", dict(Counter(victim for victim, _ in struck)))
    figure("writes answered", f"{len(ledger.answered)} of {len(ledger.writes)}, with {ledger.retries} retries")
    figure("tries that failed", dict(ledger.refusals))
    figure("traces", found.traces)
    figure("lost, doubled, stuck", (found.lost, found.doubled, found.stuck))
    for name in ("API", "PostgreSQL"):
        healed = [ledger.healed(moment) for victim, moment in struck if victim == name]
        assert None not in healed, said
        figure(f"longest time to heal, {name}", f"{max(moment for moment in healed if moment is not None):.1f} s")
    figure("longest wait for an answer", f"{max(write.seconds for write in ledger.answered):.1f} s")
    figure("longest operation", f"{found.slowest_operation:.1f} s")
    figure("settled after", f"{settled:.1f} s of {seconds:.0f} s")
    assert not ledger.unexpected, said
    assert found.faults == {}, said
    assert len(struck) == kills
    assert all(write.gives_up for write in ledger.writes if write.status is None)
    assert set(spoilt.faults) >= set(SABOTAGE)


async def _write_while_killing(
    stack: Stack, ledger: Ledger, seed: str, kills: int, pauses: tuple[float, float]
) -> list[tuple[str, float]]:
    """Lets all callers write while the killer is at work; (victim, moment) of each kill."""
    stop = asyncio.Event()
    async with stack.client() as client, asyncio.TaskGroup() as callers:
        for number in range(CALLERS):
            callers.create_task(Caller(f"c{number}", seed, client, stack.urls, ledger).run(stop))
        struck = await _kill(stack, ledger, seed, kills, pauses)
        await _until_answered(ledger, struck[-1][1])
        stop.set()
    for url in stack.urls:
        await stack.ready(url)
    return struck


async def _kill(
    stack: Stack, ledger: Ledger, seed: str, kills: int, pauses: tuple[float, float]
) -> list[tuple[str, float]]:
    """Kills parts at random moments, each kind equally often; some of them while the last kill has not healed yet."""
    chance = random.Random(seed)  # noqa: S311 - the same kills for the same seed
    kinds: list[tuple[str, list[Kept]]] = [
        ("API", stack.apis),
        ("PostgreSQL", [stack.postgres]),
        ("worker", stack.workers),
    ]
    plan = [kinds[n % len(kinds)] for n in range(kills)]
    chance.shuffle(plan)
    struck: list[tuple[str, float]] = []
    for name, parts in plan:
        if struck and chance.random() > HASTE:
            await _until_answered(ledger, struck[-1][1])
        await asyncio.sleep(chance.uniform(*pauses))
        part = chance.choice(parts)
        # What was committed is answered after a word with Redis: while that is silent, a kill comes in between.
        with stack.redis.frozen() if name == "API" else nullcontext():
            await asyncio.sleep(chance.uniform(0.05, 0.2))
            async with asyncio.timeout(60):
                while not part.kill():  # noqa: ASYNC110 - it is being started again
                    await asyncio.sleep(0.05)
        struck.append((name, time.monotonic()))
    return struck


async def _until_answered(ledger: Ledger, moment: float) -> None:
    """Waits until something that was sent after ``moment`` is answered."""
    async with asyncio.timeout(120):
        while ledger.healed(moment) is None:  # noqa: ASYNC110 - the ledger is filled by the callers
            await asyncio.sleep(0.1)
