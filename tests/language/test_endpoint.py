"""The endpoint's language model against a real server that misbehaves."""

import asyncio
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator

import pytest
from tests.language import standin
from tests.language.standin import StandIn, content, raw, status, takes_no

from reverie.core.config import load_settings
from reverie.core.errors import SettingsError
from reverie.language.endpoint import EndpointModel, build_model
from reverie.language.protocol import LanguageModel, LanguageModelError, Question, Reason

KEY = "sk-very-secret"
ABOUT = Question("Retell the records.", json.dumps({"records": [{"speaker": "Ann", "text": "We met Bob."}]}), 500)


@pytest.fixture
async def model(stand_in: StandIn) -> AsyncIterator[LanguageModel]:
    endpoint = EndpointModel(stand_in.url, "tiny", KEY, timeout_seconds=5)
    yield endpoint
    await endpoint.close()


async def missing(model: LanguageModel, stand_in: StandIn) -> LanguageModelError:
    """Why there is no answer, after a look whether the sentence gives anything away."""
    with pytest.raises(LanguageModelError) as caught:
        await model.ask(ABOUT)
    said = caught.value.detail
    assert KEY not in said
    assert stand_in.url not in said
    assert said.endswith(".")
    assert "\n" not in said
    return caught.value


async def test_what_is_asked_is_openais_form(model: LanguageModel, stand_in: StandIn) -> None:
    answer = await model.ask(ABOUT)
    assert "Ann talked about We met Bob" in answer.text
    assert answer.tokens == 150
    assert stand_in.requests == [
        {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": ABOUT.instructions},
                {"role": "user", "content": ABOUT.material},
            ],
            "stream": False,
            "max_tokens": 500,
            "temperature": 0,
        }
    ]
    assert stand_in.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("tail", ["", "/", "/chat/completions", "/chat/completions/"])
async def test_the_url_may_end_in_any_of_its_forms(stand_in: StandIn, tail: str) -> None:
    model = EndpointModel(stand_in.url + tail, "tiny")
    assert (await model.ask(ABOUT)).text
    assert "Authorization" not in stand_in.headers[0]
    await model.close()


async def test_neither_key_nor_password_is_logged(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("httpx", "httpcore"):
        caplog.set_level("DEBUG", logger=name)
    model = EndpointModel(stand_in.url.replace("//", "//ada:open-sesame@"), "tiny")
    await model.ask(ABOUT)
    await model.close()
    assert stand_in.headers[0]["Authorization"].startswith("Basic ")
    model = EndpointModel(stand_in.url, "tiny", KEY)
    await model.ask(ABOUT)
    await model.close()
    assert "/v1/chat/completions" in caplog.text
    assert "open-sesame" not in caplog.text
    assert KEY not in caplog.text


async def test_a_model_that_thinks_is_asked_in_its_own_form(model: LanguageModel, stand_in: StandIn) -> None:
    stand_in.usual = takes_no("max_tokens", "temperature")
    for _ in range(2):
        assert (await model.ask(ABOUT)).text
    asked = [sorted(set(request) - {"model", "messages", "stream"}) for request in stand_in.requests]
    assert asked == [["max_tokens", "temperature"], ["max_completion_tokens"], ["max_completion_tokens"]]


async def test_its_thoughts_are_no_part_of_the_answer(model: LanguageModel, stand_in: StandIn) -> None:
    stand_in.usual = standin.thinks
    assert (await model.ask(ABOUT)).text.startswith("{")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "mode", [status(500), status(503), status(408), status(429, Retry_After="0"), standin.breaks_off]
)
async def test_a_passing_failure_is_tried_again(
    model: LanguageModel, stand_in: StandIn, mode: standin.Mode, times: int
) -> None:
    stand_in.play(*[mode] * times)
    assert (await model.ask(ABOUT)).text
    assert len(stand_in.requests) == times + 1


async def test_retry_after_is_kept_within_the_timeout_and_not_waited_for_beyond(
    model: LanguageModel, stand_in: StandIn
) -> None:
    stand_in.play(status(429, Retry_After="2"))
    begun = time.monotonic()
    await model.ask(ABOUT)
    assert time.monotonic() - begun >= 2
    stand_in.play(status(429, Retry_After="3600"))
    begun = time.monotonic()
    assert (await missing(model, stand_in)).reason is Reason.BUSY
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("code", "reason", "says_so", "asked"),
    [
        (400, Reason.REFUSED, "400 Bad Request.", 2),
        (401, Reason.KEY, "401 Unauthorized; check LANGUAGE_MODEL_API_KEY.", 1),
        (403, Reason.KEY, "403 Forbidden; check LANGUAGE_MODEL_API_KEY.", 1),
        (404, Reason.NOT_FOUND, "404 Not Found; check LANGUAGE_MODEL and LANGUAGE_MODEL_URL", 1),
        (413, Reason.REFUSED, "413 ", 1),
        (302, Reason.FAILED, "302 Found, a redirect", 1),
        (299, Reason.FAILED, "299.", 1),
        (500, Reason.FAILED, "500 Internal Server Error.", 3),
        (429, Reason.BUSY, "429 Too Many Requests.", 3),
    ],
)
async def test_a_lasting_failure_is_told(
    model: LanguageModel, stand_in: StandIn, code: int, reason: Reason, says_so: str, asked: int
) -> None:
    stand_in.usual = status(code, b"<html>no</html>", Location="http://127.0.0.1:1/")
    error = await missing(model, stand_in)
    assert error.reason is reason
    assert says_so in error.detail
    assert error.tokens == 0
    assert len(stand_in.requests) == asked


@pytest.mark.parametrize(
    "mode",
    [
        raw(b"<!doctype html><html><body>Welcome to nginx!</body></html>"),
        raw(b""),
        raw(b"null"),
        raw(b"[]"),
        raw(b'{"choices": []}'),
        raw(b'{"choices": [{"message": null}]}'),
        raw(b'{"choices": [{"message": {"content": 7}}]}'),
        raw(b'{"error": {"message": "no"}}'),
        raw(b"[" * 100_000),
        raw(b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
        raw(b"\xff\xfe\x00"),
        content(["parts"]),
        standin.streams,
    ],
)
async def test_an_answer_that_is_none_is_refused(model: LanguageModel, stand_in: StandIn, mode: standin.Mode) -> None:
    stand_in.play(mode)
    error = await missing(model, stand_in)
    assert error.reason is Reason.UNREADABLE
    assert error.tokens == ABOUT.tokens
    assert (await model.ask(ABOUT)).text


async def test_what_is_not_packed_as_it_says_is_no_answer(model: LanguageModel, stand_in: StandIn) -> None:
    stand_in.usual = raw(b"no gzip", Content_Encoding="gzip")
    assert (await missing(model, stand_in)).reason is Reason.UNREACHABLE


@pytest.mark.parametrize("mode", [standin.endless, raw(gzip.compress(b" " * 64_000_000), Content_Encoding="gzip")])
async def test_an_endless_answer_is_broken_off(model: LanguageModel, stand_in: StandIn, mode: standin.Mode) -> None:
    stand_in.play(mode)
    assert (await missing(model, stand_in)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("mode", ["slow", "drips"])
async def test_an_endpoint_that_is_too_slow_is_given_up(stand_in: StandIn, mode: str) -> None:
    stand_in.play(getattr(stand_in, mode))
    model = EndpointModel(stand_in.url, "tiny", KEY, timeout_seconds=0.4)
    begun = time.monotonic()
    error = await missing(model, stand_in)
    assert time.monotonic() - begun < 2
    assert error.reason is Reason.LATE
    assert "within 0.4 seconds (LANGUAGE_MODEL_TIMEOUT_SECONDS)" in error.detail
    assert error.tokens == ABOUT.tokens
    await model.close()


async def test_a_question_that_is_cancelled_is_broken_off_at_once(model: LanguageModel, stand_in: StandIn) -> None:
    stand_in.play(stand_in.slow)
    asking = asyncio.create_task(model.ask(ABOUT))
    async with asyncio.timeout(3):
        while not stand_in.requests:  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(0.005)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert (await model.ask(ABOUT)).text


async def test_a_dead_endpoint_is_told() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        model = EndpointModel(f"http://user:{KEY}@127.0.0.1:{reserved.getsockname()[1]}/v1", "tiny")
        with pytest.raises(LanguageModelError) as caught:
            await model.ask(ABOUT)
        await model.close()
    said = "The language model's endpoint cannot be reached: nothing listens there; check LANGUAGE_MODEL_URL."
    assert caught.value.detail == said


async def test_a_private_address_that_nobody_allows_is_told(stand_in: StandIn) -> None:
    model = EndpointModel(stand_in.url, "tiny", public_only=True)
    found = await missing(model, stand_in)
    await model.close()
    assert found.reason is Reason.PRIVATE
    assert found.reason.says.startswith("was not asked: it is at a private address")
    assert stand_in.requests == []


async def test_a_closed_model_says_so(model: LanguageModel, stand_in: StandIn) -> None:
    await model.close()
    assert (await missing(model, stand_in)).reason is Reason.UNREACHABLE
    assert stand_in.requests == []


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"total_tokens": 42}, 42),
        ({"prompt_tokens": 40, "completion_tokens": 5}, 45),
        (False, None),
        ("many", None),
        ({"total_tokens": "42"}, None),
        ({"total_tokens": -5}, None),
        ({"total_tokens": 0}, None),
        ({"total_tokens": 10**30}, None),
        ({"total_tokens": True}, None),
        ({"prompt_tokens": 40}, None),
    ],
)
async def test_tokens_are_those_of_the_answer_or_estimated(
    model: LanguageModel, stand_in: StandIn, usage: object, tokens: int | None
) -> None:
    said = "word " * 100
    stand_in.play(content(said, usage=usage))
    assert (await model.ask(ABOUT)).tokens == (tokens or ABOUT.tokens + len(said) // 4 + 1)


async def test_an_answer_that_was_cut_off_says_so(model: LanguageModel, stand_in: StandIn) -> None:
    stand_in.play(content("half a", finish="length"), content(None))
    assert (await model.ask(ABOUT)).cut
    assert (await model.ask(ABOUT)).text == ""


async def test_the_settings_name_the_model(stand_in: StandIn) -> None:
    assert build_model(load_settings()) is None
    settings = load_settings(language_model_url=stand_in.url, language_model="tiny", language_model_api_key=KEY)
    model = build_model(settings)
    assert model is not None
    assert model.name == "tiny"
    assert (await model.ask(ABOUT)).text
    assert stand_in.headers[0]["Authorization"] == f"Bearer {KEY}"
    await model.close()


def test_half_a_setting_is_refused_in_a_sentence() -> None:
    for half in ({"language_model": "tiny"}, {"language_model_url": "http://127.0.0.1:1/v1"}):
        with pytest.raises(SettingsError, match=r"^LANGUAGE_MODEL and LANGUAGE_MODEL_URL take a value together"):
            load_settings(**half)
    with pytest.raises(SettingsError, match=r"^LANGUAGE_MODEL_URL: takes a URL"):
        build_model(load_settings(language_model="tiny", language_model_url="localhost:11434"))
    with pytest.raises(SettingsError, match=r"^LANGUAGE_MODEL_API_KEY: takes printable ASCII"):
        EndpointModel("http://127.0.0.1:1/v1", "tiny", "schlüssel")
