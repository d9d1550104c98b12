"""SQL of operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from reverie.core.database import ReadSession, Row, WriteSession
from reverie.core.queries import Queries

SQL = Queries("reverie.operations")


@dataclass(frozen=True, slots=True)
class Leased:
    """An operation that this worker holds for one attempt."""

    id: UUID
    space_id: UUID
    user_id: UUID | None
    kind: str
    payload: dict[str, Any]
    trace_ids: list[UUID]
    attempt: int
    started_at: datetime
    """When its first attempt began."""

    @property
    def whose(self) -> UUID:
        """The user of an operation of a kind that has one."""
        if self.user_id is None:
            raise ValueError(f"An operation {self.kind} names no user.")
        return self.user_id


async def insert(
    session: WriteSession,
    operation_id: UUID,
    space_id: UUID,
    kind: str,
    now: datetime,
    *,
    user_id: UUID | None = None,
    trace_ids: Sequence[UUID] = (),
    payload: dict[str, Any] | None = None,
) -> None:
    """Accepts an operation, in the transaction of what it belongs to."""
    await session.execute(
        SQL["insert_operation"], (operation_id, space_id, user_id, kind, Jsonb(payload or {}), list(trace_ids), now)
    )


async def get(session: ReadSession, space_id: UUID, operation_id: UUID) -> Row | None:
    """(id, kind, state, attempts, error, result, created_at, started_at, finished_at, traces)."""
    return await session.fetch_one(SQL["get_operation"], (space_id, operation_id))


async def lease(
    session: WriteSession, operation_id: UUID, most_attempts: int, until: datetime, now: datetime, latest: datetime
) -> Leased | None:
    """Takes an operation for one attempt; None when it is finished, held, or was tried often enough.

    A lease that ends after ``latest`` holds nobody.
    """
    row = await session.fetch_one(SQL["lease"], (until, now, operation_id, most_attempts, now, latest))
    return Leased(*row) if row else None


async def extend(session: WriteSession, held: Leased, until: datetime) -> bool:
    """Holds on for longer; False when the operation was taken over."""
    return bool(await session.fetch(SQL["extend_lease"], (until, held.id, held.attempt)))


async def note(session: WriteSession, held: Leased, result: dict[str, Any]) -> None:
    """Says how far an operation has come, in the transaction of what was done; whoever was taken over says nothing."""
    await session.execute(SQL["note_result"], (Jsonb(result), held.id, held.attempt))


async def finish(session: WriteSession, held: Leased, result: dict[str, Any], now: datetime) -> None:
    """Marks an operation as done."""
    await session.execute(SQL["finish"], (Jsonb(result), now, held.id, held.attempt))


async def put_back(
    session: WriteSession, held: Leased, error: str, most_attempts: int, retry_at: datetime, now: datetime
) -> None:
    """Leaves a failed attempt for later, or sets the operation aside after the last."""
    await session.execute(SQL["put_back"], (most_attempts, error, retry_at, most_attempts, now, held.id, held.attempt))


async def release(session: WriteSession, held: Leased, error: str | None, retry_at: datetime) -> None:
    """Leaves an operation for later, as if this attempt had not been."""
    await session.execute(SQL["release"], (error, retry_at, held.id, held.attempt))


async def left_behind(
    session: ReadSession, before: datetime, now: datetime, latest: datetime, limit: int
) -> list[tuple[UUID, int, datetime]]:
    """(id, attempts, since when it could be run) of operations that wait and that nobody holds.

    A lease that ends after ``latest`` holds nobody, and what was accepted after it waits.
    """
    rows = await session.fetch(SQL["left_behind"], (before, latest, now, latest, limit))
    return [(row[0], row[1], row[2]) for row in rows]


async def set_aside(session: WriteSession, most_attempts: int, now: datetime, latest: datetime) -> None:
    """Ends operations whose every worker died."""
    error = f"The worker died or hung at each of {most_attempts} attempts."
    await session.execute(SQL["set_aside"], (error, now, most_attempts, now, latest))


async def delete_finished(session: WriteSession, before: datetime, limit: int) -> int:
    """Forgets operations that finished before a moment."""
    return len(await session.fetch(SQL["delete_finished"], (before, limit)))
