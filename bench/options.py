"""The options that every measuring command has, and how it ends."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.report import CannotMeasure, Report

MISSED = 1
CANNOT_MEASURE = 2

Url = Annotated[str | None, typer.Option(help="A running service to measure; without it a throw-away one is started.")]
Key = Annotated[str | None, typer.Option(help="A key of that service, to read and write.")]
DatabaseUrl = Annotated[str | None, typer.Option(help="Its database, as the owner of the schema.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write everything that was found to this file.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 when a bar is missed.")]
Begin = Callable[[str, int], Callable[[int], Any]]
"""``(what, total)`` begins a bar of progress, and gives what advances it by a number of steps."""

Quick = Annotated[bool, typer.Option("--quick", help="A smoke run: seconds, and numbers that say nothing.")]


def ascending(given: str, option: str) -> list[int]:
    """Ascending numbers of an option, separated by commas.

    Raises:
        CannotMeasure: they are not.
    """
    try:
        wanted = [int(part) for part in given.replace("_", "").split(",")]
    except ValueError:
        wanted = []
    if not wanted or wanted != sorted(set(wanted)) or wanted[0] < 1:
        raise CannotMeasure(f"{option} takes ascending numbers, such as 10000,100000.")
    return wanted


def run(command: Callable[..., None]) -> None:
    """Runs a command; what keeps it from measuring is one sentence and exit code CANNOT_MEASURE."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(command)
    try:
        app()
    except CannotMeasure as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        sys.exit(CANNOT_MEASURE)


def finish(report: Report, path: Path | None, check: bool) -> None:
    """Writes the JSON where it is wanted, and ends with MISSED where that is."""
    if path is not None:
        report.write(path)
    if check and not all(bar.met for bar in report.bars):
        raise typer.Exit(MISSED)


@contextmanager
def progress() -> Iterator[Begin]:
    """Bars of progress on standard error; a total of 0 is not known."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def begin(what: str, total: int) -> Callable[[int], Any]:
            for earlier in bars.task_ids:
                bars.remove_task(earlier)
            task = bars.add_task(what, total=total or None)
            return lambda steps: bars.advance(task, steps)

        yield begin
