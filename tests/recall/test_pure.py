"""The pure stages of recall: filters, bounds, spans of time, recipes, fusion."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from tests.memories.helpers import owner

from reverie.core.config import Settings
from reverie.core.kinds import KINDS, RECALLED_KINDS
from reverie.recall.bounds import admissible, clauses, rare_clauses
from reverie.recall.filters import OPERATORS, jsonpath
from reverie.recall.recipes import RECIPES
from reverie.recall.schemas import MOST_WINDOW, window
from reverie.recall.types import Bounds, Candidate, key_of
from reverie.recall.vectors import best_pieces

USER = UUID(int=1)
DAY = datetime(2024, 5, 1, tzinfo=UTC)

# Filters

words = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
keys = words.filter(lambda word: word and "." not in word)
values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
conditions = st.dictionaries(
    st.lists(keys, min_size=1, max_size=3).map(lambda parts: ".".join(["meta", *parts])),
    values
    | st.dictionaries(st.sampled_from([*OPERATORS]), values, min_size=1, max_size=3)
    | st.fixed_dictionaries({"$in": st.lists(values, min_size=1, max_size=3)}),
    min_size=1,
    max_size=4,
)


async def test_every_filter_compiles_to_what_postgresql_accepts(settings: Settings) -> None:
    made: list[str] = []

    @hypothesis(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(conditions)
    def collect(condition: dict[str, Any]) -> None:
        made.append(jsonpath(condition))

    collect()
    async with owner(settings) as connection:
        cursor = await connection.execute(
            "SELECT count(('{\"a\": 1}'::jsonb @@ p::jsonpath) IS NULL) FROM unnest(%s::text[]) p",
            (made,),
        )
        row = await cursor.fetchone()
    assert row == (len(made),)


@given(
    st.dictionaries(
        words, st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(words, inner)), max_size=3
    )
)
def test_any_filter_compiles_or_is_refused_with_a_sentence(condition: dict[str, Any]) -> None:
    path, said = "$", "takes "
    try:
        path = jsonpath(condition)
    except ValueError as error:
        said = str(error)
    assert said.startswith("takes ")
    assert path.startswith(("$", "("))


def test_conditions_are_written_as_jsonpath() -> None:
    assert jsonpath({"meta.a.b": 'x"'}) == '$."a"."b" == "x\\""'
    assert jsonpath({"meta.a": {"$gt": 1, "$lte": 2.5}}) == '$."a" > 1 && $."a" <= 2.5'
    assert jsonpath({"meta.a": {"$in": [1, None]}, "meta.b": True}) == '($."a" == 1 || $."a" == null) && $."b" == true'


# Spans of time


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1h", timedelta(hours=1)), ("30d", timedelta(days=30)), ("2w", timedelta(days=14)), (" 3m ", timedelta(days=90)),
     ("1y", timedelta(days=365)), ("100y", timedelta(days=36500))],
)  # fmt: skip
def test_spans(text: str, wanted: timedelta) -> None:
    assert window(text) == wanted


@given(st.text() | st.from_regex(r"[0-9]{0,8}[hdwmyx-]?", fullmatch=True) | st.integers() | st.none() | st.floats())
def test_any_text_is_a_span_or_refused(value: object) -> None:
    span, said = MOST_WINDOW, "takes a number and a unit"
    try:
        span = cast("timedelta", window(value))
    except ValueError as error:
        said = str(error)
    assert said.startswith("takes a number and a unit")
    assert timedelta(0) < span <= MOST_WINDOW


# Bounds


def trace(n: int, **changes: Any) -> Candidate:
    plain = Candidate(key_of(USER, UUID(int=n)), "user", None, 10, "turn", DAY, 0.5, False, False, None, False, None)
    return plain._replace(**changes)


def bounds(**changes: Any) -> Bounds:
    return replace(Bounds(user_ids=[USER], kinds=[KINDS[kind] for kind in RECALLED_KINDS], heads=[0]), **changes)


def test_clauses_name_only_what_bounds() -> None:
    assert clauses(bounds()) == ("AND kind = ANY(%b)", [[1, 2, 3, 4]])
    text, parameters = clauses(bounds(since=DAY, until=DAY, before=USER, only=frozenset()))
    assert text.count("%b") == len(parameters) == 5
    assert rare_clauses(None, None, [USER], None) == ("", [])
    text, parameters = rare_clauses(["user"], "c", [USER], "$.a == 1")
    assert text.count("%b") == len(parameters) == 4


@pytest.mark.parametrize(
    ("changes", "inside"),
    [
        ({}, True),
        ({"kinds": [2]}, False),
        ({"since": DAY}, True),
        ({"since": DAY + timedelta(microseconds=1)}, False),
        ({"until": DAY}, False),
        ({"until": DAY + timedelta(microseconds=1)}, True),
        ({"before": UUID(int=7)}, False),
        ({"before": UUID(int=8)}, True),
        ({"only": [UUID(int=7)]}, True),
        ({"only": []}, False),
    ],
)
def test_a_trace_is_admissible_as_sql_would_have_it(changes: dict[str, Any], inside: bool) -> None:
    assert admissible(trace(7), bounds(**changes)) is inside


# Recipes


def test_the_recipes_for_measuring_have_one_arm_without_priors() -> None:
    assert set(RECIPES) == {"fast", "balanced", "thorough", "vector", "lexical"}
    for name, recipe in RECIPES.items():
        arms = (recipe.semantic, recipe.lexical, recipe.focus)
        assert recipe.fused == (name not in ("vector", "lexical"))
        assert recipe.fused or sum(arms) == 1
        assert recipe.shortlist <= recipe.depth * 2


# Pieces


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-100, 100)), max_size=30), st.integers(1, 6))
def test_of_each_trace_the_best_piece_counts_and_of_traces_the_nearest(rows: list[tuple[int, int]], depth: int) -> None:
    found = best_pieces([(bytes([trace]), cosine) for trace, cosine in rows], depth)
    every = {trace: max(cosine for other, cosine in rows if other == trace) for trace, _ in rows}
    assert {row[0][0]: row[1] for row in found}.items() <= every.items()
    assert sorted((row[1] for row in found), reverse=True) == sorted(every.values(), reverse=True)[:depth]
