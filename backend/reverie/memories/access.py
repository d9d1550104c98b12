"""How often traces are recalled: noted in the process, brought to Redis in batches, and from there to PostgreSQL.

A recall adds to a dictionary and waits for nothing. Some seconds later what was noted goes to Redis, into a hash for
each user, and every few minutes a worker brings that to ``memory_access``. Counts may be lost on the way, with a
process, with Redis or with what Redis evicts; no memory is lost with them.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from contextvars import Context
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import redis.asyncio

from reverie.core import clock
from reverie.core.arrays import Uuids
from reverie.core.database import Database, again
from reverie.core.ids import milliseconds
from reverie.core.queries import Queries
from reverie.core.redis import Redis

SQL = Queries("reverie.memories", "access.sql")

PUSH_SECONDS: Final = 5.0
"""After so long what was noted goes to Redis."""

MOST_NOTED: Final = 50_000
"""Traces whose recalls a process notes at most while Redis cannot be asked: some megabytes. Further ones are lost."""

PART: Final = 500
"""Traces of which one round trip brings the recalls, to Redis or to PostgreSQL."""

KEPT_SECONDS: Final = 7 * 86_400
"""So long Redis keeps what no worker fetches."""

USERS: Final = "recalls"
"""The set of those of whom Redis has recalls: 16 bytes of the space, and 16 of the user."""

_COUNT, _LAST = b"n", b"t"
"""A trace has two fields in the hash of its user: how often, and when last, in milliseconds. Its id stands behind."""

Whose = tuple[UUID, UUID]
"""Space and user."""

Recalls = dict[str, tuple[int, int]]
"""Id of a trace → how often it was recalled, and when last, in milliseconds."""


class AccessCounts:
    """What recalls of this process and, in Redis, of all others have counted and PostgreSQL does not know yet."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis
        self._noted: dict[Whose, Recalls] = {}
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pushing: asyncio.Task[None] | None = None

    def note(self, space_id: UUID, user_id: UUID, trace_ids: Iterable[str]) -> None:
        """Notes that traces were recalled now. Called in the event loop; it waits for nothing."""
        if self._redis.client is None:
            return
        moment = milliseconds(clock.now())
        self._add((space_id, user_id), dict.fromkeys(trace_ids, (1, moment)))
        if self._timer is None:
            # Without the context of the request, which the log would tell of it.
            self._timer = asyncio.get_running_loop().call_later(PUSH_SECONDS, self._begin, context=Context())

    async def push(self) -> None:
        """Brings what was noted to Redis; where that does not take it, it stays noted."""
        for whose in list(self._noted):
            noted = self._noted.pop(whose, {})
            self._size -= len(noted)
            for part in _parts(noted):
                if not await self._redis.attempt("recalls.push", partial(_push, whose, part), writing=True):
                    self._add(whose, part)

    async def flush(self) -> int:
        """Brings what Redis has to PostgreSQL; of how many traces that was."""
        flushed = 0
        while whose := await self._redis.attempt("recalls.flush", _next, writing=True):
            found = await self._redis.attempt("recalls.flush", partial(_taken, whose), writing=True) or {}
            for part in _parts(found):
                await again(partial(self._write, whose, part))
            flushed += len(found)
        return flushed

    async def count(self, space_id: UUID, user_id: UUID, trace_ids: Collection[UUID] | None) -> int | None:
        """Of how many of these traces (None: any) recalls are noted here or in Redis; None without Redis."""
        whose = space_id, user_id
        held = await self._redis.attempt("recalls.count", partial(_held, whose, trace_ids))
        if held is None:
            return None
        noted = self._noted.get(whose, {}).keys()
        return len(held.union(noted if trace_ids is None else noted & set(map(str, trace_ids))))

    async def remove(self, space_id: UUID, user_id: UUID, trace_ids: Collection[UUID] | None) -> None:
        """Takes traces (None: all of the user's) out of what is noted here and in Redis.

        What another process has noted of them comes to Redis some seconds later, and not to PostgreSQL.
        """
        whose = space_id, user_id
        await self._pushed()
        if trace_ids is None:
            self._size -= len(self._noted.pop(whose, {}))
        else:
            of_user = self._noted.get(whose, {})
            self._size -= sum(of_user.pop(str(trace_id), None) is not None for trace_id in trace_ids)
        await self._redis.attempt("recalls.remove", partial(_remove, whose, trace_ids), writing=True)

    async def close(self) -> None:
        """Brings what is left to Redis."""
        if self._timer is not None:
            self._timer.cancel()
        await self._pushed()
        await self.push()

    def _begin(self) -> None:
        self._timer = None
        if self._pushing is None or self._pushing.done():
            self._pushing = asyncio.create_task(self.push())

    async def _pushed(self) -> None:
        """Waits for what is on its way."""
        if self._pushing is not None and not self._pushing.done():
            await asyncio.wait({self._pushing})

    def _add(self, whose: Whose, recalls: Recalls) -> None:
        of_user = self._noted.setdefault(whose, {})
        for trace_id, (more, last) in recalls.items():
            known = of_user.get(trace_id)
            if known is not None:
                of_user[trace_id] = (known[0] + more, max(known[1], last))
            elif self._size < MOST_NOTED:
                of_user[trace_id] = (more, last)
                self._size += 1

    async def _write(self, whose: Whose, part: Recalls) -> None:
        space_id, user_id = whose
        ids = sorted(map(UUID, part))
        counts = [part[str(trace_id)][0] for trace_id in ids]
        moments = [datetime.fromtimestamp(part[str(trace_id)][1] / 1000, UTC) for trace_id in ids]
        async with self._database.writing(space_id) as session:
            packed = Uuids(trace_id.bytes for trace_id in ids)
            await session.execute(SQL["add_recalls"], (packed, counts, moments, user_id))


# --- In Redis


async def _push(whose: Whose, part: Recalls, client: redis.asyncio.Redis) -> bool:
    key = _key(whose)
    async with client.pipeline(transaction=False) as pipe:
        for trace_id, (recalls, last) in part.items():
            field = UUID(trace_id).bytes
            pipe.execute_command("HINCRBY", key, _COUNT + field, recalls)
            pipe.execute_command("HSET", key, _LAST + field, last)
        pipe.expire(key, KEPT_SECONDS)
        pipe.sadd(USERS, whose[0].bytes + whose[1].bytes)
        await pipe.execute()
    return True


async def _next(client: redis.asyncio.Redis) -> Whose | None:
    """Of whom Redis has recalls; he is none of those any more."""
    member: bytes | None = await _asked(client, "SPOP", USERS)
    return None if member is None else (UUID(bytes=member[:16]), UUID(bytes=member[16:]))


async def _taken(whose: Whose, client: redis.asyncio.Redis) -> Recalls:
    """What Redis has of a user, which it then has no more."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.hgetall(_key(whose))
        pipe.delete(_key(whose))
        fields: dict[bytes, bytes] = (await pipe.execute())[0]
    return {
        str(UUID(bytes=field[1:])): (int(recalls), int(fields[_LAST + field[1:]]))
        for field, recalls in fields.items()
        if field[:1] == _COUNT and _LAST + field[1:] in fields
    }


async def _held(whose: Whose, trace_ids: Collection[UUID] | None, client: redis.asyncio.Redis) -> set[str]:
    """Of which traces Redis has recalls: of these, or (None) of all."""
    if trace_ids is None:
        fields: list[bytes] = await _asked(client, "HKEYS", _key(whose))
        return {str(UUID(bytes=field[1:])) for field in fields}
    if not trace_ids:
        return set()
    values: list[bytes | None] = await _asked(
        client, "HMGET", _key(whose), *(_COUNT + trace_id.bytes for trace_id in trace_ids)
    )
    return {str(trace_id) for trace_id, value in zip(trace_ids, values, strict=True) if value is not None}


async def _remove(whose: Whose, trace_ids: Collection[UUID] | None, client: redis.asyncio.Redis) -> None:
    if trace_ids is None:
        await client.delete(_key(whose))
    elif trace_ids:
        fields = (name + trace_id.bytes for trace_id in trace_ids for name in (_COUNT, _LAST))
        await _asked(client, "HDEL", _key(whose), *fields)


async def _asked(client: redis.asyncio.Redis, *command: object) -> Any:
    """Answers to a command whose method does not take bytes, as redis-py types it."""
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


def _key(whose: Whose) -> str:
    return f"{USERS}:{whose[0]}:{whose[1]}"


def _parts(recalls: Recalls) -> Iterator[Recalls]:
    items = list(recalls.items())
    for start in range(0, len(items), PART):
        yield dict(items[start : start + PART])
