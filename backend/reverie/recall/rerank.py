"""Reranking: what the reranker reads of the best candidates, and its scores, if they come in time."""

import re
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Final, NamedTuple

from reverie.embedding.reranking.protocol import RerankError
from reverie.embedding.reranking.service import Reranking
from reverie.text.names import is_name

BUDGET: Final = 16_000
"""Characters of all passages of a question together: some four thousand tokens."""

FEWEST: Final = 200
"""Characters that a passage may always have, some two sentences: less is not worth its judgement."""

_WORDS: Final = 64
_HITS: Final = 64
"""A word found so often in a text says nothing of where its answer stands."""
_LOOKED_THROUGH: Final = 100_000
"""Characters of a text that are looked through, in a millisecond or two: of longer ones the piece that matched is to be
given."""

_ENDING: Final = re.compile(r"(?:ing|ed|es|s|e)$")
_SHORTEST_STEM: Final = 3
_FIRST_UNSPACED: Final = "\u2e80"
"""From here on are the scripts of China, Japan and Korea, which are written without spaces: their words are pairs."""

_SENTENCE_START: Final = re.compile(r"[.!?\u3002\uff01\uff1f]\s+|\n+")

_ANYWHERE = (
    "a about after all also am an and any are as at be because been before being but by can could did do does for from "
    "get got had has have he her him his how i if in into is it its just me more my no not of on or our out she should "
    "so some than that the their them then there they this to up us was we were what when where which who whom whose "
    "why will with would you your"
)
STOP_WORDS: Final = frozenset(_ANYWHERE.split())
"""English words that stand anywhere."""


async def rerank(reranking: Reranking, question: str, texts: Sequence[str], seconds: float) -> list[float] | None:
    """The reranker's scores of the texts, in their order, higher is better; None if they do not come in time.

    Args:
        reranking: the service's reranker.
        question: as it was asked.
        texts: what is judged of each candidate: :func:`passages`.
        seconds: how long it may take.
    """
    try:
        scores = await reranking.score(question, texts, seconds)
    except RerankError:
        return None  # counted there, and logged where somebody can mend it
    return [float(score) for score in scores]


def passages(
    contents: Sequence[str], speakers: Sequence[str | None], words: Iterable[str], budget: int = BUDGET
) -> list[str]:
    """What the reranker reads of each candidate: who speaks, and a passage.

    The name is needed: it is what many a question asks of, and only the speaker's own turn does not say it. Of the
    contents together at most ``budget`` characters are read, or FEWEST of each; what short ones leave goes to the long
    ones, all of which are cut to the same length by :func:`window`.

    Args:
        contents: the candidates' texts; of a text that has pieces, the piece that matched.
        speakers: who speaks, in the same order; what is only a role is left out.
        words: the question's, as :func:`~reverie.text.names.name_words` gives them.
        budget: characters of all passages.
    """
    most = _share([len(content) for content in contents], budget)
    stems = _stems(words)
    read = (_window(content, stems, most) for content in contents)
    return [_told(speaker, passage) for speaker, passage in zip(speakers, read, strict=True)]


def _told(speaker: str | None, passage: str) -> str:
    return f"{speaker}: {passage}" if is_name(speaker) else passage


def window(content: str, words: Iterable[str], max_chars: int) -> str:
    """The passage of at most ``max_chars`` characters in which most of a question's words stand, the rare ones first.

    It begins and ends between words, with a sentence where there is room. Without any of the words it is the
    beginning.
    """
    return _window(content, _stems(words), max_chars)


def _share(lengths: Sequence[int], budget: int) -> int:
    """The length to cut at, so that the sum keeps to the budget."""
    left, longer = budget, len(lengths)
    for length in sorted(lengths):
        if length * longer > left:
            return max(FEWEST, left // longer)
        left -= length
        longer -= 1
    return max(FEWEST, max(lengths, default=0))


def _window(content: str, stems: Sequence[str], most: int) -> str:
    if len(content) <= most:
        return content
    hits = _hits(content[:_LOOKED_THROUGH].lower(), [stem for stem in stems if len(stem) <= most])
    if not hits:
        return _trimmed(content, 0, 0, most)
    first, end = _densest(hits, most)
    free = max(0, most - (end - first))
    return _trimmed(content, max(0, min(first - free // 2, len(content) - most)), first, most)


def _stems(words: Iterable[str]) -> list[str]:
    """What is searched for: words that are not everywhere, without their endings; of unspaced scripts, pairs."""
    found: dict[str, None] = {}
    for word in sorted({word.lower() for word in words} - STOP_WORDS):
        if word >= _FIRST_UNSPACED and len(word) > 1:
            found.update(dict.fromkeys(word[at : at + 2] for at in range(len(word) - 1)))
        elif len(word) > 1:
            stem = _ENDING.sub("", word)
            found[stem if len(stem) >= _SHORTEST_STEM else word] = None
    return sorted(found, key=len, reverse=True)[:_WORDS]


class _Hit(NamedTuple):
    """Where a word stands, and what it is worth: less, the more often it stands in the text."""

    start: int
    end: int
    word: int
    worth: float


def _hits(text: str, stems: Sequence[str]) -> list[_Hit]:
    hits: list[_Hit] = []
    for word, stem in enumerate(stems):
        places = _places(text, stem)
        hits += [_Hit(place, place + len(stem), word, 1 / sqrt(len(places))) for place in places]
    return sorted(hits)


def _places(text: str, stem: str) -> list[int]:
    """Where words begin with the stem; none if that is nearly everywhere."""
    places: list[int] = []
    spaced = stem < _FIRST_UNSPACED
    at = text.find(stem)
    looked = 0
    while at >= 0 and looked < 4 * _HITS:
        looked += 1
        if not (spaced and at and text[at - 1].isalnum()):
            places.append(at)
        at = text.find(stem, at + len(stem))
    return places if len(places) < _HITS else []


def _densest(hits: Sequence[_Hit], most: int) -> tuple[int, int]:
    """Where the hits of the best passage begin and end: that of the greatest worth of different words, the earliest."""
    counts: dict[int, int] = {}
    worth = best = 0.0
    found = (hits[0].start, hits[0].end)
    first = 0
    for last in hits:
        counts[last.word] = counts.get(last.word, 0) + 1
        if counts[last.word] == 1:
            worth += last.worth
        while last.end - hits[first].start > most:
            counts[hits[first].word] -= 1
            if counts[hits[first].word] == 0:
                worth -= hits[first].worth
            first += 1
        if worth > best + 1e-9:
            best, found = worth, (hits[first].start, last.end)
    return found


def _trimmed(content: str, start: int, first: int, most: int) -> str:
    """The passage from ``start``, between words: from a sentence's beginning, if one lies before ``first``."""
    if start > 0:
        sentence = _SENTENCE_START.search(content, start, first)
        space = content.find(" ", start, first)
        start = sentence.end() if sentence else space + 1 if space >= 0 else start
    end = min(len(content), start + most)
    if end < len(content):
        space = content.rfind(" ", start + most // 2, end + 1)
        end = space if space > 0 else end
    return content[start:end]
