"""What the sentences of a text state: of whom or what, which of its attributes, which value, whether it holds.

English, by the frames of :mod:`reverie.text.frames`. What fits none, or whose subject only its neighbours tell ("it",
"she"), is no statement: nothing rather than nonsense. Pure functions.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reverie.text.clauses import Clause, clauses, lines
from reverie.text.frames import stated
from reverie.text.statement_words import PAST, PRESENT, SINGLE
from reverie.text.stating import SHORT, SINGLE_STEMS, Sort, Statement, unqualified
from reverie.text.subjects import SOMEBODY, Subject, subject_of
from reverie.text.values import Value, stem, value_of, words

__all__ = ["Sort", "Statement", "Subject", "Value", "statements"]

MOST_STATEMENTS: Final = 24
"""Of one text, the first."""


def statements(text: str, speaker: str | None = None) -> list[Statement]:
    """What a text states, in order, each once.

    Args:
        text: any, in time that grows with the length alone of what is read of it.
        speaker: who says it: whose "I" and "my" it is.
    """
    me = (speaker or "").strip().lower() or SOMEBODY
    found = [one for line in lines(text) for one in _of_line(line, me)]
    before = ""
    for clause in clauses(text):
        whole = _with_subject(clause, "" if clause.first else before)
        before = _subject_text(whole.text)
        found += stated(whole, me)
        beside = _BESIDE.match(whole.text)
        if beside is not None:
            found += stated(replace(whole, text=f"I am {beside['what']}"), me)
        if len(found) >= MOST_STATEMENTS:
            break
    return list(dict.fromkeys(found))[:MOST_STATEMENTS]


_PAST_FIRST = re.compile(
    rf"(?:{'|'.join(PAST)}|finished|joined|moved|adopted|signed|switched|visited|applied) ", re.IGNORECASE
)
_PLAN_FIRST = re.compile(
    r"(?:(?P<am>planning|thinking|looking forward|hoping|going|about|excited|considering|working|reading|writing"
    r"|training) (?!.*\b(?:is|was|has|makes|gives|helps|means|keeps|lets|brings)\b)|can not wait |want to |need to )",
    re.IGNORECASE,
)
_UNDER_WAY = re.compile(
    r"(?P<am>(?!during|nothing|something|everything|anything|morning|evening|being|according|regarding|including"
    r"|amazing"
    r"|exciting|interesting|having|loving|seeing|sounding|wishing|sending|missing|speaking|building up)[a-z]{3,}ing) "
    r"(?!.*\b(?:is|was|has|have|makes|made|can|are|were|gives|helps|means|up to)\b)",
    re.IGNORECASE,
)
"""A sentence without its "I am"."""

_BESIDE = re.compile(
    r"(?:i|we) (?:am|are|have been) .{3,80}? and (?P<what>[a-z]{3,}ing (?:for|on|to|at|a|an|the|my|our|with|into|in"
    r"|about)\b .+)",
    re.IGNORECASE,
)
"""A second thing that somebody is at."""

_SUBJECT = re.compile(
    rf"(?P<who>[^,;:]{{1,60}}?) (?:am|is|are|was|were|have|has|had|not|will|can|would|might|{'|'.join(PRESENT)}"
    rf"|{'|'.join(PAST)}|[a-z]+ed)\b",
    re.IGNORECASE,
)


def _with_subject(clause: Clause, before: str) -> Clause:
    """A clause that begins with its verb, with the subject of the one before, or with the speaker."""
    text = clause.text
    first = text.split(" ", 1)[0].lower()
    if before and ((first in PRESENT and first.endswith("s") and first not in SINGLE) or first in _HELPING):
        return replace(clause, text=f"{before} {text}")
    if _PAST_FIRST.match(text):
        return replace(clause, text=f"{before or 'I'} {text}")
    plan = _PLAN_FIRST.match(text) or (_UNDER_WAY.match(text) if clause.first else None)
    if plan and (before or "I").lower() in ("i", "we"):
        return replace(clause, text=f"I {'am ' if plan['am'] else ''}{text}")
    return clause


_HELPING: Final = frozenset({"am", "is", "are", "has", "have", "not"})


def _subject_text(text: str) -> str:
    match = _SUBJECT.match(text)
    return match["who"] if match else ""


_KEYED = re.compile(r"(?P<key>[\w.'-]+(?: [\w.'-]+){0,4}?)(?P<how> ?: | ?= ?|:\s)(?P<what>\S.{0,120})\Z")
_NO_KEY = re.compile(
    r"\b(?:correction|update|news|note|reminder|ps|todo|edit|warning|tip|hi|hey|btw|fyi|question|answer|is|are|was|have"
    r"|has|example|i|you|we|what|here|today|plan|summary|result|results|error|info|debug)\b",
    re.IGNORECASE,
)


def _of_line(line: str, me: str) -> Iterator[Statement]:
    """A line of the form "key: value" or "key = value"."""
    if ":" not in line and "=" not in line:
        return
    match = _KEYED.match(line)
    if match is None or _NO_KEY.search(match["key"]) or line.endswith("?"):
        return
    subject = subject_of(match["key"], me)
    if subject is None:
        return
    value, qualified = unqualified(match["what"])
    known = value_of(value)
    head = stem(words(match["key"])[-1])
    code = "=" in match["how"] or "_" in match["key"]
    if known.words and (code or head in SINGLE_STEMS or (known.typed and len(known.words) <= SHORT)):
        about = replace(subject, words=subject.words | qualified, head=head, person=False)
        yield Statement(about, "is", known, changed="new" in match["key"].lower().split())
