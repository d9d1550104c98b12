"""`reverie reembed`: another model for the store of DATABASE_URL, and what keeps it from that in one sentence."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from reverie.cli import exits
from reverie.core import clock
from reverie.core.ids import uuid7s
from reverie.embedded.found import running_store
from reverie.embedded.home import Home, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Cli
    from tests.servers import SharedPostgres

NOWHERE = "postgresql://127.0.0.1:1/x"


@pytest.fixture
def store(postgres: "SharedPostgres", template: str, request: pytest.FixtureRequest) -> "Iterator[str]":
    """A database of the test's own, with three traces."""
    name = f"reembed_{abs(hash(request.node.name))}"
    url = postgres.create(name, template)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("INSERT INTO space (id, name, created_at) VALUES (gen_random_uuid(), 'default', now())")
        owner.execute(
            "INSERT INTO memory_user (space_id, user_id, external_id, traces, created_at, updated_at)"
            " SELECT id, gen_random_uuid(), 'ada', 3, now(), now() FROM space"
        )
        owner.execute(
            "INSERT INTO memory_trace (space_id, user_id, id, kind, language, length, created_at, salience,"
            " salience_given, digest, vectors) SELECT space_id, user_id, id, 'note', 'english', 9, now(), 0.5, false,"
            " 'd', true FROM memory_user, unnest(%s::uuid[]) AS id",
            (uuid7s(clock.now(), 3),),
        )
        owner.execute(
            "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
            " SELECT space_id, user_id, id, now(), 1, 2, 'Tea at ' || right(id::text, 4), '' FROM memory_trace"
        )
        owner.execute(
            "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, vec)"
            " SELECT space_id, user_id, id, now(), 0, 0, 1, 2, array_fill(0.05::real, ARRAY[384])::halfvec(384)"
            " FROM memory_trace"
        )
    yield url
    postgres.drop(name)


def models(url: str) -> list[tuple[Any, ...]]:
    """(dimension, active, vectors) of every model of a store."""
    with psycopg.connect(url) as owner:
        return owner.execute(
            "SELECT dim, active, (SELECT count(*) FROM memory_embedding WHERE model_id = m.id) FROM model m ORDER BY id"
        ).fetchall()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--abort", "--drop-old"], "Say one thing"),
        (["--model", "all-MiniLM-L6-v2", "--abort"], "Say one thing"),
        (["--dim", "128", "--drop-old"], "Say one thing"),
        (["--dim", "0"], "--dim"),
        (["--precision", "fp8"], "fp8"),
        (["all-MiniLM-L6-v2"], "unexpected"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(alone: "Cli", arguments: list[str], says: str) -> None:
    refused = alone("reembed", *arguments, DATABASE_URL=NOWHERE)
    assert refused.exit_code == exits.USAGE
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "says"),
    [
        ([], {}, exits.CONFIGURATION, "start `reverie up` in another terminal, or set DATABASE_URL"),
        (
            ["--abort", "--yes"],
            {"DATABASE_URL": "postgresql://127.0.0.1:1/x"},
            exits.CONFIGURATION,
            "check DATABASE_URL",
        ),
        (["--model", "/no/such"], {"DATABASE_URL": "store"}, exits.CONFIGURATION, "there is no folder /no/such"),
        (["--dim", "3000", "--precision", "fp32"], {"DATABASE_URL": "store"}, exits.CONFIGURATION, "at most 2000"),
        (["--abort", "--yes"], {"DATABASE_URL": "store"}, exits.NOTHING, "nothing to abort"),
        (["--drop-old", "--yes"], {"DATABASE_URL": "store"}, exits.NOTHING, "nothing to drop"),
        (["--drop-old"], {"DATABASE_URL": "store"}, exits.USAGE, "add --yes"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    alone: "Cli", store: str, arguments: list[str], environment: dict[str, str], code: int, says: str
) -> None:
    given = {name: store if value == "store" else value for name, value in environment.items()}
    refused = alone("reembed", *arguments, **given)
    assert refused.exit_code == code, refused.stderr
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_store_goes_over_and_is_rid_of_the_old_vectors(alone: "Cli", store: str) -> None:
    done = alone("reembed", "--dim", "64", DATABASE_URL=store)
    assert done.exit_code == exits.DONE, done.stderr
    assert models(store) == [(384, False, 3), (64, True, 3)]
    lines = done.stdout.splitlines()
    assert "bge-small-en-v1.5 (384 dimensions, fp16) to bge-small-en-v1.5 (64 dimensions, fp16): 3 traces" in lines[0]
    assert lines[1].endswith("with EMBEDDING_MODEL=bge-small-en-v1.5 EMBEDDING_DIM=64")
    assert lines[2].endswith("reverie reembed --drop-old")
    assert "Making the vectors: 0 of 3 traces" in done.stderr
    again = alone("reembed", "--dim", "64", DATABASE_URL=store)
    assert again.exit_code == exits.DONE
    assert "nothing to do" in again.stdout
    gone = alone("reembed", "--drop-old", "--yes", DATABASE_URL=store)
    assert gone.exit_code == exits.DONE, gone.stderr
    assert gone.stdout == "The vectors of bge-small-en-v1.5 (384 dimensions, fp16) are gone.\n"
    assert models(store) == [(64, True, 3)]


def test_the_settings_are_the_model_that_is_meant_when_none_is_named(alone: "Cli", store: str) -> None:
    done = alone("reembed", DATABASE_URL=store, EMBEDDING_DIM="32", EMBEDDING_PRECISION="fp32")
    assert done.exit_code == exits.DONE, done.stderr
    assert "EMBEDDING_DIM=32 EMBEDDING_PRECISION=fp32" in done.stdout
    assert models(store) == [(384, False, 3), (32, True, 3)]


def test_an_endpoint_that_does_not_answer_is_told_of(alone: "Cli", store: str) -> None:
    refused = alone("reembed", "--model", "x", "--embedding-url", "http://127.0.0.1:1/v1", DATABASE_URL=store)
    assert refused.exit_code == exits.UNAVAILABLE
    assert refused.stderr.count("\n") == 1
    assert models(store) == [(384, True, 3)]


def test_the_store_of_a_home_is_found_by_its_pid_file(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert running_store(home) is None
    write_private(tmp_path / "secrets.json", json.dumps({"superuser": "s", "owner": "o", "redis": "r"}))
    data = tmp_path / "servers" / "postgres"
    data.mkdir(parents=True)
    lines = ["4711", str(data), "1", "5432", "/run/here", "", "1 2", "ready   "]
    (data / "postmaster.pid").write_text("\n".join(lines))
    assert running_store(home) == "postgresql://reverie:o@/reverie?host=/run/here&port=5432"
    lines[3:5] = ["40111", ""]
    (data / "postmaster.pid").write_text("\n".join(lines))
    assert running_store(home) == "postgresql://reverie:o@127.0.0.1:40111/reverie"
    lines[7] = "starting"
    (data / "postmaster.pid").write_text("\n".join(lines))
    assert running_store(home) is None
