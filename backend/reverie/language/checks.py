"""Whether what a model said may be kept. Pure functions.

What a model writes about what was remembered is read by other models as memory, so it has to be true to it: nothing may
be in it that was not there, and nothing that somebody slipped in to be said. Each check names its reason.
"""

import math
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from reverie.language.names import unknown_names
from reverie.language.numbers import numbers
from reverie.language.orders import obeys, repeats
from reverie.language.protocol import Reason
from reverie.language.sources import Sources, parts, runs, script, stem
from reverie.text.languages import SIMPLE, detect
from reverie.text.sentences import length, sentences

if TYPE_CHECKING:
    from collections.abc import Callable

BEYOND: Final = 1.5
"""No text is longer than so many times what was asked for."""

_MOST_CHECKED: Final = 20_000
"""Characters; what is longer is not looked at."""

_LEAST: Final = 0.4
"""Nor shorter than this share of it, or of what there is to tell."""

_FOUNDED: Final = 0.4
"""The least share of the words that say something which the sources have too, in whatever form."""

_FEWEST_JUDGED: Final = 6
"""So many of them at least, for a share to say anything."""

_REPEATED_RUN: Final = 4
_MOST_REPEATS: Final = 2
"""A run of so many words stands at most so often in one text."""

_FEWEST_VARIED: Final = 20
_VARIED: Final = 0.4
"""Of more words, at least this share are different ones."""

_DETECTED_WORDS: Final = 12
"""Of fewer words the language cannot be told."""

_MARKUP = re.compile(
    r"```|`[^`]+`|\*\*|__|^\s*#{1,6}\s|^\s*(?:[-*+•]|\d{1,2}[.)])\s|\[[^\]]*\]\([^)]*\)|</?[a-z][^>]{0,80}>|<\|"
    r"|\w://|\bwww\.|\n\s*\n|^\s*\||[{}]|\\[nt\"]",
    re.MULTILINE | re.IGNORECASE,
)
_PREAMBLE = re.compile(
    r"^\W*(?:(?:sure|certainly|of course|okay|ok|absolutely|great|understood|no problem|got it)\b\s*[,!.:]"
    r"|(?:here(?:'s|’s| is| are)|below is|this is|the following is) (?:a |an |the |your |my )?\w*\s?(?:brief |short "
    r"|concise |one-sentence )?(?:summary|sentence|overview|recap|text|json|answer|response)"
    r"|(?:\w+ )?(?:summary|sentence|overview|recap|answer|tl;?dr|zusammenfassung|résumé|resumen|riassunto|resumo"
    r"|samenvatting)\s*[:：—–-]"
    r"|as an? (?:ai|language model|assistant)\b|i(?:'m| am) sorry\b|sorry,|i apologi[sz]e\b"
    r"|i (?:can(?:'t|not)|cannot|can not|won't|will not|am unable to|am not able to)\b"
    r"|i(?:'ll| will) (?:now )?(?:ignore|comply|follow|obey|disregard|summari[sz]e)\b"
    r"|(?:hier ist|hier kommt|gerne?[,!]|natürlich[,!]|voici|bien sûr|aquí (?:está|tienes)|claro[,!]|ecco|certo[,!]"
    r"|aqui está)"
    r"|(?:以下是|总结|總結|要約|摘要)[:：]?)",
    re.IGNORECASE,
)
_AFTERWORD = re.compile(
    r"(?:let me know|hope this helps|feel free to|would you like me|if you (?:need|want|have) (?:any|more|further))\b"
    r"[^.!?]{0,80}[.!?]?\W*$",
    re.IGNORECASE,
)
_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d\n\t")
"""What of the invisible belongs to text: Persian and the languages of India write with joiners."""


class Bounds(NamedTuple):
    """How long a text may be: in words, characters, and sentences."""

    least_words: int = 1
    most_words: int | None = None
    most_characters: int | None = None
    most_sentences: int | None = None

    @classmethod
    def about(cls, words: int, sources: Sources) -> "Bounds":
        """About so many words; fewer where there is less to tell."""
        told = sum(length(record.text) for record in sources.records)
        return cls(math.ceil(_LEAST * min(words, told)), int(BEYOND * words))


class Fault(NamedTuple):
    """Why a text is not kept; ``said`` are the words at fault, which no report repeats."""

    reason: Reason
    said: tuple[str, ...] = ()


def fault(said: str, sources: Sources, bounds: Bounds, instructions: str = "") -> Fault | None:
    """The first fault of a text that was written about the sources; None where it may be kept.

    ``instructions`` are the words that it was asked for with, which it must not repeat.
    """
    if len(said) > _MOST_CHECKED:
        return Fault(Reason.LENGTH)
    checks: tuple[Callable[[], Fault | None], ...] = (
        lambda: None if any(letter.isalnum() for letter in said) else Fault(Reason.EMPTY),
        lambda: _of(Reason.MARKUP, _hides(said) or bool(_MARKUP.search(said))),
        lambda: _of(Reason.PREAMBLE, bool(_PREAMBLE.search(said) or _AFTERWORD.search(said))),
        lambda: _of(Reason.ORDERS, repeats(said, instructions) or obeys(said, sources)),
        lambda: _of(Reason.LENGTH, not _fits(said, bounds)),
        lambda: _of(Reason.LANGUAGE, not _in_language(said, sources)),
        lambda: _of(Reason.REPETITION, _repeats_itself(said)),
        lambda: _naming(Reason.NAMES, unknown_names(said, sources)),
        lambda: _naming(Reason.NUMBERS, sorted(numbers(said, sources.language) - sources.numbers)),
        lambda: _of(Reason.UNFOUNDED, founded(said, sources) < _FOUNDED),
    )
    return next((found for check in checks if (found := check()) is not None), None)


def founded(said: str, sources: Sources) -> float:
    """The share of a text's telling words whose beginning a word of the sources has; 1 where there are too few."""
    telling = [word for word in parts(said) if word not in sources.small and not word.isdigit()]
    if len(telling) < _FEWEST_JUDGED:
        return 1.0
    return sum(stem(word) in sources.stems for word in telling) / len(telling)


def _of(reason: Reason, *wrong: bool) -> Fault | None:
    return Fault(reason) if any(wrong) else None


def _naming(reason: Reason, words: list[str]) -> Fault | None:
    return Fault(reason, tuple(words)) if words else None


def _hides(said: str) -> bool:
    """Whether a text has characters that nobody sees, or that turn the order of others."""
    return any(unicodedata.category(one) in _HIDDEN and one not in _JOINERS for one in said)


def _fits(said: str, bounds: Bounds) -> bool:
    most = (
        (length(said), bounds.most_words),
        (len(said), bounds.most_characters),
        (sum(1 for _ in sentences(said, items=True)), bounds.most_sentences),
    )
    return length(said) >= bounds.least_words and all(limit is None or has <= limit for has, limit in most)


def _in_language(said: str, sources: Sources) -> bool:
    """Whether a text is written in the script and, as far as that can be told, the language of its sources."""
    if script(said) != script(sources.text):
        return False
    language = detect(said) if length(said) >= _DETECTED_WORDS else None
    return language is None or sources.language in (language, SIMPLE)


def _repeats_itself(said: str) -> bool:
    words = parts(said)
    counts = Counter(runs(words, _REPEATED_RUN))
    return any(count > _MOST_REPEATS for count in counts.values()) or (
        len(words) > 20 and len(set(words)) < len(words) * 0.4
    )
