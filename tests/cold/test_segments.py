"""Segments: written, read back, shown, read, rewritten without what is gone."""

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import AsyncConnection
from tests.cold.rows import MONTH, rows, text_of
from tests.cold.store import Store

from reverie.cold import digest, files, service
from reverie.cold.files import ids_of
from reverie.cold.segments import MISSING, Written, verify
from reverie.cold.service import ColdService, Output
from reverie.core.errors import Conflict
from reverie.core.ids import lower_bound
from reverie.objects.store import Content, Folder, Objects, StorageTrouble


async def test_what_is_written_is_verified_and_shown(store: Store) -> None:
    (segment,) = await store.write(show=False)
    assert await store.cold.segments(store.space, list(store.ids)) == []
    assert (await store.cold.contents(store.space, store.keys[:3])).texts == {}
    await store.cold.show(store.owner, [segment.id])
    await store.is_whole(store.keys)
    content = (store.folder / segment.path).read_bytes()
    assert (segment.size, segment.checksum) == (len(content), hashlib.sha256(content).digest())
    assert segment.path.startswith(f"cold/{store.space}/2025-03/{segment.id}-")
    assert (segment.traces, segment.rows) == (600, 600)
    assert (segment.first_user, segment.last_user) == tuple(store.ids)
    every = sorted(one for _, one in store.keys)
    assert (segment.lower, segment.upper) == (every[0], UUID(int=every[-1].int + 1))


async def test_what_stays_of_a_trace(store: Store) -> None:
    await store.write()
    user, one = store.keys[17]
    ((sentence, minhash),) = await store.rows(
        "SELECT sentence, minhash FROM memory_digest WHERE user_id = %s AND trace_id = %s", user, one
    )
    assert sentence == digest.sentence(text_of(one))
    assert minhash == digest.minhash(text_of(one))


async def test_a_full_file_is_followed_by_another(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows([(user, one, 0) for user, one in store.keys])
    monkeypatch.setattr(files, "FILE_BYTES", files._FOOTER + table.nbytes // 3)
    segments = await store.write()
    assert len(segments) > 2
    assert all((store.folder / segment.path).stat().st_size < files.FILE_BYTES for segment in segments)
    await store.is_whole(store.keys)


async def test_segments_are_found_by_user_and_id(store: Store) -> None:
    one, two = store.ids
    (first,) = await store.write([key for key in store.keys if key[0] == one])
    (second,) = await store.write([key for key in store.keys if key[0] == two])
    assert [found.id for found in await store.cold.segments(store.space, [one])] == [first.id]
    assert {found.id for found in await store.cold.segments(store.space, [one, two])} == {first.id, second.id}
    assert await store.cold.segments(store.space, []) == []
    assert await store.cold.segments(uuid4(), [one]) == []
    assert await store.cold.segments(store.space, [one], upper=lower_bound(MONTH)) == []
    assert await store.cold.segments(store.space, [one], lower=first.upper) == []
    assert len(await store.cold.segments(store.space, [one], first.lower, first.upper)) == 1


async def test_the_file_of_a_segment_is_opened(store: Store) -> None:
    await store.write()
    two = list(store.ids)[1]
    (segment,) = await store.cold.segments(store.space, [two])
    reader = await asyncio.to_thread(store.cold.open, segment)
    table = reader.read_traces(two, store.ids[two], ("semantic", "words"))
    assert table is not None
    assert table.num_rows == 300
    assert list(ids_of(table["trace_id"])) == list(files.as_ids(store.ids[two]))
    reader.close()


async def test_only_what_is_cold_and_ones_own_is_read(store: Store) -> None:
    one, two = store.ids
    await store.write(store.keys[:100])
    await store.owner.execute("UPDATE memory_digest SET thawed_until = now() WHERE trace_id = %s", (store.ids[one][0],))
    wanted = [(one, store.ids[one][0]), (one, store.ids[one][1]), (one, store.ids[one][200]), (two, store.ids[one][2])]
    contents = await store.cold.contents(store.space, wanted)
    assert contents.texts == {(one, store.ids[one][1]): text_of(store.ids[one][1])}
    assert contents.complete
    assert (await store.cold.contents(uuid4(), wanted)).texts == {}
    assert (await store.cold.contents(store.space, [])).texts == {}


async def test_what_was_forgotten_while_it_was_written_leaves_the_file(store: Store) -> None:
    """Forgotten before the digests are written: gone altogether, or only marked as yet."""
    gone, marked = store.keys[5], store.keys[6]
    await store.owner.execute("DELETE FROM memory_trace WHERE id = %s", (gone[1],))
    await store.owner.execute("UPDATE memory_trace SET deleted_at = now() WHERE id = %s", (marked[1],))
    await store.write()
    assert sorted(await store.rows("SELECT user_id, trace_id FROM cold_removal")) == sorted([gone, marked])
    report = await store.cold.purge(store.owner)
    assert (report.rewritten, report.traces, report.left, report.troubles) == (1, 2, 0, [])
    await store.is_whole([key for key in store.keys if key not in {gone, marked}])


async def test_a_forget_under_way_is_not_waited_for(store: Store) -> None:
    gone = store.keys[5]
    async with await AsyncConnection.connect(store.settings.database_url or "") as forgetting:
        await forgetting.execute("UPDATE memory_trace SET deleted_at = now() WHERE id = %s", (gone[1],))
        await asyncio.wait_for(store.write(), 30)
        await forgetting.commit()
    assert await store.rows("SELECT user_id, trace_id FROM cold_removal") == [gone]


async def test_what_lay_in_an_older_segment_leaves_that(store: Store) -> None:
    (before,) = await store.write(store.keys[:10])
    await store.write(store.keys[5:15])
    removals = await store.rows("SELECT user_id, trace_id, segment_id FROM cold_removal ORDER BY 1, 2")
    assert removals == [(*key, before.id) for key in store.keys[5:10]]
    await store.cold.purge(store.owner)
    await store.is_whole(store.keys[:15])


async def test_a_purge_takes_out_what_is_forgotten(store: Store) -> None:
    (segment,) = await store.write()
    gone = [store.keys[0], store.keys[299], store.keys[300], store.keys[450]]
    await store.forget(gone)
    report = await store.cold.purge(store.owner)
    assert (report.rewritten, report.dropped, report.traces, report.deleted, report.left) == (1, 0, 4, 1, 0)
    await store.is_whole([key for key in store.keys if key not in gone])
    (after,) = await store.cold.segments(store.space, list(store.ids))
    assert after.id == segment.id
    assert after.path != segment.path
    content = (store.folder / after.path).read_bytes()
    assert (after.size, after.checksum, after.traces) == (len(content), hashlib.sha256(content).digest(), 596)
    texts = [text_of(one).encode() for _, one in gone]
    assert not any(text[:30] in content for text in texts)


async def test_a_segment_of_which_nothing_is_left_goes(store: Store) -> None:
    await store.write()
    await store.forget(store.keys)
    report = await store.cold.purge(store.owner)
    assert (report.rewritten, report.dropped, report.traces, report.left) == (0, 1, 600, 0)
    await store.is_whole([])


async def test_one_users_files_can_be_purged_alone(store: Store) -> None:
    one, two = store.ids
    await store.write([key for key in store.keys if key[0] == one])
    await store.write([key for key in store.keys if key[0] == two])
    await store.forget([(one, store.ids[one][0]), (two, store.ids[two][0])])
    report = await store.cold.purge(store.owner, user_id=two)
    assert (report.rewritten, report.left) == (1, 0)
    assert await store.rows("SELECT user_id FROM cold_removal") == [(one,)]


async def test_two_purges_at_once_do_the_work_once(store: Store) -> None:
    for begin in range(0, 600, 100):
        await store.write(store.keys[begin : begin + 100])
    await store.forget(store.keys[::50])
    async with await AsyncConnection.connect(store.settings.database_url or "", autocommit=True) as other:
        reports = await asyncio.gather(store.cold.purge(store.owner), store.cold.purge(other))
    assert sum(report.rewritten for report in reports) == 6
    assert sum(report.traces for report in reports) == 12
    assert all(report.troubles == [] for report in reports)
    await store.cold.purge(store.owner)
    await store.is_whole([key for key in store.keys if key not in store.keys[::50]])


async def test_a_purge_spares_what_another_is_writing(store: Store) -> None:
    noted, uploaded = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Folder):
        def put(self, path: str, content: Content) -> None:
            super().put(path, content)
            loop.call_soon_threadsafe(noted.set)
            asyncio.run_coroutine_threadsafe(uploaded.wait(), loop).result()

    async with await AsyncConnection.connect(store.settings.database_url or "", autocommit=True) as other:
        slow = ColdService(store.database, Slow(store.folder))
        writer = Store(store.settings, store.database, other, slow, store.folder, store.space, store.ids)
        writing = asyncio.create_task(writer.write())
        await noted.wait()
        assert len(await store.rows("SELECT path FROM cold_garbage")) == 1
        assert (await store.cold.purge(store.owner)).deleted == 0
        uploaded.set()
        await writing
        slow.close()
    await store.cold.purge(store.owner)
    await store.is_whole(store.keys)


async def test_a_file_that_is_rewritten_while_it_is_wanted_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write()
    (path,) = store.files()
    (store.folder / path).rename(store.folder / f"{path}-new")
    read = store.cold._read_contents
    looks = 0

    async def moved(*arguments: Any) -> object:
        nonlocal looks
        looks += 1
        if looks == 2:
            await store.owner.execute("UPDATE cold_segment SET path = %s", (f"{path}-new",))
        return await read(*arguments)

    monkeypatch.setattr(store.cold, "_read_contents", moved)
    contents = await store.cold.contents(store.space, store.keys[:2])
    assert contents.complete
    assert len(contents.texts) == 2
    assert looks == 2


async def test_what_changed_while_it_was_moved_is_left_out(store: Store) -> None:
    (segment,) = await store.write(show=False)
    async with store.owner.transaction():
        await store.cold.show(store.owner, [segment.id])
        await store.cold.leave_out(store.owner, store.keys[:3])
    assert (await store.cold.contents(store.space, store.keys[:4])).texts.keys() == {store.keys[3]}
    await store.cold.purge(store.owner)
    await store.is_whole(store.keys[3:])


async def test_what_a_killed_run_had_written_is_discarded(store: Store) -> None:
    await store.write(store.keys[:50])
    await store.write(store.keys[50:], show=False)
    assert await store.cold.discard(store.owner) == 1
    assert await store.cold.discard(store.owner) == 0
    assert len(store.files()) == 2
    assert (await store.cold.purge(store.owner)).deleted == 1
    await store.is_whole(store.keys[:50])


async def test_what_another_has_discarded_is_not_shown(store: Store) -> None:
    first, second = [await store.write(keys, show=False) for keys in (store.keys[:50], store.keys[50:])]
    await store.owner.execute("UPDATE cold_segment SET state = 'visible' WHERE id = %s", (first[0].id,))
    assert await store.cold.discard(store.owner) == 1
    with pytest.raises(Conflict, match="Another run has discarded"):
        async with store.owner.transaction():
            await store.cold.show(store.owner, [second[0].id])
    await store.cold.purge(store.owner)
    await store.is_whole(store.keys[:50])


async def test_what_is_shown_meanwhile_is_not_discarded(store: Store) -> None:
    (segment,) = await store.write(show=False)
    async with await AsyncConnection.connect(store.settings.database_url or "") as moving:
        await store.cold.show(moving, [segment.id])
        discarding = asyncio.create_task(store.cold.discard(store.owner))
        done, _ = await asyncio.wait([discarding], timeout=0.3)
        assert not done
        await moving.commit()
        assert await discarding == 0
    await store.is_whole(store.keys)


async def test_few_traces_are_held_at_a_time_while_they_are_noted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "DIGESTS_AT_ONCE", 200)
    await store.write()
    assert await store.rows("SELECT count(*) FROM memory_digest GROUP BY xmin::text") == [(200,)] * 3
    await store.is_whole(store.keys)


@pytest.mark.parametrize("discarded", [True, False])
async def test_what_is_noted_by_half_is_discarded(
    store: Store, monkeypatch: pytest.MonkeyPatch, discarded: bool
) -> None:
    monkeypatch.setattr(service, "DIGESTS_AT_ONCE", 200)
    note, notes = Output._note, 0

    async def noted(self: Output, *arguments: Any) -> None:
        nonlocal notes
        notes += 1
        if notes == 3 and discarded:
            assert await store.cold.discard(store.owner) == 1
        elif notes == 3:
            raise StorageTrouble("It ends here.")
        await note(self, *arguments)

    monkeypatch.setattr(Output, "_note", noted)
    with pytest.raises(Conflict if discarded else StorageTrouble):
        await store.write()
    monkeypatch.undo()
    assert await store.cold.discard(store.owner) == (0 if discarded else 1)
    await store.cold.purge(store.owner)
    await store.is_whole([])


async def test_storage_that_takes_nothing_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.write(store.keys[:50])
    await store.forget(store.keys[:1])

    def full(self: Objects, path: str, content: object) -> None:
        raise StorageTrouble("It is full.")

    monkeypatch.setattr(Folder, "put", full)
    with pytest.raises(StorageTrouble):
        await store.write(store.keys[50:])
    report = await store.cold.purge(store.owner)
    assert (report.rewritten, report.left, report.troubles) == (0, 1, ["It is full."])
    assert (await store.cold.contents(store.space, store.keys[1:50])).complete
    monkeypatch.undo()
    assert (await store.cold.purge(store.owner)).left == 0
    await store.is_whole(store.keys[1:50])
    await store.write(store.keys[50:])
    await store.is_whole(store.keys[1:])


@pytest.mark.parametrize("spoil", ["bytes", "half", "nothing"])
async def test_what_cannot_be_read_back_is_not_named(store: Store, monkeypatch: pytest.MonkeyPatch, spoil: str) -> None:
    put = Folder.put

    def spoilt(self: Folder, path: str, content: bytes) -> None:
        whole = bytes(content)
        changed = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
        put(self, path, {"bytes": changed, "half": whole[: len(whole) // 2], "nothing": b""}[spoil])

    monkeypatch.setattr(Folder, "put", spoilt)
    with pytest.raises(StorageTrouble, match="other bytes than were written"):
        await store.write()
    assert await store.rows("SELECT id FROM cold_segment") == []
    assert await store.rows("SELECT trace_id FROM memory_digest") == []
    assert len(store.files()) == 1
    await store.cold.purge(store.owner)
    await store.is_whole([])


async def test_no_room_to_make_a_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(StorageTrouble, match="cannot be made in /nowhere first"):
        await store.write()


@pytest.mark.parametrize("damage", ["torn", "flipped", "emptied", "missing", "of others"])
async def test_a_damaged_file_is_noted_and_fails_nothing(store: Store, damage: str) -> None:
    one, two = store.ids
    (broken,) = await store.write([key for key in store.keys if key[0] == one])
    await store.write([key for key in store.keys if key[0] == two])
    _damage(store.folder / broken.path, damage)
    contents = await store.cold.contents(store.space, store.keys)
    assert not contents.complete
    assert contents.texts == {(two, trace): text_of(trace) for trace in store.ids[two]}
    noted = await store.rows("SELECT id, damage FROM cold_segment WHERE damage IS NOT NULL")
    assert [one for one, _ in noted] == [broken.id]
    found = (await store.cold.check(store.owner, deep=True)).damaged
    assert list(found) == [broken.id]
    (listed,) = [one for one in await store.cold.segments(store.space, list(store.ids)) if one.id == broken.id]
    assert listed.damage == found[broken.id]


def _damage(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
        return
    if damage == "flipped":
        # Where the contents lie, so that only reading them shows it.
        metadata = pq.ParquetFile(path).metadata.row_group(0)
        (column,) = [
            metadata.column(at) for at in range(metadata.num_columns) if metadata.column(at).path_in_schema == "content"
        ]
        place = column.data_page_offset + column.total_compressed_size - 10
        content[place] ^= 0xFF
    spoilt: dict[str, bytes] = {
        "torn": bytes(content[: len(content) // 2]),
        "flipped": bytes(content),
        "emptied": b"",
        "of others": bytes(len(content)),
    }
    path.write_bytes(spoilt[damage])


async def test_a_check_finds_what_is_wrong_and_what_is_right_again(store: Store) -> None:
    (segment,) = await store.write()
    path = store.folder / segment.path
    content = path.read_bytes()
    report = await store.cold.check(store.owner)
    assert (report.segments, report.damaged, report.strays) == (1, {}, [])
    path.unlink()
    assert (await store.cold.check(store.owner)).damaged == {segment.id: MISSING}
    path.write_bytes(content)
    (path.parent / "stray.parquet").write_bytes(b"x")
    report = await store.cold.check(store.owner, deep=True)
    assert report.damaged == {}
    assert report.strays == [f"cold/{store.space}/2025-03/stray.parquet"]
    assert await store.rows("SELECT damage FROM cold_segment") == [(None,)]
    ((checked,),) = await store.rows("SELECT checked_at FROM cold_segment")
    assert isinstance(checked, datetime)
    assert checked > datetime(2025, 1, 1, tzinfo=UTC)


async def test_a_check_begins_with_what_has_waited_longest_and_can_be_stopped(store: Store) -> None:
    segments = [(await store.write(store.keys[at : at + 10]))[0] for at in range(0, 30, 10)]
    (store.folder / segments[2].path).unlink()
    assert (await store.cold.check(store.owner, most=2)).damaged == {}
    report = await store.cold.check(store.owner, most=2)
    assert (report.segments, report.damaged) == (2, {segments[2].id: MISSING})

    async def stop() -> bool:
        return True

    assert (await store.cold.check(store.owner, stop=stop)).segments == 0


async def test_bytes_that_are_no_file_are_the_storages_fault(store: Store) -> None:
    (segment,) = await store.write()
    content = b"no such file" * 100
    (store.folder / segment.path).write_bytes(content)
    summary = files.Summary(0, 0, *[UUID(int=0)] * 4)
    written = Written(len(content), hashlib.sha256(content).digest(), b"", summary)
    with pytest.raises(StorageTrouble, match="no file that can be read"):
        await asyncio.to_thread(verify, Folder(store.folder), segment.path, written)


async def test_what_is_gone_from_a_missing_file_stays_noted(store: Store) -> None:
    (segment,) = await store.write()
    await store.forget(store.keys[:1])
    path = store.folder / segment.path
    content = path.read_bytes()
    path.unlink()
    report = await store.cold.purge(store.owner)
    assert (report.left, report.troubles) == (0, [f"{segment.path} is missing."])
    path.write_bytes(content)
    assert (await store.cold.purge(store.owner)).rewritten == 1
    await store.is_whole(store.keys[1:])


async def test_a_damaged_file_is_not_rewritten(store: Store) -> None:
    (segment,) = await store.write()
    await store.forget(store.keys[:1])
    path = store.folder / segment.path
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    report = await store.cold.purge(store.owner)
    assert report.left == 1
    assert report.troubles[0].startswith(f"{segment.path} cannot be rewritten: it has 1000 bytes")
    assert path.read_bytes() == content[:1000]
    path.write_bytes(content)
    assert (await store.cold.purge(store.owner)).left == 0


async def test_storage_that_is_away_is_no_damage(store: Store) -> None:
    await store.write()
    store.folder.rename(store.folder.parent / "away")
    contents = await store.cold.contents(store.space, store.keys[:5])
    assert (contents.complete, contents.texts) == (False, {})
    with pytest.raises(StorageTrouble):
        await store.cold.check(store.owner)
    assert await store.rows("SELECT damage FROM cold_segment") == [(None,)]


async def test_the_wall_hides_the_segments_of_others(store: Store) -> None:
    (segment,) = await store.write()
    async with store.database.reading(uuid4()) as session:
        assert await session.fetch(b"SELECT id FROM cold_segment") == []
    async with store.database.reading(store.space) as session:
        assert await session.fetch(b"SELECT id FROM cold_segment") == [(segment.id,)]
    with pytest.raises(psycopg.Error):
        async with store.database.reading(store.space) as session:
            await session.fetch(b"SELECT path FROM cold_garbage")
