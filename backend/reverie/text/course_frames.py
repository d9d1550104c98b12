"""Frames of how things go on: what became of them, what broke, what is not yet. English. Pure functions."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reverie.text.date_words import words_of
from reverie.text.statement_words import ACTS, GOING, PARTICIPLES, PAST
from reverie.text.stating import HAVE, WHO, Frames, Statement, Told, object_of, tells
from reverie.text.subjects import Subject, person, subject_of, thing
from reverie.text.values import Value, content, stem, value_of

FRAMES: Final = Frames()
frame = FRAMES.add

_GOING: Final = frozenset(map(stem, GOING))


def going(told: Told, what: str, how: str) -> Iterator[Statement]:
    """How something goes that goes on for long, if it is the speaker's or is known."""
    about = subject_of(what, told.me)
    if about is None or about.person or about.head not in _GOING or not _KNOWN.match(what):
        return
    known = content(how)
    if known:
        # "Still" says that nothing has changed.
        still = _STILL.search(told.clause.said) is not None
        yield from told.say(
            replace(about, mine=True), "going", Value(known, text=how), changed=True, extra=still, brief=False
        )


_KNOWN = re.compile(r"(?:my|our|the|this)\b", re.IGNORECASE)
_STILL = re.compile(r"\bstill\b", re.IGNORECASE)

_OUTCOMES: Final = {
    "accepted": "accept", "approved": "accept", "picked up": "accept", "rejected": "reject", "turned down": "reject",
    "denied": "reject", "declined": "reject", "published": "publish", "released": "publish", "out": "publish",
    "live": "publish", "deployed": "publish", "merged": "publish", "shipped": "publish", "submitted": "submit",
    "finished": "finish", "done": "finish", "completed": "finish", "complete": "finish", "ready": "finish",
    "over": "visit", "open": "start", "up and running": "start", "fixed": "fix", "repaired": "fix", "launched": "start",
    "arrived": "get", "here": "get", "delivered": "get", "in": "get", "back": "get", "found": "get", "sold": "sell",
}  # fmt: skip


@frame(
    rf"(?P<what>(?:my|our|the)\b [^,;:]{{2,50}}?) (?:(?:(?:am|is|are|was|were|got|has been|have been|had been|has"
    rf"|have|just got) )+(?:all |fully )?(?P<how>{'|'.join(sorted(_OUTCOMES, key=len, reverse=True))})"
    rf"|(?P<came>arrived|came (?:in|back)))(?: .+)?",
    " ".join(how.split()[0] for how in _OUTCOMES) + " arrived came",
)
def _became(told: Told) -> Iterator[Statement]:
    """What became of a thing of somebody's."""
    what, how = told.part("what"), told.part("how").lower() or "arrived"
    if told.clause.remote or re.search(r"\bnot\b", told.match[0]) or not tells(content(what)):
        return
    after = told.match[0][told.match.end("how") :].strip() if told.part("how") else ""
    if how in ("in", "back", "out", "here", "over") and after and not re.match(r"(?:and|at|for|to)\b|\Z", after):
        return
    yield from told.say(person(told.me, "I"), "done", what, sort="done", act=stem(_OUTCOMES[how]))
    yield from going(told, what, how)


_COURSE: Final = (
    r"going|doing|coming (?:along|together)|taking (?:off|shape)|picking up|growing|struggling|thriving|booming"
    r"|slowing down|paying off|falling (?:apart|behind)|failing|making progress|up and running|under ?way|almost"
    r"|nearly|half|halfway|behind|ahead|stuck|stalled|delayed|over budget|a mess|finished|complete|closed|closing"
    r"|moving (?:forward|along)|(?:off|back) to|on (?:hold|track|schedule|pause|the rocks|its|shaky|tenuous|thin"
    r"|solid|a roll|fire)|in (?:progress|the works|full swing|trouble|danger|limbo|good|bad|great|jeopardy)|slow"
    r"|tough|hard|rough"
)


@frame(
    rf"(?P<what>(?:my|our|the|this)\b [^,;:]{{2,50}}?) (?P<how>(?:(?:am|is|are|was) (?:all |really |so"
    rf" )?(?:{_COURSE})\b.{{0,80}}|(?:has been|have been|keeps|keep|continues to|continue to) (?!to\b|in\b|at\b|on"
    rf" my\b).{{2,80}}|(?:has|have) (?:started|stalled|taken off|grown|slowed)\b.{{0,80}}|fell through|took off|is)"
    rf"|goes well|went under)",
    "is are was has have keeps keep continues continue fell took goes went",
)
def _goes(told: Told) -> Iterator[Statement]:
    how = told.part("how")
    if not told.clause.remote and not told.clause.extra and len(how.split()) > 1:
        yield from going(told, told.part("what"), how)


@frame(
    rf"{WHO} (?:(?:am|is|are|have been|has been) )?(?P<how>working(?: hard)? on|wrapping up|having trouble with"
    rf"|struggling with|making progress (?:on|with)|putting the finishing touches on|polishing|revising|finishing up"
    rf"|halfway through|almost done with|nearly done with|sprucing up|expanding|growing|rebuilding|prepping for"
    rf"|stuck on|stuck with|behind on) (?P<what>.+)",
    "working wrapping trouble struggling progress putting polishing revising finishing halfway almost nearly sprucing"
    " expanding growing rebuilding prepping stuck behind",
)
def _is_at(told: Told) -> Iterator[Statement]:
    who = told.who()
    if who is None or who.text.lower() not in ("i", "we") or told.clause.remote:
        return
    for part in _LISTED.split(object_of(told.part("what"))):
        yield from going(told, _OPENING.sub("", part), told.part("how"))
    what = _OPENING.sub("", object_of(told.part("what")))
    if tells(content(what)):
        yield from told.say(who, "doing", what, act=stem("work"))


_LISTED = re.compile(r" and (?=(?:my|our|the|some)\b)", re.IGNORECASE)
_OPENING = re.compile(
    r"\A(?:opening|starting|launching|building|writing|running) (?=(?:a|an|my|our|the) )", re.IGNORECASE
)


@frame(
    rf"(?:{WHO} (?:(?:like|love|enjoy|am|have been|am loving|am enjoying|am so happy|happy|am proud of)"
    rf" )+)?(?:running|having|owning|opening|starting) (?P<what>(?:my|our|the) (?:(?:very )?own )?.+?)(?: (?:has|is"
    rf"|was|have|been) .+)?",
    "running having owning opening starting",
)
def _runs_his_own(told: Told) -> Iterator[Statement]:
    """ "I love running my own studio": it is there."""
    what = object_of(told.part("what"))
    known = thing(told.me, re.sub(r"\A(?:my|our|the) (?:(?:very )?own )?", "", what, flags=re.IGNORECASE), what)
    if known is not None and known.head in _GOING and (" own " in f" {what} " or "been" in told.match[0]):
        yield from told.say(person(told.me, "I"), "done", what, sort="done", act="start")


def sought(what: str) -> str:
    """What is looked for: of a place for something, that."""
    match = _PLACE_FOR.match(what)
    return object_of(match["thing"] if match else what)


_PLACE_FOR = re.compile(
    r"(?:an? |the |some )?(?:[\w-]+ ){0,2}(?:place|spot|space|location|way|somewhere|something|someone|somebody"
    r"|people)\b (?:for|to \w+) (?P<thing>(?:my|our|a|an|the) .+)",
    re.IGNORECASE,
)


@frame(
    rf"{WHO} (?:am|is|are|have been) (?:still )?(?:on the (?:hunt|lookout)|in (?:the market|search)|looking around"
    rf"|shopping|searching around|searching|looking|hunting) (?:for|of) (?P<what>.+)",
    "hunt lookout market search looking shopping searching hunting",
)
def _seeks(told: Told) -> Iterator[Statement]:
    what = sought(told.part("what"))
    if tells(content(what)) and not told.clause.always:
        yield from told.say(told.who(), "doing", what, act="look")


@frame(
    rf"{WHO} (?:am|is|are|have been|has been) (?:still )?(?:waiting (?:for|on)|expecting|awaiting|(?P<list>on"
    r" (?:the|a) (?:waiting list|waitlist) for)) (?P<what>.+)",
    "waiting expecting awaiting waitlist",
)
def _waits(told: Told) -> Iterator[Statement]:
    what = object_of(told.part("what"))
    if tells(content(what)):
        yield from told.say(told.who(), "doing", what, act=stem("apply") if told.part("list") else "wait")


@frame(
    r"(?:searching|looking|hunting) for (?P<what>.+?) (?:has been|is|was|has|takes|isn't)\b .+",
    "searching looking hunting",
)
def _seeking(told: Told) -> Iterator[Statement]:
    what = sought(told.part("what"))
    if tells(content(what)) and not told.clause.remote:
        yield from told.say(person(told.me, "I"), "doing", what, act="look")


@frame(
    r"(?P<what>(?:my|our|the)\b [^,;:]{2,50}?) (?:(?:was|were|got|has been|have been|is|are|had to be) )+(?:pushed back"
    r"|postponed|put off|delayed|rescheduled|moved back|put on hold)(?: (?!to |until |till ).+)?",
    "pushed postponed put delayed rescheduled moved",
    planned=True,
)
def _was_put_off(told: Told) -> Iterator[Statement]:
    yield from told.say(person(told.me, "I"), "plan", told.part("what"), sort="end", changed=True)


# --- times, numbers, shares ----------------------------------------------------------------------------------------

_NTH: Final = {
    word: number
    for number, word in enumerate(
        ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"), 1
    )
}
_NTH_PATTERN: Final = rf"(?P<nth>{'|'.join(_NTH)}|\d{{1,3}}(?:st|nd|rd|th))"
NTH = re.compile(rf"(?:my|our|a|his|her|their) (?:very )?{_NTH_PATTERN} (?:ever )?(?P<what>.+)", re.IGNORECASE)


def times(told: Told, who: Subject, act: str, what: str) -> Iterator[Statement]:
    """How many times somebody did something: "my second tournament"."""
    match = NTH.match(what)
    if match is None:
        return
    said = match["nth"].lower()
    number = _NTH.get(said) or int(re.sub(r"\D", "", said))
    value = value_of(match["what"])
    said_of = Value(value.words, frozenset({("nth", str(number))}), value.names, value.text)
    yield from told.say(who, f"times {act}", said_of, changed=True)


@frame(
    rf"{WHO} (?:{HAVE}|am |are )(?:completed|finished|done|done with|written|wrote|read|through|packed|migrated|tested"
    r"|covered|paid off|saved|reached) (?:about |around |over )?(?P<how>\d{1,3}(?:\.\d+)? ?(?:%|percent)) of"
    r" (?P<what>(?:the|my|our)\b .+)",
    "completed finished done written wrote read through packed migrated tested covered paid saved reached",
)
def _share(told: Told) -> Iterator[Statement]:
    about = subject_of(object_of(told.part("what")), told.me)
    if about is not None and not about.person:
        yield from told.say(about, "share", value_of(told.part("how")))


# --- broken, ill ---------------------------------------------------------------------------------------------------


@frame(
    r"(?P<what>(?:my|our|the)\b [^,;:]{2,40}?) (?:broke(?: down)?|crashed|stopped working|gave out|died on (?:me|us)|is"
    r" (?:broken|acting up|not working|dead)|got (?:broken|wrecked|totaled))(?: .+)?",
    "broke crashed stopped gave died broken acting working dead wrecked totaled",
)
def _broke(told: Told) -> Iterator[Statement]:
    who = subject_of(told.part("what"), told.me)
    if who is not None and not who.person and not told.clause.remote:
        yield from told.say(who, "state", Value(frozenset({"broken"}), text="broken"))
        yield from told.say(person(told.me, "I"), "doing", told.part("what"), act=stem("break"))


@frame(
    rf"{WHO} {HAVE}(?:(?:fixed|repaired|mended) (?P<what>(?:my|our|the)\b [\w -]{{2,40}})|(?:got|had)"
    rf" (?P<thing>(?:my|our|the)\b [\w -]{{2,40}}?) (?:fixed|repaired|mended|replaced|back from the (?:shop|garage)"
    rf"|working|running)(?: .+)?)",
    "fixed repaired mended replaced working running back",
)
def _mended(told: Told) -> Iterator[Statement]:
    what = object_of(told.part("what") or told.part("thing"))
    who = subject_of(what, told.me)
    if who is not None and not who.person and not told.clause.remote:
        yield from told.say(who, "state", Value(frozenset({"fixed"}), text="fixed"))
        yield from told.say(person(told.me, "I"), "done", what, sort="done", act="fix")


_HEALTH: Final = (
    r"(?:sick|ill|injured|unwell|down with .+|in (?:the )?hospital|under the weather|recovering|on crutches|in a cast"
    r"|in bed with .+)"
)
_WELL: Final = (
    r"(?:recovered|better|healthy|well|cured|cancer-free|back on my feet|out of (?:the )?hospital|healed|pain-free)"
)


@frame(
    rf"{WHO} (?:(?:am|is|are|have been|has been|feel|feels|got|was|were|am feeling|is feeling)(?P<no> not)?"
    rf" (?:feeling |so |much |fully |all |very |pretty |a lot |home )*(?:(?P<ill>{_HEALTH})|(?P<well>{_WELL})(?!"
    rf" (?:at|with|in|off|than|aware|known|person|for|about)\b))|(?:(?:am|is|have been|has been) (?:dealing with"
    rf"|battling|fighting|coming down with|recovering from) |{HAVE}(?:caught )?)(?P<had>(?:a|an|the|some) (?:bad "
    rf"|terrible |nasty |mild |awful )?(?:cold|flu|fever|migraine|infection|covid|concussion)|covid|(?:injured"
    rf"|sprained|hurt|twisted|pulled|tore|fractured|broke|broken) (?:my|his|her|an?) (?:\w+ )?(?:ankle|leg|arm|wrist"
    rf"|knee|back|shoulder|foot|hamstring|rib|finger|toe|hip|neck|muscle))|{HAVE}(?P<got>recovered|healed))(?: .+)?",
    "sick ill injured unwell down hospital weather recovering crutches cast bed recovered better healthy well cured"
    " back"
    " cancer-free cold flu fever migraine infection covid concussion ankle leg arm wrist knee shoulder foot"
    " hamstring rib"
    " finger toe hip neck muscle healed pain-free out",
)
def _fares(told: Told) -> Iterator[Statement]:
    """Whether somebody is ill or well."""
    who = told.who()
    if who is None or told.clause.remote or not (who.person or who.mine):
        return
    well = bool(told.part("well") or told.part("got"))
    if told.part("no"):
        return
    word = "well" if well else "ill"
    yield from told.say(who, "state", Value(frozenset({word}), text=word))


@frame(
    rf"{WHO} {HAVE}(?:gave birth|given birth|had (?:a|our|my|the|her) (?:baby|son|daughter|twins))\b.*",
    "birth baby son daughter twins",
)
def _gave_birth(told: Told) -> Iterator[Statement]:
    if not told.clause.remote:
        yield from told.say(
            told.who(), "be", Value(frozenset({"pregnant"}), text="pregnant"), holds=False, changed=True
        )


@frame(
    r"(?:my|the|this)(?: \w+)? (?:injury|illness|surgery|operation|cold|flu|fever)(?:'s| is| was| has)?(?: been)?"
    r" (?P<how>rough|tough|hard|bad|painful|awful|terrible|getting worse|worse|slowing me down|killing me)(?: .+)?",
    "injury injury's illness surgery operation cold flu fever",
)
def _is_hard_to_bear(told: Told) -> Iterator[Statement]:
    yield from told.say(person(told.me, "I"), "state", Value(frozenset({"ill"}), text="ill"))


@frame(
    rf"{WHO} (?:(?:am|is|are|was|were|have been) (?:finally )?able to|can|could) (?:walk|jog|run|play|train|move"
    rf"|work out|exercise|swim|dance|ride|lift)\b(?: .{{0,30}}?)?(?: again)?(?:| with no pain| without (?:any )?pain"
    rf"| pain-free)(?: .+)?",
    "able can could",
    planned=True,
)
def _can_again(told: Told) -> Iterator[Statement]:
    # "Again" is a small word that is told by its mark.
    if re.search(r"\bagain\b|\bpain", told.clause.said, re.IGNORECASE):
        yield from told.say(told.who(), "state", Value(frozenset({"well"}), text="well"))


# --- work ----------------------------------------------------------------------------------------------------------


@frame(
    rf"{WHO} {HAVE}(?:got|gotten|was|were|been|has been|have been) promoted(?: to (?P<what>.+)| (?!to\b).+)?",
    "promoted",
)
def _promoted(told: Told) -> Iterator[Statement]:
    if not told.clause.remote:
        yield from told.say(told.who(), "job", object_of(told.part("what")), changed=True)


@frame(
    rf"{WHO} (?:am |have been )?(?:really |so )?(?:like|love|enjoy|liking|loving|enjoying|settling into|settled into"
    rf"|started|start|starting) (?P<what>my (?:new )?(?:\w+ )?(?:job|position|role)|(?:the|a) new (?:job|position"
    rf"|role))(?: .+)?",
    "job position role",
)
def _has_a_job(told: Told) -> Iterator[Statement]:
    yield from told.say(told.who(), "job", "", changed=bool(re.search(r"\bnew\b", told.part("what"))))


# --- asked, invited, not yet ---------------------------------------------------------------------------------------


@frame(r"(?P<by>[^,;:]{1,60}?) (?:has |have )?invited (?:me|us) to (?P<what>.+)", "invited")
def _invited(told: Told) -> Iterator[Statement]:
    what = object_of(told.part("what"))
    if tells(content(what)) and not told.clause.remote:
        yield from told.say(person(told.me, "I"), "plan", what, act="visit")


@frame(
    rf"{WHO} {HAVE}(?:have |had |got |went to |went for |did |landed )?(?:an?|my|the|another) (?:\w+ )?(?:interview"
    rf"|audition|tryout) (?:for|with|at) (?P<what>.+)",
    "interview audition tryout",
    planned=True,
)
def _was_asked(told: Told) -> Iterator[Statement]:
    yield from told.say(told.who(), "doing", object_of(told.part("what")), act=stem("interview"))


@frame(
    rf"{WHO} (?:am|is|are|have been) in (?:talks|negotiations|discussions|touch) with (?P<what>.+)",
    "talks negotiations discussions touch",
)
def _negotiates(told: Told) -> Iterator[Statement]:
    yield from told.say(told.who(), "doing", object_of(told.part("what")), act=stem("negotiate"))


@frame(
    rf"{WHO} (?:have|has) not(?: (?:ever|yet|always|actually))? (?:(?:been able to|had (?:a|the|any|much)?"
    rf" ?(?:chance|time|opportunity) to|gotten (?:around|a chance) to|got (?:around|a chance) to|managed to)"
    rf" (?P<what>.+?)|(?P<did>(?:been to|[a-z]{{2,}}ed|{'|'.join(sorted(PAST | PARTICIPLES))}) .+?))(?: yet| before|"
    rf" at all)*",
    "have has",
    planned=True,
)
def _has_not(told: Told) -> Iterator[Statement]:
    """What somebody has not done so far."""
    match = _NOT_DONE.match(told.part("what") or told.part("did"))
    if match is None or match[1].lower() in ("been", "had", "got", "felt", "heard", "thought", "decided", "noticed"):
        return
    verb = match[1].lower()
    act, value = act_of(verb), value_of(_ANY.sub("", object_of(match[2])))
    if tells(value.words) or told.part("what"):
        yield from told.say(told.who(), "lack", replace(value, words=value.words | {act}), act=act, changed=False)


@frame(
    rf"{WHO} (?:am|are|is|have been|has been) (?:back to )?(?P<how>[a-z]{{3,}}ing)(?: (?:every|each|twice|three"
    rf" times|once|on weekends|a lot|more|regularly|daily|weekly)\b.*)?",
    "am are is been",
)
def _is_at_it_again(told: Told) -> Iterator[Statement]:
    act, who = act_of(told.part("how")), told.who()
    if who is not None and who.person and len(act) > 2 and told.part("how").lower() not in PASSING_ACTS:
        yield from told.say(who, "doing", Value(frozenset({act}), text=told.part("how")), act=act)


PASSING_ACTS: Final = words_of(
    "going doing being feeling staying keeping getting coming looking trying loving hoping thinking having making"
    " taking"
    " wondering starting talking saying kidding joking smiling crying laughing dying missing struggling"
)
_ANY = re.compile(r"\A(?:any|a single|a|an|one) (?:of )?", re.IGNORECASE)
_NOT_DONE = re.compile(
    r"(been(?= to\b)|(?!been\b)[a-z]+)\b(?: (?:up|out|for|to|at|on|in|with|into|off)\b)* ?(.*)", re.IGNORECASE
)
_ACTS: Final = {stem(verb): act for verb, act in ACTS.items()}


def act_of(verb: str) -> str:
    """What a verb does, as the stem of one that stands for all of its kind."""
    plain = verb.lower()
    known = stem(PAST.get(plain) or PARTICIPLES.get(plain, plain))
    return stem(_ACTS.get(known, known))
