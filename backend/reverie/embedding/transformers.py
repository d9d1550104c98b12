"""Embedding models of the sentence-transformers library (`torchfiles.py`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from reverie.embedding import torchfiles
from reverie.embedding.fit import fit
from reverie.embedding.prefixes import Prefixes, prefixes_of
from reverie.embedding.protocol import (
    CHARS_PER_TOKEN,
    LOCAL_LIMITS,
    EmbeddingError,
    FloatArray,
    Limits,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_SETTING: Final = "EMBEDDING_MODEL"


class TransformersEmbedder:
    """An :class:`~reverie.embedding.protocol.Embedder` over a ``SentenceTransformer``."""

    limits: Limits = LOCAL_LIMITS
    concurrent: bool = False

    def __init__(self, source: str | Path, name: str | None = None, threads: int = 0) -> None:
        """Loads the model.

        Args:
            source: a folder, read without a look at the network, or the name of a model of the hub, which is loaded
                from there unless it lies in the cache already.
            name: identifies the model; None is the hub's name, or a folder's name and a digest of its content.
            threads: for torch; 0 takes the cores of the process.

        Raises:
            SettingsError: the extra is not installed, or there is no such model.
        """
        library = torchfiles.library(_SETTING, threads)
        self._model: SentenceTransformer = torchfiles.load(
            library.SentenceTransformer, source, _SETTING, "sentence-transformers model"
        )
        self.name: str = name or torchfiles.name_of(source)
        self.max_tokens: int = int(self._model.max_seq_length or torchfiles.DEFAULT_TOKENS)
        self._prefixes = _prefixes(self._model, self.name)
        self.dim: int = self._model.encode([""], show_progress_bar=False).shape[1]

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        return self._encode(self._model.encode_document, texts, self._prefixes.document)

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        return self._encode(self._model.encode_query, texts, self._prefixes.question)

    def close(self) -> None:
        """Nothing to end: memory is freed with the object, and a running call is over within a batch."""

    def _encode(self, encode: Callable[..., object], texts: Sequence[str], prefix: str) -> FloatArray:
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        most = self.max_tokens * CHARS_PER_TOKEN
        try:
            vectors = encode(
                [text[:most] for text in texts],
                prompt=prefix or None,
                batch_size=self.limits.texts,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        except (TypeError, UnicodeEncodeError):  # a lone surrogate
            raise EmbeddingError("The text is not valid Unicode.", text_at_fault=True) from None
        try:
            return fit(np.asarray(vectors), self.dim)
        except ValueError as error:
            raise EmbeddingError(
                f"The model {self.name} cannot embed this text: {error}.", text_at_fault=True
            ) from None


def _prefixes(model: "SentenceTransformer", name: str) -> Prefixes:
    prompts = model.prompts or {}
    if prompts.get("query") or prompts.get("document"):
        return Prefixes(prompts.get("query") or "", prompts.get("document") or "")
    return prefixes_of(name.partition("@")[0])
