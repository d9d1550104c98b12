"""Traces for the API's description: what is sent, and what is answered."""

from typing import Any

USER = "nora"
TRACE_ID = "019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e44"
OPERATION_ID = "019ab5c2-7e20-7a11-8d55-0c4f9e3b7a21"
USERS_CURSOR = "2026-05-08T13:56:00.123456Z,6f0c5a4e-51c7-5f7e-9f43-0d6a3b0f8a11"

TRACES: dict[str, Any] = {
    "user_id": USER,
    "conversation_id": "trip-planning",
    "traces": [
        {
            "content": "Booked! We take the night train to Fort William on 12 September.",
            "role": "user",
            "speaker": "Nadia",
            "occurred_at": "2026-08-05T18:20:00Z",
            "external_id": "chat-1841",
            "meta": {"channel": "phone"},
        },
        {"content": "Nadia is seriously allergic to walnuts.", "kind": "fact", "salience": 0.9, "language": "en"},
        {"content": "The code of the bicycle lock is 4417 this month.", "expires_at": "2099-10-01T00:00:00Z"},
    ],
}
MESSAGES: dict[str, Any] = {
    "user_id": USER,
    "messages": [
        {"role": "user", "content": "What did we say about the ferry?", "name": "Nadia"},
        {"role": "assistant", "content": [{"type": "text", "text": "You take it from Mallaig."}]},
    ],
}

STORED: dict[str, Any] = {
    "traces": [
        {
            "trace_id": TRACE_ID,
            "external_id": "chat-1841",
            "status": "stored",
            "vectors": "stored",
            "error": None,
            "reason": None,
        },
        {
            "trace_id": "019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e45",
            "external_id": None,
            "status": "duplicate",
            "vectors": None,
            "error": None,
            "reason": None,
        },
        {
            "trace_id": None,
            "external_id": None,
            "status": "rejected",
            "vectors": None,
            "error": "salience takes a number of at most 1, not 2.",
            "reason": None,
        },
    ],
    "operation_id": None,
    "degraded": [],
}
ACCEPTED: dict[str, Any] = {
    "traces": [
        {
            "trace_id": TRACE_ID,
            "external_id": "chat-1841",
            "status": "stored",
            "vectors": "pending",
            "error": None,
            "reason": None,
        }
    ],
    "operation_id": OPERATION_ID,
    "degraded": [],
}

TRACE: dict[str, Any] = {
    "trace_id": TRACE_ID,
    "user_id": USER,
    "external_id": "chat-1841",
    "content": "Booked! We take the night train to Fort William on 12 September.",
    "kind": "turn",
    "role": "user",
    "speaker": "Nadia",
    "conversation_id": "trip-planning",
    "language": "english",
    "length": 64,
    "created_at": "2026-08-05T18:20:02.481903Z",
    "occurred_at": "2026-08-05T18:20:00Z",
    "happened_at": "2026-08-05T18:20:00Z",
    "updated_at": None,
    "expires_at": None,
    "salience": 0.5,
    "pinned": False,
    "vectors": True,
    "source": None,
    "meta": {"channel": "phone"},
    "tier": "hot",
}
TRACES_PAGE: dict[str, Any] = {"items": [TRACE], "next_cursor": TRACE_ID}
CHANGE: dict[str, Any] = {"content": "Booked! We take the night train on 13 September.", "salience": 0.8}
CHANGED: dict[str, Any] = TRACE | {
    "content": "Booked! We take the night train on 13 September.",
    "length": 48,
    "salience": 0.8,
    "updated_at": "2026-08-06T07:02:11.004211Z",
}
PINNED: dict[str, Any] = TRACE | {"pinned": True}

ENTITY_ID = "01a20207-2b1e-7000-9d0c-5e0f5a3c7b21"
MERGE: dict[str, Any] = {"user_id": USER, "into": ENTITY_ID}
SPLIT: dict[str, Any] = {"user_id": USER, "names": ["Bob"]}
ENTITY: dict[str, Any] = {"trace_id": ENTITY_ID, "user_id": USER}

USER_SETTINGS: dict[str, Any] = {
    "user_id": USER,
    "kind": "person",
    "traces": 2,
    "created_at": "2026-05-08T13:56:00.123456Z",
    "updated_at": "2026-08-06T07:02:11.004211Z",
    "time_zone": "Europe/Berlin",
    "language": None,
    "half_lives": {"turn": 60.0, "note": None, "fact": 365.0, "chunk": None, "summary": None, "entity": None},
    "dream": True,
}
USER_CHANGE: dict[str, Any] = {"time_zone": "Europe/Berlin", "half_lives": {"turn": 60, "fact": 365}}
NO_DREAM: dict[str, Any] = {"dream": False}

USERS_PAGE: dict[str, Any] = {
    "items": [
        {
            "user_id": USER,
            "kind": "person",
            "traces": 2,
            "created_at": "2026-05-08T13:56:00.123456Z",
            "updated_at": "2026-08-06T07:02:11.004211Z",
        }
    ],
    "next_cursor": USERS_CURSOR,
}
