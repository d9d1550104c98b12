"""`reverie receipts`: the proofs of what was forgotten, and looking whether it is gone."""

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import typer

from reverie.cli.client import connect
from reverie.cli.exits import Failure
from reverie.cli.options import AsJson, Cursor, Key, Limit, Profile, Url, User, example
from reverie.cli.output import show, show_json, show_page, table
from reverie.cli.text import count, moment

commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List what was forgotten of a user, and verify that it is gone.",
    epilog=example(
        "reverie receipts list --user ann", "reverie receipts verify 01a1fe8b-63e5-7000-b729-3b4816a404b0 --user ann"
    ),
)

ReceiptId = Annotated[UUID, typer.Argument(help="The id that `reverie receipts list` shows.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.add_typer(commands, name="receipts")


@commands.command("list", epilog=example("reverie receipts list --user ann"))
def list_receipts(
    user: User,
    limit: Limit = 20,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List the receipts of a user, newest first."""
    with connect(url, key, profile) as client:
        page = client.get("/memory/receipts", {"user_id": user, "limit": limit, "cursor": cursor})
    made = table("receipt", "when", "what", "traces", "state", "why", right=("traces",), whole=("receipt",))
    show_page(page, made, [_cells(one) for one in page["items"]], as_json=as_json)


@commands.command("show", epilog=example("reverie receipts show 01a1fe8b-63e5-7000-b729-3b4816a404b0 --user ann"))
def show_one(
    receipt: ReceiptId,
    user: User,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
) -> None:
    """Print one receipt, with what went from each store."""
    with connect(url, key, profile) as client:
        show_json(client.get(f"/memory/receipts/{receipt}", {"user_id": user}))


@commands.command(epilog=example("reverie receipts verify 01a1fe8b-63e5-7000-b729-3b4816a404b0 --user ann"))
def verify(
    receipt: ReceiptId,
    user: User,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Look again for what a receipt says is gone; 1 if any is left."""
    with connect(url, key, profile) as client:
        found = client.post(f"/memory/receipts/{receipt}/verify?user_id={quote(user, safe='')}", {})
    if as_json:
        show_json(found)
    else:
        show(_verdict(found), *found["until"])
    if not found["gone"]:
        raise Failure("Not everything that this receipt names is gone.")


def _verdict(found: dict[str, Any]) -> str:
    traces = count(found["traces"], "trace")
    if found["gone"]:
        return f"Gone: nothing of {traces} was found in {count(len(found['found']), 'place')}."
    left = ", ".join(f"{number} in {place}" for place, number in found["found"].items() if number)
    unseen = f" Could not look at {', '.join(found['unseen'])}." if found["unseen"] else ""
    return f"Of {traces} there is left: {left or 'nothing that was found'}.{unseen}"


def _cells(one: dict[str, Any]) -> list[str]:
    return [
        one["receipt_id"], moment(one["created_at"]), one["scope"], str(one["counts"]["traces"]), one["state"],
        one["reason"] or "",
    ]  # fmt: skip
