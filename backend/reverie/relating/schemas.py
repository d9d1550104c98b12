"""What goes over the wire about what traces are related to."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from reverie.core.errors import WrongField
from reverie.core.http import Answer, Schema
from reverie.core.paging import PageQuery, cursor_field, not_a_cursor
from reverie.memories.schemas import MOST_SUGGESTED, Suggestion
from reverie.relating.examples import EDGES_CURSOR
from reverie.text.fields import Identifier, JsonObject

RESERVED: Final[Mapping[str, str]] = {
    "next": "the order of a conversation",
    "mentions": "what a text calls an entity",
    "summary_of": "what a summary was made of",
    "follows": "the order of summaries",
}
"""Types that the store keeps by itself, and what each says: nobody makes or removes one by hand."""

OURS: Final = ("by", "run", "sources", "valid_from", "about", "as", "type")
"""What the store writes into the ``meta`` of edges."""

MOST_TYPE: Final = 64
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_WORDS: Final = ", ".join(RESERVED)


def _a_type(name: str) -> str:
    if not _TYPE.fullmatch(name):
        raise ValueError(
            f"takes a word of small letters, digits and _ that begins with a letter, of at most {MOST_TYPE} characters"
        )
    return name


def _by_hand(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"takes no {name}: that is {RESERVED[name]}, which the store keeps by itself")
    return _a_type(name)


def _own(meta: dict[str, Any]) -> dict[str, Any]:
    taken = next((name for name in OURS if name in meta), None)
    if taken is not None:
        raise ValueError(f"takes no {taken!r}: the store writes that itself")
    return meta


_NOT_RESERVED: Final = f"^(?!({'|'.join(RESERVED)})$)[a-z][a-z0-9_]{{0,63}}$"
AnyType = Annotated[str, AfterValidator(_a_type), WithJsonSchema({"type": "string", "pattern": f"^{_TYPE.pattern}$"})]
HandType = Annotated[str, AfterValidator(_by_hand), WithJsonSchema({"type": "string", "pattern": _NOT_RESERVED})]
Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
_WHOSE = Field(description="Whose memory it is, in your own words.", examples=["nora"])


class RelatedQuery(Schema):
    """The query string of what a trace is related to."""

    user_id: Annotated[Identifier, _WHOSE]
    k: Annotated[int, Field(ge=1, le=MOST_SUGGESTED, description="How many to answer.", examples=[5])] = 5


class OtherQuery(Schema):
    """The query string that names what a trace is not to be related to."""

    user_id: Annotated[Identifier, _WHOSE]
    other_id: Annotated[
        UUID,
        Field(description="The trace or entity that was suggested.", examples=["019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e45"]),
    ]


class RelatedOut(Answer):
    """What a trace is related to, best first. ``degraded`` names what could not be looked at."""

    trace_id: UUID
    user_id: str
    related: list[Suggestion]
    degraded: list[str]


class EdgeIn(Schema):
    """An edge by hand, from one trace to another of the same user."""

    user_id: Identifier
    src: UUID
    dst: UUID
    type: HandType
    weight: Weight = 1.0
    meta: (
        Annotated[
            JsonObject,
            AfterValidator(_own),
            WithJsonSchema({"type": "object", "propertyNames": {"not": {"enum": list(OURS)}}}),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _two_traces(self) -> "EdgeIn":
        if self.src == self.dst:
            raise WrongField("dst", "takes another trace than src: no edge leads from a trace to itself")
        return self


class EdgeQuery(Schema):
    """The query string that names one edge."""

    user_id: Annotated[Identifier, _WHOSE]
    src: Annotated[UUID, Field(description="Where it leads from.", examples=["019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e44"])]
    dst: Annotated[UUID, Field(description="Where it leads to.", examples=["019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e45"])]
    type: Annotated[HandType, Field(description="Its type.", examples=["relates_to"])]


class EdgesQuery(PageQuery):
    """The query string of the list of edges."""

    user_id: Annotated[Identifier, _WHOSE]
    trace_id: Annotated[
        UUID | None,
        Field(description="Only those from or to this trace.", examples=["019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e44"]),
    ] = None
    type: Annotated[AnyType | None, Field(description="Only those of this type.", examples=["relates_to"])] = None
    cursor: Annotated[str | None, Field(max_length=200), cursor_field(EDGES_CURSOR)] = None

    def after(self) -> tuple[UUID, UUID, str] | None:
        """The edge after which the page begins.

        Raises:
            Invalid: the cursor is none that a list gave out.
        """
        if self.cursor is None:
            return None
        try:
            src, dst, kind = self.cursor.split(",", 2)
            return UUID(src), UUID(dst), _a_type(kind)
        except ValueError:
            raise not_a_cursor() from None


class EdgeOut(Answer):
    """An edge. ``meta`` says in ``by`` who made it: hand, dream, or nobody where it was made as a trace came."""

    user_id: str
    src: UUID
    dst: UUID
    type: str
    weight: float
    ts: datetime
    meta: dict[str, Any]


class EdgePage(Answer):
    """A page of edges, those from the newest traces first."""

    items: list[EdgeOut]
    next_cursor: str | None
