"""Looking at a service: `traces`, `users`, `operation`, `health`."""

from typing import Annotated, Any
from uuid import UUID

import typer

from reverie.cli.client import connect
from reverie.cli.exits import Nothing, Unavailable
from reverie.cli.options import AsJson, Cursor, Key, Limit, Profile, Url, User, example
from reverie.cli.output import on_one_line, remark, show, show_json, show_page, table
from reverie.cli.text import count, moment

UNREADABLE = "(in cold storage, which cannot be read at the moment)"
PARTS = {"postgresql": "PostgreSQL", "redis": "Redis", "encoder": "Embedding model"}


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(epilog=example("reverie traces --user ann --limit 20"))(traces)
    app.command(epilog=example("reverie users"))(users)
    app.command(epilog=example("reverie operation 01a1fddb-393c-7000-82f4-73c3e19d01e8"))(operation)
    app.command(epilog=example("reverie health", "reverie health --url https://memory.example.org --json"))(health)


def traces(
    user: User,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    conversation: Annotated[str | None, typer.Option(help="Only this conversation.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List what is remembered of a user, newest first."""
    query = {"user_id": user, "kind": kind, "conversation_id": conversation, "limit": limit, "cursor": cursor}
    with connect(url, key, profile) as client:
        page = client.get("/memory/traces", query)
    made = table("id", "when", "who", "kind", "what", whole=("id", "kind"))
    cells = [
        [
            one["trace_id"],
            moment(one["happened_at"]),
            one["speaker"] or one["role"],
            one["kind"],
            on_one_line(one["content"] if one["content"] is not None else UNREADABLE),
        ]
        for one in page["items"]
    ]
    _show_page(page, made, cells, f"Nothing of {user} is remembered.", as_json=as_json)


def users(
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List the users whose memory is kept, newest first."""
    with connect(url, key, profile) as client:
        page = client.get("/memory/users", {"limit": limit, "cursor": cursor})
    made = table("user", "kind", "traces", "since", "changed", right=("traces",))
    cells = [
        [one["user_id"], one["kind"], str(one["traces"]), moment(one["created_at"]), moment(one["updated_at"])]
        for one in page["items"]
    ]
    _show_page(page, made, cells, "There are no users yet.", as_json=as_json)


def operation(
    operation_id: Annotated[UUID, typer.Argument(help="The id that an answer named.")],
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a piece of background work has come."""
    with connect(url, key, profile) as client:
        found = client.get(f"/operations/{operation_id}")
    if as_json:
        show_json(found)
        return
    show(f"{found['kind']} of {count(found['traces'], 'trace')}: {found['state']}")
    times = {"accepted": found["created_at"], "started": found["started_at"], "finished": found["finished_at"]}
    show(*(f"{what} {moment(when)} UTC" for what, when in times.items() if when))
    if found["error"]:
        remark(f"{count(found['attempts'], 'attempt')}; the last one failed: {found['error']}")


def health(url: Url = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show whether the service can serve, and which part is down."""
    with connect(url, None, profile, needs_key=False) as client:
        found = client.get("/health/ready", also=(503,))
    if as_json:
        show_json(found)
    else:
        for name, part in found["parts"].items():
            show(f"{PARTS.get(name, name)}: {part['status']}" + (f". {part['detail']}" if part["detail"] else ""))
    if found["status"] == "unready":
        raise Unavailable(f"Reverie at {client.url} is not ready.")
    if not as_json:
        show(f"Reverie at {client.url} is {found['status']}.")


def _show_page(page: dict[str, Any], made: Any, cells: list[list[Any]], nothing: str, *, as_json: bool) -> None:
    if as_json or cells:
        show_page(page, made, cells, as_json=as_json)
    if not cells:
        raise Nothing(nothing)
