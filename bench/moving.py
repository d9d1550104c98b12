"""Runs over the tiers as an operator makes them, `reverie tiers run --as-of`, and what recall takes meanwhile."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import IO, Any, Final
from uuid import UUID

import psycopg

from bench.report import CannotMeasure, percentile
from bench.service import Service, environment_of

Ask = Callable[[int], float]
"""Asks a question that was not asked before, and tells the seconds; each number is given once."""

COMMAND: Final = (sys.executable, "-m", "reverie", "tiers", "run")

_SHOWN: Final = 2000
"""Bytes of what a run said last that are shown when it failed."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: ``seconds`` from its beginning to its end, ``report`` as it wrote it down, bytes of the database."""

    seconds: float
    report: dict[str, Any]
    before: int
    after: int

    @property
    def returned(self) -> int:
        """Bytes that were given back to the disk."""
        return self.before - self.after


@dataclass(slots=True)
class Window:
    """Seconds of questions while nothing else went on, and of others during what came then (a run over ``traces``)."""

    traces: int
    quiet: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    run: Run | None = None

    def ms(self, *, busy: bool, percent: float = 95) -> float:
        """A percentile, in milliseconds."""
        return percentile(self.busy if busy else self.quiet, percent) * 1000

    @property
    def ratio(self) -> float:
        """How many times its quiet value the p95 is."""
        return self.ms(busy=True) / self.ms(busy=False)


@dataclass(slots=True)
class Asker:
    """Asks one question after the other."""

    ask: Ask
    numbers: Iterator[int] = field(default_factory=count)

    def quiet(self, window: Window, seconds: float) -> None:
        """Asks for so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end or not window.quiet:
            window.quiet.append(self.ask(next(self.numbers)))

    def until(self, window: Window, over: Callable[[], bool]) -> None:
        """Asks until something is over."""
        while not over() or not window.busy:
            window.busy.append(self.ask(next(self.numbers)))


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves what is due in a store. ``settings``: names of environment variables, as its service has them."""

    service: Service
    settings: dict[str, str]

    def run(self, as_of: datetime, **settings: str) -> Run:
        """One run, from its beginning to its end.

        Raises:
            CannotMeasure: it failed.
        """
        with self._begun(as_of, settings) as run:
            run.beside.process.wait()
            return run.ended()

    def window(self, as_of: datetime, traces: int, seconds: float, asker: Asker) -> Window:
        """Questions for ``seconds`` while it is quiet, then from the beginning of a run to its end."""
        window = Window(traces)
        asker.quiet(window, seconds)
        with self._begun(as_of, {}) as run:
            asker.until(window, lambda: run.beside.process.poll() is not None)
            window.run = run.ended()
        return window

    @contextmanager
    def _begun(self, as_of: datetime, settings: dict[str, str]) -> Iterator["_Begun"]:
        command = [*COMMAND, "--as-of", as_of.isoformat()]
        environment = environment_of(self.service) | self.settings | settings
        url = self.service.database_url
        before, known = _bytes(url), {run for run, *_ in _runs(url)}
        with begun(command, environment) as beside:
            yield _Begun(beside, url, before, known)


@dataclass(frozen=True, slots=True)
class Beside:
    """A process that was begun; what it says is kept."""

    process: "subprocess.Popen[bytes]"
    said: IO[bytes]

    def last(self) -> str:
        """What it said last."""
        self.said.seek(0)
        return self.said.read().decode("utf-8", "replace")[-_SHOWN:]


@contextmanager
def begun(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Beside]:
    """A process, which ends with the block at the latest."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT) as process,  # noqa: S603
    ):
        try:
            yield Beside(process, said)
        finally:
            if process.poll() is None:
                process.terminate()


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run that was begun. ``known``: those before it."""

    beside: Beside
    database_url: str
    before: int
    known: set[UUID]

    def ended(self) -> Run:
        """What it did.

        Raises:
            CannotMeasure: it failed.
        """
        code = self.beside.process.returncode
        new = [run for run in _runs(self.database_url) if run[0] not in self.known]
        if code or not new or any(state != "done" for _, state, *_ in new):
            raise CannotMeasure(f"`reverie tiers run` ended with {code}: {self.beside.last()}")
        seconds = sum(float(one[2]) for one in new)
        return Run(seconds, new[-1][3], self.before, _bytes(self.database_url))


def _runs(database_url: str) -> list[tuple[UUID, str, float, dict[str, Any]]]:
    """(id, state, seconds, report) of every run, oldest first."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT id, state, extract(epoch FROM coalesce(finished_at, seen_at) - started_at)::float8, report"
            " FROM tier_run ORDER BY id"
        ).fetchall()


def _bytes(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])
