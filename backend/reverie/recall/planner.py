"""How the vector arm searches: by estimated cost, from what is known of the users' indexes. Pure functions.

There are three ways to find the nearest of a user's vectors:

- exact: all of them, from the covering index of the model; it is there for everybody.
- bits: the signs of all of them by Hamming distance, then the nearest few by their vectors.
- hnsw: a walk through a graph over the user's own vectors.

The last two exist for large users alone, on the partitions where they pay; whoever is not known to have them is
searched exactly. A plan covers every id exactly once whatever it is based on, so that one based on what is no longer
true may be slow, but not wrong.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Final, Literal
from uuid import UUID

from reverie.recall.types import Bounds
from reverie.recall.warm import Part

Method = Literal["exact", "bits", "hnsw"]
Mode = Literal["auto", "always", "never"]
"""MEMORY_HNSW: ``always`` takes an HNSW index wherever there is one, ``never`` none."""

ROW: Final = 0.59
"""Microseconds: a row of the covering index is passed by. This and the other costs are in the proportions that
`bench/plans` measures; how fast the machine is as a whole makes no difference."""

NUMBER: Final = 0.00054
"""Microseconds for each dimension of a row whose cosine is computed."""

SIGNS: Final = 0.29
"""Microseconds: a row of the index over bits, a seventh as long, with its Hamming distance."""

RESCORE: Final = 6.0
"""Microseconds: the vector of a candidate of bits is fetched and compared."""

VISIT: Final = 15.5
"""Microseconds: HNSW finds one more row."""

LEG: Final = 350.0
"""Microseconds: one more part of a plan."""

LOOK_UP: Final = 2.5
"""Microseconds: a given id is looked up."""

SIFT: Final = 0.27
"""Microseconds: a row's id is looked for among many given ones."""

LEAST_RECALL: Final = 0.98
"""An index that found a smaller share of a sample's exact top ten is not read."""

UNKNOWN_ROWS: Final = 10_000
"""What a user is taken to have of whom nothing is known: below, nothing is built."""

MOST_VISITS: Final = 10_000
"""Rows that an HNSW scan passes at most until enough are within the bounds."""


@dataclass(frozen=True, slots=True)
class Built:
    """One index that holds vectors of a user (``memory_index``): those of one head from ``lower`` to ``upper``.

    ``looks``: the candidates of bits that are rescored, or ef_search; so ``recall`` of the exact top ten was found.
    ``kinds`` counts the rows of each kind, and ``moments`` are quantiles of ``happened_at``.
    """

    user_id: UUID
    table: str
    head: int
    method: Method
    lower: UUID
    upper: UUID
    rows: int
    looks: int
    recall: float
    kinds: Sequence[int] = ()
    moments: Sequence[datetime] = ()


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a plan: how the vectors of some users and heads are searched from ``lower`` to ``upper`` (exclusive).

    ``rows``: how many are looked at, as far as it is known. ``looks`` as in :class:`Built`.
    """

    method: Method
    user_ids: tuple[UUID, ...]
    heads: tuple[int, ...]
    lower: UUID | None = None
    upper: UUID | None = None
    rows: int = 0
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a search. ``sift``: the ids of ``Bounds.only`` are not looked up, but looked for in each row.

    ``warm``: how rows are searched that have codes; all others are what ``legs`` search.
    """

    legs: tuple[Leg, ...]
    sift: bool = False
    warm: tuple[Part, ...] = ()

    @property
    def name(self) -> Method:
        """The least exact method of its parts."""
        methods = {leg.method for leg in self.legs}
        return "hnsw" if "hnsw" in methods else "bits" if "bits" in methods else "exact"

    @property
    def rows(self) -> int:
        """How many rows are looked at, as far as it is known."""
        return sum(leg.rows for leg in self.legs) + sum(part.rows for part in self.warm)


def choose(bounds: Bounds, built: Mapping[UUID, Sequence[Built]], dim: int, limit: int, mode: Mode = "auto") -> Plan:
    """The plan that costs least.

    Args:
        bounds: what may be found.
        built: the indexes of those users that have any.
        dim: of the vectors.
        limit: how many rows are wanted.
        mode: whether HNSW is to be taken.
    """
    users = tuple(bounds.user_ids)
    heads = tuple(bounds.heads)
    legs: list[Leg] = []
    plain = []
    cost = 0.0
    for user in users:
        ways = [way for head in heads for way in _ways_of_head(bounds, built.get(user, ()), head, dim, limit, mode)]
        own = [leg for way in ways for leg in way.legs]
        cost += sum(way.cost for way in ways) if ways else _exact(UNKNOWN_ROWS, 1.0, dim)
        if own:
            legs += own + [leg for head in heads for leg in _rest(user, head, own)]
        else:
            plain.append(user)
    if plain or not legs:
        known = sum(one.rows for user in plain for one in built.get(user, ()) if one.method == "bits")
        legs.insert(0, Leg("exact", tuple(plain), heads, rows=known))
    if bounds.only is None:
        return Plan(tuple(legs))
    if len(bounds.only) * len(users) * LOOK_UP <= cost + len(bounds.only) * SIFT:
        return Plan((Leg("exact", users, heads, rows=len(bounds.only)),))
    return Plan(tuple(legs), sift=True)


def _ways_of_head(bounds: Bounds, built: Iterable[Built], head: int, dim: int, limit: int, mode: Mode) -> list["_Way"]:
    """The cheapest way of each partition for which anything is known of a user's head."""
    fit = sorted((one for one in built if one.head == head), key=attrgetter("table", "lower"))
    tables = [[*table] for _, table in groupby(fit, attrgetter("table"))]
    return [way for table in tables if (way := _way_of_table(bounds, table, dim, limit, mode)) is not None]


def _way_of_table(bounds: Bounds, built: Sequence[Built], dim: int, limit: int, mode: Mode) -> "_Way | None":
    whole = next((one for one in built if one.method == "bits"), None)
    if whole is None or (bounds.before is not None and whole.lower >= bounds.before):
        return None
    share = within(whole, bounds)
    graphs = [] if mode == "never" else [one for one in built if _worth_reading(one, share, limit)]
    ways = [_Way(_exact(whole.rows, share, dim), [])]
    if whole.recall >= LEAST_RECALL:
        ways.append(_Way(LEG + _by_bits(whole.rows, whole, share, limit), _signs(whole)))
    if graphs:
        walked = _by_hnsw(graphs, share, limit) + LEG
        tail = max(0, whole.rows - sum(one.rows for one in graphs))
        by_hnsw = [_Way(walked + _exact(tail, share, dim), _walks(graphs))]
        if whole.recall >= LEAST_RECALL:
            signs = _tail(whole, graphs, tail)
            by_hnsw.append(_Way(walked + LEG + _by_bits(tail, whole, share, limit), _walks(graphs) + signs))
        ways = by_hnsw if mode == "always" else ways + by_hnsw
    return min(ways, key=attrgetter("cost"))


@dataclass(frozen=True, slots=True)
class _Way:
    """Estimated microseconds, and what is not searched exactly."""

    cost: float
    legs: list[Leg]


def _worth_reading(one: Built, share: float, limit: int) -> bool:
    return one.method == "hnsw" and one.recall >= LEAST_RECALL and limit / share <= min(MOST_VISITS, one.rows)


def _exact(rows: float, share: float, dim: int) -> float:
    return rows * (ROW + share * NUMBER * dim)


def _by_bits(rows: float, whole: Built, share: float, limit: int) -> float:
    return rows * SIGNS + min(candidates(whole.looks, limit), rows * share) * RESCORE


def _by_hnsw(graphs: Sequence[Built], share: float, limit: int) -> float:
    return sum(LEG + max(one.looks, limit / share) * VISIT for one in graphs)


def candidates(looks: int, limit: int) -> int:
    """How many candidates of bits are rescored where ``limit`` rows are wanted."""
    return max(looks, 2 * limit)


def _signs(whole: Built) -> list[Leg]:
    return [Leg("bits", (whole.user_id,), (whole.head,), whole.lower, whole.upper, whole.rows, whole.looks)]


def _walks(graphs: Sequence[Built]) -> list[Leg]:
    return [
        Leg("hnsw", (one.user_id,), (one.head,), one.lower, one.upper, min(one.rows, one.looks), one.looks)
        for one in graphs
    ]


def _tail(whole: Built, graphs: Sequence[Built], rows: int) -> list[Leg]:
    """What the graphs leave of a partition, by its bits."""
    return [
        Leg("bits", (whole.user_id,), (whole.head,), lower, upper, rows, whole.looks)
        for lower, upper in gaps(whole.lower, whole.upper, [(one.lower, one.upper) for one in graphs])
        if lower is not None and upper is not None
    ]


def _rest(user: UUID, head: int, own: Sequence[Leg]) -> list[Leg]:
    """The exact parts between those of ``own`` that search a head otherwise."""
    taken = [(leg.lower, leg.upper) for leg in own if head in leg.heads and leg.lower and leg.upper]
    return [Leg("exact", (user,), (head,), lower, upper) for lower, upper in gaps(None, None, taken)]


def gaps(
    lower: UUID | None, upper: UUID | None, taken: Iterable[tuple[UUID, UUID]]
) -> list[tuple[UUID | None, UUID | None]]:
    """What disjoint spans leave between ``lower`` and ``upper``; None is the end on its side."""
    spans = sorted(taken, key=lambda span: span[0].int)
    ends = [lower, *(end for span in spans for end in span), upper]
    return [
        (start, end)
        for start, end in list(pairwise(ends))[::2]
        if start is None or end is None or start.int < end.int
    ]  # fmt: skip


def within(one: Built, bounds: Bounds) -> float:
    """The estimated share of an index's rows that pass the bounds; never 0."""
    share = 1.0
    if total := sum(one.kinds):
        share *= sum(one.kinds[kind - 1] for kind in set(bounds.kinds) if 0 < kind <= len(one.kinds)) / total
    share *= _position(one.moments, bounds.until, 1.0) - _position(one.moments, bounds.since, 0.0)
    if bounds.before is not None and bounds.before < one.upper:
        share *= max(0.0, _milliseconds(bounds.before) - _milliseconds(one.lower)) / max(
            1, _milliseconds(one.upper) - _milliseconds(one.lower)
        )
    if bounds.only is not None:
        share *= min(1.0, len(bounds.only) / max(1, one.rows))
    return min(1.0, max(share, 1 / max(1, one.rows)))


def _position(moments: Sequence[datetime], moment: datetime | None, default: float) -> float:
    """The share of ``moments`` before one of them; linear within a step."""
    if moment is None or len(moments) < 2:
        return default
    place = bisect_left(moments, moment)
    if place == 0:
        return 0.0
    if place == len(moments):
        return 1.0
    width = (moments[place] - moments[place - 1]).total_seconds()
    part = (moment - moments[place - 1]).total_seconds() / width
    return (place - 1 + part) / (len(moments) - 1)


def _milliseconds(trace_id: UUID) -> int:
    """The time that a uuid v7 begins with (RFC 9562, 5.7)."""
    return trace_id.int >> 80
