"""Cold memory: writing segments, reading them, taking traces out of them, and looking after their files.

Whatever is written is noted as garbage first, and named by a segment only when it was read back: a process that is
killed anywhere leaves a file that nobody reads and that the next run deletes. A file is never changed. Who writes to a
path holds an advisory lock on it, so that nobody else takes it for something that was left behind.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Final, TypeVar
from uuid import UUID, uuid4

import psycopg
import structlog

from reverie.cold import segments as files_of
from reverie.cold.files import Damaged, Layout, Reader, Table, as_ids
from reverie.cold.segments import MISSING, Digests, Draft, Segment, Written, path_of
from reverie.core.clock import now
from reverie.core.database import Connection, Database, Row, again
from reverie.core.errors import Conflict
from reverie.core.queries import Queries
from reverie.objects.store import Missing, Objects, StorageTrouble

SQL = Queries("reverie.cold")

THREADS: Final = 4
"""Files of one process that are read at once, so that a storage that hangs takes no thread from anything else."""

DIGESTS_AT_ONCE: Final = 10_000
"""Traces that are held at a time while it is noted in which file they are; who forgets or changes one waits for it."""

DISCARDED: Final = "Another run has discarded files that this one had written; nothing was moved."

_COPY_BEGINS: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_ENDS: Final = b"\xff\xff"

T = TypeVar("T")
log = structlog.get_logger(__name__)

Key = tuple[UUID, UUID]
"""(user, trace)."""


@dataclass(slots=True)
class Contents:
    """What traces say that lie in files; ``complete`` is false where a file could not be read."""

    texts: dict[Key, str] = field(default_factory=dict)
    complete: bool = True


@dataclass(slots=True)
class Purged:
    """What a purge did: files rewritten or gone altogether, traces taken out, objects deleted.

    ``left``: traces that still have to be taken out of files that are there. What stood in the way, in sentences:
    ``broken`` names the paths of files that are missing or damaged, ``unreached`` says what is wrong with the storage.
    """

    rewritten: int = 0
    dropped: int = 0
    traces: int = 0
    deleted: int = 0
    left: int = 0
    broken: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)

    @property
    def troubles(self) -> list[str]:
        """All of what stood in the way."""
        return [*self.broken, *self.unreached]


@dataclass(slots=True)
class Checked:
    """What a check found: how many files, what is wrong with which, and files that nothing names."""

    segments: int = 0
    damaged: dict[UUID, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)


async def _never() -> bool:
    return False


class ColdService:
    """The cold memory of one store. ``connection`` is always the owner's, in autocommit, unless said otherwise."""

    def __init__(self, database: Database, objects: Objects) -> None:
        self.objects = objects
        self._database = database
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cold")

    def close(self) -> None:
        """Waits for nothing: what still reads ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    # --- What a recall needs

    async def segments(
        self, space_id: UUID, user_ids: Collection[UUID], lower: UUID | None = None, upper: UUID | None = None
    ) -> list[Segment]:
        """Visible segments that may hold traces of these users, ids from ``lower`` to below ``upper``; newest first."""
        parameters = (space_id, list(user_ids), lower, lower, upper, upper)
        async with self._database.reading(space_id) as session:
            rows = await session.fetch(SQL["segments_of"], parameters)
        return [Segment.of(row) for row in rows]

    def open(self, segment: Segment) -> Reader:
        """Opens the file of a segment; it blocks, and so does all that is read.

        Raises:
            Missing, Damaged, StorageTrouble: see :func:`reverie.cold.segments.open_segment`.
        """
        return files_of.open_segment(self.objects, segment)

    async def damaged(self, segment: Segment, damage: str) -> None:
        """Notes what is wrong with a file, for whoever looks after the store; never raises."""
        if segment.damage == damage:
            return
        log.warning("cold file damaged", segment=str(segment.id), path=segment.path, damage=damage)
        with suppress(psycopg.Error):
            async with self._database.writing(segment.space_id) as session:
                await session.execute(SQL["note_damage"], (damage, now(), segment.id, segment.path))

    async def contents(self, space_id: UUID, keys: Collection[Key]) -> Contents:
        """What these traces say, as far as they are cold. A file that cannot be read is noted, and fails nothing."""
        found = Contents()
        missed = await self._read_contents(space_id, keys, found)
        if missed:
            # Rewritten between the look at its row and the look at its file.
            missed = await self._read_contents(space_id, missed, found)
            found.complete = found.complete and not missed
        return found

    async def rows(self, space_id: UUID, key: Key) -> tuple[Segment, Table] | None:
        """All rows of a cold trace and the segment they are from; None where it is not cold.

        Raises:
            Missing, Damaged, StorageTrouble: its file cannot be read; damage is noted.
        """
        (user_id, trace_id), missed = key, None
        for _ in range(2):
            async with self._database.reading(space_id) as session:
                row = await session.fetch_one(SQL["places"], ([user_id], [trace_id]))
            if row is None:
                return None
            segment = Segment.of(row[2:])
            try:
                table = await self._blocking(partial(files_of.rows, self.objects, segment, user_id, trace_id))
            except Missing as missing:
                # Rewritten between the look at its row and the look at its file.
                missed = missing
            except Damaged as damage:
                await self.damaged(segment, str(damage))
                raise
            else:
                return segment, table
        assert missed is not None  # noqa: S101 - both looks missed it
        await self.damaged(segment, MISSING)
        raise missed

    async def _read_contents(self, space_id: UUID, keys: Collection[Key], found: Contents) -> list[Key]:
        """Adds what can be read; the keys of those whose file is not there."""
        parameters = ([user_id for user_id, _ in keys], [trace_id for _, trace_id in keys])
        async with self._database.reading(space_id) as session:
            rows = await session.fetch(SQL["places"], parameters)
        missed: list[Key] = []
        await asyncio.gather(*(self._read_segment(*of, found, missed) for of in _by_segment(rows)))
        return missed

    async def _read_segment(
        self, segment: Segment, wanted: dict[UUID, list[UUID]], found: Contents, missed: list[Key]
    ) -> None:
        keys = [(user_id, trace_id) for user_id, trace_ids in wanted.items() for trace_id in trace_ids]
        try:
            texts = await self._blocking(partial(files_of.texts, self.objects, segment, wanted))
        except Missing:
            missed.extend(keys)
            await self.damaged(segment, MISSING)
        except Damaged as damage:
            found.complete = False
            await self.damaged(segment, str(damage))
        except StorageTrouble as trouble:
            found.complete = False
            log.warning("cold file not read", segment=str(segment.id), trouble=str(trouble))
        else:
            found.texts.update(texts)

    # --- What a move needs

    @asynccontextmanager
    async def writing(
        self, connection: Connection, space_id: UUID, month: date, layout: Layout, model_id: int
    ) -> "AsyncIterator[Output]":
        """Writes segments of one space and month; when the block ends they are all written, verified and noted.

        Raises:
            StorageTrouble: from the block, or at its end; what was written so far is what the next run discards.
        """
        output = Output(self, connection, space_id, month, layout, model_id)
        try:
            yield output
            await output.finish()
        finally:
            await output.leave()

    async def show(self, connection: Connection, segment_ids: Sequence[UUID]) -> None:
        """Makes written segments visible, within the caller's transaction.

        Raises:
            Conflict: another runner has discarded some of them: what they hold must stay where it is.
        """
        cursor = await connection.execute(SQL["show"], (list(segment_ids),))
        if cursor.rowcount != len(set(segment_ids)):
            raise Conflict(DISCARDED)

    async def leave_out(self, connection: Connection, keys: Collection[Key]) -> None:
        """These traces are no longer what their segments hold, within the caller's transaction: they were changed."""
        parameters = ([user_id for user_id, _ in keys], [trace_id for _, trace_id in keys])
        await connection.execute(SQL["leave_out"], parameters)

    async def discard(self, connection: Connection) -> int:
        """Takes away what a run that was killed had written and not made visible; how many segments.

        Only for the one runner that there is. Their files become garbage.
        """
        cursor = await connection.execute(SQL["unfinished"])
        discarded = 0
        for segment in [Segment.of(row) for row in await cursor.fetchall()]:
            async with connection.transaction():
                # Whoever shows it meanwhile is waited for, and then it stays.
                cursor = await connection.execute(SQL["hold_written"], (segment.id,))
                if await cursor.fetchone() is not None:
                    await self._drop(connection, segment)
                    discarded += 1
        return discarded

    # --- What forgetting needs

    async def purge(
        self,
        connection: Connection,
        *,
        user_id: UUID | None = None,
        stop: Callable[[], Awaitable[bool]] = _never,
    ) -> Purged:
        """Rewrites every file that holds what it must not (or those of one user), and deletes what is garbage.

        Several may do so at once. What cannot be done now is named in the report and left for the next purge;
        ``stop`` is asked between files.
        """
        report = Purged()
        await connection.execute(SQL["lost_removals"])
        cursor = await connection.execute(SQL["to_rewrite"], (user_id, user_id))
        for (segment_id,) in await cursor.fetchall():
            if await stop():
                return report
            async with self._held(connection, str(segment_id)) as alone:
                if alone:
                    await self._rewrite(connection, segment_id, report)
        cursor = await connection.execute(SQL["garbage"])
        for (path,) in await cursor.fetchall():
            if await stop():
                return report
            async with self._held(connection, path) as alone:
                if alone:
                    await self._delete(connection, path, report)
        cursor = await connection.execute(SQL["left"], (MISSING, user_id, user_id))
        row = await cursor.fetchone()
        report.left = 0 if row is None else int(row[0])
        return report

    async def check(
        self,
        connection: Connection,
        *,
        deep: bool = False,
        most: int | None = None,
        stop: Callable[[], Awaitable[bool]] = _never,
    ) -> Checked:
        """Looks at the files of segments, and notes what is wrong with them; ``deep`` reads every byte.

        At ``most`` so many, those first at which nobody has looked for longest; ``stop`` is asked between two.

        Raises:
            StorageTrouble: the storage cannot be asked.
        """
        report = Checked()
        cursor = await connection.execute(SQL["to_check"], (most,))
        for segment in [Segment.of(row) for row in await cursor.fetchall()]:
            if await stop():
                return report
            damage = await self._look(connection, segment, deep=deep)
            report.segments += 1
            if damage is not None:
                report.damaged[segment.id] = damage
        if deep:
            report.strays = await self._strays(connection)
        return report

    async def damage_of(self, connection: Connection, segment_id: UUID) -> str | None:
        """What is wrong with the file of a segment, every byte of which is read, or None; it is noted.

        Raises:
            StorageTrouble: the storage cannot be asked.
        """
        segment = await self._segment(connection, segment_id)
        return MISSING if segment is None else await self._look(connection, segment, deep=True)

    async def _look(self, connection: Connection, segment: Segment, *, deep: bool) -> str | None:
        damage = await self._blocking(partial(files_of.look, self.objects, segment, deep=deep))
        await self._note_damage(connection, segment, damage)
        return damage

    async def _note_damage(self, connection: Connection, segment: Segment, damage: str | None) -> None:
        await connection.execute(SQL["note_damage"], (damage, now(), segment.id, segment.path))

    async def _strays(self, connection: Connection) -> list[str]:
        # Listed before it is asked who names them: what is written is noted first.
        there = await self._blocking(lambda: [path for path, _ in self.objects.paths(files_of.PREFIX)])
        cursor = await connection.execute(SQL["named"])
        named = {row[0] for row in await cursor.fetchall()}
        return sorted(path for path in there if path not in named)

    async def _rewrite(self, connection: Connection, segment_id: UUID, report: Purged) -> None:
        segment = await self._segment(connection, segment_id)
        cursor = await connection.execute(SQL["removals"], (segment_id,))
        gone = [row[0] for row in await cursor.fetchall()]
        if segment is None or not gone:
            return
        try:
            draft = await self._blocking(partial(files_of.rewrite, self.objects, segment, as_ids(gone)))
        except Missing:
            # It holds nothing now; the removals stay, should somebody bring it back.
            await self._note_damage(connection, segment, MISSING)
            report.broken.append(f"{segment.path} is missing.")
            return
        except Damaged as damage:
            await self._note_damage(connection, segment, str(damage))
            report.broken.append(f"{segment.path} cannot be rewritten: {damage}.")
            return
        except StorageTrouble as trouble:
            report.unreached.append(str(trouble))
            return
        try:
            written = await self._blocking(draft.finish)
            if written is None:
                async with connection.transaction():
                    await self._drop(connection, segment)
                report.dropped += 1
            elif not await self._replace(connection, segment, draft, written, gone, report):
                return
        finally:
            draft.close()
        report.traces += len(gone)
        async with self._held(connection, segment.path) as alone:
            if alone:
                await self._delete(connection, segment.path, report)

    async def _replace(
        self,
        connection: Connection,
        segment: Segment,
        draft: Draft,
        written: Written,
        gone: Sequence[UUID],
        report: Purged,
    ) -> bool:
        path = path_of(segment.space_id, segment.month, segment.id)
        async with self._held(connection, path):
            try:
                await self.put(connection, draft, path, written)
            except StorageTrouble as trouble:
                report.unreached.append(str(trouble))
                return False
            summary = written.summary
            async with connection.transaction():
                cursor = await connection.execute(
                    SQL["replace_segment"],
                    (
                        path, written.checksum, written.size, summary.traces, summary.rows, summary.first_user,
                        summary.last_user, summary.lower, written.upper, now(), segment.id, segment.path,
                    ),
                )  # fmt: skip
                if await cursor.fetchone() is None:
                    return False
                await connection.execute(SQL["removed"], (segment.id, list(gone)))
                await connection.execute(SQL["note_garbage"], (segment.path, now()))
                await connection.execute(SQL["no_garbage"], (path,))
        report.rewritten += 1
        return True

    async def _drop(self, connection: Connection, segment: Segment) -> None:
        """Takes a segment away, within a transaction; its file becomes garbage."""
        bounds = (segment.first_user, segment.last_user, segment.lower, segment.upper, segment.id)
        await connection.execute(SQL["drop_digests"], bounds)
        await connection.execute(SQL["note_garbage"], (segment.path, now()))
        await connection.execute(SQL["drop_removals"], (segment.id,))
        await connection.execute(SQL["drop_segment"], (segment.id,))

    async def _delete(self, connection: Connection, path: str, report: Purged) -> None:
        cursor = await connection.execute(SQL["is_named"], (path,))
        if await cursor.fetchone() is not None:
            # It was named since it was noted, and the note went with that.
            return
        try:
            await self._blocking(partial(self.objects.delete, path))
        except StorageTrouble as trouble:
            report.unreached.append(str(trouble))
            return
        await connection.execute(SQL["no_garbage"], (path,))
        report.deleted += 1

    async def _segment(self, connection: Connection, segment_id: UUID) -> Segment | None:
        cursor = await connection.execute(SQL["segment"], (segment_id,))
        row = await cursor.fetchone()
        return None if row is None else Segment.of(row)

    # --- Parts of these

    async def put(self, connection: Connection, draft: Draft, path: str, written: Written) -> None:
        """Puts a finished draft at a path that is held, noted as garbage before, and reads it back.

        Raises:
            StorageTrouble
        """
        await self._blocking(self.objects.prepare)
        await connection.execute(SQL["note_garbage"], (path, now()))
        await self._blocking(partial(draft.put, self.objects, path))
        await self._blocking(partial(files_of.verify, self.objects, path, written))

    @asynccontextmanager
    async def _held(self, connection: Connection, name: str) -> AsyncIterator[bool]:
        """Holds a path or a segment as long as the block lasts; whether it could be had."""
        cursor = await connection.execute(SQL["try_hold"], (name,))
        row = await cursor.fetchone()
        alone = row is not None and bool(row[0])
        try:
            yield alone
        finally:
            if alone:
                with suppress(psycopg.Error):
                    # A session that is gone holds nothing.
                    await connection.execute(SQL["let_go"], (name,))

    async def _blocking(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class Output:
    """Where rows of one space and month go, in the order of ``files.KEYS``; begun by :meth:`ColdService.writing`."""

    def __init__(
        self, cold: ColdService, connection: Connection, space_id: UUID, month: date, layout: Layout, model_id: int
    ) -> None:
        self.segments: list[Segment] = []
        """Those that are finished."""
        self._cold = cold
        self._connection = connection
        self._space_id = space_id
        self._month = month
        self._layout = layout
        self._model_id = model_id
        self._draft: Draft | None = None

    async def write(self, table: Table) -> None:
        """Takes rows; a full file is finished on the way.

        Raises:
            StorageTrouble: the storage does not take it, or there is no room for it on this machine.
        """
        while table.num_rows:
            taken = await asyncio.to_thread(self._take, table)
            if not taken:
                await self.finish()
            table = table.slice(taken)

    async def finish(self) -> None:
        """Finishes the file that is being made: on the storage, read back, and noted with what stays of its traces.

        Raises:
            StorageTrouble
        """
        draft, self._draft = self._draft, None
        if draft is None:
            return
        try:
            written = await asyncio.to_thread(draft.finish)
            if written is not None:
                await self._add(draft, written)
        finally:
            draft.close()

    async def leave(self) -> None:
        """Lets go of what is not finished."""
        if self._draft is not None:
            self._draft.close()
            self._draft = None

    def _take(self, table: Table) -> int:
        if self._draft is None:
            self._draft = Draft(self._layout, digests=True)
        taken = self._draft.takes(table)
        self._draft.write(table.slice(0, taken))
        return taken

    async def _add(self, draft: Draft, written: Written) -> None:
        segment_id = uuid4()
        path = path_of(self._space_id, self._month, segment_id)
        connection, summary = self._connection, written.summary
        async with self._cold._held(connection, path):
            await self._cold.put(connection, draft, path, written)
            await again(partial(self._name, segment_id, path, written))
            for some in batches_of(draft.digests):
                await again(partial(self._note, segment_id, some))
        self.segments.append(
            Segment(
                segment_id, self._space_id, self._month, self._model_id, "written", path, written.checksum,
                written.size, summary.traces, summary.rows, summary.first_user, summary.last_user, summary.lower,
                written.upper, None,
            )
        )  # fmt: skip

    async def _name(self, segment_id: UUID, path: str, written: Written) -> None:
        """One transaction: the segment, and its file is no garbage."""
        connection, summary, moment = self._connection, written.summary, now()
        async with connection.transaction():
            await connection.execute(
                SQL["add_segment"],
                (
                    segment_id, self._space_id, self._month, self._model_id, path, written.checksum, written.size,
                    summary.traces, summary.rows, summary.first_user, summary.last_user, summary.lower, written.upper,
                    moment, moment,
                ),
            )  # fmt: skip
            await connection.execute(SQL["no_garbage"], (path,))

    async def _note(self, segment_id: UUID, digests: Sequence[Digests]) -> None:
        """One transaction: what stays of some traces of a segment that nobody sees yet.

        Raises:
            Conflict: another runner has discarded it.
        """
        connection, moment = self._connection, now()
        async with connection.transaction():
            cursor = await connection.execute(SQL["share_written"], (segment_id,))
            if await cursor.fetchone() is None:
                raise Conflict(DISCARDED)
            await connection.execute(SQL["make_given"])
            async with connection.cursor() as cursor, cursor.copy(SQL["give"]) as copy:
                await copy.write(_COPY_BEGINS)
                for some in digests:
                    await copy.write(some.rows)
                await copy.write(_COPY_ENDS)
            parameters = (moment, segment_id, self._space_id, segment_id, moment, segment_id)
            await connection.execute(SQL["add_digests"], parameters)


def batches_of(digests: Sequence[Digests]) -> Iterator[list[Digests]]:
    """Digests in batches of some DIGESTS_AT_ONCE traces."""
    batch, traces = list[Digests](), 0
    for one in digests:
        batch.append(one)
        traces += one.traces
        if traces >= DIGESTS_AT_ONCE:
            yield batch
            batch, traces = [], 0
    if batch:
        yield batch


def _by_segment(rows: Sequence[Row]) -> list[tuple[Segment, dict[UUID, list[UUID]]]]:
    """Rows of (user, trace, segment...) by their segments, and the traces of each by their users."""
    found: dict[UUID, tuple[Segment, dict[UUID, list[UUID]]]] = {}
    for user_id, trace_id, *rest in rows:
        segment = Segment.of(tuple(rest))
        _, wanted = found.setdefault(segment.id, (segment, {}))
        wanted.setdefault(user_id, []).append(trace_id)
    return list(found.values())
