"""Cold traces for those who read, change or bring them back: their texts, and their vectors as warm rows have them."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np
import structlog

from reverie.cold.files import Damaged, Table, vectors_of
from reverie.cold.service import ColdService, Key
from reverie.core.errors import Unavailable
from reverie.core.kinds import HEADS
from reverie.embedding.codes import pack, signs_of
from reverie.objects.store import StorageTrouble

AWAY: Final = "The text of this trace is in cold storage, which cannot be read at the moment; try again later."

log = structlog.get_logger(__name__)


class Coded(NamedTuple):
    """A vector of a trace as warm rows have it; ``bits`` as PostgreSQL writes them (``0101…``)."""

    trace_id: UUID
    head: int
    piece: int
    begins: int | None
    ends: int | None
    codes: bytes
    bits: str


@dataclass(frozen=True, slots=True)
class Whole:
    """All that a file holds of a trace: its text, how many different words that has, and the vectors of a model."""

    content: str
    words: int
    model_id: int
    vectors: list[Coded]


class ColdTraces:
    """What lies in files, within ``seconds`` each time."""

    def __init__(self, cold: ColdService, seconds: float) -> None:
        self._cold = cold
        self._seconds = seconds

    async def texts(self, space_id: UUID, keys: Collection[Key]) -> dict[Key, str]:
        """What these traces say, as far as they are cold and can be read in time; what is wrong is logged."""
        if not keys:
            return {}
        try:
            async with asyncio.timeout(self._seconds):
                return (await self._cold.contents(space_id, keys)).texts
        except (StorageTrouble, TimeoutError) as error:
            log.warning("cold texts not read", error=type(error).__name__)
            return {}

    async def whole(self, space_id: UUID, key: Key) -> Whole | None:
        """All of a trace; None where it is not cold (any more).

        Raises:
            Unavailable: its file cannot be read.
        """
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._cold.rows(space_id, key)
        except (StorageTrouble, Damaged, TimeoutError) as error:
            log.warning("cold trace not read", error=type(error).__name__)
            raise Unavailable(AWAY) from None
        if found is None:
            return None
        segment, table = found
        # A trace begins with its first piece.
        content, words = table["content"][0].as_py(), table["word_count"][0].as_py()
        return Whole(content, words, segment.model_id, coded(table))


def coded(table: Table) -> list[Coded]:
    """The vectors of rows of a file, head by head. Pure."""
    ids, pieces, begins, ends = (table[name].to_pylist() for name in ("trace_id", "piece", "begins", "ends"))
    made: list[Coded] = []
    for name, head in HEADS.items():
        numbers, there = vectors_of(table[name])
        rows = np.arange(len(numbers)) if there is None else np.flatnonzero(there)
        if not len(rows):
            continue
        chosen = numbers[rows]
        signs = signs_of(chosen.astype(np.float32))
        codes = pack(chosen, signs)
        bits = np.unpackbits(signs, axis=1, count=chosen.shape[1]) + ord("0")
        made += [
            Coded(ids[row], head, pieces[row], begins[row], ends[row], codes[at].tobytes(), bits[at].tobytes().decode())
            for at, row in enumerate(rows)
        ]
    return made
