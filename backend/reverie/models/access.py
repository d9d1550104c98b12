"""How often a trace was recalled."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base


class MemoryAccess(Base):
    """The recalls of a trace that were counted in Redis and brought here in batches; without one it was never recalled.

    It is no part of what a trace says: writing it raises no version.
    """

    __tablename__ = "memory_access"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "trace_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID] = mapped_column(primary_key=True)
    recalls: Mapped[int]
    last_at: Mapped[datetime]
