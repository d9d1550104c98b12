"""Remembering, reading and changing traces."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import psycopg
from pydantic import TypeAdapter, ValidationError

from reverie.auth.principal import Principal
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database, WriteSession, again
from reverie.core.errors import Conflict, Forgotten, Invalid, NotFound, Unavailable
from reverie.core.http import complaint
from reverie.core.idempotency import Claim
from reverie.core.ids import user_uuid, uuid7, uuid7s
from reverie.core.kinds import HEADS
from reverie.core.limits import Limits, limits_from
from reverie.core.paging import next_cursor
from reverie.core.queue import Bell
from reverie.core.secret import Secret
from reverie.core.turns import Turns
from reverie.embedding.encoder import Encoder
from reverie.embedding.fit import supplied
from reverie.embedding.heads import heads_for, semantic_text
from reverie.embedding.protocol import FloatArray
from reverie.memories import derived, repository
from reverie.memories.cold import AWAY, ColdTraces
from reverie.memories.embedding import EMBED, VectorMaker
from reverie.memories.identity import digest, identity
from reverie.memories.links import Linker
from reverie.memories.model import Model
from reverie.memories.repository import NewTrace, Vector, Written
from reverie.memories.schemas import (
    ListedTrace,
    MessageIn,
    RememberIn,
    RememberOut,
    TraceAnswer,
    TraceIn,
    TraceOut,
    TracePage,
    TracePatch,
    TracesQuery,
    UserOut,
    UserPage,
)
from reverie.memories.suggesting import Note, Suggesting
from reverie.memories.tombstones import Tombstones
from reverie.operations import repository as operations
from reverie.text.languages import detect
from reverie.working.focus import Focus

MOST_WAITED_TRACES = 100
MOST_WAITED_BYTES = 2 * 1024 * 1024
"""What is encoded before the answer; more is left to the worker."""

DEFAULT_SALIENCE = 0.5

FORGOTTEN: Final = "It was forgotten, and stays so; with force: true it is remembered all the same."
"""What is said of a trace that comes again after it was forgotten."""

_TRACE = TypeAdapter(TraceIn)
_MESSAGE = TypeAdapter(MessageIn)


@dataclass(slots=True)
class Draft:
    """One trace of a request on its way: what was given, what it became, what is answered."""

    given: TraceIn | None = None
    trace: NewTrace | None = None
    vector: FloatArray | None = None
    pieces: list[Vector] | None = None
    """The further pieces of a long one; None before they are made."""
    answer: TraceAnswer | None = None
    twin: "Draft | None" = None
    """The earlier trace of the same batch that this one repeats."""
    note: UUID | None = None
    """As which it is looked for what it connects to; None where it is not."""

    @property
    def is_new(self) -> bool:
        """Whether it is still to be written."""
        return self.answer is None and self.twin is None and self.trace is not None

    @property
    def to_encode(self) -> bool:
        """Whether it is to have a vector, and has none."""
        return self.trace is not None and self.trace.vectors and self.vector is None

    @property
    def complete(self) -> bool:
        """Whether it has all vectors of what it says: supplied, or made with every piece."""
        return self.vector is not None and self.pieces is not None

    @property
    def is_rejected(self) -> bool:
        return self.answer is not None and self.answer.status == "rejected"

    def reject(self, error: str, external_id: str | None = None, reason: Literal["forgotten"] | None = None) -> None:
        self.answer = TraceAnswer(trace_id=None, external_id=external_id, status="rejected", error=error, reason=reason)

    def refuse_forgotten(self) -> None:
        """A tombstone refuses it."""
        self.reject(FORGOTTEN, None if self.trace is None else self.trace.external_id, "forgotten")

    def duplicate(self, trace_id: UUID, external_id: str | None) -> None:
        self.answer = TraceAnswer(trace_id=trace_id, external_id=external_id, status="duplicate")


class WentCold(Conflict):
    """A trace was moved meanwhile"""

    def __init__(self, detail: str = "The trace was moved to cold storage meanwhile; repeat the request.") -> None:
        super().__init__(detail)


class MemoryService:
    """The traces of every user.

    ``make_partitions`` makes the partitions of a moment; the service calls it when a write meets a missing one.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        encoder: Encoder,
        model: Model,
        focus: Focus,
        bell: Bell,
        make_partitions: Callable[[datetime], Awaitable[None]],
        cold: ColdService,
    ) -> None:
        self._settings = settings
        self._cold = ColdTraces(cold, settings.memory_cold_timeout_seconds)
        self._limits: Limits = limits_from(settings)
        self._database = database
        self._model = model
        self._focus = focus
        self._bell = bell
        self._make_partitions = make_partitions
        self._tombstones = Tombstones(Secret.of(settings))
        self.linker = Linker(database, model, settings.memory_links)
        self.maker = VectorMaker(settings, database, encoder, model, bell, self.linker)

    async def remember(
        self, principal: Principal, body: RememberIn, *, wait: bool, claim: Claim, suggesting: Suggesting | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Remembers what is good of a batch; (201, everything done) or (202, vectors left to an operation).

        ``suggesting`` finds what its notes connect to, where that is wanted.

        Raises:
            Invalid: nothing of the batch could be accepted, or there are too many notes for suggestions.
        """
        user_id = user_uuid(principal.space_id, body.user_id)
        drafts = await self._read(body)
        now = clock.now()
        await self._identify(principal, body, drafts, now)
        lifted = self._recognise(principal, user_id, body, drafts)
        if suggesting is not None or any(draft.is_new and draft.to_encode for draft in drafts):
            await self._find_known(principal.space_id, user_id, drafts)
        new = [draft for draft in drafts if draft.is_new]
        if all((draft.twin or draft).is_rejected for draft in drafts):
            raise _none_accepted(drafts, body)
        pending = [draft for draft in new if draft.to_encode]
        waited = wait and _small_enough(pending)
        if suggesting is None:
            failed = await self._encode(pending) if waited else False
        else:
            suggesting.take(_notes(drafts))
            failed, _ = await asyncio.gather(self._encode(pending if waited else []), suggesting.look())
            await suggesting.compare({d.note: d.vector for d in new if d.note is not None and d.vector is not None})

        def write() -> Awaitable[tuple[int, RememberOut]]:
            return self._write(principal, body, user_id, drafts, lifted, waited, failed, claim, now, suggesting)

        try:
            status, out = await again(write)
        except psycopg.errors.CheckViolation:
            await self._make_partitions(now)
            status, out = await again(write)
        focusing = self._focus.add(user_id, [answer.trace_id for answer in out.traces if answer.trace_id], now)
        if out.operation_id is None:
            await focusing
        else:
            await asyncio.gather(self._bell.ring(out.operation_id), focusing)
        return status, _said(out, suggesting)

    async def get(self, principal: Principal, user: str, trace_id: UUID) -> TraceOut:
        """A trace.

        Raises:
            NotFound: the user has none of this id, whoever else has.
            Unavailable: it is cold, and its text cannot be read.
        """
        async with self._database.reading(principal.space_id) as session:
            row = await repository.get_trace(session, user_uuid(principal.space_id, user), trace_id)
        if row is None:
            raise _no_trace(trace_id)
        if row[3] is not None:
            return trace_out(row)
        key = (user_uuid(principal.space_id, user), trace_id)
        texts = await self._cold.texts(principal.space_id, [key])
        if key not in texts:
            raise Unavailable(AWAY)
        return trace_out(row, texts[key])

    async def page(self, principal: Principal, query: TracesQuery) -> TracePage:
        """Traces of a user, newest first; those that are cold without content where that cannot be read."""
        user_id = user_uuid(principal.space_id, query.user_id)
        async with self._database.reading(principal.space_id) as session:
            rows = await repository.list_traces(
                session, user_id, query.before(), query.kind, query.conversation_id, query.limit
            )
        cold = [(user_id, row[0]) for row in rows if row[3] is None]
        texts = await self._cold.texts(principal.space_id, cold)
        items = [listed(row, texts.get((user_id, row[0]))) for row in rows]
        return TracePage(items=items, next_cursor=next_cursor([item.trace_id for item in items], query.limit))

    async def users(self, principal: Principal, before: tuple[datetime, UUID] | None, limit: int) -> UserPage:
        """Users of the caller's space, newest first."""
        async with self._database.reading(principal.space_id) as session:
            rows = await repository.list_users(session, principal.space_id, before, limit)
        items = [
            UserOut(user_id=row[1], kind=row[2], traces=row[3], created_at=row[4], updated_at=row[5]) for row in rows
        ]
        last = f"{rows[-1][4].isoformat().replace('+00:00', 'Z')},{rows[-1][0]}" if len(rows) == limit else None
        return UserPage(items=items, next_cursor=last)

    async def patch(self, principal: Principal, user: str, trace_id: UUID, patch: TracePatch) -> TraceOut:
        """Changes a trace, and encodes it again if that changes what is encoded of it.

        Raises:
            NotFound: the user has no such trace.
            Conflict: it would be the same as another trace, or somebody else changed it at the same moment.
            Unavailable: it is cold, and what lies of it in a file cannot be read.
        """
        try:
            return await self._patch(principal, user, trace_id, patch)
        except WentCold:
            # Between the look at it and the change; now it is seen as it is.
            return await self._patch(principal, user, trace_id, patch)

    async def _patch(self, principal: Principal, user: str, trace_id: UUID, patch: TracePatch) -> TraceOut:
        """One attempt of :meth:`patch`.

        Raises:
            WentCold: its text left PostgreSQL meanwhile.
        """
        user_id = user_uuid(principal.space_id, user)
        before = await self.get(principal, user, trace_id)
        cold = await self._cold.whole(principal.space_id, (user_id, trace_id)) if before.tier == "cold" else None
        changed = self._changed(principal, before, patch)
        said = semantic_text(before.content, before.speaker)
        # Else the vectors stay: they say the same, and may be the caller's own.
        outdated = not before.vectors or semantic_text(changed.content, changed.speaker) != said
        changed = replace(changed, supplied=not outdated)
        draft = Draft(trace=changed)
        if changed.vectors and outdated:
            await self._encode([draft])
        now, operation_id = clock.now(), None
        try:
            async with self._database.writing(principal.space_id) as session:
                await repository.touch_version(session, principal.space_id, user_id, now)
                if not await repository.change_trace(session, user_id, changed, now, before.updated_at):
                    raise Conflict("The trace was changed or forgotten meanwhile; read it again and repeat.")
                if cold is not None:
                    await repository.bring_back(session, user_id, changed, cold)
                await repository.leave_cold(session, user_id, trace_id)
                happened_at = changed.occurred_at or before.created_at
                if not await repository.change_body(session, user_id, changed, happened_at):
                    raise WentCold
                around = [trace_id]
                if changed.conversation_id != before.conversation_id:
                    around += await repository.neighbours(session, user_id, around)
                    await repository.move_trace(session, user_id, trace_id, changed.conversation_id, now)
                left = await self._replace_vectors(session, user_id, before, draft, outdated=outdated)
                await self.maker.settle(session, user_id, around, changed=True)
                if changed.content != before.content or changed.kind != before.kind:
                    await self.linker.leave_some(session, principal.space_id, user_id, [trace_id], now)
                    await derived.note_changed(session, user_id, [trace_id], now)
                if draft.vector is not None:
                    await self.maker.leave_for_others(session, principal.space_id, user_id, [trace_id], now)
                if left:
                    operation_id = await self._leave(session, principal.space_id, user_id, [trace_id], now)
        except psycopg.errors.UniqueViolation:
            raise Conflict(
                "The user has another trace that would be the same (by external_id, or by its text)."
            ) from None
        if operation_id is not None:
            await self._bell.ring(operation_id)
        return await self.get(principal, user, trace_id)

    async def _replace_vectors(
        self, session: WriteSession, user_id: UUID, before: TraceOut, draft: Draft, *, outdated: bool
    ) -> bool:
        """What a change means for the vectors of a trace; whether some are left to an operation."""
        assert draft.trace is not None  # noqa: S101 - a change is of a trace
        changed, heads = draft.trace, heads_for(draft.trace, self.maker.heads)
        if outdated or not changed.vectors:
            await repository.drop_vectors(session, user_id, changed.id)
            if draft.vector is not None:
                first = Vector(changed.id, HEADS["semantic"], 0, None, None, draft.vector)
                await repository.write_vectors(session, user_id, [first, *(draft.pieces or [])], self._model)
            return changed.vectors and (not draft.complete or "entity" in heads)
        if heads == heads_for(before, self.maker.heads):
            return False
        if "entity" not in heads:
            await repository.drop_vectors(session, user_id, changed.id, ["entity"])
        return "entity" in heads

    async def _read(self, body: RememberIn) -> list[Draft]:
        """Judges each trace by itself."""
        drafts, turns = [], Turns()
        for raw in body.traces if body.traces is not None else body.messages or []:
            await turns.pass_on()
            draft = Draft()
            try:
                draft.given = self._trace_of(raw, body)
                if draft.given.embedding is not None:
                    draft.vector, draft.pieces = supplied(draft.given.embedding, self._model.dim), []
            except ValidationError as error:
                whole = "The trace" if body.messages is None else "The message"
                draft.reject(complaint(error, whole)[1], _shown_id(raw))
            except ValueError as error:
                draft.reject(f"embedding {error}.", _shown_id(raw))
            drafts.append(draft)
        return drafts

    def _trace_of(self, raw: Any, body: RememberIn) -> TraceIn:
        if body.traces is not None:
            return _TRACE.validate_python(raw, context=self._limits)
        message = _MESSAGE.validate_python(raw, context=self._limits)
        return TraceIn.model_construct(
            content=message.content,
            role=message.role,
            speaker=message.name,
            kind="turn",
            expires_at=message.expires_at,
        )

    async def _identify(self, principal: Principal, body: RememberIn, drafts: Sequence[Draft], now: datetime) -> None:
        """Fills in what was not given, and finds traces that are the same within the batch."""
        ids = uuid7s(now, len(drafts))
        first: dict[bytes, Draft] = {}
        turns = Turns()
        for draft, trace_id in zip(drafts, ids, strict=True):
            await turns.pass_on()
            if draft.given is None or draft.answer is not None:
                continue
            trace = self._new_trace(principal, body.conversation_id, draft.given, trace_id)
            draft.trace = trace
            twin = first.setdefault(trace.identity, draft) if trace.identity is not None else draft
            if twin is draft:
                continue
            if twin.trace is not None and twin.trace.digest == trace.digest:
                draft.twin = twin
            else:
                draft.reject("external_id stands twice in this batch, with different content.", trace.external_id)

    def _recognise(self, principal: Principal, user_id: UUID, body: RememberIn, drafts: Sequence[Draft]) -> list[bytes]:
        """By what each would be refused if it was forgotten; returns the tombstones that are to be lifted by force."""
        lifted = list[bytes]()
        refusing = self._tombstones.refusing(principal.identity_key, user_id)
        for draft in drafts:
            if not draft.is_new or draft.trace is None:
                continue
            trace = draft.trace
            said = (trace.kind, trace.role, trace.speaker, trace.conversation_id)
            hashes = refusing.of(trace.identity, trace.digest, said, len(trace.content))
            if body.force or (draft.given is not None and draft.given.force):
                lifted += hashes
            else:
                trace.refusing = hashes
        return lifted

    def _new_trace(self, principal: Principal, conversation: str | None, given: TraceIn, trace_id: UUID) -> NewTrace:
        conversation_id = given.conversation_id or conversation
        kind = given.kind or ("turn" if given.role or conversation_id else "note")
        salience = DEFAULT_SALIENCE if given.salience is None else given.salience
        return NewTrace(
            id=trace_id,
            content=given.content,
            kind=kind,
            role=given.role,
            speaker=given.speaker or None,
            conversation_id=conversation_id,
            external_id=given.external_id,
            language=given.language or self._language_of(given.content),
            occurred_at=given.occurred_at,
            salience=salience,
            salience_given=given.salience is not None,
            identity=identity(
                principal.identity_key,
                content=given.content,
                kind=kind,
                role=given.role,
                speaker=given.speaker or None,
                conversation_id=conversation_id,
                external_id=given.external_id,
                occurred_at=given.occurred_at,
            ),
            digest=digest(principal.identity_key, given.content),
            vectors=salience >= self._settings.memory_salience_write_threshold,
            source=given.source,
            meta=given.meta or {},
            supplied=given.embedding is not None,
            expires_at=given.expires_at,
        )

    def _language_of(self, text: str) -> str:
        told = detect(text) if self._settings.memory_detect_language == "auto" else None
        return told or self._settings.memory_language

    async def _find_known(self, space_id: UUID, user_id: UUID, drafts: Sequence[Draft]) -> None:
        """Answers for traces that are remembered or were forgotten, before anything is encoded for nothing.

        Where nothing is to be encoded the write itself finds them.
        """
        open_drafts = [(d, d.trace) for d in drafts if d.is_new and d.trace is not None]
        identities = [trace.identity for _, trace in open_drafts if trace.identity is not None]
        hashes = [one for _, trace in open_drafts for one in trace.refusing]
        if not identities and not hashes:
            return
        async with self._database.reading(space_id) as session:
            known, buried = await repository.known(session, user_id, identities, hashes)
        for draft, trace in open_drafts:
            found = known.get(trace.identity or b"")
            if found is not None:
                _same_as(draft, *found)
            elif not buried.isdisjoint(trace.refusing):
                draft.refuse_forgotten()

    async def _encode(self, pending: Sequence[Draft]) -> bool:
        """Gives drafts their vectors, the first of all before further pieces; whether the encoder failed.

        What is missing then is left to an operation.
        """
        traces = [draft.trace for draft in pending if draft.trace is not None]
        if not traces:
            return False
        vectors = await self.maker.in_time([semantic_text(trace.content, trace.speaker) for trace in traces])
        if vectors is None:
            return True
        pieces, failed = await self.maker.pieces_in_time(traces)
        for draft, trace, vector in zip(pending, traces, vectors, strict=True):
            draft.vector, draft.pieces = vector, pieces.get(trace.id)
        return failed

    async def _write(
        self,
        principal: Principal,
        body: RememberIn,
        user_id: UUID,
        drafts: Sequence[Draft],
        lifted: Sequence[bytes],
        waited: bool,
        failed: bool,
        claim: Claim,
        now: datetime,
        suggesting: Suggesting | None,
    ) -> tuple[int, RememberOut]:
        """One transaction: the traces, their edges and vectors, the operation, and the kept answer."""
        new = [d.trace for d in drafts if d.is_new and d.trace is not None]
        vectors = [
            (d.trace.id, d.vector)
            for d in drafts
            if d.is_new and d.trace is not None and d.trace.vectors and d.vector is not None
        ]
        pieces = [piece for d in drafts if d.is_new for piece in d.pieces or []]
        complete = {d.trace.id for d in drafts if d.trace is not None and d.trace.vectors and d.complete}
        async with self._database.writing(principal.space_id) as session:
            written: dict[UUID, Written] = {}
            if new:
                await repository.raise_version(session, principal.space_id, user_id, body.user_id, now)
                if lifted:
                    await repository.lift_tombstones(session, user_id, lifted)
                written = await repository.write_traces(
                    session, principal.space_id, user_id, new, vectors, self._model, now
                )
                if pieces:
                    await repository.write_vectors(session, user_id, pieces, self._model)
                if vectors:
                    await self.maker.settle(session, user_id, [trace_id for trace_id, _ in vectors], changed=False)
            answers = [_answer(draft, written, complete) for draft in drafts]
            if suggesting is not None:
                await suggesting.link(session, {one for one, its in written.items() if its.stored}, now)
                answers = [_with_suggestions(*both, suggesting) for both in zip(drafts, answers, strict=True)]
            with_vector = {trace_id for trace_id, _ in vectors}
            # The others are linked once they have their vectors.
            linked = [t.id for t in new if written[t.id].stored and (t.id in with_vector or not t.vectors)]
            await self.linker.leave(session, principal.space_id, user_id, linked, now)
            pending = [a.trace_id for a in answers if a.vectors == "pending" and a.trace_id is not None]
            about = [trace.id for trace in new if written[trace.id].stored and self.maker.wants_entity(trace)]
            left = list(dict.fromkeys([*pending, *about]))
            operation_id = await self._leave(session, principal.space_id, user_id, left, now) if left else None
            if all(answer.status == "rejected" for answer in answers):
                raise _none_accepted(drafts, body)
            status = 201 if waited or not pending else 202
            degraded = ["encoder"] if failed and pending else []
            if suggesting is not None and _lacking(drafts, suggesting):
                degraded.append("suggestions")
            out = RememberOut(traces=answers, operation_id=operation_id, degraded=degraded)
            await claim.keep(session, status, _said(out, suggesting), user_id)
        return status, out

    async def _leave(
        self, session: WriteSession, space_id: UUID, user_id: UUID, trace_ids: Sequence[UUID], now: datetime
    ) -> UUID:
        operation_id = uuid7(now)
        await operations.insert(session, operation_id, space_id, EMBED, now, user_id=user_id, trace_ids=trace_ids)
        return operation_id

    def _changed(self, principal: Principal, before: TraceOut, patch: TracePatch) -> NewTrace:
        given = {name: getattr(patch, name) for name in patch.model_fields_set}
        kept = {name: given.get(name, getattr(before, name)) for name in TracePatch.model_fields}
        merged = TraceIn.model_construct(**{**kept, "embedding": None})
        trace = self._new_trace(principal, None, merged, before.trace_id)
        return replace(trace, salience_given="salience" in given)


def listed(row: Sequence[Any], cold: str | None = None) -> ListedTrace:
    """A row of ``list_traces`` as it is answered; ``cold``: what the file of a cold one says."""
    return ListedTrace(**_fields(row, cold))


def trace_out(row: Sequence[Any], cold: str | None = None) -> TraceOut:
    """A row of ``get_trace`` as it is answered; ``cold`` as in :func:`listed`, where the row has no content."""
    return TraceOut(**_fields(row, cold))


def _fields(row: Sequence[Any], cold: str | None) -> dict[str, Any]:
    content, tier = (row[3], row[20]) if row[3] is not None else (cold, "cold")
    return {
        "trace_id": row[0], "user_id": row[1], "external_id": row[2], "content": content, "kind": row[4],
        "role": row[5], "speaker": row[6], "conversation_id": row[7], "language": row[8], "length": row[9],
        "created_at": row[10], "occurred_at": row[11], "happened_at": row[12], "updated_at": row[13],
        "expires_at": row[19], "salience": round(row[14], 6), "pinned": row[15], "vectors": row[16],
        "source": row[17], "meta": row[18], "tier": tier,
    }  # fmt: skip


def _answer(draft: Draft, written: dict[UUID, Written], complete: set[UUID]) -> TraceAnswer:
    if draft.twin is not None:
        first = _answer(draft.twin, written, complete)
        return (
            first if first.status == "rejected" else first.model_copy(update={"status": "duplicate", "vectors": None})
        )
    if draft.answer is not None:
        return draft.answer
    assert draft.trace is not None  # noqa: S101 - a draft without an answer has a trace
    trace, outcome = draft.trace, written[draft.trace.id]
    if not outcome.stored and outcome.existing_id is not None:
        _same_as(draft, outcome.existing_id, outcome.existing_digest or b"")
        return _answer(draft, written, complete)
    if outcome.forgotten:
        draft.refuse_forgotten()
        return _answer(draft, written, complete)
    vectors = "stored" if trace.id in complete else "pending" if trace.vectors else "skipped"
    return TraceAnswer(trace_id=trace.id, external_id=trace.external_id, status="stored", vectors=vectors)


def _notes(drafts: Sequence[Draft]) -> list[Note]:
    """The notes of a request, each once, new or known; from now on each draft knows as which."""
    notes: dict[UUID, Note] = {}
    for draft in drafts:
        trace = draft.trace
        if trace is None or trace.kind != "note" or draft.twin is not None or draft.is_rejected:
            continue
        known = draft.answer is not None
        note_id = draft.answer.trace_id if draft.answer is not None else trace.id
        if note_id is not None:
            draft.note = note_id
            notes[note_id] = Note(note_id, trace.content, trace.language, trace.speaker, known)
    return list(notes.values())


def _with_suggestions(draft: Draft, answer: TraceAnswer, suggesting: Suggesting) -> TraceAnswer:
    note_id = (draft.twin or draft).note
    if note_id is None or answer.trace_id is None:
        return answer
    return answer.model_copy(update={"suggestions": suggesting.of(answer.trace_id, note_id)})


def _lacking(drafts: Sequence[Draft], suggesting: Suggesting) -> bool:
    """Whether more might be suggested: something was not looked at, or a note that gets a vector has none yet."""
    return suggesting.degraded or any(draft.note is not None and draft.is_new and draft.to_encode for draft in drafts)


_UNASKED: Final = {"traces": {"__all__": {"suggestions"}}}


def _said(out: RememberOut, suggesting: Suggesting | None) -> dict[str, Any]:
    """What is answered; of suggestions nothing where none were asked for."""
    return out.model_dump() if suggesting is not None else out.model_dump(exclude=_UNASKED)


def _same_as(draft: Draft, trace_id: UUID, known_digest: bytes) -> None:
    """A trace of this identity is there: the same content is a duplicate, another under its external_id is refused."""
    assert draft.trace is not None  # noqa: S101 - only traces have an identity
    external_id = draft.trace.external_id
    if external_id is None or known_digest == draft.trace.digest:
        draft.duplicate(trace_id, external_id)
    else:
        draft.reject(
            f"external_id is taken by a trace with other content; to change that one, PATCH /memory/traces/{trace_id}.",
            external_id,
        )


def _small_enough(pending: Sequence[Draft]) -> bool:
    if len(pending) > MOST_WAITED_TRACES:
        return False
    return sum(len(draft.trace.content.encode()) for draft in pending if draft.trace) <= MOST_WAITED_BYTES


def _none_accepted(drafts: Sequence[Draft], body: RememberIn) -> Invalid:
    what = "traces" if body.messages is None else "messages"
    refused = [d.answer for d in drafts if d.answer is not None and d.answer.error]
    first = next((answer.error for answer in refused), "")
    wrong = Forgotten if refused and all(answer.reason == "forgotten" for answer in refused) else Invalid
    if len(drafts) == 1:
        return wrong(f"None of the {what} was accepted: {first}", field=what)
    return wrong(f"None of the {len(drafts)} {what} was accepted; the first: {first}", field=what)


def _shown_id(raw: Any) -> str | None:
    external_id = raw.get("external_id") if isinstance(raw, dict) else None
    if not isinstance(external_id, str) or len(external_id) > 255:
        return None
    return external_id.encode("utf-8", "replace").decode()


def _no_trace(trace_id: UUID) -> NotFound:
    return NotFound(f"The user has no trace {trace_id}.")
