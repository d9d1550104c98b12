"""A space with a user's traces, and their cold memory in a folder."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from psycopg import AsyncConnection
from tests.cold.rows import MONTH
from tests.cold.store import Store
from tests.tiers.rows import add_traces

from reverie.cold.service import ColdService
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.ids import user_uuid
from reverie.objects.store import Folder


@pytest.fixture
async def store(settings: Settings, tmp_path: Path) -> AsyncIterator[Store]:
    """A store with 300 traces of each of two users, none of them cold yet."""
    space = UUID(int=7)
    users = sorted(user_uuid(space, name) for name in ("ada", "bob"))
    database = Database(settings)
    await database.open()
    async with await AsyncConnection.connect(settings.database_url or "", autocommit=True) as owner:
        await owner.execute("INSERT INTO space (id, name, created_at) VALUES (%s, 's', %s)", (space, MONTH))
        ids = {user: await add_traces(owner, space, user, MONTH, 300) for user in users}
        cold = ColdService(database, Folder(tmp_path / "objects"))
        yield Store(settings, database, owner, cold, tmp_path / "objects", space, ids)
        cold.close()
    await database.close()
