"""The processes of the service against servers that run already: `api`, `worker`, `migrate`."""

from typing import Annotated

import typer

from reverie.cli.options import example
from reverie.core.errors import StartError


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

    settings = load_settings(reverie_host=host, reverie_port=port)
    uvicorn.run(
        "reverie.app:create_app",
        factory=True,
        host=settings.reverie_host,
        port=settings.reverie_port,
        workers=workers,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=10,
    )


def worker() -> None:
    """Run background work against DATABASE_URL and REDIS_URL."""
    from reverie import worker as process
    from reverie.core.config import load_settings

    process.main(load_settings())


def migrate() -> None:
    """Create or upgrade the schema of DATABASE_URL."""
    from reverie.cli.output import show
    from reverie.core.config import load_settings
    from reverie.core.migrations import upgrade
    from reverie.core.schema import needed

    settings = load_settings()
    if settings.database_url is None:
        raise StartError("DATABASE_URL is not set: name the PostgreSQL database to migrate.")
    upgrade(settings.database_url)
    show(f"The schema is at {needed()}.")
