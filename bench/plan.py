"""The plan of the vector search as the serving role gets it: recall's own SQL on a connection of its pool."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from pgvector import HalfVector, Vector

from bench.report import CannotMeasure
from reverie.core.config import load_settings
from reverie.core.database import SERVING_ROLE, Database, Trip
from reverie.core.kinds import HEADS, KINDS, RECALLED_KINDS
from reverie.embedding.protocol import FloatArray
from reverie.memories.model import Model
from reverie.recall import vectors
from reverie.recall.indexes import Indexes
from reverie.recall.planner import choose
from reverie.recall.recipes import RECIPES
from reverie.recall.types import Bounds


@dataclass(frozen=True, slots=True)
class Scan:
    """How one partition is read. ``heap_fetches``: rows whose visibility the index did not know."""

    partition: str
    node: str
    index: str
    rows: int
    heap_fetches: int
    buffers: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan for one user. ``name``: exact, bits or hnsw, as recall's planner chose; held where it is not asked."""

    name: str
    role: str
    generic: bool
    milliseconds: float
    scans: list[Scan]
    text: str

    @property
    def filled(self) -> list[Scan]:
        """The scans that found rows."""
        return [scan for scan in self.scans if scan.rows]

    @property
    def index_only(self) -> float:
        """The share of all partitions that are read index-only from the covering index."""
        good = [scan for scan in self.scans if scan.node == "Index Only Scan" and scan.index.endswith("_exact")]
        return len(good) / len(self.scans) if self.filled else 0.0


def read_plan(database_url: str, user: str, vector: FloatArray) -> Plan:
    """EXPLAIN (ANALYZE, BUFFERS) of the search for a user's neighbours of ``vector``.

    Args:
        database_url: the owner of the schema; the plan is the serving role's.
        user: as its caller calls it; the newest of that name in the store.
        vector: float32 ``[dim]``.
    """
    return asyncio.run(_read_plan(database_url, user, vector))


async def _read_plan(database_url: str, user: str, vector: FloatArray) -> Plan:
    database = Database(load_settings(database_url=database_url))
    await database.open()
    try:
        space_id, user_id, model = await find(database, user)
        bounds = Bounds([user_id], [KINDS[kind] for kind in RECALLED_KINDS], [HEADS["semantic"]])
        depth = RECIPES["vector"].depth
        built = await Indexes(database, "auto").of(model.id, [user_id])
        plan = choose(bounds, built, model.dim, depth)
        query, parameters = vectors.query(plan, bounds, vector, model, depth)
        async with database.reading_vectors(space_id) as session:
            if plan.name == "hnsw":
                await session.send(vectors.SQL["graph_settings"], vectors.graph_settings(plan, depth))
            return await _explain(session, plan.name, query, [_text(value) for value in parameters])
    finally:
        await database.close()


async def find(database: Database, user: str) -> tuple[UUID, UUID, Model]:
    """(space, user, active model) of the newest user of that name."""
    async with database.maintenance() as connection:
        cursor = await connection.execute(
            "SELECT u.space_id, u.user_id, m.id, m.name, m.dim, m.precision FROM memory_user u, model m"
            " WHERE u.external_id = %s AND m.active ORDER BY u.created_at DESC LIMIT 1",
            [user],
        )
        row = await cursor.fetchone()
    if row is None:
        raise CannotMeasure(f"The database has no user {user}: name the service's own with --database-url.")
    return row[0], row[1], Model(*row[2:])


def _text(value: Any) -> str | None:
    """A parameter as PostgreSQL writes it; None is null."""
    if value is None:
        return None
    if isinstance(value, HalfVector | Vector):
        return value.to_text()
    if isinstance(value, list):
        return "{" + ",".join(map(str, value)) + "}"
    return str(value)


async def _explain(session: Trip, name: str, query: bytes, parameters: list[str | None]) -> Plan:
    # EXPLAIN of a query with parameters would show the plan for these values; of a prepared one, the plan that serves.
    pieces = query.split(b"%b")
    numbered = b"".join(piece + b"$%d" % number for number, piece in enumerate(pieces[:-1], 1)) + pieces[-1]
    values = b", ".join(b"NULL" if value is None else b"'%s'" % value.encode() for value in parameters)
    await session.send(b"PREPARE bench_plan AS " + numbered)
    execute = b"EXECUTE bench_plan(" + values + b")"
    explained = await session.send(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + execute)
    await session.send(b"DEALLOCATE bench_plan")
    # All of it goes together, to one connection.
    role = await session.fetch(b"SELECT current_user::text")
    plan = (await explained.fetchall())[0][0][0]
    text = orjson.dumps(plan).decode()
    scans = [
        _scan(node) for node in _nodes(plan["Plan"]) if node.get("Relation Name", "").startswith("memory_embedding_")
    ]
    if role[0][0] != SERVING_ROLE:
        raise CannotMeasure(f"The plan is {role[0][0]}'s, not {SERVING_ROLE}'s.")
    return Plan(name, role[0][0], "$1" in text, plan["Execution Time"], scans, text)


def _nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for child in node.get("Plans", []) for below in _nodes(child))]


def _scan(node: dict[str, Any]) -> Scan:
    return Scan(
        node["Relation Name"],
        node["Node Type"],
        node.get("Index Name", ""),
        int(node["Actual Rows"] * node["Actual Loops"]),
        int(node.get("Heap Fetches", 0)),
        node["Shared Hit Blocks"] + node["Shared Read Blocks"],
    )
