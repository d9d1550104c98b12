"""What new traces are like among a user's older ones: exactly, in SQL for a few, by one product of matrices else."""

import asyncio
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

from reverie.core.database import Database, ReadSession
from reverie.core.kinds import KINDS, RECALLED_KINDS
from reverie.core.queries import Queries
from reverie.embedding.codes import bit_bytes, code_bytes, restore, unpack
from reverie.memories.model import Model

SQL = Queries("reverie.memories", "links.sql")

NEAREST: Final = 3
"""`similar` edges of a trace to older ones."""

LEAST_COSINE: Final = 0.85
"""Of the carried model: traces that say nearly the same, a little more than one pair for each trace of a chat. Other
models that give less to what differs leave fewer."""

MOST_TRACES: Final = 20_000
"""Users of more get no `similar` edges: each new trace would be compared with all of theirs."""

FEW: Final = 4
"""Up to so many traces are compared in SQL: a sixth of a millisecond for each thousand older ones. For more, all
vectors of the user are fetched once, which takes as long as ten such searches."""

CANDIDATES: Final = 64
"""Of warm traces, those whose signs differ least are compared: as like as LEAST_COSINE, few differ."""

_LINKED = [KINDS[kind] for kind in RECALLED_KINDS]
_BEGINNING: Final = UUID(int=0)
_HEADER: Final = 4
"""Bytes before the numbers in what ``halfvec_send`` and ``vector_send`` give: the dimension, and two unused. And before
the signs in what ``varbit_send`` gives: how many they are."""


class Like(NamedTuple):
    """An older trace that a trace is like."""

    trace_id: UUID
    older: UUID
    cosine: float


class Likeness:
    """The vectors of a user's traces, as one operation has fetched them so far."""

    def __init__(self, database: Database, model: Model, space_id: UUID, user_id: UUID) -> None:
        self._database = database
        self._model = model
        self._space_id = space_id
        self._user_id = user_id
        self._places: dict[UUID, int] = {}
        self._vectors: npt.NDArray[np.float32] = np.empty((0, model.dim), dtype=np.float32)
        self._last = _BEGINNING
        self.cheap = True
        """Whether the user had so few traces, last time, that they were compared at all."""

    async def of(self, trace_ids: Sequence[UUID]) -> list[Like]:
        """The older traces that these are most like; of those without vectors, none."""
        async with self._database.reading_vectors(self._space_id) as session:
            self.cheap = await self._is_cheap(session)
            if not self.cheap:
                return []
            if len(trace_ids) <= FEW and not self._places:
                return await self._few(session, trace_ids)
            await self._fetch(session)
        places = sorted(self._places[one] for one in trace_ids if one in self._places)
        ids = list(self._places)
        found = await asyncio.to_thread(nearest, self._vectors, places, NEAREST, LEAST_COSINE)
        return [Like(ids[place], ids[older], cosine) for place, older, cosine in found]

    async def _is_cheap(self, session: ReadSession) -> bool:
        row = await session.fetch_one(SQL.text("size", model=self._model.id), (self._user_id,))
        return row is not None and row[0] <= MOST_TRACES

    async def _few(self, session: ReadSession, trace_ids: Sequence[UUID]) -> list[Like]:
        literals: dict[str, int | str] = {"column": self._model.column, "model": self._model.id}
        whose = (list(trace_ids), self._user_id, self._user_id, _LINKED)
        query = SQL.text("likest", **literals)
        hot = [Like(*row) for row in await session.fetch(query, (*whose, NEAREST, 1 - LEAST_COSINE))]
        query = SQL.text("likest_warm", type=self._model.type, **literals)
        # After the others: what becomes warm meanwhile is found twice, and not missed.
        rows = await session.fetch(query, (*whose, CANDIDATES))
        if not rows:
            return hot
        own, older = self._numbers([row[1] for row in rows]), self._decoded([row[3] for row in rows])
        cosines = np.einsum("ij,ij->i", own, older).tolist()
        warm = [Like(row[0], row[2], cosine) for row, cosine in zip(rows, cosines, strict=True)]
        return likest([*hot, *(one for one in warm if one.cosine >= LEAST_COSINE)])

    async def _fetch(self, session: ReadSession) -> None:
        """The vectors of traces that came since the last time."""
        query = SQL.text("beginnings", column=self._model.column, type=self._model.type, model=self._model.id)
        rows = await session.fetch(query, (self._user_id, _LINKED, self._last) * 2)
        if not rows:
            return
        warm = np.array([row[1] is None for row in rows])
        vectors = np.empty((len(rows), self._model.dim), dtype=np.float32)
        vectors[~warm] = self._numbers([row[1] for row in rows if row[1] is not None])
        vectors[warm] = self._decoded([row[2] for row in rows if row[1] is None])
        self._vectors = np.concatenate([self._vectors, vectors])
        for row in rows:
            self._places[row[0]] = len(self._places)
        self._last = rows[-1][0]

    def _numbers(self, sent: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """Vectors of unit length, as PostgreSQL sends them."""
        number = np.dtype(">f2" if self._model.precision == "fp16" else ">f4")
        table = _table(sent, _HEADER + number.itemsize * self._model.dim)
        vectors = np.ascontiguousarray(table[:, _HEADER:]).view(number).astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _decoded(self, sent: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """The same of codes and signs, with the number of these between them."""
        dim = self._model.dim
        codes, signs = code_bytes(dim), bit_bytes(dim)
        table = _table(sent, codes + _HEADER + signs)
        return restore(
            unpack(np.ascontiguousarray(table[:, :codes]), np.ascontiguousarray(table[:, codes + _HEADER :]), dim)
        )


def _table(sent: Sequence[bytes], width: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(sent), dtype=np.uint8).reshape(len(sent), width)


def likest(found: Sequence[Like]) -> list[Like]:
    """Of each trace the NEAREST likest, each once. Pure."""
    kept: dict[tuple[UUID, UUID], Like] = {}
    for one in sorted(found, key=attrgetter("cosine"), reverse=True):
        if sum(trace_id == one.trace_id for trace_id, _ in kept) < NEAREST:
            kept.setdefault((one.trace_id, one.older), one)
    return list(kept.values())


def nearest(
    vectors: npt.NDArray[np.float32], places: Sequence[int], most: int, least: float
) -> list[tuple[int, int, float]]:
    """(place, earlier place, cosine) of the earlier rows that some rows are most like. Pure.

    Args:
        vectors: rows of unit length.
        places: of the rows that are looked at, ascending.
        most: earlier rows for each.
        least: cosine.
    """
    found = []
    cosines = vectors[list(places)] @ vectors[: max(places, default=0)].T
    for place, row in zip(places, cosines, strict=True):
        earlier = row[:place]
        best = np.argpartition(-earlier, most)[:most] if len(earlier) > most else np.arange(len(earlier))
        found += [(place, int(one), float(earlier[one])) for one in best if earlier[one] >= least]
    return found
