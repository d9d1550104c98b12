"""The endpoint's embedder against a real server that misbehaves."""

import asyncio
import base64
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.embedding.standin import DIM, Answer, StandIn, answer, drips, embed, honest, says

from reverie.embedding.encoder import Encoder
from reverie.embedding.endpoint import EndpointEmbedder
from reverie.embedding.protocol import EmbeddingError

KEY = "sk-very-secret"


@pytest.fixture
def endpoint(stand_in: StandIn) -> Iterator[EndpointEmbedder]:
    embedder = EndpointEmbedder(stand_in.url, "words", KEY, timeout_seconds=5)
    yield embedder
    embedder.close()


def sentence(error: EmbeddingError, stand_in: StandIn) -> str:
    """The message, after a look whether it gives anything away."""
    assert KEY not in error.detail
    assert stand_in.url not in error.detail
    assert "\n" not in error.detail
    assert error.detail.endswith((".", ").", "s)."))
    return error.detail


def test_what_is_asked_is_openais_form(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    endpoint.encode_documents(["one", ""])
    assert stand_in.requests == [{"model": "words", "input": ["one", " "], "encoding_format": "float"}]
    assert stand_in.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert stand_in.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize("tail", ["", "/", "/embeddings", "/embeddings/"])
def test_the_url_may_end_in_any_of_its_forms(stand_in: StandIn, tail: str) -> None:
    embedder = EndpointEmbedder(stand_in.url + tail, "words")
    assert embedder.dim == DIM
    assert "Authorization" not in stand_in.headers[0]
    embedder.close()


def test_user_and_password_of_the_url_are_sent_and_not_logged(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("httpx", "httpcore"):
        caplog.set_level("DEBUG", logger=name)
    embedder = EndpointEmbedder(stand_in.url.replace("//", "//ada:open-sesame@"), "words")
    assert embedder.dim == DIM
    embedder.close()
    assert stand_in.headers[0]["Authorization"] == "Basic " + base64.b64encode(b"ada:open-sesame").decode()
    assert "/v1/embeddings" in caplog.text
    assert "open-sesame" not in caplog.text


def test_the_dimension_is_asked_for_once(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    assert stand_in.requests == []
    assert endpoint.dim == endpoint.dim == DIM
    assert len(stand_in.requests) == 1


def test_a_models_prefix_is_sent(stand_in: StandIn) -> None:
    embedder = EndpointEmbedder(stand_in.url, "intfloat/e5-small-v2")
    embedder.encode_questions(["who"])
    embedder.encode_documents(["me"])
    embedder.close()
    assert [request["input"] for request in stand_in.requests] == [["query: who"], ["passage: me"]]


def test_vectors_are_put_in_the_order_of_their_index(endpoint: EndpointEmbedder) -> None:
    texts = ["alpha", "beta", "gamma"]
    vectors = endpoint.encode_documents(texts)
    for text, vector in zip(texts, vectors, strict=True):
        expected = np.array(embed(text))
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_an_answer_without_index_is_in_order(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    body = json.dumps({"data": [{"embedding": [1.0, 0.0]}, {"embedding": [0.0, 2.0]}]}).encode()
    stand_in.play(says(200, body))
    np.testing.assert_array_equal(endpoint.encode_documents(["a", "b"]), [[1.0, 0.0], [0.0, 1.0]])


def test_a_long_text_is_cut_until_it_is_taken(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    vectors = endpoint.encode_documents(["short"] * 5 + ["word " * 10_000])
    assert vectors.shape == (6, DIM)
    assert max(len(text) for text in stand_in.requests[-1]["input"]) <= 3_000


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_failure_is_tried_again(endpoint: EndpointEmbedder, stand_in: StandIn, status: int) -> None:
    stand_in.play(says(status), says(status))
    assert endpoint.encode_documents(["text"]).shape == (1, DIM)
    assert len(stand_in.requests) == 3


def test_retry_after_is_kept(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    stand_in.play(says(429, Retry_After="1"))
    begun = time.perf_counter()
    endpoint.encode_questions(["text"])
    assert time.perf_counter() - begun >= 1.0


def test_a_retry_after_beyond_the_timeout_is_not_waited_for(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    stand_in.play(says(429, Retry_After="3600"))
    begun = time.perf_counter()
    with pytest.raises(EmbeddingError, match="429 Too Many Requests"):
        endpoint.encode_documents(["text"])
    assert time.perf_counter() - begun < 1.0


def test_a_lasting_failure_is_told(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    stand_in.play(*[says(503)] * 9)
    with pytest.raises(EmbeddingError) as caught:
        endpoint.encode_documents(["text"])
    assert sentence(caught.value, stand_in) == "The embedding endpoint answered 503 Service Unavailable."
    assert len(stand_in.requests) == 4
    assert not caught.value.text_at_fault


@pytest.mark.parametrize(
    ("status", "says_so"),
    [
        (401, "401 Unauthorized; check EMBEDDING_API_KEY."),
        (403, "403 Forbidden; check EMBEDDING_API_KEY."),
        (404, "404 Not Found; check EMBEDDING_MODEL and EMBEDDING_URL"),
        (302, "302 Found, a redirect, and redirects are not followed"),
        (299, "299."),
    ],
)
def test_a_refusal_is_told_at_once(endpoint: EndpointEmbedder, stand_in: StandIn, status: int, says_so: str) -> None:
    stand_in.play(says(status, b"<html>no</html>", Location="http://127.0.0.1:1/"))
    with pytest.raises(EmbeddingError) as caught:
        endpoint.encode_documents(["text"])
    assert says_so in sentence(caught.value, stand_in)
    assert len(stand_in.requests) == 1


def test_a_refused_text_is_at_fault_itself(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    def fussy(request: dict[str, Any]) -> Answer:
        return (422, {}, b"") if "poison" in request["input"] else honest(request)

    stand_in.play(*[fussy] * 9)
    with pytest.raises(EmbeddingError, match="422") as caught:
        endpoint.encode_documents(["fine", "poison", "fine too"])
    assert caught.value.text_at_fault


def _vectors(*rows: object) -> bytes:
    return json.dumps({"data": [{"index": at, "embedding": row} for at, row in enumerate(rows)]}).encode()


FORM = "it is no list of vectors in OpenAI's form"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<!doctype html><html><body>Welcome to nginx!</body></html>", "a page for people (HTML)"),
        (b"", FORM),
        (b"null", FORM),
        (b"[]", FORM),
        (b'{"data": null}', FORM),
        (b'{"data": [1, 2]}', FORM),
        (b'{"error": {"message": "no"}}', FORM),
        (b'{"data": []}', "0 vectors for 2 texts"),
        (_vectors([1.0, 2.0]), "1 vectors for 2 texts"),
        (_vectors([1.0], [1.0], [1.0]), "3 vectors for 2 texts"),
        (_vectors([1.0, 2.0], [1.0]), FORM),
        (_vectors([], []), FORM),
        (_vectors(1.0, 2.0), FORM),
        (_vectors("AAAA", "AAAA"), FORM),
        (_vectors([[1.0]], [[1.0]]), FORM),
        (_vectors([1.0, None], [1.0, 2.0]), "no usable vector"),
        (_vectors([1.0, math.nan], [1.0, 2.0]), FORM),
        (_vectors([0.0, 0.0], [1.0, 2.0]), "no usable vector"),
        (b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}', FORM),
        (b'{"data": [{"index": 1, "embedding": [1]}, {"embedding": [1]}]}', FORM),
        (b'{"data": [{"index": 0}, {"index": 1}]}', FORM),
        (_vectors([1e999, 1.0], [1.0, 1.0]).replace(b"Infinity", b"1e999"), ""),
    ],
)
def test_an_answer_that_is_none_is_refused(
    endpoint: EndpointEmbedder, stand_in: StandIn, body: bytes, why: str
) -> None:
    stand_in.play(says(200, body, Content_Type="text/html"))
    with pytest.raises(EmbeddingError) as caught:
        endpoint.encode_documents(["a", "b"])
    assert why in sentence(caught.value, stand_in)
    assert endpoint.encode_documents(["a", "b"]).shape == (2, DIM)


def test_what_is_not_packed_as_it_says_is_no_answer(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    stand_in.play(*[says(200, b"no gzip", Content_Encoding="gzip")] * 2)
    with pytest.raises(EmbeddingError, match="did not keep to HTTP"):
        endpoint.encode_questions(["a"])


def test_another_dimension_than_before_is_refused(endpoint: EndpointEmbedder, stand_in: StandIn) -> None:
    endpoint.encode_documents(["a"])
    stand_in.play(lambda request: answer([embed(text, 64) for text in request["input"]]))
    with pytest.raises(EmbeddingError, match="answered with 64 dimensions instead of 96"):
        endpoint.encode_documents(["a"])


def _hangs(stand_in: StandIn) -> Callable[[dict[str, Any]], Answer]:
    def trick(request: dict[str, Any]) -> Answer:
        stand_in.released.wait(20)
        return honest(request)

    return trick


@pytest.mark.parametrize("slow", ["silent", "dripping", "dripping head"])
def test_an_endpoint_that_is_too_slow_is_given_up(stand_in: StandIn, slow: str) -> None:
    stand_in.play({"silent": _hangs(stand_in), "dripping": says(200, b"DRIP" * 2_000), "dripping head": drips()}[slow])
    embedder = EndpointEmbedder(stand_in.url, "words", KEY, timeout_seconds=0.4)
    begun = time.perf_counter()
    with pytest.raises(EmbeddingError) as caught:
        embedder.encode_documents(["text"])
    assert time.perf_counter() - begun < 2
    assert "did not answer within 0.4 seconds (EMBEDDING_TIMEOUT_SECONDS)" in sentence(caught.value, stand_in)
    embedder.close()


@pytest.mark.parametrize("public_only", [True, False])
def test_a_name_that_is_looked_up_too_slowly_is_given_up(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, public_only: bool
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: stand_in.released.wait(10) and [])
    embedder = EndpointEmbedder("http://slow.example/v1", "words", timeout_seconds=0.4, public_only=public_only)
    begun = time.perf_counter()
    with pytest.raises(EmbeddingError, match=r"did not answer within 0\.4 seconds"):
        embedder.encode_documents(["text"])
    assert time.perf_counter() - begun < 2
    embedder.close()
    stand_in.released.set()


def test_a_dead_endpoint_is_told() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        embedder = EndpointEmbedder(f"http://user:{KEY}@127.0.0.1:{reserved.getsockname()[1]}/v1", "words")
        with pytest.raises(EmbeddingError) as caught:
            embedder.encode_questions(["text"])
        embedder.close()
    said = "The embedding endpoint cannot be reached: nothing listens there; check EMBEDDING_URL."
    assert caught.value.detail == said


def test_closing_ends_the_wait_between_attempts(stand_in: StandIn) -> None:
    stand_in.play(*[says(503, Retry_After="10")] * 5)
    embedder = EndpointEmbedder(stand_in.url, "words", timeout_seconds=30)
    threading.Timer(0.2, embedder.close).start()
    begun = time.perf_counter()
    with pytest.raises(EmbeddingError):
        embedder.encode_documents(["text"])
    assert time.perf_counter() - begun < 5
    with pytest.raises(EmbeddingError, match="closed"):
        embedder.encode_documents(["text"])


async def test_a_slow_load_does_not_hold_up_questions(stand_in: StandIn) -> None:
    embedder = EndpointEmbedder(stand_in.url, "words", timeout_seconds=5)
    encoder = Encoder(embedder, DIM).start()
    stand_in.play(_hangs(stand_in))
    load = asyncio.create_task(encoder.documents(["bulk"] * 10))
    async with asyncio.timeout(3):
        while not stand_in.requests:  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(0.005)
        assert (await encoder.question("quick")).shape == (DIM,)
    assert not load.done()
    stand_in.released.set()
    assert (await load).shape == (10, DIM)
    await encoder.close()
