"""Frames of things: who has charge of them, their figures, dates and names; and of orders. English. Pure functions."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reverie.text.statement_words import HOLDERS, SINGLE, STATES
from reverie.text.stating import (
    HAVE,
    HOME_STEMS,
    IS,
    OWNED_STEMS,
    PRICE_STEMS,
    SINGLE_STEMS,
    WHO,
    Frames,
    Sort,
    Statement,
    Told,
    age_of,
    is_place,
    named,
    object_of,
    place_of,
    replaced,
    tells,
    unqualified,
)
from reverie.text.subjects import ME, Subject, person, subject_of, thing
from reverie.text.values import Value, content, value_of

THE_READER: Final = "assistant"
"""Who is told what to do."""

FRAMES: Final = Frames()
frame = FRAMES.add

_AGES: Final = r"\d{1,3}|[a-z]+(?:-[a-z]+)?"
_CHANGED: Final = (
    "moved changed raised lowered increased decreased reduced cut bumped reset set updated switched extended pushed"
    " postponed rescheduled delayed shifted dropped upgraded downgraded migrated renamed ported converted shortened"
    " relocated rebranded adjusted corrected swapped put transferred scaled improved risen climbed grown jumped"
    " expanded"
    " narrowed"
)
_CHANGED_PATTERN: Final = "|".join(_CHANGED.split())


# --- who is in charge ----------------------------------------------------------------------------------------------


@frame(
    rf"{WHO} {HAVE}(?:taken|took|takes|will take) over (?!from\b)(?P<what>.+?)(?: from (?P<old>.+))?",
    "over",
    planned=True,
)
def _took_over(told: Told) -> Iterator[Statement]:
    about = subject_of(_ROLE.sub("", told.part("what")), told.me)
    old = value_of(told.part("old"))
    who = told.who()
    if who is not None and who.person:
        sort: Sort = "from" if old.words else "to"
        yield from told.say(about, "holder", named(who), sort=sort, replaced=old, changed=True)


_ROLE = re.compile(
    r"\A(?:the )?(?:lead|ownership|role|position|job|management|responsibility) (?:of|for|as|on) ", re.IGNORECASE
)


@frame(rf"{WHO} {HAVE}(?:handed|passed) (?:(?P<what>.+?) over|over (?P<same>.+?)) to (?P<new>.+)", "handed passed")
def _handed_over(told: Told) -> Iterator[Statement]:
    about = subject_of(_ROLE.sub("", told.part("what") or told.part("same")), told.me)
    old = told.who()
    if old is not None:
        yield from told.say(about, "holder", told.part("new"), sort="from", replaced=named(old), changed=True)


@frame(
    rf"{WHO} (?:owns|maintains|leads|manages|(?:am|is|are) (?:responsible for|in charge of|the (?P<new>new"
    rf" )?(?:owner|lead|leader|maintainer|manager|head) of)) (?P<what>the .+|our .+|[A-Z].+)",
    "owns maintains leads manages responsible charge owner lead leader maintainer manager head",
)
def _holds(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is not None and who.person:
        changed = told.clause.changed or bool(told.part("new"))
        yield from told.say(subject_of(told.part("what"), told.me), "holder", named(who), changed=changed)


@frame(
    r"(?P<what>[A-Z][\w.-]+(?: [A-Z][\w.-]+){0,2}) is (?P<who>(?:my|our|\S+'s|the) (?:\w+ ){0,2}?(?P<noun>\w+)"
    r"(?: (?:of|at|for|in) .+)?)",
    "is",
)
def _is_somebodys(told: Told) -> Iterator[Statement]:
    if told.part("noun").lower() in HOLDERS:
        yield from told.say(told.who(), "is", told.part("what"))


# --- figures, dates and names --------------------------------------------------------------------------------------


@frame(rf"{WHO} {HAVE}turn(?:ed|s) (?P<what>{_AGES})(?: years old)?(?: (?:on|in) .+)?", "turned turns")
def _turned(told: Told) -> Iterator[Statement]:
    age = age_of(told.part("what"))
    if age.typed:
        yield from told.say(told.who(), "age", age, changed=True)


@frame(rf"{WHO} (?:am|is|are) (?P<what>{_AGES})(?: years? old| years? of age| yrs? old)(?: .+)?", "old age")
def _is_old(told: Told) -> Iterator[Statement]:
    age = age_of(told.part("what"))
    if age.typed:
        yield from told.say(told.who(), "age", age)


@frame(
    rf"{WHO} (?:(?:was|were|has been|have been|has|have|got|had been|is being|will be) |(?:is|are) (?!set"
    rf"|put))?(?:{_CHANGED_PATTERN}|brought forward|slipped|rose|fell|went up|went down|goes up|grew)(?: (?:up|down"
    rf"|back|over|out|forward))?(?: from (?P<old>.+?))? (?:to|until|till|as) (?P<what>.+)",
    f"{_CHANGED} brought slipped rose fell went goes grew",
    planned=True,
)
def _was_changed(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is not None and not who.person and (not told.clause.unreal or " will be " in told.match[0]):
        yield from told.say(
            who, "to", told.part("what"), sort="to", replaced=value_of(told.part("old")), changed=True
        )  # fmt: skip


@frame(rf"{WHO} (?:am|is|are) (?:down|up|back down|back up) to (?P<what>.*\d.*)", "down up")
def _is_down_to(told: Told) -> Iterator[Statement]:
    yield from told.say(told.who(), "to", told.part("what"), sort="to", changed=True)


@frame(
    rf"{WHO} {HAVE}(?:switched|moved|migrated|changed|swapped|converted|went|upgraded|downgraded) (?:over |\w+ )?from"
    r" (?P<old>.+?) (?:over )?to (?P<what>.+?)(?: for (?P<thing>.+))?",
    "from",
)
def _switched(told: Told) -> Iterator[Statement]:
    yield from replaced(told)


@frame(
    rf"{WHO} {HAVE}(?:{_CHANGED_PATTERN}|brought|got) (?P<thing>(?:the|my|our|your|all)\b .+?|\S+'s .+?"
    rf"|[\w.-]+[_.-][\w.-]+|[A-Z][\w-]+)(?: (?:up|down|back|over|forward))?(?: from (?P<old>.+?))? (?:to|until|till)"
    rf" (?P<what>.+)",
    _CHANGED,
)
def _changed_it(told: Told) -> Iterator[Statement]:
    if told.who() is not None or told.part("who").lower() == "they":
        about = subject_of(told.part("thing"), told.me)
        yield from told.say(
            about, "to", told.part("what"), sort="to", replaced=value_of(told.part("old")), changed=True
        )


@frame(
    rf"{WHO} {HAVE}(?:replaced|swapped|swapped out|traded|traded in|exchanged|ditched) (?P<old>.+?) (?:with|by|for|in"
    r" favou?r of) (?P<what>.+?)(?: for (?P<thing>.+))?",
    "replaced swapped traded exchanged ditched",
)
def _swapped(told: Told) -> Iterator[Statement]:
    yield from replaced(told)


@frame(
    rf"(?:{WHO} )?(?:uses?|using|prefers?|drinks?|eats?|takes?|goes to|go to|works? with|runs?) (?P<what>.+?)"
    r" (?:instead of|rather than|in place of) (?P<old>.+?)(?: for (?P<thing>.+))?",
    "instead rather place",
)
def _instead(told: Told) -> Iterator[Statement]:
    yield from replaced(told)


@frame(
    rf"{WHO} (?:(?:am|is|are)(?P<no> not)? (?:called|named|known as)|goes by) (?P<what>.+)", "called named known goes"
)
def _is_called(told: Told) -> Iterator[Statement]:
    yield from told.say(told.who(), "called", object_of(told.part("what")), holds=not told.denied)


@frame(
    rf"{WHO} (?:has|have|found|got|picked) an? new (?P<thing>[^,:]{{2,40}}?)(?::| called| named| -) ?(?P<what>.+)",
    "new",
)
def _has_a_new(told: Told) -> Iterator[Statement]:
    mine = told.part("who").lower() in ME
    about = thing(told.me if mine else told.part("who"), told.part("thing"), told.part("thing"))
    yield from told.say(about and replace(about, mine=mine), "is", told.part("what"), changed=True)


@frame(
    rf"{WHO} (?:costs?|(?:am|is|are) priced at|(?:sells?|goes) for) (?P<what>.*\d.*)",
    "cost costs priced sell sells goes",
)
def _costs(told: Told) -> Iterator[Statement]:
    yield from _priced(told, told.who(), value_of(object_of(told.part("what"))))


def _priced(told: Told, who: Subject | None, value: Value) -> Iterator[Statement]:
    """What something costs, whether its price is named or not."""
    if who is not None and not who.person:
        yield from told.say(replace(who, words=who.words - PRICE_STEMS or who.words), "price", value)


@frame(
    rf"{WHO} (?:(?:am|is|are) on|{HAVE}(?P<how>upgraded|downgraded|switched|moved|changed) to) (?:a|an|the)"
    rf" (?P<what>.+?) (?P<kind>plan|tier|subscription|diet|shift|team|schedule)s?",
    "plan tier subscription diet shift team schedule",
)
def _is_on_a_plan(told: Told) -> Iterator[Statement]:
    how = told.part("how")
    what = f"{told.part('what')} {told.part('kind')}"
    yield from told.say(told.who(), f"on a {told.part('kind').lower()}", what, changed=told.clause.changed or bool(how))


@frame(
    rf"{WHO} {HAVE}(?:made|marked|set|turned|switched) (?P<thing>(?:the|my|our)\b .+?|[\w.-]+[_.-][\w.-]+) (?:to |as"
    rf" )?(?P<what>\w+)",
    "made marked set turned switched",
)
def _made_so(told: Told) -> Iterator[Statement]:
    what = told.part("what").lower()
    if any(what in group for group in STATES[1:]):
        about = subject_of(told.part("thing"), told.me)
        yield from told.say(about, "state", Value(frozenset({what}), text=what), changed=True)


_FIGURED: Final = "|".join(sorted(SINGLE, key=len, reverse=True))


@frame(
    rf"(?:.{{0,80}}? )?(?P<how>the|my|our|an?) (?P<new>(?:new|updated|revised|extended) )?(?P<what>(?:[\w'-]+"
    rf" ){{0,4}}?(?:{_FIGURED})) of (?P<value>(?:about |around |under |over )?(?:[$€£]?\d\S*(?: ?%| percent|"
    rf" ?[a-z]{{1,12}}\b)?|(?:january|february|march|april|may|june|july|august|september|october|november|december)"
    rf" \d{{1,2}}(?:st|nd|rd|th)?|(?:mon|tues|wednes|thurs|fri|satur|sun)day))(?: for (?P<thing>(?:the|my|our)"
    rf" .+?))?(?:(?: |,).*)?",
    " ".join(SINGLE),
    planned=True,
)
def _of_a_figure(told: Told) -> Iterator[Statement]:
    """ "I have a deadline of April 1 for the first sprint"."""
    value = value_of(told.part("value"))
    of = content(object_of(told.part("thing")))
    about = thing(told.me, told.part("what"), f"{told.part('how')} {told.part('what')}")
    if about is not None and value.typed and (of or told.part("new") or len(about.words) > 1):
        yield from told.say(
            replace(about, words=about.words | of, mine=True), "is", value, changed=bool(told.part("new"))
        )  # fmt: skip


@frame(rf"{WHO} weighs? (?P<what>.*\d.*)", "weigh weighs")
def _weighs(told: Told) -> Iterator[Statement]:
    yield from told.say(told.who(), "weight", object_of(told.part("what")))


@frame(
    rf"{WHO} (?P<no>not )?(?:runs?|(?:am|is|are) (?:running|hosted|deployed|built|written|based)) (?:on|in|with)"
    rf" (?P<what>.+)",
    "run runs running hosted deployed built written based",
)
def _runs_on(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is not None and not who.person:
        yield from told.say(who, "runs on", told.part("what"), holds=not told.denied)


_TIMED: Final = {
    "starts": "start", "start": "start", "begins": "start", "begin": "start", "opens": "open", "open": "open",
    "closes": "close", "close": "close", "ends": "end", "end": "end", "expires": "expire", "meets": "is", "meet": "is",
    "takes place": "is", "happens": "is", "leaves": "leave", "departs": "leave", "arrives": "arrive", "lasts": "last",
    "ships": "ship",
}  # fmt: skip


@frame(
    rf"{WHO} (?P<how>{'|'.join(sorted(_TIMED, key=len, reverse=True))})(?: (?:at|on|in|from|for))?"
    r" (?P<what>(?:(?:the|about|around|next|this) )?(?:\d|mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug"
    r"|sep|oct|nov|dec|noon|midnight|tomorrow|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve).*)",
    " ".join(how.split()[0] for how in _TIMED),
)
def _timed(told: Told) -> Iterator[Statement]:
    who, value = told.who(), value_of(told.part("what"))
    if who is not None and not who.person and value.typed:
        yield from told.say(who, _TIMED[told.part("how").lower()], value)


@frame(
    rf"{WHO} (?:am|is|are)(?: set| configured| scheduled| planned| due| fixed| listed| pinned| expected)?"
    r"(?: (?:to|as|for|at|on|by|in))? (?P<what>.+)",
    IS,
)
def _is(told: Told) -> Iterator[Statement]:
    """A figure, a date or a name of a thing that has one of them at a time."""
    who = told.who()
    if who is None or who.person:
        return
    said, qualified = unqualified(told.part("what"))
    value = value_of(said)
    known = who.head in SINGLE_STEMS or who.head in OWNED_STEMS or "favourit" in who.words
    if said.lower().startswith("not ") or not (value.typed or known):
        return
    if who.head in OWNED_STEMS and who.mine and not value.typed:
        if value.names:
            yield from told.say(person(told.me, who.text), "have", value)
        return
    if who.head in HOME_STEMS and who.mine:
        if is_place(said):
            yield from told.say(person(told.me, who.text), "live", place_of(said))
        return
    # A sentence about a thing is no name of it.
    if len(value.words) > _MOST_OF_A_NAME or (not value.typed and _TELLING.match(said)):
        return
    about = replace(who, words=who.words | qualified)
    if any(kind.startswith("money") for kind in value.kinds()):
        yield from _priced(told, about, value)
    else:
        yield from told.say(about, "is", value)


_MOST_OF_A_NAME: Final = 6
_TELLING = re.compile(
    r"(?:so|very|the|such|to|that|what|how|like|about|great|good|nice|bad|awesome|amazing|important|going|an?|one"
    r"|all|not|because|my|more|less|much|here|there|up|down|on|in|quite|pretty|super|as|\w+ing|\w+ed)\b",
    re.IGNORECASE,
)

# --- what is told to the reader ------------------------------------------------------------------------------------


@frame(
    r"(?P<no>not )?(?:answer|reply|respond|write|speak|talk|chat)(?: to| with)?(?: me| us| back| everything)? in"
    r" (?P<what>.+)",
    "answer reply respond write speak talk chat",
)
def _answer_in(told: Told) -> Iterator[Statement]:
    yield from told.say(person(THE_READER, ""), "answer in", object_of(told.part("what")), holds=not told.denied)


@frame(r"(?P<no>not )?call me (?P<what>\w+(?: \w+)?)", "call")
def _call_me(told: Told) -> Iterator[Statement]:
    yield from told.say(person(told.me, "I"), "called", told.part("what"), holds=not told.denied)


_ORDERS: Final = (
    "use add include send show write put deploy run schedule create give suggest recommend remind ask keep make avoid"
    " format"
    " sign start begin end mention"
)


@frame(
    rf"(?P<no>not )?(?P<how>{'|'.join(_ORDERS.split())}) (?:me )?(?P<what>.+?)(?: (?:for|as|in|when) (?P<whence>.+))?",
    _ORDERS,
)
def _told_to(told: Told) -> Iterator[Statement]:
    what = told.part("what")
    if tells(content(what)):
        whence = " ".join(sorted(content(told.part("whence"))))
        yield from told.say(
            person(THE_READER, ""), f"do {told.part('how').lower()} {whence}".strip(), what, holds=not told.denied
        )
