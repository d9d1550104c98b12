"""`reverie status`: what a person sees of the service, what programs read, and how it ends."""

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from reverie import __version__
from reverie.cli import exits
from reverie.cli.status import MOST_ROWS, size, span

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Service


def test_it_shows_the_whole_service(cli: "Cli", service: "Service", user: str) -> None:
    cli("remember", "The lighthouse is red.", "--user", user)
    shown = cli("status")
    assert shown.exit_code == exits.DONE, shown.output
    assert shown.stdout.startswith(f"Reverie {__version__} at {service.url} is ready, up for ")
    lines = [line.strip() for line in shown.stdout.splitlines()]
    parts = {line.split("  ")[0]: line for line in lines if " up " in line or " down " in line}
    assert parts.keys() >= {"PostgreSQL", "Redis", "Embedding model", "Worker"}
    assert "pgvector 0." in parts["PostgreSQL"]
    assert "bge-small-en-v1.5, 384 dimensions, fp16" in parts["Embedding model"]
    # The service has none; what other tests have left to one may have waited for long.
    assert "No worker has shown itself" in parts["Worker"] or "none runs: start" in parts["Worker"]
    assert any(line.startswith("Operations: ") and line.endswith(" failed.") for line in lines)
    assert any(line.startswith("Encoder: 0 questions and 0 documents") for line in lines)
    assert any(line.startswith("Connections to PostgreSQL: ") for line in lines)
    partitions = [line for line in lines if line.startswith("memory_body_")]
    assert partitions
    assert all(" hot " in line and line.endswith(("kB", "bytes", "MB")) for line in partitions[:2])


def test_programs_read_json(cli: "Cli") -> None:
    shown = cli("status", "--json")
    assert shown.exit_code == exits.DONE
    found = json.loads(shown.stdout)
    assert found["version"] == __version__
    told = "parts queue encoder pool partitions indexes versions model changes errors"
    assert set(told.split()) <= set(found)


def test_all_shows_what_is_left_out_otherwise(cli: "Cli") -> None:
    names = [one["name"] for one in json.loads(cli("status", "--json").stdout)["indexes"]]
    assert len(names) > MOST_ROWS
    some, every = cli("status").stdout, cli("status", "--all").stdout
    assert f"{len(names) - MOST_ROWS} more indexes: --all shows them." in some
    assert "--all shows them" not in every
    assert [name for name in names if f"\n {name} " not in every] == []
    assert len([name for name in names if f"\n {name} " in some]) == MOST_ROWS


def test_the_last_errors_are_shown(cli: "Cli", service: "Service") -> None:
    made = str(uuid4())
    with psycopg.connect(service.database_url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO operation (id, space_id, kind, state, attempts, error, created_at, finished_at) SELECT %s, id,"
            " 'embed', 'failed', 3, 'The worker died.', now(), now() FROM space WHERE name = 'default'",
            (made,),
        )
        shown = cli("status")
        owner.execute("DELETE FROM operation WHERE id = %s", (made,))
    [line] = [line for line in shown.stdout.splitlines() if made in line]
    assert line.rstrip().endswith("The worker died.")


def test_a_key_that_may_not_look_is_told_so(cli: "Cli") -> None:
    made = json.loads(cli("key", "create", "reader", "--scope", "read", "--json").stdout)
    refused = cli("status", REVERIE_KEY=made["key"])
    assert refused.exit_code == exits.REFUSED
    assert "admin" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["people", "programs"])
def test_a_service_that_is_not_ready_ends_it_with_69(
    cli: "Cli", monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    down = {"status": "down", "needed": True, "detail": "PostgreSQL cannot be reached: look at DATABASE_URL."}
    unready = json.loads(cli("status", "--json").stdout)
    unready |= {"status": "unready", "queue": None, "partitions": None, "tables": None, "indexes": None, "errors": None}
    unready["parts"]["postgresql"] = down
    unready["versions"] |= {"postgresql": None, "pgvector": None, "schema_revision": None}
    monkeypatch.setattr("reverie.cli.client.Client.get", lambda *_args, **_given: unready)
    shown = cli("status", *form)
    assert shown.exit_code == exits.UNAVAILABLE
    assert "PostgreSQL cannot be reached: look at DATABASE_URL." in shown.stdout
    assert "is not ready" in shown.stderr


def test_where_the_key_cannot_be_looked_at_health_is_shown(cli: "Cli", monkeypatch: pytest.MonkeyPatch) -> None:
    part = {"status": "down", "needed": True, "detail": "PostgreSQL cannot be reached: look at DATABASE_URL."}
    answers: dict[str, Any] = {
        "/admin/status": {"status": 503, "detail": "PostgreSQL does not answer, and this key is not known here."},
        "/health/ready": {"status": "unready", "parts": {"postgresql": part}},
    }
    monkeypatch.setattr("reverie.cli.client.Client.get", lambda _self, path, **_given: answers[path])
    shown = cli("status")
    assert shown.exit_code == exits.UNAVAILABLE
    assert "PostgreSQL cannot be reached" in shown.stdout
    assert "this key is not known here" in shown.stderr


def test_a_service_that_is_not_there_is_one_line(alone: "Cli") -> None:
    away = alone("status", "--url", "http://127.0.0.1:1", "--key", "rv_0")
    assert away.exit_code == exits.UNAVAILABLE
    assert away.stderr.count("\n") == 1


def test_watching_looks_again_until_interrupted(cli: "Cli", monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("reverie.cli.status.time.sleep", pause)
    shown = cli("status", "--watch", "3")
    assert pauses == [3.0, 3.0]
    assert shown.stdout.count("is ready, up for") == 2
    assert shown.exit_code != exits.DONE


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 bytes"),
        (812, "812 bytes"),
        (8192, "8.2 kB"),
        (123_456, "123 kB"),
        (9_748_480, "9.7 MB"),
        (2**50, "1126 TB"),
    ],
)
def test_sizes_in_words(number: int, said: str) -> None:
    assert size(number) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (59.9, "59 s"),
        (200, "3 min 20 s"),
        (44_400, "12 h 20 min"),
        (86_400, "1 day 0 h"),
    ],
)
def test_times_in_words(seconds: float, said: str) -> None:
    assert span(seconds) == said
