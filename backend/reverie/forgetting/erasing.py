"""The rest of a forgetting: what is invisible already is removed, part by part, and taken out of files.

Each part is a short transaction, and between two of them others have their turn. What a killed worker leaves is found
again by the tombstones of the receipt: whatever of them still has a trace is still to go.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from reverie.cold.segments import PREFIX
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.database import Database, again
from reverie.forgetting import repository
from reverie.memories.access import AccessCounts
from reverie.operations.repository import Leased
from reverie.operations.service import TryLater
from reverie.working.focus import Focus

PART: Final = 500
"""Traces that are removed in one transaction: some fifty milliseconds."""

REST: Final = 0.5
"""Between two parts it rests for as long as the last one took, times this."""

SHIFT_SECONDS: Final = 1200.0
"""How long one attempt goes on before it leaves the rest to the next: less than an operation may take."""

REMOVE_SECONDS: Final = 60.0
_FIRST: Final = UUID(int=0)


class Eraser:
    """The handler of :data:`~reverie.forgetting.repository.FORGET`."""

    def __init__(self, database: Database, focus: Focus, cold: ColdService, access: AccessCounts) -> None:
        self._database = database
        self._focus = focus
        self._cold = cold
        self._access = access

    async def erase(self, held: Leased) -> dict[str, Any]:
        """Removes what a receipt says, and says so in it.

        Raises:
            TryLater: there is more than one attempt takes, or a file still holds some of it.
        """
        space_id, user_id, receipt_id = held.space_id, held.whose, held.id
        end, after, removed = time.monotonic() + SHIFT_SECONDS, _FIRST, 0
        while True:
            began = time.monotonic()
            ids = await self._next(space_id, user_id, receipt_id, after)
            if not ids:
                break
            await again(partial(self._part, space_id, user_id, ids))
            await self._focus.remove(user_id, ids)
            await self._access.remove(space_id, user_id, ids)
            after, removed = ids[-1], removed + len(ids)
            if time.monotonic() > end:
                raise TryLater("There is more to be removed.")
            await asyncio.sleep(REST * (time.monotonic() - began))
        await self._out_of_files(space_id, user_id, receipt_id)
        async with self._database.writing(space_id) as session:
            await repository.finish_receipt(session, user_id, receipt_id, clock.now())
        return {"removed": removed}

    async def finish_left(self) -> None:
        """Rings again for what was set aside: nothing that was to be forgotten is ever given up."""
        async with self._database.maintenance() as connection:
            left = await repository.unfinished(connection)
        for space_id, user_id, receipt_id in left:
            async with self._database.writing(space_id) as session:
                await repository.leave_forget(session, space_id, user_id, receipt_id, clock.now())

    async def _next(self, space_id: UUID, user_id: UUID, receipt_id: UUID, after: UUID) -> list[UUID]:
        async with self._database.reading(space_id, seconds=REMOVE_SECONDS) as session:
            return await repository.next_hidden(session, user_id, receipt_id, after, PART)

    async def _part(self, space_id: UUID, user_id: UUID, ids: Sequence[UUID]) -> None:
        async with self._database.writing(space_id, seconds=REMOVE_SECONDS) as session:
            await repository.remove_hidden(session, user_id, ids)

    async def _out_of_files(self, space_id: UUID, user_id: UUID, receipt_id: UUID) -> None:
        async with self._database.reading(space_id) as session:
            receipt = await repository.get_receipt(session, user_id, receipt_id)
            left = await repository.unremoved(session, user_id, receipt_id)
        if not (left or (receipt is not None and receipt.counts.get("cold"))):
            return
        async with self._database.maintenance() as connection:
            purged = await self._cold.purge(connection, user_id=user_id)
            garbage = await repository.garbage_of(connection, f"{PREFIX}/{space_id}/", clock.now())
        async with self._database.reading(space_id) as session:
            left = await repository.unremoved(session, user_id, receipt_id)
        if left or garbage:
            why = purged.troubles[0] if purged.troubles else "Others are writing there."
            raise TryLater(f"Files still hold some of it ({left} traces, {garbage} files to be deleted): {why}"[:300])
