"""`reverie settings ai`: the models of the store, set while the service runs."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from reverie.cli.client import connect
from reverie.cli.exits import Misused, Nothing, Refused
from reverie.cli.options import AsJson, Cursor, Key, Limit, Profile, Url, example
from reverie.cli.output import remark, rows, show, show_json, show_page, table
from reverie.cli.text import count, moment

PATH = "/settings/ai"

SECTIONS = {
    "language_model": ("url", "model", "api_key", "max_tokens_per_night"),
    "embedding": ("model", "dim", "precision", "url", "api_key"),
    "reranker": ("model", "url", "api_key"),
}
"""What can be set, in the order in which it is shown."""

WORDS = {"language_model": "the language model", "embedding": "the embedding model", "reranker": "the reranker"}

ENVIRONMENT, NONE = "environment", "none"

settings = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What is set while the service runs.",
    epilog=example("reverie settings ai show"),
)
ai = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The models: look, set, test, go back.\n\nIt needs an admin key of the space `default`.",
    epilog=example(
        "reverie settings ai show", "reverie settings ai set --language-model qwen3-8b --language-model-url https://…"
    ),
)
settings.add_typer(ai, name="ai")

Own = Annotated[str | None, typer.Option(metavar="X", help="`environment` leaves it to that.")]
OwnUrl = Annotated[str | None, typer.Option(metavar="URL", help="`none` for none; `environment` leaves it to that.")]
KeyFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="The file that holds its key; `-` reads it here, `none` removes it.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.add_typer(settings, name="settings")


@ai.command("show", epilog=example("reverie settings ai show"))
def show_ai(url: Url = None, key: Key = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show which models are in force, and who has set them."""
    with connect(url, key, profile) as client:
        found = client.get(PATH)
    if as_json:
        show_json(found)
    else:
        _show(found)


@ai.command(
    "set",
    epilog=example(
        "reverie settings ai set --embedding-model all-MiniLM-L6-v2",
        "reverie settings ai set --language-model-url https://… --language-model qwen3-8b --language-model-key-file k",
        "reverie settings ai set --embedding-model environment",
    ),
)
def set_ai(
    language_model_url: OwnUrl = None,
    language_model: Own = None,
    language_model_key_file: KeyFile = None,
    tokens_per_night: Own = None,
    embedding_model: Own = None,
    embedding_dim: Own = None,
    embedding_precision: Own = None,
    embedding_url: OwnUrl = None,
    embedding_key_file: KeyFile = None,
    reranker_model: Own = None,
    reranker_url: OwnUrl = None,
    reranker_key_file: KeyFile = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Set the models; the service goes over to them by itself.

    What is not named stays as it is. Another embedding model is a change of all vectors, which a worker makes while
    recall goes on.
    """
    given: dict[str, dict[str, str | None]] = {
        "language_model": {
            "url": language_model_url, "model": language_model, "max_tokens_per_night": tokens_per_night,
            "api_key": language_model_key_file,
        },
        "embedding": {
            "model": embedding_model, "dim": embedding_dim, "precision": embedding_precision, "url": embedding_url,
            "api_key": embedding_key_file,
        },
        "reranker": {"model": reranker_model, "url": reranker_url, "api_key": reranker_key_file},
    }  # fmt: skip
    named = {
        section: {field: _value(section, field, text) for field, text in fields.items() if text is not None}
        for section, fields in given.items()
    }
    if not any(named.values()):
        raise Misused("Say what to set, such as --language-model or --embedding-model.")
    with connect(url, key, profile) as client:
        before = client.get(PATH)
        body = {"version": before["version"]} | {
            section: {field: before[section][field] for field in fields if field != "api_key"} | named[section]
            for section, fields in SECTIONS.items()
        }
        changed = client.put(PATH, body)
    _changed(changed, as_json=as_json)


@ai.command("test", epilog=example("reverie settings ai test"))
def try_ai(url: Url = None, key: Key = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Ask the models that are saved: do they answer, how fast."""
    with connect(url, key, profile) as client:
        tested = client.post(f"{PATH}/test", {})
    if as_json:
        show_json(tested)
    else:
        cells = [
            [WORDS[section], one["model"], _verdict(one["ok"]), one["detail"]] for section, one in tested.items() if one
        ]
        show(rows(table("what", "model", "answers", "in words", whole=("what", "model")), cells))
    if any(one is not None and one["ok"] is False for one in tested.values()):
        raise Refused("Not every model answers.")


@ai.command("history", epilog=example("reverie settings ai history"))
def history(
    limit: Limit = 20,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List what was saved, the newest first."""
    params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
    with connect(url, key, profile) as client:
        page = client.get(f"{PATH}/history", params)
    cells = [
        [one["version"], moment(one["saved_at"]), one["saved_by_name"], ", ".join(one["changed"]) or "nothing",
         f"version {one['restored']}" if one["restored"] else ""]
        for one in page["items"]
    ]  # fmt: skip
    made = table("version", "saved at", "by the key", "what it changed", "back to", right=("version",))
    if as_json or cells:
        show_page(page, made, cells, as_json=as_json)
    if not cells:
        raise Nothing("Nothing was saved yet: the environment and the defaults are in force.")


@ai.command("restore", epilog=example("reverie settings ai restore 3"))
def restore(
    version: Annotated[int, typer.Argument(min=1, help="The version, as `history` names it.")],
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Go back to an earlier version, saved as a new one.

    What was before the first is no version: `reverie settings ai set` leaves a field to the environment by giving it
    `environment`.
    """
    with connect(url, key, profile) as client:
        newest = client.get(PATH)["version"]
        changed = client.post(f"{PATH}/restore", {"version": version, "newest": newest})
    _changed(changed, as_json=as_json)


def _value(section: str, field: str, text: str) -> str | int | None:
    """What an option stands for, as the API takes it."""
    if field == "api_key":
        return _key_of(text)
    if text == ENVIRONMENT:
        return None
    if text == NONE and (field == "url" or section == "language_model"):
        return ""
    if field not in ("dim", "max_tokens_per_night"):
        return text
    try:
        return int(text)
    except ValueError:
        option = "--embedding-dim" if field == "dim" else "--tokens-per-night"
        raise Misused(f"{option} takes a whole number or `{ENVIRONMENT}`, not {text!r}.") from None


def _key_of(source: str) -> str | None:
    """A key from where an option says it is: never from the command line, which others see."""
    if source == NONE:
        return None
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misused(f"The key in {source} cannot be read ({reason}).") from None
    return text.strip()


def _verdict(ok: bool | None) -> Literal["yes", "no", ""]:
    return "" if ok is None else "yes" if ok else "no"


def _changed(changed: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(changed)
        return
    show(f"Version {changed['version']} is saved; the service goes over to it within seconds.")
    if changed["operation_id"]:
        wanted = changed["target"]["model"] if changed["target"] else changed["in_force"]["embedding"]["model"]["value"]
        show(f"The vectors of {wanted} are made: reverie operation {changed['operation_id']} says how far it is.")


def _show(found: dict[str, Any]) -> None:
    force = found["in_force"]
    cells = []
    for section, fields in SECTIONS.items():
        for field in fields:
            one = force[section][field]
            value = ("set" if one["set"] else "none") if field == "api_key" else _shown(one["value"])
            cells.append([f"{section}.{field}", value, one["source"]])
    show(rows(table("setting", "in force", "comes from", whole=("setting",)), cells))
    at = f", saved {moment(found['saved_at'])}" if found["saved_at"] else ""
    show(f"Version {force['version']} is in force; the newest is {found['version']}{at}.")
    if (target := found["target"]) is not None:
        how = f", {target['state']}" if target["state"] else ""
        far = f" ({target['done_percent']} %)" if target["done_percent"] is not None else ""
        show(f"On the way to {target['model']}{how}{far}.")
    remark(*found["problems"])


def _shown(value: object) -> str:
    return "none" if value is None else count(value) if isinstance(value, int) else str(value)
