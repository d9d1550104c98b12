"""Processes that follow the settings end when they are told to."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.conftest import Shared

from reverie import following
from reverie.core.config import Settings
from reverie.core.metrics import Metrics
from reverie.embedding.protocol import Embedder, FloatArray
from reverie.settings.force import InForce

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


@dataclass(slots=True)
class Slow(Shared):
    """An embedder whose questions take until they are released."""

    asked: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    answered: bool = False

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        self.asked.set()
        self.released.wait(20)
        self.answered = True
        return self.embedder.encode_questions(texts)


async def test_parts_that_are_left_while_they_are_tried_are_closed_to_the_end(
    settings: Settings, embedder: Embedder
) -> None:
    """The thread that asks a slow model is waited for, though what is left is cancelled again and again."""
    slow = Slow(embedder)
    # Of another generation than the store, which therefore is gone over to.
    current = cast("Runtime", SimpleNamespace(in_force=InForce(settings, settings, active=-1)))
    trying = asyncio.create_task(following._tried(current, settings, slow, Metrics()))
    assert await asyncio.to_thread(slow.asked.wait, 20)
    threading.Timer(1.5, slow.released.set).start()
    await following.cancelled([trying])
    assert trying.cancelled()
    assert slow.answered
