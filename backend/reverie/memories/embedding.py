"""Making the vectors of traces: of what waits for its answer, and of what is left to operations."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import psycopg
import structlog

from reverie.core import clock
from reverie.core.breaker import Breaker
from reverie.core.config import Settings
from reverie.core.database import Database, WriteSession
from reverie.core.kinds import HEADS
from reverie.core.queue import Bell
from reverie.embedding.encoder import Encoder
from reverie.embedding.heads import entity_text, heads_for, semantic_pieces, semantic_text
from reverie.embedding.protocol import EmbeddingError, FloatArray
from reverie.memories import repository
from reverie.memories.links import Linker
from reverie.memories.model import FILL, Model
from reverie.memories.repository import NewTrace, Unembedded, Vector
from reverie.operations import repository as operations
from reverie.operations.repository import Leased
from reverie.operations.service import TryLater
from reverie.text.pieces import Span

EMBED: Final = "embed"
"""The kind of operation that makes the vectors of traces."""

MOST_WAITED_PIECES: Final = 160
"""Further pieces of long traces that are encoded before the answer: some seconds; more are left to an operation."""

PART: Final = 64
"""Traces that an operation reads, and at most that it encodes and commits, at a time."""

PART_CHARACTERS: Final = 2_000_000
"""Of the traces that an operation reads at a time, beside the first."""

TEXTS: Final = 64
"""Texts that an operation hands to the encoder at a time; the pieces of one trace are committed together."""

CUT_AT_ONCE: Final = 50_000
"""Characters that are cut into pieces within the event loop; more are cut in a thread."""

MOST_BATCHES: Final = 10
"""So many times EMBEDDING_TIMEOUT_SECONDS an operation waits for these: others' texts may go before."""

HUNG_SECONDS: Final = 2.0
"""For so long texts are not waited for after the encoder hung; they are left to an operation."""

FILL_PART: Final = 500
FILL_SECONDS: Final = 600.0
"""Traces that a fill looks at together, and how long one operation goes on before it leaves the rest to another."""

_FIRST: Final = UUID(int=0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Text:
    """What is encoded of a trace, and what its vector stands for."""

    head: int
    piece: int
    span: Span | None
    text: str


class VectorMaker:
    """Encodes traces with one model."""

    def __init__(
        self, settings: Settings, database: Database, encoder: Encoder, model: Model, bell: Bell,
        linker: Linker | None = None,
    ) -> None:  # fmt: skip
        self.heads = settings.heads
        self.model = model
        self._database = database
        self._encoder = encoder
        self._bell = bell
        self._linker = linker
        self._window = encoder.embedder.max_tokens
        self._patience = settings.embedding_timeout_seconds
        self._waits = Breaker(HUNG_SECONDS, self._patience)

    async def in_time(self, texts: Sequence[str]) -> FloatArray | None:
        """The vectors of texts, one a row; None if the encoder failed or is still at it after its time.

        While it hangs, nobody but one at a time waits for it.
        """
        if not self._waits.ask():
            return None
        try:
            async with asyncio.timeout(self._patience):
                vectors = await self._encoder.documents(texts)
        except TimeoutError:
            self._waits.failed()
            log.warning("encoder failed", error=f"no answer within {self._patience:g} s (EMBEDDING_TIMEOUT_SECONDS)")
            return None
        except EmbeddingError as error:
            self._waits.answered()
            log.warning("encoder failed", error=error.detail)
            return None
        self._waits.answered()
        return vectors

    async def pieces_in_time(self, traces: Sequence[NewTrace]) -> tuple[dict[UUID, list[Vector]], bool]:
        """The further pieces of traces by their ids, none of one that fits the window; whether the encoder failed.

        A trace that is not among them is left to an operation: what fits :data:`MOST_WAITED_PIECES` is waited for.
        """
        made, room = dict[UUID, list[Vector]](), MOST_WAITED_PIECES
        chosen = list[tuple[NewTrace, int, Span]]()
        for trace, spans in zip(traces, await self._cut(traces), strict=True):
            if len(spans) <= room:
                room -= len(spans)
                made[trace.id] = []
                chosen += [(trace, number, span) for number, span in enumerate(spans, 1)]
        if not chosen:
            return made, False
        vectors = await self.in_time([_piece_text(trace, span) for trace, _, span in chosen])
        if vectors is None:
            cut = {trace.id for trace, _, _ in chosen}
            return {trace_id: none for trace_id, none in made.items() if trace_id not in cut}, True
        for (trace, number, span), values in zip(chosen, vectors, strict=True):
            made[trace.id].append(Vector(trace.id, HEADS["semantic"], number, span.begins, span.ends, values))
        return made, False

    async def _cut(self, traces: Sequence[NewTrace]) -> list[list[Span]]:
        def cut() -> list[list[Span]]:
            return [semantic_pieces(trace.content, trace.speaker, self._window) for trace in traces]

        # Some hundredths of a second for a million characters, which nobody else should wait for.
        short = sum(len(trace.content) for trace in traces) <= CUT_AT_ONCE
        return cut() if short else await asyncio.to_thread(cut)

    def wants_entity(self, trace: NewTrace) -> bool:
        """Whether a trace is to have a vector of who and what it is about, which is left to an operation."""
        return "entity" in heads_for(trace, self.heads)

    async def settle(self, session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID], *, changed: bool) -> None:
        """After vectors were written or traces moved: sees them anew among their neighbours, where that is wanted.

        ``changed``: they said something else before, which must not stay in what was made of it.
        """
        if "situation" in self.heads:
            await repository.situate(session, user_id, trace_ids, fresh=True)
        elif changed:
            await repository.situate(session, user_id, trace_ids, fresh=False)

    async def leave_for_others(
        self, session: WriteSession, space_id: UUID, user_id: UUID, trace_ids: Sequence[UUID], now: datetime
    ) -> None:
        """While the store goes over to another model: leaves that one's vectors of these traces to its workers."""
        await repository.leave_for_other_models(session, space_id, user_id, EMBED, trace_ids, self.model, now)

    async def embed(self, held: Leased) -> dict[str, Any]:
        """The handler of :data:`EMBED`: encodes part by part, so that what a killed worker did stays done."""
        if not await self._is_ours(held):
            return {"embedded": 0, "refused": 0}
        made, refused = await self.make(held.space_id, held.whose, held.trace_ids)
        if self._linker is not None:
            await self._linker.leave_after(held)
        return {"embedded": made, "refused": refused}

    async def _is_ours(self, held: Leased) -> bool:
        """Whether an operation is to be run here; False when nobody wants what it is for any more.

        Raises:
            TryLater: it is for a worker with another model.
        """
        model_id = held.payload.get("model", self.model.id)
        if model_id == self.model.id:
            return True
        async with self._database.reading(held.space_id) as session:
            name = await repository.wanted_model(session, model_id)
        if name is not None:
            raise TryLater(f"It waits for a worker that is started with the model {name}.")
        return False

    async def fill(self, held: Leased) -> dict[str, Any]:
        """The handler of :data:`FILL`: goes through the users of a space, and their traces, by their ids.

        After :data:`FILL_SECONDS` it leaves the rest to another operation, so that no attempt takes long.
        """
        began, made, refused = time.monotonic(), 0, 0
        user_id, after = (UUID(one) for one in held.payload.get("after", (str(_FIRST), str(_FIRST))))
        while True:
            async with self._database.reading(held.space_id) as session:
                ids = await repository.next_traces(session, user_id, after, FILL_PART)
            if ids:
                after = ids[-1]
                done = await self.make(held.space_id, user_id, ids)
                made, refused = made + done[0], refused + done[1]
                async with self._database.writing(held.space_id) as session:
                    await repository.touch_version(session, held.space_id, user_id, clock.now())
                    await self.settle(session, user_id, ids, changed=False)
            else:
                async with self._database.reading(held.space_id) as session:
                    user = await repository.next_user(session, held.space_id, user_id)
                if user is None:
                    return {"embedded": made, "refused": refused}
                user_id, after = user, _FIRST
            if time.monotonic() - began > FILL_SECONDS:
                await self._go_on(held, user_id, after)
                return {"embedded": made, "refused": refused}

    async def _go_on(self, held: Leased, user_id: UUID, after: UUID) -> None:
        # The same id however often this attempt is repeated: a fill never becomes two.
        following = uuid5(held.id, "next")
        payload = held.payload | {"after": [str(user_id), str(after)]}
        with suppress(psycopg.errors.UniqueViolation):
            async with self._database.writing(None) as session:
                await operations.insert(session, following, held.space_id, FILL, clock.now(), payload=payload)
        await self._bell.ring(following)

    async def make(self, space_id: UUID, user_id: UUID, trace_ids: Sequence[UUID]) -> tuple[int, int]:
        """Makes what traces lack; how many got vectors, and of how many a text was refused.

        Raises:
            TryLater: the embedder is out.
        """
        made, refused, settled = 0, set[UUID](), set[UUID]()
        while True:
            async with self._database.reading(space_id) as session:
                rows = await repository.unembedded(
                    session,
                    user_id,
                    [trace_id for trace_id in trace_ids if trace_id not in settled],
                    self.model,
                    longest=self._window,
                    entity="entity" in self.heads,
                    most=PART,
                    most_characters=PART_CHARACTERS,
                )
            if not rows:
                return made, len(refused)
            wanted = await asyncio.to_thread(self._wanted, rows)
            settled |= {row.id for row in rows if not wanted[row.id]}
            for part in _parts(rows, wanted):
                texts = [(row.id, text) for row in part for text in wanted[row.id]]
                encoded = await self._encode([text.text for _, text in texts])
                pairs = list(zip(texts, encoded, strict=True))
                vectors = [_vector(trace_id, text, values) for (trace_id, text), values in pairs if values is not None]
                standing = await self._write(space_id, user_id, part, vectors)
                # What was changed while it was encoded got its vectors from the change itself, or comes again.
                settled |= standing
                refused |= {trace_id for (trace_id, _), values in pairs if values is None} & standing
                made += len({vector.trace_id for vector in vectors} & standing)

    async def _write(
        self, space_id: UUID, user_id: UUID, rows: Sequence[Unembedded], vectors: Sequence[Vector]
    ) -> set[UUID]:
        """Writes vectors of those that are still as they were read, whose ids it returns."""
        async with self._database.writing(space_id) as session:
            await repository.touch_version(session, space_id, user_id, clock.now())
            standing = await repository.unchanged(session, user_id, rows)
            held = [vector for vector in vectors if vector.trace_id in standing]
            if held:
                ids = list({vector.trace_id for vector in held})
                await repository.write_vectors(session, user_id, held, self.model)
                await self.settle(session, user_id, ids, changed=False)
                await self.leave_for_others(session, space_id, user_id, ids, clock.now())
        return standing

    async def _encode(self, texts: Sequence[str]) -> list[FloatArray | None]:
        """The vectors of texts, None where the embedder refuses one.

        Raises:
            TryLater: the embedder is out.
        """
        made = list[FloatArray | None]()
        for start in range(0, len(texts), TEXTS):
            made += await self._encode_some(texts[start : start + TEXTS])
        return made

    async def _encode_some(self, texts: Sequence[str]) -> list[FloatArray | None]:
        try:
            async with asyncio.timeout(self._patience * MOST_BATCHES):
                return list(await self._encoder.documents(texts))
        except TimeoutError:
            raise TryLater("The embedding model does not answer.") from None
        except EmbeddingError as error:
            if not error.text_at_fault:
                raise TryLater(error.detail) from None
            if len(texts) == 1:
                log.warning("text refused", characters=len(texts[0]), error=error.detail)
                return [None]
        half = len(texts) // 2
        return [*await self._encode_some(texts[:half]), *await self._encode_some(texts[half:])]

    def _wanted(self, rows: Sequence[Unembedded]) -> dict[UUID, list[Text]]:
        """What is to be encoded of each trace."""
        return {row.id: [*self._semantic(row), *self._entity(row)] for row in rows}

    def _semantic(self, row: Unembedded) -> list[Text]:
        head = HEADS["semantic"]
        first = [] if _there(row, head, 0) else [Text(head, 0, None, semantic_text(row.content, row.speaker))]
        if row.supplied or _there(row, head, 1):
            return first
        spans = semantic_pieces(row.content, row.speaker, self._window)
        return first + [Text(head, number, span, _piece_text(row, span)) for number, span in enumerate(spans, 1)]

    def _entity(self, row: Unembedded) -> list[Text]:
        head = HEADS["entity"]
        if _there(row, head, 0) or "entity" not in heads_for(row, self.heads):
            return []
        text = entity_text(row.content, row.speaker)
        return [] if text is None else [Text(head, 0, None, text)]


def _there(row: Unembedded, head: int, piece: int) -> bool:
    return head * 2 + piece in row.there


def _piece_text(trace: NewTrace | Unembedded, span: Span) -> str:
    return semantic_text(trace.content[span.begins : span.ends], trace.speaker)


def _vector(trace_id: UUID, text: Text, values: FloatArray) -> Vector:
    begins, ends = text.span or (None, None)
    return Vector(trace_id, text.head, text.piece, begins, ends, values)


def _parts(rows: Sequence[Unembedded], wanted: dict[UUID, list[Text]]) -> list[list[Unembedded]]:
    """Traces with something to encode, of about :data:`TEXTS` texts together; one alone may have more."""
    parts, texts = list[list[Unembedded]](), 0
    for row in rows:
        if not wanted[row.id]:
            continue
        if not parts or texts + len(wanted[row.id]) > TEXTS:
            parts.append([])
            texts = 0
        parts[-1].append(row)
        texts += len(wanted[row.id])
    return parts
