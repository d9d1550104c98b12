"""SQL of keys and spaces."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from reverie.auth.secrets import NewKey
from reverie.core.database import ReadSession, Row, WriteSession
from reverie.core.queries import Queries

SQL = Queries("reverie.auth")


async def find_key(session: ReadSession, digest: bytes) -> Row | None:
    """(key id, space id, scopes, identity key) of a key that is not revoked."""
    return await session.fetch_one(SQL["find_key"], (digest,))


async def insert_space(session: WriteSession, space_id: UUID, name: str, identity_key: bytes, now: datetime) -> None:
    """Adds a space unless one of this name is there."""
    await session.execute(SQL["insert_space"], (space_id, name, identity_key, now))


async def find_space(session: ReadSession, name: str) -> UUID | None:
    """The id of the space of this name."""
    row = await session.fetch_one(SQL["find_space"], (name,))
    return row[0] if row else None


async def identity_key(session: ReadSession, name: str) -> bytes:
    """The key of the hashes of a space that is there."""
    row = await session.fetch_one(SQL["find_space"], (name,))
    assert row is not None  # noqa: S101 - spaces do not go
    return bytes(row[1])


async def insert_key(
    session: WriteSession, key_id: UUID, space_id: UUID, name: str, key: NewKey, scopes: Sequence[str], now: datetime
) -> None:
    """Adds a key to a space."""
    await session.execute(SQL["insert_key"], (key_id, space_id, name, key.prefix, key.digest, list(scopes), now))


async def list_keys(session: ReadSession, space_id: UUID, before: UUID | None, limit: int) -> list[Row]:
    """Keys of a space, newest first: (id, name, prefix, scopes, created_at, revoked_at)."""
    return await session.fetch(SQL["list_keys"], (space_id, before, before, limit))


async def revoke_key(session: WriteSession, space_id: UUID, key_id: UUID, now: datetime) -> bytes | None:
    """Revokes a key; its digest, or None when the space has no such key."""
    row = await session.fetch_one(SQL["revoke_key"], (now, space_id, key_id))
    return row[0] if row else None
