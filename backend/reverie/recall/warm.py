"""The warm part of a search: rows that have codes and signs in place of a vector (:mod:`reverie.embedding.codes`).

Those with the fewest signs that differ from the question's come from PostgreSQL in the statement that searches the hot
ones, packed into one value; here they are decoded and compared with the question as it was encoded. Every part covers
all ids, so that nothing need be known of where warm memory ends. Pure, but for what the SQL is made of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias
from uuid import UUID

import numpy as np
from pgvector import Bit

from reverie.core.database import Row
from reverie.core.queries import Queries
from reverie.embedding.codes import bit_bytes, code_bytes, restore, told_by, unpack
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall.types import Bounds

SQL = Queries("reverie.recall")

FEWEST: Final = 1000
"""Candidates by their signs: of so few rows that it is enough where nothing else is known."""

SHARE: Final = 50
"""One of so many traces is a candidate of a user whose partitions are each too small for an index over signs, by which
it would be known how many it takes."""

SPREAD: Final = 4
"""Candidates for each row that is wanted."""

MOST: Final = 16_384
"""Candidates at most, however many partitions a large user's rows are in."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of a user's warm rows of one head in a partition that has an index over their signs.

    ``looks``: so many candidates hold the nearest of its ``rows``, as ``tiers/measuring.py`` has found.
    """

    user_id: UUID
    head: int
    rows: int
    looks: int


@dataclass(frozen=True, slots=True)
class Part:
    """How the warm rows of a head are searched: by ``looks`` candidates. ``rows``: how many there are, as far as it is
    known."""

    head: int
    looks: int
    rows: int = 0


Known: TypeAlias = Mapping[UUID, Sequence[Signs]]
"""What is known of each large user."""


def parts(bounds: Bounds, known: Known, limit: int, remembered: int = 0) -> tuple[Part, ...]:
    """How warm rows are searched, where ``limit`` rows are wanted: each head by itself, as an index over signs is.

    ``remembered``: how many traces the users have, as far as it is known.
    """
    large = [one for user in bounds.user_ids for one in known.get(user, ())]
    found = []
    for head in bounds.heads:
        own = [one for one in large if one.head == head]
        looks = candidates(limit, max(remembered // SHARE, sum(one.looks for one in own)))
        found.append(Part(head, looks, sum(one.rows for one in own)))
    return tuple(found)


def candidates(limit: int, looks: int = 0) -> int:
    """How many candidates are decoded where ``limit`` rows are wanted."""
    return min(MOST, max(FEWEST, SPREAD * limit, looks))


@lru_cache(maxsize=256)
def statement(heads: tuple[int, ...], model: Model, clauses: str) -> str:
    """The SQL that parts of such heads add to a search; ``clauses`` are the bounds."""
    texts = [SQL.text("warm_rows", model=model.id, head=head, clauses=clauses).decode() for head in heads]
    return SQL.text("with_warm", parts="\nUNION ALL\n".join(texts)).decode()


def parameters(searched: Sequence[Part], bounds: Bounds, vector: FloatArray, extra: Sequence[Any]) -> list[Any]:
    """The parameters of :func:`statement`: ``vector`` is the question's, ``extra`` those of the bounds."""
    signs = [Bit(bits) for told in told_by(vector) for bits in told]
    given = [value for part in searched for value in (bounds.user_ids, *extra, *signs, part.looks)]
    return [bounds.user_ids, *given]


def nearest(packed: bytes | None, vector: FloatArray, model: Model, limit: int) -> list[Row]:
    """The ``limit`` rows with the greatest cosine, best first: key, cosine, head, piece."""
    if not packed:
        return []
    rows = np.frombuffer(packed, dtype=packed_row(model.dim, 32))
    likeness = decoded(rows["codes"], rows["signs"], model) @ (vector / np.sqrt(vector @ vector))
    best = np.argsort(-likeness, kind="stable")[:limit]
    return list(
        zip(
            rows["key"][best].tolist(),
            likeness[best].tolist(),
            rows["head"][best].tolist(),
            rows["piece"][best].tolist(),
            strict=True,
        )
    )


@lru_cache(maxsize=16)
def packed_row(dim: int, key: int) -> np.dtype[np.void]:
    """A row as the queries pack it, in network order: its key of so many bytes, head, piece, codes, and the signs after
    their number."""
    return np.dtype(
        [
            ("key", f"V{key}"),
            ("head", ">i2"),
            ("piece", ">i4"),
            ("codes", np.uint8, (code_bytes(dim),)),
            ("length", ">i4"),
            ("signs", np.uint8, (bit_bytes(dim),)),
        ]
    )


def decoded(codes: Any, signs: Any, model: Model) -> FloatArray:
    """Vectors of unit length, float32 ``[n, dim]``, of codes and signs, uint8."""
    return restore(unpack(np.ascontiguousarray(codes), np.ascontiguousarray(signs), model.dim))
