"""SQL of forgetting."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from reverie.core.database import ReadSession, WriteSession
from reverie.core.ids import milliseconds
from reverie.core.queries import Queries
from reverie.memories import repository as memories

SQL = Queries("reverie.forgetting")


async def lock_user(session: WriteSession, space_id: UUID, user_id: UUID, now: datetime) -> bool:
    """Keeps everybody else from writing for the user until the transaction ends; False when there is no such user."""
    return bool(await session.fetch(SQL["lock_user"], (milliseconds(now), now, space_id, user_id)))


async def counts(
    session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID] | None
) -> tuple[dict[str, int], list[UUID]]:
    """What hangs on the traces (None: all of the user), and up to 100 of their ids."""
    ids = None if trace_ids is None else list(trace_ids)
    row = await session.fetch_one(SQL["counts"], (user_id, ids, ids, user_id, user_id, user_id))
    assert row is not None  # noqa: S101 - a select of scalars has a row
    return dict(zip(("traces", "bodies", "vectors", "edges"), row[:4], strict=True)), row[4] or []


async def forget(session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID] | None, now: datetime) -> None:
    """Removes the traces (None: all of the user, and the user) with everything that hangs on them.

    In a conversation the traces before and after what goes are joined, and seen anew where they were seen with it.
    """
    ids = None if trace_ids is None else list(trace_ids)
    around = [] if ids is None else await memories.neighbours(session, user_id, ids)
    if ids is not None:
        await session.execute(SQL["close_gaps"], (ids, user_id, user_id, user_id, now, user_id, user_id))
    await session.execute(SQL["forget"], (user_id, ids, ids, user_id, ids, ids, user_id))
    if ids is None:
        await session.execute(SQL["forget_user"], (user_id,))
    if around:
        await memories.situate(session, user_id, around, fresh=False)


async def insert_receipt(
    session: WriteSession, space_id: UUID, user_id: UUID, receipt_id: UUID, scope: str, reason: str | None,
    counted: dict[str, Any], now: datetime,
) -> None:  # fmt: skip
    """Keeps the proof: what, when, why, how many; no content."""
    await session.execute(SQL["insert_receipt"], (space_id, user_id, receipt_id, scope, reason, Jsonb(counted), now))
