"""What is known of a user, page by page."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import replace
from datetime import date, datetime
from typing import Final
from uuid import UUID

from reverie.auth.principal import Principal
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.errors import NotFound
from reverie.core.ids import user_uuid
from reverie.core.paging import not_a_cursor
from reverie.dream.supersede import Told
from reverie.memories.cold import ColdTraces
from reverie.profile import facts, repository
from reverie.profile.facts import Known, Position, Text
from reverie.profile.repository import Wanted, Whose
from reverie.profile.schemas import Fact, Lately, ProfileOut, ProfileQuery

NO_NIGHT = (
    "No night was dreamt yet: this is what was remembered as a fact, and what the newest turns state by themselves. "
    "`reverie dream` looks through all of them."
)
"""What is said of a user without nights."""

KEPT_SECONDS: Final = 60.0
"""For so long it is kept what texts state: a profile is asked for page by page, and a forgotten text is to leave."""


class ProfileService:
    """The profiles of every user."""

    def __init__(self, settings: Settings, database: Database, cold: ColdService) -> None:
        self._database = database
        self._zone = settings.dream_time_zone
        self._cold = ColdTraces(cold, settings.memory_cold_timeout_seconds)
        self._sweeper: asyncio.TimerHandle | None = None

    async def get(self, principal: Principal, user: str, query: ProfileQuery) -> ProfileOut:
        """A page of what is known of a user.

        Raises:
            NotFound: the space has no such user.
            Invalid: the cursor is none that a profile gave out.
        """
        try:
            return await self._page(principal, user, query)
        finally:
            if self._sweeper is None:
                loop = asyncio.get_running_loop()
                self._sweeper = loop.call_later(KEPT_SECONDS, self._sweep, context=Context())

    def _sweep(self) -> None:
        self._sweeper = None
        facts.drop_texts()

    async def _page(self, principal: Principal, user: str, query: ProfileQuery) -> ProfileOut:
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, user)
        before = position_of(query.cursor)
        async with self._database.reading(space_id) as session:
            whose = await repository.user(session, user_id, self._zone)
            if whose is None:
                raise NotFound(f"There is no user {user}.")
            wanted = Wanted(user_id, clock.now(), query.as_of, whose.zone, query.topic, before, query.limit)
            queued = await repository.queue_facts(session, wanted)
            unread = await repository.queue_fresh(session, wanted)
            told = None if before else await repository.queue_lately(session, wanted)
            await session.go()
            page, fresh = await repository.page_of(queued), await repository.fresh_of(unread)
            lately = [] if told is None else await told.fetchall()
        new = await asyncio.to_thread(facts.stated_by, fresh)
        here = [one for one in new if _is_here(one, wanted)]
        shown = sorted((*page.facts, *here), key=lambda one: one.at, reverse=True)[: query.limit]
        more = len(page.facts) == query.limit or len(page.facts) + len(here) > query.limit
        following = shown[-1].at if more else page.floor
        said = await self._said(space_id, user_id, shown, fresh)
        items = await asyncio.to_thread(_items, shown, said, fresh)
        topics = Counter(page.topics) + Counter(one.topic for one in new)
        return ProfileOut(
            user_id=user, as_of=query.as_of, nights=whose.nights, last_night=whose.last_night, read=len(fresh),
            note=_note(whose), topics=dict(topics.most_common()) if before is None else None,
            lately=[Lately(trace_id=row[0], day=date.fromisoformat(row[1]), text=row[2]) for row in lately],
            items=items, next_cursor=None if following is None else cursor_of(following),
        )  # fmt: skip

    async def _said(
        self, space_id: UUID, user_id: UUID, shown: Sequence[Known], fresh: Sequence[Text]
    ) -> dict[UUID, Text]:
        """What is read to put facts into words: names, sources, what took their place; of files too."""
        ids = {one for fact in shown for one in (fact.src, fact.dst, fact.superseded_by, fact.partner) if one}
        ids |= {one.sources[0] for one in shown if one.predicate is None or one.superseded_by or fresh}
        async with self._database.reading(space_id) as session:
            found = await repository.texts(session, user_id, ids)
        cold = [(user_id, one.id) for one in found.values() if one.text is None]
        for key, text in (await self._cold.texts(space_id, cold)).items():
            found[key[1]] = found[key[1]]._replace(text=text)
        return found | {one.id: one for one in fresh}


def _is_here(fact: Known, wanted: Wanted) -> bool:
    """Whether a fact of today's is of this page, or a later one."""
    return (wanted.before is None or fact.at < wanted.before) and wanted.topic in (None, fact.topic)


def _note(whose: Whose) -> str | None:
    return None if whose.nights else NO_NIGHT


def _items(shown: Sequence[Known], said: Mapping[UUID, Text], fresh: Sequence[Text]) -> list[Fact]:
    """The facts of a page as they are answered."""
    named = [_named(one, said) for one in shown]
    told = {one.id: one for one in facts.told_by(said.values())}
    current = [_unless_other(one, told) for one in named]
    new = [told[one.id] for one in fresh if one.id in told]
    if new:
        current = facts.marked(current, new, told.values())
    return [_fact(one, said) for one in facts.joined(current)]


def _named(fact: Known, said: Mapping[UUID, Text]) -> Known:
    if fact.src is None or fact.dst is None:
        return fact
    ends = [None if one not in said else said[one].text for one in (fact.src, fact.dst)]
    return replace(fact, subject=ends[0], object=ends[1])


def _unless_other(fact: Known, told: Mapping[UUID, Told]) -> Known:
    """A triple without its mark, where what took the place of its source is about something else."""
    if fact.superseded_by is None or fact.predicate is None:
        return fact
    newer, older = told.get(fact.superseded_by), told.get(fact.sources[0])
    if newer is None or older is None or facts.is_meant(fact, newer, older):
        return fact
    return replace(fact, superseded_by=None)


def _fact(fact: Known, said: Mapping[UUID, Text]) -> Fact:
    source, newer = said.get(fact.sources[0]), said.get(fact.superseded_by or fact.sources[0])
    text = facts.sentence_of(fact)
    if fact.predicate is None and source is not None and source.text is not None:
        partner = said.get(fact.partner) if fact.partner else None
        # A fact is what was said of it, as a whole; of a turn the sentence that says otherwise, or is said otherwise.
        text = facts.passage(source, partner, newer=fact.superseded_by is None)
    instead = None
    if fact.superseded_by is not None and newer is not None and newer.text is not None:
        instead = facts.passage(newer, source, newer=True)
    return Fact(
        text=text, topic=fact.topic, subject=fact.subject, predicate=fact.predicate, object=fact.object,
        sources=list(fact.sources), told=fact.told, happened_at=fact.at.happened_at,
        superseded_by=fact.superseded_by, instead=instead,
    )  # fmt: skip


def position_of(cursor: str | None) -> Position | None:
    """Where a page begins.

    Raises:
        Invalid: no profile gave it out.
    """
    if cursor is None:
        return None
    try:
        moment, key = cursor.split(",")
        happened_at = datetime.fromisoformat(moment)
        if happened_at.tzinfo is None:
            raise ValueError(moment)  # noqa: TRY301 - one refusal for every malformed cursor
        return Position(happened_at, UUID(key))
    except ValueError:
        raise not_a_cursor() from None


def cursor_of(position: Position) -> str:
    """The cursor of a page that begins behind a fact."""
    return f"{position.happened_at.isoformat().replace('+00:00', 'Z')},{position.key}"
