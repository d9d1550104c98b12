"""A migrated database of the test's own, seen by the owner of the schema."""

from collections.abc import AsyncIterator

import pytest
from psycopg import AsyncConnection

from reverie.core.database import Connection


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
