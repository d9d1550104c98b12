"""The floors: one process that encodes and sends one exact SQL query, as one would write it in ten lines.

Floor A encodes with the carried ONNX model, the same session that the service uses; floor B with all-MiniLM-L6-v2 in
torch. Both use one warm connection with prepared statements to the same PostgreSQL, a plain table with an index over
the user, and commit every batch.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final, LiteralString
from uuid import UUID

import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg import sql

from bench.report import CannotMeasure
from reverie.core.config import load_settings
from reverie.core.errors import ReverieError, SettingsError, StartError
from reverie.embedding.registry import BGE_SMALL, MINILM, build_embedder

if TYPE_CHECKING:
    from reverie.embedding.protocol import Embedder

FLOOR_A: Final = BGE_SMALL
FLOOR_B: Final = MINILM

Rows = Sequence[tuple[UUID, str]]
"""(id, text) of a batch."""

_SCHEMA: Final = "bench_floor"
"""Of the floors' tables, in the database of the service."""

_TABLES: Final = {FLOOR_A: sql.Identifier(_SCHEMA, "a"), FLOOR_B: sql.Identifier(_SCHEMA, "b")}
_WARM_UP: Final = [f"How warm was the {thing} in the end?" for thing in ("soup", "lake", "room", "day")]


class Floor:
    """A floor's process, seen from the one that measures. It works only while a method runs."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def open(self, database_url: str) -> None:
        """Waits until the model is loaded, and makes the table and the connection."""
        self._ask("open", database_url)

    def remember(self, user: UUID, batches: Sequence[Rows]) -> list[float]:
        """Encodes and inserts batch after batch: the seconds of each."""
        seconds: list[float] = self._ask("remember", user, batches)
        return seconds

    def recall(self, user: UUID, questions: Sequence[str]) -> list[float]:
        """Answers one question after another: the seconds of each."""
        seconds: list[float] = self._ask("recall", user, questions)
        return seconds

    def analyze(self) -> None:
        """Brings the table's statistics up to date."""
        self._ask("analyze")

    def _ask(self, *command: Any) -> Any:
        try:
            self._pipe.send(command)
            failed, answer = self._pipe.recv()
        except (EOFError, OSError):
            raise CannotMeasure("The process of a floor ended unexpectedly.") from None
        if failed:
            raise CannotMeasure(f"A floor could not be measured: {answer}")
        return answer


@contextmanager
def floor_process(model: str) -> Iterator[Floor]:
    """A floor in a process of its own, which begins at once to load the model."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, model), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Floor(ours)
    finally:
        ours.close()
        process.join(10)
        process.terminate()


@contextmanager
def floor_schema(database_url: str) -> Iterator[None]:
    """The schema of the floors' tables, dropped when the block ends."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        schema = sql.Identifier(_SCHEMA)
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        try:
            yield
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


def _serve(pipe: Connection, model: str) -> None:
    """The process of a floor: commands come and answers go by the pipe, until the other end is closed."""
    try:
        worker = _Worker(model)
    except (StartError, SettingsError) as error:
        pipe.recv()
        pipe.send((True, str(error)))
        return
    while True:
        try:
            name, *arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = (False, getattr(worker, name)(*arguments))
        except (psycopg.Error, ReverieError) as error:
            answer = (True, str(error))
        pipe.send(answer)


class _Worker:
    """The ten lines: :meth:`_remember` and :meth:`_recall`."""

    def __init__(self, model: str) -> None:
        self._table = _TABLES[model]
        self._embedder: Embedder = build_embedder(load_settings(embedding_model=model))
        self._embedder.encode_documents(_WARM_UP)
        self._embedder.encode_questions(_WARM_UP[:1])

    def open(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        register_vector(self._connection)
        self._connection.execute(self._on("CREATE TABLE {} (user_id uuid, id uuid, content text, vec halfvec(384))"))
        self._connection.execute(self._on("CREATE INDEX ON {} (user_id)"))

    def remember(self, user: UUID, batches: Sequence[Rows]) -> list[float]:
        return [_timed(self._remember, user, batch) for batch in batches]

    def recall(self, user: UUID, questions: Sequence[str]) -> list[float]:
        return [_timed(self._recall, user, question) for question in questions]

    def analyze(self) -> None:
        self._connection.execute(self._on("ANALYZE {}"))

    def _remember(self, user: UUID, batch: Rows) -> None:
        ids, texts = zip(*batch, strict=True)
        vectors = self._embedder.encode_documents(texts)
        self._connection.execute(
            self._on("INSERT INTO {} SELECT %s, * FROM unnest(%s::uuid[], %s::text[], %s::halfvec[])"),
            (user, list(ids), list(texts), [HalfVector(vector) for vector in vectors]),
            prepare=True,
        )

    def _recall(self, user: UUID, question: str) -> list[tuple[Any, ...]]:
        vector = self._embedder.encode_questions([question])[0]
        return self._connection.execute(
            self._on("SELECT id, content FROM {} WHERE user_id = %s ORDER BY vec <=> %s LIMIT 10"),
            (user, HalfVector(vector)),
            prepare=True,
        ).fetchall()

    def _on(self, query: LiteralString) -> sql.Composed:
        return sql.SQL(query).format(self._table)


def _timed(action: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - began
