"""The rows of candidates, the links between them, and which traces the rarer filters leave."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from reverie.core import clock
from reverie.core.arrays import Uuids
from reverie.core.database import Reads
from reverie.core.queries import Queries
from reverie.recall.types import Candidate, Edge, Key, Trace

SQL = Queries("reverie.recall")
_CANDIDATES = SQL.text("candidates", cold=SQL.text("is_cold").decode())


async def weighable(
    database: Reads, space_id: UUID, keys: Sequence[Key], at: datetime | None, seconds: float, *, cold: bool = False
) -> list[Candidate]:
    """Those of ``keys`` that still stand, and were not changed after ``at``, with what fusion needs to know.

    Without ``cold`` those alone whose text is in PostgreSQL.
    """
    if not keys:
        return []
    users, ids = _split(keys)
    async with database.reading(space_id, seconds=seconds) as session:
        cursor = await session.send(_CANDIDATES, (users, ids, at, cold))
    return [Candidate(*row) for row in await cursor.fetchall()]


async def results(
    database: Reads, space_id: UUID, keys: Sequence[Key], at: datetime | None, seconds: float
) -> tuple[dict[Key, Trace], list[Edge], dict[Key, Trace]]:
    """The traces of ``keys`` that still stand, and the edges among them (made before ``at``), in one round trip.

    Beside them those whose text is not in PostgreSQL: without it.
    """
    if not keys:
        return {}, [], {}
    users, ids = _split(keys)
    async with database.reading(space_id, seconds=seconds) as session:
        rows = await session.send(SQL["results"], (clock.now(), at, users, ids))
        links = await session.send(SQL["edges"], (Uuids({key[:16] for key in keys}), ids, ids, at))
    found = {row[0]: Trace(*row) for row in await rows.fetchall()}
    traces = {key: trace for key, trace in found.items() if trace.content is not None}
    untold = {key: trace._replace(content="", tier="cold") for key, trace in found.items() if key not in traces}
    return traces, [Edge(*row) for row in await links.fetchall()], untold


def _split(keys: Sequence[Key]) -> tuple[Uuids, Uuids]:
    return Uuids(key[:16] for key in keys), Uuids(key[16:] for key in keys)


async def matching(
    database: Reads, space_id: UUID, user_ids: Sequence[UUID], clauses: str, parameters: Sequence[Any],
    seconds: float,
) -> frozenset[UUID]:  # fmt: skip
    """The ids that pass filters on the thin row."""
    async with database.reading(space_id, seconds=seconds) as session:
        cursor = await session.send(SQL.text("matching", clauses=clauses), (list(user_ids), *parameters))
    return frozenset(row[0] for row in await cursor.fetchall())
