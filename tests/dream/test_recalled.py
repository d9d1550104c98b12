"""What nights have made, as recall sees it: beside the candidates, of the user alone, and gone with its sources."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from tests.conftest import Api, Remember
from tests.dream.days import GARDEN, NIGHT, rows, talk

from reverie.auth.principal import Principal
from reverie.core import clock
from reverie.core.database import Connection
from reverie.core.ids import user_uuid
from reverie.recall import pipeline
from reverie.recall.cache import SECONDS
from reverie.recall.cold import COLD, Cold, Searched
from reverie.recall.night import FEWEST, Night
from reverie.recall.pipeline import Stopwatch
from reverie.recall.recipes import RECIPES
from reverie.recall.schemas import RecallIn
from reverie.recall.strengths import Desk, Sheets, nights_of, told
from reverie.recall.types import Arm, Found, key_of, user_of
from reverie.runtime import Runtime

TALKS = FEWEST
QUESTION = "Which tulip survived the greenhouse?"


@pytest.fixture
async def principal(runtime: Runtime, api: Api) -> Principal:
    return await runtime.keys.authenticate(await api.key())


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vector arm brings three candidates, and seven where nights tell which of them matter."""
    recipe = replace(RECIPES["balanced"], depth=3, night_depth=7)
    monkeypatch.setattr(pipeline, "RECIPES", {**RECIPES, "balanced": recipe})


async def nights(remember: Remember, user: str = "ann", count: int = TALKS) -> list[str]:
    """Remembers as many conversations of a day; the ids of their turns."""
    ids = []
    for n in range(count):
        said = [(speaker, f"{text} It was visit {n}.") for speaker, text in GARDEN]
        ids += [one["trace_id"] for one in await remember(user, *talk(f"c{n}", hour=n, said=said))]
    return ids


async def dream(runtime: Runtime, owner: Connection) -> None:
    await runtime.dreams.run(as_of=NIGHT)
    for (operation,) in await rows(owner, "SELECT id FROM operation WHERE kind = 'embed' AND state = 'pending'"):
        assert await runtime.operations.run(operation)


async def night_of(runtime: Runtime, principal: Principal, user: str = "ann") -> Night | None:
    """What recall knows of a user's nights, brought anew."""
    user_id = user_uuid(principal.space_id, user)
    runtime.recall.forget(user_id, [])
    return (await runtime.recall.sheets(principal, [user_id]))[user_id.bytes].night


async def explained(caller: httpx.AsyncClient, users: str | Sequence[str], q: str, **more: Any) -> dict[str, Any]:
    answer = await caller.post("/memory/recall", json={"user_id": users, "q": q, "explain": True} | more)
    assert answer.status_code == 200, answer.text
    assert answer.json()["degraded"] == []
    found: dict[str, Any] = answer.json()
    return found


def by_nights(answer: dict[str, Any]) -> bool:
    """Whether what nights have made had a share in the scores."""
    shares = answer["explain"]["shares"].values()
    return any({"importance", "summaries"} & share.keys() for share in shares)


async def test_what_a_night_made_is_known_beside_the_candidates(
    remember: Remember, owner: Connection, runtime: Runtime, principal: Principal
) -> None:
    ids = await nights(remember)
    assert await night_of(runtime, principal) is None
    await dream(runtime, owner)
    made = await night_of(runtime, principal)
    assert made is not None
    # Beside those of the conversations, that of the whole day.
    assert len(made.made) == TALKS + 1
    assert made.talks.keys() == {None, *(f"c{n}" for n in range(TALKS))}
    assert np.linalg.norm(made.vectors, axis=1) == pytest.approx(1, abs=1e-2)
    assert made.made.tolist() == pytest.approx([clock.now().timestamp()] * (TALKS + 1), abs=60)
    quoted = await rows(owner, "SELECT DISTINCT dst FROM memory_edge WHERE type = 'summary_of'")
    assert made.quoted.keys() == {one.bytes for (one,) in quoted}
    assert {str(one) for (one,) in quoted} <= set(ids)


async def test_the_words_of_a_question_are_those_of_summaries(
    remember: Remember, owner: Connection, runtime: Runtime, principal: Principal
) -> None:
    await nights(remember)
    before = clock.now()
    await dream(runtime, owner)
    await night_of(runtime, principal)
    query = RecallIn(user_id=["ann"], q=QUESTION, tiers=["hot"])
    gathered = await runtime.recall.gather(principal, query, Stopwatch())
    rows, answer = gathered.pool.rows, gathered.night
    assert answer is not None
    matrix = answer.matrix(rows, np.zeros(len(rows), dtype=np.bool_))
    assert matrix is not None
    assert (matrix[:, 4] > 0).all()
    assert told(nights_of(gathered.sheets, before), gathered.arms) is None


@pytest.mark.usefixtures("narrow")
async def test_whom_nights_tell_of_is_looked_through_more_widely(
    remember: Remember, owner: Connection, runtime: Runtime, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nights(remember)
    query = RecallIn(user_id=["ann"], q=QUESTION, k=3, tiers=["hot"])

    async def looked_through(**more: Any) -> int:
        gathered = await runtime.recall.gather(principal, query, Stopwatch(), **more)
        return len(gathered.arms["semantic"].scores)

    assert await looked_through() == 3
    await dream(runtime, owner)
    assert await night_of(runtime, principal) is not None
    assert (await looked_through(), await looked_through(nights=False)) == (7, 3)
    # What is known of the user is late: the arm does not wait for it.
    runtime.recall.forget(user_uuid(principal.space_id, "ann"), [])
    bring = Desk.bring

    async def late(*given: Any) -> Sheets:
        await asyncio.sleep(0.3)
        return await bring(*given)

    monkeypatch.setattr(Desk, "bring", late)
    assert await looked_through() == 3


@pytest.mark.usefixtures("narrow")
async def test_whom_nights_tell_too_little_of_is_looked_through_as_before(
    remember: Remember, owner: Connection, runtime: Runtime, principal: Principal
) -> None:
    await nights(remember)
    await dream(runtime, owner)
    assert await night_of(runtime, principal) is not None
    # Of the day that has begun there is no summary yet.
    await remember("ann", *({"content": f"{QUESTION} Tulip {n} survived the greenhouse."} for n in range(7)))
    query = RecallIn(user_id=["ann"], q=QUESTION, k=3, tiers=["hot"])
    gathered = await runtime.recall.gather(principal, query, Stopwatch())
    assert gathered.night is not None
    assert not gathered.night.of(gathered.pool.rows)
    assert len(gathered.arms["semantic"].scores) == len(gathered.arms["semantic"].candidates) == 3


@pytest.mark.usefixtures("narrow")
async def test_what_is_cold_makes_nobody_look_less_widely(
    remember: Remember, owner: Connection, runtime: Runtime, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nights(remember)
    await dream(runtime, owner)
    assert await night_of(runtime, principal) is not None
    warm = RecallIn(user_id=["ann"], q=QUESTION, k=3, tiers=["hot"])
    found = (await runtime.recall.gather(principal, warm, Stopwatch())).arms["semantic"].candidates
    key, one = next(iter(found.items()))
    old = key_of(user_of(key), UUID(int=1))

    async def search(*_: Any, **__: Any) -> Searched:
        return Searched(Arm(COLD), semantic=Found({old: 2.0}, {old: one._replace(key=old)}))

    monkeypatch.setattr(Cold, "search", search)
    gathered = await runtime.recall.gather(principal, warm.model_copy(update={"tiers": ["hot", "cold"]}), Stopwatch())
    assert len(gathered.arms["semantic"].scores) == 7
    assert old in gathered.arms["semantic"].scores


@pytest.mark.usefixtures("narrow")
async def test_without_a_ranker_of_the_night_nobody_looks_more_widely(
    remember: Remember, owner: Connection, runtime: Runtime, api: Api, caller: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await nights(remember)
    await dream(runtime, owner)
    recall = api.app.state.recall
    for rankers, wide in ((recall._rankers, 7), ({}, 3)):
        monkeypatch.setattr(recall, "_rankers", rankers)
        for _ in range(2):
            answer = await explained(caller, "ann", QUESTION, k=3, tiers=["hot"])
        assert answer["explain"]["arms"]["semantic"]["candidates"] == wide


async def test_who_looks_no_more_widely_waits_for_no_night(
    remember: Remember, runtime: Runtime, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nights(remember, count=1)
    query = RecallIn(user_id=["ann"], q=QUESTION, recipe="fast", tiers=["hot"])
    late, waited = asyncio.Event(), list[float]()
    wait = asyncio.wait
    bring = Desk.bring

    async def slow(*given: Any) -> Sheets:
        await late.wait()
        return await bring(*given)

    async def noted(*given: Any, **more: Any) -> Any:
        waited.append(more.get("timeout", 0))
        return await wait(*given, **more)

    monkeypatch.setattr(Desk, "bring", slow)
    monkeypatch.setattr(asyncio, "wait", noted)
    runtime.recall.forget(user_uuid(principal.space_id, "ann"), [])
    asking = asyncio.create_task(runtime.recall.gather(principal, query, Stopwatch()))
    await asyncio.sleep(0.2)
    late.set()
    assert len((await asking).arms["semantic"].scores) > 0
    assert pipeline.SHEETS_WITHIN not in waited


async def test_recall_ranks_by_nights_once_they_were_dreamt(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await nights(remember)
    await nights(remember, "ben")
    assert not by_nights(await explained(caller, "ann", "Where were tulips planted?"))
    later = clock.now() + timedelta(seconds=2 * SECONDS)
    with clock.as_of(later):
        before = await explained(caller, "ben", "Where were tulips planted?")
    await caller.patch("/memory/users/ben", json={"dream": False})
    await dream(runtime, owner)
    with clock.as_of(later):
        assert by_nights(await explained(caller, "ann", "Where were tulips planted?"))
        assert by_nights(await explained(caller, "ann", "Where were tulips planted?", recipe="thorough"))
        after = await explained(caller, "ben", "Where were tulips planted?")
        assert not by_nights(after)
        scores = [[(one["trace_id"], one["score"]) for one in answer["results"]] for answer in (before, after)]
        assert scores[0] == scores[1]
        assert by_nights(await explained(caller, ["ann", "ben"], "Where were tulips planted?"))
        assert not by_nights(await explained(caller, "ann", "Where were tulips planted?", recipe="vector"))


async def test_as_of_a_moment_before_the_night_it_has_no_share(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await nights(remember)
    before = clock.now()
    await dream(runtime, owner)
    for moment, known in ((before, False), (clock.now(), True)):
        answer = await explained(caller, "ann", "Where were tulips planted?", at=moment.isoformat())
        assert len(answer["results"]) == 10
        assert by_nights(answer) is known


async def test_what_was_made_of_something_goes_with_it(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime, principal: Principal
) -> None:
    await nights(remember)
    await dream(runtime, owner)
    made = await night_of(runtime, principal)
    assert made is not None
    query = (
        "SELECT min(e.dst::text) FROM memory_edge e JOIN memory_trace t ON t.user_id = e.user_id AND t.id = e.dst"
        " WHERE e.type = 'summary_of' GROUP BY t.conversation_id ORDER BY t.conversation_id LIMIT 2"
    )
    (forgotten,), (changed,) = await rows(owner, query)
    scope = {"trace_id": forgotten}
    assert (await caller.post("/memory/forget", json={"user_id": "ann", "scope": scope})).status_code == 200
    left = await night_of(runtime, principal)
    assert left is not None
    assert "c0" not in left.talks
    assert bytes.fromhex(forgotten.replace("-", "")) not in left.quoted
    answer = await caller.patch(
        f"/memory/traces/{changed}", params={"user_id": "ann"}, json={"content": "Nothing was planted."}
    )
    assert answer.status_code == 200, answer.text
    await dream(runtime, owner)
    anew = await night_of(runtime, principal)
    assert anew is not None
    assert anew.talks.keys() == made.talks.keys()
    at, before = anew.place("c1", _last(anew, "c1")), made.place("c1", _last(made, "c1"))
    assert set(anew.words[anew.of == at].tolist()) != set(made.words[made.of == before].tolist())


def _last(night: Night, conversation: str) -> Any:
    return night.talks[conversation][0][-1]


async def test_nights_that_cannot_be_read_leave_recall_to_the_rest(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime, api: Api,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await nights(remember)
    await dream(runtime, owner)
    with monkeypatch.context() as patch:
        patch.setattr(vars(api.app.state.recall)["_desk"], "_nights", b"SELECT cardinality(%b::uuid[]) / 0")
        answer = await explained(caller, "ann", "Where were tulips planted?")
        assert len(answer["results"]) == 10
        assert not by_nights(answer)
    # What could not be read is not kept: the next recall tries again.
    assert by_nights(await explained(caller, "ann", "Where were tulips planted?"))


async def test_nights_of_others_are_theirs(
    remember: Remember, owner: Connection, runtime: Runtime, principal: Principal, api: Api
) -> None:
    await nights(remember)
    await dream(runtime, owner)
    assert await night_of(runtime, principal, "ben") is None
    stranger = await runtime.keys.authenticate(await api.key("elsewhere"))
    user_id = user_uuid(principal.space_id, "ann")
    runtime.recall.forget(user_id, [])
    # Row-level security lets nobody of another space see them, whosever id is named.
    assert (await runtime.recall.sheets(stranger, [user_id]))[user_id.bytes].night is None
