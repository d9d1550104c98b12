"""Links made shortly after traces were remembered: what they mention, and what they are like.

Whoever writes leaves one operation a user behind (:meth:`Linker.leave`), which rests for a while and then covers all
that came meanwhile. A name becomes an entity once it stands in a second trace: most names never do, and the store does
not fill with them. What a trace is like is searched exactly, and only for users for whom that is cheap.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID, uuid5

from reverie.core import clock
from reverie.core.database import Database, WriteSession
from reverie.core.ids import USER_NAMESPACE, uuid7
from reverie.core.queries import Queries
from reverie.memories import entities, repository
from reverie.memories.entities import MENTIONS, READ_CHARS, Gone, Mention, Names, Scope, names_in
from reverie.memories.likeness import Likeness
from reverie.memories.model import Model
from reverie.operations import repository as operations
from reverie.operations.repository import Leased

SQL = Queries("reverie.memories", "links.sql")

LINK: Final = "link"
"""The kind of operation that makes links."""

SIMILAR: Final = "similar"
SAME_TOPIC: Final = "same_topic"

Links = Literal["next", "mentions", "all"]
"""MEMORY_LINKS: `next` edges alone, which are made on the way in; those and what is mentioned; all."""

REST: Final = timedelta(seconds=10)
"""How long an operation waits for more traces of its user. Less than the longest rest of operations."""

PART: Final = 200
"""Traces that are linked in one transaction."""

SHIFT_SECONDS: Final = 5.0
"""How long an operation goes on before it rests again, so that others have their turn: less than a third of a lease."""

MOST_BEFORE: Final = 16
"""Earlier traces that are looked at for a name which has no entity yet; a night looks at more."""

MOST_NEW_NAMES: Final = 128
"""Names of one part that are looked for in earlier traces."""


class Link(NamedTuple):
    """An edge to be written."""

    src: UUID
    dst: UUID
    type: str
    weight: float


class Text(NamedTuple):
    """A trace to be linked, as it was read; ``text`` is its beginning."""

    id: UUID
    language: str
    updated_at: datetime | None
    text: str


class Linker:
    """Makes `mentions` and `similar` edges, and the entities that are mentioned."""

    def __init__(self, database: Database, model: Model, links: Links) -> None:
        self._database = database
        self._model = model
        self._links: Links = links

    async def leave(
        self, session: WriteSession, space_id: UUID, user_id: UUID, trace_ids: Sequence[UUID], now: datetime
    ) -> None:
        """Has new traces linked, within the transaction that writes them; the user is locked.

        All traces of the user with the least of these ids or greater ones are linked: they must be the newest, or near.
        """
        if self._links == "next" or not trace_ids:
            return
        since = min(trace_ids, key=lambda one: one.int)
        parameters = (operation_of(user_id), space_id, user_id, since, now + REST, now)
        await session.execute(SQL["leave_links"], parameters)

    async def leave_some(
        self, session: WriteSession, space_id: UUID, user_id: UUID, trace_ids: Sequence[UUID], now: datetime
    ) -> None:
        """Has these traces linked (again), and no others: those that were changed, or got vectors late.

        Where nobody links them, what they were linked by as notes goes at once: what they are like, and their topics.
        """
        if not trace_ids:
            return
        if self._links == "next":
            await session.execute(SQL["unlink"], (list(trace_ids), user_id, [SIMILAR, SAME_TOPIC], False))
            return
        await operations.insert(session, uuid7(now), space_id, LINK, now, user_id=user_id, trace_ids=trace_ids)

    async def leave_after(self, held: Leased) -> None:
        """Has the traces linked whose vectors an operation has made; another model's say nothing of links."""
        if self._links == "next" or "model" in held.payload:
            return
        async with self._database.writing(held.space_id) as session:
            await self.leave_some(session, held.space_id, held.whose, held.trace_ids, clock.now())

    async def link(self, held: Leased) -> dict[str, Any]:
        """The handler of :data:`LINK`: part by part, so that what a killed worker did stays done."""
        end = time.monotonic() + SHIFT_SECONDS
        some = held.trace_ids or None
        since = min(some, key=lambda one: one.int) if some else UUID(held.payload["since"])
        likeness = Likeness(self._database, self._model, held.space_id, held.whose)
        linked, edges = 0, 0
        while True:
            texts, key = await self._read(held.space_id, held.whose, since, some)
            if texts:
                edges += await self._link_part(held.space_id, held.whose, key, texts, likeness, again=some is not None)
                linked += len(texts)
                done, since = since, UUID(int=texts[-1].id.int + 1)
                if some is None and len(texts) == PART:
                    await self._advance(held, done, since)
            if len(texts) < PART:
                return {"linked": linked, "edges": edges}
            if time.monotonic() > end:
                await self._rest(held, since, some)
                return {"linked": linked, "edges": edges}

    async def _read(
        self, space_id: UUID, user_id: UUID, since: UUID, some: Sequence[UUID] | None
    ) -> tuple[list[Text], bytes]:
        """The next traces, and the key of the space's identities."""
        ids = None if some is None else list(some)
        async with self._database.reading(space_id) as session:
            keys = await session.send(SQL["space_key"], (space_id,))
            rows = await session.fetch(SQL["linkable"], (READ_CHARS, user_id, since, ids, ids, PART))
            found = await keys.fetchall()
        return [Text(*row) for row in rows], bytes(found[0][0]) if found else b""

    async def _advance(self, held: Leased, done: UUID, since: UUID) -> None:
        async with self._database.writing(None) as session:
            await session.execute(SQL["advance_links"], (since, held.id, done))

    async def _rest(self, held: Leased, since: UUID, some: Sequence[UUID] | None) -> None:
        """Leaves what is not done yet for another shift."""
        now = clock.now()
        async with self._database.writing(None) as session:
            if some is None:
                parameters = (held.id, held.space_id, held.whose, since, now, now)
                await session.execute(SQL["leave_links"], parameters)
            else:
                rest = [one for one in some if one.int >= since.int]
                await self.leave_some(session, held.space_id, held.whose, rest, now)

    async def _link_part(
        self, space_id: UUID, user_id: UUID, key: bytes, texts: Sequence[Text], likeness: Likeness, *, again: bool
    ) -> int:
        """Links some traces; how many edges they got."""
        written = [entities.Text(text.id, text.language, text.text) for text in texts]
        names = await asyncio.to_thread(names_in, written)
        now = clock.now()
        scope = Scope(space_id, user_id, key, now)
        identities = {name: scope.identity(name) for name in names}
        async with self._database.reading(space_id) as session:
            known = await entities.known(session, user_id, list(identities.values()))
        likest = await likeness.of([text.id for text in texts]) if self._links == "all" else []
        similar = [Link(one.trace_id, one.older, SIMILAR, one.cosine) for one in likest]
        await self._find_before(space_id, user_id, names, {n for n, i in identities.items() if i in known})
        wanted = {
            name: one for name, one in names.items()
            if identities[name] in known or (one.sure and len(one.traces) > 1)
        }  # fmt: skip
        if not wanted and not similar and not again and all(text.updated_at is None for text in texts):
            return 0
        async with self._database.writing(space_id) as session:
            await repository.touch_version(session, space_id, user_id, now)
            standing = await _standing(session, user_id, texts)
            if not standing:
                return 0
            read = {text.id for text in texts}
            changed = [text.id for text in texts if text.id in standing and (again or text.updated_at is not None)]
            entity_ids = await self._entities(session, scope, wanted, identities)
            mentions = mentions_in(wanted, entity_ids, lambda one: one in standing or one not in read)
            lost = await _unlink(session, user_id, changed)
            new = [text.id for text in texts if text.id in standing and text.updated_at is not None]
            await _off_topic(session, user_id, new)
            await entities.mention(session, scope, mentions)
            links = [one for one in similar if one.src in standing]
            await write_links(session, space_id, user_id, links, now)
            # Also where the mention was there: made with its note, which left this to us.
            await entities.settle(session, scope, [one.entity_id for one in mentions], lost)
        return len(links) + len(mentions)

    async def _find_before(self, space_id: UUID, user_id: UUID, names: Mapping[str, Names], known: set[str]) -> None:
        """Adds earlier traces to sure names that have no entity yet."""
        new = [key for key, one in names.items() if one.sure and key not in known][:MOST_NEW_NAMES]
        await entities.find_before(self._database, space_id, user_id, names, new, most=MOST_BEFORE)

    async def _entities(
        self, session: WriteSession, scope: Scope, wanted: Mapping[str, Names], identities: Mapping[str, bytes]
    ) -> dict[str, UUID]:
        """The ids of the entities of names, made where they were not there. The user is locked."""
        if not wanted:
            return {}
        known = await entities.known(session, scope.user_id, [identities[name] for name in wanted])
        missing = [name for name in wanted if identities[name] not in known and len(wanted[name].traces) > 1]
        made = await entities.make(session, scope, [(wanted[name].name, wanted[name].language) for name in missing])
        return {
            name: known[identities[name]] if identities[name] in known else made[one.name]
            for name, one in wanted.items() if identities[name] in known or one.name in made
        }  # fmt: skip


def operation_of(user_id: UUID) -> UUID:
    """The id of the one operation that links what a user newly remembers."""
    return uuid5(USER_NAMESPACE, f"{LINK}/{user_id}")


def mentions_in(
    names: Mapping[str, Names], entity_ids: Mapping[str, UUID], stands: Callable[[UUID], bool]
) -> list[Mention]:
    """What is mentioned where, by the keys of names: of names that are one entity's, one mention. Pure."""
    found: dict[tuple[UUID, UUID], Mention] = {}
    for name, one in names.items():
        for trace_id, spelling in one.traces.items() if name in entity_ids else ():
            if stands(trace_id):
                at = (trace_id, entity_ids[name])
                before = found.get(at)
                called = (spelling.name,) if before is None else tuple(sorted({*before.names, spelling.name}))
                found[at] = Mention(*at, called, spelling.kind if before is None else before.kind or spelling.kind)
    return list(found.values())


async def _standing(session: WriteSession, user_id: UUID, texts: Sequence[Text]) -> set[UUID]:
    """Those that were neither changed nor forgotten since they were read; the user is locked."""
    given = ([text.id for text in texts], [text.updated_at for text in texts], user_id)
    return {row[0] for row in await session.fetch(SQL["as_they_were"], given)}


async def _unlink(session: WriteSession, user_id: UUID, trace_ids: list[UUID]) -> list[Gone]:
    """Takes away what a changed text was linked by; the mentions that are gone."""
    if not trace_ids:
        return []
    lost = await entities.mentioned_by(session, user_id, trace_ids)
    await entities.unsource(session, user_id, trace_ids)
    await session.execute(SQL["unlink"], (trace_ids, user_id, [MENTIONS, SIMILAR], True))
    return lost


async def _off_topic(session: WriteSession, user_id: UUID, trace_ids: list[UUID]) -> None:
    """Takes away what a note shared words with as it came, where it says something else now: nobody makes that anew."""
    if trace_ids:
        await session.execute(SQL["unlink"], (trace_ids, user_id, [SAME_TOPIC], False))


async def write_links(
    session: WriteSession, space_id: UUID, user_id: UUID, links: Sequence[Link], now: datetime
) -> None:
    """Writes edges whose ends both stand; one that a person has made stays as it is. The user is locked."""
    if links:
        columns = [list(column) for column in zip(*dict.fromkeys(links), strict=True)]
        await session.grows(len(links))
        await session.execute(SQL["write_links"], (space_id, now, *columns, user_id))
