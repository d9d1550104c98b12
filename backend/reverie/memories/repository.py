"""SQL of traces."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from reverie.core.arrays import Uuids, as_vectors
from reverie.core.database import Connection, ReadSession, Row, Trip, WriteSession
from reverie.core.ids import milliseconds
from reverie.core.kinds import HEADS, KINDS
from reverie.core.queries import Queries
from reverie.embedding.heads import SITUATED_LENGTH
from reverie.embedding.protocol import FloatArray
from reverie.memories.cold import Whole
from reverie.memories.model import Model

SQL = Queries("reverie.memories")


@dataclass(slots=True)
class NewTrace:
    """A trace about to be written. ``vectors``: whether it is to have any; ``supplied``: its vector is the caller's.

    Thousands are made a second, and frozen ones take twice as long to make.
    """

    id: UUID
    content: str
    kind: str
    role: str | None
    speaker: str | None
    conversation_id: str | None
    external_id: str | None
    language: str
    occurred_at: datetime | None
    salience: float
    salience_given: bool
    identity: bytes | None
    digest: bytes
    vectors: bool
    source: dict[str, Any] | None
    meta: dict[str, Any]
    supplied: bool = False
    expires_at: datetime | None = None
    refusing: Sequence[bytes] = ()
    """The hashes of tombstones that would refuse it."""


class Vector(NamedTuple):
    """A vector of a trace: through which head, and of which characters where it is a further piece."""

    trace_id: UUID
    head: int
    piece: int
    begins: int | None
    ends: int | None
    values: FloatArray


class Unembedded(NamedTuple):
    """A trace that still has something to encode; ``there`` has the first pieces of each head, as head * 2 + piece."""

    id: UUID
    speaker: str | None
    content: str
    updated_at: datetime | None
    kind: str
    salience: float
    conversation_id: str | None
    vectors: bool
    supplied: bool
    there: list[int]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a new trace: stored, or the trace that was there already and the digest of its content.

    ``forgotten``: a tombstone refuses it.
    """

    stored: bool
    existing_id: UUID | None
    existing_digest: bytes | None
    forgotten: bool = False


async def known(
    session: Trip, user_id: UUID, identities: Sequence[bytes], hashes: Sequence[bytes]
) -> tuple[dict[bytes, tuple[UUID, bytes]], set[bytes]]:
    """What there is of traces that come, in one round trip.

    Returns:
        identity → (trace id, digest) of those that are remembered already; which hashes are of forgotten ones.
    """
    forgotten = await session.send(SQL["buried"], (user_id, list(hashes)))
    rows = await session.fetch(SQL["known_identities"], (user_id, list(identities)))
    found = {bytes(row[0]) for row in await forgotten.fetchall()}
    return {bytes(row[0]): (row[1], bytes(row[2])) for row in rows}, found


async def lift_tombstones(session: WriteSession, user_id: UUID, hashes: Sequence[bytes]) -> None:
    """Lets forgotten traces be remembered again."""
    await session.execute(SQL["lift_tombstones"], (user_id, list(hashes)))


async def raise_version(session: WriteSession, space_id: UUID, user_id: UUID, external_id: str, now: datetime) -> None:
    """Locks the user until the transaction ends, making it if it is new."""
    await session.execute(SQL["raise_version"], (space_id, user_id, external_id, milliseconds(now), now, now))


async def touch_version(session: WriteSession, space_id: UUID, user_id: UUID, now: datetime) -> None:
    """Raises the version of a user who is there."""
    await session.execute(SQL["touch_version"], (milliseconds(now), now, space_id, user_id))


async def write_traces(
    session: WriteSession,
    space_id: UUID,
    user_id: UUID,
    traces: Sequence[NewTrace],
    vectors: Sequence[tuple[UUID, FloatArray]],
    model: Model,
    now: datetime,
) -> dict[UUID, Written]:
    """Writes traces with the vectors that are there already; the user is locked before (:func:`raise_version`)."""
    await session.grows(len(traces) + len(vectors))
    query = SQL.text("write_traces", column=model.column, type=model.type, model=model.id)
    columns = (
        Uuids(t.id.bytes for t in traces), [t.kind for t in traces], [KINDS[t.kind] for t in traces],
        [t.role for t in traces], [t.speaker for t in traces],
        [t.conversation_id for t in traces], [t.external_id for t in traces],
        [t.language for t in traces], [t.occurred_at for t in traces], [t.salience for t in traces],
        [t.salience_given for t in traces], [t.identity for t in traces], [t.digest for t in traces],
        [t.vectors for t in traces], [None if t.source is None else Jsonb(t.source) for t in traces],
        [Jsonb(t.meta) for t in traces], [t.content for t in traces], [t.supplied for t in traces],
        [t.expires_at for t in traces],
    )  # fmt: skip
    ids = Uuids(trace_id.bytes for trace_id, _ in vectors)
    values = as_vectors([vector for _, vector in vectors], model.precision)
    refusing = [(trace.id, one) for trace in traces for one in trace.refusing]
    hashes = (Uuids(trace_id.bytes for trace_id, _ in refusing), [one for _, one in refusing])
    parameters = (*columns, space_id, user_id, now, *hashes, ids, values, user_id, user_id)
    rows = await session.fetch(query, parameters)
    return {row[0]: Written(row[1], row[2], None if row[3] is None else bytes(row[3]), row[4]) for row in rows}


async def write_vectors(session: WriteSession, user_id: UUID, vectors: Sequence[Vector], model: Model) -> None:
    """Replaces the pieces of traces from the first that is given on; traces that are gone meanwhile are passed over."""
    query = SQL.text("write_vectors", column=model.column, type=model.type, model=model.id)
    ids, heads, numbers, begins, ends, values = zip(*vectors, strict=True) if vectors else ((),) * 6
    await session.grows(len(vectors))
    whose, packed = Uuids(one.bytes for one in ids), as_vectors(values, model.precision)
    await session.execute(query, (whose, list(heads), list(numbers), list(begins), list(ends), packed, user_id))


async def situate(
    session: "WriteSession | Connection",
    user_id: UUID,
    trace_ids: Sequence[UUID],
    *,
    fresh: bool,
    model: Model | None = None,
) -> None:
    """Sees traces, and those before and after them in their conversations, anew among their neighbours.

    Without ``fresh`` only those that were seen so before: what is forgotten or changed leaves no trace in them. By the
    vectors of every model, or of ``model`` alone.
    """
    only = "" if model is None else SQL.text("of_one_model", model=model.id).decode()
    query = SQL.text("situate", fresh="true" if fresh else "false", only=only)
    await session.execute(query, (list(trace_ids), user_id, user_id, SITUATED_LENGTH, user_id, user_id, user_id))


async def neighbours(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> list[UUID]:
    """The traces before and after these in their conversations."""
    ids = list(trace_ids)
    return [row[0] for row in await session.fetch(SQL["neighbours"], (user_id, ids, user_id, ids))]


async def leave_for_other_models(
    session: WriteSession,
    space_id: UUID,
    user_id: UUID,
    kind: str,
    trace_ids: Sequence[UUID],
    model: Model,
    now: datetime,
) -> None:
    """Leaves the vectors of other models that are wanted of what ``model`` has written to operations.

    The payload of each names its model.
    """
    if trace_ids:
        query = SQL.text("leave_for_other_models", model=model.id)
        await session.execute(query, (space_id, user_id, kind, list(trace_ids), now))


async def wanted_model(session: ReadSession, model_id: int) -> str | None:
    """The name of a model whose vectors are wanted; None where they are no more."""
    row = await session.fetch_one(SQL["wanted_model"], (model_id,))
    return row[0] if row else None


async def unembedded(
    session: ReadSession,
    user_id: UUID,
    trace_ids: Sequence[UUID],
    model: Model,
    *,
    longest: int,
    entity: bool,
    most: int,
    most_characters: int,
) -> list[Unembedded]:
    """Traces that lack vectors, in the order of their ids: at most ``most``, and as many as hold so much text.

    ``longest``: characters that fit the window in any script; ``entity``: whether that head is wanted.
    """
    query = SQL.text("unembedded", model=model.id)
    rows = await session.fetch(query, (list(trace_ids), user_id, longest, entity, most, user_id, most_characters))
    return [Unembedded(*row) for row in rows]


async def unchanged(session: ReadSession, user_id: UUID, read: Sequence[Unembedded]) -> set[UUID]:
    """The ids of those of :func:`unembedded` that still hold; the user is locked before."""
    rows = await session.fetch(SQL["unchanged"], ([one.id for one in read], [one.updated_at for one in read], user_id))
    return {row[0] for row in rows}


async def next_user(session: ReadSession, space_id: UUID, after: UUID) -> UUID | None:
    """The user of a space with the next id."""
    row = await session.fetch_one(SQL["next_user"], (space_id, after))
    return row[0] if row else None


async def next_traces(session: ReadSession, user_id: UUID, after: UUID, limit: int) -> list[UUID]:
    """The next ids of a user's traces."""
    return [row[0] for row in await session.fetch(SQL["next_traces"], (user_id, after, limit))]


async def matched_texts(
    session: ReadSession, pieces: Sequence[tuple[UUID, UUID, int]], model: Model, most: int
) -> dict[tuple[bytes, int], tuple[int, str]]:
    """Where pieces of the head `semantic` begin in their traces, and their text: at most ``most`` characters of each.

    Args:
        pieces: (user, trace, number of the piece).

    Returns:
        (the bytes of user and trace, number) → (first character, text), for those whose trace still stands.
    """
    users, ids, numbers = (list(column) for column in zip(*pieces, strict=True)) if pieces else ([], [], [])
    rows = await session.fetch(SQL.text("matched_texts", model=model.id), (most, most, users, ids, numbers))
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


async def get_trace(session: ReadSession, user_id: UUID, trace_id: UUID) -> Row | None:
    """A trace with its body, in the order of :func:`reverie.memories.service.trace_out`; without content if cold."""
    return await session.fetch_one(SQL["get_trace"], (user_id, trace_id))


async def list_traces(
    session: ReadSession,
    user_id: UUID,
    before: UUID | None,
    kind: str | None,
    conversation_id: str | None,
    limit: int,
) -> list[Row]:
    """Traces of a user, newest first."""
    parameters = (user_id, before, before, kind, kind, conversation_id, conversation_id, limit)
    return await session.fetch(SQL["list_traces"], parameters)


async def change_trace(
    session: WriteSession, user_id: UUID, changed: NewTrace, now: datetime, read_at: datetime | None
) -> bool:
    """Changes the thin row of a trace; False when somebody else changed it since it was read.

    ``changed.supplied`` False says that its vector is the caller's own no more.
    """
    parameters = (
        changed.kind, changed.role, changed.speaker, changed.conversation_id, changed.external_id, changed.language,
        len(changed.content), changed.occurred_at, changed.salience, changed.salience_given, changed.identity,
        changed.digest, changed.vectors, None if changed.source is None else Jsonb(changed.source),
        Jsonb(changed.meta), changed.content, changed.supplied, changed.expires_at, now, user_id, changed.id,
        read_at,
    )  # fmt: skip
    return bool(await session.fetch(SQL["change_trace"], parameters))


async def bring_back(session: WriteSession, user_id: UUID, changed: NewTrace, cold: Whole) -> None:
    """Writes what a file holds of a cold trace that is being changed, as warm rows."""
    kind = KINDS[changed.kind]
    _, heads, pieces, begins, ends, codes, bits = zip(*cold.vectors, strict=True) if cold.vectors else ((),) * 7
    parameters = (
        user_id, changed.id, kind, cold.words, cold.content, kind, cold.model_id, list(heads), list(pieces),
        list(begins), list(ends), list(codes), list(bits),
    )  # fmt: skip
    await session.execute(SQL["bring_back"], parameters)


async def leave_cold(session: WriteSession, user_id: UUID, trace_id: UUID) -> None:
    """Notes that what a file holds of a trace, if one does, must go."""
    await session.execute(SQL["leave_cold"], (user_id, trace_id))


async def change_body(session: WriteSession, user_id: UUID, changed: NewTrace, happened_at: datetime) -> bool:
    """Replaces the text of a trace, and counts its words anew; False where it has none in PostgreSQL."""
    kind = KINDS[changed.kind]
    parameters = (
        user_id, changed.id, kind, happened_at, changed.content, changed.language, changed.content, happened_at,
        user_id, changed.id, user_id,
    )  # fmt: skip
    await session.execute(SQL["change_vectors"], (kind, happened_at, user_id, changed.id))
    return bool(await session.fetch(SQL["change_body"], parameters))


async def move_trace(
    session: WriteSession, user_id: UUID, trace_id: UUID, conversation_id: str | None, now: datetime
) -> None:
    """Takes a trace out of the chain it was in, and puts it at the end of the chain of ``conversation_id``."""
    await session.execute(SQL["leave_chain"], (user_id, trace_id, trace_id, user_id, now, trace_id, trace_id, user_id))
    if conversation_id is not None:
        await session.execute(SQL["join_chain"], (trace_id, now, user_id, conversation_id, trace_id))


async def drop_vectors(
    session: WriteSession, user_id: UUID, trace_id: UUID, heads: Collection[str] = tuple(HEADS)
) -> None:
    """Removes the vectors of a trace, of every model."""
    await session.execute(SQL["drop_vectors"], (user_id, trace_id, [HEADS[head] for head in heads]))


async def list_users(
    session: ReadSession, space_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Row]:
    """Users of a space, newest first: (user id, external id, kind, traces, created_at, updated_at)."""
    moment, user_id = before or (None, None)
    return await session.fetch(SQL["list_users"], (space_id, moment, moment, user_id, limit))
