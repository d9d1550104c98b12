"""What goes over the wire about what is known of a user."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from reverie.core.http import Answer
from reverie.core.paging import PageQuery, cursor_field
from reverie.profile.examples import CURSOR
from reverie.text.fields import Identifier, Moment


class ProfileQuery(PageQuery):
    """The query string of a profile."""

    cursor: Annotated[str | None, cursor_field(CURSOR)] = None
    as_of: Annotated[
        Moment | None, Field(description="As it was known at that time.", examples=["2026-06-01T00:00:00Z"])
    ] = None
    topic: Annotated[
        Identifier | None, Field(description="Only what is of this topic, as `topics` names it.", examples=["work"])
    ] = None


class Fact(Answer):
    """Something that is known.

    ``text`` says it; where it is a triple, ``subject``, ``predicate`` and ``object`` are its parts. ``sources`` are the
    traces that say so, the newest first, twenty at most of ``told``: who changes or forgets them, changes or forgets
    the fact. ``superseded_by`` is the trace that says otherwise now, in its words ``instead``.
    """

    text: str | None
    topic: str
    subject: str | None
    predicate: str | None
    object: str | None
    sources: list[UUID]
    told: int
    happened_at: datetime
    superseded_by: UUID | None
    instead: str | None


class Lately(Answer):
    """A day, as its summary tells it: ``trace_id`` is the summary."""

    trace_id: UUID
    day: date
    text: str


class ProfileOut(Answer):
    """What is known of a user, newest first.

    ``topics`` counts facts by topic, those of all pages; ``nights``: how many days were dreamt, the last of them at
    ``last_night``; ``read``: turns after that in which facts were looked for right now; ``note`` says what is missing.
    ``topics`` and ``lately`` come with the first page.
    """

    user_id: str
    as_of: datetime | None
    nights: int
    last_night: datetime | None
    read: int
    note: str | None
    topics: dict[str, int] | None
    lately: list[Lately]
    items: list[Fact]
    next_cursor: str | None
