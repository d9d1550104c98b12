"""What is forgotten while it is cold, or is just becoming so, stands in no file."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pyarrow.parquet as pq
import pytest
from tests.conftest import Api, remembering, serving
from tests.forgetting.helpers import finish, forgotten, verified
from tests.memories.helpers import rows
from tests.memories.test_links import FIRST, SECOND, entities_of, link_all
from tests.recall.chilling import AGES, NOW, chill, cold_of

from reverie.cold.service import Output
from reverie.core import clock
from reverie.core.config import Settings, load_settings
from reverie.core.database import Database
from reverie.embedding.protocol import Embedder
from reverie.tiers.runs import TierRuns
from reverie.tiers.steps import steps_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import SharedPostgres


WAITING = (
    "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE NOT l.granted AND a.datname = current_database()"
)


@dataclass
class Store:
    """A served store with a home of its own."""

    caller: httpx.AsyncClient
    settings: Settings
    api: Api
    objects: "Path"

    def filed(self) -> str:
        """Every row of every file."""
        return " ".join(str(pq.read_table(path).to_pylist()) for path in self.objects.rglob("*.parquet"))

    async def sql(self, query: str, *parameters: Any) -> list[Any]:
        return await rows(self.settings, query, parameters)

    async def words(self) -> tuple[int, int]:
        """How many words the users are said to have, and have."""
        ((said, here, cold),) = await self.sql(
            "SELECT (SELECT sum(words) FROM memory_user), (SELECT coalesce(sum(words), 0) FROM memory_body),"
            " (SELECT coalesce(sum(words), 0) FROM memory_digest d WHERE NOT EXISTS"
            " (SELECT FROM memory_body b WHERE b.user_id = d.user_id AND b.trace_id = d.trace_id))"
        )
        return said, here + cold


@pytest.fixture
def own(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    name = f"forgetcold_{uuid4().hex}"
    yield load_settings(
        database_url=postgres.create(name, template), redis_url=redis_url, reverie_home=tmp_path_factory.mktemp("home"),
        database_pool_size=6, memory_links="mentions",
    )  # fmt: skip
    postgres.drop(name)


@pytest.fixture
async def store(own: Settings, embedder: Embedder) -> AsyncIterator[Store]:
    assert own.reverie_home is not None
    async with serving(own, embedder) as api:
        yield Store(await api.caller(), own, api, own.reverie_home / "objects")


async def told(store: Store, *texts: str) -> list[str]:
    """Traces of nora that are old enough to become cold, linked."""
    with clock.as_of(NOW - AGES["cold"]):
        answered = await remembering(store.caller)("nora", *texts)
        await link_all(store.api, store.settings, "nora")
    return [one["trace_id"] for one in answered]


async def test_what_is_forgotten_while_its_file_is_named_leaves_the_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = await told(store, "The word is zyxomma.", "The cat sleeps.")
    note = Output._note
    going: list[asyncio.Task[dict[str, Any]]] = []

    async def slowly(self: Output, *given: Any) -> None:
        async with self._connection.transaction():
            await note(self, *given)
            going.append(asyncio.create_task(forgotten(store.caller, "nora", {"trace_id": one})))
            while not await store.sql(WAITING):
                assert not going[0].done()
                await asyncio.sleep(0.02)

    monkeypatch.setattr(Output, "_note", slowly)
    await chill(store.settings)
    body = await going[0]
    assert "zyxomma" in store.filed()
    assert (body["state"], body["counts"]["cold"]) == ("running", 1)
    await finish(store.api, store.settings, body["receipt_id"])
    assert "zyxomma" not in store.filed()
    assert "cat" in store.filed()
    assert (await verified(store.caller, "nora", body["receipt_id"]))["gone"]


async def test_what_is_forgotten_while_its_file_is_made_leaves_it_in_the_same_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = await told(store, "The word is zyxomma.", "The cat sleeps.")
    name = Output._name
    bodies: list[dict[str, Any]] = []

    async def later(self: Output, *given: Any) -> None:
        bodies.append(await forgotten(store.caller, "nora", {"trace_id": one}))
        await name(self, *given)

    monkeypatch.setattr(Output, "_name", later)
    await chill(store.settings, steps=("warm",))
    async with cold_of(store.settings) as cold:
        outcome = await TierRuns(store.settings, Database(store.settings), steps_of(store.settings, cold)).run(NOW)
    assert outcome.errors == {}
    assert outcome.report["cold"]["exported"] == 2
    assert outcome.report["files"]["rewritten"] == 1
    assert "zyxomma" not in store.filed()
    assert (await verified(store.caller, "nora", bodies[0]["receipt_id"]))["gone"]


async def test_a_receipt_waits_for_the_file_of_what_was_changed_since(store: Store) -> None:
    one, _ = await told(store, "The word is zyxomma.", "The cat sleeps.")
    await chill(store.settings)
    changed = await store.caller.patch(
        f"/memory/traces/{one}", params={"user_id": "nora"}, json={"content": "The word is another."}
    )
    assert changed.status_code == 200
    body = await forgotten(store.caller, "nora", {"trace_id": one})
    assert (body["state"], body["counts"]["cold"], body["counts"]["bodies"]) == ("running", 1, 1)
    assert "zyxomma" in store.filed()
    await finish(store.api, store.settings, body["receipt_id"])
    assert "zyxomma" not in store.filed()


async def test_an_entity_that_nothing_mentions_any_more_leaves_its_file(store: Store) -> None:
    ids = await told(store, FIRST, SECOND)
    assert await entities_of(store.settings, "nora") == ["Tamara Novak"]
    await chill(store.settings)
    ((entity,),) = await store.sql("SELECT id FROM memory_trace WHERE kind = 'entity'")
    for one in ids:
        path, said = f"/memory/traces/{one}", {"content": f"Nobody was there {one}."}
        changed = await store.caller.patch(path, params={"user_id": "nora"}, json=said)
        assert changed.status_code == 200
    with clock.as_of(clock.now() + timedelta(minutes=1)):
        await link_all(store.api, store.settings, "nora")
    assert await store.sql("SELECT 1 FROM memory_trace WHERE kind = 'entity'") == []
    assert (entity,) in await store.sql("SELECT trace_id FROM cold_removal")
    counted, there = await store.words()
    assert counted == there
    await chill(store.settings, steps=("files",))
    assert "Novak" not in store.filed()
    assert await store.sql("SELECT 1 FROM cold_removal") == []


@pytest.mark.parametrize("thawed", [False, True])
@pytest.mark.parametrize("at_once", [1000, 0])
async def test_the_words_of_what_was_cold_are_counted_no_more(
    store: Store, monkeypatch: pytest.MonkeyPatch, at_once: int, *, thawed: bool
) -> None:
    monkeypatch.setattr("reverie.forgetting.service.AT_ONCE", at_once)
    one, _ = await told(store, "The word is zyxomma.", "The cat sleeps.")
    await chill(store.settings)
    if thawed:
        answer = await store.caller.post("/memory/thaw", json={"user_id": "nora", "scope": {"trace_id": one}})
        assert answer.status_code == 202, answer.text
        await finish(store.api, store.settings, answer.json()["operation_id"])
    before = await store.words()
    assert before[0] == before[1] > 0
    body = await forgotten(store.caller, "nora", {"trace_id": one})
    await finish(store.api, store.settings, body["receipt_id"])
    after = await store.words()
    assert after[0] == after[1] < before[0]


async def test_warm_neighbours_keep_no_share_of_what_is_gone(store: Store) -> None:
    """Vectors of the head `situation`, which warm rows cannot make anew."""
    with clock.as_of(NOW - AGES["warm"]):
        answered = await remembering(store.caller)("nora", "One.", "Two.", "Three.", "Four.", conversation_id="c")
    ids = [one["trace_id"] for one in answered]
    await chill(store.settings, steps=("warm",))
    await store.sql(
        "INSERT INTO memory_embedding (space_id, user_id, trace_id, head, model_id, piece, kind, happened_at, codes,"
        " bits) SELECT space_id, user_id, trace_id, 1, model_id, piece, kind, happened_at, codes, bits"
        " FROM memory_embedding WHERE head = 0 RETURNING 1"
    )
    await forgotten(store.caller, "nora", {"trace_id": ids[0]})
    situated = await store.sql("SELECT trace_id::text FROM memory_embedding WHERE head = 1 ORDER BY 1")
    assert situated == [(ids[2],), (ids[3],)]


async def test_a_query_takes_nothing_by_the_date_of_a_cold_trace(store: Store) -> None:
    one, two = await told(store, "The cat sleeps.", "The word is zyxomma.")
    month = f"{NOW - AGES['cold']:%B}"
    await chill(store.settings)
    body = await forgotten(store.caller, "nora", {"query": month})
    assert body["trace_ids"] == []
    body = await forgotten(store.caller, "nora", {"query": "zyxomma"})
    assert body["trace_ids"] == [two] != [one]
