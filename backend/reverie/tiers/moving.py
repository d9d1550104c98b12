"""The one way in which partitions change: one is built beside, caught up, swapped in, and the old ones are dropped.

Nothing is updated in place, so the room is given back, and nobody waits: all work is done on a table that nobody sees.
A trigger on the old partitions notes which traces are changed meanwhile, and these are copied again; the last of them,
and the swap itself, take some hundredths of a second in which the tables are locked.

A kill before the swap has changed nothing, and one after it has left old tables that nobody reads; :func:`sweep` drops
what is left of either.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg import errors

from reverie.core.database import Connection, Database
from reverie.core.ids import moment_of
from reverie.core.queries import Queries
from reverie.memories.model import Model
from reverie.tiers import building, copying
from reverie.tiers.building import Built
from reverie.tiers.copying import Counts, From, Low, Trace
from reverie.tiers.indexes import Partition, late_index, list_models, warm_bits_index
from reverie.tiers.locks import AlreadyMoving, Later, moving_alone, with_tables
from reverie.tiers.partitions import BODY, EMBEDDING, PARENTS, week_of

__all__ = ["AlreadyMoving", "Move", "Moved", "Part", "Source", "Trace", "move", "sweep"]

SQL = Queries("reverie.tiers", "moving.sql")
TABLES = Queries("reverie.tiers")

TRACE: Final = "memory_trace"

ROUND: Final = 1000
"""Notes of changes that are caught up in one transaction, which holds up the writers of their users. A trace that is
remembered makes four."""

LEFT: Final = 200
"""As many are caught up while the tables are locked, and no more."""

PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds before a transaction is tried again that another was in the way of."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A partition that goes. Not ``kept``: its rows are left behind, but for traces that stay or are changed."""

    table: str
    lower: UUID
    upper: UUID
    tier: str
    kept: bool = True

    @classmethod
    def of(cls, one: Partition, *, kept: bool = True) -> "Source":
        """That of a partition."""
        return cls(one.table, one.lower, one.upper, one.tier, kept)


@dataclass(frozen=True, slots=True)
class Part:
    """Partitions of one parent, oldest first, that become one: from the first's ``lower`` to the last's ``upper``.

    A single one of ``memory_body`` that is kept is not copied: it changes its tier alone.
    """

    parent: str
    sources: tuple[Source, ...]

    @property
    def lower(self) -> UUID:
        return self.sources[0].lower

    @property
    def upper(self) -> UUID:
        return self.sources[-1].upper

    @property
    def stands(self) -> bool:
        """Whether nothing is copied."""
        return self.parent == BODY and len(self.sources) == 1 and self.sources[0].kept


Changed = Callable[[Connection, Sequence[Trace]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Move:
    """What is moved, and what else is done with it.

    Attributes:
        parts: of one parent or of both; they are swapped at once.
        tier: of what they become, warm or cold: vectors become codes.
        low: of what matters little heads other than the first are left behind.
        share: of the time of copying that is worked; the rest is left to who remembers and recalls.
        export: is awaited once changes are noted, and before anything is copied. What it raises ends the move.
        staying: is asked then for traces of sources that are not kept whose rows are copied all the same.
        changed: hears of traces that were remembered, changed, forgotten or embedded since, in the transaction that
            copies them as they are now, be it that of the swap; of one trace perhaps twice.
        swapped: is awaited within the swap, when everything stands. Readers wait for it.
        locked: further tables that nobody writes from the look at what was changed to the end of the swap.
    """

    parts: tuple[Part, ...]
    tier: str
    low: Low | None = None
    share: float = 1.0
    export: Callable[[], Awaitable[None]] | None = None
    staying: Callable[[Connection], Awaitable[Collection[Trace]]] | None = None
    changed: Changed | None = None
    swapped: Callable[[Connection], Awaitable[None]] | None = None
    locked: tuple[str, ...] = ()


@dataclass(slots=True)
class Moved:
    """What was moved: the new tables, the rows in them and the traces caught up, bytes with all indexes, and seconds.

    ``held``: for how long, in seconds, the tables were asked for and held; no reader waited longer.
    """

    tables: list[str] = field(default_factory=list)
    rows: int = 0
    traces: int = 0
    changed: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    seconds: float = 0.0
    held: float = 0.0


Each = Callable[[int, int], Awaitable[None]]
"""Hears of rows and bytes after each batch; where it raises, the move is given up."""


def paced(each: Each, share: float) -> Each:
    """``each``, and then a rest, so that no more than a share of the time is worked."""
    began = time.monotonic()

    async def rest(rows: int, size: int) -> None:
        nonlocal began
        worked = time.monotonic() - began
        await each(rows, size)
        await asyncio.sleep(worked * (1 / share - 1))
        began = time.monotonic()

    return rest


async def _nothing(_rows: int, _bytes: int) -> None:
    """Nobody watches."""


async def move(database: Database, plan: Move, each: Each = _nothing) -> Moved:
    """Moves partitions; returns when the old ones are dropped.

    Whatever is raised before the swap has changed nothing; what was built is dropped, by this call or by the next.

    Raises:
        AlreadyMoving: another process moves partitions.
        psycopg.errors.LockNotAvailable: others kept the tables locked for minutes.
    """
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(database.maintenance())
        await main.execute(SQL["ready"])
        await stack.enter_async_context(moving_alone(main))
        await _sweep(main)
        mover = _Mover(database, plan, main, each)
        try:
            await mover.build()
            await mover.swap()
        except BaseException:
            # Also of a move that is cancelled. Where the line is cut too, the next run does it.
            with suppress(psycopg.Error):
                await _sweep(main)
            raise
        await mover.drop()
    mover.moved.seconds = time.monotonic() - began
    return mover.moved


async def sweep(database: Database) -> list[str]:
    """Drops what moves that were killed have left; the tables that went. Nothing while somebody moves."""
    async with database.maintenance() as connection:
        try:
            async with moving_alone(connection):
                return await _sweep(connection)
        except AlreadyMoving:
            return []


async def _sweep(connection: Connection) -> list[str]:
    """As :func:`sweep`, by who moves alone."""
    tables = [name for (name,) in await (await connection.execute(SQL["left_over"])).fetchall()]
    if tables:
        await _drop(connection, tables)
    noting = [name for (name,) in await (await connection.execute(SQL["noting"])).fetchall()]
    for table in noting:

        async def note_no_more(table: str = table) -> None:
            await connection.execute(SQL.text("note_no_changes", table=table))

        await with_tables(connection, [table], note_no_more)
    await connection.execute(SQL["forget_all_changes"])
    return tables


async def _drop(connection: Connection, tables: Sequence[str]) -> None:
    async def drop() -> None:
        for table in tables:
            await connection.execute(SQL.text("drop_table", table=table))
        await connection.execute(SQL["forget_changes"], (list(tables),))

    # The foreign key to it goes with them.
    await with_tables(connection, [TRACE, *tables], drop)


@dataclass(frozen=True, slots=True)
class _New:
    """A table that is built beside, of a part."""

    part: Part
    table: str

    @property
    def names(self) -> list[str]:
        return [one.table for one in self.part.sources]

    def vectors(self, *, kept: bool = False) -> list[From]:
        return [From(one.table, one.tier == "hot") for one in self.part.sources if one.kept or not kept]


class _Mover:
    def __init__(self, database: Database, plan: Move, main: Connection, each: Each) -> None:
        self.moved = Moved()
        self._database = database
        self._plan = plan
        self._main = main
        self._each = each
        self._new: list[_New] = []
        self._models: list[Model] = []
        self._large: dict[int, dict[UUID, int]] = {}
        self._built: dict[str, list[Built]] = {}
        self._columns = ""

    @property
    def _sources(self) -> list[str]:
        return [name for new in self._new for name in new.names]

    async def build(self) -> None:
        """Everything but the swap."""
        for part in self._plan.parts:
            if not part.stands:
                self._new.append(_New(part, await self._name(part)))
        self._models = await list_models(self._main)
        self._columns = await copying.body_columns(self._main)
        for new in self._new:
            await self._create(new)
        for table in self._sources:
            await self._note_changes(table)
        if self._plan.export is not None:
            await self._plan.export()
        for new in self._new:
            await self._fill(new)
        for new in self._new:
            await self._index(new)
        async with self._database.maintenance() as connection:
            await connection.execute(copying.SQL["read_in_order"])
            await self._stay(connection)
            await self._catch_up(connection)
        for new in self._new:
            await self._main.execute(SQL.text("validate", table=new.table))
            await self._main.execute(SQL.text("analyze", table=new.table))
            if new.part.parent == EMBEDDING:
                self._built[new.table] = await self._known(new)

    async def _name(self, part: Part) -> str:
        """The week that it begins with, and a number that no table of that week has had."""
        stem = week_of(moment_of(part.lower)).table(part.parent)
        cursor = await self._main.execute(SQL["names_taken"], (stem,))
        numbers = [number_of(name, stem) for (name,) in await cursor.fetchall()]
        return f"{stem}_{max(numbers, default=0) + 1}"

    async def _create(self, new: _New) -> None:
        part, main = new.part, self._main
        async with main.transaction():
            await main.execute(TABLES.text("create_table", table=new.table, parent=part.parent))
            await main.execute(TABLES.text("revoke", table=new.table))
            bounds = {"lower": str(part.lower), "upper": str(part.upper)}
            await main.execute(SQL.text("range_check", table=new.table, **bounds))

    async def _note_changes(self, table: str) -> None:
        async def note() -> None:
            await self._main.execute(SQL.text("note_changes", table=table))

        await with_tables(self._main, [], note, unwritten=[table])

    async def _fill(self, new: _New) -> None:
        async with self._database.maintenance() as reading, self._main.transaction():
            await self._main.execute(SQL.text("empty", table=new.table))
            if new.part.parent == BODY:
                names = [one.table for one in new.part.sources if one.kept]
                if names:
                    await copying.copy_bodies(
                        reading, self._main, new.table, names, self._columns, paced(self._each, self._plan.share)
                    )
                return
            tables = new.vectors(kept=True)
            little = await copying.unimportant(reading, new.part.lower, new.part.upper, self._plan.low)
            for model in self._models if tables else []:
                counts = Counts(building.BITS_ROWS)
                await copying.copy_vectors(
                    reading, self._main, new.table, tables, model, little, counts,
                    paced(self._report_rows, self._plan.share),
                )  # fmt: skip
                self._large[model.id] = counts.finish()
                self.moved.traces = max(self.moved.traces, counts.traces)

    async def _report_rows(self, rows: int, size: int) -> None:
        self.moved.rows += rows
        await self._each(rows, size)

    async def _index(self, new: _New) -> None:
        main, table = self._main, new.table
        if new.part.parent == BODY:
            await main.execute(TABLES.text("memory_body_key", table=table))
            await main.execute(TABLES.text("lexemes_index", table=table, index=f"{table}_lexemes"))
        else:
            await main.execute(SQL.text("packed_key", table=table))
            for model in self._models:
                await self._index_model(new, model)

        async def refer() -> None:
            await main.execute(SQL.text("foreign_key", table=table))

        await with_tables(main, [], refer, unwritten=[TRACE])

    async def _index_model(self, new: _New, model: Model) -> None:
        await self._main.execute(late_index(new.table, model, concurrently=False))
        if self._large.get(model.id):
            await self._main.execute(warm_bits_index(new.table, model, concurrently=False))

    async def _stay(self, connection: Connection) -> None:
        """Copies what stays of sources that are left behind."""
        if self._plan.staying is None:
            return
        traces = sorted(await self._plan.staying(self._main))
        for first in range(0, len(traces), ROUND):
            some = traces[first : first + ROUND]

            async def stay(some: Sequence[Trace] = some) -> None:
                async with connection.transaction():
                    await self._copy_again(connection, some, locked=False)

            await in_turn(stay)

    async def _catch_up(self, connection: Connection) -> None:
        """Copies again what was changed up to now."""
        while await in_turn(partial(self._again, connection, locked=False)) == ROUND:
            pass

    async def _again(self, connection: Connection, *, locked: bool) -> int:
        """Copies traces that were changed, as they are now; of how many notes, at most ROUND.

        Unless everything is ``locked``, their users are: who writes a trace waits for its user before he touches any
        row, so he and we do not wait for one another.
        """
        async with connection.transaction():
            cursor = await connection.execute(SQL["take_changes"], (self._sources, ROUND))
            taken = await cursor.fetchall()
            if taken:
                traces: list[Trace] = sorted((user, trace) for user, trace, _ in taken)
                await self._copy_again(connection, traces, locked=locked)
                self.moved.changed += len(traces)
                if self._plan.changed is not None:
                    await self._plan.changed(connection, traces)
        return sum(notes for *_, notes in taken)

    async def _copy_again(self, connection: Connection, traces: Sequence[Trace], *, locked: bool) -> None:
        if not locked:
            await connection.execute(SQL["lock_users"], (sorted({user for user, _ in traces}),))
        # Behind what was taken: who wrote a model's vectors has seen its row.
        models = await list_models(connection)
        for new in self._new:
            await copying.remove(connection, new.table, traces)
            await self._copy(connection, new, models, traces)

    async def _copy(self, connection: Connection, new: _New, models: Sequence[Model], traces: Sequence[Trace]) -> None:
        if new.part.parent == BODY:
            await copying.copy_bodies_of(connection, new.table, new.names, self._columns, traces)
            return
        for model in models:
            rows = await copying.read_vectors(connection, new.vectors(), model, self._plan.low, traces)
            await copying.write_vectors(connection, new.table, rows)

    async def _known(self, new: _New) -> list[Built]:
        """What recall is to know of large users."""
        partition = Partition(new.table, EMBEDDING, new.part.lower, new.part.upper, self._plan.tier)
        return [
            await building.warm_user(self._main, model, partition, user)
            for model in self._models
            for user in self._large.get(model.id, {})
        ]

    async def swap(self) -> None:
        """Puts the new tables in the place of the old ones."""
        names = [new.table for new in self._new]
        self.moved.bytes_before = await self._bytes(self._sources)
        while not await self._stand(names):
            async with self._database.maintenance() as connection:
                await connection.execute(copying.SQL["read_in_order"])
                try:
                    await self._swap(connection)
                except psycopg.Error as error:
                    if not connection.broken:
                        raise
                    # Who stands still while all wait for him is put out; perhaps he was done.
                    log.warning("swap repeated", error=type(error).__name__)
        self.moved.tables = names
        self.moved.bytes_after = await self._bytes(names)

    async def _stand(self, names: list[str]) -> bool:
        cursor = await self._main.execute(SQL["standing"], (names,))
        return len(await cursor.fetchall()) == len(names)

    async def _swap(self, connection: Connection) -> None:
        parents = [parent for parent in reversed(PARENTS) if any(new.part.parent == parent for new in self._new)]
        alone = [*parents, TRACE, *self._sources, *(new.table for new in self._new)]

        async def before() -> None:
            await self._index_new_models()
            await self._catch_up(connection)

        async def exchange() -> None:
            await self._last_changes(connection)
            await connection.execute(self._exchange())
            for built in self._built.values():
                for one in built:
                    await building.add(connection, one)
            if self._plan.swapped is not None:
                await self._plan.swapped(connection)

        def hold(seconds: float) -> None:
            self.moved.held = seconds

        await with_tables(connection, alone, exchange, unwritten=self._plan.locked, before=before, hold=hold)

    async def _index_new_models(self) -> None:
        models = await list_models(self._main)
        for model in models:
            if model not in self._models:
                for new in self._new:
                    if new.part.parent == EMBEDDING:
                        await self._index_model(new, model)
        self._models = models

    async def _last_changes(self, connection: Connection) -> None:
        cursor = await connection.execute(SQL["last_look"], (self._sources, LEFT + 1))
        row = await cursor.fetchone()
        left, models = row if row is not None else (0, [])
        if left > LEFT or models != [model.id for model in self._models]:
            raise Later
        if left:
            await self._again(connection, locked=True)

    def _exchange(self) -> bytes:
        """All of it in one message: nobody waits for us in between."""
        script: list[bytes] = []
        for new in self._new:
            part = new.part
            names = {"table": new.table, "parent": part.parent, "lower": str(part.lower), "upper": str(part.upper)}
            script += [SQL.text("detach", parent=part.parent, table=name) for name in new.names]
            script += [TABLES.text("attach", **names), SQL.text("drop_range_check", table=new.table)]
            script += [SQL.text("no_partition", table=name) for name in new.names]
            script.append(SQL.text("partition", tier=self._plan.tier, **names))
        for part in self._plan.parts:
            if part.stands:
                script.append(SQL.text("tier", table=part.sources[0].table, tier=self._plan.tier))
        return b";\n".join(script)

    async def drop(self) -> None:
        """Gives the room back."""
        await _drop(self._main, self._sources)

    async def _bytes(self, tables: list[str]) -> int:
        cursor = await self._main.execute(SQL["bytes"], (tables,))
        row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0


async def in_turn(work: Callable[[], Awaitable[T]]) -> T:
    """What a transaction returns; it is done again where a trace was forgotten in its midst by who did not wait."""
    for pause in PAUSES:
        try:
            return await work()
        except (errors.DeadlockDetected, errors.ForeignKeyViolation, errors.UniqueViolation):
            await asyncio.sleep(pause)
    return await work()


def number_of(name: str, stem: str) -> int:
    """The number in the name of a table or of its indexes: 2 in ``memory_body_2026w47_2_lexemes``."""
    number = name.removeprefix(stem).removeprefix("_").split("_")[0]
    return int(number) if number.isdigit() else 0
