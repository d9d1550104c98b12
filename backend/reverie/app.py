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
from reverie.following import Counted, Turnstile, following
from reverie.forgetting import routes as forgetting
from reverie.graph import routes as graph
from reverie.memories import routes as memories
from reverie.operations import routes as operations
from reverie.profile import routes as profile
from reverie.recall import routes as recall
from reverie.relating import routes as relating
from reverie.retention import routes as retention
from reverie.runtime import Runtime
from reverie.settings import routes as settings_routes
from reverie.status import routes as status
from reverie.status.overview import Overview
from reverie.status.service import StatusService
from reverie.text import dates
from reverie.tiers import routes as tiers

ROUTERS = (
    # Before the routes of a user's own name, which may end in anything.
    exporting.router, profile.router, status.router, memories.router, recall.router, relating.router, forgetting.router,
    dream.router, graph.router, tiers.router, operations.router, retention.router, settings_routes.router, auth.router,
    status.watch,
)  # fmt: skip


def create_app(settings: Settings | None = None, embedder: Embedder | None = None) -> FastAPI:
    """The application; every path stands at the root and under ``/v1``. ``embedder``, if given, is used as it is."""
    chosen, metrics, turnstile = settings or load_settings(), Metrics(), Turnstile()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(chosen.reverie_log_level)
        async with following(chosen, embedder, metrics, turnstile, lambda runtime: _go_over(app, runtime)):
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
    app.add_middleware(Counted, turnstile=turnstile)
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


def _go_over(app: FastAPI, runtime: Runtime) -> None:
    """Has requests work with these parts from now on, in one step of the event loop."""
    state, metrics = app.state, app.state.metrics
    state.database = runtime.database
    state.keys = runtime.keys
    state.memories = runtime.memories
    state.recall = runtime.recall
    state.forgetting = runtime.forgetting
    state.receipts = runtime.receipts
    state.retention = runtime.retention
    state.exporting = runtime.exporting
    state.operations = runtime.operations
    state.tiers = runtime.tier_overview
    state.thaws = runtime.thaws
    state.users = runtime.users
    state.pins = runtime.pins
    state.merges = runtime.merges
    state.relating = runtime.relating
    state.edges = runtime.edges
    state.dreams = runtime.dream_service
    state.profiles = runtime.profiles
    state.graph = runtime.graph
    state.ai_settings = runtime.ai_settings
    state.status = StatusService(runtime.database, runtime.redis, runtime.encoder, runtime.model)
    state.overview = Overview(state.status, runtime.database, runtime.redis, runtime.encoder, runtime.model, metrics)
    _settle()


def _settle() -> None:
    """Takes what the start has made out of the garbage collector's sight: it took a fifth of the time of a recall."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
