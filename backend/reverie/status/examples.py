"""The service for the API's description."""

from typing import Any

READY: dict[str, Any] = {
    "status": "ready",
    "parts": {
        "postgresql": {"status": "up", "needed": True, "detail": None},
        "redis": {"status": "up", "needed": False, "detail": None},
        "encoder": {"status": "up", "needed": False, "detail": None},
    },
}
DEGRADED: dict[str, Any] = {
    "status": "degraded",
    "parts": READY["parts"]
    | {
        "redis": {
            "status": "down",
            "needed": False,
            "detail": "Redis does not answer: no focus, and jobs wait for the sweeper. Look at REDIS_URL.",
        }
    },
}
UNREADY: dict[str, Any] = {
    "status": "unready",
    "parts": READY["parts"]
    | {
        "postgresql": {
            "status": "down",
            "needed": True,
            "detail": "PostgreSQL cannot be reached: look at DATABASE_URL and at its log.",
        }
    },
}
STATUS: dict[str, Any] = {
    "status": "ready",
    "version": "0.1.0",
    "schema_revision": "20261121_first_tables",
    "pid": 4711,
    "started_at": "2026-08-05T06:00:02.481903Z",
    "uptime_seconds": 44400.017,
    "parts": READY["parts"] | {"worker": {"status": "up", "needed": False, "detail": None}},
    "queue": {"pending": 2, "running": 1, "failed": 1, "oldest_pending_seconds": 0.412},
    "encoder": {"questions": 0, "documents": 16},
    "pool": {"most": 10, "open": 4, "idle": 3, "waiting": 0},
    "partitions": [
        {
            "table": "memory_body_2026w32",
            "rows": 12480,
            "bytes": 9748480,
            "parent": "memory_body",
            "tier": "hot",
            "lower": "019fbaf0-b400-0000-0000-000000000000",
            "upper": "019fdefd-1c00-0000-0000-000000000000",
            "since": "2026-08-03T00:00:00Z",
            "until": "2026-08-10T00:00:00Z",
        }
    ],
    "tables": [{"table": "memory_trace", "rows": 12480, "bytes": 6258688}],
    "indexes": [
        {
            "name": "memory_body_2026w32_lexemes",
            "table": "memory_body_2026w32",
            "bytes": 2121728,
            "valid": True,
            "scans": 816,
        }
    ],
    "versions": {
        "reverie": "0.1.0",
        "python": "3.11.9",
        "postgresql": "18.4",
        "pgvector": "0.8.5",
        "redis": "7.2.4",
        "schema_revision": "20261121_first_tables",
    },
    "model": {"name": "bge-small-en-v1.5", "dim": 384, "precision": "fp16"},
    "changes": [
        {
            "model": {"name": "all-MiniLM-L6-v2", "dim": 384, "precision": "fp16"},
            "state": "filling",
            "traces": 5120,
            "total": 12480,
            "made": 5120,
            "refused": 0,
            "seen_at": "2026-08-05T18:20:32.004512Z",
        }
    ],
    "errors": [
        {
            "at": "2026-08-05T18:20:31.117803Z",
            "operation_id": "019ab5c2-7e20-7a11-8d55-0c4f9e3b7a21",
            "kind": "embed",
            "attempts": 3,
            "error": "The worker died or hung at each of 3 attempts.",
        }
    ],
}
FIGURES = """\
# HELP reverie_operations Operations of all spaces.
# TYPE reverie_operations gauge
reverie_operations{state="pending"} 2.0
"""
