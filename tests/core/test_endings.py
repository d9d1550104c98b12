"""What is brought to its end although the one who waits for it is cancelled."""

import asyncio

import pytest

from reverie.core.endings import closed_to_the_end, to_its_end


async def cancelled_thrice(task: "asyncio.Task[None]") -> None:
    for _ in range(3):
        await asyncio.sleep(0.01)
        task.cancel()
    assert not task.done()


async def test_whoever_is_cancelled_ends_when_the_work_has_ended() -> None:
    released = asyncio.Event()
    waiting = asyncio.create_task(to_its_end(_set_after(released, ended := asyncio.Event())))
    await cancelled_thrice(waiting)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_all_of_a_stack_is_closed() -> None:
    released, opened = asyncio.Event(), asyncio.Event()
    ends = [asyncio.Event(), asyncio.Event()]

    async def work() -> None:
        async with closed_to_the_end() as stack:
            for end in ends:
                stack.push_async_callback(_set_after, released, end)
            opened.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await opened.wait()
    await cancelled_thrice(working)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert all(end.is_set() for end in ends)


async def test_what_goes_wrong_at_the_end_is_told() -> None:
    async def fail() -> None:
        raise OSError("The disk is full.")

    with pytest.raises(OSError, match="disk"):
        await to_its_end(fail())


async def _set_after(released: asyncio.Event, end: asyncio.Event) -> None:
    await released.wait()
    end.set()
