"""Rerankers behind an endpoint (``POST …/rerank``).

The form is that of Jina's and Cohere's API references ("Rerank"): ``{model, query, documents}``, answered by
``{results: [{index, relevance_score}]}``; vLLM, LiteLLM, Infinity and llama.cpp speak it too. Text Embeddings
Inference has names of its own, ``{query, texts}`` and ``[{index, score}]``, which are tried where the others are
refused.
"""

import time
from collections.abc import Callable, Sequence
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
from reverie.embedding.protocol import FloatArray, Limits
from reverie.embedding.reranking.protocol import RerankError

_MOST_QUESTION_CHARS: Final = 2_000
_MOST_CHARS: Final = 8_000
"""A longer text is cut before it is sent; what matters of it was chosen before."""
_FEWEST_CHARS: Final = 500
"""A refused text is cut in halves until it is accepted, but not below this."""
_REFUSED: Final = frozenset({400, 413, 422})
_HINTS: Final = {
    401: "check RERANK_API_KEY",
    403: "check RERANK_API_KEY",
    404: "check RERANK_MODEL and RERANK_URL, which takes the part of the URL before /rerank",
}
_SURE: Final = 1e-6
"""Probabilities nearer to 0 or 1 than this are taken to be as near."""

Body = dict[str, object]
Form = Callable[[str, str, list[str]], Body]


def _common(model: str, question: str, texts: list[str]) -> Body:
    return {"model": model, "query": question, "documents": texts}


def _inference(model: str, question: str, texts: list[str]) -> Body:  # noqa: ARG001 - the model is the server's
    return {"query": question, "texts": texts, "truncate": True}


class EndpointReranker:
    """A :class:`~reverie.embedding.reranking.protocol.Reranker` over HTTP.

    Nothing is asked before the first question. Answers are checked; messages name neither the address nor the key.
    An endpoint's probabilities become logits.
    """

    limits: Limits = Limits(texts=1_000, size=8_000_000)
    max_tokens: int = 8_192

    def __init__(
        self,
        url: str,
        model: str,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 1.0,
        public_only: bool = False,
    ) -> None:
        """Prepares the connection.

        Args:
            url: the part before ``/rerank``, or all of it.
            model: what the endpoint calls the model.
            api_key: sent as a bearer token.
            timeout_seconds: for all texts of a question together.
            public_only: it is not asked at a private address.

        Raises:
            SettingsError: the URL is none, or the key cannot be a header.
        """
        self.name: str = model
        address = endpoint_url(url, "/rerank", "RERANK_URL")
        self._exchange = Exchange(address, api_key, "RERANK_API_KEY", public_only=public_only)
        self._timeout = timeout_seconds
        self._form: Form | None = None

    def score(self, question: str, texts: Sequence[str]) -> FloatArray:
        if not texts:
            return np.empty(0, dtype=np.float32)
        asked = question[:_MOST_QUESTION_CHARS] or " "
        sent = [text[:_MOST_CHARS] or " " for text in texts]
        try:
            "".join([asked, *sent]).encode()
        except UnicodeEncodeError:
            raise RerankError("The text is not valid Unicode.") from None
        return self._scores(asked, sent, time.monotonic() + self._timeout)

    def close(self) -> None:
        """The connections are closed when no request is under way any more."""
        self._exchange.close()

    def _scores(self, question: str, texts: list[str], deadline: float) -> FloatArray:
        """Asks; what is refused is asked again in halves, a single text cut in half: the limits are not known here."""
        status, body = self._ask(question, texts, deadline)
        if status in _REFUSED:
            half = len(texts) // 2
            if half:
                parts = (texts[:half], texts[half:])
                return np.concatenate([self._scores(question, part, deadline) for part in parts])
            if len(texts[0]) > _FEWEST_CHARS:
                return self._scores(question, [texts[0][: max(_FEWEST_CHARS, len(texts[0]) // 2)]], deadline)
        if status != HTTPStatus.OK:
            raise _refused(status)
        other = other_answer(status, body)
        if other is not None:
            raise RerankError(f"The rerank endpoint answered {other}; check RERANK_URL.")
        return _read(body, len(texts))

    def _ask(self, question: str, texts: list[str], deadline: float) -> tuple[int, bytes]:
        """One answer, in the form that the endpoint takes; its status may still be an error's."""
        if self._form is not None:
            return self._post(self._form(self.name, question, texts), deadline)
        status, body = self._post(_common(self.name, question, texts), deadline)
        if status == HTTPStatus.OK:
            self._form = _common
        elif status in _REFUSED:
            other, answer = self._post(_inference(self.name, question, texts), deadline)
            if other == HTTPStatus.OK:
                self._form = _inference
                return other, answer
        return status, body

    def _post(self, body: Body, deadline: float) -> tuple[int, bytes]:
        content = orjson.dumps(body)
        for again in (True, False):
            try:
                status, _, answer = self._exchange.post(content, deadline)
            except TooSlow:
                raise RerankError(
                    f"The rerank endpoint did not answer within {self._timeout:g} seconds (RERANK_SECONDS).", "late"
                ) from None
            except TooLong:
                raise RerankError("The rerank endpoint's answer is too long.") from None
            except Private:
                raise RerankError(f"The rerank endpoint {PRIVATE}.") from None
            except ExchangeError:
                raise RerankError("The reranker is closed.") from None
            except httpx.TransportError as error:
                # A connection that was kept may have been closed at the other end just now.
                if not again:
                    raise RerankError(f"The rerank endpoint {unreached(error)}; check RERANK_URL.") from None
            else:
                return status, answer
        raise AssertionError("the second attempt returns or raises")


def _read(body: bytes, count: int) -> FloatArray:
    """The scores of an answer in the order of the texts, as logits."""
    try:
        found = orjson.loads(body)
        rows = found["results"] if isinstance(found, dict) else found
        scores = np.full(count, np.nan, dtype=np.float64)
        for row in rows:
            scores[_place(row, count)] = _number(row)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, OverflowError):
        raise _not_understood("it is no list of results with index and relevance_score") from None
    if len(rows) != count:
        raise _not_understood(f"{len(rows)} results for {count} texts")
    if not np.isfinite(scores).all():
        raise _not_understood("a text has no finite score")
    return _logits(scores)


def _place(row: dict[str, Any], count: int) -> int:
    index = row["index"]
    if type(index) is not int or not 0 <= index < count:
        raise ValueError("index")
    return index


def _number(row: dict[str, Any]) -> float:
    score = row["relevance_score"] if "relevance_score" in row else row["score"]
    if type(score) not in (int, float):
        raise ValueError("score")
    return float(score)


def _logits(scores: npt.NDArray[np.float64]) -> FloatArray:
    """Probabilities as logits; other numbers as they are."""
    if scores.min() < 0 or scores.max() > 1:
        return scores.clip(-1e30, 1e30).astype(np.float32)
    sure = scores.clip(_SURE, 1 - _SURE)
    logits: FloatArray = np.log(sure / (1 - sure)).astype(np.float32)
    return logits


def _refused(status: int) -> RerankError:
    try:
        said = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = str(status)
    other = other_answer(status, b"")
    if other is not None:
        return RerankError(f"The rerank endpoint answered {other}.")
    hint = _HINTS.get(status)
    return RerankError(f"The rerank endpoint answered {said}{'; ' + hint if hint else ''}.")


def _not_understood(why: str) -> RerankError:
    return RerankError(f"The rerank endpoint's answer cannot be used: {why}; check RERANK_URL.")
