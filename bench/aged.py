"""What recall finds of conversations as they age: all hot; the oldest third cold, the middle third warm; all warm.

A third of each conversation is remembered a year and more ago, a third two months ago, and the rest today, in one
store. Every question is asked three times, and compared question by question with what was found while all was hot.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench import options
from bench.asking import Answered, ask, difference, mean
from bench.client import Client, client_of
from bench.conversations import Conversation, read_collection
from bench.gather import load, user_of
from bench.moving import Mover
from bench.report import Bar, CannotMeasure, Report, Spread, new_report, percentile, print_table
from bench.service import Service, api_beside, service_at
from bench.train import Data
from reverie.core.kinds import HEADS

RUN: Final = "aged"

AGES: Final = (timedelta(days=420), timedelta(days=60), timedelta(0))
"""How long ago each third was remembered: two of them lie beyond MEMORY_WARM_DAYS and MEMORY_HOT_DAYS."""

HOT_DAYS, WARM_DAYS = 30, 365
ALL_WARM: Final = timedelta(days=HOT_DAYS + 8)
"""So long from now all weeks are over and older than MEMORY_HOT_DAYS."""

THAW_DAYS: Final = 365
MOST_LOST: Final = 0.02
METRICS: Final = ("R@5", "R@10", "MRR")
TIERS: Final = ("hot", "warm", "cold")

Advance = Callable[[int], Any]


def aged(
    data: Data,
    low_salience: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Below it traces keep their first head alone when they become warm; of three."),
    ] = None,
    json: options.Json = None,
    check: options.Check = False,
) -> None:
    """What recall finds of memory that is hot, warm and cold.

    Example: bench/aged --data locomo.json
    """
    report = new_report("aged", {"data": [path.name for path in data], "low_salience": low_salience})
    conversations = [one for path in data for one in read_collection(path)]
    with _service(low_salience) as (service, mover):
        report.ask_versions(service.database_url)
        asked = {"tiers": TIERS} if low_salience is None else {"tiers": TIERS, "heads": list(HEADS)}
        found = _measure(service, mover, conversations, asked)
    _show(report, found)
    report.print_bars()
    options.finish(report, json, check)


@contextmanager
def _service(low_salience: float | None) -> Iterator[tuple[Service, Mover]]:
    """A throw-away store, and what moves its tiers."""
    with tempfile.TemporaryDirectory(prefix="reverie-bench-files-") as folder:
        settings = {
            "MEMORY_HOT_DAYS": str(HOT_DAYS), "MEMORY_WARM_DAYS": str(WARM_DAYS),
            "OBJECT_STORE_URL": Path(folder).as_uri(),
            # What is found must not depend on what else the machine does.
            "MEMORY_RECALL_TIMEOUT_SECONDS": "60", "MEMORY_COLD_TIMEOUT_SECONDS": "60", "REDIS_TIMEOUT_SECONDS": "60",
        }  # fmt: skip
        if low_salience is not None:
            settings |= {"MEMORY_LOW_SALIENCE": str(low_salience), "MEMORY_HEADS": ",".join(HEADS)}
        with service_at(None, **settings) as service:
            yield service, Mover(service, settings)


def _measure(
    service: Service, mover: Mover, conversations: Sequence[Conversation], asked: Mapping[str, Any]
) -> dict[str, list[Answered]]:
    """The answers to every question, ``asked`` so, by how old the memory was."""
    now = datetime.now(UTC)
    turns = sum(len(one.traces) for one in conversations)
    questions = sum(len(one.questions) for one in conversations)
    with options.progress() as begin, client_of(service) as client:
        advance = begin("Remembering", turns)
        for place, age in enumerate(AGES):
            with api_beside(service, now - age, **mover.settings) as then, client_of(then) as earlier:
                load(earlier, RUN, [_third(one, place) for one in conversations], advance)
        found = {"all hot": _ask(client, conversations, ("hot",), asked, begin("Asking, all hot", questions))}
        begin("Moving what is due today", 0)
        mover.run(now)
        found["mixed"] = _ask(client, conversations, TIERS, asked, begin("Asking, of all ages", questions))
        begin("Bringing back what is cold", 0)
        for one in conversations:
            client.thaw(user_of(RUN, one), THAW_DAYS)
        mover.run(now + ALL_WARM)
        found["all warm"] = _ask(client, conversations, ("warm",), asked, begin("Asking, all warm", questions))
    return found


def _third(one: Conversation, place: int) -> Conversation:
    """The first, second or last third of a conversation's turns."""
    first, last = (len(one.traces) * number // len(AGES) for number in (place, place + 1))
    return replace(one, traces=one.traces[first:last])


def _ask(
    client: Client, conversations: Sequence[Conversation], tiers: Sequence[str], more: Mapping[str, Any],
    advance: Advance,
) -> list[Answered]:  # fmt: skip
    """Asks everything by the default recipe, with ``more`` parameters.

    Raises:
        CannotMeasure: results are in other tiers than ``tiers``, or never in one of these.
    """
    seen = set[str]()
    first = conversations[0]
    for asking in first.questions[:20]:
        # In other words, or the answers would be kept for when their time is taken.
        results, _ = client.ask(user_of(RUN, first), f"{asking.text} ({len(tiers)})", k=20, **more)
        seen |= {result["tier"] for result in results}
    if seen != set(tiers):
        raise CannotMeasure(f"What should be {', '.join(tiers)} is {', '.join(sorted(seen))}.")
    return ask(client, RUN, conversations, "balanced", advance, **more)


def _show(report: Report, found: Mapping[str, Sequence[Answered]]) -> None:
    hot = found["all hot"]
    table = []
    for name, rows in found.items():
        values = {metric: mean(rows, metric) for metric in METRICS}
        milliseconds = [row.seconds * 1000 for row in rows]
        gain, low, high = difference(rows, hot, "R@10")
        other = sum(row.r10 != before.r10 for row, before in zip(rows, hot, strict=True))
        report.rows.append(
            {"age": name, "questions": len(rows), "otherwise": other, "gain": gain, "low": low, "high": high}
            | values | {"p50_ms": percentile(milliseconds, 50), "p95_ms": percentile(milliseconds, 95)}
            | {"answers": [row.row() for row in rows]}
        )  # fmt: skip
        shown = [f"{value:.3f}" for value in values.values()]
        shown += [f"{gain:+.4f} ({low:+.4f} to {high:+.4f})", str(other)]
        shown += [f"{percentile(milliseconds, percent):.1f}" for percent in (50, 95)]
        table.append([name, str(len(rows)), *shown])
        if rows is not hot:
            limit = Spread(-gain, -high, -low)
            report.bars.append(Bar(f"{name}: R@10 less than all hot", -gain, "at most", MOST_LOST, spread=limit))
    columns = ["", "n", *METRICS, "more than hot", "differ", "p50 ms", "p95 ms"]
    print_table(columns, table, "What is found")


if __name__ == "__main__":
    options.run(aged)
