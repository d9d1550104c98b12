"""English sentences taken apart into clauses, and what small words say of each. Pure functions."""

import re
from dataclasses import dataclass
from typing import Final

from reverie.text.date_words import words_of
from reverie.text.statement_words import PAST

MOST_CHARS: Final = 4000
MOST_SENTENCES: Final = 60
MOST_CLAUSE: Final = 220
"""Of a text, and of a clause, in characters: what is longer is no plain statement."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause without the small words that are told by its marks.

    Attributes:
        text: without contractions, adverbs and what introduces it: "Actually, I don't smoke anymore" → "I not smoke".
        changed: it says itself that something is not as it was ("now", "no longer", "from now on").
        corrected: of those, that somebody was wrong ("actually", "correction").
        ended: "no longer", "not … any more".
        extra: one more ("too", "also", "another").
        unreal: wished, planned, possible or doubted.
        brief: of the hour or the day ("right now", "today").
        always: a rule ("always", "never", "from now on").
        remote: of another year ("as a child", "two years ago").
        first: it begins its sentence.
        said: with all its small words.
    """

    text: str
    changed: bool = False
    corrected: bool = False
    ended: bool = False
    extra: bool = False
    unreal: bool = False
    brief: bool = False
    always: bool = False
    remote: bool = False
    first: bool = True
    said: str = ""


# Bounded, or held to the boundary of a word: linear in the length of any text.
_FENCED = re.compile(r"```.*?(?:```|\Z)|^[ \t]*(?:>|\|)[^\n]*", re.DOTALL | re.MULTILINE)
_ASIDE = re.compile(r"\([^()\n]{0,200}\)|\[[^\[\]\n]{0,300}\]")
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»\n]{1,400})[\"“”»]")
_SENTENCE = re.compile(r"[.!?…]+(?=[\s\"”)*_]|\Z)|\n+")
_TITLE = re.compile(r"\b(?:dr|mr|mrs|ms|st|prof|vs|etc|e\.g|i\.e)\Z", re.IGNORECASE)
_BULLET = re.compile(r"^[\s*_#>•-]*(?:\d{1,2}[.)]\s+)?")
_SIGNS = str.maketrans({"’": "'", "‘": "'", "´": "'", "`": " ", "*": " ", "–": "-", "—": "-"})
_SIGNS_OF_LINES = str.maketrans({"’": "'", "‘": "'", "–": "-", "—": "-"})
_QUOTES = frozenset('"“„«')

_SUBORDINATE: Final = "when|whenever|whether|while|before|after|until|till|once|than|as if|as though|like how"
_CUT = re.compile(
    r";\s*|-+\s+|--+|,(?!\d|\s(?:19|20)\d\d\b)\s*|(?<!\bnow)\s+(?=that\s)|\s+(?=(?:but|so|because|now that"
    r"|'?cause|'?cuz|'?coz|although|though|whereas|which|who|where"
    rf"|since|if|unless|and then|{_SUBORDINATE})\s)"
    # "Tom and I" is one subject.
    r"|\s+(?=and\s+(?:(?:i|we)\s(?!broke|split|separated|divorced|are|got)|(?:he|she|it|they|my|our|the|you|his|her"
    r"|their|this|that|now|not|also|started|moved|bought|got|joined|quit|switched|became|had|took|lost|won|passed"
    r"|finished|cancelled|sold|adopted|am|is|are|[a-z]{2,14}s)\s))",
    re.IGNORECASE,
)
_DROPPED = re.compile(rf"(?:{_SUBORDINATE}|if|unless|which|who|where|that|than)\b", re.IGNORECASE)
_JOINED = re.compile(
    r"(?:and then|and|but|so|because|now that|'?cause|'?cuz|'?coz|although|though|whereas|plus|or)\s+", re.IGNORECASE
)
_CONDITION = re.compile(
    r"\A(?:and |but |so )?(?:when|whenever|imagine|suppose|supposing|assuming|had i)\b|\b(?:if|unless|until now|up"
    r" to now|wonder|wondering|pretend)\b",
    re.IGNORECASE,
)
_INTRODUCED = re.compile(
    r"\A(?:(?:oh|ok|okay|well|so|hey|hi|hello|yes|yeah|yep|no|nope|nah|wow|btw|by the way|guess what|fyi|heads up|ps"
    r"|haha|anyway|also|and|but|(?:(?:good|great|big|sad|bad|exciting|some) )?news"
    r"|(?:(?:sad|small|quick|big|short|just a|a quick) )?(?:update|note|reminder|correction|fix)|please note|note that"
    r"|remember that|remember|for the record|sorry|oops|my mistake|scratch that|wait|thanks|thank you|unfortunately"
    r"|luckily|sadly|honestly|actually|in fact|i meant|i mean|i was wrong|it turns out|turns out|you know|i have to say"
    r"|to be honest|(?:the )?(?:test )?results are(?: back| in)?)\s*[,:!.-]+\s*|(?:oh|well|hey|yes|yeah|so|actually"
    r"|sorry)\s+)+",
    re.IGNORECASE,
)
_TOLD_BY = re.compile(
    r"\A(?:the|my|our) (?:doctor|test|tests|results?|vet|lawyer|landlord|bank|school|teacher|dentist|nurse) (?:says?"
    r"|said|confirmed|told (?:me|us)|shows?|showed)(?: that)?,? ",
    re.IGNORECASE,
)
"""Whose word it is, who knows."""

_ANNOUNCED = re.compile(
    r"\A(?:(?:i|we) (?:am|are|was|have|had|just) )?(?:(?:so|really|super|very|just|also|beyond) )*(?:(?:excited"
    r"|happy|thrilled|glad|pleased|proud|sad|sorry|wanted|want|got|have|had|need) to (?:tell|share|announce|say"
    r"|report|let|inform|admit)(?: with)?(?: you| everyone| y'all)?(?: all)?(?: know)?|guess what|big news|good news"
    r"|great news)(?: that)?[\s,:-]+(?=(?:i|we|my|our|the)\b)",
    re.IGNORECASE,
)
_SINCE_THEN = re.compile(
    r"\b(?:since|after) (?:we|i|our|the|my)(?: \w+){0,3}? (?:spoke|talked|chatted|chat|talk|conversation|time|met"
    r"|caught up)\b(?: to you| with you)?\s*[,-]*\s*",
    re.IGNORECASE,
)
_CALLED = re.compile(r"\A[A-Z][a-z]+[,!] (?=(?:I|We|we|My|my|Our|our|guess|since|last|just|Guess|Since|Last|Just)\b)")
"""Whom it is told, and that it is new."""

_FACT = re.compile(
    rf"\A(?:and |but |so )?(?:especially |ever |right |just |only )?(?:after|since|because) (?=(?:i|we) (?:\w{{3,}}ed"
    rf"|{'|'.join(sorted(PAST))})\b)",
    re.IGNORECASE,
)
"""What is told by the way: "after I failed the test"."""

_THAT = re.compile(
    r"\b(had|have|did|finished|to|at|in|on|of|with|from|for|read|watched|saw|bought|sold|passed|took|made|got|loved"
    r"|love|about) that (?=(?!i\b|we\b|he\b|she\b|they\b|it\b|you\b|is\b|was\b|the\b|my\b|our\b|this\b|a\b"
    r"|an\b)[a-z])",
    re.IGNORECASE,
)
"""What is pointed at: "we had that meeting", where "that" opens no clause."""

_CORRECTS = re.compile(
    r"\b(?:actually|correction|i meant|my mistake|scratch that|i was wrong|in fact|turns out|results are|mixed (?:it"
    r"|that|them) up|got (?:it|that) wrong|typo)\b|\A(?:\W*(?:oh|ok|no|wait|hey|well)\W+)*(?:sorry|oops|wait"
    r"|no)\s*[,:-]",
    re.IGNORECASE,
)

_AFTER_ALL = re.compile(r"\bafter all\b", re.IGNORECASE)
_SHORT = re.compile(
    r"\b\w+'\w+|\b(?:cannot|gonna|wanna|gotta|dont|doesnt|didnt|isnt|arent|wasnt|cant|wont)\b", re.IGNORECASE
)
_WHOLE: Final = {
    "cannot": "can not", "can't": "can not", "cant": "can not", "won't": "will not", "wont": "will not",
    "ain't": "am not", "gonna": "going to", "wanna": "want to", "gotta": "have to", "i'm": "I am", "let's": "let us",
}  # fmt: skip
_ENDINGS: Final = (("n't", " not"), ("'ve", " have"), ("'re", " are"), ("'ll", " will"), ("'d", " would"))
_IS: Final = frozenset({"it", "he", "she", "that", "there", "what", "who", "where", "here", "everything"})
_NOT = re.compile(
    r"\b(?:(?P<hate>(?:can|could|do|does) not (?:stand|bear)(?= \w))|(?P<no>(?:do|does) not|never|no longer|can"
    r" not(?= (?:eat|drink|have|use|speak|drive|play|run)\b))|(?P<has>(?:have|has) got(?= (?:a|an|my|the|two|three"
    r"|no)\b))|(?P<gone>can(?= (?:speak|drive|play)\b)|(?:do|does)(?= (?:like|love|hate|want|have|need)\b)))\b",
    re.IGNORECASE,
)
_SIGNAL = re.compile(
    r"\b(?:(?P<ended>no longer|no more|any ?more|any longer)|(?P<always>always|by default|every time)|(?P<ruled>from"
    r" now on|going forward|henceforth)|(?P<changed>nowadays|these days|as of (?:now|today|tomorrow|\w+day)"
    r"|instead(?! of)|(?<!right )(?<!just )now|finally|by now)|(?P<corrected>actually|in fact)|(?P<extra>too(?! \w)"
    r"|also|as well|likewise|additionally|in addition)|(?P<brief>right now|just now|today|tonight|this (?:morning"
    r"|afternoon|evening|week|weekend|time|year|month|sprint|quarter)|for now|at this point|temporarily|so far)"
    r"|(?P<remote>(?:\w+ )?(?:years?|months?|decades?|ages) ago|last (?:year|summer|winter|spring|fall|autumn)|in"
    r" (?:19|20)\d\d|back in \w+|as a (?:kid|child|teenager|student|boy|girl)|years back|long ago|growing up)"
    r"|(?P<small>at the moment|at present|currently|still|usually|mostly|often|really|just|already|recently"
    r"|officially|sadly|luckily|basically|honestly|definitely|totally|absolutely|simply|generally|normally|typically"
    r"|lately|again|kinda|sorta|kind of|sort of|actively|slowly|gradually|constantly|eventually|hard(?= (?:on|for|at"
    r"|to)\b)|completely|entirely|permanently|only|even|yesterday|last (?:night|week|weekend|month|sprint|quarter"
    r"|\w+day)|please|kindly|once and for all|for good|ever|anyway|of course|i think|i guess|i believe|i know|you"
    r" know|(?:a|one|two|three|few|couple of) (?:days?|weeks?) ago))\b,?",
    re.IGNORECASE,
)
_BESIDE = re.compile(r"\b(?:another|additional|other|either|besides)\b", re.IGNORECASE)
_UNREAL = re.compile(
    r"\b(?:would|could|might|(?-i:may)|should|will|shall|must|maybe|perhaps|probably|possibly|likely|apparently"
    r"|supposedly|thinking|considering|planning|plans? (?:to|on)|wants?|wanted|wanting|trying|try|tries|about to"
    r"|going to|looking to|hop(?:e|es|ing)|wish(?:es)?|guess|seems?|not sure|unsure|rumou?rs?|heard|supposed|almost"
    r"|dream(?:s|ing)?|need to|needs to|have to|has to|used to|said|says|told|asked|asks|thinks|thought|believes"
    r"|claims|can|looking forward|excited to|ready to|aim(?:s|ing)? to|intend(?:s|ing)? to|decided to|let us)\b",
    re.IGNORECASE,
)
_EDGE = re.compile(r"\W+")
_EDGES = " ,.!:;-\"'"


_ENDS_IN_DAY = re.compile(r"\bas of \w+day\b", re.IGNORECASE)
_SIGNS_OF_SMALL: Final = words_of(
    "longer more anymore always default every now forward henceforth nowadays these instead finally actually fact"
    " too also"
    " well likewise additionally addition today tonight this temporarily far point ago last in back as years long"
    " growing"
    " moment present currently still usually mostly often really just already recently officially sadly luckily"
    " basically"
    " honestly definitely totally absolutely simply generally normally typically lately again kinda sorta kind sort"
    " actively slowly gradually constantly eventually hard completely entirely permanently only even yesterday please"
    " kindly once good ever anyway course think guess believe know tomorrow time"
)
_SIGNS_OF_UNREAL: Final = words_of(
    "would could might may should will shall must maybe perhaps probably possibly likely apparently supposedly thinking"
    " considering planning plan plans want wants wanted wanting trying try tries about going looking hope hopes"
    " hoping wish"
    " wishes guess seem seems sure unsure rumor rumors rumour rumours heard supposed almost dream dreams dreaming need"
    " needs have has used said says told asked asks thinks thought believes claims can excited ready aim aims aiming"
    " intend"
    " intends intending decided let"
)
"""Words of which each small word, and each sign that something is not so, has one."""


def clauses(text: str) -> list[Clause]:
    """The clauses of the sentences of a text, without its questions, conditions, code and what stands in parentheses.

    In time that grows with the length of the text alone, which is read as far as MOST_CHARS.
    """
    text = _plain(text)
    found: list[Clause] = []
    start = 0
    for place, match in enumerate(_SENTENCE.finditer(text)):
        if place >= MOST_SENTENCES:
            return found
        if match[0] == "." and _TITLE.search(text, max(start, match.start() - 5), match.start()):
            continue
        sentence = text[start : match.start()]
        found += _of_sentence(sentence if "?" not in match[0] else _before_question(sentence))
        start = match.end()
    return found + _of_sentence(text[start:])


def lines(text: str) -> list[str]:
    """The lines of a text, without code and the marks of lists, as far as it is read."""
    text = text[:MOST_CHARS].translate(_SIGNS_OF_LINES)
    return [_BULLET.sub("", line).strip(" *") for line in _FENCED.sub("\n", text).splitlines()]


def _plain(text: str) -> str:
    """A text without code, asides and contractions."""
    text = text[:MOST_CHARS].translate(_SIGNS)
    if "```" in text or "\n" in text or text.lstrip().startswith((">", "|")):
        text = _FENCED.sub(" . ", text)
    if "(" in text or "[" in text:
        text = _ASIDE.sub(" ", text)
    if not _QUOTES.isdisjoint(text):
        text = _QUOTED.sub(lambda match: match[1] if match[1].count(" ") < _MOST_QUOTED else " ", text)
    return _NOT.sub(_denied, _SHORT.sub(_long, _AFTER_ALL.sub("any more", text)))


_ASKS: Final = (
    r"can|could|would|should|shall|will|do|does|did|is|are|am|was|were|have|has|how|what|which|who|whom|whose|when"
    r"|where|why|any|got|may|might|isn't|don't|does not|do not|is not|are not"
)
_QUESTION = re.compile(rf",\s+(?:(?:so|and|but|or|then|also|given that)\s+){{0,2}}(?:{_ASKS})\b", re.IGNORECASE)
_ASKING = re.compile(
    rf"\W*(?:(?:(?:so|and|but|hey|hi|oh|ok|okay|well|hmm),?|\w+,)\s+){{0,2}}(?:{_ASKS}|if)\b", re.IGNORECASE
)


def _before_question(sentence: str) -> str:
    """What is told in the sentence of a question before it asks: "my flight is on Friday, can you remind me"."""
    if _ASKING.match(sentence):
        return ""
    match = _QUESTION.search(sentence)
    return sentence[: match.start()] if match else ""


_MOST_QUOTED: Final = 5
"""Blanks in a quotation, which may be a name or a title; a longer one is somebody else's word."""


def _long(match: re.Match[str]) -> str:
    """A contraction in its words."""
    word = match[0]
    plain = word.lower()
    if plain in _WHOLE:
        return _WHOLE[plain]
    for ending, words in _ENDINGS:
        if plain.endswith(ending):
            return word[: -len(ending)] + words
    if plain.endswith("'s") and plain[:-2] in _IS:
        return f"{word[:-2]} is"
    return word[:-2] + " not" if plain.endswith("nt") and "'" not in plain else word


def _denied(match: re.Match[str]) -> str:
    if match["no"]:
        # What is over, and what has never been, both are not.
        return {"no longer": "not any more", "never": "not always"}.get(match["no"].lower(), "not")
    return "hate" if match["hate"] else "have" if match["has"] else ""


def _of_sentence(sentence: str) -> list[Clause]:
    sentence = " ".join(_BULLET.sub("", sentence).split())
    if len(sentence) < _SHORTEST:
        return []
    plain = sentence.lower()
    if _any_in(plain, _CONDITIONS) and _CONDITION.search(sentence):
        return []
    corrected = _any_in(plain, _CORRECTIONS) and _CORRECTS.search(sentence) is not None
    sentence = _CALLED.sub("", _INTRODUCED.sub("", sentence))
    if "since " in plain or "after " in plain:
        sentence = _SINCE_THEN.sub("", sentence)
    sentence = _ANNOUNCED.sub("", _TOLD_BY.sub("", sentence))
    if " that " in plain:
        sentence = _THAT.sub(r"\1 the ", sentence)
    found: list[Clause] = []
    ruled = False
    parts = _CUT.split(sentence)
    for place, whole in enumerate(parts):
        part = _FACT.sub("", whole)
        if place and _WHICH_HAS.match(part) and (thing := _LAST_THING.search(parts[place - 1])):
            part = thing[1] + part[5:]
        if len(part) > MOST_CLAUSE or (place and _DROPPED.match(part)):
            continue
        part = _JOINED.sub("", part, count=1) if _JOINED.match(part) else part
        clause = _read(part, corrected=corrected, ruled=ruled, first=not found)
        # "From now on, …"
        ruled = clause is None and part.lower() in ("from now on", "going forward", "henceforth")
        if clause is not None:
            found.append(clause)
    return found


# What each of the patterns needs that are searched for: whether it stands there is found many times faster.
_CONDITIONS: Final = (
    "if", "when", "unless", "until now", "up to now", "wonder", "pretend", "imagine", "suppos", "assuming", "had i",
)  # fmt: skip
_CORRECTIONS: Final = (
    "actually", "correction", "i meant", "mistake", "scratch", "wrong", "in fact", "turns out", "results are", "mixed",
    "typo", "sorry", "oops", "wait", "no",
)  # fmt: skip


def _any_in(text: str, parts: tuple[str, ...]) -> bool:
    return any(part in text for part in parts)


_SHORTEST: Final = 6
_WHICH_HAS = re.compile(r"which (?:has|have|was|were|got|is now|are now|is currently)\b", re.IGNORECASE)
_LAST_THING = re.compile(r"\b((?:the|my|our) (?:[\w'-]+ ){0,6}[\w'-]+)\Z", re.IGNORECASE)
"""What "which …" goes on about."""


def _read(part: str, *, corrected: bool, ruled: bool, first: bool) -> Clause | None:
    marks = set[str]()

    def note(match: re.Match[str]) -> str:
        marks.add(match.lastgroup or "")
        return " "

    known = set(_EDGE.sub(" ", part.lower()).split())
    plain = part if _SIGNS_OF_SMALL.isdisjoint(known) and not _ENDS_IN_DAY.search(part) else _SIGNAL.sub(note, part)
    plain = " ".join(plain.split()).strip(_EDGES)
    if len(plain) < _SHORTEST - 2:
        return None
    ruled = ruled or "ruled" in marks
    ended = "ended" in marks and " not " in f" {plain.lower()} "
    corrected = corrected or "corrected" in marks
    return Clause(
        plain,
        changed=ruled or ended or corrected or "changed" in marks,
        corrected=corrected,
        ended=ended,
        extra="extra" in marks or _BESIDE.search(plain) is not None,
        unreal=not _SIGNS_OF_UNREAL.isdisjoint(known) and _UNREAL.search(plain) is not None,
        brief="brief" in marks,
        always=ruled or "always" in marks,
        remote="remote" in marks,
        first=first,
        said=part,
    )
