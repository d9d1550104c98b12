"""The rows of candidates, the links between them, and which traces the rarer filters leave."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from reverie.core.database import Database
from reverie.core.queries import Queries
from reverie.recall.types import Candidate, Edge, Key, Trace, trace_of, user_of

SQL = Queries("reverie.recall")


async def weighable(database: Database, space_id: UUID, keys: Sequence[Key], seconds: float) -> list[Candidate]:
    """Those of ``keys`` that still stand, with what fusion needs to know."""
    if not keys:
        return []
    users, ids = _split(keys)
    async with database.reading(space_id, seconds=seconds) as session:
        cursor = await session.send(SQL["candidates"], (users, ids))
    return [Candidate(row[0], *row[2:]) for row in await cursor.fetchall()]


async def results(
    database: Database, space_id: UUID, keys: Sequence[Key], seconds: float
) -> tuple[dict[Key, Trace], list[Edge]]:
    """The traces of ``keys`` that still stand, and the edges among them, in one round trip."""
    if not keys:
        return {}, []
    users, ids = _split(keys)
    async with database.reading(space_id, seconds=seconds) as session:
        rows = await session.send(SQL["results"], (users, ids))
        links = await session.send(SQL["edges"], (list(set(users)), ids, ids))
    traces = [Trace(*row) for row in await rows.fetchall()]
    return {trace.key: trace for trace in traces}, [Edge(*row) for row in await links.fetchall()]


def _split(keys: Sequence[Key]) -> tuple[list[UUID], list[UUID]]:
    return [user_of(key) for key in keys], [trace_of(key) for key in keys]


async def matching(
    database: Database, space_id: UUID, user_ids: Sequence[UUID], clauses: str, parameters: Sequence[Any],
    seconds: float,
) -> frozenset[UUID]:  # fmt: skip
    """The ids that pass filters on the thin row."""
    async with database.reading(space_id, seconds=seconds) as session:
        cursor = await session.send(SQL.text("matching", clauses=clauses), (list(user_ids), *parameters))
    return frozenset(row[0] for row in await cursor.fetchall())
