"""Searching cold rows gives what comparing every row by hand gives, within the same bounds."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pytest

from reverie.cold import files, search
from reverie.cold.files import Layout, Reader, Writer, ids_column, vector_column
from reverie.cold.search import Halt, Phrase, Segment, Term, TooLate, Wanted
from reverie.core.ids import uuid7s
from reverie.embedding.codes import quantise, restore
from reverie.embedding.protocol import FloatArray
from reverie.objects.store import Missing, StorageTrouble

DIM = 24
LAYOUT = Layout("a-model", DIM)
BEGIN = datetime(2025, 3, 1, tzinfo=UTC)
ANN, BEN, CAT = (UUID(int=number << 100) for number in (1, 2, 3))
VOCABULARY = [f"w{number}" for number in range(60)]
K1, B = 0.9, 0.4
HEADS = ("semantic", "situation", "entity")


@dataclass(frozen=True)
class Row:
    """A piece of a trace, as the test knows it."""

    user: UUID
    trace: UUID
    piece: int
    kind: str
    happened: datetime
    words: list[str] | None
    vectors: dict[str, FloatArray | None]


def drawn(seed: int, count: int, user: UUID, *, every: int = 5) -> list[Row]:
    """Rows of a user; each so many'th trace has three pieces, and has no vector `entity`."""
    random = np.random.default_rng(seed)
    made: list[Row] = []
    weights = 1 / np.arange(1, len(VOCABULARY) + 1)
    for number in range(count):
        moment = BEGIN + timedelta(minutes=number)
        trace = uuid7s(moment, 1)[0]
        kind = ("turn", "note", "summary")[int(random.integers(3))]
        words = random.choice(VOCABULARY, int(random.integers(1, 14)), p=weights / weights.sum()).tolist()
        happened = moment - timedelta(days=int(random.integers(30)))
        for piece in range(3 if number % every == 0 else 1):
            vectors: dict[str, FloatArray | None] = {
                head: restore(quantise(random.standard_normal((1, DIM)).astype(np.float32)))[0] for head in HEADS
            }
            if number % every == 0:
                vectors["entity"] = None
            made.append(Row(user, trace, piece, kind, happened, words if piece == 0 else None, vectors))
    return made


def table(rows: Sequence[Row]) -> Any:
    """Rows as the columns of a file."""
    moment = pa.timestamp("us", tz="UTC")
    blank = np.ones(DIM, dtype=np.float32)
    heads = {
        head: vector_column(
            quantise(np.array([blank if (v := row.vectors[head]) is None else v for row in rows])),
            np.array([row.vectors[head] is not None for row in rows]),
        )
        for head in HEADS
    }
    texts = {name: pa.nulls(len(rows), pa.string()) for name in ("role", "speaker", "conversation_id", "external_id")}
    return pa.table({
        "user_id": ids_column([row.user for row in rows]),
        "trace_id": ids_column([row.trace for row in rows]),
        "piece": pa.array([row.piece for row in rows], pa.int32()),
        "user": pa.array(["somebody"] * len(rows)),
        "kind": pa.array([row.kind for row in rows]),
        **texts,
        "language": pa.array(["english"] * len(rows)),
        "created_at": pa.array([row.happened for row in rows], moment),
        "happened_at": pa.array([row.happened for row in rows], moment),
        "content": pa.array([None if row.words is None else " ".join(row.words) for row in rows]),
        "begins": pa.nulls(len(rows), pa.int32()),
        "ends": pa.nulls(len(rows), pa.int32()),
        "words": pa.array([row.words for row in rows], pa.list_(pa.string())),
        "word_count": pa.array([None if row.words is None else len(set(row.words)) for row in rows], pa.int32()),
        **heads,
    })  # fmt: skip


def written(path: Path, rows: Sequence[Row]) -> Segment:
    """A file of rows, which are in order."""
    with path.open("wb") as sink:
        writer = Writer(sink, LAYOUT)
        writer.write(table(rows))
        assert writer.close() is not None
    return Segment(uuid4(), len(rows), lambda: Reader(pa.OSFile(str(path))))


@dataclass(frozen=True)
class Store:
    """Files, and the rows that are in each."""

    segments: list[Segment]
    rows: list[list[Row]]
    folder: Path

    def search(self, wanted: Wanted, *, seconds: float = 60, threads: int = search.THREADS) -> search.Found:
        """What a search finds."""
        return search.search(self.segments, wanted, Halt(seconds), threads)

    def of(self, *users: UUID) -> list[tuple[UUID, Row]]:
        """(segment, row) of users."""
        return [
            (segment.id, row)
            for segment, rows in zip(self.segments, self.rows, strict=True)
            for row in rows
            if row.user in users
        ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ann in both of two files, Ben between Ann and Cat in the first."""
    folder = tmp_path_factory.mktemp("cold")
    ann = drawn(1, 900, ANN)
    first = [*ann[:700], *drawn(2, 150, BEN), *drawn(3, 120, CAT)]
    rows = [first, ann[700:]]
    assert ann[699].trace != ann[700].trace
    segments = [written(folder / f"{number}.parquet", some) for number, some in enumerate(rows)]
    return Store(segments, rows, folder)


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    # Several threads even for few rows.
    monkeypatch.setattr(search, "FEW_ROWS", 0)


def question(seed: int = 7) -> FloatArray:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    unit: FloatArray = vector / np.linalg.norm(vector)
    return unit


Fits = Callable[[Row], bool]


def nearest(rows: Sequence[tuple[UUID, Row]], vector: FloatArray, heads: Sequence[str], fits: Fits) -> list[Any]:
    """Every trace with its best piece, best first: (trace, cosine)."""
    best: dict[UUID, float] = {}
    for _, row in rows:
        for head in heads:
            values = row.vectors[head]
            if values is not None and fits(row):
                best[row.trace] = max(best.get(row.trace, -2.0), float(values @ vector))
    return sorted(best.items(), key=lambda one: -one[1])


def bm25(rows: Sequence[tuple[UUID, Row]], terms: Sequence[str], fits: Fits) -> tuple[dict[UUID, float], float]:
    """The score of every trace, and the most there could be."""
    told = [row for _, row in rows if row.words is not None]
    average = sum(len(set(row.words or ())) for row in told) / len(told)
    idf = {
        term: math.log(1 + (len(told) - df + 0.5) / (df + 0.5))
        for term in terms
        for df in [sum(term in (row.words or ()) for row in told)]
    }
    scores: dict[UUID, float] = {}
    for row in told:
        counted = Counter(row.words or ())
        length = len(counted)
        for term in terms:
            if counted[term] and fits(row):
                tf = counted[term]
                part = idf[term] * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length / average))
                scores[row.trace] = scores.get(row.trace, 0.0) + part
    return scores, sum(idf.values()) * (K1 + 1)


def terms_of(*words: str) -> tuple[Term, ...]:
    return tuple(Term(word, place) for place, word in enumerate(words))


@pytest.mark.parametrize("users", [(ANN,), (BEN,), (ANN, CAT)])
@pytest.mark.parametrize("heads", [("semantic",), ("entity",), HEADS])
def test_the_nearest_traces_are_those_of_comparing_every_row(
    store: Store, users: tuple[UUID, ...], heads: tuple[str, ...]
) -> None:
    vector = question()
    found = store.search(Wanted(users, vector, heads)).scan.nearest(40)
    expected = nearest(store.of(*users), vector, heads, lambda _: True)[:40]
    assert [hit.trace_id for hit in found] == [trace for trace, _ in expected]
    assert [hit.score for hit in found] == pytest.approx([cosine for _, cosine in expected], abs=2e-3)
    assert {hit.user_id for hit in found} <= set(users)
    known = {(segment, row.trace, row.piece): row for segment, row in store.of(*users)}
    for hit in found:
        row = known[hit.segment_id, hit.trace_id, hit.piece]
        values = row.vectors[HEADS[hit.head]]
        assert values is not None
        assert float(values @ vector) == pytest.approx(hit.score, abs=2e-3)


@pytest.mark.parametrize("words", [("w1",), ("w3", "w7", "w40"), ("w0", "nobody", "w59"), ("nobody",)])
def test_words_are_scored_by_bm25_over_what_was_read(store: Store, words: tuple[str, ...]) -> None:
    scan = store.search(Wanted((ANN,), terms=terms_of(*words))).scan
    found, most, bonus = scan.likest(50, K1, B)
    scores, expected_most = bm25(store.of(ANN), words, lambda _: True)
    expected = sorted(scores.values(), reverse=True)[:50]
    assert [hit.score for hit in found] == pytest.approx(expected, rel=1e-4)
    assert [hit.score for hit in found] == pytest.approx([scores[hit.trace_id] for hit in found], rel=1e-4)
    assert most == pytest.approx(expected_most, rel=1e-6)
    assert bonus == 0.0


def test_two_stems_of_one_word_count_once_in_what_could_be_had(store: Store) -> None:
    apart = store.search(Wanted((ANN,), terms=(Term("w3", 0), Term("w30", 1)))).scan.likest(5, K1, B).most
    one = store.search(Wanted((ANN,), terms=(Term("w3", 0), Term("w30", 0)))).scan.likest(5, K1, B).most
    rarer = store.search(Wanted((ANN,), terms=(Term("w3", 0),))).scan.likest(5, K1, B).most
    assert one == pytest.approx(rarer)
    assert apart > one


def test_a_phrase_is_words_one_after_the_other_of_one_trace(store: Store) -> None:
    told = {row.trace: row.words for _, row in store.of(ANN) if row.words is not None}
    first, second = next(words for words in told.values() if len(words) > 2)[1:3]
    having = {trace for trace, words in told.items() if (first, second) in pairwise(words)}
    phrases = (Phrase(((first, second), ("no", "such")), 1.0), Phrase((("not", "there"),), 0.15))
    terms = terms_of(first, second)
    found, most, bonus = store.search(Wanted((ANN,), terms=terms, phrases=phrases)).scan.likest(900, K1, B)
    plain = store.search(Wanted((ANN,), terms=terms)).scan.likest(900, K1, B)
    assert {hit.trace_id for hit in found[: len(having)]} == having
    assert found[len(having) - 1].score > plain.most
    assert bonus == 1.0
    assert most == pytest.approx(2 * plain.most)


AGO = BEGIN - timedelta(days=9)
BOUNDS: dict[str, Callable[[Store], tuple[dict[str, Any], Fits]]] = {
    "kinds": lambda _: ({"kinds": frozenset({"note", "summary"})}, lambda row: row.kind in {"note", "summary"}),
    "since": lambda _: ({"since": AGO}, lambda row: row.happened >= AGO),
    "until": lambda _: ({"until": AGO}, lambda row: row.happened < AGO),
    "before": lambda store: (
        {"before": store.of(ANN)[400][1].trace},
        lambda row: row.trace < store.of(ANN)[400][1].trace,
    ),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_bounds_hold_for_meaning_and_words(store: Store, bound: str) -> None:
    given, fits = BOUNDS[bound](store)
    vector = question(8)
    scan = store.search(Wanted((ANN,), vector, terms=terms_of("w2", "w9"), **given)).scan
    expected = nearest(store.of(ANN), vector, ("semantic",), fits)[:30]
    assert [hit.trace_id for hit in scan.nearest(30)] == [trace for trace, _ in expected]
    assert {hit.trace_id for hit in scan.likest(1000, K1, B).hits} == {
        row.trace for _, row in store.of(ANN) if fits(row) and {"w2", "w9"} & set(row.words or ())
    }


@pytest.mark.parametrize("few", [1000, 3])
def test_only_what_is_named_is_found(store: Store, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(search, "FEW_IDS", few)
    named = frozenset(row.trace for _, row in store.of(ANN)[::50]) | {uuid4()}
    vector = question(9)
    scan = store.search(Wanted((ANN,), vector, only=named)).scan
    expected = nearest(store.of(ANN), vector, ("semantic",), lambda row: row.trace in named)
    assert [hit.trace_id for hit in scan.nearest(500)] == [trace for trace, _ in expected]
    for nobody in (frozenset({uuid4()}), frozenset[UUID](), frozenset({UUID(int=0), UUID(int=2**128 - 1)})):
        assert store.search(Wanted((ANN,), vector, only=nobody)).scan.nearest(5) == []


def test_the_nearest_of_a_time_is_told_without_reading_again(store: Store) -> None:
    vector, since, until = question(10), BEGIN - timedelta(days=12), BEGIN - timedelta(days=6)
    scan = store.search(Wanted((ANN,), vector)).scan
    expected = nearest(store.of(ANN), vector, ("semantic",), lambda row: since <= row.happened < until)[:10]
    assert [hit.trace_id for hit in scan.nearest(10, since, until)] == [trace for trace, _ in expected]


def test_more_than_there_is_gives_all_there_is(store: Store) -> None:
    scan = store.search(Wanted((BEN,), question(), terms=terms_of("w0"))).scan
    assert len(scan.nearest(10_000)) == 150
    assert len(scan.likest(10_000, K1, B).hits) == sum("w0" in (row.words or ()) for _, row in store.of(BEN))
    nobody = store.search(Wanted((uuid4(),), question(), terms=terms_of("w0")))
    assert (nobody.scan.nearest(5), nobody.scan.likest(5, K1, B)) == ([], ([], 0.0, 0.0))


def test_of_traces_that_are_equally_near_the_newer_comes_first(tmp_path: Path) -> None:
    one = drawn(4, 1, ANN, every=2)[0]
    rows = [replace(one, trace=uuid7s(BEGIN + timedelta(seconds=number), 1)[0]) for number in range(20)]
    segment = written(tmp_path / "equal.parquet", rows)
    found = search.search([segment], Wanted((ANN,), question(), terms=terms_of(*(one.words or ()))), Halt(60)).scan
    newest = [row.trace for row in reversed(rows)]
    assert [hit.trace_id for hit in found.nearest(20)] == newest
    assert [hit.trace_id for hit in found.likest(20, K1, B).hits] == newest


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(files, "GROUP_ROWS", 64)
    rows = drawn(5, 700, ANN)
    segment = written(tmp_path / "many.parquet", rows)
    assert len(segment.open().groups) > 8
    vector = question(11)
    found = search.search([segment], Wanted((ANN,), vector, terms=terms_of("w4")), Halt(60), threads).scan
    known = [(segment.id, row) for row in rows]
    expected = nearest(known, vector, ("semantic",), lambda _: True)[:25]
    assert [hit.trace_id for hit in found.nearest(25)] == [trace for trace, _ in expected]
    assert found.rows == len(rows)
    scores, _ = bm25(known, ("w4",), lambda _: True)
    assert [hit.score for hit in found.likest(9, K1, B).hits] == pytest.approx(
        sorted(scores.values(), reverse=True)[:9], rel=1e-4
    )


def test_vectors_of_another_model_are_not_compared_and_words_are(store: Store) -> None:
    others = [replace(segment, comparable=False) for segment in store.segments]
    scan = search.search(others, Wanted((ANN,), question(), terms=terms_of("w5")), Halt(60)).scan
    assert scan.nearest(5) == []
    assert scan.likest(5, K1, B).hits


@pytest.mark.parametrize("how", ["cut", "garbled", "missing"])
def test_a_broken_file_is_named_and_the_others_are_read(store: Store, tmp_path: Path, how: str) -> None:
    copy = tmp_path / "broken.parquet"
    whole = (store.folder / "0.parquet").read_bytes()
    if how == "cut":
        copy.write_bytes(whole[: len(whole) // 2])
    elif how == "garbled":
        middle = len(whole) // 2
        copy.write_bytes(whole[: middle - 20_000] + bytes(40_000) + whole[middle + 20_000 :])

    def opened() -> Reader:
        if how == "missing":
            raise Missing("Object storage has no such object.")
        return Reader(pa.OSFile(str(copy)))

    broken = replace(store.segments[0], open=opened)
    vector = question()
    wanted = Wanted((ANN,), vector, HEADS, terms=terms_of("w3"))
    found = search.search([broken, store.segments[1]], wanted, Halt(60))
    assert list(found.damaged) == [broken.id]
    assert found.files == 1
    rest = [(store.segments[1].id, row) for row in store.rows[1]]
    assert [hit.trace_id for hit in found.scan.nearest(20)] == [
        trace for trace, _ in nearest(rest, vector, HEADS, lambda _: True)[:20]
    ]


def test_a_storage_that_is_away_fails_the_search(store: Store) -> None:
    def away() -> Reader:
        raise StorageTrouble("Object storage does not answer.")

    for threads in (1, 2, 3):
        with pytest.raises(StorageTrouble):
            search.search([replace(store.segments[0], open=away)], Wanted((ANN,), question()), Halt(60), threads)


def test_it_ends_at_its_deadline_and_when_it_is_told_to(store: Store) -> None:
    with pytest.raises(TooLate):
        store.search(Wanted((ANN,), question()), seconds=0)

    entered, opened = threading.Event(), store.segments[0].open

    def slow() -> Reader:
        entered.set()
        time.sleep(0.3)
        return opened()

    halt = Halt(60)

    def stop() -> None:
        entered.wait(5)
        halt.now()

    threading.Thread(target=stop).start()
    with pytest.raises(TooLate):
        search.search([replace(store.segments[0], open=slow)], Wanted((ANN,), question()), halt)


def test_very_many_words_are_cut_to_the_longest(store: Store) -> None:
    many = terms_of(*(f"w{number}" for number in range(60)), *(f"longer{number}" for number in range(60)))
    few = store.search(Wanted((ANN,), terms=many)).scan.likest(5, K1, B)
    longest = sorted((term.text for term in many), key=lambda text: (-len(text), text))[: search.MOST_TERMS]
    assert few.most == pytest.approx(bm25(store.of(ANN), longest, lambda _: True)[1], rel=1e-6)
