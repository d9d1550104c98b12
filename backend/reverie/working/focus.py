"""The focus: the traces of a user that were last remembered, in Redis, each with its time. It holds ids, never text."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import redis.asyncio

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.ids import milliseconds
from reverie.core.redis import Redis

_SKEW = clock.SKEW.total_seconds() * 1000


@dataclass(frozen=True, slots=True)
class Focused:
    """What the focus holds of some users, as (user id, trace id), newest first.

    ``degraded`` when Redis did not answer, or answers and takes no writes: then the last traces may be missing.
    """

    keys: list[tuple[UUID, UUID]]
    degraded: bool = False


class Focus:
    """The working set of each user. Everything here may vanish at any moment: Redis evicts, and keys expire.

    An id may also outlive its trace, if that was forgotten between the commit that stored it and its coming into focus.
    """

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._redis = redis
        self._ttl = settings.redis_focus_ttl_seconds
        self._size = settings.redis_focus_size

    async def add(self, user_id: UUID, trace_ids: Sequence[UUID], moment: datetime) -> None:
        """Brings traces into the focus of a user, the last of them in front."""
        newest = trace_ids[-self._size :]
        if not newest:
            return
        start = milliseconds(moment)
        # Traces of one moment keep their order by thousandths, which a float64 of milliseconds still holds.
        scores = {trace_id.bytes: start + n / 1024 for n, trace_id in enumerate(newest)}

        async def write(client: redis.asyncio.Redis) -> None:
            async with client.pipeline(transaction=False) as pipe:
                key = _key(user_id)
                # From before the clock was set back: in front of all that is new, they would push it out at once.
                pipe.zremrangebyscore(key, start + _SKEW, "+inf")
                pipe.zadd(key, scores)
                pipe.zremrangebyrank(key, 0, -self._size - 1)
                pipe.expire(key, self._ttl)
                await pipe.execute()

        await self._redis.attempt("focus.add", write, writing=True)

    async def read(self, user_ids: Sequence[UUID]) -> Focused:
        """The focus of some users together."""

        async def read(client: redis.asyncio.Redis) -> list[list[tuple[bytes, float]]]:
            async with client.pipeline(transaction=False) as pipe:
                for user_id in user_ids:
                    pipe.zrevrange(_key(user_id), 0, self._size - 1, withscores=True)
                found: list[list[tuple[bytes, float]]] = await pipe.execute()
                return found

        found = await self._redis.attempt("focus.read", read)
        if found is None:
            return Focused([], degraded=True)
        held = [
            (-moment, user_id, UUID(bytes=member))
            for user_id, pairs in zip(user_ids, found, strict=True)
            for member, moment in pairs
        ]
        keys = [(user_id, trace_id) for _, user_id, trace_id in sorted(held)[: self._size]]
        return Focused(keys, degraded=self._redis.refuses_writes)

    async def remove(self, user_id: UUID, trace_ids: Sequence[UUID]) -> int | None:
        """Takes traces out of the focus; how many were in it, None without Redis."""
        if not trace_ids:
            return 0
        members = [trace_id.bytes for trace_id in trace_ids]

        async def remove(client: redis.asyncio.Redis) -> int:
            return int(await client.zrem(_key(user_id), *members))

        return await self._redis.attempt("focus.remove", remove, writing=True)

    async def count(self, user_id: UUID, trace_ids: Sequence[UUID] | None) -> int | None:
        """How many of these traces (None: any) the focus of a user holds, None without Redis."""

        async def count(client: redis.asyncio.Redis) -> int:
            held = await client.zrange(_key(user_id), 0, -1)
            return len(held if trace_ids is None else {trace_id.bytes for trace_id in trace_ids}.intersection(held))

        return await self._redis.attempt("focus.count", count)

    async def drop(self, user_id: UUID) -> int | None:
        """Empties the focus of a user; how many traces were in it, None without Redis."""

        async def drop(client: redis.asyncio.Redis) -> int:
            async with client.pipeline(transaction=True) as pipe:
                pipe.zcard(_key(user_id))
                pipe.delete(_key(user_id))
                return int((await pipe.execute())[0])

        return await self._redis.attempt("focus.drop", drop, writing=True)


def _key(user_id: UUID) -> str:
    return f"focus:{user_id}"
