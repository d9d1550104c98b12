"""What recall's planner knows of large users: the indexes that hold their vectors, and what was measured of them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, DateTime, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import Base, BigInt, Real, SmallInt


class MemoryIndex(Base):
    """One user's vectors of one head in one partition, as an index holds them; small users have no row.

    ``method`` bits: the index is the partition's, and the row says how large the user is in it. ``method`` hnsw: the
    index is the user's own, over the ids from ``lower`` to ``upper`` (exclusive). ``rows``: how many it holds of the
    user. ``looks``: how many candidates of bits are rescored, or ef_search. ``recall``: the share of the exact top ten
    that a sample of questions then found. ``kinds``: the rows of each kind, in the order of their codes; ``moments``:
    when they happened, in quantiles of one width from the first to the last.

    Behind no wall: it holds no memory, and belongs to no space.
    """

    __tablename__ = "memory_index"
    __table_args__ = (
        CheckConstraint("method IN ('bits', 'hnsw')", name="method"),
        CheckConstraint("lower < upper", name="range"),
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    table_name: Mapped[str] = mapped_column(
        ForeignKey("memory_partition.table_name", ondelete="CASCADE"), primary_key=True
    )
    model_id: Mapped[SmallInt] = mapped_column(ForeignKey("model.id", ondelete="CASCADE"), primary_key=True)
    head: Mapped[SmallInt] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(primary_key=True)
    lower: Mapped[UUID] = mapped_column(primary_key=True)
    upper: Mapped[UUID]
    index_name: Mapped[str]
    rows: Mapped[BigInt]
    looks: Mapped[int]
    recall: Mapped[Real]
    kinds: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    moments: Mapped[list[datetime]] = mapped_column(ARRAY(DateTime(timezone=True)))
    built_at: Mapped[datetime]
