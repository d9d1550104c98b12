"""The command ``reverie``: one file a group of commands, gathered here."""

import sys

import typer
from rich.console import Console

from reverie.cli import keys, serve
from reverie.core.errors import SettingsError, StartError

app = typer.Typer(
    name="reverie",
    help="The memory of AI agents, kept in PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
serve.register(app)
keys.register(app)

EXIT_CONFIGURATION = 78
"""sysexits.h: EX_CONFIG."""


def run() -> None:
    """The console script: a fault that the caller can mend is one sentence on standard error."""
    try:
        app()
    except (SettingsError, StartError) as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        sys.exit(EXIT_CONFIGURATION)
