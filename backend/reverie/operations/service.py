"""Running operations: the row is the job, the bell says that it is there, the sweeper finds what was left behind."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from reverie.core import clock
from reverie.core.database import Database
from reverie.core.errors import NotFound
from reverie.core.queue import Bell
from reverie.operations import repository
from reverie.operations.repository import Leased
from reverie.operations.schemas import OperationOut

Handler: TypeAlias = Callable[[Leased], Awaitable[dict[str, Any]]]
"""Does the work of one kind of operation and returns its result (ids and counts, no text)."""

log = structlog.get_logger(__name__)


class OperationService:
    """Operations of every space."""

    LEASE = timedelta(seconds=60)
    MOST_ATTEMPTS = 3
    PAUSE = timedelta(seconds=5)
    """How long an operation rests after a failed attempt, doubled each time."""

    PATIENCE = timedelta(seconds=3)
    """How long the sweeper leaves a new operation to the bell."""

    def __init__(self, database: Database, bell: Bell, handlers: Mapping[str, Handler]) -> None:
        self._database = database
        self._bell = bell
        self._handlers = handlers

    async def get(self, space_id: UUID, operation_id: UUID) -> OperationOut:
        """An operation of a space.

        Raises:
            NotFound: the space has none of this id.
        """
        async with self._database.reading(space_id) as session:
            row = await repository.get(session, space_id, operation_id)
        if row is None:
            raise NotFound(f"There is no operation {operation_id}.")
        return OperationOut(
            operation_id=row[0], kind=row[1], state=row[2], attempts=row[3], error=row[4], result=row[5],
            created_at=row[6], started_at=row[7], finished_at=row[8], traces=row[9] or 0,
        )  # fmt: skip

    async def run(self, operation_id: UUID) -> bool:
        """Runs an operation if nobody else does; False when there was nothing to do."""
        now = clock.now()
        async with self._database.writing(None) as session:
            held = await repository.lease(session, operation_id, self.MOST_ATTEMPTS, now + self.LEASE, now)
        if held is None:
            return False
        work = asyncio.ensure_future(self._handle(held))
        keeper = asyncio.create_task(self._keep(held, work))
        try:
            result = await work
        except asyncio.CancelledError:
            if not keeper.done():
                work.cancel()
                raise
            log.warning("operation taken over", operation=str(held.id), kind=held.kind, attempt=held.attempt)
        except Exception as error:
            log.warning(
                "operation failed", operation=str(held.id), kind=held.kind, attempt=held.attempt, exc_info=error
            )
            await self._put_back(held, error)
        else:
            async with self._database.writing(None) as session:
                await repository.finish(session, held, result, clock.now())
        finally:
            keeper.cancel()
        return True

    async def sweep(self, limit: int = 100) -> int:
        """Rings for what was left behind, and runs it here when the bell does not sound; how many were found."""
        now = clock.now()
        async with self._database.writing(None) as session:
            await repository.set_aside(session, self.MOST_ATTEMPTS, now)
            found = await repository.left_behind(session, now - self.PATIENCE, now, limit)
        for operation_id, attempts in found:
            if not await self._bell.ring(operation_id, attempts):
                await self.run(operation_id)
        return len(found)

    async def delete_finished(self, days: int) -> None:
        """Forgets operations that finished more than ``days`` ago."""
        async with self._database.writing(None) as session:
            await repository.delete_finished(session, clock.now() - timedelta(days=days))

    async def _handle(self, held: Leased) -> dict[str, Any]:
        return await self._handlers[held.kind](held)

    async def _keep(self, held: Leased, work: "asyncio.Future[dict[str, Any]]") -> None:
        """Extends the lease while the work goes on; work that another worker has taken over is cancelled."""
        while True:
            await asyncio.sleep(self.LEASE.total_seconds() / 3)
            try:
                async with self._database.writing(None) as session:
                    kept = await repository.extend(session, held, clock.now() + self.LEASE)
            except (psycopg.Error, PoolTimeout) as error:
                log.warning("lease not extended", operation=str(held.id), error=str(error).split("\n", 1)[0])
                continue
            if not kept:
                work.cancel()
                return

    async def _put_back(self, held: Leased, error: Exception) -> None:
        now = clock.now()
        retry_at = now + self.PAUSE * 2 ** (held.attempt - 1)
        async with self._database.writing(None) as session:
            await repository.put_back(session, held, _described(error), self.MOST_ATTEMPTS, retry_at, now)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
