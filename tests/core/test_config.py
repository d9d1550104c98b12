"""Settings: from the environment and reverie.yaml, and sentences about what is wrong in them."""

from pathlib import Path

import pytest

from reverie.core.config import Settings, default_home, load_settings
from reverie.core.errors import SettingsError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from outside the test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("REVERIE_CONFIG", str(tmp_path / "reverie.yaml"))


def test_the_defaults_are_those_that_are_documented() -> None:
    settings = load_settings()
    assert (settings.graph_backend, settings.memory_hot_days, settings.memory_k) == ("postgres", 30, 10)
    assert (settings.memory_hnsw, settings.memory_salience_write_threshold) == ("auto", 0.35)
    assert (settings.embedding_precision, settings.redis_focus_ttl_seconds) == ("fp16", 172_800)
    assert settings.reverie_host == "127.0.0.1"


def test_the_environment_comes_before_the_file_and_the_caller_before_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "reverie.yaml").write_text("memory_k: 3\nmemory_hot_days: 4\nreverie_port: 5\n")
    monkeypatch.setenv("MEMORY_HOT_DAYS", "6")
    monkeypatch.setenv("REVERIE_PORT", "7")
    settings = load_settings(reverie_port=8, memory_hnsw=None)
    assert (settings.memory_k, settings.memory_hot_days, settings.reverie_port) == (3, 6, 8)
    assert settings.memory_hnsw == "auto"


def test_an_empty_variable_is_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEMORY_K", "DATABASE_URL", "EMBEDDING_DIM", "EMBEDDING_URL"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (settings.memory_k, settings.database_url, settings.embedding_dim) == (10, None, None)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MEMORY_K", "0", "greater than or equal to 1"),
        ("MEMORY_K", "many", "integer"),
        ("MEMORY_HNSW", "sometimes", "'auto', 'always' or 'never'"),
        ("MEMORY_SALIENCE_WRITE_THRESHOLD", "1.5", "less than or equal to 1"),
        ("GRAPH_BACKEND", "arango", "'postgres' or 'neo4j'"),
        ("NEO4J_URL", "http://secret@host", "bolt://"),
        ("EMBEDDING_PRECISION", "fp8", "'fp16' or 'fp32'"),
        ("REVERIE_PORT", "70000", "65535"),
        ("DATABASE_URL", "mysql://secret@host", "postgresql://"),
        ("REDIS_URL", "http://secret@host", "redis://"),
        ("REDIS_FOCUS_TTL_SECONDS", "0", "1"),
        ("MEMORY_LANGUAGE", "klingon", "ISO 639-1"),
        ("DATABASE_URL", "postgresql://u:secret%zz@host/d", "%25"),
    ],
)
def test_a_wrong_value_names_the_variable_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    sentence = str(refused.value)
    assert sentence.startswith(f"{name}: ")
    assert says in sentence
    assert sentence.endswith(".")
    assert "secret" not in sentence


def test_a_mirror_needs_a_place_and_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_BACKEND", "neo4j")
    monkeypatch.setenv("NEO4J_URL", "bolt://127.0.0.1:7687")
    with pytest.raises(SettingsError, match="NEO4J_URL and NEO4J_PASSWORD take values where GRAPH_BACKEND is neo4j"):
        load_settings()
    monkeypatch.setenv("NEO4J_PASSWORD", "a secret of Neo4j")
    assert load_settings().neo4j_user == "neo4j"


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_K", "0")
    monkeypatch.setenv("MEMORY_HNSW", "x")
    with pytest.raises(SettingsError, match=r"MEMORY_HNSW: .*\. MEMORY_K: |MEMORY_K: .*\. MEMORY_HNSW: "):
        load_settings()


def test_a_setting_of_the_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "reverie.yaml").write_text("memory_kk: 3\n")
    with pytest.raises(SettingsError, match=r"MEMORY_KK in reverie\.yaml is no setting"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("memory_k: 3\nmemory_hnsw: [auto\n", r"line 3: this is no YAML"),
        ("memory_k: 3\n\tmemory_hot_days: 4\n", r"line 2: this is no YAML"),
        ("- memory_k: 3\n", r"line 1: takes a setting a line, such as `memory_k: 10`"),
        ("memory_k", r"line 1: takes a setting a line"),
        ("3: 4\n", r"line 1: takes a setting a line"),
        (b"memory_k: \xff\n", r"line 1: this cannot be read"),
    ],
)
def test_a_file_that_holds_no_settings_is_named_with_its_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    file = tmp_path / "reverie.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match=says) as refused:
        load_settings()
    sentence = str(refused.value)
    assert sentence.startswith(f"{file}, line ")
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_an_empty_file_is_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "reverie.yaml").write_text("# nothing yet\n")
    assert load_settings().memory_k == 10


@pytest.mark.parametrize(("given", "known"), [("de", "german"), ("English", "english"), ("simple", "simple")])
def test_the_language_is_the_one_that_postgresql_knows(monkeypatch: pytest.MonkeyPatch, given: str, known: str) -> None:
    monkeypatch.setenv("MEMORY_LANGUAGE", given)
    assert load_settings().memory_language == known


@pytest.mark.parametrize(("precision", "most"), [("fp16", 4000), ("fp32", 2000)])
def test_the_dimension_fits_the_precision(monkeypatch: pytest.MonkeyPatch, precision: str, most: int) -> None:
    monkeypatch.setenv("EMBEDDING_PRECISION", precision)
    assert load_settings(embedding_dim=most).embedding_dim == most
    with pytest.raises(SettingsError, match="EMBEDDING_DIM"):
        load_settings(embedding_dim=most + 1)


def test_names_that_are_understood() -> None:
    assert load_settings(embedding_model="bge-m3").embedding_model == "BAAI/bge-m3"
    url = "postgresql+psycopg://u:p@h/d"
    assert load_settings(database_url=url).database_url == "postgresql://u:p@h/d"


def test_the_home_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_home() == tmp_path / "reverie"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_home() == tmp_path / ".local/share/reverie"
