"""Which partitions there are, where they live, and how they are moved."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import Base


class MemoryPartition(Base):
    """A partition of ``memory_body`` or ``memory_embedding``: its range of ids (upper exclusive) and its tier."""

    __tablename__ = "memory_partition"
    __table_args__ = (
        CheckConstraint("tier IN ('hot', 'warm', 'cold')", name="tier"),
        CheckConstraint("lower < upper", name="range"),
        Index("memory_partition_range", "parent", "lower", unique=True),
    )

    table_name: Mapped[str] = mapped_column(primary_key=True)
    parent: Mapped[str]
    lower: Mapped[UUID]
    upper: Mapped[UUID]
    tier: Mapped[str] = mapped_column(server_default=text("'hot'"))


class TierChange(Base):
    """A trace whose rows in a partition were changed while that was being moved. It has no key: it is a log."""

    __tablename__ = "tier_change"
    __table_args__ = (Index("tier_change_table", "table_name"),)
    __mapper_args__ = {"primary_key": ["table_name", "user_id", "trace_id"]}  # noqa: RUF012 - as SQLAlchemy reads it

    table_name: Mapped[str]
    user_id: Mapped[UUID]
    trace_id: Mapped[UUID]


class TierControl(Base):
    """The one row by which runs are paused; ``announced_at``: since when processes look at warm rows too."""

    __tablename__ = "tier_control"
    __table_args__ = (CheckConstraint("id", name="id"),)

    id: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    announced_at: Mapped[datetime | None]


class TierRun(Base):
    """One run over the tiers: what it moved, in ``report`` (counts, bytes and seconds; no text)."""

    __tablename__ = "tier_run"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'paused', 'done', 'failed')", name="state"),
        Index("tier_run_started", "started_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    as_of: Mapped[datetime]
    state: Mapped[str]
    report: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    error: Mapped[str | None]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
