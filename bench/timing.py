"""How the measuring commands take time: of one action, and of several sides that take turns."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def timed(action: Callable[..., object], *arguments: Any) -> float:
    """The seconds that an action takes."""
    began = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - began


def cut(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """``items`` in pieces of ``size``; the last may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def orders(sides: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """In which order the sides work, again and again without end.

    Every side comes equally often first, second and so on, and as often before as after each of its neighbours.
    """
    turned = [(*sides[start:], *sides[:start]) for start in range(len(sides))]
    return itertools.cycle([order for one in turned for order in (one, one[::-1])])
