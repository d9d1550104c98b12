"""Long work on the event loop, cut so that others have their turn."""

import asyncio
import time
from typing import Final

TURN_SECONDS: Final = 0.01
"""For so long the event loop may be held: a body of 32 MiB takes 20 times that to be looked through."""


class Turns:
    """Counts the time of one long piece of work."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def pass_on(self) -> None:
        """Lets the others go on when the turn is over."""
        if time.perf_counter() - self._since > TURN_SECONDS:
            await asyncio.sleep(0)
            self._since = time.perf_counter()
