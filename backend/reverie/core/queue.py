"""The bell of background work: a message of arq that says which operation waits. The row in PostgreSQL is the job."""

import socket
from typing import Any
from uuid import UUID

import orjson
import redis.asyncio
from arq.connections import ArqRedis
from arq.constants import health_check_key_suffix

from reverie.core.config import Settings
from reverie.core.redis import Redis

QUEUE = "reverie:queue"
HEARTBEAT = f"{QUEUE}{health_check_key_suffix}"
"""The key by which a worker shows that it is there; it vanishes a second after the next one is due."""

HEARTBEAT_SECONDS = 10
RUN_OPERATION = "run_operation"


def serialize(value: dict[str, Any]) -> bytes:
    """arq's messages as JSON: its default, pickle, would run what it reads."""
    return orjson.dumps(value, default=str)


def deserialize(raw: bytes) -> dict[str, Any]:
    """The reverse of :func:`serialize`."""
    loaded: dict[str, Any] = orjson.loads(raw)
    return loaded


_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}
"""How a Redis whose machine is gone is noticed, within half a minute (socket options, where the system has them).

One that only says nothing is waited for: the sweeper does the work meanwhile.
"""


def arq_redis(url: str, timeout: float) -> ArqRedis:
    """A client of arq that connects when it is first used (arq's own ``create_pool`` waits five seconds and raises)."""
    line: dict[str, Any] = {"socket_connect_timeout": timeout}
    if not url.startswith("unix://"):
        options = {getattr(socket, name): value for name, value in _ALIVE.items() if hasattr(socket, name)}
        line |= {"socket_keepalive": True, "socket_keepalive_options": options}
    return _arq(redis.asyncio.ConnectionPool.from_url(url, **line))


def _arq(pool: redis.asyncio.ConnectionPool) -> ArqRedis:
    return ArqRedis(pool_or_conn=pool, job_serializer=serialize, job_deserializer=deserialize, default_queue_name=QUEUE)


class Bell:
    """Rings for operations. A bell that does not sound loses nothing: the sweeper finds the row.

    With ``shared`` it uses those connections and knows what is known of Redis: who finds it silent spares the others.
    """

    WHAT = "bell"

    def __init__(self, settings: Settings, shared: Redis | None = None) -> None:
        self._redis = shared or Redis(settings)
        self._arq = None if self._redis.client is None else _arq(self._redis.client.connection_pool)

    @property
    def errors(self) -> int:
        """How many rings failed; they are among the errors of that :class:`Redis`."""
        return self._redis.failures[self.WHAT]

    async def ring(self, operation_id: UUID, attempt: int = 0) -> bool:
        """Rings once for this attempt of an operation; False when Redis did not take it."""
        arq = self._arq
        if arq is None:
            return False

        async def ring(_client: redis.asyncio.Redis) -> bool:
            # A job id that finished cannot be rung again, so it names the attempt.
            await arq.enqueue_job(RUN_OPERATION, str(operation_id), _job_id=f"{operation_id}:{attempt}")
            return True

        return bool(await self._redis.attempt(self.WHAT, ring, writing=True))

    async def close(self) -> None:
        await self._redis.close()
