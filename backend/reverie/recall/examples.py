"""A recall for the API's description."""

from typing import Any

from reverie.memories.examples import TRACE, TRACE_ID, USER

QUESTION = "How do we get to Fort William?"

PLAIN: dict[str, Any] = {"user_id": USER, "q": QUESTION, "k": 3}
FILTERED: dict[str, Any] = {
    "user_id": [USER, "team"],
    "q": QUESTION,
    "filter": {"meta.channel": {"$in": ["phone", "mail"]}, "meta.priority": {"$gte": 2}},
    "kinds": ["turn", "note"],
    "time_window": "90d",
    "explain": True,
}

_SHOWN = (
    "trace_id", "user_id", "external_id", "content", "kind", "role", "speaker", "conversation_id", "created_at",
    "occurred_at", "salience",
)  # fmt: skip
_RESULT: dict[str, Any] = {name: TRACE[name] for name in _SHOWN} | {
    "score": 0.531204,
    "scores": {"semantic": 0.712931, "lexical": 4.180277},
    "via": [],
    "tier": TRACE["tier"],
    "meta": TRACE["meta"],
    "repeats": [],
    "superseded_by": None,
}
FOUND: dict[str, Any] = {
    "query": QUESTION,
    "k": 3,
    "heads": ["semantic"],
    "results": [_RESULT],
    "edges": [],
    "degraded": [],
    "took_ms": 6.81,
    "explain": None,
}
WITHOUT_ENCODER: dict[str, Any] = FOUND | {"results": [], "degraded": ["semantic"]}
EXPLAINED: dict[str, Any] = FOUND | {
    "explain": {
        "arms": {"semantic": {"candidates": 100, "milliseconds": 4.2, "failed": None}},
        "plan": "held",
        "rows": 2760,
        "stages": {"question": 0.1, "arms": 4.6},
        "effective": {TRACE_ID: 0.5},
        "shares": {TRACE_ID: {"semantic": 0.35, "lexical": 0.18}},
        "ranks": {TRACE_ID: {"semantic": 1, "lexical": 2}},
        "pieces": {TRACE_ID: {"head": "semantic", "piece": 0}},
    }
}
