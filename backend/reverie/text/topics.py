"""What a group of turns is about: a few words and phrases that come again in it. Pure functions.

A topic stands in several turns of the group, and is none of the words that stand in every conversation. English is
read; of a language whose small words are not known here nothing is told.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

from reverie.text.entities import STOP, name_key
from reverie.text.known_names import GIVEN_NAMES

MOST: Final = 5
"""Topics of a group."""

READ_CHARS: Final = 4000
"""So much of each text is read."""

FEWEST_LETTERS: Final = 4

_COMMON: Final = frozenset(
    """
    able absolutely add added advice agree agreed allow answer appreciate approach area aspect asked asking attention
    balance based beautiful became become begin believe belief bit bring bringing brought build call change changed
    changes chance check choose close come comes coming complete connect consider create created creating current
    decided decision describe detail details develop difference different difficult discuss discussed easier easily
    effort encourage encouragement end energy ensure example examples excited exciting experience experiences explain
    explore express extra fact fantastic feel feeling feelings feels felt find finding first fits focus follow found
    free friend friends full future gave general gets getting give gives giving glad goal goals goes gonna good gotten
    great group guess guys half happen happened happens hard hear heard heart help helped helpful helping helps hope
    hoping hours idea ideas impact important improve include includes including incredible information inspiration
    inspire inspired inspiring interest interested interesting issue issues journey keep keeping kept kinda know known
    later learn learned learning leave left less level life list listen little live lives living long longer look
    looked looking looks lost loved loving made main make makes making manage matter mean means meant meet mention
    mentioned might mind mine moment moments month months morning motivated move moving need needed needs nice night
    number offer open opportunity option options order others part parts pass past people person photo picture piece
    place places plan planning plans point positive possible power powerful prepare present pretty probably problem
    process progress project proud provide pull push puts putting question questions quick quickly quite ready real
    realize reach reason recent relax remember remind reminder reminds respond result results review rewarding room
    said saying says second seem seemed seen sense share shared sharing short show showed showing shows side similar
    situation small solid sort sound sounds special specific spend spending spent stand start started starting starts
    stay staying step steps stick stop story strong stuff success suggest suggestion suggestions support supporting
    sweet taken takes taking talk talked talking team tell tells terms thank thanks thing things think thinking thought
    thoughts time times tips together told took totally touch tough track treat tried tries truly trying turn turned
    turning type understand understanding unique useful using value various version view visit wait walk want wanted
    wants watch ways week weekend weeks welcome went whole wonder wonderful word words work worked working works world
    worried worth would write wrong year years yesterday today tomorrow tonight great awesome amazing cool hello check
    couple single across based given doing does done having been were with from this that what when where which while
    them they their there then than just only also even still really actually around every each such same more most
    much many very some any other another into onto over under about after before again because during without within
    bring brings feel keep giving fine true sure maybe thats dont cant wont didnt isnt youre were theyre ive havent
    definitely forward hand hands hear house kids family
    """.split()  # noqa: SIM905
)
"""Words that tell one conversation from another the least."""

Phrases: TypeAlias = dict[tuple[str, ...], str]
"""Stems → how they are written."""

_FENCED = re.compile(r"```.*?(?:```|\Z)|https?://\S{1,500}", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[^\s\w]")
_NO_NOUN: Final = ("ly", "n't", "n’t")


def topics(texts: Sequence[str], language: str = "english", *, speakers: Collection[str] = ()) -> list[str]:
    """The topics of a group, in small letters, the one that most speaks for first.

    Args:
        texts: of its turns, in order.
        language: their text-search configuration.
        speakers: those who speak in it, and are no topic of it.
    """
    if language != "english":
        return []
    left_out = {word for name in speakers for word in name_key(name).split()}
    stands_in: Counter[tuple[str, ...]] = Counter()
    written: dict[tuple[str, ...], Counter[str]] = {}
    for text in texts:
        for stem, form in _phrases(text[:READ_CHARS], left_out).items():
            stands_in[stem] += 1
            written.setdefault(stem, Counter())[form] += 1
    fewest = 2 if len(texts) < 40 else 3
    again = {stem: count for stem, count in stands_in.items() if count >= fewest}
    best = sorted(again, key=lambda stem: (-_weight(stem, again), stem))
    chosen: list[tuple[str, ...]] = []
    for stem in best:
        if not any(set(stem) & set(other) for other in chosen):
            chosen.append(stem)
        if len(chosen) == MOST:
            break
    return [min(written[stem].items(), key=lambda item: (-item[1], item[0]))[0] for stem in chosen]


def phrases(text: str) -> Phrases:
    """The words and phrases of an English text that say something; names of persons are none."""
    return _phrases(text[:READ_CHARS], ())


def shared(one: Phrases, other: Phrases) -> list[str]:
    """What two texts have in common, as the first writes it, what says most first.

    Phrases before words, and no word of a phrase beside it.
    """
    both = sorted(one.keys() & other.keys(), key=lambda stem: (-_weight(stem, {stem: 1}), stem))
    chosen: list[tuple[str, ...]] = []
    for stem in both:
        if not any(set(stem) & set(before) for before in chosen):
            chosen.append(stem)
    return [one[stem] for stem in chosen]


def _weight(stem: tuple[str, ...], counts: Mapping[tuple[str, ...], int]) -> float:
    """Phrases before words, and long words before short ones: they say more."""
    return counts[stem] * (1 + 0.9 * (len(stem) - 1)) * min(1.0, 0.4 + 0.1 * sum(map(len, stem)) / len(stem))


def _phrases(text: str, left_out: Collection[str]) -> Phrases:
    """Stems → how they are written: every content word of a text, and every two that stand side by side."""
    found: dict[tuple[str, ...], str] = {}
    before: tuple[str, str] | None = None
    for match in _WORD.finditer(_FENCED.sub(" . ", text)):
        word = match[0].casefold().replace("’", "'").removesuffix("'s")
        if not _says_something(word, left_out):
            before = None
            continue
        stem = stem_of(word)
        found.setdefault((stem,), word)
        if before is not None:
            found.setdefault((before[0], stem), f"{before[1]} {word}")
        before = (stem, word)
    return found


def _says_something(word: str, left_out: Collection[str]) -> bool:
    return (
        len(word) >= FEWEST_LETTERS and word not in STOP and word not in _COMMON and word not in left_out
        and word not in GIVEN_NAMES and not word.endswith(_NO_NOUN) and "'" not in word
    )  # fmt: skip


def stem_of(word: str) -> str:
    """A word without the s of its plural, and without what makes a form of a verb of it."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 4 else word
