"""The bell of background work: a message of arq that says which operation waits. The row in PostgreSQL is the job."""

import time
from typing import Any
from uuid import UUID

import orjson
import redis.asyncio
import structlog
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from reverie.core.config import Settings

QUEUE = "reverie:queue"
RUN_OPERATION = "run_operation"

log = structlog.get_logger(__name__)


def serialize(value: dict[str, Any]) -> bytes:
    """arq's messages as JSON: its default, pickle, would run what it reads."""
    return orjson.dumps(value, default=str)


def deserialize(raw: bytes) -> dict[str, Any]:
    """The reverse of :func:`serialize`."""
    loaded: dict[str, Any] = orjson.loads(raw)
    return loaded


def arq_redis(url: str, timeout: float, answer_timeout: float | None = None) -> ArqRedis:
    """A client of arq that connects when it is first used (arq's own ``create_pool`` waits five seconds and raises)."""
    pool = redis.asyncio.ConnectionPool.from_url(url, socket_connect_timeout=timeout, socket_timeout=answer_timeout)
    return ArqRedis(pool_or_conn=pool, job_serializer=serialize, job_deserializer=deserialize, default_queue_name=QUEUE)


class Bell:
    """Rings for operations. A bell that does not sound loses nothing: the sweeper finds the row."""

    PAUSE = 1.0
    """Seconds for which Redis is left alone after it failed, so that requests do not wait for it one by one."""

    def __init__(self, settings: Settings) -> None:
        self.errors = 0
        self._silent_until = 0.0
        patience = settings.redis_timeout_seconds
        self._arq = arq_redis(settings.redis_url, patience, patience) if settings.redis_url else None

    async def ring(self, operation_id: UUID, attempt: int = 0) -> bool:
        """Rings once for this attempt of an operation; False when Redis did not take it."""
        if self._arq is None or time.monotonic() < self._silent_until:
            return False
        try:
            # A job id that finished cannot be rung again, so it names the attempt.
            await self._arq.enqueue_job(RUN_OPERATION, str(operation_id), _job_id=f"{operation_id}:{attempt}")
        except (RedisError, OSError, TimeoutError) as error:
            self.errors += 1
            self._silent_until = time.monotonic() + self.PAUSE
            log.warning("bell failed", operation=str(operation_id), error=str(error))
            return False
        return True

    async def close(self) -> None:
        if self._arq is not None:
            await self._arq.aclose()
