"""The command ``reverie``: one file a group of commands, gathered here."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from reverie.cli import (
    dream,
    exits,
    export,
    forget,
    graph,
    importing,
    keys,
    look,
    profiles,
    recall,
    receipts,
    reembed,
    related,
    remember,
    retention,
    serve,
    settings,
    status,
    thaw,
    tiers,
    up,
)
from reverie.core.errors import SettingsError, StartError


class Commands(TyperGroup):
    """The commands, whose faults are one line on standard error and an exit code that says what kind it was."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - the signature is typer's own
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs the command line and ends the process with its exit code."""
        run = super().main
        _until_its_end(lambda: run(args, prog_name, complete_var, False, windows_expand_args, **extra))


class Alone(TyperCommand):
    """A command that is a program of its own, and ends like the others."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - the signature is typer's own
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs the command line and ends the process with its exit code."""
        run = super().main
        _until_its_end(lambda: run(args, prog_name, complete_var, False, windows_expand_args, **extra))


def _until_its_end(run: Callable[[], Any]) -> NoReturn:
    """Runs a command line, and ends the process with its exit code."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; what is left of it must not complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exits.REFUSED
    except exits.Failure as failure:
        code = _ended(str(failure), failure.code)
    except (SettingsError, StartError) as error:
        code = _ended(str(error), exits.CONFIGURATION)
    except typer.Abort:
        code = _ended("Nothing was done.", exits.REFUSED)
    except typer.TyperException as error:
        code = _misused(error)
    sys.exit(code or exits.DONE)


def _ended(sentence: str, code: int) -> int:
    from reverie.cli.output import remark

    remark(" ".join(sentence.split()), style="red")
    return code


def _misused(error: typer.TyperException) -> int:
    message = str(getattr(error, "format_message", error.__str__)()).replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "reverie"
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message, err=True)
    else:
        _ended(f"{message.rstrip('.')}; see `{command} --help`.", exits.USAGE)
    return exits.USAGE


def _version(wanted: bool) -> None:
    if wanted:
        from reverie import __version__

        typer.echo(f"reverie {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="reverie",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in exits.MEANINGS.items()),
)


@app.callback()
def reverie(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The memory of AI agents, kept in PostgreSQL.

    `reverie up` starts it here; the other commands talk to a running service: the one that --url and --key name, or
    REVERIE_URL and REVERIE_KEY, or a profile that `reverie profile` keeps; else the one on this machine.
    """


for group in (
    up,
    remember,
    recall,
    related,
    importing,
    export,
    forget,
    receipts,
    thaw,
    retention,
    settings,
    dream,
    graph,
    look,
    status,
    keys,
    profiles,
    serve,
    tiers,
    reembed,
):
    group.register(app)


def run() -> None:
    """The console script."""
    app(prog_name="reverie")
