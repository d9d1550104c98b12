"""The floors: one process that encodes and sends one exact SQL query, as one would write it in ten lines.

Floor A encodes with the carried ONNX model, the same session that the service uses; floor B with all-MiniLM-L6-v2 in
torch. Both use one warm connection with prepared statements to the same PostgreSQL, a plain table with an index over
the user, and commit every batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, LiteralString
from uuid import UUID

import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg import sql

from bench.apart import Apart, apart
from bench.timing import timed
from reverie.core.config import load_settings
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
    """A floor's process, seen from the one that measures."""

    def __init__(self, process: Apart) -> None:
        self._process = process

    def open(self, database_url: str) -> None:
        """Waits until the model is loaded, and makes the table and the connection."""
        self._process.ask("open", database_url)

    def remember(self, user: UUID, batches: Sequence[Rows]) -> list[float]:
        """Encodes and inserts batch after batch: the seconds of each."""
        seconds: list[float] = self._process.ask("remember", user, batches)
        return seconds

    def recall(self, user: UUID, questions: Sequence[str]) -> list[float]:
        """Answers one question after another: the seconds of each."""
        seconds: list[float] = self._process.ask("recall", user, questions)
        return seconds

    def analyze(self) -> None:
        """Brings the table's statistics up to date."""
        self._process.ask("analyze")


@contextmanager
def floor_process(name: str, model: str) -> Iterator[Floor]:
    """A floor in a process of its own, which begins at once to load the model."""
    with apart(name, partial(_Worker, model)) as process:
        yield Floor(process)


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
        return [timed(self._remember, user, batch) for batch in batches]

    def recall(self, user: UUID, questions: Sequence[str]) -> list[float]:
        return [timed(self._recall, user, question) for question in questions]

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
