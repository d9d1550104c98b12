"""Names in what a model said that nothing it was shown contains. Pure functions.

A name is told by its capital, as in :mod:`reverie.text.entities`; but where that module rather leaves a name out, this
one rather doubts a word: what is doubted without need costs one more question, a name that was made up a lie.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final, NamedTuple

from reverie.language.sources import Sources, script
from reverie.text.entities import NOUNS_CAPITALISED, name_key

_WORD = re.compile(r"@?[^\W_]+(?:['’&.@-][^\W_]+)*")
_BEGINS = re.compile(r"(?:^|[.!?…:;\n\"“”„«»(\[–—/•])[\s\"“”„«»'‘’(\[]*$")
_ABBREVIATED = re.compile(r"\b(?:dr|mr|mrs|ms|prof|st|\w)\.\s*$", re.IGNORECASE)
_KATAKANA = re.compile(r"[\u30a1-\u30fa\u30fc]{2,}")

_ENDINGS = re.compile(r"(?:ations?|ions?|ments?|ings?|ers?|ies|es|s|ed|ly|al|ances?|ences?|e|y)$")
"""What English adds to a word: taken away, what is left is what its forms have in common."""

_PLAIN = re.compile(r"(?:ing|ed|ly)$")
"""How a word often ends that begins a sentence and is no name (English)."""

_OPENINGS_WORDS: Final = """
    additional additionally advice alternatively altogether apart attention beyond changes common communication
    concerns conversation conversations couple dealing decisions details different difficulties discussion
    discussions early emotional encouragement examples exchange experiences family far feedback feelings finding
    friends friend future goals group guidance health help helpful ideas important information issues key last
    late less long lots main many memories moving mutual nature needs news notable numerous open opinions options
    others parents participants particular past people personal photos pictures plans points possible practical
    present problems progress questions reasons recent recommendations regular related respect results seven
    shared sharing short similar social solutions someone speakers special steps stories strategies suggestions
    support team thoughts tips together topics upcoming users values work working
"""
_OPENINGS: Final = frozenset(_OPENINGS_WORDS.split())
"""Further words with which sentences of a summary begin in English."""

_NOUN = re.compile(
    r"(?:ung|ungen|heit|keit|heiten|keiten|schaft|schaften|tion|tionen|tät|täten|ismus|nis|nisse|chen|tum|ment|mente"
    r"|ur|uren|ik|anz|enz|sal|ling|ing|aden|eise|weise|heim|zeit|tag|woche|jahr|plan|pläne)$"
)
"""How German nouns end that are no names."""

_DETERMINERS_WORDS: Final = """
    der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner mein meine meinen
    meinem meiner sein seine seinen seinem seiner ihr ihre ihren ihrem ihrer unser unsere unseren unserem unserer
    euer eure dieser diese dieses diesen diesem jeder jede jedes jeden jedem viel viele vielen wenig wenige alle
    allen allem im am zum zur beim vom ins ans aufs mehr etwas nichts manche manchen einige einigen mehrere
    mehreren beide beiden
"""
_DETERMINERS: Final = frozenset(_DETERMINERS_WORDS.split())
_PREPOSITIONS: Final = (
    "mit von bei für ohne gegen über unter vor nach aus an auf in zu um durch seit wegen trotz sehr ganz"
)
_BEFORE_ADJECTIVES: Final = _DETERMINERS | set(_PREPOSITIONS.split())
_ADJECTIVE = re.compile(r"(?:e|en|er|es|em)$")

_MONTHS: Final = (
    "january february march april may june july august september october november december",
    "januar februar märz april mai juni juli august september oktober november dezember",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "januari februari maart april mei juni juli augustus september oktober november december",
)
_WEEKDAYS: Final = (
    "monday tuesday wednesday thursday friday saturday sunday",
    "montag dienstag mittwoch donnerstag freitag samstag sonntag",
    "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "lunes martes miércoles jueves viernes sábado domingo",
    "lunedì martedì mercoledì giovedì venerdì sabato domenica",
    "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
    "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
)
_OTHER_THINGS: Final = frozenset({"may", "march", "mars", "mei", "august"})
"""Words that are months only where they have a capital."""


def _numbered(tables: tuple[str, ...]) -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for table in tables:
        for at, word in enumerate(table.split(), start=1):
            found[word] = found.get(word, frozenset()) | {at}
    return found


_MONTH: Final = _numbered(_MONTHS)
_WEEKDAY: Final = _numbered(_WEEKDAYS)


class _Word(NamedTuple):
    text: str
    starts: bool
    """Whether a sentence may begin with it."""

    before: tuple[str, ...]
    """The two words before it, the nearer one last."""


def unknown_names(said: str, sources: Sources) -> list[str]:
    """The names in a text that no source contains, months and days of the week that none names included; each once."""
    words = list(_words(said))
    lowered = {word.text.casefold() for word in words if not word.text[0].isupper()}
    found = [word.text for word in words if _is_unknown(word, lowered, sources)]
    if script(said) == "CJK":
        found += [name for name in _KATAKANA.findall(said) if name not in sources.text]
    return list(dict.fromkeys(found))


def _words(text: str) -> Iterator[_Word]:
    before: tuple[str, ...] = ()
    for match in _WORD.finditer(text):
        ahead = text[max(0, match.start() - 8) : match.start()]
        starts = match.start() == 0 or (bool(_BEGINS.search(ahead)) and not _ABBREVIATED.search(ahead))
        yield _Word(match[0], starts, before)
        before = (*before, match[0])[-2:]


def _is_unknown(word: _Word, lowered: set[str], sources: Sources) -> bool:
    key = name_key(word.text)
    if key in _MONTH or key in _WEEKDAY:
        return _is_unknown_date(word.text, key, sources)
    if "@" in word.text:
        return word.text.casefold() not in sources.text.casefold()
    if not _is_written_as_name(word.text) or not key or _is_known(key, sources):
        return False
    if key in sources.small and (word.starts or len(key) == 1 or not word.text.isupper()):
        return False
    if sources.language in NOUNS_CAPITALISED:
        return not _is_noun(word, key, sources)
    return not (word.starts and _may_start(word.text, key, lowered, sources))


def _is_written_as_name(word: str) -> bool:
    """Whether it has a capital; figures and their endings (5K, 3D) are the affair of numbers."""
    return any(letter.isupper() or letter.istitle() for letter in word) and not word[0].isdigit()


def _is_known(key: str, sources: Sources) -> bool:
    known = sources.words
    if key in known or key.replace(".", "") in known or key.removesuffix("s") in known:
        return True
    return all(part in known for part in re.split(r"[\s'’&.-]+", key) if part)


def _may_start(word: str, key: str, lowered: set[str], sources: Sources) -> bool:
    """Whether a capital says nothing here: a word that begins a sentence, and is or seems a common one."""
    if word[1:] != word[1:].lower():
        return False
    if key in lowered or key in _OPENINGS:
        return True
    return sources.language == "english" and (bool(_PLAIN.search(key)) or _bare(key) in _bare_words(sources))


def _is_noun(word: _Word, key: str, sources: Sources) -> bool:
    """Whether a capital is that of a common noun, where all nouns have one."""
    nearest, further = word.before[-1:], word.before[-2:-1]
    if nearest and nearest[0].casefold() in _DETERMINERS:
        return True
    if nearest and _ADJECTIVE.search(nearest[0]) and further and further[0].casefold() in _BEFORE_ADJECTIVES:
        return True
    if _NOUN.search(key):
        return True
    return any(part in key or key in part for part in sources.words if len(part) >= 5)


def _is_unknown_date(word: str, key: str, sources: Sources) -> bool:
    if key in _OTHER_THINGS and not word[0].isupper():
        return False
    if key in sources.words:
        return False
    weekdays = {day.isoweekday() for day in sources.days}
    return not (_MONTH.get(key, frozenset()) & sources.months or _WEEKDAY.get(key, frozenset()) & weekdays)


def _bare(word: str) -> str:
    return _ENDINGS.sub("", word) if len(word) > 4 else word


def _bare_words(sources: Sources) -> frozenset[str]:
    return frozenset(_bare(word) for word in sources.words)


def named(day: date) -> str:
    """A day as a model is told it: ``2023-05-08 (Monday)``."""
    return f"{day.isoformat()} ({_WEEKDAYS[0].split()[day.weekday()].title()})"
