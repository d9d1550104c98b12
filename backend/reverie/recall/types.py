"""What passes from stage to stage of a recall: plain values, so that every stage can be read and tested by itself."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

from reverie.embedding.protocol import FloatArray

if TYPE_CHECKING:
    from reverie.recall.pool import Table
    from reverie.recall.shown import Shown

Key: TypeAlias = bytes
"""A trace among several users: the 16 bytes of its user's id and those of its own.

Hundreds of candidates are looked up several times in each recall, and ``UUID`` hashes and compares in Python: with
pairs of them this took a millisecond.
"""


def key_of(user_id: UUID, trace_id: UUID) -> Key:
    """The key of a trace."""
    return user_id.bytes + trace_id.bytes


def user_of(key: Key) -> UUID:
    """The user's id in a key."""
    return UUID(bytes=key[:16])


def trace_of(key: Key) -> UUID:
    """The trace's id in a key."""
    return UUID(bytes=key[16:])


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be found at all.

    ``before`` excludes traces remembered at or after the moment ``at``, which excludes what was changed since; ``only``
    names the rest.
    """

    user_ids: list[UUID]
    kinds: list[int]
    heads: list[int]
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    at: datetime | None = None
    only: frozenset[UUID] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how; ``now`` is the moment from which "yesterday" counts.

    ``cold``: the bounds within which cold memory is searched too, None where it is not asked; that ends at ``end``
    (monotonic).
    """

    text: str
    language: str
    bounds: Bounds
    k: int
    now: datetime
    vector: FloatArray | None = None
    cold: Bounds | None = None
    end: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a search returns: raw scores, higher is better, the candidates where it knows their rows, and the most that
    the question could have given, and what phrases add to that (``bonus``, its share of what words alone give).
    Of the words also the keys of the question's ``terms``, int64 in network order. Of the vector arm also its ``plan``,
    how many ``rows`` that looked at (an estimate, from kept counts), and for each trace the number of the head and of
    the piece whose vector was nearest.
    """

    scores: dict[Key, float]
    candidates: dict[Key, "Candidate"] = field(default_factory=dict)
    most: float = 0.0
    plan: str = ""
    rows: int = 0
    pieces: dict[Key, tuple[int, int]] = field(default_factory=dict)
    bonus: float = 0.0
    terms: bytes = b""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one way of searching found: raw scores, higher is better; ``milliseconds`` it took; why it failed.

    ``most``, ``plan``, ``rows``, ``pieces``, ``bonus`` and ``terms`` as in :class:`Found`; ``vector``: the question's.
    The cold arm adds to the scores of the others, and has none of its own; ``files``: how many it has read. ``shown``:
    what is held of the user to be answered, if anything is, and when (monotonic) that was ``looked`` at; ``table``: all
    traces that are held.
    """

    name: str
    scores: dict[Key, float] = field(default_factory=dict)
    candidates: dict[Key, "Candidate"] = field(default_factory=dict)
    most: float = 0.0
    milliseconds: float = 0.0
    failed: str | None = None
    plan: str = ""
    rows: int = 0
    pieces: dict[Key, tuple[int, int]] = field(default_factory=dict)
    bonus: float = 0.0
    terms: bytes = b""
    files: int = 0
    vector: FloatArray | None = None
    shown: "Shown | None" = None
    looked: float = 0.0
    table: "Table | None" = None

    def best(self, depth: int) -> "Arm":
        """With no more than its ``depth`` best candidates, of equals the newer."""
        if len(self.scores) <= depth:
            return self
        kept = sorted(self.scores, key=lambda key: (self.scores[key], key[16:]), reverse=True)[:depth]
        return replace(
            self,
            scores={key: self.scores[key] for key in kept},
            candidates={key: self.candidates[key] for key in kept if key in self.candidates},
            pieces={key: self.pieces[key] for key in kept if key in self.pieces},
        )


class Candidate(NamedTuple):
    """A trace that an arm found, with what fusion needs to know of it; ``length`` in characters.

    ``salience_given``: whether the caller gave its salience; else it is the middle, or what a night has estimated.
    ``asks``: whether a question mark stands in it; ``follows``: the trace before it in its ``conversation``. By
    ``pinned`` and ``updated_at`` it is told what time has left of its salience (recall/strengths.py).

    A tuple, as there are hundreds in a recall: frozen dataclasses take four times as long to make.
    """

    key: Key
    role: str | None
    speaker: str | None
    length: int
    kind: str
    happened_at: datetime
    salience: float
    salience_given: bool
    pinned: bool
    updated_at: datetime | None
    asks: bool
    follows: Key | None
    conversation: str | None = None


class Trace(NamedTuple):
    """A trace that is answered, with its row; ``id`` as text. ``superseded_by``: the newest that takes its place."""

    key: Key
    id: str
    user: str
    external_id: str | None
    content: str
    kind: str
    role: str | None
    speaker: str | None
    conversation_id: str | None
    created_at: datetime
    occurred_at: datetime | None
    salience: float
    meta: dict[str, Any]
    expires_at: datetime | None = None
    tier: str = "hot"
    superseded_by: UUID | None = None


class Scored(NamedTuple):
    """A candidate with its score (0 to 1), and its parts: the weighed arms and what each prior changed."""

    key: Key
    score: float
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class Edge:
    """A link between two results."""

    user_id: UUID
    src: UUID
    dst: UUID
    type: str
    weight: float
