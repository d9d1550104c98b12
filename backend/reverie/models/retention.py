"""What is forgotten by itself."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, Real


class Retention(Base):
    """How long a space keeps traces, and how many; null where the settings of the service hold."""

    __tablename__ = "retention"
    __table_args__ = ({"info": WALLED},)

    space_id: Mapped[UUID] = mapped_column(ForeignKey("space.id", ondelete="CASCADE"), primary_key=True)
    ttl_days: Mapped[int | None]
    max_traces_per_user: Mapped[int | None]
    salience_floor: Mapped[Real | None]
    updated_at: Mapped[datetime]
