"""From hot to warm: weeks that are over long enough, some of them in one partition, with codes in place of vectors.

A warm partition covers at most four weeks, which are the same for every store: a week that is due is merged with what
is warm already of its four. What is written into them later has its vectors as hot rows have, and is found as these
are; the next run makes codes of it too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from reverie.core import clock
from reverie.core.database import Connection, Database
from reverie.core.ids import lower_bound, moment_of
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers import copying
from reverie.tiers.copying import From, Low, Trace
from reverie.tiers.indexes import Partition, list_all_partitions, list_models, list_partitions
from reverie.tiers.locks import AlreadyMoving, moving_alone
from reverie.tiers.moving import Move, Part, Source, in_turn
from reverie.tiers.partitions import BODY, EMBEDDING
from reverie.tiers.runs import Run, move

SQL = Queries("reverie.tiers", "moving.sql")

STEP: Final = "warm"
LATE: Final = "late"

ANNOUNCE_SECONDS: Final = 15.0
"""So long before the first rows of a store become warm it can be read that there may be some: processes look every ten
seconds, and those that do not know of it yet would not find them."""

SHARE: Final = 0.65
"""Of the time that is spent on copying; the rest is left to who remembers and recalls."""

BLOCK: Final = timedelta(weeks=4)
FIRST_BLOCK: Final = datetime(1970, 1, 5, tzinfo=UTC)

LATE_ROUND: Final = 500
"""Late rows of which codes are made in one transaction."""

LATE_MOST: Final = 20_000
"""Late rows of a partition from which on it is written anew: changed one by one they would leave it twice as large."""

log = structlog.get_logger(__name__)


async def due(
    connection: Connection, as_of: datetime, hot_days: int, low_salience: float = 0.0, share: float = 1.0
) -> Move | None:
    """The oldest weeks whose every row is older than so many days, of one block; else what is warm of a block that is
    over, to become one; None without either.

    While a block goes on its weeks stay apart: merged with each that comes, the first would be copied four times.

    Args:
        connection: the owner's.
        as_of: the moment by which it is.
        hot_days: MEMORY_HOT_DAYS.
        low_salience: MEMORY_LOW_SALIENCE.
        share: of the time that may be worked.
    """
    limit = lower_bound(as_of - timedelta(days=hot_days))
    known = await list_all_partitions(connection)
    vectors = [one for one in known if one.parent == EMBEDDING]
    bodies = [one for one in known if one.parent == BODY]
    ready = await _ready(connection, vectors, bodies, limit)
    if ready:
        ends = block_of(ready[-1].upper) != block_of(ready[0].lower)
        together = neighbours(vectors, ready) if ends or _is_past(ready[0], limit) else ready
    else:
        together = next(_apart(vectors, limit), [])
    if not together:
        return None
    lower, upper = together[0].lower, together[-1].upper
    texts = [one for one in bodies if one.lower < upper and one.upper > lower]
    parts = [Part(EMBEDDING, tuple(map(Source.of, together)))]
    if texts:
        parts.append(Part(BODY, tuple(map(Source.of, texts))))
    return Move(tuple(parts), "warm", Low(low_salience, as_of), share)


async def _ready(
    connection: Connection, vectors: Sequence[Partition], bodies: Sequence[Partition], limit: UUID
) -> list[Partition]:  # fmt: skip
    """The oldest hot weeks that are over, of one block."""
    hot = [one for one in vectors if one.tier == "hot"]
    ready: list[Partition] = []
    for one in hot:
        if block_of(one.lower) != block_of(hot[0].lower) or not await _is_over(connection, one, bodies, limit):
            break
        ready.append(one)
    return ready


def _apart(vectors: Sequence[Partition], limit: UUID) -> Iterator[list[Partition]]:
    """Warm partitions that stand side by side in a block that is over, with no hot one between."""
    for one in vectors:
        if one.tier == "warm" and _is_past(one, limit):
            together = neighbours(vectors, [one])
            if len(together) > 1:
                yield together


def _is_past(one: Partition, limit: UUID) -> bool:
    """Whether all four weeks of a partition's block lie before ``limit``."""
    return block_of(one.lower) < block_of(limit)


def block_of(lower: UUID) -> int:
    """Which four weeks an id lies in, counted from the first Monday of 1970."""
    return (moment_of(lower) - FIRST_BLOCK) // BLOCK


def neighbours(known: Sequence[Partition], ready: Sequence[Partition]) -> list[Partition]:
    """Partitions that become one: those that are ready, and the warm ones of their four weeks with none between."""
    places = [known.index(one) for one in ready]
    first = last = places[0]
    block = block_of(ready[0].lower)

    def fits(place: int) -> bool:
        one = known[place]
        return block_of(one.lower) == block and (one.tier == "warm" or one in ready)

    while first > 0 and fits(first - 1):
        first -= 1
    while last + 1 < len(known) and fits(last + 1):
        last += 1
    return list(known[first : last + 1])


async def announce(connection: Connection, seconds: float = ANNOUNCE_SECONDS) -> None:
    """Has it known that there may be warm rows; returns when everybody has read it."""
    cursor = await connection.execute(SQL["announce"], (clock.now(),))
    row = await cursor.fetchone()
    # A clock that was set back has not waited longer than it would have to.
    left = seconds if row is None else seconds - (clock.now() - row[0]).total_seconds()
    if left > 0:
        await asyncio.sleep(min(left, seconds))


@dataclass(frozen=True, slots=True)
class Downshifter:
    """Makes what is due warm, as a step of a run.

    Attributes:
        hot_days: MEMORY_HOT_DAYS.
        low_salience: MEMORY_LOW_SALIENCE: traces whose effective salience is less keep their first head alone.
        share: of the time that may be worked.
        announced: for how many seconds it is said before that there may be warm rows.
    """

    hot_days: int
    low_salience: float
    share: float = SHARE
    announced: float = ANNOUNCE_SECONDS

    async def step(self, run: Run) -> None:
        """Moves what is due, the oldest first, then makes codes of what came late."""
        while (plan := await due(run.connection, run.as_of, self.hot_days, self.low_salience, self.share)) is not None:
            await run.next_move()
            await announce(run.connection, self.announced)
            await move(run, STEP, plan)
        await self._recode(run)

    async def _recode(self, run: Run) -> None:
        models, low = await list_models(run.connection), Low(self.low_salience, run.as_of)
        for one in await list_partitions(run.connection, "warm", "cold"):
            late = await count_late(run.connection, one, models, LATE_MOST + 1)
            if not late:
                continue
            await run.next_move()
            if late > LATE_MOST:
                parts = (Part(EMBEDDING, (Source.of(one),)),)
                await move(run, LATE, Move(parts, one.tier, low, self.share))
            else:
                rows = await recode(run.database, one, low, run.go_on)
                run.did(LATE, rows=rows)


async def count_late(connection: Connection, partition: Partition, models: Sequence[Model], most: int) -> int:
    """How many rows of a warm or cold partition have vectors, or so many of a model if there are more."""
    count = 0
    for model in models:
        query = SQL.text("count_late", table=partition.table, model=model.id, column=model.column, most=most)
        row = await (await connection.execute(query)).fetchone()
        count = max(count, int(row[0]) if row is not None else 0)
    return count


async def recode(
    database: Database, partition: Partition, low: Low | None, go_on: Callable[[], Awaitable[None]]
) -> int:
    """Makes codes of what came late into a warm or cold partition, in place; how many traces that were."""
    count = 0
    async with database.maintenance() as connection:
        await connection.execute(copying.SQL["read_in_order"])
        try:
            async with moving_alone(connection):
                for model in await list_models(connection):
                    while done := await in_turn(partial(_recode, connection, partition, model, low)):
                        count += done
                        await go_on()
        except AlreadyMoving:
            return count
    return count


async def _recode(connection: Connection, partition: Partition, model: Model, low: Low | None) -> int:
    literals: dict[str, int | str] = {"table": partition.table, "model": model.id, "column": model.column}
    async with connection.transaction():
        cursor = await connection.execute(SQL.text("late", most=LATE_ROUND, **literals))
        late = await cursor.fetchall()
        if not late:
            return 0
        # Whoever writes a trace has locked its user before: what is read below stays as it is.
        await connection.execute(SQL["lock_users"], (sorted({user for user, _ in late}),))
        cursor = await connection.execute(SQL.text("still_late", **literals), copying.keys_of(late))
        traces: list[Trace] = [(user, trace) for user, trace in await cursor.fetchall()]
        if traces:
            read = await copying.read_vectors(connection, [From(partition.table, hot=False)], model, low, traces)
            query = SQL.text("remove_vectors", table=partition.table, model=model.id)
            await connection.execute(query, copying.keys_of(traces))
            await copying.write_vectors(connection, partition.table, read)
    return len(late)


async def _is_over(connection: Connection, one: Partition, bodies: Sequence[Partition], limit: UUID) -> bool:
    """Whether nothing in a week is as new as a limit; it is looked at only where the limit lies within it."""
    if one.upper <= limit:
        return True
    if one.lower >= limit:
        return False
    tables = [one.table, *(body.table for body in bodies if body.lower < one.upper and body.upper > one.lower)]
    for table in tables:
        row = await (await connection.execute(SQL.text("has_newer", table=table, limit=str(limit)))).fetchone()
        if row is not None and row[0]:
            return False
    return True
