"""Fusion: one score between 0 and 1 from what every arm found, by the ranker or by fixed weights. Pure functions.

By fixed weights, each candidate's cosine and its share of the question's rarity are weighed together
(`recall/pool.py`), so that scores of different questions can be compared; then come priors that the trace itself gives:
a speaker whom the question names, and whether it is the user's own word or somebody's retelling of it. The constants
lie on a plateau that was found on two collections that pull in different directions, short chats among people and long
sessions with an assistant, each held out in turn. Recall falls back on this where an arm failed: the ranker has only
seen answers of all.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from reverie.recall.features import Asked
from reverie.recall.pool import Pool
from reverie.recall.traits import Column, Places
from reverie.recall.types import Arm, Candidate, Key, Scored

NAMED: Final = 0.1
"""The share of the way to 1 that a trace gains when its speaker is named in the question."""

RETOLD: Final = 0.15
"""What an assistant's or a tool's trace loses: it repeats and pads what the user said."""

LEXICAL_HALF: Final = 16.0
"""The BM25 score that counts as one half in the score of the lexical arm itself: s / (s + c)."""


def linear(asked: Asked, found: Pool, places: Places) -> dict[str, Column]:
    """The shares of the candidates at ``places``, whose sum is their score: each arm's and what each prior changes."""
    shares = {
        "semantic": found.semantic_share[places],
        "lexical": found.lexical_share[places],
        "time": found.time_share[places],
    }
    score = found.first[places]
    shares["speaker"] = NAMED * found.traits.named(asked.words)[places] * (1 - score)
    score = score + shares["speaker"]
    if not asked.to_assistant:
        shares["role"] = -RETOLD * found.traits.retold[places] * score
    return shares


def said(arms: Iterable[Arm], key: Key) -> dict[str, float]:
    """What each arm that found a candidate says of it, from 0 to 1; the dated one speaks for the semantic one."""
    scores = {arm.name: arm_score(arm.name, arm.scores[key]) for arm in arms if key in arm.scores}
    return {"semantic" if name == "dated" else name: score for name, score in scores.items()}


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


def ordered(found: Pool, places: Places, shares: dict[str, Column], most: int) -> list[Scored]:
    """The ``most`` best of the candidates at ``places`` by their shares, best first, the newer of two equals first."""
    scores = np.clip(sum(shares.values(), np.zeros(len(places))), 0.0, 1.0)
    # A pool has the newest first.
    best = np.lexsort((places, -scores))[:most]
    parts = {name: share[best].tolist() for name, share in shares.items()}
    return [
        Scored(found.keys[place], score, {name: part[n] for name, part in parts.items() if part[n]})
        for n, (place, score) in enumerate(zip(places[best].tolist(), scores[best].tolist(), strict=True))
    ]


def _order(scored: Scored) -> tuple[float, bytes]:
    # The newer of two equals comes first; ids of traces begin with their time.
    return (scored.score, scored.key[16:])
