"""The mirror in Neo4j: by the real driver, over Bolt, against a stand-in for the server (:mod:`tests.graph.bolt`)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.conftest import Api, serving
from tests.contracts.house import assert_problem
from tests.graph.bolt import Standin
from tests.graph.drawn import Drawn
from tests.memories.helpers import rows, user_row
from tests.processes import command
from tests.waiting import PATIENCE

from reverie import worker
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.errors import Conflict, StartError
from reverie.embedding.protocol import Embedder
from reverie.graph import mirror as mirroring
from reverie.graph.mirror import Mirroring
from reverie.graph.neo4j import MirrorTrouble, Neo4j, Neo4jGraph
from reverie.graph.protocol import TOGETHER, Whose
from reverie.graph.repository import PostgresGraph
from reverie.runtime import open_runtime

pytestmark = pytest.mark.xdist_group("mirror")


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    async with Standin().listening() as server:
        yield server


@pytest.fixture
def mirrored_settings(own_settings: Settings, standin: Standin) -> Settings:
    """Those of a store of the test's own, with the stand-in as its mirror."""
    return with_mirror(own_settings, standin)


def with_mirror(settings: Settings, standin: Standin, password: str | None = None) -> Settings:
    given = {"graph_backend": "neo4j", "neo4j_url": standin.url, "neo4j_password": password or standin.password}
    return settings.model_copy(update=given)


@pytest.fixture
async def served(mirrored_settings: Settings, embedder: Embedder) -> AsyncIterator[Api]:
    async with serving(mirrored_settings, embedder) as api:
        yield api


@pytest.fixture
async def family(served: Api, mirrored_settings: Settings) -> Drawn:
    """Ann and Bea in two texts, Carl in one of them; Ann lives in Oslo."""
    drawn = Drawn(await served.caller(), mirrored_settings, f"family {uuid4().hex[:6]}")
    await drawn.trace("Ann met Bea.", "Ann, Bea and Carl.", "It rains.")
    await drawn.entity("Ann", "Bea", "Carl", "Oslo")
    await drawn.link(
        ("Ann met Bea.", "Ann", "mentions"), ("Ann met Bea.", "Bea", "mentions"),
        ("Ann, Bea and Carl.", "Ann", "mentions"), ("Ann, Bea and Carl.", "Bea", "mentions"),
        ("Ann, Bea and Carl.", "Carl", "mentions"), ("Ann", "Oslo", "lives_in", 0.35),
    )  # fmt: skip
    return drawn


@asynccontextmanager
async def mirror_of(settings: Settings) -> AsyncIterator[Mirroring]:
    neo4j = Neo4j.of(settings)
    try:
        database = Database(settings)
        await database.open()
        yield Mirroring(database, neo4j)
        await database.close()
    finally:
        await neo4j.close()


@pytest.fixture
async def mirror(mirrored_settings: Settings) -> AsyncIterator[Mirroring]:
    """What brings the stand-in up to date."""
    async with mirror_of(mirrored_settings) as made:
        yield made


async def whose(drawn: Drawn) -> Whose:
    query = "SELECT space_id, user_id FROM memory_user WHERE user_id = %s"
    return Whose(*(await rows(drawn.settings, query, (drawn.user_id,)))[0])


async def read_from(drawn: Drawn, **given: Any) -> str:
    """Which backend answers."""
    return str((await drawn.graph(**given))["backend"])


def traces(standin: Standin) -> set[str]:
    return {row[0] for row in standin.rows("MATCH (n:ReverieTrace) RETURN n.id")}


async def test_what_is_mirrored_is_what_there_is(family: Drawn, standin: Standin, mirror: Mirroring) -> None:
    outcome = await mirror.run()
    assert outcome is not None
    assert (outcome.users, outcome.changed, outcome.restless) == (1, 13, 0)
    assert traces(standin) == {str(one) for one in family.ids.values()}
    names = dict(standin.rows("MATCH (n:ReverieTrace) RETURN n.id, n.name"))
    # No text but the names of entities.
    assert {name for name in names.values() if name} == {"Ann", "Bea", "Carl", "Oslo"}
    edges = standin.rows("MATCH (a:ReverieTrace)-[e:EDGE]->(b:ReverieTrace) RETURN a.name, e.type, b.name, e.weight")
    assert len(edges) == 6
    assert [edge for edge in edges if edge[1] == "lives_in"] == [["Ann", "lives_in", "Oslo", pytest.approx(0.35)]]
    assert await mirror.check() == (1, [])


async def test_a_worker_without_redis_mirrors_too(
    family: Drawn, standin: Standin, mirrored_settings: Settings, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {job.coroutine for job in worker.WorkerSettings.cron_jobs} == set(worker.REPEATED)
    monkeypatch.setattr(worker, "REPEATED", {worker.mirror: 0.05 / 60})
    alone = mirrored_settings.model_copy(update={"redis_url": None})
    async with open_runtime(alone, embedder) as runtime:
        listening = asyncio.create_task(worker._listen(runtime))
        for text in (None, "News."):
            if text is not None:
                await family.trace(text)
            async with asyncio.timeout(PATIENCE):
                while traces(standin) != {str(one) for one in family.ids.values()}:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.05)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def test_who_did_not_change_is_not_looked_at_again(family: Drawn, standin: Standin, mirror: Mirroring) -> None:
    await mirror.run()
    standin.asked.clear()
    outcome = await mirror.run()
    assert outcome is not None
    assert (outcome.users, outcome.changed) == (0, 0)
    assert not any("UNWIND" in one for one in standin.asked)
    await family.trace("One more.")
    outcome = await mirror.run()
    assert outcome is not None
    assert (outcome.users, outcome.changed) == (1, 1)
    assert await mirror.check() == (1, [])


async def test_both_backends_say_the_same(family: Drawn, standin: Standin, mirror: Mirroring) -> None:
    await family.link(("It rains.", "Oslo", "mentions"))
    await mirror.run()
    neo4j = Neo4j.of(family.settings)
    database = Database(family.settings)
    await database.open()
    one, other, who = PostgresGraph(database), Neo4jGraph(neo4j), await whose(family)
    packed = {name: one.bytes for name, one in family.ids.items()}
    ids = [packed[name] for name in ("Ann", "Bea", "Carl")]
    try:
        assert dict(await one.entities(who, 10)).keys() >= {*ids}
        assert [a for a, _ in (await other.entities(who, 10))][2] == packed["Carl"]
        for types in (None, ["mentions"], ["lives_in", "knows"], ["knows"]):
            for ask in ("neighbours", "among"):
                more = (10,) if ask == "neighbours" else ()
                given = [*ids, packed["Ann met Bea."], packed["Oslo"]]
                here = await getattr(one, ask)(who, given, types, *more)
                there = await getattr(other, ask)(who, given, types, *more)
                assert {link[:3] for link in here} == {link[:3] for link in there}, (ask, types)
        here, there = await one.together(who, ids, 10), await other.together(who, ids, 10)
        assert {link.type for link in there} == {TOGETHER}
        assert {link[:3]: round(link.weight, 6) for link in here} == {link[:3]: round(link.weight, 6) for link in there}
        assert len(await other.neighbours(who, [packed["Ann"]], ["mentions"], 1)) == 1
        for backend in (one, other):
            # What mentions Oslo takes no place of who lives there, though it is newer and weighs more.
            links = await backend.neighbours(who, [packed["Oslo"]], None, 1)
            assert {link.type for link in links} == {"lives_in", "mentions"}
        assert await other.version(who) == (await user_row(family.settings, family.user))["version"]
    finally:
        await neo4j.close()
        await database.close()


async def test_the_graph_is_read_from_the_mirror_while_it_is_as_new(
    family: Drawn, standin: Standin, mirror: Mirroring
) -> None:
    before = await family.graph(around="Ann")
    assert before["backend"] == "postgres"
    await mirror.run()
    after = await family.graph(around="Ann")
    assert after["backend"] == "neo4j"
    assert {node["label"] for node in after["nodes"]} == {node["label"] for node in before["nodes"]}
    assert {(e["src"], e["dst"], e["type"]) for e in after["edges"]} == {
        (e["src"], e["dst"], e["type"]) for e in before["edges"]
    }
    assert (await family.graph())["backend"] == "neo4j"
    path = (await family.get("/memory/graph/path", **{"from": "Carl", "to": "Oslo"})).json()
    assert path["backend"] == "neo4j"
    assert len(path["paths"]) == 1
    await family.trace("News.")
    assert await read_from(family, around="Ann") == "postgres"
    await mirror.run()
    assert await read_from(family, around="Ann") == "neo4j"


async def test_what_is_forgotten_leaves_the_mirror_at_once(family: Drawn, standin: Standin, mirror: Mirroring) -> None:
    await mirror.run()
    gone = family.ids["Ann, Bea and Carl."]
    scope = {"user_id": family.user, "scope": {"trace_id": str(gone)}}
    receipt = (await family.caller.post("/memory/forget", json=scope)).json()["receipt_id"]
    assert str(gone) not in traces(standin)
    told = await family.caller.post(f"/memory/receipts/{receipt}/verify", params={"user_id": family.user})
    assert told.json()["found"]["mirror"] == 0
    assert told.json()["gone"] is True
    outcome = await mirror.run()
    assert outcome is not None
    assert await mirror.check() == (1, [])


async def test_what_was_forgotten_while_the_mirror_was_away_leaves_it_later(
    family: Drawn, standin: Standin, mirror: Mirroring
) -> None:
    await mirror.run()
    gone = family.ids["Ann met Bea."]
    standin.breaks_after = 0
    scope = {"user_id": family.user, "scope": {"trace_id": str(gone)}}
    answer = await family.caller.post("/memory/forget", json=scope)
    assert answer.status_code == 200
    receipt = answer.json()["receipt_id"]
    told = (await family.caller.post(f"/memory/receipts/{receipt}/verify", params={"user_id": family.user})).json()
    assert (told["gone"], told["unseen"]) == (False, ["the mirror of the graph"])
    assert str(gone) in traces(standin)
    standin.breaks_after = None
    told = (await family.caller.post(f"/memory/receipts/{receipt}/verify", params={"user_id": family.user})).json()
    assert (told["gone"], told["found"]["mirror"]) == (False, 1)
    await mirror.run()
    assert str(gone) not in traces(standin)
    assert await mirror.check() == (1, [])
    told = (await family.caller.post(f"/memory/receipts/{receipt}/verify", params={"user_id": family.user})).json()
    assert told["gone"] is True


async def test_a_user_who_is_forgotten_leaves_nothing(family: Drawn, standin: Standin, mirror: Mirroring) -> None:
    await mirror.run()
    body = {"user_id": family.user, "scope": {"all": True}}
    standin.breaks_after = 0
    assert (await family.caller.post("/memory/forget", json=body)).status_code == 200
    standin.breaks_after = None
    outcome = await mirror.run()
    assert outcome is not None
    for table in ("ReverieTrace", "ReveriePage"):
        assert standin.rows(f"MATCH (n:{table}) RETURN count(n)") == [[0]]
    assert (await mirror.check())[1] == []


async def test_a_run_that_broke_goes_on(
    family: Drawn, standin: Standin, mirror: Mirroring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "PAGE", 2)
    await family.trace(*(f"note {n}" for n in range(20)))
    await family.link(*((f"note {n}", "Ann", "mentions") for n in range(20)))
    standin.breaks_after = len(standin.asked) + 30
    with pytest.raises(MirrorTrouble, match="cannot be reached"):
        await mirror.run()
    done = len(standin.rows("MATCH (p:ReveriePage) RETURN p.key"))
    assert 0 < done < 10
    # What is there is not taken for whole.
    standin.breaks_after = None
    assert await read_from(family) == "postgres"
    saved = [one for one in standin.asked if "ReveriePage {key" in one]
    await mirror.run()
    assert len([one for one in standin.asked if "ReveriePage {key" in one]) - len(saved) <= 14 - done + 1
    assert await mirror.check() == (1, [])
    assert traces(standin) == {str(one) for one in family.ids.values()}


async def test_only_the_pages_that_changed_are_written(
    family: Drawn, standin: Standin, mirror: Mirroring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "PAGE", 4)
    await family.trace(*(f"note {n}" for n in range(40)))
    await mirror.run()
    assert len(standin.rows("MATCH (p:ReveriePage) RETURN p.key")) >= 10
    standin.asked.clear()
    await family.link(("note 3", "note 2", "similar"))
    await family.execute("UPDATE memory_user SET version = version + 1 WHERE user_id = %s", family.user_id)
    await mirror.run()
    assert len([one for one in standin.asked if "ReveriePage {key" in one]) == 1
    assert await mirror.check() == (1, [])


async def test_a_mirror_that_says_something_else_is_noticed(family: Drawn, standin: Standin, mirror: Mirroring) -> None:
    await mirror.run()
    standin.rows("MATCH (n:ReverieTrace) WHERE n.name = 'Oslo' SET n.name = 'Rome'")
    users, different = await mirror.check()
    assert users == 1
    assert [one.user_id for one in different] == [family.user_id]
    outcome = await mirror.run(again=True)
    assert outcome is not None
    assert outcome.changed == 1
    assert await mirror.check() == (1, [])


async def test_one_run_at_a_time(family: Drawn, mirror: Mirroring, mirrored_settings: Settings) -> None:
    async with mirror_of(mirrored_settings) as other, other._turn():
        assert await mirror.run() is None
        with pytest.raises(Conflict):
            await mirror.check()


async def test_another_password_is_one_sentence(family: Drawn, standin: Standin) -> None:
    async with mirror_of(with_mirror(family.settings, standin, "guessed")) as made:
        with pytest.raises(MirrorTrouble, match="NEO4J_PASSWORD") as refused:
            await made.run()
    assert "guessed" not in str(refused.value)


async def test_without_an_answer_postgresql_is_asked(
    family: Drawn, standin: Standin, mirror: Mirroring, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mirror.run()
    monkeypatch.setattr("reverie.graph.neo4j.READ_SECONDS", 0.2)
    standin.breaks_after = 0
    assert await read_from(family) == "postgres"
    asked = len(standin.asked)
    # Nobody waits for it again at once.
    assert await read_from(family) == "postgres"
    assert len(standin.asked) == asked


async def test_what_the_server_refuses_is_one_sentence(standin: Standin, mirrored_settings: Settings) -> None:
    neo4j = Neo4j.of(mirrored_settings)
    try:
        assert await neo4j.count(UUID(int=1), [UUID(int=2)]) == 0
        standin.refuses = True
        with pytest.raises(MirrorTrouble, match=r"refused what it was asked \(Neo\.ClientError"):
            await neo4j.users()
        assert await neo4j.count(UUID(int=1), [UUID(int=2)]) is None
    finally:
        await neo4j.close()


async def test_a_server_that_never_answers(
    standin: Standin, mirrored_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    neo4j = Neo4j.of(mirrored_settings)
    standin.silent = True
    try:
        with pytest.raises(MirrorTrouble, match=r"did not answer within 0\.3 s"):
            await neo4j.ask("users", seconds=0.3)
    finally:
        await neo4j.close()


def test_without_the_driver_it_does_not_start(mirrored_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "neo4j", None)
    with pytest.raises(StartError, match=r"reverie\[neo4j\]"):
        Neo4j.of(mirrored_settings)


async def test_hidden_traces_are_not_mirrored(family: Drawn, standin: Standin, mirror: Mirroring) -> None:
    hidden = family.ids["Ann met Bea."]
    await family.execute(
        "UPDATE memory_trace SET deleted_at = now() WHERE user_id = %s AND id = %s", family.user_id, hidden
    )
    await mirror.run()
    assert str(hidden) not in traces(standin)
    assert standin.rows("MATCH ()-[e:EDGE]->() RETURN count(e)") == [[4]]
    assert_problem(await family.get(around=str(hidden)), 404)


async def said(settings: Settings, standin: Standin, *arguments: str) -> tuple[int | None, str, str]:
    """What `reverie graph mirror` says, as a process of its own: (exit code, answer, remarks)."""
    told = {"NEO4J_URL": standin.url, "NEO4J_PASSWORD": standin.password}
    async with command(settings, "graph", "mirror", *arguments, **told) as process:
        out, remarks = await process.communicate()
    return process.returncode, out.decode(), remarks.decode()


async def test_the_command_mirrors_and_checks(family: Drawn, standin: Standin) -> None:
    assert await said(family.settings, standin) == (0, "1 user looked at: 13 changes.\n", "")
    assert await said(family.settings, standin) == (0, "The mirror was up to date.\n", "")
    assert await said(family.settings, standin, "--check") == (0, "Both hold the same of 1 user.\n", "")
    standin.rows("MATCH (n:ReverieTrace) WHERE n.name = 'Oslo' SET n.name = 'Rome'")
    code, out, remarks = await said(family.settings, standin, "--check")
    assert (code, remarks) == (3, "They hold something else of 1 user: `reverie graph mirror --again` mends it.\n")
    assert str(family.user_id) in out
    code, out, _ = await said(family.settings, standin, "--again", "--json")
    assert (code, json.loads(out)) == (0, {"users": 1, "gone": 0, "changed": 1, "restless": 0})
    code, out, _ = await said(family.settings, standin, "--check", "--json")
    assert (code, json.loads(out)) == (0, {"users": 1, "different": []})


async def test_a_worker_mirrors_too(family: Drawn, standin: Standin, mirror: Mirroring) -> None:
    runtime = SimpleNamespace(mirroring=mirror)
    await worker.mirror({"runtime": runtime})
    assert await read_from(family) == "neo4j"
    standin.breaks_after = 0
    await worker.mirror({"runtime": runtime})
    await worker.mirror({"runtime": SimpleNamespace(mirroring=None)})


async def test_a_forget_waits_for_the_mirror_a_moment_only(
    family: Drawn, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.graph.neo4j.AT_ONCE_SECONDS", 0.3)
    standin.silent = True
    began = time.monotonic()
    body = {"user_id": family.user, "scope": {"trace_id": str(family.ids["It rains."])}}
    assert (await family.caller.post("/memory/forget", json=body)).status_code == 200
    assert time.monotonic() - began < 2.5
