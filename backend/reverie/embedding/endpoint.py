"""Models behind an OpenAI-compatible endpoint (``POST …/embeddings``).

The form is that of OpenAI's API reference ("Create embeddings"), which vLLM, Ollama, llama.cpp, LocalAI, LiteLLM and
Text Embeddings Inference speak too.
"""

import random
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt
import orjson

from reverie.core.exchange import (
    PRIVATE,
    Exchange,
    ExchangeError,
    Private,
    TooLong,
    TooSlow,
    endpoint_url,
    other_answer,
    unreached,
)
from reverie.embedding.fit import fit
from reverie.embedding.prefixes import prefixes_of
from reverie.embedding.protocol import EmbeddingError, FloatArray, Limits

_QUESTION_ATTEMPTS: Final = 2
_DOCUMENT_ATTEMPTS: Final = 4
_FIRST_PAUSE_SECONDS: Final = 0.25
_MOST_CHARS: Final = 24_000
"""A longer text is cut before it is sent: some 6 000 tokens of prose, below the 8 192 of OpenAI's models."""
_FEWEST_CHARS: Final = 500
"""A refused text is cut in halves until it is accepted, but not below this."""
_RETRIED: Final = frozenset({408, 425, 429})
_TEXT_REFUSED: Final = frozenset({400, 413, 422})
_HINTS: Final = {
    401: "check EMBEDDING_API_KEY",
    403: "check EMBEDDING_API_KEY",
    404: "check EMBEDDING_MODEL and EMBEDDING_URL, which takes the part of the URL before /embeddings",
}


class EndpointEmbedder:
    """An :class:`~reverie.embedding.protocol.Embedder` over HTTP.

    Nothing is asked before the first text, or before ``dim``. Answers are checked; what callers see of a failure
    names neither the address nor the key.
    """

    limits: Limits = Limits(texts=64, size=256_000)
    concurrent: bool = True
    max_tokens: int = 8_192

    def __init__(
        self,
        url: str,
        model: str,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        public_only: bool = False,
    ) -> None:
        """Prepares the connection.

        Args:
            url: the part before ``/embeddings``, or all of it.
            model: what the endpoint calls the model.
            api_key: sent as a bearer token.
            timeout_seconds: for one batch, all attempts together.
            public_only: it is not asked at a private address.

        Raises:
            SettingsError: the URL is none, or the key cannot be a header.
        """
        self.name: str = model
        address = endpoint_url(url, "/embeddings", "EMBEDDING_URL")
        self._exchange = Exchange(address, api_key, "EMBEDDING_API_KEY", public_only=public_only)
        self._prefixes = prefixes_of(model)
        self._timeout = timeout_seconds
        self._dim: int | None = None

    @property
    def dim(self) -> int:
        """The dimension of the endpoint's vectors: asked for once, with a short text.

        Raises:
            EmbeddingError: the endpoint does not answer as it should.
        """
        if self._dim is None:
            self.encode_documents(["dimension"])
        assert self._dim is not None  # noqa: S101 - set by every answer that was accepted
        return self._dim

    def expect(self, dim: int) -> None:
        """Takes it as known, without asking: answers of another dimension are refused."""
        self._dim = dim

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        return self._encode([_sent(self._prefixes.document, text) for text in texts], _DOCUMENT_ATTEMPTS)

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        return self._encode([_sent(self._prefixes.question, text) for text in texts], _QUESTION_ATTEMPTS)

    def close(self) -> None:
        """Ends waits between attempts; the connections are closed when no request is under way any more."""
        self._exchange.close()

    def _encode(self, texts: list[str], attempts: int) -> FloatArray:
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        most = self.limits.texts
        batches = [texts[at : at + most] for at in range(0, len(texts), most)]
        return np.concatenate([self._batch(batch, attempts, time.monotonic() + self._timeout) for batch in batches])

    def _batch(self, texts: list[str], attempts: int, deadline: float) -> FloatArray:
        """Asks; what is refused is asked again in halves, a single text cut in half: the window is not known here."""
        status, body = self._ask(texts, attempts, deadline)
        if status in _TEXT_REFUSED:
            half = len(texts) // 2
            if half:
                parts = (texts[:half], texts[half:])
                return np.concatenate([self._batch(part, attempts, deadline) for part in parts])
            if len(texts[0]) > _FEWEST_CHARS:
                return self._batch([texts[0][: max(_FEWEST_CHARS, len(texts[0]) // 2)]], attempts, deadline)
        if status != HTTPStatus.OK:
            raise _refused(status)
        other = other_answer(status, body)
        if other is not None:
            raise EmbeddingError(f"The embedding endpoint answered {other}; check EMBEDDING_URL.")
        return self._checked(body, len(texts))

    def _ask(self, texts: list[str], attempts: int, deadline: float) -> tuple[int, bytes]:
        """One answer, after further attempts where they are worth while; its status may still be an error's."""
        content = orjson.dumps({"model": self.name, "input": _encodable(texts), "encoding_format": "float"})
        for attempt in range(1, attempts + 1):
            wait = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            last = attempt == attempts
            try:
                status, headers, body = self._exchange.post(content, deadline)
            except TooSlow:
                raise EmbeddingError(
                    f"The embedding endpoint did not answer within {self._timeout:g} seconds "
                    "(EMBEDDING_TIMEOUT_SECONDS)."
                ) from None
            except TooLong:
                raise EmbeddingError("The embedding endpoint's answer is too long.") from None
            except Private:
                raise EmbeddingError(f"The embedding endpoint {PRIVATE}.") from None
            except ExchangeError:
                raise EmbeddingError("The embedder is closed.") from None
            except httpx.TransportError as error:
                if last or not self._exchange.pause(wait, deadline):
                    raise EmbeddingError(f"The embedding endpoint {unreached(error)}; check EMBEDDING_URL.") from None
                continue
            worth_while = status in _RETRIED or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            wait = max(wait, _seconds(headers.get("Retry-After")))
            if last or not worth_while or not self._exchange.pause(wait, deadline):
                return status, body
        raise AssertionError("the last attempt returns or raises")

    def _checked(self, body: bytes, count: int) -> FloatArray:
        vectors = _vectors(body, count)
        if self._dim is not None and vectors.shape[1] != self._dim:
            raise EmbeddingError(
                f"The embedding endpoint answered with {vectors.shape[1]} dimensions instead of {self._dim}."
            )
        try:
            fitted = fit(vectors, vectors.shape[1])
        except ValueError as error:
            raise EmbeddingError(
                f"The embedding endpoint gave no usable vector: {error}.", text_at_fault=True
            ) from None
        self._dim = vectors.shape[1]
        return fitted


def _sent(prefix: str, text: str) -> str:
    """What is sent for a text; an empty one is refused by OpenAI, a blank one is not."""
    return f"{prefix}{text[:_MOST_CHARS]}" or " "


def _vectors(body: bytes, count: int) -> npt.NDArray[np.float64]:
    """The vectors of an answer, in the order of the question; NaN and infinity may be among their numbers."""
    try:
        data = orjson.loads(body)["data"]
        rows = [row["embedding"] for row in _in_order(data)]
        vectors = np.array(rows, dtype=np.float64)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, OverflowError):
        raise _not_understood("it is no list of vectors in OpenAI's form") from None
    if len(rows) != count:
        raise _not_understood(f"{len(rows)} vectors for {count} texts")
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise _not_understood("it is no list of vectors in OpenAI's form")
    return vectors


def _in_order(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By ``index``, each once; servers that leave it out answer in the order of the question.

    Raises:
        ValueError: an index is missing or there twice.
    """
    if not any("index" in row for row in data):
        return data
    ordered = sorted(data, key=lambda row: row["index"])
    if [row["index"] for row in ordered] != list(range(len(data))):
        raise ValueError("index")
    return ordered


def _encodable(texts: list[str]) -> list[str]:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise EmbeddingError("The text is not valid Unicode.", text_at_fault=True) from None
    return texts


def _refused(status: int) -> EmbeddingError:
    try:
        said = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = str(status)
    other = other_answer(status, b"")
    if other is not None:
        return EmbeddingError(f"The embedding endpoint answered {other}.")
    hint = _HINTS.get(status)
    return EmbeddingError(
        f"The embedding endpoint answered {said}{'; ' + hint if hint else ''}.", text_at_fault=status in _TEXT_REFUSED
    )


def _not_understood(why: str) -> EmbeddingError:
    return EmbeddingError(f"The embedding endpoint's answer cannot be used: {why}; check EMBEDDING_URL.")


def _seconds(retry_after: str | None) -> float:
    """Retry-After in seconds (RFC 9110, 10.2.3); a date counts as none."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0
