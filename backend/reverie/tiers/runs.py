"""Going through the tiers: what is due is moved, step by step, by one runner at a time.

A run is made of steps, which stand for themselves: where one fails, because the object storage is out, the others go
on, the report says so, and the next run tries again. Whatever a run that was killed has left is looked for and ended by
the next one, before anything else. It can be paused, which is looked at between two moves and within them; and after
its minutes it begins no other move.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Connection, Database
from reverie.core.errors import Conflict, Invalid, ReverieError
from reverie.core.ids import moment_of, uuid7
from reverie.core.outages import PASSING, trouble_of
from reverie.core.telemetry import reason, way_to
from reverie.objects.store import Missing, StorageTrouble
from reverie.tiers import moving, repository
from reverie.tiers.moving import Move, Moved

NOTED_EVERY: Final = 2.0
"""Seconds between two notes of how far a run has come."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step has come: ``done`` of ``total`` traces (None: not known) of what ``what`` names."""

    step: str
    what: str
    done: int
    total: int | None = None


Tell = Callable[[Progress], None]


class Halted(Exception):  # noqa: N818 - what is to be done, no fault
    """The run ends here, between two moves: it is paused, or its time is over."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


@dataclass(slots=True)
class Run:
    """What a step is given.

    Attributes:
        connection: the owner's, in autocommit; it has the lock of runs.
        as_of: the moment by which it is said what is due.
        report: by step, what was done: counts, bytes and seconds; no text.
    """

    database: Database
    connection: Connection
    id: UUID
    as_of: datetime
    until: float
    tell: Tell
    report: dict[str, dict[str, Any]] = field(default_factory=dict)
    capped: bool = False
    _noted: float = 0.0

    def did(self, step: str, **amounts: float) -> None:
        """Adds amounts to a step's report."""
        entry = self.report.setdefault(step, {})
        for name, amount in amounts.items():
            added = entry.get(name, 0) + amount
            entry[name] = round(added, 3) if isinstance(added, float) else added

    def most(self, step: str, **amounts: float) -> None:
        """Keeps the greatest amounts in a step's report."""
        entry = self.report.setdefault(step, {})
        for name, amount in amounts.items():
            entry[name] = max(entry.get(name, 0), round(amount, 4))

    async def go_on(self) -> None:
        """Between two batches of a move.

        Raises:
            Halted: the run is paused.
        """
        now = time.monotonic()
        if now - self._noted < NOTED_EVERY:
            return
        self._noted = now
        await repository.note_run(self.connection, self.id, self.report, clock.now())
        if await repository.paused(self.connection):
            raise Halted("paused")

    async def next_move(self) -> None:
        """Between two moves.

        Raises:
            Halted: the run is paused, or its time is over.
        """
        self._noted = 0.0
        await self.go_on()
        if time.monotonic() > self.until:
            self.capped = True
            raise Halted("capped")


class Trouble(Exception):  # noqa: N818 - what is in the way
    """Some of a step could not be done; the message is what stood in its way, in sentences."""

    def __init__(self, troubles: Sequence[str]) -> None:
        super().__init__(" ".join(dict.fromkeys(troubles)))


async def move(run: Run, step: str, plan: Move) -> Moved:
    """Moves partitions, within a step: pausable, and with its amounts in the report."""
    done = 0
    since = f"{moment_of(plan.parts[0].lower):%Y-%m-%d}"

    async def each(rows: int, _size: int) -> None:
        nonlocal done
        done += rows
        run.tell(Progress(step, f"from {since}", done))
        await run.go_on()

    moved = await moving.move(run.database, plan, each)
    run.did(
        step, moves=1, rows=moved.rows, traces=moved.traces, changed=moved.changed, bytes_before=moved.bytes_before,
        bytes_after=moved.bytes_after,
    )  # fmt: skip
    run.most(step, held=moved.held)
    return moved


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a run; with ``always`` it is done also when the time is over: it is short, and others wait for it."""

    name: str
    work: Callable[[Run], Awaitable[None]]
    always: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run has ended: done, paused or failed; with ``capped`` there is more to do."""

    id: UUID
    state: str
    as_of: datetime
    report: dict[str, dict[str, Any]]
    errors: dict[str, str]
    capped: bool
    seconds: float

    @property
    def error(self) -> str | None:
        """Everything that failed, in one line."""
        return " ".join(self.errors.values()) or None


class TierRuns:
    """Runs over the tiers of one store."""

    def __init__(self, settings: Settings, database: Database, steps: Sequence[Step]) -> None:
        self._database = database
        self._steps = steps
        self._seconds = settings.memory_tier_minutes * 60.0

    async def run(
        self, as_of: datetime | None = None, tell: Tell = lambda _: None, seconds: float | None = None
    ) -> Outcome:
        """Does what is due, now or as of a moment; for ``seconds`` at most, if that is less than a run may take.

        Raises:
            Conflict: another runs, or runs are paused.
        """
        async with self._database.maintenance() as connection:
            if not await repository.take_runs(connection):
                raise Conflict("Another process goes through the tiers; `reverie tiers status` shows how far it is.")
            if await repository.paused(connection):
                raise Conflict("Runs over the tiers are paused: `reverie tiers resume` lets them go on.")
            most = self._seconds if seconds is None else min(self._seconds, seconds)
            return await self._run(connection, as_of or clock.now(), tell, most)

    async def pause(self) -> bool:
        """Has the run that goes on end soon, and no other begin; False when it was so already."""
        async with self._database.maintenance() as connection:
            return await repository.set_paused(connection, to=True)

    async def resume(self) -> bool:
        """Lets runs begin again; False when they were not paused."""
        async with self._database.maintenance() as connection:
            return await repository.set_paused(connection, to=False)

    async def _run(self, connection: Connection, as_of: datetime, tell: Tell, most: float) -> Outcome:
        began = time.monotonic()
        run = Run(self._database, connection, uuid7(clock.now()), as_of, began + most, tell)
        await repository.begin_run(connection, run.id, as_of, clock.now())
        errors: dict[str, str] = {}
        state = "done"
        for step in self._steps:
            if state == "paused" or (run.capped and not step.always):
                continue
            started = time.monotonic()
            try:
                await step.work(run)
            except Halted as halted:
                if halted.state == "paused":
                    state = "paused"
            except Exception as error:
                # Whatever a step meets, the others go on, and the report says it.
                if connection.broken or connection.closed:
                    raise
                log_failure("tier step failed", error, step=step.name)
                errors[step.name] = sentence(error)
            if step.name in run.report:
                run.did(step.name, seconds=time.monotonic() - started)
        if errors and state == "done":
            state = "failed"
        seconds = round(time.monotonic() - began, 3)
        outcome = Outcome(run.id, state, as_of, run.report, errors, run.capped, seconds)
        report = {"steps": run.report, "errors": errors, "capped": run.capped, "seconds": seconds}
        await repository.end_run(connection, run.id, state, report, outcome.error, clock.now())
        log.info("tiers gone through", state=state, seconds=seconds, capped=run.capped, steps=run.report)
        return outcome


def sentence(error: Exception) -> str:
    """What a report says of a failure: our own sentences, and of anything else no more than its kind."""
    return _known(error) or f"Something went wrong on our side ({type(error).__name__}); the log has the details."


def log_failure(event: str, error: Exception, **about: str) -> None:
    """Logs a failure with the way it came; as an error where a report says no more than its kind."""
    tell = log.error if _known(error) is None else log.warning
    tell(event, **about, error=type(error).__name__, reason=reason(error), at=way_to(error))


def _known(error: Exception) -> str | None:
    if isinstance(error, ReverieError):
        return error.detail
    if isinstance(error, Missing):
        # It names a path, and everybody's status shows this.
        return "A file of cold memory is missing."
    if isinstance(error, StorageTrouble | Trouble):
        return str(error)
    if isinstance(error, PASSING):
        return f"{trouble_of(error).what}."
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "Others kept the tables locked for too long."
    return None


def refuse_other_time(settings: Settings, *, force: bool) -> None:
    """Makes sure that a run may be given another moment.

    Raises:
        Invalid: the service may be reached from other machines: their memory would be moved ahead of its time.
    """
    if force or listens_on_loopback(settings.reverie_host):
        return
    raise Invalid(
        f"Another time is only for a service that listens on this machine alone, and REVERIE_HOST is "
        f"{settings.reverie_host}: what is moved ahead of its time is not moved back. Say --force if that is meant.",
        field="as_of",
    )


def listens_on_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a service at ``host``."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
