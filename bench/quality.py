"""How much of what answers a question is found: every recipe, and what each of its parts is worth.

Conversations with questions whose evidence is known are remembered by a service and every question is asked over HTTP,
by every recipe; each is compared with the better single arm, question by question. With --leave-one-out the ranker that
answers for a conversation was trained on all others and is served by an API of its own. With --without each arm, prior
and group of features is left out in turn, with --heads each head is compared alone and beside ``semantic``, and
--model, given several times, has everything remembered by several models. With --dreamt all nights are dreamt before
anything is asked, and with --leave-one-out too it is said what they add (`bench/dreamt.py`).
"""

import os
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from bench import options
from bench.asking import METRICS, Answered, ask, difference, mean
from bench.client import client_of
from bench.conversations import CATEGORIES, Conversation, read_collection
from bench.dreamt import measure_nights
from bench.gather import Gathered, Judged, dream, load
from bench.made import made as made_collections
from bench.parts import measure_heads, measure_parts
from bench.report import Bar, CannotMeasure, Report, Spread, new_report, percentile, print_table
from bench.service import Service, api_beside, named, service_at
from bench.train import Data, Made, Run, gathered, reranker_says, write
from bench.training import FOLDS, folds, train_both
from reverie.core.config import load_settings
from reverie.core.kinds import HEADS
from reverie.recall.recipes import RecipeName

SINGLE: Final[tuple[RecipeName, ...]] = ("vector", "lexical")
"""One arm alone: what every recipe is compared with."""

LEARNED: Final[tuple[RecipeName, ...]] = ("balanced", "thorough")
"""The recipes that rankers weigh."""

RECIPES: Final[tuple[RecipeName, ...]] = get_args(RecipeName)

PATIENT: Final = {
    "MEMORY_RECALL_TIMEOUT_SECONDS": "60", "RERANK_SECONDS": "60", "REDIS_TIMEOUT_SECONDS": "60",
}  # fmt: skip
"""What is found must not depend on what else the machine does; a service that is named needs them of its own."""

LEFT_OUT: Final = ", left out"
"""Behind the name of a recipe whose ranker has not seen the conversation."""

Table = dict[str, list[Answered]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured. ``folds`` is None for a fold of its own for each conversation; ``kept`` a file;
    ``seeds`` are of the rankers that are compared where nights were ``dreamt``."""

    recipes: list[RecipeName]
    leave_out: bool
    folds: int | None
    shipped: bool
    without: bool
    heads: bool
    made: bool
    kept: Path | None
    dreamt: bool
    seeds: int


@dataclass(slots=True)
class Learning:
    """The questions as the ranker sees them, and what the reranker says of their candidates."""

    rows: list[Gathered] = field(default_factory=list)
    said: Judged = field(default_factory=dict)


def quality(
    data: Data,
    recipe: Annotated[list[str] | None, typer.Option(help="Only these recipes, beside the single arms.")] = None,
    leave_out: Annotated[bool, typer.Option("--leave-one-out", help="Train, serve and ask each fold.")] = False,
    fold_count: Annotated[
        int | None, typer.Option("--folds", min=2, help="Leave several conversations out together: so many times.")
    ] = None,
    shipped: Annotated[bool, typer.Option(help="Also ask with the rankers that the service has.")] = True,
    without: Annotated[
        bool, typer.Option("--without", help="Leave out each arm, prior and group of features.")
    ] = False,
    heads: Annotated[bool, typer.Option("--heads", help="Compare all heads: alone, and beside semantic.")] = False,
    model: Annotated[list[str] | None, typer.Option(help="Remember by this EMBEDDING_MODEL; once for each.")] = None,
    made: Made = True,
    dreamt: Annotated[
        bool, typer.Option("--dreamt", help="Dream all nights first; with --leave-one-out also say what they add.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Rankers of each fold that are compared for --dreamt.")] = 4,
    kept: Annotated[
        Path | None, typer.Option(help="Keep what rankers learn from in this file; if it is there, it is read.")
    ] = None,
    run: Run = None,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    redis_url: Annotated[str | None, typer.Option(help="Its Redis, for the APIs of --leave-one-out.")] = None,
    json: options.Json = None,
    check: options.Check = False,
) -> None:
    """Measures what recall finds.

    Example: bench/quality --data locomo.json --data beam.json --leave-one-out
    """
    wanted = Wanted(_recipes(recipe), leave_out, fold_count, shipped, without, heads, made, kept, dreamt, seeds)
    place = named(url, key, database_url, redis_url)
    if place is not None and len(model or []) > 1:
        raise CannotMeasure("A service that is named has one model: measure the others without --url.")
    report = new_report("quality", {"data": [path.name for path in data], "recipes": wanted.recipes, "models": model})
    conversations = [one for path in data for one in read_collection(path)]
    tables: dict[str | None, Table] = {}
    models: list[str | None] = [*model] if model else [None]
    for one in models:
        with _environment(one, heads=heads), service_at(place, **PATIENT) as service:
            report.ask_versions(service.database_url)
            tables[one] = _measure(report, service, run, conversations, wanted)
    for collection in dict.fromkeys(one.collection for one in conversations):
        _show(report, collection, tables)
    report.print_bars()
    options.finish(report, json, check=check)


def _recipes(given: list[str] | None) -> list[RecipeName]:
    wanted = [name for name in RECIPES if name in (given or RECIPES) or name in SINGLE]
    if unknown := [name for name in given or [] if name not in RECIPES]:
        raise CannotMeasure(f"There is no recipe {unknown[0]}: --recipe takes {', '.join(RECIPES)}.")
    return wanted


@contextmanager
def _environment(model: str | None, *, heads: bool) -> Iterator[None]:
    """The settings under which conversations are remembered, here and in the services that are started."""
    chosen = {"EMBEDDING_MODEL": model, "MEMORY_HEADS": ",".join(HEADS) if heads else None}
    before = dict(os.environ)
    os.environ.update({name: value for name, value in chosen.items() if value is not None})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _measure(
    report: Report, service: Service, run: str | None, conversations: Sequence[Conversation], wanted: Wanted
) -> Table:
    more = made_collections() if wanted.made and (wanted.leave_out or wanted.without or wanted.heads) else []
    everything = [*conversations, *more]
    with options.progress() as begin, client_of(service) as client:
        if run is None:
            run = "quality"
            load(client, run, everything, begin("remember", sum(len(one.traces) for one in everything)))
        if wanted.dreamt:
            dream(service, client, run, everything, begin("dream", len(everything)))
        found: Table = {}
        for recipe in wanted.recipes:
            if wanted.shipped or recipe in SINGLE:
                advance = begin(f"ask, {recipe}", sum(len(one.questions) for one in conversations))
                found[recipe] = ask(client, run, conversations, recipe, advance)
    if wanted.leave_out or wanted.without:
        learning = _learning(service, run, conversations, everything, wanted)
        if wanted.leave_out:
            found |= _folds(service, run, conversations, learning, wanted)
            if wanted.dreamt:
                measure_nights(report, learning.rows, wanted.seeds, wanted.folds or FOLDS)
        if wanted.without:
            measure_parts(report, service, run, conversations, more, learning.said)
    if wanted.heads:
        measure_heads(report, service, run, conversations, more)
    return found


def _learning(
    service: Service, run: str, conversations: Sequence[Conversation], everything: Sequence[Conversation],
    wanted: Wanted,
) -> Learning:  # fmt: skip
    if wanted.kept is not None and wanted.kept.exists():
        return _kept(wanted.kept)
    rows = gathered(service, run, everything, dreamt=wanted.dreamt)
    found = Learning(rows)
    if "thorough" in wanted.recipes:
        for some in (rows, [row.with_night() for row in rows]) if wanted.dreamt else (rows,):
            found.said = reranker_says(service, conversations, some, found.said)
    if wanted.kept is not None:
        wanted.kept.write_bytes(pickle.dumps((found.rows, found.said)))
    return found


def _kept(path: Path) -> Learning:
    try:
        # Whoever measures names a file of their own.
        rows, said = pickle.loads(path.read_bytes())  # noqa: S301
    except (pickle.UnpicklingError, AttributeError, ValueError, EOFError) as error:
        raise CannotMeasure(f"{path} is no file that --kept has made ({type(error).__name__}).") from None
    return Learning(rows, said)


def _folds(
    service: Service, run: str, conversations: Sequence[Conversation], learning: Learning, wanted: Wanted
) -> Table:
    """The answers of APIs whose rankers have not seen the conversation they are asked about."""
    recipes = [recipe for recipe in LEARNED if recipe == "balanced" or learning.said]
    answers: Table = {f"{recipe}{LEFT_OUT}": [] for recipe in recipes}
    candidates = load_settings().rerank_candidates
    with tempfile.TemporaryDirectory(prefix="reverie-rankers-") as folder, options.progress() as begin:
        advance = begin("leave one out", sum(len(one.questions) for one in conversations) * len(recipes))
        for held, others in folds(learning.rows, wanted.folds):
            write(train_both(others, learning.said, candidates), Path(folder))
            if wanted.dreamt:
                write(train_both([row.with_night() for row in others], learning.said, candidates), Path(folder))
            left = {row.question[:2] for row in held}
            asked = [one for one in conversations if (one.collection, one.name) in left]
            with api_beside(service, **PATIENT, MEMORY_RANKER=folder) as api, client_of(api) as client:
                for recipe in recipes:
                    answers[f"{recipe}{LEFT_OUT}"] += ask(client, run, asked, recipe, advance)
    return answers


def _show(report: Report, collection: str, tables: Mapping[str | None, Table]) -> None:
    named_models = len(tables) > 1
    table, everyone = [], []
    for model, answers in tables.items():
        of = {
            f"{name}, {model}" if named_models else name: [row for row in rows if row.collection == collection]
            for name, rows in answers.items()
        }
        table += [_found(report, collection, name, rows) for name, rows in of.items()]
        everyone.append(of)
    kinds = [f"R@10 {kind}" for kind in CATEGORIES.values()]
    print_table([collection, "n", *METRICS, *kinds, "p50 ms"], table, "What is found")
    for of in everyone:
        _show_gains(report, collection, of)


def _found(report: Report, collection: str, name: str, rows: Sequence[Answered]) -> list[str]:
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
    return [name, str(len(rows)), *shown, f"{milliseconds:.1f}"]


def _show_gains(report: Report, collection: str, answers: Mapping[str, Sequence[Answered]]) -> None:
    best = max((name for name in answers if _is_single(name)), key=lambda name: mean(answers[name], "R@10"))
    table = []
    for name, rows in answers.items():
        if _is_single(name):
            continue
        cells = [name]
        for metric in METRICS:
            gain, low, high = difference(rows, answers[best], metric)
            report.rows.append(
                {"collection": collection, "by": name, "than": best, "metric": metric, "gain": gain}
                | {"low": low, "high": high}
            )
            cells.append(f"{gain:+.3f} ({low:+.3f} to {high:+.3f})")
            if metric == "R@10" and name.split(",")[0] in LEARNED:
                what = f"{collection}, {name}: R@10 more than {best}"
                report.bars.append(Bar(what, gain, "at least", 0, spread=Spread(gain, low, high)))
        table.append(cells)
    print_table([f"{collection}: more than {best} alone", *METRICS], table, "Differences with their 95 % intervals")


def _is_single(name: str) -> bool:
    return name.split(",")[0] in SINGLE


if __name__ == "__main__":
    options.run(quality)
