"""How often a command says how far it has come."""

import time
from collections.abc import Callable
from typing import ParamSpec

REFRESH, TOLD_EVERY = 0.1, 10.0
"""Seconds between two updates of a bar, and between two lines where there is no terminal."""

P = ParamSpec("P")


def every(seconds: float, do: Callable[P, object], *, at_once: bool = False) -> Callable[P, None]:
    """Calls ``do``, but not more often than that; for the first time after ``seconds``, or ``at_once``."""
    last = float("-inf") if at_once else time.monotonic()

    def advance(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds:
            last = now
            do(*args, **kwargs)

    return advance
