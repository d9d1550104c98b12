"""Arrays written as one block: what PostgreSQL reads of them is what psycopg's own way would have told it."""

from uuid import uuid4

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector, Vector

from reverie.core.arrays import Uuids, as_vector, as_vectors, register_arrays
from reverie.core.config import Settings

READ = b"SELECT v FROM unnest(%b::{type}[]) WITH ORDINALITY AS g (v, n) ORDER BY n"
KINDS = {"fp16": b"halfvec", "fp32": b"vector"}


@pytest.mark.parametrize("count", [0, 1, 1000])
@pytest.mark.parametrize("precision", KINDS)
async def test_vectors_are_read_as_one_by_one(settings: Settings, precision: str, count: int) -> None:
    rows = np.random.default_rng(count).standard_normal((count, 7)).astype(np.float32)
    async with await psycopg.AsyncConnection.connect(settings.database_url or "") as connection:
        await register_arrays(connection)
        cursor = connection.cursor(binary=True)
        query = READ.replace(b"{type}", KINDS[precision])
        read = [row[0] for row in await (await cursor.execute(query, (as_vectors(list(rows), precision),))).fetchall()]
        assert read == [as_vector(row, precision) for row in rows]
        assert {type(one) for one in read} <= {HalfVector if precision == "fp16" else Vector}


@pytest.mark.parametrize("count", [0, 1, 1000])
async def test_ids_are_read_as_one_by_one(settings: Settings, count: int) -> None:
    ids = [uuid4() for _ in range(count)]
    async with await psycopg.AsyncConnection.connect(settings.database_url or "") as connection:
        await register_arrays(connection)
        cursor = await connection.execute("SELECT %b::uuid[]", (Uuids(one.bytes for one in ids),))
        assert await cursor.fetchone() == (ids,)
