"""A store with one model, and the means to bring it over to another while it is served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.memories.fixtures import own_settings

from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.embedding.encoder import Encoder
from reverie.embedding.protocol import Embedder
from reverie.embedding.registry import model_identity
from reverie.reembedding.service import Outcome, ReembeddingService, Tell
from reverie.tiers.service import TierService


def service_of(settings: Settings) -> ReembeddingService:
    """The service over the store of these settings, without a pool."""
    database = Database(settings)
    return ReembeddingService(database, TierService(database, settings.memory_hnsw), settings.heads)


@asynccontextmanager
async def encoding(settings: Settings, embedder: Embedder) -> AsyncIterator[tuple[Encoder, tuple[str, int, str]]]:
    """An encoder for the model of these settings, and what that is called."""
    identity = model_identity(settings, embedder)
    encoder = Encoder(embedder, identity[1]).start()
    try:
        yield encoder, identity
    finally:
        await encoder.close()


async def reembed(settings: Settings, embedder: Embedder, tell: Tell = lambda _: None) -> Outcome:
    """Brings the store of these settings over to their model."""
    async with encoding(settings, embedder) as (encoder, identity):
        return await service_of(settings).run(encoder, *identity, tell)


def changed(settings: Settings, **changes: object) -> Settings:
    """The settings with others of the model."""
    return settings.model_copy(update=changes)


__all__ = ["changed", "encoding", "own_settings", "reembed", "service_of"]
