"""The help: an example for every command, the exit codes, and fast."""

import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import typer
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


def found(words: tuple[str, ...]) -> Any:
    """The command of these words."""
    command = get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    return command


def examples(command: Any) -> list[list[str]]:
    """The words of each example of a command's help, from `reverie` to the end of what the shell gives to it."""
    lines = (command.epilog or "").partition("Example:\n")[2].splitlines()
    return [_ours(shlex.split(line)) for line in lines]


def _ours(words: list[str]) -> list[str]:
    """The part of a command line that begins with `reverie`, or with variables set for it."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word in ("|", "&&", ";"):
            parts.append([])
        elif "=" not in word or parts[-1]:
            parts[-1].append(word)
    [ours] = [part for part in parts if part[0] == "reverie"]
    return ours


EVERY = sorted(commands(get_command(app)))


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_a_description_and_an_example_that_parses(alone: "Cli", words: tuple[str, ...]) -> None:
    command = found(words)
    shown = alone(*words, "--help")
    assert shown.exit_code == 0
    assert command.help
    assert "Example:" in shown.stdout
    assert command.help.splitlines()[0].endswith(".")
    given = examples(command)
    assert given
    named = [one for one in given if tuple(one[1 : len(words) + 1]) == words]
    assert named, "an example of this very command"
    for one in given:
        _parse(one)


def _parse(words: list[str]) -> None:
    """Reads a command line as running it would, without doing anything."""
    command, path, rest = get_command(app), ["reverie"], words[1:]
    # A group may do something by itself.
    while hasattr(command, "commands") and (
        rest[:1] in [[name] for name in command.commands] or not getattr(command, "invoke_without_command", False)
    ):
        path.append(rest.pop(0))
        command = command.commands[path[-1]]
    command.make_context(" ".join(path), rest)


@pytest.mark.parametrize(
    "line", ["reverie recall x", "reverie users --colour blue", "reverie forget --user a --trace 7"]
)
def test_an_example_that_does_not_parse_would_be_found(line: str) -> None:
    with pytest.raises(typer.TyperException):
        _parse(shlex.split(line))


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_option_says_what_it_does(words: tuple[str, ...]) -> None:
    for option in found(words).params:
        assert option.help, f"{' '.join(words)}: {option.name}"
        assert option.help.endswith((".", ")")), option.help


def test_the_short_help_of_every_command_is_whole(alone: "Cli") -> None:
    for words in [(), *(words for words in EVERY if hasattr(found(words), "commands"))]:
        listed = alone(*words, "--help").stdout.partition("Commands:")[2].partition("Exit codes:")[0]
        assert "..." not in listed


def test_every_command_that_calls_a_service_says_which_one() -> None:
    for words in EVERY:
        options = {option.name for option in found(words).params}
        if "url" in options and words[0] != "profile":
            assert "profile" in options, words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_is_printed(alone: "Cli", shell: str) -> None:
    printed = alone(_REVERIE_COMPLETE=f"source_{shell}")
    assert printed.exit_code == 0
    assert f"_REVERIE_COMPLETE=complete_{shell}" in printed.stdout
    assert "--install-completion" in alone("--help").stdout


def completed(alone: "Cli", line: str) -> set[str]:
    """What bash is offered at the end of a line."""
    words = line.split(" ")
    given = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_REVERIE_COMPLETE": "complete_bash"}
    return set(alone(**given).stdout.split())


def test_the_shell_is_offered_commands_options_and_profiles(alone: "Cli") -> None:
    assert {"recall", "remember"} <= completed(alone, "reverie re")
    assert "--explain" in completed(alone, "reverie recall --e")
    assert {"balanced", "fast"} <= completed(alone, "reverie recall --recipe ")
    assert alone("profile", "set", "work", "--url", "http://127.0.0.1:9").exit_code == 0
    assert completed(alone, "reverie users --profile w") == {"work"}
    assert completed(alone, "reverie profile use ") == {"work"}


def test_the_codes_are_in_the_help(alone: "Cli") -> None:
    shown = alone("--help").stdout
    for code, meaning in exits.MEANINGS.items():
        assert f"{code:>3}  {meaning}" in shown


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
