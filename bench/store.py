"""The store behind a service, as its owner sees it: what is built for it, how large it is, what memory it takes."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.client import Client
from bench.crowd import process_at, resident
from bench.plan import read_plan
from bench.report import CannotMeasure
from bench.service import Service
from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.embedding.protocol import FloatArray
from reverie.recall.held import PLAN
from reverie.recall.indexes import REFRESH_SECONDS
from reverie.recall.lexical import count_due
from reverie.tiers.building import tend
from reverie.tiers.indexes import Mode, list_models, list_partitions
from reverie.tiers.locks import building_alone
from reverie.tiers.packing import pack

VACUUM_ATTEMPTS: Final = 60

SIZES: Final = """
WITH RECURSIVE own AS (
    SELECT c.oid, c.oid AS root, c.relname AS root_name FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    UNION ALL
    SELECT h.inhrelid, o.root, o.root_name FROM own o JOIN pg_inherits h ON h.inhparent = o.oid
), parts AS (
    SELECT o.root_name, 'rows' AS part, pg_table_size(o.oid) AS bytes FROM own o
    UNION ALL
    SELECT o.root_name, replace(c.relname, t.relname || '_', ''), pg_relation_size(i.indexrelid)
    FROM own o JOIN pg_class t ON t.oid = o.oid JOIN pg_index i ON i.indrelid = o.oid
    JOIN pg_class c ON c.oid = i.indexrelid
)
SELECT root_name, part, sum(bytes)::bigint FROM parts GROUP BY 1, 2 HAVING sum(bytes) > 0 ORDER BY 1, 2
"""
"""The bytes of each table with all of its partitions: of its rows, and of each index by what its name ends with."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of a table (``part`` is "rows") or of one of its indexes, over all partitions."""

    table: str
    part: str
    bytes: int


def build(database_url: str, mode: Mode = "auto", *, over: bool = False) -> None:
    """What the worker does every few minutes for users who have become large; waits while it is at it.

    With ``over`` also what it does once weeks are over: indexes that are sparse are packed.
    """
    asyncio.run(_build(database_url, mode, over))


async def _build(database_url: str, mode: Mode, over: bool) -> None:
    database = Database(load_settings(database_url=database_url))
    await database.open()
    try:
        await count_due(database)
        async with database.maintenance() as connection, building_alone(connection):
            models = await list_models(connection)
            for partition in await list_partitions(connection):
                for model in models:
                    await tend(connection, model, partition, mode)
                    if over:
                        await pack(connection, model, partition)
    finally:
        await database.close()


def announce_warm(database_url: str) -> None:
    """What the first run over the tiers does, and then waits until every process has read it."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE tier_control SET announced_at = now() - interval '1 minute'")


def vacuum(database_url: str) -> None:
    """What autovacuum does within minutes: the visibility map, without which index-only scans visit the heap.

    Raises:
        CannotMeasure: something holds an old snapshot open.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(VACUUM_ATTEMPTS):
            connection.execute("VACUUM (ANALYZE) memory_trace, memory_body, memory_embedding, memory_edge")
            # A snapshot that is older than the load, of whatever else runs in the database, holds the map back.
            row = connection.execute(
                "SELECT count(*) FROM pg_class WHERE relallvisible < relpages"
                " AND oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'memory_embedding'::regclass)"
            ).fetchone()
            if row == (0,):
                return
            time.sleep(1)
    raise CannotMeasure("memory_embedding cannot be vacuumed: something holds an old snapshot open in the database.")


def wait_for_plan(client: Client, database_url: str, user: str, vector: FloatArray) -> str:
    """Waits until the service plans by what is built: it looks for that every few seconds, when it is asked.

    Returns:
        held, exact, bits or hnsw.

    Raises:
        CannotMeasure: it does not.
    """
    wanted = read_plan(database_url, user, vector).name
    end = time.monotonic() + 6 * REFRESH_SECONDS
    while (plan := client.plan(user, vector)) not in (wanted, PLAN):
        if time.monotonic() > end:
            raise CannotMeasure(f"The service does not search {user} by {wanted}, though that is built.")
        time.sleep(1)
    return plan


def sizes(database_url: str) -> list[Part]:
    """The bytes of every table and index that holds something."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(SIZES).fetchall()
    taken: Counter[tuple[str, str]] = Counter()
    for table, part, size in found:
        taken[table, _plain(part)] += size
    return [Part(table, part, size) for (table, part), size in taken.items()]


def _plain(part: str) -> str:
    """An index by what it is for: graphs have a name each, and models a number."""
    pieces = part.split("_")
    return "graphs" if "hnsw" in pieces else "key" if part == "pkey" else pieces[-1]


def memory(service: Service) -> dict[str, int | None]:
    """Bytes of memory that the API and PostgreSQL hold; None where it cannot be told (Linux tells, on this machine).

    PostgreSQL's processes share most of theirs, which counts once.
    """
    api = process_at(service.url)
    return {"api": None if api is None else resident(api), "postgresql": _postgresql(service.database_url)}


def _postgresql(database_url: str) -> int | None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        try:
            postmaster = parent(int(row[0]))
            return sum(map(_proportional, [postmaster, *children(postmaster)])) or None
        except (OSError, ValueError):
            return None


def _proportional(pid: int) -> int:
    """Bytes of a process's memory, what it shares divided by the number of those who do; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def parent(pid: int) -> int:
    return int(_status(pid)[1])


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and parent(int(path.name)) == pid:
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _status(pid: int) -> list[Any]:
    """The fields of /proc/…/stat from the state on: the name before it may hold spaces and parentheses."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
