from collections.abc import Iterator

import pytest
from tests.language.standin import StandIn, serve


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again soon; Retry-After is kept."""
    monkeypatch.setattr("reverie.language.endpoint._FIRST_PAUSE_SECONDS", 0.02)
