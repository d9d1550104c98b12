"""The English words of dates."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

from reverie.text.spans import SEASONS, Span, Which, days


def words_of(text: str) -> frozenset[str]:
    """The words of a text that spaces part."""
    return frozenset(text.split())


UNITS: Final = MappingProxyType(
    {
        "minute": "minute", "minutes": "minute", "hour": "hour", "hours": "hour", "day": "day", "days": "day",
        "night": "day", "nights": "day", "morning": "day", "mornings": "day", "evening": "day", "evenings": "day",
        "afternoon": "day", "weekend": "weekend", "weekends": "weekend", "week": "week", "weeks": "week",
        "fortnight": "fortnight", "fortnights": "fortnight", "month": "month", "months": "month",
        "quarter": "quarter", "quarters": "quarter", "year": "year", "years": "year", "decade": "decade",
        "decades": "decade",
    }
)  # fmt: skip

_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
SHORT_MONTHS: Final = MappingProxyType({name[:3]: place for place, name in enumerate(_MONTHS, 1)} | {"sept": 9})
MONTHS: Final = MappingProxyType(SHORT_MONTHS | {name: place for place, name in enumerate(_MONTHS, 1)})
OTHER_THINGS: Final = frozenset({"may", "march", "april", "june", "august", *SHORT_MONTHS})
"""Verbs, names and syllables that are months only where something beside them says so."""

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEKDAYS: Final = MappingProxyType({name: place for place, name in enumerate(_DAYS)})

SEASON_WORDS: Final = MappingProxyType({name: name for name in SEASONS} | {"fall": "autumn"})

NUMBERS: Final = MappingProxyType(
    {
        "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
        "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    }
)  # fmt: skip
VAGUE_NUMBERS: Final = MappingProxyType({"few": (2, 5), "several": (3, 7), "couple": (2, 2), "some": (2, 7)})
"""How many are meant at least and at most."""

ORDINALS: Final = MappingProxyType(
    {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "last": -1, "final": -1}
)
PARTS: Final = MappingProxyType(
    {
        "early": (0, 1 / 3), "beginning": (0, 1 / 3), "start": (0, 1 / 3), "mid": (1 / 3, 2 / 3),
        "middle": (1 / 3, 2 / 3), "late": (2 / 3, 1), "end": (2 / 3, 1),
    }
)  # fmt: skip
WHICH: Final[Mapping[str, Which]] = MappingProxyType(
    {
        "last": "last", "previous": "last", "past": "last", "this": "this", "current": "this", "next": "next",
        "coming": "next", "upcoming": "next",
    }
)  # fmt: skip
STEPS: Final[Mapping[Which, int]] = MappingProxyType({"last": -1, "this": 0, "nearest": 0, "next": 1})
NEAR: Final = MappingProxyType({"today": 0, "tonight": 0, "yesterday": -1, "tomorrow": 1})
DECADES: Final = MappingProxyType(
    {"twenties": 20, "thirties": 30, "forties": 40, "fifties": 50, "sixties": 60, "seventies": 70, "eighties": 80,
     "nineties": 90}
)  # fmt: skip
COUNTED: Final = words_of(
    "words steps people dollars euros pounds km kilometers miles meters calories times points pages users items lines "
    "problems hours minutes days weeks months years mb gb kb ms characters tokens"
)
"""What stands behind a number that is no year."""

BEFORE_A_MONTH: Final = words_of(
    "in during since until till before after by early mid late throughout through around last this next past"
)
BEFORE_THE_SEASON: Final = BEFORE_A_MONTH | {"over", "for", "at"}
CLAUSE_WORDS: Final = words_of("did do does what when where who whom which why how and or for with at in")
"""With these another clause begins, or another part of it."""

DETERMINERS: Final = words_of("the my our his her their your its a an this that")
PRONOUNS: Final = words_of("i you he she it we they me him us them one then now")


def _fixed(month: int, day: int, count: int = 1) -> Callable[[int], Span]:
    def made(year: int) -> Span:
        first = date(year, month, day)
        return days(first, first + timedelta(days=count), "day" if count == 1 else "days")

    return made


def _nth(month: int, weekday: int, place: int, later: int = 0) -> Callable[[int], Span]:
    """The ``place``-th such weekday of a month (-1: the last), or so many days later."""

    def made(year: int) -> Span:
        first = date(year, month, 1 if place > 0 else 25)
        ahead = (weekday - first.weekday()) % 7 + 7 * max(0, place - 1)
        day = first + timedelta(days=ahead + later)
        return days(day, day + timedelta(days=1), "day")

    return made


def easter(year: int) -> Span:
    """Good Friday to Easter Monday (the anonymous Gregorian computus; Nature, 20 April 1876)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    h = (19 * a + b - d - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    number, place = divmod(h + m - 7 * ((a + 11 * h + 22 * m) // 451) + 114, 31)
    sunday = date(year, number, place + 1)
    return days(sunday - timedelta(days=2), sunday + timedelta(days=2))


FEASTS: Final = MappingProxyType(
    {
        ("christmas", "eve"): _fixed(12, 24), ("christmas", "day"): _fixed(12, 25), ("christmas",): _fixed(12, 24, 3),
        ("xmas",): _fixed(12, 24, 3), ("boxing", "day"): _fixed(12, 26), ("new", "year", "eve"): _fixed(12, 31),
        ("new", "years", "eve"): _fixed(12, 31), ("new", "year", "day"): _fixed(1, 1),
        ("new", "years", "day"): _fixed(1, 1), ("valentine", "day"): _fixed(2, 14),
        ("valentines", "day"): _fixed(2, 14), ("halloween",): _fixed(10, 31), ("independence", "day"): _fixed(7, 4),
        ("patrick", "day"): _fixed(3, 17), ("patricks", "day"): _fixed(3, 17), ("easter",): easter,
        ("memorial", "day"): _nth(5, 0, -1), ("labor", "day"): _nth(9, 0, 1), ("mother", "day"): _nth(5, 6, 2),
        ("mothers", "day"): _nth(5, 6, 2), ("father", "day"): _nth(6, 6, 3), ("fathers", "day"): _nth(6, 6, 3),
        ("thanksgiving", "day"): _nth(11, 3, 4), ("thanksgiving",): _nth(11, 3, 4),
        ("black", "friday"): _nth(11, 3, 4, 1),
    }
)  # fmt: skip
"""Words without the possessive 's, and the days of a year. Those of more words come first."""
FEAST_WORDS: Final = frozenset(words[0] for words in FEASTS)

OPENINGS: Final = MappingProxyType(
    {"since": "", "after": "", "before": "", "until": "", "till": "", "by": "", "prior": "to", "up": "to", "as": "of"}
)
"""What opens a span of which one end is named, and the word that must follow it."""

GATE: Final = frozenset(
    {*MONTHS, *WEEKDAYS, *SEASON_WORDS, *NEAR, *DECADES, *FEAST_WORDS, "weekend", "q1", "q2", "q3", "q4"}
)
BESIDE_A_UNIT: Final = words_of("ago before after following preceding prior from of in other") | WHICH.keys()
"""A text without figures names a time only if it has one of the gate, or a unit and one of these."""

STARTS: Final = frozenset(
    {*GATE, *UNITS, *WHICH, *ORDINALS, *PARTS, *NUMBERS, *VAGUE_NUMBERS, *OPENINGS, "between", "from", "other", "half"}
)
"""With these a time begins, or with figures."""
