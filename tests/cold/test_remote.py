"""Cold memory on a server of the S3 protocol: written, read, rewritten; and with a server that goes away on the way."""

import asyncio
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from tests.cold.rows import text_of
from tests.cold.store import Store
from tests.faults.proxy import Proxy
from tests.objects.s3 import BUCKET

from reverie.cold.files import ids_of
from reverie.cold.service import ColdService
from reverie.objects.store import Objects, Patience, StorageTrouble, objects_at

QUICK = Patience(connect=0.5, read=2.0, write=2.0, retries=1)


@pytest.fixture
async def remote(store: Store, s3_proxy: Proxy) -> AsyncIterator[Store]:
    """The store with its files on the server."""
    cold = ColdService(store.database, objects_at(f"s3://{BUCKET}/{uuid4()}", QUICK))
    yield Store(store.settings, store.database, store.owner, cold, store.folder, store.space, store.ids)
    cold.close()


async def _paths(store: Store) -> list[str]:
    return await asyncio.to_thread(lambda: sorted(path for path, _ in store.cold.objects.paths()))


async def test_all_goes_as_in_a_folder(remote: Store) -> None:
    (segment,) = await remote.write()
    assert await _paths(remote) == [segment.path]
    contents = await remote.cold.contents(remote.space, remote.keys[::7])
    assert contents.complete
    assert contents.texts == {key: text_of(key[1]) for key in remote.keys[::7]}
    gone = remote.keys[3]
    await remote.forget([gone])
    assert (await remote.cold.purge(remote.owner)).troubles == []
    (after,) = await remote.cold.segments(remote.space, list(remote.ids))
    assert await _paths(remote) == [after.path]
    reader = await asyncio.to_thread(remote.cold.open, after)
    table = await asyncio.to_thread(reader.read_traces, gone[0], remote.ids[gone[0]], ("semantic", "words"))
    assert table is not None
    assert len(ids_of(table["trace_id"])) == table.num_rows == 299
    assert (await remote.cold.check(remote.owner, deep=True)).damaged == {}


async def test_what_a_row_group_needs_comes_in_few_requests(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await remote.write()
    (segment,) = await remote.cold.segments(remote.space, list(remote.ids))
    reader = await asyncio.to_thread(remote.cold.open, segment)
    asked = 0
    ranges = Objects.ranges

    def counted(self: Objects, path: str, wanted: list[tuple[int, int]]) -> list[bytes]:
        nonlocal asked
        asked += 1
        return ranges(self, path, wanted)

    monkeypatch.setattr(Objects, "ranges", counted)
    await asyncio.to_thread(reader.read, 0, ("semantic", "words", "happened_at"))
    assert asked == 1


async def test_a_server_that_goes_away_while_it_is_written_to(remote: Store, s3_proxy: Proxy) -> None:
    async with s3_proxy.refusing():
        with pytest.raises(StorageTrouble, match="cannot be reached"):
            await remote.write()
    assert await remote.rows("SELECT id FROM cold_segment") == []
    assert await remote.rows("SELECT trace_id FROM memory_digest") == []
    assert (await remote.cold.purge(remote.owner)).troubles == []
    await remote.write()
    assert len(await _paths(remote)) == 1
    assert (await remote.cold.contents(remote.space, remote.keys[:1])).complete


async def test_a_server_that_goes_away_while_it_is_rewritten(remote: Store, s3_proxy: Proxy) -> None:
    (segment,) = await remote.write()
    await remote.forget(remote.keys[:1])
    for trouble in (s3_proxy.refusing(), s3_proxy.refusing()):
        async with trouble:
            report = await remote.cold.purge(remote.owner)
            assert report.left == 1
            assert report.troubles
            assert not (await remote.cold.contents(remote.space, remote.keys[1:2])).complete
    with s3_proxy.hanging():
        report = await remote.cold.purge(remote.owner)
        assert report.left == 1
        assert "did not answer in time" in report.troubles[0]
    assert await _paths(remote) == [segment.path]
    assert await remote.rows("SELECT damage FROM cold_segment") == [(None,)]
    report = await remote.cold.purge(remote.owner)
    assert (report.left, report.troubles) == (0, [])
    assert len(await _paths(remote)) == 1


async def test_half_an_answer_is_no_damage(remote: Store, s3_proxy: Proxy) -> None:
    (segment,) = await remote.write()
    head = b"Last-Modified: Sun, 22 Nov 2026 00:00:00 GMT\r\nETag: x\r\nContent-Length: %d\r\n"

    def half(asked: bytes) -> bytes:
        found = re.search(rb"(?i)range: bytes=(\d+)-(\d+)", asked)
        if found is None:
            return b"HTTP/1.1 200 OK\r\n" + head % segment.size + b"\r\n"
        begin, end = int(found[1]), int(found[2])
        asyncio.get_running_loop().call_later(0.05, s3_proxy.cut)
        place = b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (begin, end, segment.size)
        return b"HTTP/1.1 206 Partial Content\r\n" + head % (end - begin + 1) + place + b"PAR1"

    with s3_proxy.saying(half):
        contents = await remote.cold.contents(remote.space, remote.keys[:3])
    assert (contents.complete, contents.texts) == (False, {})
    assert await remote.rows("SELECT damage FROM cold_segment") == [(None,)]
    assert (await remote.cold.contents(remote.space, remote.keys[:3])).complete
