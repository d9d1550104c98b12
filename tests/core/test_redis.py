"""The client of Redis: what it does when it is told to stop at an unlucky moment."""

import asyncio

import pytest
import redis.asyncio

from reverie.core.config import Settings
from reverie.core.redis import Redis


async def test_a_connection_goes_back_once_though_its_way_back_is_cut_short(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Redis(settings)
    assert client.client is not None
    pool = client.client.connection_pool

    async def never(_event: object) -> None:
        await asyncio.sleep(60)

    async def ask(one: redis.asyncio.Redis) -> list[object]:
        async with one.pipeline(transaction=False) as pipe:
            pipe.get("reverie:nothing")
            answers: list[object] = await pipe.execute()
            return answers

    with monkeypatch.context() as patched:
        patched.setattr(pool._event_dispatcher, "dispatch_async", never)
        assert await client.attempt("test", ask) is None
    assert client.failures == {"test": 1}
    client._all.answered()
    assert await client.attempt("test", ask) == [None]
    assert len(pool._available_connections) == 1
    await client.close()
