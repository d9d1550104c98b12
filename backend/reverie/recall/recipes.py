"""Recipes: named sets of recall parameters, instead of twenty knobs."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

RecipeName = Literal["fast", "balanced", "thorough", "vector", "lexical"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which arms run, how many candidates each brings, and whether they are fused.

    ``depth`` is a number of candidates for each arm; ``shortlist`` how many of them together are weighed in full:
    by the ranker, or by fixed weights. Where nights say which of them matter, the vector arm brings ``night_depth``,
    and ``night_shortlist`` are weighed. A recipe that does not fuse has one arm, whose own score and order stand.
    ``hops``: how far recall spreads over the edges from what was found first, 0 for not at all; ``rerank``: a
    cross-encoder judges the best of them. ``focus``: what is in focus fills up where the arms found too few.
    """

    semantic: bool = True
    lexical: bool = True
    focus: bool = True
    fused: bool = True
    depth: int = 100
    shortlist: int = 120
    night_depth: int = 200
    night_shortlist: int = 160
    hops: int = 0
    rerank: bool = False


RECIPES: Final = MappingProxyType(
    {
        "fast": Recipe(focus=False, depth=50, shortlist=60, night_depth=50, night_shortlist=60),
        "balanced": Recipe(),
        "thorough": Recipe(hops=2, rerank=True),
        "vector": Recipe(lexical=False, focus=False, fused=False),
        "lexical": Recipe(semantic=False, focus=False, fused=False),
    }
)
"""``vector`` and ``lexical`` are for measuring: one arm alone, no priors."""
