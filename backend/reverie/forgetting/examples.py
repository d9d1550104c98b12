"""Forgetting for the API's description."""

from typing import Any

from reverie.memories.examples import TRACE_ID, USER

ONE: dict[str, Any] = {"user_id": USER, "scope": {"trace_id": TRACE_ID}, "reason": "It was somebody else's."}
SEVERAL: dict[str, Any] = {"user_id": USER, "scope": {"trace_ids": [TRACE_ID]}}
EVERYTHING: dict[str, Any] = {"user_id": USER, "scope": {"all": True}, "dry_run": True}

_COUNTS: dict[str, int] = {"traces": 1, "bodies": 1, "vectors": 1, "edges": 2, "focus": 1}
FORGOTTEN: dict[str, Any] = {
    "receipt_id": "019ab5c9-11f0-7b4c-a1de-93d07f5c2b10",
    "dry_run": False,
    "counts": _COUNTS,
    "trace_ids": [TRACE_ID],
    "degraded": [],
}
COUNTED: dict[str, Any] = FORGOTTEN | {"receipt_id": None, "dry_run": True}
