"""Keeping partitions and indexes: made ahead by a job, and on demand when a write meets a missing one."""

from datetime import datetime, timedelta

import structlog

from reverie.core import clock
from reverie.core.database import Connection, Database
from reverie.memories.model import Model
from reverie.tiers.indexes import Mode, add_model_indexes, build_hnsw, hnsw_due
from reverie.tiers.partitions import ensure_partitions

AHEAD = timedelta(weeks=4)
"""How far partitions are made ahead: a worker may be down for weeks before a write has to make its own."""

log = structlog.get_logger(__name__)


class TierService:
    """Partitions and indexes of the store, as the owner of the schema."""

    def __init__(self, database: Database, hnsw: Mode) -> None:
        self._database = database
        self._hnsw = hnsw

    async def make_partitions(self, moment: datetime) -> None:
        """Makes the partitions of a moment and some weeks after it."""
        async with self._database.maintenance() as connection:
            made = await ensure_partitions(connection, moment, moment + AHEAD)
        if made:
            log.info("partitions made", tables=made)

    async def keep_ahead(self) -> None:
        """:meth:`make_partitions` from now on."""
        await self.make_partitions(clock.now())

    async def build_indexes(self, model: Model) -> list[str]:
        """Builds the HNSW indexes that are due, one partition after the other; the partitions that got one.

        While another session builds it leaves the rest to it. It may take hours.
        """
        # Under auto every question is answered by exact search: an index that nobody reads would slow every write.
        if self._hnsw != "always":
            return []
        async with self._database.maintenance() as connection:
            due = await hnsw_due(connection, model, self._hnsw)
            built = [table for table in due if await build_hnsw(connection, model, table)]
        if built:
            log.info("hnsw built", tables=built)
        return built


async def add_indexes(connection: Connection, model: Model) -> None:
    """Makes the covering index of a model on every partition that lacks it."""
    await add_model_indexes(connection, model)
