"""A running service that the commands talk to over HTTP, and ways to run them."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from reverie.app import create_app
from reverie.auth.service import KeyService
from reverie.cli.main import app
from reverie.core.config import Settings, load_settings
from reverie.core.database import Database
from reverie.embedding.protocol import Embedder

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

Cli = Callable[..., Result]


@dataclass(frozen=True)
class Service:
    """A service on loopback, over a database of its own."""

    url: str
    key: str
    database_url: str


class Listening(uvicorn.Server):
    """A server that tells when it listens, and on which port."""

    def __init__(self, settings: Settings, embedder: Embedder) -> None:
        application = create_app(settings, embedder)
        super().__init__(
            uvicorn.Config(application, port=0, log_level="warning", lifespan="on", ws="none", loop="asyncio")
        )
        self.listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def port(self) -> int:
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port


@pytest.fixture(scope="session")
def service(postgres: "SharedPostgres", template: str, redis_url: str, embedder: Embedder) -> Iterator[Service]:
    """One service for all tests of the commands; each test has users of its own."""
    name = f"cli_{os.getpid()}"
    settings = load_settings(
        database_url=postgres.create(name, template), redis_url=redis_url, database_pool_size=4, reverie_home="/nowhere"
    )
    server = Listening(settings, embedder)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.listening.wait(30)
    yield Service(f"http://127.0.0.1:{server.port}", asyncio.run(_key(settings)), str(settings.database_url))
    server.should_exit = True
    thread.join(30)
    postgres.drop(name)


async def _key(settings: Settings) -> str:
    database = Database(settings)
    await database.open()
    try:
        keys = KeyService(database)
        made = await keys.create(await keys.ensure_space("default"), "cli", ["read", "write", "admin"])
    finally:
        await database.close()
    return str(made.key)


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The commands see no settings of whoever runs the tests."""
    for name in ("DATABASE_URL", "REDIS_URL", "REVERIE_URL", "REVERIE_KEY", "REVERIE_PORT", "REVERIE_HOST", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REVERIE_CONFIG", str(tmp_path / "reverie.yaml"))


@pytest.fixture
def alone() -> Cli:
    """Runs the command line without a service: ``alone("recall", "q", stdin="…", REVERIE_PORT="1")``."""

    def run(*arguments: str, stdin: str | bytes | None = None, **environment: str) -> Result:
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=environment, prog_name="reverie")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def cli(alone: Cli, service: Service) -> Cli:
    """Runs the command line against the service."""

    def run(*arguments: str, stdin: str | bytes | None = None, **environment: str) -> Result:
        known = {"REVERIE_URL": service.url, "REVERIE_KEY": service.key}
        return alone(*arguments, stdin=stdin, **(known | environment))

    return run


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of the test's own."""
    return f"user of {request.node.name}"
