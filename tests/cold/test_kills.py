"""SIGKILL at the steps of writing and of purging: the next run completes it, nothing is lost and nothing doubled."""

import asyncio
import multiprocessing
import signal
from multiprocessing.context import ForkServerContext
from typing import TYPE_CHECKING

import pytest
from tests.cold import killed
from tests.cold.rows import text_of
from tests.cold.store import Store
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from tests.figures import Figure

HELD_BY_OTHERS = """
SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Makes processes that have loaded all they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.cold.killed"])
    return context


async def _killed_at(processes: ForkServerContext, store: Store, what: str, last: int) -> bool:
    """Runs it in a process of its own; whether that was killed."""
    arguments = (store.settings.database_url, str(store.folder), store.space, store.keys, what, last)
    process = processes.Process(target=killed.run, args=arguments)
    process.start()
    await asyncio.to_thread(process.join)
    assert process.exitcode in {0, -signal.SIGKILL}
    # Until PostgreSQL has noticed that it is gone, what it was at is still locked, and left for the next purge.
    async with asyncio.timeout(PATIENCE):
        while await store.rows(HELD_BY_OTHERS) != [(0,)]:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    return process.exitcode != 0


async def _whole_or_not_there(store: Store) -> None:
    """As a killed run left it: what is named is there, and what is readable is right."""
    for (path,) in await store.rows("SELECT path FROM cold_segment"):
        assert path in store.files()
    noted = {path for (path,) in await store.rows("SELECT path FROM cold_segment UNION SELECT path FROM cold_garbage")}
    assert {path.split("#")[0] for path in store.files()} <= noted
    contents = await store.cold.contents(store.space, store.keys)
    assert contents.complete
    assert all(text == text_of(one) for (_, one), text in contents.texts.items())


async def test_writing_is_killed_at_any_step(
    store: Store, processes: ForkServerContext, long: bool, figure: "Figure"
) -> None:
    steps, kills = 1, 0
    while await _killed_at(processes, store, "write", steps):
        kills += 1
        await _whole_or_not_there(store)
        visible = await store.rows("SELECT count(*) FROM cold_segment WHERE state = 'visible'")
        assert visible in ([(0,)], [(2,)])
        if visible == [(2,)]:
            # Killed after it was done.
            break
        await store.cold.discard(store.owner)
        await store.cold.purge(store.owner)
        await store.is_whole([])
        steps += 1 if long else 3
    figure("SIGKILLs in an export", kills)
    assert steps > 20
    await store.is_whole(store.keys)


async def test_one_run_goes_on_where_the_last_was_killed(store: Store, processes: ForkServerContext) -> None:
    """Without anybody looking after it in between."""
    steps = 3
    while await _killed_at(processes, store, "write", steps):
        steps += 6
    await store.is_whole(store.keys)


async def test_purging_is_killed_at_any_step(
    store: Store, processes: ForkServerContext, long: bool, figure: "Figure"
) -> None:
    await store.write(store.keys[:200])
    await store.write(store.keys[200:260])
    gone = [*store.keys[:200:40], *store.keys[200:260]]
    await store.forget(gone)
    kept = [key for key in store.keys[:260] if key not in gone]
    steps, kills = 1, 0
    while await _killed_at(processes, store, "purge", steps):
        kills += 1
        await _whole_or_not_there(store)
        assert set((await store.cold.contents(store.space, store.keys)).texts) == set(kept)
        steps += 1 if long else 3
    figure("SIGKILLs while files are written anew", kills)
    # What was done before it was killed is not done again, so each run gets a little further.
    assert steps > 5
    await store.is_whole(kept)
