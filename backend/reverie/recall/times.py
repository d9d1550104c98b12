"""How close a trace lies to the times that a question names: a preference, never a filter. Pure functions."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reverie.text import dates
from reverie.text.date_words import words_of
from reverie.text.dates import Relative
from reverie.text.spans import DAY, EARLIEST, LATEST, Kind, Span

Seconds: TypeAlias = NDArray[np.float64]

LEAST_DECAY: Final = DAY
MOST_DECAY: Final = timedelta(days=365)
"""Outside a span closeness falls to 1/e within the span's own length, but within no less and no more than these."""

ANOTHER_YEAR: Final = 0.5
"""What the same days of another year count, where the question names no year."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400.0
_WIDTHS: Final[dict[Kind, timedelta]] = {
    "day": DAY, "weekend": timedelta(days=3), "week": timedelta(days=7), "month": timedelta(days=30),
    "quarter": timedelta(days=91), "year": timedelta(days=365), "decade": timedelta(days=3652),
}  # fmt: skip
_WORD = re.compile(r"\w+")
_STOP_WORDS: Final = words_of(
    "a an the my our his her their your its this that of in on at to for with by from and or is was were be been had "
    "has have i you he she it we they me him us them got get went"
)


def seconds(moments: Iterable[datetime]) -> Seconds:
    """Moments as seconds since the Unix epoch, as :func:`closeness` takes them."""
    return np.fromiter(((moment - _EPOCH).total_seconds() for moment in moments), dtype=np.float64)


def spans_for(question: str, now: datetime, moments: Iterable[datetime]) -> list[Span]:
    """The spans that a question names.

    Where all of them begin after the last of ``moments`` (when that happened which may be meant), they are counted from
    there instead of from ``now``: of someone who was silent for a year, "last week" is that before he fell silent.
    """
    spans = dates.mentioned(question, now)
    # Most questions name no time: nothing is looked through for them.
    newest = max(moments, default=None) if spans else None
    if newest is not None and all(span.since > newest for span in spans):
        return dates.mentioned(question, newest)
    return spans


def closeness(spans: Sequence[Span], happened_at: Seconds) -> Seconds:
    """For each moment how close it lies to the nearest of the spans, from 0 to 1: 1 inside, less with the distance.

    Outside it is exp(-distance / length) with the length of the span, bounded by :data:`LEAST_DECAY` and
    :data:`MOST_DECAY`. The same days of other years count :data:`ANOTHER_YEAR`, where no year is named. Without spans
    it is 0 everywhere.
    """
    best = np.zeros(happened_at.shape)
    for span in spans:
        length = min(max(span.until - span.since, LEAST_DECAY), MOST_DECAY).total_seconds()
        since, until = (span.since - _EPOCH).total_seconds(), (span.until - _EPOCH).total_seconds()
        np.maximum(best, np.exp(-_distance(since, until, happened_at) / length), out=best)
        if span.yearly:
            for years in (-1, 0, 1):
                apart = _distance(*_same_days(span, happened_at, years), happened_at)
                np.maximum(best, ANOTHER_YEAR * np.exp(-apart / length), out=best)
    return best


def resolved(relatives: Sequence[Relative], ranked: Iterable[tuple[datetime, str]]) -> list[Span]:
    """The times that are told by an event, counted from the first of ``ranked`` that tells of it.

    ``ranked`` are candidates as (when it happened, its words), best first. An event that none of them tells of gives no
    span, nor does one that would lie outside the years 1 to 9999.
    """
    if not relatives:
        return []
    told = [(moment, frozenset(_stems(text))) for moment, text in ranked]
    spans = []
    for relative in relatives:
        wanted = frozenset(_stems(relative.anchor))
        moment = next((moment for moment, words in told if wanted and wanted <= words), None)
        span = None if moment is None else _around(moment, relative)
        if span is not None:
            spans.append(span)
    return spans


def _distance(since: float | Seconds, until: float | Seconds, moments: Seconds) -> Seconds:
    # Half-open: the moment at which a span ends lies outside, though at no distance worth the name.
    distance: Seconds = np.maximum(np.maximum(since - moments, moments - until), 0.0)
    return distance


def _same_days(span: Span, moments: Seconds, ahead: int) -> tuple[Seconds, Seconds]:
    """(since, until) of a span in the year of each moment, or so many years on."""
    years = moments.astype("datetime64[s]").astype("datetime64[Y]") + ahead
    months = years.astype("datetime64[M]") + (span.since.month - 1)
    since = months.astype("datetime64[D]").astype(np.float64) + (span.since.day - 1)
    since *= _DAY_SECONDS
    return since, since + (span.until - span.since).total_seconds()


def _around(moment: datetime, relative: Relative) -> Span | None:
    width = _WIDTHS[relative.kind]
    try:
        day = (moment + relative.offset).replace(hour=0, minute=0, second=0, microsecond=0)
        since = day - (width - DAY) / 2
        until = since + width
    except OverflowError:
        return None
    return Span(since, until, relative.text, relative.kind) if since >= EARLIEST and until <= LATEST else None


def _stems(text: str) -> set[str]:
    return {_stem(word) for word in _WORD.findall(text.lower())} - _STOP_WORDS


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    """A word without its plural or possessive s."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
