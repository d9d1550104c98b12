"""The dream for the API's description: what is sent, and what is answered."""

from typing import Any

from reverie.memories.examples import USER

DREAM_ID = "019ab5d0-0c11-7d2e-9a40-6b1f8e02c5d7"
OPERATION_ID = "019ab5c2-7e20-7a11-8d55-0c4f9e3b7a21"

ALL: dict[str, Any] = {}
A_DAY: dict[str, Any] = {"day": "2026-08-05"}
A_DAY_OF_A_USER: dict[str, Any] = {"day": "2026-08-05", "user_id": USER}
ACCEPTED: dict[str, Any] = {"operation_id": DREAM_ID, "dream_id": DREAM_ID}
UNDOING: dict[str, Any] = {"operation_id": OPERATION_ID, "dream_id": DREAM_ID}

ITEM: dict[str, Any] = {
    "dream_id": DREAM_ID,
    "state": "done",
    "asked": {"day": None, "user_id": None},
    "started_at": "2026-08-06T03:00:00.118204Z",
    "seen_at": "2026-08-06T03:00:41.530112Z",
    "finished_at": "2026-08-06T03:00:41.530112Z",
    "days": 12,
    "failed": 0,
    "left": 0,
    "users": 11,
    "aside": 1,
    "capped": False,
    "seconds": 41.412,
    "error": None,
}
PAGE: dict[str, Any] = {"items": [ITEM], "next_cursor": DREAM_ID}


def _stage(name: str, **did: Any) -> dict[str, Any]:
    return {
        "name": name, "state": "done", "saw": 0, "made": 0, "moved": 0, "removed": 0, "skipped": {}, "seconds": 0.2,
        "bytes": 0, "model": None, "tokens": 0, "error": None,
    } | did  # fmt: skip


DREAM: dict[str, Any] = ITEM | {
    "stages": [
        _stage("group", saw=1204, made=31, seconds=0.8),
        _stage("summarise", saw=1204, made=118, skipped={"set aside": 1}, seconds=14.6),
        _stage("tiers", moved=10120, bytes=9306112, seconds=4.2),
        _stage("prune", removed=3),
    ],
    "dreamt": [
        {"user_id": USER, "days": 2, "failed": 0, "first_day": "2026-07-30", "last_day": "2026-08-05"},
    ],
}
JOBS: dict[str, Any] = {
    "running": False,
    "paused": False,
    "at": "03:00",
    "time_zone": "Europe/Berlin",
    "next_at": "2026-08-07T01:00:00Z",
    "last": {
        "dream_id": DREAM_ID,
        "state": "done",
        "started_at": "2026-08-06T01:00:00.118204Z",
        "seen_at": "2026-08-06T01:00:41.530112Z",
        "finished_at": "2026-08-06T01:00:41.530112Z",
        "capped": False,
        "error": None,
    },
    "jobs": [
        {"name": "group", "state": "done", "seconds": 0.8, "error": None},
        {"name": "summarise", "state": "done", "seconds": 14.6, "error": None},
        {
            "name": "tiers",
            "state": "failed",
            "seconds": 4.2,
            "error": "Object storage (s3://memory) cannot be reached.",
        },
    ],
}
