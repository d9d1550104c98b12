"""docs/architecture.md and docs/tables.md are true: tables and walls, layers, what the text and picture name."""

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

from reverie import worker
from reverie.core.database import SERVING_ROLE
from reverie.core.idempotency import KEPT
from reverie.models import Base
from reverie.operations.service import OperationService

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
TABLES = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
PICTURE = ROOT / "docs/architecture.svg"
HOUSE = ROOT / "backend/reverie"


def section(title: str) -> str:
    """What stands below a heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def words() -> str:
    """The text of the picture."""
    # Our own file: nothing from outside is parsed.
    return " ".join(ElementTree.parse(PICTURE).getroot().itertext())  # noqa: S314


def test_the_tables_are_those_of_the_models_with_their_walls() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (yes|no) \| .+ \|$", TABLES, re.MULTILINE))
    assert rows == {name: "yes" if table.info.get("walled") else "no" for name, table in Base.metadata.tables.items()}


def test_the_picture_names_every_table() -> None:
    assert {name for name in Base.metadata.tables if name not in words().split()} == set()


def test_the_layers_are_those_of_the_contract() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    [house] = [one for one in contracts if one.get("containers") == ["reverie"]]
    layers = [[room.strip() for room in layer.split("|")] for layer in house["layers"] if layer != "__main__"]
    drawn = [
        re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| ((?:`\w+` ?)+)\|", section("The house"), re.MULTILINE)
    ]
    assert drawn == layers


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`(\w+\.(?:py|sql))`", DOCUMENT + TABLES)) | {"architecture.svg"}
    assert named >= {"app.py", "worker.py", "runtime.py"}
    for name in named:
        assert list(HOUSE.rglob(name)) or (ROOT / "docs" / name).exists(), name
    for folder in re.findall(r"`(\w+)/`", DOCUMENT):
        assert (HOUSE / folder).is_dir(), folder


def test_its_figures_are_those_of_the_code() -> None:
    assert SERVING_ROLE in section("The walls")
    assert (re.findall(r"every \w+ seconds", DOCUMENT)[0], 2.0) == ("every two seconds", worker.SWEEP_SECONDS)
    assert "sweeps, every 2 s" in words()
    assert (re.findall(r"\w+ failures", DOCUMENT)[0], 3) == ("three failures", OperationService.MOST_ATTEMPTS)
    assert f"for {KEPT.total_seconds() / 3600:.0f} hours" in TABLES


def test_it_is_one_page() -> None:
    assert len(DOCUMENT.split()) < 1100
