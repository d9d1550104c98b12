"""The embedding models of a store, and the check that the settings mean one whose vectors are there."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

import structlog
from psycopg.types.json import Jsonb

from reverie.core import clock
from reverie.core.database import Connection, Database
from reverie.core.errors import StartError
from reverie.core.ids import uuid7

FILL: Final = "fill_heads"
"""The kind of operation that makes what is missing of all traces of a space, after a head was switched on."""

SETTINGS = "EMBEDDING_MODEL, EMBEDDING_DIM and EMBEDDING_PRECISION"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """A row of ``model``: its number stands as a literal in every query on vectors."""

    id: int
    name: str
    dim: int
    precision: str

    def __str__(self) -> str:
        return described(self.name, self.dim, self.precision)

    @property
    def column(self) -> str:
        """The column of ``memory_embedding`` that holds its vectors."""
        return "vec" if self.precision == "fp16" else "vec_fp32"

    @property
    def type(self) -> str:
        """The type of that column."""
        return "halfvec" if self.precision == "fp16" else "vector"


def described(name: str, dim: int, precision: str) -> str:
    """A model in words."""
    return f"{name} ({dim} dimensions, {precision})"


async def ensure_model(
    database: Database,
    name: str,
    dim: int,
    precision: str,
    add_indexes: Callable[[Connection, Model], Awaitable[None]],
    command: str = "reverie reembed",
) -> Model:
    """The model of the settings, which must be the active one; on a store without vectors it becomes that.

    One that was active before may go on serving as long as its vectors stand: a process that dies in the midst of a
    change must not be kept from starting again. ``add_indexes`` makes the model's index on every partition;
    ``command`` is what changes a store to this model.

    Raises:
        StartError: the store's vectors were made by another model.
    """
    async with database.maintenance() as connection:
        await take_turns(connection)
        model = await _served(connection, name, dim, precision, command)
        await add_indexes(connection, model)
    return model


async def take_turns(connection: Connection) -> None:
    """Keeps others from choosing the model of this store until ``connection`` closes (or unlocks it)."""
    # Polled: a session that waits for the lock holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait.
    while True:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(hashtext('reverie.model'))")
        row = await cursor.fetchone()
        if row and row[0]:
            return
        await asyncio.sleep(0.05)


async def pass_turn(connection: Connection) -> None:
    """Ends :func:`take_turns`."""
    await connection.execute("SELECT pg_advisory_unlock(hashtext('reverie.model'))")


async def _served(connection: Connection, name: str, dim: int, precision: str, command: str) -> Model:
    found = await _find(connection, "active")
    active = found[0] if found else None
    if active is not None and (active.name, active.dim, active.precision) == (name, dim, precision):
        return active
    if active is None or not await _is_used(connection):
        return await _activate(connection, name, dim, precision)
    mine = await _find(connection, "(name, dim, precision) = (%s, %s, %s)", name, dim, precision)
    if mine is None:
        raise StartError(_refusal(active, described(name, dim, precision), command))
    model, state, share = mine
    if state == "dropping":
        raise StartError(
            f"This store went over to {active}, and the vectors of {model} are being removed: set {SETTINGS} to those "
            "of its new model."
        )
    if state is not None:
        raise StartError(
            f"The vectors of {model} are still being made (by `{command}`; {state}, {share} %): serve with {active} "
            "until that says that the store has gone over, or end it with `reverie reembed --abort`."
        )
    if not await _has_vectors(connection, model):
        raise StartError(_refusal(active, str(model), command))
    log.warning("model superseded", model=str(model), by=str(active), hint=f"set {SETTINGS} to it and restart")
    return model


def _refusal(active: Model, wanted: str, command: str) -> str:
    return (
        f"This store holds vectors of {active}, but the settings name {wanted}: run `{command}`, which makes the "
        f"vectors anew while the service goes on with {active.name}, or set {SETTINGS} back."
    )


async def _find(connection: Connection, where: str, *parameters: object) -> tuple[Model, str | None, int] | None:
    """A model, the state of its vectors while they are being made or removed, and how much of that is done (%)."""
    cursor = await connection.execute(
        f"SELECT id, name, dim, precision, state, 100 * least(traces, total) / greatest(total, 1)"  # noqa: S608
        f" FROM model LEFT JOIN reembedding ON model_id = id WHERE {where}".encode(),
        parameters,
    )
    row = await cursor.fetchone()
    return None if row is None else (Model(*row[:4]), row[4], row[5])


async def _is_used(connection: Connection) -> bool:
    """Whether the store holds any vectors, or is about to."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM memory_embedding) OR EXISTS (SELECT FROM reembedding)"
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _has_vectors(connection: Connection, model: Model) -> bool:
    # The literal lets the planner use the model's own index.
    cursor = await connection.execute(
        f"SELECT EXISTS (SELECT FROM memory_embedding WHERE model_id = {model.id})".encode()  # noqa: S608
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _activate(connection: Connection, name: str, dim: int, precision: str) -> Model:
    async with connection.transaction():
        await connection.execute("UPDATE model SET active = false, wanted = false WHERE active")
        cursor = await connection.execute(
            "INSERT INTO model (name, dim, precision, active, wanted, created_at) VALUES (%s, %s, %s, true, true, %s)"
            " ON CONFLICT (name, dim, precision) DO UPDATE SET active = true, wanted = true RETURNING id",
            (name, dim, precision, clock.now()),
        )
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING of one row
    return Model(row[0], name, dim, precision)


async def filled_heads(database: Database, model: Model) -> frozenset[str]:
    """The heads that a store has been filled with, or is about to be."""
    async with database.maintenance() as connection:
        cursor = await connection.execute("SELECT heads FROM model WHERE id = %s", (model.id,))
        row = await cursor.fetchone()
    return frozenset(row[0] if row else ())


async def fill_later(database: Database, model: Model, heads: Collection[str]) -> None:
    """Accepts the filling of heads that a store has not been filled with: an operation of each space with traces.

    A head that is left out is forgotten here, so that it is filled anew when it comes back.
    """
    async with database.maintenance() as connection, connection.transaction():
        cursor = await connection.execute("SELECT heads FROM model WHERE id = %s FOR UPDATE", (model.id,))
        row = await cursor.fetchone()
        filled = set(row[0]) if row else set()
        if filled == set(heads):
            return
        await connection.execute("UPDATE model SET heads = %s WHERE id = %s", (sorted(heads), model.id))
        if filled.issuperset(heads):
            return
        cursor = await connection.execute(
            "SELECT id FROM space s WHERE EXISTS (SELECT FROM memory_user u WHERE u.space_id = s.id)"
        )
        now = clock.now()
        for (space_id,) in await cursor.fetchall():
            await connection.execute(
                "INSERT INTO operation (id, space_id, kind, payload, created_at) VALUES (%s, %s, %s, %s, %s)",
                (uuid7(now), space_id, FILL, Jsonb({"heads": sorted(heads)}), now),
            )
