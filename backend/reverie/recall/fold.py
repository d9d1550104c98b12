"""Results that say the same are shown once. Pure functions."""

import re
from collections.abc import Sequence
from typing import Final

from reverie.recall.types import Trace

READ: Final = 4000
"""Characters by which contents are compared, beside their lengths."""

_WORD = re.compile(r"\w+")


def said_once(traces: Sequence[Trace]) -> list[tuple[Trace, list[Trace]]]:
    """The traces in their order without those that repeat an earlier one, each with those that repeat it.

    One repeats another if it differs in case, punctuation and white space at most, and has the same user and speaker.
    """
    kept: dict[tuple[str, str | None, tuple[str, ...]], list[Trace]] = {}
    for trace in traces:
        words = tuple(_WORD.findall(trace.content[:READ].casefold()))
        # What has no words at all, or goes on beyond what is read, is only the same as itself.
        told = words if words and len(trace.content) <= READ else (trace.key.hex(),)
        kept.setdefault((trace.user, trace.speaker, told), []).append(trace)
    return [(same[0], same[1:]) for same in kept.values()]
