"""The vectors of a trace, in weekly partitions, and the models that made them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, SmallInt


class Model(Base):
    """An embedding model at one dimension and precision. At most one is active: the one that questions are asked of."""

    __tablename__ = "model"
    __table_args__ = (
        UniqueConstraint("name", "dim", "precision"),
        CheckConstraint("precision IN ('fp16', 'fp32')", name="precision"),
        CheckConstraint("dim BETWEEN 1 AND 4000", name="dim"),
        Index("model_active", "active", unique=True, postgresql_where=text("active")),
    )

    id: Mapped[SmallInt] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str]
    dim: Mapped[int]
    precision: Mapped[str]
    active: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime]


class MemoryEmbedding(Base):
    """One piece of a trace as one model sees it through one head: halfvec at fp16, vector at fp32.

    Both columns are STORAGE PLAIN and without a dimension, for each model has its own; the indexes stand on each
    partition and name the model as a literal.
    """

    __tablename__ = "memory_embedding"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "trace_id", "head", "model_id", "piece"),
        ForeignKeyConstraint(["user_id", "trace_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        CheckConstraint("num_nonnulls(vec, vec_fp32) = 1", name="one_vector"),
        {"postgresql_partition_by": "RANGE (trace_id)", "info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID]
    trace_id: Mapped[UUID]
    happened_at: Mapped[datetime]
    piece: Mapped[int]
    head: Mapped[SmallInt]
    model_id: Mapped[SmallInt]
    kind: Mapped[SmallInt]
    vec: Mapped[Any | None] = mapped_column(HALFVEC)
    vec_fp32: Mapped[Any | None] = mapped_column(VECTOR)
