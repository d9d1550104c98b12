"""`reverie profile --user`: what is known of a user, on a page."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from reverie.cli.client import connect
from reverie.cli.exits import Misused, Nothing
from reverie.cli.options import AsJson, Cursor, Key, Limit, Profile, Url
from reverie.cli.output import console, remark, show_json
from reverie.cli.store import as_of_moment
from reverie.cli.text import count, moment, one_line, plain

if TYPE_CHECKING:
    from rich.text import Text

LINE = 100
"""Signs of a fact on the page; --json has all."""


def page(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Show what is known of this user.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="DATE", help="As it was known then (ISO 8601).")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Only what is of this topic.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a user; or keep services by name.

    With --user: facts with their dates, newest first within each topic; what is no longer so is struck out, with what
    is said instead. The id is that of the trace that says it: `reverie forget --user U --trace ID` forgets it, and
    PATCH /memory/traces/ID corrects it.

    The other commands keep services by name, for --profile, in reverie/profiles.toml of XDG_CONFIG_HOME, by default
    ~/.config. Where no service is named, the profile of `reverie profile use` is meant, else the one called `default`.
    """
    if context.invoked_subcommand is not None:
        return
    if user is None:
        raise Misused("Say of whom: --user USER; or which of the commands list, set, use, remove.")
    when = as_of_moment(as_of)
    query = {"as_of": when and when.isoformat(), "topic": topic, "limit": limit, "cursor": cursor}
    with connect(url, key, profile) as client:
        found = client.get(f"/memory/users/{quote(user, safe='')}/profile", query)
    if as_json:
        show_json(found)
    elif found["items"]:
        _show(found, when)
    if not found["items"]:
        raise Nothing(_nothing(user, topic, when, found))


def _show(found: Mapping[str, Any], when: datetime | None) -> None:
    out = console()
    nights = count(found["nights"], "night")
    last = f", the last on {moment(found['last_night'])}" if found["last_night"] else ""
    then = f", as of {moment(when.isoformat())}" if when else ""
    out.print(_styled([(plain(found["user_id"]), "bold"), (f"{then} · {nights} dreamt{last}", "dim")]))
    for one in found["lately"]:
        day = moment(f"{one['day']}T00:00:00+00:00")
        out.print(_styled([(f"  {day:>11}  ", "dim"), (one_line(one["text"], LINE), "")]))
    for topic, facts in _by_topic(found).items():
        out.print(_styled([(f"\n{plain(topic)}", "bold")]))
        for fact in facts:
            for line in _lines(fact):
                out.print(line, soft_wrap=True)
    if found["note"]:
        remark(found["note"], style="dim")
    if found["next_cursor"]:
        remark(f"There are more: --cursor {found['next_cursor']}", style="dim")


def _by_topic(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The facts of a page by topic, that with the newest fact first."""
    topics: dict[str, list[dict[str, Any]]] = {}
    for fact in found["items"]:
        topics.setdefault(fact["topic"], []).append(fact)
    return topics


def _lines(fact: Mapping[str, Any]) -> Iterable["Text"]:
    over = fact["superseded_by"] is not None
    text = one_line(fact["text"] if fact["text"] is not None else "(in cold storage, which cannot be read now)", LINE)
    told = f" (told {fact['told']} times)" if fact["told"] > 1 else ""
    when = moment(fact["happened_at"]).partition(",")[0]
    marks = [(f"  {when:>11}  ", "dim"), (text, "strike dim" if over else ""), (told, "dim")]
    yield _styled([*marks, (f"  {fact['sources'][0]}", "dim")])
    if over:
        instead = one_line(fact["instead"] or "otherwise", LINE)
        yield _styled([(" " * 15 + "no longer: ", "yellow"), (instead, ""), (f"  {fact['superseded_by']}", "dim")])


def _styled(parts: Iterable[tuple[str, str]]) -> "Text":
    from rich.text import Text

    return Text.assemble(*parts)


def _nothing(user: str, topic: str | None, when: datetime | None, found: Mapping[str, Any]) -> str:
    if when is not None and not found["topics"]:
        return (
            f"Nothing was known of {user} as of {moment(when.isoformat())}; what was remembered later is seen without "
            "--as-of."
        )
    if topic is not None and found["topics"]:
        return f"Nothing of {topic} is known of {user}; there is {', '.join(found['topics'])}."
    return f"Nothing is known of {user}: no fact, and nothing that turns state."
