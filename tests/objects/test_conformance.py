"""What every object storage does alike: a folder, memory, and a server of the S3 protocol."""

import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.objects.s3 import BUCKET

from reverie.core.config import load_settings
from reverie.core.errors import SettingsError
from reverie.objects.store import Missing, Objects, Patience, StorageTrouble, objects_at, open_objects

LARGE = os.urandom(6 * 2**20 + 17)


@pytest.fixture(params=["folder", "memory", "s3", "s3 below a prefix"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """A storage of each kind, empty."""
    if request.param == "folder":
        return objects_at(f"file://{tmp_path}/objects", Patience())
    if request.param == "memory":
        return objects_at("memory://", Patience())
    request.getfixturevalue("s3")
    if request.param == "s3":
        storage = objects_at(f"s3://{BUCKET}", Patience())
        for path, _ in list(storage.paths()):
            storage.delete(path)
        return storage
    return objects_at(f"s3://{BUCKET}/{uuid4()}/here", Patience())


def test_what_was_put_is_there(objects: Objects) -> None:
    objects.prepare()
    objects.put("a/b.parquet", LARGE)
    objects.put("a/b c,d.bin", memoryview(b"other"))
    assert objects.get("a/b.parquet") == LARGE
    assert b"".join(objects.chunks("a/b.parquet")) == LARGE
    assert objects.get("a/b c,d.bin") == b"other"
    assert objects.size("a/b.parquet") == len(LARGE)
    assert dict(objects.paths()) == {"a/b.parquet": len(LARGE), "a/b c,d.bin": 5}


def test_a_mapped_file_is_put(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LARGE)
    with (tmp_path / "file").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        objects.put("mapped", mapped)
    assert objects.get("mapped") == LARGE


def test_the_last_put_counts(objects: Objects) -> None:
    objects.put("a", b"one")
    objects.put("a", b"another")
    assert objects.get("a") == b"another"
    assert list(objects.paths()) == [("a", 7)]


def test_parts_are_read(objects: Objects) -> None:
    objects.put("a", LARGE)
    assert objects.ranges("a", [(0, 1), (10, 5000), (len(LARGE) - 1, len(LARGE))]) == [
        LARGE[:1],
        LARGE[10:5000],
        LARGE[-1:],
    ]
    assert objects.ranges("a", []) == []
    with pytest.raises(StorageTrouble):
        objects.ranges("a", [(len(LARGE) - 5, len(LARGE) + 5)])
    with pytest.raises(StorageTrouble):
        objects.ranges("a", [(len(LARGE) + 5, len(LARGE) + 15)])


def test_an_object_is_a_file(objects: Objects) -> None:
    objects.put("a", LARGE)
    with objects.open("a") as file:
        assert file.readable()
        assert file.seekable()
        assert file.seek(0, os.SEEK_END) == file.tell() == len(LARGE)
        assert file.read(10) == b""
        assert file.seek(-7, os.SEEK_CUR) == len(LARGE) - 7
        assert file.read(100) == LARGE[-7:]
        file.seek(1000)
        assert file.read(17) == LARGE[1000:1017]
        fetch = getattr(file, "fetch", None)
        if fetch is not None:
            fetch([(5_000_000, 5_000_100), (0, 10), (20, 30)])
        file.seek(25)
        assert file.read(3) == LARGE[25:28]
        file.seek(-(2**20), os.SEEK_END)
        assert file.read() == LARGE[-(2**20) :]


def test_a_file_of_parquet_is_read_in_parts(objects: Objects) -> None:
    table = pa.table({"n": list(range(1000)), "text": [f"row {n}" for n in range(1000)]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=100)
    objects.put("t.parquet", sink.getvalue().to_pybytes())
    with objects.open("t.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(3, columns=["n"]).column(0).to_pylist() == list(range(300, 400))


def test_what_is_not_there(objects: Objects) -> None:
    objects.put("b/there", b"x")
    for read in (objects.get, objects.open, lambda path: objects.ranges(path, [(0, 1)])):
        with pytest.raises(Missing):
            read("b/not")
    assert objects.size("b/not") is None
    objects.delete("b/not")
    assert list(objects.paths("c")) == []


def test_deleting_deletes_one(objects: Objects) -> None:
    for path in ("a/1", "a/10", "a/2"):
        objects.put(path, path.encode())
    objects.delete("a/1")
    objects.delete("a/1")
    assert sorted(path for path, _ in objects.paths("a")) == ["a/10", "a/2"]
    assert objects.size("a/1") is None
    assert objects.get("a/10") == b"a/10"


def test_a_prefix_is_whole_parts(objects: Objects) -> None:
    for path in ("ab/1", "a/1", "a/b/2"):
        objects.put(path, b"x")
    assert sorted(path for path, _ in objects.paths("a")) == ["a/1", "a/b/2"]


def test_many_threads_at_once(objects: Objects) -> None:
    def one(number: int) -> bytes:
        objects.put(f"n/{number}", str(number).encode())
        return objects.get(f"n/{number}")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(40))) == [str(number).encode() for number in range(40)]
    assert len(list(objects.paths("n"))) == 40


def test_a_folder_below_the_home_is_the_default(tmp_path: Path) -> None:
    storage = open_objects(load_settings(reverie_home=tmp_path))
    storage.put("a/b", b"x")
    assert (tmp_path / "objects" / "a" / "b").read_bytes() == b"x"
    assert (tmp_path / "objects").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("url", ["ftp://host/x", "objects", "/objects", "http://127.0.0.1/x"])
def test_a_url_that_names_no_storage(url: str) -> None:
    with pytest.raises(SettingsError, match="OBJECT_STORE_URL"):
        load_settings(object_store_url=url)


def test_an_incomplete_url_is_refused_without_its_password() -> None:
    with pytest.raises(SettingsError) as refused:
        objects_at("az://me:hidden@account", Patience())
    assert "OBJECT_STORE_URL" in str(refused.value)
    assert "hidden" not in str(refused.value)
