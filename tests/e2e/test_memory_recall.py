"""End to end over hot traces: what was remembered is found, at once and by what it says."""

import time
from itertools import pairwise
from statistics import median

import httpx
import pytest

from tests.conftest import Remember

TURNS = [
    {"speaker": "Nora", "content": "We moved to Porto in March, the flat has a tiny balcony.", "role": "user"},
    {"speaker": "Nora", "content": "Miso, our cat, already rules the place.", "role": "user"},
    {"speaker": "Ilse", "content": "I signed up for the half marathon in Ghent on 18 October.", "role": "user"},
    {"speaker": "Ilse", "content": "My knee hurts when it rains, the physio says to rest.", "role": "user"},
    {"speaker": "Nora", "content": "The sourdough finally rose, forty hours in the fridge did it.", "role": "user"},
]


@pytest.fixture
async def ids(remember: Remember) -> list[str]:
    answered = await remember("friends", *TURNS, conversation_id="kitchen")
    return [one["trace_id"] for one in answered]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where did Nora move to?", 0),
        ("What is the cat called?", 1),
        ("Which race will Ilse run?", 2),
        ("What did Ilse say about her knee?", 3),
        ("How did the bread turn out?", 4),
    ],
)
async def test_the_right_turn_comes_first(
    caller: httpx.AsyncClient, ids: list[str], question: str, expected: int
) -> None:
    answer = await caller.get("/memory/recall", params={"user_id": "friends", "q": question, "k": 3})
    found = answer.json()
    assert answer.status_code == 200
    assert found["degraded"] == []
    assert found["results"][0]["trace_id"] == ids[expected]
    assert found["results"][0]["content"] == TURNS[expected]["content"]
    assert 0 < found["results"][0]["score"] <= 1


async def test_scores_fall_and_every_arm_is_shown(caller: httpx.AsyncClient, ids: list[str]) -> None:
    answer = await caller.get(
        "/memory/recall", params={"user_id": "friends", "q": "the cat called Miso", "explain": True}
    )
    results = answer.json()["results"]
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len(results) == len(ids)
    assert results[0]["scores"]["semantic"] > 0
    assert results[0]["scores"]["lexical"] > 0
    shares = answer.json()["explain"]["shares"][results[0]["trace_id"]]
    assert results[0]["score"] == pytest.approx(sum(shares.values()), abs=1e-4)


async def test_turns_of_a_conversation_are_linked(caller: httpx.AsyncClient, ids: list[str]) -> None:
    answer = await caller.get("/memory/recall", params={"user_id": "friends", "q": "Nora", "k": 5})
    edges = {(edge["src"], edge["dst"], edge["type"]) for edge in answer.json()["edges"]}
    assert edges == {(before, after, "next") for before, after in pairwise(ids)}


@pytest.mark.usefixtures("ids")
async def test_recall_takes_less_than_100_ms(caller: httpx.AsyncClient) -> None:
    questions = ["Where does Nora live?", "the cat", "half marathon", "rest for the knee", "sourdough"]
    taken = []
    for question in questions * 3:
        began = time.perf_counter()
        answer = await caller.get("/memory/recall", params={"user_id": "friends", "q": question})
        taken.append(time.perf_counter() - began)
        assert answer.json()["degraded"] == []
    assert median(taken) < 0.1


async def test_a_user_without_memories_recalls_an_empty_list(caller: httpx.AsyncClient) -> None:
    answer = await caller.get("/memory/recall", params={"user_id": "nobody", "q": "anything"})
    assert answer.status_code == 200
    assert answer.json()["results"] == []
    assert answer.json()["degraded"] == []
