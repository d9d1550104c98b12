"""Grouping: which traces of a day belong together."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from reverie.dream.protocol import Day, Did, Group, Night, Trace, Write

PAUSE: Final = timedelta(hours=1)
"""After so long a silence a conversation turns to something else."""


class Grouping:
    """The stage ``group``: it writes nothing, the others find what it made in :attr:`Day.groups`."""

    name = "group"

    async def prepare(self, day: Day, night: Night) -> Did | Write:  # noqa: ARG002 - as the protocol has it
        return Did(saw=len(day.traces), made=sum(len(group.topics) for group in day.groups))


def grouped(traces: Sequence[Trace]) -> tuple[Group, ...]:
    """The groups of a day's traces, which are in the order of their time. Pure."""
    found: dict[str | None, list[Trace]] = {}
    for trace in traces:
        found.setdefault(trace.conversation_id, []).append(trace)
    return tuple(Group(conversation, tuple(some), topics(some)) for conversation, some in found.items())


def topics(traces: Sequence[Trace]) -> tuple[tuple[Trace, ...], ...]:
    """Traces of one conversation, cut after each silence of :data:`PAUSE`."""
    parts: list[list[Trace]] = []
    for trace in traces:
        if not parts or trace.happened_at - parts[-1][-1].happened_at > PAUSE:
            parts.append([])
        parts[-1].append(trace)
    return tuple(tuple(part) for part in parts)
