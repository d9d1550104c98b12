"""A store whose memory is warm goes over to another model, and its old vectors are dropped."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection
from tests.conftest import serving
from tests.memories.helpers import found_ids, rows
from tests.reembedding.conftest import changed, reembed, service_of
from tests.reembedding.test_reembedding import DIM, model_indexes, remembered
from tests.waiting import PATIENCE

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection, Database
from reverie.embedding.protocol import Embedder
from reverie.tiers import downshift
from reverie.tiers.indexes import Partition, list_models, list_partitions
from reverie.tiers.locks import moving_alone
from reverie.tiers.moving import move
from reverie.tiers.service import TierService

if TYPE_CHECKING:
    from reverie.reembedding.service import Progress

LATER = timedelta(days=100)


async def make_warm(settings: Settings, connection: Connection) -> None:
    """All that there is becomes warm, and what came late into it codes."""
    database = Database(settings)
    await downshift.announce(connection, 0)
    while (plan := await downshift.due(connection, clock.now() + LATER, 30)) is not None:
        await move(database, plan)
    for one in await list_partitions(connection, "warm"):
        await downshift.recode(database, one, None, nothing)


async def nothing() -> None:
    """Nobody watches."""


async def by_kind(settings: Settings) -> list[Any]:
    """(dimensions, vectors, codes) of each model."""
    return await rows(
        settings,
        "SELECT m.dim, count(num_nulls(e.vec, e.vec_fp32) < 2 OR NULL), count(e.codes) FROM memory_embedding e"
        " JOIN model m ON m.id = e.model_id WHERE e.head = 0 GROUP BY 1 ORDER BY 1 DESC",
    )


async def test_warm_memory_gets_the_new_vectors_and_loses_the_old_ones(settings: Settings, embedder: Embedder) -> None:
    new = changed(settings, embedding_dim=DIM)
    async with await AsyncConnection.connect(str(settings.database_url), autocommit=True) as owner:
        async with serving(settings, embedder) as running:
            ids = await remembered(running)
            await make_warm(settings, owner)
            assert await by_kind(settings) == [(384, 0, len(ids))]
            assert len(await found_ids(await running.caller(), "ada", "harbour 3", recipe="vector")) == 10
            await reembed(new, embedder)
            # The new ones come late into what is warm, and are found as they are.
            assert await by_kind(settings) == [(384, 0, len(ids)), (DIM, len(ids), 0)]
        async with serving(new, embedder) as running:
            caller = await running.caller()
            assert len(await found_ids(caller, "ada", "harbour 3", recipe="vector")) == 10
            await make_warm(settings, owner)
            assert await by_kind(settings) == [(384, 0, len(ids)), (DIM, 0, len(ids))]
            told: list[Progress] = []
            # As long as somebody moves partitions they are left as they are.
            async with moving_alone(owner):
                dropping = asyncio.create_task(service_of(settings).drop_old(told.append))
                async with asyncio.timeout(PATIENCE):
                    while not any(one.waits for one in told):  # noqa: ASYNC110 - nothing tells of it
                        await asyncio.sleep(0.01)
                assert await by_kind(settings) == [(384, 0, len(ids)), (DIM, 0, len(ids))]
            await dropping
            assert await by_kind(settings) == [(DIM, 0, len(ids))]
            assert await model_indexes(settings, 1) == 0
            assert len(await found_ids(caller, "ada", "harbour 3", recipe="vector")) == 10


async def test_building_goes_on_where_partitions_are_moved_meanwhile(
    settings: Settings, embedder: Embedder, monkeypatch: Any
) -> None:
    """It has a list of partitions of which some are gone."""
    from reverie.tiers import indexes, service

    async with await AsyncConnection.connect(str(settings.database_url), autocommit=True) as owner:
        async with serving(settings, embedder) as running:
            await remembered(running)
        before = await indexes.list_partitions(owner)
        await make_warm(settings, owner)
        gone = [one for one in before if one not in await indexes.list_partitions(owner)]
        assert gone
        lists: list[list[Partition]] = []
        original = indexes.list_partitions

        async def stale_at_first(connection: Connection, *tiers: str) -> list[Partition]:
            lists.append(before if not lists else await original(connection, *tiers))
            return lists[-1]

        (model,) = await list_models(owner)
        monkeypatch.setattr(indexes, "list_partitions", stale_at_first)
        assert await indexes.add_model_indexes(owner, model) == []
        assert len(lists) == 2
        lists.clear()
        monkeypatch.setattr(service, "list_partitions", stale_at_first)
        assert await TierService(Database(settings), "always").build_indexes(model) == []
