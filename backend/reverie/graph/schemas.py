"""What goes over the wire about the graph."""

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, WithJsonSchema

from reverie.core.http import Answer, Schema
from reverie.memories.schemas import Kind
from reverie.text.fields import Identifier
from reverie.text.naming import Kind as EntityType

MOST_HOPS, MOST_NODES = 3, 500
MOST_STEPS, MOST_PATHS = 6, 5
MOST_TYPES = 32

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_WHOSE = Field(description="Whose memory it is, in your own words.", examples=["nora"])
_END = "A trace's id, or an entity's name in any of its spellings."


def _edge_type(value: str) -> str:
    if _TYPE.fullmatch(value) is None:
        raise ValueError("takes types of edges such as mentions or lives_in: small letters, digits and underscores")
    return value


EdgeType = Annotated[
    str,
    AfterValidator(_edge_type),
    WithJsonSchema({"type": "string", "pattern": f"^{_TYPE.pattern}$"}),
]
"""The type of an edge, as it is written."""

Types = Annotated[
    list[EdgeType] | None,
    Field(
        min_length=1, max_length=MOST_TYPES, description="Only edges of these types.",
        examples=[["mentions", "lives_in"]],
    ),
]  # fmt: skip


class GraphQuery(Schema):
    """The query string of the graph."""

    user_id: Annotated[Identifier, _WHOSE]
    around: Annotated[Identifier | None, Field(description=f"What it is drawn around. {_END}", examples=["Nora"])] = (
        None
    )
    hops: Annotated[
        int,
        Field(
            ge=1, le=MOST_HOPS, examples=[2],
            description="How many edges away from there it reaches; without `around`, from entities to other `kinds`.",
        ),
    ] = 2  # fmt: skip
    limit: Annotated[int, Field(ge=1, le=MOST_NODES, description="How many nodes at most.", examples=[50])] = 100
    types: Types = None
    kinds: Annotated[
        list[Kind] | None,
        Field(
            min_length=1, description="Only nodes of these kinds; others are passed all the same.",
            examples=[["entity", "summary"]],
        ),
    ] = None  # fmt: skip


class PathQuery(Schema):
    """The query string of the paths between two."""

    user_id: Annotated[Identifier, _WHOSE]
    start: Annotated[Identifier, Field(alias="from", description=f"Where they begin. {_END}", examples=["Nora"])]
    end: Annotated[Identifier, Field(alias="to", description=f"Where they end. {_END}", examples=["Lisbon"])]
    hops: Annotated[int, Field(ge=1, le=MOST_STEPS, description="How many edges a path has at most.", examples=[4])] = 4
    limit: Annotated[int, Field(ge=1, le=MOST_PATHS, description="How many paths at most.", examples=[3])] = 3
    types: Types = None


class GraphNode(Answer):
    """A trace as it is drawn.

    ``entity_type``: what the texts say that an entity is, null where they do not. ``label`` is its name, else the
    beginning of the text; where that is ``cold`` it is the sentence that was kept of it, null if there is none.
    ``weight``: from 0 to 1, how strongly it belongs to what was asked. ``superseded_by``: the newer trace that takes
    its place.
    """

    trace_id: UUID
    kind: Kind
    entity_type: EntityType | None
    label: str | None
    weight: float
    happened_at: datetime
    cold: bool
    superseded_by: UUID | None


class GraphEdge(Answer):
    """An edge between two nodes of the answer.

    ``mentioned_together`` stands for no edge that is stored: the same traces mention both entities.
    """

    src: UUID
    dst: UUID
    type: str
    weight: float


class GraphOut(Answer):
    """A part of the graph: the strongest nodes, and the edges among them, strongest first.

    ``more``: there were more nodes or edges than these. ``backend``: where it was read.
    """

    user_id: str
    around: UUID | None
    nodes: list[GraphNode]
    edges: list[GraphEdge]
    more: bool
    backend: str


class PathOut(Answer):
    """A path: its traces from one end to the other, and the edges between them, in whichever direction these lead."""

    trace_ids: list[UUID]
    edges: list[GraphEdge]
    weight: float


class PathsOut(Answer):
    """The strongest paths between two traces, best first; no two share a node between their ends.

    ``more``: not all that lies around the two was looked at, so that there may be other paths.
    """

    user_id: str
    start: Annotated[UUID, Field(serialization_alias="from")]
    end: Annotated[UUID, Field(serialization_alias="to")]
    paths: list[PathOut]
    nodes: list[GraphNode]
    more: bool
    backend: str
