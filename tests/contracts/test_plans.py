"""How PostgreSQL runs the arms of recall: as the serving role, index-only, on every partition, whatever it knows."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from pgvector import Bit
from pgvector.psycopg import register_vector_async
from psycopg import sql

from reverie.core import clock
from reverie.core.config import load_settings
from reverie.core.database import Database, ReadSession, Rows
from reverie.core.ids import lower_bound, user_uuid, uuid7s
from reverie.core.kinds import KINDS
from reverie.core.pool import Line, Statement
from reverie.embedding.protocol import Embedder
from reverie.memories import repository
from reverie.memories.model import Model
from reverie.memories.repository import SQL as memories  # noqa: N811 - its queries
from reverie.memories.repository import NewTrace
from reverie.recall import candidates, lexical, vectors
from reverie.recall.indexes import Indexes
from reverie.recall.types import Bounds, Question
from reverie.tiers.indexes import bits_name, codes_name, exact_name
from reverie.tiers.partitions import week_of
from tests.conftest import Api, serving
from tests.contracts.house import DIM
from tests.recall.cooling import announce, make_warm

if TYPE_CHECKING:
    from pathlib import Path

    from reverie.auth.service import KeyService
    from tests.servers import SharedPostgres

WEEKS = 3
USERS = ("nora", *(f"user {n}" for n in range(39)))
EACH = 25
"""Traces of each user in each week. With few users the planner, which knows neither which nor how many are asked for,
expects a question to read nearly all rows, and then the primary key and the heap cost it no more."""

WORDS = ["tea", "river", "lamp", "garden", "violin", "harbour", "winter", "bread", "letter", "mountain", "cat", "train"]


@dataclass(slots=True)
class Loaded:
    """A store with some weeks of several users."""

    api: Api
    owner: "psycopg.Connection[tuple[Any, ...]]"
    space_id: UUID
    model: Model
    began: datetime

    @property
    def database(self) -> Database:
        database: Database = self.api.app.state.database
        return database

    def partitions(self, parent: str) -> set[str]:
        rows = self.owner.execute("SELECT table_name FROM memory_partition WHERE parent = %s", (parent,))
        return {str(row[0]) for row in rows.fetchall()}

    def bounds(self, **given: Any) -> Bounds:
        """The bounds of a question to one user, as recall has them by default."""
        kinds = [KINDS[kind] for kind in ("turn", "note", "fact", "chunk")]
        return replace(Bounds([user_uuid(self.space_id, "nora")], kinds, [0]), **given)


@pytest.fixture(scope="module")
def plans_url(postgres: "SharedPostgres", template: str, worker_id: str) -> Iterator[str]:
    name = f"plans_{worker_id}"
    yield postgres.create(name, template)
    postgres.drop(name)


@pytest.fixture(scope="module")
async def loaded(
    plans_url: str, redis_url: str, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Loaded]:
    """3 000 traces, remembered through the service week by week, and neither vacuumed nor analysed."""
    home: Path = tmp_path_factory.mktemp("plans")
    settings = load_settings(database_url=plans_url, redis_url=redis_url, reverie_home=home, database_pool_size=2)
    async with serving(settings, embedder) as api:
        began = clock.now()
        await _remember(api, began)
        keys: KeyService = api.app.state.keys
        space_id = await keys.ensure_space("default")
        with psycopg.connect(plans_url, autocommit=True) as owner:
            row = owner.execute("SELECT id, name, dim, precision FROM model WHERE active").fetchone()
            assert row is not None
            yield Loaded(api, owner, space_id, Model(*row), began)


async def _remember(api: Api, began: datetime) -> None:
    caller = await api.caller()
    random = np.random.default_rng(7)
    for week in range(WEEKS):
        with clock.as_of(began + timedelta(weeks=week)):
            for user in USERS:
                rows = random.standard_normal((EACH, DIM)).round(3).tolist()
                traces = [
                    {"content": f"{' '.join(random.choice(WORDS, 6))} {n}", "kind": "note", "embedding": row}
                    for n, row in enumerate(rows)
                ]
                answer = await caller.post("/memory/remember", json={"user_id": user, "traces": traces})
                assert answer.status_code == 201, answer.text


@dataclass(slots=True)
class Watched:
    """The database, with the plan of every query that is sent in a session for vectors."""

    database: Database
    plans: list[dict[str, Any]] = field(default_factory=list)

    @asynccontextmanager
    async def reading_vectors(self, space_id: UUID, *, seconds: float | None = None) -> AsyncIterator[Any]:
        async with self.database.reading_vectors(space_id, seconds=seconds) as trip:
            scope = trip._scope
        async with self.database._pool.connection() as line:
            yield WatchedSession(line, [scope], self.plans)

    def reading(self, space_id: UUID | None, *, seconds: float | None = None) -> Any:
        """As the database's own, which nobody watches."""
        return self.database.reading(space_id, seconds=seconds)


@dataclass(slots=True)
class WatchedSession:
    """A session that asks for the plan of each query, with the prepared statement and parameters of that query."""

    line: Line
    before: list[Statement]
    plans: list[dict[str, Any]]

    async def send(self, query: bytes, parameters: tuple[Any, ...] = ()) -> Rows:
        found = Rows()
        found.brought((await self.line.ask([*self.before, (query, parameters)]))[-1])
        numbers = count(1)
        text = re.sub("%b", lambda _: f"${next(numbers)}", query.decode())
        [(name,)] = (await self.line.ask([(b"SELECT name FROM pg_prepared_statements WHERE statement = %b", (text,))]))[
            0
        ]
        values = sql.SQL(", ").join(map(_literal, parameters)).as_bytes(self.line)
        explain = b'EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE "%b" (%b)' % (name.encode(), values)
        [(explained,)] = (await self.line.ask([*self.before, (explain, ())]))[-1]
        self.plans.append(explained[0]["Plan"])
        self.before.append((query, parameters))
        return found


def _literal(value: Any) -> sql.Composable:
    """As psycopg writes them; but bits with their length, which as a `bit` they would lose."""
    if isinstance(value, Bit):
        return sql.SQL("{}::varbit").format(sql.Literal(value.to_text()))
    return sql.Literal(value)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read vectors."""
    return (node for node in nodes(plan) if node.get("Relation Name", "").startswith("memory_embedding_"))


def wanted_bounds(loaded: Loaded) -> dict[str, Bounds]:
    later = loaded.began + timedelta(weeks=1)
    some = loaded.owner.execute("SELECT id FROM memory_trace ORDER BY id LIMIT 50").fetchall()
    return {
        "plain": loaded.bounds(),
        "one kind": loaded.bounds(kinds=[KINDS["note"]]),
        "since": loaded.bounds(since=later),
        "until": loaded.bounds(until=later),
        "since and until": loaded.bounds(since=loaded.began, until=later),
        "at": loaded.bounds(before=lower_bound(later)),
        "everything": loaded.bounds(since=loaded.began, until=later, before=lower_bound(later)),
        "ids": loaded.bounds(only=[row[0] for row in some]),
        "eight users": loaded.bounds(user_ids=[user_uuid(loaded.space_id, user) for user in USERS[:8]]),
    }


ON_DISK = ("SET synchronous_commit = on", "SELECT pg_logical_emit_message(true, '', '')")
"""What was committed before is on disk now: without synchronous_commit VACUUM does not trust it until it is, and marks
nothing as visible to all."""

STATES = {
    "just loaded": (),
    "analysed": ("ANALYZE",),
    "vacuumed": (*ON_DISK, "VACUUM"),
    "half of it forgotten": ("DELETE FROM memory_trace WHERE get_byte(uuid_send(id), 15) < 128",),
    "vacuumed and analysed": (*ON_DISK, "VACUUM ANALYZE"),
}
"""What PostgreSQL knows of the tables, one state after the other."""

BEFORE_VACUUM = ("just loaded", "analysed")
"""Without a visibility map every index visits the heap, and the planner may as well take the primary key, which begins
with the user too. It lasts until autovacuum comes by: within a minute of 500 rows."""


WITH_HOLES = ("half of it forgotten", "vacuumed and analysed")
"""Then a bound on ids, which the primary key has in order, may cost as little there. Given ids are always looked up."""


async def test_the_vector_arm_reads_the_covering_index_of_every_partition_alone(loaded: Loaded) -> None:
    covering = ("Index Only Scan", exact_name("", loaded.model))
    partitions = loaded.partitions("memory_embedding")
    assert len(partitions) >= WEEKS
    question = np.ones(DIM, dtype=np.float32) / np.sqrt(DIM)
    for state, statements in STATES.items():
        for statement in statements:
            loaded.owner.execute(statement.encode())
        for name, bounds in wanted_bounds(loaded).items():
            watched = Watched(loaded.database)
            found = await vectors.search(
                watched, loaded.space_id, bounds, question, loaded.model, None, 100, 10.0
            )  # fmt: skip
            [plan] = watched.plans
            seen = {node["Relation Name"]: node for node in scans(plan)}
            thin = {node["Index Name"] for node in nodes(plan) if node.get("Relation Name") == "memory_trace"}
            assert thin == {"memory_trace_pkey"}, f"{state}, {name}"
            where = f"{state}, {name}"
            assert found.scores, where
            assert set(seen) <= partitions, where
            if bounds.before is None:
                assert set(seen) == partitions, where
            kinds = {(node["Node Type"], node["Index Name"].removeprefix(table)) for table, node in seen.items()}
            by_key = bounds.only is not None or (bounds.before is not None and state in WITH_HOLES)
            if by_key or state in BEFORE_VACUUM:
                assert kinds <= {("Index Scan", "_pkey"), covering}, where
            else:
                assert kinds == {covering}, where
            if kinds == {covering} and state.startswith("vacuumed"):
                assert {node["Heap Fetches"] for node in seen.values()} == {0}, where


@pytest.fixture
async def young(api: Api, database_url: str) -> AsyncIterator[Loaded]:
    """600 traces of one user in tables that were never analysed: every index on the user seems to cost the same, and
    a sort nothing."""
    caller = await api.caller()
    for n in range(6):
        traces = [{"content": f"A note {n} {m}", "embedding": np.eye(DIM)[m].tolist()} for m in range(100)]
        assert (await caller.post("/memory/remember", json={"user_id": "nora", "traces": traces})).status_code == 201
    keys: KeyService = api.app.state.keys
    with psycopg.connect(database_url, autocommit=True) as owner:
        row = owner.execute("SELECT id, name, dim, precision FROM model WHERE active").fetchone()
        assert row is not None
        yield Loaded(api, owner, await keys.ensure_space("default"), Model(*row), clock.now())


async def test_the_rows_of_candidates_are_looked_up_by_the_primary_key_in_a_young_store(young: Loaded) -> None:
    watched = Watched(young.database)
    question = np.ones(DIM, dtype=np.float32) / np.sqrt(DIM)
    found = await vectors.search(
        watched, young.space_id, young.bounds(), question, young.model, None, 100, 10.0
    )  # fmt: skip
    assert len(found.candidates) == 100
    assert by_key(watched.plans[-1]) == {1}


@pytest.mark.parametrize("analysed", [False, True])
async def test_what_is_to_be_encoded_is_looked_up_by_the_primary_key(young: Loaded, analysed: bool) -> None:
    if analysed:
        young.owner.execute("VACUUM ANALYZE")
    user = young.bounds().user_ids[0]
    ids = [row[0] for row in young.owner.execute("SELECT id FROM memory_trace ORDER BY random() LIMIT 40").fetchall()]
    watched = Watched(young.database)
    async with watched.reading_vectors(young.space_id) as session:
        query = memories.text("unembedded", model=young.model.id)
        await session.send(query, (ids, user, 100, False, 40, user, 10_000))
    assert by_key(watched.plans[-1]) == {1}


@pytest.mark.parametrize(("batch", "most"), [(1000, 10), (50, 400)])
async def test_a_young_store_is_filled_by_the_primary_key(api: Api, database_url: str, batch: int, most: int) -> None:
    """The checks of foreign keys, which are planned when the connection writes for the first time."""
    keys: KeyService = api.app.state.keys
    space_id, now = await keys.ensure_space("default"), clock.now()
    database: Database = api.app.state.database
    user_id, ids = user_uuid(space_id, "nora"), uuid7s(now, 1 + 3 * 1000)
    traces = [
        NewTrace(
            id=one, content=f"A note {n}", kind="note", role=None, speaker=None, conversation_id=None, external_id=None,
            language="english", occurred_at=None, salience=0.1, salience_given=True, identity=one.bytes * 2,
            digest=one.bytes * 2, vectors=False, source=None, meta={},
        )
        for n, one in enumerate(ids)
    ]  # fmt: skip
    model = Model(0, "none", DIM, "fp16")
    async with database.writing(space_id) as session:
        await repository.raise_version(session, space_id, user_id, "nora", now)
        # Of some hundreds every index costs the same, and little.
        for some in (traces[:1], *(traces[at : at + batch] for at in range(1, len(traces), batch))):
            written = await repository.write_traces(session, space_id, user_id, some, [], model, now)
            assert all(one.stored for one in written.values())
        await session.fetch(b"SELECT pg_stat_force_next_flush()")
    with psycopg.connect(database_url, autocommit=True) as owner:
        read = owner.execute("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'memory_trace'")
        [(rows,)] = read.fetchall()
    # By another index each trace is looked up among all that the user has: millions.
    assert len(traces) < rows < most * len(traces)


LINKED = 20
"""Edges that lead to each trace of a linked store, of which one in ten has the mark of an older one."""


@pytest.mark.parametrize("analysed", [False, True])
async def test_what_supersedes_a_result_is_looked_up_by_the_index_of_such_edges(young: Loaded, analysed: bool) -> None:
    """Of many edges that lead to a trace those few alone are read that mark it, and no table in order."""
    young.owner.execute(
        """
        INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts, meta)
        SELECT a.space_id, a.user_id, b.id, a.id,
               CASE WHEN b.n = 1 AND a.n %% 10 = 0 THEN 'supersedes' ELSE 'similar' END, 1, now(), '{}'
        FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM memory_trace) a
        CROSS JOIN LATERAL (
            SELECT c.id, row_number() OVER (ORDER BY c.id) AS n FROM memory_trace c WHERE c.id <> a.id
            ORDER BY c.id LIMIT %s
        ) b
        """,
        (LINKED,),
    )
    if analysed:
        young.owner.execute("VACUUM ANALYZE")
    user = young.bounds().user_ids[0]
    ids = [row[0] for row in young.owner.execute("SELECT id FROM memory_trace ORDER BY id LIMIT 20").fetchall()]
    watched = Watched(young.database)
    async with watched.reading_vectors(young.space_id) as session:
        found = await session.send(candidates.SQL["results"], (clock.now(), None, [user] * len(ids), ids))
    [plan] = watched.plans
    assert len(await found.fetchall()) == len(ids)
    edges = [node for node in nodes(plan) if node.get("Relation Name") == "memory_edge"]
    assert {node["Index Name"] for node in edges} == {"memory_edge_superseded"}
    assert {node["Node Type"] for node in edges} == {"Index Scan"}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in edges) == 2
    tables = {node["Relation Name"]: node["Node Type"] for node in nodes(plan) if "Relation Name" in node}
    assert "Seq Scan" not in {kind for table, kind in tables.items() if table in ("memory_trace", "memory_edge")}


def by_key(plan: dict[str, Any]) -> set[int]:
    """How many rows each look-up of a trace reads; all of them by the primary key."""
    found = [node for node in nodes(plan) if node.get("Relation Name") == "memory_trace"]
    assert {node["Index Name"] for node in found} == {"memory_trace_pkey"}
    return {int(node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) for node in found}


async def test_bounds_on_the_time_of_learning_leave_out_later_partitions(loaded: Loaded) -> None:
    question = np.ones(DIM, dtype=np.float32) / np.sqrt(DIM)
    watched = Watched(loaded.database)
    bounds = loaded.bounds(before=lower_bound(loaded.began + timedelta(weeks=1)))
    await vectors.search(
        watched, loaded.space_id, bounds, question, loaded.model, None, 10, 10.0
    )  # fmt: skip
    [plan] = watched.plans
    assert len({node["Relation Name"] for node in scans(plan) if node["Actual Loops"]}) < len(
        loaded.partitions("memory_embedding")
    )


def counters(loaded: Loaded) -> tuple[dict[str, int], dict[str, int]]:
    """(scans of the index over lexemes, sequential scans) of every partition of bodies, so far."""
    loaded.owner.execute("SELECT pg_stat_clear_snapshot()")
    by_index = loaded.owner.execute(
        "SELECT relname, idx_scan FROM pg_stat_user_indexes WHERE indexrelname = relname || '_lexemes'"
    ).fetchall()
    in_order = loaded.owner.execute(
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname LIKE 'memory_body_%'"
    ).fetchall()
    return {str(row[0]): row[1] for row in by_index}, {str(row[0]): row[1] for row in in_order}


@dataclass(slots=True)
class Counted:
    """The database, whose sessions hand in their statistics at once."""

    database: Database

    @asynccontextmanager
    async def reading(self, space_id: UUID | None, *, seconds: float | None = None) -> AsyncIterator[ReadSession]:
        async with self.database.reading(space_id, seconds=seconds) as session:
            yield session
            await session.fetch(b"SELECT pg_stat_force_next_flush()")


async def test_the_lexical_arm_reads_the_gin_index_of_every_partition(loaded: Loaded) -> None:
    """The function's own query runs within it: what it did is seen in the counters of the indexes."""
    partitions = loaded.partitions("memory_body")
    counted: Any = Counted(loaded.database)
    for state, statements in STATES.items():
        for statement in statements:
            loaded.owner.execute(statement.encode())
        for name, bounds in wanted_bounds(loaded).items():
            by_index, in_order = counters(loaded)
            question = Question("tea in winter", "english", bounds, 10, clock.now())
            found = await lexical.search(loaded.database, counted, loaded.space_id, question, 100, 10.0)
            by_index_then, in_order_then = counters(loaded)
            where = f"{state}, {name}"
            assert found.scores, where
            assert in_order_then == in_order, where
            used = {table for table in partitions if by_index_then[table] > by_index[table]}
            assert used == partitions, where


LATER_STATES = ("analysed", "vacuumed", "vacuumed and analysed")


async def test_warm_rows_are_read_by_their_indexes_and_hot_partitions_hold_an_empty_one(loaded: Loaded) -> None:
    """The last here: it makes a week warm, of which some rows were written after that."""
    model = loaded.model
    hot = loaded.partitions("memory_embedding")
    table = week_of(loaded.began).table("memory_embedding")
    big = user_uuid(loaded.space_id, USERS[1])
    async with await psycopg.AsyncConnection.connect(loaded.owner.info.dsn, password=loaded.owner.info.password,
                                                     autocommit=True) as owner:  # fmt: skip
        await register_vector_async(owner)
        await announce(owner, loaded.began)
        made = await make_warm(owner, model, table, large=[(big, 50)])
    loaded.owner.execute(
        f"UPDATE {made} SET vec = l2_normalize('{[1] * DIM}'::halfvec), codes = NULL"  # noqa: S608
        # A few: of every page that they leave the index has to visit the heap, and at half of all pages the planner may
        # as well take the primary key.
        f" WHERE trace_id IN (SELECT trace_id FROM {made} ORDER BY right(trace_id::text, 4) LIMIT 5)".encode()
    )
    hot.discard(table)
    known = Indexes(loaded.database, "auto")
    question = np.ones(DIM, dtype=np.float32) / np.sqrt(DIM)
    for state in LATER_STATES:
        for statement in STATES[state]:
            loaded.owner.execute(statement.encode())
        for name, bounds in wanted_bounds(loaded).items():
            watched = Watched(loaded.database)
            found = await vectors.search(
                watched, loaded.space_id, bounds, question, model, known, 100, 10.0
            )  # fmt: skip
            [plan] = watched.plans
            where = f"{state}, {name}"
            assert found.scores, where
            assert found.plan == "exact and warm"
            read = {"Index Only Scan": {exact_name("", model), bits_name("", model)}, "Index Scan": {"_pkey"}}
            assert warm_ways(plan, made) == read, where
            for node in scans(plan):
                table, index = node["Relation Name"], node["Index Name"]
                if table == made or not node["Actual Loops"]:
                    continue  # codes are looked up where they are, and nowhere else
                assert table in hot, where
                if index == codes_name(table, model):
                    assert node["Actual Rows"] == 0, where
                elif bounds.only is None and bounds.before is None:
                    way = (node["Node Type"], index)
                    usual = way == ("Index Only Scan", exact_name(table, model))
                    assert usual or (state in BEFORE_VACUUM and way == ("Index Scan", f"{table}_pkey")), where


def warm_ways(plan: dict[str, Any], table: str) -> dict[str, set[str]]:
    """By which indexes a partition was read, for each kind of scan."""
    found: dict[str, set[str]] = {}
    for node in scans(plan):
        if node["Relation Name"] == table:
            found.setdefault(node["Node Type"], set()).add(node["Index Name"].removeprefix(table))
    return found
