"""What is not to be suggested again."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base


class MemoryDismissal(Base):
    """Two traces that a person does not want suggested to one another; the lesser id stands first."""

    __tablename__ = "memory_dismissal"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "trace_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["user_id", "other_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        CheckConstraint("trace_id < other_id", name="ordered"),
        # A trace that goes takes its pairs along.
        Index("memory_dismissal_other", "user_id", "other_id"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID] = mapped_column(primary_key=True)
    other_id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
