"""What kind of thing a name names, and which names are spellings of one another. Pure functions, for English.

A kind is told by what stands around the name (:func:`kind_in`), by its own form and by what is widely known of it
(:func:`decide`); where nothing speaks for one there is none. That two names are the same is told by their spelling
alone (:func:`spelled_alike`), or by the conversation in which both stand (:func:`same_here`): there a short name goes
with the one long name that it fits, and with none where it fits several.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from reverie.text.entities import name_key
from reverie.text.known_names import DAYS, GIVEN_NAMES, NICKNAMES, ORGANISATIONS, PLACES, THINGS

Kind = Literal["person", "place", "organisation", "thing", "date", "topic"]
"""``person``: whoever has a name of their own, animals and characters of books too; ``topic``: a common noun."""

KINDS: Final[tuple[Kind, ...]] = ("person", "place", "organisation", "thing", "date", "topic")

TITLES: Final = frozenset({"dr", "mr", "mrs", "ms", "miss", "prof", "professor", "doctor", "sir"})

LEAST_TYPO: Final = 8
"""Letters of names of which one may be mistyped."""

MOST_SEEN: Final = 4
"""Places of a text at which one name is looked at."""

BEFORE_CHARS: Final = 48
AFTER_CHARS: Final = 32
"""What is looked at on both sides of a name."""

_ORGANISED: Final = frozenset(
    """
    inc ltd llc llp corp corporation gmbh plc co company university college school academy institute hospital clinic
    bank foundation association society agency committee council ministry department bureau commission club team fc
    united league union church studios studio media labs laboratories technologies systems solutions group holdings
    partners ventures airlines orchestra choir museum library gallery theatre theater restaurant cafe café bakery
    bistro hotel inn pharmacy store shop center centre shelter charity consulting services network press publishing
    """.split()  # noqa: SIM905
)
"""Last words of names of organisations, and of houses that are open to all."""

_PLACED: Final = frozenset(
    """
    street avenue road boulevard lane square park lake river beach bay island islands mountain mountains mount valley
    canyon falls forest desert ocean sea gulf coast peninsula cape village town city county district province state
    airport station bridge harbor harbour port garden gardens trail national hill hills heights springs cliffs
    """.split()  # noqa: SIM905
)
"""Last words of names of places."""

_PLACED_FIRST: Final = frozenset({"lake", "mount", "mt", "cape", "isle", "gulf", "fort", "port", "san", "santa"})
_THINGS: Final = frozenset(
    """
    award awards prize festival day week month conference summit cup marathon tournament games championship olympics
    act law theorem theory method technique algorithm protocol framework project plan program programme app browser
    edition version pro max premium plus series trilogy album tour challenge model engine api sdk editor protocol
    certificate degree course workshop bootcamp podcast show magazine journal review report handbook guide
    """.split()  # noqa: SIM905
)
"""Last words of names of things."""

_KIN: Final = (
    r"aunt|auntie|uncle|grandma|grandpa|grandmother|grandfather|granddaughter|grandson|sister|brother|mother|mom|mum"
    r"|father|dad|son|daughter|wife|husband|friend|bestie|cousin|niece|nephew|boss|manager|colleague|coworker|co-worker"
    r"|neighbou?r|girlfriend|boyfriend|partner|roommate|flatmate|teacher|therapist|mentor|fianc[ée]e?|twin|baby|kid"
    r"|stepson|stepdaughter|stepmother|stepfather|godmother|godfather|in-law|supervisor|classmate|teammate|trainer"
)
_PET: Final = (
    r"dog|cat|puppy|pup|kitten|kitty|pet|horse|pony|parrot|rabbit|bunny|hamster|turtle|tortoise|snake|hen|goat"
)

_PERSON_BEFORE = re.compile(
    rf"(?:\b(?:mr|mrs|ms|miss|dr|prof|professor|doctor|coach|captain|sir|lady|saint|{_KIN}"
    rf"|{_PET})[.,:]? (?:(?:is )?(?:named|called) |,? )?"
    r"|(?:^|[.!?\n] ?)(?:hi|hey|hello|thanks|thank you|dear|congrats|congratulations|bye|goodbye|sorry|yes|no|oh"
    r"|wow|sure"
    r"|absolutely|so true|exactly|good morning|welcome|yeah|yep|aw+|cheers),? "
    r"|\b(?:told|ask(?:ed|ing)?|thank(?:ed|ing)?|marr(?:y|ied)|hugged|texted|tell|miss|married to|engaged to|dating"
    r"|talk(?:ed|ing)? (?:to|with)|spoke (?:to|with)|chat(?:ted|ting)? with|hang(?:ing)? out with|meet(?:ing)? with"
    r"|i'm|i am|my name is|name's|this is|call me|written by|directed by|sung by|author|actor|actress|singer|artist"
    r"|president|senator|king|queen|prince|princess) "
    r"|[,!?.] (?:and )?thanks,? )$",
    re.IGNORECASE,
)
_PERSON_AFTER = re.compile(
    r"(?:['’]s (?:birthday|wedding|house|home|place|mom|mum|mother|dad|father|sister|brother|wife|husband|parents"
    r"|kids|son"
    r"|daughter|family|friends?|smile|advice|support|opinion|feedback|schedule|email|boss|apartment|death|funeral)\b"
    r"|,? (?:said|says|asked|told|replied|thinks|thought|loves|loved|wants|wanted|felt|feels|knew|knows|called|texted"
    r"|smiled|laughed|agreed|suggested|mentioned|helped|recommended|invited|gave|who|whose|was born|passed away|died"
    r"|is (?:my|his|her|our|their)|and i|and me|joined|promised|reminded|hopes|believes|moved|lives|works|tried)\b)",
    re.IGNORECASE,
)
_ADDRESSED = re.compile(r"(?:^|[.!?\n] ?)$|[^,.!?\n]{2}, $")
_ADDRESSED_AFTER = re.compile(
    r"^(?:[!?]|\.(?=\s|$)|, (?:that|you|how|what|i|it|so|thanks|this|can|do|did|have|are)\b)", re.IGNORECASE
)
_PLACE_BEFORE = re.compile(
    r"\b(?:(?:went|go|goes|going|gone|gets?|got|getting|moved?|moving|travel\w*|trips?|flew|fly|flying|flights?|drive"
    r"|drove|driving|back|return\w*|relocat\w+|been|visits?|tickets?|came|come|coming|headed|heading|road|train|bus) "
    r"(?:\w+ )?(?:to|from)|(?:live|lives|lived|living|born|grew up|grow up|stay\w*|based|located|raised|vacation\w*"
    r"|arriv\w+|here|apartment|house|flat|home|summer|winter|weekend|place|city|town|village|office|somewhere|holiday"
    r"|born and raised|weather|hotel|meet\w*|conference|event) "
    r"(?:\w+ )?(?:in|near|around|at)|(?:visit(?:ed|ing)?|explor(?:ed?|ing)|tour(?:ed|ing)?|leaving|left for"
    r"|city of|town of|state of|village of|island of|outside(?: of)?|across|throughout|near|downtown|northern|southern"
    r"|eastern|western|around|capital of|streets of|i'm from|are from|is from|am from)) (?:the )?$",
    re.IGNORECASE,
)
_IN_BEFORE = re.compile(r"\b(?:in|near) $", re.IGNORECASE)
_ORGANISATION_BEFORE = re.compile(
    r"\b(?:(?:work\w*|jobs?|intern\w*|positions?|roles?|careers?|employed|interview\w*|study|studying|studied|enroll?ed"
    r"|offers?|graduat\w+|professor|engineer|manager|director|developer|analyst|student|volunteer\w*|consultant"
    r"|teach\w*"
    r"|degree|hired|fired|contract\w*|clients?|applied|apply\w*|recruiter|employee|classes|course) "
    r"(?:\w+ )?(?:at|for|with|from|by)|(?:joined|joining|company|startup|firm|employer|organi[sz]ation|charity|team"
    r"|bank"
    r"|shareholders? of|ceo of|founder of|member of|agency|university)(?: called| named)?) (?:the )?$",
    re.IGNORECASE,
)
_THING_BEFORE = re.compile(
    r"(?:[\"“„«]|\b(?:a|an|this|that|my|our|your|his|her|their|new|some) |\b(?:read|reading|watch(?:ed|ing)?|play(?:ed"
    r"|ing)?|using|use|used|listen(?:ed|ing)? to|books?|movies?|films?|songs?|games?|series|shows?|novels?|albums?"
    r"|apps?"
    r"|tools?|podcasts?|brand|language|software|platform|framework|library|via|install(?:ed|ing)?|download(?:ed|ing)?"
    r"|called|titled|speak(?:s|ing)?|learn(?:ed|ing)?|in fluent|fluent in|bought|drive|try|tried|wrote) )$",
    re.IGNORECASE,
)
_THING_AFTER = re.compile(
    r"(?:[\"”»]|['’]?s? ?(?:book|movie|film|song|game|series|show|novel|album|app|tool|podcast|concert|tour"
    r"|tickets?|library"
    r"|framework|fan|fans|movies|books|games|language|class|lessons|code|version|event|parade|festival|rights"
    r"|community)\b)",
    re.IGNORECASE,
)
_MONTH: Final = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?"
)
_DATE = re.compile(
    rf"(?:(?:{_MONTH})\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|\d{{1,2}}(?:st|nd|rd"
    rf"|th)? (?:of )?(?:{_MONTH})(?:,? \d{{4}})?"
    rf"|(?:{_MONTH}),? \d{{4}}|\d{{4}}-\d\d-\d\d|(?:19|20)\d\d)",
    re.IGNORECASE,
)
_SPLIT = re.compile(r"[^\w]+")


@lru_cache(maxsize=8192)
def prior(name: str) -> tuple[tuple[Kind, float], ...]:
    """What the form of a name, and what is widely known, say of its kind: (kind, weight), 1 as much as one text."""
    key = name_key(name)
    words = [word for word in _SPLIT.split(key) if word]
    found: dict[Kind, float] = {}
    if not words:
        return ()
    if _DATE.fullmatch(name) or key in DAYS:
        found["date"] = 6
    if key in PLACES:
        found["place"] = 4
    if key in ORGANISATIONS:
        found["organisation"] = 4
    if key in THINGS:
        found["thing"] = 4
    if words[0] in TITLES:
        found["person"] = 5
    if words[0] in GIVEN_NAMES and not found:
        found["person"] = 3.5 if len(words) < 4 else 1
    if len(words) > 1:
        _of_last(words, found)
    if key.startswith("@"):
        found["person"] = 3
    elif re.search(r"\w\.[a-z]{2,}", key) or any(character.isdigit() for character in key):
        found["thing"] = found.get("thing", 0) + 2
    return tuple(found.items())


def _of_last(words: Sequence[str], found: dict[Kind, float]) -> None:
    last = words[-1]
    if last in _ORGANISED or (words[0] in ("university", "college", "bank", "ministry", "department", "institute")):
        found["organisation"] = found.get("organisation", 0) + 5
        found.pop("person", None)
    elif last in _PLACED or words[0] in _PLACED_FIRST:
        found["place"] = found.get("place", 0) + 4
        found.pop("person", None)
    elif last in _THINGS or words[0] == "the":
        found["thing"] = found.get("thing", 0) + 3
        found.pop("person", None)


def kind_in(text: str, name: str) -> Kind | None:
    """The kind that most of what stands around a name in a text speaks for; None when nothing does.

    Args:
        text: English.
        name: as it is written there.
    """
    votes: dict[Kind, float] = {}
    start = text.find(name)
    for _ in range(MOST_SEEN):
        if start < 0:
            break
        end = start + len(name)
        if (start == 0 or not text[start - 1].isalnum()) and not text[end : end + 1].isalnum():
            _vote(text[max(0, start - BEFORE_CHARS) : start], text[end : end + AFTER_CHARS], votes)
        start = text.find(name, end)
    return heaviest(votes)


def _vote(before: str, after: str, votes: dict[Kind, float]) -> None:
    found: list[tuple[Kind, float]] = []
    if _PERSON_BEFORE.search(before):
        found.append(("person", 2))
    if _PERSON_AFTER.match(after):
        found.append(("person", 1.5))
    if _ADDRESSED.search(before) and _ADDRESSED_AFTER.match(after) and before:
        found.append(("person", 1))
    if _ORGANISATION_BEFORE.search(before):
        found.append(("organisation", 2))
    elif _PLACE_BEFORE.search(before):
        found.append(("place", 2))
    elif _IN_BEFORE.search(before):
        found.append(("place", 0.5))
    if _THING_BEFORE.search(before) or _THING_AFTER.match(after):
        found.append(("thing", 1))
    for kind, weight in found:
        votes[kind] = votes.get(kind, 0) + weight


def heaviest(weights: Mapping[Kind, float]) -> Kind | None:
    """The kind of the greatest weight; of equal ones the one that is listed first."""
    best: Kind | None = None
    for kind in KINDS:
        if weights.get(kind, 0) > (0 if best is None else weights[best]):
            best = kind
    return best


def decide(name: str, votes: Mapping[str, float]) -> Kind | None:
    """The kind of a name, by its form and what texts say of it; None when nothing speaks for one.

    Args:
        name: as mostly written.
        votes: how many texts speak for each kind (:func:`kind_in`).
    """
    weights: dict[Kind, float] = {kind: votes[kind] for kind in KINDS if votes.get(kind)}
    for kind, weight in prior(name):
        # Known of all, it is overruled by many texts alone.
        weights[kind] = weights.get(kind, 0) + weight
    return heaviest(weights)


@lru_cache(maxsize=8192)
def folded(key: str) -> str:
    """A key of a name without accents, spaces, dots and hyphens, and without the title before it."""
    words = _SPLIT.split(unicodedata.normalize("NFD", key))
    plain = ["".join(letter for letter in word if not unicodedata.combining(letter)) for word in words]
    plain = [word for word in plain if word]
    if len(plain) > 1 and plain[0] in TITLES:
        plain = plain[1:]
    if len(plain) > 1 and plain[-1] in ("inc", "ltd", "llc", "corp", "gmbh", "plc"):
        plain = plain[:-1]
    return ("@" if key.startswith("@") else "") + "".join(plain)


def spelled_alike(one: str, other: str) -> bool:
    """Whether two keys of names are spellings of one name: the same but for accents, hyphens, a title, or one slip.

    A slip is one letter too many, too few, another or two changed places within a long name; not its first or its last,
    by which names differ (Christina, Christine), and not where both are names that are known.
    """
    first, second = folded(one), folded(other)
    if first == second:
        return len(first) > 1
    if min(len(first), len(second)) < LEAST_TYPO or abs(len(first) - len(second)) > 1 or first[0] != second[0]:
        return False
    if first[-1] != second[-1] or not (first + second).isalpha() or (_is_known(one) and _is_known(other)):
        return False
    return _one_slip(first, second)


def typo_keys(key: str) -> str | None:
    """What names that may be slips of one another share: the first letter and the last; None for short ones."""
    plain = folded(key)
    return f"{plain[0]}{plain[-1]}" if len(plain) >= LEAST_TYPO and plain.isalpha() else None


def _is_known(key: str) -> bool:
    words = key.split()
    return key in PLACES or key in ORGANISATIONS or key in THINGS or words[0] in GIVEN_NAMES


def _one_slip(one: str, other: str) -> bool:
    if len(one) > len(other):
        one, other = other, one
    place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        # An s more is another number or a possessive.
        return one[place:] == other[place + 1 :]
    swapped = one[place : place + 2] == other[place : place + 2][::-1] and one[place + 2 :] == other[place + 2 :]
    return swapped or one[place + 1 :] == other[place + 1 :]


class Here(NamedTuple):
    """A name of a conversation: its key, as it is written, its kind as far as known, and in which traces it stands."""

    key: str
    name: str
    kind: Kind | None
    traces: frozenset[int]


def same_here(names: Sequence[Here], speakers: Collection[str] = ()) -> dict[str, str]:
    """Short name → the long one that it stands for in a conversation, by their keys.

    Args:
        names: of one conversation, each once.
        speakers: the keys of those who speak in it; what is short for one of them is a name of theirs.
    """
    found: dict[str, str] = {}
    long = [one for one in names if one.key not in speakers]
    for one in names:
        if one.key in speakers or one.kind in ("place", "date"):
            continue
        spoken = {key for key in speakers if _is_short(one.key, key, sure=True)}
        fitting = spoken or {
            other.key for other in long
            if other.key != one.key and _may_be_one(one, other) and _is_short(one.key, other.key, sure=False)
        } or {other.key for other in names if other.key != one.key and _are_initials(one.name, other.name)}  # fmt: skip
        if len(fitting) == 1:
            found[one.key] = fitting.pop()
    # What is short for something short goes with the long one.
    return {key: found.get(target, target) for key, target in found.items() if found.get(target) != key}


def _may_be_one(one: Here, other: Here) -> bool:
    """Whether they may be the same person: a text that has both as whole names speaks of two."""
    return other.kind in ("person", None) and one.kind in ("person", None) and (
        len(other.key.split()) > 1 or not one.traces & other.traces
    )  # fmt: skip


def _is_short(short: str, long: str, *, sure: bool) -> bool:
    """Whether one name of a person is short for another; ``sure``: that one speaks, and a beginning will do."""
    one, other = short.split(), long.split()
    if not one or not other or one == other:
        return False
    if one[0].rstrip(".") in TITLES:
        return (
            len(one) > 1 and len(other) > 1 and one[1:] == other[-len(one) + 1 :] and other[0].rstrip(".") not in TITLES
        )
    if len(one) == 1:
        if other[0] == one[0]:
            # A given name, and the same with a family name.
            return len(other) in (2, 3) and one[0] in GIVEN_NAMES
        return other[0] in NICKNAMES.get(one[0], ()) or (
            sure and 3 <= len(one[0]) < len(other[0]) and other[0].startswith(one[0]) and one[0] not in GIVEN_NAMES
        )
    if len(one) == len(other) and one[1:] == other[1:]:
        first = one[0].rstrip(".")
        return other[0] in NICKNAMES.get(first, ()) or (
            len(first) == 1 and len(other[0]) > 1 and other[0].startswith(first)
        )
    return len(one) == 2 and len(other) == 3 and one[0] == other[0] and one[1] == other[2] and one[0] in GIVEN_NAMES


def _are_initials(short: str, long: str) -> bool:
    letters = short.replace(".", "").replace("&", "")
    if len(letters) < 3 or not letters.isupper() or not letters.isalpha():
        return False
    words = [word for word in _SPLIT.split(long) if word]
    if len(words) < 3:
        return False
    every = "".join(word[0] for word in words)
    capital = "".join(word[0] for word in words if word[0].isupper())
    return letters in (every.upper(), capital)
