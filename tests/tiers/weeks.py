"""Weeks that are over, with traces, bodies and vectors of every kind, and what has to come out when they are moved."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection
from tests.tiers.rows import add_model, add_traces, fetch

from reverie.core.config import load_settings
from reverie.core.database import Connection, Database
from reverie.embedding.codes import pack, quantise, signs_of
from reverie.memories.model import Model
from reverie.tiers.downshift import BLOCK, FIRST_BLOCK
from reverie.tiers.indexes import add_model_indexes
from reverie.tiers.moving import Move, Part, Source
from reverie.tiers.partitions import ensure_partitions, week_of

BEGIN = FIRST_BLOCK + 650 * BLOCK
"""Of four weeks that become one partition."""

WEEK = timedelta(weeks=1)
MIDDLE = timedelta(days=3)

_numbers = count()


@dataclass(slots=True)
class Weeks:
    """A store whose models and weeks are a test's own."""

    url: str
    owner: Connection
    space: UUID = field(default_factory=uuid4)
    users: list[UUID] = field(default_factory=lambda: [uuid4() for _ in range(3)])
    models: list[Model] = field(default_factory=list)
    drawn: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    @property
    def database(self) -> Database:
        return Database(load_settings(database_url=self.url))

    async def make(self, *models: tuple[int, str], weeks: Sequence[int] = (0, 1)) -> None:
        """Makes models, each of a dimension and precision, users, and weeks, counted from BEGIN."""
        await register_vector_async(self.owner)
        for week in weeks:
            await ensure_partitions(self.owner, BEGIN + week * WEEK, BEGIN + week * WEEK)
        for dim, precision in models or ((13, "fp16"),):
            model = await add_model(self.owner, f"moved {dim} {precision}", dim, precision, BEGIN)
            await add_model_indexes(self.owner, model)
            self.models.append(model)
        await self.owner.execute(
            "INSERT INTO space (id, name, created_at) VALUES (%s, 'weeks', now())", (self.space,)
        )  # fmt: skip
        for user in self.users:
            await self.owner.execute(
                "INSERT INTO memory_user (space_id, user_id, external_id, version, created_at, updated_at)"
                " VALUES (%s, %s, %s, 1, now(), now())",
                (self.space, user, str(user)),
            )

    async def remember(
        self,
        week: int,
        user: int,
        traces: int = 1,
        *,
        heads: Sequence[int] = (0, 1, 2),
        pieces: int = 1,
        on: Connection | None = None,
        at: datetime | None = None,
    ) -> list[UUID]:
        """Traces of a week with body and vectors; further pieces have spans."""
        connection = on or self.owner
        moment = at or BEGIN + week * WEEK + MIDDLE
        async with connection.transaction():
            ids = await add_traces(connection, self.space, self.users[user], moment, traces)
            await self._write(connection, self.users[user], ids, moment, heads, pieces)
        return ids

    async def _write(
        self, connection: Connection, user: UUID, ids: list[UUID], moment: datetime, heads: Sequence[int], pieces: int
    ) -> None:
        for trace in ids:
            await connection.execute(
                "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
                " SELECT %s, %s, %s, %s, 2, 2, t, to_tsvector('simple', t) FROM (SELECT %s) AS c (t)",
                (self.space, user, trace, moment, f"content {next(_numbers)}"),
            )
        for model in self.models:
            for head in heads:
                for piece in range(pieces if head == 0 else 1):
                    await self.embed(user, ids, moment, model, head, piece, on=connection)

    async def embed(
        self,
        user: UUID,
        ids: list[UUID],
        moment: datetime,
        model: Model,
        head: int,
        piece: int = 0,
        *,
        on: Connection | None = None,
    ) -> None:
        """Vectors of one head and piece, as they are written late."""
        drawn = self.drawn.standard_normal((len(ids), model.dim)).astype(np.float32)
        vectors = [HalfVector(row) if model.precision == "fp16" else Vector(row) for row in drawn]
        connection = on or self.owner
        await register_vector_async(connection)
        await connection.execute(
            "INSERT INTO memory_embedding AS e (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind,"  # noqa: S608
            f" {model.column}, bits, begins, ends) SELECT %s, %s, r.id, %s, %s, %s, %s, 2, r.v, binary_quantize(r.v),"
            f" CASE WHEN %s > 0 THEN 100 END, CASE WHEN %s > 0 THEN 200 END"
            f" FROM unnest(%s::uuid[], %s::{model.type}[]) AS r (id, v)"
            " ON CONFLICT (user_id, trace_id, head, model_id, piece) DO UPDATE"
            f" SET {model.column} = excluded.{model.column}, bits = excluded.bits, codes = NULL",
            (self.space, user, moment, piece, head, model.id, piece, piece, ids, vectors),
        )

    async def change(self, user: int, trace: UUID, *, on: Connection | None = None) -> None:
        """A new content and a new vector, as PATCH makes them."""
        connection = on or self.owner
        async with connection.transaction():
            await connection.execute(
                "UPDATE memory_body SET content = %s WHERE user_id = %s AND trace_id = %s",
                (f"changed {next(_numbers)}", self.users[user], trace),
            )
            for model in self.models:
                await self.embed(self.users[user], [trace], BEGIN, model, 0, on=connection)

    async def forget(self, user: int, *traces: UUID, on: Connection | None = None) -> None:
        """As a forget does it: the user is locked first."""
        connection = on or self.owner
        async with connection.transaction():
            await connection.execute(
                "SELECT FROM memory_user WHERE user_id = %s FOR UPDATE", (self.users[user],)
            )  # fmt: skip
            await connection.execute(
                "DELETE FROM memory_trace WHERE user_id = %s AND id = ANY(%s)", (self.users[user], list(traces))
            )

    async def salience(self, value: float, *traces: UUID) -> None:
        await self.owner.execute("UPDATE memory_trace SET salience = %s WHERE id = ANY(%s)", (value, list(traces)))

    async def partitions(self, parent: str = "memory_embedding") -> list[tuple[str, str]]:
        """(table, tier) of those before this year's, oldest first."""
        rows = await fetch(
            self.owner,
            "SELECT table_name, tier FROM memory_partition WHERE parent = %s AND lower < %s ORDER BY lower",
            parent, week_of(BEGIN + 52 * WEEK).lower,
        )  # fmt: skip
        return [(table, tier) for table, tier in rows]

    async def plan(self, tier: str = "warm", parents: Sequence[str] = ("memory_embedding", "memory_body")) -> Move:
        """All weeks become one partition."""
        parts = []
        for parent in parents:
            rows = await fetch(
                self.owner,
                "SELECT table_name, lower, upper, tier FROM memory_partition WHERE parent = %s AND lower < %s"
                " ORDER BY lower",
                parent, week_of(BEGIN + 52 * WEEK).lower,
            )  # fmt: skip
            parts.append(Part(parent, tuple(Source(*row) for row in rows)))
        return Move(tuple(parts), tier)

    async def seen(self, *, as_codes: bool = True) -> dict[str, dict[Any, Any]]:
        """All rows by their keys; vectors as the codes that they are to become."""
        bodies = await fetch(
            self.owner,
            "SELECT user_id, trace_id, space_id, happened_at, words, kind, content, lexemes::text FROM memory_body",
        )
        found: dict[str, dict[Any, Any]] = {"bodies": {row[:2]: row[2:] for row in bodies}, "vectors": {}}
        for model in self.models:
            rows = await fetch(
                self.owner,
                "SELECT user_id, trace_id, head, model_id, piece, space_id, happened_at, kind, begins, ends, bits,"  # noqa: S608
                f" codes, {model.column} FROM memory_embedding WHERE model_id = %s",
                model.id,
            )
            for *row, bits, codes, vector in rows:
                made = (bits, codes) if vector is None or not as_codes else codes_of(vector.to_numpy())
                found["vectors"][tuple(row[:5])] = (*row[5:], *made)
        return found

    async def checksum(self) -> str:
        """Of all rows, sorted by their keys."""
        found = await self.seen()
        return hashlib.sha256(repr([sorted(one.items()) for one in found.values()]).encode()).hexdigest()

    async def left_over(self) -> list[Any]:
        """What a move may leave where it should not: tables, triggers, notes, constraints, broken indexes."""
        return [
            await fetch(
                self.owner,
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^memory_(body|embedding)_'"
                " AND (NOT relispartition OR relname NOT IN (SELECT table_name FROM memory_partition))",
            ),
            await fetch(self.owner, "SELECT tgname FROM pg_trigger WHERE tgname = 'reverie_moving'"),
            await fetch(self.owner, "SELECT table_name FROM tier_change"),
            await fetch(self.owner, "SELECT conname FROM pg_constraint WHERE conname LIKE '%\\_range' AND conrelid IN"
                        " (SELECT to_regclass(table_name) FROM memory_partition)"),
            await fetch(self.owner, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"),
            await fetch(self.owner, "SELECT table_name FROM memory_partition WHERE to_regclass(table_name) IS NULL"),
        ]  # fmt: skip


NOTHING: list[Any] = [[], [], [], [], [], []]


def codes_of(vector: Any) -> tuple[str, bytes]:
    """(bits, codes) of one vector."""
    row = np.asarray(vector, dtype=np.float32)[None]
    signs = signs_of(row)
    bits = "".join(map(str, np.unpackbits(signs, axis=1, count=row.shape[1])[0].tolist()))
    return bits, pack(quantise(row), signs)[0].tobytes()


async def reading_loop(url: str, waits: list[float], until: asyncio.Event) -> None:
    """Reads both parents again and again; how long each took."""
    async with await AsyncConnection.connect(url, autocommit=True) as reader:
        while not until.is_set():
            began = asyncio.get_running_loop().time()
            await reader.execute("SELECT (SELECT count(*) FROM memory_body), (SELECT count(*) FROM memory_embedding)")
            waits.append(asyncio.get_running_loop().time() - began)
            await asyncio.sleep(0.002)
