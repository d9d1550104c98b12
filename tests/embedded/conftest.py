"""Folders for homes. pytest's own are closed to other users, so under root PostgreSQL's account cannot enter them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.embedded.helpers import forget


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user may enter, with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="rv-"))
    folder.chmod(0o755)
    yield folder
    forget(folder)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """An empty folder that nobody but ourselves may enter."""
    folder = Path(tempfile.mkdtemp(prefix="rv-"))
    yield folder
    forget(folder)
