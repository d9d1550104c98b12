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
from reverie.recall import fuse
from reverie.recall.bounds import admissible, clauses, rare_clauses
from reverie.recall.filters import OPERATORS, jsonpath
from reverie.recall.recipes import RECIPES
from reverie.recall.schemas import MOST_WINDOW, window
from reverie.recall.types import Arm, Bounds, Candidate, Key, Scored, key_of, trace_of

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
    plain = Candidate(key_of(USER, UUID(int=n)), "user", None, 10, "turn", DAY)
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


# Fusion

scores = st.dictionaries(st.integers(0, 9), st.floats(-1, 1), max_size=10)


def arm(name: str, found: dict[int, float], most: float = 0.0, failed: str | None = None) -> Arm:
    return Arm(name, {key_of(USER, UUID(int=n)): score for n, score in found.items()}, {}, most, 1.0, failed)


def first(ranked: list[Scored]) -> int:
    return trace_of(ranked[0].key).int


def fused(question: str, arms: list[Arm], read: list[Candidate]) -> list[Scored]:
    named = {one.name: one for one in arms}
    return fuse.fuse(question, fuse.weigh(named), named, read)


@given(
    scores,
    st.dictionaries(st.integers(0, 9), st.floats(0, 50), max_size=10),
    st.lists(st.integers(0, 9), unique=True, max_size=10),
    st.sampled_from(["user", "assistant", None]),
    st.sampled_from(["Ada", "Bob", None]),
    st.sampled_from([None, "semantic", "lexical"]),
)
def test_a_fused_score_lies_between_0_and_1_falls_and_adds_up(
    semantic: dict[int, float], lexical: dict[int, float], focus: list[int], role: str | None, speaker: str | None,
    failed: str | None,
) -> None:  # fmt: skip
    arms = [
        arm("semantic", {} if failed == "semantic" else semantic, failed="x" if failed == "semantic" else None),
        arm("lexical", {} if failed == "lexical" else lexical, 50.0, failed="x" if failed == "lexical" else None),
        arm("focus", {n: 1 / (1 + rank) for rank, n in enumerate(focus)}),
    ]
    keys: list[Key] = fuse.shortlist(fuse.weigh({one.name: one for one in arms}), arms[2].scores, 20, 20)
    assert len(keys) == len(set(keys))
    read = [trace(trace_of(key).int, role=role, speaker=speaker) for key in keys]
    ranked = fused("What did Ada say?", arms, read)
    assert {one.key for one in ranked} == set(keys)
    assert all(0 <= one.score <= 1 for one in ranked)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    for one in ranked:
        assert one.score == pytest.approx(sum(one.shares.values()), abs=1e-9)
    assert fused("What did Ada say?", arms, read[::-1]) == ranked


def test_a_named_speaker_goes_before_another() -> None:
    arms = [arm("semantic", {1: 0.5, 2: 0.5}), arm("lexical", {})]
    read = [trace(1, speaker="Ada"), trace(2, speaker="Bob")]
    assert first(fused("Ada's cat", arms, read)) == 1
    assert first(fused("Bob's cat", arms, read)) == 2
    assert "speaker" not in fused("the user's cat", arms, [trace(1, speaker="user")])[0].shares


def test_the_users_own_words_go_before_their_retelling_unless_the_assistant_is_asked() -> None:
    arms = [arm("semantic", {1: 0.5, 2: 0.5}), arm("lexical", {})]
    read = [trace(1, role="user"), trace(2, role="assistant")]
    assert first(fused("Where is the cat?", arms, read)) == 1
    assert first(fused("What did you recommend?", arms, read)) == 2


def test_an_arm_that_failed_leaves_its_weight_to_the_other() -> None:
    whole = [arm("semantic", {1: 0.8}), arm("lexical", {}, failed="x")]
    assert fused("x", whole, [trace(1)])[0].score == pytest.approx(0.8)
    words_only = [arm("semantic", {}, failed="x"), arm("lexical", {1: 10.0}, most=10.0)]
    assert fused("x", words_only, [trace(1, length=0)])[0].score == pytest.approx(1.0)


def test_one_arm_alone_keeps_its_own_score_and_order() -> None:
    found = fuse.alone(arm("semantic", {1: -0.5, 2: 0.5, 3: 0.5}), [trace(1), trace(2), trace(3)])
    assert [(trace_of(one.key).int, one.score) for one in found] == [(3, 0.5), (2, 0.5), (1, 0.0)]
    half = fuse.alone(arm("lexical", {1: fuse.LEXICAL_HALF}), [trace(1)])
    assert half[0].score == 0.5


def test_a_shortlist_takes_the_best_and_as_much_of_the_focus_as_is_missing_from_k() -> None:
    arms = [arm("semantic", {n: n / 10 for n in range(8)}), arm("lexical", {}), arm("focus", {9: 1.0})]
    base = fuse.weigh({one.name: one for one in arms})
    assert [trace_of(key).int for key in fuse.shortlist(base, arms[2].scores, 3, 3)] == [7, 6, 5]
    everything = [7, 6, 5, 4, 3, 2, 1, 0]
    assert [trace_of(key).int for key in fuse.shortlist(base, arms[2].scores, 20, 8)] == everything
    assert [trace_of(key).int for key in fuse.shortlist(base, arms[2].scores, 20, 9)] == [*everything, 9]
