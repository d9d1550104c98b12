"""What of a question stands in a row: phrases in quotes, and names of several words. Pure functions."""

import re
from collections.abc import Iterator

MOST_PHRASES = 8
MOST_CHARACTERS = 200
MOST_WORDS = 5
"""A run of more words that begin with a capital is no name but a title, or text that has them all."""

_QUOTED = re.compile(
    r'(?<!\w)"(?=[^\s"])([^"\n]+)(?<=\S)"(?!\w)|“([^”“\n]+)[”“]|„([^“”\n]+)[“”]|«([^»\n]+)»|»([^«\n]+)«|「([^」\n]+)」|『([^』\n]+)』'
    r"|(?<!\w)['‘](\w[^'‘’\n]*\w)['’](?!\w)"
)
_WORD = re.compile(r"\w+(?:['’\-.]\w+)*")
_PARTICLES = frozenset({
    "of", "the", "van", "von", "der", "den", "de", "da", "das", "do", "dos", "del", "della", "di", "du", "la", "le",
    "los", "las", "el", "al", "bin", "ibn", "y", "e", "und", "and",
})  # fmt: skip


def quoted(text: str) -> list[str]:
    """The phrases that stand in quotation marks, in order and each once: "so", “so”, „so“, «so», 「so」 or 'so'."""
    found = ("".join(groups).strip() for groups in _QUOTED.findall(text))
    return list(dict.fromkeys(phrase for phrase in found if phrase and len(phrase) <= MOST_CHARACTERS))[:MOST_PHRASES]


def long_names(text: str) -> list[str]:
    """Names of two to five words, as their capitals show them: ``Fort William``, ``Isle of Skye``.

    The first word of a sentence has a capital anyway, so that a run is given with it and without it.
    """
    if text == text.upper():
        return []
    found: dict[str, None] = {}
    for words, begins in _runs(text):
        for run in (words, words[1:]) if begins else (words,):
            while run and not run[0][0].isupper():
                run = run[1:]
            if 2 <= len(run) <= MOST_WORDS:
                found[" ".join(run)] = None
        if len(found) >= MOST_PHRASES:
            break
    return list(found)[:MOST_PHRASES]


def _runs(text: str) -> Iterator[tuple[list[str], bool]]:
    """(words, whether they begin a sentence) of every run of words with capitals, particles between them included."""
    run: list[str] = []
    begins, end, fresh = False, 0, True
    for match in _WORD.finditer(text):
        word, gap = match[0], text[end : match.start()]
        if run and gap != " ":
            yield _trimmed(run), begins
            run = []
        fresh = fresh or any(mark in gap for mark in ".?!:\n")
        if word[0].isupper():
            begins = begins if run else fresh
            run.append(word)
        elif run and word in _PARTICLES:
            run.append(word)
        elif run:
            yield _trimmed(run), begins
            run = []
        fresh, end = False, match.end()
    if run:
        yield _trimmed(run), begins


def _trimmed(run: list[str]) -> list[str]:
    """The run up to its last word with a capital."""
    while run and not run[-1][0].isupper():
        run = run[:-1]
    return run
