"""Work that was accepted: the row is the job. And the answers that were given to an Idempotency-Key."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base


class Operation(Base):
    """A piece of background work. Read before the space is known, by the sweeper, so without row-level security."""

    __tablename__ = "operation"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'running', 'done', 'failed')", name="state"),
        Index("operation_open", "created_at", postgresql_where=text("state IN ('pending', 'running')")),
        Index("operation_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("operation_running", "lease_until", postgresql_where=text("state = 'running'")),
        Index("operation_failed", "space_id", "finished_at", postgresql_where=text("state = 'failed'")),
        Index("operation_user", "user_id", postgresql_where=text("user_id IS NOT NULL")),
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": 0.02}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    space_id: Mapped[UUID] = mapped_column(ForeignKey("space.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[UUID | None]
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    payload: Mapped[dict[str, Any] | None]
    trace_ids: Mapped[list[UUID]] = mapped_column(server_default=text("'{}'::uuid[]"))
    result: Mapped[dict[str, Any] | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    error: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """What a request with this key was answered; without one it still runs, or its process died.

    A request that runs goes on moving ``locked_until``; when that has passed, another may take over. ``user_id``: whose
    traces the answer names.
    """

    __tablename__ = "idempotency_key"
    __table_args__ = (
        Index("idempotency_key_created", "created_at"),
        Index("idempotency_key_user", "user_id", postgresql_where=text("user_id IS NOT NULL")),
        {"info": WALLED},
    )

    space_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes]
    status: Mapped[int | None]
    response: Mapped[bytes | None]
    user_id: Mapped[UUID | None]
    locked_until: Mapped[datetime]
    created_at: Mapped[datetime]
