"""Summaries of conversations in their own words, without a language model. Pure functions.

The sentences are kept that together hold most of what is rare: a word counts by how seldom earlier conversations said
it and in how many turns this one does, and counts once; a sentence is taken for what it adds, by its length (greedy
maximum coverage within a budget: Khuller, Moss and Naor, 1999; Lin and Bilmes, 2011). Greetings and questions are left
out, what somebody says of themselves weighs more than what they say to the other, and who speaks is named.
"""

import heapq
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from reverie.text.names import is_name
from reverie.text.persons import third_person
from reverie.text.sentences import UNSPACED, content_words, length, sentences

Id = TypeVar("Id")

ENGLISH: Final = "english"

WORDS: Final = 60
"""Of a summary, about."""

SHORT_CHARS: Final = 150
"""Of its shortest form, at most."""

MOST: Final = 2 / 3
"""Of a summary, that one sentence may take; a longer one is cut, where it has commas and else between words."""

SPREAD: Final = 0.5
"""How much it adds that several turns say a word: the power of their number."""

BREVITY: Final = 0.9
"""The power of a sentence's length that what it adds is divided by: at 1 short ones would always win."""

OWN: Final = 2.0
"""How much more it weighs what somebody says of themselves or of theirs."""

ADDRESSED: Final = 0.6
"""How much less it weighs what is said of the other."""

DANGLING: Final = 0.6
"""How much less what begins with a pronoun: whom or what it means, another sentence says."""

NAMED: Final = 2.0
"""How much more a name or a number."""

RETOLD: Final = 0.3
"""How much less the words of an assistant or a tool weigh: they repeat and pad what the user said."""

RETELLING: Final = frozenset({"assistant", "tool", "system", "ai", "bot"})

FEWEST: Final = 2
"""Words that say something, of a sentence that somebody says of themselves; of others one more, else it is a nod."""

PATIENCE: Final = 30
"""As if there had been so many earlier conversations that said nothing: the first ones are not weighed too steeply."""

_OPENERS: Final = (
    r"oh|ooh|yeah|yea|yep|yes|yup|no|nope|nah|wow|whoa|hey|hi|hello|hiya|well|thanks(?: a lot| so much| again)?"
    r"|thank you(?: so much| very much)?|sure|ok|okay|haha|aw+|hm+|ah|cool|nice|great|awesome|totally|definitely"
    r"|absolutely|anyway|anyways|actually|by the way|btw|unfortunately|honestly|congrats|congratulations|of course"
    r"|exactly|agreed|right|true|sorry|please|good|perfect|sounds good|so|and|but|also|plus|cause|because"
)
_OPENER = re.compile(rf"(?:{_OPENERS})(?:\s*[,!.…:]+\s+|\s*[-–—]+\s+)", re.IGNORECASE)
_JOINER = re.compile(
    r"(?:oh|yeah|yes|well|so|and|but|also|plus|cause|because|sure|actually|haha)\s+"
    r"(?=(?:i|i'\w+|we|it|it's|the|my|our|this|that|they|he|she|there|these|those|a|an)\b)",
    re.IGNORECASE,
)
_CALL = re.compile(r"(\w+)\s*[,!]\s+|(?:hey|hi|hello|thanks|oh|wow|yeah|yes|sure)\s+(\w+)\s*[,!.…]+\s+", re.IGNORECASE)
_CALLED = re.compile(r",\s+(\w+)(?=\s*(?:[,.!…]|$))")
_CLAUSE = re.compile(
    r"\s+[-–—]+\s+|\s*—\s*|;\s+|,\s+(?=(?:but|and|so)\s+(?:i|i'\w+|it|it's|we|they|he|she|the|my|our)\b)", re.IGNORECASE
)
_COMMA = re.compile(rf"[,:،]\s+|[、，：；]\s*|(?<=[{UNSPACED}]) (?=[{UNSPACED}])")
_STATES = re.compile(r"(?:(?:and|but|so|since|because|as)\s+)?(?:I|I'\w+|my|we|we'\w+|our)\b", re.IGNORECASE)
_ASKS = re.compile(
    r"(?:[,:;]|\s[-–—])\s+(?:(?:and|but|so|or|then|also)\s+)?(?:can|could|would|will|do|does|did|is|are|am|what|how|which"
    r"|who|when|where|why|should|have|has|may|shall|wh?at's|how's|any|right|don't|isn't|you)\b",
    re.IGNORECASE,
)
"""Where a question begins behind a statement."""

_ANNOUNCED = re.compile(r"[:：]\Z")
_FORMULA = re.compile(r"\\[a-zA-Z([]|[={}|<>]{2}|\$\$|\w\(\)|_\w{1,60}\(")
_QUESTION = re.compile(r"[?？؟;]['\"”’)\]]*\Z")
_SELF = re.compile(r"\b(?:I|my|me|we|us|our|I'\w+|we'\w+|mine|myself)\b", re.IGNORECASE)
_YOU = re.compile(r"\b(?:you|your|yours|yourself|you'\w+)\b", re.IGNORECASE)
_DANGLING = re.compile(
    r"(?:it|it's|that|that's|this is|they|they're|these are|those are|(?:s?he)(?:'s)?)\b", re.IGNORECASE
)
_CAPITALS = "A-Z\u00c0-\u00d6\u00d8-\u00de\u0391-\u03a9\u0410-\u042f"
_NAMES = re.compile(rf"(?<=[\w,] )[{_CAPITALS}][\w'’-]+|\d[\d.,:]*\w*")
_ASIDE = re.compile(r"\[([^\[\]]*)\]\W*\Z")
_THIRD = re.compile(r"[a-z]+s\b(?!')")
_ENDED = re.compile(r"[.!?…。！？؟۔।॥][\"'”’»)\]」』】]*\Z")
_SHOUTED = re.compile(r"!+\Z")
_MARKED = re.compile(r"[^\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""What a full stop may stand behind: not the letters of Thai, Lao, Burmese and Khmer."""

_UNSPACED = re.compile(rf"[{UNSPACED}。！？、，」』】]")


class Turn(NamedTuple, Generic[Id]):
    """What somebody said: ``speaker`` is a name or a role, ``language`` a text-search configuration."""

    id: Id
    speaker: str | None
    text: str
    language: str | None = None


class Summary(NamedTuple, Generic[Id]):
    """A conversation in three lengths, and the turns whose words are in the longest; the others have no other words.

    All are empty where there was nothing to tell.
    """

    text: str
    sentence: str
    short: str
    sources: tuple[Id, ...]


class WordCounts:
    """In how many earlier conversations each word was said: what is rare can only be told beside what is usual."""

    def __init__(self) -> None:
        self.conversations = 0
        self._counts: Counter[str] = Counter()

    def add(self, turns: Iterable[Turn[Id]]) -> None:
        """Counts a conversation."""
        self.conversations += 1
        self._counts.update(set().union(*(content_words(turn.text, turn.language) for turn in turns)))

    def rarity(self, word: str) -> float:
        """How much a word tells: the less, the more conversations said it."""
        return math.log((self.conversations + PATIENCE) / (self._counts[word] + 0.5))


@dataclass(frozen=True, slots=True)
class _Sentence:
    """What may be in a summary. ``label`` is who says it, where that is not in the text; ``cost`` its words."""

    place: int
    turn: int
    text: str
    label: str
    words: frozenset[str]
    weight: float
    cost: int


Read: TypeAlias = dict[tuple[object, ...], tuple[_Sentence, ...]]
"""What may be in a summary of turns that were read; places and numbers of these are 0."""


def summarise(
    turns: Sequence[Turn[Id]], words: int = WORDS, *, known: WordCounts | None = None, read: Read | None = None
) -> Summary[Id]:
    """The summary of a conversation.

    Args:
        turns: what was said, in its order; of any length and script, in time that grows with it alone.
        words: the most that the summary has; half of as many characters count in scripts without spaces.
        known: what earlier conversations said, never later ones.
        read: is added to; turns that stand in several summaries are read once.
    """
    most = max(1, int(words * MOST))
    read = {} if read is None else read
    found = _found(turns, most, read) or _found(turns, most, read, everything=True)
    weights = _weights(turns, known or WordCounts())
    chosen = _choose(found, weights, words)
    if not chosen:
        return Summary("", "", "", ())
    best = max(chosen, key=lambda one: (one.weight * _worth(one.words, weights), -one.place))
    return Summary(
        _joined(chosen),
        _joined([best]),
        _short(chosen, best, weights),
        tuple(dict.fromkeys(turns[one.turn].id for one in chosen)),
    )


def _found(
    turns: Sequence[Turn[Id]], most: int, read: Read, *, everything: bool = False
) -> list[_Sentence]:  # fmt: skip
    """What may be in a summary, of at most ``most`` words each; ``everything``: also questions, lists and nods."""
    speakers = frozenset(turn.speaker for turn in turns if turn.speaker is not None and is_name(turn.speaker))
    found: list[_Sentence] = []
    for number, turn in enumerate(turns):
        key = (turn.speaker, turn.text, turn.language, speakers, most, everything)
        if key not in read:
            read[key] = tuple(_read(turn, speakers, most, everything=everything))
        found += [replace(one, place=place, turn=number) for place, one in enumerate(read[key], len(found))]
    return found


def _read(turn: Turn[Id], speakers: frozenset[str], most: int, *, everything: bool) -> Iterator[_Sentence]:
    """What of a turn may be in a summary."""
    names = _words_of(speakers)
    for text, label, weight in _told(turn, speakers, most, everything=everything):
        words = frozenset(content_words(text, turn.language) - names)
        nod = turn.language == ENGLISH and weight < OWN
        if len(words) >= (1 if everything else FEWEST + nod):
            cost = length(text) + (length(label) if label else 0)
            yield _Sentence(0, 0, text, label, words, weight, cost)


def _told(turn: Turn[Id], speakers: frozenset[str], most: int, *, everything: bool) -> Iterator[tuple[str, str, float]]:
    """(text, label, weight) of the sentences of a turn."""
    speaker = turn.speaker or ""
    named, retelling = is_name(speaker), speaker.lower() in RETELLING
    label = f"{speaker}:" if named else f"{speaker.capitalize()}:" if retelling else ""
    english = turn.language == ENGLISH
    for sentence in sentences(turn.text, turn.language, items=everything):
        if aside := _ASIDE.fullmatch(sentence):
            if named and _THIRD.match(aside[1]):
                yield _ended(f"{speaker} {aside[1]}"), "", 1.0
            continue
        if _ANNOUNCED.search(sentence) or _FORMULA.search(sentence):
            continue
        stated = sentence if everything else _stated(sentence, english=english)
        for clause in _clauses(stated, most, english=english):
            bare = _bare(clause, speakers) if english else clause
            if not bare:
                continue
            weight = (RETOLD if retelling else 1.0) * (_manner(bare) if english else 1.0)
            of_them = third_person(bare, speaker) if english and named else None
            yield (_ended(bare), label, weight) if of_them is None else (_ended(of_them), "", weight)


def _manner(clause: str) -> float:
    weight = OWN if _SELF.search(clause) else 1.0
    if _YOU.search(clause):
        weight *= ADDRESSED
    if _DANGLING.match(clause):
        weight *= DANGLING
    return weight


def _stated(sentence: str, *, english: bool) -> str:
    """A sentence; of a question what is stated before it, which is often nothing."""
    if not _QUESTION.search(sentence):
        return sentence
    asked = _ASKS.search(sentence) if english and _STATES.match(sentence) else None
    return sentence[: asked.start()] if asked else ""


def _clauses(sentence: str, most: int, *, english: bool) -> Iterator[str]:
    """The clauses of a sentence, those of more than ``most`` words in pieces."""
    for clause in _CLAUSE.split(sentence) if english else [sentence]:
        begins = behind = 0
        for end in [*(match.end() for match in _COMMA.finditer(clause)), len(clause)]:
            if behind > begins and length(clause[begins:end]) > most:
                yield from _pieces(clause[begins:behind].strip(), most)
                begins = behind
            behind = end
        yield from _pieces(clause[begins:].strip(), most)


def _pieces(text: str, most: int) -> Iterator[str]:
    """A text that is short enough, else its words by the number; in scripts without spaces, its characters."""
    if length(text) <= most:
        yield text
    elif len(words := text.split()) * 2 > most:
        step = most // 2 + 1
        yield from (" ".join(words[begins : begins + step]) for begins in range(0, len(words), step))
    else:
        yield from (text[begins : begins + most] for begins in range(0, len(text), most))


def _bare(clause: str, speakers: frozenset[str]) -> str:
    """A clause without what introduces it, and without the names of who is spoken to."""
    before = ""
    while before != clause:
        before = clause
        for opening in (_OPENER, _JOINER):
            if found := opening.match(clause):
                clause = clause[found.end() :]
        if (found := _CALL.match(clause)) and _calls(found[1] or found[2], speakers):
            clause = clause[found.end() :]
    clause = _CALLED.sub(lambda found: "" if _calls(found[1], speakers) else found[0], clause)
    clause = clause.strip(" ,;:-–—")
    return clause[:1].upper() + clause[1:]


def _calls(word: str, speakers: frozenset[str]) -> bool:
    """Whether a word is the name of a speaker, or its beginning: "Mel" calls Melanie."""
    return len(word) > 1 and word in _beginnings(speakers)


@lru_cache(maxsize=64)
def _words_of(speakers: frozenset[str]) -> frozenset[str]:
    return frozenset(word for speaker in speakers for word in content_words(speaker))


@lru_cache(maxsize=64)
def _beginnings(speakers: frozenset[str]) -> frozenset[str]:
    return frozenset(
        word[:end] for name in speakers for word in name.split() for end in range(min(3, len(word)), len(word) + 1)
    )


def _ended(text: str) -> str:
    text = _SHOUTED.sub(".", text.rstrip(",;:- "))
    if _ENDED.search(text) or not _MARKED.search(text[-1:]):
        return text
    return f"{text}。" if _UNSPACED.search(text[-1:]) else f"{text}."


def _weights(turns: Sequence[Turn[Id]], known: WordCounts) -> dict[str, float]:
    """What each word of a conversation is worth."""
    said: Counter[str] = Counter()
    named: set[str] = set()
    for turn in turns:
        said.update(content_words(turn.text, turn.language))
        for name in _NAMES.findall(turn.text):
            named |= content_words(name, turn.language)
    return {
        word: max(0.0, known.rarity(word)) * count**SPREAD * (NAMED if word in named else 1.0)
        for word, count in said.items()
    }


def _worth(words: Collection[str], weights: dict[str, float]) -> float:
    return math.fsum(weights.get(word, 0.0) for word in words)


def _choose(found: Sequence[_Sentence], weights: dict[str, float], budget: int) -> list[_Sentence]:
    """The sentences that add most for their length, in their order."""
    covered: set[str] = set()
    chosen: list[_Sentence] = []
    # What a sentence adds only falls as others are taken: it is weighed again when its turn comes.
    heap = [(-_gain(one, covered, weights), one.place, 0) for one in found]
    heapq.heapify(heap)
    while heap:
        gain, place, when = heapq.heappop(heap)
        one = found[place]
        if one.cost > budget or gain == 0:
            continue
        if when == len(chosen):
            chosen.append(one)
            covered |= one.words
            budget -= one.cost
        else:
            heapq.heappush(heap, (-_gain(one, covered, weights), place, len(chosen)))
    return sorted(chosen, key=lambda one: one.place)


def _gain(one: _Sentence, covered: set[str], weights: dict[str, float]) -> float:
    return one.weight * _worth(one.words - covered, weights) / math.pow(one.cost, BREVITY)


def _joined(chosen: Sequence[_Sentence]) -> str:
    text, label = "", ""
    for one in chosen:
        # "Ann:" stands before the first of several sentences that she says.
        told = f"{one.label} {one.text}" if one.label and one.label != label else one.text
        text += told if not text or (_UNSPACED.search(text[-1]) and _UNSPACED.search(told[0])) else f" {told}"
        label = one.label
    return text


def _short(chosen: Sequence[_Sentence], best: _Sentence, weights: dict[str, float]) -> str:
    """The best of the sentences that fit."""
    kept = [best]
    for one in sorted(chosen, key=lambda one: (-one.weight * _worth(one.words, weights), one.place)):
        more = sorted({*kept, one}, key=lambda one: one.place)
        if one is not best and len(_joined(more)) <= SHORT_CHARS:
            kept = more
    text = _joined(kept)
    if len(text) <= SHORT_CHARS:
        return text
    cut = text[: SHORT_CHARS - 1]
    space = cut.rfind(" ")
    return f"{cut[:space] if space > SHORT_CHARS // 2 else cut}…".replace(" …", "…")
