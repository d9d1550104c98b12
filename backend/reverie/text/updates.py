"""Whether what is stated later updates or contradicts what was stated before about the same thing. English, by rules.

Pure functions.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from reverie.text.fulfilled import UNDER_WAY, denies, fulfils, within
from reverie.text.statement_words import (
    DISLIKING,
    LIKING,
    PROFESSIONS,
    REGULAR,
    ROMANTIC,
    STATES,
)
from reverie.text.stating import VAGUE_STEMS, Statement
from reverie.text.subjects import same, same_owner
from reverie.text.values import (
    PASSING,
    also_called,
    compared,
    differ,
    last_word,
    same_sort_of_place,
    stem,
    words,
)

SOON: Final = 10.0
SOON_CHANGED: Final = 35.0
"""Days after which "Friday" and "tomorrow" mean others, and are something else where it is said that it was changed."""


class Update(NamedTuple):
    """That a statement takes the place of an older one: what both are about, for a person to read."""

    about: str
    newer: Statement
    older: Statement


def update_of(newer: Iterable[Statement], older: Iterable[Statement], days: float = 0.0) -> Update | None:
    """What some statements update or contradict among older ones; the first that is found.

    Args:
        newer: of one text.
        older: of one text that came before.
        days: that lie between the texts.
    """
    before = list(older)
    for one in newer:
        for other in before:
            if _updates(one, other, days):
                return Update(_about(one, other), one, other)
    return None


def _updates(newer: Statement, older: Statement, days: float) -> bool:
    if newer.attribute == "lack" and older.sort == "done":
        return denies(newer, older)
    if older.sort != "state" or (newer.extra and newer.holds):
        return False
    if newer.sort == "end":
        return _ends(newer, older) and (newer.attribute != "plan" or days <= _PLANNED)
    if newer.sort == "from":
        return _takes_its_place(newer, older)
    if newer.sort == "done":
        return fulfils(newer, older, days)
    if newer.sort == "to":
        return _is_changed(newer, older, days)
    if _has_work(newer, older):
        return True
    if newer.attribute == "doing" and older.attribute in ("plan", "lack"):
        return fulfils(newer, older, days)
    if newer.attribute != older.attribute or not same(newer.subject, older.subject, loosely=newer.changed):
        return False
    if newer.attribute == "state":
        return _is_in_another_state(newer, older, days)
    if newer.holds != older.holds:
        return _contradicts(newer, older)
    # "… for indentation": what is to be done for one purpose.
    ordered = _another_wish if newer.attribute.startswith("do ") and newer.attribute.count(" ") > 1 else None
    if newer.attribute.startswith("times "):
        return _another_time(newer, older, days)
    single = _SINGLE.get(newer.attribute, ordered)
    return newer.holds and single is not None and single(newer, older, days)


_RARELY: Final = frozenset({"have", "prefer", "employer", "doing", "on"})
"""Attributes of which one has several, unless it is said that one of them is new."""


def may_update(statement: Statement) -> bool:
    """Whether it is worth to look for what a statement takes the place of."""
    if statement.sort != "state" or not statement.holds or statement.changed:
        return True
    if statement.attribute in ("doing", "lack"):
        return bool(statement.act) if statement.attribute == "doing" else statement.rule
    return statement.attribute == "state" or (statement.attribute in _SINGLE and statement.attribute not in _RARELY)


# --- what to look for ----------------------------------------------------------------------------------------------

_FAMILIES: Final = {
    "live": "live lives living reside based home moved",
    "live with": "live lives living moved",
    "job": "work works working job employed unemployed jobless promoted",
    "employer": "work works working job employed unemployed jobless",
    "age": "years old turned",
    "weight": "weigh weighs kilos kg pounds",
    "answer in": "answer reply respond write speak",
    "called": "called named name call",
    "holder": "owner lead maintainer responsible charge owns leads maintains",
    "love": " ".join(sorted(ROMANTIC)) + " dating engaged married",
}
"""Attributes that are told without a word of the value → the words they are told with."""

_HEALTH: Final = {
    "well": "sick ill injured flu cold hospital broke sprained", "ill": "better recovered healthy well pain-free",
}  # fmt: skip
"""States of health → the words by which others are told."""

_SAME: Final = {"employer": "job", "love": "state"}
MOST_WORDS: Final = 8


def cues(statement: Statement) -> list[str]:
    """Words of which one at least stands in whatever a statement updates, and in whatever updates it."""
    said = "" if statement.sort == "state" and statement.attribute in _FAMILIES else statement.value.text
    about = "" if statement.subject.person else statement.subject.text
    family = _FAMILIES.get(statement.attribute, "") if not about else ""
    if statement.attribute == "state":
        said = " ".join(word for group in STATES if statement.value.words & group for word in sorted(group))
        said = _HEALTH.get(" ".join(statement.value.words), said)
    verb = " ".join(_said_by(statement))
    if statement.attribute == "doing" and statement.act in _AT_HAND:
        verb = _AT_HAND[statement.act]
    found = [
        word for word in words(f"{about} {statement.replaced.text} {said} {verb} {family}")
        if stem(word) not in VAGUE_STEMS
    ][:MOST_WORDS]  # fmt: skip
    # Of what goes by several names, by each of them.
    return list(dict.fromkeys(other for word in found for other in also_called(word.lower())))


def keys(statement: Statement, *, newer: bool = False) -> frozenset[str]:
    """What two statements share of which one updates the other: stems, and signs of attributes."""
    attribute = _SAME.get(statement.attribute, statement.attribute)
    sign = {f"@{attribute}"} if statement.attribute in _FAMILIES or attribute == "state" else set()
    if statement.subject.head in _ROMANTIC:
        sign.add("@state")
    about = frozenset() if statement.subject.person else statement.subject.words
    if statement.value.words & _WITHOUT_WORK:
        sign.add("@job")
    if statement.attribute == "job" and newer:
        sign.add("job")
    if statement.attribute == "doing" and statement.act in _AT_HAND:
        sign.add(f"@{statement.act}")
    if statement.attribute == "lack" or (newer and statement.attribute in ("doing", "done") and statement.act):
        sign.add(f"@not {statement.act}")
    if statement.attribute == "lack" and newer:
        sign.add(f"@did {statement.act}")
    if statement.sort == "done" and not newer:
        return frozenset({f"@did {statement.act}"})
    return statement.value.words | statement.replaced.words | about | sign | set(map(stem, _said_by(statement)))


def _said_by(statement: Statement) -> list[str]:
    """The words of an attribute that may be all that two statements share: "I smoke", "use … for indentation"."""
    first, *rest = statement.attribute.split()
    if first == "do":
        return rest[1:]
    return [first] if first in REGULAR - LIKING - DISLIKING and not rest else []


_WITHOUT_WORK: Final = frozenset({"unemployed", "jobless"})


# --- one value at a time -------------------------------------------------------------------------------------------


def _another_place(newer: Statement, older: Statement, _days: float) -> bool:
    if differ(newer.value, older.value) is not True or not newer.value.names or not older.value.names:
        return False
    return same_sort_of_place(newer.value, older.value)


def _another(newer: Statement, older: Statement, _days: float) -> bool:
    return differ(newer.value, older.value) is True


def _another_now(newer: Statement, older: Statement, _days: float) -> bool:
    return newer.changed and differ(newer.value, older.value) is True


def _another_job(newer: Statement, older: Statement, _days: float) -> bool:
    if differ(newer.value, older.value) is not True:
        return False
    known = newer.value.words & _PROFESSIONS and older.value.words & _PROFESSIONS
    return bool(known) or newer.changed


def _has_work(newer: Statement, older: Statement) -> bool:
    """Whether one has found work who had none, or looked for it there."""
    if newer.attribute not in ("job", "employer") or not newer.holds or not same(newer.subject, older.subject):
        return False
    if older.attribute == "state":
        return older.holds and bool(older.value.words & _WITHOUT_WORK)
    sought = older.attribute in ("doing", "begun") and older.act in ("interview", "apply")
    return newer.changed and sought and bool(newer.value.names & older.value.names)


def _another_figure(newer: Statement, older: Statement, days: float) -> bool:
    """Of what a thing is: a name for a name, a figure for a figure, a day for a day that is not over."""
    shared = compared(newer.value, older.value)
    if shared:
        other = {kind for kind, differs in shared if differs}
        return bool(other - PASSING) or (bool(other) and days <= (SOON_CHANGED if newer.changed else SOON))
    if newer.value.typed or older.value.typed:
        return False
    if newer.subject.head in _WRITTEN:
        return not (newer.value.words <= older.value.words or older.value.words <= newer.value.words)
    return differ(newer.value, older.value) is True


def _another_time(newer: Statement, older: Statement, _days: float) -> bool:
    """The second of what was the first before, or the third."""
    new, old = newer.value, older.value
    if new.names and old.names and not new.names & old.names:
        return False
    later = int(new.kinds()["nth"]) > int(old.kinds()["nth"])
    return later and last_word(new) == last_word(old) and within(new, old)


def _another_course(newer: Statement, older: Statement, days: float) -> bool:
    """How something goes, told some days later."""
    told = len(newer.subject.words) > 1 or all(_OWN.match(one.subject.text) for one in (newer, older))
    return _SOME_DAYS <= days <= (_LONG if told else _SHORTLY) and newer.value.words != older.value.words


_OWN = re.compile(r"(?:my|our)\b", re.IGNORECASE)
_SOME_DAYS: Final = 3.0
_SHORTLY: Final = 45.0
_LONG: Final = 240.0
"""Days after which "the book" is another one, and whatever is told of."""


def _more_of_them(newer: Statement, older: Statement, _days: float) -> bool:
    new, old = newer.value.kinds(), older.value.kinds()
    shared = {kind for kind in new.keys() & old.keys() if kind.startswith("number ")}
    return newer.changed and any(new[kind] != old[kind] for kind in shared)


def _another_wish(newer: Statement, older: Statement, _days: float) -> bool:
    return differ(newer.value, older.value) is True and (newer.rule or newer.changed or older.rule)


def _another_at_hand(newer: Statement, older: Statement, days: float) -> bool:
    """Another book that is read now: one that is named, and was not on the same days."""
    if newer.act != older.act or newer.act not in _AT_HAND or days < _A_WHILE or not newer.value.names:
        return False
    if not older.value.names:
        return days >= _LONGER and last_word(older.value) in _READ
    return differ(newer.value, older.value) is True


_READ: Final = frozenset(
    map(
        stem,
        ("book", "novel", "series", "memoir", "biography", "thriller", "mystery", "manga", "comic", "show", "season"),
    )
)
_LONGER: Final = 14.0
"""Days after which what was read without being named is read no longer."""

_AT_HAND: Final = {"read": "read reading", "see": "watching watch", "listen": "listening listen"}
_A_WHILE: Final = 7.0
"""Days after which somebody who tells what he is at tells of the next."""


def _another_kind(newer: Statement, older: Statement, _days: float) -> bool:
    """Of what has another word beside the same noun: dark mode, light mode."""
    return newer.changed and bool(newer.value.words - older.value.words) and bool(older.value.words - newer.value.words)


def _another_appointment(newer: Statement, older: Statement, days: float) -> bool:
    return newer.changed and _another_figure(newer, older, days)


_SINGLE: Final[Mapping[str, Callable[[Statement, Statement, float], bool]]] = {
    "live": _another_place,
    "job": _another_job,
    "employer": _another_now,
    "called": _another,
    "price": _another,
    "weight": _another,
    "age": _another,
    "runs on": _another,
    "is": _another_figure,
    "holder": _another,
    "have": _more_of_them,
    "prefer": _another_kind,
    "answer in": _another_wish,
    "doing": _another_at_hand,
    "going": _another_course,
    "share": _another,
    "on": _another_appointment,
    "on a plan": _another_kind,
    "on a tier": _another_kind,
    "on a subscription": _another_kind,
    "on a diet": _another_kind,
    "on a shift": _another_kind,
    "on a team": _another_kind,
    "on a schedule": _another_kind,
} | dict.fromkeys(("start", "open", "close", "end", "expire", "leave", "arrive", "last", "ship"), _another_figure)
"""Attributes of which a subject has one value at a time → whether a newer one takes the place of an older."""

_PROFESSIONS: Final = frozenset(map(stem, PROFESSIONS))
_ROMANTIC: Final = frozenset(map(stem, ROMANTIC))
_WRITTEN: Final = frozenset(
    map(stem, ("address", "email", "password", "username", "url", "endpoint", "hostname", "token"))
)
"""What is written in several words of which some may stay."""


# --- contradicted, ended, replaced ---------------------------------------------------------------------------------


def _contradicts(newer: Statement, older: Statement) -> bool:
    """Whether one denies what the other says: all of it, or more."""
    if newer.brief or older.brief:
        return False
    new, old = newer.value.words, older.value.words
    if newer.attribute in ("live", "job", "employer"):
        return bool(new & old)
    if not newer.holds:
        return new <= old and (new == old or newer.changed) and bool(new or not old)
    return new == old or (bool(old) and old <= new)


def _is_in_another_state(newer: Statement, older: Statement, days: float) -> bool:
    [new], [old] = newer.value.words, older.value.words
    if new in _HEALTH and days > _PLANNED:
        return False
    if new == old:
        return newer.holds != older.holds
    return newer.holds and older.holds and any({new, old} <= group for group in STATES)


_PLANNED: Final = 120.0
"""Days after which what is cancelled is another one, and who is ill has something else."""

_ENDED_BY: Final = {
    "habit": frozenset({"own", "run", "drive", "wear"}),
    "plan": frozenset({"plan", "is", "start", "begin"}),
}


def _ends(newer: Statement, older: Statement) -> bool:
    gone, said, kind = newer.value.words, older.value.words, newer.attribute
    if not older.holds:
        return False
    mine = same(newer.subject, older.subject)
    if older.attribute == "plan" and older.act in _LEAVING:
        return mine and (bool(gone & said) or (kind == "job" and not gone and "job" in said))
    if kind == "live with":
        return mine and older.attribute == "live with" and (not gone or bool(gone & said))
    if kind == "love":
        return _is_loved(newer, older)
    if kind == "job" and not gone:
        return mine and older.attribute in ("job", "employer")
    if kind == "plan":
        owned = older.subject.owner in ("", *newer.subject.words)
        meant = older.attribute == "plan" or (older.attribute in ("doing", "begun") and older.act in _PREPARED)
        planned = (
            mine
            and meant
            and (
                bool(gone & said - _TRIP)
                or (last_word(newer.value) == last_word(older.value) and bool(said) and said <= gone)
            )
        )
        return planned or (owned and older.attribute in _ENDED_BY["plan"] and gone == older.subject.words)
    if not mine or older.attribute in ("is", "age", "be", "state", "called"):
        return False
    if kind == "own":
        return older.attribute in ("have", "drive", "own", "wear", "use") and bool(gone) and gone <= said
    if kind == "job":
        return older.attribute in ("job", "employer") and bool(gone & said)
    if older.attribute in ("job", "employer"):
        return bool(gone & said)
    return bool(gone) and gone <= said | {stem(older.attribute)}


_LEAVING: Final = frozenset(map(stem, ("quit", "leave", "sell", "drop", "cancel", "stop")))
_PREPARED: Final = frozenset(map(stem, ("train", "study", "visit", "look", "book", "save", "arrange")))
_TRIP: Final = frozenset(
    map(stem, ("trip", "holiday", "vacation", "flight", "visit", "plan", "plans", "booking", "weekend", "week"))
)


def _is_loved(newer: Statement, older: Statement) -> bool:
    """Whether an older statement is of the two that are no longer a couple."""
    who, whom = newer.subject.words, newer.value.words
    if older.attribute == "is" and older.subject.head in _ROMANTIC and older.subject.owner:
        return set(older.subject.owner.split()) & who != set() and (not whom or bool(whom & older.value.words))
    if older.attribute == "state" and older.subject.words & who:
        return bool(older.value.words & {"dating", "engaged", "married"})
    return False


def _takes_its_place(newer: Statement, older: Statement) -> bool:
    """Whether what something took the place of is what the older says."""
    said = older.value.words | older.subject.words
    if not older.holds or not newer.replaced.words <= said:
        return False
    # "I" may be whoever works on a thing: "we switched from … to …".
    about = newer.subject
    if about.person:
        return same(about, older.subject) or (not older.subject.owner and not older.subject.person)
    return bool(about.words & said) and same_owner(about, older.subject)


def _is_changed(newer: Statement, older: Statement, days: float) -> bool:
    """Whether the older tells the value of a thing before it was changed."""
    if not older.holds:
        return False
    if newer.attribute == "holder":
        return (
            older.attribute == "holder"
            and same(newer.subject, older.subject, loosely=True)
            and _another(newer, older, days)
        )
    if (
        newer.subject.words
        and newer.subject.words <= older.value.words
        and not older.subject.words & {newer.subject.head}
    ):
        # "I take 10 mg of …": "… was raised to 20 mg".
        return any(other for _, other in compared(newer.value, older.value)) and same_owner(
            newer.subject, older.subject
        )
    if not same(newer.subject, older.subject, loosely=True):
        return False
    if older.attribute in ("like", "be", "state", *UNDER_WAY):
        return False
    if older.attribute == "price":
        return _another(newer, older, days)
    if older.attribute == "called" or newer.subject.head == "nam":
        return differ(newer.value, older.value) is True
    return _another_figure(newer, older, days)


def _about(newer: Statement, older: Statement) -> str:
    attribute = older.attribute if newer.sort != "state" else newer.attribute
    about = older.subject.text.strip()
    return f"{about}: {attribute}" if attribute != "is" else about
