"""One store for all tests of a worker that must leave it as it was, with something of everything in it."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from reverie.core.config import load_settings
from reverie.embedding.protocol import Embedder
from tests.conftest import serving
from tests.contracts.documented import Documented
from tests.contracts.house import House, furnish

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import SharedPostgres


@pytest.fixture(scope="session")
def house_url(postgres: "SharedPostgres", template: str, worker_id: str) -> Iterator[str]:
    """The database of the house."""
    name = f"house_{worker_id}"
    yield postgres.create(name, template)
    postgres.drop(name)


@pytest.fixture(scope="session")
def documented() -> Documented:
    """What the house answered, against its OpenAPI document."""
    return Documented()


@pytest.fixture(autouse=True)
def as_documented(documented: Documented) -> Iterator[None]:
    """Whatever a test of this folder asks the house, the answer is one that its OpenAPI document describes."""
    before = len(documented.faults)
    yield
    assert documented.faults[before:] == []


@pytest.fixture(scope="session")
async def house(
    house_url: str,
    redis_url: str,
    embedder: Embedder,
    documented: Documented,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    """A running API over two spaces with the same users, and a person of each."""
    home: Path = tmp_path_factory.mktemp("house")
    settings = load_settings(
        database_url=house_url,
        redis_url=redis_url,
        reverie_home=home,
        database_pool_size=4,
        reverie_max_body_bytes=4 * 1024 * 1024,
    )
    async with serving(settings, embedder) as api:
        documented.watch(api.app)
        with psycopg.connect(house_url, autocommit=True) as owner, redis.Redis.from_url(redis_url) as client:
            client.flushdb()
            yield await furnish(api, owner, client)
