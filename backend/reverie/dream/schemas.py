"""What goes over the wire about the dream."""

import re
from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, WithJsonSchema

from reverie.core.http import Answer, Schema
from reverie.core.paging import PageQuery
from reverie.text.fields import EARLIEST, LATEST, Identifier

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def a_day(value: object) -> date:
    """A day as ISO 8601 has it.

    Raises:
        ValueError: it is none; the message is the end of a sentence about the field.
    """
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        raise ValueError("takes a day such as 2026-05-08")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"takes a day of the calendar such as 2026-05-08, not {value}") from None
    if not EARLIEST.date() < day < LATEST.date():
        raise ValueError("takes a day within the years 1 to 9999")
    return day


Day = Annotated[date, BeforeValidator(a_day), WithJsonSchema({"type": "string", "format": "date"})]
State = Literal["running", "paused", "done", "failed", "cancelled", "undone"]


class ConsolidateIn(Schema):
    """What is to be dreamt: a day, or all that are over and not dreamt as they are now; of one user, or of all."""

    day: Day | None = None
    user_id: Identifier | None = None


class ConsolidateOut(Answer):
    """Accepted; the run has the id of its operation."""

    operation_id: UUID
    dream_id: UUID


class UndoOut(Answer):
    """Accepted: an operation takes back what the run made."""

    operation_id: UUID
    dream_id: UUID


class DreamsQuery(PageQuery):
    """The query string of the list of runs."""


class Asked(Answer):
    """What was asked for; null is all."""

    day: date | None = None
    user_id: str | None = None


class DreamItem(Answer):
    """A run, as far as it concerns the space.

    Attributes:
        days: that were dreamt, of ``users``; ``failed`` of them could not be, wholly.
        left: days that were due and not begun, since its time was over (``capped``) or it was ended.
        aside: traces that a stage could not take.
    """

    dream_id: UUID
    state: State
    asked: Asked
    started_at: datetime
    seen_at: datetime
    finished_at: datetime | None
    days: int
    failed: int
    left: int
    users: int
    aside: int
    capped: bool
    seconds: float
    error: str | None


class DreamPage(Answer):
    """A page of runs, newest first."""

    items: list[DreamItem]
    next_cursor: str | None


class StageOut(Answer):
    """What a stage did: counts, no text.

    Attributes:
        saw: traces that it looked at.
        made: traces and edges that it made, anew or for the first time; ``removed``: that it took away, or forgot.
        moved: traces that went to another tier.
        skipped: reason → how many.
        model: the language model that was asked, and the ``tokens`` that it took.
    """

    name: str
    state: Literal["running", "done", "failed"]
    saw: int
    made: int
    moved: int
    removed: int
    skipped: dict[str, int]
    seconds: float
    bytes: int
    model: str | None
    tokens: int
    error: str | None


class DreamtUser(Answer):
    """Whom a run dreamt, and which days."""

    user_id: str
    days: int
    failed: int
    first_day: date | None
    last_day: date | None


class DreamOut(DreamItem):
    """A run with its stages, and up to a hundred of the users whom it dreamt."""

    stages: list[StageOut]
    dreamt: list[DreamtUser]


class Job(Answer):
    """A stage of the night: how it went when it was last done for the space."""

    name: str
    state: Literal["running", "done", "failed"] | None
    seconds: float | None
    error: str | None


class LastNight(Answer):
    """The last run over the whole store."""

    dream_id: UUID
    state: str
    started_at: datetime
    seen_at: datetime
    finished_at: datetime | None
    capped: bool
    error: str | None


class Jobs(Answer):
    """The night: whether it goes on or is paused, when it comes next, and how it went last."""

    running: bool
    paused: bool
    at: Annotated[str, Field(description="When it begins (DREAM_AT), in time_zone.")]
    time_zone: str
    next_at: datetime
    last: LastNight | None
    jobs: list[Job]
