"""Bringing a table of episodes along: what is read becomes traces, edges, and a verified whole.

Nothing is kept beside the store: an episode's id, after a prefix, is its trace's external_id, so that a migration that
was killed at any moment begins anew, and passes what is there quickly. Edges are written after the traces of a batch,
and written again for those that are known; they are the same each time.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.errors import Invalid
from reverie.core.http import complaint
from reverie.core.idempotency import Claim
from reverie.core.ids import user_uuid
from reverie.core.limits import limits_from
from reverie.memories import entities, repository
from reverie.memories.entities import Mention, Scope
from reverie.memories.identity import digest, external_identity
from reverie.memories.links import write_links
from reverie.memories.schemas import RememberIn, TraceIn
from reverie.migrating.columns import Plan
from reverie.migrating.links import Book
from reverie.migrating.repository import count_of, tables_of
from reverie.migrating.rows import Episode, Faulty, Reading, Row, episode
from reverie.migrating.source import Source, SourceAway
from reverie.recall.schemas import RecallIn
from reverie.runtime import Runtime
from reverie.text.entities import name_key

BATCH: Final = 1000
"""Episodes that are remembered together; their vectors are left to a worker."""

WAITED_BATCH: Final = 100
"""The same where their vectors are made at once."""

HELD: Final = 10_000
HELD_CHARS: Final = 8_000_000
"""Episodes, and characters of theirs, that wait for their batch to fill, over all users."""

SETTLED: Final = 200
"""Entities whose names are settled together."""

SAMPLED: Final = 20
"""Recalls by which the whole is verified."""

ASKED_WORDS: Final = 24
"""Of a sampled episode so many words are asked for."""

COUNTED: Final = 10_000
"""Traces that are looked for together at the end."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
"""Seconds between two attempts to reach a source that is away."""

_TRACE: Final = TypeAdapter(TraceIn)
_RECALL: Final = TypeAdapter(RecallIn)
_REMEMBER: Final = TypeAdapter(RememberIn)


class GaveUp(Exception):  # noqa: N818 - what happened
    """The source stayed away; what was read of it is remembered."""


class Failures(Protocol):
    """Who is told of rows that are not remembered."""

    def add(self, row: str, reason: str) -> None: ...

    def again(self) -> None:
        """The rows are read from the beginning: all of them are told of once more."""


@dataclass(slots=True)
class Tally:
    """What became of the rows so far."""

    read: int = 0
    stored: int = 0
    known: int = 0
    passed: int = 0
    failed: int = 0
    edges: int = 0
    pending: int = 0
    """Vectors that a worker makes."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """An episode that is asked for at the end."""

    row: str
    user: str
    external_id: str
    content: str
    happened_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was verified.

    Attributes:
        held: how many of the rows that were stored or known the store has.
        asked: rows that were sampled.
        dated: how many of them were recalled only when their date was named: others say nearly the same.
        missed: those that were not recalled.
    """

    held: int
    asked: int
    dated: int
    missed: list[str]


@dataclass(slots=True)
class _Pass:
    """One reading of all rows."""

    tally: Tally = field(default_factory=Tally)
    waiting: dict[str, list[Episode]] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    named: dict[str, set[UUID]] = field(default_factory=dict)
    sample: list[Sampled] = field(default_factory=list)
    traces: dict[str, bytearray] = field(default_factory=dict)
    """User → the ids of the traces of all rows, 16 bytes each."""

    seen: int = 0
    held: int = 0
    chars: int = 0


class Judge:
    """Reads rows one after the other; of those with the same id (``repeated``) only the first is taken."""

    def __init__(self, how: Reading, repeated: set[str]) -> None:
        self._how = how
        self._repeated = repeated
        self._first = set[str]()

    def episode(self, row: Row) -> Episode | None:
        """What is remembered of a row; None where it is not wanted.

        Raises:
            Faulty: it cannot be remembered.
        """
        one = episode(row, self._how)
        if one is not None and one.row in self._repeated:
            if one.row in self._first:
                raise Faulty("its id stands in an earlier row, which is the one that is remembered.")
            self._first.add(one.row)
        return one

    def refuse(self, settings: Settings, one: Episode) -> None:
        """Makes sure that a trace is one that the service takes.

        Raises:
            Faulty: it is not; the reason is the service's own.
        """
        try:
            _TRACE.validate_python(one.trace, context=limits_from(settings))
        except ValidationError as error:
            raise Faulty(complaint(error, "The trace")[1]) from None


class Migration:
    """A table on its way into a space.

    ``tell`` hears how far it is, ``remark`` that the source is away; ``patience``: seconds without it.
    """

    def __init__(
        self, runtime: Runtime, principal: Principal, source: Source, plan: Plan, how: Reading, failures: Failures,
        tell: Callable[[Tally], None], remark: Callable[[str], None], *, patience: float, wait: bool = False,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._principal = principal
        self._source = source
        self._plan = plan
        self._how = how
        self._failures = failures
        self._tell = tell
        self._remark = remark
        self._patience = patience
        self._wait = wait
        self._limits = limits_from(runtime.settings)
        self._pass = _Pass()

    @property
    def tally(self) -> Tally:
        """What became of the rows so far."""
        return self._pass.tally

    async def run(self) -> Tally:
        """Brings everything along. A source that goes away is asked again, and read anew.

        Raises:
            GaveUp: it stayed away.
            Unreadable: it refuses to be read, which asking again would not change.
        """
        furthest, since, pause = 0, time.monotonic(), FIRST_PAUSE
        while True:
            self._pass = _Pass()
            try:
                await self._all()
            except SourceAway as away:
                if self.tally.read > furthest:
                    furthest, since, pause = self.tally.read, time.monotonic(), FIRST_PAUSE
                if time.monotonic() - since + pause > self._patience:
                    raise GaveUp(str(away)) from away
                self._remark(f"{away}. Trying again for up to {self._patience:g} s …")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                self._failures.again()
            else:
                return self.tally

    async def verify(self) -> Verdict:
        """Counts what the store has of the rows, and recalls some episodes by their own words."""
        held = 0
        for user, traces in self._pass.traces.items():
            ids = [UUID(bytes=bytes(traces[start : start + 16])) for start in range(0, len(traces), 16)]
            for start in range(0, len(ids), COUNTED):
                held += await self._held(user, ids[start : start + COUNTED])
        dated, missed = 0, list[str]()
        for one in self._pass.sample:
            if await self._recalled(one):
                continue
            if one.happened_at is not None and await self._recalled(one, one.happened_at):
                dated += 1
            else:
                missed.append(one.row)
        return Verdict(held, len(self._pass.sample), dated, missed)

    async def _held(self, user: str, trace_ids: Sequence[UUID]) -> int:
        user_id = user_uuid(self._principal.space_id, user)
        async with self._runtime.database.reading(self._principal.space_id, seconds=600) as session:
            return await count_of(session, user_id, trace_ids)

    async def _all(self) -> None:
        judge = Judge(self._how, await self._source.repeated(self._plan))
        async with aclosing(self._source.rows(self._plan, self._how.since)) as read:
            async for rows in read:
                for row in rows:
                    await self._take(row, judge)
                self._tell(self.tally)
        await self._flush()
        for user, ids in self._pass.named.items():
            await self._settle(user, sorted(ids))
        self._tell(self.tally)

    async def _take(self, row: Row, judge: Judge) -> None:
        """Judges a row; it waits until there are enough of its user."""
        tally = self.tally
        tally.read += 1
        try:
            one = judge.episode(row)
        except Faulty as fault:
            self._fail(row.id, str(fault))
            return
        if one is None:
            tally.passed += 1
            return
        waiting = self._pass.waiting.setdefault(one.user, [])
        waiting.append(one)
        self._pass.held += 1
        self._pass.chars += len(one.trace["content"])
        if len(waiting) >= (WAITED_BATCH if self._wait else BATCH):
            await self._send(one.user)
        elif self._pass.held >= HELD or self._pass.chars >= HELD_CHARS:
            await self._flush()

    async def _flush(self) -> None:
        for user in list(self._pass.waiting):
            await self._send(user)

    def _fail(self, row: str, reason: str) -> None:
        self.tally.failed += 1
        self._failures.add(row, reason)

    async def _send(self, user: str) -> None:
        """Remembers what waits of a user, and links it."""
        batch = self._pass.waiting.pop(user)
        self._pass.held -= len(batch)
        self._pass.chars -= sum(len(one.trace["content"]) for one in batch)
        known, taken = await self._known(user, batch)
        strange = await self._strange(user, taken)
        for row, reason in strange.items():
            self._fail(row, reason)
        stored = await self._remember(user, [one for one in batch if one.row not in known and one.row not in strange])
        self.tally.known += len(known)
        ids = known | stored
        there = [one for one in batch if one.row in ids]
        if there:
            self._pass.traces.setdefault(user, bytearray()).extend(b"".join(ids[one.row].bytes for one in there))
            await self._link(user, [(one, ids[one.row]) for one in there])
        for one in there:
            self._sample(one)

    async def _known(self, user: str, batch: Sequence[Episode]) -> tuple[dict[str, UUID], dict[str, UUID]]:
        """Row → trace id of those that are remembered as they are, and of those whose id a trace of other words has."""
        key = self._principal.identity_key
        hashes = {external_identity(key, one.trace["external_id"]): one for one in batch}
        given = list(hashes)
        async with self._runtime.database.reading(self._principal.space_id) as session:
            found, _ = await repository.known(session, user_uuid(self._principal.space_id, user), given, [])
        known, taken = dict[str, UUID](), dict[str, UUID]()
        for hashed, (trace_id, there) in found.items():
            one = hashes[hashed]
            (known if there == digest(key, one.trace["content"]) else taken)[one.row] = trace_id
        return known, taken

    async def _strange(self, user: str, taken: Mapping[str, UUID]) -> dict[str, str]:
        """Row → why it is not remembered, of those whose id a trace has that came from elsewhere."""
        if not taken:
            return {}
        async with self._runtime.database.reading(self._principal.space_id) as session:
            tables = await tables_of(session, user_uuid(self._principal.space_id, user), list(taken.values()))
        return {
            row: (
                "its id is the external_id of a trace with other content, which came from "
                f"{tables[trace_id] or 'no table'}: --prefix keeps the two apart, PATCH /memory/traces/{trace_id} "
                "changes that one."
            )
            for row, trace_id in taken.items() if tables.get(trace_id, self._how.table) != self._how.table
        }  # fmt: skip

    async def _remember(self, user: str, batch: Sequence[Episode]) -> dict[str, UUID]:
        """Row → trace id of those that are stored now; the others are told of."""
        if not batch:
            return {}
        try:
            given = {"user_id": user, "traces": [one.trace for one in batch]}
            body = _REMEMBER.validate_python(given, context=self._limits)
            claim = Claim(self._principal.space_id, None, None, None)
            _, out = await self._runtime.memories.remember(self._principal, body, wait=self._wait, claim=claim)
        except ValidationError as error:
            for one in batch:
                self._fail(one.row, complaint(error, "The user")[1])
            return {}
        except Invalid as refused:
            return await self._one_by_one(user, batch, refused)
        made: dict[str, UUID] = {}
        for one, answer in zip(batch, out["traces"], strict=True):
            if answer["trace_id"] is None:
                self._fail(one.row, answer["error"])
                continue
            made[one.row] = answer["trace_id"]
            self.tally.stored += answer["status"] == "stored"
            self.tally.known += answer["status"] == "duplicate"
            self.tally.pending += answer["vectors"] == "pending"
        return made

    async def _one_by_one(self, user: str, batch: Sequence[Episode], refused: Invalid) -> dict[str, UUID]:
        """Finds out why each was refused: a batch with nothing acceptable in it is refused as a whole."""
        if len(batch) == 1:
            self._fail(batch[0].row, refused.detail.removeprefix("None of the traces was accepted: "))
            return {}
        made: dict[str, UUID] = {}
        for one in batch:
            made |= await self._remember(user, [one])
        return made

    async def _link(self, user: str, batch: Sequence[tuple[Episode, UUID]]) -> None:
        """Writes the edges of a batch; those that are there stay as they are."""
        book = self._pass.books.setdefault(user, Book())
        links = [link for one, trace_id in batch for link in book.add(trace_id, one.day, one.topics)]
        people = {name_key(name): name for one, _ in batch for name in one.participants if len(name_key(name)) > 1}
        if not links and not people:
            return
        space_id, now = self._principal.space_id, clock.now()
        scope = self._scope(user, now)
        async with self._runtime.database.writing(space_id) as session:
            await repository.touch_version(session, space_id, scope.user_id, now)
            await write_links(session, space_id, scope.user_id, links, now)
            ids = await _entities(session, scope, people)
            mentions = [
                Mention(trace_id, ids[key], (name,), "person")
                for one, trace_id in batch
                for key, name in {name_key(name): name for name in one.participants}.items() if key in ids
            ]  # fmt: skip
            await entities.mention(session, scope, mentions)
        self._pass.named.setdefault(user, set()).update(ids.values())
        self.tally.edges += len(links) + len(mentions)

    def _scope(self, user: str, now: datetime) -> Scope:
        user_id = user_uuid(self._principal.space_id, user)
        return Scope(self._principal.space_id, user_id, self._principal.identity_key, now, migrated=True)

    async def _settle(self, user: str, ids: Sequence[UUID]) -> None:
        """Has the entities of participants say by which names they go."""
        space_id, now = self._principal.space_id, clock.now()
        scope = self._scope(user, now)
        for start in range(0, len(ids), SETTLED):
            async with self._runtime.database.writing(space_id, seconds=600) as session:
                await repository.touch_version(session, space_id, scope.user_id, now)
                await entities.settle(session, scope, ids[start : start + SETTLED])

    def _sample(self, one: Episode) -> None:
        """Keeps SAMPLED of all episodes, each with the same chance (algorithm R of Vitter, 1985)."""
        self._pass.seen += 1
        place = len(self._pass.sample)
        if place == SAMPLED:
            place = random.randrange(self._pass.seen)  # noqa: S311 - a sample, no secret
            if place >= SAMPLED:
                return
            self._pass.sample.pop(place)
        self._pass.sample.insert(place, _sampled(one))

    async def _recalled(self, one: Sampled, moment: datetime | None = None) -> bool:
        """Whether an episode, or one that says the same, is among what is recalled by its first words, and its date."""
        words = " ".join(one.content.split()[:ASKED_WORDS])[:1000]
        asked: dict[str, Any] = {"user_id": [one.user], "q": words, "k": 10, "touch": False}
        if moment is not None:
            asked |= {"since": moment, "until": moment + timedelta(seconds=1)}
        question = _RECALL.validate_python(asked, context=self._limits)
        answer = await self._runtime.recall.recall(self._principal, question)
        return any(
            found["external_id"] == one.external_id or found["content"] == one.content for found in answer["results"]
        )


def _sampled(one: Episode) -> Sampled:
    return Sampled(one.row, one.user, one.trace["external_id"], one.trace["content"], one.happened_at)


async def _entities(session: Any, scope: Scope, people: dict[str, str]) -> dict[str, UUID]:
    """Key → the entity of each name, made where there is none. The user is locked."""
    if not people:
        return {}
    known = await entities.known(session, scope.user_id, [scope.identity(name) for name in people.values()])
    missing = [name for name in people.values() if scope.identity(name) not in known]
    made = await entities.make(session, scope, [(name, "simple") for name in missing])
    return {
        key: known[hashed] if (hashed := scope.identity(name)) in known else made[name] for key, name in people.items()
    }
