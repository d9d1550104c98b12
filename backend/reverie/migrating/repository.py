"""SQL of migrations: what the store says of what was brought along."""

from uuid import UUID

from reverie.core.database import ReadSession
from reverie.core.queries import Queries

SQL = Queries("reverie.migrating")


async def count_of(session: ReadSession, user_id: UUID, table: str) -> int:
    """How many traces a user has of a table."""
    row = await session.fetch_one(SQL["count"], (user_id, table))
    return int(row[0]) if row else 0
