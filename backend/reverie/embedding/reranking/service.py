"""Reranking for the service: a line of questions, and the threads of low priority that judge their texts.

The model is loaded when it is first asked for: most processes never need it. Texts go in small batches of similar
length; between two of them a question that nobody waits for any more is dropped, and what others ask of the processors
comes first. A question that would not be answered in time is not begun.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, Self

import numpy as np

from reverie.core.config import Settings
from reverie.core.errors import SettingsError, StartError
from reverie.core.metrics import Metrics
from reverie.embedding.batches import by_length
from reverie.embedding.priority import give_way
from reverie.embedding.protocol import FloatArray
from reverie.embedding.reranking.protocol import Reranker, RerankError
from reverie.embedding.reranking.registry import RemotePairs, choose

_log = logging.getLogger(__name__)

MOST_WAITING: Final = 64
"""Questions that may wait or be judged."""

LOAD_AGAIN_SECONDS: Final = 60.0
"""After the model could not be loaded, so long nobody waits for another attempt."""

_MOST_QUESTION: Final = 1_024
_MOST_TEXT: Final = 2_048
"""Bytes that count of a question and of a text: what half of a window of 512 tokens holds of prose, and all of it."""
_JOIN_SECONDS: Final = 5.0
_RECENT: Final = 0.2
"""The weight of the last batch in the pace."""


@dataclass(slots=True, eq=False)
class _Job:
    """One question and its texts; ``work`` is what it costs, in bytes that the model reads."""

    question: str
    texts: Sequence[str]
    sizes: list[int]
    work: int
    deadline: float
    future: asyncio.Future[FloatArray]

    @property
    def dead(self) -> bool:
        """Nobody waits for it any more."""
        return self.future.done() or time.monotonic() >= self.deadline


class Reranking:
    """Scores for the service. It belongs to the event loop in which it is first asked; that loop never waits for it."""

    def __init__(self, build: Callable[[], Reranker], metrics: Metrics | None = None, calls: int = 1) -> None:
        """Prepares; nothing is loaded and no thread is started.

        Args:
            build: loads the model; called in a thread, again after a failure.
            metrics: where it counts.
            calls: how many questions are judged at the same time.
        """
        self._build = build
        self._metrics = metrics or Metrics()
        self._calls = calls
        self._line: SimpleQueue[_Job | None] = SimpleQueue()
        self._jobs: set[_Job] = set()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._reranker: Reranker | None = None
        self._broken_until = 0.0
        self._closed = False
        self._pace = 0.0
        self._complaint: str | None = None

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics | None = None) -> Self:
        """What the settings mean.

        Raises:
            SettingsError: RERANK_MODEL, RERANK_URL or RERANK_API_KEY is none of what it can be.
        """
        choice = choose(settings)
        if isinstance(choice, RemotePairs):
            remote = choice.build(settings)  # costs nothing, and shows at the start what is wrong
            return cls(lambda: remote, metrics, choice.calls)
        return cls(lambda: choice.build(settings), metrics, choice.calls)

    @property
    def waiting(self) -> int:
        """Questions that wait or are being judged."""
        return len(self._jobs)

    async def score(self, question: str, texts: Sequence[str], seconds: float) -> FloatArray:
        """How well each text answers the question: float32 ``[len(texts)]``, higher is better.

        Raises:
            RerankError: there are no scores within so many seconds. If that can be foreseen, it is told at once.
        """
        if not texts:
            return np.empty(0, dtype=np.float32)
        began = time.perf_counter()
        try:
            scores = await self._answer(self._admitted(question, texts, seconds), seconds)
        except RerankError as error:
            self._metrics.rerank_failed(error.why)
            raise
        self._metrics.reranked(len(texts), time.perf_counter() - began)
        return scores

    async def close(self) -> None:
        """Gives :class:`RerankError` to all who wait, ends the threads and closes the reranker; once is enough."""
        if self._closed:
            return
        self._closed = True
        for job in self._jobs:
            if not job.future.done():
                job.future.set_exception(_closed())
        for _ in self._threads:
            self._line.put(None)
        if self._reranker is not None:
            self._reranker.close()
        await asyncio.gather(*(asyncio.to_thread(thread.join, _JOIN_SECONDS) for thread in self._threads))

    def _admitted(self, question: str, texts: Sequence[str], seconds: float) -> _Job:
        if self._closed:
            raise _closed()
        if time.monotonic() < self._broken_until:
            raise RerankError("The reranker could not be loaded; the log says why.")
        loop = asyncio.get_running_loop()
        asked = _size(question, _MOST_QUESTION)
        sizes = [asked + _size(text, _MOST_TEXT) for text in texts]
        job = _Job(question, texts, sizes, sum(sizes), time.monotonic() + seconds, loop.create_future())
        if self._too_much(job.work, seconds):
            raise RerankError("The reranker has too much to do at the moment.", "busy")
        self._loop = loop
        self._jobs.add(job)
        self._line.put(job)
        self._start()
        return job

    def _too_much(self, work: int, seconds: float) -> bool:
        """Whether it could not be answered in time after those that wait; with nobody before it, it may always try."""
        if not self._jobs:
            return False
        before = sum(job.work for job in self._jobs) / self._calls
        return len(self._jobs) >= MOST_WAITING or (before + work) * self._pace > seconds

    async def _answer(self, job: _Job, seconds: float) -> FloatArray:
        try:
            async with asyncio.timeout(seconds):
                return await job.future
        except TimeoutError:
            raise RerankError("The reranker was not ready in time.", "late") from None
        finally:
            self._jobs.discard(job)

    def _start(self) -> None:
        if self._threads:
            return
        for number in range(self._calls):
            thread = threading.Thread(target=self._run, name=f"reverie-rerank-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        give_way()
        while (job := self._line.get()) is not None and not self._closed:
            if job.dead:
                continue
            try:
                scores = self._judge(self._loaded(), job)
            except RerankError as error:
                self._tell(job, error)
            except Exception as error:  # noqa: BLE001 - the thread outlives any failure; it is the callers' to see
                _log.error("The reranker failed", exc_info=error)
                self._tell(job, RerankError("The reranker failed; the log says why."))
            else:
                self._tell(job, scores)

    def _judge(self, reranker: Reranker, job: _Job) -> FloatArray:
        """The scores of a job; NaN for what was not judged because nobody waits any more."""
        scores = np.full(len(job.texts), np.nan, dtype=np.float32)
        order = sorted(range(len(job.texts)), key=lambda place: (job.sizes[place], job.texts[place]))
        sizes = [job.sizes[place] for place in order]
        for batch in by_length(sizes, reranker.limits.texts, reranker.limits.size):
            if job.dead or self._closed:
                break
            places = [order[at] for at in batch]
            began = time.perf_counter()
            try:
                scores[places] = reranker.score(job.question, [job.texts[place] for place in places])
            except RerankError as error:
                self._complain(error.detail)
                raise
            self._keep_pace(time.perf_counter() - began, sum(job.sizes[place] for place in places))
        else:
            self._complaint = None
        return scores

    def _keep_pace(self, seconds: float, work: int) -> None:
        pace = seconds / max(1, work)
        self._pace = pace if self._pace == 0 else (1 - _RECENT) * self._pace + _RECENT * pace

    def _loaded(self) -> Reranker:
        with self._lock:
            if self._reranker is not None:
                return self._reranker
            if time.monotonic() < self._broken_until:
                raise RerankError("The reranker could not be loaded; the log says why.")
            try:
                reranker = self._build()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is logged, and recall goes on
                self._broken_until = time.monotonic() + LOAD_AGAIN_SECONDS
                known = isinstance(error, SettingsError | StartError)
                self._complain(f"The reranker cannot be loaded: {error}", None if known else error)
                raise RerankError("The reranker could not be loaded; the log says why.") from None
            self._reranker = reranker
            if self._closed:
                reranker.close()
                raise _closed()
            return reranker

    def _complain(self, what: str, error: Exception | None = None) -> None:
        """Says what is wrong, once until it is well again."""
        if what != self._complaint:
            self._complaint = what
            _log.warning("%s Recall goes on without it.", what, exc_info=error)

    def _tell(self, job: _Job, outcome: FloatArray | RerankError) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed without closing this: nobody waits any more
                self._loop.call_soon_threadsafe(_resolve, job, outcome)


def _resolve(job: _Job, outcome: FloatArray | RerankError) -> None:
    if job.future.done():
        return
    if isinstance(outcome, RerankError):
        job.future.set_exception(outcome)
    elif np.isnan(outcome).any():
        job.future.set_exception(RerankError("The reranker was not ready in time.", "late"))
    else:
        job.future.set_result(outcome)


def _size(text: str, most: int) -> int:
    """Bytes of UTF-8, as far as they are read: in any script nearer to the number of tokens than characters."""
    read = text[:most]
    return min(most, len(read) if read.isascii() else len(read.encode("utf-8", "replace")))


def _closed() -> RerankError:
    return RerankError("The reranker is closed.")
