"""The API process."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from reverie import __version__
from reverie.auth import routes as auth
from reverie.core.admission import Admission, Gate
from reverie.core.config import Settings, load_settings
from reverie.core.http import Heads, SizeLimit, install_error_handlers
from reverie.core.limits import limits_from
from reverie.core.metrics import Metrics
from reverie.core.openapi import document, name_of
from reverie.core.telemetry import Requests, configure_logging
from reverie.dream import routes as dream
from reverie.embedding.protocol import Embedder
from reverie.exporting import routes as exporting
from reverie.forgetting import routes as forgetting
from reverie.memories import routes as memories
from reverie.operations import routes as operations
from reverie.recall import routes as recall
from reverie.retention import routes as retention
from reverie.runtime import open_runtime
from reverie.status import routes as status
from reverie.status.overview import Overview
from reverie.status.service import StatusService
from reverie.text import dates
from reverie.tiers import routes as tiers

ROUTERS = (
    # Before the routes of a user's own name, which may end in anything.
    exporting.router, status.router, memories.router, recall.router, forgetting.router, dream.router, tiers.router,
    operations.router, retention.router, auth.router, status.watch,
)  # fmt: skip


def create_app(settings: Settings | None = None, embedder: Embedder | None = None) -> FastAPI:
    """The application; every path stands at the root and under ``/v1``. ``embedder``, if given, is used as it is."""
    chosen, metrics = settings or load_settings(), Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(chosen.reverie_log_level)
        async with open_runtime(chosen, embedder, metrics) as runtime:
            app.state.database = runtime.database
            app.state.keys = runtime.keys
            app.state.memories = runtime.memories
            app.state.recall = runtime.recall
            app.state.forgetting = runtime.forgetting
            app.state.receipts = runtime.receipts
            app.state.retention = runtime.retention
            app.state.exporting = runtime.exporting
            app.state.operations = runtime.operations
            app.state.tiers = runtime.tier_overview
            app.state.thaws = runtime.thaws
            app.state.users = runtime.users
            app.state.pins = runtime.pins
            app.state.merges = runtime.merges
            app.state.dreams = runtime.dream_service
            app.state.status = StatusService(runtime.database, runtime.redis, runtime.encoder, runtime.model)
            app.state.overview = Overview(
                app.state.status, runtime.database, runtime.redis, runtime.encoder, runtime.model, metrics
            )
            _settle()
            # Beside the first requests: it takes a second of a core, and few questions need it.
            warming = asyncio.create_task(asyncio.to_thread(dates.warm))
            async with metrics.kept():
                yield
            warming.cancel()

    app = FastAPI(
        title="Reverie",
        summary="The memory of AI agents, kept in PostgreSQL",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=name_of,
    )
    app.state.limits = limits_from(chosen)
    app.state.gate = Gate(chosen)
    app.state.metrics = metrics
    metrics.waiting = lambda: {name: lane.waiting for name, lane in app.state.gate.lanes.items()}
    app.add_middleware(Admission, gate=app.state.gate)
    app.add_middleware(SizeLimit, limit=chosen.reverie_max_body_bytes)
    app.add_middleware(Heads)
    install_error_handlers(app)
    # Looked through in this order: first the one that is asked most.
    for router in sorted(ROUTERS, key=lambda one: one is not recall.router):
        app.include_router(router)
        app.include_router(router, prefix="/v1", include_in_schema=False)
    # Outside of all middlewares, and of Starlette's own: what ends in an error has an id too, and is counted.
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: Requests(build(), metrics)  # type: ignore[method-assign]
    app.openapi = lambda: document(app, ROUTERS)  # type: ignore[method-assign]
    return app


def _settle() -> None:
    """Takes what the start has made out of the garbage collector's sight: it took a fifth of the time of a recall."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
