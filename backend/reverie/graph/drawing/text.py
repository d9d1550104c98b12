"""Text in pictures: how wide it is, how it is broken into lines, and what XML can hold of it. Pure."""

import re
from typing import Final
from xml.sax.saxutils import escape

_NARROW: Final = frozenset("iljtfrI.,:;'|!()[] -’‘")
_WIDE: Final = frozenset("mwMW@%&—…")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped (section 2.2)."""
_STEERING = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")


def xml(text: str) -> str:
    """Text as it stands in XML, between tags or in an attribute."""
    return escape(_NOT_XML.sub("\ufffd", text), {'"': "&quot;", "'": "&#39;"})


def shown(text: str) -> str:
    """Text that is written into a picture: without signs that turn the direction of what stands beside it."""
    return " ".join(_STEERING.sub("", text).split())


def width_of(text: str, size: float) -> float:
    """About how wide a text is in a sans-serif font of this size; rather too wide than too narrow."""
    return sum(_share(sign) for sign in text) * size


def _share(sign: str) -> float:
    if sign in _NARROW:
        return 0.36
    if sign in _WIDE:
        return 0.92
    if ord(sign) > 0x2E7F:
        return 1.05
    return 0.7 if sign.isupper() else 0.58


def lines_of(text: str, most: int, rows: int) -> list[str]:
    """A text in at most so many rows of about so many signs; the last is cut where there is more."""
    lines = [""]
    words = shown(text).split(" ")
    for place, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) <= most or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < rows:
            lines.append(word)
        else:
            lines[-1] = _cut(" ".join([lines[-1], *words[place:]]), most)
            break
    return [_cut(line, most + 4) for line in lines]


def _cut(line: str, most: int) -> str:
    return line if len(line) <= most else line[: most - 1].rstrip(" ,.;:") + "…"
