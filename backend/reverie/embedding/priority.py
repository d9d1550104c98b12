"""Documents give way to questions: their threads take what the others leave of the processors."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

NICENESS: Final = 5
"""A thread of this niceness gets a quarter of a core for which another competes, and all of it where none does."""

T = TypeVar("T")


def give_way() -> None:
    """Lowers the priority of the calling thread and of those that it starts from now on (on Linux)."""
    if sys.platform == "linux":
        with suppress(OSError):  # forbidden in some sandboxes: then documents compete with questions
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def giving_way(build: Callable[[], T]) -> T:
    """What ``build`` makes; the threads that it starts give way."""
    with ThreadPoolExecutor(1, initializer=give_way) as thread:
        return thread.submit(build).result()
