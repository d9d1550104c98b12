"""One memory: the thin row that everything else refers to."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, Real


class MemoryTrace(Base):
    """A trace. ``id`` is a uuid v7 of ``created_at``; ``identity`` is null for one that is never a duplicate.

    ``digest`` is the keyed hash of the content alone; ``vectors`` is false where the salience kept it from getting any;
    ``follows`` is the trace before it in its conversation, as its `next` edge says; ``asks`` is
    whether a question mark stands in it; ``supplied`` says that its vector is the caller's own, and never made
    here. ``provenance`` names the ``sources`` of one that was made of others. After ``expires_at`` it is forgotten.
    """

    __tablename__ = "memory_trace"
    __table_args__ = (
        CheckConstraint("kind IN ('turn', 'note', 'fact', 'chunk', 'summary', 'entity')", name="kind"),
        CheckConstraint("role IN ('user', 'assistant', 'system', 'tool')", name="role"),
        # Named with its WHERE in every ON CONFLICT: else a text remembered again after a forget is dropped in silence.
        Index("memory_trace_identity", "user_id", "identity", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("memory_trace_created", "user_id", "created_at"),
        Index("memory_trace_happened", "user_id", "happened_at"),
        Index("memory_trace_salience", "user_id", "salience"),
        Index("memory_trace_expires", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
        Index(
            "memory_trace_conversation",
            "user_id",
            "conversation_id",
            "id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        Index("memory_trace_derived", "user_id", "id", postgresql_where=text("provenance ? 'sources'")),
        Index("memory_trace_entity", "user_id", "id", postgresql_where=text("kind = 'entity'")),
        # A profile begins with the newest, and looks at what was changed last.
        Index("memory_trace_fact", "user_id", "happened_at", postgresql_where=text("kind = 'fact'")),
        Index("memory_trace_changed", "user_id", "updated_at", postgresql_where=text("updated_at IS NOT NULL")),
        Index(
            "memory_trace_meta",
            "meta",
            postgresql_using="gin",
            postgresql_ops={"meta": "jsonb_path_ops"},
            postgresql_with={"gin_pending_list_limit": 128},
        ),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    role: Mapped[str | None]
    speaker: Mapped[str | None]
    conversation_id: Mapped[str | None]
    external_id: Mapped[str | None]
    language: Mapped[str]
    length: Mapped[int]
    created_at: Mapped[datetime]
    occurred_at: Mapped[datetime | None]
    happened_at: Mapped[datetime] = mapped_column(Computed("COALESCE(occurred_at, created_at)", persisted=True))
    salience: Mapped[Real]
    salience_given: Mapped[bool]
    pinned: Mapped[bool] = mapped_column(server_default=text("false"))
    identity: Mapped[bytes | None]
    digest: Mapped[bytes]
    vectors: Mapped[bool]
    source: Mapped[dict[str, Any] | None]
    meta: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    provenance: Mapped[dict[str, Any] | None]
    updated_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    follows: Mapped[UUID | None]
    asks: Mapped[bool] = mapped_column(server_default=text("false"))
    supplied: Mapped[bool] = mapped_column(server_default=text("false"))
    expires_at: Mapped[datetime | None]
