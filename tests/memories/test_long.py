"""Long traces: several vectors, found by any part of them, replaced and forgotten as one."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from tests.conftest import Api
from tests.memories.helpers import Fickle, found_ids, post, rows, run_operation, unit, user_row, vectors_of

from reverie.core.config import Settings
from reverie.embedding.heads import semantic_pieces
from reverie.memories import embedding, repository

if TYPE_CHECKING:
    from reverie.memories.embedding import VectorMaker

FILLER = (
    "The committee went through the minutes of the last meeting and found nothing to add. ",
    "Somebody asked about the budget for the new roof, and it was put off until the spring. ",
    "The treasurer read the figures aloud while the others looked out of the window. ",
    "There was a long talk about who should write to the council, and how politely. ",
)
NEEDLE = "Grandmother's recipe for saffron buns wants two grams of saffron and an hour of rest. "
ASKED = "How much saffron goes into the buns?"


def long_text(sentences: int, needle: int | None = None, about: str = "") -> str:
    """So many sentences of a dull meeting, with something else at one place."""
    told = [FILLER[n % len(FILLER)] + about for n in range(sentences)]
    if needle is not None:
        told[needle] = NEEDLE
    return "".join(told)


async def pieces_of(settings: Settings, trace_id: str) -> list[tuple[int, int | None, int | None]]:
    """(piece, first character, end) of a trace's vectors."""
    return await rows(
        settings, "SELECT piece, begins, ends FROM memory_embedding WHERE trace_id = %s ORDER BY piece", (trace_id,)
    )


def expected(text: str, speaker: str | None = None) -> list[tuple[int, int | None, int | None]]:
    """What :func:`pieces_of` has to find."""
    spans = semantic_pieces(text, speaker, 512)
    return [(0, None, None), *((n, span.begins, span.ends) for n, span in enumerate(spans, 1))]


def only(answer: httpx.Response, status: int = 201) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    (one,) = answer.json()["traces"]
    found: dict[str, Any] = one
    return found


async def test_a_long_trace_is_found_by_a_piece_deep_inside_and_the_piece_can_be_shown(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api
) -> None:
    text = long_text(64, needle=50)
    # The same beginning, which is all that a single vector would know of either.
    dull = only(await post(caller, user, long_text(64)))["trace_id"]
    made = only(await post(caller, user, text))
    assert made["vectors"] == "stored"
    trace_id = made["trace_id"]
    assert await pieces_of(settings, trace_id) == expected(text)
    assert len(expected(text)) > 2
    assert (await found_ids(caller, user, ASKED, recipe="vector", k=2))[0] == trace_id
    question = api.app.state.memories.maker._encoder.embedder.encode_questions([ASKED])[0]
    best = max(await vectors_of(settings, trace_id), key=lambda one: float(one[1] @ question))[0]
    assert best > 0
    user_id = (await user_row(settings, user))["user_id"]
    asked = [(user_id, UUID(trace_id), best), (user_id, UUID(dull), 0), (user_id, UUID(trace_id), 0)]
    memories = api.app.state.memories
    ((space,),) = await rows(settings, "SELECT space_id FROM memory_user WHERE user_id = %s", (user_id,))
    async with memories._database.reading(space) as session:
        shown = await repository.matched_texts(session, asked, memories._model, 1500)
        other = await repository.matched_texts(session, [(user_id, UUID(int=7), 0)], memories._model, 1500)
    begins, told = shown[user_id.bytes + UUID(trace_id).bytes, best]
    _, first, last = expected(text)[best]
    assert (begins, told) == (first, text[first:last][:1500])
    assert NEEDLE in text[first:last]
    assert shown[user_id.bytes + UUID(dull).bytes, 0] == (0, long_text(64)[:1500])
    assert len(shown) == 3
    assert other == {}


async def test_what_fits_the_window_has_one_vector(caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    trace_id = only(await post(caller, user, long_text(12)))["trace_id"]
    assert await pieces_of(settings, trace_id) == [(0, None, None)]


async def test_the_speaker_stands_in_front_of_every_piece(
    caller: httpx.AsyncClient, user: str, fickle: Fickle, settings: Settings
) -> None:
    fickle.documents.clear()
    text = long_text(40)
    trace_id = only(await post(caller, user, {"content": text, "speaker": "Ada"}))["trace_id"]
    spans = expected(text, "Ada")
    assert await pieces_of(settings, trace_id) == spans
    assert sorted(fickle.documents) == sorted([f"Ada: {text}", *(f"Ada: {text[a:b]}" for _, a, b in spans[1:])])


async def test_a_supplied_vector_stands_for_a_long_trace_alone(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle, api: Api
) -> None:
    fickle.documents.clear()
    made = await post(caller, user, {"content": long_text(40), "embedding": unit(1)})
    trace_id = only(made)["trace_id"]
    assert made.json()["operation_id"] is None
    assert await again(api, settings, trace_id) == {"embedded": 0, "refused": 0}
    assert await pieces_of(settings, trace_id) == [(0, None, None)]
    assert fickle.documents == []


async def again(api: Api, settings: Settings, *trace_ids: str) -> dict[str, Any]:
    """What an operation over traces does that finds them as they are."""
    maker: VectorMaker = api.app.state.memories.maker
    ids = [UUID(trace_id) for trace_id in trace_ids]
    ((space, user_id),) = await rows(
        settings, "SELECT DISTINCT space_id, user_id FROM memory_trace WHERE id = ANY(%s)", (ids,)
    )
    made, refused = await maker.make(space, user_id, ids)
    return {"embedded": made, "refused": refused}


@pytest.mark.parametrize(("before", "after"), [(64, 5), (5, 64), (64, 40), (40, 64)])
async def test_a_change_replaces_all_pieces(
    caller: httpx.AsyncClient, user: str, settings: Settings, before: int, after: int
) -> None:
    trace_id = only(await post(caller, user, long_text(before, about="At the time. ")))["trace_id"]
    text = long_text(after, needle=after - 2)
    answer = await caller.patch(f"/memory/traces/{trace_id}", params={"user_id": user}, json={"content": text})
    assert answer.status_code == 200
    assert await pieces_of(settings, trace_id) == expected(text)
    assert await found_ids(caller, user, ASKED, recipe="vector") == [trace_id]


@pytest.mark.parametrize("change", [{"occurred_at": "2021-07-01"}, {"kind": "fact"}, {"meta": {"a": 1}}])
async def test_a_change_of_something_else_keeps_them(
    caller: httpx.AsyncClient, user: str, settings: Settings, fickle: Fickle, change: dict[str, Any]
) -> None:
    text = long_text(40)
    trace_id = only(await post(caller, user, text))["trace_id"]
    before = await vectors_of(settings, trace_id)
    fickle.documents.clear()
    answer = await caller.patch(f"/memory/traces/{trace_id}", params={"user_id": user}, json=change)
    assert answer.status_code == 200
    after = await vectors_of(settings, trace_id)
    assert [piece for piece, _ in after] == [piece for piece, _ in before]
    assert all(np.array_equal(old, new) for (_, old), (_, new) in zip(before, after, strict=True))
    assert fickle.documents == []
    alike = await rows(
        settings,
        "SELECT DISTINCT e.kind = b.kind AND e.happened_at = b.happened_at"
        " FROM memory_embedding e JOIN memory_body b USING (user_id, trace_id) WHERE e.trace_id = %s",
        (trace_id,),
    )
    assert alike == [(True,)]


async def test_pieces_beyond_what_is_waited_for_are_left_to_an_operation(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = long_text(40), long_text(64, needle=50)
    monkeypatch.setattr(embedding, "MOST_WAITED_PIECES", len(expected(few)))
    answer = await post(caller, user, few, many, "Short.")
    assert answer.status_code == 201
    body = answer.json()
    assert [one["vectors"] for one in body["traces"]] == ["stored", "pending", "stored"]
    assert body["degraded"] == []
    ids = [one["trace_id"] for one in body["traces"]]
    assert await pieces_of(settings, ids[0]) == expected(few)
    assert await pieces_of(settings, ids[1]) == [(0, None, None)]
    ((_, first),) = await vectors_of(settings, ids[1])
    assert await run_operation(api, body["operation_id"])
    assert await pieces_of(settings, ids[1]) == expected(many)
    assert np.array_equal((await vectors_of(settings, ids[1]))[0][1], first)
    done = (await caller.get(f"/operations/{body['operation_id']}")).json()
    assert done["result"] == {"embedded": 1, "refused": 0}


async def test_when_the_encoder_fails_at_the_pieces_the_beginning_is_kept(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api, fickle: Fickle
) -> None:
    text = long_text(64)
    with fickle.refusing(text[slice(*expected(text)[2][1:])]):
        answer = await post(caller, user, text)
        made = only(answer)
        assert (made["vectors"], answer.json()["degraded"]) == ("pending", ["encoder"])
        assert await pieces_of(settings, made["trace_id"]) == [(0, None, None)]
        # The operation leaves out what the embedder refuses, and makes the rest.
        assert await run_operation(api, answer.json()["operation_id"])
    wanted = expected(text)
    assert await pieces_of(settings, made["trace_id"]) == wanted[:2] + wanted[3:]
    done = (await caller.get(f"/operations/{answer.json()['operation_id']}")).json()
    assert done["result"] == {"embedded": 1, "refused": 1}


async def test_what_was_killed_goes_on_with_the_traces_that_are_missing(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "TEXTS", 2)
    texts = [long_text(40 + n) for n in range(3)]
    body = (await post(caller, user, *texts, wait=False)).json()
    ids = [one["trace_id"] for one in body["traces"]]
    fickle.documents.clear()
    with fickle.held(after=len(expected(texts[0]))) as arrived:
        worker = asyncio.create_task(run_operation(api, body["operation_id"]))
        assert await asyncio.to_thread(arrived)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
    counts = [len(await pieces_of(settings, trace_id)) for trace_id in ids]
    assert counts == [len(expected(texts[0])), 0, 0]
    fickle.documents.clear()
    assert await run_operation(api, body["operation_id"])
    assert [await pieces_of(settings, trace_id) for trace_id in ids] == [expected(text) for text in texts]
    assert texts[0] not in fickle.documents
    done = (await caller.get(f"/operations/{body['operation_id']}")).json()
    assert done["state"] == "done"


async def test_missing_pieces_are_noticed_and_made_and_the_first_is_left_alone(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api, fickle: Fickle
) -> None:
    text = long_text(40)
    trace_id = only(await post(caller, user, text))["trace_id"]
    await rows(settings, "DELETE FROM memory_embedding WHERE trace_id = %s AND piece > 0", (trace_id,))
    fickle.documents.clear()
    assert await again(api, settings, trace_id) == {"embedded": 1, "refused": 0}
    assert await pieces_of(settings, trace_id) == expected(text)
    assert text not in fickle.documents
    fickle.documents.clear()
    assert await again(api, settings, trace_id) == {"embedded": 0, "refused": 0}
    assert fickle.documents == []


async def test_pieces_of_an_older_text_are_not_written(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api, fickle: Fickle
) -> None:
    body = (await post(caller, user, long_text(64), wait=False)).json()
    trace_id = body["traces"][0]["trace_id"]
    with fickle.held() as arrived:
        worker = asyncio.create_task(run_operation(api, body["operation_id"]))
        assert await asyncio.to_thread(arrived)
        # As PATCH does it, which would wait for the same encoder.
        await rows(settings, "UPDATE memory_body SET content = %s WHERE trace_id = %s", (long_text(30), trace_id))
        await rows(settings, "UPDATE memory_trace SET updated_at = now() WHERE id = %s", (trace_id,))
        fickle.release()
        assert await worker
    assert await pieces_of(settings, trace_id) == expected(long_text(30))


async def test_forgetting_takes_all_pieces_along(caller: httpx.AsyncClient, user: str, settings: Settings) -> None:
    text = long_text(40)
    trace_id = only(await post(caller, user, text))["trace_id"]
    body = {"user_id": user, "scope": {"trace_id": trace_id}}
    forgotten = (await caller.post("/memory/forget", json=body)).json()
    assert forgotten["counts"]["vectors"] == len(expected(text))
    assert await pieces_of(settings, trace_id) == []


async def test_a_million_characters_are_welcome(
    caller: httpx.AsyncClient, user: str, settings: Settings, api: Api, fickle: Fickle
) -> None:
    # Words that the model's tokenizer takes for one unknown token each: a window of them is soon encoded.
    word = "x" * 119 + " "
    text = word * 6000 + NEEDLE * 2 + word * 2330
    assert 1_000_000 > len(text) > 999_000
    answer = await post(caller, user, text)
    made = only(answer)
    assert made["vectors"] == "pending"
    assert await pieces_of(settings, made["trace_id"]) == [(0, None, None)]
    fickle.documents.clear()
    assert await run_operation(api, answer.json()["operation_id"])
    found = await pieces_of(settings, made["trace_id"])
    assert found == expected(text)
    assert len(fickle.documents) == len(found) - 1 <= 512
    assert whole(text, [(begins, ends) for _, begins, ends in found[1:] if begins is not None and ends is not None])
    other = only(await post(caller, user, word * 200))["trace_id"]
    assert await found_ids(caller, user, ASKED, recipe="vector") == [made["trace_id"], other]


def whole(text: str, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether each begins within or behind the one before, from what piece 0 holds at most to the last character."""
    told = spans[0][0] if spans[0][0] <= 512 * 16 else 0
    for begins, ends in spans:
        if begins > told:
            return False
        told = ends
    return told == len(text)
