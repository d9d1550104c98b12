"""All that is held about a user, as lines of JSON.

Page by page: each is a transaction of its own and waits until the one before has been taken, so an export holds little
memory and no connection, however large the user is and however slowly it is read. What is remembered or forgotten
meanwhile may or may not be in it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson
import structlog

from reverie.cold.files import Damaged, uuids_of, vectors_of
from reverie.cold.segments import Segment
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.database import Database
from reverie.core.errors import NotFound
from reverie.core.ids import user_uuid
from reverie.core.kinds import HEADS
from reverie.core.outages import PASSING
from reverie.core.telemetry import reason
from reverie.embedding import codes
from reverie.exporting import repository
from reverie.exporting.repository import EDGES, OTHERS, TRACE, USER, Held, Pages
from reverie.objects.store import StorageTrouble
from reverie.working.focus import Focus

FORMAT: Final = 1
"""Of the lines; a reader of another one refuses them."""

PAGE: Final = 500
PAGE_CHARACTERS: Final = 512 * 1024
"""Traces of a page, and characters of their text; a longer one is a page of its own."""

VECTORS_PAGE: Final = 100
"""Traces of a page with their vectors."""

BROKEN_OFF: Final = "PostgreSQL went away or took too long, and the export ends here: try again."

_HEADS: Final = {number: name for name, number in HEADS.items()}
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
log = structlog.get_logger(__name__)


class ExportService:
    """Exports users."""

    def __init__(self, database: Database, focus: Focus, cold: ColdService) -> None:
        self._database = database
        self._focus = focus
        self._cold = cold

    async def export(self, space_id: UUID, user: str, *, vectors: bool) -> AsyncIterator[bytes]:
        """The lines of a user, some at a time.

        The last line has ``record`` end, and counts all others; without it the export is not whole. Where PostgreSQL
        fails in the midst, the last one has ``record`` fault and says why.

        Raises:
            NotFound: nothing is held about a user of this name.
        """
        user_id = user_uuid(space_id, user)
        async with self._database.reading(space_id) as session:
            known = await repository.known(session, user_id)
        if not known:
            raise NotFound(f"There is no user {user!r}.")
        return _Export(self._database, self._focus, self._cold, space_id, user_id, user, vectors).lines()


@dataclass(slots=True)
class _Export:
    """One export on its way; ``counts``: lines by record so far, ``unreadable``: traces of them without their text."""

    database: Database
    focus: Focus
    cold: ColdService
    space_id: UUID
    user_id: UUID
    user: str
    vectors: bool
    counts: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    async def lines(self) -> AsyncIterator[bytes]:
        """All of it."""
        try:
            yield _line("export", {"format": FORMAT, "user_id": self.user, "at": clock.now(), "vectors": self.vectors})
            async for part in self._parts():
                yield part
        except PASSING as error:
            log.warning("export broken off", error=type(error).__name__, reason=reason(error))
            yield _line("fault", {"detail": BROKEN_OFF})
        else:
            yield _line("end", {"counts": dict(self.counts), "unreadable": self.unreadable})

    async def _parts(self) -> AsyncIterator[bytes]:
        async with self.database.reading(self.space_id) as session:
            row = await repository.user(session, self.user_id)
        if row is not None:
            yield self._counted("user", [dict(zip(USER, row, strict=True))])
        async for part in self._traces():
            yield part
        for pages in (EDGES, *OTHERS):
            async for part in self._others(pages):
                yield part
        focused = await self.focus.read([self.user_id])
        if focused.keys or focused.degraded:
            ids = None if focused.degraded else [trace_id for _, trace_id in focused.keys]
            yield self._counted("focus", [{"trace_ids": ids}])

    async def _traces(self) -> AsyncIterator[bytes]:
        after = UUID(int=0)
        while True:
            async with self.database.reading(self.space_id) as session:
                rows = await repository.traces(
                    session, self.user_id, after, VECTORS_PAGE if self.vectors else PAGE, PAGE_CHARACTERS
                )
            if not rows:
                return
            after = rows[-1][0]
            found = [dict(zip(TRACE, row, strict=True)) for row in rows]
            standing = await self._with_content(found)
            if self.vectors:
                await self._add_vectors(standing)
            if standing:
                yield self._counted("trace", standing)

    async def _with_content(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The traces that still stand, with the content of those that are cold."""
        without = [trace["trace_id"] for trace in found if trace["content"] is None]
        contents = await self._cold_contents(without) if without else {}
        gone = set[UUID]()
        missing = [trace_id for trace_id in without if trace_id not in contents]
        if missing:
            async with self.database.reading(self.space_id) as session:
                still = await repository.still(session, self.user_id, missing)
            contents |= {trace_id: content for trace_id, content in still.items() if content is not None}
            gone = set(missing) - set(still)
        standing = [trace for trace in found if trace["trace_id"] not in gone]
        for trace in standing:
            trace["user_id"], trace["salience"] = self.user, round(trace["salience"], 6)
            if trace["content"] is None:
                trace["content"] = contents.get(trace["trace_id"])
                self.unreadable += trace["content"] is None
        return standing

    async def _cold_contents(self, trace_ids: Sequence[UUID]) -> dict[UUID, str]:
        found = await self.cold.contents(self.space_id, [(self.user_id, trace_id) for trace_id in trace_ids])
        return {trace_id: text for (_, trace_id), text in found.texts.items()}

    async def _add_vectors(self, standing: Sequence[dict[str, Any]]) -> None:
        ids = [trace["trace_id"] for trace in standing]
        async with self.database.reading(self.space_id) as session:
            held = await repository.vectors(session, self.user_id, ids)
            cold = await repository.segments_of(session, self.user_id, ids) if ids else {}
        by_trace = defaultdict[UUID, list[dict[str, Any]]](list)
        for one in held:
            by_trace[one.trace_id].append(
                _embedding(one.model, one.head, one.piece, one.begins, one.ends, _values(one))
            )
        away = {trace_id: segment_id for trace_id, segment_id in cold.items() if trace_id not in by_trace}
        if away:
            await self._add_cold_vectors(away, by_trace)
        for trace in standing:
            trace["embeddings"] = by_trace[trace["trace_id"]]

    async def _add_cold_vectors(self, away: Mapping[UUID, UUID], by_trace: dict[UUID, list[dict[str, Any]]]) -> None:
        """Adds those out of files; of a file that cannot be read there are none."""
        ids = sorted(away, key=lambda one: one.int)
        segments = await self.cold.segments(self.space_id, [self.user_id], ids[0], UUID(int=ids[-1].int + 1))
        for segment in segments:
            wanted = [trace_id for trace_id in ids if away[trace_id] == segment.id]
            if not wanted:
                continue
            try:
                found = await asyncio.to_thread(_read_vectors, self.cold, segment, self.user_id, wanted)
            except (Damaged, StorageTrouble) as trouble:
                log.warning("cold vectors not exported", segment=str(segment.id), trouble=str(trouble))
                continue
            for trace_id, embedding in found:
                by_trace[trace_id].append(embedding)

    async def _others(self, pages: Pages) -> AsyncIterator[bytes]:
        after: Sequence[Any] = pages.first
        while True:
            async with self.database.reading(self.space_id) as session:
                rows = await repository.page(session, pages, self.space_id, self.user_id, after)
            if rows:
                yield self._counted(pages.record, [dict(zip(pages.columns, row, strict=True)) for row in rows])
            if len(rows) < pages.rows:
                return
            after = rows[-1][: len(pages.first)]

    def _counted(self, record: str, items: Sequence[dict[str, Any]]) -> bytes:
        self.counts[record] += len(items)
        return b"".join(_line(record, item) for item in items)


def _line(record: str, item: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"record": record, **item}, default=_plain, option=_OPTIONS)


def _plain(value: object) -> object:
    """What JSON has no word for: a kept answer is JSON in bytes."""
    if isinstance(value, bytes | memoryview):
        return orjson.Fragment(bytes(value))
    raise TypeError(type(value).__name__)


def _embedding(model: str, head: int, piece: int, begins: int | None, ends: int | None, vector: Any) -> dict[str, Any]:
    place = {"begins": begins, "ends": ends} if piece else {}
    return {"model": model, "head": _HEADS.get(head, head), "piece": piece, **place, "vector": vector}


def _read_vectors(
    cold: ColdService, segment: Segment, user_id: UUID, wanted: Sequence[UUID]
) -> list[tuple[UUID, dict[str, Any]]]:
    """The vectors of some traces out of a file, by trace, head and piece; it blocks."""
    with closing(cold.open(segment)) as reader:
        table, model = reader.read_traces(user_id, wanted, ("piece", "begins", "ends", *HEADS)), reader.layout.model
    if table is None:
        return []
    ids = uuids_of(table["trace_id"])
    pieces, begins, ends = (table[name].to_pylist() for name in ("piece", "begins", "ends"))
    found = []
    for name, head in HEADS.items():
        numbers, there = vectors_of(table[name])
        vectors = codes.restore(numbers)
        for place in range(len(ids)) if there is None else np.flatnonzero(there).tolist():
            at = (head, pieces[place], begins[place], ends[place])
            found.append((ids[place], _embedding(model, *at, vectors[place])))
    return found


def _values(held: Held) -> Any:
    """The numbers of a vector, in float32."""
    if held.codes is not None and held.bits is not None:
        packed = np.frombuffer(held.codes, dtype=np.uint8)[None]
        signs = np.frombuffer(held.bits, dtype=np.uint8)[None, 4:]
        return codes.restore(codes.unpack(packed, signs, held.dim))[0]
    vector = held.half if held.full is None else held.full
    return np.ascontiguousarray(vector.to_numpy(), dtype=np.float32)
