"""Everything a process works with, opened and closed in one place: the API and the worker have the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg

from reverie.auth.service import KeyService
from reverie.cold.service import ColdService
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.endings import closed_to_the_end
from reverie.core.errors import NotFound, StartError
from reverie.core.metrics import Metrics, Sources
from reverie.core.queue import Bell
from reverie.core.redis import Redis
from reverie.core.schema import check, unreachable
from reverie.core.secret import Secret, check_secret
from reverie.dream.runs import CONSOLIDATE, DreamRuns
from reverie.dream.service import UNDO, DreamService
from reverie.dream.stages import stages_of
from reverie.embedding.encoder import Encoder
from reverie.embedding.protocol import Embedder, EmbeddingError
from reverie.embedding.registry import build_embedder, model_identity, reembed_command
from reverie.embedding.reranking.service import Reranking
from reverie.exporting.service import ExportService
from reverie.forgetting.erasing import Eraser
from reverie.forgetting.receipts import ReceiptService
from reverie.forgetting.repository import FORGET
from reverie.forgetting.service import ForgettingService
from reverie.graph.mirror import Mirroring
from reverie.graph.neo4j import Neo4j, Neo4jGraph
from reverie.graph.service import GraphService
from reverie.language.service import Language
from reverie.memories.access import AccessCounts
from reverie.memories.cold import ColdTraces
from reverie.memories.embedding import EMBED
from reverie.memories.links import LINK
from reverie.memories.merging import MergeService
from reverie.memories.model import FILL, Model, ensure_model, fill_later
from reverie.memories.pins import PinService
from reverie.memories.service import MemoryService
from reverie.memories.tombstones import Tombstones
from reverie.memories.users import UserService
from reverie.objects.store import open_objects
from reverie.operations.service import OperationService
from reverie.profile.service import ProfileService
from reverie.recall.pipeline import RecallService
from reverie.recall.ranker import load_rankers
from reverie.reembedding.jobs import Reembedder
from reverie.reembedding.service import ReembeddingService
from reverie.relating.edges import EdgeService
from reverie.relating.service import RelatingService
from reverie.retention.pruning import PRUNE
from reverie.retention.service import RetentionService
from reverie.settings import repository as saved
from reverie.settings.force import InForce, choose
from reverie.settings.overlay import overlaid
from reverie.settings.sealing import Sealing
from reverie.settings.service import REEMBED, AiSettingsService
from reverie.tiers.overview import TierOverview
from reverie.tiers.repository import active_model
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
    sources: Sources
    database: Database
    redis: Redis
    bell: Bell
    encoder: Encoder
    model: Model
    keys: KeyService
    operations: OperationService
    memories: MemoryService
    counts: AccessCounts
    reranking: Reranking
    recall: RecallService
    forgetting: ForgettingService
    eraser: Eraser
    receipts: ReceiptService
    retention: RetentionService
    exporting: ExportService
    tiers: TierService
    runs: TierRuns
    dreams: DreamRuns
    dream_service: DreamService
    users: UserService
    pins: PinService
    merges: MergeService
    profiles: ProfileService
    relating: RelatingService
    edges: EdgeService
    graph: GraphService
    mirroring: Mirroring | None
    tier_overview: TierOverview
    thaws: ThawService
    ai_settings: AiSettingsService

    @property
    def in_force(self) -> InForce:
        """The settings that the parts were opened with."""
        return self.ai_settings.in_force


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    embedder: Embedder | None = None,
    metrics: Metrics | None = None,
    before: InForce | None = None,
    *,
    fill: bool = True,
) -> AsyncIterator[Runtime]:
    """Opens every part, checks that they fit together, and closes them in the reverse order.

    They are closed to the end, however often that is cancelled: there are threads to be waited for.

    What an admin has saved in the store goes before the settings.

    Args:
        settings: those of the environment.
        embedder: stands in for the one that the settings name.
        metrics: where the parts count.
        before: what a running process works with that goes over to what was saved since.
        fill: whether the store is to have the heads of the settings; not where these are those of a single command.

    Raises:
        StartError: a part is missing, too old, or does not fit the settings; one sentence says what to do.
    """
    base = settings
    database, redis = Database(settings), Redis(settings)
    bell = Bell(settings, redis)
    async with closed_to_the_end() as stack:
        stack.push_async_callback(redis.close)
        stack.push_async_callback(bell.close)
        await asyncio.to_thread(check, database.url)
        secret = Secret.of(base)
        sealing = Sealing(secret)
        in_force, fitting = await _chosen(base, database, sealing, before)
        settings = in_force.settings
        given = fitting or embedder
        loaded = given if given is not None else await asyncio.to_thread(build_embedder, settings)
        name, dim, precision = await asyncio.to_thread(_identity, settings, loaded)
        rankers = await asyncio.to_thread(load_rankers, settings)
        metrics = metrics or Metrics()
        reranking = Reranking.of(settings, metrics)
        stack.push_async_callback(reranking.close)
        language = Language.of(settings)
        stack.push_async_callback(language.close)
        model = await _model(settings, database, (name, dim, precision))
        await database.open(model.id)
        stack.push_async_callback(database.close)
        if in_force.active is None:
            in_force.active = model.id
        await check_secret(database, secret, settings.reverie_secret_lost)
        encoder = Encoder(loaded, dim, metrics).start()
        stack.push_async_callback(encoder.close)
        if fill:
            await fill_later(database, model, settings.heads)
        tiers = TierService(database, settings.memory_hnsw)
        await tiers.keep_ahead()
        focus = Focus(settings, redis)
        counts = AccessCounts(database, redis)
        stack.push_async_callback(counts.close)
        cold = ColdService(database, await asyncio.to_thread(open_objects, settings))
        stack.callback(cold.close)
        memories = MemoryService(settings, database, encoder, model, focus, bell, tiers.make_partitions, cold)
        recall = RecallService(settings, database, encoder, model, focus, metrics, rankers, reranking, cold, counts)
        stack.callback(recall.close)
        mirror = None
        if settings.graph_backend == "neo4j":
            mirror = Neo4j.of(settings)
            stack.push_async_callback(mirror.close)
        forgetting = ForgettingService(database, focus, bell, Tombstones(secret), cold, counts, recall, mirror)
        eraser = Eraser(database, focus, cold, counts)
        sources = Sources(
            pool=database.statistics,
            redis=lambda: redis.failures,
            questions=lambda: encoder.queued_questions,
            documents=lambda: encoder.queued_documents,
        )
        metrics.follow(sources)
        thaws = ThawService(database, bell, cold, model, settings.memory_thaw_days)
        retention = RetentionService(settings, database, bell, forgetting.forget_traces)
        runs = TierRuns(settings, database, steps_of(settings, cold))
        stages = stages_of(settings, runs, retention.pruner)
        dreams = DreamRuns(
            settings,
            database,
            model,
            stages,
            cold=ColdTraces(cold, settings.memory_cold_timeout_seconds),
            bell=bell,
            language_model_of=language.of_night,
        )
        dream_service = DreamService(settings, database, bell, stages.names)
        reembedder = Reembedder(base, database, ReembeddingService(database, tiers, settings.heads), sealing)
        yield Runtime(
            settings=settings,
            metrics=metrics,
            sources=sources,
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
                    CONSOLIDATE: dreams.consolidate,
                    UNDO: dream_service.undo,
                    REEMBED: reembedder.reembed,
                },
            ),
            memories=memories,
            counts=counts,
            reranking=reranking,
            recall=recall,
            forgetting=forgetting,
            eraser=eraser,
            receipts=ReceiptService(database, focus, cold, counts, mirror),
            retention=retention,
            exporting=ExportService(database, focus, cold),
            tiers=tiers,
            runs=runs,
            dreams=dreams,
            dream_service=dream_service,
            users=UserService(database),
            pins=PinService(database, memories),
            merges=MergeService(database),
            profiles=ProfileService(settings, database, cold),
            relating=RelatingService(settings, database, model, recall.indexes, memories),
            edges=EdgeService(database),
            graph=GraphService(database, Neo4jGraph(mirror) if mirror else None),
            mirroring=Mirroring(database, mirror) if mirror else None,
            tier_overview=TierOverview(settings, database, cold.objects),
            thaws=thaws,
            ai_settings=AiSettingsService(in_force, database, bell, sealing),
        )


@asynccontextmanager
async def open_dreams(settings: Settings) -> AsyncIterator[DreamRuns]:
    """The dream over the store of these settings, without an embedding model: a worker makes the vectors.

    Raises:
        StartError: the store is not there, or does not fit the settings.
        NotFound: nobody has remembered anything in it.
    """
    await asyncio.to_thread(check, str(settings.database_url))
    database, redis = Database(settings), Redis(settings)
    bell = Bell(settings, redis)
    async with closed_to_the_end() as stack:
        stack.push_async_callback(redis.close)
        stack.push_async_callback(bell.close)
        await database.open()
        stack.push_async_callback(database.close)
        async with database.maintenance() as connection:
            model = await active_model(connection)
            newest = (await saved.standing(connection)).newest
        if model is None:
            raise NotFound("Nothing was remembered in this store yet.")
        secret = Secret.of(settings)
        settings = overlaid(settings, newest, Sealing(secret))
        await check_secret(database, secret, settings.reverie_secret_lost)
        language = Language.of(settings)
        stack.push_async_callback(language.close)
        cold = ColdService(database, await asyncio.to_thread(open_objects, settings))
        stack.callback(cold.close)
        counts = AccessCounts(database, redis)
        forgetting = ForgettingService(database, Focus(settings, redis), bell, Tombstones(secret), cold, counts, None)
        retention = RetentionService(settings, database, bell, forgetting.forget_traces)
        yield DreamRuns(
            settings,
            database,
            model,
            stages_of(settings, TierRuns(settings, database, steps_of(settings, cold)), retention.pruner),
            cold=ColdTraces(cold, settings.memory_cold_timeout_seconds),
            bell=bell,
            language_model_of=language.of_night,
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


async def _chosen(
    base: Settings, database: Database, sealing: Sealing, before: InForce | None
) -> tuple[InForce, Embedder | None]:
    try:
        return await choose(base, database, sealing, before)
    except psycopg.OperationalError as error:
        raise StartError(unreachable(error)) from error
