"""`reverie forget`: removing what was remembered, after asking."""

import sys
from typing import Annotated, Any
from uuid import UUID

import typer

from reverie.cli.client import Client, connect
from reverie.cli.exits import Misused, Nothing
from reverie.cli.options import AsJson, Key, Profile, TraceIds, Url, User, example, scope_of
from reverie.cli.output import remark, show, show_json
from reverie.cli.text import count

DEGRADED = {
    "focus": "Redis did not answer: its focus may still name what was forgotten, which nobody finds, until it expires.",
    "cold": "A file of old memories could not be read: there may be more to forget in it. Ask again.",
}
"""What could not be done, in words."""


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        epilog=example(
            "reverie forget --user ann --trace 01a1fddb-3908-7000-9a7b-8cdc70eccf43",
            "reverie forget --user ann --entity Gordon --dry-run",
            'reverie forget --user ann --all --reason "asked by letter" --yes',
        )
    )(forget)


def forget(
    user: User,
    trace: TraceIds = None,
    conversation: Annotated[str | None, typer.Option(help="All of the conversation of this id.")] = None,
    since: Annotated[str | None, typer.Option(help="What happened from then on, such as 2026-05-08.")] = None,
    until: Annotated[
        str | None, typer.Option(help="What happened before then; with --since what lies between.")
    ] = None,
    entity: Annotated[str | None, typer.Option(help="What a name stands for, and all that mentions it.")] = None,
    query: Annotated[str | None, typer.Option(help="All that has every word of this.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything of this user.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the receipt.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Forget traces of a user, after asking.

    Their vectors and links go with them, and what was made of them; a receipt stays, and what is imported again is
    refused.
    """
    scope = scope_of(
        trace, everything=everything, conversation_id=conversation, since=since, until=until, entity=entity, query=query
    )
    if scope is None:
        raise Misused(
            "Say what to forget in one way: --trace ID (as often as needed), --conversation, --since with --until, "
            "--entity, --query or --all."
        )
    body = {"user_id": user, "scope": scope, "reason": reason}
    with connect(url, key, profile) as client:
        if not (dry_run or yes):
            _ask(client, body, user, trace)
        answer = client.post("/memory/forget", body | {"dry_run": dry_run})
    if as_json:
        show_json(answer)
    elif answer["counts"]["traces"]:
        show(f"{'Would forget' if dry_run else 'Forgot'} {_counted(answer['counts'], trace)} of {user}.")
        if dry_run:
            show(*answer["trace_ids"])
        if answer["receipt_id"]:
            show(f"Receipt {answer['receipt_id']}")
        if answer["state"] == "running":
            remark("Nothing of it is found any more. Removing it goes on; `reverie receipts` says when it is done.")
    remark(*(DEGRADED[name] for name in answer["degraded"]))
    if not answer["counts"]["traces"]:
        raise Nothing(f"There was nothing of {user} to forget.")


def _ask(client: Client, body: dict[str, Any], user: str, named: list[UUID] | None) -> None:
    """Shows what would go, and ends the command unless it shall."""
    if not sys.stdin.isatty():
        raise Misused("Nobody is there to be asked: add --yes to forget, or --dry-run to count.")
    counts = client.post("/memory/forget", body | {"dry_run": True})["counts"]
    if not counts["traces"]:
        raise Nothing(f"There was nothing of {user} to forget.")
    typer.confirm(f"Forget {_counted(counts, named)} of {user}, for good?", abort=True, err=True)


def _counted(counts: dict[str, int], named: list[UUID] | None) -> str:
    """What goes, in words; and where one trace is named by its id, how many were made of it: nobody named those."""
    parts = [count(counts["vectors"], "vector"), count(counts["edges"], "link")]
    # Of several, those named may have been forgotten already; the one is there, or nothing is forgotten.
    derived = counts["traces"] - 1 if named is not None and len(named) == 1 else 0
    if derived > 0:
        parts.insert(0, f"{derived:,} of them made of the one named")
    return f"{count(counts['traces'], 'trace')} ({', '.join(parts)})"
