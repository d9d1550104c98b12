"""What memory costs and how it is found while it ages: hot, warm and cold, as one user's and as a thousand users'.

Each store is filled with memory of the weeks that are over (`bench/past.py`), measured while all of it is hot, moved
week by week to warm while it is asked, measured again, moved to cold files, and measured once more. Vectors are
mixtures of those that the default model gives to real text, texts have its words and the length of turns of a chat, by
one generator for every size; every trace has vectors of all three heads, and no user has a graph. The exact neighbours
are computed here, over the vectors as they were drawn.

Neither `--url` nor `--database-url` name a store to measure: whatever was in it would be moved too.
"""

import asyncio
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final, Literal

import numpy as np
import typer

from bench import options, store
from bench.client import Client, client_of
from bench.gone import Gone, traces_by_tier
from bench.gone import forget as forget_user
from bench.moving import Asker, Mover, Run, Window
from bench.past import Batch, Memories, Space, batches, lay, weeks_before
from bench.prose import Prose, passages
from bench.report import Bar, CannotMeasure, Degraded, Report, Spread, new_report, percentile, print_table
from bench.service import Service, service_at
from bench.store import Part
from bench.tenants import Question, encode_these
from reverie.core.ids import user_uuid
from reverie.tiers.partitions import Week

TierName = Literal["hot", "warm", "cold"]
TIERS: Final[tuple[TierName, ...]] = ("hot", "warm", "cold")

HOT_DAYS: Final = 100
"""So many that nothing of the weeks that are laid down is due before a run of ours comes with another date."""

WARM_DAYS: Final = 365
WEEKS: Final = 8
K: Final = 10
TEXTS: Final = 3000

OTHERS: Final = 1_000
"""Traces of each user who is not forgotten."""

PAIR: Final = 20_000
"""Traces of two users who are compared, one of them warm and one hot."""

WARM_UP: Final = 3
"""Questions before those that are counted."""

COLD_QUESTIONS: Final = 20
"""Most questions to cold memory, each of which may take seconds."""

WARM_VECTORS, COLD_FILES, COLD_ALL = 0.3, 0.15, 0.35
LEAST_RECALL: Final = 0.97
PAIR_RATIO: Final = 1.5
BUSY_RATIO: Final = 2.0
LEAST_RATE: Final = 5_000
MOST_COLD_MS: Final = 3_000
MOST_GONE: Final = 60.0

Advance = Callable[[int], Any]


@dataclass(slots=True)
class Found:
    """What was found of a store while it was in one tier: ``files`` are bytes outside of the database."""

    parts: list[Part]
    files: int = 0
    recall: list[float] = field(default_factory=list)
    by_vector: list[float] = field(default_factory=list)
    by_text: list[float] = field(default_factory=list)
    degraded: int = 0

    @property
    def bytes(self) -> int:
        """All bytes that memory takes, in the database and outside."""
        return sum(part.bytes for part in self.parts) + self.files

    @property
    def vectors(self) -> int:
        """The bytes of vectors and their indexes in the database."""
        return sum(part.bytes for part in self.parts if part.table == "memory_embedding")


@dataclass(slots=True)
class Store:
    """Traces of so many users, what was found in each tier and what moving them took."""

    sizes: list[int]
    found: dict[TierName, Found] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    rest: tuple[int, Run] | None = None
    export: Run | None = None

    @property
    def traces(self) -> int:
        return sum(self.sizes)

    @property
    def name(self) -> str:
        users = len(self.sizes)
        return f"{self.traces:,} of {users:,} user{'s' if users > 1 else ''}"

    @property
    def runs(self) -> list[tuple[int, Run]]:
        """(traces, run) of all that was moved from hot to warm."""
        moved = [(one.traces, one.run) for one in self.windows if one.run is not None]
        return [*moved, self.rest] if self.rest is not None else moved

    @property
    def rate(self) -> float:
        """Traces a second that became warm in the run over several weeks at once, the space given back.

        Week by week it is less: each is merged with what was moved before it.
        """
        assert self.rest is not None
        traces, run = self.rest
        return traces / run.seconds

    def share(self, part: Callable[[Found], int], tier: TierName) -> float:
        """Bytes of a part, of the bytes that it has hot."""
        return part(self.found[tier]) / part(self.found["hot"])


@dataclass(slots=True)
class Pair:
    """Milliseconds of the same questions to a warm and a hot user of the same size, and the shares of the exact ten."""

    seconds: dict[TierName, list[float]] = field(default_factory=dict)
    texts: dict[TierName, list[float]] = field(default_factory=dict)
    recall: dict[TierName, list[float]] = field(default_factory=dict)

    def ratio(self, taken: dict[TierName, list[float]]) -> float:
        """How many times that of hot the p95 of warm is."""
        return percentile(taken["warm"], 95) / percentile(taken["hot"], 95)


@dataclass(frozen=True, slots=True)
class Bench:
    """A store that is filled, moved and asked."""

    client: Client
    service: Service
    settings: dict[str, str]
    memories: Memories
    questions: Sequence[Question]
    planned: Sequence[Batch]
    weeks: Sequence[Week]
    sizes: Sequence[int]
    folder: Path
    seed: int

    def user(self, number: int) -> str:
        return f"bench/{number}"

    def lay(self, advance: Advance) -> None:
        """Fills the store, and does what the worker and autovacuum do in the background."""
        url = self.service.database_url
        asyncio.run(lay(url, Space.of(url), self.planned, self.memories, self.user, advance))
        store.announce_warm(url)
        store.build(url, "never", over=True)
        store.vacuum(url)

    @property
    def mover(self) -> Mover:
        return Mover(self.service, self.settings)

    def find(self, tier: TierName, questions: int, advance: Advance) -> Found:
        """The bytes of what is in a tier, and what recall finds there."""
        for number in range(WARM_UP):
            self.client.ask(self.user(0), f"{self.questions[number % len(self.questions)].text} ({tier}, {number})")
        files = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        found = Found(store.sizes(self.service.database_url), files)
        owners = self._owners(questions)
        truth = self.truth(owners)
        for place, (owner, wanted) in enumerate(zip(owners, truth, strict=True)):
            question = self.questions[place % len(self.questions)]
            self._ask(found, tier, owner, question, wanted)
            advance(1)
        return found

    def _ask(self, found: Found, tier: TierName, owner: int, question: Question, wanted: set[str]) -> None:
        tiers = TIERS if tier == "cold" else TIERS[:2]
        more = {"tiers": tiers, "k": K}
        try:
            results, seconds = self.client.ask(
                self.user(owner), f"{question.text} ({tier})", recipe="vector", embedding=question.vector, **more
            )
            found.by_vector.append(seconds)
            found.recall.append(self._share(results, wanted, tier))
            found.by_text.append(self.client.ask(self.user(owner), f"{question.text} {tier}", **more)[1])
        except Degraded:
            found.degraded += 1

    def _share(self, results: Sequence[dict[str, Any]], wanted: set[str], tier: TierName) -> float:
        others = {result["tier"] for result in results} - {tier}
        if others:
            raise CannotMeasure(f"What should be {tier} is answered as {', '.join(sorted(others))}.")
        return len({result["external_id"] for result in results} & wanted) / len(wanted)

    def _owners(self, questions: int) -> list[int]:
        """Whom each question is asked of: whoever a trace drawn at random belongs to."""
        rng = np.random.default_rng([self.seed, len(self.sizes)])
        chosen = rng.choice(len(self.sizes), size=questions, p=np.array(self.sizes) / sum(self.sizes))
        return [int(owner) for owner in chosen]

    def truth(self, owners: Sequence[int]) -> list[set[str]]:
        """The exact top ten of the question to each owner, by external id."""
        best: list[list[tuple[float, int]]] = [[] for _ in owners]
        asked: dict[int, list[int]] = {}
        for place, owner in enumerate(owners):
            asked.setdefault(owner, []).append(place)
        for batch in self.planned:
            if places := asked.get(batch.user):
                questions = np.stack([self.questions[place % len(self.questions)].vector for place in places])
                cosines = questions @ self.memories.semantic(batch).T
                for place, row in zip(places, cosines, strict=True):
                    top = np.argsort(row)[::-1][:K]
                    nearer = [(float(row[one]), batch.first + int(one)) for one in top]
                    best[place] = sorted([*best[place], *nearer], reverse=True)[:K]
        return [{str(number) for _, number in one} for one in best]

    def asker(self, owners: Sequence[int] | None = None) -> Asker:
        """Asks one after the other by the default recipe, and never the same question twice."""
        owners = owners or self._owners(len(self.questions))

        def ask(number: int) -> float:
            question = self.questions[number % len(self.questions)].text
            return self.client.ask(self.user(owners[number % len(owners)]), f"{question} ({number})")[1]

        return Asker(ask)

    def traces_of(self, week: Week) -> int:
        """How many traces a week has."""
        return sum(batch.rows for batch in self.planned if week.since <= batch.moment < week.until)


@dataclass(frozen=True, slots=True)
class Common:
    """What all stores of a report have in common. ``seconds``: how long a quiet window is."""

    memories: Memories
    asked: Sequence[Question]
    seed: int
    seconds: float
    report: Report
    begin: options.Begin


def tiers(
    sizes: Annotated[str, typer.Option(help="Traces of a store, ascending: 10000,100000,1000000 takes an hour.")] = (
        "10000"
    ),
    users: Annotated[str, typer.Option(help="Whose they are: each size is measured with each of these numbers.")] = (
        "1,1000"
    ),
    forget: Annotated[
        int, typer.Option(help="Traces of one user that are forgotten in a store of ten times as many; 0: none.")
    ] = 0,
    pair: Annotated[int, typer.Option(help="Traces of two users who are compared, one warm, one hot; 0: none.")] = PAIR,
    questions: Annotated[int, typer.Option(min=1, help="Questions to each store and tier.")] = 100,
    seconds: Annotated[float, typer.Option(help="How long a quiet window is; one with a run is as long as it.")] = 10.0,
    windows: Annotated[
        int, typer.Option(min=1, max=WEEKS - 1, help="Of these there are so many: a week is moved in each.")
    ] = 5,
    seed: int = 1,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """Bytes, recall and milliseconds of hot, warm and cold memory, and what moving it takes."""
    texts, wanted, owners = TEXTS, options.ascending(sizes, "--sizes"), options.ascending(users, "--users")
    if quick:
        texts, wanted, owners, pair, forget, questions = 64, [400], [1], 200, 40, 6
        seconds, windows = 0.5, 2
    chosen = {"sizes": wanted, "users": owners, "pair": pair, "forget": forget, "questions": questions, "seed": seed}
    report = new_report("tiers", chosen | {"seconds": seconds, "windows": windows})
    stores: list[Store] = []
    compared, gone, failed = None, None, None
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        said, askable = passages(seed, texts)
        drawn, asked = encode_these(seed, said, askable[:questions], begin("Encoding", len(said) + questions))
        common = Common(Memories(Prose(seed, said), drawn), asked, seed, seconds, report, begin)
        try:
            for one in [Store(even(size, count)) for size in wanted for count in owners]:
                _measure(one, windows, common)
                stores.append(one)
            compared = _compare(pair, common) if pair else None
            gone = _forget(forget, common) if forget else None
        except CannotMeasure as error:
            # What was found until then took long.
            failed = error
    if stores:
        _judge(report, stores, compared, gone)
        _print_tables(stores, compared, gone)
        report.print_bars()
    if failed is not None:
        if json is not None:
            report.write(json)
        raise failed
    options.finish(report, json, check)


def even(traces: int, users: int) -> list[int]:
    """The traces of each user: as many for everybody as for any other, or one more."""
    return [traces * (user + 1) // users - traces * user // users for user in range(users)]


@contextmanager
def _opened(sizes: Sequence[int], weeks: Sequence[Week], planned: Sequence[Batch], common: Common) -> Iterator[Bench]:
    """A throw-away store that is filled."""
    common.begin(f"Starting a service for {sum(sizes):,} traces", 0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reverie-bench-files-")))
        settings = {
            "MEMORY_HEADS": "semantic,situation,entity",
            "MEMORY_HNSW": "never",
            # What is slow is told by its time, not by what it left out.
            "MEMORY_RECALL_TIMEOUT_SECONDS": "30",
            "MEMORY_HOT_DAYS": str(HOT_DAYS),
            "MEMORY_WARM_DAYS": str(WARM_DAYS),
            # Nobody else is to move anything meanwhile.
            "DREAM_AT": f"{(datetime.now(UTC).hour + 12) % 24:02}:00",
            "OBJECT_STORE_URL": folder.as_uri(),
            "REVERIE_SECRET_KEY": secrets.token_urlsafe(32),
        }
        service = stack.enter_context(service_at(None, **settings))
        common.report.ask_versions(service.database_url)
        client = stack.enter_context(client_of(service))
        bench = Bench(
            client, service, settings, common.memories, common.asked, planned, weeks, sizes, folder, common.seed
        )
        bench.lay(common.begin(f"Laying down {sum(sizes):,} traces", sum(sizes)))
        yield bench


def _measure(one: Store, windows: int, common: Common) -> None:
    """Everything of a store, moved to warm in so many windows and the rest at once."""
    begin, count = common.begin, len(common.asked)
    weeks = weeks_before(datetime.now(UTC), WEEKS)
    planned = batches(one.sizes, weeks, common.seed)
    with _opened(one.sizes, weeks, planned, common) as bench:
        one.found["hot"] = bench.find("hot", count, begin(f"Asking {one.name}, hot", count))
        begin(f"Moving {one.name} to warm", 0)
        asker = bench.asker()
        for week in weeks[:windows]:
            one.windows.append(bench.mover.window(warm_by(week), bench.traces_of(week), common.seconds, asker))
        left = sum(bench.traces_of(week) for week in weeks[windows:])
        one.rest = left, bench.mover.run(warm_by(weeks[-1]))
        one.found["warm"] = bench.find("warm", count, begin(f"Asking {one.name}, warm", count))
        begin(f"Moving {one.name} to cold", 0)
        one.export = bench.mover.run(cold_by(weeks[-1]))
        few = min(count, COLD_QUESTIONS)
        one.found["cold"] = bench.find("cold", few, begin(f"Asking {one.name}, cold", few))


def warm_by(week: Week) -> datetime:
    """The date at which a week is due for warm, and the week after it is not."""
    return week.until + timedelta(days=HOT_DAYS)


def cold_by(week: Week) -> datetime:
    """The date at which a week is due for cold, and the week after it is not."""
    return week.until + timedelta(days=WARM_DAYS)


def _compare(size: int, common: Common) -> Pair:
    """Two users with the same number of traces, the first in the older half of the weeks, which becomes warm."""
    asked, seed = common.asked, common.seed
    weeks = weeks_before(datetime.now(UTC), WEEKS)
    half = len(weeks) // 2
    planned = [*batches([size], weeks[:half], seed)]
    planned += [Batch(1, one.first, one.last, one.moment) for one in batches([size], weeks[half:], seed)]
    pair, tiers_of = Pair(), dict[int, TierName]({0: "warm", 1: "hot"})
    with _opened([size, size], weeks, planned, common) as bench:
        bench.mover.run(warm_by(weeks[half - 1]))
        truth = {user: bench.truth([user] * len(asked)) for user in tiers_of}
        advance = common.begin("Asking a warm and a hot user", len(asked))
        for place, question in enumerate(asked):
            for user in (0, 1) if place % 2 else (1, 0):
                found = Found([])
                bench._ask(found, tiers_of[user], user, question, truth[user][place])
                pair.seconds.setdefault(tiers_of[user], []).extend(found.by_vector)
                pair.texts.setdefault(tiers_of[user], []).extend(found.by_text)
                pair.recall.setdefault(tiers_of[user], []).extend(found.recall)
            advance(1)
    return pair


def _forget(size: int, common: Common) -> Gone:
    """A user with a tenth of a store, of whom about a third is cold, a third warm and a third hot, is forgotten."""
    weeks = weeks_before(datetime.now(UTC), WEEKS)
    sizes = [size, *even(9 * size, max(1, 9 * size // OTHERS))]
    planned = batches(sizes, weeks, common.seed)
    cold, warm = weeks[len(weeks) // 3 - 1], weeks[2 * len(weeks) // 3 - 1]
    with _opened(sizes, weeks, planned, common) as bench:
        common.begin("Moving a third to cold, a third to warm", 0)
        bench.mover.run(warm_by(cold), MEMORY_WARM_DAYS=str(HOT_DAYS))
        bench.mover.run(warm_by(warm))
        url, user = bench.service.database_url, bench.user(0)
        user_id = user_uuid(Space.of(url).id, user)
        found = Gone(size, sum(sizes) - size, traces_by_tier(url, user_id))
        common.begin(f"Forgetting {size:,} of {sum(sizes):,} traces", 0)
        others = bench.asker([*range(1, len(sizes))])
        forget_user(bench.service, user, user_id, bench.folder, found, common.seconds, others)
    return found


def _judge(report: Report, stores: Sequence[Store], pair: Pair | None, gone: Gone | None) -> None:
    report.rows = [_row(one) for one in stores]
    if pair is not None:
        report.rows.append({"pair": asdict(pair)})
    for one in stores:
        recall = one.found["warm"].recall
        report.bars.append(
            Bar(f"recall@10 warm, {one.name}", sum(recall) / max(1, len(recall)), "at least", LEAST_RECALL)
        )
    for one in [one for one in stores if one.traces == stores[-1].traces]:
        report.bars += _bars(one)
    if pair is not None:
        name = f"p95 of a warm user, of a hot one (recipe {'{}'})"
        report.bars.append(Bar(name.format("vector"), pair.ratio(pair.seconds), "at most", PAIR_RATIO, "x"))
        report.bars.append(Bar(name.format("balanced"), pair.ratio(pair.texts), "at most", PAIR_RATIO, "x"))
    if gone is not None:
        report.rows.append({"forgotten": asdict(gone) | {"ratio": gone.window.ratio}})
        report.bars.append(Bar(f"{gone.traces:,} traces gone", gone.gone, "at most", MOST_GONE, " s"))
        report.bars.append(Bar("p95 of others meanwhile", gone.window.ratio, "at most", BUSY_RATIO, "x"))


def _bars(one: Store) -> list[Bar]:
    cold = one.found["cold"]
    ratio = Spread.of(window.ratio for window in one.windows)
    hot = one.found["hot"].bytes
    bars = [
        Bar(f"vectors warm of hot, {one.name}", one.share(lambda f: f.vectors, "warm"), "at most", WARM_VECTORS),
        Bar(f"Parquet of hot, {one.name}", cold.files / hot, "at most", COLD_FILES),
        Bar(f"all that remains of hot, {one.name}", cold.bytes / hot, "at most", COLD_ALL),
        Bar(f"to warm, {one.name}", one.rate, "at least", LEAST_RATE, "/s"),
        Bar(f"p95 while moved, {one.name}", ratio.median, "at most", BUSY_RATIO, "x", ratio),
    ]
    if len(one.sizes) == 1:
        slowest = max([*cold.by_vector, *cold.by_text], default=float("inf")) * 1000
        bars.append(Bar(f"slowest cold recall, {one.name}", slowest, "at most", MOST_COLD_MS, " ms"))
        bars.append(Bar(f"cold recalls degraded, {one.name}", cold.degraded, "at most", 0))
    return bars


def _row(one: Store) -> dict[str, Any]:
    return {
        "traces": one.traces,
        "users": len(one.sizes),
        "tiers": {tier: asdict(found) | {"bytes": found.bytes} for tier, found in one.found.items()},
        "windows": [asdict(window) | {"ratio": window.ratio} for window in one.windows],
        "runs": [{"traces": traces} | asdict(run) for traces, run in one.runs],
        "traces_per_second": one.rate,
        "export": None if one.export is None else asdict(one.export),
    }


def _print_tables(stores: Sequence[Store], pair: Pair | None, gone: Gone | None) -> None:
    print_table(
        ["traces", "tier", "bytes a trace", "of hot", "vectors", "of hot", "files", "of all hot"],
        [
            [
                one.name,
                tier,
                f"{found.bytes / one.traces:,.0f}",
                f"{one.share(lambda f: f.bytes, tier):.3f}",
                f"{found.vectors / one.traces:,.0f}",
                f"{one.share(lambda f: f.vectors, tier):.3f}",
                f"{found.files / one.traces:,.0f}",
                f"{found.files / one.found['hot'].bytes:.3f}",
            ]
            for one in stores
            for tier, found in one.found.items()
        ],
        "Disk: all of it, vectors with their indexes in the database, and Parquet",
    )
    _print_parts(stores[-1])
    print_table(
        ["traces", "tier", "asked", "recall@10", "least", "vector p50", "p95", "text p50", "p95", "degraded"],
        [
            [one.name, tier, *_answered(found.recall, found.by_vector, found.by_text), str(found.degraded)]
            for one in stores
            for tier, found in one.found.items()
        ],
        f"Recall over HTTP against the exact top {K} in milliseconds: by a vector, and by text with the default recipe",
    )
    print_table(
        ["traces", "moved", "s", "traces/s", "MB back", "quiet p95", "meanwhile p95", "of quiet"],
        [row for one in stores for row in _moves(one)],
        "Moving to warm week by week while it is asked, the rest at once in quiet, and all to cold",
    )
    if pair is not None:
        print_table(
            ["a user who is", "asked", "recall@10", "least", "vector p50", "p95", "text p50", "p95"],
            [[tier, *_answered(pair.recall[tier], pair.seconds[tier], pair.texts[tier])] for tier in pair.seconds],
            "Two users of the same size in one store, asked in turn",
        )
    if gone is not None:
        window = gone.window
        print_table(
            ["forgotten", "of others", "cold", "warm", "hot", "answered, s", "gone, s", "quiet p95", "meanwhile p95"],
            [
                [
                    f"{gone.traces:,}",
                    f"{gone.others:,}",
                    *(f"{gone.tiers.get(tier, 0):,}" for tier in reversed(TIERS)),
                    f"{gone.answered:,.1f}",
                    f"{gone.gone:,.1f}",
                    f"{window.ms(busy=False):,.1f}",
                    f"{window.ms(busy=True):,.1f}",
                ]
            ],
            "Forgetting a user, until nothing is in the database or in a file; milliseconds of others' recall",
        )


def _print_parts(one: Store) -> None:
    rows: dict[str, dict[TierName, float]] = {}
    for tier, found in one.found.items():
        for part in found.parts:
            rows.setdefault(f"{part.table}, {part.part}", {})[tier] = part.bytes / one.traces
    print_table(
        ["bytes a trace", *one.found],
        [
            [name, *(f"{taken.get(tier, 0):,.0f}" for tier in one.found)]
            for name, taken in sorted(rows.items())
            if name.startswith("memory_") and max(taken.values()) >= 1
        ],
        f"Where they are, {one.name}",
    )


def _answered(recall: Sequence[float], by_vector: Sequence[float], by_text: Sequence[float]) -> list[str]:
    if not recall or not by_text:
        return ["0", *["–"] * 6]
    return [
        str(len(recall)),
        f"{sum(recall) / len(recall):.4f}",
        f"{min(recall):.1f}",
        *(f"{percentile(taken, percent) * 1000:,.1f}" for taken in (by_vector, by_text) for percent in (50, 95)),
    ]


def _moves(one: Store) -> list[list[str]]:
    windows = [
        [f"{window.ms(busy=False):,.1f}", f"{window.ms(busy=True):,.1f}", f"{window.ratio:.2f}"]
        for window in one.windows
    ]
    runs = [*one.runs, *([(one.traces, one.export)] if one.export is not None else [])]
    rows = [
        [
            one.name,
            f"{traces:,} to {'cold' if run is one.export else 'warm'}",
            f"{run.seconds:,.1f}",
            f"{traces / run.seconds:,.0f}",
            f"{run.returned / 1e6:,.0f}",
            *(windows[place] if place < len(windows) else ["", "", ""]),
        ]
        for place, (traces, run) in enumerate(runs)
    ]
    ratio = f"{median(window.ratio for window in one.windows):.2f}" if one.windows else ""
    return [*rows, ["", "", "", "", "", "", "median", ratio]]


if __name__ == "__main__":
    options.run(tiers)
