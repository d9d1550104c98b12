"""What the tests of the spine share: an embedder that can be held up or made to fail, and the store as its owner."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import psycopg
from tests.conftest import Api, Shared

from reverie.core.config import Settings
from reverie.embedding.protocol import EmbeddingError, FloatArray

DIM = 384
PATIENCE_SECONDS = 30


@dataclass(slots=True)
class Fickle(Shared):
    """The session's embedder, which a test can hold up, make fail, or count."""

    documents: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    broken: str | None = None
    refused: str | None = None
    _open: threading.Event = field(default_factory=threading.Event)
    _waiting: threading.Event = field(default_factory=threading.Event)
    _free: int = 0

    def __post_init__(self) -> None:
        self._open.set()

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        self._pass()
        if self.refused in texts:
            raise EmbeddingError("refused", text_at_fault=True)
        self.documents += texts
        return self.embedder.encode_documents(texts)

    def encode_questions(self, texts: Sequence[str]) -> FloatArray:
        if self.broken is not None:
            raise EmbeddingError(self.broken)
        self.questions += texts
        return self.embedder.encode_questions(texts)

    def _pass(self) -> None:
        if len(self.documents) < self._free:
            return
        self._waiting.set()
        if not self._open.wait(PATIENCE_SECONDS):
            raise EmbeddingError("held for too long")
        if self.broken is not None:
            raise EmbeddingError(self.broken)

    @contextmanager
    def held(self, after: int = 0) -> Iterator[Callable[[], bool]]:
        """Documents wait until the block ends, but for the first ``after``.

        What it yields waits for the first of them to arrive (in a thread).
        """
        self._free = len(self.documents) + after if after else 0
        self._waiting.clear()
        self._open.clear()
        try:
            yield lambda: self._waiting.wait(PATIENCE_SECONDS)
        finally:
            self._free = 0
            self._open.set()

    def release(self) -> None:
        """Lets go what is held, before the block ends."""
        self._open.set()

    @contextmanager
    def failing(self, reason: str = "the model is out for lunch") -> Iterator[None]:
        """Every call fails until the block ends."""
        self.broken = reason
        try:
            yield
        finally:
            self.broken = None

    @contextmanager
    def refusing(self, text: str) -> Iterator[None]:
        """This document is refused until the block ends, alone or among others."""
        self.refused = text
        try:
            yield
        finally:
            self.refused = None


@asynccontextmanager
async def owner(settings: Settings) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    """A connection as the owner of the schema, whom no policy binds."""
    assert settings.database_url is not None
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:
        yield connection


async def rows(settings: Settings, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """What a query of the owner answers."""
    async with owner(settings) as connection:
        cursor = await connection.execute(query, parameters)
        return await cursor.fetchall() if cursor.description else []


async def user_row(settings: Settings, user: str) -> dict[str, Any]:
    """The row of a user (of whichever space), and what it should say: the rows that are there."""
    found = await rows(
        settings,
        "SELECT u.user_id, u.version, u.traces, u.words,"
        " (SELECT count(*) FROM memory_trace t WHERE t.user_id = u.user_id),"
        " (SELECT coalesce(sum(b.words), 0) FROM memory_body b WHERE b.user_id = u.user_id)"
        " FROM memory_user u WHERE u.external_id = %s",
        (user,),
    )
    assert len(found) == 1
    return dict(zip(("user_id", "version", "traces", "words", "real_traces", "real_words"), found[0], strict=True))


async def vectors_of(settings: Settings, trace_id: str) -> list[tuple[int, np.ndarray[Any, Any]]]:
    """(piece, vector) of the head ``semantic`` of a trace."""
    found = await rows(
        settings,
        "SELECT piece, coalesce(vec::real[], vec_fp32::real[]) FROM memory_embedding WHERE trace_id = %s ORDER BY 1",
        (trace_id,),
    )
    return [(piece, np.array(vector, dtype=np.float32)) for piece, vector in found]


async def next_edges(settings: Settings, ids: Sequence[str]) -> set[tuple[int, int]]:
    """The ``next`` edges among traces, as positions in ``ids``; what each trace follows must say the same."""
    found = await rows(
        settings,
        "SELECT src, dst FROM memory_edge WHERE type = 'next' AND (src = ANY(%s) OR dst = ANY(%s))",
        ([UUID(one) for one in ids], [UUID(one) for one in ids]),
    )
    follows = await rows(
        settings,
        "SELECT follows, id FROM memory_trace WHERE follows IS NOT NULL AND id = ANY(%s)",
        ([UUID(one) for one in ids],),
    )
    places = {UUID(one): place for place, one in enumerate(ids)}
    edges = {(places[src], places[dst]) for src, dst in found}
    assert {(places[src], places[dst]) for src, dst in follows} == edges
    return edges


async def post(caller: httpx.AsyncClient, user: str, *traces: Any, wait: bool = True, **more: Any) -> httpx.Response:
    """Remembers traces, whatever comes of it."""
    return await caller.post(
        "/memory/remember",
        params={} if wait else {"wait": "false"},
        json={"user_id": user, "traces": [{"content": one} if isinstance(one, str) else one for one in traces]} | more,
    )


async def found_ids(caller: httpx.AsyncClient, user: str | list[str], q: str, **more: Any) -> list[str]:
    """The ids of what a question finds, in order; no arm may have failed."""
    answer = await caller.post("/memory/recall", json={"user_id": user, "q": q} | more)
    assert answer.status_code == 200, answer.text
    assert answer.json()["degraded"] == []
    return [one["trace_id"] for one in answer.json()["results"]]


def unit(seed: int, dim: int = DIM) -> list[float]:
    """A vector of unit length, the same for the same seed."""
    vector = np.random.default_rng(seed).standard_normal(dim)
    return [float(x) for x in vector / np.linalg.norm(vector)]


async def run_operation(api: Api, operation_id: str) -> bool:
    """Runs an operation in the API's own process, as a worker would; False when there was nothing to do."""
    return bool(await api.app.state.operations.run(UUID(operation_id)))
