"""Who and what a day was about: entities with their kinds and other names, and what is stated of them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conftest import Remember
from tests.forgetting.helpers import forgotten, verified
from tests.memories.helpers import user_row

from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.runtime import Runtime

MONDAY = date(2026, 3, 2)


def said(*texts: str | tuple[str, str], day: date = MONDAY, conversation: str = "c1") -> list[dict[str, Any]]:
    """Turns of a conversation, a minute apart, of (speaker, text) or of Ann."""
    return [
        {"content": one if isinstance(one, str) else one[1], "speaker": "Ann" if isinstance(one, str) else one[0],
         "role": "user", "conversation_id": f"{conversation} {day}", "occurred_at": f"{day}T10:{minute:02}:00Z"}
        for minute, one in enumerate(texts)
    ]  # fmt: skip


async def dream(runtime: Runtime, **more: Any) -> None:
    outcome = await runtime.dreams.run(as_of=datetime(2026, 4, 1, tzinfo=UTC), **more)
    assert (outcome.state, outcome.failed, outcome.aside) == ("done", 0, 0), outcome


async def rows(owner: Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    return await (await owner.execute(query.encode(), parameters or None)).fetchall()


async def entities_of(owner: Connection, user: str = "ann") -> dict[str, dict[str, Any]]:
    """Name → meta."""
    found = await rows(
        owner,
        "SELECT b.content, t.meta FROM memory_trace t JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id"
        " JOIN memory_user u ON u.user_id = t.user_id WHERE t.kind = 'entity' AND u.external_id = %s",
        user,
    )
    assert len(found) == len({name for name, _ in found})
    return dict(found)


async def triples_of(owner: Connection, user: str = "ann") -> set[tuple[str, str, str]]:
    found = await rows(
        owner,
        "SELECT s.content, e.type, d.content FROM memory_edge e JOIN memory_user u USING (user_id)"
        " JOIN memory_body s ON s.user_id = e.user_id AND s.trace_id = e.src"
        " JOIN memory_body d ON d.user_id = e.user_id AND d.trace_id = e.dst"
        " WHERE u.external_id = %s AND e.meta ? 'sources'",
        user,
    )
    return set(found)


async def test_names_become_entities_with_kinds(remember: Remember, owner: Connection, runtime: Runtime) -> None:
    await remember(
        "ann", *said("We moved to Lisbon in May.", "I met Odalys at the market.", "Odalys said that it rains."),
        *said("We fly to Lisbon again.", day=MONDAY + timedelta(days=3)),
    )  # fmt: skip
    await dream(runtime)
    found = await entities_of(owner)
    assert found["Lisbon"] == {"type": "place"}
    assert found["Odalys"] == {"type": "person"}
    assert ("Ann", "lives_in", "Lisbon") in await triples_of(owner)


async def test_twice_changes_nothing(
    remember: Remember, owner: Connection, runtime: Runtime, settings: Settings
) -> None:
    days = [MONDAY + timedelta(days=n) for n in range(4)]
    texts = [
        ("My sister Clara works at Siemens.", "Bob went to Porto with Clara.", "Painting helps."),
        ("I told Robert Miller about Porto.", "Rob said: I love hiking.", "Then came Siemens."),
        ("Clara is allergic to peanuts.", "Siemens called Clara.", "We love painting and hiking."),
        ("Porto was great, and Robert Miller came too.", "Bob Miller is tired.", "It was Painting that helped."),
    ]
    for day, some in zip(days, texts, strict=True):
        await remember("ann", *said(*some, day=day))
    await dream(runtime)
    query = (
        "SELECT src, dst, type, weight, meta, ts FROM memory_edge ORDER BY 1, 2, 3",
        "SELECT id, meta, identity, digest, updated_at FROM memory_trace ORDER BY id",
        "SELECT trace_id, content FROM memory_body ORDER BY 1",
        "SELECT user_id, hash, entity_id, by_hand FROM entity_name ORDER BY 1, 2",
        "SELECT version, traces, words FROM memory_user",
    )
    before = [await rows(owner, one) for one in query]
    await rows(owner, "UPDATE memory_user SET dreamt_version = NULL RETURNING 1")
    await rows(owner, "UPDATE dream_day SET state = 'pending', fingerprint = '' RETURNING 1")
    await dream(runtime)
    after = [await rows(owner, one) for one in query]
    for one, other in zip(before, after, strict=True):
        assert [row for row in other if row not in one] == []
        assert one == other
    row = await user_row(settings, "ann")
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"])


async def test_a_nickname_goes_with_whoever_speaks(remember: Remember, owner: Connection, runtime: Runtime) -> None:
    await remember(
        "ann", *said(("Melanie", "I adopted a dog named Rex."), ("Ann", "Great news, Mel! How is Rex?"),
                     ("Melanie", "Rex is fine."), ("Ann", "Good to hear, Mel."), ("Bob", "Mel and I like Rex.")),
    )  # fmt: skip
    await dream(runtime)
    found = await entities_of(owner)
    assert found["Mel"] == {"type": "person", "aliases": ["Melanie"]}
    assert await triples_of(owner) == {("Mel", "has_pet", "Rex"), ("Bob", "likes", "Rex")}


async def test_a_source_that_is_forgotten_takes_what_it_states(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    made = await remember("ann", *said("My dog Rex is ill.", "I love hiking.", "My dog Rex is well again."))
    await dream(runtime)
    assert await triples_of(owner) == {("Ann", "has_pet", "Rex"), ("Ann", "likes", "hiking")}
    await forgotten(caller, "ann", {"trace_id": made[0]["trace_id"]})
    assert await triples_of(owner) == {("Ann", "has_pet", "Rex"), ("Ann", "likes", "hiking")}
    await forgotten(caller, "ann", {"trace_id": made[1]["trace_id"]})
    assert await triples_of(owner) == {("Ann", "has_pet", "Rex")}
    assert set(await entities_of(owner)) == {"Ann", "Rex"}
    body = await forgotten(caller, "ann", {"trace_id": made[2]["trace_id"]})
    assert await triples_of(owner) == set()
    assert await entities_of(owner) == {}
    assert (await verified(caller, "ann", body["receipt_id"]))["gone"]


@pytest.mark.parametrize("text", ["Do you work at Siemens?", "I never worked at Siemens.", "If I worked at Siemens."])
async def test_what_is_asked_or_denied_states_nothing(
    remember: Remember, owner: Connection, runtime: Runtime, text: str
) -> None:
    await remember("ann", *said(text, text + " "))
    await dream(runtime)
    assert await triples_of(owner) == set()


async def entity_ids(caller: httpx.AsyncClient, user: str = "ann") -> dict[str, str]:
    """Name → id."""
    answer = await caller.get("/memory/traces", params={"user_id": user, "kind": "entity", "limit": 100})
    return {one["content"]: one["trace_id"] for one in answer.json()["items"]}


async def again(owner: Connection, runtime: Runtime) -> None:
    """Has every day dreamt once more."""
    await rows(owner, "UPDATE memory_user SET dreamt_version = NULL RETURNING 1")
    await rows(owner, "UPDATE dream_day SET state = 'pending', fingerprint = '' RETURNING 1")
    await dream(runtime)


TALK = [
    "I met Quenby at the fair.",
    "Then Quenby told me about it.",
    "My friend Odalys lives in Lisbon.",
    "I asked Odalys again.",
    "My friend Odalys works at Hexaly.",
]


async def test_what_a_person_merged_stays_merged(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime, settings: Settings
) -> None:
    await remember("ann", *said(*TALK))
    await dream(runtime)
    ids = await entity_ids(caller)
    body = {"user_id": "ann", "into": ids["Quenby"]}
    answer = await caller.post(f"/memory/entities/{ids['Odalys']}/merge", json=body)
    assert (answer.status_code, answer.json()) == (200, {"trace_id": ids["Quenby"], "user_id": "ann"})
    for _ in range(2):
        found = await entities_of(owner)
        assert "Odalys" not in found
        # The name that a person has chosen, although the other one is more frequent.
        assert found["Quenby"] == {"type": "person", "aliases": ["Odalys"]}
        assert ("Quenby", "lives_in", "Lisbon") in await triples_of(owner)
        assert ("Ann", "friend_of", "Quenby") in await triples_of(owner)
        await again(owner, runtime)
    await remember("ann", *said("Odalys came with a friend.", day=MONDAY + timedelta(days=1)))
    await dream(runtime)
    assert "Odalys" not in await entities_of(owner)
    row = await user_row(settings, "ann")
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"])
    assert (await caller.post(f"/memory/entities/{ids['Odalys']}/merge", json=body)).status_code == 404
    same = await caller.post(f"/memory/entities/{ids['Quenby']}/merge", json=body)
    assert (same.status_code, same.json()["field"]) == (422, "into")


async def test_what_a_person_split_stays_split(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember(
        "ann", *said(("Robert", "I love hiking."), ("Ann", "You too, Bob?"), ("Robert", "My dog Rex is ill."),
                     ("Ann", "How is Bob today?"), ("Eve", "I told Bob and Rex about it.")),
    )  # fmt: skip
    await dream(runtime)
    assert (await entities_of(owner))["Bob"]["aliases"] == ["Robert"]
    ids = await entity_ids(caller)
    url = f"/memory/entities/{ids['Bob']}/split"
    for names in (["Eve"], ["Bob", "Robert"]):
        answer = await caller.post(url, json={"user_id": "ann", "names": names})
        assert (answer.status_code, answer.json()["field"]) == (422, "names")
    answer = await caller.post(url, json={"user_id": "ann", "names": ["Bob"]})
    assert answer.status_code == 200, answer.text
    for _ in range(2):
        found = await entities_of(owner)
        assert found["Bob"] == {"type": "person"}
        assert found["Robert"]["type"] == "person"
        assert "aliases" not in found["Robert"]
        assert ("Robert", "has_pet", "Rex") in await triples_of(owner)
        await again(owner, runtime)
    assert (await entity_ids(caller))["Bob"] == answer.json()["trace_id"]
    await remember("ann", *said(("Robert", "Yes."), ("Ann", "Thanks, Bob!"), day=MONDAY + timedelta(days=1)))
    await dream(runtime)
    assert "aliases" not in (await entities_of(owner))["Robert"]


async def test_a_repeated_merge_is_answered_alike(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *said(*TALK))
    await dream(runtime)
    ids = await entity_ids(caller)
    for _ in range(2):
        answer = await caller.post(
            f"/memory/entities/{ids['Odalys']}/merge", json={"user_id": "ann", "into": ids["Quenby"]},
            headers={"Idempotency-Key": "m1"},
        )  # fmt: skip
        assert (answer.status_code, answer.json()["trace_id"]) == (200, ids["Quenby"])
    # What is kept of an answer holds no name.
    kept = await rows(owner, "SELECT convert_from(response, 'UTF8') FROM idempotency_key WHERE response IS NOT NULL")
    assert all("Odalys" not in one and "Quenby" not in one for (one,) in kept)


async def test_nobody_merges_the_entities_of_others(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *said(*TALK))
    await dream(runtime)
    ids = await entity_ids(caller)
    body = {"user_id": "bob", "into": ids["Quenby"]}
    assert (await caller.post(f"/memory/entities/{ids['Odalys']}/merge", json=body)).status_code == 404
    assert {"Quenby", "Odalys"} <= (await entity_ids(caller)).keys()


async def test_a_name_that_only_a_forgotten_text_has_is_gone(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime, settings: Settings
) -> None:
    made = await remember(
        "ann", *said(("Zquelanie", "My dog Rex is ill."), ("Ann", "Oh no, Zquel!"), ("Ann", "Zquel, is Rex well?"),
                     ("Ann", "I met Zquelanie again."), ("Ann", "Then I asked Zquelanie.")),
    )  # fmt: skip
    await dream(runtime)
    assert {frozenset(("Zquelanie", *meta.get("aliases", ()))) for name, meta in (await entities_of(owner)).items()
            if name.startswith("Zq")} == {frozenset(("Zquelanie", "Zquel"))}  # fmt: skip
    body = await forgotten(caller, "ann", {"trace_ids": [made[1]["trace_id"], made[2]["trace_id"]]})
    assert (await entities_of(owner))["Zquelanie"] == {"type": "person"}
    assert (await verified(caller, "ann", body["receipt_id"]))["gone"]
    left = await rows(owner, "SELECT count(*) FROM entity_name")
    assert left == [(0,)]
    row = await user_row(settings, "ann")
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"])


async def test_an_entity_goes_by_the_name_that_is_left(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime, settings: Settings
) -> None:
    made = await remember(
        "ann", *said(("Zquelanie", "I love hiking."), ("Zquelanie", "My dog Rex is ill."), ("Zquelanie", "I love tea."),
                     ("Ann", "Oh no, Zquel!"), ("Ann", "Zquel, is Rex well?")),
    )  # fmt: skip
    await dream(runtime)
    assert (await entities_of(owner))["Zquelanie"]["aliases"] == ["Zquel"]
    await forgotten(caller, "ann", {"trace_ids": [one["trace_id"] for one in made[:3]]})
    found = await entities_of(owner)
    assert found["Zquel"] == {"type": "person"}
    assert found.keys() == {"Zquel", "Rex"}
    assert await rows(owner, "SELECT 1 FROM memory_trace WHERE meta::text LIKE '%Zquelanie%'") == []
    row = await user_row(settings, "ann")
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"])


async def test_a_name_is_found_and_forgotten_by_its_other_names(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    made = await remember(
        "ann", *said(("Zquelanie", "I love hiking."), ("Ann", "Oh no, Zquel!"), ("Ann", "Zquel, how are you?"),
                     ("Ann", "It rains.")),
    )  # fmt: skip
    await dream(runtime)
    answer = await caller.post("/memory/recall", json={"user_id": "ann", "q": "what do I know about zquelanie", "k": 4})
    assert {one["trace_id"] for one in answer.json()["results"][:3]} >= {made[1]["trace_id"], made[2]["trace_id"]}
    body = await forgotten(caller, "ann", {"entity": "Zquelanie"})
    assert {made[1]["trace_id"], made[2]["trace_id"]} < set(body["trace_ids"])
    assert made[3]["trace_id"] not in body["trace_ids"]


async def test_a_changed_text_states_and_mentions_what_it_says_now(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    made = await remember("ann", *said("I live in Lisbon.", "I asked Odalys.", "Then Odalys came."))
    await dream(runtime)
    assert await triples_of(owner) == {("Ann", "lives_in", "Lisbon")}
    await caller.patch(
        f"/memory/traces/{made[0]['trace_id']}", params={"user_id": "ann"}, json={"content": "I live in Porto."}
    )
    await dream(runtime)
    assert await triples_of(owner) == {("Ann", "lives_in", "Porto")}
    assert set(await entities_of(owner)) == {"Ann", "Porto", "Odalys"}


async def test_an_entity_that_was_forgotten_comes_back_by_new_texts_alone(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *said("I asked Odalys.", "Then Odalys came.", "I love hiking."))
    await dream(runtime)
    await forgotten(caller, "ann", {"trace_id": (await entity_ids(caller))["Odalys"]})
    await again(owner, runtime)
    assert "Odalys" not in await entities_of(owner)
    await remember("ann", *said("We met Odalys.", "It rained, and Odalys went.", day=MONDAY + timedelta(days=1)))
    await dream(runtime)
    assert "Odalys" in await entities_of(owner)


async def test_what_a_person_changed_of_an_entity_is_not_overwritten(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *said("I asked Odalys.", "Then Odalys came."))
    await dream(runtime)
    one = (await entity_ids(caller))["Odalys"]
    mine = {"type": "thing", "colour": "red", "aliases": ["The ship"]}
    await caller.patch(f"/memory/traces/{one}", params={"user_id": "ann"}, json={"meta": mine})
    await remember("ann", *said("I met Odalys.", day=MONDAY + timedelta(days=1)))
    await dream(runtime)
    await again(owner, runtime)
    assert await entities_of(owner) == {"Odalys": mine}
    await forgotten(caller, "ann", {"conversation_id": f"c1 {MONDAY}"})
    assert await entities_of(owner) == {"Odalys": mine}


async def test_other_languages_give_names_and_nothing_else(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    german = [
        "Ich wohne in Berlin und mag meine Arbeit.",
        "Gestern kam Anna Quenby zu uns, und meine Schwester auch.",
        "Wir haben Anna Quenby in der Stadt gesehen.",
    ]
    await remember("ann", *({"language": "de"} | one for one in said(*german)))
    await dream(runtime)
    assert await triples_of(owner) == set()
    assert "Anna Quenby" in await entities_of(owner)
    assert not {"Schwester", "Arbeit", "Gestern"} & (await entities_of(owner)).keys()


async def test_what_an_assistant_says_is_no_fact(remember: Remember, owner: Connection, runtime: Runtime) -> None:
    turn = said("I live in Lisbon. My dog Rex is ill.")[0] | {"role": "assistant", "speaker": None}
    await remember(
        "ann", turn, turn | {"role": "user", "content": "I live in Porto.", "occurred_at": f"{MONDAY}T11:00:00Z"}
    )
    await dream(runtime)
    assert await triples_of(owner) == {("User", "lives_in", "Porto")}


async def test_undoing_a_run_takes_back_what_it_found(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *said(*TALK))
    await dream(runtime)
    run = (await caller.get("/dreams")).json()["items"][0]
    answer = await caller.delete(f"/dreams/{run.get('dream_id') or run['id']}")
    assert answer.status_code == 202, answer.text
    await runtime.operations.run(UUID(answer.json()["operation_id"]))
    assert await entities_of(owner) == {}
    assert await triples_of(owner) == set()
