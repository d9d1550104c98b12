"""`reverie export`, and `reverie import` of what it wrote: the same traces, elsewhere."""

import gzip
import json
import stat
import threading
from pathlib import Path
from socket import SHUT_RDWR, create_connection, create_server, socket
from typing import TYPE_CHECKING, Any

import pytest

from reverie.cli import export
from reverie.cli.exits import Unavailable

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Service

DIM = 384
TRACES: list[dict[str, Any]] = [
    {"content": "Miso is a cat.", "kind": "fact", "external_id": "miso", "salience": 0.9, "meta": {"of": ["a", 1]}},
    {"content": "Yes.", "role": "user", "conversation_id": "c", "occurred_at": "2026-05-08T13:56:00.25Z"},
    {"content": "Yes.", "role": "assistant", "conversation_id": "c", "speaker": "Bot", "source": {"page": 3}},
    {"content": "Sí, claro.", "language": "spanish", "expires_at": "2099-01-01T00:00:00Z"},
    {"content": "Line one.\nLine two. \u2028 \u0001 end", "embedding": [1.0] + [0.0] * (DIM - 1)},
]
SAME = ("content", "kind", "role", "speaker", "conversation_id", "external_id", "language", "happened_at", "expires_at",
        "salience", "source", "meta")  # fmt: skip


def remember(cli: "Cli", tmp_path: Path, user: str, traces: list[dict[str, Any]]) -> None:
    path = tmp_path / "given.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in traces))
    assert cli("import", str(path), "--user", user).exit_code == 0


def held(cli: "Cli", user: str) -> list[dict[str, Any]]:
    """What is remembered of a user, oldest first."""
    page = json.loads(cli("traces", "--user", user, "--limit", "100", "--json").stdout)
    return [{name: one[name] for name in SAME} for one in reversed(page["items"])]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def to_another(path: Path, user: str) -> None:
    """The same export, as of another user."""
    lines = [{**one, **({"user_id": user} if "user_id" in one else {})} for one in records(path)]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))


def test_what_is_exported_and_imported_again_is_the_same(cli: "Cli", user: str, tmp_path: Path) -> None:
    remember(cli, tmp_path, user, TRACES)
    path = tmp_path / "ann.jsonl"
    done = cli("export", "--user", user, "--output", str(path), "--vectors")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("5 traces, 1 link, ")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.glob("*.part")) == []
    before = held(cli, user)
    to_another(path, f"{user} again")
    done = cli("import", str(path), "--json")
    assert (done.exit_code, json.loads(done.stdout)["stored"]) == (0, 5)
    assert held(cli, f"{user} again") == before
    # What the caller brought is brought again.
    again = tmp_path / "again.jsonl"
    assert cli("export", "--user", f"{user} again", "-o", str(again), "--vectors").exit_code == 0
    [own] = [one for one in records(again) if one.get("supplied")]
    assert own["embeddings"][0]["vector"][:2] == [1.0, 0.0]
    # And known the next time.
    assert json.loads(cli("import", str(path), "--json").stdout)["duplicate"] == 5


def test_on_standard_output_nothing_else_stands(cli: "Cli", user: str, tmp_path: Path) -> None:
    remember(cli, tmp_path, user, TRACES[:2])
    done = cli("export", "--user", user)
    assert [json.loads(line)["record"] for line in done.stdout.splitlines()][-1] == "end"
    assert f"of {user}" in done.stderr
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(done.stdout_bytes))
    assert json.loads(cli("import", str(packed), "--json").stdout)["duplicate"] == 2


@pytest.mark.parametrize("name", ["..", "a/b", "a?b#c", "100 %"])
def test_any_user_can_be_named(cli: "Cli", tmp_path: Path, name: str) -> None:
    remember(cli, tmp_path, name, [{"content": "Tea."}])
    done = cli("export", "--user", name, "--output", str(tmp_path / "out"), "--json")
    assert json.loads(done.stdout)["counts"]["trace"] == 1


def test_a_user_nobody_knows(cli: "Cli", tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text("as it was")
    done = cli("export", "--user", "nobody at all", "--output", str(path))
    assert (done.exit_code, done.stderr) == (3, "There is no user 'nobody at all'.\n")
    assert path.read_text() == "as it was"


def test_a_file_that_cannot_be_written(cli: "Cli", user: str, tmp_path: Path) -> None:
    remember(cli, tmp_path, user, TRACES[:1])
    done = cli("export", "--user", user, "--output", str(tmp_path / "no" / "such" / "folder"))
    assert done.exit_code == 2
    assert "cannot be written (No such file or directory)" in done.stderr
    full = cli("export", "--user", user, "--output", "/dev/full/x")
    assert full.exit_code == 2


def test_json_and_lines_do_not_go_together(cli: "Cli", user: str) -> None:
    assert cli("export", "--user", user, "--json").exit_code == 2


class Cutting:
    """Passes a request on to a service, and cuts the line after so many bytes of the answer."""

    def __init__(self, to: str, after: int) -> None:
        host, _, port = to.removeprefix("http://").partition(":")
        self._to = (host, int(port))
        self._after = after
        self._server = create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> "Cutting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        line, _ = self._server.accept()
        with line, create_connection(self._to) as behind:
            behind.sendall(line.recv(65_536))
            self._pass(behind, line)

    def _pass(self, behind: socket, line: socket) -> None:
        left = self._after
        while left and (part := behind.recv(left)):
            line.sendall(part)
            left -= len(part)
        line.shutdown(SHUT_RDWR)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_line_that_is_cut_is_noticed_and_leaves_what_was_there(
    cli: "Cli", service: "Service", user: str, tmp_path: Path, share: float
) -> None:
    remember(cli, tmp_path, user, [{"content": f"Note {n} {'x' * 2000}"} for n in range(50)])
    path = tmp_path / "out.jsonl"
    assert cli("export", "--user", user, "--output", str(path)).exit_code == 0
    whole = path.read_bytes()
    with Cutting(service.url, int(len(whole) * share)) as cutting:
        done = cli("export", "--user", user, "--output", str(path), REVERIE_URL=cutting.url)
    assert done.exit_code == 69
    assert done.stderr.startswith("The export is not whole: The connection to ")
    assert path.read_bytes() == whole
    assert list(tmp_path.glob("*.part")) == []
    with Cutting(service.url, int(len(whole) * share)) as cutting:
        torn = cli("export", "--user", user, REVERIE_URL=cutting.url)
    assert torn.exit_code == 69
    path.write_bytes(torn.stdout_bytes)
    done = cli("import", str(path))
    assert done.exit_code == 3
    assert "the export ends here, before its last line" in done.stderr or "it is not JSON" in done.stderr


def test_a_last_line_that_counts_others_is_noticed(tmp_path: Path) -> None:
    tally = export.Tally()
    lines = [b'{"record":"trace"}\n', b'{"record":"end","counts":{"trace":2},"unreadable":0}\n']
    with (tmp_path / "out").open("wb") as out:
        export._take(lines, out, tally, lambda: None)
    with pytest.raises(Unavailable, match="counts other lines"):
        export._end(tally)


def test_a_fault_of_the_service_is_told(tmp_path: Path) -> None:
    lines = [b'{"record":"fault","detail":"PostgreSQL went away."}\n']
    with (tmp_path / "out").open("wb") as out, pytest.raises(Unavailable, match="PostgreSQL went away"):
        export._take(lines, out, export.Tally(), lambda: None)
