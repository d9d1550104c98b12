"""How the questions of a collection are asked: as they stand, of little memory, or in the middle of a conversation."""

import random
import re
from calendar import day_name, month_name
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from bench.conversations import Conversation

LITTLE: Final = (5, 50)
"""Least and most turns of a memory that has not grown yet."""

_NAME = r"[A-Z][\w’-]*(?:'(?!s\b)\w+)?"
_NAMES: Final = re.compile(rf"(?<=[\w,;] ){_NAME}(?: {_NAME})*('s\b)?")
_FIRST_NAME: Final = re.compile(rf"^{_NAME}(?='s\b)")
_KEPT: Final = frozenset({"I", "I'm", "I've", "I'd", "I'll", *month_name, *day_name} - {""})


class Case(NamedTuple):
    """A question of a conversation as it is asked: ``text`` in other words perhaps, ``more`` of a recall's fields.

    ``focus`` names the traces of the conversation in progress, the newest first.
    """

    conversation: Conversation
    number: int
    text: str
    more: dict[str, Any]
    focus: Sequence[str] = ()

    @property
    def question(self) -> tuple[str, str, int]:
        """What tells questions apart."""
        return self.conversation.collection, self.conversation.name, self.number


def cases_of(conversations: Sequence[Conversation], **more: Any) -> list[Case]:
    """Every question as it stands."""
    return [Case(one, number, asked.text, more) for one in conversations for number, asked in enumerate(one.questions)]


def of_little(conversations: Sequence[Conversation], sizes: Sequence[int] | None = None, seed: int = 0) -> list[Case]:
    """Questions asked of some turns in a row, as if no others were remembered: those that have the evidence.

    A question whose evidence lies further apart is left out.

    Args:
        conversations: that have the questions.
        sizes: of how many turns each question is asked, once for each; any from :data:`LITTLE` once, if not given.
        seed: of the places and the sizes.
    """
    rng = random.Random(f"little {seed}")
    cases = []
    for conversation in conversations:
        turns = _in_time(conversation)
        places = {trace["external_id"]: place for place, trace in enumerate(turns)}
        for number, asked in enumerate(conversation.questions):
            held = [places[name] for name in asked.evidence if name in places]
            if len(held) < len(asked.evidence):
                continue
            for size in sizes or (rng.randint(*LITTLE),):
                earliest, latest = max(0, max(held) - size + 1), min(min(held), len(turns) - size)
                if earliest <= latest:
                    start = rng.randint(earliest, latest)
                    more = _between(turns, start, start + size)
                    cases.append(Case(conversation, number, asked.text, more))
    return cases


def follow_ups(conversations: Sequence[Conversation], size: int) -> list[Case]:
    """Questions put as they follow a conversation in progress: names are left out, and nothing came after it.

    The conversation is that of the evidence, its last ``size`` turns are in focus; a question whose evidence lies in
    several is left out.
    """
    cases = []
    for conversation in conversations:
        turns = _in_time(conversation)
        for number, asked in enumerate(conversation.questions):
            sessions = {trace["conversation_id"] for trace in turns if trace["external_id"] in asked.evidence}
            if len(sessions) == 1:
                end = max(place for place, trace in enumerate(turns) if trace["conversation_id"] in sessions) + 1
                focus = [trace["external_id"] for trace in reversed(turns[max(0, end - size) : end])]
                more = {"until": _between(turns, 0, end)["until"]}
                cases.append(Case(conversation, number, without_names(asked.text), more, focus))
    return cases


def in_focus(conversation: Conversation, size: int) -> list[str]:
    """What is in focus when a whole conversation was remembered: its last turns, the newest first."""
    return [trace["external_id"] for trace in reversed(conversation.traces[-size:])]


def without_names(question: str) -> str:
    """A question as it is put when everyone knows of whom and what it is: "And what did they say then?" """

    def pronoun(found: re.Match[str]) -> str:
        if found.group() in _KEPT:
            return found.group()
        return "their" if found.group(1) else "they"

    told = _NAMES.sub(pronoun, _FIRST_NAME.sub("their", question))
    told = re.sub(r"\btheir's\b", "their", told)
    return f"And {told[0].lower()}{told[1:]}" if told.split(" ", 1)[0] not in _KEPT else f"And {told}"


def _in_time(conversation: Conversation) -> list[dict[str, Any]]:
    return sorted((one for one in conversation.traces if "occurred_at" in one), key=lambda one: str(one["occurred_at"]))


def _between(turns: Sequence[dict[str, Any]], start: int, end: int) -> dict[str, Any]:
    last = datetime.fromisoformat(turns[end - 1]["occurred_at"]) + timedelta(microseconds=1)
    return {"since": turns[start]["occurred_at"], "until": last.isoformat()}
