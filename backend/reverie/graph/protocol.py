"""What the graph of a user is read from: PostgreSQL, which holds it, or a mirror of it that is as new."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias
from uuid import UUID

TOGETHER = "mentioned_together"
"""The type of an edge that is computed when it is asked for: the same traces mention both entities."""


Id: TypeAlias = bytes
"""A trace's id as its 16 bytes: a picture is chosen from thousands, and a ``UUID`` is compared and hashed in Python."""


class Whose(NamedTuple):
    """The user whose graph is read, and its space."""

    space_id: UUID
    user_id: UUID


class Link(NamedTuple):
    """An edge of the graph."""

    src: Id
    dst: Id
    type: str
    weight: float

    def other(self, one: Id) -> Id:
        """Its other end."""
        return self.dst if one == self.src else self.src


class GraphBackend(Protocol):
    """How a graph is read. Every answer is bounded, and nobody else's; what may be seen of it is told by PostgreSQL.

    ``types`` None stands for all.
    """

    name: str

    async def entities(self, whose: Whose, most: int) -> list[tuple[Id, float]]:
        """The entities that are mentioned most, with a number that says how much; the most first."""
        ...

    async def neighbours(
        self, whose: Whose, ids: Sequence[Id], types: Sequence[str] | None, most: int
    ) -> list[Link]:  # fmt: skip
        """The edges of some traces; of a trace that has very many, ``most`` each way, the newest or strongest.

        What mentions a trace is counted by itself: it may be everything.
        """
        ...

    async def among(self, whose: Whose, ids: Sequence[Id], types: Sequence[str] | None) -> list[Link]:
        """The edges of which both ends are among these."""
        ...

    async def together(self, whose: Whose, ids: Sequence[Id], most: int) -> list[Link]:
        """Which of these entities stand in the same traces, those that do most first: :data:`TOGETHER`.

        The weight is the cosine of both: how many traces mention both, by the root of how many mention each.
        """
        ...
