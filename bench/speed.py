"""How fast the service remembers and recalls over HTTP, against two floors (`bench/floor.py`).

Every round has a new user of the size of a long chat. The three sides remember the same turns in batches of 16 and are
asked the same questions, each once. Only one works at a time; they take turns after a few batches or questions, in an
order that changes, so that what else the machine does falls on all alike. Ratios are taken within a round.
"""

import itertools
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Protocol, TypeVar

import typer

from bench import options
from bench.client import Client, client_of
from bench.floor import FLOOR_A, FLOOR_B, Floor, floor_process, floor_schema
from bench.report import Bar, Report, Spread, new_report, percentile, print_table
from bench.service import named, service_at
from bench.text import Conversation, Turn, conversation
from reverie.embedding.heads import semantic_text

SERVICE, A, B = "service", "floor A", "floor B"
MODELS: Final = {A: FLOOR_A, B: FLOOR_B}
BATCH: Final = 16
BATCHES_IN_A_ROW: Final = 10
QUESTIONS_IN_A_ROW: Final = 50
WARM_UP_SEED: Final = 1_000_000

T = TypeVar("T")


class Side(Protocol):
    """One of the three that are measured; seconds of each batch or question."""

    def remember(self, batches: Sequence[Sequence[Turn]]) -> list[float]: ...

    def recall(self, questions: Sequence[str]) -> list[float]: ...


@dataclass(frozen=True, slots=True)
class ServiceSide:
    """The service, seen from a caller."""

    client: Client
    user: str

    def remember(self, batches: Sequence[Sequence[Turn]]) -> list[float]:
        return [_timed(self._remember, batch) for batch in batches]

    def recall(self, questions: Sequence[str]) -> list[float]:
        return [_timed(self.client.recall, self.user, question) for question in questions]

    def _remember(self, batch: Sequence[Turn]) -> None:
        traces = [
            {
                "external_id": turn.external_id,
                "conversation_id": turn.session,
                "speaker": turn.speaker,
                "content": turn.content,
                "occurred_at": turn.occurred_at,
            }
            for turn in batch
        ]
        self.client.remember(self.user, traces)


@dataclass(frozen=True, slots=True)
class FloorSide:
    """A floor; it encodes the same text as the service."""

    floor: Floor
    user: uuid.UUID

    def remember(self, batches: Sequence[Sequence[Turn]]) -> list[float]:
        rows = [[(uuid.uuid4(), semantic_text(turn.content, turn.speaker)) for turn in batch] for batch in batches]
        return self.floor.remember(self.user, rows)

    def recall(self, questions: Sequence[str]) -> list[float]:
        return self.floor.recall(self.user, questions)


@dataclass(slots=True)
class Round:
    """What one round found: turns, the seconds of every batch and question of each side, the machine's load."""

    turns: int = 0
    remembered: dict[str, list[float]] = field(default_factory=dict)
    recalled: dict[str, list[float]] = field(default_factory=dict)
    http: list[float] = field(default_factory=list)
    load: float = 0.0

    def rate(self, side: str) -> float:
        """Turns remembered in a second."""
        return self.turns / sum(self.remembered[side])

    def recall_ms(self, side: str, percent: float) -> float:
        """A percentile of recall, in milliseconds."""
        return percentile(self.recalled[side], percent) * 1000


@dataclass(frozen=True, slots=True)
class Bench:
    """The three, ready to work. ``users`` gathers those that the service has to forget in the end."""

    client: Client
    floors: dict[str, Floor]
    users: list[str] = field(default_factory=list)

    def measure(self, talk: Conversation, advance: Callable[[int], Any]) -> Round:
        """One round, with a user of its own."""
        found = Round(turns=len(talk.turns))
        sides = self._sides()
        batches = _cut(talk.turns, BATCH)
        for order, block in _in_turn(sides, _cut(batches, BATCHES_IN_A_ROW)):
            for name in order:
                found.remembered.setdefault(name, []).extend(sides[name].remember(block))
                advance(len(block))
        for floor in self.floors.values():
            floor.analyze()
        questions = [question.text for question in talk.questions]
        for order, asked in _in_turn(sides, _cut(questions, QUESTIONS_IN_A_ROW)):
            for name in order:
                found.recalled.setdefault(name, []).extend(sides[name].recall(asked))
                advance(len(asked))
        found.load = os.getloadavg()[0]
        found.http = [_timed(self.client.live) for _ in range(QUESTIONS_IN_A_ROW)]
        return found

    def forget(self) -> None:
        """Leaves a service that is not ours as it was."""
        for user in self.users:
            self.client.forget(user)

    def _sides(self) -> dict[str, Side]:
        user = uuid.uuid4()
        self.users.append(f"bench/{user}")
        sides: dict[str, Side] = {SERVICE: ServiceSide(self.client, self.users[-1])}
        return sides | {name: FloorSide(floor, user) for name, floor in self.floors.items()}


def speed(
    rounds: int = 5,
    questions: int = 200,
    torch: Annotated[bool, typer.Option(help="Measure floor B, which needs the extra `models`.")] = True,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """Remember and recall over HTTP against two floors: encode, and one exact SQL query."""
    talks = (
        [conversation(0, 3 * BATCH, 12)] if quick else [conversation(seed, None, questions) for seed in range(rounds)]
    )
    chosen = {"rounds": len(talks), "questions": len(talks[0].questions), "batch": BATCH, "quick": quick}
    report = new_report("speed", chosen)
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        begin("Starting the service and loading the models", 0)
        where = named(url, key, database_url)
        floors = {name: stack.enter_context(floor_process(MODELS[name])) for name in ((A, B) if torch else (A,))}
        service = stack.enter_context(service_at(where))
        report.ask_versions(service.database_url)
        stack.enter_context(floor_schema(service.database_url))
        for floor in floors.values():
            floor.open(service.database_url)
        bench = Bench(stack.enter_context(client_of(service)), floors)
        if not service.own:
            stack.callback(bench.forget)
        found = _rounds(bench, talks, begin)
    _judge(report, found)
    _print_tables(found)
    report.print_bars()
    options.finish(report, json, check)


def _rounds(bench: Bench, talks: Sequence[Conversation], begin: options.Begin) -> list[Round]:
    warm_up = conversation(WARM_UP_SEED, 3 * BATCH, 12)
    sides = 1 + len(bench.floors)
    steps = sum(len(_cut(talk.turns, BATCH)) + len(talk.questions) for talk in (warm_up, *talks))
    advance = begin("Remembering and recalling", sides * steps)
    bench.measure(warm_up, advance)
    return [bench.measure(talk, advance) for talk in talks]


def _judge(report: Report, found: Sequence[Round]) -> None:
    report.rows = [_row(one) for one in found]
    remember = _remember_ratio(found, A)
    report.bars = [Bar("remember, of floor A's turns/s", remember.median, "at least", 0.8, "x", remember)]
    for floor, most in ((A, 2.2), (B, 1.2)):
        if floor in found[0].recalled:
            ratio = _recall_ratio(found, floor, 50)
            report.bars.append(Bar(f"recall p50, of {floor}'s", ratio.median, "at most", most, "x", ratio))


def _remember_ratio(found: Sequence[Round], floor: str) -> Spread:
    return Spread.of(one.rate(SERVICE) / one.rate(floor) for one in found)


def _recall_ratio(found: Sequence[Round], floor: str, percent: float) -> Spread:
    return Spread.of(one.recall_ms(SERVICE, percent) / one.recall_ms(floor, percent) for one in found)


def _row(one: Round) -> dict[str, Any]:
    """A round as plain values, for JSON: every single measurement too."""
    sides = {
        name: {
            "turns_per_second": one.rate(name),
            "recall_p50_ms": one.recall_ms(name, 50),
            "recall_p95_ms": one.recall_ms(name, 95),
            "batch_ms": [round(seconds * 1000, 3) for seconds in one.remembered[name]],
            "question_ms": [round(seconds * 1000, 3) for seconds in one.recalled[name]],
        }
        for name in one.recalled
    }
    return {"turns": one.turns, "load": one.load, "http_p50_ms": percentile(one.http, 50) * 1000, "sides": sides}


def _print_tables(found: Sequence[Round]) -> None:
    turns, questions = sum(one.turns for one in found), sum(len(one.recalled[SERVICE]) for one in found)
    title = f"{turns:,} turns in batches of {BATCH}, {questions:,} questions: median of {len(found)} rounds (range)"
    print_table(
        ["", "remember, turns/s", "recall p50, ms", "recall p95, ms"],
        [
            *([name, *_numbers(found, name)] for name in found[0].recalled),
            ["HTTP alone", "", Spread.of(percentile(one.http, 50) * 1000 for one in found).shown(), ""],
        ],
        title,
    )
    floors = [name for name in found[0].recalled if name != SERVICE]
    print_table(
        ["service to floor", "remember", "recall p50", "recall p95"],
        [
            [
                f"{floor} ({MODELS[floor]})",
                _remember_ratio(found, floor).shown(2),
                _recall_ratio(found, floor, 50).shown(2),
                _recall_ratio(found, floor, 95).shown(2),
            ]
            for floor in floors
        ],
        "Ratios within a round: more is better for remember, less for recall",
    )


def _numbers(found: Sequence[Round], name: str) -> Iterator[str]:
    yield Spread.of(one.rate(name) for one in found).shown(0)
    for percent in (50, 95):
        yield Spread.of(one.recall_ms(name, percent) for one in found).shown()


def _in_turn(sides: dict[str, Side], blocks: Sequence[T]) -> Iterator[tuple[tuple[str, ...], T]]:
    """Each block of work with the order in which the sides do it: every order comes equally often."""
    return zip(itertools.cycle(itertools.permutations(sides)), blocks, strict=False)


def _cut(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _timed(action: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - began


if __name__ == "__main__":
    options.run(speed)
