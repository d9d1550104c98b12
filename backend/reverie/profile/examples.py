"""What a profile looks like, for the API's description."""

from typing import Any, Final

from reverie.memories.examples import TRACE_ID, USER

CURSOR: Final = "2026-08-05T18:30:00Z,7f1f2f0c-58a3-5f0e-9a6e-2c1f4b1d9a11"
_OLDER = "019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e43"

PROFILE: dict[str, Any] = {
    "user_id": USER,
    "as_of": None,
    "nights": 2,
    "last_night": "2026-08-06T03:30:04.120042Z",
    "read": 0,
    "note": None,
    "topics": {"work": 2},
    "lately": [
        {
            "trace_id": "01a20207-2b1e-7000-9d0c-5e0f5a3c7b22",
            "day": "2026-08-05",
            "text": "Nora now works at Ostrava Clinic.",
        }
    ],
    "items": [
        {
            "text": "Nora works at Ostrava Clinic",
            "topic": "work",
            "subject": "Nora",
            "predicate": "works_at",
            "object": "Ostrava Clinic",
            "sources": [TRACE_ID],
            "told": 1,
            "happened_at": "2026-08-05T18:30:00Z",
            "superseded_by": None,
            "instead": None,
        },
        {
            "text": "Nora works at Hexaly",
            "topic": "work",
            "subject": "Nora",
            "predicate": "works_at",
            "object": "Hexaly",
            "sources": [_OLDER],
            "told": 1,
            "happened_at": "2026-05-08T13:56:00Z",
            "superseded_by": TRACE_ID,
            "instead": "I quit Hexaly.",
        },
    ],
    "next_cursor": CURSOR,
}
