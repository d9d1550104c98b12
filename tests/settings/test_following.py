"""Processes that follow the settings end when they are told to."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import pytest

from reverie import following
from reverie.core.config import Settings
from reverie.core.metrics import Metrics

if TYPE_CHECKING:
    from reverie.runtime import Runtime


async def test_a_cancellation_that_is_lost_keeps_no_process_from_ending(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = 0

    async def loses_the_first(*_: Any) -> following.Held:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost > 1:
                    raise

    closed = asyncio.Event()
    stack = AsyncExitStack()
    stack.callback(closed.set)

    async def opened(*_: Any) -> following.Held:
        return following.Held(cast("Runtime", None), stack)

    monkeypatch.setattr(following, "successor", loses_the_first)
    monkeypatch.setattr(following, "opened", opened)
    async with asyncio.timeout(20):
        async with following.following(settings, None, Metrics(), following.Turnstile(), lambda _: None):
            await asyncio.sleep(0)
    assert lost == 2
    assert closed.is_set()
