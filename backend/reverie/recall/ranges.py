"""Which tiers are searched, as bounds: each tier is some ranges of ids, for ids begin with their time."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, Literal, NamedTuple
from uuid import UUID

from reverie.core.database import Reads
from reverie.core.queries import Queries
from reverie.recall import candidates
from reverie.recall.bounds import range_clauses
from reverie.recall.types import Bounds

SQL = Queries("reverie.recall")

Tier = Literal["hot", "warm", "cold"]

NOTHING: Final = frozenset[UUID]()


class Range(NamedTuple):
    """Ids from ``lower`` up to but without ``upper``, all hot or none."""

    hot: bool
    lower: UUID
    upper: UUID


async def within_tiers(reads: Reads, space_id: UUID, bounds: Bounds, tiers: Collection[Tier], seconds: float) -> Bounds:
    """The bounds with what PostgreSQL holds of these tiers alone: hot and warm. Of both nothing is looked up.

    What is warm goes on up to where hot memory begins; what of it is hot, or where it does not so, is asked for by ids.
    What was thawed counts as warm, and stands where memory is cold.
    """
    hot, warm = "hot" in tiers, "warm" in tiers
    if hot and warm:
        return bounds
    if not (hot or warm):
        return replace(bounds, only=NOTHING)
    async with reads.reading(None, seconds=seconds) as session:
        ranges = joined([Range(*row) for row in await session.fetch(SQL["vector_ranges"])])
    if all(one.hot is hot for one in ranges):
        return bounds
    asked = [one for one in ranges if one.hot is hot]
    if not asked:
        return replace(bounds, only=NOTHING)
    if warm and len(asked) == 1 and asked[0] == ranges[0]:
        upper = asked[0].upper
        return replace(bounds, before=upper if bounds.before is None else min(upper, bounds.before))
    text, parameters = range_clauses([(one.lower, one.upper) for one in asked])
    ids = await candidates.matching(reads, space_id, bounds.user_ids, text, parameters, seconds)
    return replace(bounds, only=ids if bounds.only is None else ids & bounds.only)


def joined(ranges: Sequence[Range]) -> list[Range]:
    """Adjacent ranges of one tier as one. Pure."""
    found: list[Range] = []
    for one in ranges:
        if found and found[-1].hot is one.hot:
            found[-1] = found[-1]._replace(upper=one.upper)
        else:
            found.append(one)
    return found
