"""Whatever the text and the moment: spans within the years 1 to 9999, that end after they begin, and never an error."""

import time
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.text import date_words
from reverie.text.date_words import words_of
from reverie.text.dates import MOST_SPANS, mentioned, read
from reverie.text.foreign_dates import LANGUAGES
from reverie.text.spans import EARLIEST, LATEST

anything = st.text(st.characters(exclude_categories=[]))
moments = st.datetimes(timezones=st.just(UTC))

WORDS = sorted(
    {
        *date_words.MONTHS, *date_words.UNITS, *date_words.WEEKDAYS, *date_words.SEASON_WORDS, *date_words.NUMBERS,
        *date_words.VAGUE_NUMBERS, *date_words.ORDINALS, *date_words.PARTS, *date_words.WHICH, *date_words.NEAR,
        *date_words.DECADES, *date_words.BEFORE_A_MONTH, *date_words.COUNTED,
        *(word for words in date_words.FEASTS for word in words),
        *(word for one in LANGUAGES.values() for word in one.names | one.units | one.signals | one.between),
        *words_of(
            "between from to and of in on the ago before after following prior up as until this coming wedding q1 q4 "
            "- , . ? / ' '22 1990s '80s 90s 1st 3rd 29 30 31 32 99 2023 2024 9999 0 1 2 3 12 5/6/2023 29.02.2023 "
            "2023-02-29 2023-02 0001-01-01 9999-12-31 100000 was quand cuándo"
        ),
    }
)  # fmt: skip
sentences = st.lists(st.sampled_from(WORDS) | st.integers(0, 10_000).map(str), max_size=14).map(" ".join)


def check(question: str, now: datetime) -> None:
    found = read(question, now)
    assert len(found.spans) <= MOST_SPANS
    for span in found.spans:
        assert EARLIEST <= span.since < span.until <= LATEST
        assert span.since.utcoffset() == span.until.utcoffset() == timedelta(0)
        assert span.text
    for relative in found.relatives:
        assert relative.anchor
        assert relative.anchor in relative.text
    assert read(question, now) == found


@given(anything, moments)
def test_any_text(question: str, now: datetime) -> None:
    check(question, now)


@given(sentences, moments)
def test_any_words_of_dates(question: str, now: datetime) -> None:
    check(question, now)


@given(sentences, st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_any_words_of_dates_in_our_time(question: str, now: datetime) -> None:
    check(question, now)


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), moments)
@settings(max_examples=30)
def test_any_words_again_and_again(words: list[str], now: datetime) -> None:
    text = f"{' '.join(words)} " * (100_000 // sum(len(word) + 1 for word in words))
    began = time.process_time()
    check(text, now)
    # Twice some milliseconds.
    assert time.process_time() - began < 1


@given(st.dates(datetime(1900, 1, 1).date(), datetime(2099, 12, 31).date()), moments)  # noqa: DTZ001
def test_a_full_date_is_that_day_in_every_form(day: object, now: datetime) -> None:
    for form in ("%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d. %b %Y", "the %d of %B, %Y", "%d.%m.%Y", "%A, %d %B %Y"):
        (span,) = mentioned(f"What was on {day:{form}}?", now)
        assert span.since.date() == day
        assert span.until - span.since == timedelta(days=1)
