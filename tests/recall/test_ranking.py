"""The pool of candidates, the features of each, the ranker, and what explains its scores."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.core.config import load_settings
from reverie.core.errors import SettingsError
from reverie.recall import fuse
from reverie.recall.features import GROUPS, NAMES, Asked, columns, matrix
from reverie.recall.pool import LEXICAL, LONG, Lot, Pool, Table, best, pool
from reverie.recall.ranker import CARRIED, Ranker, load_ranker, load_rankers, shares
from reverie.recall.traits import is_named
from reverie.recall.types import Arm, Candidate, Key, key_of

USER = UUID(int=7)
DAY = datetime(2026, 5, 8, tzinfo=UTC)


def key(n: int) -> Key:
    return key_of(USER, UUID(int=n))


def row(n: int, **changes: Any) -> Candidate:
    return Candidate(key(n), "user", None, 100, "turn", DAY, 0.5, True, False, None, False, None)._replace(**changes)


def arm(name: str, found: Mapping[int, float], most: float = 0.0, failed: str | None = None) -> Arm:
    return Arm(name, {key(n): score for n, score in found.items()}, {}, most, 1.0, failed)


def pooled(*rows: Candidate, semantic: Mapping[int, float], lexical: Mapping[int, float], most: float = 20.0) -> Pool:
    arms = {"semantic": arm("semantic", semantic), "lexical": arm("lexical", lexical, most)}
    return pool(arms, {one.key: one for one in rows})


def by_id(found: Pool, column: Any) -> dict[int, Any]:
    return {key[-1]: value for key, value in zip(found.keys, column.tolist(), strict=True)}


# The pool


OTHER = UUID(int=8)

ROWS = st.lists(
    st.builds(
        row,
        st.integers(1, 40),
        role=st.sampled_from([None, "user", "assistant", "tool"]),
        speaker=st.sampled_from([None, "", "Ada", "Bob"]),
        length=st.integers(0, 5000),
        kind=st.sampled_from(["turn", "note", "fact"]),
        salience=st.floats(0, 1),
        salience_given=st.booleans(),
        pinned=st.booleans(),
        updated_at=st.none() | st.just(DAY),
        asks=st.booleans(),
        follows=st.none() | st.integers(1, 40).map(key),
    ),
    unique_by=lambda one: one.key,
)


def told(lot: Lot) -> list[Any]:
    """All that a lot says, in plain values."""
    traits = lot.traits
    spoken = [traits.speakers[at] for at in traits.speaker.tolist()]
    return [
        lot.keys, lot.rows, lot.before.tolist(), traits.length.tolist(), traits.retold.tolist(), traits.asks.tolist(),
        traits.salience.tolist(), traits.given.tolist(), traits.pinned.tolist(), traits.last.tolist(), spoken,
        [traits.kinds[at] for at in traits.kind.tolist()], [traits.users[at] for at in traits.user.tolist()],
        traits.named(frozenset({"ada"})).tolist(),
    ]  # fmt: skip


@given(ROWS, st.data())
def test_candidates_of_a_table_are_as_their_rows_tell(rows: list[Candidate], data: st.DataObject) -> None:
    table = Table({one.key: one for one in rows})
    some = {one.key: one for one in rows if data.draw(st.booleans())}
    found = table.lot(some)
    assert found is not None
    assert told(found) == told(Lot.of(some))
    assert [one.length for one in found.rows] == found.traits.length.tolist()


def test_of_what_a_table_does_not_have_nothing_is_taken_from_it() -> None:
    rows = [row(n) for n in (1, 2, 3)]
    table = Table({one.key: one for one in rows})
    assert table.lot({rows[0].key: rows[0], key(4): row(4)}) is None
    # The same trace, read at another time: as it was, and changed since.
    again = table.lot({rows[0].key: rows[0], key(2): row(2)})
    assert again is not None
    assert [one.key for one in again.rows] == [key(2), key(1)]
    assert table.lot({rows[0].key: rows[0], key(2): row(2, asks=True)}) is None
    of_another = row(1)._replace(key=key_of(OTHER, UUID(int=1)))
    assert table.lot({of_another.key: of_another}) is None


def test_what_only_the_words_found_is_as_like_as_the_last_of_the_vectors() -> None:
    found = pooled(row(1), row(2), row(3), semantic={1: 0.9, 2: 0.4}, lexical={3: 10.0, 1: 5.0})
    assert by_id(found, found.semantic) == {1: 0.9, 2: 0.4, 3: 0.4}
    assert by_id(found, found.lexical) == {1: 0.25, 2: 0.0, 3: 0.5}
    assert by_id(found, found.listed) == {1: True, 2: True, 3: False}
    halved = LEXICAL * 0.25 / (1 + 100 / LONG)
    assert by_id(found, found.first)[1] == pytest.approx((1 - LEXICAL) * 0.9 + halved)


def test_a_trace_of_the_focus_alone_is_like_nothing() -> None:
    arms = {"semantic": arm("semantic", {1: 0.5}), "lexical": arm("lexical", {}), "focus": arm("focus", {2: 1.0})}
    found = pool(arms, {key(1): row(1), key(2): row(2)})
    assert by_id(found, found.semantic) == {1: 0.5, 2: 0.0}


def test_an_arm_that_failed_leaves_its_weight_to_the_other() -> None:
    rows = {key(1): row(1, length=0)}
    without_words = {"semantic": arm("semantic", {1: 0.8}), "lexical": arm("lexical", {}, failed="x")}
    assert pool(without_words, rows).first.tolist() == [0.8]
    words_only = {"semantic": arm("semantic", {}, failed="x"), "lexical": arm("lexical", {1: 10.0}, 10.0)}
    assert pool(words_only, rows).first.tolist() == [1.0]


def test_neighbours_are_found_in_both_directions() -> None:
    found = pooled(
        row(1), row(2, follows=key(1)), row(3, follows=key(9)), semantic={1: 0.9, 2: 0.5, 3: 0.1}, lexical={}
    )
    ids = [key[-1] for key in found.keys]
    assert ids == [3, 2, 1]
    assert found.before.tolist() == [-1, 2, -1]
    assert found.after.tolist() == [-1, -1, 1]


def test_the_best_come_first_and_of_equals_the_newer() -> None:
    rows = [row(n) for n in range(1, 7)]
    found = pooled(*rows, semantic={1: 0.5, 2: 0.9, 3: 0.5, 4: 0.5, 5: 0.1, 6: 0.2}, lexical={})
    assert [found.keys[place][-1] for place in best(found, 3)] == [2, 4, 3]
    assert [found.keys[place][-1] for place in best(found, 99)] == [2, 4, 3, 1, 6, 5]


# The features


def test_every_feature_has_a_group_and_a_column() -> None:
    found = pooled(row(1), row(2, follows=key(1)), semantic={1: 0.9, 2: 0.5}, lexical={1: 3.0})
    assert set(columns(Asked.read("Who?"), found, best(found, 2))) == set(NAMES)
    assert len(NAMES) == len(set(NAMES)) == sum(len(names) for names in GROUPS.values())


def test_a_trace_sees_its_neighbours() -> None:
    rows = (row(1, speaker="Ada", asks=True), row(2, follows=key(1)), row(3, follows=key(2)))
    found = pooled(*rows, semantic={1: 0.9, 2: 0.5, 3: 0.2}, lexical={})
    first, second, third = places = np.array([2, 1, 0])
    seen = {name: np.asarray(one) for name, one in columns(Asked.read("What did Ada say?"), found, places).items()}
    assert seen["before"].tolist() == pytest.approx([0.0, found.first[first], found.first[second]])
    assert seen["after"].tolist() == pytest.approx([found.first[second], found.first[third], 0.0])
    assert seen["before_2"].tolist() == pytest.approx([0.0, 0.0, found.first[first]])
    assert seen["named"].tolist() == [1, 0, 0]
    assert seen["before_named"].tolist() == [0, 1, 0]
    assert seen["before_asks"].tolist() == [0, 1, 0]
    assert seen["any_named"] == 1


@pytest.mark.parametrize(
    ("question", "to_assistant", "when", "who"),
    [
        ("What did you recommend?", True, False, False),
        ("When did Ada move?", False, True, False),
        ("Which year was it?", False, True, False),
        ("Whose cat is it?", False, False, True),
        ("¿Cuándo?", False, False, False),
    ],
)
def test_how_a_question_is_put(question: str, to_assistant: bool, when: bool, who: bool) -> None:
    asked = Asked.read(question)
    assert (asked.to_assistant, asked.when, asked.who) == (to_assistant, when, who)


@given(
    st.dictionaries(st.integers(0, 9), st.floats(-1, 1), max_size=10),
    st.dictionaries(st.integers(0, 9), st.floats(0, 50), max_size=10),
    st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=10, max_size=10),
    st.text(max_size=30),
)
def test_features_are_finite_whatever_was_found(
    semantic: dict[int, float], lexical: dict[int, float], follows: list[int | None], question: str
) -> None:
    rows = [
        row(n, follows=None if follows[n] is None else key(follows[n] or 0)) for n in semantic.keys() | lexical.keys()
    ]
    found = pooled(*rows, semantic=semantic, lexical=lexical)
    seen = matrix(Asked.read(question), found, best(found, 5))
    assert seen.shape == (min(5, len(rows)), len(NAMES))
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()


# The ranker


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return load_ranker(CARRIED / "balanced.onnx", NAMES)


def some_rows(count: int) -> Any:
    return np.random.default_rng(0).normal(size=(count, len(NAMES))).astype(np.float32)


def test_scores_are_probabilities_and_do_not_depend_on_company(ranker: Ranker) -> None:
    rows = some_rows(50)
    scores = ranker.scores(rows)
    assert scores.shape == (50,)
    assert ((scores > 0) & (scores < 1)).all()
    assert ranker.scores(rows[7:8])[0] == pytest.approx(scores[7])
    assert ranker.scores(rows[:0]).shape == (0,)


def test_the_explanation_adds_up_to_the_score(ranker: Ranker) -> None:
    rows = some_rows(30)
    told = shares(ranker, rows)
    assert list(told) == ["baseline", *GROUPS]
    assert np.sum(list(told.values()), axis=0).tolist() == pytest.approx(ranker.scores(rows).tolist())


def test_the_carried_ranker_puts_what_all_say_first(ranker: Ranker) -> None:
    rows = tuple(row(n) for n in range(1, 40))
    found = pooled(*rows, semantic={n: 0.3 + n / 100 for n in range(1, 40)}, lexical={39: 12.0, 38: 2.0})
    places = best(found, 39)
    scores = ranker.scores(matrix(Asked.read("Where is the night train?"), found, places))
    assert found.keys[places[int(scores.argmax())]] == key(39)


def test_a_ranker_of_other_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"MEMORY_RANKER: .* was made for other features than this version has"):
        load_ranker(CARRIED / "balanced.onnx", [*NAMES, "more"])


def test_what_is_no_ranker_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranker.onnx"
    with pytest.raises(SettingsError, match=r"MEMORY_RANKER: .* cannot be read"):
        load_ranker(path, NAMES)
    path.write_text(json.dumps({"no": "model"}))
    with pytest.raises(SettingsError, match=r"MEMORY_RANKER: .* is no ranker made by `bench/train`"):
        load_ranker(path, NAMES)


def test_the_setting_names_a_folder_or_none(tmp_path: Path) -> None:
    (tmp_path / "balanced.onnx").write_bytes((CARRIED / "balanced.onnx").read_bytes())
    assert set(load_rankers(load_settings(memory_ranker=str(tmp_path)))) == {"balanced"}
    assert load_rankers(load_settings(memory_ranker="none")) == {}
    assert "balanced" in load_rankers(load_settings())


# Fixed weights


def linear(question: str, found: Pool) -> dict[int, float]:
    places = best(found, 99)
    ranked = fuse.ordered(found, places, fuse.linear(Asked.read(question), found, places), 99)
    for one in ranked:
        assert one.score == pytest.approx(sum(one.shares.values()), abs=1e-9)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    return {one.key[-1]: one.score for one in ranked}


def test_a_named_speaker_goes_before_another() -> None:
    found = pooled(row(1, speaker="Ada"), row(2, speaker="Bob"), semantic={1: 0.5, 2: 0.5}, lexical={})
    ada, bob = linear("Ada's cat", found), linear("Bob's cat", found)
    assert ada[1] > ada[2]
    assert bob[2] > bob[1]
    assert not is_named("user", Asked.read("the user's cat").words)


def test_the_users_own_words_go_before_their_retelling_unless_the_assistant_is_asked() -> None:
    found = pooled(row(1, role="user"), row(2, role="assistant"), semantic={1: 0.5, 2: 0.5}, lexical={})
    assert next(iter(linear("Where is the cat?", found))) == 1
    assert next(iter(linear("What did you recommend?", found))) == 2


@given(
    st.dictionaries(st.integers(0, 9), st.floats(-1, 1), max_size=10),
    st.dictionaries(st.integers(0, 9), st.floats(0, 50), max_size=10),
    st.sampled_from(["user", "assistant", None]),
    st.sampled_from(["Ada", "Bob", None]),
    st.sampled_from([None, "semantic", "lexical"]),
)
def test_a_fused_score_lies_between_0_and_1_falls_and_adds_up(
    semantic: dict[int, float], lexical: dict[int, float], role: str | None, speaker: str | None, failed: str | None
) -> None:
    semantic, lexical = (
        {} if failed == name else found for name, found in (("semantic", semantic), ("lexical", lexical))
    )
    arms = {
        "semantic": arm("semantic", semantic, failed="x" if failed == "semantic" else None),
        "lexical": arm("lexical", lexical, 50.0, failed="x" if failed == "lexical" else None),
    }
    rows = [row(n, role=role, speaker=speaker) for n in semantic.keys() | lexical.keys()]
    scores = linear("What did Ada say?", pool(arms, {one.key: one for one in rows}))
    assert set(scores) == {one.key[-1] for one in rows}
    assert all(0 <= score <= 1 for score in scores.values())


def test_one_arm_alone_keeps_its_own_score_and_order() -> None:
    found = fuse.alone(arm("semantic", {1: -0.5, 2: 0.5, 3: 0.5}), [row(1), row(2), row(3)])
    assert [(one.key[-1], one.score) for one in found] == [(3, 0.5), (2, 0.5), (1, 0.0)]
    half = fuse.alone(arm("lexical", {1: fuse.LEXICAL_HALF}), [row(1)])
    assert half[0].score == 0.5
