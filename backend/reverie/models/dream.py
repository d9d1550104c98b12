"""The dream: its runs, what each did, and which days of whom are dreamt."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from reverie.models.base import WALLED, Base, BigInt, Real, SmallInt


class DreamNight(Base):
    """One run, whoever asked for it, over all of the store or a part of it; what it did for a space: :class:`DreamRun`.

    ``asked`` names inner ids and a day; ``whole``: it is a night's, with all stages and all users. ``cancelled`` says
    that it is to end, ``capped`` that its time was over before its work was; ``days`` were dreamt, and ``failed``
    of them could not be.
    """

    __tablename__ = "dream_night"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'paused', 'done', 'failed', 'cancelled')", name="state"),
        Index("dream_night_started", "started_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str]
    asked: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    as_of: Mapped[datetime]
    whole: Mapped[bool]
    cancelled: Mapped[bool] = mapped_column(server_default=text("false"))
    capped: Mapped[bool] = mapped_column(server_default=text("false"))
    days: Mapped[int] = mapped_column(server_default=text("0"))
    failed: Mapped[int] = mapped_column(server_default=text("0"))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]


class DreamControl(Base):
    """The one row by which the dream is paused."""

    __tablename__ = "dream_control"
    __table_args__ = (CheckConstraint("id", name="id"),)

    id: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    paused: Mapped[bool] = mapped_column(server_default=text("false"))


class DreamRun(Base):
    """A run as a space sees it; ``asked`` as its caller wrote it, ``report``: ids and counts, no text."""

    __tablename__ = "dream_run"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'paused', 'done', 'failed', 'cancelled', 'undone')", name="state"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID] = mapped_column(ForeignKey("space.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str]
    asked: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    error: Mapped[str | None]


class DreamStage(Base):
    """What a stage of a run did for a space, in all.

    Attributes:
        place: of the stage in the run.
        saw: traces that were looked at; ``made``, ``moved`` and ``removed`` count traces and edges.
        skipped: reason → how many.
        model: by which language model, where it was one; ``tokens``: what it took.
    """

    __tablename__ = "dream_stage"
    __table_args__ = (
        ForeignKeyConstraint(["space_id", "run_id"], ["dream_run.space_id", "dream_run.id"], ondelete="CASCADE"),
        CheckConstraint("state IN ('running', 'done', 'failed')", name="state"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[SmallInt]
    state: Mapped[str]
    saw: Mapped[BigInt] = mapped_column(server_default=text("0"))
    made: Mapped[BigInt] = mapped_column(server_default=text("0"))
    moved: Mapped[BigInt] = mapped_column(server_default=text("0"))
    removed: Mapped[BigInt] = mapped_column(server_default=text("0"))
    skipped: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    seconds: Mapped[Real] = mapped_column(server_default=text("0"))
    bytes: Mapped[BigInt] = mapped_column(server_default=text("0"))
    model: Mapped[str | None]
    tokens: Mapped[BigInt] = mapped_column(server_default=text("0"))
    error: Mapped[str | None]


class DreamUser(Base):
    """Whom a run dreamt: how many days, between which, and how many of them failed. By it a run is undone."""

    __tablename__ = "dream_user"
    __table_args__ = (
        ForeignKeyConstraint(["space_id", "run_id"], ["dream_run.space_id", "dream_run.id"], ondelete="CASCADE"),
        Index("dream_user_run", "space_id", "run_id"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("memory_user.user_id", ondelete="CASCADE"), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    days: Mapped[int] = mapped_column(server_default=text("0"))
    failed: Mapped[int] = mapped_column(server_default=text("0"))
    first_day: Mapped[date | None]
    last_day: Mapped[date | None]


class DreamDay(Base):
    """A day of a user, as it was when it was last dreamt, or how far it is.

    ``fingerprint``: count and hashes of its traces; where it differs from theirs now, the day is to be dreamt again.
    ``stage``: the last that is done, of one that is pending. ``attempts`` are those since its traces changed.
    """

    __tablename__ = "dream_day"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'done', 'failed')", name="state"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("memory_user.user_id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes | None]
    state: Mapped[str]
    stage: Mapped[str | None]
    run_id: Mapped[UUID | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    error: Mapped[str | None]
    dreamt_at: Mapped[datetime | None]


class DreamAside(Base):
    """A trace that a stage cannot take: it does without it until it is changed (``changed_at``, as it was then)."""

    __tablename__ = "dream_aside"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "trace_id"], ["memory_trace.user_id", "memory_trace.id"], ondelete="CASCADE"),
        {"info": WALLED},
    )

    space_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    trace_id: Mapped[UUID] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    changed_at: Mapped[datetime | None]
    error: Mapped[str]
    created_at: Mapped[datetime]
