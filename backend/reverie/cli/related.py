"""What traces are related to: `related`, `link`, `unlink`, `edges`, `dismiss`."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
import typer

from reverie.cli.client import connect
from reverie.cli.exits import Misused, Nothing
from reverie.cli.options import AsJson, Cursor, Key, Limit, Profile, Url, User, example
from reverie.cli.output import remark, rows, show, show_json, show_page, table
from reverie.cli.text import degraded, moment, one_line

A_TRACE = "01a1fddb-3908-7000-9a7b-8cdc70eccf43"
ANOTHER = "01a1fddb-3908-7000-9a7b-8cdc70eccf44"

SHOWN = 120
"""Signs of a trace that are shown; --json has more."""

Trace = Annotated[UUID, typer.Argument(help="The id of a trace.")]
Other = Annotated[UUID, typer.Argument(help="The id of the other one.")]
Type = Annotated[str, typer.Option("--type", "-t", help="What the link says, such as relates_to or supersedes.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(epilog=example(f"reverie related {A_TRACE} --user ann"))(related)
    app.command(epilog=example(f"reverie link {A_TRACE} {ANOTHER} --user ann --type relates_to"))(link)
    app.command(epilog=example(f"reverie unlink {A_TRACE} {ANOTHER} --user ann --type relates_to"))(unlink)
    app.command(epilog=example("reverie edges --user ann", f"reverie edges --user ann --trace {A_TRACE}"))(edges)
    app.command(
        epilog=example(
            f"reverie dismiss {A_TRACE} {ANOTHER} --user ann",
            f"reverie dismiss {A_TRACE} {ANOTHER} --user ann --undo",
        )
    )(dismiss)


def related(
    trace: Trace,
    user: User,
    k: Annotated[int, typer.Option("-k", min=1, max=20, help="How many to show.")] = 5,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show what a trace is related to, and why, best first."""
    with connect(url, key, profile) as client:
        answer = client.get(f"/memory/traces/{trace}/related", {"user_id": user, "k": k})
    if as_json:
        show_json(answer)
    else:
        remark(*degraded(answer["degraded"]))
        if answer["related"]:
            show_suggestions(answer["related"])
    if not answer["related"]:
        raise Nothing("Nothing is related to it.")


def link(
    trace: Trace,
    other: Other,
    user: User,
    kind: Type = "relates_to",
    weight: Annotated[float, typer.Option(min=0, max=1, help="How much it says, from 0 to 1.")] = 1.0,
    meta: Annotated[str | None, typer.Option(help="A JSON object that is kept with it.")] = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Link a trace to another by hand; no night undoes it."""
    body = {
        "user_id": user, "src": str(trace), "dst": str(other), "type": kind, "weight": weight,
        "meta": None if meta is None else _object(meta),
    }  # fmt: skip
    with connect(url, key, profile) as client:
        edge = client.post("/memory/edges", body)
    if as_json:
        show_json(edge)
    else:
        show(f"Linked: {edge['src']} {edge['type']} {edge['dst']}")


def unlink(
    trace: Trace,
    other: Other,
    user: User,
    kind: Type = "relates_to",
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
) -> None:
    """Remove a link between two traces."""
    named = urlencode({"user_id": user, "src": str(trace), "dst": str(other), "type": kind})
    with connect(url, key, profile) as client:
        client.delete(f"/memory/edges?{named}")
    show(f"Removed: {trace} {kind} {other}")


def edges(
    user: User,
    trace: Annotated[UUID | None, typer.Option("--trace", help="Only those from or to this trace.")] = None,
    kind: Annotated[str | None, typer.Option("--type", "-t", help="Only those of this type.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List the links among what a user remembers."""
    query = {"user_id": user, "trace_id": trace and str(trace), "type": kind, "limit": limit, "cursor": cursor}
    with connect(url, key, profile) as client:
        page = client.get("/memory/edges", query)
    made = table("from, and to", "type", "weight", "by", "since", right=("weight",), whole=("from, and to", "type"))
    cells = [
        [
            f"{one['src']}\n{one['dst']}",
            one["type"],
            f"{one['weight']:.2f}",
            one["meta"].get("by", ""),
            moment(one["ts"]),
        ]
        for one in page["items"]
    ]
    if as_json or cells:
        show_page(page, made, cells, as_json=as_json)
    if not cells:
        raise Nothing(f"There are no links of {user}.")


def dismiss(
    trace: Trace,
    other: Other,
    user: User,
    undo: Annotated[bool, typer.Option("--undo", help="Take it back: they may be suggested again.")] = False,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
) -> None:
    """Have two traces not be suggested to each other."""
    path = f"/memory/traces/{trace}/related?{urlencode({'user_id': user, 'other_id': str(other)})}"
    with connect(url, key, profile) as client:
        if undo:
            client.post(path, {})
        else:
            client.delete(path)
    show("They may be suggested again." if undo else "They are not suggested to one another any more.")


def show_suggestions(found: Sequence[dict[str, Any]]) -> None:
    """Prints suggestions as a table."""
    made = table("id", "score", "kind", "what", "why", right=("score",), whole=("id", "score", "kind"))
    cells = [
        [
            one["trace_id"],
            f"{one['score']:.2f}",
            one["kind"],
            one_line(one["content"] or "(in cold storage)", SHOWN),
            "; ".join(map(reason, one["reasons"])),
        ]
        for one in found
    ]
    show(rows(made, cells))


def reason(one: dict[str, Any]) -> str:
    """Why a trace is suggested, in words."""
    if one["why"] == "shared_entity":
        return "about " + ", ".join(entity["name"] for entity in one["entities"])
    if one["why"] == "same_topic":
        return "same topic: " + ", ".join(one["words"])
    if one["why"] == "edge":
        return f"linked: {one['edge']['type']}"
    return f"alike ({one['score']:.2f})"


def _object(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Misused(f'--meta takes a JSON object such as \'{{"why": "the same trip"}}\', not {text!r}.')
    return value
