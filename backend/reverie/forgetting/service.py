"""Forgetting: at once and for good.

What a scope names goes in one transaction over every table, with what was made of it; a tombstone of each trace and a
receipt stay. What is much, or lies in files, is invisible from that transaction on, and an operation does the rest
(:mod:`reverie.forgetting.erasing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from reverie.auth.principal import Principal
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.database import Database, WriteSession, again
from reverie.core.errors import NotFound
from reverie.core.idempotency import Claim, redact
from reverie.core.ids import user_uuid, uuid7
from reverie.core.queue import Bell
from reverie.forgetting import repository, scopes
from reverie.forgetting.mirror import Mirror
from reverie.forgetting.schemas import Counts, ForgetIn, ForgetOut, State
from reverie.memories import derived, entities
from reverie.memories import repository as memories
from reverie.memories.access import AccessCounts
from reverie.memories.service import FORGOTTEN
from reverie.memories.tombstones import Tombstones
from reverie.recall.pipeline import RecallService
from reverie.working.focus import Focus

FORGET_SECONDS = 300.0
"""What a statement may take here: it holds everything of a user, however much that is."""

AT_ONCE: Final = 1000
"""Traces that are removed before the answer; of more, the answer says that they are being removed."""

PART: Final = 5000
"""Traces that are made invisible by one statement: between two of them the transaction may not stand still for long."""

INSTEAD: Final = {
    "trace_id": None, "external_id": None, "status": "rejected", "vectors": None, "error": FORGOTTEN,
    "reason": "forgotten", "suggestions": None, "src": None, "dst": None, "meta": None,
}  # fmt: skip
"""What an answer that was kept says of a forgotten trace, or of an edge that led to one."""


@dataclass(slots=True)
class Gone:
    """What one transaction has forgotten."""

    receipt_id: UUID | None = None
    ids: Sequence[UUID] = ()
    state: State | None = None
    counts: dict[str, int] = field(default_factory=dict)
    shown: list[UUID] = field(default_factory=list)
    tombstones: int = 0


class ForgettingService:
    """Removes what is to be forgotten, from every store."""

    def __init__(
        self, database: Database, focus: Focus, bell: Bell, tombstones: Tombstones, cold: ColdService,
        access: AccessCounts, recall: RecallService | None, mirror: Mirror | None = None,
    ) -> None:  # fmt: skip
        """``recall`` is None in a process that answers no questions, ``mirror`` where the graph has none."""
        self._database = database
        self._focus = focus
        self._bell = bell
        self._tombstones = tombstones
        self._cold = cold
        self._access = access
        self._recall = recall
        self._mirror = mirror

    async def forget(self, principal: Principal, body: ForgetIn, claim: Claim) -> dict[str, Any]:
        """Forgets a scope, or counts it. Of a user who is not there nothing goes, and no receipt is left.

        Raises:
            NotFound: the scope names one trace, and the user has none of this id.
            Invalid: its query holds no word that can be looked for.
        """
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, body.user_id)
        key = principal.identity_key
        cold, complete = await scopes.in_files(self._database, self._cold, space_id, user_id, key, body.scope)
        degraded = [] if complete else ["cold"]
        if body.dry_run:
            return (await self._count(space_id, user_id, key, body, cold, degraded, claim)).model_dump()

        async def remove() -> tuple[Gone, ForgetOut]:
            return await self._remove(space_id, user_id, key, body, cold, degraded, claim)

        gone, out = await again(remove)
        focused = await self._elsewhere(space_id, user_id, gone, everything=body.scope.all is True)
        return _with_focus(out, focused).model_dump()

    async def forget_traces(
        self, space_id: UUID, user_id: UUID, trace_ids: Sequence[UUID], *, reason: str, now: datetime, seen: datetime,
        expired: bool, tombstones: bool = False,
    ) -> int:  # fmt: skip
        """Forgets traces for a reason of the store's own; how many went. Without ``tombstones`` they may come again.

        Args:
            seen: before they were looked for; what was changed or pinned since stays.
            expired: they are those that had expired then; of these, what has been given more time stays.
        """

        async def remove() -> Gone:
            async with self._database.writing(space_id, seconds=FORGET_SECONDS) as session:
                if not await repository.lock_user(session, space_id, user_id, now):
                    return Gone()
                given = (repository.packed(trace_ids), expired, seen, seen)
                named = await repository.ids_of(session, "still_due", user_id, *given)
                if not named:
                    return Gone()
                key = await repository.space_key(session, space_id) if tombstones else None
                return await self._go(session, space_id, user_id, key, named, "retention", reason, now)

        gone = await again(remove)
        await self._elsewhere(space_id, user_id, gone)
        return gone.counts.get("traces", 0)

    async def _count(
        self, space_id: UUID, user_id: UUID, key: bytes, body: ForgetIn, cold: Sequence[UUID], degraded: list[str],
        claim: Claim,
    ) -> ForgetOut:  # fmt: skip
        async with self._database.writing(space_id, seconds=FORGET_SECONDS) as session:
            named = await scopes.resolve(session, user_id, key, body.scope, cold)
            _found(body, named)
            ids, _ = await scopes.with_what_hangs_on(session, user_id, named)
            counted, shown = await repository.counts(session, user_id, ids)
            counted["operations"] = await repository.naming_operations(session, user_id, ids)
            counted["answers"] = 0
            hashes = self._tombstones.of(key, user_id, await repository.buried(session, user_id, ids))
            gone = Gone(None, ids, None, counted, shown, sum(one is not None for one in hashes))
            focused = await self._focus.count(user_id, None if body.scope.all else ids)
            counted["recalls"] += await self._access.count(space_id, user_id, ids) or 0
            out = _with_focus(_out(gone, degraded, dry_run=True), focused)
            await claim.keep(session, 200, out.model_dump())
        return out

    async def _remove(
        self, space_id: UUID, user_id: UUID, key: bytes, body: ForgetIn, cold: Sequence[UUID], degraded: list[str],
        claim: Claim,
    ) -> tuple[Gone, ForgetOut]:  # fmt: skip
        """What goes from the database; the answer that is kept and the receipt count the focus as it was before."""
        now, gone = clock.now(), Gone()
        async with self._database.writing(space_id, seconds=FORGET_SECONDS) as session:
            # Locks the user first: a remember or an embedding that comes late waits, and finds the traces gone.
            if await repository.lock_user(session, space_id, user_id, now):
                named = await scopes.resolve(session, user_id, key, body.scope, cold)
                _found(body, named)
                gone = await self._go(session, space_id, user_id, key, named, body.scope.kind, body.reason, now)
            else:
                _found(body, [])
            out = _with_focus(_out(gone, degraded, dry_run=False), gone.counts.get("focus", 0))
            await claim.keep(session, 200, out.model_dump())
        return gone, out

    async def _go(
        self, session: WriteSession, space_id: UUID, user_id: UUID, key: bytes | None, named: Sequence[UUID],
        scope: str, reason: str | None, now: datetime,
    ) -> Gone:  # fmt: skip
        """Everything that one transaction does; the user is locked. Without a ``key`` nothing is refused later."""
        ids, made = await scopes.with_what_hangs_on(session, user_id, named)
        counted, shown = await repository.counts(session, user_id, ids)
        counted["focus"] = await self._focus.count(user_id, None if scope == "all" else ids) or 0
        counted["recalls"] += await self._access.count(space_id, user_id, ids) or 0
        at_once = len(ids) <= AT_ONCE
        lost = [] if scope == "all" else await entities.mentioned_by(session, user_id, ids)
        await entities.unsource(session, user_id, ids)
        receipt_id = uuid7(now)
        gone = Gone(receipt_id, ids, None, counted, shown)
        around = [] if scope == "all" else await repository.unchain(session, user_id, ids, now)
        await derived.note(session, user_id, made, ids, "forgotten", now)
        await derived.forget_noted(session, user_id, ids)
        for start in range(0, len(ids), PART):
            part = ids[start : start + PART]
            gone.tombstones += await self._bury(session, space_id, user_id, key, receipt_id, part, now)
            if at_once:
                await repository.forget(session, user_id, part)
            else:
                await repository.hide(session, user_id, part, now)
        if lost:
            # What only they called an entity is its name no more.
            known = key if key is not None else await repository.space_key(session, space_id)
            await entities.settle(session, entities.Scope(space_id, user_id, known, now), (), lost)
        # Asked when they have gone: a file may have been named that they were being written to.
        left = await repository.unremoved(session, user_id, receipt_id)
        counted["cold"] = max(counted["cold"], left)
        gone.state = "done" if at_once and not counted["cold"] else "running"
        if scope == "all":
            await repository.forget_user(session, user_id)
        if around:
            await memories.situate(session, user_id, around, fresh=False)
        counted["operations"] = await repository.strip_operations(session, user_id, ids, now)
        counted["answers"] = await redact(session, user_id, ids, INSTEAD)
        kept = counted | {"tombstones": gone.tombstones}
        await repository.insert_receipt(session, space_id, user_id, receipt_id, scope, reason, kept, gone.state, now)
        if gone.state == "running":
            await repository.leave_forget(session, space_id, user_id, receipt_id, now)
        return gone

    async def _bury(
        self, session: WriteSession, space_id: UUID, user_id: UUID, key: bytes | None, receipt_id: UUID,
        part: Sequence[UUID], now: datetime,
    ) -> int:  # fmt: skip
        """Leaves tombstones; of how many the trace is refused when it comes again."""
        hashes: list[bytes | None] = [None] * len(part)
        if key is not None:
            hashes = self._tombstones.of(key, user_id, await repository.buried(session, user_id, part))
            if self._tombstones.fingerprint is not None and any(hashes):
                await repository.register_secret(session, self._tombstones.fingerprint, now)
        await repository.bury(session, space_id, user_id, receipt_id, part, hashes, now)
        return sum(one is not None for one in hashes)

    async def _elsewhere(
        self, space_id: UUID, user_id: UUID, gone: Gone, *, everything: bool = False
    ) -> int | None:  # fmt: skip
        """What is no part of the transaction: this process' memory, Redis, and the bell for the rest.

        How many traces were in the focus, None without Redis.
        """
        if self._recall is not None:
            self._recall.forget(user_id, gone.ids)
        if gone.state == "running" and gone.receipt_id is not None:
            await self._bell.ring(gone.receipt_id)
        if self._mirror is not None:
            await self._mirror.remove(user_id, None if everything else gone.ids)
        await self._access.remove(space_id, user_id, None if everything else gone.ids)
        return await (self._focus.drop(user_id) if everything else self._focus.remove(user_id, gone.ids))


def _found(body: ForgetIn, named: Sequence[UUID]) -> None:
    if body.scope.trace_id is not None and not named:
        raise NotFound(f"The user has no trace {body.scope.trace_id}.")


_NOTHING = dict.fromkeys(Counts.model_fields, 0)


def _out(gone: Gone, degraded: list[str], *, dry_run: bool) -> ForgetOut:
    return ForgetOut(
        receipt_id=gone.receipt_id, dry_run=dry_run, state=gone.state, counts=Counts(**_NOTHING | gone.counts),
        tombstones=gone.tombstones, trace_ids=gone.shown, degraded=degraded,
    )  # fmt: skip


def _with_focus(out: ForgetOut, focused: int | None) -> ForgetOut:
    counts = out.counts.model_copy(update={"focus": focused or 0})
    degraded = [one for one in out.degraded if one != "focus"]
    return out.model_copy(update={"counts": counts, "degraded": degraded + ["focus"] * (focused is None)})
