"""Which traces a scope names. Exact: every trace of the user is looked at, and none is judged by likeness."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from reverie.cold.service import ColdService
from reverie.core.database import Database, ReadSession
from reverie.core.errors import Invalid
from reverie.forgetting import repository
from reverie.forgetting.schemas import Scope
from reverie.memories.derived import derived_from
from reverie.memories.entities import only_mentioned_by
from reverie.memories.identity import entity_identity
from reverie.text.fields import EARLIEST, LATEST

PART: Final = 2000
"""Texts out of files that are looked at together."""


async def in_files(
    database: Database, cold: ColdService, space_id: UUID, user_id: UUID, key: bytes, scope: Scope
) -> tuple[list[UUID], bool]:
    """The traces whose text lies in files and that a scope finds by their text; whether all could be read.

    Before anything is locked: it may take long.
    """
    if scope.query is None and scope.entity is None:
        return [], True
    async with database.reading(space_id) as session:
        rows = await session.fetch(repository.SQL["cold_of_user"], (user_id,))
        pattern = (await _named(session, user_id, key, scope.entity))[1] if rows and scope.entity is not None else ""
    found, complete = list[UUID](), True
    for start in range(0, len(rows), PART):
        languages = {row[0]: str(row[1]) for row in rows[start : start + PART]}
        read = await cold.contents(space_id, [(user_id, one) for one in languages])
        complete = complete and read.complete
        texts = {trace_id: text for (_, trace_id), text in read.texts.items()}
        packed = repository.packed(list(texts))
        async with database.reading(space_id) as session:
            if scope.query is not None:
                given = (packed, [languages[one] for one in texts], list(texts.values()), scope.query)
                found += await repository.ids_of(session, "text_matches", *given)
            else:
                found += await repository.ids_of(session, "text_has", packed, list(texts.values()), pattern)
    return found, complete


async def resolve(
    session: ReadSession, user_id: UUID, key: bytes, scope: Scope, cold: Sequence[UUID] = ()
) -> list[UUID]:
    """The traces that stand and that a scope names, ascending.

    Args:
        key: of the space's identities.
        cold: what :func:`in_files` found.

    Raises:
        Invalid: a query without a word that can be looked for.
    """
    ids = scope.ids()
    if ids is not None:
        return await _standing(session, user_id, ids)
    if scope.conversation_id is not None:
        return await repository.ids_of(session, "of_conversation", user_id, scope.conversation_id)
    if scope.since is not None or scope.until is not None:
        return await _happened(session, user_id, scope.since, scope.until)
    if scope.entity is not None:
        return await _standing(session, user_id, [*await _entity(session, user_id, key, scope.entity), *cold])
    if scope.query is not None:
        return await _standing(session, user_id, [*await _query(session, user_id, scope.query), *cold])
    return await repository.ids_of(session, "all_of_user", user_id)


async def with_what_hangs_on(session: ReadSession, user_id: UUID, ids: Sequence[UUID]) -> tuple[list[UUID], list[UUID]]:
    """The traces that go with these: entities whose names stand in them alone, and what was made of them.

    Returns:
        (all of them, ascending; those among them that were made of others and were not named).
    """
    if not ids:
        return [], []
    derived = await derived_from(session, user_id, ids)
    known = {*ids, *derived}
    named = await only_mentioned_by(session, user_id, list(known))
    return sorted({*known, *named}, key=lambda one: one.int), derived


async def _standing(session: ReadSession, user_id: UUID, ids: Sequence[UUID]) -> list[UUID]:
    return await repository.ids_of(session, "standing", user_id, repository.packed(ids)) if ids else []


async def _happened(session: ReadSession, user_id: UUID, since: datetime | None, until: datetime | None) -> list[UUID]:
    return await repository.ids_of(session, "happened", user_id, since or EARLIEST, until or LATEST)


async def _query(session: ReadSession, user_id: UUID, query: str) -> list[UUID]:
    words = await session.fetch_one(repository.SQL["asked_words"], (query, user_id))
    if words is not None and words[0] is False:
        raise Invalid("query takes words that can be looked for, not small words alone.", field="query")
    return await repository.ids_of(session, "matches", user_id, query, query)


async def _entity(session: ReadSession, user_id: UUID, key: bytes, name: str) -> list[UUID]:
    """What a name stands for, what mentions it, and where it stands: what was remembered just now is not linked yet."""
    entities, pattern = await _named(session, user_id, key, name)
    found = list(entities)
    for entity in entities:
        found += await repository.ids_of(session, "mentioning", user_id, entity)
    return found + await repository.ids_of(session, "texts_with", user_id, pattern)


async def _named(session: ReadSession, user_id: UUID, key: bytes, name: str) -> tuple[list[UUID], str]:
    """The entities of a name, and what finds it: as they write it; without any, in small and capital letters alike."""
    identity = entity_identity(key, name)
    rows = await session.fetch(repository.SQL["entity_named"], (user_id, user_id, identity, user_id, identity))
    written = dict.fromkeys(one for row in rows for one in (row[1], *_names(row[2])) if one)
    pattern = "|".join(f"({pattern_of(one, exact=True)})" for one in written) or pattern_of(name, exact=False)
    return [row[0] for row in rows], pattern


def _names(aliases: object) -> list[str]:
    return [one for one in aliases if isinstance(one, str) and one.strip()] if isinstance(aliases, list) else []


def pattern_of(name: str, *, exact: bool) -> str:
    """A regular expression of PostgreSQL for a name that stands by itself, over any white space. Pure."""
    words = r"\s+".join(re.sub(r"(\W)", r"\\\1", word) for word in name.split())
    return f"{'' if exact else '(?i)'}(^|\\W){words}($|\\W)"
