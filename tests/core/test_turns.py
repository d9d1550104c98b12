import asyncio
import time
from contextlib import suppress

from tests.conftest import Api

from reverie.core.turns import TURN_SECONDS, Turns
from reverie.memories.schemas import RememberIn


async def test_long_work_lets_others_have_their_turn() -> None:
    order: list[str] = []

    async def long() -> None:
        turns = Turns()
        for n in range(4):
            order.append(f"long {n}")
            time.sleep(TURN_SECONDS * 1.5)  # noqa: ASYNC251 - it is what holds the loop
            await turns.pass_on()

    async def other() -> None:
        for n in range(3):
            order.append(f"other {n}")
            await asyncio.sleep(0)

    await asyncio.gather(long(), other())
    assert order == ["long 0", "other 0", "long 1", "other 1", "long 2", "other 2", "long 3"]


async def test_short_work_is_not_cut() -> None:
    others = asyncio.create_task(asyncio.sleep(0))
    turns = Turns()
    await turns.pass_on()
    assert not others.done()
    await others


async def test_a_body_of_the_largest_size_is_looked_through_in_turns(api: Api) -> None:
    others = 0

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    body = RememberIn(user_id="ada", traces=[{"content": "Otters and eels. " * 2000} for _ in range(1000)])
    counting = asyncio.create_task(count())
    drafts = await api.app.state.memories._read(body)
    counting.cancel()
    with suppress(asyncio.CancelledError):
        await counting
    assert len(drafts) == 1000
    assert not any(draft.is_rejected for draft in drafts)
    assert others >= 3
