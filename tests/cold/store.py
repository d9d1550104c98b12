"""A store whose cold memory is looked at from all sides."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
from tests.cold.rows import LAYOUT, MONTH, rows, text_of
from tests.tiers.rows import fetch

from reverie.cold.segments import Segment
from reverie.cold.service import ColdService
from reverie.core.config import Settings
from reverie.core.database import Connection, Database


@dataclass(slots=True)
class Store:
    """A store, its owner's connection, and the ids of the traces of its users."""

    settings: Settings
    database: Database
    owner: Connection
    cold: ColdService
    folder: Path
    space: UUID
    ids: dict[UUID, list[UUID]]

    @property
    def keys(self) -> list[tuple[UUID, UUID]]:
        """All traces, as (user, trace), in order."""
        return [(user, one) for user, ids in self.ids.items() for one in ids]

    async def write(self, keys: Sequence[tuple[UUID, UUID]] | None = None, *, show: bool = True) -> list[Segment]:
        """Makes these traces cold (all by default)."""
        table = rows([(user, one, 0) for user, one in (self.keys if keys is None else keys)])
        async with self.cold.writing(self.owner, self.space, MONTH.date(), LAYOUT, 1) as output:
            for begin in range(0, table.num_rows, 100):
                await output.write(table.slice(begin, 100))
        if show:
            async with self.owner.transaction():
                await self.cold.show(self.owner, [segment.id for segment in output.segments])
        return output.segments

    async def forget(self, keys: Sequence[tuple[UUID, UUID]]) -> None:
        """Forgets traces as a caller's forget does: their digest is in the way of nobody, their removal is noted."""
        async with self.owner.transaction():
            await self.cold.leave_out(self.owner, keys)
            await self.owner.execute(
                "DELETE FROM memory_trace t USING unnest(%s::uuid[], %s::uuid[]) AS g (user_id, id)"
                " WHERE t.user_id = g.user_id AND t.id = g.id",
                ([user for user, _ in keys], [one for _, one in keys]),
            )

    def files(self) -> list[str]:
        """The paths of all files there are, whatever their names."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def in_files(self) -> list[UUID]:
        """The traces of all files, in order; one that stands twice comes twice."""
        found: list[UUID] = []
        for path in self.files():
            found.extend(pq.read_table(self.folder / path, columns=["trace_id"])["trace_id"].to_pylist())
        return sorted(found)

    async def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """What the owner sees."""
        return await fetch(self.owner, query, *parameters)

    async def is_whole(self, keys: Collection[tuple[UUID, UUID]]) -> None:
        """These traces and no others are cold, once each, and can be read; nothing is left over anywhere."""
        named = await self.rows("SELECT path FROM cold_segment WHERE state = 'visible' ORDER BY path")
        assert [path for (path,) in named] == self.files()
        assert self.in_files() == sorted(one for _, one in keys)
        digests = await self.rows("SELECT user_id, trace_id FROM memory_digest ORDER BY user_id, trace_id")
        assert digests == sorted(keys)
        assert await self.rows("SELECT path FROM cold_garbage") == []
        assert await self.rows("SELECT * FROM cold_removal") == []
        assert await self.rows("SELECT count(*), coalesce(sum(traces), 0) FROM cold_segment") == [
            (len(named), len(keys))
        ]
        contents = await self.cold.contents(self.space, keys)
        assert contents.complete
        assert contents.texts == {(user, one): text_of(one) for user, one in keys}
