"""What a reranker is, and the error that its failures become."""

from collections.abc import Sequence
from typing import Literal, Protocol

from reverie.embedding.protocol import FloatArray, Limits

Why = Literal["late", "busy", "failed"]
"""Why there are no scores: the deadline passed, it would have, or the reranker did not do its work."""


class RerankError(Exception):
    """There are no scores; the message is one sentence without secrets, for the log."""

    def __init__(self, detail: str, why: Why = "failed") -> None:
        super().__init__(detail)
        self.detail = detail
        self.why: Why = why


class Reranker(Protocol):
    """Judges texts by a question, synchronously; :class:`~reverie.embedding.reranking.service.Reranking` calls it.

    Attributes:
        name: identifies the model.
        max_tokens: the window that the question and one text share. A text is cut where it ends; of a question only
            what is beyond half of it.
        limits: how much is put into one call. Between two calls a question that nobody waits for any more is dropped.
    """

    @property
    def name(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def limits(self) -> Limits: ...

    def score(self, question: str, texts: Sequence[str]) -> FloatArray:
        """How well each text answers the question: float32 ``[len(texts)]``, finite, higher is better.

        The numbers are logits, which compare between questions, but not between models.

        Raises:
            RerankError: one sentence, without secrets.
        """
        ...

    def close(self) -> None:
        """Frees what is held; from any thread, also while a call is running, which then may fail."""
        ...
