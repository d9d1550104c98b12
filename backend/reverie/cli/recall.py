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

ARMS = {
    "semantic": "by meaning", "dated": "by date", "lexical": "by words", "focus": "used last", "edges": "by links",
    "cold": "in cold memory",
}  # fmt: skip

SHARES = {
    "baseline": "to begin with", "semantic": "meaning", "lexical": "words", "both": "meaning and words together",
    "neighbours": "what was said around it", "time": "when it happened", "speaker": "who speaks", "role": "the role",
    "form": "the form", "question": "the question", "rerank": "the reranker",
}  # fmt: skip
"""What a score is made up of, in words; others are told by their names."""

LEAST_SHARE = 0.0005
"""Smaller shares are not shown."""


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
    tiers: Annotated[str | None, typer.Option(help="Where to look: hot,warm (the default), or with cold.")] = None,
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
        "tiers": _listed(tiers),
        "explain": explain,
    }
    with connect(url, key, profile) as client:
        answer = client.post("/memory/recall", asked)
    if as_json:
        show_json(answer)
    else:
        remark(*degraded(answer["degraded"]))
        if answer["results"]:
            show(results(answer, several=len(user) > 1))
        if explain:
            if answer["results"]:
                show(reasons(answer))
            show(*explanation(answer))
    if not answer["results"]:
        raise Nothing("Nothing was found.")


def results(answer: dict[str, Any], *, several: bool = False) -> "Table":
    """The results of a recall as a table; ``several`` users are told apart, and tiers where not all is hot."""
    found = pattern(answer["query"])
    older = any(one.get("tier", "hot") != "hot" for one in answer["results"])
    columns = ["", "score", *(["whose"] if several else []), *(["tier"] if older else []), "who", "when", "what"]
    made = table(*columns, right=("", "score"), whole=("score",))
    return rows(
        made,
        [
            [
                str(rank),
                f"{one['score']:.3f}",
                *([one["user_id"]] if several else []),
                *([one["tier"]] if older else []),
                one["speaker"] or one["role"] or one["kind"],
                moment(one["occurred_at"] or one["created_at"]),
                marked(passage(one["content"], found, SHOWN), found),
            ]
            for rank, one in enumerate(answer["results"], 1)
        ],
    )


def reasons(answer: dict[str, Any]) -> "Table":
    """Why each result stands where it does, as a table: its rank in every arm, and the shares that make its score."""
    told = answer["explain"]
    # What is cold has its ranks among the others.
    arms = [name for name in told["arms"] if name != "cold"]
    pieces = told.get("pieces") or {}
    columns = ["", *map(_arm, arms), *(["piece"] if pieces else []), "score", "made up of"]
    made = table(*columns, right=columns[:-1], whole=("score",))
    return rows(
        made,
        [
            [
                str(rank),
                *(_rank(told["ranks"].get(one["trace_id"], {}).get(arm)) for arm in arms),
                *([_piece(pieces.get(one["trace_id"]))] if pieces else []),
                f"{one['score']:.3f}",
                _shares(told["shares"].get(one["trace_id"], {})),
            ]
            for rank, one in enumerate(answer["results"], 1)
        ],
    )


def explanation(answer: dict[str, Any]) -> list[str]:
    """How a recall went, a line each: the arms, the stages, the whole with the plan of the vectors."""
    told = answer["explain"] or {}
    lines = [
        f"{_arm(name)}: "
        + (f"failed ({arm['failed']})" if arm["failed"] else count(arm["candidates"], "candidate"))
        + f" in {arm['milliseconds']:.1f} ms"
        + (f", {count(arm['rows'], 'row')} of {count(arm['files'], 'file')} read" if "files" in arm else "")
        for name, arm in told.get("arms", {}).items()
    ]
    stages = [f"{plain(name)} {milliseconds:.1f} ms" for name, milliseconds in told.get("stages", {}).items()]
    plan = f"; plan of the vectors: {one_line(told['plan'])}" if told.get("plan") else ""
    looked = f", {count(told['rows'], 'row')} looked at" if plan and told.get("rows") else ""
    return [
        *lines,
        *([f"stages: {', '.join(stages)}"] if stages else []),
        f"{answer['took_ms']:.1f} ms in all{plan}{looked}",
    ]


def _arm(name: str) -> str:
    return ARMS.get(name, plain(name))


def _rank(place: int | None) -> str:
    return "–" if place is None else str(place)


def _piece(found: dict[str, Any] | None) -> str:
    """Which piece of a long trace was nearest, and under which head where that is not what the trace says."""
    if found is None:
        return "–"
    head = found.get("head", "semantic")
    return str(found["piece"]) if head == "semantic" else f"{found['piece']} ({plain(head)})"


def _shares(shares: dict[str, float]) -> str:
    """Shares with their signs, the largest first but for what a score begins with."""
    shown = [(name, share) for name, share in shares.items() if abs(share) >= LEAST_SHARE]
    shown.sort(key=lambda one: (one[0] != "baseline", -abs(one[1])))
    return ", ".join(f"{share:+.3f} {SHARES.get(name, plain(name))}" for name, share in shown).replace("-", "−")


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
