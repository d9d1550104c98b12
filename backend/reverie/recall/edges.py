"""Spreading: from what was found first, along the edges of the memory, to what stands beside it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final
from uuid import UUID

from reverie.core.arrays import Uuids
from reverie.core.database import Reads
from reverie.core.kinds import KINDS
from reverie.core.queries import Queries
from reverie.memories.identity import entity_identity
from reverie.recall.types import Bounds, Candidate, Edge, Key
from reverie.text.entities import STOP, name_key

SQL = Queries("reverie.recall")

DECAY: Final[Mapping[str, float]] = {"next": 0.7, "similar": 0.6, "mentions": 0.5, "summary_of": 0.5}
OTHER: Final = 0.4
"""What is left of a weight after an edge of each type, and of any other."""

MOST_EDGES: Final = 24
"""A node that has so many edges of one type in one direction is a hub, and is not passed along them."""

BEAM: Final = 40
"""Nodes from which each hop goes on, those of the greatest weight."""

MOST_MENTIONS: Final = 400
"""Mentions of an entity that are looked at, the newest: one with more is everywhere."""

NAMED: Final = 1.0
"""The weight of an entity that the question names."""

MOST_WORDS: Final = 48
MOST_NAME_WORDS: Final = 3
"""Words of a question in which names are looked for, and of such a name."""

_WORD = re.compile(r"@?\w+(?:['’.&+-]\w+)*")
_KINDS: Final = {code: kind for kind, code in KINDS.items()}
_IS_COLD: Final = SQL.text("is_cold").decode()


@dataclass(frozen=True, slots=True)
class Reached:
    """How a trace was reached: the weight of the best path, its last edge, and how many edges it has."""

    weight: float
    edge: Edge
    hops: int


@dataclass(frozen=True, slots=True)
class Spread:
    """What was reached, best first, within the bounds of the question."""

    reached: dict[Key, Reached] = field(default_factory=dict)
    candidates: dict[Key, Candidate] = field(default_factory=dict)


async def spread(
    database: Reads, space_id: UUID, bounds: Bounds, seeds: Mapping[Key, float], hops: int, limit: int,
    seconds: float, names: Sequence[bytes] = (), *, cold: bool = False,
) -> Spread:  # fmt: skip
    """The ``limit`` traces with the greatest weight at most ``hops`` edges away from seeds.

    A seed is among them where another seed leads to it. What was remembered after the bound ``before`` is neither
    reached nor passed.

    Args:
        database: where from.
        space_id: whose.
        bounds: what may be found.
        seeds: traces of the users of ``bounds`` with their weights, 0 to 1.
        hops: 1 or 2.
        limit: how many.
        seconds: that it may take.
        names: identities of entities that are seeds too (:func:`named`).
        cold: whether cold traces are reached too. They are passed in any case.
    """
    if not (seeds or names) or bounds.only == frozenset():
        return Spread()
    only = None if bounds.only is None else list(bounds.only)
    kinds = [_KINDS[kind] for kind in bounds.kinds]
    parameters = (
        Uuids(key[:16] for key in seeds), Uuids(key[16:] for key in seeds), list(seeds.values()), NAMED,
        bounds.user_ids, list(names), NAMED, bounds.user_ids, list(names), hops, bounds.before, bounds.before,
        kinds, cold, bounds.since, bounds.since, bounds.until, bounds.until, only, only, limit,
    )  # fmt: skip
    query = SQL.text("spread", share=_share(), beam=BEAM, most=MOST_EDGES, cold=_IS_COLD)
    async with database.reading(space_id, seconds=seconds) as session:
        rows = await session.fetch(query, parameters)
    return Spread(
        {row[0]: Reached(row[1], Edge(row[2], row[3], row[4], row[5], row[6]), row[7]) for row in rows},
        {row[0]: Candidate(row[0], *row[8:]) for row in rows},
    )


@dataclass(frozen=True, slots=True)
class Mentioning:
    """A trace that mentions what a question names: how many of these entities, how often the rarest of them is
    mentioned in all (at most :data:`MOST_MENTIONS`), and of how many triples about them the trace is a source."""

    entities: int
    rarest: int
    stated: int


async def mentioning(
    database: Reads, space_id: UUID, user_ids: Sequence[UUID], names: Sequence[bytes], seconds: float
) -> dict[Key, Mentioning]:
    """The traces that mention the entities of some names (:func:`named`), in one round trip."""
    if not names:
        return {}
    users, hashes = list(user_ids), list(names)
    query = SQL.text("named_mentions", most=MOST_MENTIONS)
    async with database.reading(space_id, seconds=seconds) as session:
        rows = await session.fetch(query, (users, hashes, users, hashes))
    return {row[0]: Mentioning(*row[1:]) for row in rows}


@cache
def _share() -> str:
    """:data:`DECAY` as an expression of SQL."""
    cases = " ".join(f"WHEN '{name}' THEN {share}::real" for name, share in DECAY.items())
    return f"CASE f.type {cases} ELSE {OTHER}::real END"


def named(question: str, identity_key: bytes) -> list[bytes]:
    """The identities of the entities that a question may name: of all runs of a few words. Pure.

    Whether the user has them, the store knows; so a name is found in lower case, too.
    """
    words = _WORD.findall(question[: MOST_WORDS * 40])[:MOST_WORDS]
    keys = dict[str, None]()
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + MOST_NAME_WORDS) + 1):
            run = words[start:end]
            if run[0].casefold() not in STOP or (len(run) > 1 and run[-1].casefold() not in STOP):
                keys[name_key(" ".join(run))] = None
    return [entity_identity(identity_key, key) for key in keys if len(key) > 1]
