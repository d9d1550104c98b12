"""What an embedder is, and the error that its failures become."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reverie.core.errors import Unavailable

FloatArray = npt.NDArray[np.float32]

CHARS_PER_TOKEN = 16
"""A text is cut to so many characters for each token of the model's window before it is tokenised: four times what
prose needs, so that a text of a million characters costs no more than one of some thousands."""


class EmbeddingError(Unavailable):
    """The text could not be turned into a vector.

    ``text_at_fault`` says that another text might have succeeded; else all of a batch failed alike.
    """

    code = "embedding-unavailable"

    def __init__(self, detail: str, *, text_at_fault: bool = False) -> None:
        super().__init__(detail)
        self.text_at_fault = text_at_fault

    @classmethod
    def title(cls) -> str:
        return "The text could not be turned into a vector"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call of an embedder may hold: at most ``texts`` texts, and ``size`` bytes of UTF-8 if more than one.

    The second bound keeps a call short (a question may be waiting behind it) and its memory small.
    """

    texts: int
    size: int


LOCAL_LIMITS = Limits(texts=16, size=6_000)
"""Sixteen turns of some sixty words, or one text that fills a window of 512 tokens and a second one."""


def default_threads() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Embedder(Protocol):
    """Turns texts into vectors of unit length, synchronously; the encoder calls it from its own thread.

    Attributes:
        name: identifies the model, the same on every machine; vectors of different names are never compared.
        dim: the length of the model's own vectors, before they are fitted to EMBEDDING_DIM.
        max_tokens: the window; what is beyond it does not influence the vector.
        limits: how much the encoder puts into one call.
        concurrent: questions and documents may be encoded at the same time, from two threads.
    """

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def concurrent(self) -> bool: ...

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts to be found: float32 ``[len(texts), dim]``, rows of unit length.

        Raises:
            EmbeddingError: one sentence, without secrets, that a caller may see.
        """
        ...

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts to search with, as :meth:`encode_documents`."""
        ...

    def close(self) -> None:
        """Frees what is held; from any thread, also while a call is running, which then may fail."""
        ...
