"""Whether recall is as good for every size of user: one large user among many small ones, with supplied vectors.

The vectors come from a mixture of clusters, so that neighbours mean something. The exact neighbours are computed here,
in float32 over the same vectors.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Annotated, Any, Final

import numpy as np
import psycopg
import typer

from bench import options
from bench.client import Client, client_of
from bench.plan import Plan, read_plan
from bench.report import Bar, CannotMeasure, Report, Spread, new_report, percentile, print_table
from bench.service import named, service_at
from bench.text import sentences
from reverie.embedding.protocol import FloatArray

DIM: Final = 384
CLUSTERS: Final = 256
NOISE: Final = 0.9
"""The length of the noise beside a centre of length 1: the cosine within a cluster is about 0.55, across about 0."""

JUST_LOADED, VACUUMED = "just loaded", "vacuumed"
"""When recall is measured. Autovacuum, too, may have run before the first; the heap fetches of the plans show it."""

VACUUM_ATTEMPTS: Final = 60

BATCH: Final = 1000
K: Final = 10


class Mixture:
    """Vectors of unit length around common centres; the same seed gives the same vectors."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._centres = _unit(np.random.default_rng(seed).standard_normal((CLUSTERS, DIM)))

    def draw(self, stream: int, count: int) -> FloatArray:
        """float32 ``[count, DIM]``; another ``stream`` is another draw from the same mixture."""
        rng = np.random.default_rng([self._seed, stream])
        noise = rng.standard_normal((count, DIM)) * (NOISE / DIM**0.5)
        return _unit(self._centres[rng.integers(CLUSTERS, size=count)] + noise)


@dataclass(slots=True)
class Size:
    """The users of one size, and what was found of them."""

    name: str
    traces: int
    users: list[int]
    questions: list[tuple[int, FloatArray]] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    recall: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Traces a second, from the first request to the moment when the last one was recalled."""
        return self.traces * len(self.users) / (sum(self.batches) + sum(self.seen))


@dataclass(frozen=True, slots=True)
class Bench:
    """A store being filled and asked."""

    client: Client
    mixture: Mixture
    run: str

    def user(self, number: int) -> str:
        return f"bench-{self.run}/{number}"

    def load(self, size: Size, number: int, advance: Callable[[int], Any]) -> None:
        """Remembers all of a user, batch after batch; after the last, that it can be recalled at once."""
        vectors = self.mixture.draw(number, size.traces)
        contents = list(islice(sentences(number), size.traces))
        for start in range(0, size.traces, BATCH):
            traces = [
                {"external_id": str(row), "content": contents[row], "embedding": vectors[row]}
                for row in range(start, min(start + BATCH, size.traces))
            ]
            began = time.perf_counter()
            self.client.remember(self.user(number), traces)
            size.batches.append(time.perf_counter() - began)
            advance(len(traces))
        began = time.perf_counter()
        first = self.client.recall_vector(self.user(number), vectors[-1], 1)
        size.seen.append(time.perf_counter() - began)
        if not first or first[0]["external_id"] != str(size.traces - 1):
            raise CannotMeasure(f"The last trace of {self.user(number)} was answered, but is not recalled at once.")

    def ask(self, size: Size, phase: str, truth: Sequence[set[str]], advance: Callable[[int], Any]) -> None:
        """Every question once: the share of the exact top ten among the ten that are recalled, and the seconds."""
        for (number, vector), wanted in zip(size.questions, truth, strict=True):
            began = time.perf_counter()
            results = self.client.recall_vector(self.user(number), vector, K)
            size.seconds.setdefault(phase, []).append(time.perf_counter() - began)
            found = {result["external_id"] for result in results}
            size.recall.setdefault(phase, []).append(len(found & wanted) / len(wanted))
            advance(1)

    def truth(self, size: Size) -> list[set[str]]:
        """The exact top ten of each question."""
        kept: dict[int, FloatArray] = {}
        exact = []
        for number, vector in size.questions:
            if number not in kept:
                kept = {number: self.mixture.draw(number, size.traces)}
            exact.append({str(row) for row in np.argsort(kept[number] @ vector)[::-1][:K]})
        return exact


def tenants(
    large: Annotated[int, typer.Option(help="Traces of the large user.")] = 20_000,
    small: Annotated[int, typer.Option(help="Traces of each small user.")] = 1_000,
    users: Annotated[int, typer.Option(help="Small users.")] = 100,
    questions: Annotated[int, typer.Option(help="Questions for each size.")] = 200,
    seed: int = 1,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """One large user among many small ones: recall against the exact top ten, the plans, and how fast it loads."""
    if quick:
        large, small, users, questions = 600, 60, 4, 8
    mixture = Mixture(seed)
    sizes = (Size("large", large, [0]), Size("small", small, list(range(1, users + 1))))
    for stream, size in enumerate(sizes, 1):
        asked = mixture.draw(1_000_000 + stream, questions)
        owners = sorted(size.users[number % len(size.users)] for number in range(questions))
        size.questions = list(zip(owners, asked, strict=True))
    chosen = {"large": large, "small": small, "users": users, "questions": questions, "seed": seed, "k": K}
    report = new_report("tenants", chosen)
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        begin("Starting the service", 0)
        service = stack.enter_context(service_at(named(url, key, database_url)))
        report.ask_versions(service.database_url)
        client = stack.enter_context(client_of(service))
        bench = Bench(client, mixture, uuid.uuid4().hex[:8])
        if not service.own:
            stack.callback(_forget, bench, sizes)
        _measure(bench, sizes, service.database_url, begin)
    _judge(report, sizes)
    _print_tables(sizes)
    report.print_bars()
    options.finish(report, json, check)


def _measure(bench: Bench, sizes: tuple[Size, Size], database_url: str, begin: options.Begin) -> None:
    large, small = sizes
    half = len(small.users) // 2
    advance = begin("Remembering", sum(size.traces * len(size.users) for size in sizes))
    for size, number in [
        *((small, number) for number in small.users[:half]), (large, large.users[0]),
        *((small, number) for number in small.users[half:]),
    ]:  # fmt: skip
        bench.load(size, number, advance)
    truth = [bench.truth(size) for size in sizes]
    advance = begin("Recalling", 2 * sum(len(size.questions) for size in sizes))
    for phase in (JUST_LOADED, VACUUMED):
        if phase == VACUUMED:
            _vacuum(database_url)
        for size, wanted in zip(sizes, truth, strict=True):
            bench.ask(size, phase, wanted, advance)
            number, vector = size.questions[0]
            size.plans[phase] = read_plan(database_url, bench.user(number), vector)


def _vacuum(database_url: str) -> None:
    """What autovacuum does within a minute: the visibility map, without which index-only scans visit the heap."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(VACUUM_ATTEMPTS):
            connection.execute("VACUUM (ANALYZE) memory_embedding")
            # A snapshot that is older than the load, of whatever else runs in the database, holds the map back.
            row = connection.execute(
                "SELECT count(*) FROM pg_class WHERE relallvisible < relpages"
                " AND oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'memory_embedding'::regclass)"
            ).fetchone()
            if row == (0,):
                return
            time.sleep(1)
    raise CannotMeasure("memory_embedding cannot be vacuumed: something holds an old snapshot open in the database.")


def _forget(bench: Bench, sizes: Sequence[Size]) -> None:
    for size in sizes:
        for number in size.users:
            bench.client.forget(bench.user(number))


def _judge(report: Report, sizes: tuple[Size, Size]) -> None:
    report.rows = [_row(size) for size in sizes]
    for size in sizes:
        least = min(sum(shares) / len(shares) for shares in size.recall.values())
        report.bars.append(Bar(f"recall@10 of {size.name} users", least, "at least", 0.99))
    report.bars.append(Bar("remembered by the large user, traces/s", sizes[0].rate, "at least", 3000))
    index_only = min(size.plans[VACUUMED].index_only for size in sizes)
    report.bars.append(Bar("partitions read index-only once vacuumed, share", index_only, "at least", 1))


def _row(size: Size) -> dict[str, Any]:
    return {
        "size": size.name,
        "traces": size.traces,
        "users": len(size.users),
        "traces_per_second": size.rate,
        "batch_ms": [round(seconds * 1000, 2) for seconds in size.batches],
        "recalled_at_once_ms": [round(seconds * 1000, 2) for seconds in size.seen],
        "recall_at_10": {phase: sum(shares) / len(shares) for phase, shares in size.recall.items()},
        "recall_ms": {phase: [round(one * 1000, 3) for one in seconds] for phase, seconds in size.seconds.items()},
        "plans": {phase: asdict(plan) | {"index_only": plan.index_only} for phase, plan in size.plans.items()},
    }


def _print_tables(sizes: Sequence[Size]) -> None:
    print_table(
        ["remember, supplied vectors", "users", "traces/s", "ms a batch (range)", "recalled, ms"],
        [
            [
                f"{size.traces:,} traces",
                str(len(size.users)),
                f"{size.rate:,.0f}",
                Spread.of(1000 * seconds for seconds in size.batches).shown(0),
                Spread.of(1000 * seconds for seconds in size.seen).shown(),
            ]
            for size in sizes
        ],
        f"Loading over HTTP by one caller in batches of {BATCH}, until the last trace was recalled",
    )
    print_table(
        ["recipe=vector", "", "questions", "recall@10", "least", "p50 ms", "p95 ms"],
        [
            [
                f"{size.traces:,} traces",
                phase,
                str(len(shares)),
                f"{sum(shares) / len(shares):.4f}",
                f"{min(shares):.1f}",
                f"{percentile(size.seconds[phase], 50) * 1000:.1f}",
                f"{percentile(size.seconds[phase], 95) * 1000:.1f}",
            ]
            for size in sizes
            for phase, shares in size.recall.items()
        ],
        f"Recall over HTTP against the exact top {K}",
    )
    print_table(
        ["plan", "", "partition", "how", "index", "rows", "heap fetches", "buffers", "ms"],
        [row for size in sizes for phase, plan in size.plans.items() for row in _plan_rows(size, phase, plan)],
        "EXPLAIN (ANALYZE, BUFFERS) as the serving role, the generic plan",
    )


def _plan_rows(size: Size, phase: str, plan: Plan) -> list[list[str]]:
    rows = [
        [
            f"{size.traces:,}",
            phase,
            scan.partition.removeprefix("memory_embedding_"),
            scan.node,
            scan.index.removeprefix(scan.partition),
            f"{scan.rows:,}",
            f"{scan.heap_fetches:,}",
            f"{scan.buffers:,}",
            f"{plan.milliseconds:.1f}",
        ]
        for scan in plan.filled
    ]
    empty = [scan for scan in plan.scans if not scan.rows]
    if empty:
        kinds = ", ".join(sorted({scan.node for scan in empty}))
        rows.append(["", "", f"{len(empty)} empty", kinds, "", "0", "0", f"{sum(s.buffers for s in empty):,}", ""])
    return rows


def _unit(vectors: np.typing.NDArray[np.float64]) -> FloatArray:
    unit: FloatArray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


if __name__ == "__main__":
    options.run(tenants)
