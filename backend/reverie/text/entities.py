"""Names of people, places and things in a text, without a language model. Pure functions.

What marks a name is how it is written: capitals within a sentence, quotes around a title, an @, a host. Where a script
or a language does not write so (no case; German, whose nouns are all capitalised; headings; shouting), only the surer
marks count: nothing rather than rubbish.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

MOST_NAMES: Final = 32
"""Names of one text, those that stand in it most often first."""

MOST_CHARS: Final = 80
MOST_WORDS: Final = 5
"""Of one name; a longer run of capitals is a heading."""

DENSE: Final = 0.4
"""Of so large a share of capitals within sentences, they mark no names."""

FEWEST_WORDS: Final = 12
"""Before as many words that share says nothing."""

NOUNS_CAPITALISED: Final = frozenset({"german"})
"""Languages (text-search configurations) in which a single capital marks no name."""


class Named(NamedTuple):
    """A name in a text: its key (:func:`name_key`), as it is written there, and whether that is sure.

    One that only stands where every word has a capital, at the start of a sentence, is not: it may be a name that is
    known from elsewhere.
    """

    key: str
    name: str
    sure: bool


_STOP: Final = """
    a about above across actually ad after afterwards again against ago ah ai aka all almost alone along already
    also although always am amazing amid among amongst an and another any anybody anyhow anyone anything anyway
    anywhere apart api apr april are around as asap aside ask assistant at aug august aw away awesome awful aww back
    basically bc be because been before begin behind being below besides best better between beyond big bot both
    bravo btw but by bye call came can cannot cheers christmas come congrats congratulations considering cool could
    css currently dear dec december definitely despite did diy do does doing don't done dr due during each easter
    either else enjoy enough est eta etc even ever every everybody everyone everything everywhere exactly excellent
    except exciting fair faq feb february few finally fine first firstly following for forget fortunately frankly
    fri friday from further furthermore fyi generally get give given glad gmt go going gonna good goodbye gosh got
    gotcha great ha had haha hahaha happily happy hardly has have having he hello help hence her here hers herself
    hey hi him himself his hmm honestly hooray hopefully how however html http https huge human hurray i i'd i'll
    i'm i've id idk ie if imagine imho imo in indeed initially inside instead interesting into is isn't it it'd
    it'll it's its itself jan january json jul july jun june just keep kind kudos last lastly lately later let let's
    like likely literally little lmao lol look looking looks lots love lovely luckily ly mainly make many mar march
    may maybe me meanwhile might mine miss mon monday more moreover most mostly mr mrs ms much must my myself nah
    naturally nb near nearly need neither never nevertheless new next nice no nobody none nope nor not note nothing
    nov november now nowhere obviously oct october of off oh ohh ok okay old omg on once one ones only onto ooh oops
    or originally other others otherwise ouch our ours ourselves out outside over overall own pdf per perfect
    perhaps personally phew plain please plus pm possibly prior probably prof ps pst rather really recently
    regarding remember right rip rsvp sadly same sat saturday say see seeing seems sep sept september several shall
    she should similarly simply since sir so some somebody somehow someone something sometimes somewhere soon sorry
    sounds specifically sql still such suddenly sun sunday super sure surely system take tba tbd tbh tell than thank
    thanks that that's the their theirs them themselves then there there's therefore these they they're thing things
    this those though three through throughout thu thur thurs thursday thus till time to today todo together
    tomorrow tonight too tool toward towards try trying tue tues tuesday two ty ugh uh um under unfortunately unless
    unlike until up upon url us use user usually utc very via vs wait was wasn't watch way we we'd we'll we're we've
    wed wednesday welcome well were what what's whatever when whenever where whereas wherever whether which while
    who who's whoa whoever whole whom whose why will with within without woah won't wonderful woo woohoo would wow
    xml yay yeah yep yes yesterday yet yikes you you'd you'll you're you've your yours yourself yourselves yup
"""
STOP: Final = frozenset(_STOP.split())
"""Words that are no names by themselves, in lower case; a run does not begin or end with one."""

_JOINING: Final = frozenset({"of", "the", "de", "da", "del", "della", "der", "di", "du", "la", "le", "van", "von", "y"})
_LEADING: Final = frozenset({"new", "old", "great", "big", "little", "lake", "mount"})
"""Of the words that are no names, those with which one may begin."""

_TITLES: Final = frozenset({"dr", "mr", "mrs", "ms", "prof", "st"})
_MAILBOXES: Final = frozenset(
    {"gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "yahoo.com", "icloud.com", "gmx.de", "gmx.net",
     "web.de", "proton.me", "protonmail.com", "aol.com", "live.com", "me.com", "mail.com", "mail.ru", "qq.com"}
)  # fmt: skip
"""Hosts of everybody's mail: they say nothing of whom."""

# Bounded, or held to the boundary of a word: linear in the length of any text.
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_CODE = re.compile(r"`[^`\n]{1,80}`")
_HEADING = re.compile(
    r"^[ \t]{0,8}(?:#{1,6}[ \t][^\n]*|\|[^\n]*"
    r"|(?:[-*+•][ \t]{1,4}|\d{1,3}[.)][ \t]{1,4})?(?:\*\*|__)[^*_\n]{1,80}(?:\*\*|__))",
    re.MULTILINE,
)
"""What Markdown makes a heading, the bold beginning of a line, or a row of a table: capitals that mark no name."""

_URL = re.compile(
    r"\bhttps?://(?:[^\s/?#@]{1,80}@)?([^\s/?#:@<>\"']{1,253})[^\s<>\"']*|\bwww\.([\w-]{1,63}(?:\.[\w-]{1,63})+)"
)
_MAIL = re.compile(r"(?<=\w)@([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})")
_HANDLE = re.compile(r"(?<![\w@./])@(\w[\w.-]{1,38})(?![\w@])")
_QUOTED = re.compile(
    r"“([^“”\n]{2,80})”|„([^„“”\n]{2,80})[“”]|«([^«»\n]{2,80})»|(?<![\w\"])\"([^\"\n]{2,80})\"(?![\w\"])"
)
_TITLE = re.compile(r"《([^《》\n]{1,40})》|『([^『』\n]{1,40})』")
_WORD = re.compile(r"[^\W_]+(?:['’&.-][^\W_]+)*")
_ENDS = re.compile(r"[.!?…。！？:;\n\r\t•*|\"“”„«»()\[\]{}<>–—=#~`/\\]")
_POSSESSIVE = re.compile(r"(?:['’]s?)+$", re.IGNORECASE)
_COMBINING = re.compile(r"[\u0300-\u036f]+")
"""What is left of letters that have no composed form, such as a dotted capital I in lower case."""

_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_PARTS = re.compile(r"[^\W_]+(?:[.'’&+-]+[^\W_]+)*")
_SMALL_THEN_CAPITAL = re.compile(r"[a-z][A-Z][a-z]")
_INNER_CAPITAL = re.compile(r"[a-z][A-Z]")
_CASELESS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""Scripts that write no spaces between words (Thai, Lao, Burmese, Chinese, Japanese; Korean adds its particles)."""


@lru_cache(maxsize=8192)
def name_key(name: str) -> str:
    """What makes two spellings the same name: compatible letters, case, dots and the possessive 's do not differ.

    Empty when nothing of a name is in it.
    """
    text = _COMBINING.sub("", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()))
    lead = "@" if text.startswith("@") else ""
    words = [_POSSESSIVE.sub("", word) for word in _PARTS.findall(text)]
    if not lead and len(words) == 1 and _DOTTED.fullmatch(words[0]):
        words = [words[0].replace(".", "")]
    return _POSSESSIVE.sub("", lead + " ".join(words)[:MOST_CHARS].rstrip(".'’&+- "))


def entities(text: str, *, language: str = "english", known: Collection[str] = ()) -> list[Named]:
    """The names in a text, each once: the most frequent first, and of equals the earlier.

    Args:
        text: any, in time that grows with its length alone.
        language: its text-search configuration.
        known: names that are taken wherever they are written as names, such as the speakers of a conversation.
    """
    found = _Found()
    text = _HEADING.sub(" . ", _CODE.sub(" ", _FENCED.sub(" . ", text)))
    text = _URL.sub(lambda match: found.host(match[1] or match[2]), text)
    text = _MAIL.sub(lambda match: found.host(match[1]), text)
    text = _HANDLE.sub(lambda match: found.add(f"@{match[1].rstrip('.-')}"), text)
    text = _TITLE.sub(lambda match: found.add(match[1] or match[2]), text)
    text = _QUOTED.sub(lambda match: found.title(match), text)
    names = {name_key(name): name for name in known}
    _find_caseless(text, names, found)
    _find_written(text, names, found, alone=language not in NOUNS_CAPITALISED)
    return found.names()


@dataclass(slots=True)
class _Found:
    """Names by key: how often, as first written, and whether they are sure."""

    counts: dict[str, int] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    sure: set[str] = field(default_factory=set)

    def add(self, name: str, *, sure: bool = True) -> str:
        """Counts a name; a blank, to stand in its place."""
        key = name_key(name)
        if len(key) >= 2 and len(name) <= MOST_CHARS and not key.isdigit():
            self.counts[key] = self.counts.get(key, 0) + 1
            if sure and key not in self.sure:
                self.sure.add(key)
                self.written[key] = name
            self.written.setdefault(key, name)
        return " "

    def host(self, host: str) -> str:
        name = host.lower().strip(".-").removeprefix("www.")
        if "." in name and name not in _MAILBOXES and not name.replace(".", "").isdigit():
            self.add(name)
        return " . "

    def title(self, match: re.Match[str]) -> str:
        """What is to stand in the place of something quoted: a blank if it is a title, else the quote itself."""
        quoted = match[match.lastindex or 0]
        return self.add(quoted) if _is_title(quoted) else match[0]

    def names(self) -> list[Named]:
        best = sorted(self.counts, key=lambda key: (key not in self.sure, -self.counts[key]))[:MOST_NAMES]
        return [Named(key, _POSSESSIVE.sub("", self.written[key]), key in self.sure) for key in best]


def _is_title(quoted: str) -> bool:
    """Whether what stands in quotes is a title rather than speech: capitals throughout, and no end of a sentence."""
    words = _WORD.findall(quoted)
    if not 1 <= len(words) <= 8 or quoted[-1] in ".!?,;:…" or quoted != quoted.strip():
        return False
    longer = [word for word in words if word.casefold() not in STOP]
    return bool(longer) and words[0][0].isupper() and all(word[0].isupper() or word[0].isdigit() for word in longer)


def _find_caseless(text: str, names: dict[str, str], found: _Found) -> None:
    """Known names of scripts without capitals."""
    for key, name in names.items():
        if len(key) < 2 or key != key.upper() or not any(character.isalpha() for character in key):
            continue
        pattern = re.escape(name) if _CASELESS.search(name) else rf"(?<!\w){re.escape(name)}(?!\w)"
        for _ in re.finditer(pattern, text):
            found.add(name)


class _Word(NamedTuple):
    text: str
    starts: bool
    """Whether a sentence begins with it."""

    follows: bool
    """Whether nothing but a space stands before it."""


def _words(text: str) -> Iterator[_Word]:
    end, before = 0, ""
    for match in _WORD.finditer(text):
        word, gap = match[0], text[end : match.start()]
        if gap == " " and before:
            yield _Word(word, starts=False, follows=True)
        else:
            last = before.casefold()
            titled = gap.startswith(".") and gap[1:].strip(" ") == "" and (last in _TITLES or len(last) == 1)
            starts = not before or (not titled and bool(_ENDS.search(gap)))
            yield _Word(word, starts, bool(before) and (titled or gap.strip(" \u00a0") == ""))
        end, before = match.end(), word


def _find_written(text: str, names: dict[str, str], found: _Found, *, alone: bool) -> None:
    """Capitals, and acronyms."""
    words = list(_words(text))
    inner = [word.text for word in words if not word.starts]
    dense = len(inner) >= FEWEST_WORDS and sum(word[0].isupper() for word in inner) > DENSE * len(inner)
    shouting = len(words) > 3 and sum(map(str.isupper, text)) > 0.5 * sum(map(str.isalpha, text))
    run: list[_Word] = []
    for word in [*words, _Word("", starts=True, follows=False)]:
        written = word.text
        if run and not (word.follows and (written[0].isupper() or written in _JOINING)):
            _close(run, names, found, plain=not (dense or shouting), alone=alone)
            run = []
        if run or (written and not written.islower() and _is_capital(written)):
            run.append(word)


def _is_capital(word: str) -> bool:
    return word[0].isupper() or bool(_SMALL_THEN_CAPITAL.match(word))


def _close(run: list[_Word], names: dict[str, str], found: _Found, *, plain: bool, alone: bool) -> None:
    """Counts what of a run of capitals is a name."""
    while run and (run[-1].text in _JOINING or _stops(run[-1].text, names)):
        run.pop()
    while run and _stops(run[0].text, names) and not _leads(run):
        run.pop(0)
        while run and run[0].text in _JOINING:
            run.pop(0)
    if not run or len(run) > MOST_WORDS:
        return
    if len(run) > 1 and run[0].starts and name_key(" ".join(word.text for word in run[1:])) in names:
        # "Blimey Anna" is Anna.
        run.pop(0)
    name = " ".join(word.text for word in run)
    key = name_key(name)
    if key in names:
        found.add(name)
    elif len(run) == 1 and _is_acronym(name):
        if plain:
            found.add(name.removesuffix("s"))
    elif plain and (alone or len(run) > 1 or _INNER_CAPITAL.search(name)):
        sure = not run[0].starts or (len(run) > 1 and not _may_start(run[0].text)) or bool(_INNER_CAPITAL.search(name))
        found.add(name, sure=sure)


def _stops(word: str, names: dict[str, str]) -> bool:
    plain = word.casefold().replace("’", "'")
    return (plain in STOP or _POSSESSIVE.sub("", plain) in STOP or len(plain) == 1) and name_key(word) not in names


def _leads(run: list[_Word]) -> bool:
    return len(run) > 1 and run[0].text.casefold() in _LEADING and not run[0].starts


def _may_start(word: str) -> bool:
    """Whether a word at the start of a sentence is of a kind that often stands there (English)."""
    return word.casefold().endswith(("ing", "ly", "ed"))


def _is_acronym(word: str) -> bool:
    letters = word.removesuffix("s").replace("-", "").replace(".", "").replace("&", "")
    return 2 <= len(letters) <= 6 and letters.isupper() and letters.isalnum()
