"""The format of cold files: what is written is read, by user, id and column, and broken files say so."""

import io
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cold.rows import LAYOUT, MONTH, ids_in, numbers_of, rows, text_of

from reverie.cold import files
from reverie.cold.files import COLUMNS, FILE_BYTES, GROUP_ROWS, Damaged, Layout, Reader, Summary, Writer
from reverie.core.ids import lower_bound

ONE, TWO, THREE = sorted(uuid4() for _ in range(3))


def written(*tables: pa.Table, layout: Layout = LAYOUT) -> tuple[io.BytesIO, Summary]:
    """A file of these rows."""
    sink = io.BytesIO()
    writer = Writer(sink, layout)
    for table in tables:
        assert writer.takes(table) == table.num_rows
        writer.write(table)
    summary = writer.close()
    assert summary is not None
    return sink, summary


def reader(file: io.BytesIO) -> Reader:
    """The file, read from its beginning."""
    return Reader(io.BytesIO(file.getvalue()))


def keys_of(user: UUID, ids: list[UUID], pieces: int = 1) -> list[tuple[UUID, UUID, int]]:
    """Keys of rows."""
    return [(user, one, piece) for one in ids for piece in range(pieces)]


@pytest.fixture(scope="module")
def ids() -> list[UUID]:
    """Ids of 9 000 traces, more than a row group holds."""
    return ids_in(MONTH, 9000)


@pytest.fixture(scope="module")
def file(ids: list[UUID]) -> tuple[io.BytesIO, Summary]:
    """Two users of 9 000 traces and one of four with three pieces each, in three row groups."""
    return written(
        rows(keys_of(ONE, ids[:5000])),
        rows(keys_of(ONE, ids[5000:]) + keys_of(TWO, ids)),
        rows(keys_of(THREE, ids[:4], 3)),
    )


def test_the_summary_counts(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    assert file[1] == Summary(18012, 18004, ONE, THREE, ids[0], ids[-1])


def test_every_row_is_read_as_it_was_written(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    open_file = reader(file[0])
    assert open_file.rows == 18012
    assert open_file.layout == LAYOUT
    assert [group.rows for group in open_file.groups] == [GROUP_ROWS, GROUP_ROWS, 18012 - 2 * GROUP_ROWS]
    expected = rows(keys_of(ONE, ids) + keys_of(TWO, ids) + keys_of(THREE, ids[:4], 3)).cast(LAYOUT.schema())
    tables = [open_file.read(group.number) for group in open_file.groups]
    assert all(pa.types.is_dictionary(table.schema.field("words").type.value_type) for table in tables)
    words = [row for table in tables for row in table["words"].to_pylist()]
    assert words == expected["words"].to_pylist()
    plain = [column for column in COLUMNS if column != "words"]
    assert pa.concat_tables([table.select(plain) for table in tables]).equals(expected.select(plain))


def test_vectors_are_seen_where_they_lie(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    table = reader(file[0]).read(0, ("trace_id", "semantic", "entity"))
    semantic, all_there = files.vectors_of(table["semantic"])
    assert all_there is None
    assert semantic.shape == (GROUP_ROWS, 8)
    assert not semantic.flags.owndata
    assert np.array_equal(semantic[17], numbers_of(ids[17], 0, 0, 8))
    entity, there = files.vectors_of(table["entity"])
    assert there is not None
    assert [bool(one) for one in there[:50]] == [one.int % 3 != 1 for one in ids[:50]]
    which = int(np.flatnonzero(there)[3])
    assert np.array_equal(entity[which], numbers_of(ids[which], 0, 2, 8))


def test_a_slice_of_a_column_is_that_slice(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    table = reader(file[0]).read(0, ("trace_id", "semantic")).slice(100, 10)
    assert files.uuids_of(table["trace_id"]) == ids[100:110]
    assert list(files.ids_of(table["trace_id"])) == list(files.as_ids(ids[100:110]))
    numbers, _ = files.vectors_of(table["semantic"])
    assert np.array_equal(numbers[0], numbers_of(ids[100], 0, 0, 8))


def test_ids_with_zeros_at_their_end_are_whole() -> None:
    zeros = [UUID(int=1 << 120), UUID(int=1 << 8), UUID(int=0)]
    column = files.ids_column(files.as_ids(zeros))
    assert files.uuids_of(column) == zeros
    assert column.equals(files.ids_column(zeros))
    assert (files.ids_of(column) == files.as_id(zeros[1])).tolist() == [False, True, False]


def test_a_user_is_read_alone(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    open_file = reader(file[0])
    found = open_file.read_traces(TWO, ids, ("content",))
    assert found is not None
    assert files.uuids_of(found["trace_id"]) == ids
    assert set(files.uuids_of(found["user_id"])) == {TWO}
    assert open_file.groups_of(ONE) == [0, 1]
    assert open_file.groups_of(THREE) == [2]
    assert open_file.groups_of(UUID(int=0)) == []
    between = UUID(int=TWO.int + 1)
    assert open_file.read_traces(between, ids, ("content",)) is None


def test_a_range_of_ids_is_read_alone(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    open_file = reader(file[0])
    found = open_file.read_traces(ONE, ids[8000:8500], ("semantic",))
    assert found is not None
    assert files.uuids_of(found["trace_id"]) == ids[8000:8500]
    assert open_file.groups_of(ONE, wanted=[UUID(int=ids[-1].int + 1)]) == []
    assert open_file.groups_of(ONE, wanted=[ids[5]]) == [0, 1]
    assert open_file.groups_of(ONE, upper=ids[5]) == [0, 1]
    assert open_file.groups_of(ONE, upper=lower_bound(MONTH)) == []


def test_traces_are_read_with_all_their_pieces(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    open_file = reader(file[0])
    table = open_file.read_traces(THREE, [ids[2], ids[3], ids[100]], ("content", "begins", "words"))
    assert table is not None
    assert table["trace_id"].to_pylist() == [ids[2]] * 3 + [ids[3]] * 3
    assert table["content"].to_pylist() == [text_of(ids[2]), None, None, text_of(ids[3]), None, None]
    assert table["begins"].to_pylist() == [None, 10, 20] * 2
    assert table["words"].to_pylist()[0] == [ids[2].hex[-6:], "say", "say"]
    across = open_file.read_traces(TWO, [ids[0], ids[-1]], ("words",))
    assert across is not None
    assert across["words"].to_pylist() == [[ids[0].hex[-6:], "say", "say"], [ids[-1].hex[-6:], "say", "say"]]
    assert open_file.read_traces(THREE, [ids[100]]) is None


def test_only_what_is_asked_for_is_read(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            self.read_bytes += len(found)
            return found

    source = Counting(file[0].getvalue())
    open_file = Reader(source)
    source.read_bytes = 0
    open_file.read(0, ("word_count",))
    assert 0 < source.read_bytes < len(file[0].getvalue()) / 20


def test_the_rest_is_read_without_the_gone(file: tuple[io.BytesIO, Summary], ids: list[UUID]) -> None:
    gone = {ids[0], ids[2], ids[8999]}
    tables = list(reader(file[0]).read_rest(files.as_ids(gone)))
    again, summary = written(*tables)
    assert summary.rows == 18012 - 2 * 3 - 2 * 3
    found = [one for table in tables for one in files.uuids_of(table["trace_id"])]
    assert not gone & set(found)
    back = reader(again).read_traces(TWO, [ids[5000]])
    assert back is not None
    assert back.equals(rows(keys_of(TWO, [ids[5000]])).cast(LAYOUT.schema()))


def test_rows_out_of_order_are_refused(ids: list[UUID]) -> None:
    for keys in (
        keys_of(TWO, ids[:2]) + keys_of(ONE, ids[:2]),
        [(ONE, ids[1], 0), (ONE, ids[0], 0)],
        [(ONE, ids[0], 1), (ONE, ids[0], 0)],
        [(ONE, ids[0], 0), (ONE, ids[0], 0)],
    ):
        with pytest.raises(ValueError, match="ordered"):
            Writer(io.BytesIO(), LAYOUT).write(rows(keys))
    writer = Writer(io.BytesIO(), LAYOUT)
    writer.write(rows(keys_of(TWO, ids[:2])))
    with pytest.raises(ValueError, match="ordered"):
        writer.write(rows(keys_of(ONE, ids[:2])))


def test_a_file_without_rows_is_none() -> None:
    writer = Writer(io.BytesIO(), LAYOUT)
    writer.write(rows(keys_of(ONE, ids_in(MONTH, 1))).slice(0, 0))
    assert writer.close() is None


def test_a_full_file_takes_whole_traces_only(monkeypatch: pytest.MonkeyPatch, ids: list[UUID]) -> None:
    table = rows(keys_of(ONE, ids[:300], 3))
    monkeypatch.setattr(files, "FILE_BYTES", files._FOOTER + table.nbytes // 2)
    writer = Writer(io.BytesIO(), LAYOUT)
    taken = writer.takes(table)
    assert 0 < taken < table.num_rows
    assert taken % 3 == 0
    assert table.slice(0, taken).nbytes <= table.nbytes // 2
    assert table.slice(0, taken + 3).nbytes > table.nbytes // 2
    writer.write(table.slice(0, taken))
    assert writer.takes(table.slice(taken)) == 0
    monkeypatch.setattr(files, "FILE_BYTES", files._FOOTER + 10)
    assert Writer(io.BytesIO(), LAYOUT).takes(table) == 3


def test_long_texts_make_for_smaller_groups(monkeypatch: pytest.MonkeyPatch, ids: list[UUID]) -> None:
    table = rows(keys_of(ONE, ids[:1000]))
    monkeypatch.setattr(files, "GROUP_BYTES", table.nbytes // 5)
    file, summary = written(table)
    groups = reader(file).groups
    assert 5 <= len(groups) <= 12
    assert sum(group.rows for group in groups) == summary.rows == 1000
    assert all(one.upper < other.lower for one, other in pairwise(groups))


def test_a_million_traces_are_small(ids: list[UUID]) -> None:
    # What a group costs at the size of the carried model; drawn numbers do not pack at all.
    layout = Layout("m", 384)
    file, summary = written(rows(keys_of(ONE, ids[:2000]), layout), layout=layout)
    assert len(file.getvalue()) / summary.rows < 3 * 384 + 110
    assert FILE_BYTES == 134_217_728


def test_the_footer_says_what_the_bytes_are(file: tuple[io.BytesIO, Summary]) -> None:
    metadata = pq.ParquetFile(io.BytesIO(file[0].getvalue())).schema_arrow.metadata
    assert metadata[b"reverie.model"] == b"a-model"
    assert metadata[b"reverie.dim"] == b"8"
    assert metadata[b"reverie.format"] == b"1"


def read_all(content: bytes) -> None:
    """Reads every column of every row group."""
    open_file = Reader(io.BytesIO(content))
    for group in open_file.groups:
        open_file.read(group.number)


@pytest.mark.parametrize("length", [0, 3, 100, -1, -50_000])
def test_a_torn_file_is_damaged(file: tuple[io.BytesIO, Summary], length: int) -> None:
    with pytest.raises(Damaged):
        read_all(file[0].getvalue()[:length])


def test_a_byte_that_flips_anywhere_is_seen_or_changes_nothing() -> None:
    file, _ = written(rows(keys_of(ONE, ids_in(MONTH, 40))))
    content = file.getvalue()
    whole = [reader(file).read(0).to_pylist()]
    seen = 0
    for place in range(0, len(content), 41):
        flipped = bytearray(content)
        flipped[place] ^= 0x55
        try:
            open_file = Reader(io.BytesIO(bytes(flipped)))
            found = [open_file.read(group.number).to_pylist() for group in open_file.groups]
        except Damaged:
            seen += 1
        else:
            # In the footer, where statistics, names and offsets have no sum of their own: the whole file has one.
            assert place > len(content) / 3 or found == whole
    assert seen > 100


def test_parquet_of_others_is_damaged() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    with pytest.raises(Damaged, match="no columns of this format"):
        Reader(io.BytesIO(sink.getvalue()))


def test_a_file_whose_dictionary_was_given_up_is_read(tmp_path: Path, ids: list[UUID]) -> None:
    table = rows(keys_of(ONE, ids[:3000])).cast(LAYOUT.schema())
    pq.write_table(table, tmp_path / "f", dictionary_pagesize_limit=100, row_group_size=3000)
    with (tmp_path / "f").open("rb") as source:
        words = Reader(source).read(0, ("words",))["words"]
        assert words.to_pylist() == table["words"].to_pylist()
        assert pa.types.is_dictionary(words.type.value_type)
