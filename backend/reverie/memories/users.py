"""Users and what they have set: whose days are dreamt, in which time zone and language, how fast theirs fades."""

from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.database import Database, ReadSession, Row, WriteSession
from reverie.core.errors import Invalid, NotFound
from reverie.core.ids import user_uuid
from reverie.core.queries import Queries
from reverie.memories import repository
from reverie.memories.schemas import UserPatch, UserSettings

SQL = Queries("reverie.memories", "users.sql")


class UserService:
    """The users of every space."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, principal: Principal, user: str) -> UserSettings:
        """A user.

        Raises:
            NotFound: the space has none of this name.
        """
        user_id = user_uuid(principal.space_id, user)
        async with self._database.reading(principal.space_id) as session:
            return await _shown(session, user_id, user)

    async def patch(self, principal: Principal, user: str, patch: UserPatch) -> UserSettings:
        """Changes what a user has set; what is not given stays.

        Raises:
            NotFound: the space has none of this name.
            Invalid: PostgreSQL does not know the time zone.
        """
        space_id, user_id = principal.space_id, user_uuid(principal.space_id, user)
        try:
            async with self._database.writing(space_id) as session:
                if patch.time_zone is not None:
                    await session.fetch(SQL["try_zone"], (patch.time_zone,))
                # Days, and how traces are weighed, may be others now.
                await repository.touch_version(session, space_id, user_id, clock.now())
                await _change(session, user_id, patch)
                return await _shown(session, user_id, user)
        except psycopg.errors.InvalidParameterValue:
            raise Invalid(
                f"time_zone takes a time zone that PostgreSQL knows too, not {patch.time_zone}.", field="time_zone"
            ) from None


async def _change(session: WriteSession, user_id: UUID, patch: UserPatch) -> None:
    given = patch.model_fields_set
    chosen = None if patch.half_lives is None else patch.half_lives.model_dump(exclude_none=True)
    half_lives = Jsonb(chosen) if chosen else None
    parameters: list[Any] = []
    for name, value in (("time_zone", patch.time_zone), ("language", patch.language), ("half_lives", half_lives)):
        parameters += [name in given, value]
    await session.execute(SQL["change_user"], (*parameters, patch.dream, user_id))


async def _shown(session: ReadSession, user_id: UUID, user: str) -> UserSettings:
    row: Row | None = await session.fetch_one(SQL["get_user"], (user_id,))
    if row is None:
        raise NotFound(f"There is no user {user}.")
    names = ("user_id", "kind", "traces", "created_at", "updated_at", "time_zone", "language", "half_lives", "dream")
    return UserSettings.model_validate(dict(zip(names, row, strict=True)))
