"""Cold traces for those who read or change single ones: their texts, and all of one that is brought back."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
import structlog

from reverie.cold import files
from reverie.cold.files import Damaged
from reverie.cold.service import ColdService, Key
from reverie.core.errors import Unavailable
from reverie.core.kinds import HEADS
from reverie.embedding.codes import SignedBytes, pack
from reverie.objects.store import StorageTrouble

AWAY: Final = "The text of this trace is in cold storage, which cannot be read at the moment; try again later."

log = structlog.get_logger(__name__)


class Coded(NamedTuple):
    """A vector of a trace as warm rows have it; ``bits`` as PostgreSQL writes them."""

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
        return whole(table, segment.model_id)


def whole(table: Any, model_id: int) -> Whole:
    """The rows of one trace as what is written of it. Pure."""
    vectors = []
    pieces, begins, ends = (table[name].to_pylist() for name in ("piece", "begins", "ends"))
    for head, number in HEADS.items():
        numbers, there = files.vectors_of(table[head])
        for row, piece in enumerate(pieces):
            if there is None or there[row]:
                one = numbers[row : row + 1]
                vectors.append(Coded(number, piece, begins[row], ends[row], *coded(one)))
    first = pieces.index(0)
    return Whole(
        content=table["content"][first].as_py(),
        words=table["word_count"][first].as_py(),
        model_id=model_id,
        vectors=vectors,
    )


def coded(numbers: SignedBytes) -> tuple[bytes, str]:
    """Codes and bits of a vector ``[1, dim]``. Pure."""
    bits = (numbers > 0).astype(np.uint8)
    return pack(numbers, np.packbits(bits, axis=1)).tobytes(), "".join(map(str, bits[0].tolist()))
