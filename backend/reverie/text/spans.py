"""Spans of time and the arithmetic of the calendar, in UTC. Pure functions.

Whatever would lie outside the years 1 to 9999, or is no date at all, raises ``ValueError`` or ``OverflowError``.
"""

from calendar import monthrange
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "hours",
    "day",
    "days",
    "weekend",
    "week",
    "month",
    "quarter",
    "season",
    "year",
    "decade",
    "range",
    "before",
    "after",
]
Which = Literal["last", "this", "next", "nearest"]
"""``nearest`` is the last that has begun; ``last`` the last that is over."""

EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)

SEASONS: Final = {"spring": 3, "summer": 6, "autumn": 9, "winter": 12}
"""The month in which each begins, as meteorologists count them on the northern half of the earth."""

_MOST_YEARS = 9
"""So many years lie at most between two dates of the same name: 29 February 1896 and 1904."""


class Span(NamedTuple):
    """A stretch of time that a text names: from ``since`` until before ``until``, both UTC.

    ``yearly`` where the text names no year, so that the same days of another year may be meant.
    """

    since: datetime
    until: datetime
    text: str
    kind: Kind
    yearly: bool = False


def midnight(day: date) -> datetime:
    """The moment at which a day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def days(first: date, behind: date, kind: Kind = "days") -> Span:
    """The days from ``first`` until before ``behind``."""
    return Span(midnight(first), midnight(behind), "", kind)


def day(year: int, month: int, number: int) -> Span:
    """A day."""
    return day_of(date(year, month, number))


def day_of(moment: date) -> Span:
    """A day."""
    return days(moment, moment + DAY, "day")


def week_of(moment: date) -> Span:
    """The week of a day, from Monday on."""
    monday = moment - timedelta(days=moment.weekday())
    return days(monday, monday + WEEK, "week")


def week_around(moment: date) -> Span:
    """The seven days in whose middle a day lies."""
    return days(moment - timedelta(days=3), moment + timedelta(days=4), "week")


def weekend_of(moment: date) -> Span:
    """Saturday and Sunday of the week of a day."""
    monday = moment - timedelta(days=moment.weekday())
    return days(monday + timedelta(days=5), monday + WEEK, "weekend")


def month(year: int, number: int, count: int = 1, kind: Kind = "month") -> Span:
    """``count`` months from one on; its number may lie outside 1 to 12, then it counts on into other years."""
    return days(_first_of(year, number), _first_of(year, number + count), kind)


def _first_of(year: int, number: int) -> date:
    carried, place = divmod(number - 1, 12)
    return date(year + carried, place + 1, 1)


def quarter(year: int, number: int) -> Span:
    """A quarter of a year; 1 is the first."""
    return month(year, 3 * number - 2, 3, "quarter")


def season(year: int, name: str) -> Span:
    """A season by the year in which it begins."""
    return month(year, SEASONS[name], 3, "season")


def years(first: int, count: int = 1) -> Span:
    """``count`` years."""
    return month(first, 1, 12 * count, "year" if count == 1 else "decade")


def back(moment: date, months: int) -> date:
    """The same day so many months ago, or the last day of that month if it has no such."""
    carried, place = divmod(moment.month - 1 - months, 12)
    year = moment.year + carried
    return date(year, place + 1, min(moment.day, monthrange(year, place + 1)[1]))


def occurrence(named: Callable[[int], Span], which: Which, today: date) -> Span:
    """One of the days, months or feasts that come every year.

    Raises:
        ValueError: there is none such, as 31 April.
    """
    now, ahead = midnight(today), which == "next"
    if which == "this":
        # A winter that has begun belongs to the year before.
        standing = occurrence(named, "nearest", today)
        return standing if standing.until > now else named(today.year)
    for distance in range(_MOST_YEARS):
        with suppress(ValueError, OverflowError):
            found = named(today.year + distance if ahead else today.year - distance)
            if found.since > now if ahead else (found.until if which == "last" else found.since) <= now:
                return found
    raise ValueError("takes a date that exists")


def united(one: Span, other: Span, kind: Kind = "range") -> Span:
    """From the beginning of one to the end of the other.

    Raises:
        ValueError: the other ends before the one begins.
    """
    if other.until <= one.since:
        raise ValueError("takes a range that does not end before it begins")
    return Span(one.since, other.until, "", kind, one.yearly and other.yearly)


def part(span: Span, first: float, behind: float, kind: Kind = "days") -> Span:
    """The whole days from one share of a span to another: ``part(may, 0, 1 / 3)`` are its first ten."""
    length = (span.until - span.since) // DAY
    since = span.since + DAY * round(length * first)
    return Span(since, max(since + DAY, span.since + DAY * round(length * behind)), "", kind, span.yearly)


def within(whole: Span, since: datetime, length: timedelta, kind: Kind) -> Span:
    """A part of a span that begins at ``since``.

    Raises:
        ValueError: it does not begin within it.
    """
    if not whole.since <= since < whole.until:
        raise ValueError("takes a part that begins within the whole")
    return Span(since, since + length, "", kind, whole.yearly)


def in_year(span: Span, year: int) -> Span:
    """The same days, beginning in another year."""
    ahead = year - span.since.year
    return span._replace(since=span.since.replace(year=year), until=span.until.replace(year=span.until.year + ahead))


def shifted(unit: str, count: int, today: date) -> date:
    """The day so many units on, back if negative; minutes and hours change nothing."""
    if unit in _DAYS:
        return today + count * _DAYS[unit]
    return back(today, -count * _MONTHS[unit]) if unit in _MONTHS else today


def step(unit: str, count: int, today: date) -> Span:
    """What is meant by so many units from a day: as exact as such words are, so a month by months."""
    there = shifted(unit, count, today)
    match unit:
        case "week" | "fortnight":
            return week_around(there)
        case "weekend":
            return weekend_of(there)
        case "month":
            return month(there.year, there.month)
        case "quarter":
            return quarter(there.year, (there.month + 2) // 3)
        case "year":
            return years(there.year)
        case "decade":
            return years(there.year // 10 * 10, 10)
        case _:
            return day_of(there)


def whole(unit: str, today: date) -> Span:
    """The unit of the calendar in which a day lies."""
    return week_of(today) if unit in ("week", "fortnight") else step(unit, 0, today)


def beside(unit: str, span: Span, sign: int) -> Span:
    """The unit right before a span (-1) or right after it (1), or the one in which it begins (0)."""
    first, behind = span.since.date(), span.until.date()
    if sign == 0:
        return whole(unit, first)
    if unit == "weekend":
        around = weekend_of(first if sign < 0 else behind - DAY)
        apart = around.until <= span.since if sign < 0 else around.since >= span.until
        return around if apart else weekend_of(first - WEEK if sign < 0 else behind - DAY + WEEK)
    if unit == span.kind and unit in _MONTHS:
        return step(unit, sign, first)
    if unit not in _DAYS and unit not in _MONTHS:
        return day_of(first if sign < 0 else behind - DAY)
    kind: Kind = "day" if unit == "day" else "days"
    return days(shifted(unit, -1, first), first, kind) if sign < 0 else days(behind, shifted(unit, 1, behind), kind)


def weekday_beside(weekday: int, span: Span, sign: int) -> Span:
    """The last such day of the week before a span (-1), or the first after it (1)."""
    edge = span.since.date() if sign < 0 else (span.until - DAY).date()
    distance = (edge.weekday() - weekday if sign < 0 else weekday - edge.weekday()) % 7 or 7
    return day_of(edge + sign * distance * DAY)


_DAYS: Final = {"day": DAY, "week": WEEK, "weekend": WEEK, "fortnight": 2 * WEEK}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12, "decade": 120}
