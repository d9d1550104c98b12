"""What goes over the wire about recall."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from reverie.core.errors import WrongField
from reverie.core.http import Answer, Schema
from reverie.memories.schemas import Kind, Role
from reverie.recall.filters import jsonpath
from reverie.recall.recipes import RecipeName
from reverie.text.fields import Identifier, JsonObject, Moment, Question

MOST_USERS = 8
MOST_WINDOW = timedelta(days=36_525)
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
Window = Annotated[timedelta, BeforeValidator(window), WithJsonSchema({"type": "string", "pattern": _WINDOW.pattern})]


class RecallQuery(Schema):
    """A question, by GET."""

    UNSPLIT: ClassVar = frozenset({"user_id"})

    user_id: Users
    q: Question
    k: Annotated[int | None, Field(ge=1, le=100)] = None
    heads: Annotated[list[HeadName] | None, Field(min_length=1)] = None
    kinds: Annotated[list[Kind] | None, Field(min_length=1)] = None
    roles: Annotated[list[Role] | None, Field(min_length=1)] = None
    conversation_id: Identifier | None = None
    since: Moment | None = None
    until: Moment | None = None
    time_window: Window | None = None
    at: Moment | None = None
    tiers: Annotated[list[Tier], Field(min_length=1, default_factory=lambda: ["hot", "warm"])]
    recipe: RecipeName = "balanced"
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    explain: bool = False

    @model_validator(mode="after")
    def _times_agree(self) -> "RecallQuery":
        if self.time_window is not None and (self.since is not None or self.until is not None):
            raise WrongField("time_window", "cannot be given together with since or until")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise WrongField("since", "takes a time that is not after until")
        return self


class RecallIn(RecallQuery):
    """A question, by POST: with a filter over ``meta``, and with the caller's own vector of it."""

    k: Annotated[int | None, Field(ge=1, le=100, strict=True)] = None
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)] = 0.0
    explain: Annotated[bool, Field(strict=True)] = False
    filter: JsonObject | None = None
    embedding: Annotated[
        Any, WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]})
    ] = None

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
    """A trace that was found. ``score`` lies between 0 and 1; ``scores`` has what each arm said that found it."""

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
