"""`reverie import`: what becomes of the lines of a file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reverie.cli import importing

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

SAMPLE = Path(importing.__file__).with_name("sample.jsonl")


def written(path: Path, *lines: Any) -> str:
    """A file of these lines; what is not text is written as JSON."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8", errors="surrogateescape")
    return str(path)


def contents(cli: "Cli", user: str) -> list[str]:
    """What is remembered of a user, oldest first."""
    page = json.loads(cli("traces", "--user", user, "--limit", "100", "--json").stdout)
    return [one["content"] for one in reversed(page["items"])]


def test_a_conversation_is_imported_and_found(cli: "Cli", user: str) -> None:
    done = cli("import", str(SAMPLE), "--user", user)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "40 stored, 0 known already, 0 rejected.\n", "")
    assert "Pixel" in cli("recall", "What is the cat called?", "--user", user, "-k", "1").stdout


def test_turns_that_name_no_time_are_known_again(cli: "Cli", user: str, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Yes."}, {"role": "assistant", "content": "Sure?"}] * 75
    path = written(tmp_path / "chat.jsonl", *chat)
    first = json.loads(cli("import", path, "--user", user, "--json").stdout)
    assert (first["stored"], first["duplicate"]) == (150, 0), "the second Yes. is a turn of its own"
    again = json.loads(cli("import", path, "--user", user, "--json").stdout)
    assert (again["stored"], again["duplicate"]) == (0, 150)
    grown = written(tmp_path / "chat.jsonl", *chat, {"role": "user", "content": "Yes."})
    more = json.loads(cli("import", grown, "--user", user, "--json").stdout)
    assert (more["stored"], more["duplicate"]) == (1, 150)
    assert len([text for text in contents(cli, user) if text]) == 100


def test_every_shape_of_line(cli: "Cli", user: str, tmp_path: Path) -> None:
    path = written(
        tmp_path / "mixed.jsonl",
        "\ufeff" + json.dumps({"content": "a note", "user_id": f"{user} 2"}),
        "",
        {"role": "developer", "content": "Be kind"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "I like"}, {"type": "text", "text": "tea"}],
            "name": "Ann",
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}], "user_id": user},
    )
    done = cli("import", path, "--user", user, "--conversation", "c1")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "5 stored, 0 known already, 0 rejected, 1 without text passed over.\n"
    assert contents(cli, user) == ["Be kind", "I like\ntea", "Hi", "Ho"]
    assert contents(cli, f"{user} 2") == ["a note"]
    traces = json.loads(cli("traces", "--user", user, "--json").stdout)["items"]
    assert [one["role"] for one in traces] == ["assistant", "user", "user", "system"]
    assert {one["conversation_id"] for one in traces} == {"c1"}
    assert traces[2]["speaker"] == "Ann"


def test_rejected_lines_are_listed_with_their_reason(cli: "Cli", user: str, tmp_path: Path) -> None:
    path = written(
        tmp_path / "bad.jsonl",
        {"content": "good"},
        "{not json",
        {"content": " "},
        [{"content": "in an array"}],
        {"content": "misspelt", "occured_at": "2026-01-01"},
        {"content": "x", "salience": 7},
        "\udcff\udcfe",
        {"messages": "none"},
        {"content": "for nobody", "user_id": 7},
        '{"content": "lone \\ud800"}',
    )
    done = cli("import", path, "--user", user)
    assert done.exit_code == 3
    assert done.stdout == "1 stored, 0 known already, 9 rejected.\n"
    told = dict(line.split(": ", 1) for line in done.stderr.splitlines() if line.startswith("line "))
    assert sorted(told, key=lambda name: int(name[5:])) == [f"line {number}" for number in range(2, 11)]
    assert told["line 2"].startswith("it is not JSON")
    assert told["line 3"] == "content takes text that is not blank."
    assert told["line 4"] == "it is a JSON array: write one object a line."
    assert told["line 5"] == "occured_at is not a field here."
    assert told["line 6"].startswith("salience takes")
    assert done.stderr.splitlines()[-1] == "9 traces were rejected."
    programs = json.loads(cli("import", path, "--user", user, "--json").stdout)
    assert (programs["stored"], programs["duplicate"], programs["rejected"]) == (0, 1, 9)
    assert [one["line"] for one in programs["rejections"]] == list(range(2, 11))
    assert contents(cli, user) == ["good"]


def test_a_batch_with_nothing_good_in_it(cli: "Cli", user: str, tmp_path: Path) -> None:
    path = written(tmp_path / "bad.jsonl", {"content": ""}, {"content": "x", "kind": "poem"})
    done = cli("import", path, "--user", user)
    assert done.exit_code == 3
    assert done.stderr.startswith("line 1: content takes text that is not blank.\nline 2: kind takes ")


def test_a_user_is_needed(cli: "Cli", tmp_path: Path) -> None:
    path = written(tmp_path / "none.jsonl", {"content": "whose?"})
    for options in ((), ("--user", " ")):
        done = cli("import", path, *options)
        assert done.exit_code == 3
        assert "user_id" in done.stderr


def test_vectors_of_the_callers_own(cli: "Cli", user: str, tmp_path: Path) -> None:
    lines = [{"content": f"note {n}", "embedding": [1.0 + n, *[0.5] * 383]} for n in range(1203)]
    path = written(tmp_path / "vectors.jsonl", *lines, {"content": "wrong", "embedding": [1.0]})
    done = cli("import", path, "--user", user)
    assert done.exit_code == 3
    assert done.stdout == "1203 stored, 0 known already, 1 rejected.\n"
    assert done.stderr.startswith("line 1204: embedding ")


def test_batches(cli: "Cli", user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, int]] = []
    remember = importing.Batches._remember

    def counted(self: importing.Batches, owner: str, batch: list[Any]) -> None:
        sent.append((owner.removeprefix(user), len(batch)))
        remember(self, owner, batch)

    monkeypatch.setattr(importing.Batches, "_remember", counted)
    vector = [1.0, *[0.5] * 383]
    lines: list[Any] = [{"content": f"note {n}", "user_id": f"{user} {n % 2}"} for n in range(250)]
    lines += [{"content": f"vector {n}", "user_id": f"{user} 2", "embedding": vector} for n in range(5)]
    lines += [{"content": "text", "user_id": f"{user} 2"}]
    lines += [{"content": f"{n} " + "word " * 180_000, "user_id": f"{user} 3", "salience": 0.1} for n in range(3)]
    assert cli("import", written(tmp_path / "many.jsonl", *lines)).exit_code == 0
    assert sorted(sent) == [
        (" 0", 25), (" 0", 100), (" 1", 25), (" 1", 100), (" 2", 1), (" 2", 5), (" 3", 1), (" 3", 2)
    ]  # fmt: skip


def test_from_standard_input(cli: "Cli", user: str) -> None:
    done = cli("import", "-", "--user", user, stdin='{"role": "user", "content": "Hello"}\n')
    assert done.stdout == "1 stored, 0 known already, 0 rejected.\n"
    empty = cli("import", "-", "--user", user, stdin="\n")
    assert (empty.exit_code, empty.stderr) == (3, "There is nothing to remember in -.\n")


def test_a_file_that_cannot_be_read(cli: "Cli", tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.jsonl"):
        done = cli("import", str(path), "--user", "u")
        assert done.exit_code == 2
        assert done.stderr.startswith(f"{path} cannot be read (")
        assert done.stderr.count("\n") == 1


def test_a_broken_import_says_how_to_go_on(alone: "Cli", tmp_path: Path) -> None:
    path = written(tmp_path / "chat.jsonl", {"content": "a"}, "{")
    done = alone("import", path, "--user", "u", "--url", "http://127.0.0.1:9", "--key", "k")
    assert done.exit_code == 69
    assert "So far 0 stored, 0 known already, 1 rejected; the same command goes on from there." in done.stderr
