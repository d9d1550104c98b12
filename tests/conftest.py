"""A real PostgreSQL and Redis for every test, each on a clone of a migrated template database."""

import asyncio
import fcntl
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import pytest
from fastapi import FastAPI

from reverie.app import create_app
from reverie.core.config import Settings, load_settings
from reverie.core.database import Database
from reverie.core.migrations import upgrade
from reverie.embedding.protocol import Embedder, FloatArray, Limits
from reverie.embedding.registry import build_embedder, model_identity
from reverie.memories.model import ensure_model
from reverie.tiers.service import TierService, add_indexes

if TYPE_CHECKING:
    from reverie.auth.service import KeyService
    from tests.servers import SharedPostgres, SharedServers

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a shell: what the tests start would be deaf to the Ctrl-C that they send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.figures", "tests.objects.s3", "tests.servers"]

# Alike in every run, and without a deadline: how long an example takes says how busy the machine is.
hypothesis.settings.register_profile("reverie", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("reverie")

TEMPLATE = "template_reverie"
_numbers = itertools.count()


@dataclass(slots=True)
class Shared:
    """A real embedder that outlives the services that use it."""

    embedder: Embedder

    @property
    def name(self) -> str:
        return self.embedder.name

    @property
    def dim(self) -> int:
        return self.embedder.dim

    @property
    def max_tokens(self) -> int:
        return self.embedder.max_tokens

    @property
    def limits(self) -> Limits:
        return self.embedder.limits

    @property
    def concurrent(self) -> bool:
        return self.embedder.concurrent

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        return self.embedder.encode_documents(texts)

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        return self.embedder.encode_questions(texts)

    def close(self) -> None:
        """The session closes it."""


@pytest.fixture(scope="session")
def postgres(shared_servers: "SharedServers") -> "SharedPostgres":
    """PostgreSQL 18 with pgvector."""
    return shared_servers.postgres()


@pytest.fixture(scope="session")
def redis_url(shared_servers: "SharedServers") -> str:
    """A Redis database of this worker's own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return shared_servers.redis(1 + int(worker))


@pytest.fixture(scope="session")
def embedder() -> Iterator[Embedder]:
    """The carried model, loaded once a worker."""
    loaded = build_embedder(load_settings(embedding_threads=1))
    yield Shared(loaded)
    loaded.close()


@pytest.fixture(scope="session")
def template(postgres: "SharedPostgres", embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated database with this week's partitions, made by the first worker that needs it."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (common / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = common / "template.done"
        if not done.exists():
            asyncio.run(_make_template(postgres.create(TEMPLATE), embedder))
            done.touch()
    return TEMPLATE


async def _make_template(url: str, embedder: Embedder) -> None:
    await asyncio.to_thread(upgrade, url)
    settings = load_settings(database_url=url)
    database = Database(settings)
    await ensure_model(database, *model_identity(settings, embedder), add_indexes)
    await TierService(database, "never").keep_ahead()


@pytest.fixture
def database_url(postgres: "SharedPostgres", template: str) -> Iterator[str]:
    """A database of the test's own, migrated and empty."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield postgres.create(name, template)
    postgres.drop(name)


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings for the test's own database and the worker's Redis."""
    return load_settings(
        database_url=database_url,
        redis_url=redis_url,
        reverie_home=tmp_path,
        database_pool_size=4,
        memory_links="next",
        rerank_seconds=30,
    )


@dataclass(slots=True)
class Api:
    """A running API within the test's process, and callers of it."""

    app: FastAPI
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    async def key(self, space: str = "default", scopes: Sequence[str] = ("read", "write", "admin")) -> str:
        """A new key of a space."""
        keys: KeyService = self.app.state.keys
        made = await keys.create(await keys.ensure_space(space), "test", scopes)
        assert made.key is not None
        return made.key

    async def caller(
        self, space: str = "default", scopes: Sequence[str] = ("read", "write", "admin")
    ) -> httpx.AsyncClient:
        """A client with a new key of a space."""
        return self.client(await self.key(space, scopes))

    def client(self, key: str | None = None) -> httpx.AsyncClient:
        """A client with this key, or with none."""
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app, raise_app_exceptions=False),
            base_url="http://reverie.test",
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )
        self.clients.append(client)
        return client


@asynccontextmanager
async def serving(settings: Settings, embedder: Embedder | None) -> AsyncIterator[Api]:
    """A running API, closed when the block ends."""
    app = create_app(settings, embedder)
    async with app.router.lifespan_context(app):
        api = Api(app)
        yield api
        for client in api.clients:
            await client.aclose()


@pytest.fixture
async def api(settings: Settings, embedder: Embedder) -> AsyncIterator[Api]:
    """A running API over the test's own database."""
    async with serving(settings, embedder) as running:
        yield running


@pytest.fixture
async def caller(api: Api) -> httpx.AsyncClient:
    """Somebody with a key of all scopes."""
    return await api.caller()


Remember = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def remember(caller: httpx.AsyncClient) -> Remember:
    """:func:`remembering` by the test's own caller."""
    return remembering(caller)


def remembering(caller: httpx.AsyncClient) -> Remember:
    """Remembers texts or traces of a user, all of which must be stored; returns what was answered of each."""

    async def send(user: str, *traces: str | dict[str, Any], **common: Any) -> list[dict[str, Any]]:
        given = [{"content": trace} if isinstance(trace, str) else trace for trace in traces]
        body = {"user_id": user, "traces": [common | trace for trace in given]}
        answer = await caller.post("/memory/remember", json=body)
        assert answer.status_code == 201, answer.text
        answered: list[dict[str, Any]] = answer.json()["traces"]
        assert [one["status"] for one in answered] == ["stored"] * len(answered), answer.text
        return answered

    return send
