"""docs/cold.md: its columns are those of the files, and its lines run as they stand there."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from tests.cold.rows import LAYOUT, MONTH, ids_in, numbers_of, rows, text_of

from reverie.cold.files import COLUMNS, FORMAT, GROUP_ROWS, Writer
from reverie.cold.segments import path_of

DOCUMENT = (Path(__file__).parents[2] / "docs/cold.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"<!-- run: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
BLOCKS = dict(_BLOCK.findall(DOCUMENT))
SPACE, ADA, BOB = UUID(int=1), UUID(int=2), UUID(int=3)
IDS = ids_in(MONTH, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files: five traces of ada, of whom the first has a second piece, and five of bob."""
    folder = tmp_path_factory.mktemp("objects")
    ada = [(ADA, IDS[0], 0), (ADA, IDS[0], 1), *((ADA, one, 0) for one in IDS[1:])]
    for number, keys in enumerate((ada, [(BOB, one, 0) for one in IDS])):
        table = rows(keys)
        name = pa.array([["ada", "bob"][number]] * len(keys))
        path = folder / path_of(SPACE, MONTH.date(), UUID(int=number))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            writer = Writer(file, LAYOUT)
            writer.write(table.set_column(table.column_names.index("user"), "user", name))
            writer.close()
    return folder


def _run(name: str, folder: Path, **given: Any) -> Any:
    """What a block of the document leaves in its last name."""
    names: dict[str, Any] = {"folder": str(folder), **given}
    exec(BLOCKS[name], names)  # noqa: S102 - our own document
    return names[list(names)[-1]]


def test_two_lines_read_it_with_duckdb(folder: Path) -> None:
    assert len(BLOCKS["duckdb"].split("\n\n")) == 2
    found = _run("duckdb", folder).project("happened_at, content").fetchall()
    assert [text for _, text in found] == [text_of(one) for one in IDS]
    assert found[0][0] == MONTH


def test_two_lines_read_it_with_pandas(folder: Path) -> None:
    assert len(BLOCKS["pandas"].split("\n\n")) == 2
    found = _run("pandas", folder)
    assert sorted(found["content"]) == sorted(text_of(one) for one in IDS)
    assert found["happened_at"].iloc[0] == MONTH


def test_the_vectors_are_numbers(folder: Path) -> None:
    vectors = _run("vectors", folder, rows=_run("pandas", folder))
    assert vectors.dtype == np.int8
    assert vectors.shape == (5, LAYOUT.dim)
    expected = {tuple(numbers_of(one, 0, 0, LAYOUT.dim)) for one in IDS}
    assert expected == {tuple(one) for one in vectors}


def test_every_block_is_run_by_a_test() -> None:
    assert set(BLOCKS) == {"duckdb", "pandas", "vectors"}
    assert DOCUMENT.count("```python") == len(BLOCKS)


def test_the_columns_are_those_of_the_files() -> None:
    table = DOCUMENT.partition("## Columns")[2].partition("## With DuckDB")[0]
    rows_of_table = re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE)
    named = [(name, kind) for cell, kind in rows_of_table for name in re.findall(r"`(\w+)`", cell)]
    assert tuple(name for name, _ in named) == COLUMNS
    kinds = {
        "uuid": pa.uuid(),
        "int32": pa.int32(),
        "text": pa.string(),
        "timestamp, µs, UTC": pa.timestamp("us", tz="UTC"),
        "list of text": pa.list_(pa.string()),
        "binary of fixed length": pa.binary(LAYOUT.dim),
    }
    schema = LAYOUT.schema()
    assert [kinds[kind] for _, kind in named] == [schema.field(name).type for name in COLUMNS]


def test_what_it_says_of_numbers_is_so() -> None:
    assert f"`reverie.format`, now {FORMAT}" in DOCUMENT
    assert f"at most {GROUP_ROWS:,}".replace(",", " ") in DOCUMENT
