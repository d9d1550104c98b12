"""What a model was shown, and what may be said of it: its words, names, numbers and dates. Pure functions."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple

from reverie.language.numbers import meant
from reverie.text import dates
from reverie.text.entities import STOP, name_key
from reverie.text.languages import SIMPLE, detect, small_words
from reverie.text.sentences import UNSPACED

FEWEST_WORDS: Final = 3
"""A run of so many words that stands in one record alone was taken from there."""

_WORD: Final = re.compile(r"[^\W_]+(?:['’&.-][^\W_]+)*")
_PART: Final = re.compile(r"[^\W_]+")
_UNSPACED: Final = re.compile(f"[{UNSPACED}]")

_STEM: Final = 5
_DAYS_TOLD: Final = timedelta(days=3)
"""A span of more days says nothing of each."""


_EARLIEST: Final = datetime(1000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC)
"""What lies beyond is no time that somebody tells of: a number that was read as a year."""


class Record(NamedTuple):
    """One thing that was remembered: who said it (empty where nobody did), what, and when (aware)."""

    speaker: str
    text: str
    when: datetime | None = None


def parts(text: str) -> list[str]:
    """The words of a text in lower case, hyphens and apostrophes parting them; of unspaced scripts pairs of letters."""
    found: list[str] = []
    for word in _PART.findall(unicodedata.normalize("NFKC", text).casefold()):
        found += _pairs(word) if _UNSPACED.search(word) else [word]
    return found


def runs(words: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """All runs of ``size`` words."""
    return (tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def script(text: str) -> str | None:
    """The script that most letters of a text are of, by the first word of their Unicode names."""
    letters = Counter(unicodedata.name(one, "?").split(maxsplit=1)[0] for one in text[:4000] if one.isalpha())
    found = letters.most_common(1)[0][0] if letters else None
    return "CJK" if found in ("HIRAGANA", "KATAKANA") else found


def stem(word: str) -> str:
    """What forms of a word have in common, roughly: its beginning."""
    return word[:_STEM]


@dataclass(frozen=True)
class Sources:
    """Records, and the language (a text-search configuration) that most of them are in."""

    records: tuple[Record, ...]
    language: str

    @classmethod
    def of(cls, records: Iterable[Record], language: str | None = None) -> "Sources":
        """In the language that can be told of the records; else in ``language``, which is how they are kept."""
        shown = tuple(records)
        return cls(shown, _language(shown) or language or SIMPLE)

    @cached_property
    def text(self) -> str:
        return "\n".join(
            f"{record.speaker}: {record.text}" if record.speaker else record.text for record in self.records
        )

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word that a record or a speaker's name has, in lower case, whole and in its parts."""
        whole = {name_key(word) for word in _WORD.findall(self.text)}
        return frozenset(whole | {word.replace(".", "") for word in whole} | set(parts(self.text)))

    @cached_property
    def small(self) -> frozenset[str]:
        """Words that say nothing by themselves."""
        return STOP | small_words(self.language)

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(stem(word) for word in self.words)

    @cached_property
    def numbers(self) -> frozenset[str]:
        """The values that may be told: those of the records, of their dates, and how many the speakers are."""
        told = meant(self.text, self.language)
        days = {str(part) for day in self.days for part in (day.year, day.month, day.day)}
        spans = {str(part) for span in self.spans for part in (span.since.year, span.until.year)}
        speakers = len({record.speaker for record in self.records if record.speaker})
        return frozenset(told | days | spans | {str(speakers)})

    @cached_property
    def days(self) -> frozenset[date]:
        """The days of the records, and those that they name ("yesterday")."""
        said = {record.when.date() for record in self.records if record.when}
        for span in self.spans:
            if span.until - span.since <= _DAYS_TOLD:
                length = (span.until - span.since).days
                said |= {(span.since + timedelta(days=number)).date() for number in range(length + 1)}
        return frozenset(said)

    @cached_property
    def months(self) -> frozenset[int]:
        """The months of those days, and of the spans that are named."""
        named = {moment.month for span in self.spans for moment in (span.since, span.until - timedelta(days=1))}
        return frozenset(named | {day.month for day in self.days})

    @cached_property
    def spans(self) -> tuple[dates.Span, ...]:
        """The times that records name, counted from their own days."""
        return tuple(
            span
            for record in self.records
            if record.when
            for span in dates.mentioned(record.text, _noon(record.when))
            if span.since > _EARLIEST and span.until < _LATEST
        )

    @cached_property
    def places(self) -> dict[tuple[str, ...], frozenset[int]]:
        """In which records each word, and each run of FEWEST_WORDS words, stands, names of speakers included."""
        found: dict[tuple[str, ...], set[int]] = {}
        for at, record in enumerate(self.records):
            for words in (parts(record.speaker), parts(record.text)):
                for run in (*runs(words, 1), *runs(words, FEWEST_WORDS)):
                    found.setdefault(run, set()).add(at)
        return {run: frozenset(places) for run, places in found.items()}


def _noon(when: datetime) -> datetime:
    """The middle of the day on which somebody said something, so that a zone does not make another of it."""
    return datetime(when.year, when.month, when.day, 12, tzinfo=UTC)


def _pairs(word: str) -> list[str]:
    return [word[at : at + 2] for at in range(len(word) - 1)] or [word]


def _language(records: Sequence[Record]) -> str | None:
    """The language of most letters, of the records of which it can be told."""
    votes: Counter[str] = Counter()
    for record in records:
        language = detect(record.text)
        if language is not None:
            votes[language] += len(record.text)
    return votes.most_common(1)[0][0] if votes else None
