"""A mover that is killed, wherever it is: the next one completes it, and the store is as if nothing had been."""

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from tests.tiers.mover import PHASES
from tests.tiers.rows import fetch
from tests.tiers.test_downshift import when
from tests.tiers.weeks import NOTHING, Weeks

if TYPE_CHECKING:
    from tests.figures import Figure


async def mover(weeks: Weeks, phase: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tiers.mover", weeks.url, when(5).isoformat(), phase, stdout=asyncio.subprocess.PIPE
    )


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.readline()).decode().strip()


async def go_through(weeks: Weeks) -> None:
    process = await mover(weeks, "")
    assert await said(process) == "done"
    assert await process.wait() == 0


async def test_a_mover_that_is_killed_anywhere_is_made_up_for(weeks: Weeks, figure: "Figure") -> None:
    """Kill after kill upon one store, each in the next phase, then a run that is left alone."""
    kills = 0
    await weeks.make((13, "fp16"), weeks=(0, 1, 2, 5))
    for week in (0, 1, 2, 5):
        for user in range(3):
            await weeks.remember(week, user, 6, pieces=user + 1)
    await weeks.salience(0.1, *await weeks.remember(1, 0, 4))
    expected = await weeks.seen()
    before = await weeks.checksum()
    for phase in PHASES:
        process = await mover(weeks, phase)
        word = await said(process)
        if word == "done":
            # All of it was moved by those before.
            assert await process.wait() == 0
            continue
        assert word == "there"
        process.send_signal(signal.SIGKILL)
        await process.wait()
        kills += 1
        found = await weeks.seen()
        assert found["bodies"] == expected["bodies"]
        assert await weeks.checksum() == before or len(found["vectors"]) == len(expected["vectors"]) - 8
        # What is written, changed and forgotten between a kill and the next run is neither lost nor kept.
        (trace,) = await weeks.remember(0, 1)
        await weeks.change(1, trace)
        await weeks.forget(1, trace)
    figure("SIGKILLs in a downshift", kills)
    assert kills >= len(PHASES) - 1
    await go_through(weeks)
    assert await weeks.left_over() == NOTHING
    assert {tier for _, tier in await weeks.partitions()} == {"warm"}
    found = await weeks.seen(as_codes=False)
    assert found["bodies"] == expected["bodies"]
    assert set(expected["vectors"]) - set(found["vectors"]) == {
        key for key in expected["vectors"] if key[2] > 0 and key[1] in await unimportant(weeks)
    }
    assert found["vectors"].items() <= expected["vectors"].items()


async def unimportant(weeks: Weeks) -> set[object]:
    return {trace for (trace,) in await fetch(weeks.owner, "SELECT id FROM memory_trace WHERE salience < 0.3")}


@pytest.mark.parametrize("phase", ["_exchange"])
async def test_one_that_stands_still_with_the_tables_locked_is_put_out(weeks: Weeks, phase: str) -> None:
    """Nobody waits for a process that is stopped rather than killed."""
    await weeks.make(weeks=(0,))
    await weeks.remember(0, 0, 5)
    before = await weeks.seen()
    process = await mover(weeks, phase)
    assert await said(process) == "there"
    try:
        async with asyncio.timeout(5):
            assert await weeks.seen() == before
    finally:
        process.kill()
        await process.wait()
