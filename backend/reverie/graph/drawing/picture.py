"""A part of a graph as it is drawn: the answer of the API, read into what pictures and files are made of. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

TOGETHER: Final = "mentioned_together"
QUIET: Final = frozenset({TOGETHER, "mentions", "next", "similar", "same_topic", "follows", "summary_of"})
"""Types of edges that are found, not stated: their names are not written into the picture."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node; ``superseded_by`` is the id of what takes its place."""

    id: str
    kind: str
    entity_type: str | None
    label: str
    weight: float
    happened_at: str
    superseded_by: str | None

    @property
    def is_entity(self) -> bool:
        return self.kind == "entity"

    @property
    def sort(self) -> str:
        """What it is, in one word: of an entity, what texts say that it is."""
        return self.entity_type or self.kind


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge."""

    src: str
    dst: str
    type: str
    weight: float

    @property
    def stated(self) -> bool:
        """Whether it says something of its ends, and not only that they were found beside each other."""
        return self.type not in QUIET


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn; ``around`` is the id of the node that stands in the middle of it, None for none."""

    user: str
    around: str | None
    nodes: Sequence[Node]
    edges: Sequence[Edge]
    more: bool


UNREADABLE: Final = "(cold)"
"""What a trace is called of which no text is at hand."""


def picture_of(answer: Mapping[str, Any]) -> Picture:
    """The answer of ``GET /memory/graph`` as a picture."""
    return Picture(
        answer["user_id"],
        answer["around"],
        [
            Node(
                one["trace_id"], one["kind"], one["entity_type"], one["label"] or UNREADABLE, one["weight"],
                one["happened_at"], one["superseded_by"],
            )
            for one in answer["nodes"]
        ],
        [Edge(one["src"], one["dst"], one["type"], one["weight"]) for one in answer["edges"]],
        answer["more"],
    )  # fmt: skip
