"""Stores that are made of rows, for many tests of a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection

from reverie.core.config import load_settings
from reverie.core.database import Connection, Database
from reverie.tiers.partitions import ensure_partitions

if TYPE_CHECKING:
    from tests.servers import SharedPostgres


@asynccontextmanager
async def empty_store(
    postgres: "SharedPostgres", template: str, name: str, since: datetime
) -> AsyncIterator[tuple[Connection, Database]]:
    """The owner's connection and the database, open, of a store with the partitions of three weeks."""
    url = postgres.create(name, template)
    database = Database(load_settings(database_url=url, database_pool_size=3))
    async with await AsyncConnection.connect(url, autocommit=True) as owner:
        await owner.execute("SET synchronous_commit = on")
        await register_vector_async(owner)
        await ensure_partitions(owner, since, since + timedelta(weeks=2))
        await database.open()
        yield owner, database
    await database.close()
    postgres.drop(name)
