"""`reverie up`: the whole service in one command, on this machine."""

import asyncio
import importlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.exits import Failure
from reverie.cli.options import example
from reverie.cli.output import console, remark

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reverie.cli.client import Client
    from reverie.core.config import Settings
    from reverie.embedded.supervisor import Program, Servers

SLOW, AGAIN = 2.0, 10.0
"""Seconds after which a step that still runs is told of, and told of again."""

CLOSING_SECONDS = 10.0
"""What a child may take to close its parts after REVERIE_GRACE_SECONDS, before it is killed."""

READY_SECONDS = 60.0
"""What the API may take until it can serve."""

MIGRATIONS = "reverie.core.migrations"

LOGS = {"postgresql": "postgres.log", "redis": "redis.log"}
PARTS = {"postgresql": "PostgreSQL", "redis": "Redis", "encoder": "The embedding model"}


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(epilog=example("reverie up", "reverie up --home ~/memories --port 8010"))(up)


def up(
    home: Annotated[Path | None, typer.Option(help="The folder in which everything is kept (REVERIE_HOME).")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on (REVERIE_PORT).")] = None,
    sample: Annotated[bool, typer.Option(help="Begin an empty store with a small conversation to try it on.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    timings: Annotated[bool, typer.Option("--timings", help="Print where the time of the start went.")] = False,
) -> None:
    """Start the whole service here, until Ctrl-C.

    PostgreSQL, Redis, the API and a worker, with all data in one folder, the home; with DATABASE_URL or REDIS_URL set,
    those servers are used instead. On an empty store a first admin key is made and
    kept in the file `key` of the home, where the other commands look for it.
    """
    from reverie.core.config import load_settings
    from reverie.embedded.supervisor import run_until_stopped

    settings = load_settings(reverie_home=home, reverie_port=port, reverie_log_level="error" if quiet else None)
    teller = Teller(quiet=quiet)
    told = timings or settings.reverie_log_level == "debug"
    run_until_stopped(serve(settings, teller, sample=sample, timings=told, elsewhere=exports(home, port)))
    teller.show("Stopped.")


class Teller:
    """Says what is going on, and keeps how long each step took."""

    def __init__(self, *, quiet: bool) -> None:
        self.serving = False
        self.steps: list[tuple[str, float]] = [("this command", process_seconds())]
        self._quiet = quiet
        self._out = console()

    def show(self, *lines: "RenderableType") -> None:
        """Prints for people, unless they asked for quiet."""
        for line in () if self._quiet else lines:
            self._out.print(line, markup=False, soft_wrap=True)

    def hear(self, line: str) -> None:
        """What the servers have to say: progress before we serve, afterwards a fault."""
        if self.serving:
            remark(line)
        else:
            self.show(line)

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[None]:
        """A part of the start; ``doing`` is said once it takes longer than SLOW seconds, and again."""
        began = time.monotonic()

        async def tell() -> None:
            await asyncio.sleep(SLOW)
            self.show(f"{doing} …")
            while True:
                await asyncio.sleep(AGAIN)
                self.show(f"{doing} … {time.monotonic() - began:.0f} s")

        telling = asyncio.ensure_future(tell())
        try:
            yield
        finally:
            telling.cancel()
            self.steps.append((name, time.monotonic() - began))


async def serve(
    settings: "Settings", teller: Teller, *, sample: bool, timings: bool, elsewhere: Sequence[str] = ()
) -> None:
    """Starts everything, says so with the lines ``elsewhere`` in the end, and serves until cancelled.

    Raises:
        StartError: one sentence that says what to do.
    """
    from reverie import __version__
    from reverie.cli.client import Client, local_url
    from reverie.embedded.supervisor import running

    if not (settings.reverie_home / "home.json").exists():
        # A new store is migrated: what that needs is loaded while PostgreSQL starts.
        loading = asyncio.ensure_future(asyncio.to_thread(importlib.import_module, MIGRATIONS))
        loading.add_done_callback(lambda done: done.cancelled() or done.exception())
    async with AsyncExitStack() as stack:
        with teller.step("PostgreSQL and Redis, side by side", "Starting PostgreSQL and Redis"):
            servers = await stack.enter_async_context(running(settings, teller.hear))
        with teller.step("migrations", "Bringing the schema up to date"):
            # What runs here keeps its data in the home; of a server that was named, no disk can be seen.
            data = None if settings.database_url else servers.home.servers / "postgres"
            await asyncio.to_thread(bring_up_to_date, str(servers.settings.database_url), data, teller.hear)
        url = local_url(settings.reverie_host, settings.reverie_port)
        key = await start_api(servers, url, teller)
        ready = process_seconds()
        with Client(url, key, f"from {servers.home.key}") as client:
            said = await greeting(client, key, servers.home.key, teller, sample=sample)
        await servers.start(program(servers, "The worker", "worker"))
        teller.show(
            f"Reverie {__version__} serves at {url}, ready after {ready:.1f} s. Ctrl-C ends it.", *said, *elsewhere
        )
        if timings:
            teller.show(*timing_lines(teller.steps, ready))
        teller.serving = True
        try:
            await asyncio.Event().wait()
        finally:
            teller.serving = False
            teller.show("Stopping …")


def exports(home: Path | None, port: int | None) -> list[str]:
    """What another terminal is told so that the commands there find a service with options of its own."""
    given = {"REVERIE_HOME": home and home.absolute(), "REVERIE_PORT": port}
    told = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in given.items() if value is not None)
    return [f"Else  export {told} (so that `reverie` finds it in another terminal)"] if told else []


def bring_up_to_date(database_url: str, data: Path | None, tell: Callable[[str], None]) -> None:
    """Migrates a store whose schema is not this version's; what does so is loaded only then.

    Args:
        database_url: of the owner of the schema.
        data: the folder of the server's data, if it lies on this machine.
        tell: hears that an existing store is upgraded.

    Raises:
        StartError: it cannot be, or the disk has no room for it; one sentence says what to do.
    """
    from reverie.core import schema

    if schema.current(database_url) != schema.needed():
        importlib.import_module(MIGRATIONS).upgrade(database_url, data=data, tell=tell)


async def start_api(servers: "Servers", url: str, teller: Teller) -> str:
    """Starts the API and waits until it can serve; meanwhile finds or makes the first key, and returns it."""
    from reverie.cli.client import read_key
    from reverie.embedded.supervisor import side_by_side

    api = program(servers, "The API", "api")
    await servers.start(api)
    await side_by_side([until_ready(api, url, servers.home.log, teller), ensure_key(servers, teller)])
    return read_key(servers.home.key)


async def greeting(
    client: "Client", key: str, key_file: Path, teller: Teller, *, sample: bool
) -> "list[RenderableType]":
    """What a person wants to see of a service that has just started, a line each; fills an empty store."""
    from reverie.cli import greeting as say

    try:
        known = await asyncio.to_thread(say.stock, client)
        if known.latest is not None:
            command = say.curl(client.url, key_file, known.latest)
            return ["", str(known), *say.ending(client.url, key_file, command)]
        if not sample:
            command = say.curl(client.url, key_file, None)
            return ["", "The store is empty.", *say.ending(client.url, key_file, command, key=key)]
        with teller.step("sample conversation", "Remembering a sample conversation"):
            turns = await asyncio.to_thread(say.remember_sample, client)
        with teller.step("two questions", "Asking about it"):
            answers = [await asyncio.to_thread(say.ask, client, question) for question in say.QUESTIONS]
    except Failure as failure:
        return ["", str(failure)]
    command = say.curl(client.url, key_file, say.SAMPLE_USER, say.QUESTIONS[-1])
    lines: list[RenderableType] = [
        "",
        f"The store was empty; now it remembers {turns} turns of two friends and their assistant:",
    ]
    for answered in answers:
        lines += ["", *say.told(answered)]
    return [*lines, *say.ending(client.url, key_file, command, key=key)]


def program(servers: "Servers", name: str, command: str) -> "Program":
    """One of our own commands as a child."""
    from reverie.embedded.supervisor import Program

    settings = servers.settings
    # What goes well is told here already, so the children keep to what does not, unless a level was asked for.
    level = settings.reverie_log_level if "reverie_log_level" in settings.model_fields_set else "warning"
    environment = servers.environment() | {"REVERIE_LOG_LEVEL": level}
    # -P: a folder `reverie` where we were started must not be taken for the package.
    grace = settings.reverie_grace_seconds + CLOSING_SECONDS
    return Program(name, [sys.executable, "-P", "-m", "reverie", command], environment, grace)


async def ensure_key(servers: "Servers", teller: Teller) -> None:
    """Makes an admin key of the default space and keeps it in the home (0600), unless one is there."""
    from reverie.embedded.home import write_private

    if servers.home.key.exists():
        return
    with teller.step("first key, meanwhile", "Making the first key"):
        # Loaded while the API starts, which takes longer.
        auth = await asyncio.to_thread(importlib.import_module, "reverie.auth.service")
        database = importlib.import_module("reverie.core.database").Database(servers.settings)
        await database.open()
        try:
            keys = auth.KeyService(database)
            space = await keys.ensure_space(auth.DEFAULT_SPACE)
            made = await keys.create(space, "first", ["read", "write", "admin"])
        finally:
            await database.close()
    write_private(servers.home.key, made.key)


async def until_ready(api: "Program", url: str, logs: Path, teller: Teller) -> None:
    """Waits until the API answers that it is ready.

    Raises:
        StartError: it ended, or READY_SECONDS have passed; the sentence says which part is not there.
    """
    from reverie.core.errors import StartError
    from reverie.embedded.supervisor import answers

    deadline = time.monotonic() + READY_SECONDS
    with teller.step("API with its model", "Starting the API, which loads the embedding model"):
        while not await answers(f"{url}/health/ready"):
            if api.ends:
                raise StartError("The API ended before it was ready; what it said stands above.")
            if time.monotonic() > deadline:
                raise StartError(unready(await asyncio.to_thread(_health, url), logs))
            await asyncio.sleep(0.03)


def unready(health: dict[str, Any] | None, logs: Path) -> str:
    """The sentence that says why we are not ready; ``health`` is what the API answered, None for nothing."""
    if health is None:
        return f"The API did not answer within {READY_SECONDS:g} s; what it said stands above."
    down = {name: part for name, part in health["parts"].items() if part["status"] == "down" and part["needed"]}
    parts = [
        f"{PARTS.get(name, name)} is down: {part['detail']}"
        + (f" Its log is {logs / LOGS[name]}." if name in LOGS and (logs / LOGS[name]).exists() else "")
        for name, part in down.items()
    ]
    return f"Not ready after {READY_SECONDS:g} s. {' '.join(parts)}"


def _health(url: str) -> dict[str, Any] | None:
    from reverie.cli.client import Client

    with Client(url, None) as client:
        try:
            found: dict[str, Any] = client.get("/health/ready", also=(503,))
        except Failure:
            return None
    return found


def process_seconds() -> float:
    """How long this process has run; where `scripts/up` became it, since that was started. 0 where nobody can tell."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def timing_lines(steps: Sequence[tuple[str, float]], ready: float) -> list[str]:
    """Where the time of the start went."""
    width = max(len(name) for name, _ in steps)
    return [
        "",
        *(f"  {name:<{width}}  {seconds:6.2f} s" for name, seconds in steps),
        f"  {'ready':<{width}}  {ready:6.2f} s",
    ]
