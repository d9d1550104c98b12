"""Names in text. Pure functions."""

import re

ROLE_WORDS = frozenset({"user", "assistant", "system", "tool", "human", "ai", "bot"})
"""What stands where a name would, and names nobody."""

_POSSESSIVE = re.compile(r"['’]s\b")
_WORD = re.compile(r"\w+")


def name_words(text: str) -> set[str]:
    """The words of a text in lower case, without the possessive 's."""
    return set(_WORD.findall(_POSSESSIVE.sub("", text.lower())))


def is_name(speaker: str | None) -> bool:
    """Whether a speaker is somebody's name, and not just a role."""
    return bool(speaker) and bool(name_words(speaker or "") - ROLE_WORDS)
