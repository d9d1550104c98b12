"""Waiting for what the code under test does in its own time."""

import asyncio
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds that anything may take on a slow machine."""


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)
