"""Idempotency-Key: the same key and body get the same answer, however often they are sent."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from fastapi import Request

from reverie.core import clock
from reverie.core.database import Database, WriteSession
from reverie.core.errors import Conflict, Invalid
from reverie.core.http import Json
from reverie.core.outages import PASSING
from reverie.core.queries import Queries

SQL = Queries("reverie.core", "idempotency.sql")

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=10)
"""How long a key stays claimed after its process died. While the request runs, its claim is extended."""

BESIDE: Final = frozenset({"suggestions", "reasons", "entities"})
"""Lists of objects in an answer about a trace that tell of others."""

log = structlog.get_logger(__name__)


class Claim:
    """The right to answer for one key. Without a key it keeps nothing."""

    def __init__(self, space_id: UUID, key: str | None, since: datetime | None, answer: Json | None) -> None:
        self.answer = answer
        self._space_id = space_id
        self._key = key
        self._since = since

    async def keep(self, session: WriteSession, status: int, content: object, user_id: UUID | None = None) -> None:
        """Stores the answer in the transaction of the write itself; ``user_id``: whose traces it names.

        Raises:
            Conflict: the claim ran out and another request answers for this key.
        """
        if self._key is None or self._since is None:
            return
        body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
        if not await session.fetch(SQL["keep_answer"], (status, body, user_id, self._space_id, self._key, self._since)):
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
        claim, since = await self._claim(space_id, self._key)
        if since is None:
            yield claim
            return
        keeper = asyncio.create_task(self._keep(space_id, self._key, since))
        try:
            yield claim
        except BaseException:
            await self._release(space_id, self._key, since)
            raise
        finally:
            keeper.cancel()

    async def _keep(self, space_id: UUID, key: str, since: datetime) -> None:
        """Extends the claim while the request runs."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                async with self._database.writing(space_id) as session:
                    await session.execute(SQL["extend_claim"], (clock.now() + LEASE, space_id, key, since))
            except PASSING as error:
                log.warning("claim not extended", error=type(error).__name__)

    async def _release(self, space_id: UUID, key: str, since: datetime) -> None:
        """Lets others have the key, as soon as PostgreSQL takes that; an answer that was kept after all stays."""

        async def release() -> None:
            async with self._database.writing(space_id) as session:
                await session.execute(SQL["release_key"], (space_id, key, since))

        try:
            await release()
        except PASSING:
            self._database.eventually(release, LEASE)

    async def _claim(self, space_id: UUID, key: str) -> tuple[Claim, datetime | None]:
        now = clock.now()
        until = now + LEASE
        async with self._database.writing(space_id) as session:
            claimed = await session.fetch_one(
                SQL["claim_key"], (space_id, key, self._hash, until, now, now - KEPT, until + clock.SKEW)
            )
            found = None if claimed else await session.fetch_one(SQL["find_claim"], (space_id, key))
        if claimed:
            return Claim(space_id, key, claimed[0], None), claimed[0]
        if found is None or (found[0] == self._hash and found[1] is None):
            raise Conflict(
                "The first request with this Idempotency-Key still runs.",
                field="Idempotency-Key",
                headers={"Retry-After": "1"},
            )
        if found[0] != self._hash:
            raise Invalid("Idempotency-Key was used before with another body.", field="Idempotency-Key")
        return Claim(space_id, key, None, Json(orjson.loads(found[2]), found[1])), None


async def redact(
    session: WriteSession, user_id: UUID, trace_ids: Collection[UUID], instead: Mapping[str, object]
) -> int:
    """Takes traces of a user out of the answers that are kept; how many answers named any.

    Who repeats a request is answered with ``instead`` in the place of what it said of them, and nothing is done again;
    of lists that tell of other traces (:data:`BESIDE`), what they say of those that go is left out.
    """
    gone, changed = {str(one) for one in trace_ids}, 0
    for space_id, key, response in await session.fetch(SQL["answers_of"], (user_id,)):
        answer = orjson.loads(response)
        if _redacted(answer, gone, instead):
            changed += 1
            body = orjson.dumps(answer, option=orjson.OPT_UTC_Z)
            await session.execute(SQL["change_answer"], (body, space_id, key, user_id))
    return changed


def _redacted(part: object, gone: Collection[str], instead: Mapping[str, object]) -> bool:
    """Whether anything below was changed: objects that say something of a trace."""
    left_out = isinstance(part, dict) and _left_out(part, gone)
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    changed = [_redacted(child, gone, instead) for child in children]
    if isinstance(part, dict) and _names(part, gone):
        part.update({name: instead.get(name) for name in part if name in instead})
        return True
    return left_out or any(changed)


def _names(part: Mapping[str, object], gone: Collection[str]) -> bool:
    """Whether an object says something of a trace that goes, or of an edge from or to one."""
    named = (part.get(name) for name in ("trace_id", "src", "dst"))
    return any(isinstance(one, str) and one in gone for one in named)


def _tells_of(one: Mapping[str, Any], gone: Collection[str]) -> bool:
    return _names(one, gone) or _names(one.get("edge") or {}, gone)


def _left_out(part: dict[str, Any], gone: Collection[str]) -> bool:
    """Whether anything was left out of the lists of an object that tell of other traces."""
    found = False
    for name in BESIDE & part.keys():
        if isinstance(part[name], list):
            kept = [one for one in part[name] if not (isinstance(one, dict) and _tells_of(one, gone))]
            found = found or len(kept) < len(part[name])
            part[name] = kept
    return found


async def idempotency(request: Request) -> Idempotency:
    """A dependency; placed after the principal, since it reads the body."""
    key = request.headers.get("idempotency-key")
    database: Database = request.app.state.database
    if key is None:
        return Idempotency(database, None, b"")
    if not 1 <= len(key) <= 255 or not (key.isascii() and key.isprintable()):
        raise Invalid("Idempotency-Key takes 1 to 255 printable ASCII characters.", field="Idempotency-Key")
    # Not request.url: that cannot be made of every Host header.
    hashed = hashlib.sha256(f"{request.method} {request.scope['path']}?".encode("utf-8", "surrogatepass"))
    hashed.update(request.scope["query_string"] + b"\n")
    hashed.update(await request.body())
    return Idempotency(database, key, hashed.digest())


async def delete_old_keys(database: Database, now: datetime) -> None:
    """Forgets the answers that are older than :data:`KEPT`, of every space: as the owner, whom no policy binds."""
    async with database.maintenance() as connection:
        await connection.execute(SQL["delete_old_keys"], (now - KEPT,))
