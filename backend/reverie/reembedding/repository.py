"""SQL of changing the embedding model, on connections of the owner of the schema."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import errors

from reverie.core.arrays import as_vectors, register_arrays
from reverie.core.database import SERVED, Connection, Row
from reverie.core.kinds import KINDS
from reverie.core.queries import Queries
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model

SQL = Queries("reverie.reembedding")

RUN = 0x7265_7665_7265_6D
"""Advisory lock of the one who makes or removes vectors: the bytes of "reverem"."""

NOBODY = UUID(int=0)
PLACE = tuple[UUID, UUID]
"""A user and a trace: how far a pass over all traces has come."""


@dataclass(frozen=True, slots=True)
class Change:
    """A model of the store; ``state`` is None unless its vectors are being made or removed.

    Attributes:
        traces: how many of about ``total`` the pass has looked at, up to ``after``.
        made: traces that got their vectors in all passes; ``refused``: those whose text the model did not take.
        seen_at: when it last went on.
    """

    model: Model
    active: bool
    state: str | None
    traces: int
    total: int
    made: int
    refused: int
    after: PLACE
    seen_at: datetime | None

    @property
    def share(self) -> int:
        """How much of the pass is done, in percent."""
        return 100 * min(self.traces, self.total) // max(self.total, 1)


@dataclass(frozen=True, slots=True)
class Thin:
    """A trace without its text. ``vectors``: it is still to get those of the new model."""

    user_id: UUID
    id: UUID
    kind: str
    speaker: str | None
    length: int
    salience: float
    conversation_id: str | None
    updated_at: datetime | None
    vectors: bool


@dataclass(frozen=True, slots=True)
class Whole(Thin):
    """A trace with its text."""

    content: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A vector of a trace: of its characters from ``begins`` to ``ends`` if those are given."""

    trace: Whole
    head: int
    piece: int
    begins: int | None
    ends: int | None
    vector: FloatArray


async def prepare(connection: Connection) -> None:
    """Readies a connection for vectors, and for tables whose statistics are old."""
    await register_arrays(connection)
    connection.prepare_threshold = None
    await connection.execute(SQL["plan_as_serving"])


async def take_run(connection: Connection) -> bool:
    """Takes the lock of the one who makes or removes vectors, until the connection closes."""
    return bool((await _row(connection, SQL["take_run"], RUN))[0])


async def take_served(connection: Connection, model: Model) -> bool:
    """Whether nobody serves a model; then nobody begins to until :func:`give_served`."""
    return bool((await _row(connection, SQL["take_served"], SERVED, model.id))[0])


async def give_served(connection: Connection, model: Model) -> None:
    """Ends :func:`take_served`."""
    await connection.execute(SQL["give_served"], (SERVED, model.id))


async def served_by(connection: Connection, model: Model) -> int:
    """How many connections there are of processes that serve a model."""
    return int((await _row(connection, SQL["served_by"], SERVED, model.id))[0])


async def changes(connection: Connection) -> list[Change]:
    """Every model of the store."""
    rows = await (await connection.execute(SQL["changes"])).fetchall()
    return [
        Change(
            Model(*row[:4]), row[4], row[5], row[6] or 0, row[7] or 0, row[8] or 0, row[9] or 0,
            (row[10] or NOBODY, row[11] or NOBODY), row[12],
        )
        for row in rows
    ]  # fmt: skip


async def begin(connection: Connection, name: str, dim: int, precision: str, now: datetime) -> None:
    """Adds a model, whose vectors are to be made."""
    async with connection.transaction():
        await connection.execute(SQL["add_model"], (name, dim, precision, now))
        await connection.execute(SQL["begin"], (now, now, name, dim, precision))


async def next_pass(connection: Connection, model: Model, before: str, state: str, now: datetime) -> bool:
    """Begins a pass; False when the change was broken off."""
    cursor = await connection.execute(SQL["next_pass"], (state, now, model.id, before))
    return await cursor.fetchone() is not None


async def want(connection: Connection, model: Model) -> None:
    """From the end of this transaction on, whoever writes leaves a model's vectors to an operation.

    What was written without that is committed then.
    """
    await connection.execute(SQL["keep_writers_out"])
    await connection.execute(SQL["want"], (model.id,))


async def switch(connection: Connection, model: Model, heads: Collection[str]) -> None:
    """Makes a model the active one, which has vectors of these heads."""
    async with connection.transaction():
        await connection.execute(SQL["step_down"])
        await connection.execute(SQL["step_up"], (sorted(heads), model.id))
        await connection.execute(SQL["done"], (model.id,))


async def next_traces(connection: Connection, model: Model, after: PLACE, limit: int) -> list[Thin]:
    """The traces after one, by user and id."""
    cursor = await connection.execute(SQL.text("next_traces", model=model.id), (*after, limit))
    return [Thin(*row) for row in await cursor.fetchall()]


async def contents(connection: Connection, traces: Sequence[Thin]) -> list[Whole]:
    """Traces with their text; those that are gone meanwhile are left out."""
    keys = ([trace.user_id for trace in traces], [trace.id for trace in traces])
    rows = await (await connection.execute(SQL["contents"], keys)).fetchall()
    return [_whole(traces[number - 1], content) for number, content in sorted(rows)]


async def lock_users(connection: Connection, user_ids: Collection[UUID]) -> None:
    """Keeps users from being written until the transaction ends."""
    await connection.execute(SQL["lock_users"], (list(user_ids),))


async def write_part(connection: Connection, model: Model, traces: Sequence[Whole], pieces: Sequence[Piece]) -> int:
    """Writes the vectors of traces that are still as they were read; how many traces that were."""
    query = SQL.text("write_part", model=model.id, column=model.column, type=model.type)
    vectors = as_vectors([piece.vector for piece in pieces], model.precision)
    parameters = (
        [trace.user_id for trace in traces], [trace.id for trace in traces], [trace.updated_at for trace in traces],
        [KINDS[trace.kind] for trace in traces], [piece.trace.user_id for piece in pieces],
        [piece.trace.id for piece in pieces], [piece.head for piece in pieces], [piece.piece for piece in pieces],
        [piece.begins for piece in pieces], [piece.ends for piece in pieces], vectors,
    )  # fmt: skip
    return int((await _row(connection, query, *parameters))[0])


async def checkpoint(
    connection: Connection, change: Change, traces: int, made: int, refused: int, after: PLACE, now: datetime
) -> Row | None:
    """Notes how far a pass has come; (traces, total, made, refused) of it, None when the change was broken off."""
    parameters = (traces, made, refused, *after, now, change.model.id, change.state)
    return await (await connection.execute(SQL["checkpoint"], parameters)).fetchone()


async def drop_begins(connection: Connection, model: Model, now: datetime) -> None:
    """From now on a model's vectors are being removed: nobody makes them, and nobody starts with it."""
    async with connection.transaction():
        await connection.execute(SQL["drop_begins"], (model.id, now, now))
        await connection.execute(SQL["want_no_more"], (model.id,))


async def dropped(connection: Connection, model: Model, count: int, now: datetime) -> None:
    """Counts vectors that went."""
    await connection.execute(SQL["dropped"], (count, now, model.id))


async def done(connection: Connection, model: Model) -> None:
    """Ends what was being done to a model's vectors, without having done it."""
    await connection.execute(SQL["done"], (model.id,))


async def forget_model(connection: Connection, model: Model) -> None:
    """Removes a model that has no vectors any more."""
    await connection.execute(SQL["forget_model"], (model.id,))


async def partitions(connection: Connection) -> list[tuple[str, int]]:
    """The partitions that hold vectors, and how many blocks each has."""
    rows = await (await connection.execute(SQL["vector_partitions"])).fetchall()
    return [(row[0], row[1]) for row in rows]


async def drop_indexes(connection: Connection, model: Model) -> None:
    """Removes the indexes of a model from every partition, beside readers and writers."""
    for (index,) in await (await connection.execute(SQL["model_indexes"], (str(model.id),))).fetchall():
        await connection.execute(SQL.text("drop_index", index=index))


async def drop_part(connection: Connection, model: Model, table: str, first: int, after: int) -> int:
    """Removes a model's vectors from some blocks of a partition; how many there were."""
    query = SQL.text("drop_part", table=table, model=model.id, first=first, after=after)
    return (await connection.execute(query)).rowcount


async def vacuum(connection: Connection, table: str) -> None:
    """Vacuums and analyses a partition, unless somebody does already, or it was moved: then it was written anew."""
    with suppress(errors.UndefinedTable):
        await connection.execute(SQL.text("vacuum", table=table))


def _whole(thin: Thin, content: str) -> Whole:
    return Whole(
        thin.user_id, thin.id, thin.kind, thin.speaker, thin.length, thin.salience, thin.conversation_id,
        thin.updated_at, thin.vectors, content,
    )  # fmt: skip


async def _row(connection: Connection, query: bytes, *parameters: object) -> Row:
    row = await (await connection.execute(query, parameters)).fetchone()
    assert row is not None  # noqa: S101 - these queries answer one row
    return row
