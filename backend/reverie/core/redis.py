"""Redis, which may vanish at any moment: what fails there is logged, counted, and nothing else."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from reverie.core.config import Settings

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Redis:
    """One client of Redis. Without REDIS_URL every attempt answers None at once."""

    PAUSE = 1.0
    """Seconds for which Redis is left alone after it failed, so that requests do not wait for it one by one."""

    def __init__(self, settings: Settings) -> None:
        self.errors = 0
        self._silent_until = 0.0
        self._timeout = settings.redis_timeout_seconds
        self.client: redis.asyncio.Redis | None = None
        if settings.redis_url is not None:
            self.client = redis.asyncio.Redis.from_url(
                settings.redis_url,
                socket_timeout=settings.redis_timeout_seconds,
                socket_connect_timeout=settings.redis_timeout_seconds,
            )

    async def attempt(self, what: str, call: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T | None:
        """What ``call`` answers, or None when Redis cannot be asked now; ``what`` names it in the log."""
        if self.client is None or time.monotonic() < self._silent_until:
            return None
        try:
            return await call(self.client)
        except (RedisError, OSError, TimeoutError) as error:
            self.errors += 1
            self._silent_until = time.monotonic() + self.PAUSE
            log.warning("redis failed", what=what, error=str(error))
            return None

    @property
    def resting(self) -> bool:
        """Whether the last attempt failed a moment ago (or no Redis is configured)."""
        return self.client is None or time.monotonic() < self._silent_until

    async def ping(self) -> bool:
        """Whether Redis answers now."""
        return bool(await self.attempt("ping", lambda client: client.ping()))

    async def close(self) -> None:
        if self.client is not None:
            await self.client.aclose()
