"""The candidates of a question as columns, what the two great arms say of each, and the best by that. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reverie.recall import times
from reverie.recall.traits import Column, Places, Traits
from reverie.recall.types import Arm, Candidate, Key
from reverie.text.spans import Span

LEXICAL: Final = 0.35
"""The weight of the words in the first score; the rest is meaning."""

NEAR: Final = 0.2
"""The share of the way to 1 that a trace gains when it happened at a time that the question names."""

LONG: Final = 2000
"""Characters at which a trace's words count half: a long text holds any word by chance."""

_ID: Final = itemgetter(slice(16, None))
"""The id of a trace in its key."""


class Lot(NamedTuple):
    """Candidates, the newest first, so that of equals it is the newer that has the better rank; ids of traces begin
    with their time. ``before``: the place of each one's neighbour in its conversation, -1 where that is none of them.
    """

    keys: list[Key]
    rows: list[Candidate]
    traits: Traits
    before: Places

    @classmethod
    def of(cls, known: Mapping[Key, Candidate]) -> "Lot":
        """Candidates by their keys."""
        keys = sorted(known, key=_ID, reverse=True)
        rows = [known[key] for key in keys]
        places = {key: place for place, key in enumerate(keys)}
        before = np.array([-1 if row.follows is None else places.get(row.follows, -1) for row in rows], dtype=np.intp)
        return cls(keys, rows, Traits.of(rows), before)


class Table:
    """All traces of a user who is held, from which the candidates of a question are taken as columns."""

    def __init__(self, known: Mapping[Key, Candidate]) -> None:
        self._all = Lot.of(known)
        self._places = {key: place for place, key in enumerate(self._all.keys)}

    def lot(self, known: Mapping[Key, Candidate]) -> Lot | None:
        """As :meth:`Lot.of`; None where one of them is none of these, or was read at another time."""
        everyone = self._all
        places = [self._places.get(key, -1) for key in known]
        # Some may have been brought anew by PostgreSQL: mostly the same.
        if -1 in places or [everyone.rows[at] for at in places] != [*known.values()]:
            return None
        places.sort()
        at = np.array(places, dtype=np.intp)
        among = np.full(len(everyone.keys) + 1, -1, dtype=np.intp)
        among[at] = np.arange(len(at))
        # The place -1 leads to the last, which stands for none.
        before = among[everyone.before[at]]
        keys, rows = [everyone.keys[one] for one in places], [everyone.rows[one] for one in places]
        return Lot(keys, rows, everyone.traits.take(at), before)


@dataclass(frozen=True, slots=True)
class Pool:
    """The candidates of a question and what is known of them, a column each, in the same order.

    ``semantic``: cosine, 0 to 1; what only words or edges found is at most as like the question as the last that the
    vector arm listed. ``lexical``: the share of the question's rarity that is found (BM25 over the most that BM25 could
    give), 0 where no word is; ``most``: what BM25 could give. ``near``: how close it lies to the times that the
    question names, if any (``dated``). ``semantic_share``, ``lexical_share`` and ``time_share``: the three weighed,
    whose sum ``first`` is what candidates are chosen by.
    """

    keys: list[Key]
    rows: list[Candidate]
    listed: npt.NDArray[np.bool_]
    semantic: Column
    lexical: Column
    most: float
    semantic_share: Column
    lexical_share: Column
    time_share: Column
    first: Column
    near: Column
    dated: bool
    traits: Traits
    before: Places
    after: Places
    """Where the neighbours in the conversation stand, -1 where they are no candidates."""


def pool(arms: Mapping[str, Arm], known: Mapping[Key, Candidate], spans: Sequence[Span] = ()) -> Pool:
    """Every candidate whose row is known, with its first score; ``spans`` are the times that the question names."""
    semantic, lexical = arms.get("semantic"), arms.get("lexical")
    held = None if semantic is None or semantic.table is None else semantic.table.lot(known)
    keys, rows, traits, before = held or Lot.of(known)
    cosines = semantic.scores if semantic is not None else {}
    words = lexical.scores if lexical is not None else {}
    dated = arms["dated"].scores if "dated" in arms else {}
    reached = arms["edges"].scores if "edges" in arms else {}
    floor = max(0.0, min(cosines.values(), default=0.0))
    most = lexical.most if lexical is not None and lexical.most > 0 else 1.0
    floors = dict.fromkeys((*words, *reached), floor) | dated | cosines
    like = np.array([floors.get(key, 0.0) for key in keys], dtype=np.float64).clip(0.0)
    share = np.minimum(1.0, np.array([words.get(key, 0.0) for key in keys], dtype=np.float64) / most)
    weight = _weight(semantic, lexical)
    semantic_share, lexical_share = (1 - weight) * like, weight * share / (1 + traits.length / LONG)
    both = semantic_share + lexical_share
    near = times.closeness(spans, times.seconds(row.happened_at for row in rows)) if spans else np.zeros(len(keys))
    time_share = NEAR * near * (1 - both)
    after = np.full(len(rows), -1, dtype=np.intp)
    has = np.flatnonzero(before >= 0)
    after[before[has]] = has
    return Pool(
        keys=keys,
        rows=rows,
        listed=np.array([key in cosines for key in keys], dtype=np.bool_),
        semantic=like,
        lexical=share,
        most=most,
        semantic_share=semantic_share,
        lexical_share=lexical_share,
        time_share=time_share,
        first=both + time_share,
        near=near,
        dated=bool(spans),
        traits=traits,
        before=before,
        after=after,
    )


def _weight(semantic: Arm | None, lexical: Arm | None) -> float:
    """The weight of the words; an arm that failed or was not asked leaves all of it to the other."""
    if semantic is None or semantic.failed:
        return 1.0
    return 0.0 if lexical is None or lexical.failed else LEXICAL


def best(found: Pool, size: int) -> Places:
    """The places of the ``size`` candidates with the greatest first score, best first, and of equals the newer."""
    return np.argsort(-found.first, kind="stable")[:size]
