"""SQL of profiles."""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from reverie.core.database import ReadSession, Rows, Trip
from reverie.core.queries import Queries
from reverie.profile.facts import MOST_SOURCES, READ_CHARS, Known, Position, Text
from reverie.profile.topics import BY_ATTRIBUTE, BY_PREDICATE

SQL = Queries("reverie.profile")

LOOKED: Final = 400
"""Of the newest traces, and of those that were changed last, so many are looked at."""

READ: Final = 100
"""Of these at most so many are read that no night has read as they are."""

_FACTS = SQL.text("facts", most=5000)
_FRESH = SQL.text("fresh", looked=LOOKED, read=READ)
_LATELY = SQL.text("lately", few=3)


class Whose(NamedTuple):
    """A user: its time zone, how many of its days were dreamt, and when the last of them was."""

    zone: str
    nights: int
    last_night: datetime | None


class Wanted(NamedTuple):
    """Which page of whom; ``moment`` is that of ``as_of``."""

    user_id: UUID
    now: datetime
    moment: datetime | None
    zone: str
    topic: str | None
    before: Position | None
    limit: int


class Page(NamedTuple):
    """Facts, newest first; how many there are by topic; from where on the page says nothing."""

    facts: list[Known]
    topics: dict[str, int]
    floor: Position | None


async def user(session: ReadSession, user_id: UUID, zone: str) -> Whose | None:
    """A user, if there is one; ``zone`` is that of users who have set none."""
    row = await session.fetch_one(SQL["user"], (zone, user_id))
    return Whose(*row) if row else None


async def queue_facts(session: Trip, wanted: Wanted) -> Rows:
    """Queues a page, for :func:`page_of`."""
    before, key = wanted.before or (None, None)
    parameters = (
        wanted.user_id, wanted.now, wanted.moment, wanted.zone, before, key, wanted.topic,
        Jsonb(BY_PREDICATE), Jsonb(BY_ATTRIBUTE), wanted.limit,
    )  # fmt: skip
    return await session.send(_FACTS, parameters)


async def page_of(queued: Rows) -> Page:
    """The page that was queued, once it is there."""
    rows = await queued.fetchall()
    facts = [
        Known(
            Position(row[0], row[1]), row[5], tuple(row[6][:MOST_SOURCES]), row[7], row[8],
            predicate=row[4], src=row[2], dst=row[3], told=len(row[6]),
        )
        for row in rows if row[0] is not None
    ]  # fmt: skip
    _, _, _, _, _, _, _, _, _, topics, floor, key = rows[0]
    return Page(facts, topics or {}, None if floor is None else Position(floor, key))


async def queue_fresh(session: Trip, wanted: Wanted) -> Rows:
    """Queues what no night has read yet, for :func:`texts_of`."""
    parameters = (wanted.user_id, wanted.now, wanted.moment, wanted.zone, READ_CHARS)
    return await session.send(_FRESH, parameters)


async def fresh_of(queued: Rows) -> list[Text]:
    """What was queued, newest first."""
    return [Text(row[0], row[2], row[4], row[5], row[6]) for row in await queued.fetchall()]


async def queue_lately(session: Trip, wanted: Wanted) -> Rows:
    """Queues the newest summaries: rows of (id, day, sentence)."""
    return await session.send(_LATELY, (wanted.user_id, wanted.moment))


async def texts(session: ReadSession, user_id: UUID, ids: Collection[UUID]) -> dict[UUID, Text]:
    """What some traces say; without text where that lies in a file."""
    if not ids:
        return {}
    rows = await session.fetch(SQL["texts"], (READ_CHARS, user_id, list(ids)))
    return {row[0]: Text(*row) for row in rows}
