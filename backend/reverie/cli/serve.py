"""The processes of the service against servers that run already: `api`, `worker`, `migrate`."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reverie.cli.options import example
from reverie.core.errors import SettingsError, StartError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from reverie.core.config import Settings

HAND_OVER_SECONDS: Final = 0.0002
"""How long a thread keeps the interpreter while another waits for it. At Python's 5 ms the encoder's thread began a
question only when the event loop had nothing left to do: on a busy machine milliseconds later."""

UVICORN_DID_NOT_START = 3
"""uvicorn's own exit code: a fault that it has logged."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than balancers and clients keep theirs, who would send into its end."""


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command(epilog=example("DATABASE_URL=postgresql://… REDIS_URL=redis://… reverie api --workers 4"))(api)
    app.command(epilog=example("DATABASE_URL=postgresql://… REDIS_URL=redis://… reverie worker"))(worker)
    app.command(epilog=example("DATABASE_URL=postgresql://… reverie migrate"))(migrate)


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on (REVERIE_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (REVERIE_PORT).")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer requests.")] = 1,
) -> None:
    """Serve the HTTP API against DATABASE_URL and REDIS_URL."""
    import uvicorn

    from reverie.core.config import load_settings
    from reverie.core.connections import LAST_SECONDS, Door, Workers, allow_connections
    from reverie.core.metrics import shared_folder

    settings = load_settings(reverie_host=host, reverie_port=port)
    allow_connections(settings.reverie_max_connections)
    options: dict[str, Any] = {
        "host": settings.reverie_host,
        "port": settings.reverie_port,
        "http": Door(settings.reverie_max_connections, settings.reverie_grace_seconds),
        "ws": "none",
        "backlog": settings.reverie_max_connections,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": settings.reverie_grace_seconds + LAST_SECONDS,
        "log_level": "warning",
        "log_config": None,
        "access_log": False,
        "lifespan": "on",
    }
    if workers > 1:
        # uvicorn starts a process that ends again and again: what none of them could mend is found here.
        asyncio.run(_start_once(settings))
        with shared_folder():
            shared = Workers(uvicorn.Config("reverie.app:create_app", factory=True, workers=workers, **options))
            shared.run()
        if shared.failed:
            sys.exit(UVICORN_DID_NOT_START)
    else:
        _serve_here(settings, options)


async def _start_once(settings: "Settings") -> None:
    from reverie.core.telemetry import configure_logging
    from reverie.runtime import open_runtime

    configure_logging(settings.reverie_log_level)
    async with open_runtime(settings):
        pass


def _serve_here(settings: "Settings", options: dict[str, Any]) -> None:
    import uvicorn

    from reverie.app import create_app
    from reverie.core.connections import Server
    from reverie.core.telemetry import configure_logging

    sys.setswitchinterval(HAND_OVER_SECONDS)
    configure_logging(settings.reverie_log_level)
    app = Told(create_app(settings))
    server = Server(uvicorn.Config(app, **options))
    with _heard_while(lambda: app.refusal is None):
        try:
            server.run()
        except KeyboardInterrupt:
            pass
        except SystemExit:
            if app.refusal is None:
                raise
    if app.refusal is not None:
        raise app.refusal
    if not server.started:
        sys.exit(UVICORN_DID_NOT_START)


@contextmanager
def _heard_while(wanted: Callable[[], bool]) -> Iterator[None]:
    """What uvicorn says of errors is logged as long as it is ``wanted``."""
    logger, only = logging.getLogger("uvicorn.error"), lambda _record: wanted()
    logger.addFilter(only)
    try:
        yield
    finally:
        logger.removeFilter(only)


class Told:
    """An application that keeps why it cannot start, for one sentence instead of uvicorn's traceback."""

    def __init__(self, app: "ASGIApp") -> None:
        self.refusal: SettingsError | StartError | None = None
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        try:
            await self._app(scope, receive, self._without_failure(send) if scope["type"] == "lifespan" else send)
        except (SettingsError, StartError) as error:
            self.refusal = error
            raise

    def _without_failure(self, send: "Send") -> "Send":
        """What is raised after the message says as much."""

        async def passed(message: "Message") -> None:
            if message["type"] != "lifespan.startup.failed":
                await send(message)

        return passed


def worker() -> None:
    """Run background work against DATABASE_URL and REDIS_URL."""
    from reverie import worker as process
    from reverie.core.config import load_settings

    process.main(load_settings())


def migrate() -> None:
    """Create or upgrade the schema of DATABASE_URL.

    Readers and writers go on meanwhile, and one that was broken off is finished by the next. The disk of the server
    cannot be seen from here: look that it has room.
    """
    from reverie.cli.output import show
    from reverie.core.config import load_settings
    from reverie.core.migrations import upgrade
    from reverie.core.schema import needed

    settings = load_settings()
    if settings.database_url is None:
        raise StartError("DATABASE_URL is not set: name the PostgreSQL database to migrate.")
    upgrade(settings.database_url, tell=show)
    show(f"The schema is at {needed()}.")
