"""`reverie settings ai`: show, set, test, history, restore."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.listening import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Cli, Service
    from tests.servers import SharedPostgres


@pytest.fixture(scope="module")
def service(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Service]":
    """A service of its own: what is set here is set for all."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / "secret_key").write_text("a secret of sixteen")
    with listening(postgres, template, redis_url, folder, "settings") as running:
        yield running


def test_nothing_was_saved_yet(cli: "Cli") -> None:
    done = cli("settings", "ai", "history")
    assert (done.exit_code, done.stdout, done.stderr.startswith("Nothing was saved yet")) == (3, "", True)


def test_the_models_are_shown_set_and_brought_back(cli: "Cli", tmp_path: Path) -> None:
    shown = cli("settings", "ai", "show")
    assert shown.exit_code == 0
    assert "embedding.model bge-small-en-v1.5 default" in " ".join(shown.stdout.split())
    key = tmp_path / "key.txt"
    key.write_text("sk-very-secret\n")
    named = ("--language-model-url", "https://192.0.9.1/v1", "--language-model", "qwen3-8b")
    saved = cli("settings", "ai", "set", *named, "--language-model-key-file", str(key))
    assert saved.exit_code == 0, saved.stderr
    assert "Version 1 is saved" in saved.stdout
    kept = json.loads(cli("settings", "ai", "set", "--tokens-per-night", "5000", "--json").stdout)
    assert kept["language_model"] == {
        "url": "https://192.0.9.1/v1", "model": "qwen3-8b", "max_tokens_per_night": 5000, "api_key_set": True
    }  # fmt: skip
    none = cli("settings", "ai", "set", "--language-model-key-file", "none", "--json")
    assert json.loads(none.stdout)["language_model"]["api_key_set"] is False
    piped = cli("settings", "ai", "set", "--language-model-key-file", "-", "--json", stdin="sk-piped\n")
    assert json.loads(piped.stdout)["language_model"]["api_key_set"] is True
    listed = " ".join(cli("settings", "ai", "history").stdout.split())
    assert "language_model.max_tokens_per_night" in listed
    assert "sk-" not in listed
    page = json.loads(cli("settings", "ai", "history", "--limit", "1", "--json").stdout)
    assert ([one["version"] for one in page["items"]], page["next_cursor"]) == ([4], "4")
    back = json.loads(cli("settings", "ai", "restore", "1", "--json").stdout)
    assert (back["version"], back["language_model"]["max_tokens_per_night"]) == (5, None)
    off = cli("settings", "ai", "set", "--language-model-url", "none", "--language-model", "none", "--json")
    assert json.loads(off.stdout)["language_model"]["url"] == ""
    left = cli("settings", "ai", "set", "--language-model-url", "environment", "--language-model", "environment")
    assert left.exit_code == 0, left.stderr
    tested = cli("settings", "ai", "test")
    assert tested.exit_code == 0, tested.stderr
    assert "the embedding model bge-small-en-v1.5 yes It answers" in " ".join(tested.stdout.split())


def test_another_embedding_model_is_an_operation(cli: "Cli") -> None:
    saved = cli("settings", "ai", "set", "--embedding-model", "all-MiniLM-L6-v2")
    assert saved.exit_code == 0, saved.stderr
    assert "The vectors of all-MiniLM-L6-v2 are made: reverie operation" in " ".join(saved.stdout.split())
    shown = cli("settings", "ai", "show")
    assert "On the way to all-MiniLM-L6-v2, pending." in shown.stdout
    assert cli("settings", "ai", "set", "--embedding-model", "environment").exit_code == 0


@pytest.mark.parametrize(
    ("options", "says", "code"),
    [
        ((), "Say what to set", 2),
        (("--embedding-dim", "many"), "--embedding-dim takes a whole number or `environment`, not 'many'.", 2),
        (("--tokens-per-night", "1.5"), "--tokens-per-night takes a whole number", 2),
        (("--reranker-key-file", "/no/such/file"), "The key in /no/such/file cannot be read", 2),
        (("--reranker-url", "http://127.0.0.1:9"), "AI_PRIVATE_ENDPOINTS=allow", 1),
        (("--embedding-model", "x"), "embedding.model takes", 1),
    ],
)
def test_what_cannot_be_set(cli: "Cli", options: tuple[str, ...], says: str, code: int) -> None:
    refused = cli("settings", "ai", "set", *options)
    assert (refused.exit_code, says in " ".join(refused.stderr.split())) == (code, True), refused.stderr


def test_a_model_that_does_not_answer_is_a_refusal(cli: "Cli", service: "Service") -> None:
    import psycopg

    with psycopg.connect(service.database_url) as owner:
        owner.execute(
            "INSERT INTO ai_settings (version, saved_at, changed, rerank_url, rerank_model)"
            " SELECT coalesce(max(version), 0) + 1, now(), '{}', 'http://127.0.0.1:9/v1', 'judge' FROM ai_settings"
        )
    tested = cli("settings", "ai", "test")
    assert tested.exit_code == 1
    assert "Not every model answers." in tested.stderr
    assert "is at a private address" in " ".join(tested.stdout.split())
