"""A service of our own on loopback: the real process, as `reverie api` starts it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from reverie.auth.service import KeyService
from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.embedded.postgres import free_port

PATIENCE = 60.0


@dataclass(frozen=True)
class Service:
    """A service on loopback, over a database of its own, and a key of all scopes."""

    url: str
    key: str
    database_url: str


@contextmanager
def listening(database_url: str, redis_url: str, folder: Path) -> Iterator[Service]:
    """Runs the API over a migrated database until the block ends; its log lies in ``folder``."""
    port, log = free_port(), folder / "api.log"
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "REVERIE_HOME": str(folder),
        "EMBEDDING_THREADS": "1",
        # On a machine that is busy with other tests, late is not gone.
        "REDIS_TIMEOUT_SECONDS": "30",
        "MEMORY_RECALL_TIMEOUT_SECONDS": "30",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "reverie", "api", "--port", str(port)],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while not _ready(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Service(url, asyncio.run(_key(database_url)), database_url)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


async def _key(database_url: str) -> str:
    database = Database(load_settings(database_url=database_url))
    await database.open()
    try:
        keys = KeyService(database)
        made = await keys.create(await keys.ensure_space("default"), "first", ["read", "write", "admin"])
    finally:
        await database.close()
    return str(made.key)
