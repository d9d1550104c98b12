"""What summaries by the night are compared with: the first sentences, sentences by chance, and LexRank.

Each names who speaks, and has as many words as it may: the last sentence is cut where they end.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bench.rouge import words

DAMPING: Final = 0.85
ALIKE: Final = 0.1
"""From so great a cosine on, sentences vouch for one another (Erkan and Radev, 2004, whose threshold this is)."""

REPEATED: Final = 0.7
"""Sentences that are as alike are not taken both."""

_ROUNDS: Final = 100
_END = re.compile(r"(?<=[.!?])\s+")


class Said(NamedTuple):
    """A sentence and who says it."""

    speaker: str
    text: str


def said(turns: Sequence[tuple[str, str]]) -> list[Said]:
    """The sentences of turns (speaker, text)."""
    return [Said(speaker, part) for speaker, text in turns for part in _END.split(text) if part.strip()]


def lead(sentences: Sequence[Said], budget: int) -> str:
    """The first sentences."""
    return _filled(sentences, range(len(sentences)), budget)


def by_chance(sentences: Sequence[Said], budget: int, seed: str) -> str:
    """Sentences in an order that the seed gives, put back into their own."""
    order = list(range(len(sentences)))
    random.Random(seed).shuffle(order)
    return _filled(sentences, order, budget)


def lexrank(sentences: Sequence[Said], budget: int) -> str:
    """The sentences that are most like all others: PageRank over their likeness (Erkan and Radev, 2004)."""
    alike = _likeness(sentences)
    kept: list[int] = []
    for place in np.argsort(-_ranks(alike), kind="stable").tolist():
        if all(alike[place, other] <= REPEATED for other in kept):
            kept.append(place)
    return _filled(sentences, kept, budget)


def _likeness(sentences: Sequence[Said]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The cosine of each two sentences, by their words and how rare those are in this conversation."""
    counts = [Counter(words(one.text)) for one in sentences]
    in_sentences = Counter(word for count in counts for word in count)
    columns = {word: column for column, word in enumerate(in_sentences)}
    table = np.zeros((len(sentences), len(columns)))
    for row, count in enumerate(counts):
        for word, times in count.items():
            table[row, columns[word]] = times * np.log(len(sentences) / in_sentences[word])
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    return table @ table.T


def _ranks(alike: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    links = (alike > ALIKE).astype(np.float64)
    np.fill_diagonal(links, 1.0)
    links /= links.sum(axis=1, keepdims=True)
    ranks = np.full(len(links), 1 / len(links))
    for _ in range(_ROUNDS):
        ranks = (1 - DAMPING) / len(links) + DAMPING * links.T @ ranks
    return ranks


def _filled(sentences: Sequence[Said], order: Sequence[int], budget: int) -> str:
    """As many sentences as the budget holds, taken in an order and told in their own, with their speakers."""
    taken: list[int] = []
    for place in order:
        taken.append(place)
        if len(_told(sentences, taken)) >= budget:
            break
    return " ".join(_told(sentences, taken)[:budget])


def _told(sentences: Sequence[Said], taken: Sequence[int]) -> list[str]:
    found: list[str] = []
    speaker = ""
    for place in sorted(taken):
        one = sentences[place]
        if one.speaker != speaker:
            found.append(f"{one.speaker}:")
        speaker = one.speaker
        found += one.text.split()
    return found
