"""Cold memory is found and read when it is asked for, and only what of it is still remembered."""

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import AsyncConnection
from tests.conftest import Api, remembering, serving
from tests.recall.chilling import AGES, NOW, chill

from reverie.cold.files import Reader
from reverie.cold.segments import Segment
from reverie.cold.service import ColdService
from reverie.core import clock
from reverie.core.config import Settings, load_settings
from reverie.core.kinds import KINDS
from reverie.embedding.protocol import Embedder
from reverie.objects.store import StorageTrouble
from reverie.recall import candidates, edges
from reverie.recall.cold import AT_ONCE, Cold, _wanted, joined
from reverie.recall.types import Arm, Bounds, Candidate, Found, key_of

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

    from reverie.memories.model import Model

ALL = ["hot", "warm", "cold"]

SAID = {
    "ann": [
        "The cat sleeps on the kitchen oven all winter.",
        "We bought a sailing boat and named her Nutshell.",
        "My sister Clara plays the cello in Leipzig.",
        "The tax return is due by the end of July.",
        "For the birthday she wants a blue bicycle.",
        "The doctor says to eat fewer walnuts.",
        "Our train to Vienna leaves at six in the morning.",
        "The neighbours grow tomatoes on their balcony.",
        "He lost his keys somewhere in the old harbour.",
    ],
    "ben": ["The dog sleeps in the kitchen as well.", "A sailing boat is too expensive for me."],
}
QUESTIONS = [
    "Where does the cat sleep?", "What is the boat called?", "Who plays an instrument?", "When is the tax return due?",
    "What should I not eat?", "When does the train leave?", "What grows next door?", "What was lost in the harbour?",
    '"blue bicycle"', "sailing Nutshell",
]  # fmt: skip


@dataclass
class Store:
    """A served store, and its files."""

    api: Api
    caller: httpx.AsyncClient
    settings: Settings
    ids: dict[str, list[str]]

    async def recall(self, question: str, user: str | list[str] = "ann", **more: Any) -> dict[str, Any]:
        """What is answered to a question; cold memory is asked too."""
        asked = {"user_id": user, "q": question, "tiers": ALL, "k": 5} | more
        answer = await self.caller.post("/memory/recall", json=asked)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def sql(self, query: str, *parameters: Any) -> list[Any]:
        """Runs a statement as the owner."""
        assert self.settings.database_url is not None
        async with await AsyncConnection.connect(self.settings.database_url, autocommit=True) as owner:
            cursor = await owner.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    def files(self) -> list[Path]:
        """The Parquet files."""
        return sorted((self.settings.reverie_home / "objects").rglob("*.parquet"))


def texts(answer: dict[str, Any]) -> list[str]:
    return [one["content"] for one in answer["results"]]


def told(answer: dict[str, Any]) -> dict[str, str]:
    return {one["content"]: one["tier"] for one in answer["results"]}


@asynccontextmanager
async def served(settings: Settings, embedder: Embedder) -> AsyncIterator[Store]:
    """A service over a store in which a third of all is of each tier's age."""
    async with serving(settings, embedder) as api:
        caller = await api.caller()
        remember, ids = remembering(caller), dict[str, list[str]]()
        for user, said in SAID.items():
            for tier, age in reversed(AGES.items()):
                share = said[list(AGES)[::-1].index(tier) :: 3]
                if share:
                    with clock.as_of(NOW - age):
                        told = await remember(user, *share, kind="note", conversation_id="talk")
                    ids[f"{user} {tier}"] = [one["trace_id"] for one in told]
        yield Store(api, caller, settings, ids)


@pytest.fixture(scope="module")
def own(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings for a database of this file."""
    name = f"cold_{uuid4().hex}"
    yield load_settings(
        database_url=postgres.create(name, template), redis_url=redis_url, reverie_home=tmp_path_factory.mktemp("home"),
        database_pool_size=6, memory_links="next", rerank_candidates=0, memory_cold_timeout_seconds=20,
    )  # fmt: skip
    postgres.drop(name)


@pytest.fixture(scope="module")
async def before(own: Settings, embedder: Embedder) -> dict[str, dict[str, Any]]:
    """What is answered while everything is hot, and then moved."""
    async with served(own, embedder) as store:
        answers = {question: await store.recall(question, k=9) for question in QUESTIONS}
    await chill(own)
    return answers


@pytest.fixture(scope="module")
async def store(own: Settings, embedder: Embedder, before: dict[str, Any]) -> AsyncIterator[Store]:
    """The same store, of which a third is hot, warm and cold each."""
    assert before
    async with serving(own, embedder) as api:
        key = await api.key()
        rows = Store(api, api.client(key), own, {})
        for name, tier in ((f"{user} {tier}", tier) for user in SAID for tier in AGES):
            user = name.split()[0]
            page = (await rows.caller.get("/memory/traces", params={"user_id": user, "limit": 100})).json()["items"]
            rows.ids[name] = [one["trace_id"] for one in page if one["tier"] == tier]
        yield rows


async def test_every_result_names_its_tier(store: Store) -> None:
    assert [len(store.ids[f"ann {tier}"]) for tier in AGES] == [3, 3, 3]
    assert told(await store.recall("What happened?", k=9)) == {
        text: list(AGES)[::-1][place % 3] for place, text in enumerate(SAID["ann"])
    }


async def test_cold_memory_is_left_alone_unless_it_is_asked_for(store: Store) -> None:
    for tiers in (None, ["hot"], ["warm"], ["hot", "warm"]):
        more = {} if tiers is None else {"tiers": tiers}
        asked = {"user_id": "ann", "q": "Where does the cat sleep?", "k": 9, "explain": True, "recipe": "thorough"}
        answer = (await store.caller.post("/memory/recall", json=asked | more)).json()
        assert "cold" not in {one["tier"] for one in answer["results"]}
        assert len(answer["results"]) == 3 * len(tiers or ["hot", "warm"])
        assert "cold" not in answer["explain"]["arms"]
    assert set(told(await store.recall("Where does the cat sleep?", tiers=["cold"])).values()) == {"cold"}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_the_ranking_is_that_of_one_tier(store: Store, before: dict[str, dict[str, Any]], question: str) -> None:
    was, now = before[question], await store.recall(question, k=9)
    assert texts(now)[0] == texts(was)[0]
    assert set(texts(now)) == set(texts(was))
    scores = {one["content"]: one["score"] for one in was["results"]}
    assert {one["content"]: one["score"] for one in now["results"]} == pytest.approx(scores, abs=0.06)


@pytest.mark.parametrize("recipe", ["fast", "balanced", "thorough", "vector", "lexical"])
async def test_it_is_found_by_meaning_by_words_and_by_both(store: Store, recipe: str) -> None:
    answer = await store.recall("the cat on the oven", recipe=recipe, explain=True)
    first = answer["results"][0]
    assert (first["content"], first["tier"]) == (SAID["ann"][0], "cold")
    assert ("semantic" in first["scores"], "lexical" in first["scores"]) == (recipe != "lexical", recipe != "vector")
    assert answer["degraded"] == []
    arm = answer["explain"]["arms"]["cold"]
    assert (arm["failed"], arm["rows"], arm["files"]) == (None, 3, 1)
    assert arm["milliseconds"] > 0


async def test_bounds_hold(store: Store) -> None:
    cat = SAID["ann"][0]
    begin = (NOW - AGES["cold"]).isoformat()
    end = (NOW - AGES["cold"] + timedelta(hours=1)).isoformat()
    assert set(told(await store.recall("Where does the cat sleep?", since=begin, until=end)).values()) == {"cold"}
    assert cat not in texts(await store.recall("Where does the cat sleep?", since=end, k=9))
    assert cat not in texts(await store.recall("Where does the cat sleep?", kinds=["turn"], k=9))
    assert texts(await store.recall("Where does the cat sleep?", kinds=["note"]))[0] == cat
    assert texts(await store.recall("Where does the cat sleep?", roles=["user"])) == []
    assert texts(await store.recall("Where does the cat sleep?", at=end))[0] == cat
    assert set(told(await store.recall("Where does the cat sleep?", at=end, k=9)).values()) == {"cold"}
    assert texts(await store.recall("Where does the cat sleep?", at=begin)) == []


async def test_what_happened_at_a_time_that_is_named_is_found_there(store: Store) -> None:
    day = NOW - AGES["cold"]
    answer = await store.recall(f"What happened on {day:%d %B %Y}?", k=3)
    assert set(told(answer).values()) == {"cold"}


async def test_users_are_asked_together_and_apart(store: Store) -> None:
    both = await store.recall("Who sleeps in the kitchen?", ["ann", "ben"], k=4)
    assert told(both).items() >= {(SAID["ann"][0], "cold"), (SAID["ben"][0], "cold")}
    assert SAID["ann"][0] not in texts(await store.recall("Who sleeps in the kitchen?", "ben", k=9))
    other = await store.api.caller("elsewhere")
    asked = {"user_id": "ann", "q": "Where does the cat sleep?", "tiers": ALL}
    assert (await other.post("/memory/recall", json=asked)).json()["results"] == []


async def test_an_answer_is_kept_until_something_changes(store: Store) -> None:
    first = await store.recall("Where does the cat sleep, again?")
    assert await store.recall("Where does the cat sleep, again?") == first | {"took_ms": pytest.approx(0, abs=100)}


async def test_links_and_focus_lead_to_cold_traces_only_when_these_are_asked_for(store: Store) -> None:
    database = store.api.app.state.database
    ((space, user),) = await store.sql("SELECT space_id, user_id FROM memory_user WHERE external_id = 'ann'")
    # Newest first: the oldest warm one follows the newest cold one in their conversation.
    warm, cold = (
        key_of(user, UUID(store.ids[name][place])) for name, place in (("ann warm", -1), ("ann cold", 0))
    )  # fmt: skip
    bounds = Bounds([user], [KINDS["note"]], [0])
    for wanted in (False, True):
        found = await edges.spread(database, space, bounds, {warm: 1.0}, 1, 10, 5.0, cold=wanted)
        assert (cold in found.reached) is wanted
        assert len(found.reached) == 1 + wanted
        known = await candidates.weighable(database, space, [warm, cold], None, 5.0, cold=wanted)
        assert {one.key for one in known} == ({warm, cold} if wanted else {warm})
        traces, links, untold = await candidates.results(database, space, [warm, cold], None, 5.0)
        assert (set(traces), set(untold), len(links)) == ({warm}, {cold}, 1)


async def test_what_is_being_written_to_a_file_is_not_cold_yet(store: Store) -> None:
    database = store.api.app.state.database
    ((space, user),) = await store.sql("SELECT space_id, user_id FROM memory_user WHERE external_id = 'ann'")
    warm = UUID(store.ids["ann warm"][0])
    await store.sql(
        "INSERT INTO memory_digest (space_id, user_id, trace_id, segment_id, sentence, minhash, words)"
        " SELECT %s, %s, %s, id, '', '', 0 FROM cold_segment", space, user, warm,
    )  # fmt: skip
    try:
        known = await candidates.weighable(database, space, [key_of(user, warm)], None, 5.0)
        assert [one.key for one in known] == [key_of(user, warm)]
        answer = await store.recall("What is in two places at this moment?", k=9)
        assert sorted(told(answer).values()) == ["cold"] * 3 + ["hot"] * 3 + ["warm"] * 3
        assert len(set(texts(answer))) == 9
    finally:
        await store.sql("DELETE FROM memory_digest WHERE trace_id = %s", warm)


def test_searches_find_a_thread_and_give_back_their_places() -> None:
    wanted = _wanted(Bounds([uuid4()], [1], [0]), None, (), ())

    async def searched() -> None:
        loop, others, own = asyncio.get_running_loop(), threading.Event(), threading.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))
        searching = Cold(cast("ColdService", None), cast("Model", None), 5.0)
        given = [loop.run_in_executor(None, others.wait)]

        async def search(seconds: float) -> None:
            async with asyncio.timeout(seconds):
                await searching._scanned([], wanted, time.monotonic() + seconds)

        try:
            for _ in range(2 * AT_ONCE):
                await search(5)
            given += [loop.run_in_executor(searching._threads, own.wait) for _ in range(AT_ONCE)]
            for _ in range(2 * AT_ONCE):
                with pytest.raises(TimeoutError):
                    await search(0.05)
            own.set()
            await search(5)
        finally:
            others.set()
            own.set()
            await asyncio.gather(*given)
            searching.close()

    asyncio.run(searched())


# --- What the files still hold and nobody remembers


@asynccontextmanager
async def lost(store: Store, change: str, back: str) -> AsyncIterator[None]:
    """Something was done to the cold cat that the file does not know."""
    trace_id = next(
        one["trace_id"] for one in (await store.recall("the cat on the oven"))["results"] if "cat" in one["content"]
    )
    await store.sql(change, trace_id)
    try:
        yield
    finally:
        await store.sql(back, trace_id)


CHANGES = {
    "forgotten": (
        "UPDATE memory_trace SET deleted_at = now() WHERE id = %s",
        "UPDATE memory_trace SET deleted_at = NULL WHERE id = %s",
    ),
    "thawed": (
        "UPDATE memory_digest SET thawed_until = now() + interval '1 day' WHERE trace_id = %s",
        "UPDATE memory_digest SET thawed_until = NULL WHERE trace_id = %s",
    ),
    "in another file": (
        "UPDATE memory_digest SET segment_id = gen_random_uuid() WHERE trace_id = %s",
        "UPDATE memory_digest SET segment_id = (SELECT id FROM cold_segment) WHERE trace_id = %s",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("recipe", ["balanced", "lexical", "vector"])
async def test_what_does_not_stand_is_not_shown_though_its_file_holds_it(store: Store, what: str, recipe: str) -> None:
    change, back = CHANGES[what]
    async with lost(store, change, back):
        answer = await store.recall(f"the cat on the oven ({what} {recipe})", k=9, recipe=recipe)
        assert SAID["ann"][0] not in texts(answer)
        assert answer["degraded"] == []
        if recipe != "lexical":
            assert len(answer["results"]) == 8
    assert texts(await store.recall(f"the cat on the oven {what} {recipe} once more", k=9))[0] == SAID["ann"][0]


async def test_enough_are_found_behind_many_that_do_not_stand(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reverie.recall.cold.SPARE", 0)
    monkeypatch.setattr("reverie.recall.cold.DEEPER", 1.5)
    async with lost(store, *CHANGES["forgotten"]):
        answer = await store.recall("the cat on the oven, or what else", k=2, tiers=["cold"], recipe="vector")
    assert len(answer["results"]) == 2


# --- What goes wrong


@pytest.fixture
def file(store: Store) -> Iterator[Path]:
    """The largest file, put back afterwards."""
    path = max(store.files(), key=lambda one: one.stat().st_size)
    kept = path.with_suffix(".kept")
    shutil.copy(path, kept)
    yield path
    shutil.move(kept, path)


def harm(file: Path, how: str) -> None:
    """Does something to a file that nobody should."""
    whole = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2] if how == "cut" else bytes(2000) + whole[2000:])


@pytest.mark.parametrize("how", ["gone", "cut", "garbled"])
async def test_a_damaged_file_is_noted_and_the_rest_answers(store: Store, file: Path, how: str) -> None:
    harm(file, how)
    answer = await store.recall(f"Where does the cat sleep when its file is {how}?", k=9)
    assert answer["degraded"] == ["cold"]
    assert len(answer["results"]) == 6
    assert "cold" not in told(answer).values()
    ((damage,),) = await store.sql("SELECT damage FROM cold_segment WHERE damage IS NOT NULL")
    assert damage


async def test_a_file_that_is_whole_again_is_read_again(store: Store) -> None:
    answer = await store.recall("Where does the cat sleep when its file is back?", k=9)
    assert (len(answer["results"]), answer["degraded"]) == (9, [])


async def test_a_storage_that_is_away_leaves_it_to_hot_and_warm(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: ColdService, segment: Segment) -> Reader:
        raise StorageTrouble(f"Object storage does not answer ({segment.id}).")

    monkeypatch.setattr(ColdService, "open", away)
    answer = await store.recall("Where does the cat sleep while storage is away?", k=9, explain=True)
    assert answer["degraded"] == ["cold"]
    assert len(answer["results"]) == 6
    assert answer["explain"]["arms"]["cold"]["failed"] == "StorageTrouble"


async def test_texts_that_cannot_be_read_make_way_for_what_can(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: Any, *__: Any) -> tuple[dict[bytes, str], bool]:
        return {}, False

    monkeypatch.setattr("reverie.recall.cold.Cold.texts", nothing)
    answer = await store.recall("the cat on the oven, unreadable", k=4)
    assert answer["degraded"] == ["cold"]
    assert len(answer["results"]) == 4
    assert "cold" not in told(answer).values()


async def test_past_its_deadline_hot_and_warm_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, asked = ColdService.open, 0

    def slow(cold: ColdService, segment: Segment) -> Reader:
        nonlocal asked
        asked += 1
        time.sleep(1.0)
        return opened(cold, segment)

    monkeypatch.setattr(ColdService, "open", slow)
    service = store.api.app.state.recall
    monkeypatch.setattr(service._cold, "seconds", 0.3)
    began = time.monotonic()
    answers = await asyncio.gather(*(store.recall(f"Where does the cat sleep, {n}?", k=9) for n in range(5)))
    assert time.monotonic() - began < 1.0
    for answer in answers:
        assert answer["degraded"] == ["cold"]
        assert len(answer["results"]) == 6
    # Those that hang keep their places, so that no thread is left to others.
    assert asked <= 2
    await asyncio.sleep(1.2)
    monkeypatch.undo()
    assert (await store.recall("Where does the cat sleep afterwards?"))["degraded"] == []


# --- Joining


def _found(scores: dict[str, float], **more: Any) -> Found:
    keys = {name.encode().ljust(32, b"."): score for name, score in scores.items()}
    moment = datetime(2025, 1, 1)  # noqa: DTZ001 - only passed on
    known = {key: Candidate(key, None, None, 9, "note", moment, 0.5, False, False, None, False, None) for key in keys}
    return Found(keys, known, **more)


def _arm(scores: dict[str, float], **more: Any) -> Arm:
    found = _found(scores)
    return Arm("lexical", found.scores, found.candidates, **more)


def names(arm: Arm) -> dict[str, float]:
    return {key.rstrip(b".").decode(): round(score, 6) for key, score in arm.scores.items()}


def test_scores_of_words_are_joined_as_shares_of_what_could_be_had() -> None:
    arm = joined(_arm({"a": 6.0}, most=10.0), _found({"b": 20.0}, most=40.0), 10)
    assert names(arm) == {"a": 6.0, "b": 5.0}
    assert arm.most == 10.0
    assert set(arm.candidates) == set(arm.scores)


def test_a_phrase_that_is_only_found_here_or_there_weighs_alike() -> None:
    hot, cold = _arm({"a": 15.0}, most=20.0, bonus=1.0), _found({"b": 20.0}, most=40.0)
    assert names(joined(hot, cold, 10)) == {"a": 15.0, "b": 5.0}
    assert joined(hot, cold, 10).most == 20.0
    phrase = joined(_arm({"a": 6.0}, most=10.0), _found({"b": 60.0}, most=80.0, bonus=1.0), 10)
    assert names(phrase) == {"a": 6.0, "b": 15.0}
    assert phrase.most == 20.0


def test_only_the_best_of_both_are_kept_and_what_failed_stays_so() -> None:
    arm = joined(_arm({"a": 0.9, "b": 0.3}), _found({"c": 0.5, "d": 0.1}), 2)
    assert names(arm) == {"a": 0.9, "c": 0.5}
    assert set(arm.candidates) == set(arm.scores)
    failed = Arm("semantic", failed="TimeoutError")
    assert joined(failed, _found({"c": 0.5}), 2) is failed
    both = joined(_arm({"a": 0.4}), _found({"a": 0.9}), 2)
    assert names(both) == {"a": 0.4}
    alone = joined(_arm({}), _found({"c": 8.0}, most=10.0), 2)
    assert (names(alone), alone.most) == ({"c": 8.0}, 10.0)
