"""What was said otherwise later: placed behind what takes its place, marked, and never pushed out of the first ten."""

from datetime import UTC, datetime
from uuid import UUID

import httpx
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Remember
from tests.memories.helpers import owner

from reverie.core.config import Settings
from reverie.recall.superseded import FIRST, newer_first, pairs_of
from reverie.recall.types import Edge, Key, Scored, Trace, key_of

USER = UUID(int=7)


def key(number: int) -> Key:
    return key_of(USER, UUID(int=number))


def ranked(count: int) -> list[Scored]:
    return [Scored(key(place), 1 - place / 100, {"ranker": 1 - place / 100}) for place in range(count)]


def order(found: list[Scored]) -> list[int]:
    return [int.from_bytes(one.key[16:], "big") for one in found]


def trace(number: int, superseded_by: int | None = None) -> Trace:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    mark = None if superseded_by is None else UUID(int=superseded_by)
    return Trace(
        key(number), str(number), "ann", None, "text", "note", None, None, None, moment, None, 0.5, {},
        superseded_by=mark,
    )  # fmt: skip


def test_without_marks_nothing_moves() -> None:
    assert newer_first(ranked(5), set()) == ranked(5)


def test_the_older_comes_right_behind_the_newer_with_no_greater_score() -> None:
    found = newer_first(ranked(5), {(key(3), key(1))})
    assert order(found) == [0, 2, 3, 1, 4]
    assert [one.score for one in found] == [1.0, 0.98, 0.97, 0.97, 0.96]
    softened = found[3]
    assert sum(softened.shares.values()) == softened.score
    assert softened.shares["supersedes"] < 0


def test_one_that_stands_behind_stays_as_it_is() -> None:
    assert newer_first(ranked(5), {(key(1), key(3))}) == ranked(5)


def test_of_three_the_newest_comes_first() -> None:
    pairs = {(key(4), key(0)), (key(4), key(2)), (key(2), key(0))}
    assert order(newer_first(ranked(5), pairs)) == [1, 3, 4, 2, 0]


def test_marks_that_go_round_say_nothing() -> None:
    assert newer_first(ranked(3), {(key(0), key(1)), (key(1), key(0))}) == ranked(3)


def test_nothing_leaves_the_first_ten() -> None:
    found = newer_first(ranked(16), {(key(12), key(2)), (key(14), key(11))})
    assert order(found) == [*range(11), 12, 13, 14, 11, 15]


@given(st.integers(0, 25), st.sets(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=30))
def test_whatever_the_marks_say_the_same_results_stay_the_first_and_scores_descend(
    count: int, pairs: set[tuple[int, int]]
) -> None:
    found = newer_first(ranked(count), {(key(newer), key(older)) for newer, older in pairs if newer != older})
    assert set(order(found[:FIRST])) == set(range(min(FIRST, count)))
    assert sorted(order(found)) == list(range(count))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_pairs_are_of_results_alone() -> None:
    edges = [
        Edge(USER, UUID(int=2), UUID(int=1), "supersedes", 1.0),
        Edge(USER, UUID(int=3), UUID(int=1), "similar", 1.0),
        Edge(USER, UUID(int=9), UUID(int=1), "supersedes", 1.0),
    ]
    found = pairs_of([trace(1), trace(2), trace(3, superseded_by=2), trace(4, superseded_by=8)], edges)
    assert found == {(key(2), key(1)), (key(2), key(3))}


async def test_the_newer_is_answered_before_the_older(
    caller: httpx.AsyncClient, remember: Remember, settings: Settings
) -> None:
    told = [f"The garden gate number {number} creaks in the wind." for number in range(8)]
    older, newer, *_ = await remember(
        "ann", "My home address is 5 Mill Lane, Ashford.", "The new home address: 9 Hill Road in Bexley town.", *told
    )
    question: dict[str, str | bool] = {"user_id": "ann", "q": "home address 5 Mill Lane Ashford", "explain": True}

    async def answered() -> list[dict[str, object]]:
        results: list[dict[str, object]] = (await caller.get("/memory/recall", params=question)).json()["results"]
        return results

    before = await answered()
    assert [one["trace_id"] for one in before[:2]] == [older["trace_id"], newer["trace_id"]]
    assert [one["superseded_by"] for one in before[:2]] == [None, None]
    await supersede(settings, newer["trace_id"], older["trace_id"])
    after = await answered()
    assert {one["trace_id"] for one in after} == {one["trace_id"] for one in before}
    assert [one["trace_id"] for one in after[:2]] == [newer["trace_id"], older["trace_id"]]
    assert [one["superseded_by"] for one in after[:2]] == [None, newer["trace_id"]]
    assert after[0]["score"] == before[1]["score"]


async def test_a_mark_stays_when_the_newer_is_not_among_the_results(
    caller: httpx.AsyncClient, remember: Remember, settings: Settings
) -> None:
    older, newer = await remember("ann", "Our cat is called Miso.", "The tax office opens at nine.")
    await supersede(settings, newer["trace_id"], older["trace_id"])
    params: dict[str, str | int] = {"user_id": "ann", "q": "cat called Miso", "k": 1}
    [found] = (await caller.get("/memory/recall", params=params)).json()["results"]
    assert (found["trace_id"], found["superseded_by"]) == (older["trace_id"], newer["trace_id"])


async def supersede(settings: Settings, newer: object, older: object) -> None:
    """Draws the edge that the night draws, and raises the version as it does."""
    async with owner(settings) as connection:
        await connection.execute(
            "INSERT INTO memory_edge (space_id, user_id, src, dst, type, ts, meta) SELECT space_id, user_id, %s, id,"
            " 'supersedes', now(), jsonb_build_object('valid_from', now(), 'by', 'dream') FROM memory_trace WHERE id"
            " = %s",
            (newer, older),
        )
        await connection.execute("UPDATE memory_user SET version = version + 1")
