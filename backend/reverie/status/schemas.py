"""What goes over the wire about the service itself."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from reverie.core.http import Answer

State = Literal["ready", "degraded", "unready"]


class Live(Answer):
    """The process answers."""

    status: Literal["live"]
    version: str


class Part(Answer):
    """One part of the service; ``detail`` says in words what is wrong."""

    status: Literal["up", "down"]
    needed: bool
    detail: str | None = None


class Ready(Answer):
    """Whether requests can be served: every part that is needed is up."""

    status: State
    parts: dict[str, Part]


class Sight(Answer):
    """One part of the service as far as it can be seen from here; ``detail`` says in words what is known."""

    status: Literal["up", "down", "unknown"]
    needed: bool
    detail: str | None = None


class Queue(Answer):
    """Operations of all spaces by state; ``failed`` are those that are still kept."""

    pending: int
    running: int
    failed: int
    oldest_pending_seconds: float | None


class Waiting(Answer):
    """Texts that wait for the embedding model or are in it, in the process that answers."""

    questions: int
    documents: int


class Pool(Answer):
    """The connections to PostgreSQL of the process that answers."""

    most: int
    open: int
    idle: int
    waiting: int


class TableSize(Answer):
    """A table with its indexes; ``rows`` is PostgreSQL's estimate."""

    table: str
    rows: int
    bytes: int


class PartitionSize(TableSize):
    """A partition: ids from ``lower`` to below ``upper``, which were made from ``since`` to before ``until``."""

    parent: str
    tier: Literal["hot", "warm", "cold"]
    lower: UUID
    upper: UUID
    since: datetime
    until: datetime


class IndexSize(Answer):
    """An index. One that is not valid was left behind by a build that was broken off."""

    name: str
    table: str
    bytes: int
    valid: bool
    scans: int


class Versions(Answer):
    """What runs; null for what does not answer."""

    reverie: str
    python: str
    postgresql: str | None
    pgvector: str | None
    redis: str | None
    schema_revision: str | None


class ModelInUse(Answer):
    """The embedding model of the store."""

    name: str
    dim: int
    precision: Literal["fp16", "fp32"]


class Change(Answer):
    """A model whose vectors are being made in three passes, or removed (``reverie reembed``)."""

    model: ModelInUse
    state: Literal["filling", "catching up", "closing", "dropping"]
    traces: int
    total: int
    made: int
    refused: int
    seen_at: datetime


class FailedOperation(Answer):
    """An operation of the caller's space that was set aside."""

    at: datetime
    operation_id: UUID
    kind: str
    attempts: int
    error: str | None


class Status(Answer):
    """The whole service. What cannot be known because a part is down is null, and ``parts`` says why."""

    status: State
    version: str
    schema_revision: str | None
    pid: int
    started_at: datetime
    uptime_seconds: float
    parts: dict[str, Sight]
    queue: Queue | None
    encoder: Waiting
    pool: Pool
    partitions: list[PartitionSize] | None
    tables: list[TableSize] | None
    indexes: list[IndexSize] | None
    versions: Versions
    model: ModelInUse
    changes: list[Change] | None
    errors: list[FailedOperation] | None
