"""Rows for partitions, written as plainly as the tables allow."""

from datetime import datetime
from uuid import UUID

import numpy as np
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector_async

from reverie.core.database import Connection, Row
from reverie.core.ids import uuid7s
from reverie.memories.model import Model


async def fetch(connection: Connection, query: str, *parameters: object) -> list[Row]:
    """The rows of a query."""
    return await (await connection.execute(query.encode(), parameters or None)).fetchall()


async def add_model(connection: Connection, name: str, dim: int, precision: str, moment: datetime) -> Model:
    """A row of ``model``, not active."""
    ((number,),) = await fetch(
        connection,
        "INSERT INTO model (name, dim, precision, created_at) VALUES (%s, %s, %s, %s) RETURNING id",
        name, dim, precision, moment,
    )  # fmt: skip
    return Model(number, name, dim, precision)


async def add_traces(connection: Connection, space: UUID, user: UUID, moment: datetime, count: int) -> list[UUID]:
    """Traces of one moment without body or vectors."""
    ids = uuid7s(moment, count)
    await connection.execute(
        "INSERT INTO memory_trace (space_id, user_id, id, kind, language, length, created_at, salience, salience_given,"
        " digest, vectors) SELECT %s, %s, id, 'note', 'english', 1, %s, 0.5, false, 'd', true"
        " FROM unnest(%s::uuid[]) AS id",
        (space, user, moment, ids),
    )
    return ids


async def add_vectors(
    connection: Connection, model: Model, space: UUID, user: UUID, moment: datetime, count: int
) -> list[UUID]:
    """Traces of one moment with a random vector each."""
    await register_vector_async(connection)
    ids = await add_traces(connection, space, user, moment, count)
    drawn = np.random.default_rng(1).standard_normal((count, model.dim)).astype(np.float32)
    vectors = [HalfVector(row) if model.precision == "fp16" else Vector(row) for row in drawn]
    await connection.execute(
        "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind,"  # noqa: S608
        f" {model.column}) SELECT %s, %s, r.id, %s, 0, 0, %s, 2, r.v"
        f" FROM unnest(%s::uuid[], %s::{model.type}[]) AS r (id, v)",
        (space, user, moment, model.id, ids, vectors),
    )
    return ids
