"""Suggestions as notes are remembered: what they connect to, why, and the edges that are made on the way in."""

import httpx
import psycopg
import pytest
from tests.conftest import Api, Remember
from tests.memories.helpers import Fickle, rows, unit
from tests.relating.helpers import TRAIN, TRIP, contents, edges, note, related, whys

from reverie.core.config import Settings
from reverie.relating import looking, onway
from reverie.relating.looking import Looker

LIKE = "The night train to Fort William is booked."


async def test_a_note_connects_to_what_is_about_the_same(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings
) -> None:
    await remember(user, *TRIP)
    made = await note(caller, user, TRAIN)
    found = {one["content"]: one for one in made["suggestions"]}
    assert made["suggestions"][0]["content"] == TRIP[1]
    assert whys(found[TRIP[1]]) == {"shared_entity", "alike", "same_topic"}
    words = next(one["words"] for one in found[TRIP[1]]["reasons"] if one["why"] == "same_topic")
    assert words == ["train", "fort"]
    assert {TRIP[1], TRIP[4], "Fort William"} <= found.keys()
    assert found["Fort William"]["kind"] == "entity"
    assert TRIP[2] not in found
    [entity] = [one for one in found[TRIP[4]]["reasons"] if one["why"] == "shared_entity"]
    assert entity["entities"] == [{"trace_id": found["Fort William"]["trace_id"], "name": "Fort William"}]
    scores = [one["score"] for one in made["suggestions"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    linked = await edges(settings, user)
    assert {(TRAIN, "mentions", "Fort William", None), (TRIP[1], "mentions", "Fort William", None)} <= linked


async def test_what_says_nearly_the_same_gets_an_edge(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings
) -> None:
    await remember(user, *TRIP)
    made = await note(caller, user, LIKE)
    linked = await edges(settings, user)
    assert {(LIKE, "similar", TRIP[1], None), (LIKE, "same_topic", TRIP[1], None)} <= linked
    [alike] = [one for one in made["suggestions"][0]["reasons"] if one["why"] == "alike"]
    assert alike["score"] > 0.85


async def test_an_edge_of_what_was_found_leads_further(
    caller: httpx.AsyncClient, user: str, remember: Remember
) -> None:
    ids = [one["trace_id"] for one in await remember(user, *TRIP)]
    body = {"user_id": user, "src": ids[1], "dst": ids[2], "type": "same_evening"}
    assert (await caller.post("/memory/edges", json=body)).status_code == 201
    found = {one["content"]: one for one in (await note(caller, user, TRAIN, 20))["suggestions"]}
    assert TRIP[2] not in found, "one hop alone says too little"
    found = {one["content"]: one for one in await related(caller, user, ids[2])}
    [reason] = found[TRIP[1]]["reasons"][:1]
    assert (reason["why"], reason["edge"]["type"]) == ("edge", "same_evening")


async def test_only_notes_get_suggestions_and_only_where_they_are_asked_for(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings
) -> None:
    await remember(user, *TRIP)
    turn = await note(caller, user, {"content": TRAIN, "role": "user"})
    assert turn["suggestions"] is None
    plain = await caller.post("/memory/remember", json={"user_id": user, "traces": [{"content": TRAIN}]})
    assert "suggestions" not in plain.json()["traces"][0]
    assert await edges(settings, user) == set()


async def test_as_many_as_are_wanted(caller: httpx.AsyncClient, user: str, remember: Remember) -> None:
    await remember(user, *(f"The night train to Fort William, day {n} of the trip." for n in range(30)))
    for k in (1, 7, 20):
        made = await note(caller, user, f"{TRAIN} ({k})", k)
        assert len(made["suggestions"]) == k
        assert made["trace_id"] not in {one["trace_id"] for one in made["suggestions"]}


async def test_a_first_note_connects_to_nothing(caller: httpx.AsyncClient, user: str) -> None:
    made = await note(caller, user, TRAIN)
    assert (made["status"], made["suggestions"], made["degraded"]) == ("stored", [], [])


async def test_several_notes_of_a_request(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings
) -> None:
    await remember(user, *TRIP)
    traces = [{"content": TRAIN}, {"content": "Fort William has a good bakery."}, {"content": TRAIN}]
    answer = await caller.post("/memory/remember?suggest=5", json={"user_id": user, "traces": traces})
    first, second, again = answer.json()["traces"]
    assert TRIP[1] in contents(first["suggestions"])
    assert "Fort William" in contents(second["suggestions"])
    # One entity of a name that both have.
    named = {one["trace_id"] for made in (first, second) for one in made["suggestions"] if one["kind"] == "entity"}
    assert len(named) == 1
    assert (again["status"], again["suggestions"]) == ("duplicate", first["suggestions"])
    found = await rows(settings, "SELECT count(*) FROM memory_trace WHERE id = ANY(%s::uuid[])", (list(named),))
    assert found == [(1,)]


async def test_a_note_that_is_known_gets_its_suggestions_too(
    caller: httpx.AsyncClient, user: str, remember: Remember
) -> None:
    await remember(user, *TRIP)
    await note(caller, user, TRAIN)
    known = await note(caller, user, TRAIN)
    assert known["status"] == "duplicate"
    assert TRIP[1] in contents(known["suggestions"])
    assert TRAIN not in contents(known["suggestions"])


@pytest.mark.usefixtures("api")
async def test_a_note_that_brings_its_vector_and_is_known(caller: httpx.AsyncClient, user: str) -> None:
    mine = {"content": TRAIN, "embedding": unit(1)}
    await note(caller, user, mine)
    await note(caller, user, {"content": TRIP[1], "embedding": unit(1)})
    known = await note(caller, user, mine)
    assert (known["status"], contents(known["suggestions"])[0]) == ("duplicate", TRIP[1])


async def test_a_repeated_request_is_answered_the_same(
    caller: httpx.AsyncClient, user: str, remember: Remember
) -> None:
    await remember(user, *TRIP)
    once = f"once {user}"
    first = await note(caller, user, TRAIN, once=once)
    await remember(user, "Another night train to Fort William.")
    assert await note(caller, user, TRAIN, once=once) == first
    body = {"user_id": user, "traces": [{"content": TRAIN}]}
    other = await caller.post("/memory/remember?suggest=4", json=body, headers={"Idempotency-Key": once})
    assert other.status_code == 422, "other suggestions are another request"


async def test_without_the_encoder_names_and_words_tell(
    caller: httpx.AsyncClient, user: str, remember: Remember, fickle: Fickle, settings: Settings
) -> None:
    await remember(user, *TRIP)
    with fickle.failing():
        made = await note(caller, user, TRAIN)
    assert (made["vectors"], made["degraded"]) == ("pending", ["encoder", "suggestions"])
    assert contents(made["suggestions"])[0] == TRIP[1]
    assert whys(made["suggestions"][0]) == {"shared_entity", "same_topic"}
    assert (TRAIN, "mentions", "Fort William", None) in await edges(settings, user)


async def test_what_is_not_waited_for_says_that_there_may_be_more(
    caller: httpx.AsyncClient, user: str, remember: Remember
) -> None:
    await remember(user, *TRIP)
    body = {"user_id": user, "traces": [{"content": TRAIN}]}
    answer = await caller.post("/memory/remember?suggest=5&wait=false", json=body)
    assert (answer.status_code, answer.json()["degraded"]) == (202, ["suggestions"])
    assert contents(answer.json()["traces"][0]["suggestions"])[0] == TRIP[1]


@pytest.mark.parametrize(
    ("part", "left"), [("_names", {"alike", "same_topic"}), ("_words", {"alike", "shared_entity"}),
                       ("_nearest", {"same_topic", "shared_entity"})]
)  # fmt: skip
async def test_a_search_that_fails_leaves_it_to_the_others(
    caller: httpx.AsyncClient, user: str, remember: Remember, monkeypatch: pytest.MonkeyPatch, part: str, left: set[str]
) -> None:
    await remember(user, *TRIP)

    async def fails(*_: object) -> None:
        raise psycopg.errors.QueryCanceled("too slow")

    monkeypatch.setattr(Looker, part, fails)
    made = await note(caller, user, TRAIN)
    assert (made["status"], made["vectors"], made["degraded"]) == ("stored", "stored", ["suggestions"])
    assert whys(next(one for one in made["suggestions"] if one["content"] == TRIP[1])) == left
    answer = await caller.get(f"/memory/traces/{made['trace_id']}/related", params={"user_id": user})
    assert answer.json()["degraded"] == [{"_names": "entities", "_words": "lexical", "_nearest": "semantic"}[part]]


async def test_where_nothing_can_be_read_the_note_is_remembered_all_the_same(
    api: Api, caller: httpx.AsyncClient, user: str, remember: Remember, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remember(user, *TRIP)

    async def late(*_: object) -> None:
        raise TimeoutError

    for part in ("_names", "_words", "_nearest"):
        monkeypatch.setattr(Looker, part, late)
    made = await note(caller, user, TRAIN)
    assert (made["status"], made["suggestions"], made["degraded"]) == ("stored", [], ["suggestions"])
    found = await caller.get(f"/memory/traces/{made['trace_id']}", params={"user_id": user})
    assert found.json()["content"] == TRAIN


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("21", "suggest takes a number of at most 20, not 21."),
        ("-1", "suggest takes a number of at least 0, not -1."),
        ("five", "suggest takes a whole number, not 'five'."),
        ("1.5", "suggest takes a whole number, not '1.5'."),
    ],
)
async def test_as_many_as_nobody_suggests(caller: httpx.AsyncClient, user: str, given: str, says: str) -> None:
    body = {"user_id": user, "traces": [{"content": TRAIN}]}
    answer = await caller.post(f"/memory/remember?suggest={given}", json=body)
    assert (answer.status_code, answer.json()["detail"], answer.json()["field"]) == (422, says, "suggest")
    assert (await caller.get("/memory/traces", params={"user_id": user})).json()["items"] == []


async def test_too_many_notes_are_refused_and_nothing_is_remembered(caller: httpx.AsyncClient, user: str) -> None:
    traces = [{"content": f"Note {n}."} for n in range(onway.MOST_NOTES + 1)]
    answer = await caller.post("/memory/remember?suggest=5", json={"user_id": user, "traces": traces})
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        "suggest takes requests of at most 20 notes, not 21: send fewer at a time."
    )  # fmt: skip
    assert (await caller.get("/memory/traces", params={"user_id": user})).json()["items"] == []
    turns = [trace | {"role": "user"} for trace in traces]
    answer = await caller.post("/memory/remember?suggest=5", json={"user_id": user, "traces": turns})
    assert answer.status_code == 201


async def test_another_users_memory_is_not_looked_at(caller: httpx.AsyncClient, user: str, remember: Remember) -> None:
    await remember(f"{user} 2", *TRIP)
    made = await note(caller, user, TRAIN)
    assert made["suggestions"] == []


async def test_what_has_expired_is_not_suggested(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings
) -> None:
    made = await remember(user, *TRIP)
    await rows(settings, "UPDATE memory_trace SET expires_at = now() WHERE id = %s RETURNING 1", (made[1]["trace_id"],))
    assert TRIP[1] not in contents((await note(caller, user, TRAIN))["suggestions"])


async def test_a_long_note_is_looked_for_by_its_beginning(
    caller: httpx.AsyncClient, user: str, remember: Remember
) -> None:
    await remember(user, *TRIP)
    made = await note(caller, user, f"{TRAIN}\n" + "Then it rained for a while. " * 400)
    assert TRIP[1] in contents(made["suggestions"])
    assert all(len(one["content"]) <= 202 for one in made["suggestions"])


def test_the_words_that_are_looked_for_say_something() -> None:
    words = looking.sought("And then we booked the NIGHT train, and the Train was late.", "english")
    assert words == ["booked", "night", "train", "late"]
    assert len(looking.sought(" ".join(f"word{n}x" for n in range(500)), "english")) == looking.MOST_WORDS


@pytest.mark.parametrize("text", ["?", "\u200b.", "a", "—" * 50, "0" * 3000, "𓀀𓀁", "的" * 500])
async def test_odd_texts_are_notes_too(caller: httpx.AsyncClient, user: str, remember: Remember, text: str) -> None:
    await remember(user, *TRIP)
    made = await note(caller, user, text)
    assert (made["status"], made["degraded"]) == ("stored", [])
