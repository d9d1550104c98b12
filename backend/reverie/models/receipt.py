"""The proof that something was forgotten, and what keeps it so."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, BigInt


class ForgetReceipt(Base):
    """What, when, why, and how many rows in each store; no content.

    ``state`` running: invisible already, and still being removed. ``wal``: the byte at which PostgreSQL's log
    stood when all was done; what lies before it may hold what was forgotten.
    """

    __tablename__ = "forget_receipt"
    __table_args__ = (CheckConstraint("state IN ('running', 'done')", name="state"), {"info": WALLED})

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    scope: Mapped[str]
    reason: Mapped[str | None]
    counts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(server_default=text("'done'"))
    finished_at: Mapped[datetime | None]
    wal: Mapped[BigInt | None]


class Tombstone(Base):
    """A forgotten trace.

    ``hash``: a keyed hash of its identity, by which it is refused when it comes again; null where it has none (a short
    turn of no time), and after somebody has remembered it all the same.
    """

    __tablename__ = "tombstone"
    __table_args__ = (
        Index("tombstone_hash", "user_id", "hash", postgresql_where=text("hash IS NOT NULL")),
        Index("tombstone_receipt", "user_id", "receipt_id", "trace_id"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID] = mapped_column(primary_key=True)
    receipt_id: Mapped[UUID]
    hash: Mapped[bytes | None]
    created_at: Mapped[datetime]


class Rebuild(Base):
    """A derived trace that is to be made anew of ``sources``, since one of them was changed, or forgotten with it."""

    __tablename__ = "rebuild"
    __table_args__ = (CheckConstraint("reason IN ('forgotten', 'changed')", name="reason"), {"info": WALLED})

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID] = mapped_column(primary_key=True)
    reason: Mapped[str]
    kind: Mapped[str]
    identity: Mapped[bytes | None]
    sources: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    created_at: Mapped[datetime]


class StoreSecret(Base):
    """The fingerprint of a REVERIE_SECRET_KEY that tombstones of this store were made with."""

    __tablename__ = "store_secret"

    fingerprint: Mapped[bytes] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
