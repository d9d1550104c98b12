"""Keys and spaces: making, listing, revoking, and telling who is asking."""

import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from reverie.auth import repository
from reverie.auth.principal import SCOPES, Principal
from reverie.auth.schemas import KeyOut, NewKeyOut
from reverie.auth.secrets import digest, make_key
from reverie.core import clock
from reverie.core.database import Database, WriteSession
from reverie.core.errors import NotFound, Unauthorized
from reverie.core.ids import uuid7

DEFAULT_SPACE = "default"


class KeyService:
    """The keys of a store.

    A principal is remembered for :data:`REMEMBERED` seconds, so a key that another process revoked works at most that
    much longer; one revoked here ends at once.
    """

    REMEMBERED = 2.0
    MOST_REMEMBERED = 10_000

    def __init__(self, database: Database) -> None:
        self._database = database
        self._principals: dict[bytes, tuple[float, Principal]] = {}

    async def authenticate(self, text: str | None) -> Principal:
        """The principal behind a key.

        Raises:
            Unauthorized: no key, or none that is known and not revoked.
        """
        if not text:
            raise Unauthorized("Send a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        hashed = digest(text)
        known = self._principals.get(hashed)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        async with self._database.reading(None) as session:
            row = await repository.find_key(session, hashed)
        if row is None:
            self._principals.pop(hashed, None)
            raise Unauthorized("The key is not known or was revoked.")
        principal = Principal(row[0], row[1], frozenset(row[2]), bytes(row[3]))
        if len(self._principals) >= self.MOST_REMEMBERED:
            self._principals.clear()
        self._principals[hashed] = (time.monotonic() + self.REMEMBERED, principal)
        return principal

    def last_known(self, text: str | None) -> Principal | None:
        """Whom this process last knew by a key, however long ago: for looking at a store that cannot be asked."""
        known = self._principals.get(digest(text)) if text else None
        return known[1] if known is not None else None

    async def ensure_space(self, name: str) -> UUID:
        """The id of the space called ``name``, made if there is none."""
        async with self._database.writing(None) as session:
            await repository.insert_space(session, uuid7(clock.now()), name, secrets.token_bytes(32), clock.now())
            space_id = await repository.find_space(session, name)
        assert space_id is not None  # noqa: S101 - inserted above
        return space_id

    async def of_space(self, name: str) -> Principal:
        """Whoever works on the store itself, in the space called ``name``; it is made if there is none."""
        space_id = await self.ensure_space(name)
        async with self._database.reading(None) as session:
            key = await repository.identity_key(session, name)
        return Principal(space_id, space_id, frozenset({"read", "write"}), key)

    async def space(self, name: str) -> UUID:
        """The id of the space called ``name``.

        Raises:
            NotFound: there is none.
        """
        async with self._database.reading(None) as session:
            space_id = await repository.find_space(session, name)
        if space_id is None:
            raise NotFound(f"There is no space {name!r}; `reverie key create` with --space makes one.")
        return space_id

    async def create(self, space_id: UUID, name: str, scopes: Sequence[str]) -> NewKeyOut:
        """Makes a key; its text is in the answer and nowhere else."""
        async with self._database.writing(None) as session:
            return await self.create_in(session, space_id, name, scopes)

    async def create_in(self, session: WriteSession, space_id: UUID, name: str, scopes: Sequence[str]) -> NewKeyOut:
        """:meth:`create` within a transaction that is open already."""
        now, key = clock.now(), make_key()
        key_id = uuid7(now)
        ordered = [scope for scope in SCOPES if scope in scopes]
        await repository.insert_key(session, key_id, space_id, name, key, ordered, now)
        return NewKeyOut(
            id=key_id, name=name, prefix=key.prefix, scopes=ordered, created_at=now, revoked_at=None, key=key.text
        )

    async def page(self, space_id: UUID, before: UUID | None, limit: int) -> list[KeyOut]:
        """Keys of a space, newest first, without their text."""
        async with self._database.reading(None) as session:
            rows = await repository.list_keys(session, space_id, before, limit)
        return [
            KeyOut(id=row[0], name=row[1], prefix=row[2], scopes=row[3], created_at=row[4], revoked_at=row[5])
            for row in rows
        ]

    async def revoke(self, space_id: UUID, key_id: UUID, *, now: datetime | None = None) -> None:
        """Ends a key.

        Raises:
            NotFound: the space has no key of this id.
        """
        async with self._database.writing(None) as session:
            hashed = await repository.revoke_key(session, space_id, key_id, now or clock.now())
        if hashed is None:
            raise NotFound(f"There is no key {key_id}.")
        self._principals.pop(bytes(hashed), None)
