"""The embedding model that a store was filled with, and the check that the settings still mean the same."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from reverie.core import clock
from reverie.core.database import Connection, Database
from reverie.core.errors import StartError


@dataclass(frozen=True, slots=True)
class Model:
    """A row of ``model``: its number stands as a literal in every query on vectors."""

    id: int
    name: str
    dim: int
    precision: str

    @property
    def column(self) -> str:
        """The column of ``memory_embedding`` that holds its vectors."""
        return "vec" if self.precision == "fp16" else "vec_fp32"

    @property
    def type(self) -> str:
        """The type of that column."""
        return "halfvec" if self.precision == "fp16" else "vector"


async def ensure_model(
    database: Database,
    name: str,
    dim: int,
    precision: str,
    add_indexes: Callable[[Connection, Model], Awaitable[None]],
) -> Model:
    """The active model, which must be this one; on a store without vectors it becomes this one.

    ``add_indexes`` makes the model's index on every partition.

    Raises:
        StartError: the store's vectors were made by another model.
    """
    async with database.maintenance() as connection:
        await _take_turns(connection)
        cursor = await connection.execute("SELECT id, name, dim, precision FROM model WHERE active")
        row = await cursor.fetchone()
        active = Model(*row) if row else None
        if active is None or (active.name, active.dim, active.precision) != (name, dim, precision):
            if active is not None and await _has_vectors(connection):
                raise StartError(
                    f"This store holds vectors of {_described(active.name, active.dim, active.precision)}, but the "
                    f"settings name {_described(name, dim, precision)}: set EMBEDDING_MODEL, EMBEDDING_DIM and "
                    "EMBEDDING_PRECISION back, or start with an empty store."
                )
            active = await _activate(connection, name, dim, precision)
        await add_indexes(connection, active)
    return active


async def _take_turns(connection: Connection) -> None:
    # Polled: a session that waits for the lock holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait.
    while True:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(hashtext('reverie.model'))")
        row = await cursor.fetchone()
        if row and row[0]:
            return
        await asyncio.sleep(0.05)


def _described(name: str, dim: int, precision: str) -> str:
    return f"{name} ({dim} dimensions, {precision})"


async def _has_vectors(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT EXISTS (SELECT FROM memory_embedding)")
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _activate(connection: Connection, name: str, dim: int, precision: str) -> Model:
    async with connection.transaction():
        await connection.execute("UPDATE model SET active = false WHERE active")
        cursor = await connection.execute(
            "INSERT INTO model (name, dim, precision, active, created_at) VALUES (%s, %s, %s, true, %s)"
            " ON CONFLICT (name, dim, precision) DO UPDATE SET active = true RETURNING id",
            (name, dim, precision, clock.now()),
        )
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING of one row
    return Model(row[0], name, dim, precision)
