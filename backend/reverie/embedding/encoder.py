"""The encoder: what the service asks for vectors, over the thread that owns the embedder.

Questions go before documents. All questions that wait at the same moment are encoded together; documents go in small
batches of similar length, drawn from all that wait, so that a bulk load delays a question by one batch at most.
"""

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, Self

import numpy as np

from reverie.core.metrics import Metrics
from reverie.embedding.fit import fit
from reverie.embedding.priority import give_way
from reverie.embedding.protocol import CHARS_PER_TOKEN, Embedder, EmbeddingError, FloatArray
from reverie.embedding.queues import Documents, Item, Job, Questions

_log = logging.getLogger(__name__)

DOCUMENTS: Final = "documents"
"""The name of the worker that has nothing to do with questions."""

MOST_KNOWN: Final = 512
LONGEST_KNOWN: Final = 1_000
"""So many questions of at most so many characters keep their vectors, those that were asked last."""

_JOIN_SECONDS: Final = 5.0
_QUESTIONS_IN_A_ROW: Final = 8
"""So many batches of questions may go one after another while documents wait; then one batch of documents goes."""


class Encoder:
    """Vectors for the service, fitted to ``dim`` components.

    It belongs to the event loop in which it is started; that loop never waits for it.
    """

    def __init__(self, embedder: Embedder, dim: int, metrics: Metrics | None = None) -> None:
        self.embedder = embedder
        self.dim = dim
        self._metrics = metrics or Metrics()
        self._most_chars = embedder.max_tokens * CHARS_PER_TOKEN
        names = ("questions", DOCUMENTS) if embedder.concurrent else ("encoder",)
        self._workers = tuple(_Worker(embedder, dim, name, self._metrics) for name in names)
        self._jobs: set[Job] = set()
        self._known: OrderedDict[str, FloatArray] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def queued_questions(self) -> int:
        """Questions that wait or are being encoded."""
        return self._workers[0].questions.length

    @property
    def queued_documents(self) -> int:
        """Documents that wait or are being encoded."""
        return self._workers[-1].documents.length

    def start(self) -> Self:
        """Starts the worker thread, or two if the embedder is ``concurrent``; called once, in the event loop."""
        self._loop = asyncio.get_running_loop()
        for worker in self._workers:
            worker.start(self._loop)
        return self

    async def close(self) -> None:
        """Gives :class:`EmbeddingError` to all who wait, ends the threads and closes the embedder; once is enough."""
        if self._loop is None:
            return
        self._loop = None
        for job in self._jobs:
            _set_exception(job, _closed())
        for worker in self._workers:
            worker.stop()
        self.embedder.close()
        await asyncio.gather(*(asyncio.to_thread(worker.join, _JOIN_SECONDS) for worker in self._workers))

    async def question(self, text: str) -> FloatArray:
        """The vector to search with: float32 ``[dim]``, of unit length, read-only. Of the last questions it is known.

        Raises:
            EmbeddingError: the embedder failed, too much waits for it, or the encoder is not running.
        """
        known = self._known.get(text)
        if known is not None and self._loop is not None:
            self._known.move_to_end(text)
            return known
        vector = await self._question(text)
        if len(text) <= LONGEST_KNOWN:
            self._known[text] = vector
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return vector

    def knows(self, text: str) -> bool:
        """Whether a question was asked a while ago, so that its vector is there at once."""
        return text in self._known

    async def probe(self) -> None:
        """Has the embedder encode a question, to see whether it is well.

        Raises:
            EmbeddingError: as :meth:`question`.
        """
        await self._question("ready?")

    async def _question(self, text: str) -> FloatArray:
        job = self._job([text])
        worker = self._workers[0]
        self._put(worker.questions, job, "questions")
        vector = (await self._vectors(job, worker)).reshape(self.dim)
        vector.flags.writeable = False
        return vector

    async def documents(self, texts: Sequence[str]) -> FloatArray:
        """The vectors of texts to be found: float32 ``[len(texts), dim]``, rows of unit length.

        Raises:
            EmbeddingError: the embedder failed, too much waits for it, or the encoder is not running.
        """
        job = self._job(texts)
        if not texts:
            return job.vectors
        worker = self._workers[-1]
        self._put(worker.documents, job, "documents")
        return await self._vectors(job, worker)

    def _put(self, queue: Questions | Documents, job: Job, kind: str) -> None:
        try:
            queue.put(job)
        except EmbeddingError:
            self._metrics.encoder_busy(kind)
            raise

    def _job(self, texts: Sequence[str]) -> Job:
        if self._loop is None:
            raise _closed()
        return Job(
            texts=texts,
            sizes=[self._size(text) for text in texts],
            vectors=np.empty((len(texts), self.dim), dtype=np.float32),
            future=self._loop.create_future(),
            missing=len(texts),
        )

    def _size(self, text: str) -> int:
        """Bytes of UTF-8 that the embedder will read: in any script nearer to the number of tokens than characters."""
        read = text[: self._most_chars]
        return len(read) if read.isascii() else len(read.encode("utf-8", "replace"))

    async def _vectors(self, job: Job, worker: "_Worker") -> FloatArray:
        self._jobs.add(job)
        worker.wake()
        try:
            return await job.future
        finally:
            self._jobs.discard(job)


class _Worker:
    """A thread that empties its queues through the embedder."""

    def __init__(self, embedder: Embedder, dim: int, name: str, metrics: Metrics) -> None:
        self.questions = Questions(embedder.limits)
        self.documents = Documents(embedder.limits)
        self._embedder = embedder
        self._dim = dim
        self._metrics = metrics
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._stopped = False
        self._name = name
        self._thread = threading.Thread(target=self._run, name=f"reverie-{name}", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def wake(self) -> None:
        """To be called after every ``put``."""
        self._bell.put(None)

    def stop(self) -> None:
        self._stopped = True
        self._bell.put(None)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        if self._name == DOCUMENTS:
            give_way()
        in_a_row = 0
        while not self._stopped:
            if in_a_row < _QUESTIONS_IN_A_ROW and self._encode_questions():
                in_a_row += 1
            elif self._encode_documents() or in_a_row:
                in_a_row = 0
            else:
                self._bell.get()

    def _encode_questions(self) -> bool:
        batch = self.questions.batch()
        if batch:
            self._finish("questions", batch, self._embedder.encode_questions, self.questions.done)
        return bool(batch)

    def _encode_documents(self) -> bool:
        batch = self.documents.batch()
        if batch:
            self._finish("documents", batch, self._embedder.encode_documents, self.documents.done)
        return bool(batch)

    def _finish(
        self,
        kind: str,
        batch: list[Item],
        encode: Callable[[Sequence[str]], FloatArray],
        done: Callable[[list[Item]], None],
    ) -> None:
        began = time.perf_counter()
        finished = self._encode(batch, encode)
        seconds = time.perf_counter() - began
        done(batch)
        # Before it is measured: the event loop wakes up meanwhile.
        if finished and self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed without closing the encoder: nobody waits any more
                self._loop.call_soon_threadsafe(_resolve, finished)
        self._metrics.encoded(kind, len(batch), seconds)

    def _encode(
        self, batch: list[Item], encode: Callable[[Sequence[str]], FloatArray]
    ) -> list[tuple[Job, EmbeddingError | None]]:
        """The jobs that the batch completed, each with the error it failed with."""
        try:
            vectors = self._vectors([item.text for item in batch], encode)
        except Exception as error:  # noqa: BLE001 - the thread outlives any failure; it is the callers' to see
            return self._failed(batch, encode, error)
        for item, vector in zip(batch, vectors, strict=True):
            item.job.vectors[item.index] = vector
            item.job.missing -= 1
        return [(job, None) for job in _jobs(batch) if job.missing == 0]

    def _vectors(self, texts: list[str], encode: Callable[[Sequence[str]], FloatArray]) -> FloatArray:
        vectors = encode(texts)
        if len(vectors) != len(texts):
            raise ValueError(f"{len(vectors)} vectors for {len(texts)} texts")
        return vectors if vectors.shape[1] == self._dim else fit(vectors, self._dim)

    def _failed(
        self, batch: list[Item], encode: Callable[[Sequence[str]], FloatArray], error: Exception
    ) -> list[tuple[Job, EmbeddingError | None]]:
        known = error if isinstance(error, EmbeddingError) else None
        jobs = _jobs(batch)
        if len(jobs) > 1 and (known is None or known.text_at_fault):
            alone = ([item for item in batch if item.job is job] for job in jobs)
            return [finished for items in alone for finished in self._encode(items, encode)]
        if known is None:
            _log.error("The embedder %s failed", self._embedder.name, exc_info=error)
            known = EmbeddingError(f"The embedder {self._embedder.name} failed; the log says why.")
        for job in jobs:
            job.failed = True
        return [(job, known) for job in jobs]


def _jobs(batch: list[Item]) -> list[Job]:
    return list(dict.fromkeys(item.job for item in batch))


def _resolve(finished: list[tuple[Job, EmbeddingError | None]]) -> None:
    for job, error in finished:
        if error is not None:
            _set_exception(job, error)
        elif not job.future.done():
            job.future.set_result(job.vectors)


def _set_exception(job: Job, error: EmbeddingError) -> None:
    if not job.future.done():
        job.future.set_exception(error)


def _closed() -> EmbeddingError:
    return EmbeddingError("The encoder is not running.")
