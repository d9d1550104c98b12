"""Operations for the API's description."""

from typing import Any

LINK: dict[str, Any] = {
    "operationId": "get_operation",
    "parameters": {"operation_id": "$response.body#/operation_id"},
}
"""From an answer that names an operation to how far it is (an OpenAPI link)."""

PENDING: dict[str, Any] = {
    "operation_id": "019ab5c2-7e20-7a11-8d55-0c4f9e3b7a21",
    "kind": "embed",
    "state": "pending",
    "traces": 1000,
    "attempts": 0,
    "error": None,
    "result": None,
    "created_at": "2026-08-05T18:20:02.481903Z",
    "started_at": None,
    "finished_at": None,
}
DONE: dict[str, Any] = PENDING | {
    "state": "done",
    "attempts": 1,
    "result": {"embedded": 1000, "refused": 0},
    "started_at": "2026-08-05T18:20:02.502117Z",
    "finished_at": "2026-08-05T18:20:09.930441Z",
}
FAILED: dict[str, Any] = PENDING | {
    "state": "failed",
    "attempts": 3,
    "error": "Something went wrong on our side (DataError); the log of the worker has the details.",
    "started_at": "2026-08-05T18:20:02.502117Z",
    "finished_at": "2026-08-05T18:20:31.117803Z",
}
