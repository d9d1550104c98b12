"""What the ranker is told of each candidate: numbers that the arms, the rows and the neighbours give. Pure functions.

No arm wins everywhere: words beat vectors in short chats among people, vectors beat words in long sessions with an
assistant. So the ranker sees the arms' scores raw (comparable between questions), relative to the others of the same
question (standardised, by rank, by the best), and what says which of them to believe: roles, lengths, how the question
is put, how far the arms agree.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from reverie.recall.pool import Column, Places, Pool
from reverie.text.names import ROLE_WORDS, name_words

RANKS: Final = 10
"""The rank at which a reciprocal rank is one half: 1 / (1 + rank / RANKS)."""

AGREEMENT: Final = 10
"""How many of the best of the two arms are compared."""

QUESTION_CHARS: Final = 4000
"""So much of a question is read for how it is put."""

RETELLING: Final = frozenset({"assistant", "system", "tool"})
"""The roles that repeat and pad what the user said."""

_TO_ASSISTANT = re.compile(
    r"\b(?:did|have|had|were) you\b"
    r"|\byou (?:\w+ )?(?:recommended|suggested|advised|said|told|gave|wrote|explained|mentioned|proposed)\b"
    r"|\byour (?:advice|answer|suggestion|recommendation|reply)\b",
    re.IGNORECASE,
)
_WHEN = re.compile(r"\b(?:when|how long|how many days|(?:what|which) (?:year|month|date|day))\b", re.IGNORECASE)
_WHO = re.compile(r"\b(?:who|whose|whom)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the question itself says of how it is to be answered."""

    words: frozenset[str]
    to_assistant: bool
    when: bool
    who: bool

    @classmethod
    def read(cls, question: str) -> "Asked":
        """Reads a question; patterns are English, and match nothing in others."""
        head = question[:QUESTION_CHARS]
        return cls(
            words=frozenset(name_words(head)),
            to_assistant=bool(_TO_ASSISTANT.search(head)),
            when=bool(_WHEN.search(head)),
            who=bool(_WHO.search(head)),
        )


GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "semantic": ("cosine", "cosine_z", "cosine_rank", "cosine_best"),
    "lexical": ("words", "words_z", "words_rank", "words_best", "bm25"),
    "both": ("first", "first_z", "first_rank"),
    "neighbours": (
        "before", "after", "beside", "before_2", "after_2", "before_cosine", "after_cosine", "before_words",
        "after_words",
    ),
    "time": ("near", "dated"),
    "speaker": ("named", "before_named", "after_named", "any_named"),
    "role": ("retold", "to_assistant", "retold_share"),
    "form": ("length", "length_mean", "length_more", "asks", "before_asks"),
    "question": ("when", "who", "terms", "cosine_top", "words_top", "agreement"),
}  # fmt: skip
"""The features by what they tell of, in the order of the columns; explanations name the groups."""

NAMES: Final = tuple(name for names in GROUPS.values() for name in names)

RERANK_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    **GROUPS,
    "rerank": ("learned", "rerank", "rerank_z", "rerank_rank"),
}
"""What the ranker of ``thorough`` is told: also what the first ranking (as log-odds) and the reranker say."""

RERANK_NAMES: Final = tuple(name for names in RERANK_GROUPS.values() for name in names)


def matrix(asked: Asked, found: Pool, places: Places) -> npt.NDArray[np.float32]:
    """The features of the candidates at ``places``: float32 ``[len(places), len(NAMES)]``."""
    everyone = columns(asked, found, places)
    return np.stack([everyone[name] for name in NAMES], axis=1).astype(np.float32)


def columns(asked: Asked, found: Pool, places: Places) -> dict[str, Column]:
    """The features of the candidates at ``places`` by name."""
    count = len(places)
    named = np.array([is_named(row.speaker, asked.words) for row in found.rows], dtype=np.float64)
    retold = np.array([row.role in RETELLING for row in found.rows], dtype=np.float64)
    asks = np.array([row.asks for row in found.rows], dtype=np.float64)
    lengths = np.log1p(found.length)
    before, after = _at(found.before), _at(found.after)
    first, cosine, words = found.first, found.semantic, found.lexical
    listed = cosine[found.listed] if found.listed.any() else cosine
    chosen = first[places]

    def same(value: float) -> Column:
        return np.full(count, value, dtype=np.float64)

    one_before, one_after = before(first), after(first)
    return {
        "cosine": cosine[places],
        "cosine_z": standardised(cosine[places], listed),
        "cosine_rank": rank(cosine)[places],
        "cosine_best": cosine[places] / _some(cosine.max(initial=0.0)),
        "words": words[places],
        "words_z": standardised(words[places], words[places]),
        "words_rank": rank(words)[places],
        "words_best": words[places] / _some(words.max(initial=0.0)),
        "bm25": words[places] * found.most,
        "first": chosen,
        "first_z": standardised(chosen, chosen),
        "first_rank": rank(first)[places],
        "before": one_before[places],
        "after": one_after[places],
        "beside": np.maximum(one_before, one_after)[places],
        "before_2": before(one_before)[places],
        "after_2": after(one_after)[places],
        "before_cosine": before(cosine)[places],
        "after_cosine": after(cosine)[places],
        "before_words": before(words)[places],
        "after_words": after(words)[places],
        "near": found.near[places],
        "dated": same(found.dated),
        "named": named[places],
        "before_named": before(named)[places],
        "after_named": after(named)[places],
        "any_named": same(named.max(initial=0.0)),
        "retold": retold[places],
        "to_assistant": same(asked.to_assistant),
        "retold_share": same(retold.mean() if len(retold) else 0.0),
        "length": lengths[places],
        "length_mean": same(lengths.mean() if len(lengths) else 0.0),
        "length_more": lengths[places] - (lengths.mean() if len(lengths) else 0.0),
        "asks": asks[places],
        "before_asks": before(asks)[places],
        "when": same(asked.when),
        "who": same(asked.who),
        "terms": same(found.most),
        "cosine_top": same(cosine.max(initial=0.0)),
        "words_top": same(words.max(initial=0.0)),
        "agreement": same(_agreement(cosine, words)),
    }


def _at(places: Places) -> Callable[[Column], Column]:
    """What stands at other places, 0 where there is none."""
    nobody = places < 0

    def taken(values: Column) -> Column:
        found = values[places] if len(values) else values
        return np.where(nobody, 0.0, found)

    return taken


def standardised(values: Column, among: Column) -> Column:
    """How many standard deviations each value lies above the mean of ``among``."""
    return (values - among.mean()) / (among.std() + 1e-9) if len(among) else values


def rank(values: Column) -> Column:
    """1 for the greatest value, one half where :data:`RANKS` are greater; equal values have equal ranks."""
    greater = np.searchsorted(np.sort(-values), -values, side="left")
    return np.asarray(1 / (1 + greater / RANKS))


def _some(value: float) -> float:
    return value if value > 0 else 1.0


def _agreement(cosine: Column, words: Column) -> float:
    likest = np.argsort(-cosine, kind="stable")[:AGREEMENT]
    wordiest = np.argsort(-words, kind="stable")[:AGREEMENT]
    return float(len(np.intersect1d(likest, wordiest, assume_unique=True)))


def is_named(speaker: str | None, asked: frozenset[str]) -> bool:
    """Whether the question has a word of the speaker's name."""
    return bool(speaker) and not _names(speaker or "").isdisjoint(asked)


@lru_cache(maxsize=4096)
def _names(speaker: str) -> frozenset[str]:
    return frozenset(name_words(speaker) - ROLE_WORDS)
