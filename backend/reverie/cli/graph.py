"""`reverie graph`: what is known of a user and how it hangs together, as a picture or a file."""

import sys
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from reverie.cli.client import connect
from reverie.cli.exits import Misused, Nothing, Refused
from reverie.cli.options import AsJson, Key, Profile, Url, User, example
from reverie.cli.output import remark, rows, show, show_json, table
from reverie.cli.progress import TOLD_EVERY, every
from reverie.cli.store import run_on_store, settings_of_store
from reverie.cli.text import count, one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from reverie.core.config import Settings
    from reverie.graph.mirror import Mirroring, Outcome

T = TypeVar("T")


class Format(StrEnum):
    """As what a graph is written."""

    svg = "svg"
    html = "html"
    graphml = "graphml"
    json = "json"


Types = Annotated[str | None, typer.Option(help="Only edges of these types, with commas between.")]

graph = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    epilog=example(
        "reverie graph --user ann --out ann.html",
        "reverie graph --user ann --around Lisbon --hops 1 --format graphml",
    ),
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    graph.callback()(draw)
    graph.command("path", epilog=example("reverie graph path Ann Lisbon --user ann"))(path)
    graph.command("mirror", epilog=example("reverie graph mirror", "reverie graph mirror --check"))(mirror)
    app.add_typer(graph, name="graph")


def draw(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Whose memory it is.")] = None,
    around: Annotated[str | None, typer.Option(help="A trace's id or an entity's name.")] = None,
    hops: Annotated[
        int | None, typer.Option(min=1, max=3, help="Edges from there, or to other --kinds; by default 2.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many nodes at most.")] = 100,
    types: Types = None,
    kinds: Annotated[str | None, typer.Option(help="Only nodes of these kinds, with commas between.")] = None,
    written: Annotated[
        Format | None, typer.Option("--format", help="As what; by default as the name of --out ends, else svg.")
    ] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE", help="Where to write it; `-` is standard output.")
    ] = "-",
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
) -> None:
    """Draw what is known of a user and how it hangs together.

    Without --around these are the entities that are mentioned most; where --kinds names others than entity, also what
    is --hops edges from those. svg and html hold all they need and load nothing; graphml is for networkx, Gephi, yEd
    and the like; json is the answer of the API.
    """
    if context.invoked_subcommand is not None:
        return
    if user is None:
        raise Misused("--user says whose graph it is; see `reverie graph --help`.")
    if hops is not None and around is None and kinds in (None, "entity"):
        raise Misused(
            "--hops says how far it reaches from --around, or from entities to other --kinds: name either of these."
        )
    chosen = written or _by_ending(out)
    given = {
        "user_id": user, "around": around, "hops": hops, "limit": limit, "types": types, "kinds": kinds
    }  # fmt: skip
    with connect(url, key, profile) as client:
        answer = client.get("/memory/graph", given)
    if not answer["nodes"]:
        raise Nothing(f"Nothing of {user} is remembered.")
    text = rendered(answer, chosen)
    if out == "-":
        sys.stdout.buffer.write(text.encode())
    else:
        _write(out, text)
        show(f"{_size(answer)} of {user} in {out}")
    if answer["more"]:
        remark(f"These are the strongest: --limit (now {limit}) and --around show others.", style="dim")
    if around is None and kinds is None and all(node["kind"] != "entity" for node in answer["nodes"]):
        remark("There are no entities yet: `reverie dream` finds them.", style="dim")


def path(
    start: Annotated[str, typer.Argument(metavar="FROM", help="A trace's id or an entity's name.")],
    end: Annotated[str, typer.Argument(metavar="TO", help="Another.")],
    user: User,
    hops: Annotated[int, typer.Option(min=1, max=6, help="How many edges a path has at most.")] = 4,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=5, help="How many paths at most.")] = 3,
    types: Types = None,
    url: Url = None,
    key: Key = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show how two entities or traces hang together."""
    given = {"user_id": user, "from": start, "to": end, "hops": hops, "limit": limit, "types": types}
    with connect(url, key, profile) as client:
        found = client.get("/memory/graph/path", given)
    if as_json:
        show_json(found)
    else:
        labels = {node["trace_id"]: one_line(node["label"] or "(cold)", 60) for node in found["nodes"]}
        show(*(_told(one, labels) for one in found["paths"]))
    if not found["paths"]:
        if found["from"] == found["to"]:
            raise Nothing("Both are the same.")
        if found["more"]:
            raise Nothing("No path was found among the strongest edges; with --types others do not count.")
        raise Nothing(f"Nothing joins the two within {count(hops, 'edge')}.")


def mirror(
    check: Annotated[bool, typer.Option("--check", help="Only look whether both hold the same.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Look at all of it, whatever was mirrored before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the mirror of the graph in Neo4j up to date.

    A worker does so every minute where GRAPH_BACKEND is neo4j. It works on the store of DATABASE_URL, or on the one
    that `reverie up` runs here, and needs NEO4J_URL and NEO4J_PASSWORD. Broken off at any moment, the next run goes on
    from there. --check compares counts and checksums of every user, and ends with 3 where they differ.
    """
    settings = settings_of_store("error", graph_backend="neo4j")
    if check:
        users, different = run_on_store(_mirrored(settings, lambda made: made.check()), "Nothing was changed.")
        if as_json:
            found = [{"user": str(one.user_id), "here": one.here, "there": one.there} for one in different]
            show_json({"users": users, "different": found})
        elif different:
            made = table("user", "PostgreSQL", "the mirror", whole=("user",))
            show(rows(made, [[str(one.user_id), one.here, one.there] for one in different]))
        if different:
            raise Nothing(
                f"They hold something else of {count(len(different), 'user')}: `reverie graph mirror --again` mends it."
            )
        if not as_json:
            show(f"Both hold the same of {count(users, 'user')}.")
        return
    tell = every(TOLD_EVERY, lambda: remark("The mirror is being brought up to date …", style="dim"))
    outcome = run_on_store(
        _mirrored(settings, lambda made: made.run(lambda _: tell(), again=again)), "The next run goes on from there."
    )
    if outcome is None:
        raise Refused("Another run of the mirror goes on, a worker's perhaps.")
    if as_json:
        show_json(asdict(outcome))
    else:
        show(_brought(outcome))
    if outcome.restless:
        raise Nothing(f"{count(outcome.restless, 'user')} were written to all the while; the next run tries again.")


def _brought(outcome: "Outcome") -> str:
    if not outcome.users and not outcome.gone:
        return "The mirror was up to date."
    gone = f", {count(outcome.gone, 'user')} removed" if outcome.gone else ""
    return f"{count(outcome.users, 'user')} looked at{gone}: {count(outcome.changed, 'change')}."


async def _mirrored(settings: "Settings", work: "Callable[[Mirroring], Awaitable[T]]") -> "T":
    """What ``work`` returns with the store and its mirror open."""
    import asyncio

    from reverie.core import errors
    from reverie.core.database import Database
    from reverie.core.schema import check as check_schema
    from reverie.graph.mirror import Mirroring
    from reverie.graph.neo4j import MirrorTrouble, Neo4j

    await asyncio.to_thread(check_schema, str(settings.database_url))
    database, neo4j = Database(settings), Neo4j.of(settings)
    try:
        await database.open()
        return await work(Mirroring(database, neo4j))
    except MirrorTrouble as trouble:
        raise errors.Unavailable(str(trouble)) from None
    finally:
        await neo4j.close()
        await database.close()


def _told(one: "Mapping[str, Any]", labels: "Mapping[str, str]") -> str:
    """A path on one line: Ann –lives in→ Lisbon ←mentions– We moved."""
    ids: Sequence[str] = one["trace_ids"]
    parts = [labels[ids[0]]]
    for here, there, edge in zip(ids[:-1], ids[1:], one["edges"], strict=True):
        said = edge["type"].replace("_", " ")
        parts += [f"–{said}→" if edge["src"] == here else f"←{said}–", labels[there]]
    return " ".join(parts)


def rendered(answer: "Mapping[str, Any]", chosen: Format) -> str:
    """The answer of the API in a format."""
    from reverie.graph.drawing.picture import picture_of

    match chosen:
        case Format.json:
            import orjson

            return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n"
        case Format.graphml:
            from reverie.graph.drawing.graphml import graphml

            return graphml(picture_of(answer))
        case Format.html:
            from reverie.graph.drawing.page import html

            return html(picture_of(answer))
        case Format.svg:
            from reverie.graph.drawing.svg import svg

            return svg(picture_of(answer))


def _by_ending(out: str) -> Format:
    """The format that a file's name says; standard output says none.

    Raises:
        Misused: the name ends otherwise.
    """
    if out == "-":
        return Format.svg
    ending = Path(out).suffix
    with suppress(ValueError):
        return Format(ending.removeprefix(".").lower())
    ends = f"ends in {ending}" if ending else "has no ending"
    raise Misused(f"--out {ends}: name one of {', '.join(f'.{one}' for one in Format)}, or say --format.")


def _size(answer: "Mapping[str, Any]") -> str:
    return f"{count(len(answer['nodes']), 'node')} and {count(len(answer['edges']), 'edge')}"


def _write(out: str, text: str) -> None:
    """A file that takes its name when it is whole."""
    part = Path(f"{out}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(out)
    except OSError as error:
        raise Misused(f"{out} cannot be written ({error.strerror}): name another file with --out.") from None
    finally:
        with suppress(OSError):
            part.unlink()
