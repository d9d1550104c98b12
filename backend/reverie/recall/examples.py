"""A recall for the API's description."""

from typing import Any

from reverie.memories.examples import TRACE_ID, USER

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

_RESULT: dict[str, Any] = {
    "trace_id": TRACE_ID,
    "user_id": USER,
    "external_id": "chat-1841",
    "content": "Booked! We take the night train to Fort William on 12 September.",
    "kind": "turn",
    "role": "user",
    "speaker": "Nadia",
    "conversation_id": "trip-planning",
    "created_at": "2026-08-05T18:20:02.481903Z",
    "occurred_at": "2026-08-05T18:20:00Z",
    "salience": 0.5,
    "score": 0.531204,
    "scores": {"semantic": 0.712931, "lexical": 4.180277},
    "via": [],
    "tier": "hot",
    "meta": {"channel": "phone"},
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
        "plan": "exact",
        "stages": {"question": 0.1, "arms": 4.6},
        "shares": {TRACE_ID: {"semantic": 0.35, "lexical": 0.18}},
    }
}
