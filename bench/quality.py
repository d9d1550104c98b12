"""How much of what answers a question is found: every recipe, and what each group of features is worth.

Conversations with questions whose evidence is known are remembered by a service and every question is asked over HTTP,
by every recipe; each is compared with the better single arm, question by question. With --leave-one-out the ranker that
answers for a conversation was trained on all others and is served by an API of its own; with --without, each group of
features is left out of that training in turn.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from bench import options
from bench.asking import METRICS, Answered, ask, difference, mean
from bench.client import client_of
from bench.conversations import CATEGORIES, Conversation, read_collection
from bench.gather import Gathered, Judged, load
from bench.made import made as made_collections
from bench.report import CannotMeasure, Report, new_report, percentile, print_table
from bench.service import Service, api_beside, named, service_at
from bench.train import Data, Made, Run, gathered, offline, reranker_says, write
from bench.training import folds, train_both
from reverie.core.config import load_settings
from reverie.recall.features import GROUPS
from reverie.recall.recipes import RecipeName

SINGLE: Final[tuple[RecipeName, ...]] = ("vector", "lexical")
"""One arm alone: what every recipe is compared with."""

RECIPES: Final[tuple[RecipeName, ...]] = get_args(RecipeName)

Table = dict[str, list[Answered]]


@dataclass(slots=True)
class Measured:
    """Every question's answers by what answered them, and the questions as the ranker sees them."""

    answers: Table = field(default_factory=dict)
    rows: list[Gathered] = field(default_factory=list)


def quality(
    data: Data,
    recipe: Annotated[list[str] | None, typer.Option(help="Only these recipes, beside the single arms.")] = None,
    leave_out: Annotated[bool, typer.Option("--leave-one-out", help="Train, serve and ask each fold.")] = False,
    without: Annotated[bool, typer.Option("--without", help="Also leave out each group of features.")] = False,
    made: Made = True,
    run: Run = None,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
) -> None:
    """Measures what recall finds.

    Example: bench/quality --data locomo.json --data beam.json --leave-one-out
    """
    recipes = _recipes(recipe)
    report = new_report("quality", {"data": [path.name for path in data], "recipes": recipes})
    conversations = [one for path in data for one in read_collection(path)]
    with service_at(named(url, key, database_url)) as service:
        report.ask_versions(service.database_url)
        found = _measure(service, run, conversations, recipes, leave_out=leave_out or without, made=made)
    collections = list(dict.fromkeys(one.collection for one in conversations))
    for collection in collections:
        _show(report, collection, found.answers)
    if without:
        show_without(report, found.rows)
    options.finish(report, json, check=False)


def _recipes(given: list[str] | None) -> list[RecipeName]:
    wanted = [name for name in RECIPES if name in (given or RECIPES) or name in SINGLE]
    if unknown := [name for name in given or [] if name not in RECIPES]:
        raise CannotMeasure(f"There is no recipe {unknown[0]}: --recipe takes {', '.join(RECIPES)}.")
    return wanted


def _measure(
    service: Service,
    run: str | None,
    conversations: Sequence[Conversation],
    recipes: list[RecipeName],
    *,
    leave_out: bool,
    made: bool,
) -> Measured:
    found = Measured()
    with options.progress() as begin, client_of(service) as client:
        if run is None:
            run = "quality"
            load(client, run, conversations, begin("remember", sum(len(one.traces) for one in conversations)))
        for recipe in recipes:
            advance = begin(f"ask, {recipe}", sum(len(one.questions) for one in conversations))
            found.answers[recipe] = ask(client, run, conversations, recipe, advance)
    if leave_out:
        more = made_collections() if made else []
        with client_of(service) as client, options.progress() as begin:
            load(client, run, more, begin("remember more", sum(len(one.traces) for one in more)))
        found.rows = gathered(service, run, [*conversations, *more])
        said = reranker_says(service, conversations, found.rows) if "thorough" in recipes else {}
        found.answers |= _folds(service, run, conversations, found.rows, said)
    return found


def _folds(
    service: Service, run: str, conversations: Sequence[Conversation], rows: Sequence[Gathered], said: Judged
) -> Table:
    """The answers of APIs whose rankers have not seen the conversation they are asked about."""
    recipes: list[RecipeName] = ["balanced", "thorough"] if said else ["balanced"]
    answers: Table = {f"{recipe}, left out": [] for recipe in recipes}
    most = load_settings().rerank_candidates
    with tempfile.TemporaryDirectory(prefix="reverie-rankers-") as folder, options.progress() as begin:
        advance = begin("leave one out", sum(len(one.questions) for one in conversations) * len(recipes))
        for held, others in folds(rows):
            write(train_both(others, said, most), Path(folder))
            asked = [one for one in conversations if (one.collection, one.name) == held[0].question[:2]]
            with api_beside(service, MEMORY_RANKER=folder) as api, client_of(api) as client:
                for recipe in recipes:
                    answers[f"{recipe}, left out"] += ask(client, run, asked, recipe, advance)
    return answers


def _show(report: Report, collection: str, answers: Table) -> None:
    of = {name: [row for row in rows if row.collection == collection] for name, rows in answers.items()}
    table = []
    for name, rows in of.items():
        values = {metric: mean(rows, metric) for metric in METRICS}
        by_kind = {
            kind: mean([row for row in rows if row.category == number], "R@10") for number, kind in CATEGORIES.items()
        }
        milliseconds = percentile([row.seconds * 1000 for row in rows], 50)
        report.rows.append(
            {"collection": collection, "by": name, "questions": len(rows), "p50_ms": milliseconds}
            | values | {f"R@10 {kind}": value for kind, value in by_kind.items()}
            | {"answers": [row.row() for row in rows]}
        )  # fmt: skip
        shown = [f"{value:.3f}" for value in (*values.values(), *by_kind.values())]
        table.append([name, str(len(rows)), *shown, f"{milliseconds:.1f}"])
    kinds = [f"R@10 {kind}" for kind in CATEGORIES.values()]
    print_table([collection, "n", *METRICS, *kinds, "p50 ms"], table, "What is found")
    _show_gains(report, collection, of)


def _show_gains(report: Report, collection: str, answers: Table) -> None:
    best = max(SINGLE, key=lambda name: mean(answers[name], "R@10"))
    table = []
    for name, rows in answers.items():
        if name in SINGLE:
            continue
        cells = [name]
        for metric in METRICS:
            gain, low, high = difference(rows, answers[best], metric)
            report.rows.append(
                {"collection": collection, "by": name, "than": best, "metric": metric, "gain": gain}
                | {"low": low, "high": high}
            )
            cells.append(f"{gain:+.3f} ({low:+.3f} to {high:+.3f})")
        table.append(cells)
    print_table([f"{collection}: more than {best} alone", *METRICS], table, "Differences with their 95 % intervals")


def show_without(report: Report, rows: Sequence[Gathered]) -> None:
    """What a ranker that has not seen the conversation finds, with all features and without each group."""
    table = []
    for name in (None, *GROUPS):
        left = [row.without(GROUPS[name]) if name else row for row in rows]
        for collection, found in offline(left).items():
            values = {metric: mean(found, metric) for metric in METRICS}
            report.rows.append({"collection": collection, "without": name} | values)
            shown = [f"{value:.3f}" for value in values.values()]
            table.append([f"{collection}, without {name}" if name else f"{collection}, all", *shown])
    print_table(["leave one conversation out", *METRICS], table, "What each group of features is worth")


if __name__ == "__main__":
    options.run(quality)
