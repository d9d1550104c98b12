from importlib.resources import files
from pathlib import Path

import pytest

from reverie.core.queries import Queries


def test_a_block_is_found_by_its_name() -> None:
    queries = Queries("reverie.operations")
    assert queries["extend_lease"].startswith(b"UPDATE operation SET lease_until")
    with pytest.raises(KeyError):
        queries["nothing"]


def test_literals_are_filled_in() -> None:
    text = Queries("reverie.memories").text("unembedded", model=7)
    assert b"e.model_id = 7" in text
    assert b"{" not in text


@pytest.mark.parametrize(
    "path", sorted(Path(str(files("reverie"))).rglob("*.sql")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_file_parses_and_no_name_stands_twice(path: Path) -> None:
    package = ".".join(("reverie", *path.parent.relative_to(str(files("reverie"))).parts))
    names = [line.removeprefix("-- name: ") for line in path.read_text().splitlines() if line.startswith("-- name: ")]
    assert names
    assert len(names) == len(set(names))
    queries = Queries(package, path.name)
    assert all(queries[name] for name in names)
