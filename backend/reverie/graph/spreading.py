"""From some traces along the edges of the memory: what hangs on them most, and how two of them hang together."""

import asyncio
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple, Protocol

from reverie.graph.protocol import GraphBackend, Id, Link, Whose
from reverie.graph.repository import Seen

PASSED: Final[Mapping[str, float]] = {
    "supersedes": 0.9, "summary_of": 0.7, "similar": 0.7, "follows": 0.6, "same_topic": 0.5, "mentions": 0.5,
    "next": 0.4,
}  # fmt: skip
STATED: Final = 0.9
"""What is left of a weight after an edge of each type, and of any other: those say what is stated, or set by hand."""

NAMED: Final = 0.8
"""The same from a trace to an entity that it mentions: entities are what a picture goes by."""

BEAM: Final = 48
"""Nodes from which a further hop goes on, those of the greatest weight."""

LOOKED: Final = 1000
"""Edges that a further hop looks at each way, spread over these nodes; at least :data:`LEAST` of each."""

LEAST: Final = 16

SPARE: Final = 50
"""So many more than are shown are looked at: not all that is found can be seen."""


class Sight(Protocol):
    """Knows what can be seen."""

    async def seen(self, whose: Whose, ids: Sequence[Id]) -> dict[Id, Seen]:
        """Those of some traces that can be seen."""
        ...


def strength(link: Link) -> float:
    """How strongly an edge joins its ends: its weight, 0 to 1, and what its type is worth."""
    return min(1.0, max(0.0, link.weight)) * PASSED.get(link.type, STATED)


@dataclass(slots=True)
class Found:
    """What was reached: each trace with its weight, by the best way, and what is known of it.

    ``links``: the edges that were looked at on the way. ``more``: not all was, or not all is kept.
    """

    weights: dict[Id, float] = field(default_factory=dict)
    seen: dict[Id, Seen] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    more: bool = False

    def best(self, limit: int, kinds: Collection[str] | None, always: Collection[Id] = ()) -> list[Id]:
        """The strongest of some kinds, and those that are always among them, which come first."""
        chosen = [one for one in self.weights if one in always or kinds is None or self.seen[one].kind in kinds]
        chosen.sort(key=lambda one: (one in always, self.weights[one], one), reverse=True)
        self.more = self.more or len(chosen) > limit
        return chosen[:limit]


async def spread(
    backend: GraphBackend, sight: Sight, whose: Whose, starts: Mapping[Id, float], hops: int, limit: int,
    types: Sequence[str] | None,
) -> Found:  # fmt: skip
    """What stands at most ``hops`` edges away from some traces that can be seen, each with its weight, 0 to 1.

    What cannot be seen is neither reached nor passed. The weight of a trace is that of the one it is reached from, by
    the strength of the edge and by its own salience; of what mentions an entity it is less the more do.
    """
    seen = await sight.seen(whose, list(starts))
    found = Found({one: weight for one, weight in starts.items() if one in seen}, seen)
    edge = dict(found.weights)
    for hop in range(hops):
        frontier = heaviest(edge, BEAM if hop else limit)
        if not frontier:
            break
        most = max(LEAST, LOOKED // len(frontier)) if hop else limit + SPARE
        # One more than are looked at, which tells that there are more.
        links = await backend.neighbours(whose, frontier, types, most + 1)
        found.links += links
        found.more = found.more or len(frontier) < len(edge) or crowded(links, frontier, most)
        reached = {one: weight for one, weight in passed(links, edge, frontier).items() if one not in found.weights}
        chosen = heaviest(reached, limit + SPARE)
        found.more = found.more or len(chosen) < len(reached)
        seen = await sight.seen(whose, chosen)
        found.seen |= seen
        edge = {one: reached[one] * (1 + seen[one].salience) / 2 for one in chosen if one in seen}
        found.weights |= edge
    return found


def heaviest(weights: Mapping[Id, float], most: int) -> list[Id]:
    """Those of the greatest weights, of equals the newest. Pure."""
    return sorted(sorted(weights, reverse=True), key=weights.__getitem__, reverse=True)[:most]


def crowded(links: Iterable[Link], frontier: Collection[Id], most: int) -> bool:
    """Whether one of a frontier has more than ``most`` edges one way, mentions of it apart. Pure."""
    # An edge between two of them was found from both of its ends.
    once = set(links)
    each_way = (
        Counter(link.src for link in once),
        Counter(link.dst for link in once if link.type == "mentions"),
        Counter(link.dst for link in once if link.type != "mentions"),
    )
    return any(many[one] > most for many in each_way for one in frontier)


def passed(
    links: Collection[Link], weights: Mapping[Id, float], frontier: Collection[Id]
) -> dict[Id, float]:  # fmt: skip
    """The other ends of edges of a frontier with what reaches them, each by its best edge. Pure."""
    many = Counter(link.dst for link in links if link.type == "mentions")
    best: dict[Id, float] = {}
    given = {one: weights[one] for one in frontier}
    for link in links:
        src, dst, kind, _ = link
        if src == dst:
            continue
        mentions = kind == "mentions"
        if (weight := given.get(src)) is not None:
            ahead = weight * (NAMED if mentions else strength(link))
            if ahead > best.get(dst, -1.0):
                best[dst] = ahead
        if (weight := given.get(dst)) is not None:
            back = weight * strength(link) / (1 + math.log(many[dst]) if mentions else 1.0)
            if back > best.get(src, -1.0):
                best[src] = back
    return best


class Way(NamedTuple):
    """A path: its nodes from one end to the other, the edges between them, and the product of what these are worth."""

    nodes: tuple[Id, ...]
    links: tuple[Link, ...]
    weight: float


async def around_both(
    backend: GraphBackend, sight: Sight, whose: Whose, ends: tuple[Id, Id], hops: int, types: Sequence[str] | None
) -> tuple[list[Link], bool]:
    """Edges among what lies between two traces, as far as it can be seen: half of the hops from each of them.

    And whether more lies there than was looked at.
    """
    # The second goes no further than what both need together.
    found = await asyncio.gather(
        *(
            spread(backend, sight, whose, {one: 1.0}, far, NEAR, types)
            for one, far in zip(ends, ((hops + 1) // 2, hops // 2), strict=True)
        )
    )
    near = {*ends, *(one for side in found for one in heaviest(side.weights, NEAR))}
    more = any(side.more or len(side.weights) > NEAR for side in found)
    among = await backend.among(whose, list(near), types)
    # Of a node from which very many edges lead, these are some; those by which it was reached stand beside them.
    walked = (link for side in found for link in side.links if link.src in near and link.dst in near)
    return list(dict.fromkeys([*among, *walked])), more


NEAR: Final = 120
"""Traces that are looked at around each end of a path."""


def ways(links: Iterable[Link], start: Id, end: Id, hops: int, most: int) -> list[Way]:
    """The strongest paths of at most so many edges, the best first; no two share a node between their ends. Pure."""
    beside: dict[Id, list[Link]] = defaultdict(list)
    for link in links:
        if link.src != link.dst:
            beside[link.src].append(link)
            beside[link.dst].append(link)
    found: list[Way] = []
    closed: set[Id] = set()
    used: set[Link] = set()
    while len(found) < most and (way := _best(beside, start, end, hops, closed, used)) is not None:
        found.append(way)
        closed.update(way.nodes[1:-1])
        # A path without a node between is closed by its edge.
        used.update(way.links if len(way.links) == 1 else ())
    return found


def _best(
    beside: Mapping[Id, Sequence[Link]], start: Id, end: Id, hops: int, closed: Collection[Id],
    used: Collection[Link],
) -> Way | None:  # fmt: skip
    """The strongest path that goes by no closed node and no used edge (Dijkstra's algorithm, over node and hops)."""
    order = count()
    queue: list[tuple[float, int, Id, tuple[Id, ...], tuple[Link, ...]]] = [(0.0, next(order), start, (start,), ())]
    done: dict[Id, int] = {}
    while queue:
        cost, _, at, nodes, links = heapq.heappop(queue)
        if at == end:
            return Way(nodes, links, math.exp(-cost))
        # A costlier way to the same node is worth going on with only if it is shorter.
        if done.get(at, hops + 1) <= len(links):
            continue
        done[at] = len(links)
        if len(links) == hops:
            continue
        for link in beside.get(at, ()):
            other, worth = link.other(at), _worth(link, at, beside)
            if other not in nodes and other not in closed and link not in used and worth > 0:
                step = (cost - math.log(worth), next(order), other, (*nodes, other), (*links, link))
                heapq.heappush(queue, step)
    return None


def _worth(link: Link, at: Id, beside: Mapping[Id, Sequence[Link]]) -> float:
    """What an edge leaves of a path's weight: a name that is everywhere joins what has little to do with each other."""
    other = link.other(at)
    return strength(link) / (1 + math.log(len(beside[other])))
