"""Weeks and the ranges of ids that they are."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.core.ids import moment_of, uuid7
from reverie.tiers.partitions import week_of, weeks_between

moments = st.datetimes(datetime(1970, 1, 9), datetime(9000, 1, 1), timezones=st.timezones())  # noqa: DTZ001


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        (datetime(2026, 11, 16, tzinfo=UTC), "memory_body_2026w47"),
        (datetime(2026, 11, 22, 23, 59, 59, 999_999, tzinfo=UTC), "memory_body_2026w47"),
        (datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=2))), "memory_body_2026w47"),
        (datetime(2027, 1, 1, tzinfo=UTC), "memory_body_2026w53"),
        (datetime(2024, 12, 30, tzinfo=UTC), "memory_body_2025w01"),
    ],
)
def test_a_week_is_named_as_iso_8601_counts(moment: datetime, name: str) -> None:
    assert week_of(moment).table("memory_body") == name


@given(moments)
def test_a_week_holds_its_moments_and_their_ids(moment: datetime) -> None:
    week = week_of(moment)
    assert week.since <= moment < week.until
    assert week.until - week.since == timedelta(days=7)
    assert (week.since.weekday(), week.since.utcoffset()) == (0, timedelta(0))
    assert week.lower <= uuid7(moment) < week.upper
    assert moment_of(week.lower) == week.since


@given(moments, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_weeks_follow_one_another_without_a_gap(since: datetime, span: timedelta) -> None:
    until = since + span
    weeks = weeks_between(since, until)
    assert weeks[0] == week_of(since)
    assert weeks[-1] == week_of(until)
    assert all(earlier.upper == later.lower for earlier, later in pairwise(weeks))
    assert len({week.table("t") for week in weeks}) == len(weeks)
