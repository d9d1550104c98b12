"""How close traces lie to the times that a question names."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.recall.times import ANOTHER_YEAR, closeness, resolved, seconds, spans_for
from reverie.text.dates import Relative, mentioned, read
from reverie.text.spans import EARLIEST, LATEST, Span

NOW = datetime(2026, 5, 20, 14, 30, tzinfo=UTC)
KINDS = ["day", "week", "month", "season", "year", "decade", "range", "before", "after"]

moments = st.datetimes(timezones=st.just(UTC))


@st.composite
def spans(draw: st.DrawFn) -> Span:
    since, until = sorted((draw(moments), draw(moments)))
    until = max(until, since + timedelta(microseconds=1)) if since < LATEST else LATEST
    since = min(since, until - timedelta(microseconds=1))
    return Span(since, until, "then", draw(st.sampled_from(KINDS)), draw(st.booleans()))


def near(question: str, *days: str) -> list[float]:
    happened = seconds(datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days)
    return [float(one) for one in closeness(mentioned(question, NOW), happened)]


def test_inside_it_is_one_and_outside_it_falls_within_the_length_of_the_span() -> None:
    inside, edge, day_after, week_after = near(
        "on 3 May 2023", "2023-05-03T23:59", "2023-05-03", "2023-05-05", "2023-05-11"
    )
    assert inside == edge == 1
    assert day_after == pytest.approx(np.exp(-1))
    assert week_after == pytest.approx(np.exp(-7))
    in_may, in_july = near("in May 2023", "2023-05-30", "2023-07-02")
    assert in_may == 1
    assert in_july == pytest.approx(np.exp(-1))
    long_ago, then, later = near("before 2022", "1900-01-01", "2021-12-31", "2023-01-01")
    assert long_ago == then == 1
    assert later == pytest.approx(np.exp(-1))


def test_the_same_days_of_another_year_count_less_and_only_where_no_year_is_named() -> None:
    days = ("2025-08-10", "2023-08-10", "2024-08-31", "2023-02-10")
    last, other, another, never = near("in August", *days)
    assert last == 1
    assert other == another == ANOTHER_YEAR
    assert never < 0.01
    assert near("in August 2025", *days)[1] < 0.01
    assert near("on New Year's Eve", "2021-12-31T12:00", "2022-01-01T12:00") == [
        ANOTHER_YEAR, pytest.approx(ANOTHER_YEAR * np.exp(-0.5))
    ]  # fmt: skip


def test_without_a_time_nothing_is_near() -> None:
    assert near("What is the cat called?", "2026-05-20") == [0]
    assert closeness(mentioned("yesterday", NOW), seconds([])).shape == (0,)


@given(st.lists(spans(), max_size=4), st.lists(moments, max_size=20))
def test_it_lies_between_0_and_1_and_is_1_inside(given_spans: list[Span], happened: list[datetime]) -> None:
    found = closeness(given_spans, seconds(happened))
    assert found.shape == (len(happened),)
    assert bool(((found >= 0) & (found <= 1)).all())
    for moment, one in zip(happened, found, strict=True):
        if any(span.since <= moment < span.until for span in given_spans):
            assert one == 1


def test_of_a_memory_that_ended_long_ago_relative_words_count_from_its_end() -> None:
    happened = [datetime(2023, 10, day, tzinfo=UTC) for day in (3, 19, 7)]
    (span,) = spans_for("What did I do last week?", NOW, happened)
    assert (span.since.date().isoformat(), span.until.date().isoformat()) == ("2023-10-09", "2023-10-16")
    for still in ([NOW], [*happened, NOW - timedelta(days=8)], []):
        assert spans_for("What did I do last week?", NOW, still) == mentioned("last week", NOW)
    for fixed in ("in 2022", "on 3 May 2025"):
        assert spans_for(fixed, NOW, happened) == mentioned(fixed, NOW)
    assert spans_for("What is the cat called?", NOW, happened) == []


RANKED = [
    (datetime(2023, 3, 1, tzinfo=UTC), "We talked about cakes."),
    (datetime(2023, 6, 17, 15, tzinfo=UTC), "What a day, Ada's weddings are always fun!"),
    (datetime(2024, 6, 17, tzinfo=UTC), "Another wedding."),
]


@pytest.mark.parametrize(
    ("question", "since", "until"),
    [
        ("What did I buy two weeks before the wedding?", "2023-05-31", "2023-06-07"),
        ("Who came the day after Ada's wedding?", "2023-06-18", "2023-06-19"),
        ("What did we eat on the day of the wedding?", "2023-06-17", "2023-06-18"),
        ("Where was I a month after another wedding?", "2024-07-02T12:00", "2024-08-01T12:00"),
    ],
)
def test_an_event_is_dated_by_the_best_candidate_that_tells_of_it(question: str, since: str, until: str) -> None:
    (span,) = resolved(read(question, NOW).relatives, RANKED)
    assert span.since.replace(tzinfo=None) == datetime.fromisoformat(since)
    assert span.until.replace(tzinfo=None) == datetime.fromisoformat(until)
    assert span.text in question


def test_an_event_that_nobody_tells_of_dates_nothing() -> None:
    relatives = read("Who came the day after the funeral?", NOW).relatives
    assert len(relatives) == 1
    assert resolved(relatives, RANKED) == []
    assert resolved([], RANKED) == []
    assert resolved(relatives, []) == []


@given(
    st.timedeltas(),
    st.text(),
    st.sampled_from(["day", "weekend", "week", "month", "quarter", "year", "decade"]),
    moments,
)
def test_any_event_gives_a_span_within_time_or_none(
    offset: timedelta, anchor: str, kind: str, moment: datetime
) -> None:
    relative = Relative(offset, anchor, "then", kind)  # type: ignore[arg-type]
    for span in resolved([relative], [(moment, f"{anchor} wedding")]):
        assert EARLIEST <= span.since < span.until <= LATEST
