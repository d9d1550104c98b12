"""What is answered of the traces of a held user, and the edges among them, without a round trip (recall/held.py).

It is what the blocks `results` and `edges` would give at the version that is held. Of a text that is long or cold, and
of a trace that came later, nothing is here: then PostgreSQL is asked for all. So it is for whom the look was a while
ago: what was forgotten since then must not be answered.
"""

import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

import numpy as np
import orjson

from reverie.recall.types import Edge, Key, Trace

MOST_CHARS: Final = 2000
"""Longer texts are not held, nor those of traces with more characters of ``meta``."""

USUAL_WORDS: Final = 150
"""Of a user whose texts have more words on average no texts are held: many would be too long."""

MOST_ABSENT: Final = 0.1
"""Where of a greater share of the traces no text is held, none is: all results of a question have to be here."""

FRESH: Final = 0.25
"""Seconds after the look within which an answer is made of what is held. What is forgotten while a question is being
answered is left out later, as PostgreSQL then reads the results."""

MOST_EDGES: Final = 20_000
"""Of a user with more edges no answers are held."""

ROW_BYTES: Final = 600
EDGE_BYTES: Final = 200
"""What a row takes beside its text and its ``meta``, and what an edge takes."""

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""PostgreSQL counts the microseconds of a timestamp from here."""

NEVER: Final = 2**63 - 1
NOT: Final = -(2**63)
"""What PostgreSQL sends of a moment after all time, and of one before."""

_RANGE: Final = np.dtype([("lower", "V16"), ("upper", "V16"), ("cold", "?")])
_EDGE: Final = np.dtype([("src", "V16"), ("dst", "V16"), ("weight", ">f4")])

Id: TypeAlias = bytes
"""The 16 bytes of a trace's id."""


def moment(microseconds: int) -> datetime:
    """A timestamp as PostgreSQL sends it."""
    return EPOCH + timedelta(microseconds=microseconds)


class ShownRow(NamedTuple):
    """What is answered of a trace that stands: ``content`` None where that is not held; ``meta`` as JSON, None where it
    is empty; moments in microseconds, as PostgreSQL sends them."""

    external_id: str | None
    content: str | None
    kind: str
    role: str | None
    speaker: str | None
    conversation_id: str | None
    created: int
    occurred: int
    happened: int
    expires: int
    salience: float
    meta: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What is answered of a user's traces.

    ``rows``: by their ids; ``edges``: the ends, types and weights of the edges that lead from each; ``superseded``: of
    each what may take its place; ``ranges``: of the ids that are not hot, from and up to, ascending.
    """

    user_id: UUID
    user: str
    rows: dict[Id, ShownRow]
    edges: dict[Id, list[tuple[Id, str, float]]]
    superseded: dict[Id, list[Id]]
    ranges: list[Id]
    size: int

    def results(self, keys: Sequence[Key], now: datetime) -> tuple[dict[Key, Trace], list[Edge]] | None:
        """The traces of ``keys`` that have not expired, and the edges among them; None where one is not here."""
        at = (now - EPOCH) // timedelta(microseconds=1)
        traces: dict[Key, Trace] = {}
        for key in keys:
            row = self.rows.get(key[16:])
            if row is None or row.content is None:
                return None
            if row.expires > at:
                traces[key] = self._trace(key, row, row.content, at)
        # In the order of the keys: that of a set is another in each process.
        ids = dict.fromkeys(key[16:] for key in keys)
        links = [
            Edge(self.user_id, UUID(bytes=src), UUID(bytes=dst), kind, weight)
            for src in ids
            for dst, kind, weight in self.edges.get(src, ())
            if dst in ids
        ]
        return traces, links

    def _trace(self, key: Key, row: ShownRow, content: str, at: int) -> Trace:
        trace_id = key[16:]
        return Trace(
            key,
            str(UUID(bytes=trace_id)),
            self.user,
            row.external_id,
            content,
            row.kind,
            row.role,
            row.speaker,
            row.conversation_id,
            moment(row.created),
            None if row.occurred == NOT else moment(row.occurred),
            row.salience,
            {} if row.meta is None else orjson.loads(row.meta),
            None if row.expires == NEVER else moment(row.expires),
            self._tier(trace_id),
            self._superseded_by(trace_id, at),
        )

    def _tier(self, trace_id: Id) -> str:
        """A text that stands in a cold partition was thawed, or came late."""
        return "warm" if bisect_right(self.ranges, trace_id) % 2 else "hot"

    def _superseded_by(self, trace_id: Id, at: int) -> UUID | None:
        standing = [
            (newer.happened, src)
            for src in self.superseded.get(trace_id, ())
            if (newer := self.rows.get(src)) is not None and newer.expires > at
        ]
        return UUID(bytes=max(standing)[1]) if standing else None


def linked(packed: bytes | None, types: Sequence[str] | None) -> dict[Id, list[tuple[Id, str, float]]] | None:
    """The edges that lead from each trace; None where there are too many."""
    rows = np.frombuffer(packed or b"", dtype=_EDGE).tolist()
    if len(rows) > MOST_EDGES:
        return None
    found: dict[Id, list[tuple[Id, str, float]]] = defaultdict(list)
    for (src, dst, weight), kind in zip(rows, types or (), strict=True):
        found[src].append((dst, sys.intern(kind), weight))
    return dict(found)


def shown(
    user_id: UUID, rows: dict[Id, ShownRow], user: str, edges: dict[Id, list[tuple[Id, str, float]]] | None,
    moved: bytes,
) -> Shown | None:  # fmt: skip
    """What is answered of a user; None where there are too many edges, or too few texts."""
    if edges is None or sum(row.content is None for row in rows.values()) > MOST_ABSENT * len(rows):
        return None
    superseded: dict[Id, list[Id]] = defaultdict(list)
    for src, ends in edges.items():
        for dst, kind, _ in ends:
            if kind == "supersedes":
                superseded[dst].append(src)
    texts = sum(map(sys.getsizeof, (text for row in rows.values() for text in (row.content, row.meta) if text)))
    ranges = np.frombuffer(moved, dtype=_RANGE)
    return Shown(
        user_id=user_id,
        user=user,
        rows=rows,
        edges=edges,
        superseded=dict(superseded),
        ranges=[border for lower, upper, _ in ranges.tolist() for border in (lower, upper)],
        size=ROW_BYTES * len(rows) + texts + EDGE_BYTES * sum(map(len, edges.values())),
    )
