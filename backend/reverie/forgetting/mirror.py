"""The mirror of the graph, as forgetting knows it."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID


class Mirror(Protocol):
    """Holds traces a second time. Those that are forgotten go at once if it answers, else with its next run."""

    async def remove(self, user_id: UUID, trace_ids: Sequence[UUID] | None) -> None:
        """Removes traces of a user, None for all; never raises for the mirror's sake."""
        ...

    async def count(self, user_id: UUID, trace_ids: Sequence[UUID]) -> int | None:
        """How many of these traces it holds; None where it does not say."""
        ...
