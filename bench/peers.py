"""The peers: mem0 over pgvector and LangGraph's Postgres store, as their documents set them up, on the same PostgreSQL.

Each works in a process and a schema of its own, is called as the library that it is, without HTTP, and asks no
language model. Their packages lie in a folder of their own, which only these processes see; what they tell their makers
is switched off, and what they write goes into a temporary folder.
"""

import importlib
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, Literal, Protocol

import psycopg
import typer
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bench.apart import Apart, apart
from bench.report import CannotMeasure
from bench.timing import timed
from reverie.core.config import load_settings
from reverie.embedding.protocol import FloatArray
from reverie.embedding.registry import BGE_SMALL, MINILM, SentenceTransformersModel, build_embedder, choose

FOLDER: Final = Path(sys.prefix, "peers")
PACKAGES: Final = ("mem0ai", "langgraph-checkpoint-postgres")
HOW: Final = "`scripts/setup --peers` installs the peers, which stand in these tables too: mem0 and LangGraph's store."

DIM: Final = 384
"""Of both models, and of the vectors that are given."""

K: Final = 10

Asked = Annotated[
    bool | None, typer.Option("--peers/--no-peers", help="Measure the peers too; without either, where installed.")
]

Encode = Callable[[Sequence[str]], list[list[float]]]
Texts = Sequence[str]


@dataclass(frozen=True, slots=True)
class Peer:
    """``model`` is None for one that is only given vectors."""

    store: Literal["mem0", "LangGraph"]
    model: str | None = None

    @property
    def name(self) -> str:
        return self.store if self.model is None else f"{self.store}, {self.model}"

    @property
    def apart_by(self) -> str:
        """How it keeps users apart in its one index."""
        return "user_id filter" if self.store == "mem0" else "namespace"


def chosen_peers(asked: bool | None, *models: str | None) -> list[Peer]:
    """Both peers with each of the models; none where they are not to be measured.

    Args:
        asked: whether they are; None means where they are installed.
        models: None is one that is only given vectors.

    Raises:
        CannotMeasure: they were asked for, and are not installed.
    """
    installed = FOLDER.is_dir()
    if asked and not installed:
        raise CannotMeasure(f"The peers are not installed: {HOW}")
    measured = installed if asked is None else asked
    return [Peer(store, model) for model in models for store in ("mem0", "LangGraph")] if measured else []


def peer_versions() -> dict[str, str]:
    """The versions of the peers' own packages, where they are installed."""
    found = {one.name: one.version for one in distributions(path=[str(FOLDER)])}
    return {name: found[name] for name in PACKAGES if name in found}


class PeerProcess:
    """A peer's process, seen from the one that measures."""

    def __init__(self, process: Apart) -> None:
        self._process = process

    def open(self, database_url: str) -> None:
        """Waits until the model is loaded, and makes tables and indexes in a schema without any."""
        self._process.ask("open", database_url)

    def remember(self, user: str, batches: Sequence[Texts]) -> list[float]:
        """Encodes and stores batch after batch: the seconds of each."""
        seconds: list[float] = self._process.ask("remember", user, batches)
        return seconds

    def supply(self, user: str, batches: Sequence[tuple[Texts, FloatArray]]) -> list[float]:
        """Stores batch after batch with given vectors: the seconds of each. No text stands twice in a batch."""
        seconds: list[float] = self._process.ask("supply", user, batches)
        return seconds

    def recall(self, user: str, questions: Texts) -> list[float]:
        """Answers one question after another: the seconds of each."""
        seconds: list[float] = self._process.ask("recall", user, questions)
        return seconds

    def find(self, user: str, vector: FloatArray) -> tuple[list[str], float]:
        """The texts of the ten that it finds nearest to a vector, and the seconds."""
        found: tuple[list[str], float] = self._process.ask("find", user, vector)
        return found

    def analyze(self) -> None:
        """Brings the statistics of its tables up to date."""
        self._process.ask("analyze")


@contextmanager
def peer_process(peer: Peer) -> Iterator[PeerProcess]:
    """A peer in a process of its own, which begins at once to import it."""
    with (
        TemporaryDirectory(prefix="reverie-bench-") as home,
        apart(peer.name, partial(_make, peer, home)) as process,
    ):
        yield PeerProcess(process)


@contextmanager
def peer_schema(database_url: str) -> Iterator[str]:
    """An empty schema in the service's database, dropped when the block ends: the URL with which it is found first."""
    name = f"bench_peer_{uuid.uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(database_url, options=f"-c search_path={name},public")
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


class _Store(Protocol):
    """A peer's library, as it is called."""

    def open(self, database_url: str) -> None: ...

    def remember(self, user: str, texts: Texts) -> None: ...

    def recall(self, user: str, question: str) -> list[str]: ...

    def encoding(self, encode: Encode) -> AbstractContextManager[None]:
        """Texts are encoded by ``encode`` while the block runs."""
        ...


class _Worker:
    """What the process of a peer does when it is asked."""

    def __init__(self, store: _Store) -> None:
        self._store = store

    def open(self, database_url: str) -> None:
        self._database_url = database_url
        self._store.open(database_url)

    def remember(self, user: str, batches: Sequence[Texts]) -> list[float]:
        return [timed(self._store.remember, user, batch) for batch in batches]

    def supply(self, user: str, batches: Sequence[tuple[Texts, FloatArray]]) -> list[float]:
        return [self._supply(user, *batch) for batch in batches]

    def recall(self, user: str, questions: Texts) -> list[float]:
        return [timed(self._store.recall, user, question) for question in questions]

    def find(self, user: str, vector: FloatArray) -> tuple[list[str], float]:
        found: list[str] = []
        # One word that stands in no text, so that nothing but the vector decides.
        question = uuid.uuid4().hex
        with self._store.encoding(_given([question], vector[None])):
            seconds = timed(lambda: found.extend(self._store.recall(user, question)))
        return found, seconds

    def analyze(self) -> None:
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema").fetchall()
            for table in tables:
                connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table)))

    def _supply(self, user: str, texts: Texts, vectors: FloatArray) -> float:
        with self._store.encoding(_given(texts, vectors)):
            return timed(self._store.remember, user, texts)


class _Mem0:
    """mem0: ``add`` without ``infer`` encodes and inserts one message after another."""

    def __init__(self, model: str | None) -> None:
        from mem0 import Memory

        self._make = Memory.from_config
        self._model = model

    def open(self, database_url: str) -> None:
        own = self._model == MINILM
        config = {"model": _minilm(), "embedding_dims": DIM}
        self._memory = self._make(
            {
                "vector_store": {
                    "provider": "pgvector",
                    "config": {"connection_string": database_url, "embedding_model_dims": DIM},
                },
                "embedder": {"provider": "huggingface", "config": config} if own else _UNUSED,
                "llm": _UNUSED,
            }
        )
        if not own:
            self._memory.embedding_model = _Mem0Embedding(_encoder(self._model))

    def remember(self, user: str, texts: Texts) -> None:
        messages = [{"role": "user", "content": text} for text in texts]
        self._memory.add(messages, user_id=user, infer=False)

    def recall(self, user: str, question: str) -> list[str]:
        found = self._memory.search(question, filters={"user_id": user}, top_k=K)
        return [one["memory"] for one in found["results"]]

    @contextmanager
    def encoding(self, encode: Encode) -> Iterator[None]:
        kept, self._memory.embedding_model = self._memory.embedding_model, _Mem0Embedding(encode)
        try:
            yield
        finally:
            self._memory.embedding_model = kept


class _Mem0Embedding:
    """An embedding model as mem0 calls it."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:  # noqa: ARG002 - mem0's signature
        return self._encode([text])[0]

    def embed_batch(self, texts: Texts, memory_action: str = "add") -> list[list[float]]:  # noqa: ARG002
        return self._encode(texts)


class _LangGraph:
    """LangGraph's store: a batch of puts is encoded at once and inserted by one statement into each of two tables."""

    def __init__(self, model: str | None) -> None:
        from langgraph.store.base import PutOp
        from langgraph.store.postgres import PostgresStore

        self._put, self._connect = PutOp, PostgresStore.from_conn_string
        self._encode = _encoder(model)

    def open(self, database_url: str) -> None:
        def embed(texts: Texts) -> list[list[float]]:
            return self._encode(texts)

        index = {"dims": DIM, "embed": embed, "fields": ["text"]}
        self._opened = ExitStack()
        self._store = self._opened.enter_context(self._connect(database_url, index=index))
        self._store.setup()

    def remember(self, user: str, texts: Texts) -> None:
        self._store.batch([self._put((user,), str(uuid.uuid4()), {"text": text}) for text in texts])

    def recall(self, user: str, question: str) -> list[str]:
        return [one.value["text"] for one in self._store.search((user,), query=question, limit=K)]

    @contextmanager
    def encoding(self, encode: Encode) -> Iterator[None]:
        kept, self._encode = self._encode, encode
        try:
            yield
        finally:
            self._encode = kept


_STORES: Final[dict[str, Callable[[str | None], _Store]]] = {"mem0": _Mem0, "LangGraph": _LangGraph}
_UNUSED: Final[dict[str, Any]] = {"provider": "openai", "config": {"api_key": "unused"}}
"""A model that mem0 wants to be named, and that is never asked."""


def _make(peer: Peer, home: str) -> _Worker:
    """In the process of the peer, before anything of it is imported."""
    os.environ |= {
        "HOME": home,
        "MEM0_DIR": home,
        "MEM0_TELEMETRY": "False",
        "POSTHOG_DISABLED": "1",
        "LANGSMITH_TRACING": "false",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "DO_NOT_TRACK": "1",
    }
    # Without its extra for spaCy, which its documents leave to choice, mem0 says at every start that it lacks it.
    logging.getLogger("mem0").setLevel(logging.ERROR)
    # Last: what they share with Reverie is what is locked for it.
    sys.path.append(str(FOLDER))
    return _Worker(_STORES[peer.store](peer.model))


def _encoder(model: str | None) -> Encode:
    if model == MINILM:
        sentence_transformers = importlib.import_module("sentence_transformers")
        transformer = sentence_transformers.SentenceTransformer(_minilm())
        return lambda texts: transformer.encode(list(texts)).tolist()
    if model == BGE_SMALL:
        embedder = build_embedder(load_settings(embedding_model=BGE_SMALL))
        return lambda texts: embedder.encode_documents(texts).tolist()
    return _given([], [])


def _minilm() -> str:
    """The folder of the model, or its name where it is not carried."""
    chosen = choose(load_settings(embedding_model=MINILM))
    assert isinstance(chosen, SentenceTransformersModel)
    return str(chosen.source)


def _given(texts: Texts, vectors: "FloatArray | Sequence[FloatArray]") -> Encode:
    """Knows the vectors of these texts alone."""
    known = {text: vector.tolist() for text, vector in zip(texts, vectors, strict=True)}
    return lambda asked: [known[text] for text in asked]
