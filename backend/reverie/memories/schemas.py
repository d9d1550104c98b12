"""What goes over the wire about traces."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from reverie.core import clock
from reverie.core.errors import WrongField
from reverie.core.http import Answer, Schema, given
from reverie.core.paging import PageQuery, cursor_field
from reverie.core.zones import is_time_zone
from reverie.memories.examples import USERS_CURSOR
from reverie.text.fields import NOT_BLANK, Content, Identifier, JsonObject, Language, Moment, Text

Kind = Literal["turn", "note", "fact", "chunk", "summary", "entity"]
Role = Literal["user", "assistant", "system", "tool"]


def _as_kept(salience: float) -> float:
    """To six digits, as it is answered; PostgreSQL refuses what is too small for its ``real``."""
    return round(salience, 6)


def _to_come(moment: datetime) -> datetime:
    if moment <= clock.now():
        raise ValueError("takes a time that is still to come")
    return moment


Expiry = Annotated[Moment, AfterValidator(_to_come)]
Salience = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True), AfterValidator(_as_kept)]
Vector = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "number"}, "minItems": 1},
                {"type": "string", "contentEncoding": "base64", "pattern": "^[A-Za-z0-9+/]+={0,2}$"},
                {"type": "null"},
            ],
            "description": "The caller's own vector: as many numbers as the model has dimensions, of any length; or "
            "the base64 of as many little-endian float32, which is half as long.",
        }
    ),
]
MOST_TRACES = 1000
Force = Annotated[
    bool, Field(strict=True, description="Remember it although it was forgotten: its tombstone is lifted.")
]


class TraceIn(Schema):
    """A trace to remember."""

    content: Content
    kind: Kind | None = None
    role: Role | None = None
    speaker: Text | None = None
    conversation_id: Identifier | None = None
    external_id: Identifier | None = None
    occurred_at: Moment | None = None
    expires_at: Expiry | None = None
    salience: Salience | None = None
    embedding: Vector = None
    language: Language | None = None
    source: JsonObject | None = None
    meta: JsonObject | None = None
    force: Force = False


def _joined(content: object) -> object:
    """The text of a message whose content is a list of parts, as chat APIs write it."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


OTHER_ROLES = {"developer": "system", "function": "tool"}
"""Roles of chat APIs by the name that they have here."""

_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string", "minLength": 1, "pattern": NOT_BLANK}},
    "required": ["type", "text"],
}


def _known_role(role: object) -> object:
    return OTHER_ROLES.get(role, role) if isinstance(role, str) else role


class MessageIn(Schema):
    """A message, as chat APIs write it; fields that are not remembered (``tool_calls``, …) are passed over."""

    model_config = ConfigDict(extra="ignore")

    role: Annotated[
        Role,
        BeforeValidator(_known_role),
        WithJsonSchema({"type": "string", "enum": [*get_args(Role), *OTHER_ROLES]}),
    ]
    content: Annotated[
        Content,
        BeforeValidator(_joined),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "minLength": 1, "pattern": NOT_BLANK},
                    {"type": "array", "items": {"type": "object"}, "contains": _PART},
                ]
            }
        ),
    ]
    name: Text | None = None
    expires_at: Expiry | None = None


def _several(model: str) -> WithJsonSchema:
    """What the API's description says of traces and messages, each of which is read by itself."""
    items = {"$ref": f"#/components/schemas/{model}"}
    several = {"type": "array", "items": items, "minItems": 1, "maxItems": MOST_TRACES}
    return WithJsonSchema({"anyOf": [several, {"type": "null"}]})


class RememberIn(Schema):
    """Traces of one user, or messages as chat APIs write them. Each is judged by itself."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [given("traces", "array"), given("messages", "array")]})

    user_id: Identifier
    conversation_id: Identifier | None = None
    force: Force = False
    traces: Annotated[list[Any] | None, Field(min_length=1, max_length=MOST_TRACES), _several("TraceIn")] = None
    messages: Annotated[list[Any] | None, Field(min_length=1, max_length=MOST_TRACES), _several("MessageIn")] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "RememberIn":
        if self.traces is None and self.messages is None:
            raise WrongField("traces", "is required, or messages in its place")
        if self.traces is not None and self.messages is not None:
            raise WrongField("traces", "cannot be given together with messages")
        return self


MOST_SUGGESTED = 20


class RememberQuery(Schema):
    """The query string of remember."""

    wait: Annotated[
        bool, Field(description="Whether up to 100 texts are encoded before the answer.", examples=[True])
    ] = True
    suggest: Annotated[
        int,
        Field(ge=0, le=MOST_SUGGESTED, description="How many suggestions each note is answered with.", examples=[5]),
    ] = 0


class NamedEntity(Answer):
    """An entity, by its name."""

    trace_id: UUID
    name: str


class EdgeBetween(Answer):
    """A link that stands between two traces."""

    src: UUID
    dst: UUID
    type: str
    weight: float


class Reason(Answer):
    """Why a trace is suggested, and how much that says, 0 to 1.

    ``shared_entity``: both are about these ``entities``. ``alike``: they say nearly the same, by their vectors (the
    score is the cosine). ``same_topic``: they have these ``words`` in common. ``edge``: this ``edge`` leads from it to
    the trace itself, or to another that is suggested.
    """

    why: Literal["shared_entity", "alike", "same_topic", "edge"]
    score: float
    entities: list[NamedEntity] = Field(default_factory=list)
    words: list[str] = Field(default_factory=list)
    edge: EdgeBetween | None = None


class Suggestion(Answer):
    """A trace or an entity that another trace connects to, with the reasons, the one that says most first.

    ``content`` is the beginning of its text, the name of an entity; null where that is cold.
    """

    trace_id: UUID
    kind: Kind
    content: str | None
    speaker: str | None
    conversation_id: str | None
    happened_at: datetime
    score: float
    reasons: list[Reason]


class TraceAnswer(Answer):
    """What became of one trace. ``vectors``: stored, pending (made in the background) or skipped (salience too low).

    ``reason`` says for programs why it was rejected, where that is because it was forgotten. ``suggestions`` are there
    where they were asked for; null of what is no note.
    """

    trace_id: UUID | None
    external_id: str | None
    status: Literal["stored", "duplicate", "rejected"]
    vectors: Literal["stored", "pending", "skipped"] | None = None
    error: str | None = None
    reason: Literal["forgotten"] | None = None
    suggestions: list[Suggestion] | None = None


class RememberOut(Answer):
    """What became of each trace, in the order in which they came; ``operation_id`` names what is left to do."""

    traces: list[TraceAnswer]
    operation_id: UUID | None = None
    degraded: list[str] = Field(default_factory=list)


class TraceQuery(Schema):
    """The query string wherever one trace is named."""

    user_id: Annotated[Identifier, Field(description="Whose memory it is, in your own words.", examples=["nora"])]


class TracesQuery(PageQuery):
    """The query string of the list of traces."""

    user_id: Annotated[Identifier, Field(description="Whose memory it is, in your own words.", examples=["nora"])]
    kind: Annotated[Kind | None, Field(description="Only traces of this kind.", examples=["turn"])] = None
    conversation_id: Annotated[
        Identifier | None, Field(description="Only traces of this conversation.", examples=["trip-planning"])
    ] = None


class ListedTrace(Answer):
    """A trace of a list. ``content`` is null where it is cold (``tier``) and its file cannot be read at the moment."""

    trace_id: UUID
    user_id: str
    external_id: str | None
    content: str | None
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
    expires_at: datetime | None
    salience: float
    pinned: bool
    vectors: bool
    source: dict[str, Any] | None
    meta: dict[str, Any]
    tier: str


class TraceOut(ListedTrace):
    """A trace."""

    content: str


class TracePage(Answer):
    """A page of traces, newest first."""

    items: list[ListedTrace]
    next_cursor: str | None


NEVER_NULL = ("content", "kind", "salience", "language")
"""What a trace always has."""


def _described_patch(schema: dict[str, Any]) -> None:
    schema["minProperties"] = 1
    for name in NEVER_NULL:
        described = schema["properties"][name]
        described |= described.pop("anyOf")[0]
        del described["default"]


class TracePatch(Schema):
    """What to change of a trace; a field that is not given stays, null clears where that makes sense."""

    model_config = ConfigDict(json_schema_extra=_described_patch)

    content: Content | None = None
    kind: Kind | None = None
    role: Role | None = None
    speaker: Text | None = None
    conversation_id: Identifier | None = None
    external_id: Identifier | None = None
    occurred_at: Moment | None = None
    expires_at: Expiry | None = None
    salience: Salience | None = None
    language: Language | None = None
    source: JsonObject | None = None
    meta: JsonObject | None = None

    @model_validator(mode="after")
    def _something_to_change(self) -> "TracePatch":
        if not self.model_fields_set:
            raise ValueError("takes at least one field to change")
        for name in NEVER_NULL:
            if name in self.model_fields_set and getattr(self, name) is None:
                raise WrongField(name, "takes a value, not null")
        return self


class UsersQuery(PageQuery):
    """The query string of the list of users."""

    cursor: Annotated[str | None, cursor_field(USERS_CURSOR)] = None


class UserOut(Answer):
    """A user whose memory is kept."""

    user_id: str
    kind: str
    traces: int
    created_at: datetime
    updated_at: datetime


Days = Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False, strict=True)]


class HalfLives(Schema):
    """Days after which what is not recalled counts half, by kind; the service's own where there is none."""

    turn: Days | None = None
    note: Days | None = None
    fact: Days | None = None
    chunk: Days | None = None
    summary: Days | None = None
    entity: Days | None = None


class UserSettings(UserOut):
    """A user with what it has set; null is the service's own.

    A day of the user is one of ``time_zone``; ``language`` is that of its summaries; without ``dream`` it is left alone
    at night.
    """

    time_zone: str | None
    language: str | None
    half_lives: HalfLives | None
    dream: bool


class UserPath(Schema):
    """The path wherever one user is named."""

    user_id: Identifier


def _zone(name: str) -> str:
    if not is_time_zone(name):
        raise ValueError("takes the name of a time zone such as Europe/Berlin")
    return name


def _described_user(schema: dict[str, Any]) -> None:
    schema["minProperties"] = 1
    described = schema["properties"]["dream"]
    described |= described.pop("anyOf")[0]
    del described["default"]


class UserPatch(Schema):
    """What to change of a user's settings; a field that is not given stays, null goes back to the service's own."""

    model_config = ConfigDict(json_schema_extra=_described_user)

    time_zone: Annotated[Text, AfterValidator(_zone)] | None = None
    language: Language | None = None
    half_lives: HalfLives | None = None
    dream: Annotated[bool, Field(strict=True)] | None = None

    @model_validator(mode="after")
    def _something_to_change(self) -> "UserPatch":
        if not self.model_fields_set:
            raise ValueError("takes at least one field to change")
        if "dream" in self.model_fields_set and self.dream is None:
            raise WrongField("dream", "takes true or false, not null")
        return self


class MergeIn(Schema):
    """Which entity another one is merged into."""

    user_id: Identifier
    into: Annotated[UUID, Field(description="The entity that stays, with the names of both.")]


class SplitIn(Schema):
    """Which names of an entity are those of another."""

    user_id: Identifier
    names: Annotated[
        list[Text], Field(min_length=1, max_length=32, description="Of the entity's own name and its aliases, not all.")
    ]


class EntityOut(Answer):
    """An entity as it stands after it was merged or split off; `GET /memory/traces/{trace_id}` reads it."""

    trace_id: UUID
    user_id: str


class UserPage(Answer):
    """A page of users, newest first."""

    items: list[UserOut]
    next_cursor: str | None
