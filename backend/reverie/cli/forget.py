"""`reverie forget`: removing what was remembered, after asking."""

import sys
from typing import Annotated, Any

import typer

from reverie.cli.client import Client, connect
from reverie.cli.exits import Misused, Nothing
from reverie.cli.options import AsJson, Key, Profile, TraceIds, Url, User, example
from reverie.cli.output import remark, show, show_json
from reverie.cli.text import count


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        epilog=example(
            "reverie forget --user ann --trace 01a1fddb-3908-7000-9a7b-8cdc70eccf43",
            'reverie forget --user ann --all --reason "asked by letter" --yes',
        )
    )(forget)


def forget(
    user: User,
    trace: TraceIds = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything of this user.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the receipt.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Forget traces of a user, after asking.

    Their vectors and links go with them; a receipt stays.
    """
    if bool(trace) == everything:
        raise Misused("Say what to forget: either --trace ID (as often as needed) or --all.")
    body = {"user_id": user, "scope": _scope(trace or []), "reason": reason}
    with connect(url, key, profile) as client:
        if not (dry_run or yes):
            _ask(client, body, user)
        answer = client.post("/memory/forget", body | {"dry_run": dry_run})
    if as_json:
        show_json(answer)
    elif answer["counts"]["traces"]:
        show(f"{'Would forget' if dry_run else 'Forgot'} {_counted(answer['counts'])} of {user}.")
        if answer["receipt_id"]:
            show(f"Receipt {answer['receipt_id']}")
    if answer["degraded"]:
        remark(
            "Redis did not answer: its focus may still name what was forgotten, which nobody finds, until it expires."
        )
    if not answer["counts"]["traces"]:
        raise Nothing(f"There was nothing of {user} to forget.")


def _scope(traces: list[Any]) -> dict[str, Any]:
    if not traces:
        return {"all": True}
    return {"trace_id": str(traces[0])} if len(traces) == 1 else {"trace_ids": [str(one) for one in traces]}


def _ask(client: Client, body: dict[str, Any], user: str) -> None:
    """Shows what would go, and ends the command unless it shall."""
    if not sys.stdin.isatty():
        raise Misused("Nobody is there to be asked: add --yes to forget, or --dry-run to count.")
    counts = client.post("/memory/forget", body | {"dry_run": True})["counts"]
    if not counts["traces"]:
        raise Nothing(f"There was nothing of {user} to forget.")
    typer.confirm(f"Forget {_counted(counts)} of {user}, for good?", abort=True, err=True)


def _counted(counts: dict[str, int]) -> str:
    parts = [count(counts["traces"], "trace"), count(counts["vectors"], "vector"), count(counts["edges"], "link")]
    return f"{parts[0]} ({', '.join(parts[1:])})"
