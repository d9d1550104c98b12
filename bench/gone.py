"""How long it takes until a user's memory is gone from every store, and what others notice of it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.client import client_of
from bench.moving import Asker, Window
from bench.report import CannotMeasure
from bench.service import Service

TABLES: Final = (
    "memory_trace", "memory_body", "memory_embedding", "memory_edge", "memory_digest", "cold_removal",
)  # fmt: skip
"""What holds memory, or says that a file still does."""

PATIENCE: Final = 600.0
_REST: Final = 0.25


@dataclass(slots=True)
class Gone:
    """What forgetting took: seconds until the answer, and until everything was gone; others' questions meanwhile."""

    traces: int
    others: int
    tiers: dict[str, int]
    answered: float = 0.0
    gone: float = 0.0
    window: Window = field(default_factory=lambda: Window(0))


def traces_by_tier(database_url: str, user_id: UUID) -> dict[str, int]:
    """How many traces of a user are in each tier."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT CASE WHEN d.trace_id IS NOT NULL AND d.thawed_until IS NULL THEN 'cold' ELSE p.tier END, count(*)"
            " FROM memory_trace t LEFT JOIN memory_digest d ON d.user_id = t.user_id AND d.trace_id = t.id"
            " LEFT JOIN memory_partition p"
            " ON p.parent = 'memory_embedding' AND t.id >= p.lower AND t.id < p.upper"
            " WHERE t.user_id = %s GROUP BY 1",
            (user_id,),
        ).fetchall()
    return dict(found)


def forget(service: Service, user: str, user_id: UUID, folder: Path, found: Gone, seconds: float, asker: Asker) -> None:
    """Has a user forgotten, after a quiet window, and looks until nothing of it is anywhere, while others are asked.

    Raises:
        CannotMeasure: something of it is left after ten minutes, or the request failed.
    """
    asker.quiet(found.window, seconds)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            _forget(service, user, user_id, folder, found)
        except (CannotMeasure, psycopg.Error, OSError) as error:
            failed.append(error)

    looked = threading.Thread(target=work, daemon=True)
    looked.start()
    asker.until(found.window, lambda: not looked.is_alive())
    if failed:
        raise CannotMeasure(str(failed[0])) from failed[0]


def _forget(service: Service, user: str, user_id: UUID, folder: Path, found: Gone) -> None:
    began = time.monotonic()
    with client_of(service) as client:
        client.forget(user)
    found.answered = time.monotonic() - began
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        while left := _left(connection, user_id, folder):
            if time.monotonic() - began > PATIENCE:
                raise CannotMeasure(f"After {PATIENCE:.0f} seconds there is still something in {', '.join(left)}.")
            time.sleep(_REST)
    found.gone = time.monotonic() - began


def _left(connection: "psycopg.Connection[Any]", user_id: UUID, folder: Path) -> Sequence[str]:
    """Where something of a user still is; files are read once the database has nothing more."""
    left = [table for table in TABLES if _stands(connection, table, user_id)]
    return left or [str(path) for path in sorted(folder.rglob("*.parquet")) if _holds(path, user_id)]


def _stands(connection: "psycopg.Connection[Any]", table: str, user_id: UUID) -> bool:
    query = f"SELECT EXISTS (SELECT FROM {table} WHERE user_id = %s)"  # noqa: S608 - a name of our own
    row = connection.execute(query.encode(), (user_id,)).fetchone()
    return bool(row and row[0])


def _holds(path: Path, user_id: UUID) -> bool:
    try:
        column = pq.read_table(path, columns=["user_id"])["user_id"]
    except FileNotFoundError:
        # Rewritten just now; whatever took its place is looked at next time.
        return True
    plain = pa.chunked_array([getattr(chunk, "storage", chunk) for chunk in column.chunks], pa.binary(16))
    return bool(pc.any(pc.equal(plain, pa.scalar(user_id.bytes, pa.binary(16)))).as_py())
