"""The lexical arm: BM25 (Robertson and Zaragoza, 2009) over the words of a user, in SQL."""

from uuid import UUID

from reverie.core.database import Database
from reverie.core.queries import Queries
from reverie.recall.types import Candidate, Found, Question

SQL = Queries("reverie.recall")

K1, B = 0.9, 0.4
"""Saturation and length normalisation for short passages (the defaults of Anserini; Yang et al., 2018)."""

MOST_CANDIDATES = 2000
"""Traces that are scored at most, those with the rarest terms first: what bounds the arm for a very large user."""


async def search(database: Database, space_id: UUID, question: Question, depth: int, seconds: float) -> Found:
    """The ``depth`` traces with the greatest BM25 score."""
    bounds = question.bounds
    only = None if bounds.only is None else list(bounds.only)
    parameters = (
        bounds.user_ids, bounds.user_ids, question.language, question.text, bounds.kinds, bounds.since, bounds.until,
        bounds.before, only, MOST_CANDIDATES, depth, K1, B,
    )  # fmt: skip
    async with database.reading(space_id, seconds=seconds) as session:
        cursor = await session.send(SQL["lexical"], parameters)
    rows = await cursor.fetchall()
    # The greatest BM25 score: every term of the question, each as often as its saturation can be reached (k1 + 1).
    return Found(
        {row[0]: float(row[1]) for row in rows},
        {row[0]: Candidate(row[0], *row[2:7]) for row in rows},
        rows[0][7] * (K1 + 1) if rows else 0.0,
    )
