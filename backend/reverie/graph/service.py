"""Looking at what is known and how it hangs together: a part of the graph for drawing, and paths in it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final, TypeVar
from uuid import UUID

import structlog

from reverie.auth.principal import Principal
from reverie.core.breaker import Breaker
from reverie.core.database import Database
from reverie.core.errors import NotFound
from reverie.core.ids import user_uuid
from reverie.graph import answer
from reverie.graph.answer import Answer
from reverie.graph.neo4j import MirrorTrouble, Neo4jGraph
from reverie.graph.protocol import TOGETHER, GraphBackend, Id, Link, Whose
from reverie.graph.repository import PostgresGraph, Shown
from reverie.graph.schemas import GraphQuery, PathQuery
from reverie.graph.spreading import Found, Way, around_both, spread, strength, ways
from reverie.memories import entities
from reverie.memories.identity import entity_identity

EDGES: Final = 4
"""So many edges for each node that may be shown."""

ENTITY: Final = "entity"
STARTS: Final = 20
"""Entities from which the graph is drawn where it is around nothing, and shows other traces too."""

PAUSE: Final = 30.0
TRIAL: Final = 4.0
"""Seconds for which a mirror that failed is not asked, and for which one question then tries it."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class GraphService:
    """The graphs of users."""

    def __init__(self, database: Database, mirror: Neo4jGraph | None = None) -> None:
        """``mirror`` is asked instead of PostgreSQL about whom it has as PostgreSQL has it."""
        self._database = database
        self._postgres = PostgresGraph(database)
        self._mirror = mirror
        self._breaker = Breaker(PAUSE, TRIAL)
        self._shown = Shown(database)

    async def around(self, principal: Principal, query: GraphQuery) -> Answer:
        """A part of the graph: around a trace, or the strongest of all.

        Raises:
            NotFound: there is no such trace or entity.
        """
        whose = _whose(principal, query.user_id)
        start = None if query.around is None else await self._find(principal, whose, query.around)

        async def draw(backend: GraphBackend) -> Answer:
            if start is None:
                return await self._strongest(backend, whose, query)
            found = await spread(backend, self._shown, whose, {start: 1.0}, query.hops, query.limit, query.types)
            return await self._drawn(backend, whose, query, found, query.kinds, start)

        return await self._answered(whose, draw)

    async def paths(self, principal: Principal, query: PathQuery) -> Answer:
        """The strongest paths between two traces; from one to itself there is none.

        Raises:
            NotFound: there is no such trace or entity.
        """
        whose = _whose(principal, query.user_id)
        start = await self._find(principal, whose, query.start)
        end = await self._find(principal, whose, query.end)

        async def walk(backend: GraphBackend) -> Answer:
            found, more = list[Way](), False
            if start != end:
                links, more = await around_both(backend, self._shown, whose, (start, end), query.hops, query.types)
                found = ways(links, start, end, query.hops, query.limit)
            weights = {start: 1.0, end: 1.0} | {one: way.weight for way in found for one in way.nodes[1:-1]}
            nodes = await self._shown.nodes(whose, list(weights))
            # What was forgotten since takes its paths with it.
            standing = [way for way in found if all(one in nodes for one in way.nodes)]
            weighed = [(nodes[one], weight) for one, weight in weights.items() if one in nodes]
            return answer.paths(query.user_id, (start, end), standing, weighed, more, backend.name)

        return await self._answered(whose, walk)

    async def _answered(self, whose: Whose, ask: Callable[[GraphBackend], Awaitable[T]]) -> T:
        """What ``ask`` finds: in the mirror where that is as new as PostgreSQL and answers, else in PostgreSQL."""
        if self._mirror is not None and self._breaker.ask():
            try:
                there, here = await asyncio.gather(self._mirror.version(whose), self._shown.version(whose))
                found = await ask(self._mirror) if there is not None and there == here else None
            except MirrorTrouble as trouble:
                self._breaker.failed()
                log.warning("mirror not asked", reason=str(trouble))
            else:
                self._breaker.answered()
                if found is not None:
                    return found
        return await ask(self._postgres)

    async def _strongest(self, backend: GraphBackend, whose: Whose, query: GraphQuery) -> Answer:
        """Around nothing: the entities that are mentioned most; without any, the traces that matter most."""
        kinds: Sequence[str] | None = query.kinds or [ENTITY]
        alone = kinds == [ENTITY]
        ranked = await backend.entities(whose, query.limit + 1 if alone else STARTS)
        if not ranked:
            ranked, kinds, alone = await self._shown.salient(whose, query.limit + 1), query.kinds, True
        most = max((weight for _, weight in ranked), default=0.0) or 1.0
        weights = {one: weight / most for one, weight in ranked}
        if alone:
            found = Found(weights, await self._shown.seen(whose, list(weights)))
            found.weights = {one: weight for one, weight in weights.items() if one in found.seen}
        else:
            found = await spread(backend, self._shown, whose, weights, query.hops, query.limit, query.types)
        return await self._drawn(backend, whose, query, found, kinds, None)

    async def _drawn(
        self, backend: GraphBackend, whose: Whose, query: GraphQuery, found: Found, kinds: Collection[str] | None,
        start: Id | None,
    ) -> Answer:  # fmt: skip
        """What was found, with the edges among it."""
        chosen = found.best(query.limit, kinds, () if start is None else (start,))
        nodes, links = await asyncio.gather(
            self._shown.nodes(whose, chosen), self._links(backend, whose, query, chosen, found)
        )
        standing = [one for one in chosen if one in nodes]
        links = [link for link in links if link.src in nodes and link.dst in nodes]
        room = EDGES * max(1, len(standing))
        weighed = [(nodes[one], found.weights[one]) for one in standing]
        more = found.more or len(links) > room
        return answer.graph(query.user_id, start, weighed, links[:room], more, backend.name)

    async def _links(
        self, backend: GraphBackend, whose: Whose, query: GraphQuery, chosen: Sequence[Id], found: Found
    ) -> list[Link]:
        """The edges among some nodes, strongest first; between entities alone also who is mentioned together."""
        if not chosen:
            return []
        named = all(found.seen[one].kind == ENTITY for one in chosen)
        wanted = query.types is None or TOGETHER in query.types
        strongest, together = await asyncio.gather(
            _strongest_first(backend.among(whose, chosen, query.types)),
            backend.together(whose, chosen, EDGES * len(chosen)) if named and wanted else _none(),
        )
        if not together:
            return strongest
        joined = {frozenset((link.src, link.dst)) for link in strongest}
        return strongest + [link for link in together if frozenset((link.src, link.dst)) not in joined]

    async def _find(self, principal: Principal, whose: Whose, named: str) -> Id:
        """The trace of an id, or the entity of a name.

        Raises:
            NotFound: the user has none.
        """
        try:
            trace_id = UUID(named)
        except ValueError:
            return await self._entity(principal, whose, named)
        if trace_id.bytes not in await self._shown.seen(whose, [trace_id.bytes]):
            raise NotFound(f"The user has no trace {trace_id}.")
        return trace_id.bytes

    async def _entity(self, principal: Principal, whose: Whose, name: str) -> Id:
        async with self._database.reading(whose.space_id) as session:
            known = await entities.known(session, whose.user_id, [entity_identity(principal.identity_key, name)])
        seen = await self._shown.seen(whose, [one.bytes for one in known.values()])
        if not seen:
            raise NotFound(f"The user has no entity of the name {_quoted(name)}, and that is no trace's id.")
        return next(iter(seen))


async def _none() -> list[Link]:
    return []


def _whose(principal: Principal, user: str) -> Whose:
    return Whose(principal.space_id, user_uuid(principal.space_id, user))


def _quoted(name: str) -> str:
    short = name if len(name) <= 60 else name[:60] + "…"
    return repr(short) if short.isprintable() else ascii(short)


async def _strongest_first(links: Awaitable[Iterable[Link]]) -> list[Link]:
    """Sorted as soon as they are there: who is mentioned together takes longer."""
    return sorted(sorted(await links), key=strength, reverse=True)
