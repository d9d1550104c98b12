"""Redis, which may vanish at any moment: what fails there is logged, counted, and nothing else."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import redis.asyncio
import structlog
from redis.exceptions import RedisError, ResponseError

from reverie.core.breaker import Breaker
from reverie.core.config import Settings

T = TypeVar("T")
log = structlog.get_logger(__name__)


class _Pipeline(redis.asyncio.client.Pipeline):
    """Gives its connection back once: redis-py's, cancelled while it does so, tries again and fails with a KeyError."""

    async def reset(self) -> None:
        try:
            await super().reset()  # type: ignore[no-untyped-call]  # redis-py says none
        finally:
            self.connection = None


class _Client(redis.asyncio.Redis):
    """A client with such pipelines."""

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> _Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class Redis:
    """One client of Redis. Without REDIS_URL every attempt answers None at once."""

    PAUSE = 1.0
    """Seconds for which Redis is left alone after it failed."""

    REFUSED = 5.0
    """Seconds for which the refusal of a write is remembered."""

    def __init__(self, settings: Settings) -> None:
        self.failures: Counter[str] = Counter()
        """How often each kind of attempt failed."""
        self._timeout = settings.redis_timeout_seconds
        self._all = Breaker(self.PAUSE, 2 * self._timeout)
        self._writes = Breaker(self.PAUSE, 2 * self._timeout)
        self._refused = 0.0
        self.client: redis.asyncio.Redis | None = None
        if settings.redis_url is not None:
            # Without socket_timeout: redis-py would wait by asyncio.wait_for, which in Python 3.11 loses cancellations.
            self.client = _Client.from_url(settings.redis_url, socket_connect_timeout=self._timeout)

    @property
    def errors(self) -> int:
        """How many attempts failed."""
        return self.failures.total()

    @property
    def refuses_writes(self) -> bool:
        """Whether Redis, which answers, has just refused a write: for want of memory, or as a replica."""
        return self._writes.doubtful and time.monotonic() - self._refused < self.REFUSED

    async def attempt(
        self, what: str, call: Callable[[redis.asyncio.Redis], Awaitable[T]], *, writing: bool = False
    ) -> T | None:
        """What ``call`` answers, or None when Redis cannot be asked now, does not take it, or takes too long.

        ``what`` names it in the log. All of a call, with the connection that it may need, has REDIS_TIMEOUT_SECONDS.
        """
        if self.client is None or not self._may_ask(writing):
            return None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await call(self.client)
        except (RedisError, OSError, TimeoutError) as error:
            # What redis-py fails at while it tidies up after a cancellation would hide it.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from error
            self._failed(what, error, writing)
            return None
        self._all.answered()
        if writing:
            self._writes.answered()
        return answer

    def _failed(self, what: str, error: Exception, writing: bool) -> None:
        self.failures[what] += 1
        log.warning("redis failed", what=what, error=str(error) or type(error).__name__)
        if writing and isinstance(error, ResponseError):
            # It answers, and reads are worth while.
            self._refused = time.monotonic()
            self._writes.failed()
            self._all.answered()
        else:
            self._all.failed()

    def _may_ask(self, writing: bool) -> bool:
        return (not writing or self._writes.ask()) and self._all.ask()

    async def ping(self) -> bool:
        """Whether Redis takes a write now."""
        return bool(await self.attempt("ping", lambda client: client.set("reverie:ping", b"", px=1000), writing=True))

    async def close(self) -> None:
        if self.client is not None:
            await self.client.aclose()
