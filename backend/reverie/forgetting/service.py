"""Forgetting: one transaction over every table, then the focus, and a receipt."""

from typing import Any
from uuid import UUID

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.database import Database, ReadSession
from reverie.core.errors import NotFound
from reverie.core.idempotency import Claim
from reverie.core.ids import user_uuid, uuid7
from reverie.forgetting import repository
from reverie.forgetting.schemas import Counts, ForgetIn, ForgetOut
from reverie.memories.links import only_mentioned_by
from reverie.working.focus import Focus

FORGET_SECONDS = 300.0
"""What a statement may take here: it holds everything of a user, however much that is."""


class ForgettingService:
    """Removes what is to be forgotten, from every store."""

    def __init__(self, database: Database, focus: Focus) -> None:
        self._database = database
        self._focus = focus

    async def forget(self, principal: Principal, body: ForgetIn, claim: Claim) -> dict[str, Any]:
        """Forgets a scope, or counts it. Of a user who is not there nothing goes, and no receipt is left.

        Raises:
            NotFound: the scope names one trace, and the user has none of this id.
        """
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, body.user_id)
        focused = await self._focus.count(user_id, body.scope.ids())
        if body.dry_run:
            return (await self._count(space_id, user_id, body, focused, claim)).model_dump()
        out = await self._remove(space_id, user_id, body, focused, claim)
        ids = body.scope.ids()
        removed = await (self._focus.drop(user_id) if ids is None else self._focus.remove(user_id, ids))
        return _with_focus(out, removed).model_dump()

    async def _count(
        self, space_id: UUID, user_id: UUID, body: ForgetIn, focused: int | None, claim: Claim
    ) -> ForgetOut:
        async with self._database.writing(space_id, seconds=FORGET_SECONDS) as session:
            ids = await _with_names(session, user_id, body.scope.ids())
            counted, shown = await repository.counts(session, user_id, ids)
            _found(body, counted)
            out = _out(None, counted, shown, focused, dry_run=True)
            await claim.keep(session, 200, out.model_dump())
        return out

    async def _remove(
        self, space_id: UUID, user_id: UUID, body: ForgetIn, focused: int | None, claim: Claim
    ) -> ForgetOut:
        """What goes from the database; the answer that is kept and the receipt count the focus as it was before."""
        ids, now, receipt_id = body.scope.ids(), clock.now(), None
        async with self._database.writing(space_id, seconds=FORGET_SECONDS) as session:
            # Locks the user first: a remember or an embedding that comes late waits, and finds the traces gone.
            standing = await repository.lock_user(session, space_id, user_id, now)
            ids = await _with_names(session, user_id, ids)
            counted, shown = await repository.counts(session, user_id, ids if standing else [])
            _found(body, counted)
            if standing:
                receipt_id = uuid7(now)
                await repository.forget(session, user_id, ids, now)
                scope, kept = "all" if ids is None else "traces", counted | {"focus": focused or 0}
                await repository.insert_receipt(session, space_id, user_id, receipt_id, scope, body.reason, kept, now)
            out = _out(receipt_id, counted, shown, focused, dry_run=False)
            await claim.keep(session, 200, out.model_dump())
        return out


async def _with_names(session: ReadSession, user_id: UUID, ids: list[UUID] | None) -> list[UUID] | None:
    """The ids with those of entities whose names stood in these traces alone."""
    return None if ids is None else [*ids, *await only_mentioned_by(session, user_id, ids)]


def _found(body: ForgetIn, counted: dict[str, int]) -> None:
    if body.scope.trace_id is not None and counted["traces"] == 0:
        raise NotFound(f"The user has no trace {body.scope.trace_id}.")


def _out(
    receipt_id: UUID | None, counted: dict[str, int], shown: list[UUID], focused: int | None, *, dry_run: bool
) -> ForgetOut:
    out = ForgetOut(receipt_id=receipt_id, dry_run=dry_run, counts=Counts(**counted, focus=0), trace_ids=shown)
    return _with_focus(out, focused)


def _with_focus(out: ForgetOut, focused: int | None) -> ForgetOut:
    counts = out.counts.model_copy(update={"focus": focused or 0})
    return out.model_copy(update={"counts": counts, "degraded": ["focus"] if focused is None else []})
