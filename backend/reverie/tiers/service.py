"""Keeping partitions and indexes: made ahead by a job, and on demand when a write meets a missing one."""

from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from psycopg import errors

from reverie.core import clock
from reverie.core.database import Connection, Database
from reverie.core.ids import lower_bound
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers.building import tend
from reverie.tiers.indexes import Mode, Partition, add_model_indexes, list_partitions
from reverie.tiers.locks import building_if_nobody_does
from reverie.tiers.packing import pack
from reverie.tiers.partitions import ensure_partitions

SQL = Queries("reverie.tiers")

AHEAD = timedelta(weeks=4)
"""How far partitions are made ahead: a worker may be down for weeks before a write has to make its own."""

log = structlog.get_logger(__name__)


class TierService:
    """Partitions and indexes of the store, as the owner of the schema."""

    def __init__(self, database: Database, hnsw: Mode) -> None:
        self._database = database
        self._hnsw = hnsw
        self._tended: dict[tuple[str, int], int] = {}

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
        """Builds what is due for large users, one partition after the other; the partitions that got something.

        While another session builds it leaves the rest to it. It may take hours.
        """
        built = []
        async with self._database.maintenance() as connection:
            for partition in await list_partitions(connection):
                async with building_if_nobody_does(connection) as alone:
                    if not alone:
                        break
                    # Where it was moved meanwhile, what took its place has what it needs.
                    with suppress(errors.UndefinedTable, errors.ForeignKeyViolation):
                        if await self._tend(connection, model, partition):
                            built.append(partition.table)
        if built:
            log.info("indexes built", tables=built)
        return built

    async def _tend(self, connection: Connection, model: Model, partition: Partition) -> bool:
        """A week that is over, and in which nothing was changed since it was tended, is not looked at again."""
        key, changes = (partition.table, model.id), await _changes(connection, partition.table)
        over = partition.upper < lower_bound(clock.now())
        if over and self._tended.get(key) == changes:
            return False
        built = await tend(connection, model, partition, self._hnsw)
        packed = await pack(connection, model, partition) if over else []
        if over:
            self._tended[key] = changes
        return built or bool(packed)


async def _changes(connection: Connection, table: str) -> int:
    cursor = await connection.execute(SQL["changes"], (table,))
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0


async def add_indexes(connection: Connection, model: Model) -> None:
    """Makes the covering index of a model on every partition that lacks it."""
    await add_model_indexes(connection, model)
