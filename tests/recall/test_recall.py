"""What a question finds: within its bounds, by each recipe, and what the answer says."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Remember
from tests.memories.helpers import found_ids, post, unit

from reverie.core import clock

TRACES: list[dict[str, Any]] = [
    {"content": "Apple harvest began.", "kind": "turn", "role": "user", "conversation_id": "farm",
     "occurred_at": "2023-09-01", "meta": {"n": 1, "tag": "red", "deep": {"er": True}, "list": [1, 2]}},
    {"content": "Apple cider was pressed.", "kind": "turn", "role": "assistant", "conversation_id": "farm",
     "occurred_at": "2023-10-01", "meta": {"n": 2, "tag": "green", "list": [3]}},
    {"content": "Apple trees were pruned.", "kind": "note", "occurred_at": "2024-02-01",
     "meta": {"n": 3.5, "tag": None}},
    {"content": "Apple is a fruit.", "kind": "fact", "meta": {"tag": 'qu"ote\\ é🍎', "odd key": {"a\tb": 1}}},
    {"content": "Apple manual, part one.", "kind": "chunk", "role": "tool", "conversation_id": "book"},
    {"content": "Apple summary of the year.", "kind": "summary", "meta": {"n": 6}},
    {"content": "Apple, the entity.", "kind": "entity"},
    {"content": "Apple system prompt.", "role": "system", "conversation_id": "farm", "occurred_at": "2023-09-15"},
]  # fmt: skip


@pytest.fixture(scope="module")
async def orchard(remember: Remember) -> tuple[str, list[str]]:
    """(user, ids) of TRACES."""
    user = f"orchard {uuid4().hex}"
    return user, [one["trace_id"] for one in await remember(user, *TRACES)]


RECENT = {3, 4}
"""Those without a time of their own."""

BOUNDS: list[tuple[dict[str, Any], set[int]]] = [
    ({}, {0, 1, 2, 3, 4, 7}),
    ({"kinds": ["note"]}, {2}),
    ({"kinds": ["summary", "entity"]}, {5, 6}),
    ({"kinds": ["turn", "note", "fact", "chunk", "summary", "entity"]}, set(range(8))),
    ({"roles": ["user"]}, {0}),
    ({"roles": ["assistant", "tool"]}, {1, 4}),
    ({"conversation_id": "farm"}, {0, 1, 7}),
    ({"conversation_id": "nowhere"}, set()),
    ({"conversation_id": "farm", "roles": ["system"], "kinds": ["turn"]}, {7}),
    ({"conversation_id": "farm", "kinds": ["note"]}, set()),
    ({"since": "2023-10-01"}, {1, 2} | RECENT),
    ({"until": "2023-10-01"}, {0, 7}),
    ({"since": "2023-09-01T00:00:00Z", "until": "2023-09-15T00:00:00.000001Z"}, {0, 7}),
    ({"since": "2023-09-01T02:00:00+02:00", "until": "2023-09-01T02:00:00.000001+02:00"}, {0}),
    ({"since": "2030-01-01"}, set()),
    ({"time_window": "1h"}, RECENT),
    ({"time_window": "100y"}, {0, 1, 2, 3, 4, 7}),
    ({"at": "2023-12-01"}, set()),
    ({"at": "2999-01-01"}, {0, 1, 2, 3, 4, 7}),
    ({"tiers": ["hot"]}, {0, 1, 2, 3, 4, 7}),
    ({"tiers": ["warm", "cold"]}, set()),
]


@pytest.mark.parametrize("recipe", ["balanced", "fast", "thorough", "vector", "lexical"])
async def test_every_bound_holds_for_every_recipe(
    caller: httpx.AsyncClient, orchard: tuple[str, list[str]], recipe: str
) -> None:
    user, ids = orchard
    for bounds, wanted in BOUNDS:
        found = await found_ids(caller, user, "apple", k=100, recipe=recipe, **bounds)
        assert sorted(ids.index(one) for one in found) == sorted(wanted), bounds


FILTERS: list[tuple[dict[str, Any], set[int]]] = [
    ({"meta.n": 1}, {0}),
    ({"meta.n": 1.0}, {0}),
    ({"meta.n": {"$eq": 3.5}}, {2}),
    ({"meta.n": {"$ne": 1}}, {1, 2, 5}),
    ({"meta.n": {"$gt": 1}}, {1, 2, 5}),
    ({"meta.n": {"$gte": 2, "$lt": 6}}, {1, 2}),
    ({"meta.n": {"$lte": 2}}, {0, 1}),
    ({"meta.n": {"$in": [1, 6, 99]}}, {0, 5}),
    ({"meta.n": "1"}, set()),
    ({"meta.tag": "red"}, {0}),
    ({"meta.tag": None}, {2}),
    ({"meta.tag": {"$gt": "green"}}, {0, 3}),
    ({"meta.tag": 'qu"ote\\ é🍎'}, {3}),
    ({"meta.tag": {"$in": ["red", None]}}, {0, 2}),
    ({"meta.deep.er": True}, {0}),
    ({"meta.deep.er": False}, set()),
    ({"meta.deep.er.more": 1}, set()),
    ({"meta.list": 2}, {0}),
    ({"meta.list": {"$gt": 2}}, {1}),
    ({"meta.odd key.a\tb": 1}, {3}),
    ({"meta.n": {"$gt": 0}, "meta.tag": {"$ne": "red"}}, {1, 2}),
    ({"meta.n": -1}, set()),
    ({"meta.n": {"$gt": -1e300}}, {0, 1, 2, 5}),
    ({"meta.absent": {"$ne": 1}}, set()),
]


@pytest.mark.parametrize("recipe", ["balanced", "vector", "lexical"])
async def test_every_operator_of_the_filter(
    caller: httpx.AsyncClient, orchard: tuple[str, list[str]], recipe: str
) -> None:
    user, ids = orchard
    kinds = ["turn", "note", "fact", "chunk", "summary", "entity"]
    for condition, wanted in FILTERS:
        found = await found_ids(caller, user, "apple", k=100, recipe=recipe, kinds=kinds, filter=condition)
        assert sorted(ids.index(one) for one in found) == sorted(wanted), condition


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"n": 1},
        {"meta": 1},
        {"meta.": 1},
        {"meta..a": 1},
        {"source.a": 1},
        {"meta.n": {}},
        {"meta.n": {"$regex": "x"}},
        {"meta.n": {"$in": []}},
        {"meta.n": {"$in": 1}},
        {"meta.n": [1]},
        {"meta.n": {"$gt": {"a": 1}}},
        {"meta.a\u0000": 1},
        {f"meta.k{n}": 1 for n in range(33)},
    ],
)
async def test_a_filter_that_means_nothing_is_refused(caller: httpx.AsyncClient, condition: dict[str, Any]) -> None:
    answer = await caller.post("/memory/recall", json={"user_id": "u", "q": "x", "filter": condition})
    assert answer.status_code == 422
    assert answer.json()["field"] == "filter"


async def test_at_shows_what_was_known_then(caller: httpx.AsyncClient, user: str) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    made = []
    for day in range(3):
        with clock.as_of(start + timedelta(days=day, hours=1)):
            answer = await post(caller, user, {"content": f"Lesson {day}.", "occurred_at": "2020-01-01"})
            made.append(answer.json()["traces"][0]["trace_id"])
    for recipe in ("balanced", "vector", "lexical"):
        for day in range(4):
            at = (start + timedelta(days=day)).isoformat()
            assert set(await found_ids(caller, user, "lesson", at=at, recipe=recipe)) == set(made[:day])


async def test_the_window_ends_now(caller: httpx.AsyncClient, user: str) -> None:
    now = datetime(2026, 5, 8, 12, tzinfo=UTC)
    ages = {"2h": 1.9, "1d": 23, "2d": 47, "1w": 24 * 6.9, "1m": 24 * 29, "1y": 24 * 364}
    traces = [
        {"content": f"Visit {span}.", "occurred_at": (now - timedelta(hours=age)).isoformat()}
        for span, age in ages.items()
    ]
    with clock.as_of(now):
        made = [one["trace_id"] for one in (await post(caller, user, *traces)).json()["traces"]]
        for place, span in enumerate(ages):
            assert set(await found_ids(caller, user, "visit", time_window=span)) == set(made[: place + 1])


async def test_k_cuts_the_same_order(caller: httpx.AsyncClient, orchard: tuple[str, list[str]]) -> None:
    user, _ = orchard
    whole = await found_ids(caller, user, "pressed apple cider", k=100)
    assert len(whole) == 6
    for k in range(1, 7):
        assert await found_ids(caller, user, "pressed apple cider", k=k) == whole[:k]


async def test_more_candidates_than_a_shortlist_reads(caller: httpx.AsyncClient, user: str) -> None:
    made = await post(caller, user, *[{"content": f"Pebble {n}.", "embedding": unit(n)} for n in range(130)])
    for recipe in ("fast", "balanced", "thorough", "vector", "lexical"):
        found = await found_ids(caller, user, "pebble", k=100, recipe=recipe, embedding=unit(1))
        assert len(set(found)) == len(found) == 100, recipe
        assert set(found) <= {one["trace_id"] for one in made.json()["traces"]}


async def test_min_score_cuts_what_is_below(caller: httpx.AsyncClient, orchard: tuple[str, list[str]]) -> None:
    user, _ = orchard
    question = {"user_id": user, "q": "apple cider"}
    whole = (await caller.get("/memory/recall", params=question)).json()["results"]
    scores = [*(one["score"] for one in whole), 0.0]
    for place in (0, 2, len(whole) - 1):
        # Between two: PostgreSQL's sums and those of what is held differ in the last digit.
        between = (scores[place] + scores[place + 1]) / 2
        cut = (await caller.get("/memory/recall", params=question | {"min_score": between})).json()["results"]
        assert [one["trace_id"] for one in cut] == [one["trace_id"] for one in whole[: place + 1]]
        assert [one["score"] for one in cut] == pytest.approx(scores[: place + 1], abs=1e-5)
    assert (await caller.get("/memory/recall", params=question | {"min_score": 1})).json()["results"] == []


async def test_several_users_are_asked_together(caller: httpx.AsyncClient, user: str) -> None:
    users = [f"{user} {n}" for n in range(9)]
    made = {
        one: (await post(caller, one, f"Parrot of {n}.")).json()["traces"][0]["trace_id"] for n, one in enumerate(users)
    }
    answer = (await caller.post("/memory/recall", json={"user_id": users[:8], "q": "parrot", "k": 20})).json()
    assert {one["user_id"]: one["trace_id"] for one in answer["results"]} == {one: made[one] for one in users[:8]}
    for recipe in ("vector", "lexical"):
        two = await found_ids(caller, users[3:5], "parrot", recipe=recipe)
        assert set(two) == {made[users[3]], made[users[4]]}
    assert await found_ids(caller, [users[0], users[0]], "parrot") == [made[users[0]]]
    by_get = await caller.get("/memory/recall", params=[("user_id", users[0]), ("user_id", users[1]), ("q", "parrot")])
    assert {one["user_id"] for one in by_get.json()["results"]} == set(users[:2])
    for wrong in (users, []):
        assert (await caller.post("/memory/recall", json={"user_id": wrong, "q": "parrot"})).status_code == 422


async def test_a_user_id_with_a_comma_is_one_user(caller: httpx.AsyncClient, user: str) -> None:
    await post(caller, f"{user},b", "Parrot.")
    answer = await caller.get("/memory/recall", params={"user_id": f"{user},b", "q": "parrot"})
    assert [one["user_id"] for one in answer.json()["results"]] == [f"{user},b"]


async def test_what_a_result_holds(caller: httpx.AsyncClient, user: str) -> None:
    given = {
        "content": "Zoë missed the train.", "kind": "fact", "role": "user", "speaker": "Zoë", "conversation_id": "c",
        "external_id": "x", "occurred_at": "2024-02-29T23:30:00+02:00", "salience": 0.7, "meta": {"a": [1, None]},
    }  # fmt: skip
    (made,) = (await post(caller, user, given)).json()["traces"]
    answer = (await caller.get("/memory/recall", params={"user_id": user, "q": "train", "k": 3})).json()
    assert answer["query"] == "train"
    assert answer["k"] == 3
    assert answer["heads"] == ["semantic"]
    assert answer["took_ms"] > 0
    (result,) = answer["results"]
    read = (await caller.get(f"/memory/traces/{made['trace_id']}", params={"user_id": user})).json()
    same = ("trace_id", "user_id", "external_id", "content", "kind", "role", "speaker", "conversation_id", "created_at",
            "occurred_at", "salience", "tier", "meta")  # fmt: skip
    assert {name: result[name] for name in same} == {name: read[name] for name in same}
    assert result["via"] == []


async def test_get_and_post_agree(caller: httpx.AsyncClient, orchard: tuple[str, list[str]]) -> None:
    user, _ = orchard
    lists = {"kinds": ["turn", "note"], "roles": ["user", "assistant"], "tiers": ["hot"], "heads": ["semantic"]}
    rest = {"k": 4, "since": "2023-01-01T00:00:00Z", "until": "2025-01-01T00:00:00Z", "min_score": 0.01,
            "recipe": "thorough"}  # fmt: skip
    common = {"user_id": user, "q": "pressed apple"}
    by_post = (await caller.post("/memory/recall", json=common | lists | rest)).json()
    commas = common | rest | {name: ",".join(values) for name, values in lists.items()}
    repeated: list[tuple[str, Any]] = [*(common | rest).items()]
    repeated += [(name, value) for name, values in lists.items() for value in values]
    both: list[Any] = [commas, repeated]
    for params in both:
        by_get = (await caller.get("/memory/recall", params=params)).json()
        assert by_get | {"took_ms": 0} == by_post | {"took_ms": 0}
    assert len(by_post["results"]) == 2


@pytest.mark.parametrize("recipe", ["balanced", "fast", "thorough", "vector", "lexical"])
async def test_scores_lie_between_0_and_1_fall_and_add_up(
    caller: httpx.AsyncClient, orchard: tuple[str, list[str]], recipe: str
) -> None:
    user, _ = orchard
    for q in (
        "Apple cider was pressed.",
        "apple " * 50,
        "what?",
        "🍏",
        "pressed -apple | ! & <-> :* ' \\",
        "the of and",
    ):
        answer = (
            await caller.post("/memory/recall", json={"user_id": user, "q": q, "recipe": recipe, "explain": True})
        ).json()
        assert answer["degraded"] == []
        scores = [one["score"] for one in answer["results"]]
        assert all(0 <= score <= 1 for score in scores)
        assert scores == sorted(scores, reverse=True)
        for one in answer["results"]:
            assert one["score"] == pytest.approx(sum(answer["explain"]["shares"][one["trace_id"]].values()), abs=1e-4)
        arms = {"vector": {"semantic"}, "lexical": {"lexical"}}.get(recipe)
        assert all(arms is None or set(one["scores"]) == arms for one in answer["results"])


async def test_a_head_without_vectors_leaves_it_to_the_words(
    caller: httpx.AsyncClient, orchard: tuple[str, list[str]]
) -> None:
    user, ids = orchard
    for heads in (["situation"], ["entity", "situation"]):
        answer = (await caller.post("/memory/recall", json={"user_id": user, "q": "cider", "heads": heads})).json()
        assert answer["degraded"] == []
        assert answer["heads"] == heads
        assert answer["results"][0]["trace_id"] == ids[1]
    assert await found_ids(caller, user, "cider", heads=["situation"], recipe="vector") == []


async def test_a_supplied_vector_stands_for_the_question(caller: httpx.AsyncClient, user: str) -> None:
    made = await post(caller, user, *[{"content": f"Shell {n}.", "embedding": unit(n)} for n in range(5)])
    ids = [one["trace_id"] for one in made.json()["traces"]]
    for n in range(5):
        scaled = [1e-3 * x for x in unit(n)]
        answer = await caller.post(
            "/memory/recall", json={"user_id": user, "q": "?", "recipe": "vector", "embedding": scaled}
        )
        assert answer.json()["results"][0]["trace_id"] == ids[n]
        assert answer.json()["results"][0]["score"] == pytest.approx(1, abs=2e-3)
    for wrong in ([1.0], [0.0] * 384, "x", [None] * 384):
        refused = await caller.post("/memory/recall", json={"user_id": user, "q": "?", "embedding": wrong})
        assert refused.status_code == 422
        assert refused.json()["field"] == "embedding"


async def test_the_focus_is_read_where_the_arms_found_too_few(
    caller: httpx.AsyncClient, orchard: tuple[str, list[str]]
) -> None:
    user, _ = orchard
    question = {"user_id": user, "q": "zeppelin", "explain": "true"}
    for k, arms in ((6, {"semantic", "lexical"}), (7, {"semantic", "lexical", "focus"})):
        explained = (await caller.get("/memory/recall", params=question | {"k": str(k)})).json()["explain"]
        assert set(explained["arms"]) == arms
        assert explained["arms"]["semantic"]["candidates"] == 6


async def test_explain_says_what_each_arm_did(caller: httpx.AsyncClient, orchard: tuple[str, list[str]]) -> None:
    user, _ = orchard
    question = {"user_id": user, "q": "apple"}
    assert (await caller.get("/memory/recall", params=question)).json()["explain"] is None
    explained = (await caller.get("/memory/recall", params=question | {"explain": "true"})).json()["explain"]
    assert explained["plan"] == "held"
    assert set(explained["arms"]) == {"semantic", "lexical", "focus"}
    assert explained["arms"]["semantic"]["candidates"] == explained["arms"]["lexical"]["candidates"] == 6
    assert all(arm["failed"] is None and arm["milliseconds"] > 0 for arm in explained["arms"].values())
    alone = await caller.get("/memory/recall", params=question | {"explain": "true", "recipe": "vector"})
    assert set(alone.json()["explain"]["arms"]) == {"semantic"}


async def test_among_equals_the_newer_comes_first(caller: httpx.AsyncClient, user: str) -> None:
    equals = [{"content": f"The bell rang {n}.", "role": "user", "embedding": unit(1)} for n in range(100, 112)]
    ids = [one["trace_id"] for one in (await post(caller, user, *equals)).json()["traces"]]
    for recipe in ("vector", "lexical", "fast", "balanced"):
        assert await found_ids(caller, user, "bell", k=5, recipe=recipe, embedding=unit(1)) == ids[:-6:-1]


async def test_what_only_repeats_another_is_shown_with_it(caller: httpx.AsyncClient, user: str) -> None:
    same = {"role": "user", "speaker": "Ada", "embedding": unit(1)}
    said = ["The bell rang.", "the bell rang", "The bell rang!", "The bell fell."]
    others = {"content": "The bell rang.", "speaker": "Bob", "role": "user", "embedding": unit(1)}
    made = await post(caller, user, *[same | {"content": text} for text in said], others)
    ids = [one["trace_id"] for one in made.json()["traces"]]
    asked = {"user_id": user, "q": "Whose bell rang?", "embedding": unit(1)}
    results = (await caller.post("/memory/recall", json=asked)).json()["results"]
    stands_for = {one["trace_id"]: set(one["repeats"]) for one in results}
    (shown,) = stands_for.keys() & set(ids[:3])
    assert stands_for == {shown: set(ids[:3]) - {shown}, ids[3]: set(), ids[4]: set()}
    for recipe in ("vector", "lexical"):
        assert len(await found_ids(caller, user, "bell", recipe=recipe, embedding=unit(1))) == 5


async def test_edges_are_shown_among_results_only(caller: httpx.AsyncClient, user: str) -> None:
    made = await post(caller, user, "Gulls.", "Terns.", "Auks.", conversation_id="c")
    ids = [one["trace_id"] for one in made.json()["traces"]]
    answer = (await caller.get("/memory/recall", params={"user_id": user, "q": "auks", "k": 2})).json()
    shown = {one["trace_id"] for one in answer["results"]}
    edges = {(edge["src"], edge["dst"]) for edge in answer["edges"]}
    assert edges == {pair for pair in pairwise(ids) if set(pair) <= shown}
    whole = (await caller.get("/memory/recall", params={"user_id": user, "q": "auks", "k": 3})).json()["edges"]
    assert [(one["user_id"], one["type"], one["weight"]) for one in whole] == [(user, "next", 1.0)] * 2


async def test_the_words_of_a_language_are_those_of_its_traces(caller: httpx.AsyncClient, user: str) -> None:
    await post(
        caller,
        user,
        {"content": "Die Häuser am Fluss", "language": "de"},
        {"content": "simple running", "language": "simple"},
    )
    assert len(await found_ids(caller, user, "haus", recipe="lexical")) == 1
    assert await found_ids(caller, user, "runs", recipe="lexical") == []


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"k": 0}, "k"), ({"k": 101}, "k"), ({"recipe": "best"}, "recipe"), ({"heads": "tail"}, "heads.0"),
        ({"time_window": "-3d"}, "time_window"), ({"min_score": "1.5"}, "min_score"), ({"q": " "}, "q"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(caller: httpx.AsyncClient, bad: dict[str, Any], field: str) -> None:
    answer = await caller.get("/memory/recall", params={"user_id": "u", "q": "x"} | bad)
    assert answer.status_code == 422
    assert answer.json()["field"].startswith(field.split(".", maxsplit=1)[0])


async def test_a_window_that_reaches_before_all_time(caller: httpx.AsyncClient) -> None:
    asked = {"user_id": "early", "q": "anything", "at": "0050-01-01", "time_window": "100y"}
    answer = await caller.get("/memory/recall", params=asked)
    assert answer.status_code == 200
    assert answer.json()["results"] == []


@pytest.mark.parametrize(
    "condition", [{"meta.a": {"$in": list(range(1001))}}, {"meta." + ".".join("a" * 33): 1}], ids=["choices", "keys"]
)
async def test_a_filter_that_is_too_large_is_refused(caller: httpx.AsyncClient, condition: dict[str, Any]) -> None:
    answer = await caller.post("/memory/recall", json={"user_id": "any", "q": "anything", "filter": condition})
    assert answer.status_code == 422
    assert answer.json()["field"] == "filter"


@pytest.mark.parametrize(("field", "value"), [("k", True), ("k", "5"), ("min_score", "0.5"), ("explain", 1)])
async def test_a_body_takes_numbers_as_numbers(caller: httpx.AsyncClient, field: str, value: object) -> None:
    answer = await caller.post("/memory/recall", json={"user_id": "any", "q": "anything", field: value})
    assert answer.status_code == 422
    assert answer.json()["field"] == field
