"""What candidates say of themselves, as columns: made once of their rows, for whatever weighs them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from reverie.recall.types import Candidate
from reverie.text.names import ROLE_WORDS, name_words

Column = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

T = TypeVar("T")

RETELLING: Final = frozenset({"assistant", "system", "tool"})
"""The roles that repeat and pad what the user said."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of candidates, a column each, in their order.

    ``length``: characters; ``retold``: 1 where the role repeats and pads what the user said, else 0; ``asks``: 1 where
    a question mark stands in it, else 0; ``salience``: the own; ``given``: whether the caller gave that; ``pinned``:
    whether it does not weaken; ``last``: when it was remembered or last changed, in seconds of the Unix epoch;
    ``user``, ``kind`` and ``speaker``: its place in ``users``, ``kinds`` and ``speakers``.
    """

    length: Column
    retold: Column
    asks: Column
    salience: Column
    given: Mask
    pinned: Mask
    last: Column
    user: Places
    kind: Places
    speaker: Places
    users: Sequence[bytes]
    kinds: Sequence[str]
    speakers: Sequence[str | None]

    @classmethod
    def of(cls, rows: Sequence[Candidate]) -> "Traits":
        """Reads the rows of candidates."""
        # When each was remembered, as the first six bytes of its id tell, in milliseconds.
        last = (np.frombuffer(b"".join([one.key[16:24] for one in rows]), dtype=">u8") >> 16) / 1000
        if any(one.updated_at for one in rows):
            changed = [0.0 if one.updated_at is None else one.updated_at.timestamp() for one in rows]
            last = np.maximum(last, changed)
        user, users = _placed([one.key[:16] for one in rows])
        kind, kinds = _placed([one.kind for one in rows])
        speaker, speakers = _placed([one.speaker for one in rows])
        return cls(
            length=np.array([one.length for one in rows], dtype=np.float64),
            retold=np.array([one.role in RETELLING for one in rows], dtype=np.float64),
            asks=np.array([one.asks for one in rows], dtype=np.float64),
            salience=np.array([one.salience for one in rows], dtype=np.float64),
            given=np.array([one.salience_given for one in rows], dtype=np.bool_),
            pinned=np.array([one.pinned for one in rows], dtype=np.bool_),
            last=last,
            user=user,
            kind=kind,
            speaker=speaker,
            users=users,
            kinds=kinds,
            speakers=speakers,
        )

    def take(self, places: Places) -> "Traits":
        """Those at ``places``."""
        return Traits(
            length=self.length[places],
            retold=self.retold[places],
            asks=self.asks[places],
            salience=self.salience[places],
            given=self.given[places],
            pinned=self.pinned[places],
            last=self.last[places],
            user=self.user[places],
            kind=self.kind[places],
            speaker=self.speaker[places],
            users=self.users,
            kinds=self.kinds,
            speakers=self.speakers,
        )

    def named(self, words: frozenset[str]) -> Column:
        """1 where the words of a question have one of the speaker's name, else 0."""
        named = np.zeros(len(self.speakers))
        # Of a table there may be thousands of whom these candidates are none.
        for place in set(self.speaker.tolist()):
            named[place] = is_named(self.speakers[place], words)
        return named[self.speaker]


def _placed(values: Sequence[T]) -> tuple[Places, tuple[T, ...]]:
    """The place of each value among the different ones, and these."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return np.fromiter(map(places.__getitem__, values), np.intp, len(values)), tuple(places)


def is_named(speaker: str | None, asked: frozenset[str]) -> bool:
    """Whether the question has a word of the speaker's name."""
    return bool(speaker) and not _names(speaker or "").isdisjoint(asked)


@lru_cache(maxsize=4096)
def _names(speaker: str) -> frozenset[str]:
    return frozenset(name_words(speaker) - ROLE_WORDS)
