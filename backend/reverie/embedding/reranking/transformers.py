"""Cross-encoders of the sentence-transformers library (`torchfiles.py`)."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from reverie.core.errors import SettingsError
from reverie.embedding import torchfiles
from reverie.embedding.protocol import CHARS_PER_TOKEN, FloatArray, Limits
from reverie.embedding.reranking.protocol import RerankError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_SETTING: Final = "RERANK_MODEL"
_MOST_TOKENS: Final = 1_024
"""What is read of a pair at most, whatever the model could read: a passage and a question have room in it."""


class TransformersReranker:
    """A :class:`~reverie.embedding.reranking.protocol.Reranker` over a ``CrossEncoder``."""

    limits: Limits = Limits(texts=8, size=1_600)

    def __init__(self, source: str | Path, threads: int = 0) -> None:
        """Loads the model.

        Args:
            source: a folder, read without a look at the network, or the name of a model of the hub, which is loaded
                from there unless it lies in the cache already.
            threads: for torch; 0 takes the cores of the process.

        Raises:
            SettingsError: the extra is not installed, there is no such model, or it gives more than one score.
        """
        library = torchfiles.library(_SETTING, threads)
        self._model: CrossEncoder = torchfiles.load(library.CrossEncoder, source, _SETTING, "cross-encoder")
        if self._model.num_labels != 1:
            raise SettingsError(f"{_SETTING}: {source} is no reranker, which gives one score for a pair.")
        self._logits = importlib.import_module("torch").nn.Identity()
        self.name: str = torchfiles.name_of(source)
        self.max_tokens: int = min(int(self._model.max_seq_length or torchfiles.DEFAULT_TOKENS), _MOST_TOKENS)
        self._model.max_seq_length = self.max_tokens

    def score(self, question: str, texts: Sequence[str]) -> FloatArray:
        if not texts:
            return np.empty(0, dtype=np.float32)
        most = self.max_tokens * CHARS_PER_TOKEN
        try:
            asked = self._cut(question[:most])
            scores = self._model.predict(
                [(asked, text[:most]) for text in texts],
                batch_size=self.limits.texts,
                show_progress_bar=False,
                activation_fn=self._logits,
                convert_to_numpy=True,
            )
        except (TypeError, UnicodeEncodeError):  # a lone surrogate
            raise RerankError("The text is not valid Unicode.") from None
        found = np.asarray(scores, dtype=np.float32)
        if not np.isfinite(found).all():
            raise RerankError(f"The reranker {self.name} gave a score that is not finite.")
        return found

    def close(self) -> None:
        """Nothing to end: memory is freed with the object, and a running call is over within a batch."""

    def _cut(self, question: str) -> str:
        """What leaves half of the window to the text: then only the text is cut, being the longer of the two."""
        most = self.max_tokens // 2 - 2
        if len(question) * 4 <= most:  # no tokenizer makes more than a token of a byte
            return question
        tokenizer = self._model.tokenizer
        tokens = tokenizer.encode(question, add_special_tokens=False, truncation=True, max_length=most + 1)
        return question if len(tokens) <= most else str(tokenizer.decode(tokens[:most]))
