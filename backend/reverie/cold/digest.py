"""What stays of a text that lies in a file: a sentence of it, and numbers that tell what says nearly the same. Pure.

The numbers are a b-bit MinHash (Li and König, 2010): of every hash function the least value over the words and pairs of
neighbours, of which eight bits are kept. The share of equal numbers estimates the Jaccard index of two texts.
"""

import re
import zlib
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

MINHASH_BYTES: Final = 64
"""Hash functions, a byte each."""

LONGEST_SENTENCE: Final = 120
"""Characters of a sentence."""

_GREETING: Final = 4
"""A sentence of so few words says little where another follows."""

MOST_WORDS: Final = 20_000
"""Words of a text that are looked at."""

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s|(?<=[。！？])|\n")
_BLOCK: Final = 2048

# Multiply-shift hashing (Dietzfelbinger et al., 1997) by odd numbers. They are part of what is stored: drawn once, by
# splitmix64 from 1 on, and never changed.


def _odd_numbers(count: int) -> npt.NDArray[np.uint64]:
    made = []
    state = 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        made.append((mixed ^ (mixed >> 31)) | 1)
    return np.array(made, dtype=np.uint64)


_FACTORS: Final = _odd_numbers(MINHASH_BYTES)


def sentence(content: str) -> str:
    """The first sentence of a text that is more than a greeting, in one line, or as much of it as there is room for."""
    start = content.lstrip()[: 8 * LONGEST_SENTENCE]
    sentences = [" ".join(one.split()) for one in _SENTENCE_END.split(start)]
    found = next((one for one in sentences if one.count(" ") >= _GREETING), sentences[0])
    if len(found) <= LONGEST_SENTENCE:
        return found
    cut = found[: LONGEST_SENTENCE - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space > LONGEST_SENTENCE // 2 else cut) + "…"


def minhash(content: str) -> bytes:
    """:data:`MINHASH_BYTES` numbers of a text; of one without words all are 0."""
    words = [found[0].casefold() for found in _WORD.finditer(content)][:MOST_WORDS]
    if not words:
        return bytes(MINHASH_BYTES)
    parts = {zlib.crc32(word.encode()) for word in words}
    parts |= {zlib.crc32(f"{one} {other}".encode()) for one, other in pairwise(words)}
    values = np.fromiter(parts, dtype=np.uint64, count=len(parts))
    least = np.full(MINHASH_BYTES, np.iinfo(np.uint64).max, dtype=np.uint64)
    for begin in range(0, len(values), _BLOCK):
        hashed = values[begin : begin + _BLOCK, None] * _FACTORS
        # The upper half alone: the lowest bits of a product depend on the lowest bits of its factors.
        np.minimum(least, (hashed >> np.uint64(32)).min(axis=0), out=least)
    return (least & np.uint64(0xFF)).astype(np.uint8).tobytes()


def likeness(one: bytes, other: bytes) -> float:
    """The Jaccard index of two texts as their numbers tell it (0 to 1; its standard error is 0.06 at the most)."""
    equal = sum(a == b for a, b in zip(one, other, strict=True)) / MINHASH_BYTES
    by_chance = 1 / 256
    return max(0.0, (equal - by_chance) / (1 - by_chance))
