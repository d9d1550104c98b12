"""SQL of forgetting."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from reverie.core.arrays import Uuids
from reverie.core.database import Connection, ReadSession, Row, WriteSession
from reverie.core.ids import milliseconds
from reverie.core.queries import Queries
from reverie.core.secret import SQL as SECRETS
from reverie.forgetting.schemas import State
from reverie.memories import repository as memories
from reverie.memories.tombstones import Buried

SQL = Queries("reverie.forgetting")

FORGET: Final = "forget"
"""The kind of operation that removes what is invisible already."""


class Receipt(NamedTuple):
    """What was forgotten, when and why. ``wal``: the place in the write-ahead log at which nothing was left."""

    id: UUID
    scope: str
    reason: str | None
    counts: dict[str, int]
    state: State
    created_at: datetime
    finished_at: datetime | None
    wal: int | None


def packed(trace_ids: Sequence[UUID]) -> Uuids:
    """Ids as a parameter: psycopg takes ten times as long for a list of many."""
    return Uuids(one.bytes for one in trace_ids)


async def lock_user(session: WriteSession, space_id: UUID, user_id: UUID, now: datetime) -> bool:
    """Keeps everybody else from writing for the user until the transaction ends; False when there is no such user."""
    return bool(await session.fetch(SQL["lock_user"], (milliseconds(now), now, space_id, user_id)))


async def space_key(session: ReadSession, space_id: UUID) -> bytes:
    """The key of a space's identities."""
    row = await session.fetch_one(SQL["space_key"], (space_id,))
    return bytes(row[0]) if row else b""


async def ids_of(session: ReadSession, name: str, *parameters: Any) -> list[UUID]:
    """The ids that a query of a scope answers."""
    return [row[0] for row in await session.fetch(SQL[name], parameters)]


async def counts(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> tuple[dict[str, int], list[UUID]]:
    """What hangs on the traces, and up to 100 of their ids."""
    row = await session.fetch_one(SQL["counts"], (user_id, packed(trace_ids), *[user_id] * 7))
    assert row is not None  # noqa: S101 - a select of scalars has a row
    names = ("traces", "bodies", "vectors", "edges", "cold", "recalls", "dismissals")
    return dict(zip(names, row[:7], strict=True)), row[7] or []


async def naming_operations(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> int:
    """How many operations name any of the traces."""
    ids = packed(trace_ids)
    row = await session.fetch_one(SQL["naming_operations"], (user_id, FORGET, ids, ids))
    return int(row[0]) if row else 0


async def buried(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> list[Buried]:
    """What the tombstones of traces are made of."""
    rows = await session.fetch(SQL["buried"], (user_id, packed(trace_ids)))
    return [Buried(row[0], _bytes(row[1]), bytes(row[2]), *row[3:]) for row in rows]


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


async def bury(
    session: WriteSession, space_id: UUID, user_id: UUID, receipt_id: UUID, trace_ids: Sequence[UUID],
    hashes: Sequence[bytes | None], now: datetime,
) -> None:  # fmt: skip
    """Leaves a tombstone of each trace."""
    await session.execute(SQL["bury"], (space_id, user_id, receipt_id, now, packed(trace_ids), list(hashes)))


async def register_secret(session: WriteSession, fingerprint: bytes, now: datetime) -> None:
    """Has the store note that it needs a secret from now on."""
    await session.execute(SECRETS["register"], (fingerprint, now))


async def unchain(session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID], now: datetime) -> list[UUID]:
    """Joins, in conversations, the traces before and after what goes; those that stay and had it beside them."""
    around = await memories.neighbours(session, user_id, trace_ids)
    ids = packed(trace_ids)
    await session.execute(SQL["close_gaps"], (ids, user_id, user_id, user_id, now, user_id, user_id))
    gone = set(trace_ids)
    left = [one for one in around if one not in gone]
    if left:
        await session.execute(SQL["unsituate"], (user_id, packed(left)))
    return left


async def forget(session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID]) -> None:
    """Removes traces with everything that hangs on them."""
    ids = packed(trace_ids)
    await session.execute(SQL["forget"], (ids, user_id, user_id, user_id, ids, user_id))


async def hide(session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID], now: datetime) -> None:
    """Makes traces invisible, and takes their links away."""
    ids = packed(trace_ids)
    await session.execute(SQL["hide"], (ids, user_id, user_id, now, user_id, ids, user_id))
    await session.execute(SQL["unlink"], (ids, user_id))


async def forget_user(session: WriteSession, user_id: UUID) -> None:
    """Removes the row of a user who has no traces any more."""
    await session.execute(SQL["forget_user"], (user_id,))


async def next_hidden(session: ReadSession, user_id: UUID, receipt_id: UUID, after: UUID, limit: int) -> list[UUID]:
    """The next traces of a receipt that are invisible and still there."""
    rows = await session.fetch(SQL["next_hidden"], (user_id, receipt_id, after, limit))
    return [row[0] for row in rows]


async def remove_hidden(session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID]) -> None:
    """Removes some of them; ``trace_ids`` ascend."""
    ids = packed(trace_ids)
    span = (user_id, ids, trace_ids[0], trace_ids[-1])
    await session.execute(SQL["remove_vectors"], span)
    await session.execute(SQL["remove_bodies"], span)
    await session.execute(SQL["remove_hidden"], (user_id, ids))


async def strip_operations(session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID], now: datetime) -> int:
    """Has operations name the traces no more; how many did."""
    parameters = (packed(trace_ids), user_id, FORGET, user_id, now, user_id)
    return len(await session.fetch(SQL["strip_operations"], parameters))


async def insert_receipt(
    session: WriteSession, space_id: UUID, user_id: UUID, receipt_id: UUID, scope: str, reason: str | None,
    counted: dict[str, Any], state: str, now: datetime,
) -> None:  # fmt: skip
    """Keeps the proof: what, when, why, how many; no content."""
    finished = now if state == "done" else None
    parameters = (space_id, user_id, receipt_id, scope, reason, Jsonb(counted), now, state, finished, state)
    await session.execute(SQL["insert_receipt"], parameters)


async def leave_forget(session: WriteSession, space_id: UUID, user_id: UUID, receipt_id: UUID, now: datetime) -> None:
    """Leaves the rest to an operation, or to another attempt of it."""
    await session.execute(SQL["leave_forget"], (receipt_id, space_id, user_id, FORGET, now))


async def unremoved(session: ReadSession, user_id: UUID, receipt_id: UUID) -> int:
    """How many traces of a receipt a file still holds."""
    row = await session.fetch_one(SQL["unremoved"], (user_id, receipt_id))
    return int(row[0]) if row else 0


async def finish_receipt(session: WriteSession, user_id: UUID, receipt_id: UUID, now: datetime) -> None:
    """Says that nothing is left."""
    await session.execute(SQL["finish_receipt"], (now, user_id, receipt_id))


async def list_receipts(session: ReadSession, user_id: UUID, before: UUID | None, limit: int) -> list[Receipt]:
    """Receipts of a user, newest first."""
    return [Receipt(*row) for row in await session.fetch(SQL["list_receipts"], (user_id, before, before, limit))]


async def get_receipt(session: ReadSession, user_id: UUID, receipt_id: UUID) -> Receipt | None:
    """A receipt of a user."""
    row = await session.fetch_one(SQL["get_receipt"], (user_id, receipt_id))
    return Receipt(*row) if row else None


async def unfinished(connection: Connection) -> list[Row]:
    """(space, user, receipt) of what nobody finishes; as the owner."""
    return await (await connection.execute(SQL["unfinished"])).fetchall()


async def garbage_of(connection: Connection, prefix: str, until: datetime) -> int:
    """How many files are still to be deleted whose path begins so, noted by a moment; as the owner."""
    row = await (await connection.execute(SQL["garbage_of_space"], (prefix, until))).fetchone()
    return int(row[0]) if row else 0
