"""Links made shortly after: what is mentioned, what is alike, and that both stay right when traces change or go."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from tests.conftest import Api
from tests.memories.helpers import DIM, found_ids, post, rows, run_operation, unit, user_row

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.ids import uuid7
from reverie.memories import links
from reverie.memories.entities import Text, names_in
from reverie.memories.identity import identity
from reverie.memories.links import LINK, Linker, operation_of


@pytest.fixture(autouse=True)
def _everything_is_linked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.app.state.memories.linker, "_links", "all")


async def operation(settings: Settings, user: str) -> tuple[Any, ...]:
    """(id, state, payload, attempts) of the operation that links what a user newly remembers."""
    user_id = (await user_row(settings, user))["user_id"]
    found = await rows(
        settings, "SELECT id, state, payload, attempts FROM operation WHERE id = %s", (operation_of(user_id),)
    )
    assert len(found) == 1
    return found[0]


async def link_all(api: Api, settings: Settings, user: str) -> None:
    """Runs all operations that link traces of a user, as a worker would once they have rested."""
    user_id = (await user_row(settings, user))["user_id"]
    while waiting := await rows(
        settings,
        "UPDATE operation SET lease_until = NULL WHERE user_id = %s AND kind = 'link' AND state = 'pending'"
        " RETURNING id",
        (user_id,),
    ):
        for (one,) in waiting:
            await run_operation(api, str(one))
    failed = await rows(settings, "SELECT error FROM operation WHERE user_id = %s AND state = 'failed'", (user_id,))
    assert failed == []


async def edges_of(settings: Settings, user: str, kind: str) -> set[tuple[str, str]]:
    """The edges of one type among traces of a user, as contents."""
    found = await rows(
        settings,
        "SELECT s.content, d.content FROM memory_edge e JOIN memory_user u USING (user_id)"
        " JOIN memory_body s ON s.user_id = e.user_id AND s.trace_id = e.src"
        " JOIN memory_body d ON d.user_id = e.user_id AND d.trace_id = e.dst"
        " WHERE u.external_id = %s AND e.type = %s",
        (user, kind),
    )
    assert len(found) == len(set(found))
    return set(found)


async def entities_of(settings: Settings, user: str) -> list[str]:
    found = await rows(
        settings,
        "SELECT b.content FROM memory_trace t JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id"
        " JOIN memory_user u ON u.user_id = t.user_id WHERE u.external_id = %s AND t.kind = 'entity' ORDER BY 1",
        (user,),
    )
    row = await user_row(settings, user)
    assert (row["traces"], row["words"]) == (row["real_traces"], row["real_words"])
    return [one for (one,) in found]


async def ids_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code in (201, 202), answer.text
    return [one["trace_id"] for one in answer.json()["traces"]]


FIRST = "We met Tamara Novak on the ferry."
SECOND = "It rained, said Tamara Novak."
THIRD = "The ferry was late because of Odalys."


async def test_a_name_that_stands_in_two_traces_becomes_an_entity(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    await post(caller, user, FIRST, THIRD)
    await link_all(api, settings, user)
    assert await entities_of(settings, user) == []
    await post(caller, user, SECOND)
    await link_all(api, settings, user)
    assert await entities_of(settings, user) == ["Tamara Novak"]
    assert await edges_of(settings, user, "mentions") == {(FIRST, "Tamara Novak"), (SECOND, "Tamara Novak")}
    again = "TAMARA NOVAK's hat is gone, it is Tamara Novak's own."
    await post(caller, user, again)
    await link_all(api, settings, user)
    assert await entities_of(settings, user) == ["Tamara Novak"]
    assert (again, "Tamara Novak") in await edges_of(settings, user, "mentions")


async def test_a_name_at_the_start_of_a_sentence_founds_nothing_and_joins_what_is_known(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    await post(caller, user, "Painting helps.", "Painting is fun.", "Odalys came.", "Then came Odalys.")
    await link_all(api, settings, user)
    assert await edges_of(settings, user, "mentions") == {("Odalys came.", "Odalys"), ("Then came Odalys.", "Odalys")}


async def test_entities_are_recalled_where_they_are_asked_for_alone(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    made = await ids_of(await post(caller, user, FIRST, SECOND))
    await link_all(api, settings, user)
    assert set(await found_ids(caller, user, "Tamara Novak", recipe="lexical")) == set(made)
    (one,) = await found_ids(caller, user, "Tamara Novak", recipe="lexical", kinds=["entity"])
    entity = (await caller.get(f"/memory/traces/{one}", params={"user_id": user})).json()
    assert (entity["content"], entity["kind"], entity["vectors"]) == ("Tamara Novak", "entity", False)
    # It has no date among its words.
    assert await found_ids(caller, user, str(clock.now().year), recipe="lexical", kinds=["entity"]) == []
    twin = (await post(caller, user, {"content": "tamara novak’s", "kind": "entity"})).json()["traces"][0]
    assert (twin["status"], twin["trace_id"]) == ("duplicate", one)


async def test_one_operation_covers_what_a_user_remembers_while_it_rests(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    first = (await ids_of(await post(caller, user, "One for Odalys.")))[0]
    await asyncio.gather(*(post(caller, user, f"Number {n} for Odalys.") for n in range(8)))
    made = await operation(settings, user)
    assert made[1:3] == ("pending", {"since": first})
    assert not await run_operation(api, str(made[0])), "it rests"
    await link_all(api, settings, user)
    assert len(await edges_of(settings, user, "mentions")) == 9
    assert (await operation(settings, user))[1] == "done"
    second = (await ids_of(await post(caller, user, "One more for Odalys.")))[0]
    assert (await operation(settings, user))[1:] == ("pending", {"since": second}, 0)
    await link_all(api, settings, user)
    assert len(await edges_of(settings, user, "mentions")) == 10


async def test_what_comes_while_it_runs_is_linked_too(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(caller, user, FIRST)
    made = await operation(settings, user)
    read, going = asyncio.Event(), asyncio.Event()
    advance = links._standing

    async def slowly(*given: Any) -> set[UUID]:
        read.set()
        await going.wait()
        return await advance(*given)

    await rows(settings, "UPDATE operation SET lease_until = NULL WHERE id = %s", (made[0],))
    await post(caller, user, SECOND)
    monkeypatch.setattr(links, "_standing", slowly)
    running = asyncio.create_task(run_operation(api, str(made[0])))
    await read.wait()
    late = asyncio.create_task(post(caller, user, THIRD, "Odalys again, and again Odalys."))
    going.set()
    await asyncio.gather(running, late)
    monkeypatch.undo()
    assert (await operation(settings, user))[1] == "pending"
    await link_all(api, settings, user)
    assert (THIRD, "Odalys") in await edges_of(settings, user, "mentions")


async def test_more_than_a_part_is_linked_shift_by_shift(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "PART", 7)
    monkeypatch.setattr(links, "SHIFT_SECONDS", 0.0)
    texts = [{"content": f"Call {n} with Odalys.", "embedding": unit(n)} for n in range(30)]
    await post(caller, user, *texts)
    made = await operation(settings, user)
    await rows(settings, "UPDATE operation SET lease_until = NULL WHERE id = %s", (made[0],))
    await run_operation(api, str(made[0]))
    # Those of the first part, and earlier and later ones that were found with its name.
    assert 7 <= len(await edges_of(settings, user, "mentions")) <= 7 + links.MOST_BEFORE
    after = await operation(settings, user)
    assert after[1] == "pending"
    assert after[2]["since"] > made[2]["since"]
    await link_all(api, settings, user)
    assert len(await edges_of(settings, user, "mentions")) == 30


async def test_done_again_it_changes_nothing(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    await post(caller, user, FIRST, SECOND, "We met Tamara Novak on a ferry.")
    await link_all(api, settings, user)
    query = (
        "SELECT e.* FROM memory_edge e JOIN memory_user u USING (user_id) WHERE u.external_id = %s ORDER BY src, dst"
    )
    before = await rows(settings, query, (user,))
    await rows(
        settings, "UPDATE operation SET state = 'pending' WHERE id = %s", ((await operation(settings, user))[0],)
    )
    await link_all(api, settings, user)
    assert await rows(settings, query, (user,)) == before
    assert await entities_of(settings, user) == ["Tamara Novak"]


async def test_a_trace_whose_vector_comes_later_is_linked_when_it_has_come(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    await post(caller, user, FIRST)
    answer = await post(caller, user, "We met Tamara Novak on the ferry!", wait=False)
    await link_all(api, settings, user)
    assert await edges_of(settings, user, "similar") == set()
    assert await run_operation(api, answer.json()["operation_id"])
    await link_all(api, settings, user)
    assert await edges_of(settings, user, "similar") == {("We met Tamara Novak on the ferry!", FIRST)}
    assert len(await edges_of(settings, user, "mentions")) == 2


async def test_a_trace_without_vectors_has_its_mentions(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    await post(caller, user, {"content": FIRST, "salience": 0.1}, {"content": SECOND, "salience": 0.1})
    await link_all(api, settings, user)
    assert len(await edges_of(settings, user, "mentions")) == 2


async def test_a_changed_text_gets_its_links_anew(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    ids = await ids_of(await post(caller, user, FIRST, SECOND, THIRD, "Ask Odalys about it.", f"{FIRST} Yes."))
    await link_all(api, settings, user)
    assert await entities_of(settings, user) == ["Odalys", "Tamara Novak"]
    assert (f"{FIRST} Yes.", FIRST) in await edges_of(settings, user, "similar")
    answer = await caller.patch(f"/memory/traces/{ids[0]}", params={"user_id": user}, json={"content": "Only Odalys."})
    assert answer.status_code == 200, answer.text
    await link_all(api, settings, user)
    assert not [pair for pair in await edges_of(settings, user, "similar") if "Only Odalys." in pair]
    mentions = await edges_of(settings, user, "mentions")
    assert {src for src, dst in mentions if dst == "Odalys"} == {"Only Odalys.", THIRD, "Ask Odalys about it."}
    assert {src for src, dst in mentions if dst == "Tamara Novak"} == {SECOND, f"{FIRST} Yes."}
    for one in (ids[1], ids[4]):
        await caller.patch(f"/memory/traces/{one}", params={"user_id": user}, json={"content": f"Nobody {one}."})
    await link_all(api, settings, user)
    assert await entities_of(settings, user) == ["Odalys"], "what nothing mentions any more is gone"


async def test_a_change_of_anything_else_leaves_the_links(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    ids = await ids_of(await post(caller, user, FIRST, SECOND))
    await link_all(api, settings, user)
    await caller.patch(f"/memory/traces/{ids[0]}", params={"user_id": user}, json={"salience": 0.9})
    waiting = await rows(
        settings, "SELECT 1 FROM operation WHERE kind = %s AND trace_ids @> %s", (LINK, [UUID(ids[0])])
    )
    assert waiting == []
    assert len(await edges_of(settings, user, "mentions")) == 2


async def test_forgetting_takes_the_links_along_and_entities_that_nothing_mentions_any_more(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    ids = await ids_of(await post(caller, user, FIRST, SECOND, THIRD, "Ask Odalys about it."))
    await post(caller, user, {"content": "Zoe", "kind": "entity"})
    await link_all(api, settings, user)
    assert (await caller.delete(f"/memory/traces/{ids[0]}", params={"user_id": user})).status_code == 200
    assert await entities_of(settings, user) == ["Odalys", "Tamara Novak", "Zoe"]
    scope = {"user_id": user, "scope": {"trace_ids": [ids[1], ids[2]]}}
    dry = (await caller.post("/memory/forget", json=scope | {"dry_run": True})).json()
    gone = (await caller.post("/memory/forget", json=scope)).json()
    assert dry["counts"] == gone["counts"]
    assert gone["counts"]["traces"] == 3, "two traces, and the entity that only these mentioned"
    assert await entities_of(settings, user) == ["Odalys", "Zoe"]


async def test_what_is_forgotten_while_it_is_linked_gets_no_links(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await ids_of(await post(caller, user, FIRST, SECOND, THIRD))
    made = await operation(settings, user)
    find = Linker._find_before

    async def forgotten_then(*given: Any) -> None:
        await find(*given)
        await caller.delete(f"/memory/traces/{ids[0]}", params={"user_id": user})

    monkeypatch.setattr(Linker, "_find_before", forgotten_then)
    await rows(settings, "UPDATE operation SET lease_until = NULL WHERE id = %s", (made[0],))
    assert await run_operation(api, str(made[0]))
    assert await edges_of(settings, user, "mentions") <= {(SECOND, "Tamara Novak")}


async def test_a_user_who_is_forgotten_meanwhile(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    await post(caller, user, FIRST, SECOND)
    made = await operation(settings, user)
    await caller.post("/memory/forget", json={"user_id": user, "scope": {"all": True}})
    await rows(settings, "UPDATE operation SET lease_until = NULL WHERE id = %s", (made[0],))
    assert await run_operation(api, str(made[0]))
    assert await rows(settings, "SELECT state, error FROM operation WHERE id = %s", (made[0],)) == [("done", None)]


async def test_users_and_spaces_keep_their_names_to_themselves(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings
) -> None:
    await post(caller, user, FIRST)
    await post(caller, f"{user} 2", SECOND)
    elsewhere = await api.caller(f"space {uuid4().hex}")
    await post(elsewhere, f"{user} 3", SECOND, FIRST)
    for who in (user, f"{user} 2", f"{user} 3"):
        await link_all(api, settings, who)
    assert await entities_of(settings, user) == await entities_of(settings, f"{user} 2") == []
    assert await entities_of(settings, f"{user} 3") == ["Tamara Novak"]
    assert await found_ids(caller, f"{user} 3", "Tamara Novak", kinds=["entity"]) == []


@pytest.mark.parametrize("number", [3, 60])
async def test_similar_edges_lead_to_the_nearest_older_traces(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings, number: int
) -> None:
    """In SQL for a few, by a product of matrices for many: both find what numpy finds here."""
    generator = np.random.default_rng(number)
    centres = generator.standard_normal((8, DIM))
    vectors = centres[generator.integers(0, 8, 120)] + 0.3 * generator.standard_normal((120, DIM))
    old, new = vectors[: 120 - number], vectors[120 - number :]
    for place, some in ((0, old), (len(old), new)):
        traces = [{"content": f"grain {place + n}", "embedding": list(row)} for n, row in enumerate(some)]
        for start in range(0, len(traces), 100):
            await post(caller, user, *traces[start : start + 100])
        if place == 0:
            await rows(
                settings,
                "DELETE FROM operation WHERE id = %s",
                (operation_of((await user_row(settings, user))["user_id"]),),
            )
    await link_all(api, settings, user)
    stored = vectors.astype(np.float16).astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    wanted = set[tuple[str, str]]()
    for place in range(len(old), 120):
        cosines = stored[:place] @ stored[place]
        best = np.argsort(-cosines)[:3]
        wanted |= {(f"grain {place}", f"grain {one}") for one in best if cosines[one] >= 0.85}
    assert len(wanted) > number
    assert await edges_of(settings, user, "similar") == wanted
    weights = await rows(
        settings,
        "SELECT min(weight), max(weight) FROM memory_edge e JOIN memory_user u USING (user_id)"
        " WHERE u.external_id = %s AND type = 'similar'",
        (user,),
    )
    assert 0.85 <= weights[0][0] <= weights[0][1] <= 1.0001


async def test_large_users_get_no_similar_edges(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.memories.likeness.MOST_TRACES", 1)
    await post(caller, user, FIRST, f"{FIRST} Yes.")
    await link_all(api, settings, user)
    assert await edges_of(settings, user, "similar") == set()
    assert len(await edges_of(settings, user, "mentions")) == 2


@pytest.mark.parametrize(
    ("setting", "kinds"), [("next", set()), ("mentions", {"mentions"}), ("all", {"mentions", "similar"})]
)
async def test_the_setting_says_what_is_made(
    caller: httpx.AsyncClient, user: str, api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch, setting: Any,
    kinds: set[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(api.app.state.memories.linker, "_links", setting)
    await post(caller, user, FIRST, f"{FIRST} Yes.", conversation_id="ferry")
    await link_all(api, settings, user)
    made = {kind for kind in ("mentions", "similar") if await edges_of(settings, user, kind)}
    assert made == kinds
    assert len(await edges_of(settings, user, "next")) == 1


def test_names_of_texts_know_who_is_sure() -> None:
    now = clock.now()
    texts = [Text(uuid7(now + timedelta(seconds=n)), "english", text) for n, text in enumerate(
        ["Odalys came.", "I saw Odalys and Bob.", "Painting helps."])]  # fmt: skip
    found = names_in(texts)
    assert (found["odalys"].name, found["odalys"].sure) == ("Odalys", True)
    assert found["odalys"].traces.keys() == {texts[0].id, texts[1].id}
    assert not found["painting"].sure


def test_an_entity_is_known_by_its_name_alone() -> None:
    def of(content: str, **more: Any) -> bytes | None:
        given = {"kind": "entity", "role": None, "speaker": None, "conversation_id": None, "external_id": None}
        return identity(b"k" * 32, content=content, occurred_at=None, **(given | more))

    assert of("Anna") == of("anna") == of("Anna's") == of("ANNA", speaker="Bob", conversation_id="c")
    assert of("Anna") != of("Hannah")
    assert of("!!!") != of("???")
    assert of("Anna") != of("Anna", kind="note")
