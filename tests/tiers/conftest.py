"""A migrated database of the test's own, seen by the owner of the schema."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from psycopg import AsyncConnection
from tests.servers import SharedServers
from tests.tiers.weeks import Weeks

from reverie.core.database import Connection
from reverie.core.migrations import upgrade

_numbers = itertools.count()


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    """The owner's connection, in autocommit."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def another(database_url: str) -> AsyncIterator[Connection]:
    """A second connection of the owner."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def weeks(database_url: str, owner: Connection) -> Weeks:
    """An empty store of the test's own."""
    return Weeks(database_url, owner)


@pytest.fixture
def database_url_16(shared_servers: SharedServers) -> Iterator[str]:
    """As ``database_url``, on the oldest PostgreSQL, and without a model."""
    server = shared_servers.postgres(16)
    name = f"tiers_{os.getpid()}_{next(_numbers)}"
    url = server.create(name)
    upgrade(url)
    yield url
    server.drop(name)


@pytest.fixture
async def weeks_16(database_url_16: str) -> AsyncIterator[Weeks]:
    """:func:`weeks` on the oldest PostgreSQL."""
    async with await AsyncConnection.connect(database_url_16, autocommit=True) as connection:
        yield Weeks(database_url_16, connection)
