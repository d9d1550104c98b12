"""Tiers for the API's description."""

from typing import Any

from reverie.memories.examples import TRACE_ID, USER

ONE: dict[str, Any] = {"user_id": USER, "scope": {"trace_id": TRACE_ID}}
SPAN: dict[str, Any] = {
    "user_id": USER,
    "scope": {"since": "2025-03-01T00:00:00Z", "until": "2025-04-01T00:00:00Z"},
    "days": 7,
}
CONVERSATION: dict[str, Any] = {"user_id": USER, "scope": {"conversation_id": "holiday"}}
EVERYTHING: dict[str, Any] = {"user_id": USER, "scope": {"all": True}}

ACCEPTED: dict[str, Any] = {
    "operation_id": "019ab5c2-7e20-7a11-8d55-0c4f9e3b7a21",
    "cold": 812,
    "thawed": 0,
    "until": "2026-09-04T18:20:02.481903Z",
}

TIERS: dict[str, Any] = {
    "running": False,
    "paused": False,
    "tiers": [
        {
            "tier": "hot", "partitions": 9, "traces": 48210, "vectors": 51904, "table_bytes": 84156416,
            "index_bytes": 121618432, "files": 0, "file_bytes": 0,
        },
        {
            "tier": "warm", "partitions": 12, "traces": 390114, "vectors": 398820, "table_bytes": 310403072,
            "index_bytes": 98123776, "files": 0, "file_bytes": 0,
        },
        {
            "tier": "cold", "partitions": 1, "traces": 120450, "vectors": None, "table_bytes": 21438464,
            "index_bytes": 8404992, "files": 14, "file_bytes": 61203811,
        },
    ],
    "next": [
        {
            "to": "warm", "since": "2026-07-06T00:00:00Z", "until": "2026-07-13T00:00:00Z",
            "at": "2026-08-12T00:00:00Z", "due": False, "waiting": 0,
        },
        {
            "to": "cold", "since": "2025-08-04T00:00:00Z", "until": "2025-09-01T00:00:00Z",
            "at": "2026-09-01T00:00:00Z", "due": False, "waiting": 0,
        },
    ],
    "last_run": {
        "run_id": "019ab5d0-0c11-7d2e-9a40-6b1f8e02c5d7", "state": "done", "as_of": "2026-08-05T03:00:00.118204Z",
        "started_at": "2026-08-05T03:00:00.118204Z", "seen_at": "2026-08-05T03:00:41.530112Z",
        "finished_at": "2026-08-05T03:00:41.530112Z",
        "report": {
            "steps": {
                "warm": {
                    "moves": 1, "traces": 10120, "rows": 11204, "bytes_before": 24117248, "bytes_after": 9306112,
                    "held": 0.031, "seconds": 4.207,
                }
            },
            "errors": {}, "capped": False, "seconds": 41.412,
        },
        "error": None,
    },
    "thawed": 0,
    "thaws": [],
    "removals": 2,
    "garbage": 0,
    "damaged": [],
    "storage": None,
}  # fmt: skip
