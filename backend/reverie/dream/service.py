"""The dream for callers: having it done, looking at its runs, taking one back."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database, ReadSession
from reverie.core.errors import Conflict, Invalid, NotFound
from reverie.core.idempotency import Claim
from reverie.core.ids import user_uuid, uuid7
from reverie.core.queue import Bell
from reverie.dream import nights, repository
from reverie.dream.repository import RunRow, Total
from reverie.dream.runs import CONSOLIDATE
from reverie.dream.schemas import (
    ConsolidateIn,
    ConsolidateOut,
    DreamItem,
    DreamOut,
    DreamPage,
    DreamtUser,
    Job,
    Jobs,
    LastNight,
    StageOut,
    UndoOut,
)
from reverie.memories import deriving, entities
from reverie.memories import repository as memories
from reverie.operations import repository as operations
from reverie.operations.repository import Leased

UNDO: Final = "undo_dream"
"""The kind of operation that takes back what a run made; its payload names the run."""

LATEST_ZONE: Final = timedelta(hours=14)
"""By so much the day goes on earlier than in UTC where it begins first."""

MOST_SHOWN: Final = 100
USERS: Final = 500


class DreamService:
    """The runs of every space."""

    def __init__(self, settings: Settings, database: Database, bell: Bell, stages: list[str]) -> None:
        self._settings = settings
        self._database = database
        self._bell = bell
        self._stages = stages

    async def consolidate(self, principal: Principal, body: ConsolidateIn, claim: Claim) -> dict[str, Any]:
        """Accepts an operation that dreams.

        Raises:
            NotFound: there is no such user.
            Conflict: the user does not dream.
            Invalid: the day is still to come.
        """
        space_id, now = principal.space_id, clock.now()
        user_id = None if body.user_id is None else user_uuid(space_id, body.user_id)
        inner = {"user_id": user_id, "day": body.day}
        payload = {name: str(value) for name, value in inner.items() if value is not None}
        async with self._database.writing(space_id) as session:
            zone = "UTC"
            if user_id is not None:
                zone = await who_dreams(session, user_id, str(body.user_id)) or self._settings.dream_time_zone
            self._refuse_to_come(body, now, None if user_id is None else zone)
            operation_id = uuid7(now)
            await operations.insert(
                session, operation_id, space_id, CONSOLIDATE, now, user_id=user_id, payload=payload
            )  # fmt: skip
            out = ConsolidateOut(operation_id=operation_id, dream_id=operation_id).model_dump()
            await claim.keep(session, 202, out)
        await self._bell.ring(operation_id)
        return out

    def _refuse_to_come(self, body: ConsolidateIn, now: datetime, zone: str | None) -> None:
        """Today may be dreamt, wherever on earth it is today already."""
        today = (now + LATEST_ZONE).date() if zone is None else now.astimezone(ZoneInfo(zone)).date()
        if body.day is not None and body.day > today:
            raise Invalid(f"day takes a day that has begun, not {body.day}.", field="day")

    async def page(self, principal: Principal, before: UUID | None, limit: int) -> DreamPage:
        """Runs of a space, newest first."""
        async with self._database.reading(principal.space_id) as session:
            rows = await repository.list_runs(session, principal.space_id, before, limit)
        cursor = str(rows[-1].id) if len(rows) == limit else None
        return DreamPage(items=[DreamItem.model_validate(_shown(row)) for row in rows], next_cursor=cursor)

    async def get(self, principal: Principal, run_id: UUID) -> DreamOut:
        """A run.

        Raises:
            NotFound: the space has none of this id.
        """
        space_id = principal.space_id
        async with self._database.reading(space_id) as session:
            row = await repository.get_run(session, space_id, run_id)
            if row is None:
                raise _no_run(run_id)
            totals = await repository.totals(session, space_id, run_id)
            users = await repository.users_of(session, space_id, run_id, MOST_SHOWN)
        dreamt = [
            DreamtUser(user_id=one[0], days=one[1], failed=one[2], first_day=one[3], last_day=one[4]) for one in users
        ]
        stages = [_stage(name, total) for name, total in totals.items()]
        return DreamOut.model_validate(_shown(row) | {"stages": stages, "dreamt": dreamt})

    async def accept_undo(self, principal: Principal, run_id: UUID, claim: Claim) -> dict[str, Any]:
        """Accepts an operation that takes back what a run made.

        Raises:
            NotFound: the space has no such run.
            Conflict: it goes on, or was taken back already.
        """
        space_id, now = principal.space_id, clock.now()
        async with self._database.writing(space_id) as session:
            row = await repository.get_run(session, space_id, run_id)
            if row is None:
                raise _no_run(run_id)
            if row.state in ("running", "paused"):
                raise Conflict("This run has not ended yet: `reverie dream cancel` ends it.")
            if row.state == "undone":
                raise Conflict("This run was undone already.")
            operation_id = uuid7(now)
            payload = {"dream": str(run_id)}
            await operations.insert(session, operation_id, space_id, UNDO, now, payload=payload)
            out = UndoOut(operation_id=operation_id, dream_id=run_id).model_dump()
            await claim.keep(session, 202, out)
        await self._bell.ring(operation_id)
        return out

    async def undo(self, held: Leased) -> dict[str, Any]:
        """The handler of :data:`UNDO`: user by user, so that what a killed worker did stays done."""
        space_id, run_id = held.space_id, UUID(held.payload["dream"])
        counts, after = Counter[str](users=0, traces=0, edges=0, kept=0), UUID(int=0)
        while True:
            async with self._database.reading(space_id) as session:
                users = await repository.next_users_of(session, space_id, run_id, after, USERS)
            for user_id in users:
                counts.update(await self._undo_of(space_id, user_id, run_id))
            if not users:
                break
            after = users[-1]
        async with self._database.writing(space_id) as session:
            await repository.undone(session, space_id, run_id)
        return dict(counts)

    async def _undo_of(self, space_id: UUID, user_id: UUID, run_id: UUID) -> dict[str, int]:
        now = clock.now()
        async with self._database.writing(space_id) as session:
            if await deriving.lock_user(session, space_id, user_id) is None:
                return {}
            done = await deriving.undo(session, user_id, run_id)
            # What nothing mentions any more goes, and the others are called as the rest calls them.
            scope = entities.Scope(space_id, user_id, await deriving.space_key(session, space_id), now)
            settled = await entities.settle(session, scope, done.ends)
            if done.traces or done.edges:
                await memories.touch_version(session, space_id, user_id, now)
        gone = done.traces + len(settled.removed)
        return {"users": 1, "traces": gone, "edges": done.edges, "kept": done.kept}

    async def jobs(self, principal: Principal) -> Jobs:
        """The night: how it went last for a space, and when it comes next."""
        async with self._database.maintenance() as connection:
            running = await repository.is_running(connection)
            paused, _ = await repository.control(connection, UUID(int=0))
            last = await repository.last_night(connection)
        totals: dict[str, Total] = {}
        if last is not None:
            async with self._database.reading(principal.space_id) as session:
                totals = await repository.totals(session, principal.space_id, last.id)
        at, zone = self._settings.dream_time, self._settings.dream_time_zone
        return Jobs(
            running=running,
            paused=paused,
            at=self._settings.dream_at,
            time_zone=zone,
            next_at=nights.comes(clock.now(), at, ZoneInfo(zone)),
            last=None if last is None else _last(last, running=running),
            jobs=[_job(name, totals.get(name)) for name in self._stages],
        )


async def who_dreams(session: ReadSession, user_id: UUID, user: str) -> str | None:
    """The time zone that a user has set.

    Raises:
        NotFound: there is no such user.
        Conflict: the user does not dream.
    """
    found = await repository.dreams(session, user_id)
    if found is None:
        raise NotFound(f"There is no user {user}.")
    if not found[0]:
        raise Conflict(f"The user {user} does not dream (PATCH /memory/users/{{user_id}} with dream as true first).")
    return found[1]


def _no_run(run_id: UUID) -> NotFound:
    return NotFound(f"There is no run {run_id} of the dream.")


def _shown(row: RunRow) -> dict[str, Any]:
    counted = {"days": 0, "failed": 0, "left": 0, "users": 0, "aside": 0, "capped": False, "seconds": 0.0}
    return {
        "dream_id": row.id, "state": row.state, "asked": {"day": row.day, "user_id": row.user},
        "started_at": row.started_at, "seen_at": row.seen_at, "finished_at": row.finished_at, "error": row.error,
    } | counted | row.report  # fmt: skip


def _stage(name: str, total: Total) -> StageOut:
    did = total.did
    return StageOut.model_validate(
        {
            "name": name, "state": total.state, "saw": did.saw, "made": did.made, "moved": did.moved,
            "removed": did.removed, "skipped": dict(did.skipped), "seconds": round(total.seconds, 3),
            "bytes": did.bytes, "model": did.model, "tokens": did.tokens, "error": total.error,
        }
    )  # fmt: skip


def _job(name: str, total: Total | None) -> Job:
    if total is None:
        return Job(name=name, state=None, seconds=None, error=None)
    return Job.model_validate(
        {"name": name, "state": total.state, "seconds": round(total.seconds, 3), "error": total.error}
    )


def _last(last: repository.NightRow, *, running: bool) -> LastNight:
    gone = last.state == "running" and not running
    return LastNight(
        dream_id=last.id,
        state="failed" if gone else last.state,
        started_at=last.started_at,
        seen_at=last.seen_at,
        finished_at=last.finished_at,
        capped=last.capped,
        error="It was broken off." if gone else last.error,
    )
