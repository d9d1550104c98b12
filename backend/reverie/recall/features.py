"""What the ranker is told of each candidate: numbers that the arms, the rows and the neighbours give. Pure functions.

No arm wins everywhere: words beat vectors in short chats among people, vectors beat words in long sessions with an
assistant. So the ranker sees the arms' scores raw (comparable between questions), relative to the others of the same
question (standardised, by rank, by the best), and what says which of them to believe: roles, lengths, how the question
is put, how far the arms agree.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reverie.recall import night
from reverie.recall.pool import Pool
from reverie.recall.scales import mean, rank, standardised
from reverie.recall.traits import Column, Places
from reverie.text.names import name_words

AGREEMENT: Final = 10
"""How many of the best of the two arms are compared."""

QUESTION_CHARS: Final = 4000
"""So much of a question is read for how it is put."""

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

NIGHT_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {"importance": night.NAMES[:1], "summaries": night.NAMES[1:]}
"""What rankers of the night are told beside: what nights have made of the memory."""

NIGHT_NAMES: Final = NAMES + night.NAMES

RERANK_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    **GROUPS,
    "rerank": ("learned", "rerank", "rerank_z", "rerank_rank"),
}
"""What the ranker of ``thorough`` is told: also what the first ranking (as log-odds) and the reranker say."""

RERANK_NAMES: Final = tuple(name for names in RERANK_GROUPS.values() for name in names)

NIGHT_RERANK_NAMES: Final = NIGHT_NAMES + RERANK_GROUPS["rerank"]

ALL_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {**GROUPS, **NIGHT_GROUPS, "rerank": RERANK_GROUPS["rerank"]}
"""All that any ranker is told of."""


def matrix(asked: Asked, found: Pool, places: Places) -> npt.NDArray[np.float32]:
    """The features of the candidates at ``places``: float32 ``[len(places), len(NAMES)]``."""
    everyone = columns(asked, found, places)
    rows = np.empty((len(NAMES), len(places)), dtype=np.float32)
    for number, name in enumerate(NAMES):
        rows[number] = everyone[name]
    return np.ascontiguousarray(rows.T)


def columns(asked: Asked, found: Pool, places: Places) -> dict[str, Column | float]:
    """The features of the candidates at ``places`` by name: a column, or one number for all of them."""
    traits = found.traits
    lengths, retold, named = np.log1p(traits.length), traits.retold, traits.named(asked.words)
    first, cosine, words = found.first, found.semantic, found.lexical
    # What every candidate says of itself, and a row of nothing at the end, where the place -1 leads.
    everyone = np.zeros((len(found.keys) + 1, 5))
    for number, column in enumerate((first, cosine, words, named, traits.asks)):
        everyone[:-1, number] = column
    further_before, further_after = np.append(found.before, -1), np.append(found.after, -1)
    one_before, one_after = further_before[places], further_after[places]
    before, after = everyone[one_before].T, everyone[one_after].T
    own = everyone[places].T
    cosine_top, words_top = _most(cosine), _most(words)
    length = lengths[places]
    length_mean = mean(lengths)
    return {
        "cosine": own[1],
        "cosine_z": standardised(own[1], cosine[found.listed] if found.listed.any() else cosine),
        "cosine_rank": rank(cosine)[places],
        "cosine_best": own[1] / (cosine_top or 1.0),
        "words": own[2],
        "words_z": standardised(own[2], own[2]),
        "words_rank": rank(words)[places],
        "words_best": own[2] / (words_top or 1.0),
        "bm25": own[2] * found.most,
        "first": own[0],
        "first_z": standardised(own[0], own[0]),
        "first_rank": rank(first)[places],
        "before": before[0],
        "after": after[0],
        "beside": np.maximum(before[0], after[0]),
        "before_2": everyone[further_before[one_before], 0],
        "after_2": everyone[further_after[one_after], 0],
        "before_cosine": before[1],
        "after_cosine": after[1],
        "before_words": before[2],
        "after_words": after[2],
        "near": found.near[places],
        "dated": float(found.dated),
        "named": own[3],
        "before_named": before[3],
        "after_named": after[3],
        "any_named": _most(named),
        "retold": retold[places],
        "to_assistant": float(asked.to_assistant),
        "retold_share": mean(retold),
        "length": length,
        "length_mean": length_mean,
        "length_more": length - length_mean,
        "asks": own[4],
        "before_asks": before[4],
        "when": float(asked.when),
        "who": float(asked.who),
        "terms": found.most,
        "cosine_top": cosine_top,
        "words_top": words_top,
        "agreement": _agreement(cosine, words),
    }


def _most(values: Column) -> float:
    return float(values.max(initial=0.0))


def _agreement(cosine: Column, words: Column) -> float:
    likest = np.argsort(-cosine, kind="stable")[:AGREEMENT]
    wordiest = np.argsort(-words, kind="stable")[:AGREEMENT]
    return float(len(set(likest.tolist()) & set(wordiest.tolist())))
