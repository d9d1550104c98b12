"""`reverie recall`: a question, and what was remembered that answers it."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.client import connect
from reverie.cli.exits import Nothing
from reverie.cli.options import AsJson, Key, Profile, Url, example
from reverie.cli.output import marked, remark, rows, show, show_json, table
from reverie.cli.text import count, degraded, moment, one_line, passage, pattern, plain
from reverie.recall.recipes import RecipeName

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 400
"""Signs of a result that are shown; --json has all of it."""

ARMS = {"semantic": "by meaning", "lexical": "by words", "focus": "used last"}


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(
        epilog=example(
            'reverie recall "Where does Ann live?" --user ann',
            'reverie recall "what did we decide?" --user team --user ann --window 30d -k 5 --json',
        )
    )(recall)


def recall(
    question: Annotated[str, typer.Argument(help="What to look for; `-` reads it from standard input.")],
    user: Annotated[list[str], typer.Option("--user", "-u", help="Whose memory to ask; repeat it for several.")],
    k: Annotated[int | None, typer.Option("-k", min=1, max=100, help="How many to find (MEMORY_K).")] = None,
    recipe: Annotated[RecipeName, typer.Option(help="How to look.")] = "balanced",
    kinds: Annotated[str | None, typer.Option(help="Only these kinds, such as turn,fact.")] = None,
    roles: Annotated[str | None, typer.Option(help="Only these roles, such as user,assistant.")] = None,
    since: Annotated[str | None, typer.Option(help="Only what happened at or after this time.")] = None,
    until: Annotated[str | None, typer.Option(help="Only what happened before this time.")] = None,
    window: Annotated[str | None, typer.Option(help="Only what happened lately, such as 12h, 30d or 1y.")] = None,
    conversation: Annotated[str | None, typer.Option(help="Only this conversation.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show how each result came about.")] = False,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Find what was remembered about a question, best first."""
    asked = {
        "user_id": user,
        "q": sys.stdin.read() if question == "-" else question,
        "k": k,
        "recipe": recipe,
        "kinds": _listed(kinds),
        "roles": _listed(roles),
        "since": since,
        "until": until,
        "time_window": window,
        "conversation_id": conversation,
        "explain": explain,
    }
    with connect(url, key, profile) as client:
        answer = client.post("/memory/recall", asked)
    if as_json:
        show_json(answer)
    else:
        remark(*degraded(answer["degraded"]))
        if answer["results"]:
            show(results(answer, several=len(user) > 1, explain=explain))
        if explain:
            show(*explanation(answer))
    if not answer["results"]:
        raise Nothing("Nothing was found.")


def results(answer: dict[str, Any], *, several: bool = False, explain: bool = False) -> "Table":
    """The results of a recall as a table; ``several`` users are told apart, ``explain`` shows every arm's share."""
    found = pattern(answer["query"])
    columns = ["", "score", *(["whose"] if several else []), "who", "when", "what", *(["how"] if explain else [])]
    made = table(*columns, right=("", "score"), whole=("score",))
    return rows(
        made,
        [
            [
                str(rank),
                f"{one['score']:.2f}",
                *([one["user_id"]] if several else []),
                one["speaker"] or one["role"] or one["kind"],
                moment(one["occurred_at"] or one["created_at"]),
                marked(passage(one["content"], found, SHOWN), found),
                *([_shares(answer["explain"]["shares"][one["trace_id"]])] if explain else []),
            ]
            for rank, one in enumerate(answer["results"], 1)
        ],
    )


def explanation(answer: dict[str, Any]) -> list[str]:
    """How a recall went, a line each."""
    told = answer["explain"] or {}
    lines = [
        f"{ARMS.get(name, name)}: "
        + (f"failed ({arm['failed']})" if arm["failed"] else count(arm["candidates"], "candidate"))
        + f" in {arm['milliseconds']:.1f} ms"
        for name, arm in told.get("arms", {}).items()
    ]
    plan = f"; plan of the vectors: {one_line(told['plan'])}" if "plan" in told else ""
    return [*lines, f"{answer['took_ms']:.1f} ms in all{plan}"]


def _shares(scores: dict[str, float]) -> str:
    return "\n".join(
        f"{ARMS.get(plain(name), plain(name))} {score:.2f}" for name, score in scores.items() if score >= 0.005
    )


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
