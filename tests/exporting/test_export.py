"""An export holds everything of a user and nothing of others; one that was broken off says so."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from psycopg import AsyncConnection
from tests.conftest import Api, Remember, serving

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.core.ids import user_uuid
from reverie.embedding import codes
from reverie.embedding.protocol import Embedder
from reverie.exporting import repository, service

if TYPE_CHECKING:
    from reverie.exporting.service import ExportService

DIM = 384


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


async def space_of(api: Api) -> UUID:
    found: UUID = await api.app.state.keys.ensure_space("default")
    return found


async def exported(caller: httpx.AsyncClient, user: str, **params: Any) -> list[dict[str, Any]]:
    answer = await caller.get(f"/memory/users/{quote(user, safe='')}/export", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


def of(records: Sequence[Mapping[str, Any]], record: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "record"} for one in records
            if one["record"] == record]  # fmt: skip


async def test_everything_that_is_held_is_there(api: Api, caller: httpx.AsyncClient, owner: Connection) -> None:
    given = {
        "content": "Tea at four.", "role": "user", "speaker": "Nora", "conversation_id": "c", "external_id": "t1",
        "occurred_at": "2026-05-08T13:56:00Z", "expires_at": "2099-01-01T00:00:00Z", "salience": 0.7, "language": "en",
        "source": {"file": "a.txt"}, "meta": {"topic": "tea"},
    }  # fmt: skip
    body = {"user_id": "nora", "traces": [given, {"content": "Cake.", "role": "user", "conversation_id": "c"}]}
    answer = await caller.post("/memory/remember", json=body, headers={"Idempotency-Key": "once"})
    first, second = (one["trace_id"] for one in answer.json()["traces"])
    body = {"user_id": "nora", "traces": [{"content": "Later.", "conversation_id": "c"}]}
    operation = (await caller.post("/memory/remember?wait=false", json=body)).json()
    last = operation["traces"][0]["trace_id"]
    gone = (await caller.post("/memory/remember", json={"user_id": "nora", "traces": [{"content": "Gone."}]})).json()
    path = f"/memory/traces/{gone['traces'][0]['trace_id']}"
    receipt = (await caller.delete(path, params={"user_id": "nora"})).json()["receipt_id"]
    records = await exported(caller, "nora")

    assert [records[0][name] for name in ("record", "format", "user_id", "vectors")] == ["export", 1, "nora", False]
    [user] = of(records, "user")
    assert (user["user_id"], user["traces"], user["kind"]) == ("nora", 3, "person")
    assert user["inner_id"] == str(user_uuid(await space_of(api), "nora"))
    traces = of(records, "trace")
    assert [one["trace_id"] for one in traces] == [first, second, last]
    assert traces[0] | given | {"language": "english", "user_id": "nora"} == traces[0]
    assert (traces[2]["vectors"], traces[2]["pinned"], traces[2]["follows"]) == (True, False, second)
    assert [(one["src"], one["dst"], one["type"]) for one in of(records, "edge")] == [
        (first, second, "next"), (second, last, "next"),
    ]  # fmt: skip
    assert [one["receipt_id"] for one in of(records, "receipt")] == [receipt]
    assert operation["operation_id"] in [one["operation_id"] for one in of(records, "operation")]
    assert of(records, "focus")[0]["trace_ids"][0] == last
    [kept] = of(records, "answer")
    assert (kept["idempotency_key"], kept["answer"]["traces"][0]["trace_id"]) == ("once", first)
    assert "Gone." not in json.dumps(records)
    counted = Counter(one["record"] for one in records[1:-1])
    assert records[-1] == {"record": "end", "counts": counted, "unreadable": 0}


async def test_nothing_of_others_is_there(api: Api, caller: httpx.AsyncClient, remember: Remember) -> None:
    await remember("nora", "Ours.")
    await remember("ilse", "Of Ilse.")
    other = await api.caller("another")
    await other.post("/memory/remember", json={"user_id": "nora", "traces": [{"content": "Theirs."}]})
    assert [one["content"] for one in of(await exported(caller, "nora"), "trace")] == ["Ours."]
    assert [one["content"] for one in of(await exported(other, "nora"), "trace")] == ["Theirs."]
    assert (await other.get("/memory/users/ilse/export")).status_code == 404


async def test_a_user_nobody_knows(caller: httpx.AsyncClient) -> None:
    answer = await caller.get("/memory/users/nobody/export")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no user 'nobody'.")


async def test_of_a_user_who_was_forgotten_the_receipts_are_left(caller: httpx.AsyncClient, remember: Remember) -> None:
    await remember("nora", "Tea.")
    scope = {"user_id": "nora", "scope": {"all": True}, "reason": "moved"}
    await caller.post("/memory/forget", json=scope)
    records = await exported(caller, "nora")
    assert (of(records, "user"), of(records, "trace")) == ([], [])
    assert [(one["scope"], one["reason"]) for one in of(records, "receipt")] == [("all", "moved")]


@pytest.mark.parametrize("user", ["a/b", "a b", "/", "export", "x/export", "ü 日本 🐈", "100%", "?q=1#f", "\\", "a\nb"])
async def test_any_name_can_be_asked_for(caller: httpx.AsyncClient, remember: Remember, user: str) -> None:
    await remember(user, "Tea.")
    assert len(of(await exported(caller, user), "trace")) == 1


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/memory/users/%20/export", "user_id takes text that is not blank."),
        (f"/memory/users/{'x' * 256}/export", "user_id takes at most 255 characters, not 256."),
        ("/memory/users/a%00b/export", "user_id takes text without U+0000."),
        ("/memory/users/nora/export?vectors=perhaps", "vectors takes true or false, not 'perhaps'."),
        ("/memory/users/nora/export?colour=blue", "colour is not a field of the query string here."),
    ],
)
async def test_bad_requests(caller: httpx.AsyncClient, path: str, says: str) -> None:
    answer = await caller.get(path)
    assert (answer.status_code, answer.json()["detail"]) == (422, says)


@pytest.mark.parametrize("scope", ["read", "write"])
async def test_it_needs_an_admin(api: Api, remember: Remember, scope: str) -> None:
    await remember("nora", "Tea.")
    assert (await (await api.caller(scopes=[scope])).get("/memory/users/nora/export")).status_code == 403


class TestPages:
    """A user of any size, a page at a time."""

    async def test_all_pages_together_are_everything_once(
        self, caller: httpx.AsyncClient, remember: Remember, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for n in range(3):
            await remember("nora", *[f"Trace {n} {m}. {'x' * m * 4}" for m in range(20)], conversation_id="c")
        whole = await exported(caller, "nora")
        monkeypatch.setattr(service, "PAGE", 7)
        monkeypatch.setattr(service, "PAGE_CHARACTERS", 60)
        monkeypatch.setattr(repository, "EDGES", repository.EDGES._replace(rows=4))
        monkeypatch.setattr(service, "EDGES", repository.EDGES)
        paged = await exported(caller, "nora")
        assert paged[1:] == whole[1:]
        assert whole[-1]["counts"]["trace"] == 60
        assert whole[-1]["counts"]["edge"] == 59

    async def test_a_page_holds_so_much_text_and_no_more(
        self, api: Api, remember: Remember, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await remember("nora", *[f"{n} " + "x" * 1000 for n in range(40)], "y" * 50_000)
        monkeypatch.setattr(service, "PAGE_CHARACTERS", 5000)
        exporting: ExportService = api.app.state.exporting
        parts = [part async for part in await exporting.export(await space_of(api), "nora", vectors=False)]
        traces = [part for part in parts if b'"record":"trace"' in part]
        assert sum(part.count(b"\n") for part in traces) == 41
        assert max(len(part) for part in traces if b"yyy" not in part) < 12_000
        assert len(traces) > 8

    async def test_whoever_reads_slowly_holds_no_connection(self, api: Api, remember: Remember) -> None:
        await remember("nora", *[f"Note {n}." for n in range(5)])
        exporting: ExportService = api.app.state.exporting
        lines = await exporting.export(await space_of(api), "nora", vectors=False)
        seen = 0
        async for _ in lines:
            statistics = api.app.state.database.statistics()
            assert statistics["pool_available"] == statistics["pool_size"]
            seen += 1
        assert seen >= 4

    async def test_what_is_forgotten_meanwhile_is_left_out_and_what_comes_meanwhile_may_be_there(
        self, api: Api, caller: httpx.AsyncClient, remember: Remember, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = await remember("nora", *[f"Note {n}." for n in range(6)])
        monkeypatch.setattr(service, "PAGE", 2)
        exporting: ExportService = api.app.state.exporting
        found = list[bytes]()
        async for part in await exporting.export(await space_of(api), "nora", vectors=False):
            if not any(b"Note 0" in one for one in found) and b"Note 0" in part:
                scope = {"trace_ids": [made[1]["trace_id"], made[4]["trace_id"]]}
                await caller.post("/memory/forget", json={"user_id": "nora", "scope": scope})
            found.append(part)
        records = [json.loads(line) for part in found for line in part.splitlines()]
        assert [one["content"] for one in of(records, "trace")] == [f"Note {n}." for n in (0, 1, 2, 3, 5)]
        assert records[-1]["counts"]["trace"] == 5


class TestVectors:
    """With `vectors=true`."""

    async def test_they_come_with_their_traces(self, caller: httpx.AsyncClient, remember: Remember) -> None:
        own = [3.0, 4.0] + [0.0] * (DIM - 2)
        await remember(
            "nora", {"content": "Mine.", "embedding": own}, "Made here.", {"content": "Dull.", "salience": 0}
        )
        mine, made, dull = of(await exported(caller, "nora", vectors=True), "trace")
        [vector] = mine["embeddings"]
        assert (vector["head"], vector["piece"], vector["model"]) == ("semantic", 0, "bge-small-en-v1.5")
        assert vector["vector"][:3] == pytest.approx([0.6, 0.8, 0.0], abs=1e-3)
        assert mine["supplied"] is True
        assert np.linalg.norm(made["embeddings"][0]["vector"]) == pytest.approx(1, abs=1e-3)
        assert dull["embeddings"] == []
        assert "embeddings" not in of(await exported(caller, "nora"), "trace")[0]

    async def test_a_warm_one_is_made_of_its_codes(
        self, caller: httpx.AsyncClient, remember: Remember, owner: Connection
    ) -> None:
        await remember("nora", "The vet closes at six.")
        [hot] = of(await exported(caller, "nora", vectors=True), "trace")[0]["embeddings"]
        vector = np.array([hot["vector"]], dtype=np.float32)
        packed = codes.pack(codes.quantise(vector), codes.signs_of(vector))[0].tobytes()
        await owner.execute("UPDATE memory_embedding SET vec = NULL, codes = %s", (packed,))
        [warm] = of(await exported(caller, "nora", vectors=True), "trace")[0]["embeddings"]
        assert float(np.dot(vector[0], warm["vector"])) > 0.999

    async def test_pieces_say_which_characters_they_are_of(self, caller: httpx.AsyncClient, remember: Remember) -> None:
        text = " ".join(f"Sentence {n} about the harbour and its boats." for n in range(200))
        await remember("nora", text)
        [trace] = of(await exported(caller, "nora", vectors=True), "trace")
        first, *others = trace["embeddings"]
        assert "begins" not in first
        assert others
        assert all(0 <= one["begins"] < one["ends"] <= len(text) for one in others)


class TestFaults:
    """What cannot be read."""

    async def test_postgresql_fails_in_the_midst(
        self, settings: Settings, embedder: Embedder, owner: Connection
    ) -> None:
        async with serving(settings.model_copy(update={"database_timeout_seconds": 0.5}), embedder) as api:
            caller = await api.caller()
            await caller.post("/memory/remember", json={"user_id": "nora", "traces": [{"content": "Tea."}]})
            async with owner.transaction():
                await owner.execute("LOCK memory_edge")
                records = await exported(caller, "nora")
        assert [one["record"] for one in records] == ["export", "user", "trace", "fault"]
        assert records[-1]["detail"].startswith("PostgreSQL went away or took too long")

    async def test_postgresql_fails_before_it_begins(
        self, settings: Settings, embedder: Embedder, owner: Connection
    ) -> None:
        async with serving(settings.model_copy(update={"database_timeout_seconds": 0.5}), embedder) as api:
            caller = await api.caller()
            async with owner.transaction():
                await owner.execute("LOCK memory_user")
                assert (await caller.get("/memory/users/nora/export")).status_code == 503

    async def test_a_text_that_cannot_be_read_is_counted(
        self, caller: httpx.AsyncClient, remember: Remember, owner: Connection
    ) -> None:
        lost, there = (one["trace_id"] for one in await remember("nora", "Lost.", "There."))
        await owner.execute("DELETE FROM memory_body WHERE trace_id = %s", (lost,))
        records = await exported(caller, "nora")
        assert {one["trace_id"]: one["content"] for one in of(records, "trace")} == {lost: None, there: "There."}
        assert records[-1]["unreadable"] == 1

    async def test_without_redis_the_focus_is_not_known(self, settings: Settings, embedder: Embedder) -> None:
        away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
        async with serving(away, embedder) as api:
            caller = await api.caller()
            await caller.post("/memory/remember", json={"user_id": "nora", "traces": [{"content": "Tea."}]})
            records = await exported(caller, "nora")
        assert of(records, "focus") == [{"trace_ids": None}]
        assert records[-1]["record"] == "end"


async def test_as_many_exports_as_there_are_places_keep_out_nothing_else(api: Api, remember: Remember) -> None:
    await remember("nora", "Tea.")
    lane = api.app.state.gate.lanes["export"]
    while lane.step_in():
        continue
    client = await api.caller()
    assert (await client.get("/memory/users")).status_code == 200
    try:
        lane._seconds = 0.05
        assert (await client.get("/memory/users/nora/export")).status_code == 503
    finally:
        while lane.working:
            lane.leave()
    assert (await client.get("/memory/users/nora/export")).status_code == 200


async def test_what_is_being_forgotten_is_not_there(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection
) -> None:
    made = await remember("nora", "Hidden.", "Shown.")
    await owner.execute("UPDATE memory_trace SET deleted_at = now() WHERE id = %s", (made[0]["trace_id"],))
    records = await exported(caller, "nora")
    assert [one["content"] for one in of(records, "trace")] == ["Shown."]


async def test_expired_traces_are_held_until_they_are_forgotten(caller: httpx.AsyncClient, remember: Remember) -> None:
    until = clock.now() + timedelta(seconds=30)
    await remember("nora", {"content": f"Over {uuid4().hex}.", "expires_at": until.isoformat()})
    with clock.as_of(until + timedelta(seconds=1)):
        assert len(of(await exported(caller, "nora"), "trace")) == 1
