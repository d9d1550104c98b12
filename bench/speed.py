"""How fast the service remembers and recalls over HTTP, against two floors (`bench/floor.py`) and the peers.

Every round has a new user of the size of a long chat. All sides remember the same turns in batches of 16, are asked the
same questions, each once, and remember traces that bring their vectors (the service is told them in base64). Only one
works at a time; they take turns after a few batches or questions, in an order that changes, so that what else the
machine does falls on all alike. Ratios are taken within a round.

With questions of their own, eight callers ask the service together, in turn with floor B's one process, and one caller
asks by the recipe `thorough`. The peers are libraries, called without HTTP.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

import typer

from bench import options
from bench.client import Client, client_of
from bench.floor import FLOOR_A, FLOOR_B, Floor, floor_process, floor_schema
from bench.peers import HOW, Asked, Peer, PeerProcess, chosen_peers, peer_process, peer_schema, peer_versions
from bench.report import Bar, Report, Spread, new_report, percentile, print_table
from bench.rounds import BATCH, COLUMNS, P50, P95, REMEMBER, SERVICE, SUPPLIED, A, B, Round, Size, Work
from bench.service import Service, named, service_at
from bench.sides import FloorSide, PeerSide, ServiceSide, Side, recall_together
from bench.tenants import Sentences, encode
from bench.timing import cut, orders, timed
from reverie.core.config import Settings
from reverie.embedding.registry import BGE_SMALL, MINILM

FLOORS: Final = {A: FLOOR_A, B: FLOOR_B}
CALLERS: Final = 8
THOROUGH: Final = 40
SUPPLIED_BATCH: Final = 1000
SENTENCES: Final = 256
"""So many are encoded; the vectors that traces bring are drawn around theirs."""

BATCHES_IN_A_ROW: Final = 10
QUESTIONS_IN_A_ROW: Final = 50
TOGETHER_IN_A_ROW: Final = 100
WARM_UP_SEED: Final = 1_000_000
SMALL: Final = Size(turns=48, questions=12, thorough=2, supplied=100)

DEADLINE_MS: Final = 1000 * Settings.model_fields["rerank_seconds"].default
"""RERANK_SECONDS, as the throw-away service has it."""

MOST_DEGRADED: Final = 0.05
"""As many answers as may be later than their p95."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bench:
    """All sides, ready to work. ``users`` gathers those that the service has to forget in the end."""

    callers: Sequence[Client]
    floors: dict[str, Floor]
    peers: dict[str, PeerProcess]
    orders: Iterator[tuple[str, ...]]
    users: list[str] = field(default_factory=list)

    def measure(self, work: Work, advance: Callable[[int], Any]) -> Round:
        """One round, with a user of its own."""
        user = uuid.uuid4()
        service = ServiceSide(self.callers[0], f"bench/{user}")
        self.users.extend([service.user, service.other_user])
        sides: dict[str, Side] = {
            SERVICE: service,
            **{name: FloorSide(floor, user) for name, floor in self.floors.items()},
            **{name: PeerSide(peer, service.user) for name, peer in self.peers.items()},
        }

        def in_turn(
            blocks: Sequence[Sequence[T]], do: Callable[[Side, Sequence[T]], list[float]]
        ) -> dict[str, list[float]]:  # fmt: skip
            taken: dict[str, list[float]] = {name: [] for name in sides}
            for block, order in zip(blocks, self.orders, strict=False):
                for name in order:
                    taken[name] += do(sides[name], block)
                    advance(len(block))
            return taken

        found = Round(len(work.turns), sum(len(texts) for texts, _ in work.supplied))
        found.remembered = in_turn(cut(work.batches, BATCHES_IN_A_ROW), lambda side, block: side.remember(block))
        for floor in self.floors.values():
            floor.analyze()
        for peer in self.peers.values():
            peer.analyze()
        found.recalled = in_turn(cut(work.asked, QUESTIONS_IN_A_ROW), lambda side, block: side.recall(block))
        found.together = self._together(work.together, service.user, sides.get(B))
        found.thorough, found.degraded = service.recall_thoroughly(work.thorough)
        advance(len(work.thorough))
        found.supplied = in_turn(cut(work.supplied, 1), lambda side, block: side.supply(block))
        found.load = os.getloadavg()[0]
        found.http = [timed(self.callers[0].live) for _ in range(QUESTIONS_IN_A_ROW)]
        return found

    def forget(self) -> None:
        """Leaves a service that is not ours as it was."""
        for user in self.users:
            self.callers[0].forget(user)

    def _together(self, questions: Sequence[str], user: str, floor: Side | None) -> dict[str, float]:
        """Recalls a second of all callers at once, and of the floor's one process with the same questions."""
        together, alone = 0.0, 0.0
        for asked in cut(questions, TOGETHER_IN_A_ROW):
            together += recall_together(self.callers, user, asked)
            alone += sum(floor.recall(asked)) if floor is not None else 0.0
        rates = {SERVICE: len(questions) / together}
        return rates | {B: len(questions) / alone} if alone else rates


def speed(
    rounds: int = 5,
    questions: int = 200,
    torch: Annotated[bool, typer.Option(help="Measure floor B, which needs the extra `models`.")] = True,
    peers: Asked = None,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """Remember and recall over HTTP, against two floors (encode, and one exact SQL query) and against the peers."""
    size = SMALL if quick else Size(None, questions, THOROUGH, SUPPLIED_BATCH)
    others = chosen_peers(peers, *((MINILM, BGE_SMALL) if torch else (BGE_SMALL,)))
    seeds = range(1 if quick else rounds)
    chosen = {"rounds": len(seeds), "questions": size.questions, "batch": BATCH, "quick": quick}
    report = new_report("speed", chosen | {"peers": [peer.name for peer in others]})
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        begin("Starting the service and loading the models", 0)
        where = named(url, key, database_url)
        floors = {name: stack.enter_context(floor_process(name, FLOORS[name])) for name in ((A, B) if torch else (A,))}
        processes = {peer.name: stack.enter_context(peer_process(peer)) for peer in others}
        service = stack.enter_context(service_at(where))
        report.ask_versions(service.database_url)
        report.versions |= peer_versions() if others else {}
        _open(stack, service, floors, processes)
        callers = [stack.enter_context(client_of(service)) for _ in range(CALLERS)]
        bench = Bench(callers, floors, processes, orders([SERVICE, *floors, *processes]))
        if not service.own:
            stack.callback(bench.forget)
        drawn, _ = encode(0, SENTENCES, 1, begin("Encoding", SENTENCES + 1))
        works = [Work.of(seed, size, drawn) for seed in seeds]
        found = _measure(bench, works, drawn, begin)
    _judge(report, found, others)
    _print_tables(found)
    if peers is None and not others:
        print(HOW)
    report.print_bars()
    options.finish(report, json, check)


def _open(
    stack: ExitStack, service: Service, floors: dict[str, Floor], peers: dict[str, PeerProcess]
) -> None:  # fmt: skip
    """Gives everybody a place in the service's PostgreSQL until the stack is closed."""
    stack.enter_context(floor_schema(service.database_url))
    for floor in floors.values():
        floor.open(service.database_url)
    for peer in peers.values():
        peer.open(stack.enter_context(peer_schema(service.database_url)))


def _measure(bench: Bench, works: Sequence[Work], drawn: Sentences, begin: options.Begin) -> list[Round]:
    warm_up = Work.of(WARM_UP_SEED, SMALL, drawn)
    sides = 1 + len(bench.floors) + len(bench.peers)
    advance = begin("Remembering and recalling", sum(work.steps(sides) for work in (warm_up, *works)))
    bench.measure(warm_up, advance)
    return [bench.measure(work, advance) for work in works]


def _judge(report: Report, found: Sequence[Round], peers: Sequence[Peer]) -> None:
    report.rows = [one.plain() for one in found]
    report.bars = list(_bars(found, peers))


def _bars(found: Sequence[Round], peers: Sequence[Peer]) -> Iterator[Bar]:
    remember = REMEMBER.ratio(found, A)
    yield Bar(f"{REMEMBER.name}, of {A}'s {REMEMBER.unit}", remember.median, "at least", 0.9, "x", remember)
    for column, floor, most in ((P50, A, 2.0), (P50, B, 1.0), (P95, B, 1.5)):
        if floor in found[0].recalled:
            ratio = column.ratio(found, floor)
            yield Bar(f"{column.name}, of {floor}'s", ratio.median, "at most", most, "x", ratio)
    if B in found[0].together:
        ratio = Spread.of(one.together[SERVICE] / one.together[B] for one in found)
        yield Bar(f"recalls/s of {CALLERS} callers, of {B}'s", ratio.median, "at least", 1.3, "x", ratio)
    yield Bar("recall p95, thorough", _thorough_ms(found, 95), "at most", DEADLINE_MS, " ms")
    yield Bar("degraded, thorough, share", _degraded(found), "at most", MOST_DEGRADED)
    supplied = Spread.of(one.supplied_rate(SERVICE) for one in found)
    yield Bar(f"{SUPPLIED.name}, {SUPPLIED.unit}", supplied.median, "at least", 5000, "", supplied)
    for model in dict.fromkeys(peer.model for peer in peers):
        names = [peer.name for peer in peers if peer.model == model]
        for column in COLUMNS:
            ratio = column.ratio(found, *names)
            yield Bar(f"{column.name}, of the better peer's with {model}", ratio.median, column.wanted, 1, "x", ratio)


def _thorough_ms(found: Sequence[Round], percent: float) -> float:
    return percentile([seconds for one in found for seconds in one.thorough], percent) * 1000


def _degraded(found: Sequence[Round]) -> float:
    return sum(one.degraded for one in found) / sum(len(one.thorough) for one in found)


def _print_tables(found: Sequence[Round]) -> None:
    turns, questions = sum(one.turns for one in found), sum(len(one.recalled[SERVICE]) for one in found)
    vectors = sum(one.vectors for one in found)
    print_table(
        ["", *(f"{column.name}, {column.unit}" for column in COLUMNS)],
        [
            *([name, *(column.shown(found, name) for column in COLUMNS)] for name in found[0].recalled),
            ["HTTP alone", "", Spread.of(percentile(one.http, 50) * 1000 for one in found).shown(), "", ""],
        ],
        f"{turns:,} turns in batches of {BATCH}, {questions:,} questions, {vectors:,} supplied vectors: "
        f"median of {len(found)} rounds (range)",
    )
    print_table(
        ["service to", *(column.name for column in COLUMNS)],
        [
            [
                f"{name} ({FLOORS[name]})" if name in FLOORS else name,
                *(column.shown_ratio(found, name) for column in COLUMNS),
            ]
            for name in found[0].recalled
            if name != SERVICE
        ],
        "Ratios within a round: more is better, for recall less",
    )
    print_table(
        ["", "recalls/s", "p50, ms", "p95, ms", "degraded"],
        [
            *(
                [who, Spread.of(one.together[name] for one in found).shown(), "", "", ""]
                for name, who in ((SERVICE, f"{CALLERS} callers"), (B, f"{B}, one process"))
                if name in found[0].together
            ),
            ["thorough", "", *(f"{_thorough_ms(found, one):.0f}" for one in (50, 95)), f"{_degraded(found):.1%}"],
        ],
        f"Callers together; and the recipe `thorough`, whose reranking may take {DEADLINE_MS:.0f} ms",
    )


if __name__ == "__main__":
    options.run(speed)
