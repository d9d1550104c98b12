"""Models that the sentence-transformers library loads; it comes with the extra ``reverie[models]``.

Importing it takes seconds, because it imports torch; so that happens when such a model is loaded and not before.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from reverie.core.errors import SettingsError
from reverie.embedding.carried import content_name
from reverie.embedding.protocol import default_threads

DEFAULT_TOKENS: Final = 512

_DECISIVE: Final = (".safetensors", ".bin", ".json", ".model", ".txt")
"""Endings of the files of a folder that decide what its model says."""

Model = TypeVar("Model")


def library(setting: str, threads: int) -> ModuleType:
    """sentence-transformers, with so many threads for torch; 0 takes the cores of the process.

    Raises:
        SettingsError: the extra is not installed, which ``setting`` needs.
    """
    try:
        torch = importlib.import_module("torch")
        found = importlib.import_module("sentence_transformers")
    except ImportError:
        raise SettingsError(
            f"{setting} names a model that needs sentence-transformers; install it: pip install 'reverie[models]'"
        ) from None
    torch.set_num_threads(threads or default_threads())
    return found


def load(make: Callable[..., Model], source: str | Path, setting: str, what: str) -> Model:
    """The model, for the processor or the accelerator that torch prefers.

    Raises:
        SettingsError: there is none, or it cannot be loaded; ``what`` says which kind ``setting`` names.
    """
    importlib.import_module("transformers").utils.logging.disable_progress_bar()
    try:
        return make(str(source), local_files_only=isinstance(source, Path))
    except Exception as error:  # torch, safetensors, tokenizers and the hub's client share no other class
        raise SettingsError(
            f"{setting}: the {what} {source} cannot be loaded; it takes the name of a model of the Hugging Face hub "
            "that can be reached or is in its cache, or a folder that holds one."
        ) from error


def name_of(source: str | Path) -> str:
    """The hub's name, or a folder's with a digest of its content."""
    if isinstance(source, str):
        return source
    return content_name(source, (path for path in source.rglob("*") if path.suffix in _DECISIVE))
