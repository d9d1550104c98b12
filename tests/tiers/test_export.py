"""From warm to cold: everything is in one place at every moment, whatever goes wrong on the way."""

import asyncio
import re
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.tiers.past import MONDAY, NOW, OTHER_SPACE, SPACE, WEEK, Past, trace_id, user_of, vector_like
from tests.tiers.rows import add_model, fetch
from tests.tiers.storage import Fickle

from reverie.cold.service import ColdService
from reverie.core.config import Settings
from reverie.core.database import Connection
from reverie.core.ids import lower_bound
from reverie.embedding.codes import restore
from reverie.tiers import export, locks, runs
from reverie.tiers.export import Exporter, due, months_between, parts_of, range_of
from reverie.tiers.indexes import Partition
from reverie.tiers.locks import AlreadyMoving
from reverie.tiers.overview import TierOverview
from reverie.tiers.partitions import ensure_partitions
from reverie.tiers.runs import Run

if TYPE_CHECKING:
    from uuid import UUID


@pytest.fixture
def storage(settings: Settings) -> Fickle:
    return Fickle(settings.reverie_home / "objects")


@pytest.fixture
async def past(owner: Connection, settings: Settings, storage: Fickle) -> Past:
    """Five weeks of three users, in one warm partition."""
    store = await Past.of(owner, settings)
    store.cold = ColdService(store.database, storage)
    await store.fill()
    await store.make_warm()
    return store


async def damaged(past: Past) -> dict[str, str]:
    """What the status says of files."""
    found = await TierOverview(past.settings, past.database, past.cold.objects).look()
    return {one.path: one.damage for one in found.damaged}


async def test_what_is_warm_becomes_cold_and_is_in_one_place(past: Past) -> None:
    texts: dict[UUID, str] = dict(await fetch(past.owner, "SELECT trace_id, content FROM memory_body"))
    before = await fetch(past.owner, "SELECT user_id, traces, words, version FROM memory_user ORDER BY 1")
    outcome = await past.make_cold()
    assert outcome.state == "done"
    assert outcome.report["cold"]["exported"] == len(past.traces)
    assert Counter((await past.places()).values()) == {"cold": len(past.traces)}
    assert await past.filed() == texts
    assert await fetch(past.owner, "SELECT (SELECT count(*) FROM memory_body), count(*) FROM memory_embedding") == [
        (0, 0)
    ]
    assert await fetch(past.owner, "SELECT tgname FROM pg_trigger WHERE tgname ~ '^reverie_(exported|moving)'") == []
    assert await fetch(past.owner, "SELECT user_id, traces, words, version FROM memory_user ORDER BY 1") == before
    assert (await past.run(as_of=NOW)).report.get("cold") is None


async def test_a_file_holds_one_space_and_month_in_the_order_of_users(past: Past) -> None:
    vectors = await fetch(past.owner, "SELECT trace_id, head, piece FROM memory_embedding ORDER BY 1, 2, 3")
    await past.make_cold()
    rows = await fetch(past.owner, "SELECT space_id, month::text, path, traces, rows FROM cold_segment ORDER BY 1, 2")
    assert [(row[0], row[1]) for row in rows] == [
        (space, month) for space in (SPACE, OTHER_SPACE) for month in ("2024-01-01", "2024-02-01")
    ]
    found = []
    for space, month, path, traces, count in rows:
        table = pq.read_table(past.file(path), partitioning=None)
        keys = list(zip(*(table[name].to_pylist() for name in ("user_id", "trace_id", "piece")), strict=True))
        assert keys == sorted(keys)
        assert (len({key[1] for key in keys}), len(keys)) == (traces, count)
        for row in table.to_pylist():
            assert row["created_at"].strftime("%Y-%m-01") == month
            assert (row["user"] == "eve") == (space == OTHER_SPACE)
            found += [
                (row["trace_id"], head, row["piece"])
                for head, name in enumerate(("semantic", "situation", "entity"))
                if row[name] is not None
            ]
            assert (row["content"] is None) == (row["piece"] > 0)
            assert (row["begins"], row["ends"]) == (
                (None, None) if row["piece"] == 0 else (5 * row["piece"], 5 * row["piece"] + 5)
            )
            if row["piece"] == 0:
                assert row["words"][0] in {"ann", "bob", "eve"}
                assert row["word_count"] == len(set(row["words"]))
    assert sorted(found) == [tuple(row) for row in vectors]


async def test_what_came_late_is_exported_as_codes_and_other_models_are_left(past: Past) -> None:
    late = next(one for user, one in past.traces if user == "ann")
    other = await add_model(past.owner, "another", past.model.dim, "fp16", MONDAY)
    vector, bits = vector_like(past.model, 5)
    for model, head in ((past.model, 0), (other, 2)):
        await past.owner.execute(
            "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind, vec,"
            " bits) VALUES (%s, %s, %s, now(), 0, %s, %s, 2, %s, %s::bit varying)"
            " ON CONFLICT (user_id, trace_id, head, model_id, piece) DO UPDATE"
            " SET vec = excluded.vec, codes = NULL, bits = excluded.bits",
            (SPACE, user_of("ann"), late, head, model.id, vector, bits),
        )
    await past.make_cold()
    assert set((await past.places()).values()) == {"cold"}
    assert await fetch(past.owner, "SELECT count(*) FROM memory_embedding") == [(0,)]
    for (path,) in await fetch(past.owner, "SELECT path FROM cold_segment"):
        for row in pq.read_table(past.file(path), partitioning=None).to_pylist():
            if row["trace_id"] == late and row["piece"] == 0:
                kept = restore(np.frombuffer(row["semantic"], dtype=np.int8)[None])[0]
                given = vector.to_numpy().astype(np.float32)
                assert float(kept @ given / np.linalg.norm(given)) > 0.999
                return
    raise AssertionError


@pytest.mark.parametrize("trouble", ["down", "half", "lost"])
@pytest.mark.parametrize("puts", [0, 2])
async def test_a_storage_that_fails_loses_nothing_and_is_tried_again(
    past: Past, storage: Fickle, trouble: str, puts: int
) -> None:
    before = await past.checksums()
    storage.troubles = [*["fine"] * puts, trouble]
    outcome = await past.run()
    assert outcome.state == "failed"
    assert "Object storage" in outcome.errors["cold"]
    left = await past.checksums()
    assert left | {"garbage": ""} == before | {"garbage": ""}
    assert set((await past.places()).values()) == {"warm"}
    again = await past.run()
    assert again.errors == {}
    assert set((await past.places()).values()) == {"cold"}
    await past.run("files")
    assert past.objects() == {row[0] for row in await fetch(past.owner, "SELECT path FROM cold_segment")}
    assert await fetch(past.owner, "SELECT count(*) FROM cold_garbage") == [(0,)]


async def test_a_storage_that_is_away_stops_no_other_step(past: Past, storage: Fickle) -> None:
    await past.make_cold()
    storage.down = True
    week = MONDAY + 7 * WEEK
    await ensure_partitions(past.owner, MONDAY + 5 * WEEK, week)
    await past.remember("ann", week, 3)
    outcome = await past.run(as_of=week + timedelta(days=60))
    assert outcome.state == "failed"
    assert "warm" not in outcome.errors
    assert outcome.report["warm"]["traces"] >= 0
    assert (await past.places())[past.traces[-1][1]] == "warm"
    assert (await TierOverview(past.settings, past.database, storage).look()).storage is not None


async def test_a_slow_storage_is_waited_for(past: Past, storage: Fickle) -> None:
    storage.troubles = ["slow"] * 4
    await past.make_cold()
    assert set((await past.places()).values()) == {"cold"}


async def test_what_changes_while_it_is_exported_stays(
    past: Past, monkeypatch: pytest.MonkeyPatch, another: Connection
) -> None:
    mine = [one for user, one in past.traces if user == "ann"]
    changed, embedded, forgotten, taken, hidden = mine[:5]
    ann = user_of("ann")
    write = Exporter._write

    async def meddled(self: Exporter, run: Run, *more: Any) -> Any:
        segments = await write(self, run, *more)
        await another.execute(
            "UPDATE memory_body SET content = 'Other.' WHERE trace_id = %s AND user_id = %s", (changed, ann)
        )
        await another.execute("DELETE FROM memory_embedding WHERE trace_id = %s AND head = 2", (embedded,))
        async with another.transaction():
            await another.execute(
                "INSERT INTO cold_removal SELECT space_id, user_id, trace_id, segment_id, now() FROM memory_digest"
                " WHERE trace_id = ANY(%s)",
                ([forgotten, taken],),
            )
            await another.execute("DELETE FROM memory_trace WHERE id = %s", (forgotten,))
            await another.execute("DELETE FROM memory_digest WHERE trace_id = %s", (taken,))
        return segments

    monkeypatch.setattr(Exporter, "_write", meddled)
    await another.execute("UPDATE memory_trace SET deleted_at = now() WHERE id = %s", (hidden,))
    await past.make_cold()
    places = await past.places()
    assert {one: places.get(one) for one in mine[:5]} == {
        changed: "kept", embedded: "kept", forgotten: None, taken: "kept", hidden: None
    }  # fmt: skip
    assert set(places.values()) == {"kept", "cold"}
    assert Counter(places.values())["kept"] == 3
    assert await fetch(past.owner, "SELECT content FROM memory_body WHERE trace_id = %s", changed) == [("Other.",)]
    rows = await fetch(past.owner, "SELECT trace_id, count(codes) FROM memory_embedding GROUP BY 1 ORDER BY 1")
    assert [row[0] for row in rows] == sorted([changed, embedded, taken, hidden])
    assert await fetch(past.owner, "SELECT count(*) FROM memory_digest WHERE trace_id = ANY(%s)", mine[:5]) == [(0,)]
    removed = {row[0] for row in await fetch(past.owner, "SELECT trace_id FROM cold_removal")}
    assert removed == {changed, embedded, forgotten, taken}
    # And nothing of them is left in a file.
    await past.run("files")
    filed = await past.filed()
    assert not filed.keys() & set(mine[:5])
    assert len(filed) == len(past.traces) - 5


async def test_an_export_whose_run_has_lost_its_lock_is_left_alone(
    past: Past, monkeypatch: pytest.MonkeyPatch, another: Connection
) -> None:
    write = Exporter._write

    async def overtaken(self: Exporter, run: Run, *more: Any) -> Any:
        segments = await write(self, run, *more)
        with pytest.raises(AlreadyMoving):
            await self.finish(replace(run, connection=another))
        return segments

    monkeypatch.setattr(Exporter, "_write", overtaken)
    await past.make_cold()
    assert Counter((await past.places()).values()) == {"cold": len(past.traces)}


async def test_files_that_another_run_has_discarded_take_nothing_along(
    past: Past, monkeypatch: pytest.MonkeyPatch, another: Connection
) -> None:
    before = await past.checksums()
    write = Exporter._write

    async def overtaken(self: Exporter, *more: Any) -> Any:
        segments = await write(self, *more)
        assert await past.cold.discard(another) == len(segments)
        return segments

    monkeypatch.setattr(Exporter, "_write", overtaken)
    outcome = await past.run("cold")
    assert "Another run has discarded" in outcome.errors["cold"]
    monkeypatch.undo()
    assert await past.checksums() | {"garbage": ""} == before | {"garbage": ""}
    await past.make_cold()
    assert set((await past.places()).values()) == {"cold"}


async def test_a_thaw_during_an_export_of_others_keeps_its_end(
    owner: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch, another: Connection
) -> None:
    past = await Past.of(owner, settings)
    await past.fill()
    await past.make_warm(3)
    await past.make_cold()
    await past.make_warm(2)
    mine = [one for user, one in past.traces if user == "ann"]
    thawed, like = mine[0], mine[-1]
    write = Exporter._write

    async def meddled(self: Exporter, run: Run, *more: Any) -> Any:
        segments = await write(self, run, *more)
        async with another.transaction():
            await another.execute(
                "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
                " SELECT space_id, user_id, %s, happened_at, words, kind, 'Thawed.', lexemes FROM memory_body"
                " WHERE trace_id = %s",
                (thawed, like),
            )
            await another.execute("UPDATE memory_digest SET thawed_until = now() WHERE trace_id = %s", (thawed,))
        return segments

    monkeypatch.setattr(Exporter, "_write", meddled)
    await past.make_cold()
    places = await past.places()
    assert places.pop(thawed) == "thawed"
    assert set(places.values()) == {"cold"}
    assert await fetch(owner, "SELECT trace_id FROM cold_removal") == []


async def test_nobody_waits_for_who_wants_the_digests_to_himself(
    past: Past, another: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STUBBORN_AFTER_SECONDS", 0.0)
    await past.owner.execute(
        "CREATE TRIGGER reverie_exported AFTER DELETE ON memory_digest FOR EACH ROW"
        " EXECUTE FUNCTION reverie_note_change('memory_body')"
    )
    longest = 0.0
    async with another.transaction():
        await another.execute("SELECT FROM memory_digest")
        going = asyncio.create_task(past.run("unfinished"))
        end = time.monotonic() + 1.5
        while (began := time.monotonic()) < end:
            await fetch(past.owner, "SELECT FROM memory_digest LIMIT 1")
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.01)
        assert not going.done()
    assert (await going).errors == {}
    assert longest < 0.5
    assert await fetch(past.owner, "SELECT FROM pg_trigger WHERE tgname = 'reverie_exported'") == []


async def test_what_is_asked_first_of_its_kind_is_waited_for_longest() -> None:
    asked = [query.decode() for query in locks._brief_locks(["memory_embedding", "memory_trace"], ["memory_digest"])]
    assert [(re.findall(r"\b\d+", query)[0], re.findall(r"memory_\w+", query)[0]) for query in asked] == [
        (str(locks.FIRST_MILLISECONDS), "memory_digest"),
        (str(locks.FIRST_MILLISECONDS), "memory_embedding"),
        (str(locks.NEXT_MILLISECONDS), "memory_trace"),
    ]


async def test_a_session_that_others_go_by_is_not_ended_for_being_idle(past: Past) -> None:
    ((name,),) = await fetch(past.owner, "SELECT current_database()")
    await past.owner.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '90s'")
    async with past.database.maintenance() as connection:
        assert await fetch(connection, "SHOW idle_session_timeout") == [("0",)]


async def test_what_somebody_is_changing_is_not_waited_for(past: Past, another: Connection) -> None:
    held, *_ = [one for user, one in past.traces if user == "bob"]
    async with another.transaction(force_rollback=True):
        await another.execute("SELECT FROM memory_trace WHERE id = %s FOR UPDATE", (held,))
        # Its partition is swapped when he is done.
        going = asyncio.create_task(past.make_cold())
        while not await fetch(past.owner, "SELECT FROM cold_removal"):
            assert not going.done(), going.exception()
            await asyncio.sleep(0.02)
    await going
    places = await past.places()
    assert places.pop(held) == "kept"
    assert set(places.values()) == {"cold"}
    await past.run("files")
    assert held not in await past.filed()


async def test_a_pause_in_the_midst_changes_nothing(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "NOTED_EVERY", 0.0)
    before = await past.checksums()
    write = Exporter._write

    async def paused(self: Exporter, run: Run, *more: Any) -> Any:
        await past.owner.execute("UPDATE tier_control SET paused = true")
        return await write(self, run, *more)

    monkeypatch.setattr(Exporter, "_write", paused)
    outcome = await past.run("cold")
    assert outcome.state == "paused"
    await past.owner.execute("UPDATE tier_control SET paused = false")
    assert await past.checksums() | {"garbage": ""} == before | {"garbage": ""}
    monkeypatch.undo()
    await past.make_cold()
    assert set((await past.places()).values()) == {"cold"}


async def test_cold_ranges_grow_together(owner: Connection, settings: Settings) -> None:
    past = await Past.of(owner, settings)
    await past.fill(6)
    await past.make_warm(3)
    await past.make_warm(2)
    assert (await past.make_cold()).report["cold"]["moves"] == 2
    rows = await fetch(owner, "SELECT parent, lower, upper FROM memory_partition WHERE tier = 'cold' ORDER BY parent")
    assert rows == [
        (parent, lower_bound(MONDAY), lower_bound(MONDAY + 5 * WEEK)) for parent in ("memory_body", "memory_embedding")
    ]
    assert set((await past.places()).values()) == {"cold"}


async def test_files_that_are_damaged_or_deleted_by_hand_are_named(past: Past) -> None:
    await past.make_cold()
    assert await damaged(past) == {}
    paths = sorted(past.objects())
    past.file(paths[0]).unlink()
    short = past.file(paths[1])
    short.write_bytes(short.read_bytes()[:-10])
    found = await damaged(past)
    assert found.keys() == set(paths[:2])
    assert found[paths[0]] == "it is missing"
    assert "in place of" in found[paths[1]]
    # A run notes what is wrong, and fails nothing.
    outcome = await past.run()
    assert outcome.errors == {}
    assert outcome.report["check"]["damaged"] == 2
    rows = await fetch(past.owner, "SELECT path FROM cold_segment WHERE damage IS NOT NULL ORDER BY 1")
    assert [row[0] for row in rows] == paths[:2]


async def test_a_run_says_how_many_files_are_damaged_and_names_none(past: Past) -> None:
    await past.make_cold()
    await past.owner.execute("DELETE FROM memory_digest WHERE trace_id = %s", (past.traces[0][1],))
    for path in past.objects():
        past.file(path).write_bytes(b"x")
    outcome = await past.run("files")
    assert outcome.errors == {"files": "Files of cold memory that are missing or damaged and not rewritten: 1."}


async def test_what_is_due_is_older_than_so_many_days_in_every_row(past: Past) -> None:
    newest = MONDAY + 4 * WEEK + timedelta(days=2, hours=2)
    assert await due(past.owner, MONDAY + timedelta(days=365), 365) is None
    assert await due(past.owner, newest + timedelta(days=364), 365) is None
    found = await due(past.owner, newest + timedelta(days=366), 365)
    assert found is not None
    assert (found.lower, found.upper) == (lower_bound(MONDAY), lower_bound(MONDAY + 5 * WEEK))


def partition(parent: str, first: int, weeks: int, tier: str) -> Partition:
    lower, upper = lower_bound(MONDAY + first * WEEK), lower_bound(MONDAY + (first + weeks) * WEEK)
    return Partition(f"{parent}_{first}", parent, lower, upper, tier)


def test_a_range_takes_the_cold_before_it_and_texts_that_fit() -> None:
    texts = [
        partition("memory_body", 0, 2, "cold"),
        partition("memory_body", 2, 1, "warm"),
        partition("memory_body", 3, 1, "warm"),
    ]
    vectors = [partition("memory_embedding", 0, 2, "cold"), partition("memory_embedding", 2, 2, "warm")]
    found = range_of(vectors[1], [*texts, *vectors])
    assert found is not None
    assert {one.table for one in found.emptied} == {"memory_body_2", "memory_body_3", "memory_embedding_2"}
    assert {one.table for one in found.before} == {"memory_body_0", "memory_embedding_0"}
    longer = [partition("memory_body", 2, 3, "warm")]
    assert range_of(vectors[1], [*longer, *vectors]) is None


def test_parts_hold_no_more_than_so_many_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PART_CHARACTERS", 10)
    traces = [(SPACE, trace_id(MONDAY, n), length) for n, length in enumerate([4, 6, 1, 50, 2, 3])]
    assert [len(part) for part in parts_of(traces)] == [2, 1, 1, 2]


def test_months_of_a_range() -> None:
    months = months_between(MONDAY, MONDAY + 5 * WEEK)
    assert [f"{month:%Y-%m-%d}" for month in months] == ["2024-01-01", "2024-02-01"]
    assert len(months_between(MONDAY.replace(day=1), MONDAY.replace(month=2, day=1))) == 1
