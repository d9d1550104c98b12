"""Keys for the API's description."""

from typing import Any

NEW: dict[str, Any] = {"name": "the phone app", "scopes": ["read", "write"]}

KEY: dict[str, Any] = {
    "id": "019ab5c0-0b2f-7d10-9c61-5a7e8f01d3b9",
    "name": "the phone app",
    "prefix": "1f0c9a3e",
    "scopes": ["read", "write"],
    "created_at": "2026-05-08T13:56:00.123456Z",
    "revoked_at": None,
}
MADE: dict[str, Any] = KEY | {"key": "rv_1f0c9a3e_…"}
REPEATED: dict[str, Any] = KEY | {"key": None}
PAGE: dict[str, Any] = {"items": [KEY | {"revoked_at": "2026-08-05T18:20:02.481903Z"}], "next_cursor": KEY["id"]}
