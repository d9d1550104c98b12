"""Work that is brought to its end although the one who waits for it is cancelled."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def surely(work: "asyncio.Future[T]") -> T:
    """What ``work`` returns, however often the one who waits for it is cancelled meanwhile: nobody hears of that."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(work)
    return work.result()


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns; whoever is cancelled meanwhile ends when it has ended."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await surely(task)
        raise


@asynccontextmanager
async def closed_to_the_end() -> AsyncIterator[AsyncExitStack]:
    """A stack that closes whatever is on it, and waits for that, however often that is cancelled."""
    stack = AsyncExitStack()
    try:
        yield stack
    finally:
        await to_its_end(stack.aclose())
