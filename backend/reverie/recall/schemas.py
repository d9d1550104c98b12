"""What goes over the wire about recall."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, TypeAdapter, WithJsonSchema, field_validator, model_validator

from reverie.core.errors import WrongField
from reverie.core.http import Answer, Schema
from reverie.memories.schemas import Kind, Role, Vector
from reverie.recall.filters import MOST_CHOICES, MOST_CONDITIONS, MOST_SEGMENTS, OPERATORS, jsonpath
from reverie.recall.recipes import RecipeName
from reverie.text.fields import STORABLE, Identifier, JsonObject, Moment, Question

MOST_USERS = 8
MOST_WINDOW = timedelta(days=36_525)
_EXACT = 2**53
"""Below it, a double is a whole number as it was written."""

_UNITS = {"h": 1 / 24, "d": 1, "w": 7, "m": 30, "y": 365}
_WINDOW = re.compile(r"([0-9]{1,6})([hdwmy])")

HeadName = Literal["semantic", "situation", "entity"]
Tier = Literal["hot", "warm", "cold"]


def window(value: object) -> object:
    """A span such as ``30d``: a number of hours, days, weeks, months of 30 days, or years of 365.

    Raises:
        ValueError: it is none, is nothing, or is longer than a century.
    """
    if isinstance(value, timedelta):
        return value
    found = _WINDOW.fullmatch(value.strip()) if isinstance(value, str) else None
    span = timedelta(days=int(found[1]) * _UNITS[found[2]]) if found else timedelta(0)
    if not timedelta(0) < span <= MOST_WINDOW:
        raise ValueError("takes a number and a unit (h, d, w, m or y) of at most a century, such as 30d")
    return span


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


Users = Annotated[list[Identifier], BeforeValidator(_one_or_more), Field(min_length=1, max_length=MOST_USERS)]
Window = Annotated[
    timedelta,
    BeforeValidator(window),
    # Round numbers of what a century holds.
    WithJsonSchema(
        {"type": "string", "pattern": "^([1-9][0-9]{0,4}h|[1-9][0-9]{0,3}d|[1-9][0-9]{0,2}[wm]|[1-9][0-9]?y)$"}
    ),
]


class RecallQuery(Schema):
    """A question, by GET."""

    UNSPLIT: ClassVar = frozenset({"user_id"})

    user_id: Annotated[Users, Field(description="Whose memories are searched, together.", examples=[["nora"]])]
    q: Annotated[Question, Field(description="The question.", examples=["What is the cat called?"])]
    k: Annotated[int | None, Field(ge=1, le=100, description="Most results; MEMORY_K if not given.", examples=[3])] = (
        None
    )
    heads: Annotated[
        list[HeadName] | None, Field(min_length=1, description="What is compared.", examples=[["semantic"]])
    ] = None
    kinds: Annotated[
        list[Kind] | None,
        Field(
            min_length=1, description="Only these kinds: all but summary and entity if not given.", examples=[["turn"]]
        ),
    ] = None
    roles: Annotated[
        list[Role] | None, Field(min_length=1, description="Only what these said.", examples=[["user"]])
    ] = None
    conversation_id: Annotated[
        Identifier | None, Field(description="Only this conversation.", examples=["trip-planning"])
    ] = None
    since: Annotated[
        Moment | None, Field(description="Only what happened then or later.", examples=["2026-05-01T00:00:00Z"])
    ] = None
    until: Annotated[
        Moment | None, Field(description="Only what happened before.", examples=["2026-06-01T00:00:00Z"])
    ] = None
    time_window: Annotated[
        Window | None,
        Field(
            description="In place of since and until: what happened in the last hours, days, weeks, months or years.",
            examples=["30d"],
        ),
    ] = None
    at: Annotated[
        Moment | None, Field(description="As it was remembered at that time.", examples=["2026-06-01T00:00:00Z"])
    ] = None
    tiers: Annotated[
        list[Tier],
        Field(
            min_length=1,
            default_factory=lambda: ["hot", "warm"],
            description="Where to look: hot and warm if not given.",
            examples=[["hot"]],
        ),
    ]
    recipe: Annotated[RecipeName, Field(description="How much work is done for it.", examples=["fast"])] = "balanced"
    min_score: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False, description="Least score of a result.", examples=[0.2])
    ] = 0.0
    explain: Annotated[bool, Field(description="Whether to say how each result came about.", examples=[False])] = False
    touch: Annotated[
        bool, Field(description="Whether the results count as recalled, which strengthens them.", examples=[True])
    ] = True

    @model_validator(mode="after")
    def _times_agree(self) -> "RecallQuery":
        if self.time_window is not None and (self.since is not None or self.until is not None):
            raise WrongField("time_window", "cannot be given together with since or until")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise WrongField("since", "takes a time that is not after until")
        return self


_CONDITION_VALUE = {"type": ["string", "number", "boolean", "null"], "pattern": STORABLE}
_FILTER = {
    "type": "object",
    "description": "Conditions on `meta`, all of which must hold: a value, or operators with values.",
    "minProperties": 1,
    "maxProperties": MOST_CONDITIONS,
    "propertyNames": {"pattern": rf"^meta(\.[^.\u0000]+){{1,{MOST_SEGMENTS}}}$"},
    "additionalProperties": {
        "anyOf": [
            _CONDITION_VALUE,
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "properties": {
                    **dict.fromkeys(OPERATORS, _CONDITION_VALUE),
                    "$in": {"type": "array", "minItems": 1, "maxItems": MOST_CHOICES, "items": _CONDITION_VALUE},
                },
            },
        ]
    },
}


def _whole(value: object) -> object:
    """A whole number that was written with a point: JSON does not tell 37.0 from 37."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


class RecallIn(RecallQuery):
    """A question, by POST: with a filter over ``meta``, and with the caller's own vector of it."""

    user_id: Annotated[
        Users,
        Field(description="Whose memories are searched, together."),
        WithJsonSchema(
            {
                "anyOf": [
                    TypeAdapter(Identifier).json_schema(),
                    TypeAdapter(Users).json_schema(),
                ]
            }
        ),
    ]
    k: Annotated[int | None, Field(ge=1, le=100, strict=True, description="Most results."), BeforeValidator(_whole)] = (
        None
    )
    min_score: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False, strict=True, description="Least score of a result.")
    ] = 0.0
    explain: Annotated[bool, Field(strict=True, description="Whether to say how each result came about.")] = False
    touch: Annotated[
        bool, Field(strict=True, description="Whether the results count as recalled, which strengthens them.")
    ] = True
    filter: Annotated[JsonObject | None, WithJsonSchema({"anyOf": [_FILTER, {"type": "null"}]})] = None
    embedding: Vector = None

    @field_validator("filter")
    @classmethod
    def _compiles(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            jsonpath(value)
        return value


class EdgeOut(Answer):
    """A link between two traces."""

    user_id: str
    src: UUID
    dst: UUID
    type: str
    weight: float


class Result(Answer):
    """A trace that was found. ``score`` lies between 0 and 1; ``scores`` has what each arm said that found it;
    ``repeats`` are others of the same words and speaker, for which it stands; ``superseded_by`` is the newest that says
    otherwise of the same thing."""

    trace_id: UUID
    user_id: str
    external_id: str | None
    content: str
    kind: Kind
    role: Role | None
    speaker: str | None
    conversation_id: str | None
    created_at: datetime
    occurred_at: datetime | None
    salience: float
    score: float
    scores: dict[str, float]
    via: list[EdgeOut]
    tier: str
    meta: dict[str, Any]
    repeats: list[UUID]
    superseded_by: UUID | None = None


class RecallOut(Answer):
    """What was found, best first. ``degraded`` names the arms that failed or were late."""

    query: str
    k: int
    heads: list[HeadName]
    results: list[Result]
    edges: list[EdgeOut]
    degraded: list[str]
    took_ms: float
    explain: dict[str, Any] | None = None
