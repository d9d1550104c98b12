"""A process that makes memory cold, or purges it, and is killed at a step that is told by its number."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from tests.cold.rows import LAYOUT, MONTH, rows

from reverie.cold.service import ColdService
from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.objects.store import Folder


class Steps:
    """Counts what is done to the database and to the storage, and ends the process at one of them."""

    def __init__(self, last: int) -> None:
        self._left = last

    def step(self) -> None:
        """One more; the last is not survived."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same, with a step before it and one after it."""

        def counting(*arguments: Any, **named: Any) -> Any:
            self.step()
            found = work(*arguments, **named)
            self.step()
            return found

        return counting


def run(url: str, folder: str, space: UUID, keys: list[tuple[UUID, UUID]], what: str, last: int) -> None:
    """Does it, and is killed at the step ``last``, if there are so many."""
    asyncio.run(_run(url, Path(folder), space, keys, what, Steps(last)))


async def _run(url: str, folder: Path, space: UUID, keys: list[tuple[UUID, UUID]], what: str, steps: Steps) -> None:
    objects = Folder(folder)
    for name in ("put", "delete"):
        setattr(objects, name, steps.counted(getattr(objects, name)))
    cold = ColdService(Database(load_settings(database_url=url)), objects)

    class Counted(AsyncConnection[Any]):
        async def execute(self, *arguments: Any, **named: Any) -> Any:
            steps.step()
            return await super().execute(*arguments, **named)

    async with await Counted.connect(url, autocommit=True) as connection:
        await cold.discard(connection)
        await cold.purge(connection)
        if what == "write":
            async with cold.writing(connection, space, MONTH.date(), LAYOUT, 1) as output:
                table = rows([(user, one, 0) for user, one in keys])
                await output.write(table.slice(0, 300))
                await output.finish()
                await output.write(table.slice(300))
            async with connection.transaction():
                await cold.show(connection, [segment.id for segment in output.segments])
    cold.close()
