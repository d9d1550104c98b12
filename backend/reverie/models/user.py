"""Whose memory it is."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, BigInt


class MemoryUser(Base):
    """A person, an agent, a fleet of agents or a knowledge base.

    ``user_id`` is a function of (space, ``external_id``), so its primary key makes that pair unique too.
    ``version`` is raised by every write and keys the recall cache; ``traces`` and ``words`` are the size of the user's
    text collection, as BM25 needs it (words: the sum of ``memory_body.words``). ``languages`` are those that any of the
    traces was ever written in. Of a large user, ``terms`` are the keys (``reverie_term_key``) of the words that are not
    rare, ascending, and ``term_traces`` in how many traces each stood when there were ``counted`` traces.

    What the user has set: ``time_zone`` (whose days are dreamt), ``language``, ``half_lives`` (kind → days), ``dream``
    (false: it is left alone at night). At ``dreamt_version`` no day of it was left to be dreamt.
    """

    __tablename__ = "memory_user"
    __table_args__ = (
        CheckConstraint("kind IN ('person', 'agent', 'fleet', 'knowledge')", name="kind"),
        # Unique by its key alone: another unique index would fail those who write for a new user at the same moment,
        # since ON CONFLICT waits on one.
        Index("memory_user_created", "space_id", "created_at", "user_id"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID] = mapped_column(ForeignKey("space.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    external_id: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default=text("'person'"))
    version: Mapped[BigInt] = mapped_column(server_default=text("0"))
    traces: Mapped[BigInt] = mapped_column(server_default=text("0"))
    words: Mapped[BigInt] = mapped_column(server_default=text("0"))
    languages: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    counted: Mapped[BigInt] = mapped_column(server_default=text("0"))
    terms: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"))
    term_traces: Mapped[list[int]] = mapped_column(ARRAY(Integer), server_default=text("'{}'"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    time_zone: Mapped[str | None]
    language: Mapped[str | None]
    half_lives: Mapped[dict[str, Any] | None]
    dream: Mapped[bool] = mapped_column(server_default=text("true"))
    dreamt_version: Mapped[int | None] = mapped_column(BigInteger)
