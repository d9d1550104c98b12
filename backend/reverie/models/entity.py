"""By which names an entity is found."""

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base


class EntityName(Base):
    """Another name of an entity, as the keyed hash by which an entity of that name would be recognised; no text.

    ``by_hand``: a person said whose name it is, and no night gives it to another.
    """

    __tablename__ = "entity_name"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "entity_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        Index("entity_name_entity", "user_id", "entity_id"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    hash: Mapped[bytes] = mapped_column(primary_key=True)
    entity_id: Mapped[UUID]
    by_hand: Mapped[bool] = mapped_column(server_default=text("false"))
