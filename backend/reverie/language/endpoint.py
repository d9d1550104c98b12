"""Language models behind an OpenAI-compatible endpoint (``POST …/chat/completions``).

The form is that of OpenAI's API reference ("Create chat completion"), which vLLM, Ollama, llama.cpp, LM Studio, LiteLLM
and most services speak too.
"""

import asyncio
import random
import time
from http import HTTPStatus
from typing import Any, Final

import httpx
import orjson
from pydantic import BaseModel, Field, ValidationError

from reverie.core.config import Settings
from reverie.core.exchange import (
    PRIVATE,
    AsyncExchange,
    ExchangeError,
    Private,
    TooLong,
    TooSlow,
    endpoint_url,
    other_answer,
    unreached,
)
from reverie.language.protocol import Answer, LanguageModel, LanguageModelError, Question, Reason, estimated

MOST_ANSWER_BYTES: Final = 1024 * 1024

_ATTEMPTS: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.5
_RETRIED: Final = frozenset({408, 425, 429})
_PARAMETERS_REFUSED: Final = frozenset({400, 422})
_MOST_COUNTED: Final = 10_000_000
"""A server that says that one answer took more tokens than this is not believed."""

_REASONS: Final = {
    400: Reason.REFUSED,
    401: Reason.KEY,
    403: Reason.KEY,
    404: Reason.NOT_FOUND,
    405: Reason.NOT_FOUND,
    408: Reason.LATE,
    413: Reason.REFUSED,
    422: Reason.REFUSED,
    429: Reason.BUSY,
}
_HINTS: Final = {
    401: "check LANGUAGE_MODEL_API_KEY",
    403: "check LANGUAGE_MODEL_API_KEY",
    404: "check LANGUAGE_MODEL and LANGUAGE_MODEL_URL, which takes the part of the URL before /chat/completions",
    405: "check LANGUAGE_MODEL_URL, which takes the part of the URL before /chat/completions",
}
_THOUGHTS_END: Final = "</think>"
"""Servers that do not take a model's thoughts out of its answer leave them in front of it, up to this mark."""


class EndpointModel:
    """A :class:`~reverie.language.protocol.LanguageModel` over HTTP, for one event loop.

    Nothing is asked before the first question. What its errors say names neither the address nor the key.
    """

    def __init__(
        self,
        url: str,
        model: str,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        public_only: bool = False,
    ) -> None:
        """Prepares the connection.

        Args:
            url: the part before ``/chat/completions``, or all of it.
            model: what the endpoint calls the model.
            api_key: sent as a bearer token.
            timeout_seconds: for one question, all attempts together.
            public_only: it is not asked at a private address.

        Raises:
            SettingsError: the URL is none, or the key cannot be a header.
        """
        self.name: str = model
        address = endpoint_url(url, "/chat/completions", "LANGUAGE_MODEL_URL")
        self._exchange = AsyncExchange(
            address, api_key, "LANGUAGE_MODEL_API_KEY", MOST_ANSWER_BYTES, public_only=public_only
        )
        self._timeout = timeout_seconds
        self._form: int | None = None

    async def ask(self, question: Question) -> Answer:
        deadline = time.monotonic() + self._timeout
        status, body = await self._answered(question, deadline)
        if status != HTTPStatus.OK:
            raise _refused(status)
        other = other_answer(status, body)
        if other is not None:
            raise _none(Reason.UNREADABLE, f"answered {other}; check LANGUAGE_MODEL_URL", question.tokens)
        return _read(body, question)

    async def close(self) -> None:
        await self._exchange.close()

    async def _answered(self, question: Question, deadline: float) -> tuple[int, bytes]:
        """An answer to the first form of the question that the endpoint takes; its status may be an error's."""
        if self._form is not None:
            return await self._retried(self._body(question, self._form), question, deadline)
        for form in range(len(_FORMS)):
            status, body = await self._retried(self._body(question, form), question, deadline)
            if status == HTTPStatus.OK:
                self._form = form
            if status not in _PARAMETERS_REFUSED:
                break
        return status, body

    async def _retried(self, content: bytes, question: Question, deadline: float) -> tuple[int, bytes]:
        """One answer, after further attempts where they are worth while."""
        for attempt in range(1, _ATTEMPTS + 1):
            wait = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            try:
                status, headers, body = await self._exchange.post(content, deadline - time.monotonic())
            except TooSlow:
                detail = f"did not answer within {self._timeout:g} seconds (LANGUAGE_MODEL_TIMEOUT_SECONDS)"
                # What was asked was read all the same, and by most is charged for.
                raise _none(Reason.LATE, detail, question.tokens) from None
            except TooLong:
                raise _none(Reason.TOO_LARGE, "answered with too much", question.tokens) from None
            except Private:
                raise _none(Reason.PRIVATE, PRIVATE) from None
            except ExchangeError:
                raise _none(Reason.UNREACHABLE, "is not asked any more") from None
            except httpx.TransportError as error:
                if attempt == _ATTEMPTS or not await _pause(wait, deadline):
                    raise _none(Reason.UNREACHABLE, f"{unreached(error)}; check LANGUAGE_MODEL_URL") from None
                continue
            worth_while = status in _RETRIED or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            wait = max(wait, _seconds(headers.get("Retry-After")))
            if attempt == _ATTEMPTS or not worth_while or not await _pause(wait, deadline):
                return status, body
        raise AssertionError("the last attempt returns or raises")

    def _body(self, question: Question, form: int) -> bytes:
        messages = [
            {"role": "system", "content": question.instructions},
            {"role": "user", "content": question.material},
        ]
        return orjson.dumps({"model": self.name, "messages": messages, "stream": False} | _FORMS[form](question))


_FORMS: Final = (
    lambda question: {"max_tokens": question.most_tokens, "temperature": 0},
    lambda question: {"max_completion_tokens": question.most_tokens},
)
"""What else is said, in the order in which it is tried: models that think refuse ``max_tokens`` and a temperature."""


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


def build_model(settings: Settings) -> LanguageModel | None:
    """The language model that the settings name; None where they name none.

    Raises:
        SettingsError: LANGUAGE_MODEL_URL is no URL, or the key cannot be a header.
    """
    if settings.language_model_url is None or settings.language_model is None:
        return None
    return EndpointModel(
        settings.language_model_url,
        settings.language_model,
        settings.language_model_api_key,
        timeout_seconds=settings.language_model_timeout_seconds,
        public_only=settings.public_only("language_model_url"),
    )


def _read(body: bytes, question: Question) -> Answer:
    try:
        found = _Completion.model_validate_json(body)
    except ValidationError:
        raise _none(
            Reason.UNREADABLE, "gave no answer in OpenAI's form; check LANGUAGE_MODEL_URL", question.tokens
        ) from None
    choice = found.choices[0]
    said = choice.message.content or ""
    tokens = _counted(found.usage) or question.tokens + estimated(said)
    return Answer(said.rpartition(_THOUGHTS_END)[2].strip(), tokens, cut=choice.finish_reason == "length")


def _counted(usage: object) -> int | None:
    """The tokens that an answer says it took; None where it says nothing that can be believed."""
    if not isinstance(usage, dict):
        return None
    total, asked, said = (usage.get(f"{name}_tokens") for name in ("total", "prompt", "completion"))
    if type(total) is not int and type(asked) is int and type(said) is int:
        total = asked + said
    return total if type(total) is int and 0 < total <= _MOST_COUNTED else None


async def _pause(seconds: float, deadline: float) -> bool:
    """Waits, unless that would pass the deadline; whether it did."""
    if time.monotonic() + seconds >= deadline:
        return False
    await asyncio.sleep(seconds)
    return True


def _refused(status: int) -> LanguageModelError:
    try:
        said = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = str(status)
    other = other_answer(status, b"")
    if other is not None:
        return _none(Reason.FAILED, f"answered {other}")
    hint = _HINTS.get(status)
    return _none(_REASONS.get(status, Reason.FAILED), f"answered {said}{'; ' + hint if hint else ''}")


def _none(reason: Reason, what: str, tokens: int = 0) -> LanguageModelError:
    return LanguageModelError(reason, f"The language model's endpoint {what}.", tokens)


def _seconds(retry_after: str | None) -> float:
    """Retry-After in seconds (RFC 9110, 10.2.3); a date counts as none."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0
