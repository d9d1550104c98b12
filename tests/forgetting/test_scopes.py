"""What a scope names: exactly that, told beforehand, and gone afterwards."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Api, Remember
from tests.forgetting.helpers import forget, forgotten, left
from tests.memories.helpers import rows, user_row
from tests.memories.test_links import link_all

from reverie.core.config import Settings
from reverie.forgetting.scopes import pattern_of


@pytest.fixture
async def house(remember: Remember, user: str) -> dict[str, str]:
    """Traces of a user, by what is to be told apart."""
    told: list[dict[str, Any]] = [
        {"content": "The boiler of Marlow Street leaks again.", "conversation_id": "house", "role": "user"},
        {"content": "A plumber comes on Friday.", "conversation_id": "house", "role": "assistant"},
        {"content": "Friday is fish day.", "conversation_id": "food", "occurred_at": "2026-03-06T10:00:00Z"},
        {"content": "Plumbers leak boilers.", "occurred_at": "2026-03-07T00:00:00Z"},
        {"content": "Ottilie plays the oboe.", "occurred_at": "2026-04-01T00:00:00Z"},
        {"content": "The oboe was bought by ottilie's aunt.", "occurred_at": "2026-05-01T00:00:00Z"},
        {"content": "Ottilies are a kind of rose.", "occurred_at": "2026-05-02T00:00:00Z"},
    ]
    answered = await remember(user, *told)
    return {one["trace_id"]: str(trace["content"]) for one, trace in zip(answered, told, strict=True)}


@pytest.mark.parametrize(
    ("scope", "gone"),
    [
        ({"conversation_id": "house"}, {0, 1}),
        ({"conversation_id": "nowhere"}, set()),
        ({"since": "2026-03-07", "until": "2026-05-01"}, {3, 4}),
        ({"until": "2026-03-07T00:00:00Z"}, {2}),
        ({"since": "2026-05-01", "until": "2026-06-01"}, {5, 6}),
        ({"query": "boiler leaking"}, {0, 3}),
        ({"query": "the FRIDAY"}, {1, 2}),
        ({"query": "boiler friday"}, set()),
        # No text says so; the dates of two traces do.
        ({"query": "March"}, set()),
        ({"query": "2026"}, set()),
        ({"entity": "Ottilie"}, {4, 5}),
        ({"entity": "marlow street"}, {0}),
        ({"entity": "Marlow Stre"}, set()),
        ({"entity": "(.*"}, set()),
    ],
)
async def test_a_scope_names_what_it_says(
    caller: httpx.AsyncClient, user: str, house: dict[str, str], scope: dict[str, Any], gone: set[int]
) -> None:
    ids, contents = list(house), list(house.values())
    dry = await forgotten(caller, user, scope, dry_run=True)
    assert await left(caller, user) == set(contents)
    body = await forgotten(caller, user, scope)
    assert set(body["trace_ids"]) == {ids[n] for n in gone} == set(dry["trace_ids"])
    assert (body["counts"]["traces"], body["state"]) == (len(gone), "done")
    assert dry["counts"] == body["counts"]
    assert await left(caller, user) == {content for n, content in enumerate(contents) if n not in gone}


@pytest.mark.parametrize(
    ("scope", "field"),
    [
        ({}, "scope"),
        ({"trace_id": str(uuid4()), "all": True}, "scope"),
        ({"since": "2026-01-01", "query": "x"}, "scope"),
        ({"conversation_id": "a", "entity": "b"}, "scope"),
        ({"since": "2026-01-02", "until": "2026-01-02"}, "until"),
        ({"since": "2026-01-03", "until": "2026-01-02"}, "until"),
        ({"since": "yesterday"}, "since"),
        ({"query": " "}, "query"),
        ({"query": "the and of"}, "query"),
        ({"entity": ""}, "entity"),
        ({"conversation_id": ""}, "conversation_id"),
        ({"trace_ids": []}, "trace_ids"),
    ],
)
async def test_what_says_nothing_or_two_things_is_refused_in_a_sentence(
    caller: httpx.AsyncClient, user: str, house: dict[str, str], scope: dict[str, Any], field: str
) -> None:
    answer = await forget(caller, user, scope)
    assert answer.status_code == 422, answer.text
    assert field in str(answer.json()["field"])
    assert answer.json()["detail"].endswith(".")
    assert len(await left(caller, user)) == len(house)


@pytest.fixture
def linking(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """The API, with names linked."""
    monkeypatch.setattr(api.app.state.memories.linker, "_links", "all")
    return api


async def test_a_name_takes_its_entity_and_all_that_mentions_it(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings, linking: Api
) -> None:
    await remember(
        user, "Yesterday I met Gordon Pym at the pier.", "Then Gordon Pym bought a boat.", "The pier is closed.",
        "A gordon pym is no name.",
    )  # fmt: skip
    await link_all(linking, settings, user)
    await remember(user, "And Gordon Pym sold it.")
    user_id = (await user_row(settings, user))["user_id"]
    entities = "SELECT count(*) FROM memory_trace WHERE user_id = %s AND kind = 'entity'"
    assert await rows(settings, entities, (user_id,)) == [(1,)]
    body = await forgotten(caller, user, {"entity": "gordon pym"})
    assert body["counts"]["traces"] == 4
    assert await left(caller, user) == {"The pier is closed.", "A gordon pym is no name."}
    assert await rows(settings, entities, (user_id,)) == [(0,)]


async def test_of_a_time_no_entity_goes_that_others_mention(
    caller: httpx.AsyncClient, user: str, remember: Remember, settings: Settings, linking: Api
) -> None:
    old = {"occurred_at": "2020-01-01"}
    await remember(user, {"content": "I met Gordon Pym.", **old}, {"content": "Gordon Pym has a boat.", **old})
    await link_all(linking, settings, user)
    body = await forgotten(caller, user, {"since": "2021-01-01"})
    assert body["counts"]["traces"] == 0
    body = await forgotten(caller, user, {"until": "2021-01-01"})
    assert body["counts"]["traces"] == 3


async def test_a_german_text_is_found_by_its_own_words(
    caller: httpx.AsyncClient, user: str, remember: Remember
) -> None:
    await remember(
        user,
        {"content": "Die Häuser der Nachbarn sind alt.", "language": "de"},
        {"content": "House.", "language": "en"},
    )
    assert (await forgotten(caller, user, {"query": "Haus alte"}))["counts"]["traces"] == 1
    assert await left(caller, user) == {"House."}


def test_a_pattern_takes_a_name_as_it_is_written() -> None:
    assert pattern_of("C++  (new)", exact=True) == r"(^|\W)C\+\+\s+\(new\)($|\W)"
    assert pattern_of("Zoë", exact=False) == r"(?i)(^|\W)Zoë($|\W)"
