"""Frames of people: where they live and work, whom they are with, and what is over. English. Pure functions."""

import re
from collections.abc import Iterator
from typing import Final

from reverie.text.statement_words import PROFESSIONS, STATES
from reverie.text.stating import (
    HAVE,
    IS,
    KIN_STEMS,
    WHO,
    Frames,
    Statement,
    Told,
    is_place,
    object_of,
    place_of,
    replaced,
    tells,
)
from reverie.text.subjects import ME, person, subject_of
from reverie.text.values import Value, content

FRAMES: Final = Frames()
frame = FRAMES.add


# --- where somebody lives, what he does for a living ---------------------------------------------------------------


@frame(
    rf"{WHO} (?P<no>not )?(?:lives?|resides?|(?:am|is|are) (?:based|located))(?: alone)? (?P<how>in|near|at|with)"
    r" (?P<what>.+)",
    "live lives reside resides based located",
)
def _lives(told: Told) -> Iterator[Statement]:
    who, how, what = told.who(), told.part("how").lower(), told.part("what")
    if how == "with":
        yield from told.say(who, "live with", told.me if what.lower() in ME else object_of(what), holds=not told.denied)
    elif how == "in" and is_place(what):
        yield from told.say(who, "live", place_of(what), holds=not told.denied)


@frame(
    rf"{WHO} {HAVE}(?:moved|relocated)(?: back| over| down| up| all the way)?(?: from (?P<old>.+?))? to (?P<what>.+)",
    "moved relocated",
)
def _moved(told: Told) -> Iterator[Statement]:
    who = told.who()
    if told.part("old"):
        # Of a town or of a tool: what was told before says which.
        yield from replaced(told)
    elif who is not None and who.person and not told.clause.remote and is_place(told.part("what")):
        yield from told.say(who, "live", place_of(told.part("what")), changed=True)


@frame(rf"{WHO} {HAVE}moved out(?: of (?P<what>.+?))?(?: (?:on|in|to|because) .+)?", "moved")
def _moved_out(told: Told) -> Iterator[Statement]:
    yield from told.say(told.who(), "live with", told.part("what"), sort="end", changed=True)


_JOB: Final = r"(?:job|position|role|gig|career|internship)"


@frame(
    rf"{WHO} (?P<no>not )?(?:works?|(?:am|is|are) employed) (?P<how>as|at|for) (?:an? |the )?(?P<what>.+?)"
    r"(?: (?:at|for|with) (?P<where>.+))?",
    "work works employed",
)
def _works(told: Told) -> Iterator[Statement]:
    yield from _works_as(told, changed=told.clause.changed)


@frame(
    rf"{WHO} {HAVE}(?:(?:started|began|accepted|landed|got|took|found|start|starting) (?:working|work|(?:a|an|my|the"
    rf"|as)(?: \w+){{0,3}}? {_JOB})|(?:started|began)) (?P<how>as|at|for|with) (?:an? |the )?(?P<what>.+?)(?: (?:at"
    rf"|for|with) (?P<where>.+))?",
    "started began accepted landed got took found",
)
def _began_to_work(told: Told) -> Iterator[Statement]:
    if told.part("how").lower() == "as" or re.search(rf"{_JOB}|working|work\b", told.match[0], re.IGNORECASE):
        yield from _works_as(told, changed=True)


@frame(
    rf"{WHO} {HAVE}(?:got|landed|found|started|accepted|took) (?P<what>(?:an?|my|the)(?: [\w-]+){{0,2}} {_JOB})(?:"
    rf" (?:to|in|that|and|which|last|this|near|so|because|after|on|through|thanks|nearby|there|here|finally)\b.*)?",
    "got landed found started accepted took",
)
def _got_a_job(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is not None and who.person and not told.clause.remote:
        yield from told.say(who, "job", "", changed=True)
        yield from told.say(who, "done", told.part("what"), sort="done", act="get")


def _works_as(told: Told, *, changed: bool) -> Iterator[Statement]:
    who, what = told.who(), told.part("what")
    if who is None or not (who.person or who.head in KIN_STEMS) or told.clause.remote:
        return
    marks = {"holds": not told.denied, "changed": changed}
    if told.part("how").lower() == "as":
        yield from told.say(who, "job", what, **marks)
        if told.part("where"):
            yield from told.say(who, "employer", told.part("where"), **marks)
    elif tells(content(what)):
        yield from told.say(who, "employer", what, **marks)


@frame(rf"{WHO} (?:am|is|are)(?P<no> not)? (?:an? |the )(?P<what>(?:[\w-]+ ){{0,2}}\w+)", IS)
def _is_by_profession(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is not None and who.person and told.part("what").split()[-1].lower() in PROFESSIONS:
        yield from told.say(who, "job", told.part("what"), holds=not told.denied)


@frame(rf"{WHO} {HAVE}(?:became|become) an? (?P<what>(?:[\w-]+ ){{0,2}}\w+)", "became become")
def _became(told: Told) -> Iterator[Statement]:
    if told.part("what").split()[-1].lower() in PROFESSIONS and not told.clause.remote:
        yield from told.say(told.who(), "job", told.part("what"), changed=True)


@frame(
    rf"{WHO} {HAVE}(?:(?:lost|left|quit) (?:my|his|her|the|their|our) (?:[\w-]+ )?(?:job|position)s?\b.*"
    r"|(?:got|was|were|been|am|is) (?:fired|laid off|let go|made redundant)\b.*|retired)",
    "lost left quit fired laid let redundant retired",
)
def _lost_the_job(told: Told) -> Iterator[Statement]:
    if not told.clause.remote:
        yield from told.say(told.who(), "job", "", sort="end", changed=True)
        if "retired" not in told.match[0].lower():
            yield from told.say(told.who(), "state", Value(frozenset({"unemployed"}), text="unemployed"))


# --- what is over --------------------------------------------------------------------------------------------------

_ENDS: Final = {
    "quit": "habit", "quits": "habit", "stopped": "habit", "gave up": "habit", "given up": "habit", "dropped": "habit",
    "give up": "habit", "dropped out of": "habit", "resigned from": "habit", "retired from": "habit", "left": "job",
    "unsubscribed from": "habit", "uninstalled": "habit", "cancelled": "plan", "canceled": "plan", "cancel": "plan",
    "called off": "plan", "call off": "plan", "got rid of": "own", "gave away": "own", "sold": "own",
    "take a break from": "habit", "took a break from": "habit", "taken a break from": "habit",
    "broke up with": "love", "split up with": "love", "split from": "love", "divorced": "love", "dumped": "love",
}  # fmt: skip


@frame(
    rf"{WHO} {HAVE}(?P<how>{'|'.join(sorted(_ENDS, key=len, reverse=True))}) (?P<what>.+)",
    " ".join(how.split()[0] for how in _ENDS),
    planned=True,
)
def _ended(told: Told) -> Iterator[Statement]:
    who, kind = told.who(), _ENDS[told.part("how").lower()]
    # "I had to cancel" is done, "I want to quit" is not.
    if who is None or not who.person or (told.clause.unreal and not _DONE.search(told.match[0])):
        return
    what = _TO_DO.sub("", object_of(told.part("what")))
    if not _NOTHING.match(what) and tells(content(what)):
        yield from told.say(who, kind, what, sort="end", changed=True)


_DONE = re.compile(r"\b(?:had|decided) to (?!be\b)", re.IGNORECASE)
_TO_DO = re.compile(r"\A(?:going to|doing)\s+(?=the |my |our |a )", re.IGNORECASE)
_NOTHING = re.compile(r"(?:by|at|in|for|to|on|off|it|that|this|out)\b", re.IGNORECASE)


@frame(
    rf"(?P<who>[^,;:]{{1,50}}?)(?: and (?P<other>[^,;:]{{1,40}}?))? {HAVE}(?:broke up|broken up|split up|separated"
    r"|got divorced|called it quits|are not together|are divorced)(?: (?:on|in) .+)?",
    "broke broken split separated divorced quits together",
)
def _parted(told: Told) -> Iterator[Statement]:
    pair = [one for one in (told.part("who"), told.part("other")) if one]
    mine = [one for one in pair if one.lower() in ME]
    if mine:
        name = next((one for one in pair if one.lower() not in ME), "")
        whom = re.sub(r"\A(?:my|our) \w+ ?", "", name, flags=re.IGNORECASE)
        yield from told.say(subject_of(mine[0], told.me), "love", whom, sort="end", changed=True)
    elif len(pair) > 1:
        yield from told.say(subject_of(pair[0], told.me), "love", pair[1], sort="end", changed=True)
        yield from told.say(subject_of(pair[1], told.me), "love", pair[0], sort="end", changed=True)


@frame(
    rf"{WHO} (?:(?:was|were|is|are|has been|have been|got|had been|had to be) (?:cancelled|canceled|called off"
    r"|discontinued|scrapped|shelved)(?: .+)?|fell through|is off|are off|is not happening)",
    "cancelled canceled called discontinued scrapped shelved fell off happening",
    planned=True,
)
def _was_cancelled(told: Told) -> Iterator[Statement]:
    who = told.who()
    if (who is not None and not who.person) or re.match(r"(?:my|our|the) ", told.part("who"), re.IGNORECASE):
        yield from told.say(person(told.me, told.me), "plan", told.part("who"), sort="end", changed=True)


@frame(rf"{WHO} {HAVE}(?:died|passed away|passed on|(?:was|were) put (?:down|to sleep))(?: .+)?", "died passed put")
def _died(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is not None and not told.clause.remote:
        yield from told.say(
            person(told.me, told.me), "own", re.sub(r"\A(?:my|our) ", "", who.text), sort="end", changed=True
        )


# --- couples -------------------------------------------------------------------------------------------------------


@frame(
    rf"{WHO} (?:{HAVE}(?P<got>got|gotten)|am|is|are|get|have been)(?P<no> not)? (?P<what>{'|'.join(sorted(STATES[0]))}"
    r"|in a (?:\w+ )?relationship|seeing (?:someone|somebody))\b(?: (?:to|with|for|on|in) .+)?",
    " ".join(STATES[0]) + " relationship seeing",
)
def _is_married(told: Told) -> Iterator[Statement]:
    what = told.part("what").lower()
    what = what if what in STATES[0] else "dating"
    if not told.clause.remote:
        yield from told.say(
            told.who(), "state", Value(frozenset({what}), text=what), holds=not told.denied,
            changed=told.clause.changed or bool(told.part("got")),
        )  # fmt: skip
