"""Retention over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from reverie.auth.dependencies import Admin
from reverie.core.http import Json, answered, body_of, described, problems
from reverie.core.idempotency import Idempotency, idempotency
from reverie.operations.examples import LINK
from reverie.retention import examples
from reverie.retention.schemas import RetentionChanged, RetentionIn, RetentionOut, RunIn, RunOut
from reverie.retention.service import RetentionService

router = APIRouter(prefix="/settings/retention", tags=["settings"])


async def retention_service(request: Request) -> RetentionService:
    """The service of this process."""
    service: RetentionService = request.app.state.retention
    return service


Retention = Annotated[RetentionService, Depends(retention_service)]


@router.get(
    "",
    response_model=RetentionOut,
    responses={200: answered("What is set, and what is in force", retention=examples.SHOWN), **problems(422)},
)
async def get_retention(principal: Admin, retention: Retention) -> Json:
    """What the space forgets by itself: what it has set, and what is in force with the settings of the service."""
    return Json((await retention.show(principal.space_id)).model_dump())


@router.put(
    "",
    response_model=RetentionChanged,
    responses={
        200: answered("What is in force now, or would be", changed=examples.CHANGED),
        **problems(400, 409, 415, 422),
    },
    openapi_extra=described(body=RetentionIn, two_years=examples.TWO_YEARS, what_would_go=examples.WHAT_WOULD_GO),
)
async def put_retention(
    principal: Admin, body: Annotated[RetentionIn, Depends(body_of(RetentionIn))], retention: Retention
) -> Json:
    """Sets what the space forgets by itself, from the next run on; with `dry_run` says what would go.

    What would take more than nine tenths of the space's traces at once is refused (409), unless `force` is true.
    """
    return Json((await retention.change(principal.space_id, body)).model_dump())


@router.post(
    "/run",
    status_code=202,
    response_model=RunOut,
    responses={
        200: {"model": RunOut, **answered("What would go", counted=examples.COUNTED)},
        202: answered(
            "It will go", links={"operation": LINK | {"description": "How far it is"}}, started=examples.STARTED
        ),
        **problems(400, 409, 415, 422),
    },
    openapi_extra=described(body=RunIn, once=True, run=examples.RUN, what_would_go=examples.COUNT),
)
async def run_retention(
    principal: Admin,
    body: Annotated[RunIn, Depends(body_of(RunIn))],
    once: Annotated[Idempotency, Depends(idempotency)],
    retention: Retention,
) -> Json:
    """Has an operation forget now what is due in the space; a worker does so every hour by itself."""
    async with once.claim(principal.space_id) as claim:
        if claim.answer is not None:
            return claim.answer
        status, content = await retention.run(principal.space_id, body, claim)
    return Json(content, status)
