"""How much of the exact top ten an index finds, by a sample of questions: what recall's planner goes by."""

from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any, Final

import numpy as np
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector_async

from reverie.core.database import Connection, as_vector
from reverie.core.queries import Queries
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


def _numbers(value: Any) -> FloatArray:
    return np.asarray(value.to_numpy() if isinstance(value, HalfVector | Vector) else value, dtype=np.float32)
