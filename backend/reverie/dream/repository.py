"""SQL of the dream: by the owner of the schema what goes over all users, in sessions of a space all else."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from reverie.core.database import Connection, ReadSession, Row, WriteSession
from reverie.core.queries import Queries
from reverie.dream.protocol import Day, Did, Trace
from reverie.text.summaries import Turn

SQL = Queries("reverie.dream")

RUNS = 0x7265_7665_6472_6D
"""Advisory lock of the one who dreams: the bytes of "revedrm"."""

KEPT: Final = timedelta(days=90)
"""For so long runs can be looked at, and taken back."""

MOST_ATTEMPTS: Final = 5
"""So often a day is begun whose stage fails, or ends the process, before it waits for a change of its traces."""

_FIRST: Final = UUID(int=0)
_USERS: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run goes over: one space, one user of it, one day; or all. Inner ids."""

    space_id: UUID | None = None
    user_id: UUID | None = None
    day: date | None = None

    @property
    def has_end(self) -> bool:
        """Whether the stages of the store follow: nobody asked for a part of what is due."""
        return self.day is None and self.user_id is None

    @property
    def whole(self) -> bool:
        """Whether it is all that a night does."""
        return self.has_end and self.space_id is None

    def out(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, stored: dict[str, str]) -> "Asked":
        return cls(
            UUID(stored["space_id"]) if "space_id" in stored else None,
            UUID(stored["user_id"]) if "user_id" in stored else None,
            date.fromisoformat(stored["day"]) if "day" in stored else None,
        )


@dataclass(frozen=True, slots=True)
class NightRow:
    """A row of ``dream_night``."""

    id: UUID
    state: str
    asked: dict[str, str]
    as_of: datetime
    whole: bool
    capped: bool
    days: int
    failed: int
    started_at: datetime
    seen_at: datetime
    finished_at: datetime | None
    error: str | None


class RunRow(NamedTuple):
    """A row of ``dream_run``, with the day and the user (in the caller's words) that were asked for."""

    id: UUID
    state: str
    day: str | None
    user: str | None
    started_at: datetime
    seen_at: datetime
    finished_at: datetime | None
    report: dict[str, Any]
    error: str | None


class Watched(NamedTuple):
    """A run that goes on, as others see it: days that it has dreamt so far, and those of them that failed."""

    id: UUID
    started_at: datetime
    seen_at: datetime
    days: int
    failed: int


class Dreamer(NamedTuple):
    """A user who dreams: whose days are those of ``zone``; ``version`` when it was looked at."""

    space_id: UUID
    user_id: UUID
    external_id: str
    version: int
    zone: str
    language: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A day of a user that is to be dreamt."""

    who: Dreamer
    day: date
    traces: int


@dataclass(slots=True)
class Total:
    """What a stage did for a space in a run so far."""

    place: int
    state: str = "running"
    did: Did = field(default_factory=Did)
    seconds: float = 0.0
    error: str | None = None


async def take_runs(connection: Connection) -> bool:
    """Takes the lock of runs until the connection closes; False when somebody has it."""
    return bool((await _row(connection, SQL["take_runs"], RUNS))[0])


async def is_running(connection: Connection) -> bool:
    """Whether anybody dreams."""
    return bool((await _row(connection, SQL["is_running"], RUNS))[0])


async def control(connection: Connection, run_id: UUID) -> tuple[bool, bool]:
    """(the dream rests, this run is to end)."""
    row = await _row(connection, SQL["control"], run_id)
    return bool(row[0]), bool(row[1])


async def set_paused(connection: Connection, to: bool) -> bool:
    """Pauses the dream, or lets it go on; False where it was so already."""
    return await (await connection.execute(SQL["set_paused"], (to, to))).fetchone() is not None


async def cancel(connection: Connection, now: datetime) -> list[UUID]:
    """Has the run end that goes on or rests; which one."""
    async with connection.transaction():
        cursor = await connection.execute(SQL["cancel"], (now,))
        ids = [row[0] for row in await cursor.fetchall()]
        await connection.execute(SQL["cancel_runs"], (now, ids))
    return ids


async def begin(connection: Connection, run_id: UUID, asked: Asked, as_of: datetime, now: datetime) -> bool:
    """Notes that a run begins, or goes on, and that those before it have ended; False where it was through already."""
    async with connection.transaction():
        ended = [row[0] for row in await (await connection.execute(SQL["end_broken_off"], (run_id,))).fetchall()]
        await connection.execute(SQL["end_broken_off_runs"], (ended,))
        values = (run_id, Jsonb(asked.out()), as_of, asked.whole, now, now)
        if await (await connection.execute(SQL["begin_night"], values)).fetchone() is None:
            return False
        space = (asked.space_id, asked.space_id)
        await connection.execute(SQL["begin_run"], (run_id, Jsonb(asked.out()), now, now, *space))
        await connection.execute(SQL["forget_nights"], (now - KEPT,))
        await connection.execute(SQL["forget_runs"])
    return True


async def spaces_of(connection: Connection, run_id: UUID) -> dict[UUID, dict[str, Any]]:
    """The spaces that a run goes over, with its reports when it rested last."""
    return {row[0]: row[1] for row in await (await connection.execute(SQL["runs_of"], (run_id,))).fetchall()}


async def dreamt(session: ReadSession, space_id: UUID, run_id: UUID) -> tuple[int, int, int]:
    """(days, those of them that failed, users) of a run in a space."""
    row = await session.fetch_one(SQL["dreamt"], (space_id, run_id))
    assert row is not None  # noqa: S101 - a count
    return row[0], row[1], row[2]


async def note_night(connection: Connection, run_id: UUID, now: datetime) -> None:
    """Notes that a run goes on."""
    await connection.execute(SQL["note_night"], (now, run_id))


async def end(
    connection: Connection, run_id: UUID, state: str, reports: dict[UUID, dict[str, Any]], error: str | None,
    now: datetime, *, capped: bool, days: int, failed: int,
) -> None:  # fmt: skip
    """Notes how a run has ended, or rests; ``reports`` by space, ``days`` and ``failed`` since it went on."""
    async with connection.transaction():
        await connection.execute(SQL["end_night"], (state, capped, error, days, failed, now, now, run_id))
        for space_id, report in reports.items():
            await connection.execute(SQL["end_run"], (state, Jsonb(report), error, now, now, space_id, run_id))


async def last_night(connection: Connection) -> NightRow | None:
    """The run over the whole store that began last."""
    return await _night(connection, SQL["last_night"])


async def get_night(connection: Connection, run_id: UUID) -> NightRow | None:
    """A run."""
    return await _night(connection, SQL["get_night"], run_id)


async def watch(connection: Connection) -> Watched | None:
    """The run that goes on."""
    row = await (await connection.execute(SQL["watch"])).fetchone()
    return Watched(*row) if row else None


async def resting(connection: Connection) -> NightRow | None:
    """The run that rests for longest."""
    return await _night(connection, SQL["resting"])


async def _night(connection: Connection, query: bytes, *parameters: object) -> NightRow | None:
    row = await (await connection.execute(query, parameters or None)).fetchone()
    return NightRow(*row) if row else None


async def dreamers(
    connection: Connection, asked: Asked, zone: str, after: UUID | None, *, changed: bool
) -> list[Dreamer]:
    """The next users who dream, by their ids; those who have ``changed`` alone, or all."""
    query = SQL["changed_users"] if changed else SQL["all_users"]
    whom = (asked.space_id, asked.space_id, asked.user_id, asked.user_id)
    cursor = await connection.execute(query, (zone, after or _FIRST, *whom, _USERS))
    return [Dreamer(*row) for row in await cursor.fetchall()]


async def days_until(connection: Connection, moment: datetime, zone: str) -> tuple[date, date]:
    """(the last day that is over, the day that goes on) in a time zone."""
    row = await _row(connection, SQL["days_until"], moment, zone, moment, zone)
    return row[0], row[1]


async def due_days(connection: Connection, who: Dreamer, last: date) -> list[Due]:
    """The days of a user to be dreamt, up to ``last``."""
    cursor = await connection.execute(SQL["due_days"], (who.user_id, who.zone, last, MOST_ATTEMPTS, MOST_ATTEMPTS))
    return [Due(who, row[0], row[1]) for row in await cursor.fetchall()]


async def due_day(connection: Connection, who: Dreamer, day: date) -> Due | None:
    """One day of a user; None where it has nothing of it, and nothing was made of it."""
    row = await _row(connection, SQL["due_day"], day, who.user_id, day, day, who.zone, day)
    if row[1] or bool((await _row(connection, SQL["is_dreamt"], who.user_id, day))[0]):
        return Due(who, row[0], row[1])
    return None


async def has_later(connection: Connection, who: Dreamer, last: date) -> bool:
    """Whether a user has traces of days after ``last``."""
    return bool((await _row(connection, SQL["has_later"], who.user_id, last, who.zone, last))[0])


async def begin_day(
    session: WriteSession, who: Dreamer, day: date, fingerprint: bytes, run_id: UUID
) -> tuple[str | None, int] | None:
    """Takes a day on: (the last stage that is done of it, how often it was begun); None where the user is gone."""
    row = await session.fetch_one(SQL["begin_day"], (who.space_id, day, fingerprint, run_id, who.user_id))
    return None if row is None else (row[0], row[1])


async def checkpoint(session: WriteSession, user_id: UUID, day: date, run_id: UUID, stage: str | None) -> bool:
    """Notes that a stage of a day is done, or none; False where another run has taken the day over."""
    return bool(await session.fetch(SQL["checkpoint"], (stage, stage, user_id, day, run_id)))


async def leave_day(session: WriteSession, user_id: UUID, day: date, run_id: UUID) -> None:
    """Leaves a day for another time; this attempt does not count."""
    await session.execute(SQL["leave_day"], (user_id, day, run_id))


async def end_day(
    session: WriteSession, user_id: UUID, day: date, run_id: UUID, error: str | None, attempts: int, now: datetime, *,
    empty: bool,
) -> bool:  # fmt: skip
    """Notes that a day is through, or failed at its n-th attempt; False where another run has taken it over."""
    if empty and error is None:
        return bool(await session.fetch(SQL["drop_day"], (user_id, day, run_id)))
    state = "done" if error is None else "failed"
    return bool(await session.fetch(SQL["end_day"], (state, attempts, error, now, user_id, day, run_id)))


async def note_user(session: WriteSession, who: Dreamer, run_id: UUID, day: date, *, failed: bool) -> None:
    """Counts a day of a user's among those of a run."""
    await session.execute(SQL["note_user"], (who.space_id, run_id, int(failed), day, day, who.user_id))


async def note_stage(session: WriteSession, space_id: UUID, run_id: UUID, stage: str, total: Total) -> None:
    """Writes what a stage did so far."""
    did = total.did
    await session.execute(
        SQL["note_stage"],
        (
            space_id, run_id, stage, total.place, total.state, did.saw, did.made, did.moved, did.removed,
            Jsonb(dict(did.skipped)), round(total.seconds, 3), did.bytes, did.model, did.tokens, total.error,
        ),
    )  # fmt: skip


async def totals(session: ReadSession, space_id: UUID, run_id: UUID) -> dict[str, Total]:
    """What the stages of a run did for a space so far."""
    found: dict[str, Total] = {}
    for place, row in enumerate(await session.fetch(SQL["stages_of"], (space_id, run_id))):
        did = Did(saw=row[2], made=row[3], moved=row[4], removed=row[5], bytes=row[8], model=row[9], tokens=row[10])
        did.skipped.update(row[6])
        found[row[0]] = Total(place, row[1], did, row[7], row[11])
    return found


async def tokens_of_others(session: ReadSession, space_id: UUID, run_id: UUID, since: datetime) -> int:
    """What language models took for a space since a moment, in other runs than this one."""
    row = await session.fetch_one(SQL["tokens_of_others"], (space_id, run_id, since))
    return 0 if row is None else int(row[0])


async def through(session: WriteSession, who: Dreamer, version: int) -> None:
    """Notes that no day of a user is left, unless somebody else has written meanwhile."""
    await session.execute(SQL["through"], (who.space_id, who.user_id, version))


async def day_traces(
    session: ReadSession, who: Dreamer, day: date, most: int, longest: int
) -> tuple[list[Trace], set[UUID], int, bytes]:
    """The traces of a day, at most ``most`` and ``longest`` characters of each.

    Returns:
        The traces; those whose text is not in PostgreSQL; how many there are in all; the fingerprint of all.
    """
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    low, high = max(noon, datetime(1, 1, 4, tzinfo=UTC)) - timedelta(days=2), noon + timedelta(days=2)
    rows = await session.fetch(SQL["day_traces"], (longest, who.user_id, low, high, who.zone, day, most))
    if not rows:
        return [], set(), 0, bytes(8) * 2
    traces = [Trace(*(*row[:13], row[15] or "")) for row in rows]
    return traces, {row[0] for row in rows if row[15] is None}, rows[0][13], bytes(rows[0][14])


async def earlier_texts(session: ReadSession, day: Day, most: int, longest: int) -> list[list[Turn[UUID]]]:
    """What stands before a day, at most so many traces and characters of each: by conversation and day."""
    end = datetime(day.day.year, day.day.month, day.day.day, tzinfo=UTC) + timedelta(days=1)
    given = (day.zone, longest, day.user_id, end, day.zone, day.day, most)
    found: dict[tuple[str | None, date], list[Turn[UUID]]] = {}
    for conversation_id, of, trace_id, speaker, role, text, language in await session.fetch(
        SQL["earlier_texts"], given
    ):
        found.setdefault((conversation_id, of), []).append(Turn(trace_id, speaker or role, text, language))
    return list(found.values())


async def aside(session: ReadSession, user_id: UUID, trace_ids: Sequence[UUID]) -> dict[str, set[UUID]]:
    """Stage → the traces that it does without."""
    found: dict[str, set[UUID]] = {}
    for stage, trace_id in await session.fetch(SQL["aside"], (user_id, list(trace_ids))):
        found.setdefault(stage, set()).add(trace_id)
    return found


async def set_aside(
    session: WriteSession, user_id: UUID, trace: Trace, stage: str, error: str, now: datetime
) -> None:  # fmt: skip
    """Has a stage do without a trace until that is changed."""
    await session.execute(SQL["set_aside"], (stage, trace.updated_at, error, now, user_id, trace.id))


async def are_as_they_were(session: ReadSession, day: Day) -> bool:
    """Whether all traces of a day are still as they were read; the user is locked."""
    given = ([trace.id for trace in day.traces], [trace.updated_at for trace in day.traces], day.user_id)
    row = await session.fetch_one(SQL["as_they_were"], given)
    return row is not None and row[0] == len(day.traces)


async def dreams(session: ReadSession, user_id: UUID) -> tuple[bool, str | None] | None:
    """(whether a user dreams, its time zone); None where there is no such user."""
    row = await session.fetch_one(SQL["dreams"], (user_id,))
    return None if row is None else (row[0], row[1])


async def list_runs(session: ReadSession, space_id: UUID, before: UUID | None, limit: int) -> list[RunRow]:
    """Runs as a space sees them, newest first."""
    return [RunRow(*row) for row in await session.fetch(SQL["list_runs"], (space_id, before, before, limit))]


async def get_run(session: ReadSession, space_id: UUID, run_id: UUID) -> RunRow | None:
    """A run as a space sees it."""
    row = await session.fetch_one(SQL["get_run"], (space_id, run_id))
    return RunRow(*row) if row else None


async def users_of(session: ReadSession, space_id: UUID, run_id: UUID, limit: int) -> list[Row]:
    """(external id, days, failed days, first and last day) of users whom a run dreamt, those with most days first."""
    return await session.fetch(SQL["users_of"], (space_id, run_id, limit))


async def next_users_of(
    session: ReadSession, space_id: UUID, run_id: UUID, after: UUID, limit: int
) -> list[UUID]:  # fmt: skip
    """The next users whom a run dreamt, by their ids."""
    return [row[0] for row in await session.fetch(SQL["next_users_of"], (space_id, run_id, after, limit))]


async def undone(session: WriteSession, space_id: UUID, run_id: UUID) -> None:
    """Notes that what a run made of a space was taken back."""
    await session.execute(SQL["undone"], (space_id, run_id))


async def _row(connection: Connection, query: bytes, *parameters: object) -> Row:
    row = await (await connection.execute(query, parameters or None)).fetchone()
    assert row is not None  # noqa: S101 - each of these has a row
    return row
