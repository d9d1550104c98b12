"""The vector arm: the traces whose vectors are most like the question's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final
from uuid import UUID

from reverie.core.database import Reads, Row, as_vector
from reverie.core.queries import Queries
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall.bounds import clauses
from reverie.recall.indexes import Indexes
from reverie.recall.planner import MOST_VISITS, Built, Leg, Mode, Plan, candidates, choose
from reverie.recall.types import Bounds, Candidate, Found

SQL = Queries("reverie.recall")

BLOCKS: Final = {"exact": "vectors_exact", "bits": "vectors_bits", "hnsw": "vectors_hnsw"}

WIDEN: Final = 8
MOST_ROWS: Final = 65_536
"""Rows are asked for anew, so many times more and so many at most, while too few traces stand among the nearest."""

SPARE: Final = 1.2
"""So many times the rows that were needed for the traces that were wanted are asked for next time."""

MOST_LOOKS: Final = 1000
"""The greatest ``hnsw.ef_search``."""


async def search(
    database: Reads, space_id: UUID, bounds: Bounds, vector: FloatArray, model: Model, indexes: Indexes | None,
    depth: int, seconds: float,
) -> Found:  # fmt: skip
    """The ``depth`` traces whose vectors have the greatest cosine with ``vector``, each by the best of its pieces.

    It is asked once, as a rule: again with exact search when a graph ended before it had found enough, and for more
    rows when too few traces own the nearest ones. Without ``indexes`` everybody is searched exactly.
    """
    if bounds.only is not None and not bounds.only:
        return Found({})
    known: dict[UUID, list[Built]] = {}
    mode: Mode = "auto"
    pieces = 1.0
    if indexes is not None:
        known, mode = await indexes.of(model.id, bounds.user_ids), indexes.mode
        pieces = indexes.pieces(bounds.user_ids)
    limit = ceil(depth * pieces)
    while True:
        plan = choose(bounds, known, model.dim, limit, mode)
        nearest = await ask(database, space_id, query(plan, bounds, vector, model, limit, depth), plan, limit, seconds)
        if plan.name == "hnsw" and nearest.fewest < limit:
            mode = "never"
        elif nearest.cut and limit < MOST_ROWS:
            limit *= WIDEN
        else:
            break
    if indexes is not None and nearest.found:
        indexes.seen_pieces(bounds.user_ids, SPARE * nearest.needed / len(nearest.found))
    return Found(
        scores={row[0]: row[1] for row in nearest.found},
        candidates={row[0]: Candidate(row[0], *row[8:]) for row in nearest.found},
        plan=plan.name,
        rows=plan.rows or nearest.remembered,
        pieces={row[0]: (row[2], row[3]) for row in nearest.found},
    )


@dataclass(frozen=True, slots=True)
class Nearest:
    """The traces of an answer; whether more rows are needed, how many were, and the fewest rows of a graph."""

    found: Sequence[Row]
    cut: bool = False
    needed: int = 0
    fewest: int = 0
    remembered: int = 0


async def ask(
    database: Reads, space_id: UUID, asked: tuple[bytes, list[Any]], plan: Plan, limit: int, seconds: float
) -> Nearest:
    """Sends the :func:`query` of a plan, in one round trip."""
    async with database.reading_vectors(space_id, seconds=seconds) as session:
        if plan.name == "hnsw":
            await session.send(SQL["graph_settings"], graph_settings(plan, limit))
        cursor = await session.send(*asked)
    found = await cursor.fetchall()
    if not found:
        return Nearest(found)
    _, _, _, _, cut, needed, fewest, remembered, *_ = found[0]
    return Nearest(found, bool(cut), needed, fewest or 0, remembered)


def graph_settings(plan: Plan, limit: int) -> tuple[str, str]:
    """The parameters of the settings with which the graphs of a plan are walked, for ``limit`` rows of each."""
    looks = max(limit, *(leg.looks for leg in plan.legs if leg.method == "hnsw"))
    return str(min(looks, MOST_LOOKS)), str(MOST_VISITS)


def query(
    plan: Plan, bounds: Bounds, vector: FloatArray, model: Model, limit: int, depth: int
) -> tuple[bytes, list[Any]]:
    """The SQL of a plan with its parameters: at most ``limit`` rows of each part, ``depth`` traces in all."""
    text, extra = clauses(replace(bounds, only=None) if plan.sift else bounds)
    if plan.sift:
        text += "\n" + SQL["sifted"].decode()
        extra.append(list(bounds.only or ()))
    wanted = as_vector(vector, model.precision)
    texts, parameters = [], []
    for number, leg in enumerate(plan.legs):
        texts.append(_leg(number, leg, model, text))
        parameters += _parameters(leg, wanted, extra, limit)
    graphs = [str(number) for number, leg in enumerate(plan.legs) if leg.method == "hnsw"]
    fewest = SQL.text("fewest", legs=",".join(graphs)).decode() if graphs else "NULL::bigint"
    statement = SQL.text("vectors", legs="\nUNION ALL\n".join(texts), fewest=fewest)
    return statement, [*parameters, depth, depth, limit, bounds.user_ids, bounds.at]


def _leg(number: int, leg: Leg, model: Model, text: str) -> str:
    return SQL.text(
        BLOCKS[leg.method],
        leg=number,
        column=model.column,
        type=model.type,
        dim=model.dim,
        model=model.id,
        user=str(leg.user_ids[0]),
        heads=", ".join(map(str, leg.heads)),
        span=_span(leg),
        clauses=text,
    ).decode()


def _span(leg: Leg) -> str:
    if leg.lower is None and leg.upper is None:
        return ""
    name = "from_id" if leg.upper is None else "to_id" if leg.lower is None else "span"
    return SQL.text(name, lower=str(leg.lower), upper=str(leg.upper)).decode()


def _parameters(leg: Leg, wanted: Any, extra: list[Any], limit: int) -> list[Any]:
    users = list(leg.user_ids)
    if leg.method == "exact":
        return [wanted, users, *extra, limit]
    if leg.method == "bits":
        return [wanted, users, *extra, wanted, candidates(leg.looks, limit), limit]
    return [wanted, *extra, limit]
