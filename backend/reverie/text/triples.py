"""What English sentences state of somebody, as subject, predicate and object. Pure functions, by rules.

Few are found, and what is found holds: a question, a condition, a wish or a negation gives none, what stands in quotes
is somebody else's, and an object that needs more than its own words ("the view", "your idea") is none. Of whom "I" is,
the caller says.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from reverie.text import objects
from reverie.text.entities import name_key
from reverie.text.objects import Objects
from reverie.text.predicates import KIN, KIN_WORD, NAME, PREDICATES, Predicate, Triple, is_person

__all__ = ["PREDICATES", "Predicate", "Triple", "triples"]

READ_CHARS: Final = 4000
"""So much of a text is read: what somebody says of themselves stands at the beginning of what they say."""

MOST_SENTENCE: Final = 300
"""Characters of a sentence; longer ones are lists, or no sentences."""

MOST: Final = 12
"""Triples of one text."""

_ADVERB: Final = (
    r"(?:(?:also|really|still|just|now|currently|recently|absolutely|totally|definitely|always|both|actually|finally"
    r"|already|mostly|usually|truly|simply|happily|officially|proudly|originally|genuinely|even|do|personally"
    r"|myself)\s)*"
)
_WHEN: Final = r"(?: (?:full[- ]time|part[- ]time|remotely|now|currently|here|again|back|downtown|over|out))*"

_ADJECTIVE: Final = (
    r"(?:(?:best|good|old|older|younger|elder|little|big|late|dear|close|closest|oldest|youngest|new|ex|former|twin"
    r"|lovely"
    r"|beautiful|wonderful|amazing|sweet|childhood|long-time|longtime|current|first|second|eldest|only|long-lost|work"
    r"|school|college|other|beloved|[a-z]+-year-old|\d+-year-old|baby|newborn|adopted|rescue|golden|black|white"
    r"|brown) )*"
)

_RELATED = re.compile(
    rf"\b(?P<whose>[Mm]y|[Oo]ur|(?P<owner>{NAME})['’]s) {_ADJECTIVE}(?P<kin>{KIN_WORD})"
    rf"(?P<how>,? (?:named|called) |['’]s name is |['’]s named | is (?:named|called) | is | |, )(?P<name>{NAME})"
    rf"(?P<after>['’]s?(?=\s|$)|)"
)
_OF_MINE = re.compile(
    rf"(?<![\w'’] )(?:^|(?<=\s))(?P<name>{NAME}), (?:who is |who['’]s )?(?:my|our) {_ADJECTIVE}"
    rf"(?P<kin>{KIN_WORD})\b(?!['’])"
)
_IS_MINE = re.compile(rf"^(?P<name>{NAME})(?:,? (?:is|was)|['’]s) (?:my|our) {_ADJECTIVE}(?P<kin>{KIN_WORD})$")
_FAVOURITE = re.compile(
    r"^[Mm]y (?:all-time )?favou?rite (?:[a-z-]+ ){1,3}?(?:is|are|has always been|would be|has to be) (?P<rest>.+)$"
)
_BIRTHDAY = re.compile(r"^(?:[Mm]y|(?P<owner>[A-Z]\w+)['’]s) birthday(?: is|['’]s) (?:on )?(?P<rest>.+)$")

_SUPPOSED = re.compile(
    r"\b(?:if|unless|wish(?:es|ed)?|suppose|imagine|pretend|whether|in case|let['’]?s say|for example|e\.g"
    r"|role[- ]?play|used to|back then|when i was|as a (?:kid|child))\b",
    re.IGNORECASE,
)
"""What makes of a whole sentence no statement of how things are."""

_NEGATED = re.compile(
    r"\b(?:not|never|nobody|none|no longer|no more|hardly|neither|nor|without|don['’]?t|doesn['’]?t)\b|n['’]t\b",
    re.IGNORECASE,
)
_NOT_STATED = re.compile(
    r"\b(?:would|could|might|(?-i:may)|hop(?:e|es|ed|ing)|maybe|perhaps|probably|dream(?:s|ed|t|ing)? (?:of|about)"
    r"|want(?:s|ed)? to|plan(?:s|ned|ning)? to|thinking (?:of|about)|consider(?:ing)?|about to|going to|gonna"
    r"|supposed to|almost|nearly"
    r"|like to|love to|should|until|was like)\b",
    re.IGNORECASE,
)
"""What makes so of a clause."""

_STANDING = re.compile(r"\b(?:can['’]?t|cannot|can not) (?:stand|bear)\b", re.IGNORECASE)
_OPENING = re.compile(
    r"^(?:(?:and|but|so|well|yes|yeah|yep|oh|also|actually|currently|now|because|since|honestly|personally|plus|anyway"
    r"|btw|by the way|fun fact|as you know|right now|these days|nowadays|recently|today|yesterday"
    r"|last (?:week|month|year|night|summer|winter|spring|fall|weekend)|this (?:week|month|year|summer|morning)"
    r"|luckily|fortunately|in fact|hi"
    r"|hey|hello|thanks|wow|ok|okay|then|still|first|lately|me too|same here|haha|lol|hmm|aw+)[,:]? +)+",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    rf"^(?:(?P<me>I)(?=['’ ])|(?P<us>[Ww]e)(?=['’ ])|"
    rf"(?:[Mm]y|[Oo]ur) {_ADJECTIVE}(?:{KIN_WORD}),? (?P<kin>{NAME}),?(?= )"
    rf"|(?P<name>{NAME})(?=['’]s an? | ))"
)
_BE: Final = r"(?:['’]?m|am|['’]s|is|['’]re|are)"
_HAVE: Final = r"(?:['’]ve|have|['’]s|has)"


def _verb(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"^[ ]?{_ADVERB}(?:{pattern}) (?P<rest>.+)$")


class _Rule(NamedTuple):
    predicate: Predicate
    verb: re.Pattern[str]
    read: Callable[[str], Objects]
    """The objects at the beginning of what follows the verb."""

    us: bool = True
    """Whether what is stated of us is so of me."""


def triples(
    text: str, *, speaker: str | None = None, others: Collection[str] = (), language: str = "english"
) -> list[Triple]:
    """What a text states, each once, in order.

    Args:
        text: any; of other languages than English nothing is read.
        speaker: who says it, where that is known: whom "I" and "my" are.
        others: those who are spoken to, by name: their names after a comma address them.
        language: its text-search configuration.
    """
    if language != "english":
        return []
    found: dict[Triple, None] = {}
    addressed = {name_key(name) for name in others}
    for sentence in _sentences(text[:READ_CHARS]):
        for one in _stated(sentence, speaker, addressed):
            if name_key(one.subject) != name_key(one.object):
                found[one] = None
        if len(found) >= MOST:
            break
    return list(found)[:MOST]


_FENCED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,80}`|https?://\S{1,500}", re.DOTALL)
_QUOTED = re.compile(r"“[^”]{1,400}”|\"[^\"\n]{1,400}\"|«[^»]{1,400}»")
_END = re.compile(r"(?P<mark>[.!?…]+|[\n;:]|\s[–—-]\s)(?=\s|$)|—|\n")
_TITLED = re.compile(r"(?:^|[\s(])(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|No|[A-Z])$")


def _sentences(text: str) -> Iterator[str]:
    """The sentences that are no questions."""
    plain = _QUOTED.sub(" … ", _FENCED.sub(" ", text)) if any(mark in text for mark in '`"“«:') else text
    start = 0
    for match in _END.finditer(plain):
        if match["mark"] == "." and _TITLED.search(plain, max(0, match.start() - 5), match.start()):
            continue
        sentence = plain[start : match.start()].strip()
        start = match.end()
        if sentence and "?" in (match["mark"] or ""):
            sentence = _before_question(sentence)
        if sentence:
            yield sentence
    if sentence := plain[start:].strip():
        yield sentence


_ASKS = re.compile(
    r",? (?:(?:and|so|but) )?(?:what|how|why|where|when|who|which|whose|(?:can|could|would|will|should|do|does|did"
    r"|have|has|is|are|was|any|am|may|shall) (?:you|i|we|it|they|he|she|there|that"
    r"|this|these|the|my|your|tips|ideas|advice|thoughts|suggestions))\b",
    re.IGNORECASE,
)


def _before_question(sentence: str) -> str:
    """What is stated before something is asked, in the same sentence."""
    match = _ASKS.search(sentence)
    head = sentence[: match.start()] if match is not None and match[0].startswith(",") else ""
    return "" if _ASKS.match(f" {head}") else head


def _stated(sentence: str, speaker: str | None, addressed: Collection[str]) -> Iterator[Triple]:
    if not 6 <= len(sentence) <= MOST_SENTENCE or _SUPPOSED.search(sentence):
        return
    if not _NEGATED.search(sentence):
        yield from _relations(sentence, speaker, addressed)
    for clause in _clauses(sentence):
        plain = _STANDING.sub("hate", clause)
        if not (_NEGATED.search(plain) or _NOT_STATED.search(plain)):
            yield from _of_clause(plain, speaker)


_SPLIT = re.compile(
    r",? (?:but|because|so|while|though|although|which|who|where|since|as well as|plus) "
    r"|, (?!\d)(?:and )?(?!(?:[a-z-]+ ){0,2}[a-z-]+(?:,(?: and| or)?| and| or) )| and (?=(?:I|we|my|he|she|it|they"
    r"|you)\b)|[()]"
)
_AND = re.compile(r" and (?=[a-z])")


def _clauses(sentence: str) -> Iterator[str]:
    start = 0
    for match in _SPLIT.finditer(sentence):
        yield sentence[start : match.start()].strip()
        start = match.end()
    yield sentence[start:].strip()


def _of_clause(clause: str, speaker: str | None) -> list[Triple]:
    """What a clause states."""
    plain = _OPENING.sub("", clause)
    if favourite := _FAVOURITE.match(plain):
        found = objects.liked(favourite["rest"])
        return [Triple(speaker, "likes", *one) for one in found] if speaker else []
    if birthday := _BIRTHDAY.match(plain):
        owner = birthday["owner"] or speaker
        return [Triple(owner, "born_on", *one) for one in objects.date(birthday["rest"])] if owner else []
    subject, us, rest = _subject(plain, speaker)
    if subject is None:
        return []
    stated: list[Triple] = []
    for place, part in enumerate(_AND.split(rest)):
        # `work at X and live in Y`, once the first of them says something; `like X and Y` is read as a whole.
        if place and not stated:
            break
        whole = rest if place == 0 else f" {part}"
        stated += [
            Triple(subject, rule.predicate, name, kind)
            for rule in RULES
            if (rule.us or not us) and (match := rule.verb.match(whole))
            for name, kind in rule.read(match["rest"])
        ]
    return stated


def _subject(clause: str, speaker: str | None) -> tuple[str | None, bool, str]:
    """Who, whether it is more than me, and what follows."""
    match = _SUBJECT.match(clause)
    if match is None:
        return None, False, ""
    rest = clause[match.end() :]
    if match["me"] or match["us"]:
        return speaker, match["me"] is None, rest
    name = match["kin"] or match["name"]
    if not is_person(name, sure=match["kin"] is not None):
        return None, False, ""
    return name, False, rest


def _relations(sentence: str, speaker: str | None, addressed: Collection[str]) -> Iterator[Triple]:
    """Who somebody is to whom: "my sister Ann", "Bob's dog Rex", "Ann is my sister"."""
    for match in _RELATED.finditer(sentence):
        owner, name = match["owner"] or speaker, match["name"].removesuffix("'s").removesuffix("’s")
        predicate, turned = KIN[match["kin"]]
        if owner is None or (match["owner"] and not is_person(owner, sure=False)):
            continue
        if match["how"] == " is " and not _ends(sentence, match.end()):
            continue
        # "with my sister, Ann!" may be said to Ann, and "my dog, Boston is cold" of a city.
        if match["how"] == ", " and (name_key(name) in addressed or not _ends(sentence, match.end())):
            continue
        if is_person(name, sure=True) and (match["how"] != " " or not match["after"] or predicate == "has_pet"):
            yield _related(owner, name, predicate, turned=turned)
    of_mine = _OF_MINE.search(sentence)
    # "Ann, my dog is ill" is said to Ann.
    if (
        speaker is not None
        and of_mine is not None
        and is_person(of_mine["name"], sure=False)
        and name_key(of_mine["name"]) not in addressed
        and _ends_phrase(sentence, of_mine.end())
    ):
        predicate, turned = KIN[of_mine["kin"]]
        yield _related(speaker, of_mine["name"], predicate, turned=turned)
    for clause in _clauses(sentence):
        if (
            speaker is not None
            and (mine := _IS_MINE.match(_OPENING.sub("", clause)))
            and is_person(mine["name"], sure=True)
        ):
            predicate, turned = KIN[mine["kin"]]
            yield _related(speaker, mine["name"], predicate, turned=turned)


def _ends(sentence: str, place: int) -> bool:
    return place >= len(sentence) or sentence[place] in ",;.!)" or sentence[place : place + 5] in (" and ", " who ")


def _ends_phrase(sentence: str, place: int) -> bool:
    return (
        place >= len(sentence)
        or re.match(r"[,;.!)]| (?:of|from|and|who|since|for|in|at)\b", sentence[place : place + 7]) is not None
    )


def _related(owner: str, name: str, predicate: Predicate, *, turned: bool) -> Triple:
    return Triple(name, predicate, owner, "person") if turned else Triple(owner, predicate, name, "person")


_JOB: Final = rf"(?:work|works|{_BE} working|{_HAVE} been working|{_HAVE} worked|{_BE} employed){_WHEN}"
_BEEN: Final = (
    rf"(?:(?:{_HAVE} )?(?:just )?visited|went(?: back)? to|{_HAVE} been to|travell?ed to|flew to|toured"
    rf"|(?:took|went on) an? (?:[a-z]+ )?trip to|{_BE} back from|(?:just )?(?:got back|returned|came back) from)"
)
_KEEN: Final = (
    rf"{_BE} (?:really |so |very )?(?:into|fond of|keen on|passionate about|obsessed with"
    r"|an? (?:big |huge |massive )?fan of)"
)
_HOBBY: Final = (
    rf"(?:practi[cs]es?|do|does|go|goes|took up|{_HAVE} (?:been practi[cs]ing|been doing|been into|taken up|started))"
)
_COURSE: Final = (
    rf"(?:(?:{_HAVE} )?(?:just )?(?:signed up for|enrolled in|joined|started)|{_BE} (?:taking|attending|enrolled in))"
)
_HIRED: Final = (
    r"(?:got|have|has|accepted|landed|took|started|start) (?:an?|my|the) (?:new )?(?:[a-z]+ )?"
    r"(?:job|position|role|internship)(?: as [\w -]{2,40}?)? (?:at|with)"
)
_POST: Final = rf"{_BE} (?:now )?(?:an?|the) [a-z][\w -]{{2,40}}? (?:at|for)"
_MAJOR: Final = rf"(?:study|studies|{_BE} studying|{_BE} majoring in|major in|majors in|majored in)"
_ALUMNUS: Final = rf"(?:study|studies|studied|{_BE} studying|graduated)(?: [a-z ]{{3,40}}?)? (?:at|from)"
_MEMBER: Final = rf"(?:(?:{_HAVE} )?(?:just )?joined|{_BE} (?:an? )?(?:proud |active )?(?:member of|part of|on))"
_LIVING: Final = rf"(?:live|lives|{_BE} living|reside|resides|{_HAVE} lived|{_HAVE} been living){_WHEN} in"
_DISLIKE: Final = r"(?:hate|hates|dislike|dislikes|detest|detests|loathe|loathes|can(?:['’]?t|not) (?:stand|bear))"

RULES: Final = (
    _Rule("works_at", _verb(rf"{_JOB}(?: as an? [\w -]{{2,40}}?)? (?:at|for|with)"), objects.organisation, us=False),
    _Rule(
        "works_at",
        _verb(rf"{_BE} (?:now )?(?:an?|the) [a-z][\w -]{{2,40}}? (?:at|for)"),
        objects.organisation,
        us=False,
    ),
    _Rule("works_at", _verb(_HIRED), objects.organisation, us=False),
    _Rule("works_as", _verb(rf"{_JOB} as"), objects.occupation, us=False),
    _Rule("works_as", _verb(_BE), objects.occupation, us=False),
    _Rule("lives_in", _verb(_LIVING), objects.place),
    _Rule("lives_in", _verb(rf"(?:{_HAVE} )?(?:just |recently )?(?:moved|relocated){_WHEN} to"), objects.place),
    _Rule("lives_in", _verb(rf"{_BE} based{_WHEN} in"), objects.place),
    _Rule("from", _verb(rf"(?:{_BE}|come|comes|hail|hails) (?:originally )?from"), objects.sure_place),
    _Rule("from", _verb(r"grew up in"), objects.place),
    _Rule("born_in", _verb(r"(?:was|were) born"), objects.birth),
    _Rule("born_on", _verb(r"(?:was|were) born"), objects.birthdate, us=False),
    _Rule("married_to", _verb(rf"(?:{_BE}|got|{_HAVE} been) married to"), objects.person, us=False),
    _Rule("married_to", _verb(r"married"), objects.person, us=False),
    _Rule("partner_of", _verb(rf"(?:{_BE} (?:dating|engaged to)|got engaged to)"), objects.person, us=False),
    _Rule("has_pet", _verb(rf"(?:(?:{_HAVE} )?(?:got|adopted|rescued|owned)|have|has|own|owns)"), objects.pet),
    _Rule("owns", _verb(rf"(?:own|owns|(?:{_HAVE} )?(?:just )?bought)"), objects.owned),
    _Rule("likes", _verb(r"(?:love|loves|like|likes|enjoy|enjoys|adore|adores)"), objects.liked),
    _Rule("likes", _verb(_KEEN), objects.liked),
    _Rule("dislikes", _verb(_DISLIKE), objects.liked),
    _Rule("plays", _verb(rf"(?:play|plays|{_HAVE} been playing|{_HAVE} played)"), objects.played),
    _Rule("does", _verb(_HOBBY), objects.done),
    _Rule("attends", _verb(_COURSE), objects.attended),
    _Rule("uses", _verb(rf"(?:{_BE} using|use|uses)"), objects.used, us=False),
    _Rule("prefers", _verb(r"(?:prefer|prefers)(?: using| to use)?"), objects.preferred, us=False),
    _Rule("studies", _verb(_MAJOR), objects.subject_of_study, us=False),
    _Rule("studied_at", _verb(_ALUMNUS), objects.organisation, us=False),
    _Rule("studied_at", _verb(rf"{_BE} (?:an?|the) [\w -]{{0,30}}?student at"), objects.organisation, us=False),
    _Rule("member_of", _verb(_MEMBER), objects.group),
    _Rule("visited", _verb(_BEEN), objects.sure_place),
    _Rule("speaks", _verb(rf"(?:speak|speaks|{_BE} fluent in)"), objects.language),
    _Rule("allergic_to", _verb(rf"{_BE} (?:\w+ )?allergic to"), objects.things, us=False),
)
