"""A process that is started while PostgreSQL starts, or recovers from a crash, waits for it."""

import asyncio
from functools import partial

import pytest

from reverie.core import schema
from reverie.core.config import Settings
from reverie.core.errors import StartError
from tests.faults.proxy import before_postgres
from tests.faults.scenery import starting_up


async def test_who_starts_waits_for_a_postgresql_that_starts(settings: Settings) -> None:
    assert settings.database_url is not None
    async with before_postgres(settings.database_url) as (proxy, url):
        with proxy.saying(starting_up):
            check = asyncio.create_task(asyncio.to_thread(schema.check, url))
            while proxy.lines < 3:  # noqa: ASYNC110 - a thread connects
                await asyncio.sleep(0.01)
            assert not check.done()
        await check


async def test_not_for_ever_and_not_for_one_that_is_gone(settings: Settings) -> None:
    assert settings.database_url is not None
    async with before_postgres(settings.database_url) as (proxy, url):
        with proxy.saying(starting_up), pytest.raises(StartError, match="starting up"):
            await asyncio.to_thread(partial(schema.current, url, patience=0.5))
        asked = proxy.lines
        assert asked >= 2
        await proxy.stop()
        with pytest.raises(StartError, match="does not let us in"):
            await asyncio.to_thread(schema.check, url)
