"""Text taken apart into sentences and words, in any script. Pure functions, linear in the length of a text."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

from reverie.text.date_words import words_of
from reverie.text.languages import small_words

_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_NO_PROSE = re.compile(
    # Headings, rows of tables, quotations, rules, and lines that are a bold heading or code alone.
    r"^[^\S\n]*(?:#{1,6}[^\S\n][^\n]*|[|>][^\n]*|[-*_=]{3,}[^\S\n]*|(?:\*\*|__)[^*_\n]{1,120}(?:\*\*|__):?[^\S\n]*"
    r"|`[^`\n]+`[^\S\n]*)$",
    re.MULTILINE,
)
_ITEM = re.compile(r"^[^\S\n]*(?:[-*+•‣▪◦][^\S\n]+|\d{1,3}[.)][^\S\n]+)([^\n]*)$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]{0,200})\]\([^()\s]{0,500}\)")
_URL = re.compile(r"\bhttps?://[^\s<>]+")
_MARKS = re.compile(r"\*\*|__|`")

_LINES = re.compile(r"\n\s+")
_SPACES = re.compile(r"[^\S\n]+")
_END = re.compile(
    # Looking behind keeps a run of dots from being tried at each of them.
    r"(?<![.!?…؟۔।॥])[.!?…؟۔।॥]++[\"'”’»)\]]*+\s+|(?<![。！？｡])[。！？｡]++[\"'”’»)\]」』】]*+\s*|[။។༎]++\s*"
    r"|\n| (?=\[)|(?<=\]) "
)
_SHORTENED = re.compile(
    r"(?:^|[\s(\"'])(?:dr|mr|mrs|ms|prof|st|vs|e\.g|i\.e|approx|inc|jr|sr|z\.b|d\.h|ca|nr|m|mme|sra?)\.\Z"
    r"|(?:^|[\s(.])(?![iI]\.)[^\W\d_]\.\Z",
    re.IGNORECASE,
)
"""What a full stop stands behind without an end: an abbreviation, an initial. "So do I." is an end."""

_ORDINAL = re.compile(r"(?:^|[\s(])\d{1,2}\.\Z")

UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""

CHARACTERS_A_WORD: Final = 2
"""So many characters of those scripts count as a word."""

LONG_WORD: Final = 15
"""Characters of a word that is as long as words of a text are on the average at most."""

_ENDLESS = re.compile(rf"(?<![^\s{UNSPACED}])[^\s{UNSPACED}。！？、，]{{80,}}+")
"""No word: a hash, an encoded file, a held key."""

_WORDS = re.compile(rf"[{UNSPACED}]+|(?:(?![{UNSPACED}])[^\W_])+(?:['’](?:(?![{UNSPACED}])[^\W_])+)*")
_ASCII_WORDS = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_UNSPACED = re.compile(rf"[{UNSPACED}]")
_RUN = re.compile(rf"[{UNSPACED}]+")
_ENDINGS: Final = ("ing", "ed", "es", "s", "e")
_SHORTEST_STEM: Final = 3


def sentences(text: str, language: str | None = None, *, items: bool = False) -> Iterator[str]:
    """The sentences of a text, without code, tables, headings, quoted lines and marks of Markdown.

    What stands in brackets of its own, such as "[laughs]", is a sentence of its own.

    Args:
        text: of any script.
        language: a text-search configuration; in many others than English a number with a full stop is an ordinal.
        items: also those of lists; they are often no sentences.
    """
    text = _NO_PROSE.sub("", _FENCED.sub("\n", text))
    text = _ITEM.sub(r"\1" if items else "", text)
    text = _LINES.sub("\n", _MARKS.sub("", _URL.sub("", _LINK.sub(r"\1", text))))
    text = _SPACES.sub(" ", _ENDLESS.sub("", text))
    begins = 0
    for end in _END.finditer(text):
        behind = end.end()
        before = text[max(begins, end.start() - 8) : end.start() + 1]
        if end[0] == ". " and (_SHORTENED.search(before) or (language != "english" and _ORDINAL.search(before))):
            continue
        if sentence := text[begins:behind].strip():
            yield sentence
        begins = behind
    if sentence := text[begins:].strip():
        yield sentence


def length(text: str) -> int:
    """How many words a text has; in scripts without spaces, and where words are very long, about how many."""
    unspaced = 0 if text.isascii() else len(_UNSPACED.findall(text))
    words = len((_RUN.sub(" ", text) if unspaced else text).split())
    return max(words, (len(text) - unspaced) // LONG_WORD) + -(-unspaced // CHARACTERS_A_WORD)


def content_words(text: str, language: str | None = None) -> set[str]:
    """The words of a text that say something, so that spellings of one compare equal.

    In lower case, without small words of the language (a text-search configuration) and, in English, without endings;
    of scripts without spaces the pairs of neighbouring characters.
    """
    if text.isascii():
        words = _ASCII_WORDS.findall(text.lower())
    else:
        words = list(_parts(unicodedata.normalize("NFKC", text).casefold().replace("’", "'")))
    if language == "english":
        words = [stem(word) for word in words]
    small = _small(language)
    return {word for word in words if word not in small and (len(word) > 1 or not word.isascii())}


def _parts(text: str) -> Iterator[str]:
    for word in _WORDS.findall(text):
        if len(word) > 1 and _UNSPACED.match(word):
            yield from map("".join, pairwise(word))
        else:
            yield word


@lru_cache(maxsize=64)
def _small(language: str | None) -> frozenset[str]:
    small = small_words(language) if language else frozenset()
    return frozenset(map(stem, small | _ENGLISH)) if language == "english" else small


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without what English adds to it: near enough to tell that two sentences say the same."""
    word = word.removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word


_ENGLISH: Final = words_of(
    """
    a above across actually after afterwards again against ago ah aka all almost alone along already also although
    always am amazing amid among amongst another any anybody anyhow anyone anything anyway anywhere apart around aside
    ask away awesome awful back basically bc because before behind being below besides best better between beyond big
    both bravo btw bye call came can't cannot cheers come congrats congratulations considering cool could couldn't
    currently cuz definitely despite didn't doesn't doing don't done during each either else enjoy enough even ever
    every everybody everyone everything everywhere exactly excellent except exciting fair few finally fine first firstly
    following forget fortunately frankly further furthermore fyi generally get give given glad go going gonna good
    goodbye gosh got gotta great ha haha hahaha happily happy hardly haven't having he'd he'll he's hello help hence
    here hers herself hey hi him himself hmm honestly hopefully how's however huge human hurray i'd i'll i'm i've id idk
    imagine imho imo indeed initially inside instead interesting into isn't it'd it'll it's itself keep kind kinda kudos
    last lastly later let let's like likely little lmao lol look looking looks lot lots love lovely luckily ly mainly
    make many maybe meanwhile might mine miss more moreover most mostly much must myself nah naturally nb near nearly
    need neither never nevertheless new next nice nobody none nope nor note nothing now nowhere obviously off oh ok okay
    old omg once one ones only onto oops originally other others otherwise ouch ours ourselves out outside over overall
    own per perfect perhaps personally plain please plus possibly prior probably rather really regarding remember right
    sadly same say see seeing seems several shall she'd she'll she's should shouldn't similarly simply since some
    somebody somehow someone something sometimes somewhere sorry sounds specifically still such suddenly super sure
    surely take tbh tell than thank thanks that's theirs them themselves then there's therefore these they'd they'll
    they're they've thing things those though three through throughout thus time together too toward towards try trying
    two ty ugh uh um under unfortunately unless unlike until up upon us use usually very via wanna wasn't way we'd we'll
    we're we've welcome well weren't what's whatever whenever where's whereas wherever whether while who's whoever whole
    whom whose within without won't wonderful woo woohoo wouldn't wow yay yeah yep yet yikes you'd you'll you're you've
    yours yourself yourselves yup
    """
)
"""Of English chats also what stands in all of them, whatever they are about."""
