"""What goes over the wire about operations."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from reverie.core.http import Answer


class OperationOut(Answer):
    """An accepted piece of background work."""

    operation_id: UUID
    kind: str
    state: Literal["pending", "running", "done", "failed"]
    traces: int
    attempts: int
    error: str | None
    result: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
