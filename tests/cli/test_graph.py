"""`reverie graph`: pictures and files, paths, and the mirror."""

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

import pytest

from reverie.cli.client import Client

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.fixture
def told(cli: "Cli", user: str) -> str:
    """A user with a conversation of three turns."""
    for text in ("We moved to Oslo.", "In June, by train.", "The flat is by the river."):
        done = cli("remember", text, "--user", user, "--conversation", "move", "--role", "user")
        assert done.exit_code == 0, done.stderr
    return user


def test_json_is_the_answer_of_the_api(cli: "Cli", told: str) -> None:
    done = cli("graph", "--user", told, "--format", "json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert {node["label"] for node in found["nodes"]} == {
        "We moved to Oslo.", "In June, by train.", "The flat is by the river."
    }  # fmt: skip
    assert {edge["type"] for edge in found["edges"]} == {"next"}


@pytest.mark.parametrize(
    ("name", "begins"), [("g.svg", "<svg"), ("g.html", "<!doctype"), ("g.graphml", "<?xml"), ("g.json", "{")]
)
def test_the_name_of_the_file_says_which_format(cli: "Cli", told: str, tmp_path: Path, name: str, begins: str) -> None:
    out = tmp_path / name
    done = cli("graph", "--user", told, "--out", str(out))
    assert done.exit_code == 0, done.stderr
    assert f"3 nodes and 2 edges of {told} in" in done.stdout
    text = out.read_text(encoding="utf-8")
    assert text.startswith(begins)
    assert "We moved to Oslo." in text
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".part")] == []


def test_svg_is_written_to_standard_output(cli: "Cli", told: str) -> None:
    done = cli("graph", "--user", told, "--limit", "2")
    assert done.exit_code == 0
    assert Xml.fromstring(done.stdout).tag.endswith("svg")  # noqa: S314 - made by ourselves
    assert "--limit (now 2)" in done.stderr
    assert "There are no entities yet: `reverie dream` finds them." in done.stderr


def test_paths_are_told_on_a_line_each(cli: "Cli", told: str) -> None:
    found = json.loads(cli("graph", "--user", told, "--format", "json").stdout)
    ids = {node["label"]: node["trace_id"] for node in found["nodes"]}
    first, last = ids["We moved to Oslo."], ids["The flat is by the river."]
    done = cli("graph", "path", first, last, "--user", told)
    assert done.stdout == "We moved to Oslo. –next→ In June, by train. –next→ The flat is by the river.\n"
    back = cli("graph", "path", last, first, "--user", told)
    assert back.stdout == "The flat is by the river. ←next– In June, by train. ←next– We moved to Oslo.\n"
    short = cli("graph", "path", first, last, "--user", told, "--hops", "1")
    assert (short.exit_code, short.stderr) == (3, "Nothing joins the two within 1 edge.\n")
    same = cli("graph", "path", first, first, "--user", told)
    assert (same.exit_code, same.stderr) == (3, "Both are the same.\n")
    assert len(json.loads(cli("graph", "path", first, last, "--user", told, "--json").stdout)["paths"]) == 1


def test_no_path_is_not_said_to_be_none_where_not_all_was_looked_at(
    cli: "Cli", told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(cli("graph", "--user", told, "--format", "json").stdout)
    ids = {node["label"]: node["trace_id"] for node in found["nodes"]}
    ends = ids["We moved to Oslo."], ids["The flat is by the river."]
    assert json.loads(cli("graph", "path", *ends, "--user", told, "--json").stdout)["more"] is False
    get = Client.get
    monkeypatch.setattr(Client, "get", lambda *given, **more: get(*given, **more) | {"more": True})
    part = cli("graph", "path", *ends, "--user", told, "--hops", "1")
    assert part.exit_code == 3
    assert part.stderr == "No path was found among the strongest edges; with --types others do not count.\n"


def test_hops_count_with_kinds_too(cli: "Cli", told: str) -> None:
    for options in (("--kinds", "turn,entity"), ("--kinds", "turn"), ("--around", "nobody", "--kinds", "entity")):
        done = cli("graph", "--user", told, "--hops", "1", *options)
        assert done.exit_code == (3 if "nobody" in options else 0), (options, done.stderr)
    refused = cli("graph", "--user", told, "--hops", "1", "--kinds", "entity")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--hops says how far it reaches from --around, or from entities to other --kinds" in refused.stderr
    assert "--kinds names others than entity" in " ".join(cli("graph", "--help").stdout.split())


def test_of_nobody_there_is_nothing(cli: "Cli", told: str) -> None:
    done = cli("graph", "--user", "nobody at all")
    assert (done.exit_code, done.stderr) == (3, "Nothing of nobody at all is remembered.\n")
    done = cli("graph", "--user", told, "--around", "Dora")
    assert done.exit_code == 3
    assert "no entity of the name 'Dora'" in done.stderr
    assert cli("graph", "path", "Dora", "Eve", "--user", told).exit_code == 3


def test_what_is_not_understood(cli: "Cli", told: str, tmp_path: Path) -> None:
    for options, code, says in (
        ((), 2, "--user says whose graph it is"),
        (("--user", told, "--hops", "9"), 2, "less than or equal to 3"),
        (("--user", told, "--limit", "501"), 2, "less than or equal to 500"),
        (("--user", told, "--format", "png"), 2, "'--format'"),
        (("--user", told, "--hops", "1"), 2, "--hops says how far it reaches from --around"),
        (
            ("--user", told, "--out", str(tmp_path / "g.png")),
            2,
            "--out ends in .png: name one of .svg, .html, .graphml, .json, or say --format.",
        ),
        (("--user", told, "--out", str(tmp_path / "g")), 2, "--out has no ending"),
        (("--user", told, "--types", "Not a type"), 1, "types takes types of edges"),
        (("--user", told, "--out", str(tmp_path / "no" / "g.svg")), 2, "cannot be written"),
    ):
        done = cli("graph", *options)
        assert done.exit_code == code, (options, done.stderr)
        assert says in done.stderr, done.stderr
        assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
    assert cli("graph", "--user", told, "--format", "svg", "--out", str(tmp_path / "g.png")).exit_code == 0


def test_a_mirror_that_is_not_set_up(alone: "Cli") -> None:
    done = alone("graph", "mirror", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert done.exit_code == 78
    assert "NEO4J_URL and NEO4J_PASSWORD" in done.stderr


def test_a_mirror_that_is_not_there(cli: "Cli", service: "object") -> None:
    url = service.database_url  # type: ignore[attr-defined]
    done = cli("graph", "mirror", DATABASE_URL=url, NEO4J_URL="bolt://127.0.0.1:1", NEO4J_PASSWORD="a secret of Neo4j")
    assert done.exit_code == 69
    assert "Neo4j cannot be reached" in done.stderr
    assert "secret" not in done.stderr
