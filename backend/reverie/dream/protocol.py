"""What the stages of a night are given, and what they give back.

A **stage of a day** (:class:`DayStage`) is asked once for each day of each user that is to be dreamt, days in their
order, oldest first. It is asked in two steps:

1. ``prepare`` reads and computes, for as long as it takes, outside of any transaction of its own. Work of more than
   some milliseconds belongs into ``asyncio.to_thread``: the event loop of the worker runs operations meanwhile.
2. What it returns is either :class:`Did` (there is nothing to be written), or a coroutine function (:data:`Write`) that
   is called with a session that writes. The user is locked then, and every trace of the day is as ``prepare`` saw it:
   whatever was forgotten or changed meanwhile has the day left for another round. What the stage writes, its
   checkpoint and its share of the report are one transaction, which the runner commits; it is short. A trace of another
   day that a stage refers to may be gone: join with ``memory_trace`` and ``deleted_at IS NULL``, as
   :mod:`reverie.memories.deriving` does.

Rules of every stage:

- It is **idempotent**: it computes what should be there for this day, of the day's traces and of earlier days, compares
  it with what is there, and writes the difference alone. Asked twice, it changes nothing the second time, and says so
  (:attr:`Did.changes` is 0): the user's version is then not raised.
- It never changes ``updated_at`` of a turn, note, fact or chunk: that would mark the day as changed.
- A day may be dreamt again after later ones were (late imports): links to later days are its matter too.
- It never reads summaries or entities as if they were somebody's words, nor writes what a person edited or pinned.
- An error that it raises sets aside the trace that causes it: the runner looks for that one by asking again with parts
  of the day, and takes back what such a trial writes. A stage that knows which trace is at fault raises
  :class:`Poisonous`.
- A killed stage is asked again with the same day; the checkpoint says that it is done only when what it wrote is
  committed.

A **stage of the store** (:class:`StoreStage`) is asked once a night, after all days.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from reverie.core.config import Settings
from reverie.core.database import Connection, Database, WriteSession
from reverie.language.budget import Budgeted
from reverie.memories.model import Model


@dataclass(frozen=True, slots=True)
class Trace:
    """A turn, note, fact or chunk of a day, with all of its text."""

    id: UUID
    kind: str
    role: str | None
    speaker: str | None
    conversation_id: str | None
    language: str
    created_at: datetime
    happened_at: datetime
    updated_at: datetime | None
    salience: float
    salience_given: bool
    pinned: bool
    meta: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """What belongs together in a day: a conversation, or all that stands in none (``conversation_id`` None).

    ``topics`` are its traces again, cut where they turn to something else; ``traces`` are in the order of their time.
    """

    conversation_id: str | None
    traces: tuple[Trace, ...]
    topics: tuple[tuple[Trace, ...], ...]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a user that is to be dreamt.

    Attributes:
        key: the key of the space's hashes (:mod:`reverie.memories.identity`).
        day: of ``happened_at``, in the time zone ``zone``.
        language: a PostgreSQL configuration that the user has set, or None.
        traces: in the order of (happened_at, id); empty where all of it was forgotten: what was derived is to go.
        groups: these, by conversation in the order of their first traces.
        aside: traces that this stage does without, since they broke it before.
    """

    space_id: UUID
    user_id: UUID
    key: bytes
    day: date
    zone: str
    language: str | None
    traces: tuple[Trace, ...]
    groups: tuple[Group, ...] = ()
    aside: frozenset[UUID] = frozenset()

    @property
    def ids(self) -> list[UUID]:
        return [trace.id for trace in self.traces]

    def only(self, ids: Iterable[UUID]) -> "Day":
        """The day as if it had these traces alone."""
        kept = set(ids)
        return replace(
            self,
            traces=tuple(trace for trace in self.traces if trace.id in kept),
            groups=tuple(one for group in self.groups if (one := _within(group, kept)) is not None),
        )


def _within(group: Group, kept: set[UUID]) -> Group | None:
    def those(traces: Sequence[Trace]) -> tuple[Trace, ...]:
        return tuple(trace for trace in traces if trace.id in kept)

    traces = those(group.traces)
    topics = tuple(topic for one in group.topics if (topic := those(one)))
    return Group(group.conversation_id, traces, topics) if traces else None


@dataclass(slots=True)
class Did:
    """What a stage did: counts alone, no text.

    Attributes:
        saw: traces that it looked at.
        made: traces and edges that are new, or anew in place of what was there; ``moved``: to another tier.
        removed: traces and edges that were derived and are so no more; ``changed``: rows that stay and say something
            else (a mark, a salience).
        skipped: reason (some words) → how many.
        bytes: of what was moved.
        model: the name of the language model that was asked; ``tokens``: what that took.
        operations: that were left, to be rung for when this is committed.
    """

    saw: int = 0
    made: int = 0
    moved: int = 0
    removed: int = 0
    changed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    model: str | None = None
    tokens: int = 0
    operations: list[UUID] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """Whether the user's memory is another than before: then its version is raised."""
        return self.made + self.removed + self.changed

    def add(self, other: "Did") -> None:
        """Adds another day's."""
        self.saw += other.saw
        self.made += other.made
        self.moved += other.moved
        self.removed += other.removed
        self.changed += other.changed
        self.skipped.update(other.skipped)
        self.bytes += other.bytes
        self.model = other.model or self.model
        self.tokens += other.tokens


Write: TypeAlias = Callable[[WriteSession], Awaitable[Did]]
"""Writes what a stage has prepared, and says what it did. It may be called again after a deadlock."""


class Poisonous(Exception):  # noqa: N818 - what the trace is
    """A stage cannot take a trace; the message says why, without quoting it."""

    def __init__(self, trace_id: UUID, why: str) -> None:
        super().__init__(why)
        self.trace_id = trace_id


@dataclass(slots=True)
class Night:
    """What all stages of a run have.

    Attributes:
        run_id: stands as ``run`` in the provenance of what is made, and in ``meta`` of edges.
        as_of: the moment by which it is said what is over; not the clock, which is :func:`reverie.core.clock.now`.
        models: the language model of a space with its budget of this night; it is asked by :meth:`language_model`.
        owner: a connection of the owner of the schema in autocommit, for stages of the store; it holds the lock of
            runs.
        until: when stages of the store are to be through (:func:`time.monotonic`).
        kept: what a stage, by its name, keeps of a user for other days of the run; it goes with the run.
    """

    settings: Settings
    database: Database
    model: Model
    run_id: UUID
    as_of: datetime
    owner: Connection
    language_model_of: Callable[[UUID], Budgeted | None] = lambda _space_id: None
    models: dict[UUID, Budgeted | None] = field(default_factory=dict)
    until: float = math.inf
    kept: dict[str, tuple[UUID, Any]] = field(default_factory=dict)

    def language_model(self, space_id: UUID) -> Budgeted | None:
        """The language model of a space, None where none is configured; it is opened when it is first asked for."""
        if space_id not in self.models:
            self.models[space_id] = self.language_model_of(space_id)
        return self.models[space_id]


class DayStage(Protocol):
    """A stage that is asked for each day of each user."""

    @property
    def name(self) -> str: ...

    async def prepare(self, day: Day, night: Night) -> "Did | Write":
        """Reads and computes; what is to be written, or what it did where there is nothing to write."""
        ...


class StoreStage(Protocol):
    """A stage that is asked once a night, after all days."""

    @property
    def name(self) -> str: ...

    async def run(self, night: Night, spaces: Sequence[UUID], tell: "Callable[[str, int], None]") -> dict[UUID, Did]:
        """Does it for these spaces; by space, what it did. ``tell`` hears how far it is (what, how many)."""
        ...
