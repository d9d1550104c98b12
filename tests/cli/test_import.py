"""`reverie import`: what becomes of the lines of a file, and how it goes on where it was broken off."""

import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reverie.cli import importing

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Script, Service

SAMPLE = Path(importing.__file__).with_name("sample.jsonl")


def written(path: Path, *lines: Any) -> str:
    """A file of these lines; what is not text is written as JSON."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8", errors="surrogateescape")
    return str(path)


def summary(done: Any) -> dict[str, float]:
    """The figures that a person was shown."""
    shown = re.findall(r"^(\S.{14}) +([\d. ]+)$", done.stdout, re.MULTILINE)
    return {name.strip(): float(figure.replace(" ", "")) for name, figure in shown}


def figures(done: Any) -> tuple[float, ...]:
    """How many were stored, known already and rejected."""
    shown = summary(done)
    return tuple(shown[name] for name in ("stored", "known already", "rejected"))


def contents(cli: "Cli", user: str) -> list[str]:
    """What is remembered of a user, oldest first."""
    page = json.loads(cli("traces", "--user", user, "--limit", "100", "--json").stdout)
    return [one["content"] for one in reversed(page["items"])]


def test_a_conversation_is_imported_and_found(cli: "Cli", user: str) -> None:
    done = cli("import", str(SAMPLE), "--user", user)
    assert (done.exit_code, figures(done), done.stderr) == (0, (40, 0, 0), "")
    assert re.search(r"^traces a second +[1-9]", done.stdout, re.MULTILINE)
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
    assert figures(done) == (5, 0, 0)
    assert re.search(r"^without text +1$", done.stdout, re.MULTILINE)
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
    assert figures(done) == (1, 0, 9)
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
    assert figures(done) == (1203, 0, 1)
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
    assert figures(done) == (1, 0, 0)
    empty = cli("import", "-", "--user", user, stdin="\n")
    assert (empty.exit_code, empty.stderr) == (3, "There is nothing to remember in -.\n")


def test_a_file_that_cannot_be_read(cli: "Cli", tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.jsonl"):
        done = cli("import", str(path), "--user", "u")
        assert done.exit_code == 2
        assert done.stderr.startswith(f"{path} cannot be read (")
        assert done.stderr.count("\n") == 1


def test_a_broken_import_says_how_to_go_on(alone: "Cli", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "PERSISTENCE", 0.0)
    path = written(tmp_path / "chat.jsonl", {"content": "a"}, "{")
    done = alone("import", path, "--user", "u", "--url", "http://127.0.0.1:9", "--key", "k")
    assert done.exit_code == 69
    assert "So far 0 stored, 0 known already, 1 rejected; the same command goes on from there." in done.stderr


def test_strict_stops_at_the_first_fault(cli: "Cli", user: str, tmp_path: Path) -> None:
    path = written(tmp_path / "bad.jsonl", {"content": "before"}, "{not json", {"content": "after"}, "{")
    done = cli("import", path, "--user", user, "--strict")
    assert (done.exit_code, figures(done)) == (3, (1, 0, 1))
    assert done.stderr.startswith("line 2: it is not JSON")
    assert done.stderr.endswith("1 trace was rejected; nothing was read after the first.\n")
    assert contents(cli, user) == ["before"]


def test_a_packed_file(cli: "Cli", user: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl.gz"
    whole = gzip.compress(SAMPLE.read_bytes())
    path.write_bytes(whole)
    assert figures(cli("import", str(path), "--user", user)) == (40, 0, 0)
    assert figures(cli("import", str(SAMPLE), "--user", user)) == (0, 40, 0), "packed or not, it is the same"
    path.write_bytes(whole[: len(whole) // 2])
    broken = cli("import", str(path), "--user", f"{user} 2")
    assert broken.exit_code == 2
    assert re.search(r"cannot be read beyond line \d+ \(.+\)\.$", broken.stderr.strip())
    read = int(broken.stderr.split("line ")[1].split()[0])
    assert figures(broken)[0] == read > 0


def long_chat(path: Path, turns: int, **common: Any) -> str:
    """A chat in which every fourth turn is the same one again, and none has a time or an id."""
    said = ("Yes.", "Tell me about day {n}.", "It rained on day {n}, all day.", "And on day {n} the sun came out.")
    lines = [{"role": ("user", "assistant")[n % 2], "content": said[n % 4].format(n=n), **common} for n in range(turns)]
    return written(path, *lines)


def traces_of(cli: "Cli", user: str) -> int:
    """How many traces a user has."""
    users = json.loads(cli("users", "--limit", "100", "--json").stdout)["items"]
    return next((int(one["traces"]) for one in users if one["user_id"] == user), 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_an_import_goes_on_where_it_was_broken_off(
    cli: "Cli", service: "Service", user: str, tmp_path: Path, number: signal.Signals
) -> None:
    path = long_chat(tmp_path / "chat.jsonl", 300)
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "reverie", "import", path, "--user", user],
        env=os.environ | {"REVERIE_URL": service.url, "REVERIE_KEY": service.key},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while traces_of(cli, user) < 100:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    if number is signal.SIGINT:
        assert (process.returncode, out) == (130, "")
        assert re.fullmatch(r"Interrupted\. So far \d+ stored, .*; the same command goes on from there\.\n", err)
    again = cli("import", path, "--user", user)
    stored, known, rejected = figures(again)
    assert (stored + known, rejected) == (300, 0)
    assert known >= 100
    assert traces_of(cli, user) == 300
    assert figures(cli("import", path, "--user", user)) == (0, 300, 0)


def test_answers_that_are_lost_are_asked_for_again(
    cli: "Cli", service: "Service", scripted: "Script", user: str, tmp_path: Path
) -> None:
    scripted.behind = service.url
    busy = (503, {"Retry-After": "0"}, b'{"detail": "PostgreSQL cannot be reached."}')
    scripted.answers = ["lose", busy, "pass", "pass", "lose", "pass"]
    path = long_chat(tmp_path / "chat.jsonl", 250, salience=0.1)
    done = cli("import", path, "--user", user, REVERIE_URL=scripted.url)
    assert (done.exit_code, figures(done)) == (0, (250, 0, 0))
    assert "Trying again for up to 120 s" in done.stderr
    assert scripted.answers == []
    assert len({key for _, key in scripted.asked}) == 3, "three batches, each sent again with its own key"
    assert traces_of(cli, user) == 250


def test_what_is_known_is_passed_in_larger_batches(
    cli: "Cli", service: "Service", scripted: "Script", user: str, tmp_path: Path
) -> None:
    path = long_chat(tmp_path / "chat.jsonl", 300, salience=0.1)
    assert cli("import", path, "--user", user).exit_code == 0
    grown = long_chat(tmp_path / "chat.jsonl", 1400, salience=0.1)
    scripted.behind = service.url
    scripted.answers = ["pass"] * 20
    done = cli("import", grown, "--user", user, REVERIE_URL=scripted.url)
    # 100 of which all were known, 1000 of which some were, and again 100 at a time.
    assert len(scripted.asked) == 5
    assert figures(done) == (1100, 300, 0)


def test_vectors_that_follow_are_said(cli: "Cli", user: str, tmp_path: Path) -> None:
    assert cli("import", long_chat(tmp_path / "chat.jsonl", 100, salience=0.1), "--user", user).exit_code == 0
    lines = (tmp_path / "chat.jsonl").read_text().splitlines()
    grown = written(tmp_path / "chat.jsonl", *lines, *({"content": f"note {n}"} for n in range(150)))
    done = cli("import", grown, "--user", user)
    assert figures(done) == (150, 100, 0)
    assert re.search(r"^150 vectors follow in the background \(reverie operation ", done.stdout, re.MULTILINE)


def test_a_terminal_is_shown_how_far_it_is(service: "Service", user: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "reverie", "import", long_chat(tmp_path / "chat.jsonl", 150), "--user", user],
        env=os.environ | {"REVERIE_URL": service.url, "REVERIE_KEY": service.key, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert b"stored" in out
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"\d+% [\d ]+ stored, 0 known already, 0 rejected, \d+/s", drawn)
    assert re.search(r"\d+:\d\d:\d\d|-:--:--", drawn), "the time that remains"


def test_without_a_terminal_a_line_now_and_then(
    cli: "Cli", user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "TOLD_EVERY", 0.0)
    path = long_chat(tmp_path / "chat.jsonl", 120, salience=0.1)
    lines = cli("import", path, "--user", user).stderr.splitlines()
    assert len(lines) == 120
    assert re.fullmatch(r"100 stored, 0 known already, 0 rejected, \d+/s, 100 % read …", lines[-1])


def test_the_pace_is_that_of_the_last_seconds() -> None:
    pace = importing.Pace(0.0)
    assert pace.rate(0.0, 0) == 0.0
    assert pace.rate(5.0, 5000) == 1000.0
    assert pace.rate(20.0, 5150) == 10.0
    assert pace.rate(29.0, 5186) == 7.75
    assert pace.rate(40.0, 5186 + 1100) == 100.0
