"""What traces are related to, for the API's description."""

from typing import Any

from reverie.memories.examples import ENTITY_ID, TRACE, TRACE_ID, USER

OTHER_ID = "019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e45"
EDGES_CURSOR = f"{TRACE_ID},{OTHER_ID},relates_to"

LINK: dict[str, Any] = {"user_id": USER, "src": TRACE_ID, "dst": OTHER_ID, "type": "relates_to"}
SUPERSEDES: dict[str, Any] = LINK | {"type": "supersedes", "meta": {"why": "We changed the train."}}
EDGE: dict[str, Any] = LINK | {
    "weight": 1.0,
    "ts": "2026-08-06T07:02:11.004211Z",
    "meta": {"by": "hand"},
}
EDGES_PAGE: dict[str, Any] = {"items": [EDGE], "next_cursor": EDGES_CURSOR}

SUGGESTION: dict[str, Any] = {
    "trace_id": OTHER_ID,
    "kind": "note",
    "content": "The night train to Fort William leaves from Euston at nine.",
    "speaker": None,
    "conversation_id": None,
    "happened_at": TRACE["happened_at"],
    "score": 0.6821,
    "reasons": [
        {"why": "alike", "score": 0.8127, "entities": [], "words": [], "edge": None},
        {
            "why": "shared_entity",
            "score": 0.9126,
            "entities": [{"trace_id": ENTITY_ID, "name": "Fort William"}],
            "words": [],
            "edge": None,
        },
        {"why": "same_topic", "score": 0.2741, "entities": [], "words": ["night train"], "edge": None},
    ],
}
RELATED: dict[str, Any] = {"trace_id": TRACE_ID, "user_id": USER, "related": [SUGGESTION], "degraded": []}
