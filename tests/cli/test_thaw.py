"""`reverie thaw`: what a person says, what is asked of the service, and how it ends."""

import json
from typing import TYPE_CHECKING

import pytest

from reverie.cli import exits

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

TRACE = "01a1fddb-3908-7000-9a7b-8cdc70eccf43"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--all", "--conversation", "a"], ["--all", "--trace", TRACE], ["--since", "2025-01-01", "--all"]],
)
def test_one_scope_has_to_be_named(cli: "Cli", user: str, arguments: list[str]) -> None:
    refused = cli("thaw", "--user", user, *arguments)
    assert refused.exit_code == exits.USAGE
    assert "Say what to thaw" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--all"], exits.REFUSED, "Nothing of this scope is cold"),
        (["--conversation", "a"], exits.REFUSED, "Nothing of this scope is cold"),
        (["--since", "2025-01-01", "--until", "2025-02-01"], exits.REFUSED, "Nothing of this scope is cold"),
        (["--trace", TRACE], exits.NOTHING, "The user has no trace"),
        (["--trace", TRACE, "--trace", TRACE], exits.REFUSED, "Nothing of this scope is cold"),
        (["--since", "soon"], exits.REFUSED, "ISO 8601"),
        (["--all", "--days", "0"], exits.USAGE, "--days"),
    ],
)
def test_what_is_not_cold_is_said_to_be_so(cli: "Cli", user: str, arguments: list[str], code: int, says: str) -> None:
    cli("remember", "Tea at four.", "--user", user)
    refused = cli("thaw", "--user", user, *arguments)
    assert refused.exit_code == code, refused.output
    assert says in refused.stderr


@pytest.mark.parametrize(
    ("state", "result", "code", "says"),
    [
        ("done", {"traces": 3, "thawed": 3, "damaged": 0}, exits.DONE, "3 traces of ann are back until "),
        ("done", {"traces": 3, "thawed": 2, "damaged": 1}, exits.DONE, "1 trace cannot be read"),
        ("failed", None, exits.REFUSED, "The worker died."),
    ],
)
def test_it_waits_until_the_operation_is_over(
    alone: "Cli",
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    result: dict[str, int] | None,
    code: int,
    says: str,
) -> None:
    from reverie.cli import thaw
    from reverie.cli.client import Client

    asked = []
    accepted = {"operation_id": TRACE, "cold": 3, "thawed": 0, "until": "2026-09-04T18:20:02Z"}
    states = ["pending", "running", state]

    def post(self: Client, path: str, body: dict[str, object]) -> object:
        asked.append((path, body))
        return accepted

    def get(self: Client, path: str) -> object:
        now = states.pop(0)
        return {"state": now, "result": result if now == state else None, "error": "The worker died."}

    monkeypatch.setattr(Client, "post", post)
    monkeypatch.setattr(Client, "get", get)
    monkeypatch.setattr(thaw, "ASKED_EVERY", 0.0)
    known = {"REVERIE_URL": "http://127.0.0.1:1", "REVERIE_KEY": "rv_x"}
    ended = alone("thaw", "--user", "ann", "--conversation", "trip", "--days", "7", **known)
    assert ended.exit_code == code
    assert says in ended.output
    assert asked == [("/memory/thaw", {"user_id": "ann", "scope": {"conversation_id": "trip"}, "days": 7})]
    told = alone("thaw", "--user", "ann", "--all", "--no-wait", "--json", **known)
    assert json.loads(told.stdout) == accepted
    assert "3 traces of ann will be back" in alone("thaw", "--user", "ann", "--all", "--no-wait", **known).stdout
