"""Where the memory of a store lies, what is due next, and what is wrong with its files."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from reverie.cold.segments import MISSING, PREFIX, other_size
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection, Database
from reverie.core.ids import moment_of
from reverie.objects.store import Objects, StorageTrouble
from reverie.tiers import repository
from reverie.tiers.indexes import TIERS
from reverie.tiers.partitions import BODY, EMBEDDING
from reverie.tiers.repository import Files, LastRun, Segment, Size, Waiting
from reverie.tiers.schemas import DamagedFile, NextMove, Thaw, TierRun, Tiers, TierSize
from reverie.tiers.thaw import THAW

PATIENCE: Final = 20.0
"""Seconds for which the object storage is waited for."""


class TierOverview:
    """Looks at the tiers of one store."""

    def __init__(self, settings: Settings, database: Database, objects: Objects) -> None:
        self._database = database
        self._objects = objects
        self._days = {"hot": settings.memory_hot_days, "warm": settings.memory_warm_days}

    async def look(self, as_of: datetime | None = None, space_id: UUID | None = None) -> Tiers:
        """Everything there is to see, and what is due as of a moment (now).

        Thaws and files are those of a space, if one is given; all the rest is of the whole store.
        """
        async with self._database.maintenance() as connection:
            await repository.be_patient(connection, PATIENCE)
            running, paused = await repository.is_running(connection), await repository.paused(connection)
            last = await repository.last_run(connection)
            sizes, files = await repository.tier_sizes(connection), await repository.cold_sizes(connection)
            waiting = await repository.cold_waiting(connection)
            thaws = await repository.open_thaws(connection, THAW, space_id)
            coming = await self._coming(connection, as_of or clock.now())
            segments = await repository.segments(connection, space_id)
        damaged, storage = await self._damaged(segments, PREFIX if space_id is None else f"{PREFIX}/{space_id}")
        return Tiers(
            running=running,
            paused=paused,
            tiers=[_size(tier, sizes, files, waiting) for tier in TIERS],
            next=coming,
            last_run=None if last is None else _run(last, running=running),
            thawed=waiting.thawed,
            thaws=[Thaw(operation_id=row[0], created_at=row[1], result=row[2]) for row in thaws],
            removals=waiting.removals,
            garbage=waiting.garbage,
            damaged=damaged,
            storage=storage,
        )

    async def _coming(self, connection: Connection, now: datetime) -> list[NextMove]:
        found = []
        for tier, to in (("hot", "warm"), ("warm", "cold")):
            ranges = await repository.ranges(connection, tier)
            if not ranges:
                continue
            days = timedelta(days=self._days[tier])
            lower, upper = ranges[0]
            at = moment_of(upper) + days
            waiting = sum(moment_of(upper) + days <= now for _, upper in ranges)
            found.append(
                NextMove.model_validate(
                    {"to": to, "since": moment_of(lower), "until": moment_of(upper), "at": at, "due": at <= now,
                     "waiting": waiting}
                )
            )  # fmt: skip
        return found

    async def _damaged(self, segments: Sequence[Segment], prefix: str) -> tuple[list[DamagedFile], str | None]:
        """Files that are known to be damaged, are missing or have another size; and what is wrong with the storage."""
        there: Mapping[str, int] | None = None
        trouble: str | None = None
        if segments:
            try:
                async with asyncio.timeout(PATIENCE):
                    there = await asyncio.to_thread(lambda: dict(self._objects.paths(prefix)))
            except StorageTrouble as error:
                trouble = str(error)
            except TimeoutError:
                trouble = f"Object storage ({self._objects.name}) did not answer within {PATIENCE:g} s."
        found = [(one, damage_of(one, there)) for one in segments]
        return [
            DamagedFile(segment_id=one.id, path=one.path, month=one.month, traces=one.traces, damage=damage)
            for one, damage in found
            if damage is not None
        ], trouble


def damage_of(one: Segment, there: Mapping[str, int] | None) -> str | None:
    """What is wrong with a file.

    Args:
        one: its segment.
        there: the paths and sizes of all files; None: nobody knows.
    """
    if there is None:
        return one.damage
    size = there.get(one.path)
    if size is None:
        return MISSING
    return one.damage if size == one.bytes else other_size(size, one.bytes)


def _size(tier: str, sizes: Sequence[Size], files: Files, waiting: Waiting) -> TierSize:
    mine = [one for one in sizes if one.tier == tier]
    texts = sum(one.rows for one in mine if one.parent == BODY)
    vectors = sum(one.rows for one in mine if one.parent == EMBEDDING)
    cold = tier == "cold"
    if tier == "warm":
        texts += waiting.thawed
    return TierSize.model_validate(
        {
            "tier": tier,
            "partitions": sum(one.partitions for one in mine if one.parent == EMBEDDING),
            "traces": max(0, files.traces - waiting.thawed - waiting.removals) if cold else texts,
            "vectors": None if cold else vectors,
            "table_bytes": sum(one.table_bytes for one in mine) + (files.table_bytes if cold else 0),
            "index_bytes": sum(one.index_bytes for one in mine) + (files.index_bytes if cold else 0),
            "files": files.files if cold else 0,
            "file_bytes": files.bytes if cold else 0,
        }
    )


def _run(last: LastRun, *, running: bool) -> TierRun:
    # Of one whose process is gone nobody has said yet that it has ended.
    gone = last.state == "running" and not running
    return TierRun.model_validate(
        {
            "run_id": last.id,
            "state": "failed" if gone else last.state,
            "as_of": last.as_of,
            "started_at": last.started_at,
            "seen_at": last.seen_at,
            "finished_at": last.finished_at,
            "report": last.report,
            "error": "It was broken off." if gone else last.error,
        }
    )
