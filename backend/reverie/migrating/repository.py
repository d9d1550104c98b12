"""SQL of migrations: what the store says of what was brought along."""

from collections.abc import Sequence
from uuid import UUID

from reverie.core.database import ReadSession
from reverie.core.queries import Queries

SQL = Queries("reverie.migrating")


async def count_of(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> int:
    """How many of these traces a user has."""
    row = await session.fetch_one(SQL["count"], (user_id, list(trace_ids)))
    return int(row[0]) if row else 0


async def tables_of(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """Trace → the table that it was brought along from; None for one that came otherwise."""
    return dict(await session.fetch(SQL["tables"], (user_id, list(trace_ids))))
