"""Running operations: the row is the job, the bell says that it is there, the sweeper finds what was left behind."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from reverie.core import clock
from reverie.core.database import Database, WriteSession
from reverie.core.endings import surely
from reverie.core.errors import NotFound, ReverieError
from reverie.core.outages import IN_THE_WAY, PASSING
from reverie.core.queue import Bell
from reverie.core.telemetry import reason, way_to
from reverie.operations import repository
from reverie.operations.repository import Leased
from reverie.operations.schemas import OperationOut

Handler: TypeAlias = Callable[[Leased], Awaitable[dict[str, Any]]]
"""Does the work of one kind of operation and returns its result (ids and counts, no text)."""

log = structlog.get_logger(__name__)


class TryLater(Exception):  # noqa: N818 - what the handler asks for
    """Something that the operation needs is out; the message is one sentence that a caller may see.

    The attempt does not count: however long it is out, the operation is done afterwards.
    """


class OperationService:
    """Operations of every space."""

    LEASE = timedelta(seconds=30)
    """How long an operation stays with a worker that has died or hangs; one that works goes on extending it."""

    LONGEST = timedelta(minutes=50)
    """How long an attempt may take: one whose worker lives and gets nowhere fails."""

    MOST_ATTEMPTS = 3
    PAUSE = timedelta(seconds=5)
    """How long an operation rests after a failed attempt, doubled each time."""

    PATIENCE = timedelta(seconds=3)
    """How long the sweeper leaves a new operation to the bell."""

    OVERDUE = timedelta(seconds=15)
    """After this, the sweeper runs what the bell has rung for in vain."""

    PART = 10_000
    """So many finished operations are forgotten in one transaction."""

    LONGEST_REST = timedelta(seconds=60)
    """How long an operation rests at most while what it needs is out."""

    RETRY_SECONDS = 0.5
    """How long to wait before telling PostgreSQL again how an attempt ended."""

    def __init__(self, database: Database, bell: Bell, handlers: Mapping[str, Handler]) -> None:
        self._database = database
        self._bell = bell
        self._handlers = handlers
        self._given_back = set[asyncio.Task[None]]()

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
        leasing = asyncio.ensure_future(self._lease(operation_id))
        try:
            held = await asyncio.shield(leasing)
        except asyncio.CancelledError:
            # It may be leased already, which nobody would know until the lease runs out.
            held = await surely(leasing)
            if held is not None:
                await self._give_back(held)
            raise
        if held is None:
            return False
        work = asyncio.ensure_future(self._handle(held))
        keeper = asyncio.create_task(self._keep(held, work))
        try:
            async with asyncio.timeout(self.LONGEST.total_seconds()):
                result = await work
        except asyncio.CancelledError:
            if _stopping():
                # Whoever was taken over meanwhile holds an older attempt, and releases nothing.
                await self._give_back(held)
                raise
            log.warning("operation taken over", operation=str(held.id), kind=held.kind, attempt=held.attempt)
        except TryLater as error:
            rest = min(max(clock.now() - held.started_at, self.PAUSE), self.LONGEST_REST)
            await self._wait(held, str(error), rest)
        except Exception as error:  # noqa: BLE001 - whatever a handler does wrong is told in the row and in the log
            if _is_outage(error):
                await self._wait(held, "PostgreSQL was away.", self.PAUSE)
            else:
                log.warning(
                    "operation failed", operation=str(held.id), kind=held.kind, attempt=held.attempt,
                    error=type(error).__name__, reason=reason(error), at=way_to(error),
                )  # fmt: skip
                await self._put_back(held, error)
        else:
            await self._tell(lambda session: repository.finish(session, held, result, clock.now()))
        finally:
            keeper.cancel()
        return True

    async def _lease(self, operation_id: UUID) -> Leased | None:
        now = clock.now()
        async with self._database.writing(None) as session:
            return await repository.lease(
                session, operation_id, self.MOST_ATTEMPTS, now + self.LEASE, now, self._latest(now)
            )

    async def sweep(self, limit: int = 100) -> int:
        """Rings for what was left behind, and runs it here when the bell does not sound; how many were found."""
        now = clock.now()
        async with self._database.writing(None) as session:
            await repository.set_aside(session, self.MOST_ATTEMPTS, now, self._latest(now))
            found = await repository.left_behind(session, now - self.PATIENCE, now, self._latest(now), limit)
        due = [
            operation_id
            for operation_id, attempts, since in found
            if not await self._bell.ring(operation_id, attempts) or not now - self.OVERDUE < since <= now
        ]
        for operation_id in due:
            await self.run(operation_id)
        return len(found)

    async def delete_finished(self, days: int) -> None:
        """Forgets operations that finished more than ``days`` ago."""
        before, gone = clock.now() - timedelta(days=days), self.PART
        while gone == self.PART:
            async with self._database.writing(None) as session:
                gone = await repository.delete_finished(session, before, self.PART)

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
                log.warning(
                    "lease not extended", operation=str(held.id), error=type(error).__name__, reason=reason(error)
                )
                continue
            if not kept:
                work.cancel()
                return

    async def _wait(self, held: Leased, why: str, rest: timedelta) -> None:
        log.warning("operation waits", operation=str(held.id), kind=held.kind, seconds=rest.total_seconds(), why=why)
        await self._tell(lambda session: repository.release(session, held, why, clock.now() + rest))

    async def _put_back(self, held: Leased, error: Exception) -> None:
        pause = self.PAUSE * 2 ** (held.attempt - 1)

        async def put_back(session: WriteSession) -> None:
            now = clock.now()
            await repository.put_back(session, held, _described(error), self.MOST_ATTEMPTS, now + pause, now)

        await self._tell(put_back)

    async def settled(self) -> None:
        """Waits until what was broken off is given back."""
        while self._given_back:
            await asyncio.wait(self._given_back)

    async def _give_back(self, held: Leased) -> None:
        """Gives an operation back, however often this is cancelled meanwhile."""
        giving = asyncio.create_task(self._release(held))
        self._given_back.add(giving)
        giving.add_done_callback(self._given_back.discard)
        await surely(giving)

    async def _release(self, held: Leased) -> None:
        """Gives an operation back at once; the worker ends, so without PostgreSQL that is left to its lease."""
        try:
            async with self._database.writing(None) as session:
                await repository.release(session, held, None, clock.now())
        except PASSING as error:
            log.warning(
                "operation not released", operation=str(held.id), error=type(error).__name__, reason=reason(error)
            )

    async def _tell(self, write: Callable[[WriteSession], Awaitable[None]]) -> None:
        """Writes how an attempt ended, as soon as PostgreSQL takes it; one that was taken over changes nothing."""
        while True:
            try:
                async with self._database.writing(None) as session:
                    await write(session)
            except PASSING as error:
                log.warning("operation not updated", error=type(error).__name__, reason=reason(error))
                await asyncio.sleep(self.RETRY_SECONDS)
            else:
                return

    def _latest(self, now: datetime) -> datetime:
        """When every lease given by now has ended: one that ends later is from before the clock was set back."""
        return now + max(self.LEASE, self.LONGEST_REST) + clock.SKEW


def _is_outage(error: Exception) -> bool:
    """Whether PostgreSQL could not do it just then.

    What it never takes (SQLSTATE 54) is none, nor a statement that it always cancels, nor others in the way.
    """
    not_away = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, *IN_THE_WAY)
    return (
        isinstance(error, PASSING) and not isinstance(error, not_away) and not (error.sqlstate or "").startswith("54")
    )


def _stopping() -> bool:
    """Whether this very task was told to end, and not only the work that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _described(error: Exception) -> str:
    """What a caller may know: our own sentences, and of anything else no more than its kind."""
    if isinstance(error, ReverieError):
        return error.detail
    return f"Something went wrong on our side ({type(error).__name__}); the log of the worker has the details."
