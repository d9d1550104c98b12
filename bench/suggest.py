"""How well a note's suggestions tell what belongs together, and what they take.

Every turn of conversations is remembered as a note of one user, in order, with `suggest`. Two turns belong together
where they are evidence of one question, or stand in one session; neither is told to the service. The share of
suggestions that belong to their note stands beside that of as many plain neighbours: the older turns whose vectors are
nearest. Then two users get the same notes, one with suggestions and one without, in windows that take turns.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from bench import options
from bench.client import client_of
from bench.conversations import Conversation, read_collection
from bench.dream import interval
from bench.report import Bar, CannotMeasure, Report, Spread, new_report, percentile, print_table
from bench.service import Service, service_at
from reverie.core.config import load_settings
from reverie.embedding.heads import semantic_text
from reverie.embedding.protocol import FloatArray
from reverie.embedding.registry import build_embedder

WANTED: Final = 5
MOST_SLOWER: Final = 1.5
LEAST_OLDER: Final = 20
"""Notes before a user has so many traces are not judged: there is little to choose from."""

ROUNDS, WINDOWS, WINDOW = 5, 6, 10
BEFORE: Final = 400
"""Notes that both users have before anything is timed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A note: shares of its suggestions, and of as many plain neighbours, that belong to it; ``hit``: whether any does.

    ``evidence`` is None of a note that is evidence with no older turn.
    """

    evidence: tuple[float, float] | None
    hit: tuple[bool, bool] | None
    session: tuple[float, float]
    either: tuple[float, float]


Data = Annotated[list[Path], typer.Option("--data", exists=True, help="Conversations whose questions have evidence.")]
Conversations = Annotated[int, typer.Option("--conversations", min=1, help="So many of them at most.")]
Timed = Annotated[bool, typer.Option("--timed/--untimed", help="Whether it is measured how long it takes.")]


def suggest(
    data: Data,
    conversations: Conversations = 1000,
    timed: Timed = True,
    quick: options.Quick = False,
    json: options.Json = None,
    check: options.Check = False,
) -> None:
    """Measure what notes suggest, and how long that takes."""
    report = new_report("suggest", {"data": [*map(str, data)], "quick": quick})
    talks = [one for path in data for one in read_collection(path)][: 1 if quick else conversations]
    if not talks:
        raise CannotMeasure("--data has no conversations.")
    if quick:
        talks = [_cut(talks[0], 60)]
    with service_at(None) as service, options.progress() as begin:
        report.ask_versions(service.database_url)
        advance = begin("Notes", sum(len(one.traces) for one in talks))
        found = [judged for talk in talks for judged in _judged(service, talk, advance)]
        _show(report, found)
        if timed:
            advance = begin("Time", 1)
            _time(report, service, talks, quick=quick)
    report.print_bars()
    options.finish(report, json, check)


def _cut(talk: Conversation, most: int) -> Conversation:
    return Conversation(talk.name, talk.collection, talk.traces[:most], talk.questions)


def note_of(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn as a note: without its conversation, which would tell what stands beside it."""
    return {name: turn[name] for name in ("content", "speaker", "external_id", "occurred_at")} | {"kind": "note"}


def partners(talk: Conversation) -> dict[str, set[str]]:
    """External id → those that are evidence of a question with it."""
    found: dict[str, set[str]] = defaultdict(set)
    for question in talk.questions:
        for one in question.evidence:
            found[one] |= question.evidence - {one}
    return found


def _judged(service: Service, talk: Conversation, advance: Callable[[int], Any]) -> Iterator[Judged]:
    ids: dict[str, str] = {}
    suggested: list[list[str]] = []
    with client_of(service) as client:
        for turn in talk.traces:
            answer = client.suggest(talk.name, note_of(turn), WANTED)
            ids[answer["trace_id"]] = turn["external_id"]
            suggested.append([ids[one["trace_id"]] for one in answer["suggestions"] if one["kind"] != "entity"])
            advance(1)
    yield from judged(talk, suggested, nearest(vectors(talk), WANTED))


def vectors(talk: Conversation) -> FloatArray:
    """The vectors of the turns of a conversation, as the service makes them, a row each."""
    embedder = build_embedder(load_settings())
    try:
        texts = [semantic_text(turn["content"], turn["speaker"]) for turn in talk.traces]
        return np.concatenate([embedder.encode_documents(texts[at : at + 16]) for at in range(0, len(texts), 16)])
    finally:
        embedder.close()


def nearest(rows: FloatArray, most: int) -> list[list[int]]:
    """Of each row the earlier ones with the greatest cosine, best first."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    return [np.argsort(-cosines[at, :at], kind="stable")[:most].tolist() for at in range(len(rows))]


def judged(talk: Conversation, suggested: Sequence[Sequence[str]], plain: Sequence[Sequence[int]]) -> Iterator[Judged]:
    """What suggestions, by external ids, and plain neighbours, by places, have to do with each note."""
    together, place = partners(talk), {turn["external_id"]: at for at, turn in enumerate(talk.traces)}
    for at, turn in enumerate(talk.traces):
        if at < LEAST_OLDER or not suggested[at]:
            continue
        mine, session = together[turn["external_id"]], turn["conversation_id"]
        sides = (suggested[at], [talk.traces[one]["external_id"] for one in plain[at][: len(suggested[at])]])
        evidence = tuple(_share([one in mine for one in side]) for side in sides)
        same = tuple(_share([talk.traces[place[one]]["conversation_id"] == session for one in side]) for side in sides)
        either = tuple(
            _share([one in mine or talk.traces[place[one]]["conversation_id"] == session for one in side])
            for side in sides
        )
        asked = any(place[one] < at for one in mine)
        yield Judged(
            (evidence[0], evidence[1]) if asked else None,
            (evidence[0] > 0, evidence[1] > 0) if asked else None,
            (same[0], same[1]), (either[0], either[1]),
        )  # fmt: skip


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def _show(report: Report, found: Sequence[Judged]) -> None:
    measured: dict[str, list[tuple[float, float]]] = {
        "in one evidence set": [one.evidence for one in found if one.evidence is not None],
        "notes with such a one": [(float(a), float(b)) for a, b in (one.hit for one in found if one.hit is not None)],
        "in the same session": [one.session for one in found],
        "either": [one.either for one in found],
    }
    rows = []
    for name, pairs in measured.items():
        if not pairs:
            continue
        sides = [interval([pair[side] for pair in pairs]) for side in (0, 1)]
        more = interval([ours - plain for ours, plain in pairs])
        rows.append([name, str(len(pairs)), *map(_shown, (*sides, more))])
        report.rows.append({"measured": name, "notes": len(pairs), "suggested": sides[0], "plain": sides[1]})
        if name == "in one evidence set":
            report.bars.append(Bar("suggestions in one evidence set, more than plain", more[0], "at least", 0))
    columns = ["share of suggestions", "notes", "suggested", "plain neighbours", "difference"]
    print_table(columns, rows, "What is suggested, with 95 % intervals")


def _shown(one: tuple[float, float, float]) -> str:
    return f"{one[0]:.3f} ({one[1]:.3f}–{one[2]:.3f})"


def _time(report: Report, service: Service, talks: Sequence[Conversation], *, quick: bool) -> None:
    """The same notes for two users, one with suggestions, in windows that take turns."""
    rounds, windows, window, before = (2, 2, 3, 20) if quick else (ROUNDS, WINDOWS, WINDOW, BEFORE)
    texts = [note_of(turn) for talk in talks for turn in talk.traces]
    # Said twice if need be, as other notes.
    wanted = before + rounds * windows * window
    notes = [
        note | {"external_id": f"timed {at}", "content": f"{note['content']} ({at})"}
        for at, note in enumerate((texts * -(-wanted // len(texts)))[:wanted])
    ]
    ratios: list[float] = []
    taken: dict[int, list[float]] = {0: [], WANTED: []}
    with client_of(service) as client:
        for user in ("timed 0", f"timed {WANTED}"):
            for at in range(0, before, 50):
                client.remember(user, notes[at : min(before, at + 50)])
        rest = iter(notes[before:])
        for number in range(rounds):
            round_: dict[int, list[float]] = {0: [], WANTED: []}
            for turn in range(windows):
                part = [next(rest) for _ in range(window)]
                for k in (0, WANTED) if (number + turn) % 2 else (WANTED, 0):
                    for note in part:
                        began = time.perf_counter()
                        client.suggest(f"timed {k}", note, k)
                        round_[k].append(time.perf_counter() - began)
            ratios.append(percentile(round_[WANTED], 95) / percentile(round_[0], 95))
            for k, seconds in round_.items():
                taken[k] += seconds
    rows = [
        [f"suggest={k}", *(f"{percentile(taken[k], p) * 1000:.1f} ms" for p in (50, 95))] for k in (0, WANTED)
    ]  # fmt: skip
    print_table(["a remember with", "p50", "p95"], rows, f"{len(taken[0])} notes each")
    report.rows.append({"milliseconds": {str(k): [one * 1000 for one in values] for k, values in taken.items()}})
    typer.echo(f"p95 with to without, of each of {rounds} rounds: {Spread.of(ratios).shown(2)}")
    ratio = percentile(taken[WANTED], 95) / percentile(taken[0], 95)
    report.rows.append({"p95_ratio": ratio, "p95_ratio_rounds": ratios})
    report.bars.append(Bar("p95 with suggestions to without", ratio, "at most", MOST_SLOWER, "x"))


if __name__ == "__main__":
    options.run(suggest)
