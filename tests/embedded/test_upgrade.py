"""`reverie up` on a store that the first released schema wrote: upgraded in place, and everything is recalled."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.migrations import spine
from tests.waiting import START_PATIENCE

from reverie.cli.up import bring_up_to_date
from reverie.core import migrations, schema
from reverie.core.errors import StartError
from reverie.embedded.account import Place, account_for, servers_folder
from reverie.embedded.home import Home
from reverie.embedded.postgres import Postgres, free_port

TRACES = 300


@asynccontextmanager
async def store(home: Home) -> AsyncIterator[str]:
    """The PostgreSQL of a home, and the URL of its store."""
    with home.locked():
        account = account_for(home)
        place = Place(servers_folder(home, account, print), home.log, account, durable=False)
        postgres = Postgres(place, superuser_password=home.secret("superuser"), owner_password=home.secret("owner"))
        await postgres.start()
        try:
            yield postgres.url()
        finally:
            await postgres.stop()


@contextmanager
def up(home: Home, port: int) -> Iterator[Path]:
    """A `reverie up` that serves, and the file with what it says."""
    output = home.path.parent / f"output-{time.monotonic_ns()}"
    alone = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    command = [sys.executable, "-m", "reverie", "up", "--home", str(home.path), "--port", str(port), "--no-sample"]
    with output.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=alone) as process:  # noqa: S603
        try:
            deadline = time.monotonic() + START_PATIENCE
            while "\nTry " not in output.read_text():
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.05)
            yield output
        finally:
            process.terminate()
            assert process.wait(START_PATIENCE) == 0, output.read_text()


def recalled(home: Home, port: int) -> list[str]:
    """What the service recalls of one user."""
    answer = httpx.get(
        f"http://127.0.0.1:{port}/memory/recall",
        params={"user_id": "user 3", "q": "What stood by the cat?", "k": 5},
        headers={"X-API-Key": home.key.read_text().strip()},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["degraded"] == []
    return [result["content"] for result in answer.json()["results"]]


async def test_a_store_of_the_first_release(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(open_folder / "home")
    async with store(home) as url:
        spine.make(url, TRACES)
        data = home.servers / "postgres"
        assert (data / "PG_VERSION").exists()
        with monkeypatch.context() as without_room:
            without_room.setattr(migrations, "RESERVE", 1 << 60)
            with pytest.raises(StartError, match=f"of free disk and {data} has [0-9]+: make room and start again"):
                bring_up_to_date(url, data, print)
        assert schema.current(url) == spine.REVISION

    port = free_port()
    with up(home, port) as output:
        said = output.read_text()
        assert f"\nUpgrading the store from schema {spine.REVISION} to {schema.needed()}\n" in f"\n{said}"
        assert f"It remembers {TRACES} traces of {len(spine.USER_IDS)} users." in said
        found = recalled(home, port)
        assert len(found) == 5
        assert "stood by the cat" in found[0]
    with up(home, port) as output:
        assert "Upgrading" not in output.read_text()
        assert recalled(home, port) == found
