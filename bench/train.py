"""Trains the rankers that recall weighs candidates by, and says what it finds in conversations it has not seen.

Conversations with questions whose evidence is known are remembered by a service, every question's candidates are
gathered by the code that serves a recall, and gradient-boosted trees learn to put the evidence first. The table
compares what the arms alone would put first with rankers that have not seen the conversation they are asked about.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench import options
from bench.asking import METRICS, answered, mean
from bench.cases import cases_of
from bench.client import client_of
from bench.conversations import Conversation, read_collection
from bench.gather import Gathered, Judged, dream, gather, judge, load
from bench.made import MADE
from bench.made import made as made_collections
from bench.report import Report, new_report, print_table
from bench.service import Service, named, service_at
from bench.training import Trained, likely, to_onnx, train_both, unseen
from reverie.core.config import load_settings
from reverie.recall.ranker import CARRIED, MADE_FOR

Data = Annotated[list[Path], typer.Option("--data", help="A collection of conversations; give it once for each.")]
Run = Annotated[str | None, typer.Option(help="The name under which a named service has them already.")]
Out = Annotated[Path, typer.Option(help="The folder where the rankers go.")]
Dreamt = Annotated[bool, typer.Option("--dreamt", help="Of the night: dream the conversations before they are asked.")]
Made = Annotated[bool, typer.Option(help="Learn from questions made by program, too.")]


def train_rankers(
    data: Data,
    out: Out = CARRIED,
    made: Made = True,
    dreamt: Dreamt = False,
    run: Run = None,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
) -> None:
    """Trains the rankers of the recipes `balanced` and `thorough`; with --dreamt those for whom nights were dreamt.

    Example: bench/train --data locomo.json --data beam.json
    """
    report = new_report("train", {"data": [path.name for path in data], "made": made, "dreamt": dreamt})
    conversations = [one for path in data for one in read_collection(path)] + (made_collections() if made else [])
    with service_at(named(url, key, database_url)) as service:
        report.ask_versions(service.database_url)
        rows = gathered(service, run, conversations, dreamt=dreamt)
        rows = [row.with_night() for row in rows] if dreamt else rows
        compare(report, rows)
        said = reranker_says(service, conversations, rows)
        rankers = train_both(rows, said, load_settings().rerank_candidates)
    write(rankers, out)
    for name in rankers:
        print(f"{out / name}.onnx: {(out / name).with_suffix('.onnx').stat().st_size:,} bytes")
    options.finish(report, json, check=False)


def write(rankers: dict[str, Trained], folder: Path) -> None:
    """Writes rankers where the service looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, ranker in rankers.items():
        (folder / f"{name}.onnx").write_bytes(to_onnx(ranker, MADE_FOR[name]))


def gathered(
    service: Service, run: str | None, conversations: Sequence[Conversation], *, dreamt: bool = False
) -> list[Gathered]:
    """The candidates of every question; conversations are remembered first where ``run`` does not name them, and
    ``dreamt`` as far as they are not yet."""
    with options.progress() as begin, client_of(service) as client:
        if run is None:
            run = "train"
            load(client, run, conversations, begin("remember", sum(len(one.traces) for one in conversations)))
        if dreamt:
            dream(service, client, run, conversations, begin("dream", len(conversations)))
        advance = begin("gather", sum(len(one.questions) for one in conversations))
        return asyncio.run(gather(service, run, cases_of(conversations), "balanced", advance, dreamt=dreamt))


def reranker_says(
    service: Service, conversations: Sequence[Conversation], rows: Sequence[Gathered], known: Judged | None = None
) -> Judged:
    """What the reranker says of the best candidates of the questions that people asked, beside what is known."""
    asked = [(row, scores) for row, scores in likely(rows) if not row.collection.startswith(MADE)]
    with options.progress() as begin:
        return asyncio.run(judge(service, conversations, asked, begin("judge", len(asked)), known))


def compare(report: Report, rows: Sequence[Gathered]) -> None:
    """Prints and notes what the arms alone and rankers that have not seen the conversation find."""
    rankers = unseen(rows)
    table = []
    for collection in dict.fromkeys(row.collection for row in rows if not row.collection.startswith(MADE)):
        here = [row for row in rows if row.collection == collection]
        weighed = [answered(row, row.first) for row in here]
        learned = [answered(row, rankers[row.question[:2]].scores(row)) for row in here]
        for name, of in (("arms weighed", weighed), ("ranker", learned)):
            shown = {metric: mean(of, metric) for metric in METRICS}
            report.rows.append({"collection": collection, "by": name, "questions": len(of)} | shown)
            table.append([f"{collection}, {name}", str(len(of)), *(f"{value:.3f}" for value in shown.values())])
    print_table(["conversations left out", "questions", *METRICS], table, "What would be found")


if __name__ == "__main__":
    options.run(train_rankers)
