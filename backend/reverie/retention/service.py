"""What a space keeps and for how long: looking at it, changing it, having it done now."""

from typing import Any, Final, Literal
from uuid import UUID

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.errors import Conflict
from reverie.core.idempotency import Claim
from reverie.core.ids import uuid7
from reverie.core.queue import Bell
from reverie.operations import repository as operations
from reverie.retention import repository
from reverie.retention.policy import Own, Policy
from reverie.retention.pruning import PRUNE, Forget, Pruner
from reverie.retention.schemas import (
    ByRule,
    Due,
    InForce,
    Number,
    RetentionChanged,
    RetentionIn,
    RetentionOut,
    RunIn,
    RunOut,
    Share,
)

NEARLY_ALL: Final = 0.9
"""What would take more than this share of a space's traces at once needs ``force``."""


def policy_of(settings: Settings) -> Policy:
    """What the service has for spaces that set nothing."""
    # To six digits, as salience is kept.
    floor = round(settings.memory_salience_floor, 6)
    return Policy(settings.memory_ttl_days, settings.memory_max_traces_per_user, floor)


class RetentionService:
    """The retention of each space. ``pruner`` does it."""

    def __init__(self, settings: Settings, database: Database, bell: Bell, forget: Forget) -> None:
        self._service = policy_of(settings)
        self._database = database
        self._bell = bell
        self.pruner = Pruner(database, self._service, forget)

    async def show(self, space_id: UUID) -> RetentionOut:
        """What a space has set for itself, and what is in force."""
        return self._out(await self._own(space_id))

    async def change(self, space_id: UUID, given: RetentionIn) -> RetentionChanged:
        """Sets the retention of a space, or says what that would do.

        Raises:
            Conflict: it would take nearly all that the space has, and nobody insists.
        """
        before, now = await self._own(space_id), clock.now()
        own = Own(given.ttl_days, given.max_traces_per_user, given.salience_floor, now)
        policy = own.over(self._service)
        due, subject = await self._due(space_id, policy)
        if given.dry_run:
            own = own._replace(updated_at=before.updated_at)
        else:
            by_rules = due.due - due.by_rule.expires_at
            if by_rules > NEARLY_ALL * subject and not given.force and policy != before.over(self._service):
                raise Conflict(
                    f"This would forget {by_rules} of the {subject} traces of the space at the next run: send force "
                    "as true if that is meant."
                )
            async with self._database.writing(space_id) as session:
                await repository.put(session, space_id, own, now)
        return RetentionChanged(**self._out(own).model_dump(), dry_run=given.dry_run, due=due)

    async def run(self, space_id: UUID, given: RunIn, claim: Claim) -> tuple[int, dict[str, Any]]:
        """Has what is due forgotten by an operation (202); a dry run counts it (200)."""
        due, _ = await self._due(space_id, (await self._own(space_id)).over(self._service))
        now = clock.now()
        operation_id = None if given.dry_run else uuid7(now)
        status, out = 200 if given.dry_run else 202, RunOut(dry_run=given.dry_run, due=due, operation_id=operation_id)
        async with self._database.writing(space_id) as session:
            if operation_id is not None:
                await operations.insert(session, operation_id, space_id, PRUNE, now)
            await claim.keep(session, status, out.model_dump())
        if operation_id is not None:
            await self._bell.ring(operation_id)
        return status, out.model_dump()

    async def _own(self, space_id: UUID) -> Own:
        async with self._database.reading(space_id) as session:
            return await repository.get(session, space_id)

    async def _due(self, space_id: UUID, policy: Policy) -> tuple[Due, int]:
        """What would go, and of how many traces: entities, and what has expired, are no matter of the rules."""
        traces, subject, users, by_rule = await self.pruner.count(space_id, policy, clock.now())
        return Due(traces=traces, due=sum(by_rule.values()), users=users, by_rule=ByRule(**by_rule)), subject

    def _out(self, own: Own) -> RetentionOut:
        policy = own.over(self._service)
        return RetentionOut(
            ttl_days=own.ttl_days,
            max_traces_per_user=own.max_traces_per_user,
            salience_floor=_shown(own.salience_floor),
            in_force=InForce(
                ttl_days=Number(value=policy.ttl_days, set_by=_set_by(own.ttl_days)),
                max_traces_per_user=Number(value=policy.max_traces_per_user, set_by=_set_by(own.max_traces_per_user)),
                salience_floor=Share(value=_shown(policy.salience_floor) or 0.0, set_by=_set_by(own.salience_floor)),
            ),
            updated_at=own.updated_at,
        )


def _set_by(own: float | None) -> Literal["space", "service"]:
    return "service" if own is None else "space"


def _shown(share: float | None) -> float | None:
    """To six digits: PostgreSQL keeps a real."""
    return None if share is None else round(share, 6)
