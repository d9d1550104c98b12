"""Fusion: one score between 0 and 1 from what every arm found. Pure functions.

Each candidate's cosine and its share of the question's rarity (BM25 over the most that BM25 could give) are weighed
together, so that scores of different questions can be compared; then come priors that the trace itself gives: a speaker
whom the question names, and whether it is the user's own word or somebody's retelling of it. The constants lie on a
plateau that was found on two collections that pull in different directions, short chats among people and long sessions
with an assistant, each held out in turn.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from reverie.recall.types import Arm, Candidate, Key, Scored
from reverie.text.names import ROLE_WORDS, name_words

LEXICAL: Final = 0.35
"""The weight of the words; the rest is meaning."""

LONG: Final = 2000
"""Characters at which a trace's words count half: a long text holds any word by chance."""

NAMED: Final = 0.1
"""The share of the way to 1 that a trace gains when its speaker is named in the question."""

RETOLD: Final = 0.15
"""What an assistant's or a tool's trace loses: it repeats and pads what the user said."""

FOCUS: Final = 0.01
"""The share of the way to 1 that the newest trace in focus gains, the others less: it decides between equals."""

LEXICAL_HALF: Final = 16.0
"""The BM25 score that counts as one half in the score of the lexical arm itself: s / (s + c)."""

_RETELLING = frozenset({"assistant", "system", "tool"})
_TO_ASSISTANT = re.compile(
    r"\b(?:did|have|had|were) you\b"
    r"|\byou (?:\w+ )?(?:recommended|suggested|advised|said|told|gave|wrote|explained|mentioned|proposed)\b"
    r"|\byour (?:advice|answer|suggestion|recommendation|reply)\b",
    re.IGNORECASE,
)


class Base(NamedTuple):
    """What the two great arms say of a candidate, before its row is known: weighed meaning and words."""

    semantic: float
    lexical: float


_UNSEEN: Final = Base(0.0, 0.0)
"""A candidate of the focus alone."""


def weigh(arms: Mapping[str, Arm]) -> dict[Key, Base]:
    """Every candidate of the vector and the lexical arm."""
    semantic = arms["semantic"].scores if "semantic" in arms else {}
    lexical = arms["lexical"].scores if "lexical" in arms else {}
    most = arms["lexical"].most if "lexical" in arms else 0.0
    # What the vector arm did not list is at most as like the question as the last it did.
    floor = max(0.0, min(semantic.values(), default=0.0))
    weight = _weight(arms)
    return {
        key: Base(
            (1 - weight) * max(0.0, semantic.get(key, floor)),
            weight * min(1.0, lexical.get(key, 0.0) / most) if most > 0 else 0.0,
        )
        for key in semantic.keys() | lexical.keys()
    }


def shortlist(base: Mapping[Key, Base], focus: Mapping[Key, float], size: int, k: int) -> list[Key]:
    """The ``size`` candidates that are worth weighing; where the arms found fewer than ``k``, the focus fills up to it.

    Not further: a trace that no arm found stands behind all that one did, and reading it costs a round trip.
    """
    best = sorted(base, key=lambda key: (sum(base[key]), key[16:]), reverse=True)[:size]
    return best + [key for key in focus if key not in base][: max(0, k - len(best))]


def fuse(question: str, base: Mapping[Key, Base], arms: Mapping[str, Arm], found: Iterable[Candidate]) -> list[Scored]:
    """The candidates with their score, best first."""
    asked = name_words(question)
    to_assistant = bool(_TO_ASSISTANT.search(question))
    focus = arms["focus"].scores if "focus" in arms else {}
    scored = []
    for one in found:
        shares = _shares(one, base.get(one.key, _UNSEEN), focus, asked, to_assistant)
        score = min(1.0, max(0.0, sum(shares.values())))
        scored.append(Scored(one.key, score, shares))
    return sorted(scored, key=_order, reverse=True)


def said(arms: Iterable[Arm], key: Key) -> dict[str, float]:
    """What each arm that found a candidate says of it, from 0 to 1."""
    return {arm.name: arm_score(arm.name, arm.scores[key]) for arm in arms if key in arm.scores}


def arm_score(name: str, raw: float) -> float:
    """The score of one arm, from 0 to 1 and comparable between questions."""
    return raw / (raw + LEXICAL_HALF) if name == "lexical" else min(1.0, max(0.0, raw))


def alone(arm: Arm, found: Iterable[Candidate]) -> list[Scored]:
    """The candidates of a single arm in its own order, without priors."""
    scored = []
    for one in found:
        score = arm_score(arm.name, arm.scores[one.key])
        scored.append(Scored(one.key, score, {arm.name: score}))
    return sorted(scored, key=_order, reverse=True)


def _shares(
    one: Candidate, base: Base, focus: Mapping[Key, float], asked: set[str], to_assistant: bool
) -> dict[str, float]:
    shares = {"semantic": base.semantic, "lexical": base.lexical / (1 + one.length / LONG)}
    score = shares["semantic"] + shares["lexical"]
    if one.speaker and not _names(one.speaker).isdisjoint(asked):
        shares["speaker"] = NAMED * (1 - score)
        score += shares["speaker"]
    if one.key in focus:
        shares["focus"] = FOCUS * focus[one.key] * (1 - score)
        score += shares["focus"]
    if one.role in _RETELLING and not to_assistant:
        shares["role"] = -RETOLD * score
    return shares


@lru_cache(maxsize=4096)
def _names(speaker: str) -> frozenset[str]:
    return frozenset(name_words(speaker) - ROLE_WORDS)


def _weight(arms: Mapping[str, Arm]) -> float:
    """The weight of the lexical arm; an arm that failed or was not asked leaves all of it to the other."""
    if "semantic" not in arms or arms["semantic"].failed:
        return 1.0
    if "lexical" not in arms or arms["lexical"].failed:
        return 0.0
    return LEXICAL


def _order(scored: Scored) -> tuple[float, bytes]:
    # The newer of two equals comes first; ids of traces begin with their time.
    return (scored.score, scored.key[16:])
