"""Memory of weeks that are over, laid down in a throw-away store as the service would have written it at that time.

Over HTTP everything is remembered now; here the owner of the schema writes the same rows with the ids and moments of
the past: traces with their text and words, `next` edges, the counts of the user, and the vectors of all three heads, in
the order in which the service writes those, for that decides how full the pages of their indexes are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg

from bench.prose import Prose
from bench.report import CannotMeasure
from bench.scale import SESSION, in_turn
from bench.tenants import Sentences
from reverie.core.ids import user_uuid, uuid7s
from reverie.core.kinds import HEADS, KINDS
from reverie.embedding.codes import signs_of
from reverie.embedding.protocol import FloatArray
from reverie.memories.identity import digest, identity
from reverie.memories.model import Model
from reverie.memories.service import DEFAULT_SALIENCE
from reverie.tiers.partitions import Week, ensure_partitions, week_of

AT_ONCE: Final = 20_000
"""Traces that are written in one transaction."""

SPEAKERS: Final = ("Noor", "Levi")

_MINUTE: Final = timedelta(minutes=1)
_EPOCH_OF_POSTGRESQL: Final = datetime(2000, 1, 1, tzinfo=UTC)
_NUMBERS: Final = {"fp16": ">f2", "fp32": ">f4"}
_TYPES: Final = {"fp16": np.float16, "fp32": np.float32}

GIVEN: Final = """
CREATE TEMPORARY TABLE IF NOT EXISTS given (
    place integer, user_id uuid, "user" text, id uuid, speaker text, conversation_id text, external_id text,
    created_at timestamptz, occurred_at timestamptz, identity bytea, digest bytea, content text, follows uuid
) ON COMMIT DELETE ROWS
"""

LAY: Final = """
WITH scope AS (SELECT %(space)s::uuid AS space_id),
stored AS (
    INSERT INTO memory_trace (space_id, user_id, id, kind, speaker, conversation_id, external_id, language, length,
                              created_at, occurred_at, salience, salience_given, identity, digest, vectors, follows,
                              asks, supplied)
    SELECT s.space_id, g.user_id, g.id, 'turn', g.speaker, g.conversation_id, g.external_id, 'english',
           length(g.content), g.created_at, g.occurred_at, %(salience)s, false, g.identity, g.digest, true, g.follows,
           g.content ~ '[?？؟]', true
    FROM given g, scope s ORDER BY g.place
),
body AS (
    INSERT INTO memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes)
    SELECT s.space_id, g.user_id, g.id, %(kind)s, g.occurred_at, length(w.lexemes), g.content,
           w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(g.user_id)])
    FROM given g, scope s,
         LATERAL (SELECT reverie_lexemes('english'::regconfig, g.content, g.occurred_at) AS lexemes OFFSET 0) w
    ORDER BY g.place
    RETURNING user_id, words
),
edge AS (
    INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
    SELECT s.space_id, g.user_id, g.follows, g.id, 'next', 1, g.created_at
    FROM given g, scope s WHERE g.follows IS NOT NULL ORDER BY g.place
)
INSERT INTO memory_user AS u (space_id, user_id, external_id, version, traces, words, languages, created_at, updated_at)
SELECT s.space_id, g.user_id, g.name, extract(epoch FROM g.last) * 1000, b.traces, b.words, ARRAY['english'], g.first,
       g.last
FROM scope s,
     (SELECT user_id, min("user") AS name, min(created_at) AS first, max(created_at) AS last FROM given GROUP BY 1) g
     JOIN (SELECT user_id, count(*) AS traces, sum(words) AS words FROM body GROUP BY 1) b USING (user_id)
ON CONFLICT (user_id) DO UPDATE
SET traces = u.traces + excluded.traces, words = u.words + excluded.words,
    version = greatest(u.version + 1, excluded.version), updated_at = greatest(u.updated_at, excluded.updated_at)
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a user remembers at one moment: traces from number ``first`` to ``last`` (exclusive)."""

    user: int
    first: int
    last: int
    moment: datetime

    @property
    def rows(self) -> int:
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Memories:
    """What everybody remembers: drawn by the user and the number of the first trace, so that it can be drawn again.

    No conversation goes on in another batch.
    """

    prose: Prose
    sentences: Sentences

    def traces(self, batch: Batch) -> list[dict[str, Any]]:
        """The traces of a batch as the API takes them, without vectors."""
        contents = self.prose.draw(_stream(batch), batch.rows)
        return [
            {
                "external_id": str(batch.first + place),
                "conversation_id": f"session {batch.first + place - place % SESSION}",
                "speaker": SPEAKERS[place % len(SPEAKERS)],
                "kind": "turn",
                "language": "english",
                "content": content,
                "occurred_at": batch.moment + (place - batch.rows) * _MINUTE / 100,
            }
            for place, content in enumerate(contents)
        ]

    def semantic(self, batch: Batch) -> FloatArray:
        """The vectors of a batch, float32 ``[rows, dim]`` of unit length."""
        return self.sentences.draw(2 * _stream(batch), batch.rows)

    def entity(self, batch: Batch) -> FloatArray:
        """Those of the head ``entity``, which the service would have encoded."""
        return self.sentences.draw(2 * _stream(batch) + 1, batch.rows)


class Remembered(Protocol):
    """Of each batch the traces as the API takes them, and their vectors, float32 ``[rows, dim]`` of unit length."""

    def traces(self, batch: Batch) -> list[dict[str, Any]]: ...

    def semantic(self, batch: Batch) -> FloatArray: ...

    def entity(self, batch: Batch) -> FloatArray: ...


def _stream(batch: Batch) -> int:
    return (batch.user << 32) + batch.first


def weeks_before(moment: datetime, count: int) -> list[Week]:
    """The last ``count`` weeks that are over at a moment, oldest first."""
    this = week_of(moment).since
    return [Week(this - timedelta(weeks=back)) for back in range(count, 0, -1)]


def batches(sizes: Sequence[int], weeks: Sequence[Week], seed: int) -> list[Batch]:
    """Everybody's batches in the order of time: each user has about the same in every week, everybody in turn."""
    made = []
    for number, week in enumerate(weeks):
        before, sizes_then = ([size * so_far // len(weeks) for size in sizes] for so_far in (number, number + 1))
        parts = list(in_turn(sizes_then, before, seed))
        step = (week.until - week.since) / (len(parts) + 1)
        made += [Batch(*part, week.since + (place + 1) * step) for place, part in enumerate(parts)]
    return made


@dataclass(frozen=True, slots=True)
class Space:
    """Where memory is laid down, and how what is laid is told apart."""

    id: UUID
    identity_key: bytes
    model: Model

    @classmethod
    def of(cls, database_url: str, name: str = "default") -> "Space":
        """The space of a name, with the store's model.

        Raises:
            CannotMeasure: there is none.
        """
        with psycopg.connect(database_url) as connection:
            row = connection.execute(
                "SELECT s.id, s.identity_key, m.id, m.name, m.dim, m.precision FROM space s, model m"
                " WHERE s.name = %s AND m.active",
                (name,),
            ).fetchone()
        if row is None:
            raise CannotMeasure(f"The store has no space {name!r} or no model.")
        return cls(row[0], row[1], Model(*row[2:]))


async def lay(
    database_url: str,
    space: Space,
    planned: Sequence[Batch],
    memories: Remembered,
    name: Callable[[int], str],
    advance: Callable[[int], Any],
) -> None:
    """Writes batches, in their order.

    Args:
        database_url: the owner of the schema.
        space: whose memory it becomes.
        planned: what is remembered, and when.
        memories: what that is.
        name: the caller's name of each user by number.
        advance: is told of each trace.
    """
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await ensure_partitions(connection, planned[0].moment, planned[-1].moment)
    with psycopg.connect(database_url) as writing:
        writing.execute("SET synchronous_commit = off")
        writing.execute(GIVEN)
        for part in _parts(planned):
            drawn = [Drawn.of(space, batch, memories, name(batch.user)) for batch in part]
            _write(writing, space, drawn)
            writing.commit()
            advance(sum(batch.rows for batch in part))


def _parts(planned: Sequence[Batch]) -> Iterator[list[Batch]]:
    part: list[Batch] = []
    for batch in planned:
        if part and sum(one.rows for one in part) + batch.rows > AT_ONCE:
            yield part
            part = []
        part.append(batch)
    yield part


@dataclass(frozen=True, slots=True)
class Drawn:
    """A batch with everything that is to be written of it. ``follows``: the trace before each in its conversation."""

    user: str
    user_id: UUID
    ids: list[UUID]
    follows: list[UUID | None]
    traces: list[dict[str, Any]]
    moment: datetime
    heads: dict[str, FloatArray]

    @classmethod
    def of(cls, space: Space, batch: Batch, memories: Remembered, user: str) -> "Drawn":
        """Draws a batch."""
        ids = uuid7s(batch.moment, batch.rows)
        follows = [None if place % SESSION == 0 else ids[place - 1] for place in range(batch.rows)]
        said = memories.semantic(batch)
        number = _TYPES[space.model.precision]
        heads = {"semantic": said, "situation": situated(said.astype(number)), "entity": memories.entity(batch)}
        return cls(
            user, user_uuid(space.id, user), ids, follows, memories.traces(batch), batch.moment, heads
        )  # fmt: skip


def situated(vectors: npt.NDArray[Any]) -> FloatArray:
    """The head `situation` of a batch: each vector twice and its neighbours' of the same conversation once, the mean.

    As the service has it, in the precision of the store.
    """
    summed = 2.0 * vectors.astype(np.float64)
    counts = np.full(len(vectors), 2.0)
    rows = np.arange(len(vectors))
    later = rows[rows % SESSION != 0]
    summed[later] += vectors[later - 1]
    summed[later - 1] += vectors[later]
    counts[later] += 1
    counts[later - 1] += 1
    mean = (summed / counts[:, None]).astype(vectors.dtype).astype(np.float64)
    unit: FloatArray = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _write(connection: "psycopg.Connection[Any]", space: Space, drawn: Sequence[Drawn]) -> None:
    cursor = connection.cursor()
    with cursor.copy("COPY given FROM STDIN") as copy:
        place = 0
        for one in drawn:
            for row in _rows(space, one):
                copy.write_row((place, *row))
                place += 1
    parameters = {"space": space.id, "salience": DEFAULT_SALIENCE, "kind": KINDS["turn"]}
    cursor.execute(LAY, parameters)
    columns = "space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, bits"
    with cursor.copy(f"COPY memory_embedding ({columns}, {space.model.column}) FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for one in drawn:
            for head, vectors in one.heads.items():
                copy.write(_copied(space, one, HEADS[head], vectors))
        copy.write(b"\xff\xff")


def _rows(space: Space, drawn: Drawn) -> Iterator[tuple[Any, ...]]:
    key = space.identity_key
    for trace_id, follows, trace in zip(drawn.ids, drawn.follows, drawn.traces, strict=True):
        content = trace["content"]
        own = identity(
            key,
            content=content,
            kind=trace["kind"],
            role=None,
            speaker=trace["speaker"],
            conversation_id=trace["conversation_id"],
            external_id=trace["external_id"],
            occurred_at=trace["occurred_at"],
        )
        yield (
            drawn.user_id, drawn.user, trace_id, trace["speaker"], trace["conversation_id"], trace["external_id"],
            drawn.moment, trace["occurred_at"], own, digest(key, content), content, follows,
        )  # fmt: skip


def _copied(space: Space, drawn: Drawn, head: int, vectors: FloatArray) -> bytes:
    """Rows of ``memory_embedding`` as COPY takes them in binary, in the order of the query `write_traces`."""
    dim, number = space.model.dim, _NUMBERS[space.model.precision]
    rows = len(drawn.ids)
    signs = signs_of(vectors.astype(number))
    made = np.zeros(rows, dtype=_layout(dim, number, signs.shape[1]))
    made["fields"] = 10
    values: dict[str, Any] = {
        "space_id": np.void(space.id.bytes),
        "user_id": np.void(drawn.user_id.bytes),
        "trace_id": np.frombuffer(b"".join(one.bytes for one in drawn.ids), dtype="V16"),
        "happened_at": [_microseconds(trace["occurred_at"]) for trace in drawn.traces],
        "piece": 0,
        "head": head,
        "model_id": space.model.id,
        "kind": KINDS["turn"],
    }
    for name, value in values.items():
        made[name] = value
        made[f"{name}_bytes"] = made.dtype[name].itemsize
    made["bits_bytes"], made["signs"], made["bits"] = 4 + signs.shape[1], dim, signs
    made["vector_bytes"], made["dim"], made["vector"] = 4 + dim * np.dtype(number).itemsize, dim, vectors
    places = np.arange(rows)
    return made[np.lexsort((places, places % 9 % 2))].tobytes()


def _layout(dim: int, number: str, bytes_of_bits: int) -> "np.dtype[Any]":
    plain = (
        ("space_id", "V16"), ("user_id", "V16"), ("trace_id", "V16"), ("happened_at", ">i8"), ("piece", ">i4"),
        ("head", ">i2"), ("model_id", ">i2"), ("kind", ">i2"),
    )  # fmt: skip
    fields: list[Any] = [("fields", ">i2")]
    for name, kind in plain:
        fields += [(f"{name}_bytes", ">i4"), (name, kind)]
    fields += [("bits_bytes", ">i4"), ("signs", ">i4"), ("bits", "u1", (bytes_of_bits,))]
    fields += [("vector_bytes", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("vector", number, (dim,))]
    return np.dtype(fields)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH_OF_POSTGRESQL) // timedelta(microseconds=1)
