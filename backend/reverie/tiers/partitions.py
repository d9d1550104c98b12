"""Weekly partitions of ``memory_body`` and ``memory_embedding``: a uuid v7 begins with its time, so a week is a range.

Weeks begin on Monday at 00:00 UTC (ISO 8601). Partitions are made ahead by a job, and on demand by whoever is about to
write a trace of a week that has none: on a connection of its own and *before* the transaction of the write, whose locks
the new partition would wait for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from reverie.core.database import Connection, Row
from reverie.core.ids import lower_bound
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers.indexes import list_models, model_indexes
from reverie.tiers.locks import with_brief_locks

SQL = Queries("reverie.tiers")

BODY = "memory_body"
EMBEDDING = "memory_embedding"
PARENTS = (BODY, EMBEDDING)

_WEEK = timedelta(days=7)


@dataclass(frozen=True, order=True, slots=True)
class Week:
    """One partition's span of time, ``since`` inclusive and ``until`` exclusive."""

    since: datetime

    @property
    def until(self) -> datetime:
        return self.since + _WEEK

    @property
    def lower(self) -> UUID:
        return lower_bound(self.since)

    @property
    def upper(self) -> UUID:
        """The first id after the week."""
        return lower_bound(self.until)

    def table(self, parent: str) -> str:
        """The name of its partition, such as ``memory_body_2026w47``."""
        year, week, _ = self.since.isocalendar()
        return f"{parent}_{year:04d}w{week:02d}"


def week_of(moment: datetime) -> Week:
    """The week that holds ``moment`` (aware)."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Week(day - timedelta(days=day.weekday()))


def weeks_between(since: datetime, until: datetime) -> list[Week]:
    """The weeks that hold any moment from ``since`` to ``until``, both inclusive."""
    week = week_of(since)
    weeks = [week]
    while week.until <= until:
        week = Week(week.until)
        weeks.append(week)
    return weeks


async def ensure_partitions(connection: Connection, since: datetime, until: datetime) -> list[str]:
    """Makes the partitions that are missing between two moments, inclusive, and returns their names.

    ``connection`` is the owner's, in autocommit. Callers at once take turns. One look-up when nothing is missing.

    Raises:
        psycopg.errors.LockNotAvailable: other sessions kept the tables locked for 30 seconds.
    """
    made = []
    for week in sorted({week for week, _ in await _missing(connection, weeks_between(since, until))}):
        made += await with_brief_locks(connection, partial(_make_week, connection, week))
    return made


async def _make_week(connection: Connection, week: Week) -> list[str]:
    models = await list_models(connection)
    return [await _make(connection, week, parent, models) for week, parent in await _missing(connection, [week])]


async def _make(connection: Connection, week: Week, parent: str, models: list[Model]) -> str:
    # Everything stands before ATTACH, which then has nothing to build. An empty table needs no CHECK of its range:
    # there is nothing to scan, and one that stays would be weighed against every query.
    table = week.table(parent)
    await connection.execute(SQL.text("create_table", table=table, parent=parent))
    await connection.execute(SQL.text("revoke", table=table))
    await connection.execute(SQL.text(f"{parent}_key", table=table))
    if parent == BODY:
        await connection.execute(SQL.text("lexemes_index", table=table, index=f"{table}_lexemes"))
    else:
        for model in models:
            for statement in model_indexes(table, "hot", model, concurrently=False).values():
                await connection.execute(statement)
    await connection.execute(SQL.text("foreign_key", table=table))
    await connection.execute(
        SQL.text("attach", table=table, parent=parent, lower=str(week.lower), upper=str(week.upper))
    )
    await connection.execute(SQL["add_partition"], (table, parent, week.lower, week.upper))
    return table


async def _missing(connection: Connection, weeks: list[Week]) -> list[tuple[Week, str]]:
    cursor = await connection.execute(SQL["covered"], (weeks[-1].upper, weeks[0].lower))
    ranges = await cursor.fetchall()
    return [(week, parent) for week in weeks for parent in PARENTS if not _covered(week, parent, ranges)]


def _covered(week: Week, parent: str, ranges: Iterable[Row]) -> bool:
    """Whether one range holds the week: a merged partition holds several."""
    return any(of == parent and lower <= week.lower and week.upper <= upper for of, lower, upper in ranges)
