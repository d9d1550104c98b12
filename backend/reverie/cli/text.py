"""Putting things into words for a person, and for a terminal. Pure functions."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

DEGRADED = {
    "semantic": "The search by meaning failed, so these were found by their words alone.",
    "lexical": "The search by words failed, so these were found by their meaning alone.",
    "focus": "Redis did not answer, so what was used last is not preferred.",
    "dated": "The search of the times that the question names failed.",
    "edges": "The walk along the links failed, so what stands beside the results may be missing.",
    "cold": "Cold memory could not be read, or not in time, so what lies there may be missing.",
    "rerank": "Reranking was not done in time, so the results stand in the order that they had before.",
    "redis": "Redis did not answer; everything is stored all the same.",
    "entities": "The search by names failed, so what is about the same things may be missing.",
    "suggestions": "Not everything could be looked at for suggestions; `reverie related` tells more later.",
    "encoder": "The embedding model did not answer; the vectors follow in the background.",
}
"""What the service names in ``degraded``, in words."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WORD = re.compile(r"\w+")
_ENDINGS = ("'s", "ing", "ies", "ed", "es", "s", "e", "y")
_COMMON = frozenset(
    _WORD.findall(
        "a about an and any are as at be been but by can could did do does for from get had has have he her his how i "
        "in is it its me must my no not of on or our she should so than that the their them there they this to us was "
        "we were what when where which who whom whose why will with would you your"
    )
)


def plain(text: object) -> str:
    """Text without the signs that steer a terminal: what was remembered may come from anybody."""
    return _CONTROL.sub("", str(text).replace("\r\n", "\n"))


def one_line(text: object, most: int = 0) -> str:
    """Text on one line, cut to ``most`` signs if that is given."""
    line = " ".join(plain(text).split())
    return line if not most or len(line) <= most else line[: most - 1].rstrip() + "…"


def moment(value: str | None) -> str:
    """A time of the service as ``8 May 2026, 13:56`` (UTC), without the hour where it is midnight."""
    if not value:
        return ""
    when = datetime.fromisoformat(value).astimezone(UTC)
    day = f"{when.day} {MONTHS[when.month - 1]} {when.year}"
    return day if (when.hour, when.minute) == (0, 0) else f"{day}, {when:%H:%M}"


def count(number: int, one: str = "", many: str | None = None) -> str:
    """``1 trace``, ``12 480 traces``; without words the number alone."""
    digits = f"{number:,}".replace(",", " ")
    return f"{digits} {one if number == 1 else many or one + 's'}" if one else digits


def degraded(names: Iterable[str]) -> list[str]:
    """What a degraded answer lacks, a sentence each."""
    return [DEGRADED.get(name, f"A part of the service did not answer: {name}.") for name in names]


def pattern(question: str) -> "re.Pattern[str] | None":
    """Finds the words of a question in a text, in whatever form they stand there; None when it has none to show."""
    stems = {stem(word) for word in _WORD.findall(question) if len(word) > 1 and word.lower() not in _COMMON}
    if not stems:
        return None
    longest_first = sorted(stems, key=lambda word: (-len(word), word))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\w{{0,3}}\b", re.IGNORECASE)


def stem(word: str) -> str:
    """What the forms of a word have in common, roughly; at least three letters are left."""
    lowered = word.lower()
    for ending in _ENDINGS:
        if lowered.endswith(ending) and len(lowered) - len(ending) >= 3:
            return lowered[: -len(ending)]
    return lowered


def passage(text: str, found: "re.Pattern[str] | None", most: int) -> str:
    """At most ``most`` signs of a text, around the first place where the pattern is found beyond them."""
    whole = one_line(text)
    if len(whole) <= most:
        return whole
    first = found.search(whole) if found else None
    begin = max(0, first.start() - most // 3) if first and first.end() > most else 0
    if begin:
        begin = whole.find(" ", begin) + 1
    end = begin + most
    return ("… " if begin else "") + whole[begin:end].strip() + (" …" if end < len(whole) else "")
