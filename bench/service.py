"""The service that is measured: one that is named, or a throw-away one (`bench/throwaway.py`)."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import httpx
import orjson

from bench.report import CannotMeasure
from reverie.core.config import Settings
from reverie.embedded.postgres import free_port

_START_SECONDS, _STOP_SECONDS = 120, 60


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is. ``database_url`` names the owner of its schema; ``own`` is False for one that was named.

    ``redis_url`` may be unknown.
    """

    url: str
    key: str
    database_url: str
    own: bool
    redis_url: str | None = None


def named(
    url: str | None, key: str | None, database_url: str | None, redis_url: str | None = None
) -> Service | None:  # fmt: skip
    """The service that the options name, or None when they name none.

    Raises:
        CannotMeasure: they name it in part only.
    """
    if url is not None and key is not None and database_url is not None:
        return Service(url, key, database_url, own=False, redis_url=redis_url)
    if url is None and key is None and database_url is None:
        return None
    raise CannotMeasure("--url, --key and --database-url go together: give all three, or none of them.")


@contextmanager
def service_at(service: Service | None, **settings: str) -> Iterator[Service]:
    """``service``, or a throw-away one with these settings (names of environment variables) that ends with the block.

    Raises:
        CannotMeasure: the throw-away one does not start.
    """
    if service is not None:
        yield service
    else:
        with _throw_away(settings) as own:
            yield own


@contextmanager
def _throw_away(settings: dict[str, str]) -> Iterator[Service]:
    command = [sys.executable, "-m", "bench.throwaway"]
    with subprocess.Popen(  # noqa: S603 - ourselves
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment() | settings, start_new_session=True
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        try:
            line = keeper.stdout.readline()
            if not line:
                raise CannotMeasure("The throw-away service did not start; what it said stands above.")
            yield Service(**orjson.loads(line), own=True)
        finally:
            keeper.stdin.close()
            try:
                keeper.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                keeper.kill()


@contextmanager
def api_beside(service: Service, as_of: datetime | None = None, /, **settings: str) -> Iterator[Service]:
    """Another API over the same store, with other settings (names of environment variables), until the block ends.

    Its clock starts at ``as_of``, where one is given.

    Raises:
        CannotMeasure: it does not start.
    """
    port = free_port()
    beside = replace(service, url=f"http://127.0.0.1:{port}")
    api_of_now = ["reverie", "api"]
    command = [sys.executable, "-m", *(api_of_now if as_of is None else ["bench.moved", as_of.isoformat()])]
    environment = environment_of(service) | {"REVERIE_PORT": str(port)} | settings
    with subprocess.Popen(command, env=environment, start_new_session=True) as api:  # noqa: S603
        try:
            _wait_until_ready(beside, api)
            yield beside
        finally:
            api.terminate()
            try:
                api.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                api.kill()


def _wait_until_ready(service: Service, api: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _START_SECONDS
    while api.poll() is None and time.monotonic() < end:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{service.url}/health/ready", timeout=5).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise CannotMeasure("The API does not start; what it said stands above.")


def environment_of(service: Service) -> dict[str, str]:
    """The environment of a process beside a service, over the same store."""
    chosen = {"REVERIE_HOST": "127.0.0.1", "DATABASE_URL": service.database_url}
    if service.redis_url is not None:
        chosen["REDIS_URL"] = service.redis_url
    return _environment() | chosen


def _environment() -> dict[str, str]:
    """The environment of a throw-away service: without the settings that would lead it to somebody's store."""
    settings = {name.upper() for name in Settings.model_fields if not name.startswith(("embedding_", "memory_"))}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in settings}
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return kept | {"REVERIE_CONFIG": os.devnull, "REVERIE_LOG_LEVEL": "warning", "PYTHONPATH": path}
