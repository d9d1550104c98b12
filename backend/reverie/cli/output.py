"""What commands print: tables for people, JSON for programs; answers to standard output, remarks to standard error."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import typer

from reverie.cli.text import one_line, plain

if TYPE_CHECKING:
    import re

    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

WIDTH = 120
"""Columns of an output that is no terminal, unless COLUMNS says otherwise."""

LEAST = 8
"""Signs that a column of a table keeps, as far as anything of it is shown."""


def console(*, stderr: bool = False) -> "Console":
    """Where people read."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() or "COLUMNS" in os.environ else WIDTH)


def show(*what: "RenderableType") -> None:
    """Prints for people; strings are taken as they are."""
    out = console()
    for one in what:
        if isinstance(one, str):
            out.print(plain(one), markup=False, soft_wrap=True)
        else:
            # What is whole runs over the edge of a narrow terminal, and is not cut off there.
            out.print(one, crop=False)


def show_json(value: object) -> None:
    """Prints JSON, the only thing on standard output."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def remark(*sentences: str, style: str = "yellow") -> None:
    """Says something beside the answer."""
    out = console(stderr=True)
    for sentence in sentences:
        out.print(plain(sentence), style=style, markup=False, soft_wrap=True)


def table(*columns: str, right: Iterable[str] = (), whole: Iterable[str] = ()) -> "Table":
    """An empty table; columns in ``right`` hold numbers, those in ``whole`` are neither wrapped nor cut."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name in whole,
            overflow="ellipsis",
        )
    return made


def rows(made: "Table", items: Sequence[Sequence[Any]]) -> "Table":
    """Fills a table; strings are taken as they are, never as markup."""
    from rich.cells import cell_len
    from rich.text import Text

    for item in items:
        made.add_row(*(cell if isinstance(cell, Text) else Text(plain("" if cell is None else cell)) for cell in item))
    for column in made.columns:
        lines = (line for cell in column.cells for line in str(cell).splitlines())
        longest = max(map(cell_len, lines), default=0)
        column.min_width = longest if column.no_wrap else min(longest, LEAST)
    return made


def on_one_line(text: object) -> "Text":
    """A cell that is cut where it does not fit, with a mark, instead of wrapped."""
    from rich.text import Text

    return Text(one_line(text), no_wrap=True, overflow="ellipsis")


def show_page(page: Mapping[str, Any], made: "Table", cells: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Prints a page of a list, and how to see the next one."""
    if as_json:
        show_json(page)
        return
    show(rows(made, cells))
    if page["next_cursor"]:
        remark(f"There are more: --cursor {page['next_cursor']}", style="dim")


def marked(text: str, found: "re.Pattern[str] | None") -> "Text":
    """A text in which what the pattern finds stands out."""
    from rich.text import Text

    made = Text(plain(text))
    if found is not None:
        made.highlight_regex(found, "bold")
    return made
