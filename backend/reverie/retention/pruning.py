"""Forgetting by itself: traces that expired, and what the rules of their space take."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

import psycopg
import structlog

from reverie.core import clock
from reverie.core.database import Connection, Database
from reverie.core.outages import PASSING
from reverie.core.telemetry import reason
from reverie.operations.repository import Leased
from reverie.operations.service import TryLater
from reverie.retention import repository
from reverie.retention.policy import RULES, Policy, Rule
from reverie.retention.repository import User

PRUNE: Final = "prune"
"""The kind of operation that forgets what is due in a space."""

USERS: Final = 200
"""Users that are looked at in one round trip."""

PART: Final = 10_000
"""Traces of a user that one receipt names at most."""

SHIFT_SECONDS: Final = 1200.0
"""How long an operation goes on before it lets others have their turn."""

COUNT_SECONDS: Final = 120.0
"""What one round trip may take that looks for what is due."""


class Forget(Protocol):
    """Forgets traces of a user; how many went. It leaves a receipt, and nothing that keeps them from coming again.

    What is not due any more stays: ``expired`` traces that were given more time, others that were changed or pinned
    since ``seen``.
    """

    async def __call__(
        self, space_id: UUID, user_id: UUID, trace_ids: Sequence[UUID], *, reason: str, now: datetime, seen: datetime,
        expired: bool,
    ) -> int: ...  # fmt: skip


class Count(NamedTuple):
    """What would go of a space: its traces, those of them that rules look at, and what goes, by the first rule."""

    traces: int
    subject: int
    users: int
    by_rule: dict[Rule, int]


_BEGINNING = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))
log = structlog.get_logger(__name__)


class Pruner:
    """Forgets what is due, user by user; one at a time in the whole store.

    A run that was ended in the midst is gone on with by the next: what is gone is not due any more.
    """

    def __init__(self, database: Database, service: Policy, forget: Forget) -> None:
        self._database = database
        self._service = service
        self._forget = forget

    async def count(self, space_id: UUID, policy: Policy, now: datetime) -> Count:
        """What would go of a space under a policy."""
        total, users, by_rule = 0, 0, Counter[Rule]()
        async with self._database.reading(space_id, seconds=COUNT_SECONDS) as session:
            by_rule["expires_at"], users_expired = await repository.count_expired(session, space_id, now)
            subject = await repository.count_subject(session, space_id, now)
        async for part in self._users(space_id):
            total += sum(user.traces for user in part)
            if not policy.active:
                continue
            async with self._database.reading(space_id, seconds=COUNT_SECONDS) as session:
                found = [await repository.queue_counts(session, user, policy, now) for user in part]
            for rows in found:
                counted = {RULES[place]: n for place, n in await rows.fetchall()}
                by_rule.update(counted)
                users += bool(counted)
        return Count(total, subject, max(users, users_expired), {rule: by_rule[rule] for rule in RULES})

    async def forget_expired(self) -> int:
        """Forgets what has expired in all spaces; how many traces that were, 0 while another prunes."""
        async with self._turn() as connection:
            return 0 if connection is None else await self._forget_expired(connection, None)

    async def prune_all(self) -> int:
        """Forgets what the rules of each space take; how many traces that were, 0 while another prunes."""
        async with self._turn() as connection:
            spaces = [] if connection is None else await repository.spaces(connection)
            return sum([await self._prune(space_id, own.over(self._service)) for space_id, own in spaces])

    async def prune_spaces(self, spaces: Collection[UUID]) -> dict[UUID, int] | None:
        """:meth:`prune_all` of some spaces; how many traces that were of each, None while another prunes."""
        async with self._turn() as connection:
            if connection is None:
                return None
            found = [(space_id, own) for space_id, own in await repository.spaces(connection) if space_id in spaces]
            return {space_id: await self._prune(space_id, own.over(self._service)) for space_id, own in found}

    async def prune(self, held: Leased) -> dict[str, Any]:
        """Handles an operation: forgets what is due in its space.

        Raises:
            TryLater: another prunes, or it takes long and goes on later.
        """
        async with self._turn() as connection:
            if connection is None:
                raise TryLater("Another run of retention goes on.")
            async with self._database.reading(held.space_id) as session:
                own = await repository.get(session, held.space_id)
            gone = await self._forget_expired(connection, held.space_id)
            until = time.monotonic() + SHIFT_SECONDS
            gone += await self._prune(held.space_id, own.over(self._service), until)
        return {"traces": gone}

    async def _forget_expired(self, connection: Connection, space_id: UUID | None) -> int:
        gone = 0
        while True:
            seen = clock.now()
            found = await repository.expired(connection, space_id, seen, PART)
            by_user = defaultdict[tuple[UUID, UUID], list[UUID]](list)
            for one in found:
                by_user[one.space_id, one.user_id].append(one.id)
            went = 0
            for (space, user_id), ids in by_user.items():
                went += await self._forgotten(space, user_id, dict.fromkeys(ids, "expires_at"), Policy(), seen)
            gone += went
            # Where none went, those that are left cannot go now.
            if len(found) < PART or not went:
                return gone

    async def _prune(self, space_id: UUID, policy: Policy, until: float = math.inf) -> int:
        gone = 0
        if not policy.active:
            return 0
        now = clock.now()
        async for part in self._users(space_id):
            async with self._database.reading(space_id, seconds=COUNT_SECONDS) as session:
                found = [await repository.queue_counts(session, user, policy, now) for user in part]
            for user, rows in zip(part, found, strict=True):
                went = len(await rows.fetchall())
                while went:
                    if time.monotonic() > until:
                        raise TryLater("There is more to forget than one attempt does; it goes on.")
                    went = await self._prune_some(space_id, user, policy, now)
                    gone += went
        return gone

    async def _prune_some(self, space_id: UUID, user: User, policy: Policy, now: datetime) -> int:
        """Forgets a part of what is due of a user; how many went with it, 0 where that was all."""
        seen = clock.now()
        async with self._database.reading(space_id, seconds=COUNT_SECONDS) as session:
            due = await repository.some_due(session, user, policy, now, PART)
        return await self._forgotten(space_id, user.id, due, policy, seen)

    async def _forgotten(
        self, space_id: UUID, user_id: UUID, due: Mapping[UUID, Rule], policy: Policy, seen: datetime
    ) -> int:
        """Forgets traces of a user; what fails of one keeps no other from its turn, and is tried again next time."""
        if not due:
            return 0
        try:
            why = policy.reason(Counter(due.values()))
            expired = "expires_at" in due.values()
            return await self._forget(
                space_id, user_id, list(due), reason=why, now=clock.now(), seen=seen, expired=expired
            )
        except PASSING:
            raise
        except psycopg.Error as error:
            log.warning("retention failed", user=str(user_id), error=type(error).__name__, reason=reason(error))
            return 0

    async def _users(self, space_id: UUID) -> AsyncIterator[list[User]]:
        """The users of a space, some at a time."""
        after = _BEGINNING
        while True:
            async with self._database.reading(space_id) as session:
                part = await repository.next_users(session, space_id, after, USERS)
            if part:
                yield part
            if len(part) < USERS:
                return
            after = (part[-1].created_at, part[-1].id)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Connection | None]:
        """The owner's connection with the right to prune; None while another has it."""
        async with self._database.maintenance() as connection:
            yield connection if await repository.take_turns(connection) else None
