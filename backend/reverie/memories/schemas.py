"""What goes over the wire about traces."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from reverie.core.errors import WrongField
from reverie.core.http import Answer, Schema
from reverie.core.paging import PageQuery
from reverie.text.fields import Content, Identifier, JsonObject, Language, Moment, Text

Kind = Literal["turn", "note", "fact", "chunk", "summary", "entity"]
Role = Literal["user", "assistant", "system", "tool"]
Salience = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
MOST_TRACES = 1000


class TraceIn(Schema):
    """A trace to remember."""

    content: Content
    kind: Kind | None = None
    role: Role | None = None
    speaker: Text | None = None
    conversation_id: Identifier | None = None
    external_id: Identifier | None = None
    occurred_at: Moment | None = None
    salience: Salience | None = None
    embedding: Annotated[
        Any, WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]})
    ] = None
    language: Language | None = None
    source: JsonObject | None = None
    meta: JsonObject | None = None


def _joined(content: object) -> object:
    """The text of a message whose content is a list of parts, as chat APIs write it."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def _known_role(role: object) -> object:
    return {"developer": "system", "function": "tool"}.get(role, role) if isinstance(role, str) else role


class MessageIn(Schema):
    """A message, as chat APIs write it; fields that are not remembered (``tool_calls``, …) are passed over."""

    model_config = ConfigDict(extra="ignore")

    role: Annotated[Role, BeforeValidator(_known_role)]
    content: Annotated[
        Content,
        BeforeValidator(_joined),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}),
    ]
    name: Text | None = None


class RememberIn(Schema):
    """Traces of one user, or messages as chat APIs write them. Each is judged by itself."""

    user_id: Identifier
    conversation_id: Identifier | None = None
    traces: Annotated[
        list[Any] | None,
        Field(min_length=1, max_length=MOST_TRACES),
        WithJsonSchema(
            {"type": "array", "items": {"$ref": "#/components/schemas/TraceIn"}, "minItems": 1, "maxItems": MOST_TRACES}
        ),
    ] = None
    messages: Annotated[
        list[Any] | None,
        Field(min_length=1, max_length=MOST_TRACES),
        WithJsonSchema(
            {"type": "array", "items": {"$ref": "#/components/schemas/MessageIn"}, "minItems": 1,
             "maxItems": MOST_TRACES}
        ),
    ] = None  # fmt: skip

    @model_validator(mode="after")
    def _one_of_both(self) -> "RememberIn":
        if self.traces is None and self.messages is None:
            raise WrongField("traces", "is required, or messages in its place")
        if self.traces is not None and self.messages is not None:
            raise WrongField("traces", "cannot be given together with messages")
        return self


class RememberQuery(Schema):
    """The query string of remember."""

    wait: bool = True


class TraceAnswer(Answer):
    """What became of one trace. ``vectors``: stored, pending (made in the background) or skipped (salience too low)."""

    trace_id: UUID | None
    external_id: str | None
    status: Literal["stored", "duplicate", "rejected"]
    vectors: Literal["stored", "pending", "skipped"] | None = None
    error: str | None = None


class RememberOut(Answer):
    """What became of each trace, in the order in which they came; ``operation_id`` names what is left to do."""

    traces: list[TraceAnswer]
    operation_id: UUID | None = None
    degraded: list[str] = Field(default_factory=list)


class TraceQuery(Schema):
    """The query string wherever one trace is named."""

    user_id: Identifier


class TracesQuery(PageQuery):
    """The query string of the list of traces."""

    user_id: Identifier
    kind: Kind | None = None
    conversation_id: Identifier | None = None


class TraceOut(Answer):
    """A trace."""

    trace_id: UUID
    user_id: str
    external_id: str | None
    content: str
    kind: Kind
    role: Role | None
    speaker: str | None
    conversation_id: str | None
    language: str
    length: int
    created_at: datetime
    occurred_at: datetime | None
    happened_at: datetime
    updated_at: datetime | None
    salience: float
    pinned: bool
    vectors: bool
    source: dict[str, Any] | None
    meta: dict[str, Any]
    tier: str


class TracePage(Answer):
    """A page of traces, newest first."""

    items: list[TraceOut]
    next_cursor: str | None


class TracePatch(Schema):
    """What to change of a trace; a field that is not given stays, null clears where that makes sense."""

    content: Content | None = None
    kind: Kind | None = None
    role: Role | None = None
    speaker: Text | None = None
    conversation_id: Identifier | None = None
    external_id: Identifier | None = None
    occurred_at: Moment | None = None
    salience: Salience | None = None
    language: Language | None = None
    source: JsonObject | None = None
    meta: JsonObject | None = None

    @model_validator(mode="after")
    def _something_to_change(self) -> "TracePatch":
        if not self.model_fields_set:
            raise ValueError("takes at least one field to change")
        for name in ("content", "kind", "salience", "language"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise WrongField(name, "takes a value, not null")
        return self


class UserOut(Answer):
    """A user whose memory is kept."""

    user_id: str
    kind: str
    traces: int
    created_at: datetime
    updated_at: datetime


class UserPage(Answer):
    """A page of users, newest first."""

    items: list[UserOut]
    next_cursor: str | None
