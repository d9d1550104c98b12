"""The whole service at a glance, for a person and for Prometheus. A part that is down leaves its place empty."""

import asyncio
import os
import platform
import time
from collections.abc import Awaitable
from datetime import datetime
from typing import Literal, TypeVar, cast
from uuid import UUID

import psycopg
import structlog

from reverie import __version__
from reverie.core import clock, metrics
from reverie.core.database import Database
from reverie.core.metrics import Metrics
from reverie.core.queue import HEARTBEAT, HEARTBEAT_SECONDS
from reverie.core.redis import Redis
from reverie.core.telemetry import reason
from reverie.embedding.encoder import Encoder
from reverie.memories.model import Model
from reverie.status import repository
from reverie.status.repository import Nights, Queue, Store
from reverie.status.schemas import Change, FailedOperation, ModelInUse, Pool, Sight, Status, Versions, Waiting
from reverie.status.schemas import Queue as QueueOut
from reverie.status.service import StatusService

PATIENCE = 3.0
"""Seconds that a part may take to answer."""

MOST_ERRORS = 20

OVERDUE_SECONDS = 60.0
"""An operation that could be run for so long, while nothing runs, says that there is no worker."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Overview:
    """Everything there is to see of one process and of the store behind it."""

    KEPT = 5.0
    """Seconds for which what is counted in PostgreSQL holds in the metrics."""

    def __init__(
        self,
        readiness: StatusService,
        database: Database,
        redis: Redis,
        encoder: Encoder,
        model: Model,
        counts: Metrics,
    ) -> None:
        self._readiness = readiness
        self._database = database
        self._redis = redis
        self._encoder = encoder
        self._model = model
        self._metrics = counts
        self._started_at = clock.now()
        self._began = time.monotonic()
        self._alone = asyncio.Lock()
        self._counted: tuple[float, tuple[Queue, Nights] | None] | None = None

    async def status(self, space_id: UUID) -> Status:
        """The service as it is now; the errors are those of one space."""
        ready, store, rows, version, heartbeat = await asyncio.gather(
            self._readiness.ready(), _within(self._store()), _within(self._rows(space_id)), self._redis_version(),
            self._heartbeat(),
        )  # fmt: skip
        queue, errors, changes = rows or (None, None, None)
        parts = {name: Sight(**part.model_dump()) for name, part in ready.parts.items()}
        parts["worker"] = worker_seen(queue, heartbeat, clock.now())
        return Status(
            status=ready.status,
            version=__version__,
            schema_revision=store.schema if store else None,
            pid=os.getpid(),
            started_at=self._started_at,
            uptime_seconds=round(time.monotonic() - self._began, 3),
            parts=parts,
            queue=_shown(queue) if queue else None,
            encoder=Waiting(questions=self._encoder.queued_questions, documents=self._encoder.queued_documents),
            pool=self._pool(),
            partitions=store.partitions if store else None,
            tables=store.tables if store else None,
            indexes=store.indexes if store else None,
            versions=_versions(store, version),
            model=self._model_in_use(),
            changes=changes,
            errors=errors,
        )

    async def figures(self) -> bytes:
        """What Prometheus reads; without the operations and the dream while PostgreSQL does not answer."""
        counted = await self._kept_counts()
        known = []
        if counted is not None:
            queue, nights = counted
            states = {"pending": queue.pending, "running": queue.running, "failed": queue.failed}
            known = metrics.operations(states, _age(queue.oldest_pending, clock.now()) or 0.0)
            known += metrics.dream(_age(nights.done_at, clock.now()), nights.failed, nights.failed_days)
        return await asyncio.to_thread(self._metrics.render, known)

    async def _kept_counts(self) -> tuple[Queue, Nights] | None:
        async with self._alone:
            if self._counted is None or time.monotonic() - self._counted[0] >= self.KEPT:
                found = await _within(self._count())
                self._counted = (time.monotonic(), found)
            return self._counted[1]

    async def _count(self) -> tuple[Queue, Nights]:
        async with self._database.reading(None, seconds=PATIENCE) as session:
            return await repository.queue(session, clock.now()), await repository.dream(session)

    async def _rows(self, space_id: UUID) -> tuple[Queue, list[FailedOperation], list[Change]]:
        async with self._database.reading(space_id, seconds=PATIENCE) as session:
            queue = await repository.queue(session, clock.now())
            failed = await repository.failed(session, space_id, MOST_ERRORS)
            return queue, failed, await repository.changes(session)

    async def _store(self) -> Store:
        async with self._database.maintenance() as connection:
            return await repository.store(connection, PATIENCE)

    async def _redis_version(self) -> str | None:
        found = await self._redis.attempt("status", lambda client: client.info("server"))
        return str(found["redis_version"]) if found else None

    async def _heartbeat(self) -> bool | None:
        found: int | None = await self._redis.attempt("status", lambda client: client.exists(HEARTBEAT))
        return None if found is None else bool(found)

    def _model_in_use(self) -> ModelInUse:
        precision = cast('Literal["fp16", "fp32"]', self._model.precision)
        return ModelInUse(name=self._model.name, dim=self._model.dim, precision=precision)

    def _pool(self) -> Pool:
        counted = self._database.statistics()
        return Pool(
            most=counted.get("pool_max", 0),
            open=counted.get("pool_size", 0),
            idle=counted.get("pool_available", 0),
            waiting=counted.get("requests_waiting", 0),
        )


def worker_seen(queue: Queue | None, heartbeat: bool | None, now: datetime) -> Sight:
    """Whether a worker is there: by its heartbeat in Redis (None: Redis does not say), else by the queue."""
    overdue = _age(queue.due_since, now) if queue else None
    if heartbeat:
        return _seen("up", None)
    if queue is not None and overdue is not None and overdue > OVERDUE_SECONDS and not queue.running:
        return _seen("down", f"An operation has waited for {overdue:.0f} s and none runs: start `reverie worker`.")
    if heartbeat is not None:
        silent = HEARTBEAT_SECONDS + 1
        return _seen("down", f"No worker has shown itself for {silent} s: start `reverie worker`; accepted work waits.")
    if queue is not None and queue.running:
        return _seen("up", f"{queue.running} operations run; Redis, where workers show themselves, does not answer.")
    return _seen("unknown", "Redis, where workers show themselves, does not answer, and nothing is overdue.")


def _seen(status: Literal["up", "down", "unknown"], detail: str | None) -> Sight:
    return Sight(status=status, needed=False, detail=detail)


def _versions(store: Store | None, redis: str | None) -> Versions:
    return Versions(
        reverie=__version__,
        python=platform.python_version(),
        postgresql=store.postgresql if store else None,
        pgvector=store.pgvector if store else None,
        redis=redis,
        schema_revision=store.schema if store else None,
    )


def _shown(queue: Queue) -> QueueOut:
    return QueueOut(
        pending=queue.pending,
        running=queue.running,
        failed=queue.failed,
        oldest_pending_seconds=_age(queue.oldest_pending, clock.now()),
    )


def _age(since: datetime | None, now: datetime) -> float | None:
    """Seconds since then; never less than none, for clocks differ."""
    return None if since is None else round(max(0.0, (now - since).total_seconds()), 3)


async def _within(look: Awaitable[T]) -> T | None:
    """What PostgreSQL answers in time, else None: it is down, which others say, or too busy to be asked this."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await look
    except (psycopg.Error, TimeoutError) as error:
        log.warning("status incomplete", error=type(error).__name__, reason=reason(error))
        return None
