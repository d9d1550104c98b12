"""The graph over HTTP: what is around what, strongest first, within bounds, and nothing that cannot be seen."""

from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.conftest import Api
from tests.contracts.house import assert_problem
from tests.explaining import Explaining
from tests.graph.drawn import Drawn
from tests.memories.helpers import rows

from reverie.core.config import Settings
from reverie.graph.protocol import TOGETHER, Link, Whose
from reverie.graph.repository import OUT, PostgresGraph
from reverie.graph.spreading import BEAM, NEAR, crowded


@pytest.fixture
async def empty(caller: httpx.AsyncClient, settings: Settings, user: str) -> Drawn:
    return Drawn(caller, settings, user)


@pytest.fixture
async def family(empty: Drawn) -> Drawn:
    """Ann and Bea in three texts, Carl in one of them; Ann lives in Oslo."""
    await empty.trace("Ann met Bea.", "Ann and Bea again.", "Ann, Bea and Carl.", "It rains.")
    await empty.entity("Ann", "Bea", "Carl", "Oslo")
    await empty.link(
        ("Ann met Bea.", "Ann", "mentions"), ("Ann met Bea.", "Bea", "mentions"),
        ("Ann and Bea again.", "Ann", "mentions"), ("Ann and Bea again.", "Bea", "mentions"),
        ("Ann, Bea and Carl.", "Ann", "mentions"), ("Ann, Bea and Carl.", "Bea", "mentions"),
        ("Ann, Bea and Carl.", "Carl", "mentions"), ("Ann", "Oslo", "lives_in"), ("It rains.", "Oslo", "mentions"),
    )  # fmt: skip
    return empty


async def test_around_nothing_are_the_entities_that_are_mentioned_most(family: Drawn) -> None:
    found = await family.graph()
    assert {node["label"] for node in found["nodes"][:2]} == {"Ann", "Bea"}
    assert {node["label"] for node in found["nodes"]} == {"Ann", "Bea", "Carl", "Oslo"}
    assert {node["kind"] for node in found["nodes"]} == {"entity"}
    assert [node["weight"] for node in found["nodes"]] == pytest.approx([1, 1, 1 / 3, 1 / 3])
    assert found["around"] is None
    assert found["more"] is False
    assert found["backend"] == "postgres"
    # What is stated comes before who is mentioned together.
    assert found["edges"][0]["type"] == "lives_in"


async def test_entities_are_joined_by_what_mentions_both(family: Drawn) -> None:
    found = await family.graph(types=TOGETHER)
    label = {node["trace_id"]: node["label"] for node in found["nodes"]}
    weights = {frozenset((label[e["src"]], label[e["dst"]])): e["weight"] for e in found["edges"]}
    assert weights == {
        frozenset(("Ann", "Bea")): 1.0,
        frozenset(("Ann", "Carl")): pytest.approx(1 / 3**0.5, abs=1e-6),
        frozenset(("Bea", "Carl")): pytest.approx(1 / 3**0.5, abs=1e-6),
    }


async def test_around_an_entity_by_whichever_spelling(family: Drawn) -> None:
    for name in ("Ann", "ann", " ANN ", str(family.ids["Ann"])):
        found = await family.graph(around=name, hops=1)
        assert found["around"] == str(family.ids["Ann"])
        assert found["nodes"][0]["label"] == "Ann"
        assert {node["label"] for node in found["nodes"]} == {
            "Ann", "Oslo", "Ann met Bea.", "Ann and Bea again.", "Ann, Bea and Carl."
        }  # fmt: skip
    # Stated before mentioned.
    assert found["nodes"][1]["label"] == "Oslo"


async def test_a_further_hop_reaches_further(family: Drawn) -> None:
    assert set(await family.labels(around="Carl", hops=1)) == {"Carl", "Ann, Bea and Carl."}
    assert set(await family.labels(around="Carl", hops=2)) == {"Carl", "Ann, Bea and Carl.", "Ann", "Bea"}
    assert "It rains." not in await family.labels(around="Carl", hops=3)
    assert "Oslo" in await family.labels(around="Carl", hops=3)
    assert await family.labels(around="Carl", hops=3, limit=1) == ["Carl"]


async def test_only_some_types_of_edges_are_walked(family: Drawn) -> None:
    assert await family.labels(around="Ann", types="lives_in") == ["Ann", "Oslo"]
    assert await family.edges(around="Ann", types="lives_in") == {("Ann", "Oslo", "lives_in")}
    both = await family.edges(around="Ann", hops=1, types="lives_in,mentions")
    assert {kind for _, _, kind in both} == {"lives_in", "mentions"}
    assert await family.labels(around="Ann", types="knows") == ["Ann"]


async def test_others_than_some_kinds_are_passed_and_not_shown(family: Drawn) -> None:
    assert set(await family.labels(around="Carl", kinds="entity", hops=2)) == {"Carl", "Ann", "Bea"}
    edges = await family.edges(around="Carl", kinds="entity", hops=2)
    assert {frozenset((a, b)) for a, b, kind in edges if kind == TOGETHER} == {
        frozenset(pair) for pair in (("Ann", "Bea"), ("Ann", "Carl"), ("Bea", "Carl"))
    }
    whole = await family.labels(kinds="entity,note")
    assert {"Ann", "Ann met Bea.", "It rains."} <= set(whole)


async def test_around_nothing_hops_count_where_others_than_entities_are_shown(family: Drawn) -> None:
    await family.trace("It pours.")
    await family.link(("It rains.", "It pours.", "next"))
    assert "It pours." not in await family.labels(kinds="entity,note", hops=1)
    assert "It pours." in await family.labels(kinds="entity,note", hops=2)
    assert "It pours." not in await family.labels(kinds="entity", hops=2)


async def test_without_entities_what_matters_most_is_shown(empty: Drawn) -> None:
    await empty.trace("dull", salience=0.4)
    await empty.trace("grave", salience=0.9)
    await empty.link(("grave", "dull", "similar", 0.7))
    assert await empty.labels() == ["grave", "dull"]
    assert await empty.edges() == {("grave", "dull", "similar")}


async def test_an_unknown_user_has_an_empty_graph(empty: Drawn) -> None:
    assert await empty.graph() == {
        "user_id": empty.user, "around": None, "nodes": [], "edges": [], "more": False, "backend": "postgres"
    }  # fmt: skip


async def test_there_is_nothing_around_nothing(family: Drawn, caller: httpx.AsyncClient) -> None:
    nobody = uuid4()
    assert str(nobody) in assert_problem(await family.get(around=nobody), 404)
    assert "'Dora'" in assert_problem(await family.get(around="Dora"), 404)
    other = await caller.get("/memory/graph", params={"user_id": uuid4().hex, "around": str(family.ids["Ann"])})
    assert_problem(other, 404)


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"hops": 9}, "hops", "at most 3"),
        ({"hops": 0}, "hops", "at least 1"),
        ({"hops": "far"}, "hops", "whole number"),
        ({"limit": 0}, "limit", "at least 1"),
        ({"limit": 501}, "limit", "at most 500"),
        ({"types": "Not A Type"}, "types", "small letters"),
        ({"types": ""}, "types", "small letters"),
        ({"types": ",".join(f"t{n}" for n in range(33))}, "types", ""),
        ({"kinds": "person"}, "kinds", "entity"),
        ({"around": ""}, "around", ""),
        ({"around": "a\x00b"}, "around", "U+0000"),
        ({"depth": 2}, "depth", "not a field"),
        ({"user_id": ""}, "user_id", ""),
    ],
)
async def test_bad_input_is_one_sentence(family: Drawn, given: dict[str, str], field: str, says: str) -> None:
    assert says in assert_problem(await family.get(**given), 422, field)


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"from": "Ann"}, "to", "required"),
        ({"to": "Ann"}, "from", "required"),
        ({"from": "Ann", "to": "Bea", "hops": 9}, "hops", "at most 6"),
        ({"from": "Ann", "to": "Bea", "limit": 6}, "limit", "at most 5"),
        ({"from": "Ann", "to": "Bea", "types": "É"}, "types", "small letters"),
        ({"start": "Ann", "from": "Ann", "to": "Bea"}, "start", "not a field"),
    ],
)
async def test_bad_ends_of_paths(family: Drawn, given: dict[str, str], field: str, says: str) -> None:
    assert says in assert_problem(await family.get("/memory/graph/path", **given), 422, field)


async def paths(drawn: Drawn, start: str, end: str, **given: object) -> list[list[str]]:
    answer = await drawn.get("/memory/graph/path", **{"from": start, "to": end, **given})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["from"], found["to"]) == (str(drawn.ids[start]), str(drawn.ids[end]))
    label = {node["trace_id"]: node["label"] for node in found["nodes"]}
    for path in found["paths"]:
        # Each edge joins the nodes beside it.
        for one, other, edge in zip(path["trace_ids"][:-1], path["trace_ids"][1:], path["edges"], strict=True):
            assert {one, other} == {edge["src"], edge["dst"]}
    assert sorted((p["weight"] for p in found["paths"]), reverse=True) == [p["weight"] for p in found["paths"]]
    return [[label[one] for one in path["trace_ids"]] for path in found["paths"]]


@pytest.mark.parametrize("name", ["Ann", "ANN"])
async def test_from_one_to_itself_there_is_no_path(family: Drawn, name: str) -> None:
    answer = await family.get("/memory/graph/path", **{"from": "Ann", "to": name})
    assert answer.status_code == 200, answer.text
    assert answer.json()["paths"] == []


async def test_paths_between_two(family: Drawn) -> None:
    assert await paths(family, "Ann", "Oslo") == [["Ann", "Oslo"]]
    found = await paths(family, "Carl", "Oslo")
    assert found == [["Carl", "Ann, Bea and Carl.", "Ann", "Oslo"]]
    three = await paths(family, "Ann", "Bea")
    assert sorted(three) == [
        ["Ann", text, "Bea"] for text in ("Ann and Bea again.", "Ann met Bea.", "Ann, Bea and Carl.")
    ]
    assert len(await paths(family, "Ann", "Bea", limit=2)) == 2
    assert await paths(family, "Carl", "Oslo", hops=2) == []
    assert await paths(family, "Ann", "Oslo", types="mentions") == []


async def unjoined(drawn: Drawn, start: str, end: str, **given: object) -> bool:
    """Whether more lies around two than was looked at, where no path was found."""
    ends = {"from": str(drawn.ids[start]), "to": str(drawn.ids[end])}
    answer = await drawn.get("/memory/graph/path", **ends, **given)
    assert answer.status_code == 200, answer.text
    assert answer.json()["paths"] == []
    return bool(answer.json()["more"])


async def test_no_path_where_all_was_looked_at(family: Drawn) -> None:
    assert await unjoined(family, "Carl", "Oslo", hops=2) is False
    assert await unjoined(family, "Ann", "Ann") is False


async def test_no_path_where_a_node_has_more_edges_than_are_looked_at(lisbon: Drawn) -> None:
    await lisbon.trace("It rains.")
    assert await unjoined(lisbon, "Lisbon", "It rains.") is True
    assert await unjoined(lisbon, "It rains.", "Lisbon") is True
    assert await unjoined(lisbon, "Lisbon", "It rains.", types="lives_in") is False


async def test_no_path_where_more_nodes_were_found_than_are_looked_at(empty: Drawn) -> None:
    texts = [f"note {n}" for n in range(NEAR)]
    await empty.trace("hub", "apart", *texts)
    await empty.link(*((text, "hub", "similar") for text in texts[1:]))
    assert await unjoined(empty, "hub", "apart", hops=2) is False
    await empty.link((texts[0], "hub", "similar"))
    assert await unjoined(empty, "hub", "apart", hops=2) is True


async def test_no_path_where_not_every_node_was_gone_on_from(empty: Drawn) -> None:
    texts = [f"note {n}" for n in range(BEAM)]
    await empty.trace("hub", *texts, "weak", "one", "two", "three", "end")
    await empty.link(*((text, "hub", "similar") for text in texts))
    assert await unjoined(empty, "hub", "end", hops=5) is False
    way = ["hub", "weak", "one", "two", "three", "end"]
    await empty.link(*((src, dst, "similar", 0.1) for src, dst in pairwise(way)))
    assert await unjoined(empty, "hub", "end", hops=5) is True
    answer = await empty.get("/memory/graph", around=str(empty.ids["hub"]), hops=3)
    assert answer.json()["more"] is True


async def test_a_path_goes_through_a_node_from_which_very_many_edges_lead(empty: Drawn) -> None:
    """Its oldest edges are not among those that are read of it, but found from their other ends."""
    liked = [f"thing {n}" for n in range(OUT + 20)]
    await empty.trace(*liked)
    await empty.entity("Ann")
    await empty.link(*(("Ann", one, "likes") for one in liked))
    first, second = sorted(liked, key=lambda one: empty.ids[one])[:2]
    for hops in (2, 4):
        answer = await empty.get(
            "/memory/graph/path", **{"from": str(empty.ids[first]), "to": str(empty.ids[second]), "hops": hops}
        )
        found = answer.json()["paths"]
        assert [way["trace_ids"] for way in found] == [[str(empty.ids[one]) for one in (first, "Ann", second)]]


async def test_a_strong_way_is_preferred_to_a_weak_one(empty: Drawn) -> None:
    await empty.trace("a", "b", "left", "right")
    await empty.link(
        ("a", "left", "similar", 0.9), ("left", "b", "similar", 0.9), ("a", "right", "similar", 0.3),
        ("right", "b", "similar", 0.9), ("a", "b", "similar", 0.05),
    )  # fmt: skip
    ids = empty.ids
    answer = await empty.get("/memory/graph/path", **{"from": str(ids["a"]), "to": str(ids["b"])})
    ways = [path["trace_ids"] for path in answer.json()["paths"]]
    assert ways == [[str(ids[one]) for one in way] for way in (["a", "left", "b"], ["a", "right", "b"], ["a", "b"])]


async def test_paths_of_nobody(family: Drawn) -> None:
    assert_problem(await family.get("/memory/graph/path", **{"from": "Ann", "to": "Dora"}), 404)
    assert_problem(await family.get("/memory/graph/path", **{"from": str(uuid4()), "to": "Ann"}), 404)


async def test_what_is_forgotten_is_not_there(family: Drawn, caller: httpx.AsyncClient) -> None:
    scope = {"trace_id": str(family.ids["Ann, Bea and Carl."])}
    answer = await caller.post("/memory/forget", json={"user_id": family.user, "scope": scope})
    assert answer.status_code == 200
    assert "Ann, Bea and Carl." not in await family.labels(around="Ann", hops=3)
    assert not {e for e in await family.edges() if "Carl" in e}


@pytest.mark.parametrize(
    "hide",
    [
        "UPDATE memory_trace SET deleted_at = now() WHERE user_id = %s AND id = %s",
        "UPDATE memory_trace SET expires_at = now() - interval '1 s' WHERE user_id = %s AND id = %s",
    ],
)
async def test_what_is_being_removed_is_neither_shown_nor_passed(family: Drawn, hide: str) -> None:
    """A large scope is invisible at once, and removed later."""
    await family.execute(hide, family.user_id, family.ids["Ann, Bea and Carl."])
    assert await family.labels(around="Carl", hops=3) == ["Carl"]
    assert not {e for e in await family.edges() if "Carl" in e}
    assert await paths(family, "Carl", "Ann") == []
    await family.execute(hide, family.user_id, family.ids["Oslo"])
    assert_problem(await family.get(around="Oslo"), 404)
    assert_problem(await family.get(around=str(family.ids["Oslo"])), 404)
    assert "Oslo" not in await family.labels()


async def test_what_is_superseded_is_marked(empty: Drawn) -> None:
    await empty.trace("Lives in Rome.", "Lives in Oslo.")
    await empty.link(("Lives in Oslo.", "Lives in Rome.", "supersedes"))
    found = await empty.graph(around=str(empty.ids["Lives in Oslo."]), hops=1)
    by_label = {node["label"]: node["superseded_by"] for node in found["nodes"]}
    assert by_label == {"Lives in Rome.": str(empty.ids["Lives in Oslo."]), "Lives in Oslo.": None}


async def test_a_cold_trace_is_called_by_what_stays_of_it(empty: Drawn) -> None:
    await empty.trace("We bought a boat. It is blue.", "nobody knows")
    both = (empty.user_id, empty.ids["We bought a boat. It is blue."])
    await empty.execute(
        "INSERT INTO memory_digest (space_id, user_id, trace_id, segment_id, sentence, minhash, words)"
        " SELECT space_id, user_id, id, gen_random_uuid(), 'We bought a boat.', 'm', 3 FROM memory_trace"
        " WHERE user_id = %s AND id = %s",
        *both,
    )
    await empty.execute("DELETE FROM memory_body WHERE user_id = %s", empty.user_id)
    found = {node["label"]: node["cold"] for node in (await empty.graph())["nodes"]}
    assert found == {"We bought a boat.": True, None: True}


async def test_a_label_is_one_short_line(empty: Drawn) -> None:
    await empty.trace("first\n\n  second " + "word " * 100)
    [label] = await empty.labels()
    assert label.startswith("first second word")
    assert len(label) <= 120
    assert label.endswith("…")


async def test_another_spaces_graph_is_not_there(family: Drawn, api: Api) -> None:
    stranger = await api.caller(f"space {uuid4().hex}")
    answer = await stranger.get("/memory/graph", params={"user_id": family.user})
    assert answer.json()["nodes"] == []
    for around in ("Ann", str(family.ids["Ann"])):
        assert_problem(await stranger.get("/memory/graph", params={"user_id": family.user, "around": around}), 404)


async def test_of_very_many_edges_a_bounded_part_is_shown(empty: Drawn) -> None:
    await empty.trace(*(f"note {n}" for n in range(700)))
    await empty.entity("Hub")
    await empty.link(*((f"note {n}", "Hub", "mentions") for n in range(700)))
    found = await empty.graph(around="Hub", limit=500)
    assert len(found["nodes"]) == 500
    assert found["nodes"][0]["label"] == "Hub"
    assert found["more"] is True
    assert len(found["edges"]) == 499
    assert len((await empty.graph(around="Hub", limit=10))["nodes"]) == 10


@pytest.fixture
async def lisbon(empty: Drawn) -> Drawn:
    """Ann lives in Lisbon, which 300 texts have mentioned since."""
    texts = [f"note {n}" for n in range(300)]
    await empty.trace(*texts)
    await empty.entity("Ann", "Lisbon")
    await empty.link(("Ann", "Lisbon", "lives_in", 0.3))
    await empty.link(*((text, "Lisbon", "mentions") for text in texts))
    return empty


async def test_many_mentions_take_no_place_of_what_is_stated(lisbon: Drawn) -> None:
    found = await lisbon.graph(around="Lisbon", types="lives_in", hops=1, limit=10)
    assert [node["label"] for node in found["nodes"]] == ["Lisbon", "Ann"]
    assert [edge["type"] for edge in found["edges"]] == ["lives_in"]
    assert found["more"] is False
    assert ("Ann", "Lisbon", "lives_in") in await lisbon.edges(around="Lisbon", kinds="entity", hops=1, limit=10)
    assert len(await lisbon.labels(around="Lisbon", types="mentions", hops=1, limit=10)) == 10


async def test_where_not_all_edges_were_looked_at_there_may_be_more(lisbon: Drawn) -> None:
    found = await lisbon.graph(around="Lisbon", kinds="entity", hops=1, limit=10)
    assert [node["label"] for node in found["nodes"]] == ["Lisbon", "Ann"]
    assert found["more"] is True
    assert (await lisbon.graph(around="Lisbon", kinds="entity", hops=1, limit=400))["more"] is False


def test_a_node_has_more_edges_than_are_looked_at_one_way() -> None:
    hub, *others = (UUID(int=n).bytes for n in range(5))
    mentions = [Link(one, hub, "mentions", 1.0) for one in others[:2]]
    both = [*mentions, *(Link(one, hub, "knows", 1.0) for one in others[2:]), Link(hub, others[0], "knows", 1.0)]
    assert not crowded(both * 2, [hub], 2), "each way by itself, and each edge once"
    assert not crowded(both, others, 2)
    assert crowded(both, [hub], 1)
    assert crowded([*mentions, Link(others[2], hub, "mentions", 1.0)], [hub], 2)
    assert not crowded([], [hub], 0)


async def test_of_very_many_edges_the_last_are_read_and_no_others(lisbon: Drawn) -> None:
    [[space_id]] = await rows(lisbon.settings, "SELECT space_id FROM memory_user WHERE user_id = %s", (lisbon.user_id,))
    asked: Any = Explaining(lisbon.settings, space_id)
    for types in (None, ["lives_in"], ["mentions"]):
        await PostgresGraph(asked).neighbours(Whose(space_id, lisbon.user_id), [lisbon.ids["Lisbon"].bytes], types, 10)
        # An index that is read forwards gives the first.
        read = {(node["Index Name"], node["Scan Direction"]) for node in asked.scans()}
        assert read == {(f"memory_edge_{one}", "Backward") for one in ("pkey", "apart", "dst")}
        assert asked.most_rows() <= 10
