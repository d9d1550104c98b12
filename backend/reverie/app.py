"""The API process."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from reverie import __version__
from reverie.auth import routes as auth
from reverie.auth.schemas import KeyIn
from reverie.core.config import Settings, load_settings
from reverie.core.http import BodyLimit, Heads, Problem, install_error_handlers
from reverie.core.limits import limits_from
from reverie.core.telemetry import configure_logging
from reverie.embedding.protocol import Embedder
from reverie.forgetting import routes as forgetting
from reverie.forgetting.schemas import ForgetIn
from reverie.memories import routes as memories
from reverie.memories.schemas import MessageIn, RememberIn, TraceIn, TracePatch
from reverie.operations import routes as operations
from reverie.recall import routes as recall
from reverie.recall.schemas import RecallIn
from reverie.runtime import open_runtime
from reverie.status import routes as status
from reverie.status.service import StatusService

ROUTERS = (status.router, memories.router, recall.router, forgetting.router, operations.router, auth.router)
BODIES = (RememberIn, TraceIn, MessageIn, TracePatch, RecallIn, ForgetIn, KeyIn, Problem)


def create_app(settings: Settings | None = None, embedder: Embedder | None = None) -> FastAPI:
    """The application; every path stands at the root and under ``/v1``. ``embedder``, if given, is used as it is."""
    chosen = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(chosen.reverie_log_level)
        async with open_runtime(chosen, embedder) as runtime:
            app.state.database = runtime.database
            app.state.keys = runtime.keys
            app.state.memories = runtime.memories
            app.state.recall = runtime.recall
            app.state.forgetting = runtime.forgetting
            app.state.operations = runtime.operations
            app.state.status = StatusService(runtime.database, runtime.redis, runtime.encoder)
            _settle()
            yield

    app = FastAPI(
        title="Reverie",
        summary="The memory of AI agents, kept in PostgreSQL",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.limits = limits_from(chosen)
    app.add_middleware(BodyLimit, limit=chosen.reverie_max_body_bytes)
    app.add_middleware(Heads)
    install_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
        app.include_router(router, prefix="/v1", include_in_schema=False)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _settle() -> None:
    """Takes what the start has made out of the garbage collector's sight: it took a fifth of the time of a recall."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's, with the bodies that are read by our own hands, and the ways to send a key."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    _, schemas = models_json_schema(
        [(model, "validation") for model in BODIES], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas["$defs"])
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations_of_path in document["paths"].items():
        for operation in operations_of_path.values():
            if not path.startswith("/health"):
                operation["security"] = [{"bearer": []}, {"apiKey": []}]
    app.openapi_schema = document
    return document
