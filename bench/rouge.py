"""ROUGE-N and ROUGE-L of one summary and one reference (Lin, 2004, "ROUGE: A Package for Automatic Evaluation of
Summaries"), by words in lower case, without stemming and with all small words.

ROUGE-L takes each text as one sequence of words (section 3.1 of the paper).
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_WORD = re.compile(r"[a-z0-9]+")


class Rouge(NamedTuple):
    """What is shared, of the reference (``recall``) and of the summary (``precision``), and their harmonic mean."""

    recall: float
    precision: float

    @property
    def f1(self) -> float:
        both = self.recall + self.precision
        return 2 * self.recall * self.precision / both if both else 0.0


def words(text: str) -> list[str]:
    """The words of a text, as ROUGE compares them."""
    return _WORD.findall(text.lower())


def rouge_n(summary: Sequence[str], reference: Sequence[str], n: int) -> Rouge:
    """Of sequences of ``n`` words, each counted as often as both have it."""
    ours, theirs = _grams(summary, n), _grams(reference, n)
    return _of((ours & theirs).total(), theirs.total(), ours.total())


def rouge_l(summary: Sequence[str], reference: Sequence[str]) -> Rouge:
    """Of the longest sequence of words that both have in that order, whatever stands between."""
    return _of(_longest(summary, reference), len(reference), len(summary))


def _grams(sequence: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(sequence[place : place + n]) for place in range(len(sequence) - n + 1))


def _of(shared: int, reference: int, summary: int) -> Rouge:
    return Rouge(shared / reference if reference else 0.0, shared / summary if summary else 0.0)


def _longest(one: Sequence[str], other: Sequence[str]) -> int:
    lengths = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, beside in enumerate(other, 1):
            above = lengths[place]
            lengths[place] = before + 1 if word == beside else max(above, lengths[place - 1])
            before = above
    return lengths[-1]
