"""What recall takes while others load the service, and what a crowd of callers is answered.

Every round asks the same questions three times: while nothing else runs, while one caller remembers text in batches of
16 that are encoded before each answer, and while one caller remembers 1000 at a time, which the worker encodes. Ratios
are taken within a round, so that what else the machine does falls on all alike. Then a crowd asks and remembers at
once: what it is answered, how soon, and how much memory that takes.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from bench import options
from bench.client import Client, client_of
from bench.crowd import BATCH, RECALL, REMEMBER, Crowd, gather
from bench.loader import Load, loading, traces
from bench.report import Bar, Report, Spread, new_report, percentile, print_table
from bench.service import Service, named, service_at
from bench.text import conversation

QUIET, WAITED, LEFT = "nothing", "text encoded at once", "text left to the worker"
LARGE_BATCH: Final = 1000
MOST_RATIO: Final = 3.0
MOST_SECONDS: Final = 6.0
"""The p95 of an answer in a crowd: the longest wait for a place (REVERIE_MAX_WAIT_SECONDS) and the work itself."""

MOST_GROWTH: Final = 256.0
TURNS: Final = 600
QUICK_TURNS: Final = 64
WARM_UP: Final = 20


@dataclass(slots=True)
class Round:
    """Seconds of every question, by what ran beside it; and what was remembered meanwhile."""

    recalled: dict[str, list[float]] = field(default_factory=dict)
    loads: dict[str, Load] = field(default_factory=dict)

    def recall_ms(self, beside: str, percent: float) -> float:
        """A percentile of recall, in milliseconds."""
        return percentile(self.recalled[beside], percent) * 1000

    def ratio(self, beside: str, percent: float) -> float:
        """How many times its quiet value a percentile is."""
        return self.recall_ms(beside, percent) / self.recall_ms(QUIET, percent)


@dataclass(frozen=True, slots=True)
class Bench:
    """A service with a user to ask about. ``users`` gathers all that it has to forget in the end."""

    client: Client
    service: Service
    user: str
    turns: int
    questions: Sequence[str]
    large: int
    users: list[str] = field(default_factory=list)

    def fill(self) -> None:
        """Remembers the conversation that is asked about."""
        self.users.append(self.user)
        told = traces(0, self.turns)
        for start in range(0, len(told), BATCH):
            self.client.remember(self.user, told[start : start + BATCH])
        for question in self.questions[:WARM_UP]:
            self.client.recall(self.user, question)

    def measure(self, advance: Callable[[int], Any]) -> Round:
        """One round: the same questions beside nothing, small batches, large batches."""
        found = Round()
        found.recalled[QUIET] = self._ask(advance)
        for beside, batch in ((WAITED, BATCH), (LEFT, self.large)):
            with loading(self.service, batch, wait=beside == WAITED) as load:
                self.users.append(load.user)
                found.loads[beside] = load
                found.recalled[beside] = self._ask(advance)
        return found

    def crowd(self, callers: int, seconds: float) -> Crowd:
        """Many callers at once."""
        writer = f"bench/{uuid.uuid4()}"
        self.users.extend(f"{writer}/{number}" for number in range(callers - callers // 2))
        return gather(self.service, self.user, self.questions, callers, seconds, writer)

    def forget(self) -> None:
        """Leaves a service that is not ours as it was."""
        for user in self.users:
            self.client.forget(user)

    def _ask(self, advance: Callable[[int], Any]) -> list[float]:
        taken = []
        for question in self.questions:
            began = time.perf_counter()
            self.client.recall(self.user, question)
            taken.append(time.perf_counter() - began)
            advance(1)
        return taken


def load(
    rounds: int = 3,
    questions: int = 300,
    callers: int = 64,
    seconds: Annotated[float, typer.Option(help="How long the crowd works.")] = 20.0,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """Recall beside a bulk load, and many callers at once."""
    turns, large = TURNS, LARGE_BATCH
    if quick:
        rounds, questions, seconds, turns, large = 1, 12, 2.0, QUICK_TURNS, QUICK_TURNS
    chosen = {"rounds": rounds, "questions": questions, "callers": callers, "seconds": seconds, "large_batch": large}
    report = new_report("load", chosen)
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        begin("Starting the service and filling it", 0)
        service = stack.enter_context(service_at(named(url, key, database_url)))
        report.ask_versions(service.database_url)
        asked = [question.text for question in conversation(0, turns, questions).questions]
        bench = Bench(stack.enter_context(client_of(service)), service, f"bench/{uuid.uuid4()}", turns, asked, large)
        if not service.own:
            stack.callback(bench.forget)
        bench.fill()
        advance = begin("Asking beside others", rounds * 3 * len(asked))
        found = [bench.measure(advance) for _ in range(rounds)]
        begin(f"{callers} callers at once", 0)
        crowd = bench.crowd(callers, seconds)
    _judge(report, found, crowd)
    _print_tables(found, crowd)
    report.print_bars()
    options.finish(report, json, check)


def _judge(report: Report, found: Sequence[Round], crowd: Crowd) -> None:
    report.rows = [_row(one) for one in found] + [_crowd_row(crowd)]
    for beside in (WAITED, LEFT):
        ratio = Spread.of(one.ratio(beside, 95) for one in found)
        report.bars.append(
            Bar(f"recall p95 beside {beside}, of quiet", ratio.median, "at most", MOST_RATIO, "x", ratio)
        )
    report.bars.append(Bar("errors other than 429 and 503 in the crowd", crowd.errors, "at most", 0))
    for what in (RECALL, REMEMBER):
        slowest = crowd.milliseconds(what, 95) / 1000
        report.bars.append(Bar(f"{what} p95 in the crowd", slowest, "at most", MOST_SECONDS, " s"))
    report.bars.append(Bar("memory of the API grew in the crowd by", crowd.growth_mib, "at most", MOST_GROWTH, " MiB"))


def _row(one: Round) -> dict[str, Any]:
    """A round as plain values, for JSON."""
    return {
        "recall_ms": {
            beside: {f"p{percent}": one.recall_ms(beside, percent) for percent in (50, 95, 100)}
            | {"all": [round(seconds * 1000, 3) for seconds in taken]}
            for beside, taken in one.recalled.items()
        },
        "loads": {
            beside: {"traces": made.traces, "traces_per_second": made.rate, "refused": made.refused}
            for beside, made in one.loads.items()
        },
    }


def _crowd_row(crowd: Crowd) -> dict[str, Any]:
    kinds = {}
    for what in (RECALL, REMEMBER):
        kinds[what] = {
            "statuses": {str(status): count for status, count in sorted(crowd.statuses(what).items())},
            "degraded": sum(one.degraded for one in crowd.answers if one.what == what),
            "requests_per_second": crowd.rate(what),
            "served_ms": {f"p{percent}": crowd.milliseconds(what, percent) for percent in (50, 95, 100)},
            "refused_ms": {f"p{percent}": crowd.milliseconds(what, percent, refused=True) for percent in (50, 95, 100)},
        }
    return {"callers": crowd.callers, "seconds": crowd.seconds, "answers": kinds, "rss": crowd.rss}


def _print_tables(found: Sequence[Round], crowd: Crowd) -> None:
    asked = sum(len(one.recalled[QUIET]) for one in found)
    print_table(
        ["recall beside", "p50, ms", "p95, ms", "p95 to quiet", "its traces/s"],
        [
            [
                beside,
                Spread.of(one.recall_ms(beside, 50) for one in found).shown(),
                Spread.of(one.recall_ms(beside, 95) for one in found).shown(),
                "" if beside == QUIET else Spread.of(one.ratio(beside, 95) for one in found).shown(2),
                "" if beside == QUIET else Spread.of(one.loads[beside].rate for one in found).shown(0),
            ]
            for beside in (QUIET, WAITED, LEFT)
        ],
        f"{asked:,} questions each: median of {len(found)} rounds (range)",
    )
    print_table(
        [f"{crowd.callers} callers", "answers", "served/s", "p50 ms", "p95 ms", "max ms", "degraded"],
        [
            [
                what,
                ", ".join(f"{status}: {count:,}" for status, count in sorted(crowd.statuses(what).items())),
                f"{crowd.rate(what):,.1f}",
                *(f"{crowd.milliseconds(what, percent):,.0f}" for percent in (50, 95, 100)),
                str(sum(one.degraded for one in crowd.answers if one.what == what)),
            ]
            for what in (RECALL, REMEMBER)
        ],
        f"All at once for {crowd.seconds:.0f} s, half of them asking, half remembering batches of {BATCH}",
    )
    if crowd.rss:
        sizes = [size / 2**20 for _, size in crowd.rss]
        print_table(
            ["memory of the API, MiB", "before", "most", "after"],
            [["", f"{sizes[0]:,.0f}", f"{max(sizes):,.0f}", f"{sizes[-1]:,.0f}"]],
            "Resident memory while the crowd worked",
        )


if __name__ == "__main__":
    options.run(load)
