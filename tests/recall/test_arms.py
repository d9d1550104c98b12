"""Each arm against a reference of its own, and what is answered when arms fail."""

import asyncio
import math
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from tests.conftest import Api, Remember, serving
from tests.memories.helpers import DIM, Fickle, found_ids, owner, post, rows, unit

from reverie.core.config import Settings
from reverie.recall.fuse import LEXICAL_HALF
from reverie.recall.lexical import K1, B

WORDS = ["amber", "basil", "copper", "dune", "ember", "fjord", "garnet", "heron", "indigo", "jasper", "krill", "lotus"]


async def recalled(caller: httpx.AsyncClient, user: str | list[str], q: str, **more: Any) -> list[tuple[str, float]]:
    answer = await caller.post("/memory/recall", json={"user_id": user, "q": q, "k": 100} | more)
    assert answer.status_code == 200, answer.text
    assert answer.json()["degraded"] == []
    return [(one["trace_id"], one["score"]) for one in answer.json()["results"]]


# The vector arm


async def test_the_order_of_the_vector_arm_is_exact(caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((300, DIM))
    vectors[100:200] = vectors[100] + 0.3 * generator.standard_normal((100, DIM))
    for who, sign in ((user, 1), (f"{user} 2", -1)):
        traces = [{"content": f"Grain {n}.", "embedding": list(sign * row)} for n, row in enumerate(vectors)]
        assert (await post(caller, who, *traces)).status_code == 201
    held = await rows(
        settings,
        "SELECT e.trace_id, e.vec::real[] FROM memory_embedding e JOIN memory_user u USING (user_id)"
        " WHERE u.external_id = %s ORDER BY e.trace_id",
        (user,),
    )
    stored = np.array([vector for _, vector in held], dtype=np.float64)
    for n in range(5):
        question = generator.standard_normal(DIM) if n else vectors[100]
        cosines = stored @ question / np.linalg.norm(stored, axis=1) / np.linalg.norm(question)
        best = np.argsort(-cosines)[:50]
        found = await recalled(caller, user, "?", recipe="vector", embedding=list(question), k=50)
        close = {i for i, j in pairwise(range(50)) if cosines[best[i]] - cosines[best[j]] < 2e-4}
        swapped = [i for i, (one, _) in enumerate(found) if one != str(held[best[i]][0])]
        assert all(i in close or i - 1 in close for i in swapped)
        assert len(swapped) <= 10
        for (_, score), place in zip(found, best, strict=True):
            assert score == pytest.approx(max(0.0, cosines[place]), abs=2e-3)


# The lexical arm


def bm25(documents: list[Counter[str]], lengths: list[int], question: set[str]) -> list[float]:
    """BM25 (Robertson and Zaragoza, 2009), as one would write it down."""
    count, mean = len(documents), sum(lengths) / len(documents)
    scores = []
    for document, length in zip(documents, lengths, strict=True):
        total = 0.0
        for term in question:
            df = sum(term in other for other in documents)
            idf = math.log(1 + (count - df + 0.5) / (df + 0.5))
            tf = document[term]
            total += idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length / mean))
        scores.append(total)
    return scores


@pytest.fixture(scope="module")
async def library(caller: httpx.AsyncClient) -> tuple[str, list[str], list[str]]:
    """(user, ids, texts) of 200 generated traces, in a language without stems, that say little besides WORDS."""
    user, chance = f"library {uuid4().hex}", random.Random(7)  # noqa: S311
    texts = []
    for n in range(200):
        weights = [1 / (1 + place) for place in range(len(WORDS))]
        texts.append(" ".join([*chance.choices(WORDS, weights, k=chance.randint(1, 40)), f"number{n}"]))
    for start in range(0, 200, 100):
        traces = [
            {"content": text, "language": "simple", "embedding": unit(n)}
            for n, text in enumerate(texts[start : start + 100])
        ]
        assert (await post(caller, user, *traces)).status_code == 201
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while len(found) < 200:
        answer = (await caller.get("/memory/traces", params={"user_id": user, "limit": "100"} | cursor)).json()
        found += answer["items"]
        cursor = {"cursor": answer["next_cursor"]}
    ids = {one["content"]: one["trace_id"] for one in found}
    return user, [ids[text] for text in texts], texts


QUESTIONS = [
    "amber",
    "lotus krill",
    "amber amber basil",
    "fjord number17",
    "garnet heron indigo jasper unheard",
    *WORDS,
]


async def test_bm25_is_what_the_books_say(
    caller: httpx.AsyncClient, library: tuple[str, list[str], list[str]], settings: Settings
) -> None:
    user, ids, texts = library
    words = dict(
        await rows(
            settings,
            "SELECT trace_id::text, words FROM memory_body WHERE trace_id = ANY(%s)",
            ([UUID(i) for i in ids],),
        )
    )
    documents = [Counter(re.findall(r"\w+", text)) for text in texts]
    for question in QUESTIONS:
        wanted = bm25(documents, [words[one] for one in ids], set(question.split()))
        scored = {one: score / (score + LEXICAL_HALF) for one, score in zip(ids, wanted, strict=True) if score > 0}
        found = await recalled(caller, user, question, recipe="lexical")
        assert len(found) == min(100, len(scored))
        for one, score in found:
            assert score == pytest.approx(scored[one], abs=2e-6), question
        best = sorted(scored.values(), reverse=True)[: len(found)]
        assert [score for _, score in found] == pytest.approx(best, abs=2e-6)


async def test_filters_do_not_change_what_a_score_means(
    caller: httpx.AsyncClient, library: tuple[str, list[str], list[str]]
) -> None:
    user, _, _ = library
    whole = dict(await recalled(caller, user, "fjord garnet", recipe="lexical"))
    await post(caller, user, {"content": "fjord", "language": "simple", "kind": "summary", "embedding": unit(1)})
    bounded = dict(await recalled(caller, user, "fjord garnet", recipe="lexical", time_window="1h"))
    changed = dict(await recalled(caller, user, "fjord garnet", recipe="lexical"))
    assert bounded == changed
    assert set(bounded) == set(whole)


async def test_other_users_traces_never_appear_and_change_no_score(
    caller: httpx.AsyncClient, remember: Remember, user: str, api: Api
) -> None:
    mine = [
        {"content": text, "embedding": unit(n)}
        for n, text in enumerate(["An otter swam.", "An otter slept.", "A stoat."])
    ]
    ids = {one["trace_id"] for one in await remember(user, *mine)}
    recipes = ("balanced", "vector", "lexical", "thorough", "fast")
    asked = {recipe: await recalled(caller, user, "otter", recipe=recipe, embedding=unit(0)) for recipe in recipes}
    assert {one for found in asked.values() for one, _ in found} <= ids
    for who in (f"{user} 2", f"{user} 3"):
        await remember(who, *[trace | {"content": f"otter otter {n}"} for n, trace in enumerate(mine * 5)])
    elsewhere = await api.caller(f"space {uuid4().hex}")
    await post(elsewhere, user, *mine)
    for recipe in recipes:
        again = await recalled(caller, user, "otter", recipe=recipe, embedding=unit(0))
        assert again == asked[recipe]
    theirs = {one for one, _ in await recalled(elsewhere, user, "otter")}
    assert len(theirs) == 3
    assert not theirs & ids


async def test_deleted_traces_never_appear_and_count_no_more(caller: httpx.AsyncClient, user: str) -> None:
    traces = [
        {"content": f"A newt of {place}.", "embedding": unit(n)} for n, place in enumerate(["Bath", "Cork", "Deal"])
    ]
    ids = [one["trace_id"] for one in (await post(caller, user, *traces)).json()["traces"]]
    await post(caller, f"{user} 2", *traces[1:])
    await caller.delete(f"/memory/traces/{ids[0]}", params={"user_id": user})
    for recipe in ("balanced", "vector", "lexical"):
        found = await recalled(caller, user, "newt of Bath", recipe=recipe, embedding=unit(0))
        fresh = await recalled(caller, f"{user} 2", "newt of Bath", recipe=recipe, embedding=unit(0))
        assert {one for one, _ in found} == set(ids[1:])
        assert sorted(score for _, score in found) == sorted(score for _, score in fresh)


@pytest.mark.parametrize("q", ["'", "\\", "a'b\\c", ":*", "!", "& | <->", "\u0001", "'' & x", "a\tb\nc", "x" * 3000])
async def test_no_text_is_taken_for_a_query_language(caller: httpx.AsyncClient, user: str, q: str) -> None:
    await post(caller, user, {"content": q, "embedding": unit(1)}, {"content": "plain words", "embedding": unit(2)})
    found = await found_ids(caller, user, q, recipe="lexical")
    assert len(found) <= 1
    both = f"{q} plain"
    assert len(await found_ids(caller, user, both, recipe="lexical")) >= 1


async def test_a_long_question_and_a_long_text(caller: httpx.AsyncClient, user: str) -> None:
    text = " ".join(f"w{n:x}" for n in range(16_000))
    (made,) = (await post(caller, user, {"content": text, "embedding": unit(1)})).json()["traces"]
    assert await found_ids(caller, user, text[:99_999], recipe="lexical") == [made["trace_id"]]
    assert await found_ids(caller, user, text[:99_999], embedding=unit(1)) == [made["trace_id"]]


# What fails


@pytest.fixture
async def own(own_settings: Settings, fickle: Fickle) -> AsyncIterator[tuple[httpx.AsyncClient, Settings]]:
    """(somebody, settings) of a service that the test may break, with one memory in it; its arms have half a second."""
    hasty = own_settings.model_copy(update={"memory_recall_timeout_seconds": 0.5})
    async with serving(hasty, fickle) as running:
        caller = await running.caller()
        assert (
            await post(caller, "ada", "The lighthouse keeper retired.", "The foghorn is silent.")
        ).status_code == 201
        yield caller, hasty


async def ask(caller: httpx.AsyncClient, **more: Any) -> tuple[int, dict[str, Any]]:
    answer = await caller.post("/memory/recall", json={"user_id": "ada", "q": "lighthouse keeper"} | more)
    return answer.status_code, answer.json()


async def works(caller: httpx.AsyncClient) -> None:
    for _ in range(6):
        status, answer = await ask(caller)
        assert (status, answer["degraded"], len(answer["results"])) == (200, [], 2)


async def test_without_the_encoder_the_words_answer(own: tuple[httpx.AsyncClient, Settings], fickle: Fickle) -> None:
    caller, _ = own
    with fickle.failing():
        status, answer = await ask(caller, explain=True)
        assert (status, answer["degraded"]) == (200, ["semantic"])
        assert answer["results"][0]["content"] == "The lighthouse keeper retired."
        assert answer["explain"]["arms"]["semantic"]["failed"] == "EmbeddingError"
        status, answer = await ask(caller, recipe="vector")
        assert status == 503
        status, answer = await ask(caller, recipe="vector", embedding=unit(1))
        assert (status, len(answer["results"])) == (200, 2)
    await works(caller)


async def test_without_the_words_the_vectors_answer(own: tuple[httpx.AsyncClient, Settings], fickle: Fickle) -> None:
    caller, settings = own
    async with owner(settings) as connection:
        cursor = await connection.execute("SELECT 'reverie_bm25'::regproc::regprocedure::text")
        row = await cursor.fetchone()
        assert row is not None
        await connection.execute(f"REVOKE EXECUTE ON FUNCTION {row[0]} FROM reverie_app")
        status, answer = await ask(caller)
        assert (status, answer["degraded"]) == (200, ["lexical"])
        assert answer["results"][0]["content"] == "The lighthouse keeper retired."
        assert 0 < answer["results"][0]["score"] <= 1
        status, _ = await ask(caller, recipe="lexical")
        assert status == 503
        with fickle.failing():
            answered = await caller.post("/memory/recall", json={"user_id": "ada", "q": "lighthouse"})
        assert answered.status_code == 503
        assert answered.headers["content-type"] == "application/problem+json"
        assert int(answered.headers["retry-after"]) > 0
        await connection.execute(f"GRANT EXECUTE ON FUNCTION {row[0]} TO reverie_app")
    await works(caller)


@pytest.mark.parametrize(("table", "arm"), [("memory_embedding", "semantic"), ("memory_body", "lexical")])
async def test_an_arm_that_is_late_leaves_it_to_the_others(
    own: tuple[httpx.AsyncClient, Settings], table: str, arm: str
) -> None:
    caller, settings = own
    async with owner(settings) as connection:
        await connection.execute("BEGIN")
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        began = asyncio.get_running_loop().time()
        status, answer = await ask(caller)
        taken = asyncio.get_running_loop().time() - began
        if arm == "semantic":
            assert (status, answer["degraded"]) == (200, ["semantic"])
            assert answer["results"][0]["content"] == "The lighthouse keeper retired."
        else:
            # The text itself is in this table, so that nothing could be shown.
            assert status == 503
        assert taken < 3
        await connection.execute("ROLLBACK")
    await works(caller)


async def test_without_redis_the_rest_answers(own_settings: Settings, fickle: Fickle) -> None:
    nowhere = own_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with serving(nowhere, fickle) as running:
        caller = await running.caller()
        made = await post(caller, "ada", "The lighthouse keeper retired.")
        assert made.status_code == 201
        status, answer = await ask(caller)
        assert (status, answer["degraded"]) == (200, ["focus"])
        assert answer["results"][0]["trace_id"] == made.json()["traces"][0]["trace_id"]
        for recipe in ("fast", "vector", "lexical"):
            status, answer = await ask(caller, recipe=recipe)
            assert (status, answer["degraded"], len(answer["results"])) == (200, [], 1)
        later = await post(caller, "ada", "The foghorn is silent.", wait=False)
        assert later.status_code == 202
        assert (
            await caller.delete(f"/memory/traces/{made.json()['traces'][0]['trace_id']}", params={"user_id": "ada"})
        ).status_code == 200


async def test_when_all_arms_fail_the_answer_is_503(own: tuple[httpx.AsyncClient, Settings], fickle: Fickle) -> None:
    caller, settings = own
    async with owner(settings) as connection:
        await connection.execute("BEGIN")
        await connection.execute("LOCK TABLE memory_user, memory_embedding IN ACCESS EXCLUSIVE MODE")
        status, answer = await ask(caller)
        assert status == 503
        assert answer["type"].endswith("unavailable")
        await connection.execute("ROLLBACK")
    await works(caller)
