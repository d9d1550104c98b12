"""Dates and spans of time that a question names: "last May", "two weeks before the wedding", "in 2022". Pure functions.

English is read by a grammar of its own, in microseconds: no parser that is fast enough knows weeks, seasons, ranges or
"before". German, French and Spanish are read by ``dateparser`` (:mod:`reverie.text.foreign_dates`).
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from reverie.text import foreign_dates
from reverie.text.date_points import MOST_DEPTH, NoSuchDateError, Points, Read
from reverie.text.date_words import (
    BESIDE_A_UNIT,
    CLAUSE_WORDS,
    DETERMINERS,
    GATE,
    MONTHS,
    OPENINGS,
    PRONOUNS,
    STARTS,
    UNITS,
    WEEKDAYS,
    WHICH,
)
from reverie.text.spans import (
    DAY,
    EARLIEST,
    LATEST,
    WEEK,
    Kind,
    Span,
    beside,
    day,
    in_year,
    midnight,
    step,
    united,
    weekday_beside,
)

__all__ = ["Dates", "Relative", "Span", "mentioned", "read", "warm"]

MOST_CHARS: Final = 4000
"""Of a longer question the beginning and the end are read, half each."""

MOST_SPANS: Final = 8
MOST_ANCHOR_WORDS: Final = 8


class Relative(NamedTuple):
    """A time told by an event: "two weeks before the wedding" is -14 days from the ``anchor`` "wedding".

    ``kind`` says how exact it is.
    """

    offset: timedelta
    anchor: str
    text: str
    kind: Kind


class Dates(NamedTuple):
    """What a question says of time."""

    spans: list[Span]
    relatives: list[Relative]


Phrase: TypeAlias = tuple[Span | Relative, int]

_WORD = re.compile(r"\w+")
_FIGURES = re.compile(r"\d{4}|\d[/.]\d\d?[/.]\d|\d0'?s|\d(?:st|nd|rd|th)\b", re.IGNORECASE)
_SIGNS = str.maketrans({"’": "'", "‘": "'", "–": "-", "—": "-", "−": "-", "‐": "-", "‑": "-"})
_JOINTS: Final = {"between": ("and", "-"), "from": ("to", "-", "until", "till", "through")}
_JOINT: Final = ("-", "to", "until", "till", "through")
_DIRECTIONS: Final = {"before": -1, "preceding": -1, "after": 1, "following": 1, "from": 1}
_SIZES: Final[dict[str, tuple[timedelta, Kind]]] = {
    "minute": (timedelta(minutes=1), "day"),
    "hour": (timedelta(hours=1), "day"),
    "day": (DAY, "day"),
    "weekend": (WEEK, "weekend"),
    "week": (WEEK, "week"),
    "fortnight": (2 * WEEK, "week"),
    "month": (timedelta(days=30), "month"),
    "quarter": (timedelta(days=91), "quarter"),
    "year": (timedelta(days=365), "year"),
    "decade": (timedelta(days=3652), "decade"),
}


def mentioned(question: str, now: datetime) -> list[Span]:
    """The spans that a question names, at most :data:`MOST_SPANS`.

    Relative ones are counted from ``now`` (aware), or from the one full date that the question names beside them. Dates
    in figures are read both ways where both are dates. What is no date, or lies outside the years 1 to 9999, is left
    out.
    """
    return read(question, now).spans


def read(question: str, now: datetime) -> Dates:
    """The spans that a question names, and the times that it tells by an event; see :func:`mentioned`."""
    text = question
    if len(text) > MOST_CHARS:
        text = f"{text[: MOST_CHARS // 2]} . {text[-MOST_CHARS // 2 :]}"
    words = set(_WORD.findall(text.lower()))
    english, language = _may_name(words, text), foreign_dates.language_of(words)
    if not english and language is None:
        return Dates([], [])
    text, now = text.translate(_SIGNS), now.astimezone(UTC)
    found = _english(text, now) if english else []
    spans = [one for one in found if isinstance(one, Span)]
    if language is not None:
        theirs = foreign_dates.spans(text, language, now)
        spans = theirs + [span for span in spans if not any(span.text in one.text for one in theirs)]
    return Dates(spans[:MOST_SPANS], [one for one in found if isinstance(one, Relative)])


def warm() -> None:
    """Loads the parser of foreign dates, which takes about a second: at start, in a thread."""
    foreign_dates.warm()


def _may_name(words: set[str], text: str) -> bool:
    """Whether a text may name a time in English, at a glance: most questions do not."""
    if not words.isdisjoint(GATE):
        return True
    if not words.isdisjoint(UNITS) and not words.isdisjoint(BESIDE_A_UNIT):
        return True
    return _FIGURES.search(text) is not None


def _english(text: str, now: datetime) -> list[Span | Relative]:
    reader = _Phrases(text, now)
    found = reader.scan()
    if len(found) > 1 and len(reader.full) == 1:
        # "What did she say last week, as of 6 November 2023?"
        reader.count_from(next(iter(reader.full)))
        found = reader.scan()
    return found


class _Phrases(Points):
    """Ranges, open ends, and what is told by another point: so long before it, or after."""

    def count_from(self, moment: date) -> None:
        """Relative dates are counted from a day instead of from now."""
        self._today, self._now = moment, midnight(moment) + DAY / 2

    def scan(self) -> list[Span | Relative]:
        """All that is named, in the order of the text."""
        found: list[Span | Relative] = []
        place = 0
        while place < self.count and len(found) < MOST_SPANS:
            word = self.words[place]
            if word not in STARTS and not word[0].isdigit() and word[0] != "'":
                place += 1
                continue
            some, behind = self._tried(place)
            found += [one._replace(text=self.said(place, behind)) for one in some]
            place = max(behind, place + 1)
        return found

    def _tried(self, i: int) -> tuple[list[Span] | list[Span | Relative], int]:
        try:
            if figures := self.both_ways(i):
                return figures, i + 1
            found = self._phrase(i)
        except NoSuchDateError as error:
            return [], error.behind
        except (ValueError, OverflowError):
            return [], i
        return ([], i) if found is None else ([found[0]], found[1])

    def _dated(self, i: int, *, sure: bool = False) -> Read | None:
        """A point by itself, or told by another that is."""
        if self._depth == MOST_DEPTH:
            return None
        self._depth += 1
        try:
            moved = self._moved(self._past_the(i) if sure else i)
        finally:
            self._depth -= 1
        return (moved[0], moved[1]) if moved is not None and isinstance(moved[0], Span) else self.point(i, sure=sure)

    def _phrase(self, i: int) -> Phrase | None:
        word = self.words[i]
        if word in _JOINTS and (span := self._between(i)) is not None:
            return span
        if word in OPENINGS and (span := self._open(i)) is not None:
            return span
        if self.words[i + 1] in _JOINT and (span := self._days_of_month(self._number(i), i + 2)) is not None:
            return span
        found = self._moved(i) or self.point(i)
        if found is not None and isinstance(found[0], Span) and self.words[found[1]] in _JOINT:
            return self._joined(found[0], found[1] + 1) or found
        return found

    # From one point to another

    def _between(self, i: int) -> Read | None:
        """As "between March and May", "from 3 to 10 May", "from May on"."""
        opening, joints = self.words[i], _JOINTS[self.words[i]]
        if self.words[i + 2] in joints and (found := self._days_of_month(self._number(i + 1), i + 3)) is not None:
            return found
        left = self._dated(i + 1, sure=True)
        if left is None:
            return None
        span, joint = left
        if opening == "from" and self.words[joint] in ("on", "onward", "onwards"):
            return self._on_from(span.since), joint + 1
        return self._joined(span, joint + 1) if self.words[joint] in joints else None

    def _joined(self, left: Span, i: int) -> Read | None:
        """The rest of "2020-2022", "March to May 2023", "May 3-10, 2023" from the second on."""
        if left.kind == "day" and (found := self._rest_of_days(left, i)) is not None:
            return found
        right = self.point(i, sure=True)
        if right is None:
            return None
        first, last = _of_one_year(left, right[0])
        return (united(first, last), right[1]) if first.since < last.until else None

    def _days_of_month(self, number: int, i: int) -> Read | None:
        """The rest of "3 to 10 May" from the 10 on."""
        found = self.point(i, sure=True) if 1 <= number <= 31 else None
        if found is None or found[0].kind != "day":
            return None
        last, behind = found
        return united(day(last.since.year, last.since.month, number)._replace(yearly=last.yearly), last), behind

    def _rest_of_days(self, first: Span, i: int) -> Read | None:
        """The rest of "May 3-10, 2023" from the 10 on."""
        number = self._number(i)
        if not 1 <= number <= 31 or self.words[i + 1] in MONTHS or self.words[i + 1] == "of":
            return None
        year, behind = self._year_behind(i + 1)
        if year is not None:
            first = in_year(first, year)._replace(yearly=False)
        last = day(first.since.year, first.since.month, number)._replace(yearly=first.yearly)
        return united(first, last), behind

    def _open(self, i: int) -> Read | None:
        """As "since March", "before 2022", "by the end of May"."""
        word, second = self.words[i], self.words[i + 1]
        two = OPENINGS[word]
        if two and two != second:
            return None
        found = self._dated(i + 1 + bool(two), sure=(word, second) not in (("by", "april"), ("by", "june")))
        if found is None:
            return None
        span, behind = found
        if word in ("since", "after"):
            return self._on_from(span.since if word == "since" else span.until), behind
        return Span(EARLIEST, span.since if word in ("before", "prior") else span.until, "", "before"), behind

    def _on_from(self, since: datetime) -> Span:
        tomorrow = midnight(self._today) + DAY
        return Span(since, tomorrow if since < tomorrow else LATEST, "", "after")

    # So long before a point, or after

    def _moved(self, i: int) -> Phrase | None:
        """As "3 months ago", "a week before 5 June", "the Sunday before Christmas", "two weeks before the wedding"."""
        counted = self._count(i)
        if counted is not None:
            return self._counted(i, *counted)
        first = i + (self.words[i] in WHICH)
        word = self.words[first]
        unit = UNITS.get(word)
        sign, start = self._direction(first + 1)
        if sign == 0 and self.words[first + 1] == "of" and self.words[first + 2] in DETERMINERS:
            start = first + 2
        elif sign == 0 or (self.words[start] in WHICH and self.point(start) is None):
            # Nothing, or "the week before last".
            return None
        if word in WEEKDAYS:
            found = self._dated(start, sure=True) if sign else None
            return None if found is None else (weekday_beside(WEEKDAYS[word], found[0], sign), found[1])
        if unit is None or word.endswith("s"):
            # "How many days before the wedding": nobody says how many.
            return None
        found = self._dated(start, sure=True)
        return self._event(unit, sign, start) if found is None else (beside(unit, found[0], sign), found[1])

    def _counted(self, i: int, count: tuple[int, int], unit: str, behind: int) -> Phrase | None:
        least, most = count
        word = self.words[behind]
        if word == "ago":
            return self._steps_from_now(unit, -most, -least), behind + 1
        if word == "from" and self.words[behind + 1] in ("now", "today"):
            return self._steps_from_now(unit, least, most), behind + 2
        if self.words[i - 1] == "in" and self._ends(behind):
            return self._steps_from_now(unit, least, most), behind
        sign, start = self._direction(behind)
        if sign == 0:
            return None
        found = self._dated(start, sure=True)
        if found is None:
            return self._event(unit, sign * (least + most) / 2, start)
        span, behind = found
        edge = span.since.date() if sign < 0 else (span.until - DAY).date()
        ends = sorted((sign * least, sign * most))
        return _steps(unit, ends[0], ends[1], edge), behind

    def _direction(self, i: int) -> tuple[int, int]:
        """(-1 for "before", 1 for "after", else 0; the place behind the word)."""
        if (self.words[i], self.words[i + 1]) == ("prior", "to"):
            return -1, i + 2
        sign = _DIRECTIONS.get(self.words[i], 0)
        return sign, i + abs(sign)

    def _steps_from_now(self, unit: str, least: int, most: int) -> Span:
        if unit not in ("minute", "hour"):
            return _steps(unit, least, most, self._today)
        size, half = _SIZES[unit][0] if unit == "minute" else timedelta(hours=1), timedelta(minutes=30)
        return Span(self._now + least * size - half, self._now + most * size + half, "", "hours")

    def _event(self, unit: str, count: float, start: int) -> Phrase | None:
        """What is told by an event: the words up to the end of the clause."""
        end = start
        while end < self.count and end - start < MOST_ANCHOR_WORDS:
            if not self.words[end][0].isalnum() or self.words[end] in CLAUSE_WORDS:
                break
            end += 1
        while start < end and (self.words[start] in DETERMINERS or self.words[start] in PRONOUNS):
            start += 1
        if all(word in UNITS or not word[0].isalpha() for word in self.words[start:end]):
            return None
        size, kind = _SIZES[unit]
        return Relative(size * count, self.said(start, end), "", kind), end


def _steps(unit: str, least: int, most: int, today: date) -> Span:
    """What is meant by so many units from a day, at least and at most."""
    near, far = step(unit, least, today), step(unit, most, today)
    return Span(near.since, far.until, "", near.kind)


def _of_one_year(left: Span, right: Span) -> tuple[Span, Span]:
    """Both ends of a range in the year that one of them names: "between March and May 2023"."""
    if left.yearly and not right.yearly:
        left = in_year(left, right.since.year)
        if left.since > right.since:
            left = in_year(left, right.since.year - 1)
    elif right.yearly and not left.yearly:
        right = in_year(right, left.since.year)
        if right.until <= left.since:
            right = in_year(right, left.since.year + 1)
    elif left.yearly and right.until <= left.since:
        left = in_year(left, left.since.year - 1)
    return left, right
