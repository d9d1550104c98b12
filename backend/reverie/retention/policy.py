"""What is forgotten by itself: the rules, and what each means at a moment. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

SETTLED: Final = timedelta(days=7)
"""So old a trace has to be before the salience floor takes it: what was just remembered is not weighed yet."""

Rule = Literal["expires_at", "ttl_days", "salience_floor", "max_traces_per_user"]
RULES: Final[tuple[Rule, ...]] = ("expires_at", "ttl_days", "salience_floor", "max_traces_per_user")
"""In this order; a trace goes by the first that it falls under. Their places are the numbers in queries.sql."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for the traces of a space; 0 switches a rule off.

    Attributes:
        ttl_days: days after which a trace goes, counted from ``created_at``: since it was learned, not since it
            happened.
        max_traces_per_user: how many a user may have; of more the least salient go first, of these the oldest.
        salience_floor: traces of a lower salience go once they are :data:`SETTLED`.
    """

    ttl_days: int = 0
    max_traces_per_user: int = 0
    salience_floor: float = 0.0

    @property
    def active(self) -> bool:
        """Whether it takes anything at all."""
        return bool(self.ttl_days or self.max_traces_per_user or self.salience_floor)

    def aged(self, now: datetime) -> datetime | None:
        """What was learned before this goes; None where age takes nothing."""
        return now - timedelta(days=self.ttl_days) if self.ttl_days else None

    def described(self, rule: Rule) -> str:
        """A rule in a receipt."""
        match rule:
            case "expires_at":
                return "expires_at has passed"
            case "ttl_days":
                return f"older than {self.ttl_days} days (ttl_days)"
            case "salience_floor":
                return f"salience below {self.salience_floor:g} (salience_floor)"
            case "max_traces_per_user":
                return f"more than {self.max_traces_per_user} traces (max_traces_per_user)"

    def reason(self, counts: Mapping[Rule, int]) -> str:
        """Why traces went, for their receipt."""
        return "retention: " + ", ".join(f"{n} {self.described(rule)}" for rule, n in counts.items() if n)


class Own(NamedTuple):
    """What a space has set for itself; None where the settings of the service hold."""

    ttl_days: int | None = None
    max_traces_per_user: int | None = None
    salience_floor: float | None = None
    updated_at: datetime | None = None

    def over(self, service: Policy) -> Policy:
        """What is in force for the space."""
        return Policy(
            service.ttl_days if self.ttl_days is None else self.ttl_days,
            service.max_traces_per_user if self.max_traces_per_user is None else self.max_traces_per_user,
            service.salience_floor if self.salience_floor is None else self.salience_floor,
        )
