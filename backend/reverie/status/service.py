"""Looking at the parts of the service."""

import asyncio
import time

import psycopg
from psycopg_pool import PoolTimeout

from reverie.core.database import Database
from reverie.core.outages import Trouble, trouble_of
from reverie.core.redis import Redis
from reverie.embedding.encoder import Encoder
from reverie.embedding.protocol import EmbeddingError
from reverie.memories.model import SETTINGS, Model
from reverie.status import repository
from reverie.status.schemas import Part, Ready

PATIENCE = 3.0
"""Seconds that a part may take to answer."""


class StatusService:
    """What is up and what is down."""

    KEPT = 2.0
    """Seconds for which an answer holds: nobody needs a key to ask, and every look is a text for the encoder."""

    def __init__(self, database: Database, redis: Redis, encoder: Encoder, model: Model) -> None:
        self._database = database
        self._redis = redis
        self._encoder = encoder
        self._model = model
        self._superseded: Model | None = None
        self._alone = asyncio.Lock()
        self._last: tuple[float, Ready] | None = None

    async def ready(self) -> Ready:
        """What is up, as it was seen less than KEPT seconds ago; who asks at once waits for one look."""
        async with self._alone:
            if self._last is None or time.monotonic() - self._last[0] >= self.KEPT:
                found = await self._look()
                self._last = (time.monotonic(), found)
            return self._last[1]

    async def _look(self) -> Ready:
        """Asks every part; PostgreSQL is needed, without Redis and the encoder the service goes on degraded."""
        postgresql, redis, encoder = await asyncio.gather(self._postgresql(), self._redis_part(), self._encoder_part())
        if encoder.detail is None and self._superseded is not None:
            encoder = encoder.model_copy(update={"detail": self._outdated(self._superseded)})
        parts = {"postgresql": postgresql, "redis": redis, "encoder": encoder}
        if any(part.needed and part.status == "down" for part in parts.values()):
            return Ready(status="unready", parts=parts)
        up = all(part.status == "up" and part.detail is None for part in parts.values())
        return Ready(status="ready" if up else "degraded", parts=parts)

    async def _postgresql(self) -> Part:
        try:
            async with asyncio.timeout(PATIENCE), self._database.reading(None) as session:
                active = await repository.active_model(session)
        except (psycopg.Error, TimeoutError) as error:
            if isinstance(error, PoolTimeout | TimeoutError) and await self._lets_us_in():
                detail = "PostgreSQL is busy: every connection is in use (DATABASE_POOL_SIZE); try again shortly."
            else:
                detail = _said(trouble_of(error))
            return Part(status="down", needed=True, detail=detail)
        self._superseded = active if active is not None and active.id != self._model.id else None
        # It answers, and may still refuse to store anything: what was remembered can be recalled.
        trouble = self._database.refuses_writes
        return Part(status="up", needed=True, detail=_said(trouble) if trouble else None)

    def _outdated(self, active: Model) -> str:
        return (
            f"This process serves with {self._model.name}, and the store has gone over to {active}: set {SETTINGS} to "
            "that and restart it; until then it finds what others remember by its words alone."
        )

    async def _lets_us_in(self) -> bool:
        """Whether PostgreSQL answers on a connection beside the pool."""
        try:
            async with asyncio.timeout(PATIENCE), self._database.maintenance() as connection:
                await connection.execute("SELECT 1")
        except (psycopg.Error, TimeoutError):
            return False
        return True

    async def _redis_part(self) -> Part:
        if await self._redis.ping():
            return Part(status="up", needed=False)
        detail = "Redis does not answer: no focus, and jobs wait for the sweeper. Look at REDIS_URL."
        return Part(status="down", needed=False, detail=detail)

    async def _encoder_part(self) -> Part:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._encoder.probe()
        except (EmbeddingError, TimeoutError):
            detail = "The embedding model does not answer: recall goes by words, and vectors are made later."
            return Part(status="down", needed=False, detail=detail)
        return Part(status="up", needed=False)


def _said(trouble: Trouble) -> str:
    return f"{trouble.what}: {trouble.look}."
