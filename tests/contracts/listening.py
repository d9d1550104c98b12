"""An application behind the connections that ``reverie api`` has, on a port of the loopback address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from reverie.core.connections import Door
from tests.waiting import PATIENCE


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[int]:
    """The port of an application that has started; no longer after the block."""
    options: dict[str, Any] = {
        "http": Door(most=100, grace=5),
        "ws": "none",
        "lifespan": "off",
        "log_level": "critical",
        "access_log": False,
    }
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running
