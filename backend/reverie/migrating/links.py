"""What leads from an episode to others: to the one before it on its day, to earlier ones of its topics. Pure."""

from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from reverie.dream.link import FOLLOWS, LEAST_ALIKE, MOST_TOPIC_LINKS
from reverie.memories.links import SAME_TOPIC, Link

REMEMBERED: Final = 12
"""Of each topic so many episodes are compared with a later one."""

MOST_TOPICS: Final = 16
"""Topics of an episode by which others are looked for."""


class Book:
    """The episodes of a user, as they come in the order of their time.

    Of each at most one `follows` and MOST_TOPIC_LINKS `same_topic` edges are made, to earlier ones.
    """

    def __init__(self) -> None:
        self._last: tuple[date, UUID] | None = None
        self._of: dict[str, deque[tuple[UUID, frozenset[str]]]] = defaultdict(lambda: deque(maxlen=REMEMBERED))

    def add(self, trace_id: UUID, day: date | None, topics: Sequence[str]) -> list[Link]:
        """The edges of an episode."""
        found = []
        if day is not None:
            if self._last is not None and self._last[0] == day and self._last[1] != trace_id:
                found.append(Link(trace_id, self._last[1], FOLLOWS, 1.0))
            self._last = day, trace_id
        here = frozenset(topic.casefold() for topic in topics[:MOST_TOPICS])
        seen: dict[UUID, frozenset[str]] = {}
        for topic in sorted(here):
            seen.update(self._of[topic])
            self._of[topic].append((trace_id, here))
        seen.pop(trace_id, None)
        alike = sorted(
            ((round(len(here & there) / len(here | there), 4), other) for other, there in seen.items()), reverse=True
        )
        found += [
            Link(trace_id, other, SAME_TOPIC, weight) for weight, other in alike[:MOST_TOPIC_LINKS]
            if weight >= LEAST_ALIKE
        ]  # fmt: skip
        return found
