"""A running API, and the dream over its store."""

from collections.abc import AsyncIterator

import pytest
from psycopg import AsyncConnection

from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.embedding.protocol import Embedder
from reverie.runtime import Runtime, open_runtime


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    """The owner's connection, in autocommit."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def runtime(settings: Settings, embedder: Embedder) -> AsyncIterator[Runtime]:
    """The parts of a worker over the store of the API."""
    async with open_runtime(settings, embedder) as opened:
        yield opened
