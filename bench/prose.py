"""Text without end that has the words of real text, and the length of a turn of a chat.

Which word follows another is drawn from what follows it in the passages (a Markov chain of the first order over words):
so it packs about as well as what people write, which sentences made from templates would pack far better than.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench import made

SHORTEST, LONGEST = 60, 260
"""Characters of a passage: what a vector is made of, and words are drawn from."""

_SCALE: Final = 6.0
"""Of :func:`bench.made.made`: all of the manuals, and about as much of the chats and sessions."""

_FEWEST_WORDS, _MOST_WORDS = 8, 45
_TYPICAL_WORDS: Final = 22.5
_WORDS_SPREAD: Final = 0.35
"""Median and sigma of the log-normal that a length is drawn from: 130 characters on average, as turns of chats have."""

_SENTENCES: Final = re.compile(r"(?<=[.!?])\s+")

Ints = npt.NDArray[np.int64]


def passages(seed: int, most: int) -> tuple[list[str], list[str]]:
    """(passages of the collections of :mod:`bench.made`, questions to these), each once and in an order of its own."""
    collections = made.made(seed, _SCALE)
    contents = [trace["content"] for one in collections for trace in one.traces]
    found = {part for content in contents for part in _SENTENCES.split(" ".join(content.split()))}
    asked = {asking.text for one in collections for asking in one.questions}
    rng = np.random.default_rng([seed, len(found)])
    kept = sorted(part for part in found if SHORTEST <= len(part) <= LONGEST)
    return _shuffled(kept, rng)[:most], _shuffled(sorted(asked), rng)


def _shuffled(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [texts[place] for place in rng.permutation(len(texts))]


class Prose:
    """Texts made of the words of ``passages``; the same seed gives the same texts."""

    def __init__(self, seed: int, passages: Sequence[str]) -> None:
        self._seed = seed
        said = [word for passage in passages for word in passage.split()]
        self._words, told = np.unique(np.array(said, dtype=object), return_inverse=True)
        self._told = told.reshape(-1)
        self._starts = np.cumsum([0, *(len(passage.split()) for passage in passages[:-1])])
        # Where each word stands, one word after the other: those of word n begin at _first[n].
        self._places = np.argsort(self._told, kind="stable")
        self._counts = np.bincount(self._told)
        self._first = np.cumsum(self._counts) - self._counts

    def draw(self, stream: int, rows: int) -> list[str]:
        """So many texts; another ``stream`` is another draw."""
        rng = np.random.default_rng([self._seed, stream])
        lengths = np.clip(_TYPICAL_WORDS * rng.lognormal(0, _WORDS_SPREAD, rows), _FEWEST_WORDS, _MOST_WORDS)
        chosen = self._words[self._chain(rng, rows)]
        return [" ".join(words[: int(length)]) for words, length in zip(chosen.tolist(), lengths, strict=True)]

    def _chain(self, rng: np.random.Generator, rows: int) -> "npt.NDArray[np.integer[Any]]":
        """Words ``[rows, _MOST_WORDS]`` by number."""
        at: Ints = rng.choice(self._starts, size=rows)
        chain = np.empty((rows, _MOST_WORDS), dtype=np.int64)
        for step in range(_MOST_WORDS):
            word = self._told[at]
            chain[:, step] = word
            # Somewhere else where the same word stands; what follows there comes next.
            at = self._places[self._first[word] + rng.integers(self._counts[word])] + 1
            at %= len(self._told)
        return chain
