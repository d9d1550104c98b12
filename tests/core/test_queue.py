"""The bell: a Redis that is away is left alone for a moment, so that nobody waits for it ring by ring."""

from uuid import uuid4

import pytest

from reverie.core.config import load_settings
from reverie.core.queue import Bell


async def test_a_bell_that_failed_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell(load_settings(redis_url="redis://127.0.0.1:1/0"))
    for _ in range(5):
        assert await bell.ring(uuid4()) is False
    assert bell.errors == 1
    monkeypatch.setattr(bell._redis._all, "_closed_until", 0.0)
    assert await bell.ring(uuid4()) is False
    assert bell.errors == 2
    await bell.close()
