"""How well the night tells what a newer statement takes the place of from what only looks so.

Pairs of statements of which it is known (``tests/dream/supersede_cases.json``, written before the first rule was) are
judged by the rules: one half was looked at while the rules were made, the other was kept for the final figure. With
``--data`` the edges that the rules make in conversations are printed too, each conversation as the notes of one user;
with ``--recall`` a service remembers these, dreams every night of them, and is asked their questions with the marks and
without: none may push evidence out of the first ten.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import typer

from bench import options
from bench.conversations import Conversation, read_collection
from bench.marks import FIRST, recalled
from bench.report import Bar, CannotMeasure, Report, new_report, print_table
from bench.service import service_at
from reverie.dream.supersede import UNHEARD, Told, edges_of
from reverie.text.statements import Statement, statements
from reverie.text.updates import update_of

CASES: Final = Path(__file__).parents[1] / "tests/dream/supersede_cases.json"
PRECISION: Final = 0.9
RECALL: Final = 0.5
SHOWN: Final = 600
"""Characters that are printed of a text."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How often the rules were right: of pairs that are updates, and of others."""

    pairs: int
    found: int
    missed: int
    wrong: int

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.wrong)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)


@dataclass(frozen=True, slots=True)
class Found:
    """An edge that the rules make: external ids, texts, days between them, and what both are about."""

    conversation: str
    speaker: str
    older: str
    newer: str
    days: float
    about: str
    older_text: str
    newer_text: str


Half = Annotated[str, typer.Option("--half", help="develop, kept, or both halves of the pairs.")]
Data = Annotated[list[Path] | None, typer.Option("--data", exists=True, help="Conversations whose edges are printed.")]
Most = Annotated[int, typer.Option("--most", min=0, help="Edges that are printed, drawn evenly from all.")]


Recall = Annotated[bool, typer.Option("--recall", help="Have a service dream, and ask with the marks and without.")]


def supersede(
    half: Half = "both",
    data: Data = None,
    most: Most = 50,
    recall: Recall = False,
    json: options.Json = None,
    check: options.Check = False,
) -> None:
    """Measure what is seen as an update or a contradiction."""
    report = new_report("supersede", {"half": half, "data": [*map(str, data or [])]})
    for name in ("develop", "kept"):
        if half in (name, "both"):
            one = judged(read_cases(name))
            report.rows.append({"half": name, "precision": one.precision, "recall": one.recall} | asdict(one))
            report.bars.append(Bar(f"precision, {name} half", one.precision, "at least", PRECISION))
            report.bars.append(Bar(f"recall, {name} half", one.recall, "at least", RECALL))
    if not report.rows:
        raise CannotMeasure("--half takes develop, kept or both.")
    print_table(
        ["half", "pairs", "found", "missed", "wrong", "precision", "recall"],
        [
            [
                row["half"], *(str(row[name]) for name in ("pairs", "found", "missed", "wrong")),
                *(f"{row[name]:.2f}" for name in ("precision", "recall")),
            ]
            for row in report.rows
        ],
        "Pairs of statements",
    )  # fmt: skip
    conversations = [one for path in data or [] for one in read_collection(path)]
    edges = [edge for one in conversations for edge in edges_in(one)]
    if recall:
        _show_recall(report, conversations)
    if data:
        typer.echo(f"{len(edges)} edges.")
        _print(edges[:: max(1, -(-len(edges) // max(1, most)))])
        report.rows.append({"edges": [asdict(edge) for edge in edges]})
    report.print_bars()
    options.finish(report, json, check)


def read_cases(half: str) -> list[dict[str, Any]]:
    """The pairs of one half."""
    return [case for case in orjson.loads(CASES.read_bytes())["cases"] if case["half"] == half]


def judged(cases: Sequence[dict[str, Any]]) -> Judged:
    """What the rules make of pairs."""
    said = [(case["supersedes"], is_update(case)) for case in cases]
    return Judged(len(said), said.count((True, True)), said.count((True, False)), said.count((False, True)))


def is_update(case: dict[str, Any]) -> bool:
    """Whether the rules see the newer of a pair as an update of the older."""
    newer, older = (_stated(case[which]) for which in ("newer", "older"))
    return update_of(newer, older, float(case["days"])) is not None


def _stated(one: dict[str, Any]) -> list[Statement]:
    return [] if one["speaker"] in UNHEARD else statements(one["text"], one["speaker"])


def edges_in(conversation: Conversation) -> Iterator[Found]:
    """The edges among the turns of a conversation, by the newer."""
    told: list[Told] = []
    for number, trace in enumerate(conversation.traces):
        if trace["role"] not in UNHEARD:
            moment = datetime.fromisoformat(trace["occurred_at"])
            stated = tuple(statements(trace["content"], trace["speaker"]))
            told.append(Told(UUID(int=number), trace["speaker"], moment, moment, stated))
    for edge in edges_of(told, []):
        newer, older = (conversation.traces[one.int] for one in (edge.src, edge.dst))
        between = datetime.fromisoformat(newer["occurred_at"]) - datetime.fromisoformat(older["occurred_at"])
        yield Found(
            conversation.name, newer["speaker"], older["external_id"], newer["external_id"],
            between.total_seconds() / 86_400, edge.meta["about"], older["content"], newer["content"],
        )  # fmt: skip


def _show_recall(report: Report, conversations: Sequence[Conversation]) -> None:
    """Asks the questions of conversations with marks and without."""
    if not conversations:
        raise CannotMeasure("--recall needs --data.")
    with service_at(None) as service:
        report.ask_versions(service.database_url)
        found = recalled(service, conversations)
    report.rows.append({"recall": asdict(found)})
    typer.echo(
        f"{found.marks} marks; {found.questions} questions, {found.moved} with their first {FIRST} in another order;"
        f" R@{FIRST} {found.r10:.4f} with marks, {found.r10_without:.4f} without."
    )
    for conversation, question, gone in found.lost:
        typer.echo(f"   lost by a mark: {gone} of {conversation}, “{question}”")
    report.bars.append(Bar(f"evidence pushed out of the first {FIRST}", len(found.lost), "at most", 0))


def _print(edges: Sequence[Found]) -> None:
    for number, edge in enumerate(edges, 1):
        typer.echo(f"\n{number}. {edge.conversation} {edge.older} → {edge.newer}, {edge.speaker}: {edge.about}")
        typer.echo(f"   before: {edge.older_text[:SHOWN]}\n   after {edge.days:.0f} days: {edge.newer_text[:SHOWN]}")


if __name__ == "__main__":
    options.run(supersede)
