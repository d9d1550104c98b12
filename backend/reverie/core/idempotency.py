"""Idempotency-Key: the same key and body get the same answer, however often they are sent."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import orjson
from fastapi import Request

from reverie.core import clock
from reverie.core.database import Database, WriteSession
from reverie.core.errors import Conflict, Invalid
from reverie.core.http import Json
from reverie.core.queries import Queries

SQL = Queries("reverie.core", "idempotency.sql")

KEPT = timedelta(hours=24)
LEASE = timedelta(minutes=5)
"""How long a request may run before another with its key may take over: longer than any answer takes."""


class Claim:
    """The right to answer for one key. Without a key it keeps nothing."""

    def __init__(self, space_id: UUID, key: str | None, until: datetime | None, answer: Json | None) -> None:
        self.answer = answer
        self._space_id = space_id
        self._key = key
        self._until = until

    async def keep(self, session: WriteSession, status: int, content: object) -> None:
        """Stores the answer in the transaction of the write itself.

        Raises:
            Conflict: the claim ran out and another request answers for this key.
        """
        if self._key is None or self._until is None:
            return
        body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
        if not await session.fetch(SQL["keep_answer"], (status, body, self._space_id, self._key, self._until)):
            raise Conflict("Another request with this Idempotency-Key has taken over.", field="Idempotency-Key")


class Idempotency:
    """The Idempotency-Key of one request, if it has one."""

    def __init__(self, database: Database, key: str | None, request_hash: bytes) -> None:
        self._database = database
        self._key = key
        self._hash = request_hash

    @asynccontextmanager
    async def claim(self, space_id: UUID) -> AsyncIterator[Claim]:
        """Claims the key, or finds the answer that was given before. A request that fails releases it.

        Raises:
            Invalid: the key was used with another body.
            Conflict: the first request with this key still runs.
        """
        if self._key is None:
            yield Claim(space_id, None, None, None)
            return
        claim, until = await self._claim(space_id, self._key)
        try:
            yield claim
        except BaseException:
            if until is not None:
                async with self._database.writing(space_id) as session:
                    await session.execute(SQL["release_key"], (space_id, self._key, until))
            raise

    async def _claim(self, space_id: UUID, key: str) -> tuple[Claim, datetime | None]:
        now = clock.now()
        async with self._database.writing(space_id) as session:
            claimed = await session.fetch_one(
                SQL["claim_key"], (space_id, key, self._hash, now + LEASE, now, now - KEPT)
            )
            found = None if claimed else await session.fetch_one(SQL["find_claim"], (space_id, key))
        if claimed:
            return Claim(space_id, key, claimed[0], None), claimed[0]
        if found is None or (found[0] == self._hash and found[1] is None):
            raise Conflict("The first request with this Idempotency-Key still runs.", field="Idempotency-Key")
        if found[0] != self._hash:
            raise Invalid("Idempotency-Key was used before with another body.", field="Idempotency-Key")
        return Claim(space_id, key, None, Json(orjson.loads(found[2]), found[1])), None


async def idempotency(request: Request) -> Idempotency:
    """A dependency; placed after the principal, since it reads the body."""
    key = request.headers.get("idempotency-key")
    database: Database = request.app.state.database
    if key is None:
        return Idempotency(database, None, b"")
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise Invalid("Idempotency-Key takes 1 to 255 printable characters.", field="Idempotency-Key")
    hashed = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    hashed.update(await request.body())
    return Idempotency(database, key, hashed.digest())


async def delete_old_keys(database: Database, now: datetime) -> None:
    """Forgets the answers that are older than :data:`KEPT`, of every space: as the owner, whom no policy binds."""
    async with database.maintenance() as connection:
        await connection.execute(SQL["delete_old_keys"], (now - KEPT,))
