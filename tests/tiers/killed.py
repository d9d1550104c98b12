"""A run in a process of its own that is killed at a given place: ``python -m tests.tiers.killed PLACE DATABASE HOME``.

A place is a function and how often it was entered or left when the process dies.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.tiers.past import NOW

from reverie.cold.service import ColdService, Output
from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.core.queue import Bell
from reverie.objects.store import Folder, open_objects
from reverie.operations.service import OperationService
from reverie.tiers import export, moving, thaw
from reverie.tiers.runs import TierRuns
from reverie.tiers.steps import steps_of
from reverie.tiers.thaw import THAW, Cooler, ThawService

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES: dict[str, tuple[Any, str]] = {
    "put": (Folder, "put"),
    "name": (Output, "_name"),
    "segment": (Output, "_add"),
    "read": (export._Reader, "read"),
    "export": (export.Exporter, "_write"),
    "stay": (export, "_without_digest"),
    "fill": (moving._Mover, "_fill"),
    "show": (ColdService, "show"),
    "swap": (moving._Mover, "swap"),
    "drop": (moving, "_drop"),
    "leave": (export.Exporter, "_leave"),
    "cool": (Cooler, "_cool"),
    "sound": (Cooler, "_is_sound"),
    "thaw": (thaw._Thawing, "_write"),
    "vectors": (thaw._Thawing, "_leave"),
    "part": (thaw._Thawing, "_part"),
}


def deadly(owner: Any, name: str, *, after: bool, times: int) -> None:
    """Has the process die at the n-th time that a function is entered, or left."""
    work: Callable[..., Any] = getattr(owner, name)
    count = 0

    def strike(now: bool) -> None:
        nonlocal count
        if now == after:
            count += 1
            if count == times:
                os.kill(os.getpid(), signal.SIGKILL)

    if asyncio.iscoroutinefunction(work):

        @wraps(work)
        async def struck(*arguments: Any, **named: Any) -> Any:
            strike(False)
            found = await work(*arguments, **named)
            strike(True)
            return found

    else:

        @wraps(work)
        def struck(*arguments: Any, **named: Any) -> Any:
            strike(False)
            found = work(*arguments, **named)
            strike(True)
            return found

    setattr(owner, name, struck)


async def main(place: str, url: str, home: str, operation: str | None) -> None:
    """A run, or an operation."""
    name, when, times = place.split(":")
    # In small parts, so that there are some.
    thaw.PART = int(os.environ.get("REVERIE_TEST_PART", thaw.PART))
    deadly(*PLACES[name], after=when == "after", times=int(times))
    settings = load_settings(database_url=url, reverie_home=home)
    database = Database(settings)
    cold = ColdService(database, open_objects(settings))
    if operation is None:
        await TierRuns(settings, database, steps_of(settings, cold)).run(NOW + timedelta(days=60))
        return
    await database.open()
    from reverie.tiers import repository

    async with database.maintenance() as connection:
        model = await repository.active_model(connection)
    assert model is not None
    bell = Bell(settings)
    thaws = ThawService(database, bell, cold, model, 30)
    await OperationService(database, bell, {THAW: thaws.thaw}).run(UUID(operation))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else None))
