"""An operation that forgets, in a process of its own that is killed.

``python -m tests.forgetting.killed PLACE URL ID``: a place is a function, ``before`` or ``after``, and the how-manieth
time the process dies.
"""

import asyncio
import sys
from typing import TYPE_CHECKING, cast
from uuid import UUID

from tests.tiers.killed import deadly

from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.core.queue import Bell
from reverie.core.redis import Redis
from reverie.forgetting import erasing, repository
from reverie.memories.access import AccessCounts
from reverie.operations.service import OperationService
from reverie.working.focus import Focus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reverie.cold.service import ColdService


async def main(place: str, url: str, operation: str) -> None:
    """Runs the operation until it dies."""
    name, when, times = place.split(":")
    erasing.PART = 7  # type: ignore[misc]
    deadly(repository, name, after=when == "after", times=int(times))
    settings = load_settings(database_url=url)
    database = Database(settings)
    await database.open()
    redis = Redis(settings)
    # Of files there are none here.
    counts = AccessCounts(database, redis)
    eraser = erasing.Eraser(database, Focus(settings, redis), cast("ColdService", None), counts)
    await OperationService(database, Bell(settings), {repository.FORGET: eraser.erase}).run(UUID(operation))


def arguments(place: str, url: str, operation: str) -> "Sequence[str]":
    """The command."""
    return [sys.executable, "-m", "tests.forgetting.killed", place, url, operation]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
