"""A store goes over to another model: everything has its new vectors, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle, found_ids, post, rows, run_operation, unit
from tests.reembedding.conftest import changed, reembed, service_of
from tests.waiting import PATIENCE, until

from reverie.core.config import Settings
from reverie.core.errors import Conflict, NotFound, StartError
from reverie.embedding.fit import fit
from reverie.embedding.protocol import Embedder
from reverie.reembedding import service
from reverie.reembedding.service import Progress

DIM = 128
PART = 8
HARBOURS = [f"Parcel {n} went to harbour {n % 7} with the {n}th boat." for n in range(40)]


@pytest.fixture
def new(settings: Settings) -> Settings:
    """Settings that name another model: the same one, cut to fewer dimensions."""
    return changed(settings, embedding_dim=DIM)


@pytest.fixture
def fickle(embedder: Embedder) -> Fickle:
    """The embedder of the new model."""
    assert hasattr(embedder, "embedder")
    return Fickle(embedder.embedder)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small store has several."""
    monkeypatch.setattr(service, "PART_TRACES", PART)
    monkeypatch.setattr(service, "WINDOW", 3 * PART)
    monkeypatch.setattr(service, "DROP_BLOCKS", 2)
    monkeypatch.setattr(service, "FIRST_PAUSE", 0.05)


@pytest.fixture
async def api(settings: Settings, embedder: Embedder) -> AsyncIterator[Api]:
    """The API of the old model."""
    async with serving(settings, embedder) as running:
        yield running


Stored = dict[str, dict[int, np.ndarray[Any, Any]]]


async def stored(settings: Settings) -> Stored:
    """The first vector of each trace, by the dimension of its model."""
    found = await rows(
        settings,
        "SELECT e.trace_id, m.dim, coalesce(e.vec::real[], e.vec_fp32::real[]) FROM memory_embedding e"
        " JOIN model m ON m.id = e.model_id WHERE e.head = 0 AND e.piece = 0",
    )
    vectors: Stored = {}
    for trace_id, dim, vector in found:
        vectors.setdefault(str(trace_id), {})[dim] = np.array(vector, dtype=np.float32)
    return vectors


def assert_made_of(vectors: Stored, embedder: Embedder, texts: dict[str, str], dim: int = DIM) -> None:
    """Each of these traces has the vector of its text, and no other trace has one of the new model."""
    assert {trace_id for trace_id, by_dim in vectors.items() if dim in by_dim} == set(texts)
    for trace_id, text in texts.items():
        [wanted] = fit(embedder.encode_documents([text]), dim)
        assert float(vectors[trace_id][dim] @ wanted) > 0.98, text


async def remembered(api: Api, user: str = "ada", traces: Sequence[Any] = HARBOURS) -> list[str]:
    """The ids of traces that were remembered."""
    answer = await post(await api.caller(), user, *traces)
    assert answer.status_code == 201, answer.text
    return [one["trace_id"] for one in answer.json()["traces"]]


async def model_indexes(settings: Settings, number: int) -> int:
    """How many indexes there are of a model."""
    [(count,)] = await rows(settings, "SELECT count(*) FROM pg_class WHERE relname ~ %s", (f"_m{number}_",))
    return int(count)


async def test_a_store_goes_over_while_it_is_served(
    api: Api, settings: Settings, new: Settings, embedder: Embedder
) -> None:
    caller = await api.caller()
    ids = await remembered(api)
    [supplied] = await remembered(api, "bob", [{"content": "Brought along.", "embedding": unit(1), "speaker": "Ilse"}])
    [faint] = await remembered(api, "bob", [{"content": "Hardly worth it.", "salience": 0.1}])
    before = await found_ids(caller, "ada", "harbour 3", recipe="vector")
    told: list[Progress] = []
    outcome = await reembed(new, embedder, told.append)
    assert (outcome.model.dim, outcome.made, outcome.refused) == (DIM, len(ids) + 1, 0)
    assert outcome.before is not None
    assert outcome.before.dim == 384
    assert list(dict.fromkeys(one.state for one in told)) == ["filling", "catching up", "closing"]
    assert [one.traces for one in told if one.state == "filling"] == sorted(
        one.traces for one in told if one.state == "filling"
    )
    assert (told[-1].traces, told[-1].total) == (len(ids) + 2, len(ids) + 2)
    texts = dict(zip(ids, HARBOURS, strict=True)) | {supplied: "Ilse: Brought along."}
    assert_made_of(await stored(settings), embedder, texts)
    # Who serves with the old model goes on, and says so.
    assert await found_ids(caller, "ada", "harbour 3", recipe="vector") == before
    ready = (await caller.get("/health/ready")).json()
    assert ready["status"] == "degraded"
    assert "restart" in ready["parts"]["encoder"]["detail"]
    assert f"({DIM} dimensions, fp16)" in ready["parts"]["encoder"]["detail"]
    async with serving(new, embedder) as restarted:
        fresh = await restarted.caller()
        assert (await fresh.get("/health/ready")).json()["status"] == "ready"
        assert len(await found_ids(fresh, "ada", "harbour 3", recipe="vector")) == 10
        assert await found_ids(fresh, "bob", "What did Ilse bring along?", recipe="vector") == [supplied]
        assert faint in await found_ids(fresh, "bob", "hardly worth it")
    again = await reembed(new, embedder)
    assert again.before is None


@pytest.mark.parametrize("change", [{"embedding_precision": "fp32"}, {"embedding_dim": 900}])
async def test_precision_and_more_dimensions_too(
    api: Api, settings: Settings, embedder: Embedder, change: dict[str, Any]
) -> None:
    ids = await remembered(api)
    to = changed(settings, **change)
    outcome = await reembed(to, embedder)
    assert outcome.made == len(ids)
    column = outcome.model.column
    kept = await rows(
        settings,
        f"SELECT count(*), min(vector_dims({column})), bool_and(bits IS NOT NULL) FROM memory_embedding"  # noqa: S608
        f" WHERE model_id = {outcome.model.id}",
    )
    assert kept == [(len(ids), change.get("embedding_dim", 384), True)]
    async with serving(to, embedder) as restarted:
        found = await found_ids(await restarted.caller(), "ada", HARBOURS[5], recipe="vector")
        assert found[0] == ids[5]


async def test_what_is_written_meanwhile_ends_right(
    api: Api, settings: Settings, new: Settings, embedder: Embedder, fickle: Fickle
) -> None:
    caller = await api.caller()
    ids = sorted(await remembered(api))
    order = dict(zip(await remembered(api, "bob", ["Bob is first or last."]), ["Bob is first or last."], strict=True))
    texts = dict(zip(ids, HARBOURS, strict=True))

    async def change(trace_id: str, **given: Any) -> None:
        answer = await caller.patch(f"/memory/traces/{trace_id}", params={"user_id": "ada"}, json=given)
        assert answer.status_code == 200, answer.text

    async def forget(*trace_ids: str) -> None:
        scope = {"trace_ids": list(trace_ids)}
        answer = await caller.post("/memory/forget", json={"user_id": "ada", "scope": scope})
        assert answer.status_code == 200, answer.text

    with fickle.held(after=2 * PART) as arrived:
        running = asyncio.create_task(reembed(new, fickle))
        assert await asyncio.to_thread(arrived)
        # One part or two have their vectors, one is in the model, the others are still to come.
        for trace_id in (ids[0], ids[2 * PART], ids[-1]):
            texts[trace_id] = f"Something else altogether about {trace_id[-4:]}."
            await change(trace_id, content=texts[trace_id])
        await forget(ids[1], ids[2 * PART + 1], ids[-2])
        for trace_id in (ids[2], ids[2 * PART + 2], ids[-3]):
            await change(trace_id, salience=0.01)
            del texts[trace_id]
        for trace_id in (ids[1], ids[2 * PART + 1], ids[-2]):
            del texts[trace_id]
        await change(ids[3], meta={"seen": True})
        [late] = await remembered(api, "ada", ["Remembered while it ran."])
        [other] = await remembered(api, "zoe", ["Somebody new."])
        pending = await post(caller, "ada", "Left to a worker.", wait=False)
        texts |= order | {late: "Remembered while it ran.", other: "Somebody new."}
        texts[pending.json()["traces"][0]["trace_id"]] = "Left to a worker."
    outcome = await asyncio.wait_for(running, PATIENCE)
    assert outcome.refused == 0
    assert_made_of(await stored(settings), embedder, texts)


async def test_what_the_old_model_writes_after_the_switch_is_left_to_the_new_one(
    api: Api, settings: Settings, new: Settings, embedder: Embedder
) -> None:
    caller = await api.caller()
    ids = await remembered(api)
    outcome = await reembed(new, embedder)
    texts = dict(zip(ids, HARBOURS, strict=True))
    [late] = await remembered(api, "ada", ["After the switch."])
    texts |= {late: "After the switch.", ids[0]: "Changed after the switch."}
    answer = await caller.patch(f"/memory/traces/{ids[0]}", params={"user_id": "ada"}, json={"content": texts[ids[0]]})
    assert answer.status_code == 200
    # An operation of the old model's own, which its worker does, leaves one too.
    pending = await post(caller, "ada", "And by an operation.", wait=False)
    texts[pending.json()["traces"][0]["trace_id"]] = "And by an operation."
    assert await run_operation(api, pending.json()["operation_id"])
    left = await rows(settings, "SELECT id FROM operation WHERE payload = %s", (f'{{"model": {outcome.model.id}}}',))
    assert len(left) == 3
    for (operation_id,) in left:
        # A worker of the old model lets it wait.
        assert await run_operation(api, str(operation_id))
    waiting = await rows(
        settings, "SELECT state, attempts, error FROM operation WHERE id = ANY(%s)", ([x[0] for x in left],)
    )
    assert {row[:2] for row in waiting} == {("pending", 0)}
    assert all(embedder.name in row[2] for row in waiting)
    await rows(settings, "UPDATE operation SET lease_until = NULL")
    async with serving(new, embedder) as restarted:
        for (operation_id,) in left:
            assert await run_operation(restarted, str(operation_id))
        assert await rows(settings, "SELECT count(*) FROM operation WHERE state <> 'done'") == [(0,)]
        # Who has the new model leaves nothing to the old one.
        await remembered(restarted, "ada", ["Of the new model alone."])
        assert await rows(settings, "SELECT count(*) FROM operation WHERE state <> 'done'") == [(0,)]
    vectors = await stored(settings)
    newest = next(trace_id for trace_id, by_dim in vectors.items() if set(by_dim) == {DIM})
    assert_made_of(vectors, embedder, texts | {newest: "Of the new model alone."})


async def broken_off(new: Settings, fickle: Fickle, parts: int) -> None:
    """A run that is ended in the midst of its work."""
    with fickle.held(after=parts * PART) as arrived:
        running = asyncio.create_task(reembed(new, fickle))
        assert await asyncio.to_thread(arrived)
        running.cancel()
        fickle.release()
        await asyncio.wait([running])
        assert running.cancelled()


async def test_a_run_that_was_broken_off_goes_on_and_encodes_nothing_twice(
    api: Api, settings: Settings, new: Settings, embedder: Embedder, fickle: Fickle
) -> None:
    ids = await remembered(api)
    await broken_off(new, fickle, 2)
    [(made, traces, state)] = await rows(settings, "SELECT made, traces, state FROM reembedding")
    assert (made, traces, state) == (2 * PART, 2 * PART, "filling")
    fickle.documents.clear()
    outcome = await reembed(new, fickle)
    assert outcome.made == len(ids)
    assert sorted(fickle.documents) == sorted(set(fickle.documents))
    assert len(fickle.documents) == len(ids) - 2 * PART
    assert_made_of(await stored(settings), embedder, dict(zip(ids, HARBOURS, strict=True)))
    assert await rows(settings, "SELECT count(*) FROM reembedding") == [(0,)]


async def test_while_it_is_not_finished_the_new_model_is_refused_and_no_other_begins(
    api: Api, settings: Settings, new: Settings, embedder: Embedder, fickle: Fickle
) -> None:
    await remembered(api)
    await broken_off(new, fickle, 2)
    with pytest.raises(StartError, match="still being made") as refused:
        async with serving(new, embedder):
            pass
    assert "40 %" in str(refused.value)
    assert f"`reverie reembed --model {embedder.name} --dim {DIM}`" in str(refused.value)
    async with serving(settings, embedder) as second:
        assert (await (await second.caller()).get("/health/ready")).json()["status"] == "ready"
    with pytest.raises(Conflict, match=r"on its way to .*128 dimensions"):
        await reembed(changed(settings, embedding_dim=64), embedder)
    with pytest.raises(Conflict, match="on its way to"):
        await service_of(settings).drop_old()
    status = (await (await api.caller()).get("/admin/status")).json()
    [change] = status["changes"]
    assert (change["state"], change["made"], change["model"]["dim"]) == ("filling", 2 * PART, DIM)


async def test_two_at_once_do_not_happen(api: Api, settings: Settings, new: Settings, fickle: Fickle) -> None:
    await remembered(api)
    with fickle.held() as arrived:
        running = asyncio.create_task(reembed(new, fickle))
        assert await asyncio.to_thread(arrived)
        with pytest.raises(Conflict, match=r"Another process works on the vectors of .* \(filling, 0 %\)"):
            await reembed(new, fickle)
        with pytest.raises(Conflict, match="Another process"):
            await service_of(settings).drop_old()
    assert (await asyncio.wait_for(running, PATIENCE)).made == len(HARBOURS)


async def assert_as_before(settings: Settings, traces: int) -> None:
    """The store has the vectors of its one model, and nothing of another."""
    assert await rows(settings, "SELECT dim, active, wanted FROM model") == [(384, True, True)]
    assert await rows(settings, "SELECT count(*) FROM memory_embedding") == [(traces,)]
    assert await rows(settings, "SELECT count(*) FROM reembedding") == [(0,)]
    assert await model_indexes(settings, 2) == 0
    assert await model_indexes(settings, 1) > 0


async def test_a_change_that_was_broken_off_can_be_aborted(
    api: Api, settings: Settings, new: Settings, embedder: Embedder, fickle: Fickle
) -> None:
    ids = await remembered(api)
    await broken_off(new, fickle, 2)
    assert await model_indexes(settings, 2) > 0
    assert (await service_of(settings).abort()).dim == DIM
    await assert_as_before(settings, len(ids))
    with pytest.raises(NotFound, match="nothing to abort"):
        await service_of(settings).abort()
    assert len(await found_ids(await api.caller(), "ada", "harbour 3", recipe="vector")) == 10
    assert (await reembed(new, fickle)).made == len(ids)


async def test_a_change_that_runs_can_be_aborted(api: Api, settings: Settings, new: Settings, fickle: Fickle) -> None:
    ids = await remembered(api)
    with fickle.held(after=2 * PART) as arrived:
        running = asyncio.create_task(reembed(new, fickle))
        assert await asyncio.to_thread(arrived)
        waits: list[Progress] = []
        aborting = asyncio.create_task(service_of(settings).abort(waits.append))
        await until(lambda: bool(waits))
    with pytest.raises(Conflict, match="broken off"):
        await asyncio.wait_for(running, PATIENCE)
    await asyncio.wait_for(aborting, PATIENCE)
    await assert_as_before(settings, len(ids))


async def test_what_was_left_for_an_aborted_model_is_no_work(
    api: Api, settings: Settings, new: Settings, embedder: Embedder, fickle: Fickle
) -> None:
    ids = await remembered(api)
    closing: list[asyncio.Task[list[str]]] = []

    def tell(now: Progress) -> None:
        if now.state == "closing" and not closing:
            closing.append(asyncio.create_task(remembered(api, "zz", ["Written while it closed."])))
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        await reembed(new, fickle, tell)
    ids += await closing[0]
    [(operation_id, payload)] = await rows(settings, "SELECT id, payload FROM operation")
    assert payload == {"model": 2}
    await service_of(settings).abort()
    assert await run_operation(api, str(operation_id))
    found = await rows(settings, "SELECT state, result FROM operation")
    assert found == [("done", {"embedded": 0, "refused": 0})]
    await assert_as_before(settings, len(ids))


async def test_old_vectors_are_dropped_once_nobody_serves_with_them(
    settings: Settings, new: Settings, embedder: Embedder
) -> None:
    async with serving(settings, embedder) as running:
        ids = await remembered(running)
        with pytest.raises(NotFound, match="no other model"):
            await service_of(settings).drop_old()
        await reembed(new, embedder)
        with pytest.raises(Conflict, match=r"still serve with .*384 dimensions"):
            await service_of(settings).drop_old()
        assert len(await found_ids(await running.caller(), "ada", "harbour 3", recipe="vector")) == 10
    # A process that died comes back with the settings that it has.
    async with serving(settings, embedder) as running:
        assert len(await found_ids(await running.caller(), "ada", "harbour 3", recipe="vector")) == 10
    async with serving(new, embedder) as running:
        told: list[Progress] = []
        gone = await service_of(settings).drop_old(told.append)
        assert [model.dim for model in gone] == [384]
        assert told[-1].made == len(ids)
        assert told[-1].traces == told[-1].total
        assert len(await found_ids(await running.caller(), "ada", "harbour 3", recipe="vector")) == 10
    assert await model_indexes(settings, 1) == 0
    assert await model_indexes(settings, 2) > 0
    assert await rows(settings, "SELECT dim, active FROM model") == [(DIM, True)]
    assert {dim for by_dim in (await stored(settings)).values() for dim in by_dim} == {DIM}
    with pytest.raises(StartError, match="run `reverie reembed --model"):
        async with serving(settings, embedder):
            pass


async def test_dropping_that_was_broken_off_goes_on(settings: Settings, new: Settings, embedder: Embedder) -> None:
    async with serving(settings, embedder) as running:
        await remembered(running)
    await reembed(new, embedder)

    def stop(_: Progress) -> None:
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        await service_of(settings).drop_old(stop)
    assert await rows(settings, "SELECT state FROM reembedding") == [("dropping",)]
    with pytest.raises(StartError, match="being removed"):
        async with serving(settings, embedder):
            pass
    with pytest.raises(Conflict, match="being removed"):
        await reembed(settings, embedder)
    await service_of(settings).drop_old()
    assert await rows(settings, "SELECT dim, active FROM model") == [(DIM, True)]
    # And back again, from nothing.
    assert (await reembed(settings, embedder)).made == len(HARBOURS)


async def test_the_way_back_needs_only_what_is_missing(
    settings: Settings, new: Settings, embedder: Embedder, fickle: Fickle
) -> None:
    async with serving(settings, embedder) as running:
        await remembered(running)
    await reembed(new, embedder)
    async with serving(new, embedder) as running:
        await remembered(running, "ada", ["Only of the new model."])
    back = await reembed(settings, fickle)
    assert (back.model.dim, back.made) == (384, 1)
    assert fickle.documents == ["Only of the new model."]


async def test_a_text_that_the_model_refuses_is_counted_and_passed_over(
    api: Api, settings: Settings, new: Settings, embedder: Embedder, fickle: Fickle
) -> None:
    ids = await remembered(api)
    with fickle.refusing(HARBOURS[11]):
        outcome = await reembed(new, fickle)
    # Once in each pass.
    assert (outcome.made, outcome.refused) == (len(ids) - 1, 3)
    texts = dict(zip(ids, HARBOURS, strict=True))
    del texts[ids[11]]
    assert_made_of(await stored(settings), embedder, texts)


async def test_a_model_that_is_out_is_waited_for(api: Api, new: Settings, fickle: Fickle) -> None:
    ids = await remembered(api)
    told: list[Progress] = []
    with fickle.failing("The model is out for lunch."):
        running = asyncio.create_task(reembed(new, fickle, told.append))
        await until(lambda: any(one.waits for one in told))
    assert (await asyncio.wait_for(running, PATIENCE)).made == len(ids)
    assert {one.waits for one in told if one.waits} == {"The model is out for lunch."}


async def test_a_postgresql_that_goes_away_is_waited_for(
    api: Api, settings: Settings, new: Settings, embedder: Embedder, fickle: Fickle
) -> None:
    ids = await remembered(api)
    told: list[Progress] = []
    with fickle.held(after=2 * PART) as arrived:
        running = asyncio.create_task(reembed(new, fickle, told.append))
        assert await asyncio.to_thread(arrived)
        await rows(
            settings,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'reverie-maintenance' AND datname = current_database()",
        )
    assert (await asyncio.wait_for(running, PATIENCE)).made == len(ids)
    assert any(one.waits for one in told)
    assert_made_of(await stored(settings), embedder, dict(zip(ids, HARBOURS, strict=True)))


async def test_a_store_that_was_never_started_is_not_changed(
    postgres: Any, settings: Settings, new: Settings, embedder: Embedder
) -> None:
    await rows(settings, "DELETE FROM model")
    with pytest.raises(NotFound, match="not in use yet"):
        await reembed(new, embedder)


async def test_pieces_and_heads_are_those_of_a_store_that_was_filled_by_the_new_model(
    settings: Settings, embedder: Embedder, own_settings: Settings
) -> None:
    heads = {"memory_heads": "semantic,situation,entity"}
    long = " ".join(f"On day {n} the ferry to Turku was late again and Ilse waited at the pier." for n in range(120))
    turns = [
        {"content": f"Turn {n}: the train to Ghent left at {n} o'clock from platform nine.", "role": "user"}
        for n in range(3 * PART)
    ]
    traces = [{"content": long}, *({"conversation_id": "c"} | turn for turn in turns)]
    olds, new = changed(settings, **heads), changed(settings, embedding_dim=DIM, **heads)
    async with serving(olds, embedder) as running:
        ids = await remembered(running, "ada", traces)
    outcome = await reembed(new, embedder)
    assert outcome.made == len(traces)
    async with serving(changed(own_settings, embedding_dim=DIM, **heads), embedder) as fresh:
        wanted = await remembered(fresh, "ada", traces)
        for (operation_id,) in await rows(own_settings, "SELECT id FROM operation"):
            assert await run_operation(fresh, str(operation_id))
    async with serving(new, embedder):
        # Its heads are known to be filled.
        assert await rows(settings, "SELECT count(*) FROM operation WHERE kind = 'fill_heads'") == [(0,)]
    made = await pieces(settings, ids)
    filled = await pieces(own_settings, wanted)
    assert made.keys() == filled.keys()
    assert {head for _, head, _ in made} == {0, 1, 2}
    assert max(piece for _, _, piece in made) > 2
    for key, (places, vector) in filled.items():
        assert made[key][0] == places
        assert float(made[key][1] @ vector) > 0.97, key


async def pieces(settings: Settings, ids: Sequence[str]) -> dict[tuple[int, int, int], tuple[Any, Any]]:
    """(place of the trace, head, piece) → (where it begins and ends, vector), of the model of DIM dimensions."""
    found = await rows(
        settings,
        "SELECT e.trace_id::text, e.head, e.piece, e.begins, e.ends, e.vec::real[] FROM memory_embedding e"
        " JOIN model m ON m.id = e.model_id WHERE m.dim = %s",
        (DIM,),
    )
    return {(ids.index(row[0]), row[1], row[2]): (row[3:5], np.array(row[5], dtype=np.float32)) for row in found}
