"""Which days are to be dreamt, and when a night is.

A day is a day of ``happened_at`` in the user's time zone. It is due when it is over and its traces are not those that
were dreamt: each day of a user has a fingerprint, a count and a sum of hashes over (id, changed at), that one pass over
the thin rows finds. So late imports, changes, forgetting and another time zone mark days by themselves, and nobody who
remembers pays for it. Only users of whom anything was written since are looked at (``memory_user.dreamt_version``).
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import structlog

from reverie.core import clock
from reverie.core.database import Connection
from reverie.dream import repository
from reverie.dream.repository import Asked, Dreamer, Due, NightRow

AGAIN_AFTER: Final = timedelta(hours=1)
"""A night that failed is gone on with after so long."""

SHORTEST: Final = timedelta(minutes=10)
"""One that was broken off, not sooner than so long after it began."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Plan:
    """What is due: days, oldest first, over all users.

    Attributes:
        quiet: users without a day that is due, at these versions: they need not be looked at until they change.
        later: users with traces of days that are not over: they are to be looked at again in any case.
        looked_at: before anything was read.
    """

    looked_at: datetime
    days: list[Due] = field(default_factory=list)
    quiet: list[Dreamer] = field(default_factory=list)
    later: set[UUID] = field(default_factory=set)


async def plan(connection: Connection, asked: Asked, as_of: datetime, zone: str) -> Plan:
    """What is to be dreamt as of a moment; ``zone`` is that of users who have set none."""
    made = Plan(clock.now())
    async for found in _dreamers(connection, asked, zone):
        who, last, today = await _with_days(connection, found, as_of)
        if asked.day is not None:
            due = await repository.due_day(connection, who, asked.day) if asked.day <= today else None
            made.days += [due] if due is not None else []
            continue
        days = await repository.due_days(connection, who, last)
        made.days += days
        if await repository.has_later(connection, who, last):
            made.later.add(who.user_id)
        elif not days:
            made.quiet.append(who)
    made.days.sort(key=lambda due: (due.day, due.who.user_id))
    return made


async def _with_days(connection: Connection, who: Dreamer, as_of: datetime) -> tuple[Dreamer, date, date]:
    """A user with the last day that is over, and the one that goes on; in UTC where PostgreSQL has no such zone."""
    try:
        return who, *await repository.days_until(connection, as_of, who.zone)
    except psycopg.errors.InvalidParameterValue:
        log.warning("time zone not known to PostgreSQL", zone=who.zone, user=str(who.user_id))
        who = who._replace(zone="UTC")
        return who, *await repository.days_until(connection, as_of, who.zone)


async def _dreamers(connection: Connection, asked: Asked, zone: str) -> AsyncIterator[Dreamer]:
    after: UUID | None = None
    while True:
        part = await repository.dreamers(connection, asked, zone, after, changed=asked.day is None)
        for who in part:
            yield who
        if not part:
            return
        after = part[-1].user_id


def came(now: datetime, at: time, zone: ZoneInfo) -> datetime:
    """When a time of the day came last in a zone.

    Where clocks are set forward over it, it comes so much later; where it comes twice, the first counts.
    """
    today = now.astimezone(zone).date()
    moments = (_moment(today + timedelta(days=days), at, zone) for days in (0, -1))
    return next((moment for moment in moments if moment <= now), _moment(today - timedelta(days=2), at, zone))


def comes(now: datetime, at: time, zone: ZoneInfo) -> datetime:
    """When a time of the day comes next in a zone."""
    today = now.astimezone(zone).date()
    moments = (_moment(today + timedelta(days=days), at, zone) for days in (-1, 0, 1))
    return next((moment for moment in moments if moment > now), _moment(today + timedelta(days=2), at, zone))


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)


def is_due(now: datetime, at: time, zone: ZoneInfo, since: datetime, last: NightRow | None) -> bool:
    """Whether a night is to begin: none did since its time last came, or that one did not come to its end.

    One of a future that the clock was set back from counts for nothing.

    Args:
        now: the moment.
        at: of the day, in ``zone``.
        since: when this process began: what came before is not caught up on where nobody has ever dreamt.
        last: the night that began last, which may still go on.
    """
    moment = came(now, at, zone)
    if last is None:
        return moment >= since
    if last.started_at < moment or last.started_at > now + clock.SKEW:
        return True
    if last.state == "failed":
        return now - (last.finished_at or last.seen_at) >= AGAIN_AFTER
    # One that goes on has the lock of runs; where nobody has it, its process is gone.
    return last.state == "running" and now - last.started_at >= SHORTEST
