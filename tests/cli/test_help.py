"""The help: an example for every command, the exit codes, and fast."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from reverie.cli import exits
from reverie.cli.main import app

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group."""
    for name, child in getattr(command, "commands", {}).items():
        yield (*path, name)
        yield from commands(child, (*path, name))


@pytest.mark.parametrize("words", sorted(commands(get_command(app))), ids=" ".join)
def test_every_command_has_an_example(alone: "Cli", words: tuple[str, ...]) -> None:
    shown = alone(*words, "--help")
    assert shown.exit_code == 0
    examples = shown.stdout.partition("Example:")[2]
    assert f"reverie {' '.join(words)}" in examples


def test_the_codes_are_in_the_help(alone: "Cli") -> None:
    shown = alone("--help").stdout
    for code, meaning in exits.MEANINGS.items():
        assert f"{code:>2}  {meaning}" in shown


def test_no_command_is_a_usage_fault(alone: "Cli") -> None:
    bare = alone()
    assert bare.exit_code == 2
    assert "Commands:" in bare.stderr


def test_importing_the_commands_loads_nothing_heavy() -> None:
    heavy = ["uvicorn", "numpy", "onnxruntime", "fastapi", "alembic", "psycopg", "httpx", "pydantic_settings", "arq"]
    code = f"import sys, reverie.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "[]\n"


def test_the_help_is_quick() -> None:
    def seconds() -> float:
        """Of the processor, so that busy neighbours do not count."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "reverie", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5
