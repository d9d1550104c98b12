"""Bringing cold traces back for a time: their texts and codes from files into the partitions of their range.

A thaw is an operation, and goes through its scope in parts. In one transaction a part's texts and vectors come back and
its digests say until when, so a trace is in one tier at every moment, and a thaw that was broken off goes on with what
is still cold. When its time is over, a run takes the rows away again: the file has not changed meanwhile. What was
changed has left the file by then, and stays.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import structlog

from reverie.auth.principal import Principal
from reverie.cold.files import Damaged, Reader, Table
from reverie.cold.segments import MISSING, Segment
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.database import Connection, Database, WriteSession
from reverie.core.errors import Conflict, NotFound
from reverie.core.idempotency import Claim
from reverie.core.ids import milliseconds, user_uuid, uuid7
from reverie.core.kinds import KINDS
from reverie.core.queries import Queries
from reverie.core.queue import Bell
from reverie.memories.cold import Coded, coded
from reverie.memories.embedding import EMBED
from reverie.memories.model import Model
from reverie.objects.store import Missing, StorageTrouble
from reverie.operations import repository as operations
from reverie.operations.repository import Leased
from reverie.operations.service import TryLater
from reverie.tiers.runs import Progress, Run
from reverie.tiers.schemas import ThawIn, ThawOut, ThawScope

SQL = Queries("reverie.tiers", "thaw.sql")

THAW: Final = "thaw"
"""The kind of operation that brings cold traces back."""

STEP: Final = "cool"

PART = 500
"""Traces that come back, or cool again, in one transaction."""

SECONDS: Final = 120.0
"""What a statement may take here."""

_NOBODY: Final = UUID(int=0)
_KINDS: Final = (list(KINDS), list(KINDS.values()))

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Clause:
    """What of a query says which traces are meant, and its parameters."""

    text: str
    parameters: tuple[Any, ...]

    @classmethod
    def of(cls, scope: ThawScope) -> "Clause":
        """That of a scope."""
        given = (
            ("of_traces", scope.ids()),
            ("of_conversation", scope.conversation_id),
            ("of_since", scope.since),
            ("of_until", scope.until),
        )
        parts = [(SQL[name].decode(), value) for name, value in given if value is not None]
        return cls("\n".join(text for text, _ in parts), tuple(value for _, value in parts))

    def sql(self, block: str) -> bytes:
        """A block over these traces."""
        return SQL.text(block, scope=self.text)


class ThawService:
    """Thaws of every space."""

    def __init__(self, database: Database, bell: Bell, cold: ColdService, model: Model, days: int) -> None:
        """``model`` is the one that is served; ``days``: MEMORY_THAW_DAYS."""
        self._database = database
        self._bell = bell
        self._cold = cold
        self._model = model
        self._days = days

    async def accept(self, principal: Principal, body: ThawIn, claim: Claim) -> dict[str, Any]:
        """Accepts an operation that brings a scope back.

        Raises:
            NotFound: the scope names one trace, and the user has none of this id.
            Conflict: nothing of it lies in files.
        """
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, body.user_id)
        clause, now = Clause.of(body.scope), clock.now()
        async with self._database.writing(space_id, seconds=SECONDS) as session:
            [(cold, thawed)] = await session.fetch(clause.sql("count_cold"), (user_id, *clause.parameters))
            if not cold + thawed:
                await _refuse(session, user_id, body.scope)
            operation_id, until = uuid7(now), now + timedelta(days=body.days or self._days)
            payload = {"scope": body.scope.model_dump(mode="json", exclude_none=True), "until": until.isoformat()}
            await operations.insert(
                session, operation_id, space_id, THAW, now, user_id=user_id, trace_ids=body.scope.ids() or (),
                payload=payload | {"traces": cold + thawed},
            )  # fmt: skip
            out = ThawOut(operation_id=operation_id, cold=cold, thawed=thawed, until=until).model_dump()
            await claim.keep(session, 202, out)
        await self._bell.ring(operation_id)
        return out

    async def thaw(self, held: Leased) -> dict[str, Any]:
        """Does an operation of this kind; what was done by an attempt before is not done again.

        Raises:
            TryLater: object storage does not answer.
        """
        return await _Thawing(self._database, self._cold, self._model, held, held.whose).run()


async def _refuse(session: WriteSession, user_id: UUID, scope: ThawScope) -> None:
    if scope.trace_id is not None:
        row = await session.fetch_one(SQL["is_known"], (user_id, scope.trace_id))
        if row is None or not row[0]:
            raise NotFound(f"The user has no trace {scope.trace_id}.")
        raise Conflict(f"The trace {scope.trace_id} is not cold: there is nothing to thaw.", field="scope")
    raise Conflict("Nothing of this scope is cold: there is nothing to thaw.", field="scope")


class _Thawing:
    """One attempt at an operation."""

    def __init__(self, database: Database, cold: ColdService, model: Model, held: Leased, user_id: UUID) -> None:
        self._database = database
        self._cold = cold
        self._model = model
        self._held = held
        self._user_id = user_id
        self._clause = Clause.of(ThawScope.model_validate(held.payload["scope"]))
        self._until = datetime.fromisoformat(held.payload["until"])
        self._total = int(held.payload["traces"])
        self._thawed = 0
        self._damaged = 0
        self._segments: dict[UUID, Segment] = {}
        self._open: tuple[Segment, Reader] | None = None

    async def run(self) -> dict[str, Any]:
        await self._extend()
        after = _NOBODY
        try:
            while part := await self._next(after):
                await self._part(part)
                after = part[-1][0]
        except StorageTrouble as trouble:
            raise TryLater(str(trouble)) from None
        finally:
            await self._close()
        return self._result()

    async def _extend(self) -> None:
        """What is back already stays for longer."""
        async with self._database.writing(self._held.space_id, seconds=SECONDS) as session:
            rows = await session.fetch(
                self._clause.sql("extend"),
                (self._until, self._user_id, self._user_id, *self._clause.parameters),
            )
            self._thawed = len(rows)
            await operations.note(session, self._held, self._result())

    async def _next(self, after: UUID) -> list[tuple[UUID, UUID]]:
        """(trace, segment) of the next that are cold."""
        async with self._database.reading(self._held.space_id, seconds=SECONDS) as session:
            parameters = (self._user_id, after, *self._clause.parameters, PART)
            rows = await session.fetch(self._clause.sql("next_cold"), parameters)
        return [(row[0], row[1]) for row in rows]

    async def _part(self, part: Sequence[tuple[UUID, UUID]]) -> None:
        wanted: dict[UUID, list[UUID]] = {}
        for trace_id, segment_id in part:
            wanted.setdefault(segment_id, []).append(trace_id)
        for segment_id, trace_ids in wanted.items():
            found = await self._read(segment_id, trace_ids)
            if found is None:
                self._damaged += len(trace_ids)
                continue
            segment, table = found
            ids, contents = table["trace_id"].to_pylist(), table["content"].to_pylist()
            texts = [(trace_id, text) for trace_id, text in zip(ids, contents, strict=True) if text is not None]
            self._damaged += len(trace_ids) - len(texts)
            await self._write(segment, texts, await asyncio.to_thread(coded, table))

    async def _read(self, segment_id: UUID, trace_ids: Sequence[UUID]) -> tuple[Segment, Table] | None:
        """The rows of traces in a segment; None, once that is noted, where its file is not to be relied on."""
        for again in (False, True):
            # A file may be written anew between the look at its row and the look at itself.
            segment = await self._segment(segment_id, again=again)
            if segment is None:
                return None
            try:
                table = await asyncio.to_thread(self._traces, segment, trace_ids)
            except Missing:
                damage = MISSING
            except Damaged as error:
                damage = str(error)
            else:
                return None if table is None else (segment, table)
            if again:
                await self._cold.damaged(segment, damage)
        return None

    def _traces(self, segment: Segment, trace_ids: Sequence[UUID]) -> Table | None:
        if self._open is None or self._open[0] != segment:
            self._shut()
            self._open = (segment, self._cold.open(segment))
        return self._open[1].read_traces(self._user_id, trace_ids)

    def _shut(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    async def _close(self) -> None:
        await asyncio.to_thread(self._shut)

    async def _segment(self, segment_id: UUID, *, again: bool) -> Segment | None:
        if again or segment_id not in self._segments:
            await self._close()
            found = await self._cold.segments(self._held.space_id, [self._user_id])
            self._segments = {one.id: one for one in found}
        return self._segments.get(segment_id)

    async def _write(self, segment: Segment, texts: Sequence[tuple[UUID, str]], pieces: Sequence[Coded]) -> None:
        """Brings traces back that are still cold, in one transaction."""
        user_id, now = self._user_id, clock.now()
        async with self._database.writing(self._held.space_id, seconds=SECONDS) as session:
            await session.execute(SQL["lock_user"], (milliseconds(now), now, user_id))
            rows = await session.fetch(
                SQL["thaw_bodies"],
                ([one for one, _ in texts], [text for _, text in texts], user_id, segment.id, *_KINDS),
            )
            back = {row[0] for row in rows}
            mine = [one for one in pieces if one.trace_id in back]
            await session.execute(
                SQL["thaw_vectors"],
                (
                    [one.trace_id for one in mine], [one.head for one in mine], [one.piece for one in mine],
                    [one.begins for one in mine], [one.ends for one in mine], [one.codes for one in mine],
                    [one.bits for one in mine], user_id, *_KINDS, segment.model_id,
                ),
            )  # fmt: skip
            await session.execute(SQL["thawed"], (self._until, user_id, list(back)))
            self._thawed += len(back)
            await self._leave(session, segment, list(back), now)
            await operations.note(session, self._held, self._result())

    async def _leave(self, session: WriteSession, segment: Segment, back: list[UUID], now: datetime) -> None:
        """What a model made that is served no more is made anew."""
        if back and segment.model_id != self._model.id:
            await operations.insert(
                session, uuid7(now), self._held.space_id, EMBED, now, user_id=self._user_id, trace_ids=back
            )

    def _result(self) -> dict[str, Any]:
        return {
            "traces": self._total,
            "thawed": self._thawed,
            "damaged": self._damaged,
            "until": self._until.isoformat(),
        }


class Cooler:
    """Takes thawed traces out of PostgreSQL again when their time is over."""

    def __init__(self, cold: ColdService) -> None:
        self._cold = cold

    async def step(self, run: Run) -> None:
        """Cools everything whose time is over, but what a file that is damaged or missing would be needed for."""
        relied: dict[UUID, bool] = {}
        while True:
            left = [segment_id for segment_id, sound in relied.items() if not sound]
            cursor = await run.connection.execute(SQL["expired"], (run.as_of, left, PART))
            rows = await cursor.fetchall()
            if not rows:
                return
            for segment_id in {row[2] for row in rows} - relied.keys():
                relied[segment_id] = await self._is_sound(run.connection, segment_id)
            for user_id, some in groupby(rows, key=lambda row: row[0]):
                ids = sorted(row[1] for row in some if relied[row[2]])
                if ids:
                    await self._cool(run, user_id, ids, [one for one, sound in relied.items() if sound])
            await run.go_on()

    async def _is_sound(self, connection: Connection, segment_id: UUID) -> bool:
        """Whether every byte of a file is as it was written.

        Raises:
            StorageTrouble: the storage cannot be asked.
        """
        damage = await self._cold.damage_of(connection, segment_id)
        if damage is not None:
            log.warning("thawed traces stay", segment=str(segment_id), damage=damage)
        return damage is None

    async def _cool(self, run: Run, user_id: UUID, ids: list[UUID], segments: list[UUID]) -> None:
        now = clock.now()
        async with run.connection.transaction():
            await run.connection.execute(SQL["lock_user"], (milliseconds(now), now, user_id))
            cursor = await run.connection.execute(
                SQL["cool"], (user_id, ids, run.as_of, segments, ids[0], ids[-1], ids[0], ids[-1])
            )
            row = await cursor.fetchone()
        if row is not None:
            run.did(STEP, traces=row[0], rows=row[1])
            run.tell(Progress(STEP, "thawed traces", int(run.report[STEP]["traces"])))
