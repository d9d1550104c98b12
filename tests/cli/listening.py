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
from typing import TYPE_CHECKING

import httpx
from tests.processes import environment, make_key
from tests.waiting import PATIENCE

from reverie.core.config import load_settings
from reverie.embedded.postgres import free_port

if TYPE_CHECKING:
    from tests.servers import SharedPostgres


@dataclass(frozen=True)
class Service:
    """A service on loopback, over a database of its own, and a key of all scopes."""

    url: str
    key: str
    database_url: str


@contextmanager
def listening(postgres: "SharedPostgres", template: str, redis_url: str, folder: Path, name: str) -> Iterator[Service]:
    """Runs the API over an empty store until the block ends; its log lies in ``folder``.

    ``name`` is that of its database, which is gone afterwards.
    """
    name = f"{name}_{os.getpid()}"
    with _over(postgres.create(name, template), redis_url, folder) as running:
        yield running
    postgres.drop(name)


@contextmanager
def _over(database_url: str, redis_url: str, folder: Path) -> Iterator[Service]:
    port, log = free_port(), folder / "api.log"
    settings = load_settings(database_url=database_url, redis_url=redis_url, reverie_home=folder)
    # On a machine that is busy with other tests, late is not gone.
    told = environment(settings, REDIS_TIMEOUT_SECONDS="30", MEMORY_RECALL_TIMEOUT_SECONDS="30")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "reverie", "api", "--port", str(port)],
            env=told,
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Service(url, asyncio.run(make_key(settings)), database_url)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def ready(url: str) -> bool:
    """Whether a service says that it is."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
