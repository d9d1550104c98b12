"""SQL of exporting: what is held about a user, page by page."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from reverie.core.database import ReadSession, Row
from reverie.core.queries import Queries

SQL = Queries("reverie.exporting")

TRACE = (
    "trace_id", "external_id", "content", "kind", "role", "speaker", "conversation_id", "language", "created_at",
    "occurred_at", "happened_at", "updated_at", "expires_at", "salience", "salience_given", "pinned", "vectors",
    "supplied", "source", "meta", "provenance", "follows",
)  # fmt: skip
"""The columns of :func:`traces`, as they are exported."""

USER = (
    "inner_id", "user_id", "kind", "traces", "words", "languages", "version", "created_at", "updated_at", "time_zone",
    "language", "half_lives", "dream",
)  # fmt: skip


class Pages(NamedTuple):
    """A query that goes on after the key of the last row, and the names of its columns; the first ones are the key."""

    block: str
    record: str
    columns: tuple[str, ...]
    first: tuple[Any, ...]
    rows: int
    """On a page: some may be long."""
    of_space: bool = False


_NONE = UUID(int=0)
EDGES = Pages("edges", "edge", ("src", "dst", "type", "weight", "ts", "meta"), (_NONE, _NONE, ""), 1000)
OTHERS = (
    Pages("dismissals", "dismissal", ("trace_id", "other_id", "created_at"), (_NONE, _NONE), 1000),
    Pages(
        "receipts", "receipt", ("receipt_id", "scope", "reason", "counts", "state", "created_at", "finished_at"),
        (_NONE,), 500,
    ),
    Pages("tombstones", "tombstone", ("trace_id", "receipt_id", "created_at"), (_NONE,), 1000),
    Pages("accesses", "access", ("trace_id", "recalls", "last_at"), (_NONE,), 1000),
    Pages("days", "day", ("day", "state", "dreamt_at", "error"), (date.min,), 1000),
    Pages("asides", "aside", ("trace_id", "stage", "error", "created_at"), (_NONE, ""), 500),
    Pages("rebuilds", "rebuild", ("trace_id", "reason", "kind", "sources", "created_at"), (_NONE,), 500),
    Pages(
        "operations", "operation",
        ("operation_id", "kind", "state", "payload", "trace_ids", "result", "error", "attempts", "created_at",
         "started_at", "finished_at"),
        (_NONE,), 20, of_space=True,
    ),
    Pages(
        "answers", "answer", ("idempotency_key", "status", "answer", "created_at"), ("",), 20, of_space=True,
    ),
)  # fmt: skip
"""What is held beside traces and edges."""


class Held(NamedTuple):
    """A vector as it lies in PostgreSQL: in one of three ways."""

    trace_id: UUID
    model: str
    dim: int
    head: int
    piece: int
    begins: int | None
    ends: int | None
    half: Any
    full: Any
    codes: bytes | None
    bits: bytes | None


async def known(session: ReadSession, user_id: UUID) -> bool:
    """Whether anything is held about a user."""
    row = await session.fetch_one(SQL["known"], (user_id, user_id))
    return bool(row and row[0])


async def user(session: ReadSession, user_id: UUID) -> Row | None:
    """The row of a user, as :data:`USER`; None after all was forgotten."""
    return await session.fetch_one(SQL["user"], (user_id,))


async def traces(session: ReadSession, user_id: UUID, after: UUID, limit: int, characters: int) -> list[Row]:
    """The next traces, as :data:`TRACE`, with at most so many characters of text, or one."""
    return await session.fetch(SQL["traces"], (user_id, after, limit, user_id, characters))


async def still(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """Those that still stand, with their content where it is here."""
    return {row[0]: row[1] for row in await session.fetch(SQL["still"], (user_id, user_id, list(trace_ids)))}


async def vectors(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> list[Held]:
    """The vectors of some traces, in their order."""
    return [Held(*row) for row in await session.fetch(SQL["vectors"], (user_id, list(trace_ids)))]


async def segments_of(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Trace → segment of those that are cold."""
    return {row[0]: row[1] for row in await session.fetch(SQL["segments_of"], (user_id, list(trace_ids)))}


async def page(session: ReadSession, pages: Pages, space_id: UUID, user_id: UUID, after: Sequence[Any]) -> list[Row]:
    """The next rows after a key."""
    whose = (space_id, user_id) if pages.of_space else (user_id,)
    return await session.fetch(SQL[pages.block], (*whose, *after, pages.rows))
