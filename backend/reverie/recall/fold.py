"""Results that say the same are shown once. Pure functions."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Final

from reverie.recall.types import Trace

READ: Final = 4000
"""Characters by which contents are compared, beside their lengths."""

BEGINNING: Final = 3
"""Words of it that are compared first."""

_WORD = re.compile(r"\w+")


def said_once(traces: Sequence[Trace]) -> list[tuple[Trace, list[Trace]]]:
    """The traces in their order without those that repeat an earlier one, each with those that repeat it.

    One repeats another if it differs in case, punctuation and white space at most, and has the same user and speaker.
    """
    # Most begin unlike all others: then nothing more of them need be read.
    beginnings = [(trace.user, trace.speaker, *_beginning(trace.content)) for trace in traces]
    alike = Counter(beginnings)
    kept: dict[tuple[str, str | None, tuple[str, ...]], list[Trace]] = {}
    for trace, beginning in zip(traces, beginnings, strict=True):
        told = _told(trace) if alike[beginning] > 1 else (trace.key.hex(),)
        kept.setdefault((trace.user, trace.speaker, told), []).append(trace)
    return [(same[0], same[1:]) for same in kept.values()]


def _beginning(content: str) -> list[str]:
    words = _WORD.finditer(content[:READ].casefold())
    return [word.group() for word in islice(words, BEGINNING)]


def _told(trace: Trace) -> tuple[str, ...]:
    words = tuple(_WORD.findall(trace.content[:READ].casefold()))
    # What has no words at all, or goes on beyond what is read, is only the same as itself.
    return words if words and len(trace.content) <= READ else (trace.key.hex(),)
