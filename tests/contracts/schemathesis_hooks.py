"""What schemathesis has to know of the API beyond its OpenAPI document; schemathesis.toml names this file.

A schema says what each field takes, not how fields go together, nor what is there. So that good requests are good as a
whole, and reach what lies behind the reading of them, they are put right before they are sent. Bad ones are sent as
they are.
"""

import itertools
import os
import re
import struct
from base64 import b64encode
from typing import Any

import httpx
import schemathesis
from schemathesis import Case, HookContext

from tests.contracts.house import DIM, axis

_numbers = itertools.count()
_CURSOR = re.compile("([0-9T:.-]+Z,)?[0-9a-f-]{36}(,[0-9a-f-]{36},[a-z0-9_]+)?")
"""What lists give out."""


@schemathesis.hook
def before_call(context: HookContext, case: "Case[Any]", kwargs: dict[str, Any]) -> None:
    """Puts requests right. Whatever else it is, the key of all requests is not revoked."""
    path = case.path_parameters or {}
    if path.get("key_id") == os.environ["REVERIE_KEY_ID"]:
        path["key_id"] = _new_key()
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.headers and "Idempotency-Key" in case.headers:
        # With another body before, it is refused.
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]} {next(_numbers)}"
    for given in (case.query, case.body):
        if isinstance(given, dict):
            _agree(given)
    if case.operation.path == "/memory/remember" and isinstance(case.body, dict):
        # What another request has forgotten is refused without it.
        case.body["force"] = True
    if case.operation.path == "/memory/consolidate" and isinstance(case.body, dict) and case.body.get("user_id"):
        _remembered("nora")
        case.body["user_id"] = "nora"
    if case.operation.path == "/settings/retention" and isinstance(case.body, dict):
        # What takes nearly everything is refused without it.
        case.body["force"] = True
    if case.operation.path.startswith("/settings/ai") and isinstance(case.body, dict):
        _settle(case.body, save=case.operation.path == "/settings/ai")
    if case.meta.phase.name.value != "stateful":
        _make(path, case.query or {})


def _agree(given: dict[str, Any]) -> None:
    """Makes fields go together."""
    if not _CURSOR.fullmatch(given.get("cursor") or ""):
        given.pop("cursor", None)
    if given.get("time_window") is not None:
        given.pop("since", None)
        given.pop("until", None)
    if given.get("since") is not None and given.get("until") is not None:
        given["since"], given["until"] = sorted((given["since"], given["until"]))
    if given.get("time_zone") is not None:
        # A zone's name is no matter of patterns.
        given["time_zone"] = "Europe/Berlin"
    if given.get("day") is not None:
        # Of a day to come nothing can be dreamt.
        given["day"] = "2026-05-08"
    for one in (given, *_dicts(given.get("traces")), *_dicts(given.get("messages"))):
        if isinstance(one.get("embedding"), list):
            one["embedding"] = ([*one["embedding"], 1.0] * DIM)[:DIM]
        if isinstance(one.get("embedding"), str):
            numbers = ([*map(ord, one["embedding"]), 1] * DIM)[:DIM]
            one["embedding"] = b64encode(struct.pack(f"<{DIM}f", *numbers)).decode()
        if isinstance(one.get("external_id"), str):
            # Taken by other content, it is refused.
            one["external_id"] = f"{one['external_id'][:200]} {next(_numbers)}"
        if one.get("expires_at") is not None:
            one["expires_at"] = "2099-01-01T00:00:00Z"
        for moment in ("occurred_at", "since", "until", "at"):
            # In UTC such a one may lie outside of the years 1 to 9999.
            if str(one.get(moment)).startswith(("0001-01-01", "9999-12-31")):
                del one[moment]


def _settle(settings: dict[str, Any], *, save: bool) -> None:
    """Models that need not be asked: endpoints are no one's, and private ones where they are only tried."""
    for section in ("language_model", "embedding", "reranker"):
        given = settings.get(section)
        if isinstance(given, dict):
            given |= {"url": "https://192.0.9.1/v1" if save else "http://127.0.0.1:9/v1", "model": "some-model"}
            given["api_key"] = None
    if save:
        settings["version"] = _get("/settings/ai")["version"]
        # The service would go over to it.
        settings.pop("embedding", None)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _make(path: dict[str, Any], query: dict[str, Any]) -> None:
    """Makes what the path names: outside of chains of links nothing of a random id is there."""
    if "key_id" in path:
        path["key_id"] = _new_key()
    if "user_id" in path:
        _remembered("nora")
        path["user_id"] = "nora"
    if "operation_id" in path:
        path["operation_id"] = _remembered("nora", wait="false")["operation_id"]
    if "trace_id" in path and "user_id" in query:
        path["trace_id"] = _remembered(query["user_id"], embedding=axis(0))["traces"][0]["trace_id"]


def _new_key() -> str:
    return str(_post("/keys", {"name": "to be revoked", "scopes": ["read"]})["id"])


def _remembered(user: str, wait: str = "true", **more: Any) -> dict[str, Any]:
    trace = {"content": f"Number {next(_numbers)} of process {os.getpid()}", **more}
    return _post(f"/memory/remember?wait={wait}", {"user_id": user, "traces": [trace]})


def _get(path: str) -> dict[str, Any]:
    headers = {"X-API-Key": os.environ["REVERIE_KEY"]}
    answer = httpx.get(os.environ["REVERIE_URL"] + path, headers=headers, timeout=60)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def _post(path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"X-API-Key": os.environ["REVERIE_KEY"]}
    answer = httpx.post(os.environ["REVERIE_URL"] + path, json=body, headers=headers, timeout=60)
    answer.raise_for_status()
    made: dict[str, Any] = answer.json()
    return made
