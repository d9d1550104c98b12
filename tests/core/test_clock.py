from datetime import UTC, datetime, timedelta

import pytest

from reverie.core import clock

THEN = datetime(2031, 3, 5, tzinfo=UTC)


def test_the_clock_is_utc() -> None:
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_the_clock_is_moved_and_goes_on() -> None:
    with clock.as_of(THEN):
        first, second = clock.now(), clock.now()
        assert THEN <= first <= second < THEN + timedelta(seconds=1)
        with clock.as_of(THEN - timedelta(days=1)):
            assert clock.now() < THEN
        assert clock.now() >= second
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_the_clock_comes_back_after_an_error() -> None:
    with pytest.raises(RuntimeError), clock.as_of(THEN):
        raise RuntimeError
    assert clock.now() < THEN
