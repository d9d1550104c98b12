"""Points in time that English names: a day, a week, a month, a season, a feast."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final, TypeAlias

from reverie.text.date_words import (
    BEFORE_A_MONTH,
    BEFORE_THE_SEASON,
    CLAUSE_WORDS,
    COUNTED,
    DECADES,
    FEAST_WORDS,
    FEASTS,
    MONTHS,
    NEAR,
    NUMBERS,
    ORDINALS,
    OTHER_THINGS,
    PARTS,
    SEASON_WORDS,
    STEPS,
    UNITS,
    VAGUE_NUMBERS,
    WEEKDAYS,
    WHICH,
)
from reverie.text.spans import (
    DAY,
    WEEK,
    Span,
    Which,
    beside,
    day,
    day_of,
    days,
    midnight,
    month,
    occurrence,
    part,
    quarter,
    season,
    shifted,
    weekend_of,
    whole,
    within,
    years,
)

Read: TypeAlias = tuple[Span, int]
"""What was read from some place on, and the place behind it."""

_TOKEN: Final = re.compile(
    r"""
      [^\W\d_]+(?:'[^\W\d_]+)*(?!\w)
    | [$€£]\s?\d[\d.,]{0,15} | \d[\d.,]{0,15}\s?%          # money and shares are no dates
    | (?<!\w)\d{4}[-/.]\d\d?[-/.]\d\d?(?:[tT]\d[\d:.]{0,15}(?:[zZ]|[+-]\d\d:?\d\d)?)?(?!\w)
    | (?<!\w)\d\d?([/.-])\d\d?\1(?:\d{4}|\d\d)(?!\w)
    | (?<!\w)(?:19|20)\d\d-(?:0[1-9]|1[0-2])(?![\w-])
    | \d\d?:\d\d(?::\d\d)?
    | \d{1,3}(?:,\d{3}){1,5}(?!\d) | \d{1,15}\.\d{1,15}
    | (?<!\w)'?(?:\d\d)?\d0'?[sS](?!\w)
    | (?<!\w)'\d\d(?!\w)
    | (?<!\w)\d+(?:st|nd|rd|th|ST|ND|RD|TH)?(?!\w)
    | \w+
    | [-,.?!;:()/]
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(r"(\d{1,4})(?:st|nd|rd|th)?")
_NUMERIC = re.compile(r"(\d{1,4})[-/.](\d\d?)(?:[-/.](\d\d?(?:\d\d)?)(?:t.*)?)?")
_DECADE = re.compile(r"'?((?:\d\d)?)(\d0)'?s")
_QUARTER = re.compile(r"q[1-4]")


_PADDING: Final = [""] * 8

MOST_DEPTH: Final = 5
"""So deep points may lie in one another: "the day after the first Monday of the last week of May"."""


class NoSuchDateError(ValueError):
    """What stands there has the form of a date, and is none; ``behind`` is the place behind it."""

    def __init__(self, behind: int) -> None:
        super().__init__()
        self.behind = behind


class Points:
    """The tokens of a text. Each rule is given a place, and returns what it read there, or None.

    ``words`` has ``count`` of them and some empty ones behind, so that a rule may look ahead (and, by negative places,
    back) from any place. ``now`` is what relative words are counted from; ``full`` collects the days that are named
    with their year.
    """

    def __init__(self, text: str, now: datetime) -> None:
        self.text = text
        tokens = list(_TOKEN.finditer(text))
        self.count = len(tokens)
        self.words = [token[0].lower().removesuffix("'s") for token in tokens] + _PADDING
        self.full: set[date] = set()
        self._places = [token.span() for token in tokens]
        self._now, self._today = now, now.date()
        self._depth = 0

    def said(self, first: int, behind: int) -> str:
        """The text from one token until before another."""
        return self.text[self._places[first][0] : self._places[behind - 1][1]]

    def point(self, i: int, *, sure: bool = False) -> Read | None:
        """A point in time; ``sure`` when what stands before it leaves no doubt that it is one.

        Raises:
            NoSuchDateError: it is impossible.
            ValueError, OverflowError: it lies outside the years 1 to 9999.
        """
        if self._depth == MOST_DEPTH:
            return None
        self._depth += 1
        try:
            return self._point(self._past_the(i) if sure else i, sure)
        finally:
            self._depth -= 1

    def _point(self, i: int, sure: bool) -> Read | None:
        word = self.words[i]
        if word[:1].isdigit() or word[:1] == "'":
            return self._figures(i)
        if word in WHICH and (found := self._which(i)) is not None:
            return found
        if word in NEAR:
            return day_of(self._today + NEAR[word] * DAY), i + 1
        if word in MONTHS:
            return self._month(i, sure)
        if word in SEASON_WORDS:
            return self._season(i, sure)
        if word in UNITS:
            return self._unit(i, sure)
        rule = _RULES.get(word)
        if rule is not None:
            return rule(self, i)
        if _QUARTER.fullmatch(word):
            return self._of_year(i + 1, lambda year: quarter(year, int(word[1])))
        if word == "other" and self.words[i - 1] == "the" and self.words[i + 1] == "day":
            return days(self._today - WEEK, self._today), i + 2
        return None

    # Figures

    def both_ways(self, i: int) -> list[Span]:
        """What a date in figures may be: 5/6/2023 is 5 June and 6 May, 25/6/2023 and 5.6.2023 are one day."""
        found = _NUMERIC.fullmatch(self.words[i])
        if found is None or found[3] is None or len(found[1]) > 2:
            return []
        one, other, year = int(found[1]), int(found[2]), int(found[3])
        year = year if len(found[3]) == 4 else _century(year)
        orders = {(other, one)} if "." in self.words[i] else {(one, other), (other, one)}
        return [day(year, number, place) for number, place in sorted(orders) if number <= 12]

    def _figures(self, i: int) -> Read | None:
        word = self.words[i]
        if (found := _DECADE.fullmatch(word)) is not None:
            century = int(found[1] or (20 if int(found[2]) < 30 else 19))
            return years(100 * century + int(found[2]), 10), i + 1
        if (found := _NUMERIC.fullmatch(word)) is not None and len(found[1]) == 4:
            if found[3] is None:
                return month(int(found[1]), int(found[2])), i + 1
            return self._full_day(int(found[1]), int(found[2]), int(found[3]), i + 1)
        number = self._number(i)
        behind = i + 1 + (self.words[i + 1] == ".")
        behind += self.words[behind] in ("of", "-")
        if 1 <= number <= 31 and self.words[behind] in MONTHS:
            return self._day_of_month(number, MONTHS[self.words[behind]], behind + 1)
        if self._is_year(i):
            return years(number), i + 1
        return self._day_alone(i, number)

    def _day_alone(self, i: int, number: int) -> Read | None:
        """As "on the 5th", if nothing else is counted."""
        if (self.words[i - 2], self.words[i - 1]) != ("on", "the") or not 1 <= number <= 31 or not self._ends(i + 1):
            return None
        for months in range(3):
            found = month(self._today.year, self._today.month - months)
            moment = found.since + (number - 1) * DAY
            if moment < found.until and moment.date() <= self._today:
                return day_of(moment.date()), i + 1
        return None

    # Months, days

    def _month(self, i: int, sure: bool) -> Read | None:
        """As "May 2023", "May 3rd, 2023", "May"."""
        number = MONTHS[self.words[i]]
        behind = i + 1 + (self.words[i + 1] == ".")
        start = self._past_the(behind + (self.words[behind] in ("-", "/")))
        place = self._number(start)
        if 1 <= place <= 31 and self.words[start + 1] not in COUNTED:
            return self._day_of_month(place, number, start + 1)
        year, end = self._year_behind(behind)
        if year is not None:
            return month(year, number), end
        if sure or self.words[i] not in OTHER_THINGS or self.words[i - 1] in BEFORE_A_MONTH:
            return self._yearly(lambda year: month(year, number)), i + 1
        return None

    def _day_of_month(self, place: int, number: int, i: int) -> Read:
        year, behind = self._year_behind(i + (self.words[i] == "."))
        if year is not None:
            return self._full_day(year, number, place, behind)
        try:
            return self._yearly(lambda year: day(year, number, place)), i
        except ValueError:
            raise NoSuchDateError(i) from None

    def _full_day(self, year: int, number: int, place: int, behind: int) -> Read:
        try:
            span = day(year, number, place)
        except ValueError:
            raise NoSuchDateError(behind) from None
        self.full.add(span.since.date())
        return span, behind

    def _weekday(self, i: int) -> Read | None:
        """As "Friday", "Friday, 3 May 2023", "Friday of last week"."""
        start = self._past_the(i + 1 + (self.words[i + 1] == ","))
        if self._number(start) > 0 or self.words[start] in MONTHS:
            found = self.point(start)
            if found is not None and found[0].kind == "day":
                return found
        weekday = WEEKDAYS[self.words[i]]
        start = i + 1 + (self.words[i + 1] == "of")
        if self.words[start] in WHICH and self.words[start + 1] == "week":
            week = self._this_unit("week", WHICH[self.words[start]])
            return day_of(week.since.date() + weekday * DAY), start + 2
        return day_of(self._today - (self._today.weekday() - weekday) % 7 * DAY), i + 1

    # Last, this, next

    def _which(self, i: int) -> Read | None:
        """As "last May", "the past two weeks", "next Friday", "this summer", "last night"."""
        said, which = self.words[i], WHICH[self.words[i]]
        if said == "this" and self.words[i + 1] == "coming":
            which, i = "next", i + 1
        word, behind = self.words[i + 1], i + 2
        if said in ORDINALS and (found := self._nth(i)) is not None:
            return found
        counted = self._count(i + 1)
        if counted is not None and which != "this":
            (_, most), unit, end = counted
            return self._rolling(unit, most if which == "next" else -most), end
        if said == "past" and word in UNITS:
            return self._rolling(UNITS[word], -1), behind
        if word in ("night", "evening") and which == "last":
            return Span(midnight(self._today) - DAY / 4, midnight(self._today) + DAY / 4, "", "hours"), behind
        if word in WEEKDAYS:
            return self._which_weekday(WEEKDAYS[word], which), behind
        if word in MONTHS:
            number = MONTHS[word]
            exact = self._year_behind(behind)[0] is not None or 1 <= self._number(behind) <= 31
            return (
                self._month(i + 1, sure=True) if exact else self._occurring(lambda y: month(y, number), which, behind)
            )
        if word in SEASON_WORDS:
            return self._occurring(lambda year: season(year, SEASON_WORDS[word]), which, behind)
        if word in FEAST_WORDS:
            return self._feast(i + 1, which)
        return (self._this_unit(UNITS[word], which), behind) if word in UNITS else None

    def _occurring(self, named: Callable[[int], Span], which: Which, behind: int) -> Read:
        return occurrence(named, which, self._today), behind

    def _which_weekday(self, weekday: int, which: Which) -> Span:
        ahead = weekday - self._today.weekday()
        if which != "this":
            ahead = ahead % 7 or 7 if which == "next" else -(-ahead % 7 or 7)
        return day_of(self._today + ahead * DAY)

    def _this_unit(self, unit: str, which: Which) -> Span:
        return whole(unit, shifted(unit, STEPS[which], self._today))

    def _rolling(self, unit: str, count: int) -> Span:
        """The last or next so many units, whole days of them."""
        if unit in ("minute", "hour"):
            ends = sorted((self._now, self._now + count * _CLOCK[unit]))
            return Span(ends[0], ends[1], "", "hours")
        tomorrow = self._today + DAY
        if count < 0:
            return days(shifted(unit, count, self._today), tomorrow)
        return days(tomorrow, shifted(unit, count, tomorrow))

    # Parts of others

    def _nth(self, i: int) -> Read | None:
        """As "the first week of June", "the second half of 2023", "the last Friday in May", "the first of June"."""
        place, word = ORDINALS[self.words[i]], self.words[i + 1]
        if word == "of" and place > 0 and self.words[i + 2] in MONTHS:
            return self._day_of_month(place, MONTHS[self.words[i + 2]], i + 3)
        known = word == "half" or word in UNITS or word in WEEKDAYS
        if not known or self.words[i + 2] not in ("of", "in"):
            return None
        found = self.point(i + 3, sure=True)
        return None if found is None else (self._nth_of(place, word, found[0]), found[1])

    @staticmethod
    def _nth_of(place: int, word: str, of: Span) -> Span:
        unit = UNITS.get(word, word)
        if word == "half":
            return part(of, 0, 0.5) if place == 1 else part(of, 0.5, 1)
        if unit == "quarter" and of.kind == "year":
            return quarter(of.since.year, place if place > 0 else 4)
        if unit == "month":
            first = month(of.since.year, of.since.month + place - 1) if place > 0 else whole("month", of.until - DAY)
            return within(of, first.since, first.until - first.since, "month")
        if unit == "day":
            return within(of, of.since + DAY * (place - 1) if place > 0 else of.until - DAY, DAY, "day")
        if unit == "week":
            return within(of, of.since + WEEK * (place - 1) if place > 0 else of.until - WEEK, WEEK, "week")
        weekday = 5 if unit == "weekend" else WEEKDAYS.get(word)
        if weekday is None:
            raise ValueError("takes a unit that has parts")
        if place > 0:
            since = of.since + DAY * ((weekday - of.since.weekday()) % 7 + 7 * (place - 1))
        else:
            since = of.until - DAY * ((of.until.weekday() - weekday) % 7 or 7)
        return within(of, since, 2 * DAY, "weekend") if unit == "weekend" else within(of, since, DAY, "day")

    def _part(self, i: int) -> Read | None:
        """As "early May", "mid-2022", "the end of last year"."""
        word = self.words[i]
        if word in ("early", "mid", "late"):
            start = i + 1 + (self.words[i + 1] == "-")
        elif self.words[i + 1] == "of":
            start = i + 2
        else:
            return None
        found = self.point(start, sure=True)
        return None if found is None else (part(found[0], *PARTS[word]), found[1])

    def _unit(self, i: int, sure: bool) -> Read | None:
        """As "the week of 5 June", "the month of May", "the week before last", "the weekend"."""
        unit = UNITS[self.words[i]]
        if self.words[i] != unit:
            return None
        two = (self.words[i + 1], self.words[i + 2])
        if two in (("before", "last"), ("after", "next")):
            return whole(unit, shifted(unit, -2 if two[1] == "last" else 2, self._today)), i + 3
        if two[0] == "of":
            found = self.point(i + 2, sure=True)
            if found is not None:
                return (beside(unit, found[0], 0) if found[0].kind == "day" else found[0]), found[1]
        if unit == "year" and self._is_year(i + 1):
            return years(self._number(i + 1)), i + 2
        if unit == "weekend" and self.words[i - 1] in ("the", "over", "at"):
            begun = weekend_of(self._today)
            return (begun if begun.since <= midnight(self._today) else weekend_of(self._today - WEEK)), i + 1
        return (self._this_unit(unit, "this"), i + 1) if sure and self.words[i - 1] == "the" else None

    # What comes every year

    def _season(self, i: int, sure: bool) -> Read | None:
        """As "summer 2022", "the summer of 2022", "in summer"; "fall" and "spring" are verbs too."""
        name = SEASON_WORDS[self.words[i]]
        before = self.words[i - 1]
        found = self._of_year(i + 1, lambda year: season(year, name))
        named = not found[0].yearly
        fits = before in BEFORE_A_MONTH or (before == "the" and self.words[i - 2] in BEFORE_THE_SEASON)
        return found if named or sure or fits else None

    def _feast(self, i: int, which: Which = "nearest") -> Read | None:
        """As "Christmas 2022", "last Halloween", "Thanksgiving"."""
        for words, made in FEASTS.items():
            if tuple(self.words[i : i + len(words)]) == words:
                behind = i + len(words)
                return self._of_year(behind, made) if which == "nearest" else self._occurring(made, which, behind)
        return None

    def _of_year(self, i: int, named: Callable[[int], Span]) -> Read:
        """What comes every year, of the year that stands behind it, or the last that has begun."""
        year, behind = self._year_behind(i)
        if year is not None:
            return named(year), behind
        start = i + (self.words[i] == "of")
        if self.words[start] in WHICH and self.words[start + 1] == "year":
            return named(self._today.year + STEPS[WHICH[self.words[start]]]), start + 2
        return self._yearly(named), i

    def _yearly(self, named: Callable[[int], Span]) -> Span:
        return occurrence(named, "nearest", self._today)._replace(yearly=True)

    def _decade(self, i: int) -> Read | None:
        number = DECADES[self.words[i]]
        return (years((1900 if number > 20 else 2000) + number, 10), i + 1) if self.words[i - 1] == "the" else None

    # Words

    def _number(self, i: int) -> int:
        """The whole number at a place, 0 if there is none."""
        found = _NUMBER.fullmatch(self.words[i])
        return 0 if found is None else int(found[1])

    def _count(self, i: int) -> tuple[tuple[int, int], str, int] | None:
        """A number of units: ((least, most), unit, the place behind)."""
        word = self.words[i]
        if self.words[i : i + 3] == ["half", "a", "year"]:
            return (6, 6), "month", i + 3
        start = i + 1 + (word in ("a", "the") and self.words[i + 1] in VAGUE_NUMBERS)
        number = NUMBERS.get(word) or self._number(i)
        pair = VAGUE_NUMBERS.get(self.words[start - 1], (number, number))
        start += self.words[start] == "of"
        unit = UNITS.get(self.words[start])
        return None if unit is None or pair[0] == 0 else (pair, unit, start + 1)

    def _is_year(self, i: int) -> bool:
        word = self.words[i]
        return len(word) == 4 and word.isdigit() and 1900 <= int(word) <= 2099 and self.words[i + 1] not in COUNTED

    def _year_behind(self, i: int) -> tuple[int | None, int]:
        """The year behind a month, a day or a feast: "2023", ", 2023", "of 2023", "-2023", "'23"."""
        start = i + (self.words[i] in (",", "of", "in", "-", "/"))
        word = self.words[start]
        if len(word) == 3 and word[0] == "'" and word[1:].isdigit():
            return _century(int(word[1:])), start + 1
        return (int(word), start + 1) if self._is_year(start) else (None, i)

    def _past_the(self, i: int) -> int:
        return i + (self.words[i] == "the")

    def _ends(self, i: int) -> bool:
        """Whether a clause ends there."""
        word = self.words[i]
        return not word[:1].isalnum() or word in CLAUSE_WORDS


def _century(year: int) -> int:
    """What is meant by a year of two figures."""
    return year + (2000 if year < 50 else 1900)


_RULES: Final[dict[str, Callable[[Points, int], Read | None]]] = {
    **dict.fromkeys(FEAST_WORDS, Points._feast),
    **dict.fromkeys(WEEKDAYS, Points._weekday),
    **dict.fromkeys(ORDINALS, Points._nth),
    **dict.fromkeys(PARTS, Points._part),
    **dict.fromkeys(DECADES, Points._decade),
}
_CLOCK: Final = {"hour": timedelta(hours=1), "minute": timedelta(minutes=1)}
