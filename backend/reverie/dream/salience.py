"""Salience: what the night thinks worth keeping of what came without a word about it.

A trace is weighed once, when its day is first dreamt: then the days before it are known, and none after it. What fades
with time and is strengthened by being recalled is computed when it is read (:mod:`reverie.memories.strength`).
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final
from uuid import UUID

from reverie.core.database import WriteSession
from reverie.core.queries import Queries
from reverie.dream import repository
from reverie.dream.protocol import Day, Did, Night, Trace, Write
from reverie.text.salience import MOST_CHARS, NEUTRAL, Said, weigh
from reverie.text.summaries import Turn

SQL = Queries("reverie.dream", "salience.sql")

LOOK_BACK: Final = 500
"""Earlier traces by which it is said which words are rare, and which are new."""

WEIGHED: Final = frozenset({"turn", "note", "fact"})
"""Chunks are parts of documents: nobody says them, and how much one matters its words do not tell."""

SET_DOWN: Final = frozenset({"note", "fact"})
"""What somebody set down on purpose matters no less than what nobody has weighed."""


class Weighing:
    """The stage ``salience``."""

    name = "salience"

    async def prepare(self, day: Day, night: Night) -> Did | Write:
        did = Did(saw=len(day.traces))
        if not any(map(_is_open, day.traces)):
            return did
        async with night.database.reading(day.space_id) as session:
            earlier = await repository.earlier_texts(session, day, LOOK_BACK, MOST_CHARS)
        weighed = await asyncio.to_thread(weighed_of, day, earlier)
        return partial(_write, day=day, weighed=weighed, did=did) if weighed else did


def weighed_of(day: Day, earlier: Sequence[Sequence[Turn[UUID]]]) -> dict[UUID, float]:
    """The salience of the traces of a day that nobody has weighed, where it is not what they have. Pure."""
    conversations = [[trace for trace in group.traces if trace.kind in WEIGHED] for group in day.groups]
    said = [[Said(trace.text, trace.language, trace.role, trace.speaker) for trace in some] for some in conversations]
    before = (Said(turn.text, turn.language or day.language or "") for turns in earlier for turn in turns)
    return {
        trace.id: least
        for some, numbers in zip(conversations, weigh(said, before), strict=True)
        for trace, number in zip(some, numbers, strict=True)
        if _is_open(trace) and (least := max(number, NEUTRAL) if trace.kind in SET_DOWN else number) != NEUTRAL
    }


async def _write(session: WriteSession, *, day: Day, weighed: dict[UUID, float], did: Did) -> Did:
    rows = await session.fetch(SQL["weigh"], (list(weighed), list(weighed.values()), day.user_id))
    return Did(saw=did.saw, changed=len(rows))


def _is_open(trace: Trace) -> bool:
    """Whether its salience is the one that everything begins with."""
    return trace.kind in WEIGHED and not trace.salience_given and trace.salience == NEUTRAL
