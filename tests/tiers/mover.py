"""A process that moves what is due and is to be killed: ``python -m tests.tiers.mover URL AS_OF PHASE``.

When the phase has come it says so, and stands still. Without a phase it goes through to its end.
"""

import asyncio
import sys
import time
from datetime import datetime
from typing import Any

from reverie.core.config import load_settings
from reverie.core.database import Database
from reverie.tiers import downshift, moving

PHASES = ("_create", "_note_changes", "_fill", "_index", "_catch_up", "_known", "_exchange", "swap", "drop")


def stand_still_at(phase: str) -> None:
    original: Any = getattr(moving._Mover, phase)

    if phase == "_exchange":

        def locked(self: Any) -> bytes:
            stand_still()
            return bytes(original(self))

        setattr(moving._Mover, phase, locked)
        return

    async def phased(self: Any, *given: Any) -> Any:
        result = await original(self, *given)
        stand_still()
        return result

    setattr(moving._Mover, phase, phased)


def stand_still() -> None:
    print("there", flush=True)
    time.sleep(60)


async def main(url: str, as_of: str, phase: str) -> None:
    if phase:
        stand_still_at(phase)
    database = Database(load_settings(database_url=url))
    await moving.sweep(database)
    async with database.maintenance() as connection:
        while (plan := await downshift.due(connection, datetime.fromisoformat(as_of), 30, 0.3)) is not None:
            await moving.move(database, plan)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
