"""The vector arm: the traces whose vectors are most like the question's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from operator import itemgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from reverie.core.arrays import Uuids, as_vector
from reverie.core.database import Reads, Row
from reverie.core.queries import Queries
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall import warm
from reverie.recall.bounds import clauses
from reverie.recall.indexes import Indexes
from reverie.recall.planner import MOST_VISITS, Built, Leg, Method, Mode, Plan, candidates, choose
from reverie.recall.types import Bounds, Candidate, Found, Key

SQL = Queries("reverie.recall")

BLOCKS: Final = {"exact": "vectors_exact", "bits": "vectors_bits", "hnsw": "vectors_hnsw"}

WIDEN: Final = 8
MOST_ROWS: Final = 65_536
"""Rows are asked for anew, so many times more and so many at most, while too few traces stand among the nearest."""

SPARE: Final = 1.2
"""So many times the rows that were needed for the traces that were wanted are asked for next time."""

WITH_WARM: Final = " and warm"
"""What an explanation says of a plan by which warm rows were looked for too."""

TRACE: Final = 6
KIND: Final = TRACE + Candidate._fields.index("kind") - 1
"""Where in a row stands what is known of the trace, which its key does not precede there, and its kind."""

MOST_LOOKS: Final = 1000
"""The greatest ``hnsw.ef_search``."""


async def search(
    database: Reads, space_id: UUID, bounds: Bounds, vector: FloatArray, model: Model, indexes: Indexes | None,
    depth: int, seconds: float,
) -> Found:  # fmt: skip
    """The ``depth`` traces whose vectors have the greatest cosine with ``vector``, each by the best of its pieces.

    It is asked once, as a rule: again with exact search when a graph ended before it had found enough, and for more
    rows when too few traces own the nearest ones. Without ``indexes`` everybody is searched exactly, and what is warm
    is not looked for. Where it is, and is among the nearest, the rows of those traces are a second question.
    """
    if bounds.only is not None and not bounds.only:
        return Found({})
    known: dict[UUID, list[Built]] = {}
    signs: warm.Known | None = None
    mode: Mode = "auto"
    pieces, remembered = 1.0, 0
    if indexes is not None:
        known, mode = await indexes.of(model.id, bounds.user_ids), indexes.mode
        signs = await indexes.warm(model.id, bounds.user_ids)
        pieces, remembered = indexes.pieces(bounds.user_ids), indexes.remembered(bounds.user_ids)
    limit = ceil(depth * pieces)
    while True:
        plan = choose(bounds, known, model.dim, limit, mode)
        if signs is not None:
            plan = replace(plan, warm=warm.parts(bounds, signs, limit, remembered))
        nearest = await ask(database, space_id, query(plan, bounds, vector, model, limit), plan, limit, seconds)
        warm_rows = warm.nearest(nearest.packed, vector, model, limit)
        rows = [*nearest.rows, *warm_rows] if warm_rows else nearest.rows
        best = best_pieces(rows, depth)
        if plan.name == "hnsw" and nearest.fewest < limit:
            mode = "never"
        elif limit < MOST_ROWS and _too_few(best, depth, limit, nearest.rows, warm_rows):
            limit *= WIDEN
        else:
            break
    if indexes is not None and signs is not None:
        indexes.seen_remembered(bounds.user_ids, nearest.remembered)
    if indexes is not None and best:
        least = min(row[1] for row in best)
        needed = sum(row[1] >= least for row in rows)
        indexes.seen_pieces(bounds.user_ids, SPARE * needed / len(best))
    found = {row[0]: Candidate(row[0], *row[TRACE:]) for row in nearest.rows if row[KIND] is not None}
    if warm_rows:
        # Where a trace has rows of both kinds, the hot ones have said what is known of it.
        missing = [row[0] for row in best if row[0] not in found]
        found |= await _known(database, space_id, missing, bounds, seconds)
    standing = [row for row in best if row[0] in found]
    return Found(
        scores={row[0]: row[1] for row in standing},
        candidates={row[0]: found[row[0]] for row in standing},
        plan=plan.name + (WITH_WARM if plan.warm else ""),
        rows=plan.rows or nearest.remembered,
        pieces={row[0]: (row[2], row[3]) for row in standing},
    )


async def _known(
    database: Reads, space_id: UUID, keys: Sequence[Key], bounds: Bounds, seconds: float
) -> dict[Key, Candidate]:
    """What is known of those of ``keys`` that stand."""
    if not keys:
        return {}
    users, ids = Uuids(key[:16] for key in keys), Uuids(key[16:] for key in keys)
    async with database.reading(space_id, seconds=seconds) as session:
        cursor = await session.send(SQL["known_of_warm"], (users, ids, bounds.at))
    return {row[0]: Candidate(*row) for row in await cursor.fetchall()}


def _too_few(best: Sequence[Row], depth: int, limit: int, *lists: Sequence[Row]) -> bool:
    """Whether a list was cut off before the traces that are wanted were found.

    A list that was cut off may have gone on with what is nearer than the last of ``best``, unless its own last is not.
    """
    cut = [rows for rows in lists if len(rows) >= limit]
    if not cut or len(best) < depth:
        return bool(cut)
    last = min(row[1] for row in best)
    return any(min(row[1] for row in rows) > last for rows in cut)


@dataclass(frozen=True, slots=True)
class Nearest:
    """The rows of an answer, each with its key, cosine, head, piece, and from :data:`TRACE` on what is known of its
    trace; the fewest that a graph gave; how many traces the users have; warm candidates, ``packed``."""

    rows: Sequence[Row]
    fewest: int = 0
    remembered: int = 0
    packed: bytes | None = None


def best_pieces(rows: Sequence[Row], depth: int) -> Sequence[Row]:
    """Of the rows of each trace the one with the greatest cosine; of the ``depth`` traces where that is greatest."""
    best: dict[Key, Row] = {row[0]: row for row in rows}
    if len(best) < len(rows):
        for row in rows:
            if row[1] > best[row[0]][1]:
                best[row[0]] = row
    if len(best) <= depth:
        return list(best.values())
    return sorted(best.values(), key=itemgetter(1), reverse=True)[:depth]


async def ask(
    database: Reads, space_id: UUID, asked: tuple[bytes, list[Any]], plan: Plan, limit: int, seconds: float
) -> Nearest:
    """Sends the :func:`query` of a plan, in one round trip."""
    async with database.reading_vectors(space_id, seconds=seconds) as session:
        if plan.name == "hnsw":
            await session.send(SQL["graph_settings"], graph_settings(plan, limit))
        cursor = await session.send(*asked)
    rows = await cursor.fetchall()
    packed: bytes | None = rows[-1][0] if plan.warm else None
    if not rows:
        return Nearest(rows)
    return Nearest(rows[:-1] if plan.warm else rows, rows[0][4] or 0, rows[0][5], packed)


def graph_settings(plan: Plan, limit: int) -> tuple[str, str]:
    """The parameters of the settings with which the graphs of a plan are walked, for ``limit`` rows of each."""
    looks = max(limit, *(leg.looks for leg in plan.legs if leg.method == "hnsw"))
    return str(min(looks, MOST_LOOKS)), str(MOST_VISITS)


def query(plan: Plan, bounds: Bounds, vector: FloatArray, model: Model, limit: int) -> tuple[bytes, list[Any]]:
    """The SQL of a plan with its parameters: at most ``limit`` rows of each part, and of all."""
    text, extra = clauses(replace(bounds, only=None) if plan.sift else bounds)
    if plan.sift:
        text += "\n" + SQL["sifted"].decode()
        extra.append(list(bounds.only or ()))
    wanted = as_vector(vector, model.precision)
    parameters = [value for leg in plan.legs for value in _parameters(leg, wanted, extra, limit)]
    parameters += [limit, bounds.user_ids, bounds.at]
    if plan.warm:
        parameters += warm.parameters(plan.warm, bounds, vector, extra)
    legs = tuple(_literals(leg) for leg in plan.legs)
    return statement(legs, model, text, tuple(part.head for part in plan.warm)), parameters


class _Literals(NamedTuple):
    """What of a part of a plan stands in its SQL."""

    method: Method
    heads: tuple[int, ...]
    lower: UUID | None
    upper: UUID | None
    user: UUID | None


def _literals(leg: Leg) -> _Literals:
    return _Literals(leg.method, leg.heads, leg.lower, leg.upper, leg.user_ids[0] if leg.method == "hnsw" else None)


@lru_cache(maxsize=256)
def statement(legs: tuple[_Literals, ...], model: Model, text: str, warm_heads: tuple[int, ...] = ()) -> bytes:
    """The SQL of such a plan: made once, so that its hash, by which it is known to be prepared, is made once too."""
    texts = [_leg(number, leg, model, text) for number, leg in enumerate(legs)]
    graphs = [str(number) for number, leg in enumerate(legs) if leg.method == "hnsw"]
    fewest = SQL.text("fewest", legs=",".join(graphs)).decode() if graphs else "NULL::bigint"
    more = warm.statement(warm_heads, model, text) if warm_heads else ""
    return SQL.text("vectors", legs="\nUNION ALL\n".join(texts), fewest=fewest, warm=more)


def _leg(number: int, leg: _Literals, model: Model, text: str) -> str:
    return SQL.text(
        BLOCKS[leg.method],
        leg=number,
        column=model.column,
        type=model.type,
        dim=model.dim,
        model=model.id,
        user=str(leg.user),
        heads=", ".join(map(str, leg.heads)),
        span=_span(leg),
        clauses=text,
    ).decode()


def _span(leg: _Literals) -> str:
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
