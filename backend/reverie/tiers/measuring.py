"""How much of the exact top ten an index finds, by a sample of questions: what recall's planner goes by."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector_async

from reverie.core.arrays import as_vector
from reverie.core.database import Connection
from reverie.core.queries import Queries
from reverie.embedding.codes import Bytes, bit_bytes, code_bytes, restore, told_by, unpack
from reverie.embedding.protocol import FloatArray
from reverie.tiers.indexes import Span

SQL = Queries("reverie.tiers")

QUESTIONS: Final = 60
"""Questions of a sample: six hundred neighbours to find."""

DISTANCE: Final = 1.2
"""The cosine to the memory that is asked for is then about 0.64, as it is between questions and their answers (0.62 to
0.69 with bge-small). Mixtures of memories, or these with less noise, are found far more easily than real questions."""

SMALLEST: Final = 1e-12

WANTED: Final = 0.995
"""The share of them that has to be found. Recall is to find 0.99, of questions that are not these."""

HEADROOM: Final = 1.2
"""So many times the candidates of bits that the sample needed."""

FEWEST_CANDIDATES: Final = 200
LOOKS: Final = (50, 80, 125)
"""Values of ef_search that are tried."""

WANTED_OF_GRAPH: Final = 0.99
"""The share of the sample's neighbours that one of these has to find, before the headroom."""

LOOKS_HEADROOM: Final = 8
"""So many times what the sample needed, at most pgvector's 1000: real questions all lie to one side of the memories,
which graphs are worse at. Of 200 000 vectors of sentences with noise, 50 found 0.997 of the sample's neighbours; of
real questions' 200 found 0.981 and 400 0.994."""

ROUNDING: Final = 1e-6

ROWS_AT_ONCE: Final = 4096

Words = npt.NDArray[np.uint64]


async def questions_like(connection: Connection, span: Span, count: int = QUESTIONS) -> list[FloatArray]:
    """Vectors that are as far from these memories as questions are."""
    await register_vector_async(connection)
    cursor = await connection.execute(span.sql("sample"), (count,))
    return asked_of([_numbers(row[0]) for row in await cursor.fetchall()])


def asked_of(drawn: Sequence[FloatArray]) -> list[FloatArray]:
    """Each vector beside noise of DISTANCE times its length, the same in every run; of unit length."""
    noise = np.random.default_rng(1)
    asked = []
    for row in drawn:
        unit = row / max(float(np.linalg.norm(row)), SMALLEST)
        moved = unit + noise.standard_normal(len(unit)) * (DISTANCE / len(unit) ** 0.5)
        asked.append((moved / max(float(np.linalg.norm(moved)), SMALLEST)).astype(np.float32))
    return asked


async def candidates_needed(connection: Connection, span: Span, questions: Sequence[FloatArray]) -> tuple[int, float]:
    """(candidates by bits, the share of the exact top ten among them)."""
    ranks: list[int] = []
    async with connection.transaction():
        await connection.execute(SQL["settings_of_recall"])
        for question in questions:
            wanted = as_vector(question, span.model.precision)
            cursor = await connection.execute(span.sql("signs_of_nearest"), (wanted, wanted))
            near = [int(row[0]) for row in await cursor.fetchall()]
            cursor = await connection.execute(span.sql("signs_of_all"), (wanted,))
            ranks += ranks_of(near, Counter({int(row[0]): int(row[1]) for row in await cursor.fetchall()}))
    return enough(ranks)


async def candidates_of_codes(connection: Connection, span: Span) -> tuple[int, float]:
    """As :func:`candidates_needed`, of vectors that are codes: candidates are those that differ in the fewest signs in
    which questions tell much."""
    model = span.model
    cursor = connection.cursor(binary=True)
    await cursor.execute(span.sql("codes_sample"), (QUESTIONS,))
    size = bit_bytes(model.dim) + code_bytes(model.dim)
    drawn = [bytes(row[0][-size:]) for row in await cursor.fetchall()]
    if not drawn:
        return FEWEST_CANDIDATES, 1.0
    nearest = _Nearest(np.array(asked_of(list(_decoded(drawn, model.dim)[1]))))
    async with connection.cursor().copy(span.sql("codes_of_user")) as copy:
        held: list[bytes] = []
        async for message in copy:
            held.append(bytes(message[-size:]))
            if len(held) >= ROWS_AT_ONCE:
                await asyncio.to_thread(nearest.add, held)
                held = []
        # The last message is the end.
        await asyncio.to_thread(nearest.add, held[:-1])
    return enough(nearest.ranks())


class _Nearest:
    """The exact top ten of each question among vectors that come some at a time, and in how many signs all differ."""

    def __init__(self, questions: FloatArray) -> None:
        count, self._dim = questions.shape
        self._questions = questions
        self._told = [[(_words(mask), _words(signs)) for mask, signs in told_by(one)] for one in questions]
        self._scores = np.full((count, 0), -np.inf, dtype=np.float32)
        self._apart = np.zeros((count, 0), dtype=np.int64)
        self._all = np.zeros((count, 2 * self._dim + 1), dtype=np.int64)

    def add(self, rows: Sequence[bytes]) -> None:
        """Looks at vectors: each is its signs and its codes."""
        if not rows:
            return
        bits, vectors = _decoded(rows, self._dim)
        scores = self._questions @ vectors.T
        words = _packed_words(bits)
        apart = np.array([_apart(words, one) for one in self._told])
        self._all += np.array([np.bincount(one, minlength=self._all.shape[1]) for one in apart])
        scores, apart = np.hstack([self._scores, scores]), np.hstack([self._apart, apart])
        best = np.argpartition(-scores, min(10, scores.shape[1]) - 1, axis=1)[:, :10]
        self._scores, self._apart = np.take_along_axis(scores, best, 1), np.take_along_axis(apart, best, 1)

    def ranks(self) -> list[int]:
        """How many rows differ in as many signs or fewer as each of the top ten."""
        as_near = self._all.cumsum(axis=1)
        return [int(one) for one in np.take_along_axis(as_near, self._apart, 1).ravel()]


def ranks_of(near: Sequence[int], rows: Counter[int]) -> list[int]:
    """How many rows differ in as many signs or fewer, for each of some numbers of signs."""
    return [sum(count for signs, count in rows.items() if signs <= one) for one in near]


def enough(ranks: Sequence[int]) -> tuple[int, float]:
    """(so many candidates that the wanted share of ``ranks`` is among them, that share)."""
    if not ranks:
        return FEWEST_CANDIDATES, 1.0
    ordered = sorted(ranks)
    needed = ordered[min(len(ordered) - 1, ceil(WANTED * len(ordered)) - 1)]
    looks = max(FEWEST_CANDIDATES, ceil(HEADROOM * needed))
    return looks, sum(rank <= looks for rank in ordered) / len(ordered)


async def looks_needed(connection: Connection, span: Span, questions: Sequence[FloatArray]) -> tuple[int, float]:
    """(ef_search, the share of the exact top ten that the graph over ``span`` finds with it)."""
    exact = [await _distances(connection, span, "nearest", question) for question in questions]
    share, looks = 0.0, LOOKS[-1]
    for looks in LOOKS:
        found = [await _distances(connection, span, "nearest_by_graph", question, looks) for question in questions]
        share = share_found(exact, found)
        if share >= WANTED_OF_GRAPH:
            break
    return LOOKS_HEADROOM * looks, share


def share_found(exact: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """How many of those found are as near as the farthest that is wanted, of so many wanted; by their distances.

    By distances, not by ids: of texts that were said a hundred times any ten are as good.
    """
    near = sum(
        sum(distance <= max(wanted) + ROUNDING for distance in got)
        for wanted, got in zip(exact, found, strict=True)
        if wanted
    )
    return near / max(1, sum(map(len, exact)))


async def _distances(
    connection: Connection, span: Span, block: str, question: FloatArray, looks: int | None = None
) -> list[float]:
    async with connection.transaction():
        await connection.execute(SQL["settings_of_recall"])
        if looks is not None:
            await connection.execute(SQL["graph_settings"], (str(looks),))
        cursor = await connection.execute(span.sql(block), (as_vector(question, span.model.precision),))
        return [float(row[0]) for row in await cursor.fetchall()]


def _words(bits: npt.NDArray[Any]) -> Words:
    """Bits, one number each, in words of 64 along the last axis."""
    return _packed_words(np.packbits(bits, axis=-1))


def _packed_words(packed: Bytes) -> Words:
    spare = -packed.shape[-1] % 8
    padded = np.concatenate([packed, np.zeros((*packed.shape[:-1], spare), dtype=np.uint8)], axis=-1)
    return np.ascontiguousarray(padded).view(np.uint64)


def _apart(bits: Words, told: Sequence[tuple[Words, Words]]) -> npt.NDArray[np.int64]:
    """In how many signs rows differ from a question, where its signs say much."""
    apart = np.zeros(len(bits), dtype=np.int64)
    for mask, signs in told:
        for word in range(bits.shape[1]):
            apart += np.bitwise_count((bits[:, word] & mask[word]) ^ signs[word])
    return apart


def _decoded(rows: Sequence[bytes], dim: int) -> tuple[Bytes, FloatArray]:
    """(signs, vectors) of rows that are signs and codes."""
    packed = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1)
    bits, codes = packed[:, : bit_bytes(dim)], packed[:, bit_bytes(dim) :]
    return bits, restore(unpack(codes, bits, dim))


def _numbers(value: Any) -> FloatArray:
    return np.asarray(value.to_numpy() if isinstance(value, HalfVector | Vector) else value, dtype=np.float32)
