"""SQL of retention."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from reverie.core.database import Connection, ReadSession, Rows, Trip, WriteSession
from reverie.core.queries import Queries
from reverie.memories.strength import PARTS
from reverie.retention.policy import RULES, SETTLED, Own, Policy, Rule

SQL = Queries("reverie.retention")
_DUE = SQL.text("due", **PARTS).decode()
_SOME_DUE, _COUNT_DUE = SQL.text("some_due", due=_DUE), SQL.text("count_due", due=_DUE)


class User(NamedTuple):
    """A user of a space, and how many traces it has, entities among them."""

    id: UUID
    created_at: datetime
    traces: int


class Expired(NamedTuple):
    """A trace that has expired."""

    space_id: UUID
    user_id: UUID
    id: UUID


async def get(session: ReadSession, space_id: UUID) -> Own:
    """What a space has set for itself."""
    row = await session.fetch_one(SQL["get"], (space_id,))
    return Own(*row) if row else Own()


async def put(session: WriteSession, space_id: UUID, own: Own, now: datetime) -> None:
    """Sets it, all rules at once."""
    parameters = (space_id, own.ttl_days, own.max_traces_per_user, own.salience_floor, now)
    await session.execute(SQL["put"], parameters)


async def spaces(connection: Connection) -> list[tuple[UUID, Own]]:
    """Every space that remembers anything, with what it has set for itself; by the owner."""
    cursor = await connection.execute(SQL["spaces"])
    return [(row[0], Own(*row[1:])) for row in await cursor.fetchall()]


async def next_users(session: ReadSession, space_id: UUID, after: tuple[datetime, UUID], limit: int) -> list[User]:
    """The next users of a space by (created_at, id)."""
    return [User(*row) for row in await session.fetch(SQL["next_users"], (space_id, *after, limit))]


async def expired(connection: Connection, space_id: UUID | None, now: datetime, limit: int) -> list[Expired]:
    """Some traces that have expired, of a space or of all; by the owner."""
    cursor = await connection.execute(SQL["expired"], (now, space_id, space_id, limit))
    return [Expired(*row) for row in await cursor.fetchall()]


async def count_expired(session: ReadSession, space_id: UUID, now: datetime) -> tuple[int, int]:
    """(traces, users) of a space that have expired."""
    row = await session.fetch_one(SQL["count_expired"], (space_id, now))
    assert row is not None  # noqa: S101 - a select of aggregates has a row
    return row[0], row[1]


async def count_subject(session: ReadSession, space_id: UUID, now: datetime) -> int:
    """How many traces of a space its rules look at."""
    row = await session.fetch_one(SQL["count_subject"], (space_id, now))
    return int(row[0]) if row else 0


async def some_due(session: ReadSession, user: User, policy: Policy, now: datetime, limit: int) -> Mapping[UUID, Rule]:
    """At most ``limit`` traces of a user that go by the rules of its space, and by which."""
    rows = await session.fetch(_SOME_DUE, (*_due(user, policy, now), limit))
    return {row[0]: RULES[row[1]] for row in rows}


async def queue_counts(session: Trip, user: User, policy: Policy, now: datetime) -> Rows:
    """Queues the counting of what goes of a user: rows of (place in RULES, traces)."""
    return await session.send(_COUNT_DUE, _due(user, policy, now))


def _due(user: User, policy: Policy, now: datetime) -> Sequence[Any]:
    aged, settled = policy.aged(now), now - SETTLED
    floor, most = policy.salience_floor or None, policy.max_traces_per_user
    dull = (floor, settled)
    crowded = bool(most) and user.traces > most
    return (
        now, [user.id], user.id, aged, now, floor, user.id, *dull, now, aged, user.id, now, aged, *dull, crowded,
        user.id, now, aged, *dull, most,
    )  # fmt: skip


async def take_turns(connection: Connection) -> bool:
    """Keeps others from pruning until ``connection`` closes; False when another does."""
    cursor = await connection.execute(SQL["take_turns"])
    row = await cursor.fetchone()
    return bool(row and row[0])
