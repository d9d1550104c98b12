"""A throw-away service: the whole of it, as `reverie up` starts it, in a temporary folder.

PostgreSQL and Redis (durable as in production), migrations, API and worker run in a process of their own. It prints
where the service is as one line of JSON, and ends everything and removes the folder when its standard input is closed:
so it ends with whoever started it, however that ends.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from reverie.auth.service import DEFAULT_SPACE, KeyService
from reverie.core.config import Settings, load_settings
from reverie.core.database import Database
from reverie.core.errors import SettingsError, StartError
from reverie.core.migrations import upgrade
from reverie.embedded.postgres import free_port
from reverie.embedded.supervisor import Program, Servers, run_until_stopped, running


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="reverie-bench-"))
    try:
        yield home
    finally:
        servers = home / "servers"
        if servers.is_symlink():
            shutil.rmtree(servers.readlink(), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


async def _keep(answer: int) -> None:
    """Runs a service until standard input is closed; says where it is by ``answer``, a file descriptor."""
    with _home() as home:
        settings = load_settings(reverie_home=home, reverie_port=free_port())
        async with running(settings, lambda line: print(line, file=sys.stderr)) as servers:
            url = await _start(servers)
            key = await _make_key(servers.settings)
            found = {
                "url": url,
                "key": key,
                "database_url": servers.settings.database_url,
                "redis_url": servers.settings.redis_url,
            }
            os.write(answer, orjson.dumps(found) + b"\n")
            await _input_closed()


async def _start(servers: Servers) -> str:
    assert servers.settings.database_url is not None
    await asyncio.to_thread(upgrade, servers.settings.database_url)
    command, environment = [sys.executable, "-m", "reverie"], servers.environment()
    api = Program("The API", [*command, "api"], environment)
    await servers.start(api)
    await servers.start(Program("The worker", [*command, "worker"], environment))
    url = f"http://{servers.settings.reverie_host}:{servers.settings.reverie_port}"
    await servers.ready(api, f"{url}/health/ready")
    return url


async def _make_key(settings: Settings) -> str:
    database = Database(settings)
    await database.open()
    try:
        keys = KeyService(database)
        made = await keys.create(await keys.ensure_space(DEFAULT_SPACE), "bench", ["read", "write", "admin"])
    finally:
        await database.close()
    return str(made.key)


async def _input_closed() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def main() -> None:
    """The process that keeps a throw-away service."""
    # What the children print goes to standard error; standard output belongs to the answer.
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        run_until_stopped(_keep(answer))
    except (SettingsError, StartError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
