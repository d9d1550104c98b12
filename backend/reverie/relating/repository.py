"""SQL of what traces are related to."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb

from reverie.core.database import ReadSession, Rows, Trip, WriteSession
from reverie.core.database import Row as Values
from reverie.core.queries import Queries
from reverie.embedding.codes import restore, unpack
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.relating.types import MOST_MENTIONS, Around, Row, Step

SQL = Queries("reverie.relating")

MOST_EDGES: Final = 24
"""A trace that has so many edges of one type in one direction is a hub, and nothing goes along them."""

COMPARED_CHARS: Final = 1000
"""Of a trace that is suggested, so much is read, to name the words that it shares."""

_SIGNS: Final = 4
"""Bytes before the signs in what PostgreSQL sends: how many they are."""


class Standing(NamedTuple):
    """A trace that stands."""

    id: UUID
    kind: str
    happened_at: datetime


class EdgeRow(NamedTuple):
    """An edge as it stands."""

    src: UUID
    dst: UUID
    type: str
    weight: float
    ts: datetime
    meta: dict[str, Any]


async def send_entities(
    session: Trip, user_id: UUID, hashes: Collection[bytes], trace_id: UUID | None
) -> Rows:  # fmt: skip
    """Queues the look for the entities of names, and of what a trace mentions.

    Its rows: id, hashes, name, traces that mention it.
    """
    given = list(hashes)
    query = SQL.text("entities", most=MOST_MENTIONS)
    return await session.send(query, (user_id, given, user_id, given, user_id, trace_id, *[user_id] * 3))


async def send_size(session: Trip, user_id: UUID) -> Rows:
    """Queues the look at how many traces a user has."""
    return await session.send(SQL["size"], (user_id,))


async def dismissed(session: ReadSession, user_id: UUID, trace_id: UUID) -> set[UUID]:
    """The traces that are not to be suggested for one."""
    rows = await session.fetch(SQL["dismissed"], (user_id, trace_id, trace_id))
    return {one for row in rows for one in row if one != trace_id}


async def own_vector(session: ReadSession, user_id: UUID, trace_id: UUID, model: Model) -> FloatArray | None:
    """The vector of a trace that stands; None where there is none in PostgreSQL."""
    query = SQL.text("own_vector", column=model.column, model=model.id)
    row = await session.fetch_one(query, (user_id, trace_id))
    if row is None:
        return None
    vector, codes, bits = row
    if vector is not None:
        return np.asarray(vector.to_numpy(), dtype=np.float32)
    packed = np.frombuffer(codes, dtype=np.uint8)[None]
    signs = np.frombuffer(bits, dtype=np.uint8)[None, _SIGNS:]
    vectors: FloatArray = restore(unpack(packed, signs, model.dim))
    return np.asarray(vectors[0], dtype=np.float32)


async def around(
    session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID], own: UUID | None, now: datetime
) -> Around:
    """The rows of traces that stand, with what is one edge from each; ``own``: the one that all is about."""
    query = SQL.text("around", most=MOST_EDGES)
    whose = (list(trace_ids), own, *[user_id] * 4, COMPARED_CHARS, user_id, user_id, now)
    found = Around()
    for origin, trace_id, src, dst, type_, weight, hand, kind, speaker, talk, moment, content, language in (
        await session.fetch(query, whose)
    ):  # fmt: skip
        found.rows.setdefault(trace_id, Row(trace_id, kind, speaker, talk, moment, content, language))
        if origin is not None:
            found.steps.append(Step(origin, trace_id, src, dst, type_, weight, hand))
    return found


async def standing(session: ReadSession, user_id: UUID, trace_ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Those of some traces that stand."""
    rows = await session.fetch(SQL["standing"], (user_id, list(trace_ids)))
    return {row[0]: Standing(*row) for row in rows}


async def dismiss(session: WriteSession, space_id: UUID, user_id: UUID, pair: tuple[UUID, UUID], now: datetime) -> None:
    """Notes that a pair is not to be suggested."""
    await session.execute(SQL["dismiss"], (space_id, user_id, *pair, now))


async def take_back(session: WriteSession, user_id: UUID, pair: tuple[UUID, UUID]) -> None:
    """Has a pair be suggested again, where that was dismissed."""
    await session.execute(SQL["take_back"], (user_id, *pair))


async def put_edge(session: WriteSession, space_id: UUID, user_id: UUID, edge: EdgeRow) -> None:
    """Writes an edge, in the place of one of the same ends and type."""
    given = (edge.src, edge.dst, edge.type, edge.weight, edge.ts, Jsonb(edge.meta))
    await session.execute(SQL["put_edge"], (space_id, user_id, *given))


async def has_edge(session: ReadSession, user_id: UUID, src: UUID, dst: UUID, type_: str) -> bool:
    """Whether there is such an edge."""
    return bool(await session.fetch(SQL["has_edge"], (user_id, src, dst, type_)))


async def drop_edge(session: WriteSession, user_id: UUID, src: UUID, dst: UUID, type_: str) -> bool:
    """Removes an edge; False where there was none."""
    return bool(await session.fetch(SQL["drop_edge"], (user_id, src, dst, type_)))


async def edges(
    session: ReadSession, user_id: UUID, before: tuple[UUID, UUID, str] | None, trace_id: UUID | None,
    type_: str | None, limit: int,
) -> list[Values]:  # fmt: skip
    """A page of edges: src, dst, type, weight, ts, meta."""
    src, dst, kind = before or (None, None, None)
    bounds = (src, src, dst, kind, type_, type_, limit)
    if trace_id is None:
        return await session.fetch(SQL["edges"], (user_id, *bounds))
    return await session.fetch(SQL["edges_of"], (user_id, trace_id, *bounds) * 2 + (limit,))
