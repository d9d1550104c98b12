"""`reverie up`, the real thing: its processes, what it prints, its end, and the next start."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.listening import ready
from tests.embedded.helpers import alive, descendants, forget
from tests.waiting import PATIENCE

from reverie.cli import greeting
from reverie.cli.client import Client, local_url
from reverie.cli.up import exports, timing_lines, unready
from reverie.embedded.postgres import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Service


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that the account of the servers can enter, with a space in its path."""
    folder = Path(tempfile.mkdtemp(prefix="rv-"))
    folder.chmod(0o755)
    yield folder / "my home"
    forget(folder)


class Up:
    """A running `reverie up`."""

    def __init__(self, home: Path, port: int, *options: str) -> None:
        command = [sys.executable, "-m", "reverie", "up", "--home", str(home), "--port", str(port), *options]
        self._output = home.parent / f"output {time.monotonic_ns()}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603
        self._url = f"http://127.0.0.1:{port}"

    @property
    def output(self) -> str:
        return self._output.read_text()

    def until(self, said: str) -> str:
        """Waits until something was said, and returns all that was."""
        deadline = time.monotonic() + PATIENCE
        while said not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)
        return self.output

    def end(self, number: signal.Signals) -> None:
        """Ends it by a signal, and sees that nothing of it is left."""
        family = descendants(self.process.pid)
        assert len(family) >= 4, "PostgreSQL, Redis, the API and the worker"
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.output
        assert not [pid for pid in family if alive(pid)]


def pasted(output: str) -> dict[str, object]:
    """What the printed curl answers in a shell."""
    command = re.search(r"^Try   (curl .*)$", output, re.MULTILINE)
    assert command, output
    done = subprocess.run(["/bin/sh", "-c", command[1]], capture_output=True, text=True, check=True)  # noqa: S603
    answered: dict[str, object] = json.loads(done.stdout)
    return answered


def test_from_an_empty_store_to_the_second_start(home: Path, alone: "Cli") -> None:
    port = free_port()
    first = Up(home, port, "--timings")
    try:
        said = first.until("\n  ready ")
        assert f"serves at http://127.0.0.1:{port}, ready after " in said
        assert "now it remembers 40 turns" in said
        skye, allergy = (said.partition(question)[2].splitlines()[1] for question in greeting.QUESTIONS)
        assert "12 to 19 September" in skye
        assert "walnuts" in allergy
        assert {"migrations", "API with its model"} <= set(re.findall(r"^  (\S.*?)  +\d+\.\d\d s$", said, re.MULTILINE))
        assert "walnuts" in str(pasted(said)["results"])
        key = (home / "key").read_text().strip()
        assert f"\nElse  export REVERIE_HOME={shlex.quote(str(home))} REVERIE_PORT={port} (so that" in said
        assert f"Key   {key} (kept in {home / 'key'})" in said
        assert (home / "key").stat().st_mode & 0o777 == 0o600

        here = {"REVERIE_HOME": str(home), "REVERIE_PORT": str(port)}
        assert alone("remember", "We keep this", "--user", "me", **here).exit_code == 0
        assert alone("key", "create", "another", **here).exit_code == 0
        second = alone("up", "--home", str(home), "--port", str(free_port()))
        assert second.exit_code == 78
        assert f"Reverie already runs on {home}" in second.stderr
        busy = alone("up", "--home", str(home.parent / "other"), "--port", str(port))
        assert busy.exit_code == 78
        assert f"Port {port} on 127.0.0.1 is in use" in busy.stderr
        first.end(signal.SIGTERM)
        assert first.output.endswith("Stopping …\nStopped.\n")
    finally:
        first.process.kill()
        first.process.wait()

    again = Up(home, port)
    try:
        said = again.until("\nTry ")
        assert "It remembers 41 traces of 2 users." in said
        assert f"Key   in {home / 'key'}" in said
        assert key not in said
        assert [one["content"] for one in pasted(said)["results"]] == ["We keep this"]  # type: ignore[attr-defined]
        again.end(signal.SIGINT)
    finally:
        again.process.kill()
        again.process.wait()


def test_quiet_on_given_servers_without_a_sample(
    home: Path, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    quiet = Up(home, port, "--quiet", "--no-sample")
    try:
        deadline = time.monotonic() + PATIENCE
        while not (home / "key").exists() or not ready(f"http://127.0.0.1:{port}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(descendants(quiet.process.pid)) <= 2, "no servers of its own"
        with Client(f"http://127.0.0.1:{port}", (home / "key").read_text().strip()) as client:
            assert greeting.stock(client).latest is None
        command = greeting.curl(f"http://127.0.0.1:{port}", home / "key", None)
        assert pasted(f"Try   {command}")["traces"]
        quiet.process.terminate()
        assert quiet.process.wait(PATIENCE) == 0
        assert quiet.output == ""
    finally:
        quiet.process.kill()
        quiet.process.wait()


def test_a_start_that_cannot_be_is_one_sentence(alone: "Cli", tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "home.json").write_text('{"format": 99}')
    (tmp_path / "file").touch()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        for home, number, sentence in (
            (tmp_path / "a", port, f"Port {port} on 127.0.0.1 is in use"),
            (tmp_path / "file" / "b", free_port(), "cannot be written"),
            (newer, free_port(), "was written by a newer Reverie"),
        ):
            failed = alone("up", "--home", str(home), "--port", str(number))
            assert failed.exit_code == 78
            assert sentence in failed.stderr
            assert failed.stderr.count("\n") == 1
    wrong = alone("up", "--port", "70000")
    assert wrong.exit_code == 78
    assert wrong.stderr.startswith("REVERIE_PORT: ")


def test_a_database_that_does_not_answer_is_named(alone: "Cli", tmp_path: Path) -> None:
    nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    failed = alone("up", "--port", str(free_port()), DATABASE_URL=nobody, REDIS_URL="redis://127.0.0.1:1/0")
    assert failed.exit_code == 78
    assert "check DATABASE_URL" in failed.stderr


def test_what_is_not_ready_is_named_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "postgres.log").touch()
    health = {
        "status": "unready",
        "parts": {
            "postgresql": {"status": "down", "needed": True, "detail": "PostgreSQL does not answer."},
            "redis": {"status": "down", "needed": False, "detail": "Redis does not answer."},
        },
    }
    sentence = unready(health, tmp_path)
    assert "PostgreSQL is down: PostgreSQL does not answer." in sentence
    assert f"Its log is {tmp_path / 'postgres.log'}." in sentence
    assert "Redis" not in sentence
    assert "did not answer within" in unready(None, tmp_path)


def test_the_sample_is_a_conversation_that_the_service_takes(cli: "Cli", service: "Service", user: str) -> None:
    turns = greeting.sample()
    assert len(turns) == 40
    assert {turn["speaker"] for turn in turns} == {"Nadia", "Tomek", "Wren"}
    days = [turn["occurred_at"] for turn in turns]
    assert days == sorted(days)
    assert days[0][:7] == "2026-03"
    assert days[-1][:7] == "2026-10"
    with Client(service.url, service.key) as client:
        assert greeting.remember_sample(client) == 40
        for question, expected in zip(greeting.QUESTIONS, ("Booked! We go to Skye", "It's walnuts."), strict=True):
            answered = greeting.ask(client, question)
            assert answered.results[0]["content"].startswith(expected)
            assert len(answered.results) <= 3
            assert expected in greeting.told(answered)[1].plain
        assert greeting.remember_sample(client) == 40
        assert cli("forget", "--user", greeting.SAMPLE_USER, "--all", "--yes").stdout.startswith("Forgot 40 traces")
        assert greeting.ask(client, greeting.QUESTIONS[0]).results == []


def test_a_curl_survives_any_path_and_name() -> None:
    command = greeting.curl("http://[::1]:80", Path("/a 'b'/$c/key"), "ann & bob/é")
    words = shlex.split(command)
    assert words[:3] == ["curl", "-s", "-H"]
    assert shlex.quote("/a 'b'/$c/key") in command
    assert "user_id=ann%20%26%20bob%2F%C3%A9&q=" in words[-1]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8"),
        ("0.0.0.0", "http://127.0.0.1:8"),  # noqa: S104 - only compared
        ("::", "http://[::1]:8"),
        ("memory.example.org", "http://memory.example.org:8"),
    ],
)
def test_the_url_by_which_this_machine_reaches_a_service(host: str, url: str) -> None:
    assert local_url(host, 8) == url


def test_another_terminal_is_told_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert exports(None, None) == []
    assert exports(None, 8010) == ["Else  export REVERIE_PORT=8010 (so that `reverie` finds it in another terminal)"]
    [line] = exports(Path("Ann's home"), 8010)
    export = line.removeprefix("Else  ").partition(" (so")[0]
    command = ["/bin/sh", "-c", f"{export}; env"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=True)  # noqa: S603
    assert {f"REVERIE_HOME={tmp_path}/Ann's home", "REVERIE_PORT=8010"} <= set(done.stdout.splitlines())


def test_timings_are_a_table() -> None:
    lines = timing_lines([("one", 0.5), ("another", 12.25)], 13.0)
    assert lines == ["", "  one        0.50 s", "  another   12.25 s", "  ready     13.00 s"]
