"""What facts are about: the topics of a profile, and how a triple is put into words. Pure data, and pure functions."""

from typing import Final

from reverie.text.predicates import PREDICATES

OTHER: Final = "other"

TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "work": ("works_at", "works_as", "works_with"),
    "home": ("lives_in", "lives_with", "neighbour_of"),
    "origin": ("from", "born_in", "born_on"),
    "family": (
        "married_to", "partner_of", "child_of", "grandchild_of", "sibling_of", "relative_of", "has_pet",
    ),
    "people": ("friend_of", "knows"),
    "likes": ("likes", "dislikes", "prefers"),
    "pastimes": ("plays", "does", "visited", "member_of"),
    "learning": ("studies", "studied_at", "attends", "speaks"),
    "belongings": ("owns", "uses"),
    "health": ("allergic_to",),
}  # fmt: skip
"""Topic → the predicates that are of it; in the order in which a person is told of them."""

BY_PREDICATE: Final = {predicate: topic for topic, predicates in TOPICS.items() for predicate in predicates}

BY_ATTRIBUTE: Final = {
    "live": "home", "live with": "home", "job": "work", "employer": "work", "love": "family", "like": "likes",
    "prefer": "likes", "answer in": "likes", "have": "belongings", "own": "belongings", "drive": "belongings",
    "use": "belongings", "play": "pastimes", "study": "learning", "speak": "learning", "weight": "health",
}  # fmt: skip
"""An attribute of a statement (:mod:`reverie.text.stating`) → its topic; the rest are :data:`OTHER`."""

SINGLE: Final = frozenset({"works_at", "works_as", "lives_in", "lives_with", "married_to", "partner_of"})
"""Predicates of which somebody has one object at a time: what takes the place of one need not name it."""

_WORDS: Final = {
    "from": "is from", "born_in": "was born in", "born_on": "was born on", "married_to": "is married to",
    "has_pet": "has a pet,", "allergic_to": "is allergic to",
} | {
    predicate: f"is a {predicate.removesuffix('_of')} of" for predicate in PREDICATES if predicate.endswith("_of")
}  # fmt: skip


def in_words(subject: str, predicate: str, of: str) -> str:
    """A triple as a sentence without its full stop: "Mara works at Hexaly"."""
    return f"{subject} {_WORDS.get(predicate, predicate.replace('_', ' '))} {of}"


def attribute_of(about: str | None) -> str | None:
    """The attribute that an edge `supersedes` is about; None where it says nothing of that."""
    return None if not about else about.rpartition(": ")[2] if ": " in about else "is"


def topic_of(about: str | None) -> str | None:
    """The topic of what an edge `supersedes` is about; None where it says nothing of that: it is of all topics."""
    attribute = attribute_of(about)
    return None if attribute is None else BY_ATTRIBUTE.get(attribute, OTHER)
