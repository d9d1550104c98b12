"""What a statement says of a thing: figures, times and names with their kinds, and whether two of them disagree.

English. Pure functions.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from reverie.text.date_words import MONTHS, NUMBERS, WEEKDAYS
from reverie.text.statement_words import FILLERS, MONEY, PLACES, SAME, UNITS

MOST_WORDS: Final = 16
"""Of a value; the rest of a longer one is not looked at."""

PASSING: Final = frozenset({"weekday", "near"})
"""Kinds of times that mean another one a while later: "Friday", "tomorrow"."""


@dataclass(frozen=True, slots=True)
class Value:
    """What is said of a thing.

    Attributes:
        words: its words that tell it from others, stemmed.
        typed: (kind, what) of the figures, dates, times and the like in it; of one kind the first.
        names: its words that are written as names, stemmed.
        text: as it stands there.
    """

    words: frozenset[str] = frozenset()
    typed: frozenset[tuple[str, str]] = frozenset()
    names: frozenset[str] = frozenset()
    text: str = ""

    def kinds(self) -> dict[str, str]:
        """Kind → what."""
        return dict(self.typed)


NO_VALUE: Final = Value()

_MONTH: Final = "|".join(sorted(MONTHS, key=len, reverse=True))
_WEEKDAY: Final = "|".join(WEEKDAYS)
_COUNT: Final = "|".join([*(word for word in NUMBERS if word not in ("a", "an")), "twenty", "thirty", "forty", "fifty"])
_TENS: Final = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
_UNIT: Final = r"[A-Za-z]{1,12}\b(?:[ ]?/[ ]?[a-z]{1,8}| (?:a|per|an|each) [a-z]{3,7}\b)?"
_PER: Final = r"(?: ?/ ?| (?:a|per|an|each) )?(hour|day|week|month|mo|year|yr|night|seat|user)?"
_HALF: Final = r"am|pm|a\.m|p\.m"
_YEAR: Final = r"(?:,? (\d{4}))?"
_PATTERNS: Final = (
    ("mail", r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b"),
    ("host", r"\bhttps?://\S{1,200}|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d{2,5})?\b"),
    ("date", r"\b(\d{4})-(\d{2})-(\d{2})\b"),
    ("phone", r"(?<![\w.])\+?\(?\d{2,4}\)?[- ./]\d{3,4}(?:[- ./]?\d{2,5}){0,3}(?![\w.]*\d)|\+\d{7,15}\b"),
    ("time", rf"\b(\d{{1,2}}):(\d{{2}})\b ?({_HALF})?\b|\b(\d{{1,2}}) ?({_HALF})\b|\b(noon|midnight)\b"),
    ("date", rf"\b({_MONTH})\.? (\d{{1,2}})(?:st|nd|rd|th)?\b{_YEAR}"),
    ("date", rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})\b{_YEAR}"),
    ("day", r"\bthe (\d{1,2})(?:st|nd|rd|th)\b"),
    ("month", rf"(?:\A|\b(?:in|to|until|till|for|by|early|late|mid|is|from)[ -])({_MONTH})\b(?: (\d{{4}}))?"),
    ("weekday", rf"\b(?:next |this )?({_WEEKDAY})s?\b"),
    ("near", r"\b(tomorrow|tonight|today|next (?:week|weekend|month|year)|in \w+ (?:days|weeks|months))\b"),
    (
        "money",
        rf"([$€£]) ?(\d[\d,]*(?:\.\d+)?)( ?k\b)?{_PER}"
        rf"|\b(\d[\d,]*(?:\.\d+)?)( ?k)? ?(dollars|bucks|euros?|pounds|usd|eur|gbp)\b{_PER}",
    ),
    ("percent", r"\b(\d+(?:\.\d+)?) ?(?:%|percent\b)"),
    (
        "version",
        r"(?<![\w-])([A-Z][\w+#]{1,20})[ -]?v?(\d{1,4}(?:\.\d{1,4}){1,3}|(?<=[ -])\d{1,3})(?![\w.]*\w)"
        r"|\bv(\d{1,4}(?:\.\d{1,4}){0,3})\b",
    ),
    # What is followed by a capital is the number of a house.
    (
        "number",
        rf"(?<![\w.-])(\d[\d,]*(?:\.\d+)?)(?!(?-i: [A-Z][a-z]))[ -]?({_UNIT})?(?!\w)|\b({_COUNT})\b[ -]?({_UNIT})?",
    ),
)
_TYPES: Final = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _PATTERNS)
_WORD = re.compile(r"[^\W_]+(?:['.&_+#:/@-]+[^\W_]+)*[+#]?|[$€£]\d[\d.,]*")
_POSSESSIVE = re.compile(r"'s?$")
_PREPOSITION = re.compile(
    r"\s+(?=(?:after|because|since|before|until|till|during|without|despite|due|thanks|starting|from|with|by)\b)",
    re.IGNORECASE,
)
_HALF_DAY: Final = 12


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """A word in lower case without the endings of its forms: "nursing" and "nurses" are "nurs".

    Of nouns that people call one thing by it is that of the first.
    """
    known = _bare(word)
    return _ALIKE.get(known, known)


def _bare(word: str) -> str:
    word = _POSSESSIVE.sub("", word.lower())
    if len(word) > 3 and word.isalpha():
        for ending, put in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ied", "y"), ("ed", ""), ("es", ""), ("s", "")):
            left = word[: -len(ending)]
            if word.endswith(ending) and len(left) >= 3 and not word.endswith(("ss", "us", "is")):
                word = left + put
                break
        if len(word) > 3 and word.endswith("e"):
            word = word[:-1]
        if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
            word = word[:-1]
    return word


_ALIKE: Final = {_bare(word): _bare(group.split()[0]) for group in SAME for word in group.split()[1:]}
_CALLED: Final = {_bare(word): group.split() for group in SAME for word in group.split()}


def also_called(word: str) -> list[str]:
    """The nouns that people call the same thing by, this one among them."""
    return _CALLED.get(_bare(word), [word])


def words(text: str) -> list[str]:
    """The words of a text, as they are written."""
    return _WORD.findall(text)


def content(text: str) -> frozenset[str]:
    """The stems of the words of a text that tell something apart."""
    return frozenset(stem(word) for word in words(text)[:MOST_WORDS] if word.lower() not in FILLERS)


def value_of(text: str) -> Value:
    """What a text says as a value."""
    text = _PREPOSITION.split(text.strip(), maxsplit=1)[0].strip(" ,.:;-")
    typed = dict[str, str]()
    rest = text
    for kind, what, match in _typed(text):
        typed.setdefault(kind, what)
        rest = rest.replace(match, " ", 1)
    names = [word for word in words(rest)[:MOST_WORDS] if word[0].isupper() and word.lower() not in FILLERS]
    return Value(content(text), frozenset(typed.items()), frozenset(map(stem, names)), text)


def _typed(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, what, as written) of what is typed; what one pattern has read, no later one reads again."""
    left = text
    for kind, pattern in _TYPES:
        match = pattern.search(left)
        if match is None:
            continue
        what = _what(kind, match)
        if what is not None:
            yield (*what, match[0])
            left = f"{left[: match.start()]} ; {left[match.end() :]}"


def _what(kind: str, match: re.Match[str]) -> tuple[str, str] | None:
    """The kind of a match, and one writing of what it says."""
    groups = [group.lower() if group else "" for group in match.groups()]
    if kind == "date":
        return "date", _date(groups)
    if kind == "time":
        return "time", _time(groups)
    if kind == "month":
        return "month", " ".join([str(MONTHS[groups[0]]), groups[1]]).strip()
    if kind == "money":
        sign, amount, thousand, per = groups[:4] if groups[0] else (groups[6], groups[4], groups[5], groups[7])
        per = {"mo": "month", "yr": "year"}.get(per, per)
        return f"money {per or ''}".strip(), f"{MONEY[sign]} {_figure(amount) * (1000 if thousand.strip() else 1):g}"
    if kind == "version":
        return (f"version {groups[0]}".strip(), groups[1] or groups[2])
    if kind == "number":
        amount, unit = (groups[0], groups[1]) if groups[0] else (groups[2], groups[3])
        figure = _figure(amount) if amount[0].isdigit() else _TENS.get(amount) or NUMBERS[amount]
        head = unit.split()[0].split("/")[0] if unit else ""
        head = "" if head in FILLERS or head in ("on", "in", "for", "per", "from", "of") else head
        return f"number {stem(UNITS.get(head, head))}".strip(), f"{figure:g}"
    if kind == "phone":
        digits = re.sub(r"\D", "", match[0])
        return ("phone", digits) if len(digits) >= 6 else None
    if kind in ("day", "weekday", "near"):
        return kind, groups[0]
    return kind, match[0].lower()


def _figure(text: str) -> float:
    return float(text.replace(",", "").rstrip(".") or 0)


def _date(groups: list[str]) -> str:
    if len(groups) == 3 and groups[0].isdigit() and groups[1].isdigit():
        return f"{int(groups[1])}-{int(groups[2])}"
    month, number = (groups[0], groups[1]) if groups[0] in MONTHS else (groups[1], groups[0])
    return f"{MONTHS[month]}-{int(number)}"


def _time(groups: list[str]) -> str:
    if groups[5]:
        return {"noon": "12:00", "midnight": "0:00"}[groups[5]]
    hour, minute = (groups[0], groups[1]) if groups[0] else (groups[3], "00")
    half = groups[2] or groups[4]
    number = int(hour) % _HALF_DAY + (_HALF_DAY if half.startswith("p") else 0) if half else int(hour)
    return f"{number}:{minute}"


def compared(newer: Value, older: Value) -> list[tuple[str, bool]]:
    """(kind, whether they differ) of what stands typed in both values; a unit may be left out in one of them."""
    new, old = newer.kinds(), older.kinds()
    found = []
    for kind, what in new.items():
        base = kind.split(" ")[0]
        like = kind if kind in old else base if base in old else ""
        if not like and kind == base and base in _UNITED:
            like = next((other for other in old if other.split(" ")[0] == base), "")
        if like:
            found.append((kind, what != old[like]))
    return found


_UNITED: Final = frozenset({"money", "number", "version"})


def differ(newer: Value, older: Value) -> bool | None:
    """Whether two values disagree; None if they cannot be compared, as a day and a date cannot."""
    shared = compared(newer, older)
    if shared:
        # A time of day may be left out of what is said again.
        return any(other for _, other in shared)
    if newer.typed or older.typed or not newer.words or not older.words:
        return None
    return not newer.words & older.words


def last_word(value: Value) -> str:
    """The stem of the noun of a value: of "a new house near the lake", the house."""
    for word in reversed(words(_AFTER_NOUN.split(value.text, maxsplit=1)[0])):
        if word.lower() not in FILLERS:
            return stem(word)
    return ""


_AFTER_NOUN = re.compile(r" (?:of|for|on|in|at|to|with|from|about|by|near|that|and|called|named|where|like|using|via) ")


def same_sort_of_place(newer: Value, older: Value) -> bool:
    """Whether neither or both are countries or the like: a town may lie in a country that was named before."""
    return bool(newer.names & _PLACES) == bool(older.names & _PLACES)


_PLACES: Final = frozenset(map(stem, PLACES))
