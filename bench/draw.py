"""The curves of `bench/scale` as a picture: SVG on a light ground of its own, so that it is legible on any page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from bench.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "reverie",
    "font.size": 11,
    "text.color": "#1f2937",
    "axes.labelcolor": "#1f2937",
    "axes.edgecolor": "#94a3b8",
    "xtick.color": "#475569",
    "ytick.color": "#475569",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "axes.axisbelow": True,
    "axes.facecolor": "#f8fafc",
    "figure.facecolor": "#f8fafc",
}
_BLUE, _ORANGE, _GREEN, _VIOLET = "#2563eb", "#d97706", "#059669", "#7c3aed"


def draw(report: Report, path: Path) -> None:
    """Draws the rows of a report of `bench/scale` into ``path``."""
    rows = report.rows
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10, 7), layout="constrained")
        FigureCanvasSVG(figure)
        latency, rate, disk, memory = figure.subplots(2, 2).flat
        everybody, largest = "everybody, balanced", "the largest, balanced"
        _curves(
            latency, rows, "Recall, ms",
            {
                "default recipe by text, p95": (_BLUE, "-", [_ms(row, everybody, "p95") for row in rows]),
                "the same, p50": (_BLUE, "--", [_ms(row, everybody, "p50") for row in rows]),
                "p95 of the largest user": (_ORANGE, "-", [_ms(row, largest, "p95") for row in rows]),
                "by vector alone, p95": (_GREEN, "-", [_ms(row, "everybody, vector", "p95") for row in rows]),
            },
        )  # fmt: skip
        _curves(
            rate, rows, "Remembered with supplied vectors, traces/s",
            {
                "full batches": (_BLUE, "-", [row["traces_per_second_of_full_batches"] for row in rows]),
                "all batches": (_BLUE, "--", [row["traces_per_second"] for row in rows]),
            },
        )  # fmt: skip
        _curves(
            disk, rows, "Disk, kB a trace",
            {
                "all": (_BLUE, "-", [row["bytes"] / row["traces"] / 1000 for row in rows]),
                "of it, indexes of vectors": (_GREEN, "-", [_vectors(row) / row["traces"] / 1000 for row in rows]),
            },
        )  # fmt: skip
        _curves(
            memory, rows, "Memory, MiB",
            {
                "PostgreSQL": (_VIOLET, "-", [_mib(row, "postgresql") for row in rows]),
                "API": (_BLUE, "-", [_mib(row, "api") for row in rows]),
            },
        )  # fmt: skip
        machine = report.machine
        figure.supxlabel(
            f"traces in the store, of {rows[-1]['users']:,} users; {machine['cores']} cores of {machine['processor']}, "
            f"{machine['memory_gib']} GiB, PostgreSQL {report.versions['PostgreSQL']}",
            fontsize=11,
        )
        figure.savefig(path, metadata={"Date": None, "Title": "How Reverie grows with its store"})


Curve = tuple[str, str, Sequence[float | None]]
"""Colour, style of the line, a value for each row."""


def _curves(axes: "Axes", rows: Sequence[dict[str, Any]], title: str, curves: Mapping[str, Curve]) -> None:
    for name, (colour, style, values) in curves.items():
        known = [(row["traces"], value) for row, value in zip(rows, values, strict=True) if value is not None]
        if known:
            axes.plot(*zip(*known, strict=True), style, color=colour, marker="o", markersize=5, linewidth=2, label=name)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=12)
    axes.set_xscale("log")
    axes.set_xticks([row["traces"] for row in rows])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0)
    axes.margins(y=0.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=10, handlelength=3)


def _ms(row: dict[str, Any], asked: str, percentile: str) -> float:
    return float(row["recall_ms"][asked][percentile])


def _vectors(row: dict[str, Any]) -> int:
    return sum(part["bytes"] for part in row["parts"] if part["table"] == "memory_embedding" and part["part"] != "rows")


def _mib(row: dict[str, Any], process: str) -> float | None:
    size = row["memory"].get(process)
    return None if size is None else size / 2**20
