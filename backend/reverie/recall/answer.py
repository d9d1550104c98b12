"""What is answered, as :class:`~reverie.recall.schemas.RecallOut` describes it: plain values, made without it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from reverie.core.kinds import HEADS
from reverie.recall.arms import SEMANTIC
from reverie.recall.cold import COLD
from reverie.recall.edges import Reached
from reverie.recall.strengths import Strengths
from reverie.recall.traits import Traits
from reverie.recall.types import Arm, Edge, Key, Scored, Trace, trace_of

Answer = dict[str, Any]

_HEADS: Final = {number: name for name, number in HEADS.items()}


def result(
    one: Scored, trace: Trace, said: dict[str, float], repeats: Sequence[UUID], came_by: Sequence[Answer]
) -> Answer:
    """One trace that was found."""
    return {
        "trace_id": trace.id, "user_id": trace.user, "external_id": trace.external_id, "content": trace.content,
        "kind": trace.kind, "role": trace.role, "speaker": trace.speaker, "conversation_id": trace.conversation_id,
        "created_at": trace.created_at, "occurred_at": trace.occurred_at, "salience": round(trace.salience, 6),
        "score": round(one.score, 6), "scores": _rounded(said), "via": came_by, "tier": trace.tier, "meta": trace.meta,
        "repeats": repeats, "superseded_by": trace.superseded_by,
    }  # fmt: skip


def edges_among(chosen: Sequence[Scored], edges: Sequence[Edge], names: Mapping[UUID, str]) -> list[Answer]:
    """The edges between results."""
    shown = {trace_of(one.key) for one in chosen}
    return [_edge(edge, names) for edge in edges if edge.src in shown and edge.dst in shown]


def via(reached: Reached | None, names: Mapping[UUID, str]) -> list[Answer]:
    """The edge by which a result was reached."""
    return [] if reached is None else [_edge(reached.edge, names)]


def explanation(
    arms: Mapping[str, Arm], chosen: Sequence[Scored], stages: Mapping[str, float], strengths: Strengths
) -> Answer:
    """How the results came about; the shares of each add up to its score."""
    ranks = {arm.name: _ranks(arm) for arm in arms.values()}
    semantic = arms.get(SEMANTIC) or Arm(SEMANTIC, failed="not asked")
    known = {key: one for arm in arms.values() for key, one in arm.candidates.items()}
    weighed = {one.key: known[one.key] for one in chosen if one.key in known}
    strong = strengths.of([*weighed], Traits.of([*weighed.values()])).tolist()
    return {
        "arms": {arm.name: _told(arm) for arm in arms.values()},
        "plan": None if semantic.failed else semantic.plan,
        "rows": None if semantic.failed else semantic.rows,
        "stages": stages,
        "shares": {str(trace_of(one.key)): _rounded(one.shares) for one in chosen},
        "effective": {str(trace_of(key)): round(value, 6) for key, value in zip(weighed, strong, strict=True)},
        "ranks": {
            str(trace_of(one.key)): {name: found[one.key] for name, found in ranks.items() if one.key in found}
            for one in chosen
        },
        "pieces": {
            str(trace_of(one.key)): {"head": _HEADS[head], "piece": piece}
            for one in chosen
            if one.key in semantic.pieces
            for head, piece in [semantic.pieces[one.key]]
        },
    }


def _told(arm: Arm) -> Answer:
    told: Answer = {"candidates": len(arm.scores), "milliseconds": arm.milliseconds, "failed": arm.failed}
    if arm.name == COLD:
        # Its scores are those of the arms that it adds to.
        told |= {"candidates": len(arm.candidates), "rows": arm.rows, "files": arm.files}
    return told


def size(answer: Answer) -> int:
    """About how many bytes an answer takes in memory: its texts, and what holds them."""
    return 2_000 + sum(2_000 + 2 * len(one["content"]) for one in answer["results"])


def _edge(edge: Edge, names: Mapping[UUID, str]) -> Answer:
    return {"user_id": names[edge.user_id], "src": edge.src, "dst": edge.dst, "type": edge.type, "weight": edge.weight}


def _ranks(arm: Arm) -> dict[Key, int]:
    """The place of each candidate among those of an arm, from 1."""
    ordered = sorted(arm.scores, key=lambda key: (arm.scores[key], key[16:]), reverse=True)
    return {key: rank for rank, key in enumerate(ordered, 1)}


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(score, 6) for name, score in scores.items()}
