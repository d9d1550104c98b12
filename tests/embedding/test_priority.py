"""Documents give way to questions: what the system says of each thread."""

import asyncio
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from reverie.core.config import load_settings
from reverie.embedding.encoder import Encoder
from reverie.embedding.priority import NICENESS, give_way, giving_way
from reverie.embedding.protocol import Embedder, FloatArray
from reverie.embedding.registry import build_embedder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")


def nice() -> int:
    """How far the calling thread gives way."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def threads() -> dict[int, int]:
    """How far each thread of this process gives way."""
    found = {}
    for path in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            found[int(path.name)] = os.getpriority(os.PRIO_PROCESS, int(path.name))
    return found


def test_a_thread_gives_way_and_what_it_starts_but_nobody_else() -> None:
    before = nice()
    seen: list[int] = []

    def work() -> None:
        give_way()
        seen.append(nice())
        inner = threading.Thread(target=lambda: seen.append(nice()))
        inner.start()
        inner.join()

    giving_way(work)
    assert seen == [NICENESS, NICENESS]
    assert nice() == before < NICENESS


def test_the_threads_that_encode_documents_give_way() -> None:
    before = threads()
    embedder = build_embedder(load_settings(embedding_threads=3))
    made = [value for tid, value in threads().items() if tid not in before]
    # Of three threads that encode documents, the one that asks for it is the encoder's own.
    assert made.count(NICENESS) == 2
    embedder.close()


async def test_the_encoder_gives_way_with_documents_alone(embedder: Embedder) -> None:
    seen: dict[str, int] = {}

    class Watched:
        """The real embedder, which notes how far its caller gives way."""

        name, dim, max_tokens = embedder.name, embedder.dim, embedder.max_tokens
        limits, concurrent = embedder.limits, True

        def encode_documents(self, texts: list[str]) -> FloatArray:
            seen["documents"] = nice()
            return embedder.encode_documents(texts)

        def encode_questions(self, texts: list[str]) -> FloatArray:
            seen["questions"] = nice()
            return embedder.encode_questions(texts)

        def close(self) -> None:
            """The session closes it."""

    encoder = Encoder(Watched(), embedder.dim).start()  # type: ignore[arg-type]
    await asyncio.gather(encoder.documents(["An otter."]), encoder.question("Which animal?"))
    await encoder.close()
    assert seen == {"documents": NICENESS, "questions": nice()}
