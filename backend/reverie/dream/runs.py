"""One run of the dream: the days that are due, stage by stage, and then the stages of the store.

One runs at a time, over any number of workers: it holds a lock of PostgreSQL until its connection closes. What a stage
writes of a day, the checkpoint that it did so, and its share of the report are one transaction, so a run that is killed
anywhere is gone on with by the next, at the day and the stage where it was. Between two stages it looks whether it is
to rest or to end; after DREAM_MAX_MINUTES it begins no other day, and the next night goes on with the oldest.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import structlog

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection, Database, WriteSession, again
from reverie.core.errors import Conflict
from reverie.core.ids import milliseconds, uuid7
from reverie.core.outages import IN_THE_WAY, PASSING
from reverie.core.queue import Bell
from reverie.core.telemetry import reason
from reverie.dream import nights, repository
from reverie.dream.group import grouped
from reverie.dream.nights import Plan
from reverie.dream.protocol import Day, DayStage, Did, Night, Poisonous, Trace, Write
from reverie.dream.repository import Asked, Dreamer, Due, Total, Watched
from reverie.dream.stages import Stages
from reverie.language.budget import Budgeted
from reverie.memories import deriving
from reverie.memories import repository as memories
from reverie.memories.cold import ColdTraces
from reverie.memories.model import Model
from reverie.operations.repository import Leased
from reverie.operations.service import TryLater
from reverie.tiers.runs import log_failure, sentence

CONSOLIDATE: Final = "consolidate"
"""The kind of operation that dreams for a space; its id is that of the run."""

NOTED_EVERY: Final = 2.0
"""Seconds between two notes that a run goes on."""

MOST_TRACES: Final = 20_000
"""Traces of one day that are read; more of it are left out, and the report says so."""

READ_CHARS: Final = 20_000
"""Characters that are read of a trace."""

ROUNDS: Final = 3
"""So often a day is begun anew whose traces are changed while it is dreamt; then the next night has it."""

MOST_ASIDE: Final = 20
"""Traces of a day that a stage may set aside; one that more of them break is at fault itself."""

WRITE_SECONDS: Final = 60.0
"""What one statement of a stage may take."""

REST: Final = 0.5
"""Seconds of rest after a second that a stage kept the processor busy: recall of the same machine has these."""

SHIFT_SECONDS: Final = 1200.0
LONGEST_SECONDS: Final = 2400.0
"""How long an operation begins other days before it lets others have their turn, and how long it begins other moves of
tiers: less than an operation may take."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: ``done`` of ``total`` days or, of a stage of the store, of what ``what`` says."""

    stage: str
    what: str
    done: int
    total: int | None = None


Tell = Callable[[Progress], None]


class Halted(Exception):  # noqa: N818 - what is to be done, no fault
    """The run ends here, between two stages: it is to rest (paused), or to end (cancelled)."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class _Stale(Exception):  # noqa: N818
    """The traces of a day were changed or forgotten since they were read."""


class _Gone(Exception):  # noqa: N818
    """The user is gone, or does not dream any more."""


class TakenOver(Exception):  # noqa: N818
    """Another run has taken the day over: our lock was lost."""


class _TakenBack(Exception):  # noqa: N818
    """Ends a trial."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run has ended: done, failed, paused or cancelled; with ``capped`` its time was over before its work was.

    ``failed`` counts days that could not be dreamt, and ``left`` those that were not begun. ``stages`` are added up
    over all spaces.
    """

    id: UUID
    state: str
    as_of: datetime
    days: int
    failed: int
    left: int
    users: int
    aside: int
    capped: bool
    seconds: float
    stages: dict[str, Total]
    error: str | None

    def report(self) -> dict[str, Any]:
        """As an operation's result: counts alone."""
        return {
            "state": self.state, "days": self.days, "failed": self.failed, "left": self.left, "users": self.users,
            "aside": self.aside, "capped": self.capped, "seconds": self.seconds,
        }  # fmt: skip


class DreamRuns:
    """Runs of the dream over one store."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        model: Model,
        stages: Stages,
        *,
        cold: ColdTraces,
        bell: Bell | None = None,
        language_model_of: Callable[[UUID, int], Budgeted | None] = lambda _space_id, _spent: None,
        ended: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.model = model
        self.stages = stages
        self.cold = cold
        self.bell = bell
        self.language_model_of = language_model_of
        self._ended = ended
        self._since = clock.now()

    async def run(
        self, asked: Asked | None = None, as_of: datetime | None = None, tell: Tell = lambda _: None
    ) -> Outcome:
        """Dreams what is due, now or as of a moment.

        Raises:
            Conflict: another runs, or the dream is paused.
        """
        async with self.database.maintenance() as connection:
            if not await repository.take_runs(connection):
                raise Conflict("Another process is dreaming; `reverie dream --watch` shows how far it is.")
            run_id = uuid7(clock.now())
            if (await repository.control(connection, run_id))[0]:
                raise Conflict("The dream is paused: `reverie dream resume` lets it go on.")
            run = _Run(self, connection, run_id, asked or Asked(), as_of or clock.now(), tell)
            return await self._go(run)

    async def nightly(self) -> Outcome | None:
        """Dreams if the night has come and nobody has; goes on with a run that rested. None where nothing was to do."""
        async with self.database.maintenance() as connection:
            if not await self._has_come(connection) or not await repository.take_runs(connection):
                return None
            # Whoever had the lock a moment ago may just have done it.
            if not await self._has_come(connection):
                return None
            run = _Run(self, connection, uuid7(clock.now()), Asked(), clock.now(), lambda _: None)
            resting = await repository.resting(connection)
            if resting is not None:
                asked = Asked.of(resting.asked)
                run = _Run(self, connection, resting.id, asked, resting.as_of, lambda _: None)
            with suppress(TakenOver):
                return await self._go(run)
            return None

    async def consolidate(self, held: Leased) -> dict[str, Any]:
        """The handler of :data:`CONSOLIDATE`.

        Raises:
            TryLater: another dreams, the dream is paused, or there is more to do than one attempt does.
        """
        asked = replace(Asked.of(held.payload), space_id=held.space_id)
        async with self.database.maintenance() as connection:
            if not await repository.take_runs(connection):
                raise TryLater("Another run of the dream goes on.")
            if (await repository.control(connection, held.id))[0]:
                raise TryLater("The dream is paused.")
            night = await repository.get_night(connection, held.id)
            as_of = night.as_of if night is not None else clock.now()
            run = _Run(self, connection, held.id, asked, as_of, lambda _: None, shift=SHIFT_SECONDS)
            outcome = await self._go(run)
        if run.more:
            raise TryLater("There is more to dream than one attempt does; it goes on.")
        return outcome.report()

    async def due(self, asked: Asked | None = None, as_of: datetime | None = None) -> Plan:
        """What would be dreamt."""
        async with self.database.maintenance() as connection:
            zone = self.settings.dream_time_zone
            return await nights.plan(connection, asked or Asked(), as_of or clock.now(), zone)

    async def watch(self) -> Watched | None:
        """The run that goes on; None where nobody dreams."""
        async with self.database.maintenance() as connection:
            return await repository.watch(connection) if await repository.is_running(connection) else None

    async def pause(self) -> bool:
        """Has the run that goes on rest soon, and no other begin; False when it was so already."""
        async with self.database.maintenance() as connection:
            return await repository.set_paused(connection, to=True)

    async def resume(self) -> bool:
        """Lets runs go on; False when they were not paused."""
        async with self.database.maintenance() as connection:
            return await repository.set_paused(connection, to=False)

    async def cancel(self) -> list[UUID]:
        """Has the run end that goes on or rests; which one. What it has dreamt stays."""
        async with self.database.maintenance() as connection:
            return await repository.cancel(connection, clock.now())

    async def _has_come(self, connection: Connection) -> bool:
        if (await repository.control(connection, UUID(int=0)))[0]:
            return False
        if await repository.resting(connection) is not None:
            return True
        at, zone = self.settings.dream_time, ZoneInfo(self.settings.dream_time_zone)
        return nights.is_due(clock.now(), at, zone, self._since, await repository.last_night(connection))

    async def _go(self, run: "_Run") -> Outcome:
        outcome = await run.go()
        self._ended(outcome)
        return outcome


@dataclass(slots=True)
class _Space:
    """What was done for a space since the run began, or went on; ``aside`` and ``seconds`` since it began."""

    days: int = 0
    failed: int = 0
    left: int = 0
    aside: int = 0
    seconds: float = 0.0

    def report(self, dreamt: tuple[int, int, int], *, capped: bool) -> dict[str, Any]:
        days, failed, users = dreamt
        return {
            "days": days, "failed": failed, "left": self.left, "users": users, "aside": self.aside, "capped": capped,
            "seconds": self.seconds,
        }  # fmt: skip


@dataclass(slots=True)
class _Loaded:
    """A day as it was read; ``missing``: traces whose text cannot be read, ``more``: those that were not read."""

    day: Day
    fingerprint: bytes
    missing: int
    more: int
    aside: dict[str, set[UUID]]


class _Run:
    """One run, whose connection has the lock of runs."""

    def __init__(
        self, runs: DreamRuns, connection: Connection, run_id: UUID, asked: Asked, as_of: datetime, tell: Tell,
        shift: float | None = None,
    ) -> None:  # fmt: skip
        self._runs = runs
        self._settings = runs.settings
        self._database = runs.database
        self._connection = connection
        self._id = run_id
        self._asked = asked
        self._tell = tell
        self._shift = shift
        self._night = Night(
            runs.settings, runs.database, runs.model, run_id, as_of, connection, self._language_model
        )  # fmt: skip
        self._places = {name: place for place, name in enumerate(runs.stages.names)}
        self._totals: dict[UUID, dict[str, Total]] = {}
        self._dirty: set[tuple[UUID, str]] = set()
        self._spaces: dict[UUID, _Space] = {}
        self._tokens: dict[UUID, int] = {}
        """What language models took for each space in other runs of this night."""

        self._versions: dict[UUID, int | None] = {}
        """The version of a user if nobody but this run has written since it was looked at."""
        self._spaces_meant: list[UUID] = []
        self._until = float("inf")
        self._noted = 0.0
        self._errors: dict[str, str] = {}
        self.more = False
        """Whether a shift has ended, and the run has not."""

    async def go(self) -> Outcome:
        """The whole run."""
        began = time.monotonic()
        if not await repository.begin(self._connection, self._id, self._asked, self._night.as_of, clock.now()):
            return await self._ended_before()
        for space_id, report in (await repository.spaces_of(self._connection, self._id)).items():
            self._spaces_meant.append(space_id)
            self._spaces[space_id] = _Space(aside=report.get("aside", 0), seconds=report.get("seconds", 0.0))
            await self._load_totals(space_id)
        worked = max((space.seconds for space in self._spaces.values()), default=0.0)
        left = max(0.0, self._settings.dream_max_minutes * 60.0 - worked)
        self._until = began + left
        if self._shift is not None:
            self._until = min(self._until, began + self._shift)
            self._night.until = began + LONGEST_SECONDS
        state, capped = "done", False
        try:
            capped = not await self._dream()
            if capped and self._shift is not None and left > self._shift:
                state, self.more = "paused", True
            elif self._asked.has_end:
                await self._finish()
        except Halted as halted:
            state = halted.state
        except TakenOver:
            log.warning("dream taken over", run=str(self._id))
            raise
        except Exception as error:
            if _is_outage(error) or self._connection.broken or self._connection.closed:
                await self._say_why(error, began)
                raise
            self._errors[""] = sentence(error)
            log.exception("dream failed", run=str(self._id), error=type(error).__name__)
        if self._errors and state == "done":
            state = "failed"
        return await self._end(state, began, capped=capped)

    async def _dream(self) -> bool:
        """Dreams all days that are due; False where the time was over before."""
        plan = await nights.plan(self._connection, self._asked, self._night.as_of, self._settings.dream_time_zone)
        # A space that was made since the run began has no report.
        plan.days = [due for due in plan.days if due.who.space_id in self._totals]
        for who in plan.quiet:
            await self._through(who, plan, who.version)
        left = Counter(due.who.user_id for due in plan.days)
        failed = set[UUID]()
        for due in plan.days:
            self._space(due.who).left += 1
        for number, due in enumerate(plan.days):
            await self._look()
            if time.monotonic() > self._until:
                return False
            who, space = due.who, self._space(due.who)
            self._versions.setdefault(who.user_id, who.version)
            self._tell(Progress("", f"{due.day}", number, len(plan.days)))
            if not await self._one(due):
                failed.add(who.user_id)
            space.left -= 1
            left[who.user_id] -= 1
            version = self._versions[who.user_id]
            over = not left[who.user_id] and self._asked.day is None and who.user_id not in failed
            if over and version is not None:
                await self._through(who, plan, version)
        self._tell(Progress("", "", len(plan.days), len(plan.days)))
        return True

    def _space(self, who: Dreamer) -> _Space:
        return self._spaces.setdefault(who.space_id, _Space())

    async def _through(self, who: Dreamer, plan: Plan, version: int) -> None:
        """No day of a user is left: what was noted to be made anew, is."""
        async with self._database.writing(who.space_id) as session:
            await deriving.forget_rebuilds(session, who.user_id, plan.looked_at)
            if who.user_id not in plan.later:
                await repository.through(session, who, version)

    async def _one(self, due: Due) -> bool:
        """Dreams a day; False where it is to be looked at again."""
        who = due.who
        for _ in range(ROUNDS):
            try:
                return await self._day(due)
            except _Stale:
                continue
            except _Gone:
                return True
        async with self._database.writing(who.space_id) as session:
            await repository.leave_day(session, who.user_id, due.day, self._id)
        self._skip(who.space_id, "days changed meanwhile")
        return False

    async def _day(self, due: Due) -> bool:
        who = due.who
        loaded = await self._read(due)
        async with self._database.writing(who.space_id) as session:
            begun = await repository.begin_day(session, who, due.day, loaded.fingerprint, self._id)
        if begun is None:
            raise _Gone
        done, attempts = begun
        errors: list[str] = []
        counted = attempts
        if attempts > repository.MOST_ATTEMPTS:
            errors.append(f"It ended the process {repository.MOST_ATTEMPTS} times in the stage after {done}.")
        elif loaded.missing:
            errors.append(f"The texts of {loaded.missing} traces are in cold storage, which cannot be read.")
            # The storage's fault, not the day's.
            counted -= 1
        else:
            if loaded.more:
                self._skip(who.space_id, f"beyond the first {MOST_TRACES} traces of a day", loaded.more)
            errors += await self._stages(due, loaded, done)
        await self._end_day(due, errors, counted, empty=not loaded.day.traces)
        return not errors

    async def _stages(self, due: Due, loaded: _Loaded, done: str | None) -> list[str]:
        """Asks the stages that are not done yet; what went wrong, in sentences."""
        errors: list[str] = []
        places = [stage.name for stage in self._runs.stages.days]
        first = places.index(done) + 1 if done in places else 0
        for stage in self._runs.stages.days[first:]:
            await self._look()
            began, busy = time.monotonic(), time.process_time()
            try:
                await self._stage(stage, loaded, failed=bool(errors))
            except (_Stale, _Gone, TakenOver, Halted):
                raise
            except Exception as error:
                if _is_outage(error) or self._connection.broken or self._connection.closed:
                    raise
                errors.append(f"{stage.name}: {sentence(error)}")
                self._total(due.who.space_id, stage.name).error = sentence(error)
                log_failure("stage failed", error, stage=stage.name, day=str(due.day), user=str(due.who.user_id))
            took = time.monotonic() - began
            self._total(due.who.space_id, stage.name).seconds += took
            # Waiting for a language model or a file is no work, and other threads may work beside.
            await asyncio.sleep(REST * min(took, time.process_time() - busy))
        return errors

    async def _stage(self, stage: DayStage, loaded: _Loaded, *, failed: bool) -> None:
        """Asks a stage of a day, without the traces that it cannot take."""
        aside = loaded.aside.setdefault(stage.name, set())
        if aside:
            self._skip(loaded.day.space_id, "set aside before", len(aside), stage.name)
        while True:
            day = _without(loaded.day, aside)
            try:
                return await self._ask(stage, day, failed=failed)
            except Poisonous as error:
                culprit, why = error.trace_id, str(error)
            except (_Stale, _Gone, TakenOver, Halted):
                raise
            except Exception as error:
                if _is_outage(error) or len(aside) >= MOST_ASIDE:
                    raise
                found = await self._culprit(stage, day)
                if found is None:
                    raise
                culprit, why = found, sentence(error)
                log_failure("trace set aside", error, stage=stage.name, trace=str(culprit))
            trace = next((one for one in day.traces if one.id == culprit), None)
            if trace is None:
                raise RuntimeError(f"The stage {stage.name} complains of a trace that it was not given.")
            await self._set_aside(stage, day, trace, why)
            aside.add(culprit)

    async def _ask(self, stage: DayStage, day: Day, *, failed: bool) -> None:
        """Asks a stage once; what it writes is committed with the totals and, where none ``failed``, the checkpoint."""
        prepared = await stage.prepare(day, self._night)
        total = self._total(day.space_id, stage.name)
        if isinstance(prepared, Did):
            total.did.add(prepared)
            self._dirty.add((day.space_id, stage.name))
            return
        did, version = await again(lambda: self._write(stage, day, prepared, total, failed=failed))
        total.did.add(did)
        if version is not None:
            expected = self._versions.get(day.user_id)
            self._versions[day.user_id] = version[1] if version[0] == expected else None
        if self._runs.bell is not None:
            await asyncio.gather(*(self._runs.bell.ring(one) for one in did.operations))

    async def _write(
        self, stage: DayStage, day: Day, write: Write, total: Total, *, failed: bool
    ) -> tuple[Did, tuple[int, int] | None]:  # fmt: skip
        """One transaction of a stage; what it did, and the versions before and after."""
        now = clock.now()
        async with self._database.writing(day.space_id, seconds=WRITE_SECONDS) as session:
            before = await self._lock(session, day)
            did = await write(session)
            after = before
            if did.changes:
                await memories.touch_version(session, day.space_id, day.user_id, now)
                after = max(before + 1, milliseconds(now))
            sofar = replace(total, did=_sum(total.did, did))
            await repository.note_stage(session, day.space_id, self._id, stage.name, sofar)
            name = None if failed else stage.name
            if not await repository.checkpoint(session, day.user_id, day.day, self._id, name):
                raise TakenOver
        return did, (before, after)

    async def _lock(self, session: WriteSession, day: Day) -> int:
        """Locks the user and makes sure that the day is as it was read; the user's version.

        Raises:
            _Gone: there is no such user any more.
            _Stale: a trace of the day was changed or forgotten.
        """
        version = await deriving.lock_user(session, day.space_id, day.user_id)
        if version is None:
            raise _Gone
        if not await repository.are_as_they_were(session, day):
            raise _Stale
        return version

    async def _culprit(self, stage: DayStage, day: Day) -> UUID | None:
        """The one trace by which a stage fails; None where it is not one alone."""
        ids = day.ids
        while len(ids) > 1:
            half = len(ids) // 2
            parts = [part for part in (ids[:half], ids[half:]) if await self._breaks(stage, day.only(part))]
            if not parts:
                return None
            ids = parts[0]
        return ids[0] if ids else None

    async def _breaks(self, stage: DayStage, day: Day) -> bool:
        """Whether a stage fails with some traces of a day. What it writes is taken back."""
        await self._look()
        try:
            prepared = await stage.prepare(day, self._night)
            if not isinstance(prepared, Did):
                async with self._database.writing(day.space_id, seconds=WRITE_SECONDS) as session:
                    await self._lock(session, day)
                    await prepared(session)
                    raise _TakenBack  # noqa: TRY301 - rolls the transaction back
        except _TakenBack:
            return False
        except (_Stale, _Gone):
            raise
        except Exception as error:
            if _is_outage(error):
                raise
            return True
        return False

    async def _set_aside(self, stage: DayStage, day: Day, trace: Trace, why: str) -> None:
        self._space_of(day.space_id).aside += 1
        self._skip(day.space_id, "set aside", 1, stage.name)
        async with self._database.writing(day.space_id) as session:
            await repository.set_aside(session, day.user_id, trace, stage.name, why, clock.now())

    async def _end_day(self, due: Due, errors: Sequence[str], attempts: int, *, empty: bool) -> None:
        who, space, error = due.who, self._space(due.who), " ".join(errors) or None
        async with self._database.writing(who.space_id) as session:
            if await deriving.lock_user(session, who.space_id, who.user_id) is None:
                raise _Gone
            if not await repository.end_day(
                session, who.user_id, due.day, self._id, error, attempts, clock.now(), empty=empty
            ):
                raise TakenOver
            await repository.note_user(session, who, self._id, due.day, failed=bool(errors))
            for space_id, stage in sorted(self._dirty):
                if space_id == who.space_id:
                    await repository.note_stage(session, space_id, self._id, stage, self._totals[space_id][stage])
        self._dirty = {one for one in self._dirty if one[0] != who.space_id}
        space.days += 1
        space.failed += bool(errors)

    async def _read(self, due: Due) -> _Loaded:
        """A day with its traces, each of which is read once."""
        who = due.who
        async with self._database.reading(who.space_id, seconds=WRITE_SECONDS) as session:
            key = await deriving.space_key(session, who.space_id)
            traces, away, total, fingerprint = await repository.day_traces(
                session, who, due.day, MOST_TRACES, READ_CHARS
            )
            aside = await repository.aside(session, who.user_id, [trace.id for trace in traces])
        missing = 0
        if away:
            texts = await self._runs.cold.texts(who.space_id, [(who.user_id, trace_id) for trace_id in away])
            missing = len(away) - len(texts)
            found = {trace_id: text[:READ_CHARS] for (_, trace_id), text in texts.items()}
            traces = [replace(one, text=found[one.id]) if one.id in found else one for one in traces]
        day = Day(who.space_id, who.user_id, key, due.day, who.zone, who.language, tuple(traces))
        day = replace(day, groups=await asyncio.to_thread(grouped, day.traces))
        return _Loaded(day, fingerprint, missing, total - len(traces), aside)

    async def _finish(self) -> None:
        """The stages of the store."""
        for stage in self._runs.stages.store:
            await self._look()
            began = time.monotonic()
            did: dict[UUID, Did] = {}
            error: str | None = None
            try:
                did = await stage.run(self._night, self._spaces_meant, partial(self._told, stage.name))
            except Exception as failure:
                if self._connection.broken or self._connection.closed:
                    raise
                error = self._errors[stage.name] = sentence(failure)
                log_failure("stage failed", failure, stage=stage.name)
            for space_id in self._spaces_meant:
                total = self._total(space_id, stage.name)
                total.did.add(did.get(space_id, Did()))
                total.seconds += time.monotonic() - began
                total.error = error
                self._dirty.add((space_id, stage.name))

    def _told(self, stage: str, what: str, done: int) -> None:
        self._tell(Progress(stage, what, done))

    async def _look(self) -> None:
        """Between two stages.

        Raises:
            Halted: the run is to rest, or to end.
        """
        paused, cancelled = await repository.control(self._connection, self._id)
        if cancelled:
            raise Halted("cancelled")
        if paused:
            raise Halted("paused")
        if time.monotonic() - self._noted > NOTED_EVERY:
            self._noted = time.monotonic()
            await repository.note_night(self._connection, self._id, clock.now())

    async def _end(self, state: str, began: float, *, capped: bool) -> Outcome:
        reports, stages = dict[UUID, dict[str, Any]](), dict[str, Total]()
        seconds = time.monotonic() - began
        for space_id in self._spaces_meant:
            space, totals = self._spaces[space_id], self._totals[space_id]
            space.seconds = round(space.seconds + seconds, 3)
            for name, total in totals.items():
                if state != "paused":
                    total.state = "failed" if total.error else "done"
                _add(stages.setdefault(name, Total(total.place)), total)
            async with self._database.writing(space_id) as session:
                for name, total in totals.items():
                    await repository.note_stage(session, space_id, self._id, name, total)
                reports[space_id] = space.report(
                    await repository.dreamt(session, space_id, self._id), capped=capped
                )  # fmt: skip
        error = " ".join(self._errors.values()) or None
        spaces = self._spaces.values()
        await repository.end(
            self._connection, self._id, state, reports, error, clock.now(), capped=capped,
            days=sum(one.days for one in spaces), failed=sum(one.failed for one in spaces),
        )  # fmt: skip
        counted = {
            name: sum(one[name] for one in reports.values()) for name in ("days", "failed", "left", "users", "aside")
        }
        outcome = Outcome(
            id=self._id, state=state, as_of=self._night.as_of, capped=capped, seconds=round(seconds, 3), error=error,
            stages=dict(sorted(stages.items(), key=lambda one: one[1].place)), **counted,
        )  # fmt: skip
        log.info("dreamt", run=str(self._id), **outcome.report())
        return outcome

    async def _say_why(self, error: Exception, began: float) -> None:
        """Says why the run ends, if PostgreSQL takes that."""
        self._errors[""] = sentence(error)
        if self._connection.broken or self._connection.closed:
            return
        try:
            await self._end("failed", began, capped=False)
        except psycopg.Error as failure:
            log.warning("run not ended", error=type(failure).__name__, reason=reason(failure))

    async def _ended_before(self) -> Outcome:
        """A run that has come to its end already."""
        night = await repository.get_night(self._connection, self._id)
        assert night is not None  # noqa: S101 - it was there when the run was to begin
        return Outcome(
            id=night.id, state=night.state, as_of=night.as_of, days=night.days, failed=night.failed, left=0, users=0,
            aside=0, capped=night.capped, seconds=0.0, stages={}, error=night.error,
        )  # fmt: skip

    async def _load_totals(self, space_id: UUID) -> None:
        async with self._database.reading(space_id) as session:
            found = await repository.totals(session, space_id, self._id)
            # A night's budget is one, however many runs somebody begins by hand.
            since = nights.came(clock.now(), self._settings.dream_time, ZoneInfo(self._settings.dream_time_zone))
            self._tokens[space_id] = await repository.tokens_of_others(session, space_id, self._id, since)
        self._totals[space_id] = {
            name: replace(found[name], place=place) if name in found else Total(place)
            for name, place in self._places.items()
        }

    def _language_model(self, space_id: UUID) -> Budgeted | None:
        spent = sum(total.did.tokens for total in self._totals.get(space_id, {}).values())
        spent += self._tokens.get(space_id, 0)
        return self._runs.language_model_of(space_id, spent)

    def _total(self, space_id: UUID, stage: str) -> Total:
        return self._totals.setdefault(space_id, {}).setdefault(stage, Total(self._places[stage]))

    def _space_of(self, space_id: UUID) -> _Space:
        return self._spaces.setdefault(space_id, _Space())

    def _skip(self, space_id: UUID, why: str, count: int = 1, stage: str | None = None) -> None:
        name = stage or self._runs.stages.days[0].name
        self._total(space_id, name).did.skipped[why] += count
        self._dirty.add((space_id, name))


def _without(day: Day, aside: set[UUID]) -> Day:
    if not aside:
        return day
    return replace(day.only(one for one in day.ids if one not in aside), aside=frozenset(aside))


def _sum(one: Did, other: Did) -> Did:
    both = replace(one, skipped=Counter(one.skipped), operations=[])
    both.add(other)
    return both


def _add(sofar: Total, other: Total) -> None:
    sofar.did.add(other.did)
    sofar.seconds += other.seconds
    sofar.error = sofar.error or other.error
    sofar.state = other.state if sofar.state != "failed" else sofar.state


def _is_outage(error: Exception) -> bool:
    """Whether PostgreSQL could not do it just then: nobody's fault, and the whole run's matter."""
    theirs = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, *IN_THE_WAY)
    limit = (getattr(error, "sqlstate", None) or "").startswith("54")
    return isinstance(error, PASSING) and not isinstance(error, theirs) and not limit
