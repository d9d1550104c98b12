"""The proof that something was forgotten."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base


class ForgetReceipt(Base):
    """What, when, why, and how many rows in each store; no content."""

    __tablename__ = "forget_receipt"
    __table_args__ = ({"info": WALLED},)

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    scope: Mapped[str]
    reason: Mapped[str | None]
    counts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
