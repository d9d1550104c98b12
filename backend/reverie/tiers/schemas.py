"""What goes over the wire about tiers."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from reverie.core.errors import WrongField
from reverie.core.http import Answer, Schema, given
from reverie.text.fields import Identifier, Moment, no_number, whole


class ThawScope(Schema):
    """What to bring back: one of these; ``since`` (inclusive) and ``until`` (exclusive) go together or alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                given("trace_id", "string"),
                given("trace_ids", "array"),
                given("conversation_id", "string"),
                {"anyOf": [given("since", "string"), given("until", "string")]},
                given("all", "boolean"),
            ]
        }
    )

    trace_id: UUID | None = None
    trace_ids: Annotated[list[UUID] | None, Field(min_length=1, max_length=10_000)] = None
    conversation_id: Identifier | None = None
    since: Moment | None = None
    until: Moment | None = None
    all: Annotated[Literal[True] | None, BeforeValidator(no_number)] = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "ThawScope":
        span = True if self.since is not None or self.until is not None else None
        if sum(one is not None for one in (self.trace_id, self.trace_ids, self.conversation_id, span, self.all)) != 1:
            raise ValueError("takes exactly one of trace_id, trace_ids, conversation_id, since with until, and all")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise WrongField("since", "takes a time before until")
        return self

    def ids(self) -> list[UUID] | None:
        """The traces named, None where they are named otherwise."""
        return [self.trace_id] if self.trace_id is not None else self.trace_ids


class ThawIn(Schema):
    """A request to bring cold traces of a user back for ``days`` (default MEMORY_THAW_DAYS)."""

    user_id: Identifier
    scope: ThawScope
    days: Annotated[int, Field(strict=True, ge=1, le=3650), BeforeValidator(whole)] | None = None


class ThawOut(Answer):
    """Accepted: ``cold`` traces are brought back; ``thawed`` ones are there already, and stay until then too."""

    operation_id: UUID
    cold: int
    thawed: int
    until: datetime


class TierSize(Answer):
    """What is in a tier. Counts of hot and warm are PostgreSQL's estimates; ``files`` are those of cold.

    ``traces`` of warm hold those that are thawed; ``vectors`` counts rows, one for each head and piece.
    """

    tier: Literal["hot", "warm", "cold"]
    partitions: int
    traces: int
    vectors: int | None
    table_bytes: int
    index_bytes: int
    files: int
    file_bytes: int


class NextMove(Answer):
    """The oldest range of a tier: it leaves for ``to`` in the first run after ``at``."""

    to: Literal["warm", "cold"]
    since: datetime
    until: datetime
    at: datetime
    due: bool
    waiting: int


class TierRun(Answer):
    """A run over the tiers; ``report`` has counts, bytes and seconds of each step."""

    run_id: UUID
    state: Literal["running", "paused", "done", "failed"]
    as_of: datetime
    started_at: datetime
    seen_at: datetime
    finished_at: datetime | None
    report: dict[str, Any]
    error: str | None


class DamagedFile(Answer):
    """A file that is missing or not what it was written as: its traces are found by their thin rows alone."""

    segment_id: UUID
    path: str
    month: date
    traces: int
    damage: str


class Thaw(Answer):
    """A thaw that is not done; ``result`` says how far it is."""

    operation_id: UUID
    created_at: datetime
    result: dict[str, Any] | None


class Tiers(Answer):
    """Where the memory of the whole store lies, and what is done about it.

    Attributes:
        removals: traces that were forgotten or changed and that a file still holds; ``garbage``: files to be deleted.
        storage: what is wrong with the object storage, null while it answers.
    """

    running: bool
    paused: bool
    tiers: list[TierSize]
    next: list[NextMove]
    last_run: TierRun | None
    thawed: int
    thaws: list[Thaw]
    removals: int
    garbage: int
    damaged: list[DamagedFile]
    storage: str | None
