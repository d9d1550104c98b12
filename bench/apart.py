"""An object in a process of its own: what is measured must not share an interpreter with what measures it."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

import psycopg

from bench.report import CannotMeasure
from reverie.core.errors import ReverieError, SettingsError, StartError

_STOP_SECONDS: Final = 10


class Apart:
    """An object in another process. It works only while :meth:`ask` waits for it."""

    def __init__(self, name: str, pipe: Connection) -> None:
        self._name = name
        self._pipe = pipe

    def ask(self, method: str, *arguments: Any) -> Any:
        """What the object's method of that name gives.

        Raises:
            CannotMeasure: the object could not be made, its method failed, or its process ended.
        """
        try:
            self._pipe.send((method, arguments))
            failed, answer = self._pipe.recv()
        except (EOFError, OSError):
            raise CannotMeasure(f"The process of {self._name} ended unexpectedly; what it said stands above.") from None
        if failed:
            raise CannotMeasure(f"{self._name} could not be measured: {answer}")
        return answer


@contextmanager
def apart(name: str, make: Callable[[], object]) -> Iterator[Apart]:
    """What ``make`` gives, in a process of its own, which begins at once to make it and ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Apart(name, ours)
    finally:
        ours.close()
        process.join(_STOP_SECONDS)
        process.terminate()


def _serve(pipe: Connection, make: Callable[[], object]) -> None:
    """The process: names of methods come and answers go by the pipe, until the other end is closed."""
    # As the service has one: Linux shares the processor out among sessions, and then among the processes of each.
    os.setsid()
    try:
        made = make()
    except (StartError, SettingsError) as error:
        pipe.recv()
        pipe.send((True, str(error)))
        return
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = (False, getattr(made, method)(*arguments))
        except (psycopg.Error, ReverieError) as error:
            answer = (True, str(error))
        pipe.send(answer)
