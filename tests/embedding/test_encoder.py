import asyncio
import statistics
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
import pytest
from tests.embedding.standin import embed

from reverie.embedding.encoder import LONGEST_KNOWN, Encoder
from reverie.embedding.fit import fit
from reverie.embedding.protocol import LOCAL_LIMITS, Embedder, EmbeddingError, FloatArray
from reverie.embedding.queues import MOST_DOCUMENTS, MOST_QUESTIONS

DIM = 96


class Words:
    """An embedder that counts words; each call waits for ``gate`` and is written down."""

    name = "words"
    dim = DIM
    max_tokens = 512
    limits = LOCAL_LIMITS

    def __init__(self, *, concurrent: bool = False) -> None:
        self.concurrent = concurrent
        self.calls: list[tuple[str, list[str]]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.fails: Callable[[Sequence[str]], Exception | None] = lambda texts: None
        self.closed = False

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        return self._encode("documents", texts)

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        return self._encode("questions", texts)

    def close(self) -> None:
        self.closed = True

    def _encode(self, kind: str, texts: Sequence[str]) -> FloatArray:
        self.calls.append((kind, list(texts)))
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(10)
        error = self.fails(texts)
        if error is not None:
            raise error
        vectors = np.array([embed(text, DIM) for text in texts], dtype=np.float32)
        return fit(vectors, DIM)


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
async def encoder(words: Words) -> AsyncIterator[Encoder]:
    encoder = Encoder(words, DIM).start()
    yield encoder
    words.gate.set()
    await encoder.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(0.001)


async def hold(encoder: Encoder, words: Words) -> "asyncio.Task[FloatArray]":
    """Keeps the worker busy with one question until the gate is opened."""
    words.gate.clear()
    task = asyncio.create_task(encoder.question("held"))
    await until(lambda: bool(words.calls))
    words.calls.clear()
    return task


async def test_a_question_becomes_one_vector(encoder: Encoder, words: Words) -> None:
    vector = await encoder.question("grey cat")
    assert vector.shape == (DIM,)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, words.encode_questions(["grey cat"])[0], atol=1e-6)


async def test_the_last_questions_are_known(encoder: Encoder, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reverie.embedding.encoder.MOST_KNOWN", 2)
    first = await encoder.question("one")
    assert not first.flags.writeable
    await encoder.question("two")
    assert await encoder.question("one") is first
    long = "x" * (LONGEST_KNOWN + 1)
    for text in ("three", long, "one", long, "two"):
        await encoder.question(text)
    assert [texts for _, texts in words.calls] == [["one"], ["two"], ["three"], [long], [long], ["two"]]
    # A document is not a question, whatever it says.
    await encoder.documents(["one"])
    assert words.calls[-1] == ("documents", ["one"])
    await encoder.close()
    with pytest.raises(EmbeddingError):
        await encoder.question("one")


async def test_a_question_that_failed_is_asked_again_and_a_probe_always(encoder: Encoder, words: Words) -> None:
    words.fails = lambda texts: EmbeddingError("out")
    for ask in (encoder.question("one"), encoder.probe(), encoder.question("one")):
        with pytest.raises(EmbeddingError):
            await ask
    words.fails = lambda texts: None
    await encoder.question("one")
    for _ in range(2):
        await encoder.probe()
    assert len(words.calls) == 6


async def test_documents_come_back_in_their_order(encoder: Encoder, words: Words) -> None:
    texts = [f"number {number} " + "long " * (number * 7 % 40) for number in range(100)]
    vectors = await encoder.documents(texts)
    assert vectors.shape == (100, DIM)
    np.testing.assert_allclose(vectors, words.encode_documents(texts), atol=1e-6)
    assert all(len(call) <= LOCAL_LIMITS.texts for _, call in words.calls[:-1])


async def test_no_documents_are_no_work(encoder: Encoder, words: Words) -> None:
    assert (await encoder.documents([])).shape == (0, DIM)
    assert words.calls == []


@pytest.mark.parametrize("dim", [32, 256])
async def test_vectors_are_fitted(words: Words, dim: int) -> None:
    encoder = Encoder(words, dim).start()
    vectors = await encoder.documents(["one", "two words"])
    question = await encoder.question("one")
    await encoder.close()
    assert vectors.shape == (2, dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(question, vectors[0], atol=1e-6)


async def test_questions_of_one_moment_are_encoded_together(encoder: Encoder, words: Words) -> None:
    held = await hold(encoder, words)
    tasks = [asyncio.create_task(encoder.question(f"number {number}")) for number in range(20)]
    await until(lambda: encoder.queued_questions == 21)
    words.gate.set()
    await asyncio.gather(held, *tasks)
    assert [(kind, len(texts)) for kind, texts in words.calls] == [("questions", 16), ("questions", 4)]
    for number, task in enumerate(tasks):
        np.testing.assert_allclose(task.result(), words.encode_questions([f"number {number}"])[0], atol=1e-6)


async def test_documents_of_one_moment_are_encoded_together(encoder: Encoder, words: Words) -> None:
    held = await hold(encoder, words)
    tasks = [asyncio.create_task(encoder.documents([f"number {number}"])) for number in range(10)]
    await until(lambda: encoder.queued_documents == 10)
    words.gate.set()
    await asyncio.gather(held, *tasks)
    assert [(kind, len(texts)) for kind, texts in words.calls] == [("documents", 10)]


async def test_questions_go_before_documents(encoder: Encoder, words: Words) -> None:
    held = await hold(encoder, words)
    bulk = asyncio.create_task(encoder.documents([f"number {number}" for number in range(64)]))
    await until(lambda: encoder.queued_documents == 64)
    question = asyncio.create_task(encoder.question("now"))
    await until(lambda: encoder.queued_questions == 2)
    words.gate.set()
    await asyncio.gather(held, bulk, question)
    assert [kind for kind, _ in words.calls] == ["questions"] + ["documents"] * 4


async def test_a_question_waits_for_one_batch_of_documents_at_most(encoder: Encoder, words: Words) -> None:
    words.gate.clear()
    bulk = asyncio.create_task(encoder.documents([f"number {number}" for number in range(64)]))
    await until(lambda: bool(words.calls))
    question = asyncio.create_task(encoder.question("now"))
    await until(lambda: encoder.queued_questions == 1)
    words.gate.set()
    await asyncio.gather(bulk, question)
    assert [kind for kind, _ in words.calls][:3] == ["documents", "questions", "documents"]


async def test_documents_are_not_starved_by_questions(encoder: Encoder, words: Words) -> None:
    held = await hold(encoder, words)
    document = asyncio.create_task(encoder.documents(["here"]))
    tasks = [asyncio.create_task(encoder.question(f"number {number}")) for number in range(16 * 12)]
    await until(lambda: encoder.queued_questions == 16 * 12 + 1)
    words.gate.set()
    await asyncio.gather(held, document, *tasks)
    kinds = [kind for kind, _ in words.calls]
    assert "documents" in kinds[:9]
    assert kinds[-1] == "questions"


async def test_beyond_what_may_wait_callers_are_refused_at_once(encoder: Encoder, words: Words) -> None:
    held = await hold(encoder, words)
    questions = [asyncio.create_task(encoder.question("next")) for _ in range(MOST_QUESTIONS - 1)]
    documents = [asyncio.create_task(encoder.documents(["more"] * 100)) for _ in range(MOST_DOCUMENTS // 100)]
    await until(lambda: encoder.queued_documents == MOST_DOCUMENTS)
    with pytest.raises(EmbeddingError, match="too much to do"):
        await encoder.question("one too many")
    with pytest.raises(EmbeddingError, match="too much to do"):
        await encoder.documents(["one too many"])
    words.gate.set()
    await asyncio.gather(held, *questions, *documents)
    assert (await encoder.documents(["again"] * (MOST_DOCUMENTS + 1))).shape == (MOST_DOCUMENTS + 1, DIM)
    assert (await encoder.question("again")).shape == (DIM,)


async def test_the_event_loop_never_waits(encoder: Encoder, words: Words) -> None:
    held = await hold(encoder, words)
    task = asyncio.create_task(encoder.documents(["text"] * 50))
    begun = time.perf_counter()
    for _ in range(100):
        await asyncio.sleep(0)
    assert time.perf_counter() - begun < 1
    assert not task.done()
    words.gate.set()
    await asyncio.gather(held, task)


async def test_a_cancelled_callers_work_is_dropped(encoder: Encoder, words: Words) -> None:
    held = await hold(encoder, words)
    question = asyncio.create_task(encoder.question("gone"))
    documents = asyncio.create_task(encoder.documents(["gone too"] * 40))
    other = asyncio.create_task(encoder.documents(["still here"]))
    await until(lambda: encoder.queued_questions == 2 and encoder.queued_documents == 41)
    question.cancel()
    documents.cancel()
    await asyncio.gather(question, documents, return_exceptions=True)
    words.gate.set()
    await asyncio.gather(held, other)
    assert words.calls == [("documents", ["still here"])]
    await until(lambda: encoder.queued_questions == 0 and encoder.queued_documents == 0)


async def test_a_caller_who_leaves_while_it_is_encoded_harms_nobody(encoder: Encoder, words: Words) -> None:
    words.gate.clear()
    gone = asyncio.create_task(encoder.documents(["gone"]))
    await until(lambda: bool(words.calls))
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    words.gate.set()
    assert (await encoder.documents(["here"])).shape == (1, DIM)


async def test_a_failure_reaches_its_own_caller_only(encoder: Encoder, words: Words) -> None:
    words.fails = lambda texts: EmbeddingError("Poison.", text_at_fault=True) if "poison" in texts else None
    held = await hold(encoder, words)
    good = [asyncio.create_task(encoder.documents([f"good {number}"])) for number in range(5)]
    bad = asyncio.create_task(encoder.documents(["fine", "poison"]))
    await until(lambda: encoder.queued_documents == 7)
    words.gate.set()
    await asyncio.gather(held, *good)
    with pytest.raises(EmbeddingError, match=r"Poison\."):
        await bad
    assert (await encoder.question("and on")).shape == (DIM,)
    assert encoder.queued_documents == 0


async def test_when_the_embedder_is_out_of_reach_it_is_asked_once(encoder: Encoder, words: Words) -> None:
    words.fails = lambda texts: EmbeddingError("Out of reach.") if "held" not in texts else None
    held = await hold(encoder, words)
    tasks = [asyncio.create_task(encoder.question(f"number {number}")) for number in range(5)]
    await until(lambda: encoder.queued_questions == 6)
    words.gate.set()
    await held
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, EmbeddingError) for result in results)
    assert len(words.calls) == 1


async def test_an_unknown_failure_is_logged_and_told_without_its_text(
    encoder: Encoder, words: Words, caplog: pytest.LogCaptureFixture
) -> None:
    words.fails = lambda texts: RuntimeError("secret path /srv/model")
    with pytest.raises(EmbeddingError) as caught:
        await encoder.question("why")
    assert str(caught.value) == "The embedder words failed; the log says why."
    assert caught.value.status == 503
    assert "secret path" in caplog.text


async def test_a_vector_that_cannot_be_used_is_a_failure(encoder: Encoder, words: Words) -> None:
    class Short(Words):
        def encode_questions(self, texts: Sequence[str]) -> FloatArray:
            return np.ones((0, DIM), dtype=np.float32)

    short = Encoder(Short(), DIM).start()
    with pytest.raises(EmbeddingError, match="failed"):
        await short.question("any")
    await short.close()


async def test_closing_fails_what_waits_and_ends_the_thread(words: Words) -> None:
    encoder = Encoder(words, DIM).start()
    before = set(threading.enumerate())
    words.gate.clear()
    running = asyncio.create_task(encoder.question("running"))
    await until(lambda: bool(words.calls))
    waiting = asyncio.create_task(encoder.documents(["waiting"]))
    await until(lambda: encoder.queued_documents == 1)
    closing = asyncio.create_task(encoder.close())
    results = await asyncio.gather(running, waiting, return_exceptions=True)
    assert all(isinstance(result, EmbeddingError) for result in results)
    words.gate.set()
    await closing
    await encoder.close()
    assert words.closed
    assert not [thread for thread in before if thread.name == "reverie-encoder" and thread.is_alive()]
    with pytest.raises(EmbeddingError, match="not running"):
        await encoder.question("late")


async def test_it_does_not_run_before_it_is_started(words: Words) -> None:
    encoder = Encoder(words, DIM)
    with pytest.raises(EmbeddingError, match="not running"):
        await encoder.question("early")
    await encoder.close()
    assert encoder.queued_questions == 0


async def test_an_embedder_that_can_do_both_gets_a_thread_for_each() -> None:
    words = Words(concurrent=True)
    encoder = Encoder(words, DIM).start()
    words.gate.clear()
    documents = asyncio.create_task(encoder.documents(["slow"]))
    await until(lambda: bool(words.calls))
    question = asyncio.create_task(encoder.question("quick"))
    await until(lambda: len(words.calls) == 2)
    words.gate.set()
    await asyncio.gather(documents, question)
    assert words.threads == {"reverie-questions", "reverie-documents"}
    await encoder.close()


async def test_the_real_model_through_the_encoder(bge: Embedder) -> None:
    encoder = Encoder(bge, 384).start()
    texts = ["My sister adopted a grey cat.", "The budget meeting is on Tuesday.", "We painted the kitchen."] * 8
    vectors, question = await asyncio.gather(encoder.documents(texts), encoder.question("What pet does she have?"))
    await encoder.close()
    assert int(np.argmax(vectors[:3] @ question)) == 0
    np.testing.assert_allclose((vectors * bge.encode_documents(texts)).sum(axis=1), 1.0, atol=0.02)


async def test_the_hand_over_costs_little() -> None:
    words = Words()
    vector = words.encode_questions(["question"])
    words._encode = lambda kind, texts: vector  # type: ignore[method-assign]
    encoder = Encoder(words, DIM).start()

    async def median() -> float:
        seconds = []
        for _ in range(300):
            begun = time.perf_counter()
            await encoder.question("question")
            seconds.append(time.perf_counter() - begun)
        return statistics.median(seconds)

    assert min([await median() for _ in range(3)]) < 0.0005
    await encoder.close()
