"""The order of the migrations is what they say of themselves, whatever their files are called."""

from pathlib import Path

import pytest

from reverie.core import schema
from reverie.core.errors import StartError


def write(folder: Path, name: str, revision: str, down: str | None) -> None:
    (folder / "versions").mkdir(exist_ok=True)
    text = f'"""What it does."""\n\nfrom alembic import op\n\nrevision = {revision!r}\ndown_revision = {down!r}\n'
    (folder / "versions" / f"{name}.py").write_text(text + "branch_labels = None\n")


def test_revisions_follow_one_another_whatever_they_are_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "FOLDER", tmp_path)
    write(tmp_path, "20300101_zebra", "20300101_zebra", None)
    write(tmp_path, "20300101_middle", "20300101_middle", "20300101_zebra")
    write(tmp_path, "20300101_ape", "20300101_ape", "20300101_middle")
    assert schema.revisions() == ["20300101_zebra", "20300101_middle", "20300101_ape"]
    assert schema.needed() == "20300101_ape"


@pytest.mark.parametrize("downs", [{"a": None, "b": "a", "c": "a"}, {"a": None, "c": "b"}, {"a": "b", "b": "a"}])
def test_revisions_that_are_not_one_line_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, downs: dict[str, str | None]
) -> None:
    monkeypatch.setattr(schema, "FOLDER", tmp_path)
    for name, down in downs.items():
        write(tmp_path, name, name, down)
    with pytest.raises(StartError, match="do not follow one another"):
        schema.revisions()


def test_the_migrations_of_this_version_are_one_line() -> None:
    assert schema.revisions()[0] == "20261121_first_tables"
