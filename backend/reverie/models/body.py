"""The text of a trace, in weekly partitions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, SmallInt


class MemoryBody(Base):
    """What a trace says. ``lexemes`` holds the words and one lexeme that names the user; ``words`` is their number.

    Its GIN index stands on each partition, not here: tiers differ in their indexes.
    """

    __tablename__ = "memory_body"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "trace_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        {"postgresql_partition_by": "RANGE (trace_id)", "info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID] = mapped_column(primary_key=True)
    happened_at: Mapped[datetime]
    words: Mapped[int]
    kind: Mapped[SmallInt]
    content: Mapped[str]
    lexemes: Mapped[Any] = mapped_column(TSVECTOR, nullable=False)
