"""Edges by hand: a person says how two traces hang together, and no night says otherwise.

Such an edge has ``by: hand`` in its ``meta``. It goes with either of its traces.
"""

from datetime import UTC
from typing import Any, Final

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.database import Database, again
from reverie.core.errors import Conflict, Invalid, NotFound
from reverie.core.idempotency import Claim
from reverie.core.ids import user_uuid
from reverie.memories import derived
from reverie.memories import repository as memories
from reverie.recall.superseded import SUPERSEDES
from reverie.relating import repository
from reverie.relating.repository import EdgeRow
from reverie.relating.schemas import EdgeIn, EdgeOut, EdgePage, EdgeQuery, EdgesQuery
from reverie.relating.service import pair, stand

HAND: Final = "hand"
"""What stands as ``by`` in ``meta`` of edges that a person has made."""


class EdgeService:
    """Makes, removes and lists the edges of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, principal: Principal, body: EdgeIn, claim: Claim) -> dict[str, Any]:
        """Makes an edge, or makes one of the same ends and type a person's; the edge as it is then.

        What was dismissed between both is so no more. Of `supersedes` the older trace is marked as by a night, and what
        was made of it is made anew.

        Raises:
            NotFound: the user has not both traces.
            Invalid: an entity takes no trace's place.
            Conflict: each would take the place of the other.
        """
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, body.user_id)

        async def write() -> dict[str, Any]:
            now = clock.now()
            async with self._database.writing(space_id) as session:
                await memories.touch_version(session, space_id, user_id, now)
                src, dst = await stand(session, user_id, body.src, body.dst)
                meta: dict[str, Any] = dict(body.meta or {}) | {"by": HAND}
                if body.type == SUPERSEDES:
                    if "entity" in (src.kind, dst.kind):
                        raise Invalid("type supersedes takes two traces that are no entities.", field="type")
                    if await repository.has_edge(session, user_id, body.dst, body.src, SUPERSEDES):
                        raise Conflict("The other trace supersedes this one already: remove that edge first.")
                    meta["valid_from"] = src.happened_at.astimezone(UTC).isoformat()
                    await derived.note_changed(session, user_id, [body.dst], now)
                edge = EdgeRow(body.src, body.dst, body.type, body.weight, now, meta)
                await repository.put_edge(session, space_id, user_id, edge)
                await repository.take_back(session, user_id, pair(body.src, body.dst))
                out = EdgeOut(user_id=body.user_id, **edge._asdict()).model_dump()
                await claim.keep(session, 201, out, user_id)
            return out

        return await again(write)

    async def remove(self, principal: Principal, query: EdgeQuery) -> None:
        """Removes an edge, whoever made it; what the store made of the texts it may make again.

        Raises:
            NotFound: there is no such edge.
        """
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, query.user_id)

        async def write() -> None:
            now = clock.now()
            async with self._database.writing(space_id) as session:
                await memories.touch_version(session, space_id, user_id, now)
                if not await repository.drop_edge(session, user_id, query.src, query.dst, query.type):
                    raise NotFound(f"The user has no edge {query.type} from {query.src} to {query.dst}.")
                if query.type == SUPERSEDES:
                    await derived.note_changed(session, user_id, [query.dst], now)

        await again(write)

    async def page(self, principal: Principal, query: EdgesQuery) -> EdgePage:
        """A page of the edges of a user, those from the newest traces first."""
        user_id = user_uuid(principal.space_id, query.user_id)
        async with self._database.reading(principal.space_id) as session:
            rows = await repository.edges(session, user_id, query.after(), query.trace_id, query.type, query.limit)
        items = [
            EdgeOut(user_id=query.user_id, src=row[0], dst=row[1], type=row[2], weight=round(row[3], 6), ts=row[4],
                    meta=row[5])
            for row in rows
        ]  # fmt: skip
        return EdgePage(items=items, next_cursor=_cursor(items[-1]) if len(items) == query.limit else None)


def _cursor(last: EdgeOut) -> str:
    return f"{last.src},{last.dst},{last.type}"
