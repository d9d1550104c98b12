"""The endpoint's reranker against a real server that misbehaves."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.embedding.standin import Answer, StandIn, drips, judges, ranked, says, serve, shared

from reverie.embedding.reranking.endpoint import EndpointReranker
from reverie.embedding.reranking.protocol import RerankError

KEY = "sk-very-secret"


@pytest.fixture
def judge() -> Iterator[StandIn]:
    with serve("/v1/rerank", judges) as running:
        yield running


@pytest.fixture
def endpoint(judge: StandIn) -> Iterator[EndpointReranker]:
    reranker = EndpointReranker(judge.url, "words", KEY, timeout_seconds=5)
    yield reranker
    reranker.close()


def sentence(error: RerankError, judge: StandIn) -> str:
    """The message, after a look whether it gives anything away."""
    assert KEY not in error.detail
    assert judge.url not in error.detail
    assert "\n" not in error.detail
    assert error.detail.endswith((".", ").", "s)."))
    return error.detail


def test_what_is_asked_is_the_common_form(endpoint: EndpointReranker, judge: StandIn) -> None:
    endpoint.score("who", ["one", ""])
    assert judge.requests == [{"model": "words", "query": "who", "documents": ["one", " "]}]
    assert judge.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert judge.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize("tail", ["", "/", "/rerank", "/rerank/"])
def test_the_url_may_end_in_any_of_its_forms(judge: StandIn, tail: str) -> None:
    reranker = EndpointReranker(judge.url + tail, "words", timeout_seconds=5)
    assert reranker.score("a", ["a"]).shape == (1,)
    assert "Authorization" not in judge.headers[0]
    reranker.close()


def test_probabilities_become_logits_in_the_order_of_the_texts(endpoint: EndpointReranker, judge: StandIn) -> None:
    judge.play(lambda request: ranked([0.5, 0.9, 0.0, 1.0]))
    scores = endpoint.score("q", ["a", "b", "c", "d"])
    np.testing.assert_allclose(scores, [0.0, np.log(9), -13.8155, 13.8155], atol=1e-3)


def test_logits_stay_what_they_are(endpoint: EndpointReranker, judge: StandIn) -> None:
    judge.play(lambda request: ranked([-3.5, 7.25]))
    np.testing.assert_array_equal(endpoint.score("q", ["a", "b"]), np.array([-3.5, 7.25], dtype=np.float32))


def _other_form(request: dict[str, Any]) -> Answer:
    """As Text Embeddings Inference answers."""
    if "texts" not in request:
        return 422, {}, b"missing field `texts`"
    rows = [{"index": at, "score": shared(request["query"], text)} for at, text in enumerate(request["texts"])]
    return 200, {"Content-Type": "application/json"}, json.dumps(rows[::-1]).encode()


def test_the_form_of_text_embeddings_inference_is_found_and_kept() -> None:
    with serve("/rerank", _other_form) as judge:
        reranker = EndpointReranker(judge.url.removesuffix("/v1"), "words", timeout_seconds=5)
        for _ in range(2):
            scores = reranker.score("grey cat", ["a grey cat", "a dog"])
            assert scores[0] > scores[1]
        assert [set(request) & {"documents", "texts"} for request in judge.requests] == [
            {"documents"}, {"texts"}, {"texts"},
        ]  # fmt: skip
        reranker.close()


def test_more_documents_than_it_takes_are_asked_for_in_parts(judge: StandIn) -> None:
    def few(request: dict[str, Any]) -> Answer:
        return (413, {}, b"") if len(request["documents"]) > 8 else judges(request)

    judge.usual = few
    reranker = EndpointReranker(judge.url, "words", timeout_seconds=10)
    reranker.score("warm", ["warm"])
    texts = [f"word{number} of many" for number in range(30)]
    scores = reranker.score("word17", texts)
    assert int(np.argmax(scores)) == 17
    reranker.close()


def test_a_long_text_is_cut_until_it_is_taken(endpoint: EndpointReranker, judge: StandIn) -> None:
    assert endpoint.score("word", ["short"] * 5 + ["word " * 10_000]).shape == (6,)
    assert max(len(text) for text in judge.requests[-1]["documents"]) <= 3_000


def test_a_long_question_is_cut(endpoint: EndpointReranker, judge: StandIn) -> None:
    endpoint.score("word " * 20_000, ["word"])
    assert len(judge.requests[-1]["query"]) <= 2_000


@pytest.mark.parametrize(
    ("status", "says_so"),
    [
        (401, "401 Unauthorized; check RERANK_API_KEY."),
        (403, "403 Forbidden; check RERANK_API_KEY."),
        (404, "404 Not Found; check RERANK_MODEL and RERANK_URL"),
        (429, "429 Too Many Requests."),
        (503, "503 Service Unavailable."),
        (302, "302 Found, a redirect, and redirects are not followed"),
        (299, "299."),
    ],
)
def test_a_refusal_is_told_at_once(endpoint: EndpointReranker, judge: StandIn, status: int, says_so: str) -> None:
    judge.play(says(status, b"<html>no</html>", Location="http://127.0.0.1:1/"))
    with pytest.raises(RerankError) as caught:
        endpoint.score("q", ["text"])
    assert says_so in sentence(caught.value, judge)
    assert len(judge.requests) == 1


def test_what_is_refused_in_any_form_and_size_is_told(endpoint: EndpointReranker, judge: StandIn) -> None:
    judge.usual = says(400)
    with pytest.raises(RerankError, match="400 Bad Request"):
        endpoint.score("q", ["text " * 1_000, "other"])


def _results(*scores: object) -> bytes:
    return json.dumps(
        {"results": [{"index": at, "relevance_score": score} for at, score in enumerate(scores)]}
    ).encode()


FORM = "it is no list of results with index and relevance_score"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<!doctype html><html><body>Welcome to nginx!</body></html>", "a page for people (HTML)"),
        (b"", FORM),
        (b"null", FORM),
        (b"7", FORM),
        (b'{"results": null}', FORM),
        (b'{"results": [1, 2]}', FORM),
        (b'{"results": {"a": 1}}', FORM),
        (b'{"error": {"message": "no"}}', FORM),
        (b"[]", "0 results for 2 texts"),
        (_results(0.5), "1 results for 2 texts"),
        (_results(0.5, 0.5, 0.5), FORM),
        (_results(0.5, None), FORM),
        (_results(0.5, "0.5"), FORM),
        (_results(0.5, True), FORM),
        (_results(0.5, [0.5]), FORM),
        (_results(0.5, 0.25).replace(b"0.25", b"1e999"), ""),
        (b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]}', "no finite score"),
        (b'{"results": [{"index": -1, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]}', FORM),
        (b'{"results": [{"index": "0", "relevance_score": 1}, {"index": 1, "relevance_score": 1}]}', FORM),
        (b'{"results": [{"index": 0}, {"index": 1}]}', FORM),
    ],
)
def test_an_answer_that_is_none_is_refused(endpoint: EndpointReranker, judge: StandIn, body: bytes, why: str) -> None:
    judge.play(says(200, body, Content_Type="text/html"))
    with pytest.raises(RerankError) as caught:
        endpoint.score("q", ["a", "b"])
    assert why in sentence(caught.value, judge)
    assert endpoint.score("q", ["a", "b"]).shape == (2,)


def _hangs(judge: StandIn) -> Callable[[dict[str, Any]], Answer]:
    def trick(request: dict[str, Any]) -> Answer:
        judge.released.wait(20)
        return judges(request)

    return trick


@pytest.mark.parametrize("slow", ["silent", "dripping", "dripping head"])
def test_an_endpoint_that_is_too_slow_is_given_up(judge: StandIn, slow: str) -> None:
    judge.play({"silent": _hangs(judge), "dripping": says(200, b"DRIP" * 2_000), "dripping head": drips()}[slow])
    reranker = EndpointReranker(judge.url, "words", KEY, timeout_seconds=0.4)
    begun = time.perf_counter()
    with pytest.raises(RerankError) as caught:
        reranker.score("q", ["text"])
    assert time.perf_counter() - begun < 4
    assert caught.value.why == "late"
    assert "did not answer within 0.4 seconds (RERANK_SECONDS)" in sentence(caught.value, judge)
    reranker.close()


def test_a_dead_endpoint_is_told() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        reranker = EndpointReranker(f"http://user:{KEY}@127.0.0.1:{reserved.getsockname()[1]}/v1", "words")
        with pytest.raises(RerankError) as caught:
            reranker.score("q", ["text"])
        reranker.close()
    assert caught.value.detail == "The rerank endpoint cannot be reached: nothing listens there; check RERANK_URL."


def test_an_endpoint_that_has_closed_its_connection_is_asked_again(judge: StandIn) -> None:
    def breaks_off(request: dict[str, Any]) -> Answer:
        raise ConnectionResetError

    judge.play(breaks_off)
    reranker = EndpointReranker(judge.url, "words", timeout_seconds=5)
    assert reranker.score("q", ["text"]).shape == (1,)
    assert len(judge.requests) == 2
    reranker.close()


def test_closing_while_it_is_asked(judge: StandIn) -> None:
    judge.play(_hangs(judge))
    reranker = EndpointReranker(judge.url, "words", timeout_seconds=30)
    given: list[object] = []
    asking = threading.Thread(target=lambda: given.append(reranker.score("q", ["text"])))
    asking.start()
    while not judge.requests:
        time.sleep(0.005)
    reranker.close()
    judge.released.set()
    asking.join(20)
    assert len(given) == 1
    with pytest.raises(RerankError, match="closed"):
        reranker.score("q", ["text"])


def test_user_and_password_of_the_url_are_not_logged(judge: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("httpx", "httpcore"):
        caplog.set_level("DEBUG", logger=name)
    reranker = EndpointReranker(judge.url.replace("//", "//ada:open-sesame@"), "words", timeout_seconds=5)
    reranker.score("q", ["text"])
    reranker.close()
    assert judge.headers[0]["Authorization"].startswith("Basic ")
    assert "/v1/rerank" in caplog.text
    assert "open-sesame" not in caplog.text
