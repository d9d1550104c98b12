"""Frames of what is planned, under way and done. English. Pure functions."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reverie.text.course_frames import act_of, times
from reverie.text.date_words import words_of
from reverie.text.statement_words import ACTIVITIES, EVENTS, PAST, PRESENT
from reverie.text.stating import HAVE, WHO, Frames, Statement, Told, object_of, tells
from reverie.text.subjects import person, subject_of, thing
from reverie.text.values import content, stem, value_of, words

FRAMES: Final = Frames()
frame = FRAMES.add


# --- plans, what is under way, what is done ------------------------------------------------------------------------

_PLANS: Final = (
    r"(?:(?:am|is|are)(?P<no> not)? (?:going to|trying to|about to|planning to|planning on|hoping to|looking to"
    r"|thinking of"
    r"|thinking about|considering|looking forward to|excited to|ready to|aiming to|getting ready to|preparing to"
    r"|planning)|(?:not )?(?:plans?|wants?|hopes?|intends?|aims?|decided|need|needs) to|would (?:like|love) to|can"
    r" not wait to|will|can not|(?:have|has) (?:been|always) (?:wanting|meaning|hoping|planning|thinking|wanted"
    r"|dreamed|dreamt) (?:to|of|about)|(?:am|is|are) (?:dreaming of|interested in|keen to|keen on|tempted to|eager"
    r" to|curious about|toying with|due to|scheduled to|signed up to|registered for|signed up for|enrolled in)"
    r"|dreams? (?:of|about))"
)


@frame(
    rf"{WHO} {_PLANS} (?P<what>.+)",
    "going trying about planning hoping looking thinking considering excited ready aiming getting preparing plan"
    " plans want"
    " wants can has interested keen tempted eager curious toying due scheduled signed registered enrolled dream"
    " dreams dreaming"
    " hope hopes intend intends aim aims decided would wait will wanting meaning need needs",
    planned=True,
)
def _plans(told: Told) -> Iterator[Statement]:
    who = told.who()
    # In the past, or only perhaps.
    if who is None or not (who.person or who.mine) or _MAYBE.search(told.clause.text):
        return
    denied = bool(told.part("no")) or " not " in told.match[0].lower().replace("can not wait", "")
    act, what = _act(told.part("what"))
    if (
        _ABOUT.search(told.match[0][: told.match.start("what")])
        and not _GERUND.match(told.part("what"))
        and not (act == "visit" and what)
    ):
        # Something, not something to do.
        act, what = "look", object_of(told.part("what"))
        act = "visit" if words(what) and words(what)[-1].lower().removesuffix("s") in EVENTS else act
    if act in _NO_ACTS or not tells(content(what)):
        return
    if denied:
        if told.clause.ended:
            yield from told.say(who, "plan", what, sort="end", changed=True)
    else:
        yield from told.say(who, "plan", what, act=act)


_ABOUT = re.compile(
    r"\b(?:considering|thinking of|thinking about|interested in|curious about|keen on|dreaming of|toying with"
    r"|planning|of|about|for|in) \Z",
    re.IGNORECASE,
)
_GERUND = re.compile(r"(?:\w+ )?\w{2,}ing\b(?! (?:is|was)\b)", re.IGNORECASE)
_MAYBE = re.compile(r"\b(?:if|might|maybe|perhaps|used to|wanted|said|told|heard)\b", re.IGNORECASE)


@frame(
    rf"{WHO} (?:am|is|are|have been|has been) (?:(?:flying|going|travelling|traveling|heading|driving|off) to"
    # What follows is no verb: "going to keep on".
    r"|visiting|moving to) (?P<what>(?:(?:the|an?|my|our|some) |(?-i:[A-Z])).+)",
    "flying going travelling traveling heading driving off visiting moving",
    planned=True,
)
def _travels(told: Told) -> Iterator[Statement]:
    who = told.who()
    what = object_of(told.part("what"))
    if who is not None and who.person and tells(content(what)) and not told.clause.extra:
        yield from told.say(who, "plan", what, act="visit")


_EVENT_NOUN: Final = "|".join(sorted(EVENTS, key=len, reverse=True))
_EVENT: Final = rf"(?:(?:a|an|my|our|the|another|this)\b ?)?(?:[\w'-]+ ){{0,4}}?(?:{_EVENT_NOUN})s?"
_COMING: Final = (
    r"(?:coming up|next (?:week|month|weekend|year|\w+day)|tomorrow|soon|in (?:a|two|three|a few|a couple of)"
    r" (?:days?|weeks?|months?)|on (?:\w+day|\w+ \d+)|this (?:\w+day|weekend|week)|\w+ is just around the corner)"
)


@frame(
    rf"(?:{WHO} (?:have|has|(?:am|is|are) (?:having|hosting|preparing for|getting ready for|nervous about|excited for"
    rf"|excited about|looking forward to|training for|rehearsing for))|there is) (?P<what>{_EVENT})(?P<rest> .*)?",
    " ".join(EVENTS | {f"{event}s" for event in EVENTS}),
    planned=True,
)
def _looks_forward(told: Told) -> Iterator[Statement]:
    coming = _COMES.search(told.clause.said) or re.search(r"\b(?:for|about|to) ", told.match[0])
    if coming and not _MAYBE.search(told.clause.text) and not told.clause.extra:
        yield from told.say(subject_of(told.part("who") or "I", told.me), "plan", told.part("what"), act="visit")
    when = value_of(told.part("rest"))
    if when.typed and not told.clause.extra:
        about = thing(
            told.me, _ARTICLE.sub("", object_of(f"{told.part('what')}{_with(told.part('rest'))}")), told.part("what")
        )
        yield from told.say(about and replace(about, mine=True), "on", when)


def _with(text: str) -> str:
    """Whom it is with, of an appointment."""
    match = re.match(r"with ((?:the |my |our )?\S+(?: [A-Z]\S+)*)", text)
    return f" {match[1]}" if match else ""


_ARTICLE = re.compile(r"\A(?:a|an|the|my|our|another|this)\s+", re.IGNORECASE)


@frame(
    rf"(?P<what>(?:my|our|the|this)\b {_EVENT})(?: .+?)? (?:is|are) (?:coming up|next|tomorrow|soon|on|this|in) ?.*",
    " ".join(EVENTS),
    planned=True,
)
def _comes(told: Told) -> Iterator[Statement]:
    yield from told.say(person(told.me, "I"), "plan", told.part("what"), act="visit")


@frame(
    rf"(?P<what>(?:my|our|the|that)\b {_EVENT})(?: .+?)? (?:was|were|went|turned out|ended up|came and went|is over"
    rf"|is done)\b.*",
    " ".join(EVENTS),
)
def _was(told: Told) -> Iterator[Statement]:
    if not told.clause.remote:
        yield from told.say(person(told.me, "I"), "done", told.part("what"), sort="done", act="visit")


_COMES = re.compile(_COMING, re.IGNORECASE)


@frame(rf"{WHO} {HAVE}booked (?P<what>.+)", "booked")
def _booked(told: Told) -> Iterator[Statement]:
    what = _TRIP_TO.sub("", object_of(told.part("what")))
    if tells(content(what)):
        yield from told.say(told.who(), "plan", what, act="visit")


@frame(
    rf"{WHO} have not (?:been to|visited|tried|seen|read|finished|started|booked|found|bought) (?P<what>.+?)(?: yet)?",
    "have has",
)
def _not_yet(told: Told) -> Iterator[Statement]:
    act, what = _act(told.match[0].split(" not ", 1)[1].removesuffix(" yet"))
    if tells(content(what)):
        yield from told.say(told.who(), "plan", what, act=act)


@frame(rf"{WHO} (?:am|is|are|have been|has been) (?P<how>[a-z]{{2,}}ing) (?P<what>.+)", "am is are been")
def _is_at_it(told: Told) -> Iterator[Statement]:
    who = told.who()
    act, what = _act(f"{told.part('how')} {told.part('what')}")
    if who is not None and (who.person or who.mine) and act not in _NO_ACTS and tells(content(what)):
        yield from told.say(who, "doing", what, act=act)
        lasting = PRESENT.get(told.part("how").lower()[:-3]) or PRESENT.get(f"{told.part('how').lower()[:-3]}e")
        if lasting and lasting not in ("go", "have"):
            yield from told.say(who, lasting, what)


@frame(
    rf"{WHO} (?:was|were|have been|has been) (?:(?:in|at) (?:the )?(?:\w+ )?(?:finals?|semifinals?|opening|premiere)"
    rf" of|in|at) (?P<what>{_EVENT})(?: .+)?",
    " ".join(EVENTS),
)
def _was_at(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is not None and who.person and not told.clause.remote:
        yield from told.say(who, "done", told.part("what"), sort="done", act="visit")


@frame(rf"{WHO} (?:have |has )?(?P<what>(?P<how>[a-z]{{2,}}ed|{'|'.join(PAST)}) .+)", "i we i've my our user")
def _did(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is None or not (who.person or who.mine) or told.clause.remote or re.search(r"\bnot\b", told.match[0]):
        return
    act, what = _act(told.part("what"))
    if act not in _NO_ACTS and tells(content(what)):
        yield from told.say(who, "done", what, sort="done", act=act)
        yield from times(told, who, act, what)
        if act in _OPEN:
            # The answer, or the rest of it, is under way.
            yield from told.say(who, "begun", what, act=act)


_VERB = re.compile(
    r"([a-z]+)\b(?: (?:up|out|off|forward|down|in|on|for|with|to|into|at|about|of|through|over|together|around)\b)* ?",
    re.IGNORECASE,
)
_TRIP_TO = re.compile(
    r"\A(?:(?:on|for) )?(?:a|an|our|my|the)? ?(?:[\w-]+ )?(?:trip|vacation|holiday|visit|flights?|journey|tickets?"
    r"|getaway) (?:to|for) ",
    re.IGNORECASE,
)


def _act(text: str) -> tuple[str, str]:
    """What is done, as the stem of a verb that stands for all of its kind, and to what: ("get", "a puppy")."""
    match = _VERB.match(text)
    if match is None:
        return "", ""
    verb, what = match[1].lower(), text[match.end() :]
    if verb == "been" and not text[5:].lower().startswith("to "):
        return "", ""
    if what.lower().startswith("sure"):
        return "", ""
    told = _GOT.match(text)
    if told:
        verb, what = told["how"].lower(), text[told.end() :]
    back = _BACK.match(text)
    if back:
        return "visit", object_of(text[back.end() :])
    if verb in ("a", "an", "the", "my", "our", "some"):
        # "planning a trip to …"
        trip = _TRIP_TO.match(text)
        return "visit", object_of(text[trip.end() :]) if trip else ""
    again = _VERB.match(what) if verb in _BEGUN else None
    if again is not None and again[1].lower().endswith("ing") and what[again.end() :]:
        # "finished reading …"; to start something is to do it.
        verb, what = verb if stem(verb) in _FINISHING else again[1].lower(), what[again.end() :]
    if stem(verb) in _FINISHING:
        # "finished my writing for my book"
        what = _WORK_ON.sub("", what)
    known = stem(PAST.get(verb, verb))
    if known in _TAUGHT:
        what = _HOW_TO.sub("", what)
    elif known == "put" and " together" in match[0].lower():
        known = stem("organise")
    active = _ACTIVE.search(what) if known in ("go", "tak", "hav") else None
    if active:
        return "visit", active[0]
    trip = _TRIP_TO.match(what)
    if trip and known in ("tak", "go", "book", "plan", "mak"):
        return "visit", object_of(what[trip.end() :])
    what = object_of(what)
    nouns = words(what)
    if known in _HELD and nouns and nouns[-1].lower().removesuffix("s") in EVENTS:
        return "visit", what
    return act_of(known), what


_HELD: Final = frozenset(map(stem, words_of(
    "host hold have throw organise organize plan attend run do play perform enter join prepare prep train practice"
    " practise"
    " rehearse participate compete film arrange set"
)))  # fmt: skip
"""What is done of events: whoever plans one and whoever was at it tell of the same."""

_TAUGHT: Final = frozenset(map(stem, ("learn", "study", "practice", "practise", "teach")))
_HOW_TO = re.compile(r"\A(?:how )?(?:to )?(?:play|speak|drive|cook|use|ride|dance)(?:ing)? ", re.IGNORECASE)
_WORK_ON = re.compile(
    r"\A(?:up )?(?:(?:my|the|all|all the) )?(?:writing|work|working|editing|edits|coding|painting|reading|packing"
    r"|(?:first|final|last|rough|second) draft|draft) (?:for|on|of) (?=\w)",
    re.IGNORECASE,
)
_BACK = re.compile(
    r"(?:got|came|come|am|returned|flew|been) (?:(?:home|back|just back) )?(?:back )?from (?:a trip to |the )?",
    re.IGNORECASE,
)
_OPEN: Final = frozenset(map(stem, words_of("apply submit start join sign order interview audition fail")))
"""What is done of which more is to come."""

_GOT = re.compile(
    r"(?:got|get|gotten|was|been) (?P<how>accepted|admitted|hired|rejected|selected|chosen|picked|approved|cast|drafted"
    r"|recruited)(?: (?:in|into|for|to|by|at|as|from)\b)* ?",
    re.IGNORECASE,
)
_ACTIVE = re.compile(rf"\b(?:{'|'.join(ACTIVITIES)})\b", re.IGNORECASE)
_NO_ACTS: Final = frozenset(map(stem, words_of(
    "be being keep feel stay let see hear think know say tell seem hope want need like love enjoy something nothing"
    " anything morning use just always doing do believe remember share show mean guess wonder wait end happen help"
))) | {""}  # fmt: skip
"""What is no plan, nor something under way that would be done one day."""

_BEGUN: Final = words_of(
    "start started starting begin began finish finished finishing completed stopped try tried trying keep"
)
_FINISHING: Final = frozenset(map(stem, ("finish", "completed")))


@frame(rf"{WHO} {HAVE}changed (?:my|his|her|our|their) minds? about (?P<what>.+)", "changed")
def _changed_his_mind(told: Told) -> Iterator[Statement]:
    yield from told.say(told.who(), "plan", _act(told.part("what"))[1], sort="end", changed=True)
