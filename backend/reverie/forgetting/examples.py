"""Forgetting for the API's description."""

from typing import Any

from reverie.memories.examples import TRACE_ID, USER

ONE: dict[str, Any] = {"user_id": USER, "scope": {"trace_id": TRACE_ID}, "reason": "It was somebody else's."}
CONVERSATION: dict[str, Any] = {"user_id": USER, "scope": {"conversation_id": "trip-planning"}}
TIME: dict[str, Any] = {"user_id": USER, "scope": {"since": "2026-08-01T00:00:00Z", "until": "2026-09-01T00:00:00Z"}}
ENTITY: dict[str, Any] = {"user_id": USER, "scope": {"entity": "Fort William"}}
QUERY: dict[str, Any] = {"user_id": USER, "scope": {"query": "walnut allergy"}}
SEVERAL: dict[str, Any] = {"user_id": USER, "scope": {"trace_ids": [TRACE_ID]}}
EVERYTHING: dict[str, Any] = {"user_id": USER, "scope": {"all": True}, "dry_run": True}

_COUNTS: dict[str, int] = {
    "traces": 1, "bodies": 1, "vectors": 1, "edges": 2, "cold": 0, "operations": 0, "answers": 1, "focus": 1,
    "recalls": 1, "dismissals": 0,
}  # fmt: skip
RECEIPT_ID = "019ab5c9-11f0-7b4c-a1de-93d07f5c2b10"
FORGOTTEN: dict[str, Any] = {
    "receipt_id": RECEIPT_ID,
    "dry_run": False,
    "state": "done",
    "counts": _COUNTS,
    "tombstones": 1,
    "trace_ids": [TRACE_ID],
    "degraded": [],
}
COUNTED: dict[str, Any] = FORGOTTEN | {"receipt_id": None, "dry_run": True, "state": None}
MUCH: dict[str, Any] = FORGOTTEN | {
    "state": "running",
    "counts": _COUNTS | {"traces": 100_000, "bodies": 100_000, "vectors": 100_000, "edges": 99_999},
    "tombstones": 100_000,
}

RECEIPT: dict[str, Any] = {
    "receipt_id": RECEIPT_ID,
    "user_id": USER,
    "scope": "traces",
    "reason": "It was somebody else's.",
    "state": "done",
    "counts": _COUNTS | {"tombstones": 1},
    "created_at": "2026-08-05T18:27:31.480207Z",
    "finished_at": "2026-08-05T18:27:31.480207Z",
}
RECEIPTS: dict[str, Any] = {"items": [RECEIPT], "next_cursor": None}
_PLACES = (
    "traces", "bodies", "vectors", "edges", "digests", "removals", "operations", "answers", "rebuilds", "provenance",
    "triples", "recalls", "dismissals", "leftovers", "garbage", "files", "focus",
)  # fmt: skip
VERIFIED: dict[str, Any] = {
    "receipt_id": RECEIPT_ID,
    "state": "done",
    "verified_at": "2026-08-06T09:00:00.102233Z",
    "traces": 1,
    "gone": True,
    "found": dict.fromkeys(_PLACES, 0),
    "unseen": [],
    "until": [
        "A VACUUM has passed over every table that held it. Bytes of it, which no query reads, may stay in the free "
        "room of their pages, and single words in the index over words, until these are written over; VACUUM (FULL, "
        "ANALYZE) writes a table anew at once, and nobody can use it meanwhile.",
        "The write-ahead log that held it is needed no more; its files are written over, or deleted, as new log comes. "
        "It is not archived by this server.",
        "Dumps, base backups and snapshots of before 2026-08-05 18:27 UTC hold it until they expire: Reverie does not "
        "know of them. After restoring one, forget again what was forgotten since.",
    ],
}
