"""Memory with a past, moved through the tiers as a run does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from psycopg import AsyncConnection

from reverie.cold.service import ColdService
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.objects.store import open_objects
from reverie.tiers.downshift import Downshifter
from reverie.tiers.runs import Outcome, Step, TierRuns
from reverie.tiers.steps import steps_of

NOW = datetime.now(UTC)
AGES = {"hot": timedelta(0), "warm": timedelta(days=120), "cold": timedelta(days=800)}
"""How old a trace of each tier is."""


@asynccontextmanager
async def cold_of(settings: Settings) -> AsyncIterator[ColdService]:
    """The cold memory of a store, as another process sees it."""
    cold = ColdService(Database(settings), open_objects(settings))
    try:
        yield cold
    finally:
        cold.close()


async def chill(settings: Settings, as_of: datetime = NOW, steps: tuple[str, ...] = ("warm", "cold")) -> Outcome:
    """Moves what is due into its tier; every process is taken to know that there may be warm rows."""
    assert settings.database_url is not None
    async with await AsyncConnection.connect(settings.database_url, autocommit=True) as owner:
        announced = (NOW - timedelta(days=1),)
        await owner.execute("UPDATE tier_control SET announced_at = coalesce(announced_at, %s)", announced)
    async with cold_of(settings) as cold:
        known = {step.name: step for step in steps_of(settings, cold)}
        known["warm"] = Step("warm", Downshifter(settings.memory_hot_days, settings.memory_low_salience).step)
        outcome = await TierRuns(settings, Database(settings), [known[name] for name in steps]).run(as_of)
    assert outcome.errors == {}, outcome
    return outcome
