"""What stands behind a verb of English, as the object of what is stated: names, and noun phrases that need no more.

Each of these reads the beginning of a text and gives what is stated of, with its kind; nothing where that is not clear.
Pure functions.
"""

import re
from typing import Final, TypeAlias

from reverie.text.entities import STOP, name_key
from reverie.text.known_names import GIVEN_NAMES, PLACES, THINGS
from reverie.text.naming import Kind, heaviest, prior
from reverie.text.predicates import KIN, NAME, PETS, is_person

Objects: TypeAlias = list[tuple[str, Kind | None]]
"""The objects of a statement, each with its kind: a common noun's is a topic."""


_NAMED = re.compile(rf"(?:the |The )?(?P<name>{NAME})(?P<after>['’]s?(?!\w)|)")
_LIST = re.compile(r"(?:, (?:and )?| and | or |/)")


def _name(rest: str) -> str | None:
    match = _NAMED.match(rest)
    if match is None or match["after"]:
        return None
    name = match["name"].rstrip(".")
    words = name.split()
    while words and words[-1].casefold() in STOP:
        words.pop()
    key = name_key(" ".join(words))
    return " ".join(words) if words and key not in STOP and len(key) > 1 else None


def organisation(rest: str) -> Objects:
    name = _name(rest)
    if name is None or dict(prior(name)).keys() & {"date"} or name_key(name) in PLACES:
        return []
    # At somebody's house, for somebody: no organisation.
    if name_key(name) in GIVEN_NAMES:
        return []
    return [(name, "organisation")]


def place(rest: str) -> Objects:
    name = _name(rest)
    if name is None:
        return []
    kinds = dict(prior(name))
    if name_key(name) in PLACES or "place" in kinds or (not kinds and not name.isupper()):
        return [(name, "place")]
    return []


_PLACE_MORE = re.compile(rf"^(?:the )?{NAME}(?P<more>(?:, (?!and)(?:the )?{NAME})*(?:,? and (?:the )?{NAME}))")


def places(rest: str) -> Objects:
    found = place(rest)
    if found and (match := _PLACE_MORE.match(rest)):
        for part in _LIST.split(match["more"]):
            found += place(part) if part else []
    return found


def sure_place(rest: str) -> Objects:
    """Where somebody has been: a person is visited too, and one goes to a firm."""
    return [
        (name, kind) for name, kind in places(rest)
        if name_key(name) in PLACES or "place" in dict(prior(name))
    ]  # fmt: skip


def person(rest: str) -> Objects:
    name = _name(rest)
    return [(name, "person")] if name is not None and is_person(name, sure=True) else []


_NOUN = re.compile(r"[a-z][a-z'’-]*")
_BOUNDARY: Final = frozenset(
    """
    a about above after again all alone along also always and any anymore around as at away back because before being
    below best better between both but by can daily down during each either especially even ever every everyday
    everywhere first for forever from here how i if in inside instead into is it it's its just lately like lot lots
    many me more most mostly much my myself near now of off often on once one only or other our out outside over
    particularly personally quite rather really right so some sometimes somehow still such than that the their them
    then there these they this those though through to today together tonight too tomorrow under until up upon
    usually very was we well were what when where which while who why with within without yesterday yet you your his
    her he she us are has have had will do does did am be been whenever since plus despite except
    """.split()  # noqa: SIM905
)
"""Words that end a noun phrase, or of which none begins."""

_EMPTY: Final = frozenset(
    """
    thing things way ways idea ideas part parts feeling feelings fact time times sound sounds job day days everything
    something anything nothing someone everyone people person look looks kind sort bit place places stuff moment
    moments point question questions answer reason work life world vibe vibes energy chance opportunity experience
    experiences thought thoughts plan plans news result results photo photos picture pictures pic example examples
    concept suggestion suggestions approach option options change changes process journey design version side aspect
    aspects sight view views color colors story stories support advice help challenge challenges level others myself
    yourself himself herself themselves guys word words detail details memory memories use role roles piece pieces
    """.split()  # noqa: SIM905
)
"""Nouns that say nothing by themselves."""

_LIGHT: Final = frozenset(
    """
    being getting having going doing making knowing taking giving trying working spending sharing helping learning
    seeing hearing finding putting keeping coming looking feeling thinking talking using watching bringing creating
    exploring discovering meeting connecting having adding setting turning experiencing starting using living turning
    receiving buying visiting planning playing changing
    """.split()  # noqa: SIM905
)
"""Forms in -ing that need an object."""

_WEAK: Final = frozenset(
    """
    able afraid amazing awesome bad beautiful big busy certain cool different excited fun glad good great happy
    important interested little new nice own proud ready real sad same such sure
    """.split()  # noqa: SIM905
)

_AFTER_DOING = re.compile(
    r"$|[,.;!)]| (?:and|or|but|in|with|at|on|as|because|since|when|too|especially|lately|for|together|outdoors|outside"
    r"|every|a lot|so|more|while|during|by|after|before)\b"
)
_ELLIPTIC = re.compile(r"(?: and| or|,) (?!\w+ing\b)[a-z-]+ (?!and\b|or\b)[a-z-]*[a-z]s\b")
"""`action and adventure films`: the first is short for action films."""


def _noun(rest: str, most: int = 3) -> str | None:
    """The bare noun phrase at the beginning: what is meant by its own words alone."""
    words: list[str] = []
    end = 0
    for match in _NOUN.finditer(rest):
        if match.start() != end + (1 if words else 0) or (words and rest[end] != " "):
            break
        word = match[0].strip("'’-")
        if word in _BOUNDARY or "'" in word or "’" in word or word.endswith("ly"):
            break
        words.append(word)
        end = match.end()
    if (
        not words
        or len(words) > most
        or "sure" in words
        or set(words) & _EMPTY
        or words[0] in _WEAK
        or words[-1] in _WEAK
    ):
        return None
    after = rest[end : end + 40]
    if re.match(r" of | [A-Z\d]|\w", after) or words[-1] in _LIGHT or words[0] == "getting" or len(words[-1]) < 3:
        return None
    if len(words) == 1 and ((words[0].endswith("ing") and not _AFTER_DOING.match(after)) or _ELLIPTIC.match(after)):
        return None
    return " ".join(words)


_FOLLOWS: Final = (
    r"(?:and|or|but|because|so|since|too|in|on|at|with|for|as|when|more|the|a|every|myself|very|lately|also|both)\b"
)
"""What may stand after a name; before a noun it is a part of another (`Porto wine`)."""


def _thing(rest: str) -> tuple[str, Kind | None] | None:
    """A name, or a bare noun phrase."""
    if rest[:1].isupper():
        name = _name(rest)
        if name is None or re.match(rf"(?:the )?{re.escape(name)} (?!{_FOLLOWS})[a-z]", rest):
            return None
        kinds = dict(prior(name))
        return name, heaviest(kinds)
    noun = _noun(rest)
    return (noun, "topic") if noun else None


def liked(rest: str) -> Objects:
    """The first of a list, and of the others those of the same form: what follows an `and` may be another verb."""
    found = things(rest)
    doing = bool(found) and found[0][0].endswith("ing")
    return found[:1] + [
        one for one in found[1:]
        if one[0][0].isupper() or _goes_on(one[0], doing=doing)
    ]  # fmt: skip


def _goes_on(noun: str, *, doing: bool) -> bool:
    return noun.split()[0].endswith("ing") if doing else noun.endswith("s") and noun != "thanks"


def preferred(rest: str) -> Objects:
    # "I prefer writing in the mornings": it is the mornings that are preferred.
    return [one for one in liked(rest)[:1] if " " in one[0] or not one[0].endswith("ing")]


def things(rest: str) -> Objects:
    """All of a list, where it is one: with `and` or `or` before its last."""
    first = _thing(rest)
    if first is None:
        return []
    found, after = [first], rest[rest.find(first[0]) + len(first[0]) :]
    listed = re.match(r"(?P<more>(?:, (?:[\w'’-]+ ){0,2}[\w'’-]+)*),? (?:and|or) (?P<last>.+)", after)
    if listed is None:
        return found
    for part in [*listed["more"].split(", ")[1:], listed["last"]]:
        one = _thing(part)
        if one is None or one[0] == "I":
            break
        found.append(one)
    return found


def played(rest: str) -> Objects:
    plain = rest.removeprefix("the ").removeprefix("some ")
    name = _noun(plain, 2)
    if name is None or name.split()[0] in (
        "games",
        "around",
        "hard",
        "fetch",
        "house",
        "dead",
        "music",
        "shows",
        "tricks",
    ):
        return []
    return [(name, "topic")]


def done(rest: str) -> Objects:
    """A sport or a craft; in one word, since much else is done."""
    match = re.match(r"(?P<name>[a-z]+ing|yoga|pilates|karate|judo|ballet|tai chi|pottery|crossfit|meditation"
        r"|taekwondo|archery"
                     r"|calligraphy|origami|photography|gymnastics|aerobics|zumba|kickboxing)(?=$|[,.;!]| (?:and"
                     r"|every|in|on|with|twice|once"
                     r"|at|to|for|three)\b)", rest)  # fmt: skip
    if match is None or match["name"] in _LIGHT or match["name"] in _NOTHING_DONE:
        return []
    return [(match["name"], "topic")]


_NOTHING_DONE: Final = frozenset(
    {"something", "anything", "nothing", "everything", "thing", "missing", "crying", "hiding"}
)


_COURSES: Final = "class|classes|course|courses|workshop|program|programme|lessons|bootcamp|gym"


def attended(rest: str) -> Objects:
    match = re.match(
        r"(?:an? |my |some )?(?:(?:new|local|weekly|online|free) )*"
        rf"(?P<name>(?:[a-z-]+ ){{0,2}}(?:{_COURSES}))\b(?! of)",
        rest,
    )
    if match is None or match["name"].split()[0] in ("the", "this", "that", "your", "class", "course", "program"):
        return []
    return [(match["name"], "topic")]


def used(rest: str) -> Objects:
    """Tools that have a name."""
    name = _name(rest)
    # `Google's` and `the Python docs` are parts of something else.
    if name is None or name_key(name) in GIVEN_NAMES or name_key(name) in PLACES:
        return []
    return [(name, "thing")] if rest.startswith(name) else []


def owned(rest: str) -> Objects:
    match = re.match(
        r"(?:an?|my|our|my own|our own) (?:(?:new|used|brand new|second-hand|small|big|little|own|first) )*", rest
    )
    if match is None:
        return []
    one = _thing(rest[match.end() :])
    if one is None or one[0].split()[-1] in _CONSUMED or one[0].split()[-1] in KIN:
        return []
    return [one]


_CONSUMED: Final = frozenset(
    """
    beer breakfast bunch business cake coffee couple dinner drink drinks few flaws gift gifts ice lot lunch meal mistake
    mistakes number pizza present presents round sandwich sense share tea ticket tickets ton wine
    """.split()  # noqa: SIM905
)


def pet(rest: str) -> Objects:
    match = re.match(
        rf"(?:an?|two|three|our|my|another) (?:[a-z-]+ ){{0,3}}?(?P<pet>{PETS})s?\b(?:,? (?:named"
        rf"|called) (?P<name>{NAME}))?",
        rest,
    )
    if match is None:
        return []
    return [(match["name"], "person") if match["name"] else (match["pet"], "topic")]


_GROUP: Final = "club|team|band|choir|orchestra|league|group|community|committee|union|association|organization|society"


def group(rest: str) -> Objects:
    match = re.match(
        rf"(?:an?|the|my|our) (?:(?:local|new|online|small) )*(?P<name>[a-z-]+(?: [a-z-]+)? (?:{_GROUP}))\b", rest
    )
    if match is not None:
        return [(match["name"], "topic")]
    return organisation(rest)


def subject_of_study(rest: str) -> Objects:
    noun = _noun(rest[:1].lower() + rest[1:]) if rest[1:2].islower() else None
    if noun is None or noun.split()[0] in ("hard", "abroad", "late", "hours"):
        return []
    return [(noun, "topic")]


_OCCUPATION: Final = frozenset(
    """
    accountant actor actress analyst architect artist assistant attorney author baker banker barber barista bartender
    biologist bookkeeper builder butcher carpenter cashier chef chemist clerk coach composer conductor consultant
    contractor cook copywriter counselor counsellor dancer dentist designer detective developer dietitian director
    doctor driver economist editor electrician engineer entrepreneur farmer filmmaker firefighter fisherman
    freelancer gardener geologist guide hairdresser historian illustrator instructor interpreter investor janitor
    journalist judge lawyer lecturer librarian lifeguard machinist magician maid mechanic merchant midwife model
    musician nanny nurse nutritionist officer painter paralegal paramedic pharmacist photographer physician physicist
    physiotherapist pilot plumber poet policeman politician potter producer professor programmer psychiatrist
    psychologist realtor receptionist recruiter reporter researcher sailor scientist sculptor secretary singer
    singer-songwriter soldier statistician steward student surgeon surveyor tailor teacher technician therapist trader
    trainer translator tutor veterinarian vet waiter waitress writer zoologist
    """.split()  # noqa: SIM905
)


def occupation(rest: str) -> Objects:
    match = re.match(
        r"an? (?P<name>(?:[a-z-]+ ){0,2}?[a-z-]+)(?=$|[,.;!)]| (?:at|in|for|and|with|by|from|here|who|on)\b)", rest
    )
    if match is None or match["name"].split()[-1] not in _OCCUPATION:
        return []
    words = match["name"].split()
    while len(words) > 1 and words[0] in {
        *_WEAK,
        "single",
        "professional",
        "full-time",
        "part-time",
        "former",
        "local",
        "young",
    }:
        words.pop(0)
    return [(" ".join(words), "topic")]


def language(rest: str) -> Objects:
    found: Objects = []
    for part in _LIST.split(rest.removeprefix("fluent ").removeprefix("both ")):
        match = re.match(r"(?:some |a little |a bit of )?([A-Z][a-z]+)", part)
        if match is None or name_key(match[1]) not in THINGS:
            break
        found.append((match[1], "thing"))
    return found


_MONTHS: Final = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                  "November", "December")  # fmt: skip
_MONTH = rf"(?P<month>{'|'.join(month[:3] + (f'(?:{month[3:]})?' if len(month) > 3 else '') for month in _MONTHS)})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_DATES: Final = (
    re.compile(rf"(?:the )?{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?\b"),
    re.compile(rf"{_MONTH} (?:the )?{_DAY}(?:,? {_YEAR})?\b"),
    re.compile(rf"{_MONTH}(?: of)?,? {_YEAR}\b"),
    re.compile(rf"{_YEAR}(?=$|[,.;!)]| (?:in|and)\b)"),
)


def date(rest: str) -> Objects:
    """A date, written "5 May 1990" as far as it is told."""
    for pattern in _DATES:
        if match := pattern.match(rest):
            told = match.groupdict()
            month = next((one for one in _MONTHS if told.get("month") and one.startswith(told["month"][:3])), None)
            day = str(int(told["day"])) if told.get("day") else None
            if day is not None and not 1 <= int(day) <= 31:
                return []
            return [(" ".join(part for part in (day, month, told.get("year")) if part), "date")]
    return []


def birth(rest: str) -> Objects:
    match = re.match(rf"(?:and raised )?in ((?:the )?{NAME}.*)", rest)
    return sure_place(match[1]) if match else []


def birthdate(rest: str) -> Objects:
    match = re.match(r"(?:(?:and raised )?in [A-Z][\w ]{2,30}? )?(?:on|in) (.+)", rest)
    return date(match[1]) if match else []
