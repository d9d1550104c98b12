"""Cold traces are read, changed and recognised like any other."""

import shutil
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import AsyncConnection
from tests.conftest import Api, remembering, serving
from tests.recall.chilling import AGES, NOW, chill

from reverie.core import clock
from reverie.core.config import Settings, load_settings
from reverie.embedding.protocol import Embedder
from reverie.memories import repository
from reverie.objects.store import StorageTrouble

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

LONG = " ".join(f"On day {number} we rowed past the lighthouse and counted seals." for number in range(90))
pytestmark = pytest.mark.xdist_group("cold traces")
"""Each has a copy of one store: on one worker."""

TEXTS = [
    "The cat sleeps on the kitchen oven.", "We bought a sailing boat.", "Clara plays the cello.", LONG,
    "The bicycle is blue.", "Walnuts are forbidden.", "The harbour freezes in January.", "Nobody reads this one.",
]  # fmt: skip
ALL = ["hot", "warm", "cold"]


@dataclass
class Cooled:
    """A store that nobody serves and whose traces are all cold; what they were ``before``, by their ids."""

    database: str
    home: Path
    before: dict[str, dict[str, Any]]


@dataclass
class Store:
    """A served store whose traces are all cold at first."""

    caller: httpx.AsyncClient
    settings: Settings
    api: Api
    before: dict[str, dict[str, Any]]

    @property
    def ids(self) -> list[str]:
        """All traces, oldest first."""
        return list(self.before)

    async def get(self, trace_id: str, status: int = 200) -> dict[str, Any]:
        """A trace of nora."""
        answer = await self.caller.get(f"/memory/traces/{trace_id}", params={"user_id": "nora"})
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def patch(self, trace_id: str, status: int = 200, **change: Any) -> dict[str, Any]:
        """Changes one."""
        answer = await self.caller.patch(f"/memory/traces/{trace_id}", params={"user_id": "nora"}, json=change)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def found(self, question: str) -> dict[str, str]:
        """Texts of what a question finds, with their tiers."""
        asked = {"user_id": "nora", "q": question, "tiers": ALL, "k": 20}
        answer = (await self.caller.post("/memory/recall", json=asked)).json()
        assert answer["degraded"] == []
        return {one["content"]: one["tier"] for one in answer["results"]}

    async def sql(self, query: str, *parameters: Any) -> list[Any]:
        """Asks as the owner."""
        assert self.settings.database_url is not None
        async with await AsyncConnection.connect(self.settings.database_url, autocommit=True) as owner:
            cursor = await owner.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def rows(self, trace_id: str) -> dict[str, int]:
        """How many rows of a trace stand where."""
        (row,) = await self.sql(
            "SELECT (SELECT count(*) FROM memory_body WHERE trace_id = i.id),"
            " (SELECT count(*) FROM memory_embedding WHERE trace_id = i.id),"
            " (SELECT count(*) FROM memory_embedding WHERE trace_id = i.id AND codes IS NOT NULL),"
            " (SELECT count(*) FROM memory_digest WHERE trace_id = i.id),"
            " (SELECT count(*) FROM cold_removal WHERE trace_id = i.id) FROM (SELECT %s::uuid AS id) i",
            trace_id,
        )
        return dict(zip(("bodies", "vectors", "codes", "digests", "removals"), row, strict=True))


COLD = {"bodies": 0, "vectors": 0, "codes": 0, "digests": 1, "removals": 0}


def settings_of(database_url: str, redis_url: str, home: Path) -> Settings:
    """Settings for a database and its files."""
    return load_settings(
        database_url=database_url, redis_url=redis_url, reverie_home=home, database_pool_size=6, memory_links="next",
        memory_heads="semantic,situation",
    )  # fmt: skip


@pytest.fixture(scope="module")
async def cooled(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory,
    embedder: Embedder,
) -> AsyncIterator[Cooled]:  # fmt: skip
    """What was remembered long ago, and is cold now."""
    name, home = f"cooled_{uuid4().hex}", tmp_path_factory.mktemp("home")
    own = settings_of(postgres.create(name, template), redis_url, home)
    async with serving(own, embedder) as api:
        caller = await api.caller()
        with clock.as_of(NOW - AGES["cold"]):
            told = await remembering(caller)(
                "nora",
                *({"content": text, "external_id": f"x{number}"} for number, text in enumerate(TEXTS)),
                conversation_id="old",
                kind="turn",
                role="user",
                meta={"shelf": 3},
            )
        rows = Store(caller, own, api, {})
        before = {one["trace_id"]: await rows.get(one["trace_id"]) for one in told}
        await chill(own)
        for one in before:
            assert await rows.rows(one) == COLD
    yield Cooled(name, home, before)
    postgres.drop(name)


@pytest.fixture
async def store(
    cooled: Cooled, postgres: "SharedPostgres", redis_url: str, tmp_path: Path, embedder: Embedder
) -> AsyncIterator[Store]:
    """A copy of it for one test, served."""
    name = f"cold_{uuid4().hex}"
    shutil.copytree(cooled.home / "objects", tmp_path / "objects")
    own = settings_of(postgres.create(name, cooled.database), redis_url, tmp_path)
    async with serving(own, embedder) as api:
        yield Store(await api.caller(), own, api, cooled.before)
    postgres.drop(name)


def file_of(store: Store) -> Path:
    """The one file."""
    (path,) = (store.settings.reverie_home / "objects").rglob("*.parquet")
    return path


async def test_a_cold_trace_reads_as_before(store: Store) -> None:
    for one in store.ids:
        assert await store.get(one) == store.before[one] | {"tier": "cold"}


async def test_the_list_has_cold_traces_with_their_texts(store: Store) -> None:
    page = (await store.caller.get("/memory/traces", params={"user_id": "nora", "limit": 5})).json()
    assert page["items"] == [store.before[one] | {"tier": "cold"} for one in store.ids[:2:-1]]
    rest = (
        await store.caller.get("/memory/traces", params={"user_id": "nora", "cursor": page["next_cursor"]})
    ).json()  # fmt: skip
    assert [one["content"] for one in rest["items"]] == TEXTS[2::-1]


async def test_without_its_file_a_trace_is_not_answered_and_a_list_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> dict[Any, str]:
        raise StorageTrouble("Object storage does not answer.")

    monkeypatch.setattr("reverie.cold.segments.texts", away)
    monkeypatch.setattr("reverie.cold.segments.rows", away)
    problem = await store.get(store.ids[0], 503)
    assert problem["detail"] == (
        "The text of this trace is in cold storage, which cannot be read at the moment; try again later."
    )
    page = (await store.caller.get("/memory/traces", params={"user_id": "nora"})).json()
    assert {(one["content"], one["tier"]) for one in page["items"]} == {(None, "cold")}
    assert len(page["items"]) == len(TEXTS)
    await store.patch(store.ids[0], 503, salience=0.9)
    assert await store.rows(store.ids[0]) == COLD


async def test_a_damaged_file_is_noted_by_whoever_reads_a_trace(store: Store) -> None:
    path = file_of(store)
    kept = path.rename(path.with_suffix(".kept"))
    try:
        await store.get(store.ids[0], 503)
    finally:
        kept.rename(path)
    assert await store.sql("UPDATE cold_segment SET damage = NULL WHERE damage IS NOT NULL RETURNING 1") == [(1,)]
    assert (await store.get(store.ids[0]))["content"] == TEXTS[0]


async def test_duplicates_of_cold_traces_are_recognised(store: Store) -> None:
    again = [{"content": TEXTS[2], "external_id": "x2"}, {"content": "Clara plays the horn.", "external_id": "x2"}]
    for trace, status in zip(again, ("duplicate", "rejected"), strict=True):
        body = {"user_id": "nora", "traces": [trace, {"content": "Some other note.", "kind": "note"}]}
        one, _ = (await store.caller.post("/memory/remember", json=body)).json()["traces"]
        assert (one["status"], one["trace_id"]) == (status, store.ids[2] if status == "duplicate" else None)
    assert store.ids[2] in one["error"]


async def test_what_is_cold_is_not_encoded_again(store: Store, embedder: Embedder) -> None:
    maker = store.api.app.state.memories.maker
    ((space, user),) = await store.sql(
        "SELECT DISTINCT space_id, user_id FROM memory_trace WHERE id = %s", store.ids[5]
    )
    with clock.as_of(NOW):
        (late,) = await remembering(store.caller)("nora", "A late one, of today.", conversation_id="new")
    await store.sql("DELETE FROM memory_embedding WHERE trace_id = %s", late["trace_id"])
    made, refused = await maker.make(space, user, [*map(UUID, store.ids), UUID(late["trace_id"])])
    assert (made, refused) == (1, 0)
    assert await store.rows(store.ids[5]) == COLD


async def test_a_change_beside_the_text_brings_a_trace_back_as_it_was(store: Store) -> None:
    one = store.ids[3]
    ((pieces,),) = await store.sql("SELECT rows - traces FROM cold_segment")
    assert pieces > 0
    changed = await store.patch(one, salience=0.9, meta={"shelf": 4})
    assert changed["tier"] == "warm"
    assert changed == store.before[one] | {
        "salience": 0.9, "meta": {"shelf": 4}, "tier": "warm", "updated_at": changed["updated_at"],
    }  # fmt: skip
    rows = await store.rows(one)
    # The text and every piece, as codes; what the file still holds goes with the next run.
    assert (rows["bodies"], rows["digests"], rows["removals"]) == (1, 0, 1)
    assert rows["vectors"] == rows["codes"] == 1 + pieces
    ((words, lexemes),) = await store.sql("SELECT words, lexemes::text FROM memory_body WHERE trace_id = %s", one)
    assert words > 5
    assert "'lighthous'" in lexemes
    assert (await store.found("Who rowed past the lighthouse?"))[LONG] == "warm"
    assert list(await store.found("lighthouse seals")).count(LONG) == 1


async def test_a_changed_text_is_what_is_found(store: Store) -> None:
    one, new = store.ids[1], "We sold the yacht to a baker from Kiel."
    ((before,),) = await store.sql("SELECT words FROM memory_user WHERE external_id = 'nora'")
    changed = await store.patch(one, content=new)
    assert (changed["content"], changed["tier"]) == (new, "warm")
    rows = await store.rows(one)
    assert rows == {"bodies": 1, "vectors": rows["vectors"], "codes": 0, "digests": 0, "removals": 1}
    assert rows["vectors"] > 0
    found = await store.found("Who bought the boat?")
    assert found[new] == "warm"
    assert TEXTS[1] not in found
    ((after,),) = await store.sql("SELECT words FROM memory_user WHERE external_id = 'nora'")
    ((words,),) = await store.sql("SELECT words FROM memory_body WHERE trace_id = %s", one)
    # We, bought, a, sailing, boat: two of them say nothing; and three of the date.
    assert after - before == words - 6
    again = await store.patch(one, content=new + " In May.")
    assert again["content"].endswith("In May.")


async def test_nothing_is_lost_where_a_change_ends_halfway(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = store.ids[4]

    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(repository, "drop_vectors", fails)
    await store.patch(one, 500, content="The bicycle is red now.")
    assert await store.rows(one) == COLD
    assert (await store.get(one))["content"] == TEXTS[4]
    assert (await store.found("What colour is the bicycle?"))[TEXTS[4]] == "cold"


async def test_a_trace_that_becomes_cold_while_it_is_changed_is_changed_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, looked = store.ids[6], 0
    service = store.api.app.state.memories
    reading = service.get

    async def earlier(*given: Any) -> Any:
        nonlocal looked
        looked += 1
        trace = await reading(*given)
        # The first look is of a moment before it went.
        return trace.model_copy(update={"tier": "warm"}) if looked == 1 else trace

    monkeypatch.setattr(service, "get", earlier)
    changed = await store.patch(one, content="The harbour froze in February.")
    assert (changed["content"], changed["tier"]) == ("The harbour froze in February.", "warm")
    assert looked == 3
    assert (await store.rows(one))["digests"] == 0


async def test_a_thawed_trace_that_is_changed_never_cools_to_what_it_said(store: Store) -> None:
    one = store.ids[0]
    # As a thaw does it.
    await store.sql(
        "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
        " SELECT space_id, user_id, id, happened_at, 3, 1, %s, '' FROM memory_trace WHERE id = %s",
        TEXTS[0], one,
    )  # fmt: skip
    await store.sql("UPDATE memory_digest SET thawed_until = now() + interval '1 day' WHERE trace_id = %s", one)
    assert (await store.get(one))["tier"] == "warm"
    await store.patch(one, content="The cat moved to the attic.")
    rows = await store.rows(one)
    assert (rows["digests"], rows["removals"]) == (0, 1)


async def test_the_next_run_takes_what_was_changed_out_of_the_file(store: Store) -> None:
    await store.patch(store.ids[1], content="We sold the yacht.")
    await store.patch(store.ids[3], salience=0.9)
    outcome = await chill(store.settings, steps=("files",))
    assert outcome.report["files"]["rewritten"] == 1
    left = Counter(one["tier"] for one in (await _page(store)) if one["trace_id"] in store.ids)
    digests = {str(trace_id) for (trace_id,) in await store.sql("SELECT trace_id FROM memory_digest")}
    cold = sum(one in digests for one in store.ids)
    assert 0 < cold < len(store.ids)
    assert left == {"cold": cold, "warm": len(store.ids) - cold}
    assert await store.sql("SELECT count(*) FROM cold_removal") == [(0,)]
    assert (await store.get(store.ids[7]))["content"] == TEXTS[7]


async def _page(store: Store) -> list[dict[str, Any]]:
    page = (await store.caller.get("/memory/traces", params={"user_id": "nora", "limit": 50})).json()
    items: list[dict[str, Any]] = page["items"]
    return items


async def test_a_file_that_was_rewritten_meanwhile_is_looked_for_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store.ids[7]
    ((space, user),) = await store.sql("SELECT space_id, user_id FROM memory_trace WHERE id = %s", one)
    ((path,),) = await store.sql("SELECT path FROM cold_segment")
    asked = 0
    cold = store.api.app.state.memories._cold._cold
    inner = cold._blocking

    async def blocking(work: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            await store.sql("UPDATE cold_segment SET path = %s", path)
        return await inner(work)

    monkeypatch.setattr(cold, "_blocking", blocking)
    await store.sql("UPDATE cold_segment SET path = path || '.before'")
    _, table = await cold.rows(space, (user, UUID(one)))
    assert asked == 1 + 1
    assert table["content"].to_pylist()[0] == TEXTS[7]
