"""One running API for all tests of a folder on a worker: its fixtures stand in for those of the root conftest.

A folder's conftest imports them. Tests keep apart by naming users of their own.
"""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Api, Remember, remembering, serving
from tests.memories.helpers import Fickle

from reverie.core.config import Settings, load_settings
from reverie.embedding.protocol import Embedder

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

__all__ = ["api", "caller", "database_url", "fickle", "own_settings", "remember", "settings", "user"]


@pytest.fixture(scope="session")
def database_url(postgres: "SharedPostgres", template: str) -> Iterator[str]:
    """A database of the folder's own."""
    name = f"shared_{uuid4().hex}"
    yield postgres.create(name, template)
    postgres.drop(name)


@pytest.fixture(scope="session")
def settings(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings for the folder's database and the worker's Redis."""
    home = tmp_path_factory.mktemp("home")
    return load_settings(
        database_url=database_url,
        redis_url=redis_url,
        reverie_home=home,
        database_pool_size=8,
        memory_links="next",
        rerank_seconds=30,
    )


@pytest.fixture(scope="session")
def fickle(embedder: Embedder) -> Fickle:
    """The embedder of the folder's API."""
    assert hasattr(embedder, "embedder")
    return Fickle(embedder)


@pytest.fixture(scope="session")
async def api(settings: Settings, fickle: Fickle) -> AsyncIterator[Api]:
    """A running API over the folder's database."""
    async with serving(settings, fickle) as running:
        yield running


@pytest.fixture(scope="session")
async def caller(api: Api) -> httpx.AsyncClient:
    """Somebody with a key of all scopes."""
    return await api.caller()


@pytest.fixture(scope="session")
def remember(caller: httpx.AsyncClient) -> Remember:
    """:func:`remembering` by the folder's caller."""
    return remembering(caller)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of the test's own."""
    return f"{request.node.name[:200]} {uuid4().hex[:8]}"


@pytest.fixture
def own_settings(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings for a database of the test's own, which it may break."""
    name = f"own_{uuid4().hex}"
    url = postgres.create(name, template)
    home = tmp_path_factory.mktemp("home")
    yield load_settings(
        database_url=url, redis_url=redis_url, reverie_home=home, database_pool_size=4, memory_links="next"
    )
    postgres.drop(name)
