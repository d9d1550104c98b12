from collections.abc import Iterator

import pytest
from tests.embedding.standin import StandIn, serve

from reverie.core.config import load_settings
from reverie.embedding.protocol import Embedder
from reverie.embedding.registry import build_embedder


@pytest.fixture(scope="session")
def bge() -> Iterator[Embedder]:
    """The default embedder: the carried bge-small-en-v1.5."""
    embedder = build_embedder(load_settings(embedding_model="bge-small-en-v1.5"))
    yield embedder
    embedder.close()


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with serve() as running:
        yield running
