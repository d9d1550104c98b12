"""Retention for the API's description: what is sent, and what is answered."""

from typing import Any

OPERATION_ID = "019ab5c2-7e20-7a11-8d55-0c4f9e3b7a21"

SHOWN: dict[str, Any] = {
    "ttl_days": 730,
    "max_traces_per_user": None,
    "salience_floor": None,
    "in_force": {
        "ttl_days": {"value": 730, "set_by": "space"},
        "max_traces_per_user": {"value": 0, "set_by": "service"},
        "salience_floor": {"value": 0.0, "set_by": "service"},
    },
    "updated_at": "2026-08-06T07:02:11.004211Z",
}
DUE: dict[str, Any] = {
    "traces": 18_204,
    "due": 1_210,
    "users": 3,
    "by_rule": {"expires_at": 4, "ttl_days": 1_206, "salience_floor": 0, "max_traces_per_user": 0},
}

TWO_YEARS: dict[str, Any] = {"ttl_days": 730}
WHAT_WOULD_GO: dict[str, Any] = {"ttl_days": 365, "max_traces_per_user": 100_000, "dry_run": True}
CHANGED: dict[str, Any] = SHOWN | {"dry_run": False, "due": DUE}

RUN: dict[str, Any] = {}
COUNT: dict[str, Any] = {"dry_run": True}
STARTED: dict[str, Any] = {"dry_run": False, "due": DUE, "operation_id": OPERATION_ID}
COUNTED: dict[str, Any] = {"dry_run": True, "due": DUE, "operation_id": None}
