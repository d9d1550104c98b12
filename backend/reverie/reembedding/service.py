"""Changing the embedding model of a store while it is served.

The vectors of the new model are made beside those of the old one, by which everybody goes on recalling, in three
passes over all traces. The first (*filling*) makes them all, the second (*catching up*) those of what was remembered or
changed meanwhile. Then every write begins to leave the new vectors of what it writes to an operation, and a third pass
(*closing*) makes what was written until then. Now every trace has the new vectors or an operation for them, and one
transaction makes the new model the active one.

A process serves with the model that it was started with: it has to be loaded, and only the settings of each machine say
from where and with which keys. So those that run go on with the old model, and say that they are to be restarted; those
that start take the new one. Until the old vectors are dropped both serve, and no recall fails for lack of a model.

Everything that was done stands, and so does the place that a pass has come to: one that was killed is taken up there.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from reverie.core import clock
from reverie.core.database import Connection, Database
from reverie.core.errors import Conflict, NotFound, Unavailable
from reverie.core.kinds import HEADS
from reverie.core.outages import PASSING, trouble_of
from reverie.embedding.encoder import Encoder
from reverie.embedding.heads import entity_text, heads_for, semantic_pieces, semantic_text
from reverie.embedding.protocol import EmbeddingError, FloatArray
from reverie.memories.model import Model, pass_turn, take_turns
from reverie.memories.repository import situate
from reverie.reembedding import repository
from reverie.reembedding.repository import Change, Piece, Thin, Whole
from reverie.text.pieces import Span
from reverie.tiers.indexes import add_model_indexes
from reverie.tiers.locks import (
    AlreadyMoving,
    building_alone,
    moving_alone,
    wait_for_partition_makers,
    with_brief_locks,
)
from reverie.tiers.service import TierService

FILLING, CATCHING_UP, CLOSING, DROPPING = "filling", "catching up", "closing", "dropping"
PASSES = (FILLING, CATCHING_UP, CLOSING)

WINDOW = 2_000
"""Traces that are looked at in one query."""

PART_TRACES, PART_CHARACTERS = 256, 1_000_000
"""What is encoded and written at a time: at most a second or two of work is lost to a kill."""

DROP_BLOCKS = 2_000
"""Blocks of a partition (8 KiB) that are cleared in one transaction: some 16 000 vectors of 384 dimensions."""

PATIENCE = 600.0
"""Seconds for which PostgreSQL, the embedding model, or whoever is to stop, are waited for."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a change has come, for whoever watches; ``waits`` says what for, if it does."""

    state: str
    traces: int
    total: int
    made: int
    refused: int
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A store that has gone over to a model. ``before`` is None where it had gone over already."""

    model: Model
    before: Model | None
    made: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """What is to be encoded of a trace for one head and piece, which is ``span`` of its characters if that is given."""

    trace: Whole
    head: int
    piece: int
    span: Span | None
    text: str

    def piece_of(self, vector: FloatArray) -> Piece:
        """The row that its vector becomes."""
        begins, ends = self.span or (None, None)
        return Piece(self.trace, self.head, self.piece, begins, ends, vector)


Tell = Callable[[Progress], None]


class BrokenOff(Conflict):
    """The change was broken off"""

    def __init__(self) -> None:
        super().__init__("The change was broken off by `reverie reembed --abort` in another place.")


class ReembeddingService:
    """Makes the vectors of another model, and removes those that are not needed any more."""

    def __init__(self, database: Database, tiers: TierService, heads: Collection[str]) -> None:
        """``heads``: those that traces get vectors of (MEMORY_HEADS)."""
        self._database = database
        self._tiers = tiers
        self._heads = heads
        self._moved = float("-inf")

    async def run(self, encoder: Encoder, name: str, dim: int, precision: str, tell: Tell = lambda _: None) -> Outcome:
        """Brings a store over to the model of ``encoder``; goes on where an earlier run was broken off.

        An embedding model or a PostgreSQL that is out is waited for.

        Raises:
            Conflict: another change is under way, somebody works on this one, or it was aborted meanwhile.
            Unavailable: the embedding model did not come back.
        """
        while True:
            try:
                return await self._run(encoder, (name, dim, precision), tell)
            except PASSING as error:
                # What never was there is not waited for.
                if time.monotonic() - self._moved > PATIENCE:
                    raise
                log.warning("reembedding waits", error=type(error).__name__)
                tell(Progress("", 0, 0, 0, 0, f"{trouble_of(error).what}."))
                await asyncio.sleep(FIRST_PAUSE)

    async def abort(self, tell: Tell = lambda _: None) -> Model:
        """Removes what was made for a change that is not finished, whoever works on it; the model that it was for.

        Raises:
            NotFound: there is no such change.
            Conflict: the model is served, since the store had it before.
        """
        async with self._database.maintenance() as connection:
            await repository.prepare(connection)
            change = next((one for one in await repository.changes(connection) if one.state is not None), None)
            if change is None:
                raise NotFound("There is nothing to abort: no change of the embedding model is under way.")
            async with self._unserved(connection, change.model):
                await repository.drop_begins(connection, change.model, clock.now())
                await self._take_run(connection, tell)
                await self._drop(connection, change.model, tell)
        return change.model

    async def drop_old(self, tell: Tell = lambda _: None) -> list[Model]:
        """Removes the vectors of every model but the active one; the models that had them.

        Raises:
            NotFound: there are none.
            Conflict: one of them is served, or a change is under way.
        """
        async with self._database.maintenance() as connection:
            await repository.prepare(connection)
            if not await repository.take_run(connection):
                raise Conflict(_busy(await repository.changes(connection)))
            known = await repository.changes(connection)
            _refuse_unfinished(known, "finish it")
            old = [one.model for one in known if not one.active]
            if not old:
                raise NotFound("There is nothing to drop: no other model has vectors here.")
            for model in old:
                async with self._unserved(connection, model):
                    await repository.drop_begins(connection, model, clock.now())
                    await self._drop(connection, model, tell)
        return old

    async def _run(self, encoder: Encoder, identity: tuple[str, int, str], tell: Tell) -> Outcome:
        async with self._database.maintenance() as connection:
            await repository.prepare(connection)
            if not await repository.take_run(connection):
                raise Conflict(_busy(await repository.changes(connection)))
            change, before = await self._begin(connection, identity)
            if before is None:
                return Outcome(change.model, None)
            self._moved = time.monotonic()
            await add_model_indexes(connection, change.model)
            while True:
                change = await self._pass(connection, encoder, change, tell)
                if change.state == CLOSING:
                    break
                change = await self._next(connection, change)
            await self._switch(connection, change.model)
        log.info("model changed", model=str(change.model), before=str(before), made=change.made, refused=change.refused)
        return Outcome(change.model, before, change.made, change.refused)

    async def _begin(self, connection: Connection, identity: tuple[str, int, str]) -> tuple[Change, Model | None]:
        """The change to a model, new or where it was left, and the active model; None if that is the same."""
        await take_turns(connection)
        try:
            known = await repository.changes(connection)
            active = next((one for one in known if one.active), None)
            if active is None:
                raise NotFound("This store is not in use yet: start it with the model that you want.")
            change = _of(known, identity)
            if change is not None and change.active:
                return change, None
            if change is not None and change.state == DROPPING:
                raise Conflict(
                    f"The vectors of {change.model} are being removed: run `reverie reembed --drop-old` until it is "
                    "done, then begin."
                )
            if change is None or change.state is None:
                _refuse_unfinished(known, "go on with that")
                await repository.begin(connection, *identity, clock.now())
                change = _of(await repository.changes(connection), identity)
            assert change is not None  # noqa: S101 - it was just added
            return change, active.model
        finally:
            await pass_turn(connection)

    async def _pass(self, connection: Connection, encoder: Encoder, change: Change, tell: Tell) -> Change:
        """Goes through all traces behind the place where it stands."""
        tell(_shown(change))
        while window := await repository.next_traces(connection, change.model, change.after, WINDOW):
            for part in _parts(window):
                change = await self._part(connection, encoder, change, part, tell)
                tell(_shown(change))
        return change

    async def _part(
        self, connection: Connection, encoder: Encoder, change: Change, part: Sequence[Thin], tell: Tell
    ) -> Change:
        """Makes the vectors of some traces in a row, and notes that it has come there."""
        read = await repository.contents(connection, [trace for trace in part if trace.vectors])

        def waiting(why: str) -> None:
            tell(replace(_shown(change), waits=why))

        texts = [text for trace in read for text in _texts(trace, encoder.embedder.max_tokens, self._heads)]
        encoded = await self._encode(encoder, texts, waiting)
        refused = {text.trace.id for text, vector in encoded if vector is None and (text.head, text.piece) == (0, 0)}
        pieces = [
            text.piece_of(vector) for text, vector in encoded if vector is not None and text.trace.id not in refused
        ]
        after = (part[-1].user_id, part[-1].id)
        async with connection.transaction():
            made = await self._write(connection, change.model, read, pieces) if pieces else 0
            noted = await repository.checkpoint(connection, change, len(part), made, len(refused), after, clock.now())
            if noted is None:
                raise BrokenOff
        self._moved = time.monotonic()
        return replace(change, traces=noted[0], total=noted[1], made=noted[2], refused=noted[3], after=after)

    async def _write(
        self, connection: Connection, model: Model, traces: Sequence[Whole], pieces: Sequence[Piece]
    ) -> int:
        """Writes what was made of some traces; how many were still as they were read."""
        users = {trace.user_id for trace in traces}
        await repository.lock_users(connection, users)
        made = await repository.write_part(connection, model, traces, pieces)
        if "situation" in self._heads:
            for user_id in users:
                ids = [trace.id for trace in traces if trace.user_id == user_id]
                await situate(connection, user_id, ids, fresh=True, model=model)
        return made

    async def _encode(
        self, encoder: Encoder, texts: Sequence[Text], waiting: Callable[[str], None]
    ) -> list[tuple[Text, FloatArray | None]]:
        """Texts with their vectors, None where the embedder refuses one.

        Raises:
            Unavailable: the embedder was out for too long.
        """
        pause, began = FIRST_PAUSE, time.monotonic()
        while True:
            try:
                return list(zip(texts, await encoder.documents([text.text for text in texts]), strict=True))
            except EmbeddingError as error:
                if error.text_at_fault:
                    break
                if time.monotonic() - began > PATIENCE:
                    raise Unavailable(f"{error.detail} The same command goes on from here.") from None
                waiting(error.detail)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        if len(texts) == 1:
            log.warning("text refused", trace=str(texts[0].trace.id))
            return [(texts[0], None)]
        half = len(texts) // 2
        return [
            *await self._encode(encoder, texts[:half], waiting),
            *await self._encode(encoder, texts[half:], waiting),
        ]

    async def _next(self, connection: Connection, change: Change) -> Change:
        """Begins the next pass."""
        if change.state == FILLING:
            await self._go_on(connection, change, CATCHING_UP)
            return _again(change, CATCHING_UP)
        # So that it is quick from its first question on.
        await self._tiers.build_indexes(change.model)
        for table, _ in await repository.partitions(connection):
            await repository.vacuum(connection, table)

        async def close() -> None:
            await repository.want(connection, change.model)
            await self._go_on(connection, change, CLOSING)

        await with_brief_locks(connection, close)
        return _again(change, CLOSING)

    async def _go_on(self, connection: Connection, change: Change, state: str) -> None:
        if not await repository.next_pass(connection, change.model, str(change.state), state, clock.now()):
            raise BrokenOff

    async def _switch(self, connection: Connection, model: Model) -> None:
        await take_turns(connection)
        try:
            await repository.switch(connection, model, self._heads)
        finally:
            await pass_turn(connection)

    async def _take_run(self, connection: Connection, tell: Tell) -> None:
        """Waits until whoever makes vectors has seen that nobody wants them."""
        began = time.monotonic()
        while not await repository.take_run(connection):
            if time.monotonic() - began > PATIENCE:
                raise Conflict("The process that makes the vectors does not stop: end it, and repeat this.")
            tell(Progress(DROPPING, 0, 0, 0, 0, "The process that makes the vectors is about to stop."))
            await asyncio.sleep(0.2)

    @asynccontextmanager
    async def _unserved(self, connection: Connection, model: Model) -> AsyncIterator[None]:
        """Keeps processes from serving a model until the block ends.

        Raises:
            Conflict: some do.
        """
        if not await repository.take_served(connection, model):
            count = await repository.served_by(connection, model)
            raise Conflict(
                f"Processes still serve with {model} ({count} connections): restart the API and the worker with the "
                "settings of the store's new model first."
            )
        try:
            yield
        finally:
            if not connection.closed:
                await repository.give_served(connection, model)

    async def _drop(self, connection: Connection, model: Model, tell: Tell) -> None:
        """Removes the vectors, the indexes and the row of a model, part by part, while no partition is moved."""
        while True:
            try:
                async with moving_alone(connection):
                    await self._drop_parts(connection, model, tell)
            except AlreadyMoving:
                tell(Progress(DROPPING, 0, 0, 0, 0, "Partitions are being moved to another tier."))
                await asyncio.sleep(1)
            else:
                return

    async def _drop_parts(self, connection: Connection, model: Model, tell: Tell) -> None:
        await self._drop_indexes(connection, model)
        tables = await repository.partitions(connection)
        total, passed, gone = sum(blocks for _, blocks in tables), 0, 0
        for table, blocks in tables:
            before = gone
            for first in range(0, blocks, DROP_BLOCKS):
                after = min(first + DROP_BLOCKS, blocks)
                went = await repository.drop_part(connection, model, table, first, after)
                await repository.dropped(connection, model, went, clock.now())
                gone += went
                passed += after - first
                tell(Progress(DROPPING, passed, total, gone, 0))
            if gone > before:
                await repository.vacuum(connection, table)
        await repository.forget_model(connection, model)
        # Those of partitions that were made meanwhile.
        await self._drop_indexes(connection, model)
        log.info("model dropped", model=str(model), vectors=gone)

    async def _drop_indexes(self, connection: Connection, model: Model) -> None:
        await wait_for_partition_makers(connection)
        async with building_alone(connection):
            await repository.drop_indexes(connection, model)


def _texts(trace: Whole, window: int, heads: Collection[str]) -> list[Text]:
    """What is encoded of a trace, as if it were remembered now: also of one that brought its own vector."""
    first = Text(trace, HEADS["semantic"], 0, None, semantic_text(trace.content, trace.speaker))
    spans = semantic_pieces(trace.content, trace.speaker, window)
    pieces = [
        Text(trace, HEADS["semantic"], number, span, semantic_text(trace.content[slice(*span)], trace.speaker))
        for number, span in enumerate(spans, 1)
    ]
    about = entity_text(trace.content, trace.speaker) if "entity" in heads_for(trace, heads) else None
    entity = [] if about is None else [Text(trace, HEADS["entity"], 0, None, about)]
    return [first, *pieces, *entity]


def _of(known: Sequence[Change], identity: tuple[str, int, str]) -> Change | None:
    return next((one for one in known if (one.model.name, one.model.dim, one.model.precision) == identity), None)


def _again(change: Change, state: str) -> Change:
    return replace(change, state=state, traces=0, after=(repository.NOBODY, repository.NOBODY))


def _shown(change: Change) -> Progress:
    return Progress(str(change.state), change.traces, change.total, change.made, change.refused)


def _parts(window: Sequence[Thin]) -> list[list[Thin]]:
    """Traces in a row, each part holding no more that is to be encoded than may be at a time."""
    parts: list[list[Thin]] = []
    count = characters = 0
    for trace in window:
        added = trace.length if trace.vectors else 0
        if not parts or count + trace.vectors > PART_TRACES or (count and characters + added > PART_CHARACTERS):
            parts.append([])
            count = characters = 0
        parts[-1].append(trace)
        count += trace.vectors
        characters += added
    return parts


def _refuse_unfinished(known: Sequence[Change], what: str) -> None:
    for one in known:
        if one.state in PASSES:
            raise Conflict(
                f"This store is on its way to {one.model} ({one.state}, {one.share} %): {what}, or end it with "
                "`reverie reembed --abort`."
            )


def _busy(known: Sequence[Change]) -> str:
    for one in known:
        if one.state is not None:
            return (
                f"Another process works on the vectors of {one.model} ({one.state}, {one.share} %); `reverie status` "
                "shows how far it is."
            )
    return "Another process works on the vectors of this store; try again shortly."
