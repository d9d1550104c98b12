"""What a trace is related to later, and what was dismissed."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Api, Remember
from tests.explaining import Explaining
from tests.forgetting.helpers import forgotten
from tests.graph.drawn import Drawn
from tests.memories.helpers import Fickle, rows
from tests.relating.helpers import TRAIN, TRIP, contents, link, note, related, whys

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.pool import Pool, Row, Statement
from reverie.memories.suggesting import Note
from reverie.relating import repository
from reverie.relating.looking import Looker
from reverie.relating.types import Asked, Seen


@pytest.fixture
async def ids(user: str, remember: Remember) -> list[str]:
    return [one["trace_id"] for one in await remember(user, *TRIP)]


async def dismiss(caller: httpx.AsyncClient, user: str, one: str, other: str, *, undo: bool = False) -> httpx.Response:
    method = "POST" if undo else "DELETE"
    return await caller.request(
        method, f"/memory/traces/{one}/related", params={"user_id": user, "other_id": other}
    )  # fmt: skip


async def test_any_trace_is_related(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    found = await related(caller, user, ids[4])
    assert contents(found)[0] == TRIP[1]
    assert ids[4] not in {one["trace_id"] for one in found}
    assert len(await related(caller, user, ids[4], k=1)) == 1


async def test_an_entity_is_related_to_what_mentions_it(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    made = await note(caller, user, TRAIN)
    entity = next(one["trace_id"] for one in made["suggestions"] if one["kind"] == "entity")
    found = await related(caller, user, entity)
    assert {TRAIN, TRIP[1], TRIP[4]} <= set(contents(found))
    assert "edge" in whys(found[0])


async def test_what_was_dismissed_is_never_suggested_again_either_way(
    caller: httpx.AsyncClient, user: str, ids: list[str]
) -> None:
    made = await note(caller, user, TRAIN)
    mine = made["trace_id"]
    assert TRIP[1] in contents(await related(caller, user, mine))
    assert (await dismiss(caller, user, mine, ids[1])).status_code == 204
    assert (await dismiss(caller, user, ids[1], mine)).status_code == 204, "twice, and the other way round"
    assert TRIP[1] not in contents(await related(caller, user, mine))
    assert TRAIN not in contents(await related(caller, user, ids[1]))
    again = await note(caller, user, TRAIN)
    assert (again["status"], again["trace_id"]) == ("duplicate", mine)
    assert TRIP[1] not in contents(again["suggestions"])
    # Others go on.
    assert TRIP[4] in contents(await related(caller, user, ids[1]))
    assert (await dismiss(caller, user, ids[1], mine, undo=True)).status_code == 204
    assert TRIP[1] in contents(await related(caller, user, mine))
    assert (await dismiss(caller, user, ids[1], mine, undo=True)).status_code == 204


@pytest.mark.parametrize(("late", "degraded"), [("_names", "entities"), ("_dismissed", "dismissed")])
async def test_what_was_dismissed_stays_so_where_a_search_is_late(
    caller: httpx.AsyncClient, user: str, ids: list[str], monkeypatch: pytest.MonkeyPatch, late: str, degraded: str
) -> None:
    mine = (await note(caller, user, TRAIN))["trace_id"]
    await dismiss(caller, user, mine, ids[1])

    async def is_late(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(Looker, late, is_late)
    again = await note(caller, user, TRAIN)
    assert (again["status"], again["degraded"]) == ("duplicate", ["suggestions"])
    answer = (await caller.get(f"/memory/traces/{mine}/related", params={"user_id": user})).json()
    assert answer["degraded"] == [degraded]
    for found in (again["suggestions"], answer["related"]):
        assert TRIP[1] not in contents(found)
        # Where nobody knows what was dismissed, nothing is suggested.
        assert bool(found) is (late == "_names")


async def test_a_look_takes_two_connections_at_once(
    caller: httpx.AsyncClient, user: str, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As admission reckons; also of a note that is known, of which it is asked what was dismissed."""
    mine = (await note(caller, user, TRAIN))["trace_id"]
    look, ask, taken, most = Looker.look, Pool.ask, 0, 0
    looking = ContextVar("looking", default=False)

    async def marked(looker: Looker, asked: Asked, note: Note) -> Seen:
        looking.set(True)
        return await look(looker, asked, note)

    async def counted(pool: Pool, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        nonlocal taken, most
        if not looking.get():
            return await ask(pool, statements, seconds)
        taken += 1
        most = max(most, taken)
        try:
            # So long that whatever begins together meets here.
            await asyncio.sleep(0.05)
            return await ask(pool, statements, seconds)
        finally:
            taken -= 1

    monkeypatch.setattr(Looker, "look", marked)
    monkeypatch.setattr(Pool, "ask", counted)
    assert TRIP[1] in contents(await related(caller, user, mine))
    assert most == 2
    most = 0
    assert (await note(caller, user, TRAIN))["status"] == "duplicate"
    assert most == 2


async def test_an_entity_is_dismissed_for_one_trace(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    made = await note(caller, user, TRAIN)
    entity = next(one["trace_id"] for one in made["suggestions"] if one["kind"] == "entity")
    assert (await dismiss(caller, user, made["trace_id"], entity)).status_code == 204
    assert "Fort William" not in contents(await related(caller, user, made["trace_id"]))
    assert "Fort William" in contents(await related(caller, user, ids[1]))


async def test_an_edge_by_hand_takes_a_dismissal_back(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    assert (await dismiss(caller, user, ids[0], ids[2])).status_code == 204
    assert (await link(caller, user, ids[2], ids[0])).status_code == 201
    assert TRIP[2] in contents(await related(caller, user, ids[0]))


@pytest.mark.parametrize("undo", [False, True])
async def test_bad_dismissals_are_refused(
    caller: httpx.AsyncClient, user: str, ids: list[str], remember: Remember, undo: bool
) -> None:
    [hers] = await remember(f"{user} 2", "Hers.")
    unknown = str(uuid4())
    for other, status, says in (
        (ids[0], 422, "other_id takes another trace than trace_id."),
        (unknown, 404, f"The user has no trace {unknown}."),
        (hers["trace_id"], 404, f"The user has no trace {hers['trace_id']}."),
        ("7", 422, "other_id takes a UUID, not '7'."),
    ):
        answer = await dismiss(caller, user, ids[0], other, undo=undo)
        assert (answer.status_code, answer.json()["detail"]) == (status, says)
    answer = await dismiss(caller, user, unknown, ids[0], undo=undo)
    assert (answer.status_code, answer.json()["detail"]) == (404, f"The user has no trace {unknown}.")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"k": "0"}, "k takes a number of at least 1, not 0."),
        ({"k": "21"}, "k takes a number of at most 20, not 21."),
        ({"colour": "1"}, "colour is not a field of the query string here."),
    ],
)
async def test_bad_questions_are_refused(
    caller: httpx.AsyncClient, user: str, ids: list[str], given: dict[str, str], says: str
) -> None:
    answer = await caller.get(f"/memory/traces/{ids[0]}/related", params={"user_id": user, **given})
    assert (answer.status_code, answer.json()["detail"]) == (422, says)


async def test_of_nobodys_trace_nothing_is_said(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    for whose, which in ((user, str(uuid4())), (f"{user} 2", ids[0])):
        answer = await caller.get(f"/memory/traces/{which}/related", params={"user_id": whose})
        assert (answer.status_code, answer.json()["detail"]) == (404, f"The user has no trace {which}.")


async def test_forgetting_takes_dismissals_and_what_kept_answers_say(
    caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings
) -> None:
    once = f"forgotten of {user}"
    made = await note(caller, user, TRAIN, once=once)
    assert (await dismiss(caller, user, ids[0], made["trace_id"])).status_code == 204
    assert (await dismiss(caller, user, ids[0], ids[1])).status_code == 204
    dry = await caller.post(
        "/memory/forget", json={"user_id": user, "scope": {"trace_id": ids[1]}, "dry_run": True}
    )  # fmt: skip
    assert dry.json()["counts"]["dismissals"] == 1
    gone = await forgotten(caller, user, {"trace_id": ids[1]})
    assert (gone["counts"]["dismissals"], gone["counts"]["answers"]) == (1, 1)
    left = await rows(settings, "SELECT count(*) FROM memory_dismissal WHERE %s IN (trace_id, other_id)", (ids[0],))
    assert left == [(1,)]
    kept = await note(caller, user, TRAIN, once=once)
    assert kept["trace_id"] == made["trace_id"]
    assert ids[1] not in str(kept)
    assert TRIP[1] not in contents(kept["suggestions"])
    assert TRIP[4] in contents(kept["suggestions"])
    verified = await caller.post(f"/memory/receipts/{gone['receipt_id']}/verify", params={"user_id": user})
    assert verified.json()["gone"] is True
    # And with the note itself, all that was said of it.
    await forgotten(caller, user, {"trace_id": made["trace_id"]})
    kept = await note(caller, user, TRAIN, once=once)
    assert (kept["status"], kept["suggestions"]) == ("rejected", None)
    assert await rows(settings, "SELECT 1 FROM memory_dismissal WHERE %s IN (trace_id, other_id)", (ids[0],)) == []


async def test_dismissals_and_edges_are_exported(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    assert (await dismiss(caller, user, ids[2], ids[0])).status_code == 204
    assert (await link(caller, user, ids[0], ids[1], meta={"why": "x"})).status_code == 201
    lines = (await caller.get(f"/memory/users/{user}/export")).text.splitlines()
    [dismissed] = [line for line in lines if '"record":"dismissal"' in line]
    assert f'"trace_id":"{ids[0]}","other_id":"{ids[2]}"' in dismissed
    assert any('"record":"edge"' in line and '"by":"hand"' in line for line in lines)


async def test_without_a_vector_the_text_is_encoded_and_without_the_encoder_words_tell(
    api: Api, caller: httpx.AsyncClient, user: str, ids: list[str], settings: Settings, fickle: Fickle
) -> None:
    await rows(settings, "DELETE FROM memory_embedding WHERE trace_id = %s RETURNING 1", (ids[4],))
    found = await related(caller, user, ids[4])
    assert "alike" in whys(found[0])
    with fickle.failing():
        answer = await caller.get(f"/memory/traces/{ids[4]}/related", params={"user_id": user})
    assert answer.json()["degraded"] == ["semantic"]
    assert contents(answer.json()["related"])[0] == TRIP[1]


async def test_a_trace_that_gets_no_vector_lacks_nothing(caller: httpx.AsyncClient, user: str, ids: list[str]) -> None:
    made = await note(caller, user, {"content": TRAIN, "salience": 0})
    assert (made["vectors"], made["degraded"]) == ("skipped", [])
    assert TRIP[1] in contents(made["suggestions"])
    assert TRIP[1] in contents(await related(caller, user, made["trace_id"]))


async def test_of_somebody_who_is_everywhere_few_mentions_are_read(
    caller: httpx.AsyncClient, settings: Settings, user: str
) -> None:
    drawn = Drawn(caller, settings, user)
    texts = [f"note {n}" for n in range(300)]
    await drawn.trace(*texts)
    await drawn.entity("Ann", "Lisbon")
    await drawn.link(("Ann", "Lisbon", "lives_in"), *((text, "Lisbon", "mentions") for text in texts))
    [[space_id]] = await rows(settings, "SELECT space_id FROM memory_user WHERE user_id = %s", (drawn.user_id,))
    asked: Any = Explaining(settings, space_id)
    hub = drawn.ids["Lisbon"]
    for own in (None, drawn.ids["note 0"], hub):
        await repository.around(asked, drawn.user_id, [hub, drawn.ids["note 0"]], own, clock.now())
        assert asked.most_rows() < 2 * repository.MOST_EDGES
