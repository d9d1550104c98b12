"""What goes over the wire about retention."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from reverie.core.http import Answer, Schema
from reverie.memories.schemas import Salience
from reverie.text.fields import whole

MOST_DAYS = 36_500
MOST_TRACES = 1_000_000_000


class RetentionIn(Schema):
    """What a space sets for itself, as a whole: null, or left out, is the service's own; 0 switches a rule off.

    With ``dry_run`` it only counts. ``force`` sets what would take more than nine tenths of the space's traces.
    """

    ttl_days: Annotated[int, Field(ge=0, le=MOST_DAYS, strict=True), BeforeValidator(whole)] | None = None
    max_traces_per_user: Annotated[int, Field(ge=0, le=MOST_TRACES, strict=True), BeforeValidator(whole)] | None = None
    salience_floor: Salience | None = None
    force: Annotated[bool, Field(strict=True)] = False
    dry_run: Annotated[bool, Field(strict=True)] = False


class RunIn(Schema):
    """A request to forget what is due; with ``dry_run`` it only counts."""

    dry_run: Annotated[bool, Field(strict=True)] = False


class Number(Answer):
    """A whole number that is in force, and who has set it."""

    value: int
    set_by: Literal["space", "service"]


class Share(Answer):
    """A number from 0 to 1 that is in force, and who has set it."""

    value: float
    set_by: Literal["space", "service"]


class InForce(Answer):
    """What holds for the traces of the space; 0 is off."""

    ttl_days: Number
    max_traces_per_user: Number
    salience_floor: Share


class RetentionOut(Answer):
    """What the space has set for itself (null: nothing), and what is in force."""

    ttl_days: int | None
    max_traces_per_user: int | None
    salience_floor: float | None
    in_force: InForce
    updated_at: datetime | None


class ByRule(Answer):
    """Traces by the first rule that they fall under."""

    expires_at: int = 0
    ttl_days: int = 0
    salience_floor: int = 0
    max_traces_per_user: int = 0


class Due(Answer):
    """How many traces of how many users would go now, of ``traces`` that the space has, entities among them."""

    traces: int
    due: int
    users: int
    by_rule: ByRule


class RetentionChanged(RetentionOut):
    """The same after a change, or as it would be, with what would go at the next run."""

    dry_run: bool
    due: Due


class RunOut(Answer):
    """What would go now; without ``dry_run`` an operation forgets it."""

    dry_run: bool
    due: Due
    operation_id: UUID | None
