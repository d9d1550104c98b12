"""The links between traces."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, Real


class MemoryEdge(Base):
    """A typed, weighted link from ``src`` to ``dst``, two traces of one user."""

    __tablename__ = "memory_edge"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "src"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["user_id", "dst"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        Index("memory_edge_dst", "user_id", "dst"),
        # What leads to somebody who is mentioned very often.
        Index("memory_edge_apart", "user_id", "dst", postgresql_where=text("type <> 'mentions'")),
        # Triples: by which those of a source are found.
        Index("memory_edge_sourced", "user_id", "src", postgresql_where=text("meta ? 'sources'")),
        # Recall looks up what takes the place of its results.
        Index(
            "memory_edge_superseded",
            "user_id",
            "dst",
            postgresql_include=["src"],
            postgresql_where=text("type = 'supersedes'"),
        ),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    src: Mapped[UUID] = mapped_column(primary_key=True)
    dst: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(primary_key=True)
    weight: Mapped[Real] = mapped_column(server_default=text("1"))
    ts: Mapped[datetime]
    meta: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
