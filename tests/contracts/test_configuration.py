"""docs/configuration.md: every setting with its default and what it takes, as the code and .env.example have it.

A new setting gets a row in the table of its group; the sentence of a failed test says what the row has to say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from reverie.core.config import Settings, default_home, load_settings
from reverie.core.errors import SettingsError

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
COMPOSE = "# --- Docker Compose"

CALLERS = {"REVERIE_URL", "REVERIE_KEY", "REVERIE_PROFILE", "REVERIE_CONFIG"}
"""Read beside the settings: by the command line, and to find the settings themselves."""

_ROW = re.compile(r"^\| `([A-Z0-9_]+)` \| (.*?) \| (.*?) \| (.*) \|$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """What the document says of one setting."""

    name: str
    default: str
    takes: str
    says: str


ROWS = {row.name: row for row in (Row(*found) for found in _ROW.findall(DOCUMENT))}
FIELDS = {name.upper(): field for name, field in Settings.model_fields.items()}
OF_COMPOSE = {found[1] for found in _ASSIGNMENT.findall(EXAMPLE.partition(COMPOSE)[2])}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that sets nothing."""
    for name in [*FIELDS, *CALLERS, "XDG_DATA_HOME"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def bounds(field: FieldInfo) -> dict[str, float]:
    """The limits of a number, by the names of ``annotated_types``: ge, gt, le, lt."""
    return {
        kind: getattr(one, kind) for one in field.metadata for kind in ("ge", "gt", "le", "lt") if hasattr(one, kind)
    }


def takes(field: FieldInfo) -> str | None:
    """What a setting takes, in the words of the document; None where its own words have to say it."""
    if get_origin(field.annotation) is Literal:
        choices = [f"`{choice}`" for choice in get_args(field.annotation)]
        return " or ".join(part for part in (", ".join(choices[:-1]), choices[-1]) if part)
    kinds = {field.annotation, *get_args(field.annotation)}
    if not kinds & {int, float}:
        return None
    limits = bounds(field)
    assert set(limits) <= {"ge", "gt", "le"}, "a limit that the document has no words for"
    number = "whole number" if int in kinds else "number"
    if "gt" in limits:
        return f"{number}, above {limits['gt']:g}" + (f", up to {limits['le']:g}" if "le" in limits else "")
    if "le" in limits:
        return f"{number}, {limits['ge']} to {limits['le']}"
    return f"{number}, at least {limits['ge']}"


def default(name: str) -> str:
    """The default of a setting, in the words of the document."""
    value = getattr(load_settings(), name.lower())
    if name == "REVERIE_HOME":
        value = "~/" + str(default_home().relative_to(Path.home()))
    return "none" if value is None else f"`{value}`"


def test_every_setting_has_one_row_and_nothing_else_has() -> None:
    names = [found[0] for found in _ROW.findall(DOCUMENT)]
    assert len(names) == len(set(names))
    assert set(names) == set(FIELDS) | CALLERS | OF_COMPOSE


def test_it_names_what_env_example_names() -> None:
    assert set(ROWS) == {found[1] for found in _ASSIGNMENT.findall(EXAMPLE)}


@pytest.mark.parametrize("name", FIELDS)
def test_the_default_is_that_of_the_code(name: str) -> None:
    assert ROWS[name].default == default(name)


@pytest.mark.parametrize("name", FIELDS)
def test_what_it_takes_is_what_the_code_takes(name: str) -> None:
    expected = takes(FIELDS[name])
    assert ROWS[name].takes == (expected or ROWS[name].takes)
    assert len(ROWS[name].takes) > 3


def _beyond(field: FieldInfo) -> Iterator[Any]:
    """Values just outside of what a setting takes."""
    step = 1 if int in {field.annotation, *get_args(field.annotation)} else 0.001
    for kind, limit in bounds(field).items():
        yield {"ge": limit - step, "gt": limit, "le": limit + step}[kind]
    if get_origin(field.annotation) is Literal:
        yield "another"


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if takes(field)])
def test_more_and_less_are_refused_in_a_sentence(name: str) -> None:
    values = list(_beyond(FIELDS[name]))
    assert values
    for value in values:
        with pytest.raises(SettingsError, match=rf"^{name}: .*\.$"):
            load_settings(**{name.lower(): value})


@pytest.mark.parametrize("name", sorted(OF_COMPOSE))
def test_the_default_of_compose_is_that_of_env_example(name: str) -> None:
    [(commented, _, value)] = [one for one in _ASSIGNMENT.findall(EXAMPLE.partition(COMPOSE)[2]) if one[1] == name]
    assert ROWS[name].default == ("none" if commented else f"`{value}`")


def test_every_row_says_what_it_is_for() -> None:
    for row in ROWS.values():
        assert re.fullmatch(r"[A-Z`0-9].*\.", row.says), row
        assert len(row.says) > 10, row
        for other in re.findall(r"`([A-Z][A-Z0-9]+_[A-Z0-9_]+)`", row.says):
            assert other in ROWS or other == "XDG_DATA_HOME", f"{row.name} names {other}"


def test_the_groups_are_those_of_env_example() -> None:
    """A group of the document holds what a group of .env.example holds."""

    def groups(text: str, heading: str, name: re.Pattern[str], at: int) -> list[set[str]]:
        parts = [{found[at] for found in name.findall(part)} for part in re.split(heading, text, flags=re.MULTILINE)]
        return [part for part in parts if part]

    documented = groups(DOCUMENT, r"^## ", _ROW, 0)
    assert documented == groups(EXAMPLE, r"^# --- ", _ASSIGNMENT, 1)
