"""Forgetting: one transaction over every table, then the focus, and a receipt."""

from typing import Any
from uuid import UUID

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.database import Database
from reverie.core.errors import NotFound
from reverie.core.idempotency import Claim
from reverie.core.ids import user_uuid, uuid7
from reverie.forgetting import repository
from reverie.forgetting.schemas import Counts, ForgetIn, ForgetOut
from reverie.working.focus import Focus


class ForgettingService:
    """Removes what is to be forgotten, from every store."""

    def __init__(self, database: Database, focus: Focus) -> None:
        self._database = database
        self._focus = focus

    async def forget(self, principal: Principal, body: ForgetIn, claim: Claim) -> dict[str, Any]:
        """Forgets a scope, or counts it.

        Raises:
            NotFound: the scope names one trace, and the user has none of this id.
        """
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, body.user_id)
        ids, now = body.scope.ids(), clock.now()
        focus = await self._focus.count(user_id, ids)
        if body.dry_run:
            async with self._database.writing(space_id) as session:
                counted, shown = await repository.counts(session, user_id, ids)
                _found(body, counted)
                out = _out(None, counted | {"focus": focus}, shown)
                await claim.keep(session, 200, out.model_dump())
            return out.model_dump()
        receipt_id = uuid7(now)
        async with self._database.writing(space_id) as session:
            # Locks the user first: a remember or an embedding that comes late waits, and finds the traces gone.
            standing = await repository.lock_user(session, space_id, user_id, now)
            counted, shown = await repository.counts(session, user_id, ids if standing else [])
            _found(body, counted)
            counted["focus"] = focus
            if standing:
                await repository.forget(session, user_id, ids)
            scope = "all" if ids is None else "traces"
            await repository.insert_receipt(session, space_id, user_id, receipt_id, scope, body.reason, counted, now)
            out = _out(receipt_id, counted, shown)
            await claim.keep(session, 200, out.model_dump())
        await (self._focus.drop(user_id) if ids is None else self._focus.remove(user_id, ids))
        return out.model_dump()


def _found(body: ForgetIn, counted: dict[str, int]) -> None:
    if body.scope.trace_id is not None and counted["traces"] == 0:
        raise NotFound(f"The user has no trace {body.scope.trace_id}.")


def _out(receipt_id: UUID | None, counted: dict[str, int], shown: list[UUID]) -> ForgetOut:
    return ForgetOut(receipt_id=receipt_id, dry_run=receipt_id is None, counts=Counts(**counted), trace_ids=shown)
