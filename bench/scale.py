"""How the service grows: 10 000, 100 000 and 1 000 000 traces of a thousand users in one store, with supplied vectors.

The store is filled step by step, as a bulk load does it: batches of up to 1000 traces of one user, everybody in turn;
then what the worker does in the background is done, and then it is asked. The n-th largest user has a share that falls
with a power of n (Zipf's law), the largest a tenth of all. The traces are turns of conversations, their vectors those
of `bench/tenants`.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from bench import options, store
from bench.client import Client, client_of, in_base64
from bench.report import Bar, CannotMeasure, Report, new_report, percentile, print_table
from bench.service import Service, named, service_at
from bench.store import Part
from bench.tenants import Question, Sentences, encode
from bench.text import Turn, conversation

BATCH: Final = 1000
SHARE_OF_LARGEST: Final = 10
"""The largest user has one trace in so many."""

TURNS: Final = 100_000
"""So many different turns are made; whoever has more says them again, and everybody begins with another."""

APART: Final = 7919
"""So many turns after one user the next begins; a prime."""

SESSION: Final = 24
"""Turns of a conversation."""

SENTENCES: Final = 3000
MOST_MS: Final = 100
BY_TEXT, BY_VECTOR = "balanced", "vector"
EVERYBODY, LARGEST = "everybody", "the largest"

Advance = Callable[[int], Any]


@dataclass(slots=True)
class Step:
    """A size of the store, and what was found there.

    Attributes:
        sizes: traces of each user, the largest first.
        batches: (traces, seconds) of each request that remembered.
        asked: of whom and by which recipe → the seconds of each question.
        memory: bytes of the API and of PostgreSQL, where that can be told.
    """

    traces: int
    sizes: list[int]
    batches: list[tuple[int, float]] = field(default_factory=list)
    built: float = 0.0
    vacuumed: float = 0.0
    plan: str = ""
    asked: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    memory: dict[str, int | None] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Traces remembered in a second."""
        return sum(count for count, _ in self.batches) / sum(seconds for _, seconds in self.batches)

    @property
    def full_rate(self) -> float | None:
        """The same of full batches alone; None where there is none."""
        full = [seconds for count, seconds in self.batches if count == BATCH]
        return BATCH * len(full) / sum(full) if full else None

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    def ms(self, who: str, recipe: str, percent: float) -> float:
        """A percentile of recall, in milliseconds."""
        return percentile(self.asked[who, recipe], percent) * 1000


def sizes_of(traces: int, users: int) -> list[int]:
    """The traces of each user, the largest first: it has a tenth, the n-th that divided by a power of n."""
    largest = max(traces // SHARE_OF_LARGEST, -(-traces // users))
    low, high = 0.0, 8.0
    ranks = np.arange(1, users + 1, dtype=np.float64)
    for _ in range(60):
        power = (low + high) / 2
        low, high = (power, high) if (largest * ranks**-power).sum() > traces else (low, power)
    made = np.maximum(1, np.floor(largest * ranks**-high)).astype(int)
    # What rounding leaves goes to those behind the largest.
    left = traces - int(made.sum())
    for place in range(abs(left)):
        made[1 + place % max(1, users - 1) if users > 1 else 0] += 1 if left > 0 else -1
    return [int(size) for size in made]


@dataclass(frozen=True, slots=True)
class Said:
    """What everybody says: ``turns`` in turn, cut or strung together to ``characters`` where that is given."""

    turns: Sequence[Turn]
    characters: int | None

    def traces(self, user: int, first: int, last: int) -> Iterator[dict[str, Any]]:
        """The traces of a user from number ``first`` to ``last`` (exclusive), without vectors."""
        for number in range(first, last):
            place = (user * APART + number) % len(self.turns)
            turn = self.turns[place]
            yield {
                "external_id": str(number),
                "conversation_id": f"session {number // SESSION}",
                "speaker": turn.speaker,
                "content": turn.content if self.characters is None else self._text(place),
                "occurred_at": self.turns[0].occurred_at + timedelta(minutes=number),
            }

    def _text(self, place: int) -> str:
        assert self.characters is not None
        text = ""
        while len(text) < self.characters:
            text += self.turns[place % len(self.turns)].content + " "
            place += 1
        return text[: self.characters].strip()

    def length(self) -> float:
        """Characters of a text, on average."""
        if self.characters is not None:
            return float(self.characters)
        return sum(len(turn.content) for turn in self.turns) / len(self.turns)


@dataclass(frozen=True, slots=True)
class Bench:
    """A store being filled and asked."""

    client: Client
    service: Service
    said: Said
    vectors: Sentences
    run: str
    seed: int

    def user(self, number: int) -> str:
        return f"bench-{self.run}/{number}"

    def load(self, step: Step, before: Sequence[int], advance: Advance) -> None:
        """Remembers what each user has more than ``before``, everybody's batches in turn."""
        for stream, (user, first, last) in enumerate(in_turn(step.sizes, before, self.seed)):
            vectors = self.vectors.draw(step.traces + stream, last - first)
            traces = [
                trace | {"embedding": in_base64(vector)}
                for trace, vector in zip(self.said.traces(user, first, last), vectors, strict=True)
            ]
            began = time.perf_counter()
            self.client.remember(self.user(user), traces)
            step.batches.append((last - first, time.perf_counter() - began))
            advance(last - first)

    def settle(self, step: Step, question: Question) -> None:
        """What the worker and autovacuum do in the background."""
        began = time.perf_counter()
        store.build(self.service.database_url)
        step.built = time.perf_counter() - began
        began = time.perf_counter()
        store.vacuum(self.service.database_url)
        step.vacuumed = time.perf_counter() - began
        step.plan = store.wait_for_plan(self.client, self.service.database_url, self.user(0), question.vector)

    def ask(self, step: Step, questions: Sequence[Question], advance: Advance) -> None:
        """Two in three questions to whoever a trace drawn at random belongs to, the others to the largest user."""
        rng = np.random.default_rng([self.seed, step.traces])
        owners = rng.choice(len(step.sizes), size=len(questions), p=np.array(step.sizes) / step.traces)
        for place, (question, owner) in enumerate(zip(questions, owners, strict=True)):
            who, number = (LARGEST, 0) if place % 3 == 2 else (EVERYBODY, int(owner))
            began = time.perf_counter()
            results = self.client.recall(self.user(number), question.text)
            step.asked.setdefault((who, BY_TEXT), []).append(time.perf_counter() - began)
            began = time.perf_counter()
            near = self.client.recall_vector(self.user(number), question.vector, 10, f"{question.text} ")
            step.asked.setdefault((who, BY_VECTOR), []).append(time.perf_counter() - began)
            if not results or not near:
                raise CannotMeasure(f"{self.user(number)} recalls nothing to {question.text!r}.")
            advance(1)


def scale(
    steps: Annotated[str, typer.Option(help="The sizes of the store, ascending.")] = "10000,100000,1000000",
    users: Annotated[int, typer.Option(min=1, help="Whose traces they are.")] = 1000,
    questions: Annotated[int, typer.Option(min=3, help="Questions at each size.")] = 300,
    characters: Annotated[int | None, typer.Option(min=1, help="Of each text, instead of a turn as it is.")] = None,
    seed: int = 1,
    picture: Annotated[Path | None, typer.Option(help="Also draw the curves into this file (SVG).")] = None,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """How latency, sizes, the rate of remembering and memory grow from 10 000 to 1 000 000 traces."""
    wanted = options.ascending(steps, "--steps")
    texts, turns = SENTENCES, min(TURNS, wanted[-1])
    if quick:
        wanted, users, questions, texts, turns = [60, 300], 12, 9, 64, 300
    grown = [Step(traces, sizes_of(traces, users)) for traces in wanted]
    report = new_report("scale", {"steps": wanted, "users": users, "questions": questions, "seed": seed})
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        begin("Starting the service", 0)
        service = stack.enter_context(service_at(named(url, key, database_url)))
        report.ask_versions(service.database_url)
        count = questions * len(grown)
        drawn, asked = encode(seed, texts, count, begin("Encoding", texts + count))
        said = Said(conversation(seed, turns, 0).turns, characters)
        client = stack.enter_context(client_of(service))
        bench = Bench(client, service, said, drawn, uuid.uuid4().hex[:8], seed)
        if not service.own:
            stack.callback(_forget, bench, users)
        _grow(bench, grown, asked, begin)
    report.options["characters"] = round(said.length())
    _judge(report, grown)
    _print_tables(grown, said.length())
    report.print_bars()
    if picture is not None:
        # Loading the library takes a second, which nobody else is to wait for.
        from bench.draw import draw

        draw(report, picture)
    options.finish(report, json, check)


def _grow(bench: Bench, grown: Sequence[Step], asked: Sequence[Question], begin: options.Begin) -> None:
    before = [0] * len(grown[0].sizes)
    each = len(asked) // len(grown)
    for place, step in enumerate(grown):
        mine = asked[place * each : (place + 1) * each]
        bench.load(step, before, begin(f"Remembering up to {step.traces:,}", step.traces - sum(before)))
        begin("Building", 0)
        bench.settle(step, mine[0])
        bench.ask(step, mine, begin("Recalling", each))
        step.parts = store.sizes(bench.service.database_url)
        step.memory = store.memory(bench.service)
        before = step.sizes


def in_turn(sizes: Sequence[int], before: Sequence[int], seed: int) -> Iterator[tuple[int, int, int]]:
    """(user, first, last) of each batch: a user's own one after the other, everybody's mixed."""
    batches = [
        [(user, first, min(first + BATCH, size)) for first in range(had, size, BATCH)]
        for user, (had, size) in enumerate(zip(before, sizes, strict=True))
    ]
    turns = np.repeat(np.arange(len(batches)), [len(own) for own in batches])
    np.random.default_rng([seed, sum(sizes)]).shuffle(turns)
    left = [iter(own) for own in batches]
    return (next(left[int(user)]) for user in turns)


def _forget(bench: Bench, users: int) -> None:
    for number in range(users):
        bench.client.forget(bench.user(number))


def _judge(report: Report, grown: Sequence[Step]) -> None:
    report.rows = [_row(step) for step in grown]
    last = grown[-1]
    for who in (EVERYBODY, LARGEST):
        name = f"recall p95 of {who} at {last.traces:,} traces"
        report.bars.append(Bar(name, last.ms(who, BY_TEXT, 95), "at most", MOST_MS, " ms"))


def _row(step: Step) -> dict[str, Any]:
    asked = {
        f"{who}, {recipe}": {
            "p50": step.ms(who, recipe, 50),
            "p95": step.ms(who, recipe, 95),
            "all": [round(one * 1000, 3) for one in seconds],
        }
        for (who, recipe), seconds in step.asked.items()
    }
    return {
        "traces": step.traces,
        "users": len(step.sizes),
        "largest": step.sizes[0],
        "smallest": step.sizes[-1],
        "traces_per_second": step.rate,
        "traces_per_second_of_full_batches": step.full_rate,
        "build_seconds": step.built,
        "vacuum_seconds": step.vacuumed,
        "plan_of_largest": step.plan,
        "recall_ms": asked,
        "bytes": step.bytes,
        "parts": [asdict(part) for part in step.parts],
        "memory": step.memory,
    }


def _print_tables(grown: Sequence[Step], length: float) -> None:
    print_table(
        ["traces", "users", "largest", "smallest", "traces/s", "full batches", "build, s", "vacuum, s"],
        [
            [
                f"{step.traces:,}",
                f"{len(step.sizes):,}",
                f"{step.sizes[0]:,}",
                f"{step.sizes[-1]:,}",
                f"{step.rate:,.0f}",
                "–" if step.full_rate is None else f"{step.full_rate:,.0f}",
                f"{step.built:.0f}",
                f"{step.vacuumed:.0f}",
            ]
            for step in grown
        ],
        f"Remembering with supplied vectors by one caller, at most {BATCH} at a time; texts of {length:.0f} characters",
    )
    print_table(
        ["traces", "asked", "plan", "questions", "balanced p50", "p95", "vector p50", "p95"],
        [
            [
                f"{step.traces:,}",
                who,
                step.plan if who == LARGEST else "",
                str(len(step.asked[who, BY_TEXT])),
                *(f"{step.ms(who, recipe, percent):.1f}" for recipe in (BY_TEXT, BY_VECTOR) for percent in (50, 95)),
            ]
            for step in grown
            for who in (EVERYBODY, LARGEST)
        ],
        "Recall over HTTP in milliseconds: by text with the default recipe, by a vector with recipe=vector",
    )
    print_table(
        ["traces", "bytes", "a trace", "indexes of vectors", "a trace", "API, MiB", "PostgreSQL, MiB"],
        [
            [
                f"{step.traces:,}",
                f"{step.bytes:,}",
                f"{step.bytes / step.traces:,.0f}",
                f"{_indexes_of_vectors(step):,}",
                f"{_indexes_of_vectors(step) / step.traces:,.0f}",
                _mib(step.memory.get("api")),
                _mib(step.memory.get("postgresql")),
            ]
            for step in grown
        ],
        "Disk, and memory after the questions (what PostgreSQL's processes share counts once)",
    )
    print_table(
        ["bytes a trace", *(f"{step.traces:,}" for step in grown)],
        [
            [f"{table}, {part}", *(f"{_bytes(step, table, part) / step.traces:,.0f}" for step in grown)]
            for table, part in sorted({(part.table, part.part) for step in grown for part in step.parts})
            if table.startswith("memory_") and _bytes(grown[-1], table, part) >= grown[-1].traces
        ],
        "Where they are",
    )


def _indexes_of_vectors(step: Step) -> int:
    return sum(part.bytes for part in step.parts if part.table == "memory_embedding" and part.part != "rows")


def _bytes(step: Step, table: str, part: str) -> int:
    return sum(one.bytes for one in step.parts if (one.table, one.part) == (table, part))


def _mib(size: int | None) -> str:
    return "–" if size is None else f"{size / 2**20:,.0f}"


if __name__ == "__main__":
    options.run(scale)
