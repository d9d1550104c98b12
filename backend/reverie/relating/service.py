"""What traces are related to: as notes are remembered, and later; what is not to be suggested again."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database, WriteSession, again
from reverie.core.errors import Invalid, NotFound
from reverie.core.ids import user_uuid
from reverie.embedding.heads import semantic_text
from reverie.embedding.protocol import FloatArray
from reverie.memories import repository as memories
from reverie.memories.model import Model
from reverie.memories.schemas import TraceOut
from reverie.memories.service import MemoryService
from reverie.memories.suggesting import Note, Suggesting
from reverie.recall.indexes import Indexes
from reverie.relating import repository
from reverie.relating.looking import MEANING, Looker
from reverie.relating.onway import Found, Onway, connect
from reverie.relating.schemas import RelatedOut
from reverie.relating.shown import suggestion
from reverie.relating.types import Asked


class RelatingService:
    """Finds what traces of users are related to."""

    def __init__(
        self, settings: Settings, database: Database, model: Model, indexes: Indexes, memories: MemoryService
    ) -> None:
        self._database = database
        self._memories = memories
        self._looker = Looker(database, model, indexes, settings.memory_recall_timeout_seconds)

    def onway(self, principal: Principal, user: str, k: int) -> Suggesting | None:
        """What finds ``k`` suggestions for each note of a request; None where none are wanted."""
        return Onway(self._looker, _asked(principal, user), k) if k else None

    async def related(self, principal: Principal, user: str, trace_id: UUID, k: int) -> RelatedOut:
        """What a trace is related to, best first.

        Raises:
            NotFound: the user has no such trace.
            Unavailable: it is cold, and its text cannot be read.
        """
        trace = await self._memories.get(principal, user, trace_id)
        asked = _asked(principal, user)
        found = Found(Note(trace_id, trace.content, trace.language, trace.speaker, known=True))
        found.seen = await self._looker.look(asked, found.note)
        missed = list(found.seen.missed)
        vector = await self._vector(asked, trace, missed)
        await connect(self._looker, asked, found, vector, k, missed)
        return RelatedOut(
            trace_id=trace_id, user_id=user, related=[suggestion(one) for one in found.best],
            degraded=list(dict.fromkeys(missed)),
        )  # fmt: skip

    async def _vector(self, asked: Asked, trace: TraceOut, missed: list[str]) -> FloatArray | None:
        """The vector of a trace, made anew where there is none at hand: it is cold, or still to come."""
        if not trace.vectors:
            return None
        vector = await self._looker.own_vector(asked, trace.trace_id, missed)
        if vector is None and MEANING not in missed:
            made = await self._memories.maker.in_time([semantic_text(trace.content, trace.speaker)])
            vector = None if made is None else made[0]
            if vector is None:
                missed.append(MEANING)
        return vector

    async def dismiss(self, principal: Principal, user: str, trace_id: UUID, other_id: UUID) -> None:
        """Has two traces never be suggested to one another again.

        Raises:
            Invalid: they are one.
            NotFound: the user has not both of them.
        """

        async def write(session: WriteSession, user_id: UUID, now: datetime) -> None:
            await repository.dismiss(session, principal.space_id, user_id, pair(trace_id, other_id), now)

        await self._written(principal, user, trace_id, other_id, write)

    async def take_back(self, principal: Principal, user: str, trace_id: UUID, other_id: UUID) -> None:
        """Has them be suggested again, where that was dismissed.

        Raises:
            Invalid: they are one.
            NotFound: the user has not both of them.
        """

        async def write(session: WriteSession, user_id: UUID, _: datetime) -> None:
            await repository.take_back(session, user_id, pair(trace_id, other_id))

        await self._written(principal, user, trace_id, other_id, write)

    async def _written(
        self, principal: Principal, user: str, trace_id: UUID, other_id: UUID,
        write: Callable[[WriteSession, UUID, datetime], Awaitable[None]],
    ) -> None:  # fmt: skip
        """One transaction over two traces that stand; the user is locked."""
        if trace_id == other_id:
            raise Invalid("other_id takes another trace than trace_id.", field="other_id")
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, user)

        async def do() -> None:
            now = clock.now()
            async with self._database.writing(space_id) as session:
                await memories.touch_version(session, space_id, user_id, now)
                await stand(session, user_id, trace_id, other_id)
                await write(session, user_id, now)

        await again(do)


async def stand(session: WriteSession, user_id: UUID, *trace_ids: UUID) -> list[repository.Standing]:
    """Traces of a user that have to stand, in their order.

    Raises:
        NotFound: the user has not all of them.
    """
    there = await repository.standing(session, user_id, trace_ids)
    missing = next((one for one in trace_ids if one not in there), None)
    if missing is not None:
        raise NotFound(f"The user has no trace {missing}.")
    return [there[one] for one in trace_ids]


def pair(trace_id: UUID, other_id: UUID) -> tuple[UUID, UUID]:
    """Two ids in the order in which a dismissal has them. Pure."""
    return (trace_id, other_id) if trace_id.int < other_id.int else (other_id, trace_id)


def _asked(principal: Principal, user: str) -> Asked:
    user_id = user_uuid(principal.space_id, user)
    return Asked(principal.space_id, user_id, principal.identity_key, clock.now())
