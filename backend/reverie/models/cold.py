"""What lies on object storage, and what of it stays here."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, BigInt, SmallInt


class ColdSegment(Base):
    """A Parquet file: the traces of some users of one space that were remembered in one month, ordered by user.

    Attributes:
        state: written and verified, or visible: only then is it read.
        checksum: SHA-256 of the file; ``bytes``, ``rows`` and ``traces`` count what is in it.
        first_user: with ``last_user`` (inclusive), ``lower`` and ``upper`` (ids, exclusive): whose traces it may hold.
        damage: what was wrong with it when it was last looked at (``checked_at``).
    """

    __tablename__ = "cold_segment"
    __table_args__ = (
        CheckConstraint("state IN ('written', 'visible')", name="state"),
        CheckConstraint("lower < upper AND first_user <= last_user", name="range"),
        Index("cold_segment_space", "space_id", "month"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID] = mapped_column(ForeignKey("space.id", ondelete="CASCADE"))
    id: Mapped[UUID] = mapped_column(primary_key=True)
    month: Mapped[date]
    model_id: Mapped[SmallInt]
    state: Mapped[str]
    path: Mapped[str]
    checksum: Mapped[bytes]
    bytes: Mapped[BigInt]
    traces: Mapped[BigInt]
    rows: Mapped[BigInt]
    first_user: Mapped[UUID]
    last_user: Mapped[UUID]
    lower: Mapped[UUID]
    upper: Mapped[UUID]
    created_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    damage: Mapped[str | None]


class MemoryDigest(Base):
    """What stays of a trace whose text and vectors are in a segment; the hash of its text is ``memory_trace.digest``.

    ``sentence``: its first words; ``minhash``: of its words, to tell what says nearly the same; ``words``: how many
    different ones, as ``memory_user.words`` counts them. A trigger notes for each row that goes that its file is to be
    written anew without the trace (:class:`ColdRemoval`). Until ``thawed_until``
    its text and vectors are back, and the segment is not read for it.
    """

    __tablename__ = "memory_digest"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "trace_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        Index("memory_digest_thawed", "thawed_until", postgresql_where=text("thawed_until IS NOT NULL")),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID] = mapped_column(primary_key=True)
    segment_id: Mapped[UUID]
    thawed_until: Mapped[datetime | None]
    sentence: Mapped[str]
    minhash: Mapped[bytes]
    words: Mapped[int]


class ColdRemoval(Base):
    """A trace that a segment still holds and must not: forgotten or changed. The file is written anew without it."""

    __tablename__ = "cold_removal"
    __table_args__ = (Index("cold_removal_segment", "segment_id"), {"info": WALLED})

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID] = mapped_column(primary_key=True)
    segment_id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class ColdGarbage(Base):
    """An object that no segment names (yet, or any more): it is deleted. Noted before it is written or left behind."""

    __tablename__ = "cold_garbage"

    path: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
