"""The planner alone: which way is taken, and that every id is covered exactly once whatever it knows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.core.ids import lower_bound
from reverie.recall.planner import (
    LEAST_RECALL,
    MOST_VISITS,
    Built,
    Leg,
    Method,
    Plan,
    candidates,
    choose,
    gaps,
    within,
)
from reverie.recall.types import Bounds

DIM = 384
WEEK = timedelta(weeks=1)
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
SMALL, LARGE, HUGE = uuid4(), uuid4(), uuid4()
ALL_KINDS = [1, 2, 3, 4]


def bits(user: UUID, rows: int, week: int = 0, looks: int = 400, recall: float = 0.999, head: int = 0) -> Built:
    since = MONDAY + week * WEEK
    moments = [since + n * WEEK / 20 for n in range(21)]
    return Built(
        user, f"week {week}", head, "bits", lower_bound(since), lower_bound(since + WEEK), rows, looks, recall,
        (rows - rows // 10, rows // 10, 0, 0, 0, 0), moments,
    )  # fmt: skip


def graph(user: UUID, rows: int, week: int = 0, since: float = 0.0, until: float = 1.0, recall: float = 0.995) -> Built:
    whole = bits(user, rows, week)
    start = MONDAY + week * WEEK
    lower, upper = lower_bound(start + since * WEEK), lower_bound(start + until * WEEK)
    return replace(whole, method="hnsw", lower=lower, upper=upper, looks=200, recall=recall)


def bounds(*users: UUID, **given: object) -> Bounds:
    return replace(Bounds(list(users), ALL_KINDS, [0]), **given)  # type: ignore[arg-type]


def methods(plan: Plan) -> set[Method]:
    return {leg.method for leg in plan.legs}


def test_of_whom_nothing_is_known_is_searched_exactly_in_one_part() -> None:
    plan = choose(bounds(SMALL, LARGE), {}, DIM, 100)
    assert plan == Plan((Leg("exact", (SMALL, LARGE), (0,)),))
    assert (plan.name, plan.rows) == ("exact", 0)


@pytest.mark.parametrize(
    ("rows", "graphed", "name"),
    [
        (3_000, None, "exact"),
        (20_000, None, "bits"),
        (49_000, None, "bits"),
        (200_000, None, "bits"),
        (200_000, 199_000, "hnsw"),
        (200_000, 60_000, "hnsw"),
        (3_000, 2_900, "exact"),
    ],
)
def test_the_cheapest_way_is_taken(rows: int, graphed: int | None, name: str) -> None:
    known = [bits(LARGE, rows)] + ([graph(LARGE, graphed, until=graphed / rows)] if graphed else [])
    plan = choose(bounds(LARGE), {LARGE: known}, DIM, 100)
    assert plan.name == name


def test_modes() -> None:
    known = {LARGE: [bits(LARGE, 200_000), graph(LARGE, 200_000)], SMALL: [bits(SMALL, 2_000), graph(SMALL, 2_000)]}
    assert choose(bounds(LARGE), known, DIM, 100, "never").name == "bits"
    assert choose(bounds(LARGE), known, DIM, 100, "always").name == "hnsw"
    assert choose(bounds(SMALL), known, DIM, 100, "auto").name == "exact"
    assert choose(bounds(SMALL), known, DIM, 100, "always").name == "hnsw"


def test_what_finds_too_little_is_not_read() -> None:
    poor = LEAST_RECALL - 0.01
    known = [bits(LARGE, 200_000, recall=poor), graph(LARGE, 200_000, recall=poor)]
    assert choose(bounds(LARGE), {LARGE: known}, DIM, 100).name == "exact"
    assert choose(bounds(LARGE), {LARGE: [known[0], graph(LARGE, 200_000)]}, DIM, 100).name == "hnsw"
    assert choose(bounds(LARGE), {LARGE: [bits(LARGE, 200_000), known[1]]}, DIM, 100).name == "bits"


def test_bits_that_need_too_many_candidates_do_not_pay() -> None:
    assert choose(bounds(LARGE), {LARGE: [bits(LARGE, 20_000, looks=5_000)]}, DIM, 100).name == "exact"
    assert candidates(400, 100) == 400
    assert candidates(400, 1_000) == 2_000


@pytest.mark.parametrize(
    ("given_bounds", "name"),
    [
        ({}, "hnsw"),
        ({"kinds": [1]}, "hnsw"),
        ({"kinds": [6]}, "bits"),
        ({"since": MONDAY + WEEK / 2}, "hnsw"),
        ({"since": MONDAY + 0.999 * WEEK}, "bits"),
        ({"until": MONDAY}, "bits"),
        ({"before": lower_bound(MONDAY + WEEK / 2)}, "hnsw"),
        ({"before": lower_bound(MONDAY)}, "exact"),
    ],
)
def test_a_graph_is_not_walked_for_what_is_rare(given_bounds: dict[str, object], name: str) -> None:
    known = {HUGE: [bits(HUGE, 200_000), graph(HUGE, 200_000)]}
    assert choose(bounds(HUGE, **given_bounds), known, DIM, 100).name == name


def test_few_given_ids_are_looked_up_and_many_sifted() -> None:
    known = {HUGE: [bits(HUGE, 200_000), graph(HUGE, 200_000)]}
    few, many = (frozenset(uuid4() for _ in range(count)) for count in (50, 40_000))
    plan = choose(bounds(HUGE, only=few), known, DIM, 100)
    assert (plan.sift, plan.name, plan.rows) == (False, "exact", 50)
    plan = choose(bounds(HUGE, only=many), known, DIM, 100)
    assert plan.sift
    assert plan.name == "hnsw"
    assert choose(bounds(SMALL, only=many), {}, DIM, 100).sift


def test_everybody_is_searched_in_their_own_way() -> None:
    known = {LARGE: [bits(LARGE, 20_000)], HUGE: [bits(HUGE, 200_000), graph(HUGE, 200_000)]}
    plan = choose(bounds(SMALL, LARGE, HUGE), known, DIM, 100)
    by_user: dict[UUID, set[Method]] = {}
    for leg in plan.legs:
        for user in leg.user_ids:
            by_user.setdefault(user, set()).add(leg.method)
    assert by_user == {SMALL: {"exact"}, LARGE: {"bits", "exact"}, HUGE: {"hnsw", "exact"}}
    assert plan.name == "hnsw"


def test_a_head_without_an_index_is_searched_exactly() -> None:
    known = {HUGE: [bits(HUGE, 200_000), graph(HUGE, 200_000)]}
    plan = choose(bounds(HUGE, heads=[0, 1]), known, DIM, 100)
    assert covers(plan, HUGE, 0)
    assert covers(plan, HUGE, 1)
    assert [leg.method for leg in plan.legs if leg.heads == (1,)] == ["exact"]
    assert choose(bounds(HUGE, heads=[1]), known, DIM, 100).name == "exact"


def test_a_graph_of_nothing_but_strangers_is_never_read() -> None:
    known = {HUGE: [bits(HUGE, 200_000), graph(HUGE, 200_000)]}
    plan = choose(bounds(SMALL), known, DIM, 100)
    assert {user for leg in plan.legs for user in leg.user_ids} == {SMALL}


def test_shares() -> None:
    one = bits(LARGE, 1_000)
    assert within(one, bounds(LARGE)) == 1
    assert within(one, bounds(LARGE, kinds=[2])) == pytest.approx(0.1)
    assert within(one, bounds(LARGE, since=MONDAY + WEEK / 4)) == pytest.approx(0.75)
    assert within(one, bounds(LARGE, since=MONDAY + WEEK / 4, until=MONDAY + WEEK / 2)) == pytest.approx(0.25)
    assert within(one, bounds(LARGE, before=lower_bound(MONDAY + WEEK / 4))) == pytest.approx(0.25)
    assert within(one, bounds(LARGE, only=frozenset([uuid4()]))) == pytest.approx(0.001)
    assert within(one, bounds(LARGE, until=MONDAY - WEEK)) == pytest.approx(0.001)
    assert within(replace(one, moments=(MONDAY,)), bounds(LARGE, until=MONDAY - WEEK)) == 1
    assert within(replace(one, moments=[MONDAY] * 21), bounds(LARGE, since=MONDAY + WEEK)) == pytest.approx(0.001)


def covers(plan: Plan, user: UUID, head: int) -> bool:
    """Whether the parts of a plan for a user and head leave nothing out and overlap nowhere."""
    spans = sorted(
        (leg.lower.int if leg.lower else -1, leg.upper.int if leg.upper else 1 << 128)
        for leg in plan.legs
        if user in leg.user_ids and head in leg.heads
    )
    if not spans or spans[0][0] != -1 or spans[-1][1] != 1 << 128:
        return False
    return all(one[1] == other[0] for one, other in pairwise(spans))


rows = st.integers(0, 400_000)


@st.composite
def tables(draw: st.DrawFn) -> list[Built]:
    """What may be known of a user: some weeks, each with some graphs that follow one another or leave gaps."""
    known = []
    for week in draw(st.sets(st.integers(0, 6), max_size=4)):
        known.append(bits(HUGE, draw(rows), week, draw(st.integers(100, 4_000)), draw(st.floats(0.9, 1))))
        ends = sorted(draw(st.sets(st.integers(0, 20), max_size=6)))
        spans = list(pairwise(ends))
        for since, until in draw(st.lists(st.sampled_from(spans), unique=True)) if spans else []:
            known.append(graph(HUGE, draw(rows), week, since / 20, until / 20, draw(st.floats(0.9, 1))))
    return draw(st.permutations(known))


@given(
    known=tables(),
    heads=st.sampled_from([[0], [1], [0, 1], [0, 1, 2]]),
    before=st.none() | st.integers(-10, 60).map(lambda days: lower_bound(MONDAY + timedelta(days=days))),
    since=st.none() | st.integers(-10, 60).map(lambda days: MONDAY + timedelta(days=days)),
    only=st.none() | st.integers(1, 3_000).map(lambda n: frozenset(UUID(int=i) for i in range(n))),
    limit=st.integers(1, 70_000),
    mode=st.sampled_from(["auto", "always", "never"]),
)
def test_nobody_is_left_out_and_nothing_looked_at_twice(
    known: list[Built], heads: list[int], before: UUID | None, since: datetime | None, only: frozenset[UUID] | None,
    limit: int, mode: str,
) -> None:  # fmt: skip
    asked = bounds(SMALL, HUGE, heads=heads, before=before, since=since, only=only)
    plan = choose(asked, {HUGE: known}, DIM, limit, mode)  # type: ignore[arg-type]
    for user in (SMALL, HUGE):
        for head in heads:
            assert covers(plan, user, head)
    for leg in plan.legs:
        if leg.method == "hnsw":
            assert mode != "never"
            assert limit <= MOST_VISITS
            assert any(one.method == "hnsw" and (one.lower, one.upper) == (leg.lower, leg.upper) for one in known)
        if leg.method != "exact":
            assert len(leg.user_ids) == len(leg.heads) == 1


@given(st.lists(st.integers(0, 1000), unique=True, max_size=20))
def test_gaps_and_spans_make_the_whole(ends: list[int]) -> None:
    ordered = [UUID(int=end) for end in sorted(ends)]
    taken = list(pairwise(ordered))[::2]
    left = gaps(None, None, taken)
    spans = sorted([(a.int if a else -1, b.int if b else 10_000) for a, b in [*left, *taken]])
    assert spans[0][0] == -1
    assert spans[-1][1] == 10_000
    assert all(one[1] == other[0] for one, other in pairwise(spans))
