"""The graph for the API's description: what is answered."""

from typing import Any

from reverie.memories.examples import TRACE_ID, USER

NORA = "019ab5c2-7e30-7b02-8c41-5d0e9a7f3b12"
LISBON = "019ab5c2-7e30-7b02-8c41-5d0e9a7f3b13"


def _node(trace_id: str, kind: str, label: str, weight: float, entity_type: str | None = None) -> dict[str, Any]:
    return {
        "trace_id": trace_id, "kind": kind, "entity_type": entity_type, "label": label, "weight": weight,
        "happened_at": "2026-08-05T18:20:00Z", "cold": False, "superseded_by": None,
    }  # fmt: skip


def _edge(src: str, dst: str, kind: str, weight: float) -> dict[str, Any]:
    return {"src": src, "dst": dst, "type": kind, "weight": weight}


_LIVES = _edge(NORA, LISBON, "lives_in", 1.0)
_MENTIONS = [_edge(TRACE_ID, NORA, "mentions", 1.0), _edge(TRACE_ID, LISBON, "mentions", 1.0)]
_NODES = [_node(NORA, "entity", "Nora", 1.0, "person"), _node(LISBON, "entity", "Lisbon", 0.9, "place")]
_SAID = _node(TRACE_ID, "turn", "Nora moved to Lisbon in June.", 0.5)

AROUND: dict[str, Any] = {
    "user_id": USER, "around": NORA, "nodes": [*_NODES, _SAID], "edges": [_LIVES, *_MENTIONS], "more": False,
    "backend": "postgres",
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "user_id": USER, "around": None, "nodes": _NODES, "edges": [_LIVES], "more": True, "backend": "postgres",
}  # fmt: skip
PATHS: dict[str, Any] = {
    "user_id": USER, "from": NORA, "to": LISBON,
    "paths": [
        {"trace_ids": [NORA, LISBON], "edges": [_LIVES], "weight": 0.9},
        {"trace_ids": [NORA, TRACE_ID, LISBON], "edges": _MENTIONS, "weight": 0.147656},
    ],
    "nodes": [*_NODES, _SAID],
    "more": False,
    "backend": "postgres",
}  # fmt: skip
