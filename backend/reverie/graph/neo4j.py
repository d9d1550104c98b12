"""The mirror of the graph in Neo4j, by its official driver: what is written there, and a graph that is read from it.

The driver is an extra (``reverie[neo4j]``). Of traces the mirror holds ids, kinds and times, of entities their names
too; no other text.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from uuid import UUID

import structlog

from reverie.core.config import Settings
from reverie.core.errors import StartError
from reverie.core.queries import Queries
from reverie.graph.protocol import TOGETHER, Id, Link, Whose

if TYPE_CHECKING:
    from neo4j import AsyncDriver, AsyncManagedTransaction

CYPHER = Queries("reverie.graph", "neo4j.cypher")

READ_SECONDS: Final = 3.0
"""What a question to the mirror may take; then PostgreSQL is asked."""

AT_ONCE_SECONDS: Final = 3.0
"""How long a caller who forgets waits for the mirror; then the next run does the rest."""

WRITE_SECONDS: Final = 60.0
SOME: Final = 5000
"""Nodes that are removed in one transaction."""

PAIRS: Final = 20_000
"""Pairs of entities that are looked at for which stand together most."""

PREPARED: Final = ("key_of_traces", "key_of_users", "key_of_pages", "traces_by_user", "pages_by_user")

T = TypeVar("T")
log = structlog.get_logger(__name__)


class MirrorTrouble(Exception):  # noqa: N818 - what it is
    """Neo4j cannot be reached, or refuses; the message is one sentence."""


class MirrorNode(NamedTuple):
    """A trace in the mirror; only an entity has a name."""

    id: str
    kind: str | None
    name: str | None
    happened_at: str | None


class MirrorEdge(NamedTuple):
    """An edge in the mirror."""

    src: str
    dst: str
    type: str
    weight: float


@dataclass(frozen=True, slots=True)
class Page:
    """A run of a user's traces by id, from ``lower`` on and before ``upper``, with the edges that lead from them."""

    lower: str
    upper: str
    nodes: frozenset[MirrorNode]
    edges: frozenset[MirrorEdge]

    @property
    def sum(self) -> str:
        """:func:`sum_of` of all of it."""
        return sum_of(self.nodes, self.edges)


def sum_of(nodes: frozenset[MirrorNode], edges: frozenset[MirrorEdge]) -> str:
    """What tells that two pages are the same, in whichever order they are read; as ``sums`` of mirror.sql makes it."""
    made = 0
    for node in nodes:
        made ^= _hash("n", node.id, node.kind or "", node.name or "", node.happened_at or "")
    for edge in edges:
        made ^= _hash("e", edge.src, edge.dst, edge.type, str(round(edge.weight * 1e6)))
    return f"{len(nodes)}/{len(edges)}/{made - (1 << 64) if made >> 63 else made}"


def _hash(*parts: str) -> int:
    return int.from_bytes(hashlib.md5("|".join(parts).encode(), usedforsecurity=False).digest()[:8], "big")


class Neo4j:
    """What is written to the mirror, and read back."""

    def __init__(self, driver: "AsyncDriver") -> None:
        self._driver = driver

    @classmethod
    def of(cls, settings: Settings) -> "Neo4j":
        """The mirror that the settings name; nothing is asked of it yet.

        Raises:
            StartError: there is no driver.
        """
        try:
            from neo4j import AsyncGraphDatabase
        except ImportError:
            raise StartError(
                "GRAPH_BACKEND=neo4j needs the driver of Neo4j, which is not installed: pip install 'reverie[neo4j]'."
            ) from None
        return cls(
            AsyncGraphDatabase.driver(
                settings.neo4j_url or "",
                auth=(settings.neo4j_user, settings.neo4j_password or ""),
                user_agent="reverie",
                connection_timeout=READ_SECONDS,
                connection_acquisition_timeout=READ_SECONDS,
                max_transaction_retry_time=READ_SECONDS,
                warn_notification_severity=None,
                notifications_min_severity="OFF",
                telemetry_disabled=True,
            )
        )

    async def close(self) -> None:
        """Lets go of its connections."""
        await self._driver.close()

    async def prepare(self) -> None:
        """Makes the indexes of the mirror where they are not there."""
        for name in PREPARED:
            await self.ask(name, seconds=WRITE_SECONDS)

    async def ask(self, name: str, *, seconds: float = READ_SECONDS, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a block of neo4j.cypher, in a transaction of its own.

        Raises:
            MirrorTrouble: Neo4j cannot be reached in time, or refuses.
        """
        async with _troubles(seconds):
            result = await self._driver.execute_query(CYPHER.text(name).decode(), parameters)
        return [record.data() for record in result.records]

    async def write(self, work: "Callable[[AsyncManagedTransaction], Awaitable[T]]") -> T:
        """What ``work`` returns, in one transaction."""
        async with _troubles(WRITE_SECONDS), self._driver.session() as session:
            return await session.execute_write(work)

    async def users(self) -> dict[UUID, tuple[UUID, int]]:
        """Every user whose graph is mirrored, with its space, and the version it had; -1 where it is not whole."""
        return {
            UUID(row["user"]): (UUID(row["space"]), row["version"])
            for row in await self.ask("users", seconds=WRITE_SECONDS)
        }

    async def version(self, user_id: UUID) -> int | None:
        """The version of a user that is mirrored."""
        rows = await self.ask("version", user=str(user_id))
        return int(rows[0]["version"]) if rows else None

    async def save_user(self, whose: Whose, version: int) -> None:
        """Says which version of a user is mirrored; -1 while that is not whole."""
        await self.ask("save_user", user=str(whose.user_id), space=str(whose.space_id), version=version)

    async def pages(self, user_id: UUID) -> dict[str, str]:
        """Where the pages of a user begin, with their sums."""
        rows = await self.ask("pages", seconds=WRITE_SECONDS, user=str(user_id))
        return {row["lower"]: row["sum"] for row in rows}

    async def read(self, user_id: UUID, lower: str, upper: str) -> Page:
        """A page as it is there."""

        async def work(transaction: "AsyncManagedTransaction") -> Page:
            return await _read(transaction, str(user_id), lower, upper)

        return await self.write(work)

    async def save(self, user_id: UUID, page: Page) -> int:
        """Makes a page of the mirror what it should be, in one transaction; how many rows that changed."""
        user = str(user_id)

        async def work(transaction: "AsyncManagedTransaction") -> int:
            there = await _read(transaction, user, page.lower, page.upper)
            kept = {node.id for node in page.nodes}
            gone = [_key(user, node.id) for node in there.nodes if node.id not in kept]
            new = [{**node._asdict(), "key": _key(user, node.id)} for node in page.nodes - there.nodes]
            # An edge of another weight is written over.
            same = {(edge.src, edge.dst, edge.type) for edge in page.edges}
            dropped = [_row(user, edge) for edge in there.edges if (edge.src, edge.dst, edge.type) not in same]
            written = [_row(user, edge) for edge in page.edges - there.edges]
            ends = [row for row in written if row["dst"] not in kept]
            for name, rows in (
                ("drop_edges", dropped), ("write_nodes", new), ("write_ends", ends), ("write_edges", written)
            ):  # fmt: skip
                if rows:
                    await _run(transaction, name, rows=rows, user=user)
            if gone:
                await _run(transaction, "drop_nodes", keys=gone)
            await _run(
                transaction, "save_page", key=_key(user, page.lower), user=user, lower=page.lower, sum=page.sum
            )  # fmt: skip
            return len(gone) + len(new) + len(dropped) + len(written)

        return await self.write(work)

    async def drop(self, user_id: UUID) -> int:
        """Removes a user; how many traces it had."""
        user, dropped = str(user_id), 0
        while True:
            [row] = await self.ask("drop_some", seconds=WRITE_SECONDS, user=user, most=SOME)
            if not row["dropped"]:
                break
            dropped += int(row["dropped"])
        for name in ("drop_pages", "drop_user"):
            await self.ask(name, seconds=WRITE_SECONDS, user=user)
        return dropped

    async def remove(self, user_id: UUID, trace_ids: Sequence[UUID] | None) -> None:
        """Removes traces of a user, None for all, at once; a run of the mirror does the rest.

        It is no matter to the caller whether Neo4j is there: what stays, the next run removes.
        """
        try:
            async with asyncio.timeout(AT_ONCE_SECONDS):
                await self._remove(user_id, trace_ids)
        except (MirrorTrouble, TimeoutError) as trouble:
            log.warning("not removed from the mirror yet", reason=str(trouble) or "it takes long")

    async def _remove(self, user_id: UUID, trace_ids: Sequence[UUID] | None) -> None:
        if trace_ids is None:
            await self.drop(user_id)
            return
        keys = [_key(str(user_id), str(one)) for one in trace_ids]
        for start in range(0, len(keys), SOME):
            await self.ask("drop_nodes", keys=keys[start : start + SOME])

    async def count(self, user_id: UUID, trace_ids: Sequence[UUID]) -> int | None:
        """How many of these traces the mirror holds; None where Neo4j does not say."""
        try:
            keys = [_key(str(user_id), str(one)) for one in trace_ids]
            found = [await self.ask("count", keys=keys[start : start + SOME]) for start in range(0, len(keys), SOME)]
        except MirrorTrouble as trouble:
            log.warning("mirror not looked at", reason=str(trouble))
            return None
        return sum(int(rows[0]["traces"]) for rows in found)


class Neo4jGraph:
    """A graph that is read from the mirror. Every question raises MirrorTrouble where Neo4j does not answer."""

    name = "neo4j"

    def __init__(self, mirror: Neo4j) -> None:
        self._mirror = mirror

    async def version(self, whose: Whose) -> int | None:
        """The version of a user that it has."""
        return await self._mirror.version(whose.user_id)

    async def entities(self, whose: Whose, most: int) -> list[tuple[Id, float]]:
        """As the protocol has it: by all their mentions."""
        rows = await self._mirror.ask("entities", user=str(whose.user_id), most=most)
        return [(UUID(row["id"]).bytes, float(row["much"])) for row in rows]

    async def neighbours(
        self, whose: Whose, ids: Sequence[Id], types: Sequence[str] | None, most: int
    ) -> list[Link]:  # fmt: skip
        """As the protocol has it: the strongest, of equals the newest."""
        given = self._given(whose, ids, types)
        rows = await self._mirror.ask("neighbours", **given, most=most)
        for mentions in (False, True):
            rows += await self._mirror.ask("neighbours_back", **given, most=most, mentions=mentions)
        return [_link(row) for row in rows]

    async def among(self, whose: Whose, ids: Sequence[Id], types: Sequence[str] | None) -> list[Link]:
        """As the protocol has it."""
        return [_link(row) for row in await self._mirror.ask("among", **self._given(whose, ids, types))]

    async def together(self, whose: Whose, ids: Sequence[Id], most: int) -> list[Link]:
        """As the protocol has it."""
        keys = [_key(str(whose.user_id), str(UUID(bytes=one))) for one in ids]
        many = {row["id"]: row["many"] for row in await self._mirror.ask("mentioned", keys=keys)}
        rows = await self._mirror.ask("together", keys=keys, most=PAIRS)
        links = [
            Link(
                UUID(row["a"]).bytes,
                UUID(row["b"]).bytes,
                TOGETHER,
                row["many"] / (many[row["a"]] * many[row["b"]]) ** 0.5,
            )
            for row in rows
        ]
        return sorted(links, key=lambda link: (-link.weight, link.src, link.dst))[:most]

    def _given(self, whose: Whose, ids: Sequence[Id], types: Sequence[str] | None) -> dict[str, Any]:
        keys = [_key(str(whose.user_id), str(UUID(bytes=one))) for one in ids]
        return {"keys": keys, "every": types is None, "types": list(types or ())}


def _key(user: str, trace: str) -> str:
    """By which a trace is known: two users may have one of the same id."""
    return f"{user}/{trace}"


def _row(user: str, edge: MirrorEdge) -> dict[str, Any]:
    return {**edge._asdict(), "src_key": _key(user, edge.src), "dst_key": _key(user, edge.dst)}


def _link(row: Mapping[str, Any]) -> Link:
    return Link(UUID(row["src"]).bytes, UUID(row["dst"]).bytes, row["type"], float(row["weight"]))


async def _run(transaction: "AsyncManagedTransaction", name: str, **parameters: Any) -> list[dict[str, Any]]:
    result = await transaction.run(CYPHER.text(name).decode(), parameters)
    return await result.data()


async def _read(transaction: "AsyncManagedTransaction", user: str, lower: str, upper: str) -> Page:
    nodes = await _run(transaction, "read_nodes", user=user, lower=lower, upper=upper)
    edges = await _run(transaction, "read_edges", user=user, lower=lower, upper=upper)
    return Page(
        lower, upper, frozenset(MirrorNode(**row) for row in nodes), frozenset(MirrorEdge(**row) for row in edges)
    )  # fmt: skip


@asynccontextmanager
async def _troubles(seconds: float) -> AsyncIterator[None]:
    """What goes wrong with Neo4j, as one sentence; nothing takes longer than these seconds."""
    from neo4j.exceptions import AuthError, ClientError, DriverError, Neo4jError

    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise MirrorTrouble(f"Neo4j did not answer within {seconds:g} s.") from None
    except AuthError:
        raise MirrorTrouble("Neo4j takes other credentials: look at NEO4J_USER and NEO4J_PASSWORD.") from None
    except ClientError as error:
        raise MirrorTrouble(f"Neo4j refused what it was asked ({error.code}).") from None
    except (Neo4jError, DriverError, OSError) as error:
        raise MirrorTrouble(f"Neo4j cannot be reached ({type(error).__name__}): look at NEO4J_URL.") from None
