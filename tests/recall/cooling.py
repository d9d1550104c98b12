"""Partitions made warm as plainly as it can be done: rows written anew, in one transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import numpy as np
from pgvector import HalfVector, Vector
from tests.tiers.rows import fetch

from reverie.core.database import Connection
from reverie.embedding.codes import pack, quantise, signs_of
from reverie.memories.model import Model

COLUMNS = "space_id, user_id, trace_id, happened_at, piece, head, model_id, kind"


async def announce(connection: Connection, moment: datetime) -> None:
    """Says that there may be warm rows."""
    await connection.execute("UPDATE tier_control SET announced_at = %s", (moment,))


async def make_warm(connection: Connection, model: Model, table: str, *, large: Iterable[tuple[UUID, int]] = ()) -> str:
    """Puts a warm partition of another name in the place of one whose rows are all of ``model``; its name.

    With an index over the signs for users who are ``large``, each with the candidates that are said to be needed.
    """
    made = f"{table}_1"
    exact, signs = f"{made}_m{model.id}_exact", f"{made}_m{model.id}_bits"
    ((lower, upper),) = await fetch(
        connection, "SELECT lower, upper FROM memory_partition WHERE table_name = %s", table
    )  # fmt: skip
    async with connection.transaction():
        await connection.execute(
            f"CREATE TABLE {made} (LIKE memory_embedding INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED"
            f" INCLUDING STORAGE) WITH (fillfactor = 100)".encode()
        )
        await _write_codes(connection, model, table, made)
        for statement in (
            f"ALTER TABLE {made} ADD PRIMARY KEY (user_id, trace_id, head, model_id, piece)",
            f"CREATE INDEX {exact} ON {made} (user_id, head, trace_id) INCLUDE (space_id, piece, kind, happened_at,"
            f" {model.column}) WHERE model_id = {model.id} AND {model.column} IS NOT NULL",
            f"ALTER TABLE {made} ADD FOREIGN KEY (user_id, trace_id) REFERENCES memory_trace (user_id, id)"
            " ON DELETE CASCADE",
            f"ALTER TABLE memory_embedding DETACH PARTITION {table}",
            f"ALTER TABLE memory_embedding ATTACH PARTITION {made} FOR VALUES FROM ('{lower}') TO ('{upper}')",
            f"DROP TABLE {table}",
        ):
            await connection.execute(statement.encode())
        # What is known of a partition goes with its name.
        await connection.execute("DELETE FROM memory_partition WHERE table_name = %s", (table,))
        await connection.execute(
            "INSERT INTO memory_partition (table_name, parent, lower, upper, tier)"
            " VALUES (%s, 'memory_embedding', %s, %s, 'warm')",
            (made, lower, upper),
        )
        owners = list(large)
        if owners:
            await connection.execute(
                f"CREATE INDEX {signs} ON {made} (user_id, head, trace_id) INCLUDE (space_id, piece, kind, happened_at,"
                f" bits) WHERE model_id = {model.id} AND codes IS NOT NULL AND head = 0".encode()
            )
        for user, looks in owners:
            await connection.execute(
                "INSERT INTO memory_index (user_id, table_name, model_id, head, method, lower, upper, index_name, rows,"  # noqa: S608
                " looks, recall, kinds, moments, built_at) SELECT %s, %s, %s, 0, 'bits', %s, %s, %s, count(*), %s, 1,"
                f" '{{0,0,0,0,0,0}}', '{{}}', now() FROM {made} WHERE user_id = %s AND head = 0".encode(),
                (user, made, model.id, lower, upper, signs, looks, user),
            )
    await connection.execute(f"VACUUM ANALYZE {made}".encode())
    return made


async def _write_codes(connection: Connection, model: Model, table: str, made: str) -> None:
    rows = await fetch(
        connection,
        f"SELECT {COLUMNS}, begins, ends, {model.column} FROM {table} ORDER BY user_id, head, trace_id, piece",  # noqa: S608
    )
    if not rows:
        return
    packed, signs = codes_of([row[-1] for row in rows])
    async with connection.cursor() as cursor:
        copy = f"COPY {made} ({COLUMNS}, begins, ends, codes, bits) FROM STDIN"
        async with cursor.copy(copy.encode()) as into:
            for row, codes, bits in zip(rows, packed, signs, strict=True):
                await into.write_row((*row[:-1], codes, "".join(map(str, bits.tolist()))))


def codes_of(given: Sequence[HalfVector | Vector]) -> tuple[list[bytes], np.ndarray]:
    """The codes of vectors, and their signs, one number each."""
    vectors = np.array([one.to_numpy() for one in given], dtype=np.float32)
    signs = signs_of(vectors)
    return [row.tobytes() for row in pack(quantise(vectors), signs)], np.unpackbits(
        signs, axis=1, count=vectors.shape[1]
    )
