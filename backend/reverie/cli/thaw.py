"""`reverie thaw`: bringing back what is cold."""

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from reverie.cli.client import Client, connect
from reverie.cli.exits import Misused, Refused
from reverie.cli.options import AsJson, Key, Profile, TraceIds, Url, User, example, scope_of
from reverie.cli.output import console, remark, show, show_json
from reverie.cli.text import count, moment

ASKED_EVERY = 0.5
"""Seconds between two looks at how far it is."""


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        epilog=example(
            "reverie thaw --user ann --since 2025-03-01 --until 2025-04-01",
            "reverie thaw --user ann --conversation holiday --days 7",
            "reverie thaw --user ann --all --no-wait",
        )
    )(thaw)


def thaw(
    user: User,
    trace: TraceIds = None,
    conversation: Annotated[str | None, typer.Option("--conversation", help="A conversation.")] = None,
    since: Annotated[str | None, typer.Option(help="What happened from then on (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option(help="What happened before.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything of this user.")] = False,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="How long it stays (MEMORY_THAW_DAYS).")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is done.")] = True,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Bring cold traces of a user back for some days.

    Then they are found as quickly as warm ones. A worker does it. Afterwards they cool again by themselves.
    """
    scope = scope_of(trace, everything=everything, conversation_id=conversation, since=since, until=until)
    if scope is None:
        raise Misused(
            "Say what to thaw: --trace ID (as often as needed), --conversation, --since and --until, or --all."
        )
    with connect(url, key, profile) as client:
        accepted = client.post("/memory/thaw", {"user_id": user, "scope": scope, "days": days})
        if not wait:
            if as_json:
                show_json(accepted)
            else:
                show(
                    f"{count(accepted['cold'], 'trace')} of {user} will be back until {moment(accepted['until'])}.",
                    f"Operation {accepted['operation_id']}",
                )
            return
        done = _done(client, accepted, as_json=as_json)
    _tell(user, accepted, done, as_json=as_json)


def _tell(user: str, accepted: Mapping[str, Any], done: Mapping[str, Any], *, as_json: bool) -> None:
    result = done["result"] or {}
    if as_json:
        show_json(done)
    elif done["state"] == "done":
        show(f"{count(result['thawed'], 'trace')} of {user} are back until {moment(accepted['until'])}.")
    if done["state"] == "failed":
        raise Refused(done["error"])
    if result.get("damaged"):
        remark(f"{count(result['damaged'], 'trace')} cannot be read: `reverie tiers status` names the files.")


def _done(client: Client, accepted: Mapping[str, Any], *, as_json: bool) -> dict[str, Any]:
    """The operation, once it is over."""
    if as_json or not sys.stderr.isatty():
        return _follow(client, accepted, lambda _: None)
    from rich import progress

    columns = (progress.BarColumn(), progress.TaskProgressColumn(), progress.TextColumn("{task.description}"))
    with progress.Progress(*columns, console=console(stderr=True), transient=True) as bars:
        task = bars.add_task("Waiting for a worker", total=accepted["cold"] + accepted["thawed"])

        def draw(found: Mapping[str, Any]) -> None:
            result = found["result"] or {}
            told = found["error"] or f"{count(result.get('thawed', 0), 'trace')} are back"
            bars.update(task, completed=result.get("thawed", 0), description=told)

        return _follow(client, accepted, draw)


def _follow(client: Client, accepted: Mapping[str, Any], tell: Any) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.get(f"/operations/{accepted['operation_id']}")
        if found["state"] in ("done", "failed"):
            return found
        tell(found)
        time.sleep(ASKED_EVERY)
