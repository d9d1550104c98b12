"""What it takes to dream weeks of many users: traces a second by stage, memory, and what recall takes meanwhile.

A throw-away store is laid down (`bench/past.py`) with chats of some users and of a larger one, each day about the same.
Its days are then dreamt in so many runs of `reverie dream --as-of`, each of as many days as any other; before each, and
while it goes on, recall is asked by the default recipe of whoever a trace drawn at random belongs to. The worker of
the service makes the vectors of the summaries meanwhile, as it would.

The chats are made by program (`bench/text.py`), or are those of --data: each user has the conversations of the file in
an order of its own, from the beginning again where they do not suffice. Vectors are mixtures of those that the default
model gives to some of the texts. Neither `--url` nor `--database-url` name a store to measure: all of it would be
dreamt.
"""

import asyncio
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import numpy as np
import psycopg
import typer

from bench import options, store
from bench.client import Client, client_of
from bench.conversations import Conversation, read_collection
from bench.crowd import process_at
from bench.moving import Asker, Window, begun
from bench.past import Batch, Space, lay
from bench.report import Bar, CannotMeasure, Report, Spread, new_report, percentile, print_table
from bench.scale import SESSION
from bench.service import Service, environment_of, service_at
from bench.tenants import Sentences, encode_these
from bench.text import conversation
from reverie.embedding.protocol import FloatArray

COMMAND: Final = (sys.executable, "-m", "reverie", "dream")

LEAST_RATE: Final = 100
MOST_MEMORY: Final = 2048
BUSY_RATIO: Final = 2.0

TEXTS: Final = 1500
"""So many are encoded; all vectors are drawn around theirs."""

QUESTIONS: Final = 200
MORNING, EVENING = timedelta(hours=8), timedelta(hours=22)
"""When a day's chats begin, and when they are remembered."""

WARM_UP: Final = 20
PATIENCE: Final = 600.0
"""Seconds that the worker may take for the vectors that a run has left to it."""

Stage = dict[str, float]


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says in all: (speaker, text) one after the other, and questions about it."""

    turns: Sequence[tuple[str, str]]
    questions: Sequence[str]


@dataclass(frozen=True, slots=True)
class Chats:
    """What everybody remembers: sessions of SESSION turns, a turn a minute from the morning of each day."""

    said: Sequence[Said]
    sentences: Sentences

    def traces(self, batch: Batch) -> list[dict[str, Any]]:
        """The traces of a batch as the API takes them, without vectors."""
        morning = batch.moment.replace(hour=0, minute=0, second=0, microsecond=0) + MORNING
        return [
            {
                "external_id": str(number),
                "conversation_id": f"session {number - place % SESSION}",
                "speaker": speaker,
                "kind": "turn",
                "language": "english",
                "content": content,
                "occurred_at": morning + timedelta(minutes=place),
            }
            for place, number in enumerate(range(batch.first, batch.last))
            for speaker, content in [self.said[batch.user].turns[number]]
        ]

    def semantic(self, batch: Batch) -> FloatArray:
        """The vectors of a batch, float32 ``[rows, dim]`` of unit length."""
        return self.sentences.draw(2 * ((batch.user << 32) + batch.first), batch.rows)

    def entity(self, batch: Batch) -> FloatArray:
        """Those of the head ``entity``."""
        return self.sentences.draw(2 * ((batch.user << 32) + batch.first) + 1, batch.rows)


@dataclass(slots=True)
class Night:
    """A run over some days: what recall took before and while it went on, and what it did by stage.

    ``peak``: most bytes that the process held that dreamt; None where that cannot be told (Linux tells).
    """

    window: Window
    days: int = 0
    seconds: float = 0.0
    peak: int | None = None
    stages: dict[str, Stage] = field(default_factory=dict)

    @property
    def traces(self) -> int:
        return self.window.traces

    @property
    def rate(self) -> float:
        """Traces a second, from the beginning of the run to its end."""
        return self.traces / self.seconds


@dataclass(slots=True)
class Found:
    """All runs; ``worker``: most bytes that the worker held, which makes the vectors meanwhile."""

    nights: list[Night] = field(default_factory=list)
    worker: int | None = None

    @property
    def rate(self) -> float:
        """Traces a second over all runs."""
        return sum(night.traces for night in self.nights) / sum(night.seconds for night in self.nights)

    @property
    def memory(self) -> float | None:
        """Most MiB that the dreaming process and the worker held together: a worker that dreams holds no more."""
        peaks = [night.peak for night in self.nights if night.peak is not None]
        return (max(peaks) + (self.worker or 0)) / 2**20 if peaks else None


@dataclass(frozen=True, slots=True)
class Bench:
    """A store whose days are dreamt and which is asked meanwhile. ``planned``: all of it, in the order of time."""

    client: Client
    service: Service
    said: Sequence[Said]
    sizes: Sequence[int]
    planned: Sequence[Batch]
    seed: int

    def asker(self) -> Asker:
        """Asks one after the other by the default recipe, and never the same question twice."""
        rng = np.random.default_rng([self.seed, len(self.sizes)])
        owners = rng.choice(len(self.sizes), size=QUESTIONS * 5, p=np.array(self.sizes) / sum(self.sizes))

        def ask(number: int) -> float:
            owner = int(owners[number % len(owners)])
            questions = self.said[owner].questions
            return self.client.ask(user(owner), f"{questions[number % len(questions)]} ({number})")[1]

        return Asker(ask)

    def night(self, since: datetime, until: datetime, seconds: float, asker: Asker) -> Night:
        """Questions for ``seconds`` while it is quiet, then from the beginning to the end of a run over some days.

        Raises:
            CannotMeasure: the run failed, or not all of its days were dreamt.
        """
        night = Night(Window(sum(one.rows for one in self.planned if since <= one.moment < until)))
        self.rest()
        asker.quiet(night.window, seconds)
        command = [*COMMAND, "--as-of", until.isoformat()]
        with begun(command, environment_of(self.service) | {"DREAM_MAX_MINUTES": "1440"}) as run:

            def is_over() -> bool:
                night.peak = max(filter(None, (night.peak, peak_of(run.process.pid))), default=None)
                return run.process.poll() is not None

            asker.until(night.window, is_over)
            if run.process.returncode:
                raise CannotMeasure(f"`reverie dream` ended with {run.process.returncode}: {run.last()}")
        self._read(night)
        return night

    def rest(self) -> None:
        """Waits until the worker has nothing to do.

        Raises:
            CannotMeasure: it takes too long.
        """
        end = time.monotonic() + PATIENCE
        with psycopg.connect(self.service.database_url, autocommit=True) as connection:
            while time.monotonic() < end:
                row = connection.execute(
                    "SELECT count(*) FROM operation WHERE state IN ('pending', 'running')"
                ).fetchone()
                if row == (0,):
                    return
                time.sleep(0.2)
        raise CannotMeasure(f"The worker has not made all vectors after {PATIENCE:.0f} seconds.")

    def _read(self, night: Night) -> None:
        """What the last run did, by its own report."""
        with psycopg.connect(self.service.database_url) as connection:
            row = connection.execute(
                "SELECT id, state, days, failed, extract(epoch FROM finished_at - started_at)::float8 FROM dream_night"
                " ORDER BY started_at DESC LIMIT 1"
            ).fetchone()
            if row is None or row[1] != "done" or row[3]:
                raise CannotMeasure(f"Not everything was dreamt: {row}")
            night.days, night.seconds, night.stages = row[2], row[4], _stages(connection, row[0])


def _stages(connection: "psycopg.Connection[Any]", run_id: UUID) -> dict[str, Stage]:
    rows = connection.execute(
        "SELECT stage, sum(seconds)::float8, sum(saw)::float8, sum(made)::float8, sum(removed)::float8"
        " FROM dream_stage WHERE run_id = %s GROUP BY stage ORDER BY min(place)",
        (run_id,),
    ).fetchall()
    return {row[0]: dict(zip(("seconds", "saw", "made", "removed"), row[1:], strict=True)) for row in rows}


def user(number: int) -> str:
    """The caller's name of a user by number."""
    return f"bench/{number}"


def peak_of(pid: int) -> int | None:
    """Most bytes of memory that a process has held so far (Linux); None where it cannot be told, or has ended."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else None
    return None


def worker_of(service: Service) -> int | None:
    """The process of the worker of a throw-away service on this machine."""
    api = process_at(service.url)
    if api is None:
        return None
    beside = store.children(store.parent(api))
    return next((pid for pid in beside if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0worker\0")), None)


def made_chat(seed: int, size: int) -> Said:
    """A chat that is made by program."""
    chat = conversation(seed, size, QUESTIONS)
    return Said([(turn.speaker, turn.content) for turn in chat.turns], [question.text for question in chat.questions])


def chat_of(conversations: Sequence[Conversation], number: int, size: int) -> Said:
    """The conversations of a collection in the order of a user, again from the beginning where they do not suffice."""
    first = number % len(conversations)
    turned = [*conversations[first:], *conversations[:first]]
    turns = [(trace["speaker"], trace["content"]) for one in turned for trace in one.traces]
    questions = [asked.text for one in turned for asked in one.questions]
    if not turns or not questions:
        raise CannotMeasure("The collection has no turns, or no questions.")
    rng = np.random.default_rng([number, len(questions)])
    chosen = rng.permutation(len(questions))[:QUESTIONS]
    return Said([turns[place % len(turns)] for place in range(size)], [questions[int(place)] for place in chosen])


def planned_days(sizes: Sequence[int], first: datetime, days: int) -> list[Batch]:
    """Everybody's batch of each day, in the order of time; each day has about as many traces as any other."""
    made = []
    for day in range(days):
        for number, size in enumerate(sizes):
            rows = size * day // days, size * (day + 1) // days
            if rows[0] < rows[1]:
                moment = first + timedelta(days=day) + EVENING + timedelta(seconds=number)
                made.append(Batch(number, *rows, moment))
    return made


def nights(
    users: Annotated[int, typer.Option(min=1, help="Users of --traces each.")] = 20,
    traces: Annotated[int, typer.Option(min=1, help="Traces of each of these.")] = 4_000,
    largest: Annotated[int, typer.Option(min=0, help="Traces of one more user; 0: none.")] = 20_000,
    days: Annotated[int, typer.Option(min=1, help="Over which they are spread.")] = 30,
    windows: Annotated[int, typer.Option(min=1, help="Runs that dream them, while each of which it is asked.")] = 5,
    seconds: Annotated[float, typer.Option(help="How long a quiet window is; one with a run is as long as it.")] = 20.0,
    data: Annotated[
        list[Path] | None, typer.Option(help="A collection of conversations, instead of made ones; once for each.")
    ] = None,
    seed: int = 1,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """Traces that a night dreams in a second, the memory that takes, and what recall takes meanwhile.

    Example: bench/nights --users 5 --traces 1000 --largest 4000 --data locomo.json
    """
    texts = TEXTS
    if quick:
        users, traces, largest, days, windows, seconds, texts = 2, 60, 120, 4, 2, 0.5, 64
    sizes = [*[traces] * users, *([largest] if largest else [])]
    chosen: dict[str, Any] = {"sizes": sizes, "days": days, "windows": windows, "seconds": seconds, "seed": seed}
    report = new_report("nights", chosen | {"data": [path.name for path in data or ()]})
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        conversations = [one for path in data or () for one in read_collection(path)]
        begin("Making chats", 0)
        said = [
            chat_of(conversations, number, size) if conversations else made_chat(seed * 1_000 + number, size)
            for number, size in enumerate(sizes)
        ]
        some = sorted({text for one in said for _, text in one.turns})
        picked = np.random.default_rng([seed, len(some)]).permutation(len(some))[:texts]
        drawn, _ = encode_these(seed, [some[int(place)] for place in picked], [some[0]], begin("Encoding", texts + 1))
        first = midnight(datetime.now(UTC)) - timedelta(days=days)
        planned = planned_days(sizes, first, days)
        bench = stack.enter_context(_opened(said, sizes, planned, Chats(said, drawn), seed, report, begin))
        found = _measure(bench, first, days, min(windows, days), seconds, begin)
    _judge(report, found)
    _print_tables(found)
    report.print_bars()
    options.finish(report, json, check)


def midnight(moment: datetime) -> datetime:
    """When its day began, in UTC."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


@contextmanager
def _opened(
    said: Sequence[Said], sizes: Sequence[int], planned: Sequence[Batch], chats: Chats, seed: int, report: Report,
    begin: options.Begin,
) -> Iterator[Bench]:  # fmt: skip
    """A throw-away store that is filled."""
    begin(f"Starting a service for {sum(sizes):,} traces", 0)
    settings = {
        "MEMORY_HNSW": "never",
        "MEMORY_HOT_DAYS": "365",
        "MEMORY_RECALL_TIMEOUT_SECONDS": "30",
        # Nobody else is to dream meanwhile.
        "DREAM_AT": f"{(datetime.now(UTC).hour + 12) % 24:02}:00",
    }
    with service_at(None, **settings) as service, client_of(service) as client:
        url = service.database_url
        report.ask_versions(url)
        asyncio.run(lay(url, Space.of(url), planned, chats, user, begin("Laying down traces", sum(sizes))))
        store.build(url, "never", over=True)
        store.vacuum(url)
        yield Bench(client, service, said, sizes, planned, seed)


def _measure(
    bench: Bench, first: datetime, days: int, windows: int, seconds: float, begin: options.Begin
) -> Found:  # fmt: skip
    """Every day dreamt, in so many runs."""
    found, asker, since = Found(), bench.asker(), first
    for _ in range(WARM_UP):
        asker.ask(next(asker.numbers))
    advance = begin("Dreaming days", days)
    for number in range(windows):
        until = first + timedelta(days=days * (number + 1) // windows)
        found.nights.append(bench.night(since, until, seconds, asker))
        advance((until - since).days)
        since = until
    worker = worker_of(bench.service)
    found.worker = None if worker is None else peak_of(worker)
    return found


def _judge(report: Report, found: Found) -> None:
    report.rows = [asdict(night) | {"rate": night.rate, "ratio": night.window.ratio} for night in found.nights]
    report.rows.append({"worker": found.worker, "traces_per_second": found.rate})
    ratios = Spread.of(night.window.ratio for night in found.nights)
    report.bars.append(Bar("dreamt, all runs together", found.rate, "at least", LEAST_RATE, " traces/s"))
    if found.memory is not None:
        report.bars.append(Bar("memory of the dream and the worker", found.memory, "at most", MOST_MEMORY, " MiB"))
    report.bars.append(Bar("recall p95 meanwhile, of quiet", ratios.median, "at most", BUSY_RATIO, "x", ratios))


def _print_tables(found: Found) -> None:
    print_table(
        ["days", "traces", "s", "traces/s", "MiB at most", "quiet p50", "p95", "meanwhile p50", "p95", "p95 of quiet"],
        [
            [
                str(night.days),
                f"{night.traces:,}",
                f"{night.seconds:,.1f}",
                f"{night.rate:,.0f}",
                "–" if night.peak is None else f"{night.peak / 2**20:,.0f}",
                *(
                    f"{percentile(taken, percent) * 1000:,.1f}"
                    for taken in (night.window.quiet, night.window.busy)
                    for percent in (50, 95)
                ),
                f"{night.window.ratio:.2f}",
            ]
            for night in found.nights
        ],
        "Dreamt in so many runs; milliseconds of recall over HTTP before each run and while it went on",
    )
    names = list(dict.fromkeys(name for night in found.nights for name in night.stages))
    total = sum(night.traces for night in found.nights)
    print_table(
        ["stage", "s", "ms a trace", "saw", "made", "taken away"],
        [
            [
                name,
                f"{summed['seconds']:,.1f}",
                f"{summed['seconds'] / total * 1000:,.2f}",
                *(f"{summed[what]:,.0f}" for what in ("saw", "made", "removed")),
            ]
            for name in names
            for summed in [_summed(found, name)]
        ],
        "By stage, all runs together",
    )


def _summed(found: Found, name: str) -> Stage:
    there = [night.stages[name] for night in found.nights if name in night.stages]
    return {what: sum(stage[what] for stage in there) for what in ("seconds", "saw", "made", "removed")}


if __name__ == "__main__":
    options.run(nights)
