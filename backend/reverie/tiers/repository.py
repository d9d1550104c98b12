"""SQL of runs over the tiers, on connections of the owner of the schema."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from reverie.core.database import Connection, Row
from reverie.core.queries import Queries
from reverie.memories.model import Model

SQL = Queries("reverie.tiers", "runs.sql")

RUNS = 0x7265_7665_7274_72
"""Advisory lock of the one who goes through the tiers: the bytes of "revertr"."""

KEPT_RUNS = 100


@dataclass(frozen=True, slots=True)
class LastRun:
    """A row of ``tier_run``."""

    id: UUID
    state: str
    as_of: datetime
    started_at: datetime
    seen_at: datetime
    finished_at: datetime | None
    report: dict[str, Any]
    error: str | None


@dataclass(frozen=True, slots=True)
class Size:
    """What partitions of one tier and parent take; ``rows`` is PostgreSQL's estimate."""

    tier: str
    parent: str
    partitions: int
    rows: int
    table_bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class Files:
    """What lies in files that are read, and the bytes of what stays here of it."""

    traces: int
    files: int
    bytes: int
    table_bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Traces to be taken out of files, objects to be deleted, thawed traces, segments that nobody reads yet."""

    removals: int
    garbage: int
    thawed: int
    unfinished: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A file that is read."""

    id: UUID
    path: str
    month: date
    traces: int
    bytes: int
    checked_at: datetime | None
    damage: str | None


async def take_runs(connection: Connection) -> bool:
    """Takes the lock of runs until the connection closes; False when somebody has it."""
    return bool((await _row(connection, SQL["take_runs"], RUNS))[0])


async def be_patient(connection: Connection, seconds: float) -> None:
    """Nothing that is only looked at is waited for behind a lock, or for longer than so many seconds."""
    await connection.execute(SQL["patience"], (str(int(seconds * 1000)),))


async def is_running(connection: Connection) -> bool:
    """Whether anybody goes through the tiers."""
    return bool((await _row(connection, SQL["is_running"], RUNS))[0])


async def begin_run(connection: Connection, run_id: UUID, as_of: datetime, now: datetime) -> None:
    """Notes that a run begins, and that those before it have ended."""
    async with connection.transaction():
        await connection.execute(SQL["end_broken_off"])
        await connection.execute(SQL["begin_run"], (run_id, as_of, now, now))
        await connection.execute(SQL["forget_runs"], (KEPT_RUNS,))


async def note_run(connection: Connection, run_id: UUID, report: dict[str, Any], now: datetime) -> None:
    """Notes how far a run has come."""
    await connection.execute(SQL["note_run"], (Jsonb(report), now, run_id))


async def end_run(
    connection: Connection, run_id: UUID, state: str, report: dict[str, Any], error: str | None, now: datetime
) -> None:
    """Notes how a run has ended."""
    await connection.execute(SQL["end_run"], (state, Jsonb(report), error, now, now, run_id))


async def last_run(connection: Connection) -> LastRun | None:
    """The run that began last."""
    row = await (await connection.execute(SQL["last_run"])).fetchone()
    return LastRun(*row) if row else None


async def paused(connection: Connection) -> bool:
    """Whether runs are to rest."""
    return bool((await _row(connection, SQL["control"]))[0])


async def set_paused(connection: Connection, to: bool) -> bool:
    """Pauses runs, or lets them go on; False where it was so already."""
    return await (await connection.execute(SQL["set_paused"], (to, to))).fetchone() is not None


async def active_model(connection: Connection) -> Model | None:
    """The model that questions are asked of; None in a store that nobody has used."""
    row = await (await connection.execute(SQL["active_model"])).fetchone()
    return Model(*row) if row else None


async def tier_sizes(connection: Connection) -> list[Size]:
    """What each tier takes in PostgreSQL."""
    return [Size(*row) for row in await (await connection.execute(SQL["tier_sizes"])).fetchall()]


async def cold_sizes(connection: Connection) -> Files:
    """What lies in files."""
    return Files(*await _row(connection, SQL["cold_sizes"]))


async def cold_waiting(connection: Connection) -> Waiting:
    """What waits for a run."""
    return Waiting(*await _row(connection, SQL["cold_waiting"]))


async def segments(connection: Connection, space_id: UUID | None) -> list[Segment]:
    """Every file that is read, of a space or of all."""
    cursor = await connection.execute(SQL["visible_segments"], (space_id, space_id))
    return [Segment(*row) for row in await cursor.fetchall()]


async def ranges(connection: Connection, tier: str) -> list[tuple[UUID, UUID]]:
    """(lower, upper) of the partitions of vectors of a tier, oldest first."""
    rows = await (await connection.execute(SQL["ranges"], (tier,))).fetchall()
    return [(row[0], row[1]) for row in rows]


async def open_thaws(connection: Connection, kind: str, space_id: UUID | None) -> list[Row]:
    """(operation id, accepted at, how far it has come) of thaws that are not done, the oldest first."""
    return await (await connection.execute(SQL["open_thaws"], (kind, space_id, space_id))).fetchall()


async def _row(connection: Connection, query: bytes, *parameters: object) -> Row:
    row = await (await connection.execute(query, parameters or None)).fetchone()
    assert row is not None  # noqa: S101 - each of these has a row
    return row
