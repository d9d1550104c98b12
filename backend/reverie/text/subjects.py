"""Whom or what a statement is about. English. Pure functions."""

import re
from dataclasses import dataclass, replace
from typing import Final

from reverie.text.statement_words import PRONOUNS, VAGUE
from reverie.text.values import content, stem, words

MOST_SUBJECT_WORDS: Final = 8
SOMEBODY: Final = "user"
"""Whose "I" it is where no speaker is named."""

ME: Final = frozenset({"i", "we", "me", "us", "myself", "ourselves"})


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom or what a statement is about.

    Attributes:
        owner: whose it is, in lower case; empty where nobody is named.
        words: its words that tell it from others, stemmed; of a person the name.
        head: the stem of the noun among them.
        person: somebody by name, or the speaker.
        text: as it is written.
        mine: whether it is the speaker's ("my", "our").
    """

    owner: str
    words: frozenset[str]
    head: str
    person: bool
    text: str
    mine: bool = False


_ARTICLE = re.compile(r"^(?:the|our|my|your|his|her|their|its|this|that|a|an|some)\s+", re.IGNORECASE)
_MINE = re.compile(r"^(?:my|our)\b\s*", re.IGNORECASE)
_OWNER = re.compile(r"^(?P<owner>(?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?[\w.&-]+(?: [A-Z][\w.-]*)?)'s? (?P<what>.+)$")
_OF = re.compile(r"^(?P<what>.+?) (?:of|at) (?P<owner>(?:[A-Z][\w.-]*)(?: [A-Z][\w.-]*){0,3})$")
_NAMED = re.compile(r"^(?:[a-z][\w-]* ){1,3}(?P<name>[A-Z][a-z][\w.-]*(?: [A-Z][\w.-]+)?)$")
_FIGURE = re.compile(r"[\d_]")
_AFTER_NOUN = re.compile(r" (?:of|for|on|in|at|to|with|from|between) ")
_VAGUE: Final = frozenset(map(stem, VAGUE))
_TITLE = re.compile(r"^(?:dr|mr|mrs|ms|prof)\.?\s+", re.IGNORECASE)
_CODE: Final = frozenset("<>{}()=/\\|$;")
_OTHERS: Final = ("a ", "an ", "some ", "your ", "his ", "her ", "their ", "its ", "in ", "for ", "with ", "on ", "at ")
"""How what is told begins that is nothing in particular, or of somebody whom another sentence names."""

_NO_THING = re.compile(
    r"\b(?:and|or|who|which|that|if|when|to|is|are|was|were|am|be|been|not|think|thinks|feel|say|know|if|than|because"
    r"|like|have|has|had|been|it|he|she|they|you|something|what|there|thing)\b",
    re.IGNORECASE,
)


_LED = re.compile(
    r"\A(?:since|last|next|this|that|the other|on|in|at|over|during|for|as|now|then|two|three|a|some|one|after|until)\b"
    r"[\w' ]{0,30} (?=(?:i|we)\Z)|\A(?:since|as|now|then|so|once) (?=(?:i|we)\Z)",
    re.IGNORECASE,
)
"""When it was, told before who."""


def subject_of(text: str, me: str) -> Subject | None:
    """Whom or what a subject means, of the speaker ``me``; None where it does not say that by itself."""
    text = _LED.sub("", text.strip(" ,.\"'"))
    plain = text.lower()
    if plain in ME:
        return person(me, text)
    if plain in ("user", "the user", "this user"):
        return person(SOMEBODY, text)
    if not text or plain in PRONOUNS or plain.split()[0] in PRONOUNS or len(plain.split()) > MOST_SUBJECT_WORDS:
        return None
    if _NO_THING.search(text) or not _CODE.isdisjoint(text) or plain.startswith(_OTHERS):
        return None
    mine = _MINE.match(text)
    if mine:
        own = thing(me, text[mine.end() :], text)
        return own and replace(own, mine=not own.person)
    bare = _ARTICLE.sub("", text)
    definite = bare != text
    owned = _OWNER.match(bare)
    if owned:
        return thing(_TITLE.sub("", owned["owner"]).lower(), owned["what"], text)
    of = _OF.match(bare)
    if of:
        return thing(_TITLE.sub("", of["owner"]).lower(), of["what"], text)
    if not definite and all(word[0].isupper() for word in words(bare)) and not _FIGURE.search(bare):
        return person(_TITLE.sub("", bare), text)
    return thing("", bare, text)


def person(name: str, text: str) -> Subject:
    """Somebody by name, as ``text`` calls him."""
    known = frozenset(map(stem, words(name)))
    return Subject("", known, stem(words(name)[0]) if words(name) else "", person=True, text=text)


def thing(owner: str, what: str, text: str) -> Subject | None:
    """A thing of somebody's; somebody of somebody's who is named is meant by the name."""
    named = _NAMED.match(what)
    if named and owner:
        return person(named["name"], text)
    known = content(what)
    nouns = words(_AFTER_NOUN.split(what, maxsplit=1)[0])
    if not nouns or known <= _VAGUE:
        return None
    return Subject(" ".join(map(stem, words(owner))), known, stem(nouns[-1]), person=False, text=text)


def same(newer: Subject, older: Subject, *, loosely: bool = False) -> bool:
    """Whether two subjects are the same.

    Of things, one may be told with words that the other lacks where it is said ``loosely``: what was changed is known
    to whoever hears of it.
    """
    if newer.person and older.person:
        return bool(newer.words) and (newer.words <= older.words or older.words <= newer.words)
    if newer.person != older.person or not same_owner(newer, older):
        return False
    if newer.words == older.words:
        return True
    return loosely and newer.head == older.head and (newer.words <= older.words or older.words <= newer.words)


def same_owner(newer: Subject, older: Subject) -> bool:
    """Whether both belong to one; of a thing nobody's, it may be the speaker's own."""
    first, second = newer.owner, older.owner
    if first == second:
        return True
    if first and second:
        return set(first.split()) <= set(second.split()) or set(second.split()) <= set(first.split())
    return newer.mine or older.mine
