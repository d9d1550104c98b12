"""Whether recall is as good for every size of user: users of ten traces to 200 000 in one store, with supplied vectors.

The vectors are those that the default model gives to generated sentences, with noise: each is a sentence's vector plus
half of the difference of two others', so that it differs from it in the directions in which sentences differ. The
questions' are the model's own, of generated questions. The exact neighbours are computed here, in float32 over the same
vectors. The peers get as many of the same users as they take in within minutes, and the same questions.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import count, islice
from typing import Annotated, Any, Final

import numpy as np
import typer

from bench import options
from bench.client import Client, client_of, in_base64
from bench.peers import HOW, Asked, chosen_peers, peer_versions
from bench.peers_tenants import PeerStore, measure
from bench.plan import Plan, read_plan
from bench.report import Bar, CannotMeasure, Report, Spread, new_report, percentile, print_table
from bench.service import named, service_at
from bench.store import build, vacuum, wait_for_plan
from bench.text import conversation, sentences
from reverie.core.config import load_settings
from reverie.embedding.protocol import Embedder, FloatArray
from reverie.embedding.registry import BGE_SMALL, build_embedder

NOISE: Final = 0.5
SENTENCES: Final = 6000

JUST_LOADED, VACUUMED, BUILT = "just loaded", "vacuumed", "built"
"""When recall is measured. Autovacuum, too, may have run before the first; the heap fetches of the plans show it."""

BALANCED: Final = "balanced, built"

BATCH: Final = 1000
ENCODED_AT_ONCE: Final = 16
K: Final = 10
MOST_VECTOR_MS: Final = 25
MOST_BALANCED_MS: Final = 60


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its vector, float32 ``[dim]``."""

    text: str
    vector: FloatArray


class Sentences:
    """Vectors of unit length around those of sentences; the same seed gives the same vectors."""

    def __init__(self, seed: int, vectors: FloatArray) -> None:
        self._seed = seed
        self._vectors = vectors

    def draw(self, stream: int, rows: int) -> FloatArray:
        """float32 ``[rows, dim]``; another ``stream`` is another draw."""
        rng = np.random.default_rng([self._seed, stream])
        one, other, third = rng.integers(len(self._vectors), size=(3, rows))
        return _unit(self._vectors[one] + NOISE * (self._vectors[other] - self._vectors[third]))


def encode(seed: int, texts: int, questions: int, advance: Callable[[int], Any]) -> tuple[Sentences, list[Question]]:
    """The vectors of so many sentences and questions, by the default model."""
    return encode_these(seed, list(islice(sentences(seed), texts)), list(islice(_questions(seed), questions)), advance)


def encode_these(
    seed: int, said: Sequence[str], asked: Sequence[str], advance: Callable[[int], Any]
) -> tuple[Sentences, list[Question]]:
    """The vectors of texts and questions, by the default model."""
    embedder = build_embedder(load_settings(embedding_model=BGE_SMALL))
    try:
        by_length = _batches(sorted(said, key=len))
        drawn = [_encoded(embedder.encode_documents, batch, advance) for batch in by_length]
        return Sentences(seed, np.vstack(drawn)), _with_vectors(embedder, asked, advance)
    finally:
        embedder.close()


def _questions(seed: int) -> Any:
    return (question.text for number in count(seed) for question in conversation(number).questions)


def _with_vectors(embedder: Embedder, texts: Sequence[str], advance: Callable[[int], Any]) -> list[Question]:
    drawn = np.vstack([_encoded(embedder.encode_questions, batch, advance) for batch in _batches(texts)])
    return [Question(text, row) for text, row in zip(texts, drawn, strict=True)]


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + ENCODED_AT_ONCE] for start in range(0, len(texts), ENCODED_AT_ONCE)]


def _encoded(
    encode: Callable[[Sequence[str]], FloatArray], texts: Sequence[str], advance: Callable[[int], Any]
) -> FloatArray:
    vectors = _unit(encode(texts))
    advance(len(texts))
    return vectors


@dataclass(slots=True)
class Size:
    """The users of one size, and what was found of them."""

    traces: int
    users: list[int]
    questions: list[tuple[int, Question]] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    recall: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.traces:,} traces"

    @property
    def rate(self) -> float:
        """Traces a second, from the first request to the moment when the last one was recalled."""
        return self.traces * len(self.users) / (sum(self.batches) + sum(self.seen))


def sizes_of(largest: int, quick: bool) -> list[Size]:
    """Users of four sizes, by one numbering."""
    planned = [(10, 4), (60, 4), (300, 1), (600, 1)] if quick else [(10, 100), (1000, 60), (20_000, 2), (largest, 1)]
    numbers = count()
    return [Size(traces, list(islice(numbers, users))) for traces, users in planned]


@dataclass(frozen=True, slots=True)
class Bench:
    """A store being filled and asked."""

    client: Client
    sentences: Sentences
    run: str

    def user(self, number: int) -> str:
        return f"bench-{self.run}/{number}"

    def load(self, size: Size, number: int, advance: Callable[[int], Any]) -> None:
        """Remembers all of a user, batch after batch; after the last, that it can be recalled at once."""
        vectors = self.sentences.draw(number, size.traces)
        contents = list(islice(sentences(number), size.traces))
        for start in range(0, size.traces, BATCH):
            traces = [
                {"external_id": str(row), "content": contents[row], "embedding": in_base64(vectors[row])}
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
        for (number, question), wanted in zip(size.questions, truth, strict=True):
            began = time.perf_counter()
            results = self.client.recall_vector(self.user(number), question.vector, K, f"{question.text} ({phase})")
            size.seconds.setdefault(phase, []).append(time.perf_counter() - began)
            found = {result["external_id"] for result in results}
            size.recall.setdefault(phase, []).append(len(found & wanted) / len(wanted))
            advance(1)

    def ask_balanced(self, size: Size, advance: Callable[[int], Any]) -> None:
        """Every question once by its text and the default recipe: the seconds."""
        for number, question in size.questions:
            began = time.perf_counter()
            self.client.recall(self.user(number), question.text)
            size.seconds.setdefault(BALANCED, []).append(time.perf_counter() - began)
            advance(1)

    def truth(self, size: Size) -> list[set[str]]:
        """The exact top ten of each question."""
        kept: dict[int, FloatArray] = {}
        exact = []
        for number, question in size.questions:
            if number not in kept:
                kept = {number: self.sentences.draw(number, size.traces)}
            exact.append({str(row) for row in np.argsort(kept[number] @ question.vector)[::-1][:K]})
        return exact


def tenants(
    largest: Annotated[int, typer.Option(help="Traces of the largest user.")] = 200_000,
    questions: Annotated[int, typer.Option(help="Questions for each size.")] = 100,
    seed: int = 1,
    peers: Asked = None,
    peer_traces: Annotated[int, typer.Option(help="Traces that each of the peers is given at most.")] = 30_000,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """Users of four sizes in one store: recall against the exact top ten before and after the background builds."""
    questions, texts = (8, 64) if quick else (questions, SENTENCES)
    sizes = sizes_of(largest, quick)
    users = {str(size.traces): len(size.users) for size in sizes}
    others = chosen_peers(peers, None)
    chosen = {"users": users, "questions": questions, "seed": seed, "k": K, "peer_traces": peer_traces}
    report = new_report("tenants", chosen)
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        begin("Starting the service", 0)
        service = stack.enter_context(service_at(named(url, key, database_url)))
        report.ask_versions(service.database_url)
        report.versions |= peer_versions() if others else {}
        drawn, asked = encode(seed, texts, questions, begin("Encoding", texts + questions))
        for size in sizes:
            owners = sorted(size.users[number % len(size.users)] for number in range(questions))
            size.questions = list(zip(owners, asked, strict=True))
        client = stack.enter_context(client_of(service))
        bench = Bench(client, drawn, uuid.uuid4().hex[:8])
        if not service.own:
            stack.callback(_forget, bench, sizes)
        _measure(bench, sizes, service.database_url, begin)
        advance = begin("Filling and asking the peers", len(others) * peer_traces)
        stores = [measure(peer, sizes, peer_traces, drawn, service.database_url, advance) for peer in others]
    _judge(report, sizes)
    report.rows += [store.plain() for store in stores]
    _print_tables(sizes, stores)
    if peers is None and not others:
        print(HOW)
    report.print_bars()
    options.finish(report, json, check)


def _measure(bench: Bench, sizes: Sequence[Size], database_url: str, begin: options.Begin) -> None:
    advance = begin("Remembering", sum(size.traces * len(size.users) for size in sizes))
    for size, number in _mixed(sizes):
        bench.load(size, number, advance)
    truth = [bench.truth(size) for size in sizes]
    advance = begin("Recalling", 4 * sum(len(size.questions) for size in sizes))
    for phase in (JUST_LOADED, VACUUMED, BUILT):
        if phase == VACUUMED:
            vacuum(database_url)
        if phase == BUILT:
            build(database_url)
            vacuum(database_url)
            for size in sizes:
                number, question = size.questions[0]
                wait_for_plan(bench.client, database_url, bench.user(number), question.vector)
        for size, wanted in zip(sizes, truth, strict=True):
            bench.ask(size, phase, wanted, advance)
            number, question = size.questions[0]
            user = bench.user(number)
            # The plan of PostgreSQL, under the name of how the service searched.
            searched = bench.client.plan(user, question.vector)
            size.plans[phase] = replace(read_plan(database_url, user, question.vector), name=searched)
    for size in sizes:
        bench.ask_balanced(size, advance)


def _mixed(sizes: Sequence[Size]) -> list[tuple[Size, int]]:
    """Everybody in turn: half of the users of each size, the smallest first, then the rest."""
    early = [(size, number) for size in sizes for number in size.users[: (len(size.users) + 1) // 2]]
    return early + [(size, number) for size in sizes for number in size.users[(len(size.users) + 1) // 2 :]]


def _forget(bench: Bench, sizes: Sequence[Size]) -> None:
    for size in sizes:
        for number in size.users:
            bench.client.forget(bench.user(number))


def _judge(report: Report, sizes: Sequence[Size]) -> None:
    report.rows = [_row(size) for size in sizes]
    for size in sizes:
        least = min(sum(shares) / len(shares) for shares in size.recall.values())
        report.bars.append(Bar(f"recall@10, {size.name}", least, "at least", 0.99))
    for phase, recipe, most in ((BUILT, "vector", MOST_VECTOR_MS), (BALANCED, "balanced", MOST_BALANCED_MS)):
        slowest = max(percentile(size.seconds[phase], 95) for size in sizes)
        report.bars.append(Bar(f"p95 of {recipe} once built, any size", slowest * 1000, "at most", most, " ms"))
    report.bars.append(Bar("remembered by the largest user, traces/s", sizes[-1].rate, "at least", 3000))
    index_only = min(size.plans[VACUUMED].index_only for size in sizes)
    report.bars.append(Bar("partitions read index-only once vacuumed, share", index_only, "at least", 1))


def _row(size: Size) -> dict[str, Any]:
    return {
        "traces": size.traces,
        "users": len(size.users),
        "traces_per_second": size.rate,
        "batch_ms": [round(seconds * 1000, 2) for seconds in size.batches],
        "recalled_at_once_ms": [round(seconds * 1000, 2) for seconds in size.seen],
        "recall_at_10": {phase: sum(shares) / len(shares) for phase, shares in size.recall.items()},
        "recall_ms": {phase: [round(one * 1000, 3) for one in seconds] for phase, seconds in size.seconds.items()},
        "plans": {phase: asdict(plan) | {"index_only": plan.index_only} for phase, plan in size.plans.items()},
    }


def _print_tables(sizes: Sequence[Size], stores: Sequence[PeerStore]) -> None:
    print_table(
        ["remember, supplied vectors", "users", "traces/s", "ms a batch (range)", "recalled, ms"],
        [
            *(
                [
                    size.name,
                    str(len(size.users)),
                    f"{size.rate:,.0f}",
                    Spread.of(1000 * seconds for seconds in size.batches).shown(0),
                    Spread.of(1000 * seconds for seconds in size.seen).shown(),
                ]
                for size in sizes
            ),
            *([store.name, str(len(store.users)), f"{store.rate:,.0f}", "", ""] for store in stores),
        ],
        f"Loading over HTTP by one caller in batches of {BATCH}, until the last trace was recalled",
    )
    print_table(
        ["recipe=vector", "", "plan", "questions", "recall@10", "least", "p50 ms", "p95 ms"],
        [
            *(
                [size.name, phase, size.plans[phase].name, *_cells(shares, size.seconds[phase])]
                for size in sizes
                for phase, shares in size.recall.items()
            ),
            *(
                [f"{one.traces:,} traces", store.name, store.peer.apart_by, *_cells(one.recall, one.seconds)]
                for store in stores
                for one in store.found
            ),
        ],
        f"Recall against the exact top {K}: over HTTP, and by the peers, which have an HNSW index over everybody",
    )
    print_table(
        ["recipe=balanced", "questions", "p50 ms", "p95 ms"],
        [
            [
                size.name,
                str(len(size.seconds[BALANCED])),
                f"{percentile(size.seconds[BALANCED], 50) * 1000:.1f}",
                f"{percentile(size.seconds[BALANCED], 95) * 1000:.1f}",
            ]
            for size in sizes
        ],
        "Recall over HTTP of the questions' texts, once all is built",
    )
    print_table(
        ["traces", "", "partition", "how", "index", "rows", "heap fetches", "buffers", "ms"],
        [row for size in sizes for phase, plan in size.plans.items() for row in _plan_rows(size, phase, plan)],
        "EXPLAIN (ANALYZE, BUFFERS) as the serving role, the generic plan",
    )


def _cells(shares: Sequence[float], seconds: Sequence[float]) -> list[str]:
    return [
        str(len(shares)),
        f"{sum(shares) / len(shares):.4f}",
        f"{min(shares):.1f}",
        f"{percentile(seconds, 50) * 1000:.1f}",
        f"{percentile(seconds, 95) * 1000:.1f}",
    ]


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


def _unit(vectors: "np.typing.NDArray[np.floating[Any]]") -> FloatArray:
    unit: FloatArray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


if __name__ == "__main__":
    options.run(tenants)
