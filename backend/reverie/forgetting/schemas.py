"""What goes over the wire about forgetting."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from reverie.core.errors import WrongField
from reverie.core.http import Answer, Schema, given
from reverie.core.paging import PageQuery
from reverie.memories.schemas import TraceQuery
from reverie.text.fields import Identifier, Moment, Question, Text, no_number

SCOPES = ("trace_id", "trace_ids", "conversation_id", "since", "until", "entity", "query", "all")


class Scope(Schema):
    """What to forget: exactly one of these; ``since`` and ``until`` count as one.

    ``since`` (inclusive) and ``until`` (exclusive) go by when it happened. ``entity``: what the name stands for, and
    every trace that mentions it. ``query``: the traces that have all of its words, as full-text search reads them.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                given("trace_id", "string"),
                given("trace_ids", "array"),
                given("conversation_id", "string"),
                {"anyOf": [given("since", "string"), given("until", "string")]},
                given("entity", "string"),
                given("query", "string"),
                given("all", "boolean"),
            ]
        }
    )

    trace_id: UUID | None = None
    trace_ids: Annotated[list[UUID] | None, Field(min_length=1, max_length=10_000)] = None
    conversation_id: Identifier | None = None
    since: Moment | None = None
    until: Moment | None = None
    entity: Identifier | None = None
    query: Question | None = None
    all: Annotated[Literal[True] | None, BeforeValidator(no_number)] = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Scope":
        named = {name for name in SCOPES if getattr(self, name) is not None}
        if len(named) != 1 and (not named or named - {"since", "until"}):
            raise ValueError(
                "takes exactly one of trace_id, trace_ids, conversation_id, since with until, entity, query and all"
            )
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise WrongField("until", "takes a time after since")
        return self

    @property
    def kind(self) -> str:
        """What a receipt calls it."""
        if self.trace_id is not None or self.trace_ids is not None:
            return "traces"
        if self.since is not None or self.until is not None:
            return "time"
        named = {"conversation_id": "conversation", "entity": "entity", "query": "query"}
        return next((kind for name, kind in named.items() if getattr(self, name) is not None), "all")

    def ids(self) -> list[UUID] | None:
        """The traces named; None where the scope is told in another way."""
        return [self.trace_id] if self.trace_id is not None else self.trace_ids


class ForgetIn(Schema):
    """A request to forget; with ``dry_run`` it only counts."""

    user_id: Identifier
    scope: Scope
    dry_run: Annotated[bool, Field(strict=True)] = False
    reason: Text | None = None


class Counts(Answer):
    """Rows and entries in each store.

    ``cold``: traces whose text lies in a file; ``operations`` and ``answers`` (to an Idempotency-Key): those that named
    any of the traces, and name them no more; ``dismissals``: suggestions that were dismissed.
    """

    traces: int
    bodies: int
    vectors: int
    edges: int
    cold: int
    operations: int
    answers: int
    focus: int
    recalls: int
    dismissals: int


State = Literal["running", "done"]


class ForgetOut(Answer):
    """What was forgotten, or would be. ``trace_ids`` shows up to 100 of them.

    ``receipt_id`` is null where nothing was done: a dry run, or a user who is not there. ``state`` running: nothing of
    it is seen any more, and what is left of it is removed by the operation that has the receipt's id. ``tombstones``:
    how many are refused when they come again. ``degraded`` names ``focus`` when Redis did not answer: its entries, ids
    without text, then go with their time to live; and ``cold`` when a file could not be read, in which the scope may
    name more: ask again.
    """

    receipt_id: UUID | None
    dry_run: bool
    state: State | None
    counts: Counts
    tombstones: int
    trace_ids: list[UUID]
    degraded: list[str] = Field(default_factory=list)


class ReceiptsQuery(PageQuery):
    """The query string of the list of receipts."""

    user_id: Annotated[Identifier, Field(description="Whose memory it was, in your own words.", examples=["nora"])]


class ReceiptQuery(TraceQuery):
    """The query string wherever one receipt is named."""


class ReceiptOut(Answer):
    """The proof that something was forgotten: no content.

    ``scope``: what named it (traces, conversation, time, entity, query, all, retention). ``tombstones``, of the counts:
    how many were refused from then on when they came again.
    """

    receipt_id: UUID
    user_id: str
    scope: str
    reason: str | None
    state: State
    counts: dict[str, int]
    created_at: datetime
    finished_at: datetime | None


class ReceiptPage(Answer):
    """A page of receipts, newest first."""

    items: list[ReceiptOut]
    next_cursor: str | None


class VerifyOut(Answer):
    """What was found when everything was looked at again.

    ``gone``: nothing is left anywhere that Reverie can look. ``found``: how much of it each store still holds;
    ``unseen``: stores that could not be looked at. ``until`` says, in sentences, how long files of PostgreSQL that no
    query reads, its write-ahead log and backups may hold it.
    """

    receipt_id: UUID
    state: State
    verified_at: datetime
    traces: int
    gone: bool
    found: dict[str, int]
    unseen: list[str]
    until: list[str]
