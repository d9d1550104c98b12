"""The one source of time, so that tests and ``--as-of`` can move it."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SKEW = timedelta(minutes=1)
"""By how much the clocks of two machines may differ. What lies further ahead was written before a clock was set back,
and is not waited for."""

_offset = timedelta(0)


def now() -> datetime:
    """The current moment in UTC, moved by what :func:`as_of` set."""
    return datetime.now(UTC) + _offset


@contextmanager
def as_of(moment: datetime) -> "Iterator[None]":
    """Moves the clock of this process to ``moment`` (aware); it goes on running from there until the block ends."""
    global _offset
    before = _offset
    _offset = moment - datetime.now(UTC)
    try:
        yield
    finally:
        _offset = before
