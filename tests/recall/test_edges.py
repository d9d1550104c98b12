"""Spreading over edges: against a reference, within the bounds and the walls, bounded where a name is everywhere."""

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.conftest import Api
from tests.explaining import Explaining
from tests.figures import Figure
from tests.memories.helpers import owner, post, rows, unit, user_row

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.ids import lower_bound
from reverie.core.kinds import KINDS, RECALLED_KINDS
from reverie.memories.identity import entity_identity
from reverie.recall import edges
from reverie.recall.edges import DECAY, MOST_EDGES, OTHER, Spread, named, spread
from reverie.recall.types import Bounds, Edge, key_of, trace_of

if TYPE_CHECKING:
    from reverie.core.database import Database

KINDS_BY_DEFAULT = [KINDS[kind] for kind in RECALLED_KINDS]
LINK = (
    "INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)"
    " SELECT space_id, user_id, %s, %s, %s, %s, now() FROM memory_trace WHERE user_id = %s AND id = %s"
)


class Graph:
    """A user with some traces, between which a test draws edges."""

    def __init__(self, api: Api, settings: Settings, space_id: UUID, user_id: UUID, ids: list[UUID]) -> None:
        self.database: Database = api.app.state.database
        self.settings = settings
        self.space_id = space_id
        self.user_id = user_id
        self.ids = ids
        self.edges: list[tuple[int, int, str, float]] = []

    async def link(self, *drawn: tuple[int, int, str, float]) -> None:
        self.edges += drawn
        ids = self.ids
        given = [(ids[src], ids[dst], kind, weight, self.user_id, ids[src]) for src, dst, kind, weight in drawn]
        follows = [(ids[src], self.user_id, ids[dst]) for src, dst, kind, _ in drawn if kind == "next"]
        async with owner(self.settings) as connection, connection.cursor() as cursor:
            await cursor.executemany(LINK, given)
            await cursor.executemany("UPDATE memory_trace SET follows = %s WHERE user_id = %s AND id = %s", follows)

    def bounds(self, **given: Any) -> Bounds:
        return replace(Bounds([self.user_id], KINDS_BY_DEFAULT, [0]), **given)

    async def spread(
        self, seeds: dict[int, float], hops: int = 2, limit: int = 100, names: Sequence[bytes] = (), **given: Any
    ) -> Spread:
        keys = {key_of(self.user_id, self.ids[place]): weight for place, weight in seeds.items()}
        return await spread(self.database, self.space_id, self.bounds(**given), keys, hops, limit, 10.0, names)

    async def reached(self, seeds: dict[int, float], hops: int = 2, **given: Any) -> dict[int, float]:
        """Places of what is reached with their weights, best first."""
        found = await self.spread(seeds, hops, **given)
        assert set(found.candidates) == set(found.reached)
        assert all(found.candidates[key].key == key for key in found.reached)
        return {self.ids.index(trace_of(key)): one.weight for key, one in found.reached.items()}


async def make(api: Api, caller: httpx.AsyncClient, settings: Settings, user: str, *traces: Any) -> Graph:
    """A user who remembers these."""
    given = [{"content": one} if isinstance(one, str) else one for one in traces]
    ids = list[UUID]()
    for start in range(0, len(given), 500):
        part = [{"embedding": unit(start + n)} | one for n, one in enumerate(given[start : start + 500])]
        answer = await post(caller, user, *part)
        assert answer.status_code == 201, answer.text
        ids += [UUID(one["trace_id"]) for one in answer.json()["traces"]]
    user_id = (await user_row(settings, user))["user_id"]
    ((space_id,),) = await rows(settings, "SELECT space_id FROM memory_user WHERE user_id = %s", (user_id,))
    return Graph(api, settings, space_id, user_id, ids)


@pytest.fixture
async def six(api: Api, caller: httpx.AsyncClient, settings: Settings, user: str) -> Graph:
    return await make(api, caller, settings, user, *(f"trace {n}" for n in range(6)))


async def test_weights_are_multiplied_along_the_way(six: Graph) -> None:
    await six.link((0, 1, "next", 1.0), (2, 1, "similar", 0.9), (2, 3, "supersedes", 0.5), (4, 5, "next", 1.0))
    first = DECAY["next"] * 0.8
    second = first * DECAY["similar"] * 0.9
    assert await six.reached({0: 0.8}, hops=1) == pytest.approx({1: first})
    assert await six.reached({0: 0.8}) == pytest.approx({1: first, 2: second})
    assert await six.reached({2: 1.0}, hops=1) == pytest.approx({1: DECAY["similar"] * 0.9, 3: OTHER * 0.5})


async def test_the_way_it_came_is_told(six: Graph) -> None:
    await six.link((1, 0, "next", 1.0), (2, 1, "similar", 0.9))
    found = await six.spread({0: 1.0})
    told = {six.ids.index(trace_of(key)): one for key, one in found.reached.items()}
    assert {place: one.hops for place, one in told.items()} == {1: 1, 2: 2}
    assert {place: one.weight for place, one in told.items()} == pytest.approx({1: 0.7, 2: 0.7 * 0.6 * 0.9})
    assert told[1].edge == Edge(six.user_id, six.ids[1], six.ids[0], "next", 1.0)
    assert told[2].edge == Edge(six.user_id, six.ids[2], six.ids[1], "similar", told[2].edge.weight)
    assert told[2].edge.weight == pytest.approx(0.9)


async def test_the_chain_of_a_conversation_is_walked_both_ways(
    api: Api, caller: httpx.AsyncClient, settings: Settings, user: str
) -> None:
    turns = [{"content": f"turn {n}", "conversation_id": "c"} for n in range(7)]
    graph = await make(api, caller, settings, user, *turns)
    once, twice = DECAY["next"], DECAY["next"] ** 2
    assert await graph.reached({3: 1.0}) == pytest.approx({4: once, 2: once, 5: twice, 1: twice})
    found = await graph.spread({3: 1.0}, hops=1)
    assert {(one.edge.src, one.edge.dst) for one in found.reached.values()} == {
        (graph.ids[2], graph.ids[3]), (graph.ids[3], graph.ids[4])
    }  # fmt: skip


async def test_a_seed_is_reached_from_another_and_not_from_itself(six: Graph) -> None:
    await six.link((0, 1, "next", 1.0), (1, 2, "next", 1.0))
    assert await six.reached({0: 1.0, 1: 0.5}) == pytest.approx({1: 0.7, 2: 0.49, 0: 0.35})
    assert await six.reached({0: 1.0}) == pytest.approx({1: 0.7, 2: 0.49})


async def test_a_name_leads_to_what_mentions_it_the_less_the_more_do(six: Graph, settings: Settings) -> None:
    await rows(settings, "UPDATE memory_trace SET kind = 'entity' WHERE id = ANY(%s) RETURNING 1", (six.ids[4:],))
    await six.link((0, 4, "mentions", 1.0), (1, 4, "mentions", 1.0), (2, 4, "mentions", 1.0))
    share = DECAY["mentions"] ** 2 / 3
    assert await six.reached({0: 1.0}) == pytest.approx({1: share, 2: share})
    assert await six.reached({0: 1.0}, hops=1) == {}, "an entity itself is not found unless it is asked for"
    with_names = await six.reached({0: 1.0}, hops=1, kinds=[KINDS["entity"]])
    assert with_names == pytest.approx({4: DECAY["mentions"]})


async def test_names_of_the_question_are_seeds(
    api: Api, caller: httpx.AsyncClient, settings: Settings, user: str
) -> None:
    graph = await make(
        api, caller, settings, user, "one", "two", "three", {"content": "Tamara Novak", "kind": "entity"}
    )
    await graph.link((0, 3, "mentions", 1.0), (1, 3, "mentions", 1.0))
    ((key,),) = await rows(settings, "SELECT identity_key FROM space WHERE id = %s", (graph.space_id,))
    for question in ("When did we meet Tamara Novak?", "where does tamara novak's dog live", "Tamara Novak"):
        found = await graph.reached({}, hops=1, names=named(question, bytes(key)))
        assert found == pytest.approx({0: DECAY["mentions"] / 2, 1: DECAY["mentions"] / 2}), question
    assert await graph.reached({}, hops=1, names=named("Tamara alone", bytes(key))) == {}
    assert await graph.reached({}, hops=2, names=[]) == {}


def test_the_names_looked_for_are_bounded() -> None:
    assert named("the and of it", b"k" * 32) == []
    assert entity_identity(b"k" * 32, "New York") in named("What about New York and me?", b"k" * 32)
    assert len(named("word " * 10_000, b"k" * 32)) <= edges.MOST_WORDS * edges.MOST_NAME_WORDS
    assert len(named(" ".join(f"w{n}" for n in range(5000)), b"k" * 32)) <= edges.MOST_WORDS * edges.MOST_NAME_WORDS
    assert named("x" * 100_000, b"k" * 32)


async def test_bounds_hold(api: Api, caller: httpx.AsyncClient, settings: Settings, user: str) -> None:
    began = clock.now()
    graph = await make(
        api, caller, settings, user, "seed",
        {"content": "old", "occurred_at": (began - timedelta(days=9)).isoformat()},
        {"content": "fact", "kind": "fact"}, {"content": "summary", "kind": "summary"},
    )  # fmt: skip
    with clock.as_of(began + timedelta(hours=1)):
        later = await make(api, caller, settings, user, "later", "behind")
    graph.ids += later.ids
    await graph.link(*[(0, n, "similar", 0.9) for n in (1, 2, 3, 4)], (4, 5, "next", 1.0), (3, 5, "summary_of", 1.0))
    assert set(await graph.reached({0: 1.0})) == {1, 2, 4, 5}
    assert set(await graph.reached({0: 1.0}, kinds=[KINDS["summary"]])) == {3}
    assert set(await graph.reached({0: 1.0}, since=began - timedelta(days=1))) == {2, 4, 5}
    assert set(await graph.reached({0: 1.0}, until=began - timedelta(days=1))) == {1}
    assert set(await graph.reached({0: 1.0}, before=lower_bound(began + timedelta(minutes=30)))) == {1, 2}
    assert set(await graph.reached({0: 1.0}, only=frozenset([graph.ids[5], graph.ids[0]]))) == {5}
    assert set(await graph.reached({0: 1.0}, only=frozenset())) == set()
    assert len(await graph.reached({0: 1.0}, limit=2)) == 2


async def test_a_path_through_what_was_remembered_later_is_none(
    api: Api, caller: httpx.AsyncClient, settings: Settings, user: str
) -> None:
    began = clock.now()
    graph = await make(api, caller, settings, user, "seed", "target")
    with clock.as_of(began + timedelta(hours=1)):
        graph.ids += (await make(api, caller, settings, user, "between")).ids
    await graph.link((2, 0, "similar", 0.9), (2, 1, "similar", 0.9))
    assert set(await graph.reached({0: 1.0})) == {1, 2}
    assert await graph.reached({0: 1.0}, before=lower_bound(began + timedelta(minutes=30))) == {}


async def test_other_users_and_spaces_are_never_reached(
    six: Graph, api: Api, caller: httpx.AsyncClient, settings: Settings, user: str
) -> None:
    other = await make(api, caller, settings, f"{user} 2", "theirs", "theirs too")
    await other.link((0, 1, "next", 1.0))
    await six.link((0, 1, "next", 1.0))
    assert await six.reached({0: 1.0}) == pytest.approx({1: 0.7})
    mine = {key_of(six.user_id, six.ids[0]): 1.0, key_of(other.user_id, other.ids[0]): 1.0}
    both = await spread(six.database, six.space_id, six.bounds(user_ids=[six.user_id, other.user_id]), mine, 2, 9, 9.0)
    assert set(both.reached) == {key_of(six.user_id, six.ids[1]), key_of(other.user_id, other.ids[1])}
    # A wrong key: the trace of one user under the id of another.
    wrong = {key_of(six.user_id, other.ids[0]): 1.0}
    assert (await spread(six.database, six.space_id, six.bounds(), wrong, 2, 9, 9.0)).reached == {}
    elsewhere = uuid4()
    assert (await spread(six.database, elsewhere, six.bounds(), mine, 2, 9, 9.0)).reached == {}


def reference(edges_: Sequence[tuple[int, int, str, float]], seeds: dict[int, float], hops: int) -> dict[int, float]:
    """Spreading as one would write it down: from each trace, as it was reached best, along all its edges."""

    def steps(node: int) -> list[tuple[int, float]]:
        along: dict[tuple[str, bool], list[tuple[int, float]]] = defaultdict(list)
        for src, dst, kind, weight in edges_:
            if src == node:
                along[kind, False].append((dst, weight))
            if dst == node:
                along[kind, True].append((src, weight))
        return [
            (other, weight * DECAY.get(kind, OTHER) / (len(some) if back and kind == "mentions" else 1))
            for (kind, back), some in along.items() if len(some) < MOST_EDGES
            for other, weight in some
        ]  # fmt: skip

    best: dict[int, float] = defaultdict(float)
    level = {seed: (weight, seed) for seed, weight in seeds.items()}
    for _ in range(hops):
        following: dict[int, tuple[float, int]] = {}
        for node, (weight, origin) in level.items():
            for other, share in steps(node):
                if other != origin:
                    following[other] = max(following.get(other, (0.0, 0)), (weight * share, origin))
                    best[other] = max(best[other], weight * share)
        level = following
    return dict(best)


@pytest.mark.parametrize("number", range(6))
async def test_any_graph_is_walked_as_the_reference_does(
    api: Api, caller: httpx.AsyncClient, settings: Settings, user: str, number: int
) -> None:
    chance = random.Random(number)  # noqa: S311 - alike in every run
    graph = await make(api, caller, settings, user, *(f"trace {n}" for n in range(14)))
    drawn = {}
    for _ in range(22):
        src, dst = chance.sample(range(14), 2)
        kind = chance.choice(["similar", "mentions", "summary_of", "likes"])
        drawn[src, dst, kind] = round(chance.uniform(0.3, 1), 2)
    await graph.link(*[(*one, weight) for one, weight in drawn.items()])
    for hops in (1, 2):
        seeds = {place: round(chance.uniform(0.2, 1), 2) for place in chance.sample(range(14), 3)}
        found = await graph.reached(seeds, hops)
        assert found == pytest.approx(reference(graph.edges, seeds, hops), abs=1e-6)
        assert list(found.values()) == sorted(found.values(), reverse=True)


async def test_a_hub_is_not_passed_and_takes_no_time(
    api: Api, caller: httpx.AsyncClient, settings: Settings, user: str, figure: Figure
) -> None:
    graph = await make(api, caller, settings, user, *(f"trace {n}" for n in range(2000)))
    kinds = [("mentions", 1.0), ("similar", 0.9)]
    await graph.link(
        *[(n, hub, kind, weight) for hub, (kind, weight) in enumerate(kinds) for n in range(2, 2000)],
        (2, 3, "next", 1.0),
    )
    seeds = dict.fromkeys(range(2, 12), 1.0) | {0: 1.0, 1: 1.0}
    began = time.perf_counter()
    found = await graph.reached(seeds)
    figure("milliseconds among hubs", round((time.perf_counter() - began) * 1000, 1))
    assert set(found) == {0, 1, 2, 3}
    assert found[3] == pytest.approx(DECAY["next"])


async def test_what_is_forgotten_is_not_reached(six: Graph, caller: httpx.AsyncClient, user: str) -> None:
    await six.link((0, 1, "next", 1.0), (1, 2, "similar", 0.9))
    await caller.delete(f"/memory/traces/{six.ids[1]}", params={"user_id": user})
    assert await six.reached({0: 1.0}) == {}
    assert await six.reached({1: 1.0}) == {}


@pytest.mark.parametrize("analysed", [False, True])
async def test_every_step_is_a_look_up_in_an_index(
    api: Api, caller: httpx.AsyncClient, settings: Settings, user: str, analysed: bool
) -> None:
    """As the serving role, with its generic plan, whatever the statistics say."""
    turns = [{"content": f"turn {n}", "conversation_id": "c"} for n in range(300)]
    graph = await make(api, caller, settings, user, *turns)
    await graph.link(*[(n, n - 7, "similar", 0.9) for n in range(7, 300)])
    if analysed:
        await rows(settings, "ANALYZE memory_trace")
        await rows(settings, "ANALYZE memory_edge")
    seeds = {key_of(graph.user_id, one): 1.0 for one in graph.ids[100:110]}
    watched: Any = Explaining(settings, graph.space_id)
    await spread(watched, graph.space_id, graph.bounds(), seeds, 2, 40, 10.0)
    scans = watched.scans()
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
    used = {node["Index Name"] for node in scans}
    assert used == {"memory_edge_pkey", "memory_edge_dst", "memory_trace_pkey", "memory_trace_identity"}
    assert max(node["Actual Rows"] for node in scans) < 2 * MOST_EDGES
    assert all("space_id" in node.get("Filter", "") for node in scans), "the second wall"
