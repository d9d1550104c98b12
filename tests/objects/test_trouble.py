"""Storage that is away, slow, full, read-only, closed to us, or that answers half: one sentence, in bounded time."""

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.faults.proxy import Proxy
from tests.objects.s3 import BUCKET, KEY, SECRET

from reverie.objects.store import Missing, Objects, Patience, StorageTrouble, objects_at

QUICK = Patience(connect=0.5, read=1.0, write=1.0, retries=1)
CONTENT = os.urandom(2**20)


@pytest.fixture
async def objects(s3_proxy: Proxy) -> Objects:
    """The storage behind the proxy, with an object."""
    storage = objects_at(f"s3://{BUCKET}/{uuid4()}", QUICK)
    await asyncio.to_thread(storage.put, "there", CONTENT)
    return storage


async def trouble(work: Callable[[], object], within: float = 6.0) -> str:
    """What is said when this is done."""
    began = time.monotonic()
    with pytest.raises(StorageTrouble) as raised:
        await asyncio.to_thread(work)
    assert not isinstance(raised.value, Missing)
    assert time.monotonic() - began < within
    said = str(raised.value)
    assert said.endswith(".")
    assert "\n" not in said
    assert KEY not in said
    assert SECRET not in said
    return said


def works(objects: Objects) -> list[Callable[[], object]]:
    """Everything that asks a storage."""
    return [
        lambda: objects.put("new", b"x"),
        lambda: objects.get("there"),
        lambda: objects.ranges("there", [(0, 10)]),
        lambda: objects.size("there"),
        lambda: objects.open("there"),
        lambda: objects.delete("other"),
        lambda: list(objects.paths()),
    ]


async def test_storage_that_is_away(s3_proxy: Proxy, objects: Objects) -> None:
    async with s3_proxy.refusing():
        for work in works(objects):
            assert "cannot be reached" in await trouble(work)
    assert await asyncio.to_thread(objects.get, "there") == CONTENT


async def test_storage_that_hangs(s3_proxy: Proxy, objects: Objects) -> None:
    with s3_proxy.hanging():
        for said in await asyncio.gather(*(trouble(work) for work in works(objects))):
            assert "did not answer in time" in said
    assert await asyncio.to_thread(objects.get, "there") == CONTENT


async def test_storage_that_is_slow_is_waited_for(s3_proxy: Proxy, objects: Objects) -> None:
    with s3_proxy.slow(0.05):
        assert await asyncio.to_thread(objects.ranges, "there", [(5, 105)]) == [CONTENT[5:105]]


async def test_half_an_answer_is_none(s3_proxy: Proxy, objects: Objects) -> None:
    half = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\nETag: x\r\nLast-Modified: Sun, 22 Nov 2026 00:00:00 GMT\r\n\r\n"
    ) + bytes(1000)

    def cut(asked: bytes) -> bytes:
        asyncio.get_running_loop().call_later(0.1, s3_proxy.cut)
        return half

    with s3_proxy.saying(cut):
        await trouble(lambda: objects.get("there"))
        await trouble(lambda: objects.ranges("there", [(0, 5000)]))


async def test_a_part_that_is_shorter_than_asked_is_none(s3_proxy: Proxy, objects: Objects) -> None:
    part = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/1048576\r\nETag: x\r\n"
        b"Last-Modified: Sun, 22 Nov 2026 00:00:00 GMT\r\n\r\n0123456789"
    )
    with s3_proxy.saying(lambda asked: part):
        await trouble(lambda: objects.ranges("there", [(0, 5000)]))


@pytest.mark.parametrize(
    ("status", "said"),
    [("403 Forbidden", "refuses us"), ("507 Insufficient Storage", "is full"), ("503 Slow Down", "does not answer as")],
)
async def test_an_answer_that_is_no(s3_proxy: Proxy, objects: Objects, status: str, said: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(SECRET)}\r\n\r\n{SECRET}".encode()
    with s3_proxy.saying(lambda asked: answer):
        assert said in await trouble(lambda: objects.put("new", b"x"))


async def test_no_such_bucket(s3: tuple[str, int]) -> None:
    storage = objects_at("s3://nobody-made-this", QUICK)
    assert "no such bucket" in await trouble(lambda: storage.put("a", b"x"))


async def test_a_torn_upload_leaves_nothing(s3_proxy: Proxy, objects: Objects) -> None:
    with s3_proxy.slow(0.02):
        uploading = asyncio.create_task(trouble(lambda: objects.put("torn", os.urandom(30 * 2**20))))
        await asyncio.sleep(0.3)
        async with s3_proxy.refusing():
            await uploading
    assert await asyncio.to_thread(objects.size, "torn") is None
    assert [path for path, _ in await asyncio.to_thread(lambda: list(objects.paths()))] == ["there"]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = Path(tempfile.mkdtemp(prefix="reverie-objects-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:  # noqa: S603
        folder.rmdir()
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S603, S607
    folder.rmdir()


async def test_a_folder_that_is_full(small_disk: Path) -> None:
    storage = objects_at(f"file://{small_disk}/objects", QUICK)
    await asyncio.to_thread(storage.put, "a/there", b"x")
    assert "is full: it cannot write" in await trouble(lambda: storage.put("a/b", os.urandom(2 * 2**20)))
    assert list(storage.paths()) == [("a/there", 1)]
    storage.delete("a/b")
    assert [path.name for path in (small_disk / "objects" / "a").iterdir()] == ["there"]


async def test_a_folder_that_is_read_only(small_disk: Path) -> None:
    storage = objects_at(f"file://{small_disk}/objects", QUICK)
    await asyncio.to_thread(storage.put, "a/there", b"x")
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    await asyncio.to_thread(subprocess.run, remount, check=True)
    assert "is read-only: it cannot write" in await trouble(lambda: storage.put("a/b", b"x"))
    assert "is read-only: it cannot delete" in await trouble(lambda: storage.delete("a/there"))
    assert storage.get("a/there") == b"x"


async def test_a_folder_that_is_gone_is_not_empty(tmp_path: Path) -> None:
    storage = objects_at(f"file://{tmp_path}/objects", QUICK)
    for work in works(storage)[1:]:
        assert "is not there" in await trouble(work)


async def test_what_a_killed_write_left_is_deleted_with_it(tmp_path: Path) -> None:
    storage = objects_at(f"file://{tmp_path}", QUICK)
    storage.put("a/b[1].parquet", b"x")
    for name in ("b[1].parquet#1", "b[1].parquet#12", "b1.parquet#1"):
        (tmp_path / "a" / name).write_bytes(b"half")
    storage.delete("a/b[1].parquet")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b1.parquet#1"]
