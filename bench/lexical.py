"""What bounding the lexical arm costs and gains: users of several sizes in one store, against BM25 without a bound.

The texts are words of a made-up language whose frequencies fall as those of real ones do (Zipf's law): a few stand in
every eighth text, most in a handful. What BM25 without a bound finds, and how long that takes, is asked of the same
function in the database, with room for all candidates.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import numpy as np
import psycopg
import typer

from bench import options
from bench.client import Client, client_of
from bench.report import Bar, CannotMeasure, Report, new_report, percentile, print_table
from bench.service import named, service_at
from reverie.recall.lexical import CAP, K1, B

WORDS: Final = 30_000
STEEPNESS: Final = 1.05
FLATTENED: Final = 12
"""Zipf's law as Mandelbrot has it: the word of rank r is as frequent as 1 / (r + FLATTENED) ** STEEPNESS."""

MEDIAN_WORDS: Final = 11
SPREAD: Final = 0.5
"""Of the log-normal that the lengths of texts are drawn from."""

COMMON_RANKS: Final = 60
"""A question of common words alone is of the most frequent so many."""

BATCH: Final = 1000
K: Final = 10
UNBOUNDED: Final = 100_000_000
PATIENCE: Final = 60
"""Seconds for which the background work is waited for."""

KINDS: Final = ("of one text", "of common words")

_EXACT = """
SELECT trace_id::text, score
FROM memory_user u, reverie_bm25(
    ARRAY[u.user_id], tsvector_to_array(to_tsvector('english', %s)), ARRAY[1, 2, 3, 4]::smallint[], null, null, null,
    null, u.traces, u.words, %s, %s, %s, %s)
WHERE u.external_id = %s
"""
_STATISTICS = "SELECT traces, counted FROM memory_user WHERE external_id = %s"
_SPACE = "SELECT space_id::text FROM memory_user WHERE external_id = %s"


class Language:
    """Words and how often each is said; the same seed gives the same."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        rng = np.random.default_rng(seed)
        syllables = [first + second for first in "bdfgklmnprtvz" for second in "aiou"]
        made: dict[str, None] = {}
        while len(made) < WORDS:
            made["".join(rng.choice(syllables, rng.integers(2, 5))) + rng.choice(list("bkmpt"))] = None
        self.words = list(made)
        shares = 1 / (np.arange(WORDS) + FLATTENED) ** STEEPNESS
        self._shares = shares / shares.sum()

    def texts(self, stream: int, count: int) -> list[list[str]]:
        """Texts as lists of words; another ``stream`` is another draw."""
        rng = np.random.default_rng([self._seed, stream])
        lengths = np.clip(rng.lognormal(np.log(MEDIAN_WORDS), SPREAD, count), 3, 60).astype(int)
        drawn = iter(rng.choice(WORDS, lengths.sum(), p=self._shares))
        return [[self.words[next(drawn)] for _ in range(length)] for length in lengths]


@dataclass(slots=True)
class Asked:
    """The questions of one kind to users of one size, and what became of them."""

    questions: list[tuple[str, str]]
    """(user, text)."""

    arm: list[float] = field(default_factory=list)
    """Milliseconds of the arm in the service."""

    whole: list[float] = field(default_factory=list)
    """Milliseconds of the recall over HTTP."""

    unbounded: list[float] = field(default_factory=list)
    """Milliseconds of BM25 without a bound, in the database."""

    recall: list[float] = field(default_factory=list)
    """The share of the exact top ten among the ten that were found."""

    score: list[float] = field(default_factory=list)
    """What the ten that were found score, as a share of what the exact top ten do."""


@dataclass(slots=True)
class Size:
    """The users of one size."""

    name: str
    traces: int
    users: list[str]
    limit_ms: float
    asked: dict[str, Asked] = field(default_factory=dict)


def lexical(
    large: Annotated[int, typer.Option(help="Traces of the large user.")] = 200_000,
    middle: Annotated[int, typer.Option(help="Traces of each of two middle users.")] = 20_000,
    small: Annotated[int, typer.Option(help="Traces of each small user.")] = 1_000,
    users: Annotated[int, typer.Option(help="Small users.")] = 60,
    questions: Annotated[int, typer.Option(help="Questions of each kind for each size.")] = 100,
    seed: int = 1,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """The lexical arm for users of several sizes: its time, and what its bound leaves out of BM25's top ten."""
    if quick:
        large, middle, small, users, questions = 11_000, 600, 60, 2, 5
    language, run = Language(seed), uuid.uuid4().hex[:8]
    sizes = [
        Size("large", large, [f"bench-{run}/large"], 35.0),
        Size("middle", middle, [f"bench-{run}/middle {n}" for n in range(2)], 15.0),
        Size("small", small, [f"bench-{run}/small {n}" for n in range(users)], 2.0),
    ]
    chosen = {"large": large, "middle": middle, "small": small, "users": users, "questions": questions, "cap": CAP}
    report = new_report("lexical", chosen | {"seed": seed, "k": K})
    with ExitStack() as stack:
        begin = stack.enter_context(options.progress())
        begin("Starting the service", 0)
        service = stack.enter_context(service_at(named(url, key, database_url)))
        report.ask_versions(service.database_url)
        client = stack.enter_context(client_of(service))
        if not service.own:
            stack.callback(_forget, client, sizes)
        _load(client, language, sizes, questions, begin)
        with psycopg.connect(service.database_url, autocommit=True) as connection:
            _settle(connection, client, sizes)
            advance = begin("Recalling", sum(len(one.questions) for size in sizes for one in size.asked.values()))
            for size in sizes:
                for one in size.asked.values():
                    _ask(client, connection, one, advance)
    _judge(report, sizes)
    _print(sizes)
    report.print_bars()
    options.finish(report, json, check)


def _load(client: Client, language: Language, sizes: Sequence[Size], questions: int, begin: options.Begin) -> None:
    """Remembers every user's texts, and draws the questions from them."""
    advance = begin("Remembering", sum(size.traces * len(size.users) for size in sizes))
    rng = np.random.default_rng(7)
    for stream, size in enumerate(sizes):
        size.asked = {kind: Asked([]) for kind in KINDS}
        wanted = np.bincount(rng.integers(len(size.users), size=questions), minlength=len(size.users))
        for number, user in enumerate(size.users):
            texts = language.texts(stream * 100_000 + number, size.traces)
            for start in range(0, size.traces, BATCH):
                part = texts[start : start + BATCH]
                client.remember_words(user, [" ".join(words) for words in part])
                advance(len(part))
            for place in rng.integers(size.traces, size=wanted[number]):
                words = texts[place]
                some = rng.choice(words, min(len(words), int(rng.integers(2, 7))), replace=False)
                size.asked[KINDS[0]].questions.append((user, " ".join(some)))
                common = rng.choice(language.words[:COMMON_RANKS], int(rng.integers(1, 4)), replace=False)
                size.asked[KINDS[1]].questions.append((user, " ".join(common)))


def _settle(connection: "psycopg.Connection[Any]", client: Client, sizes: Sequence[Size]) -> None:
    """Has done what the service and PostgreSQL do in the background: the terms of large users counted, a vacuum."""
    connection.execute("VACUUM (ANALYZE) memory_body, memory_trace, memory_user")
    row = connection.execute(_SPACE, (sizes[0].users[0],)).fetchone()
    connection.execute("SELECT set_config('reverie.space', %s, false)", row)
    for user in (user for size in sizes if size.traces > 10 * CAP for user in size.users):
        end = time.monotonic() + PATIENCE
        question = next(q for size in sizes for one in size.asked.values() for who, q in one.questions if who == user)
        while True:
            client.recall_words(user, question, K)
            traces, counted = connection.execute(_STATISTICS, (user,)).fetchone() or (0, 0)
            if counted == traces:
                break
            if time.monotonic() > end:
                raise CannotMeasure(f"The terms of {user} were not counted within {PATIENCE} s.")
            time.sleep(0.2)


def _ask(client: Client, connection: "psycopg.Connection[Any]", asked: Asked, advance: Callable[[int], Any]) -> None:
    for user, question in asked.questions:
        began = time.perf_counter()
        results, milliseconds = client.recall_words(user, question, K)
        asked.whole.append((time.perf_counter() - began) * 1000)
        asked.arm.append(milliseconds)
        began = time.perf_counter()
        rows = connection.execute(_EXACT, (question, UNBOUNDED, UNBOUNDED, K1, B, user)).fetchall()
        asked.unbounded.append((time.perf_counter() - began) * 1000)
        exact = dict(rows)
        found, best = [one["trace_id"] for one in results], list(exact)[:K]
        asked.recall.append(len(set(found) & set(best)) / len(best))
        asked.score.append(sum(exact.get(one, 0.0) for one in found) / sum(exact[one] for one in best))
        advance(1)


def _forget(client: Client, sizes: Sequence[Size]) -> None:
    for size in sizes:
        for user in size.users:
            client.forget(user)


def _judge(report: Report, sizes: Sequence[Size]) -> None:
    report.rows = [
        {
            "size": size.name, "traces": size.traces, "users": len(size.users), "kind": kind,
            "arm_ms": one.arm, "http_ms": one.whole, "unbounded_ms": one.unbounded, "recall_at_10": one.recall,
            "score_share": one.score,
        }
        for size in sizes for kind, one in size.asked.items()
    ]  # fmt: skip
    for size in sizes:
        every = [value for one in size.asked.values() for value in one.arm]
        name = f"{size.traces:,} traces"
        report.bars.append(Bar(f"{name}: p95 of the arm", percentile(every, 95), "at most", size.limit_ms, " ms"))
        found = size.asked[KINDS[0]].recall
        report.bars.append(Bar(f"{name}: recall@10, words of one text", sum(found) / len(found), "at least", 0.95))


def _print(sizes: Sequence[Size]) -> None:
    print_table(
        ["recipe=lexical", "words", "p50 ms", "p95", "HTTP p50", "p95", "unbounded p50", "p95", "recall@10", "score"],
        [
            [
                f"{size.traces:,} traces",
                kind,
                *(f"{percentile(one.arm, share):.1f}" for share in (50, 95)),
                *(f"{percentile(one.whole, share):.1f}" for share in (50, 95)),
                *(f"{percentile(one.unbounded, share):.1f}" for share in (50, 95)),
                f"{sum(one.recall) / len(one.recall):.3f}",
                f"{sum(one.score) / len(one.score):.3f}",
            ]
            for size in sizes
            for kind, one in size.asked.items()
        ],
        f"The arm, the recall, and BM25 without a bound; top {K}",
    )


if __name__ == "__main__":
    options.run(lexical)
