"""Pins: traces that never weaken, and that no rule of retention and no night takes or writes over."""

from uuid import UUID

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.database import Database
from reverie.core.ids import user_uuid
from reverie.core.queries import Queries
from reverie.memories import repository
from reverie.memories.schemas import TraceOut
from reverie.memories.service import MemoryService

SQL = Queries("reverie.memories", "pins.sql")


class PinService:
    """Pins traces, and takes pins off."""

    def __init__(self, database: Database, memories: MemoryService) -> None:
        self._database = database
        self._memories = memories

    async def set(self, principal: Principal, user: str, trace_id: UUID, *, pinned: bool) -> TraceOut:
        """Has a trace be pinned, or not; the trace as it is then. What is so already stays as it is.

        Raises:
            NotFound: the user has no such trace.
            Unavailable: it is cold, and its text cannot be read.
        """
        before = await self._memories.get(principal, user, trace_id)
        if before.pinned == pinned:
            return before
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, user)
        async with self._database.writing(space_id) as session:
            await repository.touch_version(session, space_id, user_id, clock.now())
            # Nothing where it was forgotten meanwhile, as is seen when it is read again.
            await session.execute(SQL["pin"], (pinned, user_id, trace_id))
        return await self._memories.get(principal, user, trace_id)
