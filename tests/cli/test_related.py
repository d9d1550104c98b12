"""`reverie remember --suggest`, `related`, `link`, `unlink`, `edges` and `dismiss`."""

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

TRAIN = "The night train to Fort William leaves at nine."
BOOKED = "We booked the night train to Fort William."
OTHER = "Pasta with capers and lemon."


@pytest.fixture
def ids(cli: "Cli", user: str) -> list[str]:
    """Three notes."""
    made = [cli("remember", text, "--user", user, "--json") for text in (BOOKED, OTHER, TRAIN)]
    return [json.loads(one.stdout)["traces"][0]["trace_id"] for one in made]


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_note_suggests(cli: "Cli", user: str) -> None:
    first = cli("remember", BOOKED, "--user", user, "--suggest", "5")
    assert (first.exit_code, "There is nothing to suggest." in first.stderr) == (0, True)
    shown = cli("remember", TRAIN, "--user", user, "--suggest", "5")
    assert shown.exit_code == 0
    assert "It connects to:" in shown.stdout
    assert "train, fort" in flat(shown.stdout)
    assert "about Fort William" in flat(shown.stdout)
    turn = cli("remember", TRAIN, "--user", user, "--role", "user", "--suggest", "5")
    assert "Only notes get suggestions" in turn.stderr
    assert cli("remember", TRAIN, "--user", user, "--suggest", "21").exit_code == 2


def test_related_is_shown_and_dismissed(cli: "Cli", user: str, ids: list[str]) -> None:
    shown = cli("related", ids[2], "--user", user)
    assert shown.exit_code == 0
    assert ids[0] in shown.stdout
    [one] = json.loads(cli("related", ids[2], "--user", user, "--json").stdout)["related"]
    assert one["trace_id"] == ids[0]
    assert "not suggested" in cli("dismiss", ids[0], ids[2], "--user", user).stdout
    nothing = cli("related", ids[2], "--user", user)
    assert (nothing.exit_code, nothing.stderr) == (3, "Nothing is related to it.\n")
    assert "again" in cli("dismiss", ids[2], ids[0], "--user", user, "--undo").stdout
    assert cli("related", ids[2], "--user", user).exit_code == 0


def test_traces_are_linked_and_unlinked(cli: "Cli", user: str, ids: list[str]) -> None:
    done = cli("link", ids[0], ids[1], "--user", user, "--type", "same_evening", "--meta", '{"why": "x"}')
    assert (done.exit_code, done.stdout) == (0, f"Linked: {ids[0]} same_evening {ids[1]}\n")
    [edge] = json.loads(cli("edges", "--user", user, "--type", "same_evening", "--json").stdout)["items"]
    assert edge["meta"] == {"why": "x", "by": "hand"}
    assert "hand" in cli("edges", "--user", user, "--trace", ids[1]).stdout
    assert "linked: same_evening" in flat(cli("related", ids[1], "--user", user).stdout)
    gone = cli("unlink", ids[0], ids[1], "--user", user, "--type", "same_evening")
    assert (gone.exit_code, gone.stdout) == (0, f"Removed: {ids[0]} same_evening {ids[1]}\n")
    assert cli("unlink", ids[0], ids[1], "--user", user, "--type", "same_evening").exit_code == 3
    assert cli("edges", "--user", user).exit_code == 3


def test_what_is_not_understood_is_said(cli: "Cli", user: str, ids: list[str]) -> None:
    misused = cli("link", ids[0], ids[1], "--user", user, "--meta", "[1]")
    assert (misused.exit_code, "--meta takes a JSON object" in misused.stderr) == (2, True)
    refused = cli("link", ids[0], ids[1], "--user", user, "--type", "next")
    assert (refused.exit_code, "type takes no next" in refused.stderr) == (1, True)
    itself = cli("link", ids[0], ids[0], "--user", user)
    assert (itself.exit_code, "dst takes another trace than src" in itself.stderr) == (1, True)
