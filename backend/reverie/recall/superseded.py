"""The newer before the older that it takes the place of. Pure functions."""

from collections.abc import Collection, Sequence
from typing import Final

from reverie.recall.types import Edge, Key, Scored, Trace, key_of, user_of

SUPERSEDES: Final = "supersedes"

FIRST: Final = 10
"""Results that nothing is pushed out of by a mark alone: what changes its place does so among them, or behind them."""


def pairs_of(traces: Collection[Trace], edges: Sequence[Edge]) -> set[tuple[Key, Key]]:
    """(newer, older) of results of which one takes the other's place."""
    known = {trace.key for trace in traces}
    pairs = {
        (key_of(edge.user_id, edge.src), key_of(edge.user_id, edge.dst)) for edge in edges if edge.type == SUPERSEDES
    }
    pairs |= {(key_of(user_of(one.key), one.superseded_by), one.key) for one in traces if one.superseded_by is not None}
    return {(newer, older) for newer, older in pairs if newer in known and older in known}


def newer_first(ranked: Sequence[Scored], pairs: Collection[tuple[Key, Key]]) -> list[Scored]:
    """Results in their order, but for older ones that stand before what takes their place: these come right behind it.

    Their score is then no greater than that one's.
    """
    if not pairs:
        return list(ranked)
    return _settled(ranked[:FIRST], pairs) + _settled(ranked[FIRST:], pairs)


def _settled(ranked: Sequence[Scored], pairs: Collection[tuple[Key, Key]]) -> list[Scored]:
    here = {one.key for one in ranked}
    behind: dict[Key, set[Key]] = {}
    for newer, older in pairs:
        if newer in here and older in here:
            behind.setdefault(older, set()).add(newer)
    settled: list[Scored] = []
    waiting: list[Scored] = []
    for one in ranked:
        if behind.get(one.key):
            waiting.append(one)
            continue
        settled.append(one)
        # What comes behind may itself be what another waits for.
        freed = [one.key]
        while freed:
            before = freed.pop()
            for other in [each for each in waiting if before in behind[each.key]]:
                behind[other.key].discard(before)
                if not behind[other.key]:
                    waiting.remove(other)
                    settled.append(_softened(other, settled[-1].score))
                    freed.append(other.key)
    # Marks that go round in a circle say nothing.
    return settled if not waiting else list(ranked)


def _softened(one: Scored, most: float) -> Scored:
    if one.score <= most:
        return one
    return Scored(one.key, most, one.shares | {SUPERSEDES: most - one.score})
