"""Receipts: what was forgotten, and whether it is gone.

Verifying looks again in every place, by the ids that the tombstones of the receipt name: as the owner of the schema, so
that no policy hides a row, and no partition that hangs nowhere.
"""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from psycopg import sql

from reverie.auth.principal import Principal
from reverie.cold.files import Damaged
from reverie.cold.segments import PREFIX, Segment
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.database import Connection, Database
from reverie.core.errors import NotFound
from reverie.core.ids import user_uuid
from reverie.core.paging import next_cursor
from reverie.core.queries import Queries
from reverie.forgetting import repository
from reverie.forgetting.mirror import Mirror
from reverie.forgetting.repository import Receipt
from reverie.forgetting.schemas import ReceiptOut, ReceiptPage, ReceiptsQuery, VerifyOut
from reverie.memories.access import AccessCounts
from reverie.objects.store import Missing, StorageTrouble
from reverie.working.focus import Focus

SQL = Queries("reverie.forgetting", "verify.sql")

PLACES: Final = (
    "traces", "bodies", "vectors", "edges", "digests", "removals", "operations", "answers", "rebuilds", "provenance",
    "triples", "recalls", "dismissals",
)  # fmt: skip
"""The places in PostgreSQL, as their queries are named."""

LEFTOVERS, FILES, GARBAGE, FOCUS, RECALLS, MIRROR = "leftovers", "files", "garbage", "focus", "recalls", "mirror"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Findings:
    """What a look found: how much in each place, and where nobody could look."""

    found: dict[str, int] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    until: list[str] = field(default_factory=list)


class ReceiptService:
    """The receipts of every user."""

    def __init__(
        self, database: Database, focus: Focus, cold: ColdService, access: AccessCounts, mirror: Mirror | None = None
    ) -> None:
        """``mirror`` is None where the graph has none."""
        self._database = database
        self._focus = focus
        self._cold = cold
        self._access = access
        self._mirror = mirror

    async def page(self, principal: Principal, query: ReceiptsQuery) -> ReceiptPage:
        """Receipts of a user, newest first."""
        user_id = user_uuid(principal.space_id, query.user_id)
        async with self._database.reading(principal.space_id) as session:
            receipts = await repository.list_receipts(session, user_id, query.before(), query.limit)
        items = [receipt_out(query.user_id, one) for one in receipts]
        return ReceiptPage(items=items, next_cursor=next_cursor([item.receipt_id for item in items], query.limit))

    async def get(self, principal: Principal, user: str, receipt_id: UUID) -> ReceiptOut:
        """A receipt.

        Raises:
            NotFound: the user has none of this id.
        """
        return receipt_out(user, await self._receipt(principal, user, receipt_id))

    async def verify(self, principal: Principal, user: str, receipt_id: UUID) -> VerifyOut:
        """Looks everywhere for what a receipt says is gone.

        Raises:
            NotFound: the user has no such receipt.
        """
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, user)
        receipt = await self._receipt(principal, user, receipt_id)
        findings = Findings()
        async with self._database.maintenance() as connection:
            ids = await _ids(connection, user_id, receipt_id)
            await _in_tables(connection, user_id, receipt_id, findings)
            await _in_leftovers(connection, user_id, receipt_id, findings)
            findings.found[GARBAGE] = 0
            if receipt.counts.get("cold"):
                # What came later is of others, who wait for it themselves.
                findings.found[GARBAGE] = await repository.garbage_of(
                    connection, f"{PREFIX}/{space_id}/", receipt.finished_at or clock.now()
                )
            findings.until = await _until(connection, receipt)
        await self._in_files(space_id, user_id, ids, findings)
        await self._in_redis(space_id, user_id, ids, findings)
        await self._in_mirror(user_id, ids, findings)
        left = {name: n for name, n in findings.found.items() if n}
        return VerifyOut(
            receipt_id=receipt_id, state=receipt.state, verified_at=clock.now(), traces=len(ids),
            gone=not left and not findings.unseen, found=findings.found, unseen=findings.unseen,
            until=findings.until,
        )  # fmt: skip

    async def _receipt(self, principal: Principal, user: str, receipt_id: UUID) -> Receipt:
        async with self._database.reading(principal.space_id) as session:
            receipt = await repository.get_receipt(session, user_uuid(principal.space_id, user), receipt_id)
        if receipt is None:
            raise NotFound(f"The user has no receipt {receipt_id}.")
        return receipt

    async def _in_files(self, space_id: UUID, user_id: UUID, ids: Sequence[UUID], findings: Findings) -> None:
        findings.found[FILES] = 0
        for segment in await self._cold.segments(space_id, [user_id]):
            try:
                findings.found[FILES] += await asyncio.to_thread(_rows_in, self._cold, segment, user_id, ids)
            except (StorageTrouble, Damaged) as error:
                log.warning("cold file not looked at", path=segment.path, error=type(error).__name__)
                findings.unseen.append(f"the file {segment.path}")

    async def _in_redis(self, space_id: UUID, user_id: UUID, ids: Sequence[UUID], findings: Findings) -> None:
        focused, recalled = await self._focus.count(user_id, ids), await self._access.count(space_id, user_id, ids)
        findings.found[FOCUS] = focused or 0
        findings.found[RECALLS] += recalled or 0
        if focused is None or recalled is None:
            findings.unseen.append("Redis")

    async def _in_mirror(self, user_id: UUID, ids: Sequence[UUID], findings: Findings) -> None:
        if self._mirror is None:
            return
        mirrored = await self._mirror.count(user_id, ids)
        findings.found[MIRROR] = mirrored or 0
        if mirrored is None:
            findings.unseen.append("the mirror of the graph")


def receipt_out(user: str, one: Receipt) -> ReceiptOut:
    """A receipt as it is answered."""
    return ReceiptOut(
        receipt_id=one.id, user_id=user, scope=one.scope, reason=one.reason, counts=one.counts, state=one.state,
        created_at=one.created_at,
        finished_at=one.finished_at or (one.created_at if one.state == "done" else None),
    )  # fmt: skip


async def _ids(connection: Connection, user_id: UUID, receipt_id: UUID) -> list[UUID]:
    cursor = await connection.execute(SQL["ids"], {"user": user_id, "receipt": receipt_id})
    return [row[0] for row in await cursor.fetchall()]


async def _in_tables(connection: Connection, user_id: UUID, receipt_id: UUID, findings: Findings) -> None:
    named = {"user": user_id, "receipt": receipt_id, "kind": repository.FORGET}
    for place in PLACES:
        row = await (await connection.execute(SQL[place], named)).fetchone()
        findings.found[place] = int(row[0]) if row else 0


async def _in_leftovers(connection: Connection, user_id: UUID, receipt_id: UUID, findings: Findings) -> None:
    """Tables that were made or taken out of use while a partition was moved, and are no part of it."""
    findings.found[LEFTOVERS] = 0
    named = {"user": user_id, "receipt": receipt_id}
    for (table,) in await (await connection.execute(SQL["detached"])).fetchall():
        query = sql.SQL(SQL["in_detached"].decode()).format(table=sql.Identifier(table))
        row = await (await connection.execute(query, named)).fetchone()
        findings.found[LEFTOVERS] += int(row[0]) if row else 0


def _rows_in(cold: ColdService, segment: Segment, user_id: UUID, ids: Sequence[UUID]) -> int:
    """How many rows of these traces a file holds; it blocks."""
    try:
        reader = cold.open(segment)
    except Missing:
        return 0
    with closing(reader):
        table = reader.read_traces(user_id, ids, ("piece",))
    return 0 if table is None else int(table.num_rows)


async def _until(connection: Connection, receipt: Receipt) -> list[str]:
    """Until when what no query reads may hold it, in sentences."""
    finished = receipt.finished_at or receipt.created_at
    known = await (await connection.execute(SQL["server"], {"finished": finished})).fetchone()
    assert known is not None  # noqa: S101 - a select of scalars has a row
    redo, archived, kept_mb, slots, unvacuumed = known
    said = [_of_pages(unvacuumed or [], finished)]
    if receipt.state != "done" or receipt.wal is None:
        said.append("It is still being removed; ask again when the receipt is done.")
    else:
        said.append(_of_log(receipt.wal, redo, archived in ("on", "always"), kept_mb, slots, bool(unvacuumed)))
    said.append(
        f"Dumps, base backups and snapshots of before {finished:%Y-%m-%d %H:%M} UTC hold it until they expire: Reverie "
        "does not know of them. After restoring one, forget again what was forgotten since."
    )
    return said


def _of_pages(tables: Sequence[str], finished: datetime) -> str:
    if not tables:
        return (
            "A VACUUM has passed over every table that held it. Bytes of it, which no query reads, may stay in the "
            "free room of their pages, and single words in the index over words, until these are written over; VACUUM "
            "(FULL, ANALYZE) writes a table anew at once, and nobody can use it meanwhile."
        )
    names = ", ".join(tables[:5]) + (" and others" if len(tables) > 5 else "")
    return (
        "PostgreSQL's files hold removed rows until VACUUM has passed, which autovacuum does by itself, and their room "
        f"is used again; since {finished:%Y-%m-%d %H:%M} UTC it has not passed over {names}. VACUUM (FULL, ANALYZE) "
        "writes a table anew at once, and nobody can use it meanwhile."
    )


def _of_log(wal: int, redo: int | None, archived: bool, kept_mb: int, slots: int, unvacuumed: bool) -> str:
    if archived:
        return "The write-ahead log is archived: what was written before holds it until that archive expires."
    if redo is None or redo - kept_mb * 1024 * 1024 <= wal or slots:
        why = "replication slots keep it" if slots else "the next checkpoints have passed"
        return (
            "The write-ahead log still holds it, "
            + (f"as long as {why}." if slots else f"until {why}.")
            + " It is not archived by this server."
        )
    if unvacuumed:
        # The first change of a page after a checkpoint writes all of it into the log, removed rows as well.
        return (
            "The write-ahead log that it was written to is needed no more; but until VACUUM has passed, a page that "
            "still holds the removed row may be written to the log whole, and then it lasts until the next checkpoints "
            "have passed. It is not archived by this server."
        )
    return (
        "The write-ahead log that held it is needed no more; its files are written over, or deleted, as new log comes. "
        "It is not archived by this server."
    )
