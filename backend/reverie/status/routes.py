"""Health, for which no key is needed, and the whole service at a glance, for admins and for Prometheus."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from reverie import __version__
from reverie.auth.dependencies import Watcher
from reverie.core.http import Json, answered, problems
from reverie.core.metrics import CONTENT_TYPE
from reverie.status import examples
from reverie.status.overview import Overview
from reverie.status.schemas import Live, Ready, Status
from reverie.status.service import StatusService

router = APIRouter(prefix="/health", tags=["health"])
watch = APIRouter(tags=["admin"])


class Figures(Response):
    """Prometheus' text format."""

    media_type = CONTENT_TYPE


@router.get(
    "/live",
    response_model=Live,
    responses={200: answered("It answers", live={"status": "live", "version": __version__})},
)
async def live() -> Json:
    """The process answers."""
    return Json({"status": "live", "version": __version__})


@router.get(
    "/ready",
    response_model=Ready,
    responses={
        200: answered("Requests can be served", ready=examples.READY, degraded=examples.DEGRADED),
        503: {"model": Ready, **answered("Requests would fail", unready=examples.UNREADY)},
    },
)
async def ready(request: Request) -> Json:
    """Whether requests can be served, and which part is down."""
    service: StatusService = request.app.state.status
    found = await service.ready()
    if found.status == "unready":
        return Json(found.model_dump(), 503, headers={"Retry-After": "2"})
    return Json(found.model_dump())


@watch.get(
    "/admin/status",
    response_model=Status,
    responses={200: answered("The service", status=examples.STATUS), **problems(422)},
)
async def admin_status(principal: Watcher, request: Request) -> Json:
    """The service at a glance: parts, queue, sizes, versions, and the last failed operations of the caller's space.

    It is answered with 200 whatever is down, and what cannot be known then is null. Sizes and the queue are those of
    the whole store; `encoder`, `pool` and `pid` are of the process that answers.
    """
    overview: Overview = request.app.state.overview
    return Json((await overview.status(principal.space_id)).model_dump())


@watch.get(
    "/metrics",
    response_class=Figures,
    responses={
        200: {
            "description": "The figures of all processes of this API",
            "content": {CONTENT_TYPE: {"schema": {"type": "string"}, "example": examples.FIGURES}},
        },
        **problems(422),
    },
)
async def metrics(principal: Watcher, request: Request) -> Figures:  # noqa: ARG001 - who asks was looked at
    """What Prometheus reads: requests, stages of recall, the encoder, operations, pools, Redis."""
    overview: Overview = request.app.state.overview
    return Figures(await overview.figures())
