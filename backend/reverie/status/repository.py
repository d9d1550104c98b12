"""SQL of what the service is."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reverie.core.database import Connection, ReadSession
from reverie.core.ids import moment_of
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.status.schemas import Change, FailedOperation, IndexSize, ModelInUse, PartitionSize, TableSize

SQL = Queries("reverie.status")


@dataclass(frozen=True, slots=True)
class Queue:
    """How many operations there are in each state; since when the oldest is pending, and since when one is due."""

    pending: int
    running: int
    failed: int
    oldest_pending: datetime | None
    due_since: datetime | None


@dataclass(frozen=True, slots=True)
class Nights:
    """When a night last came to its end, how many failed since, and how many days of the last could not be dreamt."""

    done_at: datetime | None
    failed: int
    failed_days: int


@dataclass(frozen=True, slots=True)
class Store:
    """What PostgreSQL's catalogs say of a store."""

    postgresql: str
    pgvector: str | None
    schema: str
    partitions: list[PartitionSize]
    tables: list[TableSize]
    indexes: list[IndexSize]


async def queue(session: ReadSession, now: datetime) -> Queue:
    """The operations of all spaces."""
    [row] = await session.fetch(SQL["queue"], (now,))
    return Queue(*row)


async def dream(session: ReadSession) -> Nights:
    """The last nights of the dream."""
    [row] = await session.fetch(SQL["dream"])
    return Nights(*row)


async def active_model(session: ReadSession) -> Model | None:
    """The model that the store has gone over to."""
    row = await session.fetch_one(SQL["active_model"])
    return Model(*row) if row else None


async def changes(session: ReadSession) -> list[Change]:
    """The models whose vectors are being made or removed."""
    return [
        Change(
            model=ModelInUse(name=row[0], dim=row[1], precision=row[2]), state=row[3], traces=row[4], total=row[5],
            made=row[6], refused=row[7], seen_at=row[8],
        )
        for row in await session.fetch(SQL["changes"])
    ]  # fmt: skip


async def failed(session: ReadSession, space_id: UUID, limit: int) -> list[FailedOperation]:
    """The last operations of a space that failed, newest first."""
    return [
        FailedOperation(at=row[0], operation_id=row[1], kind=row[2], attempts=row[3], error=row[4])
        for row in await session.fetch(SQL["failed"], (space_id, limit))
    ]


async def store(connection: Connection, seconds: float) -> Store:
    """What the catalogs say, by the owner's connection; each statement may take ``seconds``."""
    await connection.execute(SQL["patience"], (str(int(seconds * 1000)),))
    async with connection.pipeline():
        versions = await connection.execute(SQL["versions"])
        partitions = await connection.execute(SQL["partitions"])
        tables = await connection.execute(SQL["tables"])
        indexes = await connection.execute(SQL["indexes"])
    [(postgresql, pgvector, schema)] = await versions.fetchall()
    return Store(
        postgresql=postgresql,
        pgvector=pgvector,
        schema=schema,
        partitions=[
            PartitionSize(
                table=row[0], parent=row[1], tier=row[2], lower=row[3], upper=row[4], since=moment_of(row[3]),
                until=moment_of(row[4]), rows=row[5], bytes=row[6],
            )
            for row in await partitions.fetchall()
        ],
        tables=[TableSize(table=row[0], rows=row[1], bytes=row[2]) for row in await tables.fetchall()],
        indexes=[
            IndexSize(name=row[0], table=row[1], bytes=row[2], valid=row[3], scans=row[4])
            for row in await indexes.fetchall()
        ],
    )  # fmt: skip
