"""What goes wrong between a command and the service: one line that says what to do next, and an exit code."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reverie.cli import client, exits
from reverie.cli.client import Client
from reverie.embedded.postgres import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Answer, Cli, Script, Service
    from typer.testing import Result

CERTIFICATE = Path(__file__).with_name("loopback.pem")
STORED = {"traces": [{"status": "stored", "trace_id": "t", "vectors": "stored"}], "degraded": []}
DONE: "Answer" = (201, {}, json.dumps(STORED).encode())
USER = ("--user", "u")


def problem(status: int, detail: str, field: str | None = None, **more: str) -> "Answer":
    """A problem document as a script answers it; ``more`` are headers, with _ for -."""
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    return status, headers, json.dumps({"detail": detail, "status": status, "field": field}).encode()


def said(result: "Result", code: int) -> str:
    """The one line of a command that failed with this code."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.endswith(".\n")
    return result.stderr.strip()


def test_nothing_listens(alone: "Cli") -> None:
    url = f"http://127.0.0.1:{free_port()}"
    sentence = said(alone("users", "--url", url, "--key", "k"), exits.UNAVAILABLE)
    assert sentence == (
        f"Reverie does not answer at {url} (Connection refused): `reverie up` starts one on this machine, or name "
        "another with --url, REVERIE_URL or --profile."
    )


def test_a_host_that_is_none(alone: "Cli") -> None:
    # RFC 6761: no such name ever resolves.
    sentence = said(alone("users", "--url", "http://reverie.invalid", "--key", "k"), exits.UNAVAILABLE)
    assert sentence.startswith("Reverie does not answer at http://reverie.invalid (")
    assert sentence.endswith("name another with --url, REVERIE_URL or --profile.")
    assert "reverie up" not in sentence


def test_a_host_that_does_not_take_the_connection(alone: "Cli", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECTING", 0.2)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        sentence = said(alone("users", "--url", url, "--key", "k"), exits.UNAVAILABLE)
    assert sentence.startswith(f"{url} cannot be reached within 0.2 s: ")


def test_a_service_that_does_not_answer(alone: "Cli", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sentence = said(alone("users", "--url", url, "--key", "k"), exits.UNAVAILABLE)
    assert sentence == f"{url} did not answer within 0.3 s: `reverie health` says what is down; then try again."


@contextmanager
def over_tls() -> Iterator[int]:
    """A service on loopback whose certificate nobody trusts; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as safe:
                        safe.recv(65536)
                        body = b'{"items": [], "next_cursor": null}'
                        safe.sendall(
                            b"HTTP/1.1 200 OK\r\nX-Request-ID: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                        )
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_certificate_that_is_not_trusted(alone: "Cli") -> None:
    with over_tls() as port:
        url = f"https://127.0.0.1:{port}"
        sentence = said(alone("users", "--url", url, "--key", "k"), exits.UNAVAILABLE)
        assert sentence == (
            f"The certificate of {url} is not trusted (self-signed certificate): name its authority's file with "
            "SSL_CERT_FILE, or the host as the certificate names it."
        )
        trusted = alone("users", "--url", url, "--key", "k", SSL_CERT_FILE=str(CERTIFICATE))
        assert (trusted.exit_code, trusted.stderr) == (exits.NOTHING, "There are no users yet.\n")


def test_certificates_that_cannot_be_read(alone: "Cli", tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", Path(__file__)):
        failed = alone("users", "--url", "https://127.0.0.1:9", "--key", "k", SSL_CERT_FILE=str(path))
        sentence = said(failed, exits.CONFIGURATION)
        assert sentence.startswith("The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read (")


def test_https_where_there_is_http(alone: "Cli", service: "Service") -> None:
    url = service.url.replace("http://", "https://")
    sentence = said(alone("users", "--url", url, "--key", "k"), exits.UNAVAILABLE)
    assert sentence.startswith(f"{url} does not speak TLS as expected (")
    assert sentence.endswith("if it speaks HTTP, name it with http://.")


def test_http_where_there_is_https(alone: "Cli", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    with over_tls() as port:
        sentence = said(alone("users", "--url", f"http://127.0.0.1:{port}", "--key", "k"), exits.UNAVAILABLE)
    assert sentence.startswith(f"The connection to http://127.0.0.1:{port} broke (")


def test_there_is_no_key(alone: "Cli", service: "Service", tmp_path: Path) -> None:
    sentence = said(alone("users", "--url", service.url), exits.CONFIGURATION)
    assert sentence == (
        "There is no key: give one with --key, REVERIE_KEY or a profile, or let `reverie up` make one, kept in "
        f"{tmp_path / 'home' / 'key'}."
    )


def test_a_wrong_key(alone: "Cli", service: "Service", tmp_path: Path) -> None:
    url = ("--url", service.url)
    by_option = said(alone("users", *url, "--key", "rv_wrong"), exits.REFUSED)
    assert by_option == (
        "The key is not known or was revoked (it came from --key or REVERIE_KEY): give one with --key or REVERIE_KEY."
    )
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text("rv_old\n")
    assert f"(it came from {tmp_path / 'home' / 'key'})" in said(alone("users", *url), exits.REFUSED)


def test_a_key_of_the_wrong_scope(cli: "Cli", user: str) -> None:
    reading = cli("key", "create", "a reader", "--scope", "read").stdout.strip()
    sentence = said(cli("remember", "x", "--user", user, "--key", reading), exits.REFUSED)
    assert sentence == (
        "This needs a key with the scope write; this key has read: `reverie key create` makes one, with an admin key."
    )


def test_a_body_that_is_too_large(cli: "Cli", user: str) -> None:
    huge = cli("remember", "-", "--user", user, stdin="a" * (33 * 1024 * 1024))
    sentence = said(huge, exits.REFUSED)
    assert sentence.startswith("The body takes at most 33554432 bytes: send less, or raise REVERIE_MAX_BODY_BYTES")


def test_a_field_that_is_wrong(cli: "Cli", user: str) -> None:
    sentence = said(cli("remember", "x", "--user", user, "--occurred-at", "soon"), exits.REFUSED)
    assert "occurred_at takes an ISO 8601 time such as" in sentence


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again(alone: "Cli", scripted: "Script", status: int) -> None:
    busy = problem(status, "There is too much to do.", Retry_After="0")
    scripted.answers = [busy, busy, DONE]
    result = alone("remember", "x", *USER, "--url", scripted.url, "--key", "k")
    assert (result.exit_code, result.stderr) == (exits.DONE, "")
    assert len(scripted.asked) == 3
    assert len(set(scripted.asked)) == 1, "the same Idempotency-Key each time"
    assert scripted.asked[0][1]


def test_it_waits_as_long_as_it_was_asked_to(alone: "Cli", scripted: "Script") -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    scripted.answers = [problem(503, "No.", Retry_After="1"), problem(503, "No.", Retry_After=soon), DONE]
    began = time.monotonic()
    assert alone("remember", "x", *USER, "--url", scripted.url, "--key", "k").exit_code == exits.DONE
    # The date has no fractions of a second.
    assert time.monotonic() - began > 0.99


def test_a_person_is_not_kept_waiting_for_minutes(alone: "Cli", scripted: "Script") -> None:
    scripted.answers = [problem(429, "There is too much to do.", Retry_After="90")]
    result = alone("remember", "x", *USER, "--url", scripted.url, "--key", "k")
    assert said(result, exits.UNAVAILABLE) == (
        "There is too much to do: try again in 90 s; `reverie health` says more."
    )


def test_a_service_that_stays_busy(alone: "Cli", scripted: "Script") -> None:
    scripted.answers = [problem(503, "PostgreSQL cannot be reached.", Retry_After="0")] * client.ATTEMPTS
    result = alone("remember", "x", *USER, "--url", scripted.url, "--key", "k")
    assert said(result, exits.UNAVAILABLE) == (
        "PostgreSQL cannot be reached: try again in 1 s; `reverie health` says more."
    )
    assert scripted.answers == []


def test_a_connection_that_breaks_is_made_again(alone: "Cli", scripted: "Script") -> None:
    sentence = "The first request with this Idempotency-Key still runs."
    running = problem(409, sentence, "Idempotency-Key", Retry_After="0")
    scripted.answers = [None, running, DONE]
    result = alone("remember", "x", *USER, "--url", scripted.url, "--key", "k")
    assert (result.exit_code, result.stderr) == (exits.DONE, "")
    assert len(set(scripted.asked)) == 1


def test_a_key_whose_text_was_lost_is_said(cli: "Cli", scripted: "Script", service: "Service") -> None:
    scripted.behind = service.url
    scripted.answers = ["lose", "pass"]
    sentence = said(cli("key", "create", "lost on the way", REVERIE_URL=scripted.url), exits.UNAVAILABLE)
    lost = sentence.partition("`reverie key revoke ")[2].partition("`")[0]
    assert sentence.endswith("then make another.")
    assert cli("key", "revoke", lost).exit_code == exits.DONE


def test_a_connection_that_breaks_again_and_again(
    alone: "Cli", scripted: "Script", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    scripted.answers = [None, None]
    sentence = said(alone("remember", "x", *USER, "--url", scripted.url, "--key", "k"), exits.UNAVAILABLE)
    assert sentence.startswith(f"The connection to {scripted.url} broke (")
    assert sentence.endswith("): try again.")


@pytest.mark.parametrize(
    "reply",
    [(200, {}, b"<html>"), (200, {}, b'{"ok": true}'), (404, {}, b"not here"), (500, {}, b'{"error": 1}')],
)
def test_something_else_listens_there(alone: "Cli", scripted: "Script", reply: "Answer") -> None:
    scripted.answers, scripted.ours = [reply], False
    sentence = said(alone("remember", "x", *USER, "--url", scripted.url, "--key", "k"), exits.UNAVAILABLE)
    assert "is not Reverie: name another service with --url, REVERIE_URL or --profile." in sentence


def test_who_is_persistent_waits_for_a_service_that_is_away() -> None:
    port, told = free_port(), list[str]()
    body = b'{"status": "live"}'

    def come_back() -> None:
        time.sleep(0.7)
        with socket.create_server(("127.0.0.1", port)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nX-Request-ID: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )

    thread = threading.Thread(target=come_back)
    thread.start()
    with Client(f"http://127.0.0.1:{port}", "k", persistence=30, told=told.append) as patient:
        assert patient.get("/health/live") == {"status": "live"}
    thread.join()
    assert len(told) == 1
    assert told[0].endswith("Trying again for up to 30 s …")


def test_the_key_of_this_machine_stays_on_it(alone: "Cli", tmp_path: Path) -> None:
    (tmp_path / "key").write_text("rv_secret")
    sentence = said(alone("users", "--url", "http://elsewhere.test", REVERIE_HOME=str(tmp_path)), exits.CONFIGURATION)
    assert sentence.startswith("There is no key for http://elsewhere.test")
    assert "rv_secret" not in sentence
