"""A running service that the commands talk to over HTTP, and ways to run them."""

import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.cli.listening import Service as Service
from tests.cli.listening import listening
from typer.testing import CliRunner, Result

from reverie.cli.main import app

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

Cli = Callable[..., Result]
Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


@pytest.fixture(scope="session")
def service(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service for all tests of the commands; each test has users of its own."""
    with listening(postgres, template, redis_url, tmp_path_factory.mktemp("service"), "cli") as running:
        yield running


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The commands see no settings of whoever runs the tests."""
    for name in ("DATABASE_URL", "REDIS_URL", "REVERIE_URL", "REVERIE_KEY", "REVERIE_PROFILE", "REVERIE_PORT",
                 "REVERIE_HOST", "SSL_CERT_FILE", "SSL_CERT_DIR", "COLUMNS"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("REVERIE_CONFIG", str(tmp_path / "reverie.yaml"))


@pytest.fixture(autouse=True)
def _in_a_process_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run here in the process of the tests, which does not get back the priority that it has given away."""
    monkeypatch.setattr("reverie.embedding.priority.give_way", lambda: None)


@pytest.fixture
def alone() -> Cli:
    """Runs the command line without a service: ``alone("recall", "q", stdin="…", REVERIE_PORT="1")``."""

    def run(*arguments: str, stdin: str | bytes | None = None, **environment: str) -> Result:
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=environment, prog_name="reverie")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def cli(alone: Cli, service: Service) -> Cli:
    """Runs the command line against the service."""

    def run(*arguments: str, stdin: str | bytes | None = None, **environment: str) -> Result:
        known = {"REVERIE_URL": service.url, "REVERIE_KEY": service.key}
        return alone(*arguments, stdin=stdin, **(known | environment))

    return run


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of the test's own."""
    return f"user of {request.node.name}"


@dataclass
class Script:
    """Something that listens on loopback and answers each POST with the next of ``answers``; keeps what was asked.

    None breaks the connection, ``PASS`` is what the service behind answers, and ``LOSE`` lets the service behind do
    what was asked and breaks the connection then.
    """

    url: str = ""
    behind: str = ""
    answers: list[Answer | str | None] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """The path and the Idempotency-Key of each request."""
    ours: bool = True
    """Whether it passes for Reverie, whose every answer has an id."""


PASS, LOSE = "pass", "lose"


def _answering(script: Script) -> type[http.server.BaseHTTPRequestHandler]:
    class Answering(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            script.asked.append((self.path, self.headers["idempotency-key"]))
            answer = script.answers.pop(0)
            if isinstance(answer, str):
                there = httpx.post(script.behind + self.path, headers=dict(self.headers), content=body, timeout=60)
                answer = (there.status_code, {}, there.content) if answer == PASS else None
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in (({"X-Request-ID": "scripted"} if script.ours else {}) | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Answering


@pytest.fixture
def scripted() -> Iterator[Script]:
    """A listener that answers as the test tells it to."""
    script = Script()
    with http.server.HTTPServer(("127.0.0.1", 0), _answering(script)) as server:
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield script
        server.shutdown()
        thread.join()
