"""How statements are read from clauses: what a statement is, and frames that clauses fit. Pure functions."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from reverie.text.clauses import Clause
from reverie.text.date_words import NUMBERS, words_of
from reverie.text.statement_words import FILLERS, HOME, KIN, SINGLE, VAGUE
from reverie.text.subjects import Subject, subject_of
from reverie.text.values import NO_VALUE, Value, content, stem, value_of

Sort = Literal["state", "to", "from", "end", "done"]
"""How things are; that a thing was changed to a value; that something took the place of another; that it is over; that
somebody did it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a clause states.

    Attributes:
        subject: whom or what it is about.
        attribute: which side of it: "live", "is", "like", a verb. Of an `end`, of which kind that may be which is over.
        value: what is said of that; of an `end`, what is over.
        sort: see :data:`Sort`.
        act: what is planned, under way or done, as a verb's stem.
        holds: False where it is denied.
        changed: whether it says itself that this is new.
        extra: whether it is one more, beside what was.
        brief: whether it is of the hour or the day.
        rule: whether it is to be so always.
        replaced: what something took the place of.
    """

    subject: Subject
    attribute: str
    value: Value
    sort: Sort = "state"
    act: str = ""
    holds: bool = True
    changed: bool = False
    extra: bool = False
    brief: bool = False
    rule: bool = False
    replaced: Value = NO_VALUE


@dataclass(frozen=True, slots=True)
class Told:
    """A clause that fits a frame: its parts, and who speaks."""

    match: re.Match[str]
    clause: Clause
    me: str

    def part(self, name: str) -> str:
        """What stands at a place of the frame, or nothing."""
        return (self.match.groupdict().get(name) or "").strip()

    @property
    def denied(self) -> bool:
        return bool(self.part("no"))

    def who(self) -> Subject | None:
        """Of whom the clause is."""
        return subject_of(self.part("who"), self.me)

    def say(self, subject: Subject | None, attribute: str, value: Value | str, **more: Any) -> Iterator[Statement]:
        """A statement with the marks of the clause, if its subject is known."""
        if subject is not None:
            clause = self.clause
            said = value if isinstance(value, Value) else value_of(value)
            changed = clause.changed or _NEW.search(subject.text) is not None
            marks = {"changed": changed, "extra": clause.extra, "brief": clause.brief, "rule": clause.always}
            yield Statement(subject, attribute, said, **(marks | more))


_NEW = re.compile(r"\bnew\b", re.IGNORECASE)
Reader = Callable[[Told], Iterator[Statement]]


@dataclass(frozen=True, slots=True)
class Frame:
    """A pattern and what it reads.

    Attributes:
        cues: one of these words stands in every clause that fits: whether any does, is found much faster.
        planned: whether it reads clauses of what is only planned or wished.
    """

    pattern: re.Pattern[str]
    cues: frozenset[str]
    planned: bool
    read: Reader


@dataclass(slots=True)
class Frames:
    """Frames, in the order in which they are tried."""

    all: list[Frame] = field(default_factory=list)

    def add(self, pattern: str, cues: str, *, planned: bool = False) -> Callable[[Reader], Reader]:
        """Has a function read the clauses that a pattern fits as a whole and that have one of the words ``cues``."""

        def add(reader: Reader) -> Reader:
            self.all.append(Frame(re.compile(rf"{pattern}\Z", re.IGNORECASE), words_of(cues), planned, reader))
            return reader

        return add


WHO: Final = r"(?P<who>[^,;:]{1,60}?)"
HAVE: Final = r"(?:have |has |had |had to |decided to |did )?"
IS: Final = "am is are"

SHORT: Final = 4
"""Words of a state, or of a figure with what it is of; more of them tell of something else."""

_BESIDE = re.compile(
    r"\s+(?=(?:in|on|at|for|with|during|after|before|because|since|from|by|until|when|while|like(?! (?-i:[A-Z]))|as"
    r"|about|than|if|every|once|twice|each|outside|together|anyway|all the|so|but|and then|to|and (?:then|it|i|we"
    r"|get|make|have|\w{2,}ed|\w{3,}ing)|(?:next|last|later this|earlier this) (?:week|month|year|weekend|spring"
    r"|summer|fall|autumn|winter|\w+day)|(?:\w+ )(?:days?|weeks?|weekends?|months?|years?) (?:later|from now"
    r"|away))\b)",
    re.IGNORECASE,
)
_QUALIFIED = re.compile(r"\s+(?=(?:in|on|for|at) (?:the |our |my )?[A-Za-z])", re.IGNORECASE)
_TIMES = re.compile(
    r"(?:in|on|for|at) (?:the )?(?:\d|mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
    r"|morning|evening|afternoon|noon|midnight|night)",
    re.IGNORECASE,
)
_BARE = re.compile(r"[\w-]+\Z")
SINGLE_STEMS: Final = frozenset(map(stem, SINGLE))
OWNED_STEMS: Final = frozenset(
    map(stem, words_of("car phone laptop computer camera bike truck van motorcycle tablet console"))
)
HOME_STEMS: Final = frozenset(map(stem, HOME - {"address"}))
KIN_STEMS: Final = frozenset(map(stem, KIN))
VAGUE_STEMS: Final = frozenset(map(stem, VAGUE | FILLERS))
PRICE_STEMS: Final = frozenset(map(stem, ("price", "cost", "costs", "fee", "rate", "charge")))
_TENS: Final = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80}
_TEENS: Final = {
    word: number
    for number, word in enumerate(
        ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"], 13
    )
}


def object_of(text: str) -> str:
    """What is said of a verb, without where, when and why."""
    return _BESIDE.split(text, maxsplit=1)[0].strip()


def unqualified(text: str) -> tuple[str, frozenset[str]]:
    """A value, and the words of that for which it holds: "30 s in production"."""
    parts = _QUALIFIED.split(text, maxsplit=1)
    if len(parts) == 1 or _TIMES.match(parts[1]) or not value_of(parts[0]).typed:
        return text, frozenset()
    return parts[0], content(parts[1])


def is_place(text: str) -> bool:
    """Whether this names a town or the like, not a kind of house; in small letters, a single word."""
    if place_of(text).text[:1].isupper():
        return bool(place_of(text).names)
    return _BARE.match(text) is not None and text.lower() not in _NO_PLACES


_NO_PLACES: Final = (
    VAGUE | HOME | words_of("town peace fear love person general college school bed trouble therapy shape touch")
)


def place_of(text: str) -> Value:
    """A place as a value: written small, its words are its name."""
    value = value_of(_BESIDE.split(text, maxsplit=1)[0])
    return value if value.names else replace(value, names=value.words)


def age_of(text: str) -> Value:
    """An age in figures or words, without a kind if it is none."""
    first, _, second = text.lower().partition("-")
    number = int(first) if first.isdigit() else _TENS.get(first) or _TEENS.get(first) or NUMBERS.get(first, 0)
    number += NUMBERS.get(second, 0)
    return Value(frozenset({str(number)}), frozenset({("age", str(number))} if number > 1 else ()), text=text)


def named(who: Subject) -> Value:
    """Somebody as a value."""
    return Value(who.words, frozenset(), who.words, who.text)


def tells(known: frozenset[str]) -> bool:
    """Whether words name something."""
    return bool(known - VAGUE_STEMS)


def replaced(told: Told) -> Iterator[Statement]:
    """That ``what`` took the place of ``old``, for ``thing`` where that is told."""
    who = subject_of(told.part("who") or "I", told.me)
    about = subject_of(told.part("thing"), told.me) if told.part("thing") else None
    gone = value_of(told.part("old"))
    if who is not None and tells(gone.words) and tells(content(told.part("what"))):
        yield from told.say(about or who, "from", told.part("what"), sort="from", replaced=gone, changed=True)
