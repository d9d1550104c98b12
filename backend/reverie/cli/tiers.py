"""`reverie tiers`: going through the tiers, and where everything lies."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.exits import Unavailable
from reverie.cli.options import AsJson, example
from reverie.cli.output import console, remark, rows, show, show_json, table
from reverie.cli.progress import TOLD_EVERY, every
from reverie.cli.status import size, span
from reverie.cli.store import as_of_moment, refuse_other_time, run_on_store, settings_of_store, show_paused
from reverie.cli.text import count, moment

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from reverie.core.config import Settings
    from reverie.tiers.overview import TierOverview
    from reverie.tiers.runs import Outcome, Progress, TierRuns
    from reverie.tiers.schemas import Tiers

Tell = Callable[["Progress"], None]

STEPS = {
    "tables": "Left by a run that was killed",
    "unfinished": "Left by an export that was killed",
    "files": "Taking out of files what is to leave",
    "check": "Looking at the files",
    "cool": "Cooling what was thawed",
    "warm": "Hot to warm",
    "late": "Late vectors",
    "cold": "Warm to cold",
}
"""What each step does, for a person."""

AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="DATE",
        help="Do what would be due then (ISO 8601); only where the service listens on this machine alone.",
    ),
]

tiers = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Where memory lies: hot, warm and cold.\n\nOn the store of DATABASE_URL, else that of `reverie up` here.",
    epilog=example("reverie tiers status", "reverie tiers run"),
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    tiers.command(epilog=example("reverie tiers run", "reverie tiers run --as-of 2027-01-01"))(run)
    tiers.command(epilog=example("reverie tiers status", "reverie tiers status --json"))(status)
    tiers.command(epilog=example("reverie tiers pause"))(pause)
    tiers.command(epilog=example("reverie tiers resume"))(resume)
    app.add_typer(tiers, name="tiers")


def run(
    as_of: AsOf = None,
    force: Annotated[bool, typer.Option("--force", help="Another time, though others reach the service.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move what is due, and look after the files.

    Hot to warm and warm to cold, as a worker does it every night. It works on the store of DATABASE_URL, or on the one
    that `reverie up` runs here, while the service goes on. Broken off at any moment, the next run goes on from there.
    """
    settings, wanted = settings_of_store("error"), as_of_moment(as_of)
    if wanted is not None:
        refuse_other_time(settings, force=force)

    async def work(tell: Tell) -> "Outcome":
        async with _store(settings) as (runs, _):
            return await runs.run(wanted, tell)

    with _progress() as tell:
        outcome = run_on_store(work(tell), "The next run goes on from there.")
    if as_json:
        show_json(
            {
                "run_id": str(outcome.id), "state": outcome.state, "as_of": outcome.as_of, "steps": outcome.report,
                "errors": outcome.errors, "capped": outcome.capped, "seconds": outcome.seconds,
            }
        )  # fmt: skip
    else:
        show(*_told(outcome))
    for step, failure in outcome.errors.items():
        remark(f"{STEPS.get(step, step)}: {failure}", style="red")
    if outcome.errors:
        raise Unavailable("A part could not be done; the next run tries again.")


def status(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Show what is in each tier, and what moves next.

    Also how the last run went, and files that are damaged or missing.
    """
    settings, wanted = settings_of_store("error"), as_of_moment(as_of)

    async def work() -> "Tiers":
        async with _store(settings) as (_, overview):
            return await overview.look(wanted)

    found = run_on_store(work(), "Nothing was changed.").model_dump(mode="json")
    if as_json:
        show_json(found)
    else:
        show(*_shown(found))


def pause(as_json: AsJson = False) -> None:
    """Let the run that goes on end, and begin no other.

    Until `reverie tiers resume`.
    """
    _control("pause", as_json, "Runs over the tiers are paused.", "They were paused already.")


def resume(as_json: AsJson = False) -> None:
    """Let runs begin again."""
    _control("resume", as_json, "Runs over the tiers go on; the next begins tonight.", "They were not paused.")


def _control(what: str, as_json: bool, done: str, before: str) -> None:
    settings = settings_of_store("error")

    async def work() -> bool:
        async with _store(settings) as (runs, _):
            return await (runs.pause() if what == "pause" else runs.resume())

    show_paused(work(), what == "pause", done, before, as_json=as_json)


@asynccontextmanager
async def _store(settings: "Settings") -> "AsyncIterator[tuple[TierRuns, TierOverview]]":
    from reverie.cold.service import ColdService
    from reverie.core.database import Database
    from reverie.core.schema import check
    from reverie.objects.store import open_objects
    from reverie.tiers.overview import TierOverview
    from reverie.tiers.runs import TierRuns
    from reverie.tiers.steps import steps_of

    await asyncio.to_thread(check, str(settings.database_url))
    database = Database(settings)
    cold = ColdService(database, await asyncio.to_thread(open_objects, settings))
    try:
        yield TierRuns(settings, database, steps_of(settings, cold)), TierOverview(settings, database, cold.objects)
    finally:
        cold.close()


def _told(outcome: "Outcome") -> "list[RenderableType]":
    """What a run did."""
    if outcome.state == "paused":
        end = "Paused"
    elif outcome.capped:
        end = "The time of this run is over (MEMORY_TIER_MINUTES); the next one goes on"
    else:
        end = "Done"
    lines: list[RenderableType] = []
    if outcome.report:
        lines.append(_steps(outcome.report))
    elif not outcome.errors:
        lines.append("Nothing was due.")
    return [*lines, f"{end} after {span(outcome.seconds)}."]


def _steps(report: Mapping[str, Mapping[str, Any]]) -> "Table":
    made = table("step", "traces", "rows", "before", "after", "files", "took", whole=("step",),
                 right=("traces", "rows", "before", "after", "files", "took"))  # fmt: skip
    cells = []
    for step, did in report.items():
        traces = did.get("exported", did.get("traces"))
        cells.append(
            [
                STEPS.get(step, step),
                "" if traces is None else count(int(traces)),
                count(int(did["rows"])) if did.get("rows") else "",
                size(int(did["bytes_before"])) if "bytes_before" in did else "",
                size(int(did["bytes_after"])) if "bytes_after" in did else "",
                size(int(did["file_bytes"])) if did.get("file_bytes") else "",
                span(float(did.get("seconds", 0.0))),
            ]
        )
    return rows(made, cells)


def _shown(found: Mapping[str, Any]) -> "list[RenderableType]":
    """The tiers, for a person."""
    made = table("tier", "traces ≈", "vectors ≈", "partitions", "tables", "indexes", "files", "in files",
                 right=("traces ≈", "vectors ≈", "partitions", "tables", "indexes", "files", "in files"))  # fmt: skip
    cells = [
        [
            one["tier"], count(one["traces"]), "" if one["vectors"] is None else count(one["vectors"]),
            count(one["partitions"]), size(one["table_bytes"]), size(one["index_bytes"]),
            count(one["files"]) if one["files"] else "", size(one["file_bytes"]) if one["files"] else "",
        ]
        for one in found["tiers"]
    ]  # fmt: skip
    return [rows(made, cells), *_lines(found), *_damaged(found)]


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    if found["paused"]:
        yield "Runs are paused: `reverie tiers resume` lets them go on."
    for one in found["next"]:
        when = f"is due ({count(one['waiting'], 'range')})" if one["due"] else f"moves after {moment(one['at'])}"
        yield f"Next to become {one['to']}: {moment(one['since'])} to {moment(one['until'])}, {when}."
    last = found["last_run"]
    if last is None:
        yield "Nobody has gone through the tiers yet."
    else:
        state = "goes on" if found["running"] and last["state"] == "running" else f"ended as {last['state']}"
        yield f"The last run began {moment(last['started_at'])} and {state}, last seen {moment(last['seen_at'])}."
        if last["error"]:
            yield f"What went wrong: {last['error']}"
    if found["thawed"]:
        yield f"{count(found['thawed'], 'trace')} thawed."
    for one in found["thaws"]:
        done = one["result"] or {}
        yield (
            f"A thaw is under way since {moment(one['created_at'])}: {count(done.get('thawed', 0))} of "
            f"{count(done.get('traces', 0), 'trace')} (operation {one['operation_id']})."
        )
    if found["removals"] or found["garbage"]:
        yield (
            f"For the next run: {count(found['removals'], 'trace')} to be taken out of files, "
            f"{count(found['garbage'], 'file')} to be deleted."
        )
    if found["storage"]:
        yield found["storage"]


def _damaged(found: Mapping[str, Any]) -> Iterator[str]:
    """Lines, for a path is longer than the column of a table."""
    for one in found["damaged"]:
        yield (
            f"Cannot be read as it was written: {one['path']} ({count(one['traces'], 'trace')} of {one['month'][:7]}), "
            f"{one['damage']}."
        )


@contextmanager
def _progress() -> Iterator[Tell]:
    """On a terminal a bar for the step that goes on; elsewhere a line every ten seconds. Both on standard error."""
    if not sys.stderr.isatty():
        yield every(TOLD_EVERY, lambda now: remark(f"{_sentence(now)} …", style="dim"), at_once=True)
        return
    from rich import progress

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console(stderr=True), transient=True) as bars:
        task = bars.add_task("Going through the tiers", total=None)
        yield lambda now: bars.update(task, description=_sentence(now))


def _sentence(now: "Progress") -> str:
    return f"{STEPS.get(now.step, now.step)}, {now.what}: {count(now.done, 'row')}"
