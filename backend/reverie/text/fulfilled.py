"""Whether what is done is what was planned, looked for, lacked or under way before. English. Pure functions."""

import re
from typing import Final

from reverie.text.statement_words import FULFILS, GENERAL, KINDS_OF_IT
from reverie.text.stating import VAGUE_STEMS, Statement
from reverie.text.subjects import same
from reverie.text.values import Value, compared, last_word, stem, words

UNDER_WAY: Final = frozenset({"plan", "doing", "begun"})
"""Attributes of what may come to be done."""

_AT_ONCE: Final = 0.25
"""Days within which what is told goes on from what was told, and puts nothing in its place."""

_GONE: Final = frozenset(map(stem, ("break", "lose")))
"""What happens to things in whose place another comes: "my laptop" and "a new laptop"."""

_GENERAL: Final = frozenset(map(stem, GENERAL))
_KINDS_OF_IT: Final = frozenset(map(stem, KINDS_OF_IT))
_NEXT = re.compile(r"\b(?:next|upcoming|coming)\b", re.IGNORECASE)

_ASKED: Final = frozenset(map(stem, ("interview", "apply", "audition")))
"""Of what is asked for whatever is got is the answer, however it is called then."""

_MEANT = re.compile(r"(?:the|this|that|my|our)\b", re.IGNORECASE)
"""How what is known begins: "a book" that was read is another than "this book"."""

_LONG: Final = 240.0
_SHORTLY: Final = 45.0
"""Days within which what was planned is what was done: what is done once or is told by name, and the rest."""

_ONCE: Final = frozenset(
    map(stem, ("finish", "get", "start", "join", "move", "become", "marry", "graduate", "pass", "build", "write",
               "apply", "accept", "reject", "submit", "sign", "publish", "interview", "fix", "meet"))
)  # fmt: skip
_AGAIN: Final = frozenset(map(stem, ("visit", "see", "make", "take", "run", "play", "host", "win")))
_FULFILS: Final = {stem(act): frozenset(map(stem, ends)) | ends for act, ends in FULFILS.items()}


def fulfils(newer: Statement, older: Statement, days: float) -> bool:
    """Whether what was planned, lacked or under way is done, or has gone further, some days later."""
    if newer.extra or days < _AT_ONCE or not same(newer.subject, older.subject):
        return False
    if older.attribute == "lack":
        lacked = older.value.words - {older.act}
        alike = newer.act == older.act or (newer.act == "visit" and bool(lacked))
        return alike and lacked <= newer.value.words
    if older.attribute not in UNDER_WAY or (older.attribute == "begun" and newer.act == older.act):
        return False
    known = newer.act in _FULFILS.get(older.act, ()) or (older.attribute == "plan" and newer.act == older.act)
    return known and days <= _until(newer, older) and _same_thing(newer, older, days)


def denies(newer: Statement, older: Statement) -> bool:
    """Whether somebody says that he has never done what he said he did."""
    said = newer.value.words - {newer.act} - VAGUE_STEMS
    if not newer.rule or newer.act != older.act or not same(newer.subject, older.subject):
        return False
    shared = said & older.value.words
    return bool(said) and _noun(newer.value) in shared and (said == shared or len(shared) > 1)


def _until(newer: Statement, older: Statement) -> float:
    """Days within which what was planned is what was done: by name, and what people do again and again."""
    shared = newer.value.words & older.value.words - VAGUE_STEMS
    told = len(shared) > 1 and newer.act not in _AGAIN
    return _LONG if told or newer.act in _ONCE or newer.value.names & older.value.names else _SHORTLY


def _same_thing(newer: Statement, older: Statement, days: float) -> bool:
    """Whether what was done is what was meant."""
    new, old = newer.value, older.value
    shared = (new.words & old.words) - VAGUE_STEMS
    meant = _MEANT.match(old.text) and older.act not in _GONE
    if not shared or (len(shared) == 1 and meant and not _MEANT.match(new.text)):
        return False
    if any(differs for _, differs in compared(new, old)):
        return False
    mine, his = _noun(new), _noun(old)
    if new.names and old.names:
        return bool(new.names & old.names) and (within(new, old) or mine == his or bool({mine, his} & shared))
    if mine == his:
        if mine in _GENERAL and len(shared) == 1:
            return False
        return mine in shared and (
            len(shared) > 1
            or within(new, old)
            or _NEXT.search(old.text) is not None
            or (older.act in _ASKED and days < _SHORTLY)
        )
    # "endorsements": "an endorsement deal"; of "my shop's web site" the shop is not meant.
    kind = (mine in _KINDS_OF_IT or mine in VAGUE_STEMS) and older.act != "wait"
    return his in shared and kind and (old.words - VAGUE_STEMS <= new.words or len(shared) > 1)


def _noun(value: Value) -> str:
    """The last of a value's nouns that tells something: of "sponsorship opportunities" the first."""
    known = last_word(value)
    if known not in VAGUE_STEMS:
        return known
    told = [stem(word) for word in words(value.text)]
    return next((word for word in reversed(told) if word in value.words and word not in VAGUE_STEMS), known)


def within(new: Value, old: Value) -> bool:
    """Whether one value says what the other does, and perhaps more."""
    return new.words <= old.words or old.words <= new.words
