"""What an admin has set while the service ran."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import Base


class AiSettings(Base):
    """The models of the whole store, a row for each time they were saved: nothing is changed, nothing removed.

    What is null comes from the environment; an empty URL or model is none at all. Keys are encrypted by
    REVERIE_SECRET_KEY.

    Attributes:
        saved_by: the API key of whoever saved it; the row stays when the key goes.
        changed: the fields in which it differs from the version before.
        restored: the version that it brought back, if it did.
        operation_id: the operation that brings the store over to its embedding model, if that was another one.
    """

    __tablename__ = "ai_settings"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("embedding_precision IN ('fp16', 'fp32')", name="precision"),
    )

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    saved_at: Mapped[datetime]
    saved_by: Mapped[UUID | None]
    changed: Mapped[list[str]]
    restored: Mapped[int | None]
    operation_id: Mapped[UUID | None]
    language_model_url: Mapped[str | None]
    language_model: Mapped[str | None]
    language_model_api_key: Mapped[bytes | None]
    language_model_max_tokens_per_night: Mapped[int | None]
    embedding_model: Mapped[str | None]
    embedding_dim: Mapped[int | None]
    embedding_precision: Mapped[str | None]
    embedding_url: Mapped[str | None]
    embedding_api_key: Mapped[bytes | None]
    rerank_model: Mapped[str | None]
    rerank_url: Mapped[str | None]
    rerank_api_key: Mapped[bytes | None]
