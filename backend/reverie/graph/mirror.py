"""Keeping the mirror of the graph what PostgreSQL holds: user by user, page by page, and only where they differ.

A user is looked at when its version is another than the mirrored one. Its pages are compared by their sums, so that a
run that was killed goes on with the pages that are left, and what was forgotten goes with its page. A user has the
mirrored version when nothing was written to it meanwhile; until then its graph is read from PostgreSQL.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from reverie.core.database import Connection, Database
from reverie.core.errors import Conflict
from reverie.core.queries import Queries
from reverie.graph.neo4j import MirrorEdge, MirrorNode, Neo4j, Page
from reverie.graph.protocol import Whose
from reverie.graph.repository import Shown

SQL = Queries("reverie.graph", "mirror.sql")
_PARTS: Final = {name: SQL.text(name).decode() for name in ("called", "happened")}
_SUMS, _NODES = SQL.text("sums", **_PARTS), SQL.text("page_nodes", **_PARTS)

PAGE: Final = 1000
"""Traces of a page when it is made; one that has grown to twice as many is parted."""

USERS: Final = 1000
SECONDS: Final = 120.0
"""What a statement may take that goes through all of a user."""

ROUNDS: Final = 3
"""So often a user is gone through again in one run who was written to meanwhile."""

FIRST, LAST = str(UUID(int=0)), str(UUID(int=2**128 - 1))
NOT_WHOLE: Final = -1

log = structlog.get_logger(__name__)


class User(NamedTuple):
    """A user of the store, and its version."""

    whose: Whose
    version: int


@dataclass(slots=True)
class Outcome:
    """What a run did: users that it looked at, and were gone, rows that it changed; users who were written to still."""

    users: int = 0
    gone: int = 0
    changed: int = 0
    restless: int = 0


class Difference(NamedTuple):
    """A user of whom both hold something else: what PostgreSQL has and what the mirror has, as sums say it."""

    user_id: UUID
    here: str
    there: str


Tell = Callable[[Outcome], None]


class Mirroring:
    """Brings the mirror up to date, and checks it; one at a time in the whole store."""

    def __init__(self, database: Database, mirror: Neo4j) -> None:
        self._database = database
        self._mirror = mirror
        self._shown = Shown(database)

    async def run(self, tell: Tell = lambda _: None, *, again: bool = False) -> Outcome | None:
        """Brings the mirror up to date; None while another does.

        Args:
            tell: hears how far it is after each user.
            again: look at all of every user, whatever is said of what is mirrored.

        Raises:
            MirrorTrouble: Neo4j cannot be reached; what was done stays done.
        """
        async with self._turn() as connection:
            if connection is None:
                return None
            await self._mirror.prepare()
            there, outcome = await self._mirror.users(), Outcome()
            async for part in self._users(connection):
                for user in part:
                    if there.pop(user.whose.user_id, (None, None))[1] != user.version or again:
                        await self._bring(user.whose, outcome, again=again)
                        tell(outcome)
            for user_id in there:
                outcome.changed += await self._mirror.drop(user_id)
                outcome.gone += 1
                tell(outcome)
            return outcome

    async def check(self) -> tuple[int, list[Difference]]:
        """How many users there are, and of whom both hold something else, whichever versions are said.

        Raises:
            MirrorTrouble: Neo4j cannot be reached.
            Conflict: a run goes on.
        """
        async with self._turn() as connection:
            if connection is None:
                raise Conflict("A run of the mirror goes on; check when it is done.")
            there, count, found = await self._mirror.users(), 0, list[Difference]()
            async for part in self._users(connection):
                for user in part:
                    count += 1
                    there.pop(user.whose.user_id, None)
                    found += await self._differs(user.whose)
            empty = "nothing"
            found += [Difference(user_id, empty, "a user who is gone") for user_id in there]
            return count, found

    async def _bring(self, whose: Whose, outcome: Outcome, *, again: bool) -> None:
        """Brings a user up to date."""
        outcome.users += 1
        for _ in range(ROUNDS):
            version = await self._shown.version(whose)
            if version is None:
                outcome.changed += await self._mirror.drop(whose.user_id)
                return
            await self._mirror.save_user(whose, NOT_WHOLE)
            outcome.changed += await self._pages(whose, again=again)
            if await self._shown.version(whose) == version:
                await self._mirror.save_user(whose, version)
                return
        outcome.restless += 1

    async def _pages(self, whose: Whose, *, again: bool) -> int:
        there = await self._mirror.pages(whose.user_id)
        lowers = await self._bounds(whose, sorted({FIRST, *there}))
        changed = 0
        for (lower, upper), said in (await self._sums(whose, lowers)).items():
            if again or there.get(lower) != said:
                changed += await self._mirror.save(whose.user_id, await self._page(whose, lower, upper))
        return changed

    async def _bounds(self, whose: Whose, lowers: Sequence[str]) -> list[str]:
        """Where the pages begin: as before, but for those that have grown too large."""
        made: list[str] = []
        for (lower, upper), said in (await self._sums(whose, lowers)).items():
            made.append(lower)
            if int(said.partition("/")[0]) > 2 * PAGE:
                parameters = (whose.user_id, UUID(lower), UUID(upper), PAGE)
                async with self._database.reading(whose.space_id, seconds=SECONDS) as session:
                    rows = await session.fetch(SQL["bounds"], parameters)
                made += [str(row[0]) for row in rows[1:]]
        return made

    async def _sums(self, whose: Whose, lowers: Sequence[str]) -> dict[tuple[str, str], str]:
        """Each page by where it begins and ends, with its sum."""
        runs = dict(zip(lowers, [*lowers[1:], LAST], strict=True))
        starts, ends = [UUID(one) for one in runs], [UUID(one) for one in runs.values()]
        async with self._database.reading(whose.space_id, seconds=SECONDS) as session:
            rows = await session.fetch(_SUMS, (starts, ends, whose.user_id, whose.user_id))
        return {
            (str(lower), runs[str(lower)]): f"{nodes}/{edges}/{said}"
            for lower, nodes, edges, said in sorted(rows)
        }  # fmt: skip

    async def _page(self, whose: Whose, lower: str, upper: str) -> Page:
        run = (whose.user_id, UUID(lower), UUID(upper))
        async with self._database.reading(whose.space_id, seconds=SECONDS) as session:
            nodes = await session.send(_NODES, run)
            edges = await session.fetch(SQL["page_edges"], run)
            return Page(
                lower, upper, frozenset(MirrorNode(*row) for row in await nodes.fetchall()),
                frozenset(MirrorEdge(*row) for row in edges),
            )  # fmt: skip

    async def _differs(self, whose: Whose) -> list[Difference]:
        """The pages of a user that are other than they should be, as one difference."""
        here, there = [], []
        lowers = sorted({FIRST, *(await self._mirror.pages(whose.user_id))})
        for (lower, upper), said in (await self._sums(whose, lowers)).items():
            found = (await self._mirror.read(whose.user_id, lower, upper)).sum
            if found != said:
                here.append(said)
                there.append(found)
        return [Difference(whose.user_id, ", ".join(here), ", ".join(there))] if here else []

    async def _users(self, connection: Connection) -> AsyncIterator[list[User]]:
        """All users, some at a time; by the owner."""
        after = UUID(int=0)
        while True:
            cursor = await connection.execute(SQL["users"], (after, USERS))
            part = [User(Whose(row[0], row[1]), row[2]) for row in await cursor.fetchall()]
            if part:
                yield part
            if len(part) < USERS:
                return
            after = part[-1].whose.user_id

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Connection | None]:
        """The owner's connection with the right to mirror; None while another has it."""
        async with self._database.maintenance() as connection:
            cursor = await connection.execute(SQL["take_turns"])
            row = await cursor.fetchone()
            yield connection if row and row[0] else None
