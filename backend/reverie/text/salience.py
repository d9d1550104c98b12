"""How much of what was said is worth keeping, told from its words alone. Pure functions.

What people state of their own lives, in words that are rare with them, with names, numbers and times, is what is asked
for later; greetings, praise, questions and what an assistant explains are not. A few features between 0 and 1 are
weighed by a logistic function whose weights are rounded: those that are fitted to all conversations but one put that
one in order as well (`bench/salience`).
"""

import math
import operator
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

from reverie.text.date_words import MONTHS, NEAR, OTHER_THINGS, SEASON_WORDS, UNITS, WEEKDAYS, words_of
from reverie.text.entities import entities, name_key
from reverie.text.sentences import content_words, sentences

NEUTRAL: Final = 0.5
"""The salience of what nobody has weighed."""

ENGLISH: Final = "english"

MOST_CHARS: Final = 300
"""So much of a text is read: longer ones say at their beginning what they are about, and later any word."""

ENOUGH: Final = 12
"""Words that are rare and new, of which more tell no more."""

SEEN: Final = 0.5
"""What a word counts that was said before, beside one that is new."""

RETELLING: Final = frozenset({"assistant", "system", "tool"})
"""The roles that explain what anybody could, and repeat what the user said."""


class Said(NamedTuple):
    """A trace of a conversation; ``language`` is its text-search configuration."""

    text: str
    language: str = ENGLISH
    role: str | None = None
    speaker: str | None = None


class Features(NamedTuple):
    """What is told of a trace, each from 0 to 1.

    Attributes:
        news: the words that it states, by their rarity with the user, those that are new above all.
        exact: names, numbers and words of time.
        own: the first person, and verbs of what was done.
        answers: somebody else has just asked.
        yours: words for the other; ``polite``: the share of courtesy, praise and agreement in its words.
        retold: an assistant, the system or a tool says it.
    """

    news: float = 0.0
    exact: float = 0.0
    own: float = 0.0
    answers: float = 0.0
    yours: float = 0.0
    polite: float = 0.0
    retold: float = 0.0


WEIGHTS: Final = Features(news=2.25, exact=1.0, own=0.5, answers=1.0, yours=-0.5, polite=-1.75, retold=-1.5)

OFFSET: Final = -1.0
"""With it about half of what people say lies above :data:`NEUTRAL`, and the least fifth below 0.3."""

USUAL: Final = Features(exact=0.2, own=0.4, yours=0.3, polite=0.2)
"""What is taken for what English words tell, where the language is another."""

_FIRST: Final = words_of("i i'm i've i'd i'll me my mine myself we we're we've we'd we'll us our ours ourselves")
_SECOND: Final = words_of("you you're you've you'd you'll your yours yourself yourselves")
_WHEN: Final = (
    (UNITS.keys() | MONTHS.keys() | WEEKDAYS.keys() | SEASON_WORDS.keys() | NEAR.keys()) - OTHER_THINGS - {"fall"}
) | words_of(
    "april june august ago last next recently lately since until soon later midnight noon birthday anniversary holiday "
    "holidays christmas easter"
)
_COUNTS: Final = words_of(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen couple half "
    "twice third fourth fifth"
)
_DONE: Final = words_of(
    "ate became began bought broke brought built came caught chose did drew drove fell felt flew forgot found fought "
    "gave got grew had heard held hurt kept knew learnt led left lent lost made met paid ran rode said sang sat saw "
    "sent sold spent spoke stole stood swam taught thought told took was went were woke won wore wrote"
)
_POLITE: Final = words_of(
    "absolutely agree agreed amazing appreciate awesome aww beautiful best better bye care certainly cheers cool "
    "congrats congratulations course cute definitely enjoy exactly excellent excited exciting fantastic fun glad good "
    "goodbye gosh great haha happy hello help hey hi hope impressive incredible inspiring interesting keep lol lovely "
    "love luck nice no nope ok okay omg perfect please pleasure problem proud right sorry sounds super sure sweet "
    "thank thanks thx totally true understand wait welcome well wish wonderful worries wow yay yeah yep yes yup"
)

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_ASKS = re.compile(r"[?？؟][\"'”’»)\]」』]*\s*\Z")
_CLAUSE = re.compile(r"[,;:] +| +[-–—]+ +|[，、；：] *")
_QUESTION = re.compile(
    r"(?:and |but |so |or |also |then )*(?:what|how|who|whom|whose|which|where|when|why|do|does|did|is|are|was|were|am|"
    r"have|has|had|can|could|will|would|shall|should|may|might)\b",
    re.IGNORECASE,
)
_SHORTEST_PAST: Final = 5
"""Letters of a word in -ed that tells of the past: "need" and "feed" do not."""


class Words:
    """In how many traces of a user each word stands."""

    def __init__(self) -> None:
        self.traces = 0
        self.counts: Counter[str] = Counter()

    def add(self, words: Collection[str]) -> None:
        """Counts a trace by its words."""
        self.traces += 1
        self.counts.update(words)

    def rarity(self, word: str) -> float:
        """1 for a word of one trace alone, towards 0 for one of all."""
        return math.log((self.traces + 1) / self.counts[word]) / math.log(self.traces + 1)


@dataclass(frozen=True, slots=True)
class Told:
    """A text taken apart: its ``words`` that say something, and those of them that are ``stated`` and not asked.

    ``statement`` is what is not asked, ``asks`` whether anything is.
    """

    said: Said
    text: str
    statement: str
    words: frozenset[str]
    stated: frozenset[str]
    asks: bool


def read(said: Said) -> Told:
    """Takes a text apart."""
    parts = list(sentences(said.text[:MOST_CHARS], items=True))
    text, statement = " ".join(parts), " ".join(map(_stated, parts))
    words = frozenset(content_words(text, said.language))
    stated = words if statement == text else frozenset(content_words(statement, said.language))
    return Told(said, text, statement, words, stated, asks=statement != text)


def weigh(day: Sequence[Sequence[Said]], before: Iterable[Said] = ()) -> list[list[float]]:
    """The salience of what was said in a day.

    Args:
        day: its conversations, each in its order.
        before: what was said on earlier days.

    Returns:
        As the day is given: numbers from 0 to 1.
    """
    return [[estimate(found) for found in conversation] for conversation in features(day, before)]


def estimate(found: Features) -> float:
    """The salience that features make, to six digits."""
    return round(1 / (1 + math.exp(-OFFSET - sum(map(operator.mul, found, WEIGHTS)))), 6)


def features(day: Sequence[Sequence[Said]], before: Iterable[Said] = ()) -> list[list[Features]]:
    """What is told of each trace of a day; the parameters as those of :func:`weigh`."""
    words = Words()
    for earlier in before:
        words.add(read(earlier).words)
    known = set(words.counts)
    told = [[read(one) for one in conversation] for conversation in day]
    for one in chain.from_iterable(told):
        words.add(one.words)
    return [_of_conversation(conversation, words, known) for conversation in told]


def _stated(sentence: str) -> str:
    """What of a sentence states something: of one that asks, what it tells before it does."""
    if not _ASKS.search(sentence):
        return sentence
    clauses = _CLAUSE.split(sentence)
    return ", ".join(clause for clause in clauses[:-1] if not _QUESTION.match(clause))


def _of_conversation(conversation: Sequence[Told], words: Words, known: set[str]) -> list[Features]:
    names = frozenset(name_key(one.said.speaker) for one in conversation if one.said.speaker)
    found, last = list[Features](), None
    for one in conversation:
        found.append(_features(one, last, words, known, names))
        known |= one.words
        last = one
    return found


def _features(one: Told, last: Told | None, words: Words, known: Collection[str], names: frozenset[str]) -> Features:
    said = one.said
    english = _of_english(one) if said.language == ENGLISH else USUAL
    tells = ((1.0 if word not in known else SEEN) * words.rarity(word) for word in one.stated)
    named = (len(_NUMBER.findall(one.statement)) + _names_in(one, names)) / 4
    asked = last is not None and last.asks and _is_another(last.said, said)
    return english._replace(
        news=min(1.0, math.log1p(math.fsum(sorted(tells, reverse=True)[:ENOUGH])) / math.log1p(ENOUGH)),
        exact=min(1.0, english.exact + named),
        answers=float(asked and said.role not in RETELLING),
        retold=float(said.role in RETELLING),
    )


def _of_english(one: Told) -> Features:
    everything = _words(one.text)
    stated = everything if one.statement == one.text else _words(one.statement)
    done = sum(word in _DONE or (len(word) >= _SHORTEST_PAST and word.endswith("ed")) for word in stated)
    return Features(
        exact=_count(stated, _COUNTS) / 4 + _count(stated, _WHEN) / 2,
        own=min(1.0, (_count(stated, _FIRST) + done) / 5),
        yours=min(1.0, _count(everything, _SECOND) / 3),
        polite=min(1.0, 2 * _count(everything, _POLITE) / max(1, len(everything))),
    )


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _count(words: Iterable[str], among: Collection[str]) -> int:
    return sum(word in among for word in words)


def _names_in(one: Told, speakers: frozenset[str]) -> int:
    """How many names are stated, beside those of who speaks."""
    found = entities(one.statement, language=one.said.language, known=speakers)
    return sum(name.sure and not any(f" {name.key} " in f" {speaker} " for speaker in speakers) for name in found)


def _is_another(one: Said, other: Said) -> bool:
    return (one.speaker or one.role) != (other.speaker or other.role)
