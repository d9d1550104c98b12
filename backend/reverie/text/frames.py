"""The frames of English clauses, in the order in which they are tried: of how things are last. Pure functions."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from reverie.text import course_frames, people_frames, plan_frames, thing_frames
from reverie.text.clauses import Clause
from reverie.text.statement_words import DISLIKING, LASTING, LIKING, PRESENT, STATES
from reverie.text.stating import IS, SHORT, WHO, Frames, Statement, Told, object_of, tells
from reverie.text.values import Value, value_of

FRAMES: Final = Frames()
frame = FRAMES.add


def stated(clause: Clause, me: str) -> list[Statement]:
    """What a clause states, of the speaker ``me``: by the first frame that it fits."""
    known = set(clause.text.lower().split())
    for place in sorted({place for word in known for place in _BY_CUE.get(word, ())}):
        one = _ALL[place]
        if clause.unreal and not one.planned:
            continue
        match = one.pattern.match(clause.text)
        found = list(one.read(Told(match, clause, me))) if match else []
        if found:
            return found
    return []


@frame(rf"{WHO} (?:am|is|are)(?P<no> not)? (?:an? |the )?(?P<what>.+)", IS)
def _is_so(told: Told) -> Iterator[Statement]:
    """What does not come and go with the hour, and the states of which a thing is in one."""
    who, what = told.who(), told.part("what").lower()
    first = what.split()[0]
    if who is None or told.clause.brief:
        return
    if any(first in group for group in STATES[1:]) and len(what.split()) <= SHORT:
        yield from told.say(who, "state", Value(frozenset({first}), text=first), holds=not told.denied)
    elif first in LASTING or told.clause.ended or what.split()[-1] in LASTING:
        yield from told.say(who, "be", object_of(told.part("what")), holds=not told.denied)


@frame(
    rf"{WHO} (?P<no>not )?(?P<how>{'|'.join(sorted(PRESENT, key=len, reverse=True))})(?: (?P<what>.+))?",
    " ".join(PRESENT),
)
def _does(told: Told) -> Iterator[Statement]:
    """What somebody does, has or likes."""
    who, verb = told.who(), PRESENT[told.part("how").lower()]
    value = value_of(object_of(told.part("what")))
    if who is None or not (tells(value.words) or verb == "smoke") or (verb == "have" and _DONE.match(value.text)):
        return
    if verb in LIKING | DISLIKING:
        yield from told.say(who, "like", value, holds=(verb in LIKING) is not told.denied)
    else:
        yield from told.say(who, verb, value, holds=not told.denied)


_DONE = re.compile(r"(?:been|not|never|\w{3,}ed|chosen|written|made|gone|seen|got|had)\b", re.IGNORECASE)
"""What follows "have" that is no thing."""

_ALL: Final = [
    *chain(
        people_frames.FRAMES.all, thing_frames.FRAMES.all, course_frames.FRAMES.all, plan_frames.FRAMES.all, FRAMES.all
    )
]  # fmt: skip
_BY_CUE: Final = {
    cue: [place for place, one in enumerate(_ALL) if cue in one.cues]
    for cue in frozenset().union(*(one.cues for one in _ALL))
}
"""Places of the frames that a word may open."""
