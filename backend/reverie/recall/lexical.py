"""The lexical arm: BM25 (Robertson and Zaragoza, 2009) over the words of a user, in SQL."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
import structlog

from reverie.core.database import Database, Reads
from reverie.core.queries import Queries
from reverie.recall.types import Candidate, Found, Question
from reverie.text.languages import detect
from reverie.text.phrases import long_names, quoted

SQL = Queries("reverie.recall")
_LEXICAL = SQL.text("lexical", question=SQL.text("question_words").decode())
TERMS: Final = SQL.text("terms", question=SQL.text("question_words").decode())
"""The stemmed words of a question, as PostgreSQL reads it (:func:`asked_in`)."""

K1, B = 0.9, 0.4
"""Saturation and length normalisation for short passages (the defaults of Anserini; Yang et al., 2018)."""

CAP = 1000
"""What bounds the arm: users of up to ten times as many traces are searched in full, of larger ones about so many
traces are scored, those in which the rarest words stand together. `bench/lexical` measures what that costs."""

QUOTED, NAMED = 1.0, 0.15
"""What a phrase adds to the score of a trace that holds it, as a share of the most that words can give.

A quoted phrase therefore stands before everything else, and the rest follows: as a requirement it would leave the
answer empty where the memory of the phrase is wrong by a word. A name is what capitals make of it, and only helps.
"""

SAMPLE = 10_000
"""Traces of a large user in which terms are counted; fewer where they are long."""

MOST_TERMS_COUNTED = 4_000_000
RAREST_COUNTED = 10
"""A term that stands in fewer of the sample is so rare that a question may count it itself."""

GROWN = 1.25
"""So many times more traces than were counted have them counted again."""

_COUNT_WITHIN = timedelta(seconds=30)

log = structlog.get_logger(__name__)

_counting: WeakKeyDictionary[Database, set[UUID]] = WeakKeyDictionary()
"""Whose terms are being counted, so that many questions at once have it done once."""


async def search(
    database: Database, reads: Reads, space_id: UUID, question: Question, depth: int, seconds: float
) -> Found:
    """The ``depth`` traces with the greatest BM25 score, as ``reads`` has them."""
    bounds = question.bounds
    only = None if bounds.only is None else list(bounds.only)
    wanted = phrases(question.text)
    parameters = (
        CAP * 10, GROWN, GROWN, bounds.user_ids,
        *asked_in(question),
        *in_columns(wanted),
        bounds.user_ids, bounds.kinds, bounds.since, bounds.until, bounds.before, only, CAP, depth, K1, B, bounds.at,
    )  # fmt: skip
    async with reads.reading(space_id, seconds=seconds) as session:
        cursor = await session.send(_LEXICAL, parameters)
    rows = await cursor.fetchall()
    if rows and rows[0][5]:
        count_soon(database, space_id, bounds.user_ids)
    # The greatest BM25 score: every term of the question, each as often as its saturation can be reached (k1 + 1).
    return Found(
        {row[0]: float(row[1]) for row in rows},
        {row[0]: Candidate(row[0], *row[7:]) for row in rows},
        rows[0][2] * (K1 + 1) if rows else 0.0,
        bonus=sum(weight for _, weight in wanted) if any(row[4] for row in rows) else 0.0,
        terms=rows[0][6] if rows else b"",
    )


def asked_in(question: Question) -> tuple[Any, ...]:
    """What tells PostgreSQL the words of a question, and in which languages they may be."""
    return question.text, detect(question.text), question.language, question.bounds.user_ids


def phrases(text: str) -> list[tuple[str, float]]:
    """What stands in a row in a question, each with its weight: quoted phrases, then names of several words."""
    marked = quoted(text)
    return [(phrase, QUOTED) for phrase in marked] + [(name, NAMED) for name in long_names(text) if name not in marked]


def in_columns(wanted: Sequence[tuple[str, float]]) -> tuple[list[str], list[float]]:
    """Phrases as PostgreSQL is told them."""
    return [text for text, _ in wanted], [weight for _, weight in wanted]


def count_soon(database: Database, space_id: UUID, user_ids: Sequence[UUID]) -> None:
    """Has the terms of large users counted in the background, where that is due."""
    under_way = _counting.setdefault(database, set())
    for user_id in set(user_ids) - under_way:
        under_way.add(user_id)
        database.eventually(partial(_count, database, space_id, user_id), _COUNT_WITHIN)


async def _count(database: Database, space_id: UUID, user_id: UUID) -> None:
    try:
        await count_terms(database, space_id, user_id)
    except psycopg.Error as error:
        # The next question has it tried again.
        log.warning("terms not counted", error=type(error).__name__)
    finally:
        _counting.get(database, set()).discard(user_id)


async def count_due(database: Database) -> None:
    """Counts the terms of all large users where that is due, so that no question has to wait for it.

    Raises:
        psycopg.Error: those that are due could not be read.
    """
    async with database.maintenance() as connection:
        cursor = await connection.execute(SQL["uncounted"], (CAP * 10, GROWN, GROWN))
        due = await cursor.fetchall()
    for space_id, user_id in due:
        await _count(database, space_id, user_id)


async def count_terms(database: Database, space_id: UUID, user_id: UUID) -> None:
    """Counts in how many traces of a large user each term stands, where that is due."""
    parameters = (
        SAMPLE, MOST_TERMS_COUNTED, user_id, CAP * 10, GROWN, GROWN, user_id, RAREST_COUNTED, user_id,
    )  # fmt: skip
    async with database.writing(space_id, seconds=_COUNT_WITHIN.total_seconds()) as session:
        await session.execute(SQL["count_terms"], parameters)
