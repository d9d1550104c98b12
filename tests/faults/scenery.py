"""What the tests of outages share: disks that fill up, servers that refuse, a worker within the test's process."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import redis.asyncio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from reverie import worker
from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder
from reverie.runtime import open_runtime

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

_FIELDS = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"


def starting_up(asked: bytes) -> bytes:
    """What a PostgreSQL that is not ready yet answers; asked for TLS, which takes eight bytes, it says no."""
    return b"N" if len(asked) == 8 else b"E" + (len(_FIELDS) + 4).to_bytes(4, "big") + _FIELDS


def loading(asked: bytes) -> bytes:
    """What a Redis answers that is not ready yet."""
    return b"-LOADING Redis is loading the dataset in memory\r\n"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    """A connection in autocommit."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


def _database(url: str) -> sql.Identifier:
    return sql.Identifier(str(conninfo_to_dict(url)["dbname"]))


@asynccontextmanager
async def without_connections(postgres: "SharedPostgres", url: str) -> AsyncIterator[None]:
    """Nobody but a superuser gets another connection to the database; those that are there stay."""
    limit = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
    async with connected(postgres.url(role="postgres")) as superuser:
        await superuser.execute(limit.format(_database(url), sql.Literal(0)))
        try:
            yield
        finally:
            await superuser.execute(limit.format(_database(url), sql.Literal(-1)))


async def end_connections(postgres: "SharedPostgres", url: str) -> None:
    """Ends all connections to the database, as a restart does."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    async with connected(postgres.url(role="postgres")) as superuser:
        await superuser.execute(query, (conninfo_to_dict(url)["dbname"],))


@asynccontextmanager
async def read_only(postgres: "SharedPostgres", url: str) -> AsyncIterator[None]:
    """New connections to the database may only read, as on a replica."""
    async with connected(postgres.url(role="postgres")) as superuser:
        alter = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
        await superuser.execute(alter.format(_database(url)))
        try:
            yield
        finally:
            await superuser.execute(
                sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(_database(url))
            )


_RAISES = """
CREATE SEQUENCE raised;
CREATE FUNCTION raise_at_will() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('raised') <= TG_ARGV[1]::int THEN
        RAISE EXCEPTION 'on purpose' USING ERRCODE = TG_ARGV[0];
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER raise_at_will BEFORE INSERT ON memory_trace
FOR EACH ROW EXECUTE FUNCTION raise_at_will({state}, {times});
"""


@asynccontextmanager
async def raising(url: str, state: str, times: int = 1_000_000) -> AsyncIterator[None]:
    """Writing a trace fails with an SQLSTATE, so many times."""
    async with connected(url) as owner:
        await owner.execute(sql.SQL(_RAISES).format(state=sql.Literal(state), times=sql.Literal(str(times))))
        try:
            yield
        finally:
            await owner.execute("DROP FUNCTION raise_at_will CASCADE")
            await owner.execute("DROP SEQUENCE raised")


FILLS = 5
"""How often a disk is filled again with what was left or freed meanwhile."""


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of its own, and the URL of a database whose tables lie on it."""

    folder: Path
    url: str = ""

    @contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more fits on it until the block ends."""
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file:
            for _ in range(FILLS):
                room = os.statvfs(self.folder)
                with suppress(OSError):  # PostgreSQL has written in between
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, room.f_bavail * room.f_frsize)
        try:
            yield
        finally:
            filler.unlink()


_SMALL = "reverie-small-"


def _unmount_left() -> None:
    """Takes away what a test that was killed has left mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        folder = Path(line.split()[1])
        if folder.name.startswith(_SMALL) and not Path("/proc", folder.name.split("-")[2]).exists():
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)  # noqa: S603, S607
            folder.rmdir()


@contextmanager
def _mounted(owner: int, megabytes: int) -> Iterator[SmallDisk | None]:
    """A small file system of a user's; None where we may not mount one."""
    # Not among pytest's folders: these are closed to others again and again.
    folder = Path(tempfile.mkdtemp(prefix=f"{_SMALL}{os.getpid()}-"))
    _unmount_left()
    try:
        folder.chmod(0o755)
        options = f"size={megabytes}m,mode=700,uid={owner}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:  # noqa: S603
            yield None
            return
        try:
            yield SmallDisk(folder)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S603, S607
    finally:
        folder.rmdir()


@asynccontextmanager
async def on_a_small_disk(
    postgres: "SharedPostgres", template: str, name: str, megabytes: int
) -> AsyncIterator[SmallDisk | None]:
    """A database whose tables lie on a disk that can be filled; None where that cannot be had."""
    async with connected(postgres.url(role="postgres")) as superuser:
        data = Path((await (await superuser.execute("SHOW data_directory")).fetchall())[0][0])
        with _mounted(_owner(data), megabytes) as disk:
            if disk is None:
                yield None
                return
            own = sql.Identifier(name)
            place = sql.Literal(str(disk.folder))
            await superuser.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(own, place))
            await superuser.execute(
                sql.SQL("CREATE DATABASE {} OWNER reverie TEMPLATE {} STRATEGY FILE_COPY TABLESPACE {}").format(
                    own, sql.Identifier(template), own
                )
            )
            try:
                yield SmallDisk(disk.folder, postgres.url(name))
            finally:
                await superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(own))
                await superuser.execute(sql.SQL("DROP TABLESPACE {}").format(own))


def _owner(data: Path) -> int:
    """Who runs the PostgreSQL of this folder; ourselves where it is out of sight, in a container."""
    return data.stat().st_uid if data.exists() else os.geteuid()


@asynccontextmanager
async def configured(url: str, **values: str) -> AsyncIterator[None]:
    """A real Redis with other settings; underscores in their names stand for hyphens."""
    given = {name.replace("_", "-"): value for name, value in values.items()}
    async with redis.asyncio.Redis.from_url(url) as client:
        before = {name: (await client.config_get(name))[name] for name in given}
        for name, value in given.items():
            await client.config_set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                await client.config_set(name, value)


@asynccontextmanager
async def working(settings: Settings, embedder: Embedder | None = None) -> AsyncIterator[None]:
    """A worker within the test's process."""
    async with open_runtime(settings, embedder) as runtime:
        parts = [asyncio.create_task(part(runtime)) for part in (worker._sweep, worker._listen)]
        try:
            yield
        finally:
            for part in parts:
                part.cancel()
            ended = await asyncio.gather(*parts, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended
