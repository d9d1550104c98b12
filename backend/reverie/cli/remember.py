"""`reverie remember`: one trace."""

import sys
from typing import Annotated, Any

import orjson
import typer

from reverie.cli.client import connect
from reverie.cli.exits import Misused
from reverie.cli.options import AsJson, Key, Profile, Url, User, example
from reverie.cli.output import remark, show, show_json
from reverie.cli.related import show_suggestions
from reverie.cli.text import degraded

VECTORS = {
    "pending": "Its vector is made in the background; until then it is found by its words.",
    "skipped": "Its salience is too low for a vector: it is kept, and found by its words alone.",
}


NO_NOTE = "Only notes get suggestions: it was remembered as something else; see --kind."


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        epilog=example(
            'reverie remember "I moved to Bristol in March" --user ann --speaker Ann',
            "git log -1 --format=%B | reverie remember - --user ann --kind note",
            'reverie remember "The train leaves at nine" --user ann --suggest 5',
        )
    )(remember)


def remember(
    text: Annotated[str, typer.Argument(help="What to remember; `-` reads it from standard input.")],
    user: User,
    speaker: Annotated[str | None, typer.Option(help="Who said it, by name.")] = None,
    role: Annotated[str | None, typer.Option(help="user, assistant, system or tool.")] = None,
    conversation: Annotated[str | None, typer.Option(help="The id of the conversation it belongs to.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="turn, note, fact, chunk, …; by default a turn with a role or a conversation, else a note."),
    ] = None,
    occurred_at: Annotated[
        str | None, typer.Option(help="When it happened, such as 2026-05-08 or 2026-05-08T13:56:00Z.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="When it is to be forgotten by itself, such as 2027-01-01.")
    ] = None,
    salience: Annotated[float | None, typer.Option(min=0, max=1, help="How much it matters, from 0 to 1.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Your own id: the same one is remembered once.")] = None,
    meta: Annotated[str | None, typer.Option(help="A JSON object that is kept with it.")] = None,
    suggest: Annotated[
        int, typer.Option(min=0, max=20, help="Of a note: show so many traces and entities that it connects to.")
    ] = 0,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Remember one text; when this returns, it is durable."""
    trace: dict[str, Any] = {
        "content": sys.stdin.read() if text == "-" else text,
        "speaker": speaker,
        "role": role,
        "conversation_id": conversation,
        "kind": kind,
        "occurred_at": occurred_at,
        "expires_at": expires_at,
        "salience": salience,
        "external_id": external_id,
        "meta": None if meta is None else _object(meta),
    }
    given = {name: value for name, value in trace.items() if value is not None}
    with connect(url, key, profile) as client:
        path = f"/memory/remember?suggest={suggest}" if suggest else "/memory/remember"
        answer = client.post(path, {"user_id": user, "traces": [given]})
    if as_json:
        show_json(answer)
        return
    made = answer["traces"][0]
    show(f"{'Remembered' if made['status'] == 'stored' else 'Known already'} as {made['trace_id']}")
    if made["vectors"] in VECTORS:
        remark(VECTORS[made["vectors"]])
    remark(*degraded(answer["degraded"]))
    if made.get("suggestions"):
        show("It connects to:")
        show_suggestions(made["suggestions"])
    elif suggest:
        remark("There is nothing to suggest." if made["suggestions"] is not None else NO_NOTE)


def _object(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Misused(f'--meta takes a JSON object such as \'{{"topic": "home"}}\', not {text!r}.')
    return value
