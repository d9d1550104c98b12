"""Which partitions there are, and where they live."""

from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
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
