"""The wall between customers, and the keys that open one side of it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import Base


class Space(Base):
    """A customer's own store. ``identity_key`` keys the hashes by which its traces are recognised."""

    __tablename__ = "space"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    identity_key: Mapped[bytes] = mapped_column(
        server_default=text("(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))")
    )
    created_at: Mapped[datetime]


class ApiKey(Base):
    """An API key of one space; ``hash`` is the SHA-256 of the key, which itself is kept nowhere."""

    __tablename__ = "api_key"
    __table_args__ = (
        UniqueConstraint("hash"),
        CheckConstraint("scopes <@ ARRAY['read', 'write', 'admin']::text[]", name="scopes"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    space_id: Mapped[UUID] = mapped_column(ForeignKey("space.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    hash: Mapped[bytes]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
