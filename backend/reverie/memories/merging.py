"""Entities by hand: two that are one are merged, and one that is two is split; no night undoes it."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.database import Database, WriteSession, again
from reverie.core.idempotency import Claim
from reverie.core.ids import user_uuid
from reverie.memories import entities, repository
from reverie.memories.entities import Scope
from reverie.memories.schemas import EntityOut, MergeIn, SplitIn


class MergeService:
    """Merges and splits the entities of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def merge(self, principal: Principal, entity_id: UUID, body: MergeIn, claim: Claim) -> dict[str, Any]:
        """Merges an entity into another, which has its names, mentions and triples then.

        Raises:
            NotFound: the user has no such entity, or not the other.
            Invalid: they are the same.
        """

        async def do(session: WriteSession, scope: Scope) -> UUID:
            await entities.merge(session, scope, entity_id, body.into, hand=True)
            return body.into

        return await self._written(principal, body.user_id, claim, do)

    async def split(self, principal: Principal, entity_id: UUID, body: SplitIn, claim: Claim) -> dict[str, Any]:
        """Makes another entity of some names of one, with what goes by these.

        Raises:
            NotFound: the user has no such entity.
            Invalid: they are no names of it, or all.
        """

        async def do(session: WriteSession, scope: Scope) -> UUID:
            return await entities.split(session, scope, entity_id, body.names)

        return await self._written(principal, body.user_id, claim, do)

    async def _written(
        self, principal: Principal, user: str, claim: Claim, do: Callable[[WriteSession, Scope], Awaitable[UUID]]
    ) -> dict[str, Any]:
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, user)

        async def write() -> dict[str, Any]:
            now = clock.now()
            async with self._database.writing(space_id) as session:
                # Locks the user.
                await repository.touch_version(session, space_id, user_id, now)
                done = await do(session, Scope(space_id, user_id, principal.identity_key, now))
                # No name stands in what is kept of an answer: forgetting would have to look for it there.
                out = EntityOut(trace_id=done, user_id=user).model_dump()
                await claim.keep(session, 200, out, user_id)
            return out

        return await again(write)
