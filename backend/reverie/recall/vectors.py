"""The vector arm: the traces whose vectors are most like the question's."""

from typing import Literal
from uuid import UUID

from reverie.core.database import Database, as_vector
from reverie.core.queries import Queries
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall.bounds import clauses
from reverie.recall.types import Bounds, Candidate, Found

SQL = Queries("reverie.recall")

Plan = Literal["exact", "hnsw"]


def plan_for(mode: str) -> Plan:
    """Which plan serves the vector arm: the exact one, unless MEMORY_HNSW=always."""
    return "hnsw" if mode == "always" else "exact"


def expression(model: Model, plan: Plan) -> str:
    """What is compared with the question: the column, as the index of the plan has it."""
    return f"{model.column}::{model.type}({model.dim})" if plan == "hnsw" else model.column


async def search(
    database: Database, space_id: UUID, bounds: Bounds, vector: FloatArray, model: Model, plan: Plan, depth: int,
    seconds: float,
) -> Found:  # fmt: skip
    """The ``depth`` traces whose vectors have the greatest cosine with ``vector``, the best head of each."""
    text, extra = clauses(bounds)
    query = SQL.text("vectors", clauses=text, vector=expression(model, plan), model=model.id)
    wanted = as_vector(vector, model.precision)
    parameters = (wanted, bounds.user_ids, bounds.heads, *extra, depth)
    async with database.reading_vectors(space_id, seconds=seconds) as session:
        if plan == "hnsw":
            await session.send(SQL["hnsw_settings"])
        cursor = await session.send(query, parameters)
    found = Found({})
    for row in await cursor.fetchall():
        found.candidates[row[0]] = Candidate(row[0], *row[2:])
        found.scores[row[0]] = max(row[1], found.scores.get(row[0], -1.0))
    return found
