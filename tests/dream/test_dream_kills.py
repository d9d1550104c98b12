"""SIGKILL at the boundaries of stages and inside them: the next run ends as one that nobody disturbed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from psycopg import AsyncConnection
from tests.conftest import remembering, serving
from tests.dream.days import GARDEN, MONDAY, NIGHT, TALK, TUESDAY, made, rows, talk, value

from reverie.core.config import Settings, load_settings
from reverie.core.database import Connection
from reverie.dream.runs import Outcome
from reverie.embedding.protocol import Embedder
from reverie.runtime import open_dreams

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

ROOT = Path(__file__).parents[2]

PLACES = [
    "begin:after:1",
    "read:after:1",
    "day:after:2",
    "summarise:after:1",
    "summaries:after:1",
    "checkpoint:after:1",
    "write:after:1",
    "extract:before:2",
    "names:after:1",
    "founding:after:1",
    "mentions:before:2",
    "triples:after:1",
    "settling:before:2",
    "entities:after:1",
    "link:after:2",
    "edges:after:2",
    "supersede:before:3",
    "statements:after:2",
    "updates:before:2",
    "outdated:after:1",
    "salience:after:1",
    "write:after:7",
    "end_day:before:2",
    "end_day:after:3",
    "through:after:1",
    "tiers:before:1",
    "prune:before:1",
    "end:before:1",
]
"""Where a process dies, as tests/dream/killed.py reads it."""

NEWS = [
    ("Ann", "I live in Porto now, I left Berlin last week."),
    ("Ann", "My sister Clara works for Lufthansa in Frankfurt, and Clara plays the cello."),
    ("Ben", "Clara told me about Porto, and about the cello."),
]
OLD = [("Ann", "I live in Berlin, near the Spree."), ("Ben", "Berlin is loud."), ("Ann", "Otis likes Berlin.")]


@dataclass(slots=True)
class Store:
    """A filled store to be cloned, and what an undisturbed night makes of it."""

    postgres: "SharedPostgres"
    name: str
    home: Path
    expected: dict[str, str]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[str, Connection]]:
        """A clone: its URL, and the owner's connection."""
        name = f"night_{uuid4().hex[:8]}"
        url = self.postgres.create(name, self.name)
        async with await AsyncConnection.connect(url, autocommit=True) as owner:
            yield url, owner
        self.postgres.drop(name)


def settings_of(url: str, home: Path) -> Settings:
    return load_settings(database_url=url, reverie_home=home, database_pool_size=2)


async def night(url: str, home: Path) -> Outcome:
    async with open_dreams(settings_of(url, home)) as dreams:
        return await dreams.run(as_of=NIGHT)


@pytest.fixture(scope="module")
async def store(
    postgres: "SharedPostgres", template: str, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Store]:
    """Two users with some days of conversations and notes."""
    home, name = tmp_path_factory.mktemp("night"), f"nights_{uuid4().hex[:8]}"
    url = postgres.create(name, template)
    async with serving(settings_of(url, home), embedder) as api:
        remember = remembering(await api.caller())
        await remember("ann", *talk("c1", "2026-02-20", said=OLD), *talk("c1", MONDAY), *talk("c2", MONDAY, 15, GARDEN))
        await remember("ann", *talk("c1", TUESDAY, said=NEWS), *talk(None, TUESDAY, 18, TALK[:2]))
        await remember("ben", *talk("c1", MONDAY, said=[*OLD, *NEWS]))
    made_of = Store(postgres, name, home, {})
    async with made_of.open() as (clone, owner):
        outcome = await night(clone, home)
        assert (outcome.state, outcome.days, outcome.failed) == ("done", 4, 0), outcome
        made_of.expected = await made(owner)
        # Each kind of thing is there, so that a night which loses it is noticed.
        kinds = {row[0] for row in await rows(owner, "SELECT DISTINCT kind FROM memory_trace")}
        assert {"summary", "entity"} <= kinds
        types = {row[0] for row in await rows(owner, "SELECT DISTINCT type FROM memory_edge")}
        assert {"summary_of", "mentions", "follows", "supersedes"} <= types
    yield made_of
    postgres.drop(name)


async def struck(place: str, url: str, home: Path) -> None:
    """Dreams until the process is killed at a place."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.dream.killed", place, url, str(home), cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await child.communicate()
    assert child.returncode == -signal.SIGKILL, f"{place} was not reached: {said.decode()[-2000:]}"


@pytest.mark.parametrize("place", PLACES)
async def test_a_night_that_is_killed(store: Store, place: str) -> None:
    async with store.open() as (url, owner):
        await struck(place, url, store.home)
        outcome = await night(url, store.home)
        assert (outcome.state, outcome.failed) == ("done", 0)
        assert await made(owner) == store.expected
        states = await rows(owner, "SELECT state, error FROM dream_night ORDER BY started_at")
        assert states == [("failed", "It was broken off."), ("done", None)]
        # Nothing is left to be done.
        assert (await night(url, store.home)).days == 0


async def test_a_night_that_is_killed_again_and_again(store: Store) -> None:
    """Always a little later: what was done stays done."""
    async with store.open() as (url, owner):
        done = []
        for times in (1, 2, 2, 3, 3, 4):
            await struck(f"checkpoint:after:{times}", url, store.home)
            done.append(await value(owner, "SELECT count(*) FROM dream_day WHERE state = 'done' OR stage IS NOT NULL"))
        assert done == sorted(done)
        assert done[-1] > 0
        outcome = await night(url, store.home)
        assert (outcome.state, outcome.failed) == ("done", 0)
        assert await made(owner) == store.expected
