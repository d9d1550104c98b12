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
from sqlalchemy.dialects.postgresql import BIT
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, BigInt, SmallInt


class Model(Base):
    """An embedding model at one dimension and precision. At most one is active: the one that questions are asked of.

    ``heads`` are those that the store was filled with, or will be by operations that are accepted. ``wanted``: what is
    written is to have its vectors, at once or by an operation. That is the active one, and for a moment before it
    becomes active the next one.
    """

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
    heads: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    wanted: Mapped[bool] = mapped_column(server_default=text("false"))


class Reembedding(Base):
    """How far the vectors of a model have come that are being made, or removed. There is no row once that is done.

    Attributes:
        state: being made in three passes over all traces, or dropped.
        traces: how many of about ``total`` the pass has looked at, up to (``after_user``, ``after_trace``).
        made: traces that got their vectors; ``refused``: those whose text the model did not take.
        seen_at: when it last went on.
    """

    __tablename__ = "reembedding"
    __table_args__ = (
        CheckConstraint("state IN ('filling', 'catching up', 'closing', 'dropping')", name="state"),
        ForeignKeyConstraint(["model_id"], ["model.id"], ondelete="CASCADE"),
    )

    model_id: Mapped[SmallInt] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    traces: Mapped[BigInt] = mapped_column(server_default=text("0"))
    total: Mapped[BigInt] = mapped_column(server_default=text("0"))
    made: Mapped[BigInt] = mapped_column(server_default=text("0"))
    refused: Mapped[BigInt] = mapped_column(server_default=text("0"))
    after_user: Mapped[UUID | None]
    after_trace: Mapped[UUID | None]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class MemoryEmbedding(Base):
    """One piece of a trace as one model sees it through one head: halfvec at fp16, vector at fp32; where it is warm
    ``codes`` in place of both (:mod:`reverie.embedding.codes`).

    Pieces from 1 on are the characters of the content from ``begins`` up to but without ``ends``; piece 0 is the
    beginning or the whole.

    These columns are STORAGE PLAIN and without a dimension, for each model has its own; the indexes stand on each
    partition and name the model as a literal. ``bits`` are the signs of the vector (pgvector's ``binary_quantize``); a
    row that is older than the column has none until an index over its partition's bits pays. Codes always have theirs.
    """

    __tablename__ = "memory_embedding"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "trace_id", "head", "model_id", "piece"),
        ForeignKeyConstraint(["user_id", "trace_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        CheckConstraint("num_nonnulls(vec, vec_fp32, codes) = 1", name="one_vector"),
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
    bits: Mapped[Any | None] = mapped_column(BIT(varying=True))
    begins: Mapped[int | None]
    ends: Mapped[int | None]
    codes: Mapped[bytes | None]
