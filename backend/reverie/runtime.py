"""Everything a process works with, opened and closed in one place: the API and the worker have the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psycopg

from reverie.auth.service import KeyService
from reverie.cold.service import ColdService
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.errors import StartError
from reverie.core.metrics import Metrics, Sources
from reverie.core.queue import Bell
from reverie.core.redis import Redis
from reverie.core.schema import check, unreachable
from reverie.core.secret import Secret, check_secret
from reverie.embedding.encoder import Encoder
from reverie.embedding.protocol import Embedder, EmbeddingError
from reverie.embedding.registry import build_embedder, model_identity, reembed_command
from reverie.embedding.reranking.service import Reranking
from reverie.exporting.service import ExportService
from reverie.forgetting.erasing import Eraser
from reverie.forgetting.receipts import ReceiptService
from reverie.forgetting.repository import FORGET
from reverie.forgetting.service import ForgettingService
from reverie.memories.embedding import EMBED
from reverie.memories.links import LINK
from reverie.memories.model import FILL, Model, ensure_model, fill_later
from reverie.memories.service import MemoryService
from reverie.memories.tombstones import Tombstones
from reverie.objects.store import open_objects
from reverie.operations.service import OperationService
from reverie.recall.pipeline import RecallService
from reverie.recall.ranker import load_rankers
from reverie.retention.pruning import PRUNE
from reverie.retention.service import RetentionService
from reverie.tiers.overview import TierOverview
from reverie.tiers.runs import TierRuns
from reverie.tiers.service import TierService, add_indexes
from reverie.tiers.steps import steps_of
from reverie.tiers.thaw import THAW, ThawService
from reverie.working.focus import Focus


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of one process."""

    settings: Settings
    metrics: Metrics
    database: Database
    redis: Redis
    bell: Bell
    encoder: Encoder
    model: Model
    keys: KeyService
    operations: OperationService
    memories: MemoryService
    reranking: Reranking
    recall: RecallService
    forgetting: ForgettingService
    eraser: Eraser
    receipts: ReceiptService
    retention: RetentionService
    exporting: ExportService
    tiers: TierService
    runs: TierRuns
    tier_overview: TierOverview
    thaws: ThawService


@asynccontextmanager
async def open_runtime(
    settings: Settings, embedder: Embedder | None = None, metrics: Metrics | None = None
) -> AsyncIterator[Runtime]:
    """Opens every part, checks that they fit together, and closes them in the reverse order.

    ``embedder`` stands in for the one that the settings name; ``metrics`` are where the parts count.

    Raises:
        StartError: a part is missing, too old, or does not fit the settings; one sentence says what to do.
    """
    database, redis = Database(settings), Redis(settings)
    bell = Bell(settings, redis)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.close)
        stack.push_async_callback(bell.close)
        # The schema is checked while the model is loaded: each takes a noticeable part of the start.
        loading = asyncio.to_thread(build_embedder, settings) if embedder is None else _given(embedder)
        loaded, _ = await asyncio.gather(loading, asyncio.to_thread(check, database.url))
        name, dim, precision = await asyncio.to_thread(_identity, settings, loaded)
        rankers = await asyncio.to_thread(load_rankers, settings)
        metrics = metrics or Metrics()
        reranking = Reranking.of(settings, metrics)
        stack.push_async_callback(reranking.close)
        model = await _model(settings, database, (name, dim, precision))
        await database.open(model.id)
        stack.push_async_callback(database.close)
        secret = Secret.of(settings)
        await check_secret(database, secret, settings.reverie_secret_lost)
        encoder = Encoder(loaded, dim, metrics).start()
        stack.push_async_callback(encoder.close)
        await fill_later(database, model, settings.heads)
        tiers = TierService(database, settings.memory_hnsw)
        await tiers.keep_ahead()
        focus = Focus(settings, redis)
        cold = ColdService(database, await asyncio.to_thread(open_objects, settings))
        stack.callback(cold.close)
        memories = MemoryService(settings, database, encoder, model, focus, bell, tiers.make_partitions, cold)
        recall = RecallService(settings, database, encoder, model, focus, metrics, rankers, reranking, cold)
        stack.callback(recall.close)
        forgetting = ForgettingService(database, focus, bell, Tombstones(secret), cold, recall)
        eraser = Eraser(database, focus, cold)
        metrics.follow(
            Sources(
                pool=database.statistics,
                redis=lambda: redis.failures,
                questions=lambda: encoder.queued_questions,
                documents=lambda: encoder.queued_documents,
            )
        )
        thaws = ThawService(database, bell, cold, model, settings.memory_thaw_days)
        retention = RetentionService(settings, database, bell, forgetting.forget_traces)
        yield Runtime(
            settings=settings,
            metrics=metrics,
            database=database,
            redis=redis,
            bell=bell,
            encoder=encoder,
            model=model,
            keys=KeyService(database),
            operations=OperationService(
                database,
                bell,
                {
                    EMBED: memories.maker.embed,
                    LINK: memories.linker.link,
                    FILL: memories.maker.fill,
                    PRUNE: retention.pruner.prune,
                    THAW: thaws.thaw,
                    FORGET: eraser.erase,
                },
            ),
            memories=memories,
            reranking=reranking,
            recall=recall,
            forgetting=forgetting,
            eraser=eraser,
            receipts=ReceiptService(database, focus, cold),
            retention=retention,
            exporting=ExportService(database, focus, cold),
            tiers=tiers,
            runs=TierRuns(settings, database, steps_of(settings, cold)),
            tier_overview=TierOverview(settings, database, cold.objects),
            thaws=thaws,
        )


def _identity(settings: Settings, embedder: Embedder) -> tuple[str, int, str]:
    try:
        return model_identity(settings, embedder)
    except EmbeddingError as error:
        raise StartError(
            f"{error.detail} To start without asking the embedding model, set EMBEDDING_DIM to its dimension."
        ) from None


async def _model(settings: Settings, database: Database, identity: tuple[str, int, str]) -> Model:
    try:
        return await ensure_model(database, *identity, add_indexes, reembed_command(settings))
    except psycopg.OperationalError as error:
        raise StartError(unreachable(error)) from error


async def _given(embedder: Embedder) -> Embedder:
    return embedder
