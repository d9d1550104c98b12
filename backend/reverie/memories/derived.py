"""What was made of other traces: the one place that knows, for forgetting and for changing.

A trace is derived from those that its `summary_of` edges lead to, and from those that ``provenance`` names as its
``sources``, a list of ids. Its text may hold what they say: so it goes with any of them, and a row of ``rebuild`` with
the sources that are left says to whoever makes such traces that it is to be made anew. When a source is changed, it
stays and is noted in the same way.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from reverie.core.arrays import Uuids
from reverie.core.database import ReadSession, WriteSession
from reverie.core.queries import Queries

SQL = Queries("reverie.memories", "derived.sql")

Reason = Literal["forgotten", "changed"]


async def derived_from(session: ReadSession, user_id: UUID, trace_ids: Collection[UUID]) -> list[UUID]:
    """What was made of these traces, of that, and so on; none of themselves."""
    known, found = set(trace_ids), list[UUID]()
    latest: Collection[UUID] = known
    while latest:
        ids = Uuids(one.bytes for one in latest)
        rows = await session.fetch(SQL["derived_from"], (user_id, ids, user_id, ids))
        latest = [row[0] for row in rows if row[0] not in known]
        known.update(latest)
        found += latest
    return found


async def note(
    session: WriteSession, user_id: UUID, derived: Sequence[UUID], gone: Collection[UUID], reason: Reason, now: datetime
) -> None:  # fmt: skip
    """Notes derived traces, before they go or because a source was changed, with their sources that are left.

    Of one that has none left there is nothing to be made anew. What was noted before loses the sources that go, too.
    """
    if derived:
        parameters = (now, reason, list(derived), user_id, user_id, Uuids(one.bytes for one in gone), user_id)
        await session.execute(SQL["note_derived"], parameters)


async def forget_noted(session: WriteSession, user_id: UUID, gone: Collection[UUID]) -> None:
    """Takes traces that go out of what is noted: as sources, and as what was changed."""
    ids = Uuids(one.bytes for one in gone)
    await session.execute(SQL["drop_sources"], (ids, user_id, ids))
    await session.execute(SQL["drop_noted"], (user_id, ids))


async def note_changed(session: WriteSession, user_id: UUID, trace_ids: Sequence[UUID], now: datetime) -> None:
    """Notes what was made of traces that are changed, in the same transaction."""
    found = await derived_from(session, user_id, trace_ids)
    await note(session, user_id, found, (), "changed", now)
