"""What waits for the encoder, and in which order it is taken.

Each queue is shared by two threads without a lock: the event loop appends (``put``, ``length``), the worker does all
the rest. Only ``deque.append`` and ``deque.popleft`` meet, which are atomic, and each counter has one writer.

What waits is bounded: beyond that whoever asks is told at once, and comes again.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from reverie.embedding.protocol import EmbeddingError, FloatArray, Limits

MOST_QUESTIONS = 256
MOST_DOCUMENTS = 4_000
MOST_CHARACTERS = 64 * 1024 * 1024
"""What may wait or be encoded of either; one caller's documents may be more when there are no others."""


@dataclass(slots=True, eq=False)
class Job:
    """One caller's texts and the vectors they become.

    Attributes:
        sizes: bytes of UTF-8 of each text, as far as the embedder reads it.
        vectors: ``[len(texts), dim]``, filled by the worker.
        missing: texts that have no vector yet.
        failed: the caller was given an error; what still waits is dropped.
    """

    texts: Sequence[str]
    sizes: Sequence[int]
    vectors: FloatArray
    future: asyncio.Future[FloatArray]
    missing: int
    failed: bool = False

    @property
    def dead(self) -> bool:
        """Nobody waits for it any more."""
        return self.failed or self.future.done()


@dataclass(slots=True, order=True)
class Item:
    """One text of a job; ordered by size, then by arrival."""

    size: int
    number: int
    job: Job = field(compare=False)
    index: int = field(compare=False)
    taken: bool = field(default=False, compare=False)

    @property
    def text(self) -> str:
        return self.job.texts[self.index]


class Questions:
    """Questions, one a job, in the order in which they came."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[Job] = deque()
        self._put = 0
        self._done = 0

    @property
    def length(self) -> int:
        """Questions that wait or are being encoded."""
        return self._put - self._done

    def put(self, job: Job) -> None:
        """Appends a question.

        Raises:
            EmbeddingError: too many wait.
        """
        if self.length >= MOST_QUESTIONS:
            raise _busy()
        self._put += 1
        self._waiting.append(job)

    def batch(self) -> list[Item]:
        """All that wait, up to the limits of one call; those whose caller has gone are dropped."""
        batch: list[Item] = []
        longest = 0
        while self._waiting and len(batch) < self._limits.texts:
            job = self._waiting[0]
            if job.dead:
                self._waiting.popleft()
                self._done += 1
                continue
            longest = max(longest, job.sizes[0])
            if batch and longest * (len(batch) + 1) > self._limits.size:
                break
            batch.append(Item(job.sizes[0], len(batch), self._waiting.popleft(), 0))
        return batch

    def done(self, items: Sequence[Item]) -> None:
        """The texts of a batch are encoded or have failed."""
        self._done += len(items)


class Documents:
    """Documents of all callers.

    Callers take turns: a batch is drawn around the longest waiting text of the caller whose turn it is, and filled
    with texts of anybody that are next to it in length. So whoever brings one text waits for as many batches as there
    are callers, and not for all texts of those who came before.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._arrived: deque[Job] = deque()
        self._turns: deque[tuple[Job, list[Item]]] = deque()
        self._sorted: list[Item] = []
        self._numbered = 0
        self._put = 0
        self._done = 0
        self._characters_put = 0
        self._characters_done = 0

    @property
    def length(self) -> int:
        """Documents that wait or are being encoded."""
        return self._put - self._done

    def put(self, job: Job) -> None:
        """Appends the documents of a caller.

        Raises:
            EmbeddingError: too many wait, or too long ones.
        """
        characters = sum(map(len, job.texts))
        held = self._characters_put - self._characters_done
        if self.length and (self.length + len(job.texts) > MOST_DOCUMENTS or held + characters > MOST_CHARACTERS):
            raise _busy()
        self._put += len(job.texts)
        self._characters_put += characters
        self._arrived.append(job)

    def batch(self) -> list[Item]:
        """The texts to encode next, of similar length; those whose caller has gone are dropped."""
        self._take_in()
        while self._turns:
            job, items = self._turns.popleft()
            while items and items[-1].taken:
                items.pop()
            if job.dead:
                self._drop(job)
            elif items:
                self._turns.append((job, items))
                return self._take(self._window(bisect_left(self._sorted, items[-1])))
        return []

    def done(self, items: Sequence[Item]) -> None:
        """These texts are encoded, have failed, or are wanted no more."""
        self._done += len(items)
        self._characters_done += sum(len(item.text) for item in items)

    def _take_in(self) -> None:
        while self._arrived:
            job = self._arrived.popleft()
            first = self._numbered
            self._numbered += len(job.texts)
            items = sorted(Item(size, first + index, job, index) for index, size in enumerate(job.sizes))
            self._turns.append((job, items))
            self._sorted.extend(items)
            self._sorted.sort()

    def _drop(self, job: Job) -> None:
        self.done([item for item in self._sorted if item.job is job])
        self._sorted = [item for item in self._sorted if item.job is not job]

    def _window(self, at: int) -> slice:
        """The texts to take with the one at ``at``: the next shorter ones, then longer ones up to twice its size."""
        size = self._sorted[at].size
        low = max(0, at + 1 - self._limits.texts, at + 1 - self._limits.size // max(1, size))
        low = min(low, at)
        high = at + 1
        while high < len(self._sorted) and high - low < self._limits.texts:
            longest = self._sorted[high].size
            if longest > 2 * size or longest * (high + 1 - low) > self._limits.size:
                break
            high += 1
        return slice(low, high)

    def _take(self, window: slice) -> list[Item]:
        items = self._sorted[window]
        del self._sorted[window]
        for item in items:
            item.taken = True
        # Once each: the loop may end a job at any moment.
        dead = [item.job.dead for item in items]
        self.done([item for item, gone in zip(items, dead, strict=True) if gone])
        return [item for item, gone in zip(items, dead, strict=True) if not gone]


def _busy() -> EmbeddingError:
    return EmbeddingError("The embedding model has too much to do at the moment; try again shortly.")
