"""Commands of ours as processes of their own, over the store of some settings."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reverie.auth.service import DEFAULT_SPACE, KeyService
from reverie.core.config import Settings
from reverie.core.database import Database


def environment(settings: Settings, **changes: str) -> dict[str, str]:
    """What a process is told that shall serve the store of these settings, with ``changes``; nothing else of ours."""
    told = {
        "PATH": os.environ["PATH"],
        "REVERIE_HOME": str(settings.reverie_home),
        "REVERIE_CONFIG": os.devnull,
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "EMBEDDING_THREADS": "1",
    }
    return told | changes


@asynccontextmanager
async def command(settings: Settings, *arguments: str, **changes: str) -> AsyncIterator[Process]:
    """A command over the store of the settings, killed if it still runs when the block ends.

    What it says waits in its pipes, which hold little: a process that says much needs a file.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "reverie", *arguments, env=environment(settings, **changes), stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def make_key(settings: Settings) -> str:
    """A key of all scopes to the store of these settings, which no process of ours needs to serve."""
    database = Database(settings)
    await database.open()
    try:
        keys = KeyService(database)
        made = await keys.create(await keys.ensure_space(DEFAULT_SPACE), "first", ["read", "write", "admin"])
    finally:
        await database.close()
    return str(made.key)
