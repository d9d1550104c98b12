"""What goes over the wire about forgetting."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from reverie.core.http import Answer, Schema, given
from reverie.text.fields import Identifier, Text


def _no_number(value: object) -> object:
    # Literal takes 1 for True, which it equals.
    if value == 1 and value is not True:
        raise ValueError("takes true")
    return value


class Scope(Schema):
    """What to forget: exactly one of these."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [given("trace_id", "string"), given("trace_ids", "array"), given("all", "boolean")]}
    )

    trace_id: UUID | None = None
    trace_ids: Annotated[list[UUID] | None, Field(min_length=1, max_length=10_000)] = None
    all: Annotated[Literal[True] | None, BeforeValidator(_no_number)] = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Scope":
        if sum(value is not None for value in (self.trace_id, self.trace_ids, self.all)) != 1:
            raise ValueError("takes exactly one of trace_id, trace_ids and all")
        return self

    def ids(self) -> list[UUID] | None:
        """The traces named, None for all of the user."""
        return [self.trace_id] if self.trace_id is not None else self.trace_ids


class ForgetIn(Schema):
    """A request to forget; with ``dry_run`` it only counts."""

    user_id: Identifier
    scope: Scope
    dry_run: Annotated[bool, Field(strict=True)] = False
    reason: Text | None = None


class Counts(Answer):
    """Rows and entries in each store."""

    traces: int
    bodies: int
    vectors: int
    edges: int
    focus: int


class ForgetOut(Answer):
    """What was forgotten, or would be. ``trace_ids`` shows up to 100 of them.

    ``receipt_id`` is null where nothing was done: a dry run, or a user who is not there. ``degraded`` names ``focus``
    when Redis did not answer: its entries, ids without text, then go with their time to live.
    """

    receipt_id: UUID | None
    dry_run: bool
    counts: Counts
    trace_ids: list[UUID]
    degraded: list[str] = Field(default_factory=list)
