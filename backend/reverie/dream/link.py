"""Linking: what the day's traces are like among older ones, and which summaries go on from which.

`similar` leads from a trace to older ones that say nearly the same. `follows` leads from a summary to the one before it
of the same conversation, or of the day to that of the day before. `same_topic` leads from a summary to earlier ones
that share words of its topics. The last two are made of all summaries of the user each time: so they are right whatever
day was dreamt late, or has gone.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from reverie.core import clock
from reverie.core.database import WriteSession
from reverie.core.queries import Queries
from reverie.dream.protocol import Day, Did, Night, Write
from reverie.memories import deriving
from reverie.memories.deriving import Edge, Mark
from reverie.memories.likeness import Likeness
from reverie.memories.links import SAME_TOPIC, SIMILAR
from reverie.memories.model import Model
from reverie.text.topics import stem_of

SQL = Queries("reverie.dream", "link.sql")

FOLLOWS: Final = "follows"

MOST_TOPIC_LINKS: Final = 3
"""`same_topic` edges of a summary."""

MOST_SHARED: Final = 12
"""A word that stands in the topics of more earlier summaries tells nothing."""

LEAST_ALIKE: Final = 0.2
"""Of the words of two summaries' topics, the share that both have."""


class Told(NamedTuple):
    """A summary of a user: its conversation (None: of a whole day), its day, and the words of its topics."""

    id: UUID
    conversation_id: str | None
    day: str
    words: frozenset[str]


class Linking:
    """The stage ``link``."""

    name = "link"

    async def prepare(self, day: Day, night: Night) -> Did | Write:
        ids = [one for one in day.ids if one not in day.aside]
        did = Did(saw=len(ids))
        similar = await self._similar(day, night, ids, did)
        mark = Mark(day.space_id, day.user_id, day.key, night.run_id, clock.now())
        return partial(_write, mark=mark, model=night.model, ids=ids, similar=similar, did=did)

    async def _similar(self, day: Day, night: Night, ids: Sequence[UUID], did: Did) -> list[Edge] | None:
        """None where it would take too long."""
        likeness = self._likeness(day, night)
        if not ids:
            return []
        found = await likeness.of(ids)
        if not likeness.cheap:
            did.skipped["too many traces to be compared"] = len(ids)
            return None
        return [Edge(one.trace_id, one.older, SIMILAR, one.cosine) for one in found]

    def _likeness(self, day: Day, night: Night) -> Likeness:
        """The vectors of the user, fetched once for days of one user that come one after the other."""
        user_id, likeness = night.kept.get(self.name, (None, None))
        if user_id != day.user_id or not isinstance(likeness, Likeness):
            likeness = Likeness(night.database, night.model, day.space_id, day.user_id)
            night.kept[self.name] = (day.user_id, likeness)
        return likeness


async def _write(
    session: WriteSession, *, mark: Mark, model: Model, ids: Sequence[UUID], similar: list[Edge] | None, did: Did
) -> Did:
    made = removed = 0
    if similar is not None:
        query = SQL.text("compared_before", column=model.column, model=model.id)
        left = {(row[0], row[1]) for row in await session.fetch(query, (mark.user_id, ids))}
        made, removed = await deriving.set_edges(session, mark, ids, [SIMILAR], similar, left=left)
    told = summaries(await session.fetch(SQL["summaries"], (mark.user_id,)))
    more = await deriving.set_edges(
        session, mark, [one.id for one in told], [FOLLOWS, SAME_TOPIC], [*chained(told), *alike(told)]
    )
    return Did(saw=did.saw, made=made + more[0], removed=removed + more[1], skipped=did.skipped)


def summaries(rows: Sequence[tuple[object, ...]]) -> list[Told]:
    """The summaries of a user in the order of their days."""
    told = []
    for trace_id, conversation, day, topics in rows:
        phrases = [one for one in topics if isinstance(one, str)] if isinstance(topics, list) else []
        words = frozenset(stem_of(word) for phrase in phrases for word in phrase.split())
        told.append(Told(trace_id, conversation, str(day), words))  # type: ignore[arg-type]
    return sorted(told, key=lambda one: (one.day, one.conversation_id or "", one.id))


def chained(told: Sequence[Told]) -> list[Edge]:
    """From each summary to the one before it of the same conversation, or of the day before. Pure."""
    last: dict[str | None, UUID] = {}
    found = []
    for one in told:
        if one.conversation_id in last:
            found.append(Edge(one.id, last[one.conversation_id], FOLLOWS))
        last[one.conversation_id] = one.id
    return found


def alike(told: Sequence[Told]) -> list[Edge]:
    """From each summary to the earlier ones with which it shares most of its topics; of equals the later. Pure."""
    having: dict[str, list[int]] = defaultdict(list)
    found = []
    for place, one in enumerate(told):
        shared: Counter[int] = Counter()
        for word in one.words:
            if len(having[word]) <= MOST_SHARED:
                shared.update(having[word])
        found += [Edge(one.id, told[other].id, SAME_TOPIC, weight) for weight, other in _best(told, one, shared)]
        for word in one.words:
            having[word].append(place)
    return found


def _best(told: Sequence[Told], one: Told, shared: Mapping[int, int]) -> list[tuple[float, int]]:
    scored = [
        (round(count / len(one.words | told[other].words), 4), other)
        for other, count in shared.items() if told[other].day < one.day
    ]  # fmt: skip
    return sorted((one for one in scored if one[0] >= LEAST_ALIKE), reverse=True)[:MOST_TOPIC_LINKS]
