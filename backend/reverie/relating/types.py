"""What passes between looking for what a trace is related to, and weighing it: plain values."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from reverie.memories.entities import Names

MOST_MENTIONS: Final = 200
"""Mentions of an entity that are looked at: one with more is everywhere."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose memory is looked at, and when; ``key`` is that of the space's hashes."""

    space_id: UUID
    user_id: UUID
    key: bytes
    now: datetime


class Entity(NamedTuple):
    """An entity that a trace is about: which of the looked-for names it has, and ``traces`` (the 16 bytes of the id of
    each) that mention it.

    One that was found in texts and is not made yet has the key of its name as ``new``, and an id that it may get.
    """

    id: UUID
    name: str | None
    keys: frozenset[str]
    traces: frozenset[bytes]
    new: str | None = None


@dataclass(slots=True)
class Seen:
    """What looking by names and words has found.

    Attributes:
        names: of the text, by key.
        entities: of these, and those that the trace mentions.
        words: trace → the share of what the words of the text could give.
        traces: how many the user has.
        dismissed: traces that are not to be suggested.
        missed: what could not be looked at.
    """

    names: dict[str, Names] = field(default_factory=dict)
    entities: list[Entity] = field(default_factory=list)
    words: dict[UUID, float] = field(default_factory=dict)
    traces: int = 0
    dismissed: set[UUID] = field(default_factory=set)
    missed: list[str] = field(default_factory=list)


class Row(NamedTuple):
    """A trace as it is shown; ``content``: as much of it as is compared, None where it is cold."""

    id: UUID
    kind: str
    speaker: str | None
    conversation_id: str | None
    happened_at: datetime
    content: str | None
    language: str


class Step(NamedTuple):
    """An edge between a trace and another one; ``hand``: a person has made it."""

    origin: UUID
    id: UUID
    src: UUID
    dst: UUID
    type: str
    weight: float
    hand: bool


@dataclass(slots=True)
class Around:
    """The rows of traces, and the edges that lead from them."""

    rows: dict[UUID, Row] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
