"""SIGKILL at each step of an export, a thaw and a cooling: the next run ends as one that nobody disturbed."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from tests.tiers.past import NOW, SPACE, Past, user_of
from tests.tiers.rows import fetch

from reverie.core import clock
from reverie.core.config import load_settings
from reverie.core.queue import Bell
from reverie.operations.service import OperationService
from reverie.tiers.thaw import THAW, ThawService

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

ROOT = Path(__file__).parents[2]
UNTIL = NOW + timedelta(days=30)

EXPORT = [
    "put:after:1",
    "name:after:2",
    "stay:after:1",
    "show:before:1",
    "show:after:1",
    "drop:before:1",
    "leave:before:2",
]
COOL = ["sound:after:2", "cool:before:2"]
COME_BACK = ["thaw:before:2", "vectors:after:1"]
"""Where a process dies, as tests/tiers/killed.py reads it."""


@dataclass(slots=True)
class Stores:
    """Copies of one store in each state, and what an undisturbed run makes of them."""

    postgres: "SharedPostgres"
    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    expected: dict[str, dict[str, str]] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self, state: str, name: str, *, lasting: bool = False) -> AsyncIterator[Past]:
        """A store of its own in a state; ``template`` is an empty one."""
        url = self.postgres.create(name, self.names.get(state, state))
        home = self.folder / name
        if state in self.names:
            shutil.copytree(self.folder / self.names[state], home)
        settings = load_settings(database_url=url, reverie_home=home, database_pool_size=2)
        async with await AsyncConnection.connect(url, autocommit=True) as owner:
            past = await Past.of(owner, settings)
            yield past
            past.cold.close()
        if not lasting:
            self.postgres.drop(name)


async def thaw(past: Past, operation: UUID) -> None:
    """Does an operation, whoever had it before."""
    await past.database.open()
    try:
        await past.owner.execute("UPDATE operation SET lease_until = NULL WHERE id = %s", (operation,))
        thaws = ThawService(past.database, Bell(past.settings), past.cold, past.model, 30)
        service = OperationService(past.database, Bell(past.settings), {THAW: thaws.thaw})
        assert await service.run(operation)
    finally:
        await past.database.close()
    [(state, result)] = await fetch(past.owner, "SELECT state, result FROM operation WHERE id = %s", operation)
    assert (state, result["damaged"]) == ("done", 0)


async def accept(past: Past) -> UUID:
    """An operation that brings all of ann's traces back."""
    operation = uuid4()
    payload = {"scope": {"all": True}, "until": UNTIL.isoformat(), "traces": 60}
    await past.owner.execute(
        "INSERT INTO operation (id, space_id, user_id, kind, payload, created_at) VALUES (%s, %s, %s, %s, %s, %s)",
        (operation, SPACE, user_of("ann"), THAW, Jsonb(payload), clock.now()),
    )
    return operation


@pytest.fixture(scope="module")
async def stores(
    postgres: "SharedPostgres", template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stores]:
    """A store that is warm, the same when it is cold, and when some of it is thawed."""
    made = Stores(postgres, tmp_path_factory.mktemp("stores"))
    tag = uuid4().hex[:8]
    async with made.open(template, f"warm_{tag}", lasting=True) as past:
        await past.fill(12)
        await past.make_warm()
        past.settings.reverie_home.mkdir(exist_ok=True)
    made.names["warm"] = f"warm_{tag}"
    async with made.open("warm", f"cold_{tag}", lasting=True) as past:
        await past.make_cold()
        made.expected["cold"] = await past.checksums()
    made.names["cold"] = f"cold_{tag}"
    async with made.open("cold", f"thawed_{tag}", lasting=True) as past:
        await thaw(past, await accept(past))
        made.expected["thawed"] = await past.checksums()
    made.names["thawed"] = f"thawed_{tag}"
    yield made
    for name in made.names.values():
        postgres.drop(name)


async def struck(place: str, past: Past, *operation: str) -> None:
    """Runs until the process is killed at a place."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tiers.killed", place, str(past.settings.database_url),
        str(past.settings.reverie_home), *operation, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await child.communicate()
    assert child.returncode == -signal.SIGKILL, f"{place} was not reached: {said.decode()[-2000:]}"


@pytest.mark.parametrize("place", EXPORT)
async def test_an_export_that_is_killed(stores: Stores, place: str) -> None:
    async with stores.open("warm", f"export_{uuid4().hex[:8]}") as past:
        await struck(place, past)
        assert set((await past.places()).values()) <= {"warm", "cold"}
        outcome = await past.run()
        assert outcome.errors == {}
        await past.run("files")
        assert set((await past.places()).values()) == {"cold"}
        assert await past.checksums() == stores.expected["cold"]
        assert past.objects() == {row[0] for row in await fetch(past.owner, "SELECT path FROM cold_segment")}
        watching = "SELECT tgname FROM pg_trigger WHERE tgname ~ '^reverie_' AND tgname <> 'reverie_removed'"
        assert await fetch(past.owner, watching) == []
        left = await fetch(past.owner, "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition"
                                       " AND relname ~ '^memory_(body|embedding)_'")  # fmt: skip
        assert left == []


@pytest.mark.parametrize("place", COME_BACK)
async def test_a_thaw_that_is_killed(stores: Stores, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_TEST_PART", "20")
    async with stores.open("cold", f"thaw_{uuid4().hex[:8]}") as past:
        operation = await accept(past)
        await struck(place, past, str(operation))
        assert set((await past.places()).values()) <= {"thawed", "cold"}
        await thaw(past, operation)
        assert await past.checksums() == stores.expected["thawed"]
        [(result,)] = await fetch(past.owner, "SELECT result FROM operation WHERE id = %s", operation)
        assert result["thawed"] == result["traces"]


@pytest.mark.parametrize("place", COOL)
async def test_a_cooling_that_is_killed(stores: Stores, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_TEST_PART", "20")
    async with stores.open("thawed", f"cool_{uuid4().hex[:8]}") as past:
        await struck(place, past)
        assert set((await past.places()).values()) <= {"thawed", "cold"}
        await past.run(as_of=UNTIL + timedelta(days=1))
        assert set((await past.places()).values()) == {"cold"}
        assert await past.checksums() == stores.expected["cold"]
