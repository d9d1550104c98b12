"""What somebody says of themselves in English, told of them: "I went", said by Ann, is "Ann went". Pure functions.

Only where that is surely right: what has a "we" or "you", speech of others in quotes, or no subject that can be told,
stays as it is said.
"""

import re
from functools import lru_cache
from typing import Final

from reverie.text.date_words import words_of

_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|\s+|.", re.DOTALL)

_UNSURE = re.compile(
    r"\b(?:we|us|our|ours|ourselves|let's|lets|you|your|yours|yourself|ya|u|y'all|mine|ain't|(?:we|you)'\w+"
    r"|(?:am|do|did|have|had|was|should|could|would|can|will|may|might) i)\b|[\"“”„«»]",
    re.IGNORECASE,
)
_MENTIONS = re.compile(r"\b(?:I|me|my|myself|i'm|i've|i'll|i'd)\b", re.IGNORECASE)

_SUBJECTS: Final = words_of(
    "my the this that these those it it's that's he he's she she's they they're there there's a an one some all both "
    "every each another when if after before since as while although though because until in on at for with during "
    "last i i'm i've i'll i'd yesterday today"
)
"""With what a sentence begins that has a subject of its own: "Gave my sister a ring" has none."""

_LEFT_OUT = re.compile(
    r"((?:just|also|finally|already|recently|even) )?"
    r"(been(?= \w+ing\b)|(?:went|bought|met|spent|wrote|drove|flew|ran into|ate)"
    r"(?= (?:a|an|the|my|some|to|this|that|out|on|two|three|all|with|into|in|up|about)\b))",
    re.IGNORECASE,
)
"""What begins a sentence only where its subject is the one who says it."""

_CONTRACTED: Final = {"i'm": "is", "im": "is", "i've": "has", "ive": "has", "i'll": "will", "i'd": "would"}
_VERBS: Final = {
    "have": "has", "haven't": "hasn't", "am": "is", "do": "does", "don't": "doesn't", "dont": "doesn't", "go": "goes",
    "gotta": "has to", "wanna": "wants to", "gonna": "is going to", "dunno": "does not know", "undergo": "undergoes",
}  # fmt: skip
_SAME: Final = words_of(
    "was were had did said got made took came saw knew thought found gave told felt left brought began kept held "
    "wrote stood heard let meant set met ran paid sat spoke read grew lost fell sent built understood drew broke "
    "spent rose drove bought wore chose won taught caught hit cut put ate sang swam flew hid rode slept stuck shot "
    "threw woke forgot became beat bit blew bent bet dealt dug fed fought forgave froze hung hurt laid led lent lit "
    "quit rang sank sold shook shut slid sought spread stole struck swore swept swung tore wept wound went drank "
    "dreamt learnt burnt bred cost cast burst split swam sprang spun spat stung strode strove wove withdrew overcame "
    "underwent could would should might must can will may shall cannot couldn't wouldn't shouldn't can't won't didn't "
    "wasn't weren't hadn't mightn't mustn't cant didnt wasnt wont couldnt wouldnt used"
)
"""Verbs that are the same with "I" and with a name: of the past, and those that help others."""

_PLURAL: Final = words_of("are aren't")
_BASE_IN_ED: Final = words_of("need feed speed succeed proceed exceed bleed breed heed seed weed embed")
_PARTICIPLES: Final = words_of(
    "been gone done seen had taken given known written spoken chosen broken forgotten become come made got gotten "
    "heard found lost met bought brought thought felt left kept told said read won begun grown flown driven eaten "
    "fallen hidden ridden risen worn better"
)
_VERBS_IN_LY: Final = words_of("rely apply reply supply fly imply multiply comply")
_ADVERBS: Final = words_of(
    "also just still always never often even ever once both sometimes almost already soon now then not rather"
)


def third_person(sentence: str, name: str) -> str | None:
    """What ``name`` says of themselves in a sentence, told of them; None where that would not surely be right."""
    sentence = _subject_added(sentence)
    if not _MENTIONS.search(sentence) or _UNSURE.search(sentence):
        return None
    tokens: list[str] = _TOKEN.findall(sentence.replace("’", "'"))
    first = next((token.lower() for token in tokens if token[0].isalnum()), "")
    if first not in _SUBJECTS:
        return None
    told: list[str] = []
    is_named = False
    place = 0
    while place < len(tokens):
        token = tokens[place]
        word = token.lower()
        place += 1
        if word == "i" or word in _CONTRACTED:
            verb = _verb_behind(tokens, place)
            if word == "i" and (verb is None or not _agrees(tokens, place, tokens[verb].lower())):
                return None
            told.append(name)
            is_named = True
            if word != "i":
                told += [" ", _helper(word, tokens, verb)]
            elif verb is not None:
                told += tokens[place:verb]
                told.append(_third(tokens[verb].lower()))
                place = verb + 1
        elif word == "my":
            told.append("their" if is_named else _possessive(name))
        elif word == "me":
            told.append(name)
            is_named = True
        elif word == "myself":
            if not is_named:
                return None
            told.append("themself")
        else:
            told.append("going to" if word == "gonna" else token)
        is_named = is_named and word not in (".", ";", "!", "?")
    return "".join(told)


def _subject_added(sentence: str) -> str:
    """ "Went home" says who writes it: "I went home"."""
    if found := _LEFT_OUT.match(sentence):
        subject = "I've " if found[2].lower() == "been" else "I "
        return f"{subject}{found[0].lower()}{sentence[found.end() :]}"
    return sentence


def _verb_behind(tokens: list[str], place: int) -> int | None:
    """The place of the verb of an "I", adverbs left out."""
    while place < len(tokens):
        token = tokens[place].lower()
        if not token.isspace():
            if not token[0].isalpha():
                return None
            if not (
                token in _ADVERBS
                or (
                    token.endswith("ly")
                    and token not in ("rely", "apply", "reply", "supply", "fly", "imply", "multiply", "comply")
                )
            ):
                return place
        place += 1
    return None


def _agrees(tokens: list[str], place: int, verb: str) -> bool:
    """Whether the verb of the "I" before ``place`` can be told: "Tom and I run" has a verb of two."""
    before = [token.lower() for token in tokens[max(0, place - 3) : place - 1] if not token.isspace()]
    return verb not in _PLURAL and (_third(verb) == verb or before[-1:] not in (["and"], ["or"], ["nor"]))


def _helper(word: str, tokens: list[str], verb: int | None) -> str:
    if word == "i'd" and verb is not None:
        next_one = tokens[verb].lower()
        if next_one in _PARTICIPLES or (next_one.endswith("ed") and next_one not in _BASE_IN_ED):
            return "had"
    return _CONTRACTED[word]


def _possessive(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"


@lru_cache(maxsize=4096)
def _third(verb: str) -> str:
    """The form of a verb that goes with a name, from that which goes with "I"."""
    if verb in _VERBS:
        return _VERBS[verb]
    if verb in _SAME or (verb.endswith("ed") and verb not in _BASE_IN_ED):
        return verb
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}s"
