"""Waiting for what the code under test does in its own time."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx

PATIENCE = 60.0
"""Seconds that anything may take on a slow machine."""

START_PATIENCE = 90.0
"""Seconds that a whole service may take to start, to heal or to end there."""


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def until_operation(
    caller: httpx.AsyncClient, operation_id: str, *states: str, attempts: int | None = None, seconds: float = PATIENCE
) -> dict[str, Any]:
    """The operation, once it is in one of these states, and after so many attempts where that matters."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = (await caller.get(f"/operations/{operation_id}")).json()
        if found["state"] in states and attempts in (None, found["attempts"]):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)
