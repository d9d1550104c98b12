"""The whole service at a glance: `status`."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.client import Client, connect
from reverie.cli.exits import Unavailable
from reverie.cli.options import AsJson, Key, Profile, Url, example
from reverie.cli.output import console, remark, rows, show, show_json, table
from reverie.cli.text import count, moment, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

PARTS = {"postgresql": "PostgreSQL", "redis": "Redis", "encoder": "Embedding model", "worker": "Worker"}

MOST_ROWS = 12
"""Rows of a table that are shown without --all."""

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(epilog=example("reverie status", "reverie status --watch 5", "reverie status --json"))(status)


def status(
    everything: Annotated[bool, typer.Option("--all", help="Show every partition and index.")] = False,
    watch: Annotated[
        float | None, typer.Option("--watch", min=0.5, help="Look again every so many seconds, until Ctrl-C.")
    ] = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show the whole service and whether it is ready.

    Its parts, the queue, partitions and indexes with their sizes, versions, the last errors. It needs an admin key.
    """
    with connect(url, key, profile) as client:
        while True:
            found = _ask(client)
            if as_json:
                show_json(found)
            else:
                if watch is not None:
                    console().clear()
                show(*_told(found, client.url, None if everything else MOST_ROWS))
            if watch is None:
                break
            time.sleep(watch)
    if found["status"] == "unready":
        raise Unavailable(f"Reverie at {client.url} is not ready.")


def _ask(client: Client) -> dict[str, Any]:
    """The status; where the key cannot be looked at because PostgreSQL is out, no more than what needs none."""
    found: dict[str, Any] = client.get("/admin/status", also=(503,))
    if "parts" in found:
        return found
    remark(found["detail"])
    known: dict[str, Any] = client.get("/health/ready", also=(503,))
    return known


def _told(found: Mapping[str, Any], url: str, most: int | None) -> "list[RenderableType]":
    if "versions" not in found:
        return [f"Reverie at {url} is {found['status']}.", _parts(found)]
    up = f"Reverie {found['version']} at {url} is {found['status']}, up for {span(found['uptime_seconds'])}."
    shown: list[RenderableType] = [up, _parts(found), *_work(found)]
    for name, made in (("partitions", _partitions), ("indexes", _indexes)):
        items = found[name] or ()
        if items:
            shown.append(made(items, most))
        if most is not None and len(items) > most:
            shown.append(f"{count(len(items) - most)} more {name}: --all shows them.")
    if found["partitions"]:
        shown.append(_total(found))
    return [*shown, *_errors(found["errors"])]


def _parts(found: Mapping[str, Any]) -> "Table":
    versions, model = found.get("versions", {}), found.get("model")
    details = {
        "postgresql": ", ".join(
            f"{name}{versions[key]}"
            for key, name in (("postgresql", ""), ("pgvector", "pgvector "), ("schema_revision", "schema "))
            if versions.get(key)
        ),
        "redis": versions.get("redis") or "",
        "encoder": f"{model['name']}, {model['dim']} dimensions, {model['precision']}" if model else "",
    }
    made = table("part", "is", "what is known", whole=("part", "is"))
    cells = [
        [PARTS.get(name, name), part["status"], part["detail"] or details.get(name, "")]
        for name, part in found["parts"].items()
    ]
    return rows(made, cells)


def _work(found: Mapping[str, Any]) -> list[str]:
    queue, encoder, pool = found["queue"], found["encoder"], found["pool"]
    lines = []
    if queue is None or found["partitions"] is None:
        lines.append("Operations and sizes could not be read from PostgreSQL: try again.")
    if queue:
        oldest = queue["oldest_pending_seconds"]
        since = f" (the oldest for {span(oldest)})" if oldest is not None else ""
        lines.append(
            f"Operations: {count(queue['pending'])} pending{since}, {count(queue['running'])} running, "
            f"{count(queue['failed'])} failed."
        )
    lines += [_change(change) for change in found["changes"] or ()]
    lines.append(
        f"Encoder: {count(encoder['questions'], 'question')} and {count(encoder['documents'], 'document')} in it."
    )
    lines.append(
        f"Connections to PostgreSQL: {pool['open']} of {pool['most']} open, {pool['idle']} idle, "
        f"{count(pool['waiting'], 'request')} waiting."
    )
    return lines


def _change(change: Mapping[str, Any]) -> str:
    """A change of the embedding model on its way."""
    model, state = change["model"], change["state"]
    name = f"{model['name']} ({model['dim']} dimensions, {model['precision']})"
    if state == "dropping":
        return f"The vectors of {name} are being removed: {count(change['traces'])} so far."
    looked = f"{count(change['traces'])} of {count(change['total'], 'trace')}"
    return (
        f"The store is on its way to {name}: {state}, {looked}, {count(change['made'])} made, last at "
        f"{moment(change['seen_at'])} (reverie reembed)."
    )


def _partitions(items: Sequence[Mapping[str, Any]], most: int | None) -> "Table":
    # Those that are made ahead come last.
    newest = sorted(items, key=lambda one: (one["rows"] > 0, one["since"], one["parent"]), reverse=True)
    made = table("partition", "tier", "from", "until", "rows ≈", "size", right=("rows ≈", "size"), whole=("partition",))
    cells = [
        [one["table"], one["tier"], moment(one["since"]), moment(one["until"]), count(one["rows"]), size(one["bytes"])]
        for one in newest[:most]
    ]
    return rows(made, cells)


def _indexes(items: Sequence[Mapping[str, Any]], most: int | None) -> "Table":
    largest = sorted(items, key=lambda one: (one["valid"], -one["bytes"]))
    made = table("index", "table", "size", "scans", "", right=("size", "scans"), whole=("index",))
    cells = [
        [one["name"], one["table"], size(one["bytes"]), count(one["scans"]), "" if one["valid"] else "not valid"]
        for one in largest[:most]
    ]
    return rows(made, cells)


def _total(found: Mapping[str, Any]) -> str:
    held = [*found["partitions"], *found["tables"]]
    return f"All tables with their indexes: {size(sum(one['bytes'] for one in held))}."


def _errors(errors: Sequence[Mapping[str, Any]] | None) -> "list[RenderableType]":
    if not errors:
        return []
    made = table("failed at", "operation", "kind", "why", whole=("operation",))
    cells = [[moment(one["at"]), one["operation_id"], one["kind"], one_line(one["error"] or "")] for one in errors]
    return [rows(made, cells)]


def size(number: int) -> str:
    """Bytes as a person reads them: ``812 bytes``, ``9.7 MB`` (of a million)."""
    value, unit = float(number), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {UNITS[unit]}"


def span(seconds: float) -> str:
    """A time as a person reads it: ``0.4 s``, ``3 min 20 s``, ``12 h 20 min``, ``9 days 4 h``."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if hours == 0:
        return f"{minutes} min {whole % 60} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{count(days, 'day')} {hours % 24} h"
