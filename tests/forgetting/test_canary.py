"""A word that nobody else says is remembered, moved through the tiers, and forgotten in each: then it is nowhere."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
import redis.asyncio
from psycopg.conninfo import make_conninfo
from tests.conftest import Api, serving
from tests.embedded.helpers import forget as remove_home
from tests.forgetting.helpers import finish, forgotten, verified
from tests.memories.helpers import post
from tests.recall.chilling import AGES, NOW, chill

from reverie.core import clock
from reverie.core.config import Settings, load_settings
from reverie.core.migrations import upgrade
from reverie.embedded.postgres import SUPERUSER, free_port, postgres_programs
from reverie.embedded.supervisor import running
from reverie.embedding.protocol import Embedder

BESIDE = ["We moved to Porto in March.", "Miso, our cat, rules the place.", "The physio says to rest."]


@dataclass
class Store:
    """A store of its own, all of whose files can be looked at."""

    home: Path
    servers: Path
    settings: Settings
    api: Api
    superuser: str
    """The URL of the database as the superuser, who may have everything written."""


@pytest.fixture(scope="module")
async def store(embedder: Embedder) -> AsyncIterator[Store]:
    folder = Path(tempfile.mkdtemp(prefix="canary"))
    shaped = load_settings(
        reverie_home=folder / "h", database_pool_size=4, memory_links="all", memory_heads="semantic,situation",
        reverie_log_level="debug", reverie_port=free_port(), reverie_secret_key="kept where secrets are kept",
    )  # fmt: skip
    try:
        async with running(shaped) as servers:
            assert servers.settings.database_url is not None
            await asyncio.to_thread(upgrade, servers.settings.database_url)
            async with serving(servers.settings, embedder) as api:
                superuser = make_conninfo(
                    servers.settings.database_url, user=SUPERUSER, password=servers.home.secret("superuser")
                )
                yield Store(folder / "h", servers.home.servers.resolve(), servers.settings, api, superuser)
    finally:
        await asyncio.to_thread(remove_home, folder)


async def dump(settings: Settings) -> str:
    """A whole dump, as SQL."""
    program = postgres_programs() / "bin" / "pg_dump"

    def run() -> str:
        made = subprocess.run([program, f"--dbname={settings.database_url}"], capture_output=True, check=True)  # noqa: S603
        return made.stdout.decode()

    return await asyncio.to_thread(run)


async def in_redis(settings: Settings) -> bytes:
    """Every key with its value."""
    async with redis.asyncio.Redis.from_url(str(settings.redis_url)) as client:
        keys = [key async for key in client.scan_iter()]
        return b" ".join([*keys, *[await client.dump(key) or b"" for key in keys]])


def in_parquet(folder: Path) -> str:
    """Every row of every file of cold memory."""
    return " ".join(str(pq.read_table(path).to_pylist()) for path in folder.rglob("*.parquet"))


def files_with(folder: Path, word: str) -> list[str]:
    """The files below a folder that have a word."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and word.encode() in path.read_bytes()
    ]


async def write_out(store: Store, *, vacuum: bool) -> None:
    """Has everything written that PostgreSQL still holds in memory."""
    async with await psycopg.AsyncConnection.connect(store.superuser, autocommit=True) as connection:
        if vacuum:
            # The plain one leaves bytes in the free room of pages, words in the index over them, and old statistics.
            await connection.execute("VACUUM (FULL, ANALYZE)")
            await connection.execute("VACUUM (FULL) pg_statistic")
        await connection.execute("CHECKPOINT")


def in_postgres(store: Store, word: str) -> list[str]:
    """The files of PostgreSQL that have a word, but for the write-ahead log: until when that has it, a receipt says."""
    return [one for one in files_with(store.servers / "postgres", word) if "pg_wal" not in one]


async def remembered(store: Store, caller: httpx.AsyncClient, tier: str, age: timedelta, canary: str) -> dict[str, Any]:
    """A trace with the word among others, in a tier."""
    with clock.as_of(NOW - age):
        made = await post(
            caller, "ann", *BESIDE, {"content": f"The word is {canary}, and Gordon Pym knows it.", "role": "user"},
            conversation_id=f"{tier} talk",
        )  # fmt: skip
        assert made.status_code == 201, made.text
    trace: dict[str, Any] = made.json()["traces"][-1]
    if tier != "hot":
        await chill(store.settings)
    found = await caller.get(f"/memory/traces/{trace['trace_id']}", params={"user_id": "ann"})
    assert (found.json()["tier"], canary in found.json()["content"]) == (tier, True)
    return trace


Scope = Callable[[str, str], dict[str, Any]]
SCOPES: dict[str, Scope] = {
    "trace": lambda trace_id, _: {"trace_id": trace_id},
    "query": lambda _, canary: {"query": f"{canary} word"},
}


@pytest.mark.timeout(300)
# The older range first: what is remembered later into one that is cold already stays warm.
@pytest.mark.parametrize(("tier", "scope"), [*((tier, "trace") for tier in AGES), ("cold", "query")])
async def test_it_is_nowhere(store: Store, tier: str, scope: str, capfd: pytest.CaptureFixture[str]) -> None:
    canary = f"zq{uuid4().hex}k"
    caller = await store.api.caller()
    trace = await remembered(store, caller, tier, AGES[tier] / (1 if scope == "trace" else 1.4), canary)
    for _ in range(3):
        await caller.post(
            "/memory/recall", json={"user_id": "ann", "q": f"{canary}?", "tiers": ["hot", "warm", "cold"]}
        )
    assert canary in (in_parquet(store.home / "objects") if tier == "cold" else await dump(store.settings))
    await write_out(store, vacuum=False)
    assert in_postgres(store, canary)
    body = await forgotten(caller, "ann", SCOPES[scope](trace["trace_id"], canary), reason="a test")
    assert body["trace_ids"] == [trace["trace_id"]]
    if body["state"] == "running":
        await finish(store.api, store.settings, body["receipt_id"])
    found = await verified(caller, "ann", body["receipt_id"])
    assert found["gone"], found
    assert canary not in await dump(store.settings)
    assert canary.encode() not in await in_redis(store.settings)
    assert canary not in in_parquet(store.home / "objects")
    await write_out(store, vacuum=True)
    assert in_postgres(store, canary) == []
    assert (store.servers / "redis").is_dir()
    assert files_with(store.servers / "redis", canary) == []
    assert files_with(store.home / "log", canary) == []
    assert canary not in "".join(capfd.readouterr())
    again = await post(caller, "ann", {"content": f"The word is {canary}, and Gordon Pym knows it.", "role": "user"},
                       conversation_id=f"{tier} talk")  # fmt: skip
    assert again.json()["type"] == "urn:reverie:problem:forgotten"
    asked = await caller.post("/memory/recall", json={"user_id": "ann", "q": "word", "tiers": ["hot", "warm", "cold"]})
    assert canary not in asked.text
