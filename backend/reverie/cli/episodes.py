"""`scripts/migrate_episodes_to_memory.py`: a table of episodes becomes memory."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from reverie.cli.exits import Failure, Misused, Nothing, Unavailable
from reverie.cli.importing import PERSISTENCE, Pace
from reverie.cli.main import Alone
from reverie.cli.options import example
from reverie.cli.output import console, remark, rows, show, table
from reverie.cli.progress import REFRESH, TOLD_EVERY, every
from reverie.cli.store import run_on_store, settings_of_store
from reverie.cli.text import count

if TYPE_CHECKING:
    from reverie.core.config import Settings
    from reverie.migrating.columns import Plan
    from reverie.migrating.rows import Reading
    from reverie.migrating.service import Tally, Verdict
    from reverie.migrating.source import Source

LISTED = 20
"""Rows that are told of on the terminal; the file has all."""

PATIENT = 60.0
"""Seconds that a sampled recall may take: nobody waits for it."""

SO_FAR = "What was read is remembered; the same command goes on from there and doubles nothing."

app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


class Written:
    """Rows that are not remembered, in a file of a JSON object a line; without any there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first: list[tuple[str, str]] = []
        self.number = 0
        self._file: TextIO | None = None
        if path.exists() and not _is_ours(path):
            raise Misused(f"--failures {path} is a file of something else: name another.")
        path.unlink(missing_ok=True)

    def add(self, row: str, reason: str) -> None:
        """Writes one of them."""
        if self._file is None:
            # Line by line: a run that is killed leaves whole ones.
            self._file = self.path.open("w", encoding="utf-8", buffering=1)
        self._file.write(json.dumps({"row": row, "reason": reason}, ensure_ascii=False) + "\n")
        self.number += 1
        if len(self.first) < LISTED:
            self.first.append((row, reason))

    def again(self) -> None:
        """Begins anew."""
        self.close()
        self.first, self.number = [], 0
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _is_ours(path: Path) -> bool:
    """Whether an earlier run has written it, or was killed before it had."""
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline()
        return not line or bool(json.loads(line).keys() == {"row", "reason"})
    except (OSError, ValueError, AttributeError):
        return False


@app.command(
    cls=Alone,
    epilog=example(
        "migrate_episodes_to_memory.py --source postgresql://app@db/app --user ann --dry-run",
        "migrate_episodes_to_memory.py --source postgresql://app@db/app --map body=content --map owner=user",
    ),
)
def migrate(
    source: Annotated[
        str, typer.Option(envvar="EPISODES_URL", help="The PostgreSQL with the episodes; it is only read.")
    ],
    episodes: Annotated[str, typer.Option("--table", help="Their table, or a view of it.")] = "episodes",
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=FIELD",
            help="What a column holds, where that is guessed wrongly; FIELD is `-` to leave it out.",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", "-u", help="Whose memory it is: a column of the table, or a user for all.")
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Goes before each id, where another table of this user has the same ids.")
    ] = "",
    space: Annotated[str, typer.Option(help="The space that it goes into.")] = "default",
    heads: Annotated[
        str | None,
        typer.Option(help="The heads that they get vectors of, such as semantic,entity; else MEMORY_HEADS."),
    ] = None,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Make the vectors at once, in place of leaving them to the worker.")
    ] = False,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="Only what happened then or later.")] = None,
    time_zone: Annotated[str, typer.Option(help="The time zone of dates without an offset.")] = "UTC",
    undated: Annotated[bool, typer.Option("--undated", help="Take rows without a date: as of now.")] = False,
    failures: Annotated[Path, typer.Option(help="The file for rows that are not taken, and why.")] = Path(
        "episodes-failures.jsonl"
    ),
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds for which a source that is away is asked again.")
    ] = PERSISTENCE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and judge every row, and write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="There is a backup; do not ask.")] = False,
) -> None:
    """Bring a table of episodes along: its rows become memory.

    Each row becomes a trace with its own date, and its id as external_id; whoever took part and what it was about
    become links. It works on the store of DATABASE_URL, or on the one that `reverie up` runs here, and only reads the
    source. Killed at any moment, the same command goes on from there and doubles nothing.

    At the end the counts are compared and 20 episodes are recalled by their own words. Rows that cannot be remembered
    are in the file of --failures with the reason, and the exit code is then 3.
    """
    from reverie.migrating.columns import WrongMap, maps

    # What is verified at the end is found or not, and not late.
    given: dict[str, object] = {"memory_recall_timeout_seconds": PATIENT} | ({"memory_heads": heads} if heads else {})
    settings = settings_of_store("warning", **given)
    zone = _zone(time_zone)
    begins = _moment(since, zone)
    try:
        wanted = maps(mapped or [])
        found, plan, total = run_on_store(_looked(source, episodes, wanted, user, begins), "Nothing was done.")
    except WrongMap as error:
        raise Misused(str(error)) from None
    plan, how = _reading(plan, user, begins, zone, prefix, undated=undated)
    _show_plan(plan, how, total)
    if not dry_run:
        _ask(yes=yes)
    written = Written(failures)
    began = time.monotonic()
    try:
        if dry_run:
            tally = run_on_store(_tried(settings, found, plan, how, written, total), "Nothing was done.")
            verdict = None
        else:
            work = _migrated(
                settings, space, found, plan, how, written, total, heads=heads, patience=patience, wait=vectors
            )
            tally, verdict = run_on_store(work, SO_FAR)
    finally:
        written.close()
    _tell(tally, verdict, written, time.monotonic() - began, heads=heads, dry_run=dry_run)


async def _looked(
    url: str, episodes: str, mapped: dict[str, str], user: str | None, since: datetime | None
) -> "tuple[Source, Plan, int]":
    from reverie.migrating.source import Source, Unreadable, url_of

    source = Source(url_of(url), episodes)
    try:
        plan = await source.plan(mapped)
        if user is not None and user in plan.columns and user not in mapped:
            plan = await source.plan(mapped | {user: "user"})
        return source, plan, await source.count(plan, since)
    except Unreadable as error:
        raise Unavailable(f"--source cannot be read: {error}. Nothing was done.") from None


def _reading(
    plan: "Plan", user: str | None, since: datetime | None, zone: tzinfo, prefix: str, *, undated: bool
) -> "tuple[Plan, Reading]":
    from reverie.migrating.rows import Reading

    constant = None if user in plan.columns else user
    if constant is not None and "user" in plan.fields:
        # Said for all, whatever a column says.
        fields = {field: column for field, column in plan.fields.items() if field != "user"}
        plan = replace(plan, fields=fields, rest=[*plan.rest, plan.fields["user"]])
    if constant is None and "user" not in plan.fields:
        raise Misused(
            f"No column of {plan.table} says whose memory it is: name one, or a user for all, by --user; it has "
            f"{', '.join(plan.columns)}."
        )
    if "happened_at" not in plan.fields and not undated:
        dates = [name for name, column in plan.columns.items() if column.is_moment]
        raise Misused(
            f"No column of {plan.table} looks like the date of an episode: name it by --map COLUMN=happened_at"
            + (f" (a date is in {', '.join(dates)})" if dates else "")
            + ", or take all rows as of now by --undated."
        )
    return plan, Reading(plan.table, constant, zone, undated, since, prefix)


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    from reverie.core.zones import is_time_zone

    if not is_time_zone(name):
        raise Misused(f"--time-zone takes the name of a time zone such as Europe/Berlin, not {name!r}.")
    return ZoneInfo(name)


def _moment(text: str | None, zone: tzinfo) -> datetime | None:
    """The moment of --since in the time zone of the dates that have no offset."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=zone) if found.tzinfo is None else found.astimezone(zone)
    except (ValueError, OverflowError):
        raise Misused(f"--since takes an ISO 8601 date such as 2025-01-01, not {text!r}.") from None


def _ask(*, yes: bool) -> None:
    """Asks for a backup.

    Raises:
        Misused: nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Misused("Back the store up first (docs/operating.md), and say so by --yes.")
    typer.confirm("Is there a backup of the store that this goes into (docs/operating.md)?", abort=True)


def _show_plan(plan: "Plan", how: "Reading", total: int) -> None:
    made = table("what", "from", "type")
    cells = [[field, column, plan.columns[column].type] for field, column in plan.fields.items()]
    cells += [[field, str(one), "related"] for field, several in plan.related.items() for one in several]
    if how.user is not None:
        cells.append(["user", how.user, "for all"])
    cells += [["meta", column, plan.columns[column].type] for column in plan.rest]
    cells += [["left out", column, plan.columns[column].type] for column in plan.left_out]
    show(f"{plan.table}: {count(total, 'row')}", rows(made, cells))


async def _tried(
    settings: "Settings", source: "Source", plan: "Plan", how: "Reading", written: Written, total: int
) -> "Tally":
    from reverie.migrating.rows import Faulty
    from reverie.migrating.service import Judge, Tally
    from reverie.migrating.source import Unreadable

    tally = Tally()
    try:
        judge = Judge(how, await source.repeated(plan))
        with _progress(total) as tell:
            async with aclosing(source.rows(plan, how.since)) as read:
                async for some in read:
                    for row in some:
                        tally.read += 1
                        try:
                            one = judge.episode(row)
                            if one is None:
                                tally.passed += 1
                            else:
                                judge.refuse(settings, one)
                                tally.stored += 1
                        except Faulty as fault:
                            tally.failed += 1
                            written.add(row.id, str(fault))
                    tell(tally)
    except Unreadable as error:
        raise Unavailable(f"The source cannot be read: {error}. Nothing was done.") from None
    return tally


async def _migrated(
    settings: "Settings", space: str, source: "Source", plan: "Plan", how: "Reading", written: Written, total: int,
    *, heads: str | None, patience: float, wait: bool,
) -> "tuple[Tally, Verdict]":  # fmt: skip
    from reverie.memories.model import filled_heads
    from reverie.migrating.service import GaveUp, Migration
    from reverie.migrating.source import Unreadable
    from reverie.runtime import open_runtime

    async with open_runtime(settings, fill=not heads) as runtime:
        if heads and (lacking := await filled_heads(runtime.database, runtime.model) - settings.heads):
            raise Misused(
                f"--heads {heads}: the store has vectors of {', '.join(sorted(lacking))} too, which the episodes would "
                "lack: name these as well."
            )
        principal = await runtime.keys.of_space(space)
        with _progress(total) as tell:
            migration = Migration(
                runtime, principal, source, plan, how, written, tell, remark, patience=patience, wait=wait
            )
            try:
                tally = await migration.run()
            except GaveUp as gone:
                raise Unavailable(f"The source stayed away: {gone}. {_figures(migration.tally)}. {SO_FAR}") from None
            except Unreadable as error:
                raise Unavailable(
                    f"The source cannot be read: {error}. {_figures(migration.tally)}. {SO_FAR}"
                ) from None
        return tally, await migration.verify()


def _figures(tally: "Tally") -> str:
    return (
        f"{count(tally.read, 'row')} read, {count(tally.stored)} stored, {count(tally.known)} known already, "
        f"{count(tally.failed)} not taken"
    )


def _tell(
    tally: "Tally", verdict: "Verdict | None", written: Written, seconds: float, *, heads: str | None, dry_run: bool
) -> None:
    figures: dict[str, Any] = {
        "rows": count(tally.read),
        "would be stored" if dry_run else "stored": count(tally.stored),
        "known already": None if dry_run else count(tally.known),
        "before --since": count(tally.passed),
        "not taken": count(tally.failed),
        "links": None if dry_run else count(tally.edges),
        "seconds": f"{seconds:.1f}",
        "rows a second": count(round(tally.read / seconds)) if seconds else "",
    }
    show(*(f"{name:<15} {figure:>11}" for name, figure in figures.items() if figure is not None))
    if tally.pending:
        remark(f"{count(tally.pending, 'vector')} are left to the worker: recall goes by words until it has made them.")
        if heads:
            remark(f"Start it with MEMORY_HEADS={heads}.")
    if verdict is not None:
        _show_verdict(tally, verdict)
    remark(*(f"row {row}: {reason}" for row, reason in written.first))
    if written.number:
        raise Nothing(
            f"{count(written.number, 'row')} {'would not be' if dry_run else 'were not'} taken: {written.path} has all "
            "of them with the reason."
        )
    if not tally.stored + tally.known:
        raise Nothing("There is nothing to remember in the table.")


def _show_verdict(tally: "Tally", verdict: "Verdict") -> None:
    wanted = tally.stored + tally.known
    show(
        f"{'the store has':<15} {count(verdict.held):>11}  of {count(wanted)}",
        f"{'recalled':<15} {count(verdict.asked - len(verdict.missed)):>11}  of {count(verdict.asked)} sampled"
        + (f", {verdict.dated} of them by their date too" if verdict.dated else ""),
    )
    if verdict.held < wanted:
        raise Failure(f"The store has {count(verdict.held)} of the {count(wanted)} traces of these rows: run it again.")
    if verdict.missed:
        raise Failure(f"These were not recalled by their own words: {', '.join(verdict.missed)}.")


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[Tally], None]]":
    """On a terminal a bar; elsewhere a line every ten seconds. Both on standard error."""
    pace = Pace(time.monotonic())

    def said(tally: "Tally") -> str:
        return f"{_figures(tally)}, {pace.rate(time.monotonic(), tally.read):.0f}/s"

    if not sys.stderr.isatty():
        yield every(TOLD_EVERY, lambda tally: remark(f"{said(tally)} …", style="dim"))
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total or None)

        def draw(tally: "Tally") -> None:
            bar.update(task, completed=tally.read, description=said(tally))

        yield every(REFRESH, draw)


def main(arguments: Sequence[str] | None = None) -> None:
    """The script."""
    app(arguments, prog_name="migrate_episodes_to_memory.py")
