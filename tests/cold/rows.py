"""Rows of cold files, drawn so that each says which trace it is of."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from reverie.cold.files import Layout, ids_column, vector_column
from reverie.core.ids import moment_of, uuid7s

LAYOUT = Layout("a-model", 8)
MONTH = datetime(2025, 3, 1, tzinfo=UTC)


def text_of(trace_id: UUID) -> str:
    """What a trace says."""
    return f"The trace {trace_id.hex[-6:]} says something. And more, of {trace_id.hex[:8]}."


def ids_in(moment: datetime, count: int) -> list[UUID]:
    """Ids of so many traces, ten seconds apart."""
    return [uuid7s(moment + timedelta(seconds=10 * number), 1)[0] for number in range(count)]


def numbers_of(trace_id: UUID, piece: int, head: int, dim: int) -> "np.ndarray[Any, np.dtype[np.int8]]":
    """The vector of a row."""
    drawn = np.random.default_rng([trace_id.int % 2**32, piece, head]).integers(-127, 128, dim)
    return drawn.astype(np.int8)


def rows(keys: Sequence[tuple[UUID, UUID, int]], layout: Layout = LAYOUT) -> Any:
    """A table of (user, trace, piece); the second trace of every three has no vector ``entity``."""
    users, traces, pieces = zip(*keys, strict=True)
    first = [piece == 0 for piece in pieces]
    moments = [moment_of(trace) for trace in traces]
    moment = pa.timestamp("us", tz="UTC")
    vectors = {
        head: np.array([numbers_of(trace, piece, number, layout.dim) for _, trace, piece in keys], dtype=np.int8)
        for number, head in enumerate(("semantic", "situation", "entity"))
    }
    there = {
        "semantic": np.ones(len(keys), dtype=np.bool_),
        "situation": np.array(first),
        "entity": np.array([one and trace.int % 3 != 1 for trace, one in zip(traces, first, strict=True)]),
    }
    return pa.table({
        "user_id": ids_column(users),
        "trace_id": ids_column(traces),
        "piece": pa.array(pieces, pa.int32()),
        "user": pa.array([f"user {user.hex[:4]}" for user in users]),
        "kind": pa.array(["note"] * len(keys)),
        "role": pa.nulls(len(keys), pa.string()),
        "speaker": pa.array(["Ada"] * len(keys)),
        "conversation_id": pa.nulls(len(keys), pa.string()),
        "external_id": pa.array([f"x{trace.hex[-4:]}" for trace in traces]),
        "language": pa.array(["english"] * len(keys)),
        "created_at": pa.array(moments, moment),
        "happened_at": pa.array(moments, moment),
        "content": pa.array([text_of(trace) if one else None for trace, one in zip(traces, first, strict=True)]),
        "begins": pa.array([10 * piece or None for piece in pieces], pa.int32()),
        "ends": pa.array([10 * piece + 9 if piece else None for piece in pieces], pa.int32()),
        "words": pa.array(
            [[trace.hex[-6:], "say", "say"] if one else None for trace, one in zip(traces, first, strict=True)],
            pa.list_(pa.string()),
        ),
        "word_count": pa.array([2 if one else None for one in first], pa.int32()),
        **{head: vector_column(vectors[head], there[head]) for head in vectors},
    })  # fmt: skip
