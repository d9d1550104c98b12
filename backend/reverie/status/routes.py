"""Health over HTTP; no key is needed."""

from fastapi import APIRouter, Request

from reverie import __version__
from reverie.core.http import Json
from reverie.status.schemas import Live, Ready
from reverie.status.service import StatusService

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", response_model=Live)
async def live() -> Json:
    """The process answers."""
    return Json({"status": "live", "version": __version__})


@router.get("/ready", response_model=Ready, responses={503: {"model": Ready, "description": "Requests would fail"}})
async def ready(request: Request) -> Json:
    """Whether requests can be served, and which part is down."""
    service: StatusService = request.app.state.status
    found = await service.ready()
    return Json(found.model_dump(), 503 if found.status == "unready" else 200)
