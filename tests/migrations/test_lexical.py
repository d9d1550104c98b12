"""The lexical arm's function gives BM25 as its formula says, for any text, and stays fast by its indexes."""

import itertools
import math
import random
import string
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reverie.core import migrations
from reverie.core.ids import uuid7s
from reverie.tiers.partitions import ensure_partitions

Connection = psycopg.Connection[tuple[Any, ...]]

NOW = datetime.now(UTC)
K1, B = 1.2, 0.75


@dataclass
class Library:
    """The bodies of one user, in the database and as counts of words."""

    connection: Connection
    space: UUID = field(default_factory=uuid4)
    user: UUID = field(default_factory=uuid4)
    bodies: dict[UUID, Counter[str]] = field(default_factory=dict)

    def add(self, texts: list[list[str]], *, kind: int = 1, happened_at: datetime = NOW) -> list[UUID]:
        """Stores texts, given as lists of lexemes that may hold any character."""
        ids = uuid7s(NOW + timedelta(milliseconds=len(self.bodies)), len(texts))
        self.connection.execute(
            "INSERT INTO memory_trace (space_id, user_id, id, kind, language, length, created_at, salience,"
            " salience_given, digest, vectors) SELECT %s, %s, id, 'note', 'simple', 1, %s, 0.5, false, 'd', true"
            " FROM unnest(%s::uuid[]) AS id",
            (self.space, self.user, NOW, ids),
        )
        for trace, words in zip(ids, texts, strict=True):
            self.connection.execute(
                "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
                " VALUES (%s, %s, %s, %s, %s, %s, '', %s::tsvector"
                " || array_to_tsvector(ARRAY[reverie_user_lexeme(%s)]))",
                (self.space, self.user, trace, happened_at, len(words), kind, tsvector(words), self.user),
            )
            self.bodies[trace] = Counter(words)
        return ids

    def search(self, terms: list[str], *, cap: int = 2000, limit: int = 50, **given: Any) -> dict[UUID, float]:
        """What the function finds, best first."""
        names = ("kinds", "since", "until", "before", "ids")
        found = self.connection.execute(
            "SELECT trace_id, score FROM reverie_bm25(%s, %s, %s::smallint[], %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                [self.user],
                terms,
                *(given.get(name) for name in names),
                len(self.bodies),
                sum(body.total() for body in self.bodies.values()),
                cap,
                limit,
            ),
        )
        return dict(found.fetchall())

    def expected(self, terms: list[str]) -> dict[UUID, float]:
        """BM25 of every body that holds one of the terms, by the formula."""
        scores: Counter[UUID] = Counter()
        average = sum(body.total() for body in self.bodies.values()) / len(self.bodies)
        for term in set(terms):
            having = [trace for trace, body in self.bodies.items() if term in body]
            idf = math.log(1 + (len(self.bodies) - len(having) + 0.5) / (len(having) + 0.5))
            for trace in having:
                tf = self.bodies[trace][term]
                scores[trace] += idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * self.bodies[trace].total() / average))  # type: ignore[assignment]
        return dict(scores)


def tsvector(words: list[str]) -> str:
    """Words in a row as the literal of a tsvector."""
    quoted = (word.replace("\\", "\\\\").replace("'", "''") for word in words)
    return " ".join(f"'{word}':{n}" for n, word in enumerate(quoted, 1))


@pytest.fixture
def library(owner: Connection) -> Library:
    made = Library(owner)
    owner.execute("SELECT set_config('reverie.space', %s, false)", (str(made.space),))
    return made


def zipf(rng: random.Random, size: int) -> list[str]:
    """A text in which few words are common and most are rare."""
    return [f"w{min(int(rng.paretovariate(0.7)), 400)}" for _ in range(size)]


def test_scores_are_those_of_the_formula(library: Library) -> None:
    rng = random.Random(1)  # noqa: S311
    library.add([zipf(rng, rng.randrange(3, 40)) for _ in range(300)])
    for terms in (["w1"], ["w1", "w7", "w50"], ["w2", "w3", "w400", "absent"], ["w9", "w9"], ["absent"], []):
        expected = library.expected(terms)
        found = library.search(terms, limit=1000)
        assert found == pytest.approx(expected, rel=1e-5)
        assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 100, 254, 255])
def test_every_occurrence_counts(library: Library, n: int) -> None:
    library.add([["term"] * n + ["other"] * 3, ["other"], ["nothing"]])
    assert library.search(["term"]) == pytest.approx(library.expected(["term"]), rel=1e-5)


def test_what_a_tsvector_can_hold_of_a_word_is_told_apart(library: Library) -> None:
    bounds = library.connection.execute(
        "SELECT n, ts_rank('{1,1,1,1}', v.words::tsvector, 't') FROM generate_series(1, 255) AS n,"
        " LATERAL (SELECT string_agg('t:' || p, ' ') AS words FROM generate_series(1, n) AS p) AS v ORDER BY n"
    ).fetchall()
    library.add([["t"] * n for n, _ in bounds])
    found = library.search(["t"], limit=1000)
    assert found == pytest.approx(library.expected(["t"]), rel=1e-6)
    assert len({rank for _, rank in bounds}) == 255


def test_filters_keep_out_but_leave_the_scores_alone(library: Library) -> None:
    rng = random.Random(2)  # noqa: S311
    old = library.add([zipf(rng, 12) for _ in range(40)], kind=2, happened_at=NOW - timedelta(days=3))
    new = library.add([zipf(rng, 12) for _ in range(40)])
    terms = ["w1", "w2", "w5"]
    everything = library.search(terms, limit=1000)
    for given_, kept in (
        ({"kinds": [2]}, old),
        ({"kinds": [1, 3]}, new),
        ({"since": NOW - timedelta(days=1)}, new),
        ({"until": NOW - timedelta(days=1)}, old),
        ({"before": new[0]}, old),
        ({"ids": old[:5] + new[:5]}, old[:5] + new[:5]),
        ({"ids": []}, []),
    ):
        found = library.search(terms, limit=1000, **given_)
        assert found == {trace: score for trace, score in everything.items() if trace in set(kept)}


def test_a_very_large_user_is_answered_from_the_rarest_terms(library: Library) -> None:
    rng = random.Random(3)  # noqa: S311
    ids = library.add([["common", *zipf(rng, 10)] for _ in range(400)] + [["common", "rare"], ["rare"] * 2])
    expected = library.expected(["common", "rare", "w1"])
    found = library.search(["common", "rare", "w1"], cap=30, limit=5)
    best = sorted(expected, key=lambda trace: -expected[trace])[:2]
    assert set(best) == set(ids[-2:])
    assert list(found)[:2] == best
    assert found == pytest.approx({trace: expected[trace] for trace in found}, rel=1e-5)


def test_a_very_large_user_of_common_terms_alone_is_answered_too(library: Library) -> None:
    library.add([["common"] * (1 + n % 5) + ["filler"] * 5 for n in range(450)])
    found = library.search(["common"], cap=30, limit=5)
    assert len(found) == 5
    assert library.search(["common"], cap=30, limit=5, kinds=[2]) == {}


def test_several_users_are_searched_at_once(library: Library) -> None:
    other = Library(library.connection, space=library.space)
    mine = library.add([["apple", "pear"]])
    theirs = other.add([["apple"]])
    stranger = Library(library.connection, space=library.space)
    stranger.add([["apple"]])
    found = library.connection.execute(
        "SELECT user_id, trace_id FROM reverie_bm25(%s, %s, null, null, null, null, null, 2, 3, 2000, 10)",
        ([library.user, other.user], ["apple"]),
    ).fetchall()
    assert set(found) == {(library.user, mine[0]), (other.user, theirs[0])}


def test_every_partition_is_read_by_its_index_of_words(library: Library) -> None:
    rng = random.Random(4)  # noqa: S311
    library.add([zipf(rng, 8) for _ in range(200)])

    def scans() -> tuple[set[int], int, int]:
        library.connection.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        words = library.connection.execute(
            "SELECT idx_scan FROM pg_stat_user_indexes"
            " WHERE relname LIKE 'memory_body_20%' AND indexrelname LIKE '%lexemes'"
        ).fetchall()
        others = library.connection.execute(
            "SELECT sum(t.seq_scan)::int, (SELECT sum(i.idx_scan)::int FROM pg_stat_user_indexes i WHERE i.relname LIKE"
            " 'memory_body_20%' AND i.indexrelname NOT LIKE '%lexemes') FROM pg_stat_user_tables t"
            " WHERE t.relname LIKE 'memory_body_20%'"
        ).fetchone()
        assert others is not None
        return {count for (count,) in words}, others[0], others[1]

    words, sequential, keys = scans()
    for _ in range(8):
        library.search(["w1", "w2", "w3"])
    (before,), (after,) = words, scans()[0]
    assert after - before == 8 * 3
    assert scans()[1:] == (sequential, keys)


awkward = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(awkward, min_size=1, max_size=6))
def test_any_lexeme_can_be_asked_for(library: Library, words: list[str]) -> None:
    with library.connection.transaction(force_rollback=True):
        fresh = Library(library.connection, space=library.space)
        (trace,) = fresh.add([words])
        assert set(fresh.search(words)) == {trace}


@pytest.mark.parametrize("terms", [["'"], ["\\"], ["''\\'"], ["a & !b"], ["(", ")"], ["x:*"], ["y" * 3000], [""]])
def test_no_term_is_read_as_an_operator(library: Library, terms: list[str]) -> None:
    library.add([["plain"], ["a"], ["x1"]])
    assert library.search(terms) == {}


def test_very_many_terms_are_answered(library: Library) -> None:
    (trace,) = library.add([["extraordinary", "b"]])
    assert set(library.search([f"t{n}" for n in range(20_000)] + ["extraordinary"])) == {trace}


def distinct(alphabet: str, size: int, separator: str = " ") -> str:
    """Distinct words of ``size`` letters, 100 000 characters in all."""
    words = ("".join(letters) for letters in itertools.product(alphabet, repeat=size))
    return separator.join(itertools.islice(words, 100_000 // (size + len(separator)) + 1))[:100_000]


IDEOGRAPHS = [chr(0x20000 + n) for n in range(40_000)]
WORST = {
    "distinct words": distinct(string.ascii_lowercase, 4),
    "distinct letters of four bytes": " ".join(IDEOGRAPHS),
    "hyphens": " ".join(f"{a}-{b}" for a, b in zip(IDEOGRAPHS, reversed(IDEOGRAPHS), strict=True)),
    "chains of hyphens": "-".join(IDEOGRAPHS),
    "addresses": " ".join(f"{a}{b}{c}.io/{a}{b}{c}" for a, b, c in itertools.product(string.ascii_lowercase, repeat=3)),
    "one word": "x" * 200_000,
}


@pytest.mark.parametrize("text", WORST.values(), ids=WORST)
def test_no_text_is_too_much_for_its_lexemes(library: Library, text: str) -> None:
    (trace,) = library.add([["placeholder"]])
    library.connection.execute(
        "UPDATE memory_body SET content = %s, lexemes = reverie_lexemes('english', %s, %s)"
        " || array_to_tsvector(ARRAY[reverie_user_lexeme(user_id)]) WHERE user_id = %s AND trace_id = %s",
        (text, text, NOW, library.user, trace),
    )
    assert set(library.search([f"{NOW:%Y}"])) == {trace}


def details(library: Library, terms: list[str], **more: Any) -> list[tuple[UUID, float, float, int, int]]:
    """(trace, score, idf_mass, matched, phrases) as the function gives them, best first."""
    given_ = {"places": None, "phrases": None, "weights": None, "cap": 2000} | more
    return library.connection.execute(
        "SELECT trace_id, score, idf_mass, matched, phrases FROM reverie_bm25(%(users)s, %(terms)s, null, null, null,"
        " null, null, %(traces)s, %(words)s, %(cap)s, 50, %(k1)s, %(b)s, %(places)s, %(phrases)s::tsquery[],"
        " %(weights)s::float8[])",
        {
            "users": [library.user],
            "terms": terms,
            "traces": len(library.bodies),
            "words": sum(body.total() for body in library.bodies.values()),
            "k1": K1,
            "b": B,
        }
        | given_,
    ).fetchall()


BOTH = pytest.mark.parametrize("cap", [2000, 1], ids=["whole", "bounded"])


@BOTH
def test_how_many_terms_a_body_has_is_told(library: Library, cap: int) -> None:
    two, one = library.add([["apple", "pear", "apple"], ["pear"]] + [["plum"]] * 20)[:2]
    found = details(library, ["apple", "pear", "fig"], cap=cap)
    assert [(row[0], row[3]) for row in found] == [(two, 2), (one, 1)]


@BOTH
def test_terms_of_one_place_weigh_as_one_word(library: Library, cap: int) -> None:
    library.add([["apfel"], ["apple"], ["apple", "pie"], *[["plum"]] * 20])
    ((_, _, apart, *_), *_) = details(library, ["apfel", "apple", "pie"], cap=cap)
    ((_, _, together, *_), *_) = details(library, ["apfel", "apple", "pie"], cap=cap, places=[1, 1, 2])
    ((_, _, plain, *_), *_) = details(library, ["apple", "pie"], cap=cap)
    assert together == pytest.approx(plain)
    assert together < apart


@BOTH
def test_a_phrase_adds_its_share_of_the_most_a_score_can_be(library: Library, cap: int) -> None:
    phrase, apart = library.add([["night", "train", *["slow"] * 9], ["train", "x", "night"], *[["plum"]] * 20])[:2]
    plain = {row[0]: row for row in details(library, ["night", "train"], cap=cap)}
    query = {"phrases": ["night <-> train", "train <-> night"], "weights": [1.0, 0.5]}
    held = {row[0]: row for row in details(library, ["night", "train"], cap=cap, **query)}
    assert list(plain) == [apart, phrase]
    assert list(held) == [phrase, apart]
    mass = plain[phrase][2]
    assert held[phrase][1] == pytest.approx(plain[phrase][1] + mass * (K1 + 1), rel=1e-5)
    assert held[apart][1] == pytest.approx(plain[apart][1], rel=1e-5)
    assert held[phrase][2] == pytest.approx(2 * mass)
    assert (held[phrase][4], held[apart][4]) == (1, 0)


def test_what_was_counted_beforehand_grows_with_the_user(library: Library) -> None:
    library.add([["common", "rare"], *[["common"]] * 29, *[["plum"]] * 10])
    library.connection.execute("INSERT INTO space (id, name, created_at) VALUES (%s, 's', %s)", (library.space, NOW))
    library.connection.execute(
        "INSERT INTO memory_user (space_id, user_id, external_id, created_at, updated_at, counted, terms, term_traces)"
        " VALUES (%s, %s, 'u', %s, %s, 20, ARRAY[reverie_term_key('common')], ARRAY[10])",
        (library.space, library.user, NOW, NOW),
    )

    def idf(df: int) -> float:
        return math.log(1 + (40 - df + 0.5) / (df + 0.5))

    ((_, _, mass, *_), *_) = details(library, ["common", "rare", "absent"], cap=3)
    assert mass == pytest.approx(idf(20) + idf(1) + idf(0))
    library.connection.execute("UPDATE memory_user SET counted = 19 WHERE user_id = %s", (library.user,))
    ((_, _, mass, *_), *_) = details(library, ["common", "rare", "absent"], cap=3)
    assert mass == pytest.approx(idf(30) + idf(1) + idf(0))


@pytest.mark.parametrize("words", [3, 9, 25])
def test_of_few_words_and_of_many_the_best_are_among_the_candidates(library: Library, words: int) -> None:
    rng = random.Random(5)  # noqa: S311
    library.add([["w1", *zipf(rng, 6)] for _ in range(400)])
    terms = ["w1", *(f"w{n}" for n in range(2, 2 + words))]
    expected = library.expected(terms)
    found = library.search(terms, cap=30, limit=5)
    assert found == pytest.approx({trace: expected[trace] for trace in found}, rel=1e-5)
    best = sorted(expected, key=lambda trace: (-expected[trace], -trace.int))[:5]
    assert next(iter(found)) == best[0]
    assert sum(found.values()) > 0.8 * sum(expected[trace] for trace in best)


async def test_every_server_that_is_supported_runs_it(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as connection:
        await ensure_partitions(connection, NOW, NOW)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        library = Library(connection)
        connection.execute("SELECT set_config('reverie.space', %s, false)", (str(library.space),))
        rng = random.Random(6)  # noqa: S311
        library.add([zipf(rng, 8) for _ in range(60)])
        for cap in (2000, 2):
            found = details(library, ["w1", "w2", "w9"], cap=cap, phrases=["w1 <-> w1"], weights=[0.5])
            assert found[0][4] == 1
            assert [row[1] for row in found] == sorted((row[1] for row in found), reverse=True)
